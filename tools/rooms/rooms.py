"""Move the pages of a tree into rooms. Usage: rooms.py TREE  (uses rooms_map.ROOMS)"""
import ast, json, re, subprocess, sys, uuid
from collections import defaultdict
from pathlib import Path
sys.path.insert(0, '/tmp/t')
from rooms_map import ROOMS, INITS

T = Path(sys.argv[1]); NBS, PKG = T/'nbs', T/'ftkit'
def load(p): return json.loads(Path(p).read_text())
def save(p, nb): p.parent.mkdir(parents=True, exist_ok=True); p.write_text(json.dumps(nb, indent=1, ensure_ascii=False, sort_keys=True)+'\n')
def src(c): return ''.join(c['source'])
def put(c, s): c['source'] = s.splitlines(True)
import hashlib, itertools
_n = itertools.count()
def fresh(): return f'new{next(_n):05d}'
def new(kind, s):
    c = dict(cell_type=kind, id=fresh(), metadata={}, source=s.splitlines(True))
    if kind=='code': c.update(execution_count=None, outputs=[])
    return c
exported = lambda c: c['cell_type']=='code' and src(c).startswith('#| export')

# ---- names before: old module -> names it binds at top level, and where imported names come from
def module_of_nb(nb): return src(nb['cells'][0]).split()[-1]
OLD = {p.stem: load(p) for p in NBS.glob('*.ipynb') if p.stem!='index'}
oldmod = {stem: module_of_nb(nb) for stem,nb in OLD.items()}

def defs(code):
    out = []
    for n in ast.parse(code).body:
        if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)): out.append(n.name)
        elif isinstance(n, (ast.Assign, ast.AnnAssign)):
            for t in (n.targets if isinstance(n, ast.Assign) else [n.target]):
                out += [x.id for x in ast.walk(t) if isinstance(x, ast.Name)]
    return out
def clean_code(s): return re.sub(r'^(%|!).*$', 'pass', s, flags=re.M)

# ---- choose cells
def sections(nb):
    "heading -> cell indexes; '' for what comes before the first heading"
    cur, out = '', defaultdict(list)
    for i,c in enumerate(nb['cells']):
        s = src(c)
        if c['cell_type']=='markdown' and s.startswith('## '): cur = s.splitlines()[0][3:].strip()
        out[cur].append(i)
    return out
def blocks(nb, idx):
    "groups of cells: prose + exported cell(s) + examples after it"
    out, cur, state = [], [], 'start'
    for i in idx:
        c = nb['cells'][i]; kind = 'x' if exported(c) else 'm' if c['cell_type']=='markdown' else 'e'
        if cur and ((kind=='m' and state in ('x','e')) or (kind=='x' and state in ('x', 'e'))): out.append(cur); cur = []
        cur.append(i); state = kind
    if cur: out.append(cur)
    return out

plan = {}          # new path -> (module, blurb, cells)
used = defaultdict(set)
heads = {}
for path,(module, blurb, parts) in ROOMS.items():
    cells = []
    for stem,sel in parts:
        nb = OLD[stem]; sec = sections(nb)
        tail = {len(nb['cells'])-1}
        if sel=='*': idx = [i for i in range(len(nb['cells'])) if i not in tail]
        else:
            idx = []
            for s in sel:
                if s in sec: idx += [i for i in sec[s] if i not in tail]
                else:
                    hit = [b for b in blocks(nb, range(len(nb['cells'])-1)) if any(exported(nb['cells'][i]) and s in defs(clean_code(src(nb['cells'][i]))) or nb['cells'][i].get('id')==s for i in b)]
                    if len(hit)!=1: sys.exit(f'{path}: {s!r} found {len(hit)} times in {stem}; headings: {list(sec)}')
                    idx += [i for i in hit[0] if not src(nb['cells'][i]).startswith('## ')]
        cells += [(stem, i) for i in idx]
    plan[path] = [module, blurb, cells]
# an index chosen both by section and by name: the named one wins
named = defaultdict(set)
for path,(module, blurb, parts) in ROOMS.items():
    for stem,sel in parts:
        if sel=='*': continue
        sec = sections(OLD[stem])
        for s in sel:
            if s not in sec:
                for b in blocks(OLD[stem], range(len(OLD[stem]['cells'])-1)):
                    if any(exported(OLD[stem]['cells'][i]) and s in defs(clean_code(src(OLD[stem]['cells'][i]))) or OLD[stem]['cells'][i].get('id')==s for i in b): named[path] |= {(stem, i) for i in b}
