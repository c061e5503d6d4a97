"The rules of the house: imports go down, importing is light, names are found, pages can fail."
import ast, importlib.util, json, re, subprocess, sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PKG = ROOT/'ftkit'
MODULES = sorted(p for p in PKG.rglob('*.py') if not p.name.startswith('_'))
NOTEBOOKS = sorted(p for p in (ROOT/'nbs').rglob('*.ipynb') if '.ipynb_checkpoints' not in p.parts)
PAGES = [p for p in NOTEBOOKS if re.match(r'\d+_', p.parent.name)]

# What is checked, as functions on the folder of a package

def dotted(package, path):
    "Name of a module inside its package: `data/clean.py` -> `data.clean`."
    return '.'.join(path.relative_to(package).with_suffix('').parts)

def modules(package):
    "The exported modules of a package by name."
    return {dotted(package, p): p for p in sorted(package.rglob('*.py')) if not p.name.startswith('_')}

def place(path):
    "Room and page number of an exported module: `nbs/20_data/36_clean.ipynb` -> (20, 36)."
    found = re.search(r'File to edit: .*nbs/(\d+)_\w+/(\d+)_', path.read_text(encoding='utf-8'))
    assert found, f'{path} does not say which page it is exported from'
    return int(found[1]), int(found[2])

def public_table(package):
    "Names that the package itself offers, and the module each is from."
    init = package/'__init__.py'
    tree = ast.parse(init.read_text(encoding='utf-8') if init.exists() else '')
    tables = [n.value for n in tree.body if isinstance(n, ast.Assign) and n.targets[0].id=='_pages']
    return {name: page for t in tables for page,names in ast.literal_eval(t).items() for name in names.split()}

def named_from(package, path, node):
    "(module, name or None) for everything that one node of a module's source imports from its package."
    own = package.name
    if isinstance(node, ast.Import):
        yield from ((a.name.partition('.')[2], None) for a in node.names if a.name.startswith(f'{own}.'))
    if isinstance(node, ast.ImportFrom):
        above = path.relative_to(package).parent.parts
        start = [own, *above[:len(above)-node.level+1]] if node.level else []
        full = '.'.join([*start, *filter(None, [node.module])])
        if full==own or full.startswith(f'{own}.'): yield from ((full.partition('.')[2], a.name) for a in node.names)
    if isinstance(node, ast.Call) and ast.unparse(node.func) in ('import_module', 'importlib.import_module', '__import__'):
        name = getattr(node.args[0], 'value', None)
        if isinstance(name, str) and name.startswith(f'{own}.'): yield name.partition('.')[2], None

def imports(package, path):
    "(module, name or None) for all that a module imports from its package, inside functions too."
    known, offered = modules(package), public_table(package)
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        for module,name in named_from(package, path, node):
            inner = f'{module}.{name}'.strip('.')
            if inner in known: yield inner, None
            elif not module and name in offered: yield offered[name], name
            else: yield module, name

def upward(package):
    "Imports that do not go down: to a room above, to a page above in the same room, or to the page itself."
    known, wrong = modules(package), []
    at = {name: place(p) for name,p in known.items()}
    for name,path in known.items():
        for dep in sorted({m for m,_ in imports(package, path) if m in known}):
            if at[dep]>=at[name]: wrong.append(f'{name} {at[name]} imports {dep} {at[dep]}')
    return wrong

def between(package, importers, imported):
    "Imports from one group of modules to another; a module may import itself nowhere."
    known = modules(package)
    deps = {m: {d for d,_ in imports(package, known[m])} for m in importers if m in known}
    return sorted(f'{m} imports {d}' for m,ds in deps.items() for d in ds & set(imported)-{m})

def in_room(package, *rooms): return {m for m in modules(package) if m.partition('.')[0] in rooms and '.' in m}

def bound(path):
    "Names that a module has after its import."
    tree = ast.parse(path.read_text(encoding='utf-8'))
    inner = [n for s in tree.body for n in ([s, *ast.walk(s)] if isinstance(s, (ast.If, ast.Try, ast.With, ast.For)) else [s])]
    names = {n.name for n in inner if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))}
    names |= {a.asname or a.name.partition('.')[0] for n in inner if isinstance(n, (ast.Import, ast.ImportFrom)) for a in n.names}
    return names | {n.id for s in inner if isinstance(s, (ast.Assign, ast.AnnAssign, ast.For, ast.With)) for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}

