"The site and the tutorials: built once, every link followed, every name found, three pages opened in Chromium."
import ast, json, os, re, resource, shutil, subprocess, sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parent.parent
NBS = ROOT/'nbs'
NODE = ROOT/'build'/'browser'/'node_modules'
NOTEBOOKS = [p for p in sorted(NBS.rglob('*.ipynb')) if '.ipynb_checkpoints' not in p.parts]
TUTORIALS = sorted((NBS/'tutorials').glob('[0-9]*.ipynb'))
pytestmark = pytest.mark.docs
name_of = lambda p: p.stem
ROOMS = sorted(p for p in NBS.iterdir() if p.is_dir() and re.match(r'\d+_', p.name))
PAGES = [p for room in ROOMS for p in sorted(room.glob('*.ipynb'))]

def cells(path, kind): return [''.join(c['source']) for c in json.loads(path.read_text())['cells'] if c['cell_type']==kind]


def module_of(path): return cells(path, 'code')[0].split()[-1]

def links_of(path):
    "Links in the prose of a notebook that stay in the project."
    text = '\n'.join(cells(path, 'markdown'))
    return [l for l in re.findall(r'\]\(([^)\s]+)\)', re.sub(r'```.*?```', '', text, flags=re.S)) if not urlsplit(l).scheme and not l.startswith('#')]

class Page(HTMLParser):
    "Ids, links, words, and code that is not a link, of one page."
    def __init__(self, path):
        super().__init__()
        self.ids, self.links, self.loads, self.loose, self.text, self.inside, self.word = set(), [], [], [], [], [], []
        self.feed(path.read_text(encoding='utf-8'))

    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        self.ids |= {a[k] for k in ('id', 'name') if a.get(k)}
        if tag=='a' and a.get('href'): self.links.append(a['href'])
        if tag in ('img', 'script', 'iframe') and a.get('src'): self.loads.append(a['src'])
        if tag=='link' and a.get('rel') not in ('index', 'search', 'next', 'prev', 'canonical'): self.loads.append(a['href'])
        if tag=='code': self.word = []
        if tag not in ('img', 'br', 'hr', 'meta', 'link', 'input', 'col'): self.inside.append(tag)

    def handle_endtag(self, tag):
        if tag=='code' and not {'a', 'pre', 'h1', 'h2', 'h3', 'dt', 'nav', 'td'} & set(self.inside): self.loose.append(''.join(self.word))
        while self.inside and self.inside.pop()!=tag: pass

    def handle_data(self, data):
        if not {'script', 'style'} & set(self.inside): self.text.append(data)
        if 'code' in self.inside: self.word.append(data)


@pytest.fixture(scope='session')
def site(tmp_path_factory):
    "The built site, as `make docs` builds it."
    out = tmp_path_factory.mktemp('docs')
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    r = subprocess.run([sys.executable, ROOT/'docs'/'build.py', '--out', out], capture_output=True, text=True, timeout=500)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert r.returncode==0, (r.stdout+r.stderr)[-4000:]
    assert after.ru_utime+after.ru_stime-before.ru_utime-before.ru_stime<120
    return out/'html'

@pytest.fixture(scope='session')
def built(site): return {str(p.relative_to(site)): Page(p) for p in site.rglob('*.html')}

def said(page): return ' '.join(' '.join(page.text).split())


def test_every_notebook_is_a_page(built):
    assert len(PAGES)>=100
    assert {f'{module_of(p)}.html' for p in PAGES}-set(built)==set()
    assert {f'tutorials/{re.sub(r"^[0-9]+_", "", p.stem)}.html' for p in NOTEBOOKS if p.parent.name=='tutorials'}-set(built)==set()

def test_every_room_is_a_shelf_with_its_pages_in_order(built):
    front = [c for c in cells(NBS/'index.ipynb', 'markdown') if c.startswith('| room | pages |')][0]
    rows = [row.strip('| ').split(' | ') for row in front.splitlines()[2:]]
    assert [r[0].strip('`') for r in rows]==[r.name for r in reversed(ROOMS)] and all(r[2:] and r[2] for r in rows), 'top floor first, and what each hands up'
    for room, row in zip(reversed(ROOMS), rows):
        pages, shelf = sorted(room.glob('*.ipynb')), built[f'rooms/{room.name.partition("_")[2]}.html']
        assert re.findall(r'\]\(([^)]+)\)', row[1])==[f'{room.name}/{p.name}' for p in pages], 'run `make notebooks`'
        listed = [l for l in shelf.links if l.startswith('../') and l.removeprefix('../').removesuffix('.html') in {module_of(p) for p in pages}]
        assert list(dict.fromkeys(listed))==[f'../{module_of(p)}.html' for p in pages]
        assert f'Hands up: {row[2]}' in said(shelf)

@pytest.mark.parametrize('path', NOTEBOOKS, ids=name_of)
def test_a_link_in_a_notebook_leads_to_a_file(path):
    assert [l for l in links_of(path) if not (path.parent/unquote(urlsplit(l).path)).exists()]==[]