for path,p in plan.items():
    others = set().union(*(v for k,v in named.items() if k!=path)) if named else set()
    p[2] = [c for c in p[2] if c not in others or c in named[path]]
for path,p in plan.items():
    seen = set(); p[2] = [c for c in p[2] if not (c in seen or seen.add(c))]
    for stem,i in p[2]: used[stem].add(i)
for stem,nb in OLD.items():
    sec = sections(nb)
    left = [i for h,ix in sec.items() for i in ix if i not in used[stem] and h!='' and i!=len(nb['cells'])-1 and not src(nb['cells'][i]).startswith('## ')]
    if left: print('NOT PLACED', stem, [(nb['cells'][i]['id'], src(nb['cells'][i])[:60]) for i in left][:8])

# ---- write new notebooks
for p in NBS.glob('*.ipynb'):
    if p.stem!='index': p.unlink()
first_for = {}
built, defined, origin = {}, {}, {}
for path,(module, blurb, cells) in plan.items():
    stems = list(dict.fromkeys(s for s,_ in cells))
    out = []
    lead = stems[0]
    whole = all(sel=='*' for _,sel in ROOMS[path][2])
    nb0 = OLD[lead]; intro = sections(nb0)['']
    if whole:
        out = [json.loads(json.dumps(nb0['cells'][i])) for s,i in cells]
        put(out[0], f'#| default_exp {module}')
        s = src(out[1]).splitlines(True); s[0] = f'# {module}\n'; out[1]['source'] = s
        if blurb: put(out[1], f'# {module}\n\n> {blurb}')
    else:
        keep = lead not in first_for and not any(ROOMS[q][2][0][0]==lead and q!=path and all(x=='*' for _,x in ROOMS[q][2]) for q in plan)
        head, title = (json.loads(json.dumps(nb0['cells'][0])), json.loads(json.dumps(nb0['cells'][1]))) if keep else (new('code', ''), new('markdown', ''))
        first_for.setdefault(lead, path)
        put(head, f'#| default_exp {module}')
        old_blurb = re.search(r'^> (.*)$', src(nb0['cells'][1]), re.M)[1]
        put(title, f'# {module}\n\n> {blurb or old_blurb}')
        out = [head, title]
        pro = [nb0['cells'][i] for i in intro[2:]] if keep else []
        out += [json.loads(json.dumps(c)) for c in pro if c['cell_type']=='markdown']
        for kind in (True, False):
            merged = '\n'.join(src(c).replace('#| export\n','').strip() for s in stems for c in (OLD[s]['cells'][i] for i in sections(OLD[s])['']) if c['cell_type']=='code' and exported(c)==kind and re.search(r'^\s*(import|from) ', src(c), re.M))
            if not merged.strip() : continue
            donor = next((c for c in (nb0['cells'][i] for i in intro) if c['cell_type']=='code' and exported(c)==kind and re.search(r'^\s*(import|from) ', src(c), re.M)), None)
            c = json.loads(json.dumps(donor)) if keep and donor else new('code', '')
            c['outputs'] = []
            put(c, ('#| export\n' if kind else '')+'\n'.join(dict.fromkeys(merged.splitlines())))
            out.append(c)
        lasth = None
        for s,i in cells:
            c = json.loads(json.dumps(OLD[s]['cells'][i]))
            out.append(c)
    end = json.loads(json.dumps(OLD[lead]['cells'][-1]))
    if not whole and first_for.get(lead)!=path: end['id'] = 'e'+hashlib.sha256(path.encode()).hexdigest()[:7]
    out.append(end)
    built[path] = dict(nb0, cells=out)
    names = {}
    for c in out:
        if exported(c):
            for n in defs(clean_code(src(c))): names[n] = module
    defined[module] = names
    for s in stems: origin.setdefault(oldmod[s], []).append(module)
for stem,nb in OLD.items():
    if oldmod[stem] not in origin: print('OLD PAGE WITHOUT A ROOM', stem)