def not_there(package):
    "Imports, and entries of tables `module:name`, that name no page, or a name that the page has only by its old path."
    known, wrong = modules(package), []
    has = {m: bound(p) for m,p in known.items()}
    for name,path in known.items():
        named = [(m, n) for m,n in imports(package, path) if m and not m.split('.')[-1].startswith('_')]
        entries = re.findall(rf"""['"]{package.name}\.([\w.]+):(\w+)['"]""", path.read_text(encoding='utf-8'))
        for m,n in [*named, *entries]:
            if m not in known: wrong.append(f'{name} imports {m}, which is no page')
            elif n and n not in has[m]: wrong.append(f'{name} imports {n} from {m}, which does not define it')
    return wrong

def exported_names(path):
    "`__all__` of a module."
    tree = ast.parse(path.read_text(encoding='utf-8'))
    return next((ast.literal_eval(n.value) for n in tree.body if isinstance(n, ast.Assign) and getattr(n.targets[0], 'id', '')=='__all__'), [])

def exported_twice(package):
    "Functions and classes that two pages export, and the pages. A table in capitals is its page's own."
    where = defaultdict(list)
    for m,p in modules(package).items():
        for name in exported_names(p): where[name].append(m)
    return {n: pages for n,pages in where.items() if len(pages)>1 and not n.isupper()}

def names_of_classes(package, module):
    "What may be classes of the package, by the name a module has for them: name -> 'module.Class'."
    path, names = modules(package)[module], {}
    nodes = list(ast.walk(ast.parse(path.read_text(encoding='utf-8'))))
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            for alias,(m,n) in zip(node.names, named_from(package, path, node)):
                names[alias.asname or alias.name] = f'{m}.{n}'.strip('.')
    names |= {n.name: f'{module}.{n.name}' for n in nodes if isinstance(n, ast.ClassDef)}
    plain = [n for n in nodes if isinstance(n, ast.Assign) and isinstance(n.value, ast.Name)]
    same = [(n.targets[0].id, n.value.id) for n in plain if isinstance(n.targets[0], ast.Name)]
    return names | {other: names[name] for other,name in same if name in names}

def parents(package):
    "The classes of a package, those inside functions too, and the names of the classes that each is made from."
    names = {m: names_of_classes(package, m) for m in modules(package)}
    def full(module, written):
        head, _, rest = written.removeprefix(f'{package.name}.').partition('.')
        found = '.'.join(filter(None, [names[module].get(head, head), rest]))
        there, _, name = found.rpartition('.')
        return names.get(there, {}).get(name, found) # another name for it, where it is from
    made = defaultdict(set)
    for m,path in modules(package).items():
        classes = [n for n in ast.walk(ast.parse(path.read_text(encoding='utf-8'))) if isinstance(n, ast.ClassDef)]
        for c in classes:
            written = [ast.unparse(base).partition('[')[0] for base in c.bases]
            made[f'{m}.{c.name}'] |= {full(m, w) for w in written}
    return made

def chain(name, made):
    "A class and all classes of the package that it is made from."
    above = [chain(p, made) for p in made[name] if p in made and p!=name]
    return {name}.union(*above)

def deep_chains(package, excepted=(), roots=()):
    "Classes with more than two classes of the package in them; a root of errors is not counted."
    made = parents(package)
    deep = {name: chain(name, made)-set(roots) for name in made if not name.startswith(tuple(excepted))}
    return sorted(f'{name} is made from {", ".join(sorted(c-{name}))}' for name,c in deep.items() if len(c)>2)

def cells(path): return json.loads(path.read_text(encoding='utf-8'))['cells']

def code_of(path): return [''.join(c['source']).strip() for c in cells(path) if c['cell_type']=='code']

def equal_cells(path): return [source for source,n in Counter(filter(None, code_of(path))).items() if n>1]

def names_in(tree):
    "Names that a piece of code reads, plain and behind a dot."
    found = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    return found | {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}

