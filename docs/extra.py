"Pages made from other files than notebooks: error messages from the code, benchmarks from their results."
import ast, json, re

from pages import ROOT, name_of


def pattern(node):
    "The text of a message with … for what is known only when it is raised, and how many characters are fixed."
    if isinstance(node, ast.Constant): return str(node.value)
    if isinstance(node, ast.JoinedStr): return ''.join(map(pattern, node.values))
    if isinstance(node, ast.FormattedValue): return f'‹{node.value.id}›' if isinstance(node.value, ast.Name) else f'‹{node.value.attr}›' if isinstance(node.value, ast.Attribute) else '…'
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add): return pattern(node.left)+pattern(node.right)
    if isinstance(node, ast.IfExp):
        a, b = pattern(node.body), pattern(node.orelse)
        return max(a, b, key=words_in)
    return '…'

def words_in(text): return len(re.findall(r'[a-z]{2,}', re.sub(r'‹[^›]*›', '', text)))

def exceptions(trees):
    "Names of ftkit's own exceptions, and of functions that do nothing but raise one."
    names, grown = {'FtkitError', 'ValueError', 'AttributeError'}, True
    while grown:
        more = {n.name for t in trees for n in ast.walk(t) if isinstance(n, ast.ClassDef) and any(getattr(b, 'id', '') in names-{'ValueError'} for b in n.bases)}
        grown = not more<=names
        names |= more
    ways = {n.name for t in trees for n in t.body if isinstance(n, ast.FunctionDef) and len(n.body)==2 and isinstance(n.body[1], ast.Raise)
            and {getattr(a, 'id', '') for a in getattr(n.body[1].exc, 'args', ())} & {a.arg for a in n.args.args}}
    return names, ways

IMPERATIVE = 'give|use|write|pass|set|run|install|leave|make|choose|put|start|name|take|add|ask|train|open|load|export|split|wait|register|check|send|say|remove|download|merge|raise|lower|look|review|approve|evaluate|annotate|pick|call|try|fetch|keep|store|build|move|create|point|restore|free|log|delete|did you mean|pip install'

def advice(message):
    "A message as (what is wrong, what to do)."
    for mark in (r'; ', r'; to ', r': ', r', so ', r'\. ', r' -- '):
        for m in re.finditer(mark, message):
            rest = message[m.end():]
            if mark=='; ' or re.match(rf'(?:{IMPERATIVE})\b', rest, re.I): return message[:m.start()], rest
    return message, ''

def messages():
    "Every error that ftkit raises: (module, function, exception, message)."
    files = [p for p in sorted((ROOT/'ftkit').rglob('*.py')) if not p.name.startswith('_')]
    trees = {p: ast.parse(p.read_text(encoding='utf-8')) for p in files}
    names, ways = exceptions(trees.values())
    for path,tree in trees.items():
        module = '.'.join(path.relative_to(ROOT).with_suffix('').parts)
        for outer, name in owners(tree):
            for n in ast.walk(outer):
                if not isinstance(n, ast.Call) or getattr(n.func, 'id', '') not in names|ways: continue
                said = next((p for p in map(pattern, [*n.args, *(k.value for k in n.keywords)]) if words_in(p)>=2), None)
                if said: yield module, name, n.func.id if n.func.id in names else 'AdapterRefused', said

def owners(tree):
    "(function, name as documented) for each function, methods under their class."
    for n in tree.body:
        if isinstance(n, ast.ClassDef): yield from ((f, f'{n.name}.{getattr(f, "name", "")}'.rstrip('.')) for f in n.body)
        else: yield n, getattr(n, 'name', '')