# where a name of an old module lives now
where = {}
for old,mods in origin.items():
    for m in mods:
        for n in defined[m]: where[(old, n)] = m
# names an old module had by import (aliases)
via = {}
for stem,nb in OLD.items():
    for c in nb['cells']:
        if not exported(c): continue
        for n in ast.walk(ast.parse(clean_code(src(c)))):
            if isinstance(n, ast.ImportFrom) and n.module and n.module.startswith('ftkit'):
                for a in n.names: via[(oldmod[stem], a.asname or a.name)] = (n.module[6:], a.name)
def find(old, name, depth=0):
    if (old, name) in where: return where[(old, name)], name
    if (old, name) in via and depth<5: return find(*via[(old, name)], depth+1)
    if f'{old}.{name}'.strip('.') in defined: return (f'{old}.{name}'.strip('.').rpartition('.')[0], name)
    sub = f'{old}.{name}'.strip('.')
    if sub in origin and len(origin[sub])==1: return (None, origin[sub][0])
    return None
missing = set()
def fix_imports(text, label):
    "Rewrite `from ftkit.x import ...` statements (any indentation), single and parenthesised"
    def one(m):
        pad, mod, names, tail = m[1], m[2], m[3], m[4] or ''
        names = names.strip()
        if names.startswith('('): names = names[1:-1]
        groups = defaultdict(list); odd = []
        for part in [x.strip() for x in names.replace('\n',' ').split(',') if x.strip()]:
            name, _, alias = part.partition(' as ')
            if name=='*': return m[0]
            got = find(mod, name.strip())
            if got is None:
                if mod in defined and mod not in origin: groups[mod].append(part); continue
                missing.add((label, mod, name)); groups[mod].append(part); continue
            target, real = got
            if target is None: # a module imported as a name
                pkg,_,leaf = real.rpartition('.')
                odd.append(f'{pad}from ftkit{"."+pkg if pkg else ""} import {leaf} as {alias or name}')
                continue
            groups[target].append(real if not alias.strip() and real==name else f'{real} as {alias.strip() or name}')
        lines = []
        for t in sorted(groups): 
            body = ', '.join(dict.fromkeys(groups[t]))
            line = f'{pad}from ftkit.{t} import {body}'
            if len(line)>118:
                line = f'{pad}from ftkit.{t} import ({body})' if len(line)<125 else wrap(pad, t, groups[t])
            lines.append(line)
        return '\n'.join([*odd, *lines])+tail
    pat = r'^([ \t]*)from ftkit\.([\w.]+) import (\((?:[^)]*)\)|[^\n#;\'"]+?)(\s*(?:#[^\n]*|;[^\n]*|[\'"]+[^\n]*))?$'
    text = re.sub(pat, one, text, flags=re.M)
    def mods(m):
        old = m[1]
        if old in origin and origin[old]!=[old] and old not in defined:
            return f"'ftkit.{origin[old][0] if len(origin[old])==1 else old}"
        return m[0]
    def ref(m):
        got = find(m[2], m[3])
        if got is None: missing.add((label, m[2], m[3])); return m[0]
        return f'{m[1]}ftkit.{got[0]}:{got[1]}{m[4]}'
    text = re.sub(r"""(['"`])ftkit\.([\w.]+):(\w+)(['"`])""", ref, text)
    return text
def wrap(pad, t, names):
    lines, cur = [], ''
    for n in dict.fromkeys(names):
        if len(cur)+len(n)+2>100: lines.append(cur.rstrip()); cur = ''
        cur += n+', '
    lines.append(cur.rstrip().rstrip(','))
    return f'{pad}from ftkit.{t} import ('+('\n'+pad+'    ').join(['']+lines)+')'
for path,nb in built.items():
    for c in nb['cells']:
        put(c, fix_imports(src(c), path))
    save(NBS/f'{path}.ipynb', nb)

# ---- other files that import
others = [*NBS.glob('tutorials/*.ipynb'), *NBS.glob('index.ipynb')]
for p in others:
    nb = load(p)
    for c in nb['cells']: put(c, fix_imports(src(c), p.name))
    save(p, nb)
texts = [*T.glob('tests/**/*.py'), *T.glob('benchmarks/*.py'), *T.glob('docs/*.py'), *T.glob('tools/*.py')]
for p in texts: p.write_text(fix_imports(p.read_text(), str(p.relative_to(T))))

