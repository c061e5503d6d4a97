"The rules of the house: imports flow down, importing is light, names are found, pages can fail."
import ast, json, re, subprocess, sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PKG = ROOT/'ftkit'
MODULES = sorted(p for p in PKG.rglob('*.py') if not p.name.startswith('_'))
NOTEBOOKS = sorted(p for p in (ROOT/'nbs').rglob('*.ipynb') if '.ipynb_checkpoints' not in p.parts)

def number(path):
    "Notebook number of an exported module, e.g. `20_data.clean.ipynb` -> 20"
    return int(re.search(r'File to edit: .*nbs/(\d+)_', path.read_text()).group(1))

def imports(path):
    "Modules of this package that `path` imports, at import time or inside a function"
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = path.parents[node.level-1]
            target = base.joinpath(*(node.module or '').split('.'))
            if target.with_suffix('.py').exists(): yield target.with_suffix('.py')
            for name in node.names:
                if (target/f'{name.name}.py').exists(): yield target/f'{name.name}.py'

@pytest.mark.parametrize('module', MODULES, ids=lambda p: str(p.relative_to(PKG)))
def test_imports_go_down(module):
    for dep in imports(module):
        assert number(dep)<number(module), f'{module.name} ({number(module)}) imports {dep.name} ({number(dep)})'

METHODS = {'train/sft.py', 'train/dpo.py', 'train/ranking.py', 'train/embedding.py', 'train/pretrain.py'}

def test_alternatives_do_not_know_each_other():
    for m in MODULES:
        if str(m.relative_to(PKG)) not in METHODS: continue
        known = {str(d.relative_to(PKG)) for d in imports(m)} & METHODS
        assert not known, f'{m.name} imports {known}'

def test_evaluation_and_registry_never_import_training():
    for m in MODULES:
        if number(m)//10 not in (6, 7, 8): continue
        wrong = [d for d in imports(m) if d.parent.name in ('train', 'backends')]
        assert not wrong, f'{m.name} imports {wrong}'

LIBRARIES = {'transformers', 'trl', 'peft', 'accelerate', 'datasets', 'sentence_transformers', 'huggingface_hub'}
BELOW = {('models.py', '_attn_implementation')} # a page that is below `train.trl`, and cannot ask it
OTHERS = {'_mapping': 'SQLAlchemy', '_replace': 'namedtuple', '_exit': 'os'} # names of others, with an underscore and documented

def inside_names(path):
    "What a page takes from inside the libraries: (line, name)"
    from ftkit.train.trl import PRIVATE
    promised = {n.partition(':')[2] for names in PRIVATE.values() for n in names}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and not node.level and node.module.split('.')[0] in LIBRARIES:
            parts = [*node.module.split('.'), *(a.name for a in node.names)]
            yield from ((node.lineno, p) for p in parts if p.startswith('_') or p in promised)
        if isinstance(node, ast.Attribute) and re.match(r'_(?!_|repr_)', node.attr): yield node.lineno, node.attr
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)): # classes of libraries are extended inside functions, where they are imported
            methods = [m for c in ast.walk(node) if isinstance(c, ast.ClassDef) for m in c.body if isinstance(m, ast.FunctionDef)]
            yield from ((m.lineno, f'def {m.name}') for m in methods if re.match('_(?!_)', m.name))

def own_names():
    "Every name with an underscore that the package defines: functions, methods, attributes, fields"
    for m in MODULES:
        if m.name=='trl.py': continue
        for node in ast.walk(ast.parse(m.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)): yield node.name
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name) and node.value.id=='self': yield node.attr
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store): yield node.id

def test_one_page_knows_the_libraries_from_inside():
    own = {*own_names(), *OTHERS}
    found = {(m.name, line, name) for m in MODULES if m.name!='trl.py' for line,name in inside_names(m)}
    wrong = sorted((page, line, name) for page,line,name in found if name not in own and (page, name) not in BELOW)
    assert not wrong, f'give these a function or a method in nbs/39_train.trl.ipynb: {wrong}'

def test_import_is_light():
    heavy = "{'torch','transformers','trl','peft','datasets','pandas','phoenix','ipywidgets','sqlalchemy','numpy'}"
    subprocess.run([sys.executable, '-c', f'import ftkit, sys; got = {heavy} & set(sys.modules); assert not got, got'], check=True, cwd=ROOT)

def test_the_command_line_is_light():
    heavy = "{'torch','transformers','trl','pandas','phoenix','sqlalchemy'}"
    subprocess.run([sys.executable, '-c', f'import ftkit.cli, sys; got = {heavy} & set(sys.modules); assert not got, got'], check=True, cwd=ROOT)

def test_public_names():
    import ftkit
    for name in ftkit.__all__:
        assert getattr(ftkit, name).__doc__, f'{name} has no docstring'
        assert not (PKG/name).exists() and not (PKG/f'{name}.py').exists(), f'{name} is also a page'