def errors_page(names):
    "What ftkit says when it refuses, and what to do."
    from pages import notebooks, reference
    by_module = {}
    for module,name,kind,said in messages(): by_module.setdefault(module, {}).setdefault((kind, ' '.join(said.split())), name)
    total = sum(map(len, by_module.values()))
    out = ['# Error messages', '{.lead}\nEvery message that ftkit raises, and what to do about it.',
           f'All {total} are subclasses of {reference(names.find("FtkitError"), "FtkitError")}, a `ValueError`, unless noted. ‹name› and … stand for what is filled in. This page is read from the code; search it for the words you see.']
    for p in sorted(notebooks(), key=lambda p: (-int(p.parent.name.split('_')[0]), p.name)):
        module = f'ftkit.{name_of(p)}'
        if not (found := by_module.pop(module, None)): continue
        out.append(f'## {name_of(p)}')
        for (kind, said), name in found.items():
            wrong, todo = advice(said)
            source = names.find(name, module) or names.find(name.split('.')[0], module) or module
            own = '' if kind=='FtkitError' else f', a `{kind}`'
            short = (name if not isinstance(source, str) else name_of(p))
            meta = f'from {reference(source, short)}{own}'
            body = [f'`{code(wrong)}`', *([f'**To do:** {plain(todo)}'] if todo else []), meta]
            out.append(':::{container} message\n'+'\n\n'.join(body)+'\n:::')
    if by_module: raise ValueError(f'errors of {", ".join(by_module)} belong to no page')
    return '\n\n'.join(out)

def code(text): return text.replace('`', '\'')

def plain(text): return re.sub(r'([\\*_\[\]<>{}|$])', r'\\\1', text) if '`' not in text else re.sub(r'([*_<>$])(?=[^`]*(?:`[^`]*`[^`]*)*$)', r'\\\1', text)

def figure(v):
    if isinstance(v, bool) or v is None: return {True: 'yes', False: 'no', None: ''}[v]
    if isinstance(v, float): return f'{v:,.0f}' if abs(v)>=1000 else f'{v:.4g}'
    if isinstance(v, int): return f'{v:,}'
    return cell(', '.join(map(figure, v)) if isinstance(v, list) else str(v))

def cell(text): return text.replace('|', '\\|').replace('\n', ' ').replace('<', '\\<').replace('_', '\\_').replace('*', '\\*')

def flat(d, before=''):
    "Nested facts as dotted names."
    for k,v in d.items():
        if isinstance(v, dict): yield from flat(v, f'{before}{k}.')
        else: yield f'{before}{k}', v

def rows_table(rows):
    rows = [dict(flat(r)) for r in rows]
    keys = sorted(dict.fromkeys(k for r in rows for k in r if r[k] is not None), key=lambda k: not any(isinstance(r.get(k), str) for r in rows)) # what it is comes first
    right = lambda k: '---:' if all(isinstance(r.get(k), (int, float, type(None))) for r in rows) else '---'
    return '\n'.join(['| '+' | '.join(cell(k.replace('_', ' ')) for k in keys)+' |', '|'+'|'.join(map(right, keys))+'|', *('| '+' | '.join(figure(r.get(k)) for k in keys)+' |' for r in rows)])

def facts_table(facts):
    return '\n'.join(['| | |', '|---|---|', *(f'| {cell(k.replace("_", " "))} | {figure(v)} |' for k,v in facts)])

def against(r):
    "The target of one comparison, as a person says it."
    return f'at {r["at"]} {figure(float(r["target"]))}'

def compared(rows):
    "Comparisons as a table, and what stands behind each below it."
    shown = [{'what': r['row'], 'compared with': r['baseline'], 'figure': r['ratio'], 'target': against(r), 'reached': r['reached'], 'lowest to highest': f'{figure(r["lowest"])} to {figure(r["highest"])}', 'rounds': r['rounds']} for r in rows]
    plain = ('row', 'baseline', 'ratio', 'at', 'target', 'reached', 'lowest', 'highest', 'rounds', 'note')
    more = [f'**{cell(r["row"])}**\n\n{facts_table(flat({k: v for k,v in r.items() if k not in plain}))}' for r in rows if set(r)-set(plain)]
    notes = [f'- {plain_note(r)}' for r in rows if r.get('note')]
    return '\n\n'.join(filter(None, [rows_table(shown), '\n'.join(notes), '<details><summary>Figures behind each row</summary>\n\n'+'\n\n'.join(more)+'\n\n</details>' if more else '']))

