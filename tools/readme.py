"Render README.md from nbs/index.ipynb: its text, its code, and the outputs stored in it."
import re
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

def main():
    cells = nbformat.read(ROOT/'nbs'/'index.ipynb', 4).cells
    note = '<!-- Rendered from nbs/index.ipynb by tools/readme.py: edit the notebook. -->'
    (ROOT/'README.md').write_text('\n\n'.join(filter(None, [note, *map(render, cells)]))+'\n', encoding='utf-8')

if __name__=='__main__': main()