@pytest.mark.parametrize('module', MODULES, ids=lambda p: str(p.relative_to(PKG)))
def test_everything_exported_says_what_it_does(module):
    defined = [n for n in ast.parse(module.read_text()).body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and not n.name.startswith('_')]
    silent = [n.name for n in defined if not ast.get_docstring(n)]
    assert not silent, f'without a docstring: {silent}'

def test_an_unknown_name_is_an_attribute_error():
    import ftkit
    with pytest.raises(AttributeError, match='no attribute'): getattr(ftkit, 'fintune')  # noqa: B009

def cells(path): return json.loads(path.read_text())['cells']

@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: p.name)
def test_no_page_has_a_check_that_cannot_fail(path):
    for c in cells(path):
        source = ''.join(c['source'])
        if c['cell_type']!='code': continue
        assert not re.search(r'expect_fail\(lambda', source), f'`expect_fail(lambda: ...)` checks nothing; use `test_fail`:\n{source}'
        assert ' or True' not in source and 'assert True' not in source, source

@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: p.name)
def test_stored_outputs_are_small_and_say_nothing_of_the_machine(path):
    for c in cells(path):
        text = json.dumps(c.get('outputs', []))
        assert len(text)<100_000, f'an output of {len(text):,} bytes'
        wrong = re.search(r'/tmp/|/home/|/work/|/root/|site-packages|0x[0-9a-f]{8,}|it/s\]|\d+%\||widget-view\+json', text) # a stored widget has no kernel, and hides the table beside it
        assert not wrong, f'{wrong.group(0)!r} in the output of:\n{"".join(c["source"])[:300]}'

@pytest.mark.parametrize('path', [p for p in NOTEBOOKS if p.parent.name=='nbs' and p.name!='index.ipynb'], ids=lambda p: p.name)
def test_a_page_begins_as_a_page(path):
    first, second = [''.join(c['source']) for c in cells(path)[:2]]
    assert first.startswith('#| default_exp ') and second.startswith(f'# {first.split()[-1]}\n\n> ')
    assert 'nbdev_export()' in ''.join(cells(path)[-1]['source'])

READS_BY_ITSELF = set() # pages that do not go through `core.variable`
OS_ENVIRONMENT = {'environ', 'environb', 'getenv', 'getenvb'}

def environment_reads(source):
    "Lines that read the environment by themselves; setting one variable for a library is no reading"
    tree = ast.parse(source)
    names = {n.asname or n.name for node in ast.walk(tree) if isinstance(node, ast.Import) for n in node.names if n.name=='os'}
    written = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Subscript) and isinstance(n.ctx, (ast.Store, ast.Del))}
    read = [n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and n.attr in OS_ENVIRONMENT and isinstance(n.value, ast.Name) and n.value.id in names and id(n) not in written]
    imported = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module=='os' and OS_ENVIRONMENT & {a.name for a in n.names}]
    return sorted(n.lineno for n in (*read, *imported))

def named_variables(source):
    "Names of variables that are read, in either way"
    calls = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call) and n.args and isinstance(n.args[0], ast.Constant)]
    return {n.args[0].value for n in calls if ast.unparse(n.func) in ('variable', 'os.environ.get', 'os.getenv')}

@pytest.mark.parametrize('source, lines', [('import os\nos.environ.get("A")', [2]), ('import os\nx = os.environ["A"]', [2]), ('import os as o\no.getenv("A")', [2]), ('from os import environ', [1]), ('import os\ndict(os.environ)', [2]), ('import os\n"A" in os.environ', [2]),
    ('import os\nos.environ.setdefault("A", "")', [2]), ('import os\nos.environ["A"] = "x"', []), ('import os\nos.path.join("a")', []), ('environ = {}\nenviron.get("a")', [])])
def test_the_search_for_reads_finds_all_kinds(source, lines): assert environment_reads(source)==lines

@pytest.mark.parametrize('module', [m for m in MODULES if m.name!='core.py' and str(m.relative_to(PKG)) not in READS_BY_ITSELF], ids=lambda p: str(p.relative_to(PKG)))
def test_the_environment_is_read_through_core(module):
    lines = environment_reads(module.read_text())
    assert not lines, f'{module.name} reads the environment in lines {lines}; use core.variable, or core.whole_environment for a process'

def test_every_variable_of_the_table_is_read_and_every_one_that_is_read_stands_in_it():
    from ftkit.core import ENVIRONMENT
    read = set().union(*(named_variables(m.read_text()) for m in MODULES))
    assert read-set(ENVIRONMENT)==set()
    assert {n for n,v in ENVIRONMENT.items() if 'ftkit' in v.read_by.split(', ')}-read==set()