def plain_note(r): return f'**{cell(r["row"])}**: {cell(r["note"])}'

def drawn(points, x, y, name):
    "A curve as a small picture: doublings along the bottom, zero at the left."
    from math import log2
    xs, ys = [log2(p[x]) for p in points], [p[y] for p in points]
    at = [(50+400*(v-xs[0])/(xs[-1]-xs[0] or 1), 150-120*w/max(ys)) for v,w in zip(xs, ys)]
    line = ' '.join(f'{a:.0f},{b:.0f}' for a,b in at)
    marks = ''.join(f'<circle cx="{a:.0f}" cy="{b:.0f}" r="3" fill="currentColor"/><text x="{a:.0f}" y="{b-8:.0f}" text-anchor="middle">{figure(float(p[y]))}</text><text x="{a:.0f}" y="168" text-anchor="middle">{figure(p[x])}</text>' for (a,b),p in zip(at, points))
    words = f'<text x="250" y="188" text-anchor="middle">{x.replace("_", " ")}</text><text x="4" y="16">{y.replace("_", " ")}</text>'
    return f'<svg viewBox="0 0 500 195" width="500" role="img" aria-label="{name}: {y} by {x}" font-size="11" fill="currentColor"><path d="M50 150H450" stroke="currentColor" opacity=".4"/><polyline points="{line}" fill="none" stroke="currentColor" stroke-width="1.5"/>{marks}{words}</svg>'

def curve(name, about):
    "One curve: what it compares, a picture, its points."
    told = ', '.join(f'{k} {figure(v)}' for k,v in about.items() if k not in ('against', 'x', 'y', 'points'))
    return '\n\n'.join([f'**{name}** ({about["against"]}'+(f'; {told})' if told else ')'), drawn(about['points'], about['x'], about['y'], name), rows_table(about['points'])])

def benchmark(path):
    "One result file: its program's first words, tables of its rows, then the facts of the machine and the run."
    about, script = json.loads(path.read_text(encoding='utf-8')), ROOT/'benchmarks'/f'{path.stem}.py'
    doc = ast.get_docstring(ast.parse(script.read_text(encoding='utf-8'))) if script.exists() else ''
    doc = re.sub(r'\s*Usage:.*', '', doc or '')
    if isinstance(about, list): about = dict(results=about)
    out, curves = [f'## {path.stem.replace("_", " ")}', doc], about.pop('curves', {})
    if 'environment' in about: out.append(compared(about.pop('rows')))
    is_rows = lambda v: isinstance(v, list) and v and all(isinstance(r, dict) for r in v)
    rows = {k: v for k,v in about.items() if is_rows(v)}
    facts = [(k, v) for k,v in flat({k: v for k,v in about.items() if k not in rows}) if not is_rows(v)]
    for k,v in rows.items(): out += [f'**{k.replace("_", " ")}**' if len(rows)>1 else '', rows_table(v)]
    out += [curve(k, c) for k,c in curves.items()]
    if facts: out.append(f'<details{" open" if not rows and len(out)<3 else ""}><summary>Conditions</summary>\n\n{facts_table(facts)}\n\n</details>')
    out.append(f'From `benchmarks/results/{path.name}`'+(f'; `python benchmarks/{script.name}` writes it again.' if script.exists() else '.'))
    return '\n\n'.join(filter(None, out))

def benchmarks_page():
    "All result files on one page."
    files = sorted((ROOT/'benchmarks'/'results').glob('*.json'))
    lead = 'Every figure of a comparison is the median of its rounds. In a round the sides take turns, so a busy moment meets all of them; that they compute the same is checked first. `make bench` measures everything again.'
    return '\n\n'.join(['# Benchmarks', '{.lead}\nWhat was measured, on which machine, and how to measure it again.', lead, *map(benchmark, files)])

def changelog_page(): return (ROOT/'CHANGELOG.md').read_text(encoding='utf-8')
