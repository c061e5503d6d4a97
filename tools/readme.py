"Render README.md from nbs/index.ipynb: its text, its code, and the outputs stored in it. The table of rooms is brought up to date first."
import json, re
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent

def output_text(output):
    "An output as Markdown."
    data = output.get('data', {})
    if 'text/markdown' in data: return data['text/markdown']
    text = output.get('text') or data.get('text/plain', '')
    return f'```\n{text.rstrip()}\n```' if text.strip() else ''

def from_root(text):
    "Links of a page in `nbs/`, as they lead from the repository's root."
    there = lambda m: f'](nbs/{m[1]})' if (ROOT/'nbs'/m[1].split('#')[0]).is_file() else m[0]
    return re.sub(r'\]\(([^)\s]+)\)', there, text)

def render(cell):
    "A cell as Markdown; hidden cells give nothing."
    if cell.cell_type=='markdown': return from_root(cell.source)
    lines = cell.source.splitlines()
    if any(l.startswith('#| hide') for l in lines): return ''
    shown = '\n'.join(l for l in lines if not l.startswith('#|'))
    return '\n\n'.join(filter(None, [f'```python\n{shown}\n```', *map(output_text, cell.get('outputs', []))]))

def page_links(room):
    "The pages of a room, each a link from `nbs/`."
    name = lambda p: re.match(r'#\|\s*default_exp\s+(\S+)', nbformat.read(p, 4).cells[0].source)[1].removeprefix(f'{room.name.partition("_")[2]}.')
    return ' · '.join(f'[{name(p)}]({room.name}/{p.name})' for p in sorted(room.glob('*.ipynb')))

def house(text):
    "The table of rooms with the pages that are there, top floor first; what a room hands up is written by hand."
    rooms = sorted((p for p in (ROOT/'nbs').iterdir() if p.is_dir() and re.match(r'\d+_', p.name)), reverse=True)
    said = dict(re.findall(r'^\| `(\d+_\w+)` \|.*\| ([^|\n]*) \|$', text, re.M))
    rows = [f'| `{r.name}` | {page_links(r)} | {said.get(r.name, "").strip()} |' for r in rooms]
    return '\n'.join(['| room | pages | hands up |', '|---|---|---|', *rows])

def write_house(path):
    "Bring the table of the front page up to date."
    nb = json.loads(path.read_text(encoding='utf-8'))
    for c in nb['cells']:
        if c['source'] and c['source'][0].startswith('| room | pages |'): c['source'] = house(''.join(c['source'])).splitlines(keepends=True)
    path.write_text(json.dumps(nb, indent=1, ensure_ascii=False, sort_keys=True)+'\n', encoding='utf-8')

def main():
    write_house(ROOT/'nbs'/'index.ipynb')
    cells = nbformat.read(ROOT/'nbs'/'index.ipynb', 4).cells
    note = '<!-- Rendered from nbs/index.ipynb by tools/readme.py: edit the notebook. -->'
    (ROOT/'README.md').write_text('\n\n'.join(filter(None, [note, *map(render, cells)]))+'\n', encoding='utf-8')

if __name__=='__main__': main()