# ---- names that a split page misses: ruff F821, F401
def ruff(*a): return subprocess.run([str(Path(sys.executable).parent/'ruff'), 'check', '--isolated', '--output-format', 'json', *a], capture_output=True, text=True).stdout
alln = defaultdict(list)
for m,names in defined.items():
    for n in names: alln[n].append(m)
third = {} # names imported by third-party import statements in old import cells
def binders(stem, name):
    "(cell index, statement text) of top-level statements in example cells of the old page that bind a name"
    out = []
    for i,c in enumerate(OLD[stem]['cells']):
        if c['cell_type']!='code' or exported(c): continue
        code = clean_code(src(c))
        try: tree = ast.parse(code)
        except SyntaxError: continue
        for st in tree.body:
            bound = set()
            if isinstance(st, (ast.Import, ast.ImportFrom)): bound = {(a.asname or a.name).split('.')[0] for a in st.names}
            elif isinstance(st, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)): bound = {st.name}
            else: bound = {n.id for n in ast.walk(st) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
            if name in bound: out.append((i, ast.get_source_segment(code, st), isinstance(st, (ast.Import, ast.ImportFrom))))
    return out
said = set()
for rnd in range(6):
    out = json.loads(ruff('--select', 'F821', str(NBS)) or '[]')
    need = defaultdict(lambda: defaultdict(set))
    for d in out:
        m = re.search(r'`(\w+)`', d['message'])
        need[d['filename']][m[1]].add(d.get('cell'))
    if not need: break
    progress = False
    for f,names in need.items():
        p = Path(f); key = str(p.relative_to(NBS).with_suffix(''))
        if key not in plan: continue
        nb = load(p); module = plan[key][0]
        stems = list(dict.fromkeys(s for s,_ in plan[key][2]))
        olds = {oldmod[s] for s in stems}
        for name in names:
            cand = [m for m in alln.get(name, []) if m!=module]
            pref = [m for m in cand if any(m in origin[o] for o in olds)]
            if not pref:
                for o in olds:
                    got = find(o, name)
                    if got and got[0]: pref = [got[0]]
            local = [(st, *x) for st in stems for x in binders(st, name)]
            if not pref and local: pref = []
            elif not pref and len(cand)==1: pref = cand
            if len(pref)==1:
                used_in_export = any(exported(c) and re.search(rf'\b{name}\b', src(c)) for c in nb['cells'])
                imp = [c for c in nb['cells'] if c['cell_type']=='code' and exported(c)==used_in_export and re.match(r'(#\|.*\n)?\s*(import|from) ', src(c))]
                line = f'from ftkit.{pref[0]} import {name}'
                if imp: put(imp[0], src(imp[0])+'\n'+line)
                else:
                    at = next(i for i,c in enumerate(nb['cells']) if c['cell_type']=='code' and i>0)
                    nb['cells'].insert(at, new('code', ('#| export\n' if used_in_export else '')+line))
                progress = True
                continue
            if local:
                st, i, text, isimp = local[-1] if not local[0][3] else local[0]
                # the last binding before the first cell of this page that uses the name
                mine = [j for s2,j in plan[key][2] if s2==st and re.search(rf'\b{name}\b', src(OLD[st]['cells'][j]))]
                before = [x for x in local if x[0]==st and (not mine or x[1]<=mine[0])]
                if before: st, i, text, isimp = before[-1]
                use = next(k for k,c in enumerate(nb['cells']) if c['cell_type']=='code' and not exported(c) and re.search(rf'\b{name}\b', src(c)))
                text = fix_imports(text, key)
                prev = nb['cells'][use-1] if use else None
                if isimp:
                    imp = [c for c in nb['cells'] if c['cell_type']=='code' and not exported(c) and re.match(r'\s*(import|from) ', src(c))]
                    if imp: put(imp[0], src(imp[0])+'\n'+text)
                    else: nb['cells'].insert(use, new('code', text))
                elif nb['cells'][use].get('metadata', {}).get('setup'): put(nb['cells'][use], text+'\n'+src(nb['cells'][use]))
                else:
                    c = new('code', text); c['metadata'] = {'setup': True}
                    nb['cells'].insert(use, c)
                progress = True
                continue
            if (key, name) not in said: said.add((key, name)); print('UNRESOLVED', key, name, pref, cand)
        save(p, nb)
    if not progress: break
for path in plan:
    p = NBS/f'{path}.ipynb'; nb = load(p)
    for c in nb['cells']: c['metadata'].pop('setup', None)
    save(p, nb)
subprocess.run([str(Path(sys.executable).parent/'ruff'), 'check', '--isolated', '--select', 'F401', '--fix', '--quiet', str(NBS)])
# merge import lines of one module in import cells, drop empty import cells
for path in plan:
    p = NBS/f'{path}.ipynb'; nb = load(p); keep = []
    for c in nb['cells']:
        s = src(c)
        if c['cell_type']=='code' and 'from ftkit.' in s and all(isinstance(n, (ast.Import, ast.ImportFrom)) for n in ast.parse(clean_code(s)).body):
            groups, rest = defaultdict(list), []
            for n in ast.parse(clean_code(s)).body:
                if isinstance(n, ast.ImportFrom) and (n.module or '').startswith('ftkit.'):
                    groups[n.module[6:]] += [a.name+(f' as {a.asname}' if a.asname else '') for a in n.names]
                else: rest.append(ast.get_source_segment(clean_code(s), n))
            lines = []
            for t in sorted(groups):
                ns = sorted(dict.fromkeys(groups[t]), key=lambda x: (not x.isupper(), x.lower()))
                line = f'from ftkit.{t} import {", ".join(ns)}'
                lines.append(line if len(line)<=118 else wrap('', t, ns))
            body = '\n'.join(rest)+('\n\n' if rest and lines else '')+'\n'.join(lines)
            put(c, ('#| export\n' if exported(c) else '')+body)
            s = src(c)
        if c['cell_type']=='code' and s.strip() in ('', '#| export'): continue
        keep.append(c)
    nb['cells'] = keep
    # headings without anything behind them
    out = []
    for i,c in enumerate(nb['cells']):
        if c['cell_type']=='markdown' and src(c).startswith('## ') and '\n' not in src(c).strip():
            nxt = nb['cells'][i+1] if i+1<len(nb['cells']) else None
            if nxt is None or (nxt['cell_type']=='markdown' and src(nxt).startswith('## ')) or '#| hide' in src(nxt)[:8] and 'nbdev_export' in src(nxt): continue
        out.append(c)
    nb['cells'] = out
    save(p, nb)
# ---- python files: remove old modules, write inits
for p in PKG.rglob('*.py'):
    if p.name.startswith('_'): continue
    if 'AUTOGENERATED' in p.read_text()[:400]: p.unlink()
for room in sorted({m.rpartition('.')[0] for m,_,_ in plan.values() if '.' in m}):
    d = PKG/room.replace('.','/'); d.mkdir(parents=True, exist_ok=True)
    if not (d/'__init__.py').exists(): (d/'__init__.py').write_text('')
json.dump({o: sorted(set(ms)) for o,ms in origin.items() if [o]!=ms}, open('/tmp/t/moved.json','w'), indent=1)
json.dump({m: sorted(n) for m,n in defined.items()}, open('/tmp/t/defined.json','w'), indent=1)
print('missing', sorted(missing)[:40])
for path in plan:
    p = NBS/f'{path}.ipynb'; nb = load(p); seen = {}
    for c in nb['cells']:
        if c['id'].startswith('new'):
            key = path+c['cell_type']+src(c)[:60]; seen[key] = seen.get(key, 0)+1
            c['id'] = hashlib.sha256(f'{key}{seen[key]}'.encode()).hexdigest()[:8]
    save(p, nb)
# ---- the package's own index of names, and where the modules of before went
init = PKG/'__init__.py'
text = init.read_text()
m = re.search(r"_pages = \{\n(.*?)\n\}\n", text, re.S)
pages = ast.literal_eval('{'+m[1]+'}')
groups = defaultdict(list)
for page,names in pages.items():
    for n in names.split():
        got = find(page, n)
        if not got: print('NO HOME', page, n); groups[page].append(n); continue
        groups[got[0]].append(n)
order = {mod: i for i,(mod,_,_) in enumerate(plan.values())}
body = '\n'.join(f"    {mod!r}: {' '.join(ns)!r}," for mod,ns in sorted(groups.items(), key=lambda kv: order.get(kv[0], 999)))
text = text.replace(m[0], '_pages = {\n'+body+'\n}\n')
text = text.rstrip('\n')+'\n\nfrom ._moved import install\n\ninstall()\n'
init.write_text(text)
moved = {o: sorted(set(ms), key=lambda x: order[x]) for o,ms in origin.items() if [o]!=list(dict.fromkeys(ms))}
lines = '\n'.join(f"    {o!r}: {' '.join(ms)!r}," for o,ms in sorted(moved.items()))
here = ', '.join(repr(o) for o in sorted(moved) if o in defined or (PKG/o.replace('.','/')).is_dir())
(PKG/'_moved.py').write_text(f'''"Imports by the module paths of 0.1, for one version: each name is found where it is, with a warning."
import sys
import warnings
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.util import spec_from_loader
from types import ModuleType

MOVED = {{ # module of 0.1 -> the pages its names are on
{lines}
}}
HERE = {{{here}}} # of these, the pages and rooms that are still there

def find(old:str, name:str):
    "The object that a module of 0.1 had under a name, and the page it is on."
    for page in MOVED[old].split():
        module = import_module(f'ftkit.{{page}}')
        if name in vars(module): return getattr(module, name), page
    raise AttributeError(f"module 'ftkit.{{old}}' of ftkit 0.1 had no {{name!r}} that is still there")

def warn(old:str, name:str, page:str):
    "Say where a name is."
    warnings.warn(f'ftkit.{{old}} has moved: write `from ftkit.{{page}} import {{name}}`; the old path goes in the next version', DeprecationWarning, stacklevel=3)

class MovedModule(ModuleType):
    "Stands where a module of 0.1 was."
    def __getattr__(self, name):
        if name.startswith('__'): raise AttributeError(name)
        found, page = find(self.__name__.removeprefix('ftkit.'), name)
        warn(self.__name__.removeprefix('ftkit.'), name, page)
        return found

class MovedFinder(MetaPathFinder, Loader):
    "Finds the modules of 0.1 that are no more."
    def find_spec(self, fullname, path=None, target=None):
        old = fullname.removeprefix('ftkit.')
        if fullname.startswith('ftkit.') and old in MOVED and old not in HERE or fullname=='ftkit.backends': return spec_from_loader(fullname, self, is_package=fullname=='ftkit.backends')
    def create_module(self, spec): return MovedModule(spec.name)
    def exec_module(self, module): pass

def install():
    "Let old paths be imported."
    if not any(isinstance(f, MovedFinder) for f in sys.meta_path): sys.meta_path.insert(0, MovedFinder())

def old_attribute(old:str):
    "`__getattr__` for a room or page that has the path of a module of 0.1."
    def __getattr__(name):
        if name.startswith('__') or old not in MOVED: raise AttributeError(f"module 'ftkit.{{old}}' has no attribute {{name!r}}")
        try: found, page = find(old, name)
        except AttributeError: raise AttributeError(f"module 'ftkit.{{old}}' has no attribute {{name!r}}") from None
        warn(old, name, page)
        return found
    return __getattr__
''')
for path,(module,_,_) in plan.items():
    if module not in moved: continue
    p = NBS/f'{path}.ipynb'; nb = load(p)
    _n = itertools.count(int(hashlib.sha256(path.encode()).hexdigest()[:4], 16))
    nb['cells'][-1:-1] = [new('markdown', 'Names of 0.1 that are on other pages by this version are found for one version more, with a warning that says where.'),
        new('code', f"#| exporti\nfrom ftkit._moved import old_attribute\n\n__getattr__ = old_attribute({module!r})")]
    for k,c in enumerate(nb['cells'][-3:-1]): c['id'] = hashlib.sha256(f'moved {path} {k}'.encode()).hexdigest()[:8]
    save(p, nb)
for old in moved:
    d = PKG/old.replace('.','/')
    if d.is_dir() and old not in defined: (d/'__init__.py').write_text(f"from ftkit._moved import old_attribute\n\n__getattr__ = old_attribute({old!r})\n")
json.dump(moved, open('/tmp/t/moved.json','w'), indent=1)
