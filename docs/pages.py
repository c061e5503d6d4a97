"Notebook pages as Sphinx reads them: prose, examples and outputs as they stand, exported cells as signatures with tables."
import ast, json, os, re
from configparser import ConfigParser
from functools import cache
from pathlib import Path

import nbformat
from nbformat.v4 import new_markdown_cell

from symbols import FUNCTION, Symbol, comments, fields, symbols

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT/'nbs'
settings = ConfigParser(delimiters=['='])
settings.read(ROOT/'settings.ini', encoding='utf-8')
settings = settings['DEFAULT']

def slug(name):
    "File name of a page without its number, as nbdev names it."
    return re.sub(r'^\d+[a-z]?_', '', name)

@cache
def name_of(path):
    "Name of a page on the site, which is its module: `nbs/20_data/36_clean.ipynb` -> `data.clean`; a tutorial is called by its file."
    first = json.loads(path.read_text(encoding='utf-8'))['cells'][0]['source']
    found = re.match(r'#\|\s*default_exp\s+(\S+)', ''.join(first))
    return found[1] if found else slug(path.stem)

def rooms():
    "Folders of pages, top floor first."
    return sorted((p for p in NBS.iterdir() if p.is_dir() and re.match(r'\d+_', p.name)), reverse=True)

def pages_of(room): return sorted(room.glob('*.ipynb'))

def notebooks():
    "Every page, lowest room first; `index` and the tutorials are not modules."
    return [p for room in reversed(rooms()) for p in pages_of(room)]

def tutorials(): return sorted((NBS/'tutorials').glob('*.ipynb'))

def handed_up():
    "What each room hands up, as the table on the front page says: folder name -> words."
    text = '\n'.join(c.source for c in nbformat.read(NBS/'index.ipynb', 4).cells if c.cell_type=='markdown')
    return dict(re.findall(r'^\| `(\d+_\w+)` \|.*\| ([^|\n]*\S) \|$', text, re.M))

def directives(source): return dict(re.findall(r'^#\|\s*([\w-]+):?[ \t]*(.*)$', source, re.M))

def shown_code(source): return '\n'.join(l for l in source.splitlines() if not l.startswith(('#|', '%matplotlib'))).strip('\n')


def absolute(path, module):
    "A module as an import names it, without leading dots."
    dots = len(path)-len(path.lstrip('.'))
    return '.'.join(filter(None, [*module.split('.')[:-dots], path[dots:]])) if dots else path

class Names:
    "What every public name means, and from which page a word in backticks is understood."
    def __init__(self):
        self.of = {} # module -> its symbols by name
        for p in notebooks():
            module = f'ftkit.{name_of(p)}'
            source = ROOT/Path(*module.split('.')).with_suffix('.py')
            if not source.exists(): continue
            found = [x for s in symbols(source, module) for x in (s, *s.methods)]
            self.of[module] = {s.name: s for s in found}
        tree = ast.parse((ROOT/'ftkit/__init__.py').read_text(encoding='utf-8'))
        table = next(n.value for n in tree.body if isinstance(n, ast.Assign) and n.targets[0].id=='_pages')
        self.public = {name: f'ftkit.{page}' for page,names in ast.literal_eval(table).items() for name in names.split()}

    def imported(self, nb, module=''):
        "Names that the code of a notebook imports from ftkit, by an absolute or a relative path -> their module."
        out = {}
        for c in nb.cells:
            for m in re.finditer(r'^from (ftkit[\w.]*|\.[\w.]*) import \(?([^\n]+(?:\n +[^\n]+)*)', c.source if c.cell_type=='code' else '', re.M):
                home = absolute(m[1], module)
                for name in re.findall(r'\w+', m[2]): out[name] = self.public.get(name) if home=='ftkit' else home
        return out

    def find(self, word, module='', imported=()):
        "The symbol or module that a word in backticks means here, if any."
        word = re.sub(r'^(await )?([\w.]+)\(.*\)$', r'\2', word.strip())
        if not re.fullmatch(r'[A-Za-z_][\w.]*', word): return None
        first = dict(imported).get(word.split('.')[0])
        for home in filter(None, (module, first, self.public.get(word.split('.')[0]))):
            if word in self.of.get(home, ()): return self.of[home][word]
        if word.startswith('ftkit.'):
            home, _, name = word.rpartition('.')
            if name in self.of.get(home, ()): return self.of[home][name]
            if word in self.of: return word
            return self.find(word[6:])
        if '.' in word or '_' in word or (word[:1].isupper() and len(word)>3): # telling enough to be looked for everywhere
            hits = [s for names in self.of.values() for n,s in names.items() if n==word or f'{s.module}.{n}'.endswith(f'.{word}') and '.' in word]
            if len(hits)==1: return hits[0]
        page = f'ftkit.{word}'
        return page if page in self.of and page!=module else None

