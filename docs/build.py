"Build the site from the notebooks: `python docs/build.py [--out FOLDER]`. Nothing is executed and nothing is fetched."
import argparse, json, shutil, sys, time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from nbformat.v4 import new_markdown_cell
import nbformat

from extra import benchmarks_page, changelog_page, errors_page
from pages import NBS, ROOT, Names, handed_up, linked, name_of, notebooks, page, pages_of, rooms, slug, tutorials

def toctree(caption, entries): return '\n'.join([':::{toctree}', ':hidden:', *([f':caption: {caption}'] if caption else []), '', *entries, ':::'])

def contents(index):
    "The shelves of the sidebar, on the front page."
    shelves = [toctree('Tutorials', ['tutorials/index', *(f'tutorials/{slug(p.stem)}' for p in tutorials())])]
    shelves.append(toctree('The house', [f'rooms/{slug(r.name)}' for r in rooms()]))
    index.cells.append(new_markdown_cell('\n\n'.join([*shelves, toctree('More', ['errors', 'benchmarks', 'changelog'])])))
    return index

def first_lines(path):
    "Title, line, and what a tutorial needs."
    cells = [''.join(c['source']) for c in json.loads(path.read_text(encoding='utf-8'))['cells'] if c['cell_type']=='markdown']
    title, line = cells[0].split('\n\n> ')
    line = line.split('\n\n')[0]
    needs = next((c.split('\n\n')[0] for c in cells[1:3] if c.startswith('**You need**')), '')
    return title.removeprefix('# '), line, needs

def shelf():
    "The page of tutorials."
    out = ['# Tutorials', '{.lead}\nEach tells one story from telemetry to a result, and runs from top to bottom.']
    for p in tutorials():
        title, line, needs = first_lines(p)
        out.append(f'## [{title}]({slug(p.stem)}.ipynb)\n\n{line}\n\n{needs}')
    return '\n\n'.join(out)

def room_page(room):
    "A shelf: what the room hands up, and its pages in reading order."
    pages = pages_of(room)
    lines = [f'- [{name_of(p)}](../{name_of(p)}.ipynb): {first_lines(p)[1]}' for p in pages]
    up = f'Hands up: {handed_up()[room.name]}.'
    return '\n\n'.join([f'# {slug(room.name).capitalize()}', f'{{.lead}}\n{up}', '\n'.join(lines), toctree('', [f'../{name_of(p)}' for p in pages])])

def write_sources(folder):
    "Everything Sphinx reads, under one folder."
    shutil.rmtree(folder, ignore_errors=True)
    for shelf_folder in ('tutorials', 'rooms'): (folder/shelf_folder).mkdir(parents=True)
    names = Names()
    for p in notebooks(): nbformat.write(page(p, names, f'ftkit.{name_of(p)}'), folder/f'{name_of(p)}.ipynb')
    for p in tutorials(): nbformat.write(page(p, names), folder/'tutorials'/f'{slug(p.stem)}.ipynb')
    nbformat.write(contents(page(NBS/'index.ipynb', names)), folder/'index.ipynb')
    for picture in NBS.rglob('*.svg'): shutil.copy(picture, folder/(picture.name if picture.parent in rooms() else picture.relative_to(NBS)))
    made = {'tutorials/index.md': shelf(), 'errors.md': errors_page(names), 'benchmarks.md': linked(benchmarks_page(), names.find), 'changelog.md': changelog_page()}
    made |= {f'rooms/{slug(r.name)}.md': linked(room_page(r), names.find) for r in rooms()}
    for name,text in made.items(): (folder/name).write_text(text, encoding='utf-8')
    return len(list(folder.rglob('*.ipynb')))+len(made)

def build(out):
    "Sources, then the site; every warning is an error. The site's folder."
    from sphinx.cmd.build import build_main
    out = Path(out)
    shutil.rmtree(out/'html', ignore_errors=True)
    began, n = time.monotonic(), write_sources(out/'src')
    if build_main(['-W', '--keep-going', '-q', '-E', '-b', 'html', '-c', str(HERE), '-d', str(out/'doctrees'), str(out/'src'), str(out/'html')]): sys.exit('the site has warnings, see above')
    print(f'{n} pages in {time.monotonic()-began:.0f} s: {out/"html"/"index.html"}')
    return out/'html'

if __name__=='__main__':
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument('--out', default=ROOT/'build'/'docs', help='folder for sources and site')
    build(ap.parse_args().out)