def test_a_link_to_a_page_leads_to_it_from_every_folder(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT/'docs'))
    from pages import follow
    here, room = NBS/'20_data'/'36_clean.ipynb', NBS/'20_data'
    assert follow('42_split.ipynb', here)=='data.split.ipynb' and follow('../00_ground/00_core.ipynb#errors', here)=='core.ipynb#errors'
    assert follow('../20_data/36_clean.ipynb', NBS/'tutorials'/'04_search.ipynb')=='../data.clean.ipynb'
    assert follow('tutorials/04_search.ipynb', NBS/'index.ipynb')=='tutorials/search.ipynb' and follow('20_data/36_clean.ipynb', NBS/'index.ipynb')=='data.clean.ipynb'
    with pytest.raises(ValueError, match='links to 99_gone.ipynb, which is not there'): follow('99_gone.ipynb', room/'36_clean.ipynb')

def test_every_internal_link_leads_somewhere(site, built):
    wrong = []
    for name,page in built.items():
        for href in (*page.links, *page.loads):
            to = urlsplit(href)
            if to.scheme in ('http', 'https', 'mailto', 'data', 'javascript'): continue
            target = ((site/name).parent/unquote(to.path)).resolve() if to.path else site/name
            if not target.is_file(): wrong.append(f'{name}: {href}'); continue
            there = built.get(os.path.relpath(target, site.resolve()) if to.path else name)
            if to.fragment and there and unquote(to.fragment) not in there.ids: wrong.append(f'{name}: {href}')
    assert not wrong, wrong[:10]

def test_no_page_loads_anything_from_outside(site, built):
    assert not [(n, u) for n,p in built.items() for u in p.loads if urlsplit(u).scheme in ('http', 'https') or u.startswith('//')]
    for css in site.rglob('*.css'): assert not re.search(r'url\(["\']?(https?:)?//|@import', css.read_text(encoding='utf-8')), css.name

def test_every_public_name_has_an_entry_and_is_a_link_where_prose_names_it(built):
    import ftkit
    there = set().union(*(p.ids for p in built.values()))
    missing = [n for n,page in ftkit._home.items() if f'ftkit.{page}.{n}' not in there]
    assert not missing, missing
    loose = [(name, word) for name,p in built.items() for word in p.loose if word.strip('()') in ftkit.__all__ and name not in ('changelog.html', 'errors.html')]
    assert not loose, loose[:10]

def words_of_the_code():
    "Every identifier, option, key and file name that code here knows."
    python = [p.read_text(encoding='utf-8') for d in ('ftkit', 'tests', 'tools', 'benchmarks', 'docs') for p in (ROOT/d).rglob('*.py')]
    text = '\n'.join([*python, *(s for p in NOTEBOOKS for s in cells(p, 'code')), (ROOT/'settings.ini').read_text()])
    files = ' '.join([*(p.name for d in (ROOT, *(ROOT/d for d in ('tools', 'docs', 'benchmarks'))) for p in d.iterdir()), *(p.name for p in NBS.rglob('*')), *(r.name for r in ROOMS)])
    return {'psql', *re.findall(r'\w+', text+files)}

def test_names_in_backticks_are_names_of_the_code():
    known, wrong = words_of_the_code(), []
    for p in NOTEBOOKS:
        for text in cells(p, 'markdown'):
            for word in re.findall(r'(?<!`)`([^`\n]+)`(?!`)', re.sub(r'```.*?```', '', text, flags=re.S)):
                if re.fullmatch(r'[A-Za-z_][\w.]*(\(.*\))?', word): wrong += [(p.name, word) for part in word.split('(')[0].split('.') if part and not part.isdigit() and part not in known]
    assert not wrong, wrong

@pytest.mark.parametrize('path', NOTEBOOKS, ids=name_of)
def test_a_page_has_prose(path):
    prose = [c for c in cells(path, 'markdown') if not c.startswith('#')]
    assert len(' '.join(prose).split())>=40 and len(prose)>=3

@pytest.mark.parametrize('path', NOTEBOOKS, ids=name_of)
def test_imports_have_cells_of_their_own(path):
    "nbdev_docs runs every cell that imports, and runs no other: a mixed one would fail there."
    for source in cells(path, 'code'):
        if re.search(r'^#\| *(export|hide)', source, re.M) or 'nbdev_export()' in source: continue
        tree, imports = ast.parse(re.sub(r'^[%!].*$', '', source, flags=re.M)), (ast.Import, ast.ImportFrom)
        assert not any(isinstance(n, imports) for n in ast.walk(tree)) or all(isinstance(n, imports) for n in tree.body), source

def test_every_message_is_on_the_page_of_errors(built):
    page, lost = re.sub(r'\W+', ' ', said(built['errors.html'])), []
    for p in (ROOT/'ftkit').rglob('*.py'):
        for text in re.findall(r"""raise (?:Ftkit|Telemetry)Error\(f?(?:'([^'{\\]{16,})|"([^"{\\]{16,}))""", p.read_text(encoding='utf-8')):
            start = re.split(r'[;:] |, so |\. ', ''.join(text))[0]
            if re.sub(r'\W+', ' ', start.replace('`', ' ')).strip() not in page: lost.append((p.name, start))
    assert not lost, lost
    assert 'To do:' in said(built['errors.html']) and 'pip install "ftkit[postgres]"' in said(built['errors.html']), 'what is typed next can be copied'