def reference(found, word):
    "A link to a symbol or a page."
    if isinstance(found, Symbol): return f'{{py:obj}}`{word} <{found.full}>`'
    return f'{{py:mod}}`{word} <{found}>`'

def linked(text, find):
    "Prose with its backticked names as links; fenced blocks, headings and links stay as they are."
    out, fenced = [], False
    for line in text.split('\n'):
        if line.startswith('```'): fenced = not fenced
        if fenced or line.startswith(('#', '```')): out.append(line); continue
        pieces = re.split(r'(\[[^\]]*\]\([^)]*\)|``[^`]+``|`[^`]+`)', line)
        out.append(''.join(reference(f, p[1:-1]) if p.startswith('`') and not p.startswith('``') and (f := find(p[1:-1])) else p for p in pieces))
    return '\n'.join(out)

def site_path(path):
    "Where a notebook is on the site, without its ending: pages at the top, by their module."
    return f'tutorials/{slug(path.stem)}' if path.parent.name=='tutorials' else name_of(path)

def follow(target, path):
    "A link from a notebook to another, as it leads on the site."
    to, _, section = target.partition('#')
    there = (path.parent/to).resolve()
    if not there.is_file(): raise ValueError(f'{path.relative_to(NBS)} links to {to}, which is not there')
    return os.path.relpath(f'{site_path(there)}.ipynb', Path(site_path(path)).parent)+(f'#{section}' if section else '')

def prose(text, find, path):
    "A Markdown cell for Sphinx: Quarto's callouts and links to notebooks translated."
    text = re.sub(r'^:{3,}\s*\{\.callout-(\w+)[^}]*\}[ \t]*\n(.*?)^:{3,}[ \t]*$', r':::{\1}\n\2:::', text, flags=re.M|re.S)
    text = re.sub(r'\]\(((?!\w+:)[^)\s]+\.ipynb(?:#[^)\s]*)?)\)', lambda m: f']({follow(m[1], path)})', text)
    text = re.sub(r'^```sh$', '```console', text, flags=re.M) if '\n$ ' in text else text
    return linked(text, find)

def cell_text(said): return said.replace('|', '\\|').replace('\n', ' ')

def type_links(said, find):
    "A type, its names linked."
    if not said: return ''
    f = find(said.strip('"\''))
    return reference(f, said) if f else f'`{cell_text(said)}`'

def table(symbol, find):
    "Parameters, or fields, with what each means; nothing when there is nothing to say."
    has = [any(p[i] for p in symbol.params) for i in range(4)]
    gives = symbol.kind not in ('class', 'exception') and any(symbol.returns)
    if not (symbol.params and any(has[1:]) or gives): return ''
    columns = [0, *(i for i in (1, 2, 3) if has[i] or (gives and i!=2 and symbol.returns[0 if i==1 else 1]))]
    head = ('', 'type', 'default', 'meaning')
    row = lambda p: [f'`{p[0]}`', type_links(p[1], find), f'`{cell_text(p[2])}`' if p[2] else '', linked(cell_text(p[3]), find)]
    rows = [row(p) for p in symbol.params]
    if gives: rows.append(['*returns*', type_links(symbol.returns[0], find), '', linked(cell_text(symbol.returns[1]), find)])
    line = lambda r: '| '+' | '.join(r[i] for i in columns)+' |'
    return '\n'.join([line(head), '|'+'---|'*len(columns), *map(line, rows)])