def parsed(source):
    "A cell as a tree; its magics do nothing."
    lines = '\n'.join(re.sub(r'^(\s*)[%!].*', r'\1pass', line) for line in source.splitlines())
    return compile(lines, 'cell', 'exec', ast.PyCF_ONLY_AST|ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

def registered(definition):
    "Is it handed to a registry by its decorator, as a command is?"
    return any(isinstance(d, ast.Call) and isinstance(d.func, ast.Attribute) for d in getattr(definition, 'decorator_list', ()))

def names_used(sources):
    "Names that the code of a page reads outside their own definitions."
    used = set()
    for statement in [n for source in sources for n in parsed(source).body]:
        own = getattr(statement, 'name', None)
        used |= names_in(statement)-{own}
        if registered(statement): used.add(own)
    return used

def names_tested(paths):
    "Names that tests import, read, or name as `ftkit.page:name`."
    used = set()
    for tree in [ast.parse(p.read_text(encoding='utf-8')) for p in paths]:
        used |= names_in(tree) | {a.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names}
        texts = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
        used |= {name for text in texts if 'ftkit' in text for name in re.findall(r'\w+', text)}
    return used

def names_in_tables(package):
    "Names that a table gives as `ftkit.page:name`."
    pattern = rf"""['"]{package.name}\.[\w.]+:(\w+)['"]"""
    return {name for p in modules(package).values() for name in re.findall(pattern, p.read_text(encoding='utf-8'))}

def unused(package, page_of, tests):
    "Public definitions that no test, no table and nothing on their own page uses, constants left out."
    elsewhere, found = names_tested(tests) | names_in_tables(package), []
    for module,path in modules(package).items():
        used = names_used(code_of(page_of[module])) | elsewhere
        found += [f'{module}.{n}' for n in exported_names(path) if not n.isupper() and n not in used]
    return found

def lines_of_code(path):
    "Lines of code on a page, exported and not; blank lines and directives do not count."
    return sum(bool(l.strip()) and not l.startswith('#|') for source in code_of(path) for l in source.splitlines())

# The house as it stands

def test_the_whole_house_is_checked():
    assert len(MODULES)>=100 and len(PAGES)>=100
    assert sorted(modules(PKG))==sorted(code_of(p)[0].split()[-1] for p in PAGES), 'each page is a module, and each module is a page'

def test_imports_go_down(): assert upward(PKG)==[]

def test_imports_name_what_their_page_defines(): assert not_there(PKG)==[]

METHODS = {'train.sft', 'train.dpo', 'train.ranking', 'train.embedding'}
PLACES = in_room(PKG, 'jobs')-{'jobs.waiting', 'jobs.job', 'jobs.training'} # what all places share: waiting, the contract, and the class in front
SOURCES = {'telemetry.http', 'telemetry.files', 'telemetry.phoenixdb'}

@pytest.mark.parametrize('alternatives', [METHODS, PLACES, SOURCES], ids=['methods', 'places', 'sources'])
def test_alternatives_do_not_know_each_other(alternatives):
    assert alternatives and alternatives<=set(modules(PKG))
    assert between(PKG, alternatives, alternatives)==[]

def test_a_place_knows_its_room_by_the_contract_page_alone():
    assert between(PKG, PLACES, in_room(PKG, 'jobs'))==sorted(f'{p} imports jobs.job' for p in PLACES)

def test_evaluation_adapters_and_deployment_never_import_training_or_jobs():
    above, below = in_room(PKG, 'evals', 'adapters', 'deploy'), in_room(PKG, 'train', 'jobs')
    assert above and below and between(PKG, above, below)==[]

def test_no_two_pages_have_the_same_file_name():
    assert [n for n,k in Counter(p.name for p in NOTEBOOKS).items() if k>1]==[], 'a page that fails is named by its file alone'

def test_no_two_rooms_or_pages_have_the_same_number():
    rooms = {p.parent for p in PAGES}
    assert len({r.name.split('_')[0] for r in rooms})==len(rooms)
    assert len({place(m) for m in MODULES})==len(MODULES)

def test_no_name_is_exported_by_two_pages(): assert exported_twice(PKG)=={}

ERRORS = ('core.FtkitError',) # the root of all errors, so that one `except` is enough

def test_no_chain_of_our_own_classes_is_deeper_than_two(): assert deep_chains(PKG, roots=ERRORS)==[]

WHOLE = {'pipeline.demo'} # what is run by a person: `make demo`

def test_every_public_name_is_called_on_its_page_or_by_a_test():
    "What nobody calls nobody checks: show it on its page, test it, make it private, or delete it."
    page_of = {code_of(p)[0].split()[-1]: p for p in PAGES}
    found = unused(PKG, page_of, sorted((ROOT/'tests').rglob('*.py')))
    assert set(found)-WHOLE==set() and len(WHOLE)<=5

def test_every_page_is_imported_without_a_warning_of_ours():
    "An old path is for code out there; within the house it is an error."
    names = [f'ftkit.{m}' for m in modules(PKG)]
    code = f'from importlib import import_module\nfor name in {names}: import_module(name)'
    r = subprocess.run([sys.executable, '-W', 'error:ftkit.:DeprecationWarning', '-c', code], cwd=ROOT, capture_output=True, text=True)
    assert r.returncode==0, r.stderr[-2000:]

# How dense the lines are

def tool(name):
    "A script of `tools` as a module"
    spec = importlib.util.spec_from_file_location(name, ROOT/'tools'/f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module # dataclasses look their module up
    spec.loader.exec_module(module)
    return module

def test_lines_do_not_get_denser():
    house = tool('house')
    denser = {name: (value, house.LIMITS[name][0]) for name,value in house.measures(MODULES).items() if value>house.LIMITS[name][0]}
    assert not denser, f'measure: (value, ceiling): {denser}; `python tools/house.py --pages ftkit/ROOM` shows where'

def test_the_measures_see_what_they_are_for(tmp_path):
    house, page, module = tool('house'), tmp_path/'10_page.ipynb', tmp_path/'page.py'
    long = f'x = {list(range(60))}'
    source = ['#| export', '__all__ = ["a", "b"]', 'def a(n:int, m): return [k for k in range(n) for _ in range(m)]', 'def b(): return lambda: 1', long]
    module.write_text(f'# File to edit: {page.name}'+chr(10)+chr(10).join(source))
    page.write_text(json.dumps(dict(cells=[dict(cell_type='code', source=chr(10).join(source)), dict(cell_type='code', source='a(1, 2)')])))
    seen = house.measures([module])
    assert len(long)>140 and seen['lines over 140, %']==seen['lines over 120, %']==33.3
    assert seen['nested ones']==seen['comprehensions a 100 lines']==seen['lambdas a 100 lines']==33.3
    assert seen['parameters without a type, %']==50 and seen['public definitions never called on a page, %']==50
    assert house.unseen(page, module)==(['b'], 2)

# The checks see what they are for

SMALL = {'low.one': (10, 10, 'def a(): return 1'), 'low.two': (10, 20, 'from .one import a\n'), 'high.three': (20, 10, 'from ..low.two import a\n__all__ = ["three"]\ndef three(): return a()')}

@pytest.fixture
def small(tmp_path):
    "A package of three pages in two rooms; `small(module, line)` adds a line to one of them."
    package = tmp_path/'small'
    def write(name='', line=''):
        for module,(room,page,source) in SMALL.items():
            path = package/Path(*module.split('.')).with_suffix('.py')
            path.parent.mkdir(parents=True, exist_ok=True)
            header = f'# AUTOGENERATED! DO NOT EDIT! File to edit: ../../nbs/{room}_{path.parent.name}/{page}_{path.stem}.ipynb.'
            path.write_text('\n'.join([header, source, line if module==name else '']))
        return package
    return write

def test_a_house_in_order_has_nothing_to_say(small):
    package = small()
    assert upward(package)==not_there(package)==[] and exported_twice(package)=={}

@pytest.mark.parametrize('module, line, said', [
    ('low.one', 'from .two import a', 'low.one (10, 10) imports low.two (10, 20)'),
    ('low.one', 'from . import two', 'low.one (10, 10) imports low.two (10, 20)'),
    ('low.two', 'from ..high.three import three', 'low.two (10, 20) imports high.three (20, 10)'),
    ('low.two', 'from ..high import three', 'low.two (10, 20) imports high.three (20, 10)'),
    ('low.one', 'def late():\n    from small.high.three import three', 'low.one (10, 10) imports high.three (20, 10)'),
    ('low.one', 'def late():\n    import small.high.three', 'low.one (10, 10) imports high.three (20, 10)'),
    ('low.one', 'def late():\n    from small import three', 'low.one (10, 10) imports high.three (20, 10)'),
    ('low.one', 'three = __import__("small.high.three")', 'low.one (10, 10) imports high.three (20, 10)'),
    ('low.one', 'import small.low.one', 'low.one (10, 10) imports low.one (10, 10)'),
])
def test_an_upward_import_is_seen(small, module, line, said):
    package = small(module, line)
    (package/'__init__.py').write_text("_pages = {'high.three': 'three'}")
    assert upward(package)==[said]

@pytest.mark.parametrize('line, said', [
    ('def late():\n    from small.low.one import gone', 'high.three imports gone from low.one, which does not define it'),
    ('from ..low.zero import a', 'high.three imports low.zero, which is no page'),
    ('TABLE = dict(a="small.low.one:gone")', 'high.three imports gone from low.one, which does not define it'),
])
def test_an_import_of_what_is_elsewhere_is_seen(small, line, said): assert not_there(small('high.three', line))==[said]

def test_alternatives_that_know_each_other_are_seen(small):
    assert between(small(), {'low.one', 'low.two'}, {'low.one', 'low.two'})==['low.two imports low.one']
    assert between(small('low.two', 'def late():\n    from small.high.three import three'), {'low.two'}, {'high.three'})==['low.two imports high.three']

def test_a_name_of_two_pages_is_seen(small): assert exported_twice(small('low.one', '__all__ = ["three", "a"]'))==dict(three=['high.three', 'low.one'])

@pytest.mark.parametrize('line, made_from', [
    ('from ..low.two import B\nclass C(B): pass', 'low.one.A, low.two.B'),
    ('from ..low import two as t\nclass C(t.B): pass', 'low.one.A, low.two.B'),
    ('def late():\n    from small.low.two import B\n    class C(B): pass', 'low.one.A, low.two.B'),
    ('import small.low.two\nclass C(small.low.two.B[int]): pass', 'low.one.A, low.two.B'),
    ('from ..low.two import Other\nclass C(Other): pass', 'low.one.A, low.two.B'),
    ('class D: pass\nclass E: pass\nclass C(D, E, dict): pass', 'high.three.D, high.three.E'),
])
def test_a_deep_chain_of_classes_is_seen(small, line, made_from):
    package = small('high.three', line)
    for page,more in (('one', 'class A(dict): pass'), ('two', 'from .one import A\nclass B(A): pass\nOther = B')):
        with (package/'low'/f'{page}.py').open('a') as f: f.write(f'\n{more}\n')
    assert deep_chains(package)==[f'high.three.C is made from {made_from}']
    assert deep_chains(package, excepted=['high.'])==[]
    assert deep_chains(package, roots=made_from.split(', ')[:1])==[]

@pytest.mark.parametrize('cell, test, gone', [
    ('', '', ['low.one.a', 'low.one.b']), ('a()', '', ['low.one.b']), ('b = 1', '', ['low.one.a', 'low.one.b']), ('print(x.b)', '', ['low.one.a']),
    ('', 'from small.low.one import a, b', []), ('', 'run("ftkit.low.one:a")', ['low.one.b']), ('%time b', '', ['low.one.a', 'low.one.b'])])
def test_a_public_name_that_nobody_calls_is_seen(small, tmp_path, cell, test, gone):
    package = small('low.one', '__all__ = ["a", "b", "TABLE"]')
    for name in ('low.two', 'high.three'): (package/Path(*name.split('.')).with_suffix('.py')).unlink()
    page, tests = tmp_path/'10_one.ipynb', tmp_path/'test_one.py'
    definition = 'def a(): return a\n\ndef b(): return 1'
    page.write_text(json.dumps(dict(cells=[dict(cell_type='code', source=[source]) for source in (definition, cell)])))
    tests.write_text(test)
    assert unused(package, {'low.one': page}, [tests])==gone

def test_a_module_without_a_page_is_seen(small):
    (small()/'low'/'stray.py').write_text('def a(): return 1')
    with pytest.raises(AssertionError, match='does not say which page'): upward(small())

def test_equal_cells_and_long_pages_are_seen(tmp_path):
    page = tmp_path/'10_page.ipynb'
    page.write_text(json.dumps(dict(cells=[dict(cell_type='code', source=['#| export\n', 'a = 1\n', '\n', 'b = 2']) for _ in range(2)])))
    assert equal_cells(page)==['#| export\na = 1\n\nb = 2'] and lines_of_code(page)==4

LIBRARIES = {'transformers', 'trl', 'peft', 'accelerate', 'datasets', 'sentence_transformers', 'huggingface_hub'}
BELOW = {('score.py', '_attn_implementation')} # a page that is below `train.trl`, and cannot ask it
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
    assert not wrong, f'give these a function or a method in nbs/50_train/10_trl.ipynb: {wrong}'

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

@pytest.mark.parametrize('path', PAGES, ids=lambda p: p.name)
def test_a_page_begins_as_a_page(path):
    first, second = [''.join(c['source']) for c in cells(path)[:2]]
    assert first.startswith('#| default_exp ') and second.startswith(f'# {first.split()[-1]}\n\n> ')
    assert 'nbdev_export()' in ''.join(cells(path)[-1]['source'])

@pytest.mark.parametrize('path', PAGES, ids=lambda p: p.name)
def test_a_page_has_one_purpose(path):
    assert equal_cells(path)==[], 'cells that are there twice'
    assert lines_of_code(path)<=450, f'{lines_of_code(path)} lines of code: make two pages of it'

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