def test_every_benchmark_is_on_its_page(built):
    page = said(built['benchmarks.html'])
    files = sorted((ROOT/'benchmarks'/'results').glob('*.json'))
    assert files and all(f.name in page for f in files)
    assert '0.914' in page or 'tiny_base.json' not in page

def test_notebook_results_are_shown(site):
    shown = lambda name: (site/name).read_text(encoding='utf-8')
    assert '#b7e4c7' in shown('train.preflight.html') # coloured tokens
    assert 'class="cell_output' in shown('panels.approval.html')+shown('panels.experiments.html') and '<table' in shown('panels.approval.html')+shown('panels.experiments.html') # a panel leaves its table
    assert 'image/png' in shown('evals.metrics.html') or '_images/' in shown('evals.metrics.html')
    assert '#|' not in shown('core.html') and 'nbdev_export' not in shown('core.html')

def test_the_source_of_a_parameter_table(site):
    html = (site/'data.clean.html').read_text(encoding='utf-8')
    entry = html[html.index('id="ftkit.data.clean.clean"'):]
    entry = entry[:entry.index('</dd>')]
    assert 'names in <a class="reference' in entry or 'names in ' in entry and 'run in order' in entry
    assert 'what is kept, with its account' in entry and 'RecordDataset' in entry

def test_search_finds_names(site):
    assert '"finetune"' in (site/'searchindex.js').read_text(encoding='utf-8').replace('finetune:', '"finetune":')
    assert (site/'objects.inv').stat().st_size>1000

@pytest.mark.parametrize('path', TUTORIALS, ids=name_of)
def test_a_tutorial_tells_what_it_needs_and_what_comes_next(path):
    prose, code = cells(path, 'markdown'), cells(path, 'code')
    assert '**You need**' in prose[1] and '**It takes**' in prose[1]
    assert prose[-1].startswith('**Next:**')
    assert not re.search(r'^\s*(async )?def |^class ', '\n'.join(code), re.M), 'a tutorial has no helpers'
    first = ast.parse('\n'.join(l for l in code[0].splitlines() if not l.startswith('#|'))).body
    assert all(isinstance(n, ast.Assign) for n in first), 'its first code cell holds the parameters'

@pytest.mark.parametrize('path', [p for p in TUTORIALS if 'gpu' not in p.stem and '#| slow' not in p.read_text()], ids=name_of)
def test_a_tutorial_shows_its_outputs(path):
    outputs = [o for c in json.loads(path.read_text())['cells'] for o in c.get('outputs', [])]
    assert outputs and not [o for o in outputs if o['output_type']=='error']

def test_the_readme_shows_files_that_are_there():
    text = (ROOT/'README.md').read_text(encoding='utf-8')
    links = [l for l in re.findall(r'\]\(([^)\s]+)\)', text) if not urlsplit(l).scheme]
    assert links and all((ROOT/l).is_file() for l in links), links
    settings = (ROOT/'settings.ini').read_text()
    assert 'Python 3.10 or newer' in text and 'min_python = 3.10' in settings and 'Apache-2.0' in text and 'license = apache2' in settings
    assert (NBS/'pipeline.svg').stat().st_size<10_000

def test_nothing_of_ours_lets_nbdev_install_quarto():
    for p in (ROOT/'Makefile', *(ROOT/'tools').iterdir(), *(ROOT/'.ci').iterdir()):
        if not p.is_file(): continue
        text = p.read_text(encoding='utf-8')
        for m in re.finditer(r'nbdev_(docs|prepare|preview|readme)\b', text): assert 'command -v quarto' in text[:m.start()], p.name

def test_three_pages_in_chromium(site):
    chromium = os.environ.get('CHROMIUM') or shutil.which('chromium')
    for what,there in (('chromium', chromium), ('node', shutil.which('node')), ('playwright-core', (NODE/'playwright-core').is_dir())):
        if not there: pytest.skip(f'{what} is not here; tools/browser.sh installs it')
    art = Path(os.environ.get('FTKIT_ARTEFACTS') or ROOT/'build'/'artefacts'); art.mkdir(parents=True, exist_ok=True)
    pages = ['index.html', 'data.clean.html', 'tutorials/first_adapter.html', 'search.html?q=finetune']
    r = subprocess.run(['node', ROOT/'tests'/'browser'/'pages.js', site, art, *pages], env={**os.environ, 'NODE_PATH': str(NODE), 'CHROMIUM': chromium}, capture_output=True, text=True, timeout=240)
    assert r.returncode==0, r.stderr[-2000:]
    res = json.loads(r.stdout)
    assert res['errors']==[] and res['outside']==[] and len(res['seen'])==2*len(pages)
    for seen in res['seen']: assert (seen['headings']==1 or 'search' in seen['page']) and seen['broken']==0 and seen['wider']<=0, seen
    assert all(s['hits']>0 for s in res['seen'] if 'search' in s['page'])
