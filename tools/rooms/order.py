import ast, re, sys
from pathlib import Path
T=Path(sys.argv[1]); P=T/'ftkit'
mods={}
for p in P.rglob('*.py'):
    if p.name.startswith('_'): continue
    m='.'.join(p.relative_to(P).with_suffix('').parts)
    mm=re.search(r'File to edit: .*nbs/(\d+)_\w+/(\d+)_', p.read_text())
    mods[m]=(p, (int(mm[1]),int(mm[2])) if mm else None)
bad=0; edges=set()
for m,(p,k) in sorted(mods.items()):
    for n in ast.walk(ast.parse(p.read_text())):
        deps=[]
        if isinstance(n, ast.ImportFrom) and n.level:
            base=p.parents[n.level-1]; t=base.joinpath(*(n.module or '').split('.'))
            r='.'.join(t.relative_to(P).parts)
            deps=[r] if r in mods else [f'{r}.{a.name}'.strip('.') for a in n.names if f'{r}.{a.name}'.strip('.') in mods]
        elif isinstance(n, ast.ImportFrom) and (n.module or '').startswith('ftkit.'): deps=[n.module[6:]] if n.module[6:] in mods else []
        for d in deps:
            edges.add((m,d))
            if not mods[d][1] or not k or mods[d][1]>=k: bad+=1; print('UP', m, k, '->', d, mods[d][1], [a.name for a in n.names])
print('modules', len(mods), 'edges', len(edges), 'up', bad)