def entry(s, find, colons=5):
    "One symbol as a directive of the Python domain."
    fence = ':'*colons
    options = [':async:'] if isinstance(s.node, ast.AsyncFunctionDef) else []
    if s.kind=='method' and 'classmethod' in {ast.unparse(d) for d in getattr(s.node, 'decorator_list', ())}: options.append(':classmethod:')
    shown = s.name.split('.')[-1] if colons<5 else s.name
    bases = [f for b in s.bases if isinstance(f := find(b), Symbol)]
    inherits = f'Has all that {", ".join(reference(b, b.name) for b in bases)} has.' if bases and s.kind=='class' else ''
    parts = [f'{fence}{{py:{s.kind}}} {shown}{s.signature}', *options, '', linked(s.doc, find), '', inherits, '', table(s, find), '', *(entry(m, find, colons-1) for m in s.methods if m.doc or m.params), fence]
    return '\n'.join(parts)

def defined(source, constants=False):
    "Names that an exported cell defines at its top, methods added to a class included."
    for n in ast.parse(source).body:
        if isinstance(n, ast.Assign) and (constants or isinstance(n.value, ast.Name)): yield from (t.id for t in n.targets if isinstance(t, ast.Name))
        if isinstance(n, ast.ClassDef): yield n.name
        if isinstance(n, FUNCTION):
            patched = any(getattr(d, 'id', '')=='patch' for d in n.decorator_list)
            yield f'{ast.unparse(n.args.args[0].annotation)}.{n.name}' if patched else n.name

def is_imports(source):
    try: return all(isinstance(n, (ast.Import, ast.ImportFrom)) or isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant) for n in ast.parse(source).body)
    except SyntaxError: return False

def folded(source, module, lines, what=''):
    "Source of an exported cell, to be opened, with its place in the repository."
    file = f'{module.replace(".", "/")}.py'
    where = f'<a href="{settings["git_url"]}/blob/{settings["branch"]}/{file}#L{lines}">{file}</a>' if lines else file
    return f'<details class="source"><summary>Source{what}</summary>\n<p>{where}</p>\n\n```python\n{source}\n```\n\n</details>'

def groups(source, module):
    "Private classes that only hold fields for a public one, as symbols."
    for n in ast.parse(source).body:
        if isinstance(n, ast.ClassDef): yield Symbol(module, n.name, 'class', n, params=fields(n, comments(source), {}))

def exported(source, module, names, find):
    "An exported cell for the reader: its symbols, then its source."
    if not source.strip() or is_imports(source): return ''
    mine = [names.of[module][n] for n in defined(source) if n in names.of.get(module, ())]
    if not mine:
        held = '\n\n'.join(filter(None, (table(s, find) for s in groups(source, module))))
        if held: return f'{held}\n\n{folded(source, module, None)}'
        return f'```python\n{source}\n```' if len(source.splitlines())<=12 else folded(source, module, None, f' of {", ".join(f"<code>{n}</code>" for n in defined(source, constants=True))}')
    return '\n\n'.join([*(entry(s, find) for s in mine), folded(source, module, mine[0].line)])

WIDGET = 'application/vnd.jupyter.widget-view+json'

def without_widgets(outputs):
    "Outputs as a page without a kernel can show them: a panel leaves its table."
    for o in outputs:
        if WIDGET in o.get('data', {}) and len(o['data'])>1: del o['data'][WIDGET]
    return outputs

def page(path, names, module=''):
    "A notebook as myst-nb reads it."
    nb = nbformat.read(path, 4)
    imported = names.imported(nb, module)
    find = lambda word: names.find(word, module, imported)
    cells = []
    for c in nb.cells:
        if c.cell_type=='markdown':
            text = prose(c.source, find, path)
            if not cells: # title and its line
                text = re.sub(r'^> (.*)$', r'{.lead}\n\1', text, flags=re.M)
                if module: text = re.sub(r'^(# .*)$', rf'\1\n\n:::{{py:module}} {module}\n:::', text, count=1, flags=re.M)
            cells.append(new_markdown_cell(text)); continue
        said, source = directives(c.source), shown_code(c.source)
        if c.cell_type!='code' or 'hide' in said or 'default_exp' in said: continue
        if 'export' in said:
            if text := exported(source, module, names, find): cells.append(new_markdown_cell(text))
            if not c.outputs: continue
            source = ''
        if not source.strip() and not c.outputs: continue
        c.source, c.outputs = source, without_widgets(c.outputs)
        c.metadata = {'tags': ['remove-input']*(not source)}
        cells.append(c)
    nb.cells = cells
    nb.metadata = {'kernelspec': dict(name='python3', display_name='Python 3', language='python'), 'language_info': {'name': 'python'}}
    return nb
