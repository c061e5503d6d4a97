"""Remove exported imports that no exported cell uses; keep them for the examples."""
import ast, json, re, subprocess, sys
from pathlib import Path
T=Path(sys.argv[1]); BIN=Path(sys.executable).parent
def load(p): return json.loads(Path(p).read_text())
def save(p, nb): p.write_text(json.dumps(nb, indent=1, ensure_ascii=False, sort_keys=True)+'\n')
src=lambda c: ''.join(c['source'])
exported=lambda c: c['cell_type']=='code' and src(c).startswith('#| export')
out=json.loads(subprocess.run([str(BIN/'ruff'),'check','--isolated','--select','F401','--output-format','json',str(T/'ftkit')],capture_output=True,text=True).stdout or '[]')
byf={}
for d in out:
    m=re.search(r'`([^`]+)` imported but unused',d['message'])
    if m: byf.setdefault(d['filename'],set()).add(re.split(r'\.|\s', m[1])[-1] if ' as ' not in m[1] else m[1].split(' as ')[-1])
def rebuild(cell, drop):
    body=[]; removed=[]
    code=src(cell).replace('#| export\n','')
    for n in ast.parse(code).body:
        if isinstance(n, ast.ImportFrom):
            keep=[a for a in n.names if (a.asname or a.name) not in drop]
            removed+=[(n.module,a) for a in n.names if (a.asname or a.name) in drop]
            if keep:
                names=[a.name+(f' as {a.asname}' if a.asname else '') for a in keep]
                line=f'from {n.module} import {", ".join(names)}'
                if len(line)>118:
                    lines,cur=[],''
                    for x in names:
                        if len(cur)+len(x)+2>100: lines.append(cur.rstrip()); cur=''
                        cur+=x+', '
                    lines.append(cur.rstrip().rstrip(','))
                    line=f'from {n.module} import ('+'\n    '.join(['']+lines)+')'
                body.append((n.module.startswith('ftkit'), line))
        elif isinstance(n, ast.Import):
            keep=[a for a in n.names if (a.asname or a.name.split('.')[0]) not in drop and a.name not in drop]
            removed+=[(None,a) for a in n.names if a not in keep]
            if keep: body.append((False,'import '+', '.join(a.name+(f' as {a.asname}' if a.asname else '') for a in keep)))
        else: body.append((False, ast.get_source_segment(code,n)))
    first=[l for own,l in body if not own]; second=[l for own,l in body if own]
    return '\n'.join(first)+('\n\n' if first and second else '')+'\n'.join(second), removed
for f,names in byf.items():
    m=re.search(r'File to edit: (\S+\.ipynb)', Path(f).read_text())
    nbp=(Path(f).parent/m[1]).resolve()
    nb=load(nbp)
    for i,c in enumerate(nb['cells']):
        if exported(c) and re.search(r'^(import|from) ', src(c), re.M) and all(isinstance(n,(ast.Import,ast.ImportFrom)) for n in ast.parse(src(c)).body):
            text,removed=rebuild(c,names)
            c['source']=('#| export\n'+text).splitlines(True) if text.strip() else []
            want=[]
            for mod,a in removed:
                nm=a.asname or a.name.split('.')[0]
                if any(x['cell_type']=='code' and not exported(x) and re.search(rf'\b{nm}\b',src(x)) for x in nb['cells'] if x is not c):
                    want.append((f'from {mod} import ' if mod else 'import ')+a.name+(f' as {a.asname}' if a.asname else ''))
            if want:
                ex=[x for x in nb['cells'] if x['cell_type']=='code' and not exported(x) and src(x).strip() and all(isinstance(n,(ast.Import,ast.ImportFrom)) for n in ast.parse(re.sub(r'^[%!].*$','pass',src(x),flags=re.M)).body or [None])]
                if ex:
                    have=src(ex[0])
                    ex[0]['source']=(have+'\n'+'\n'.join(w for w in want if w not in have)).splitlines(True)
                else:
                    import hashlib
                    nb['cells'].insert(i+1, dict(cell_type='code', id=hashlib.sha256(('p'+str(nbp.name)).encode()).hexdigest()[:8], metadata={}, execution_count=None, outputs=[], source='\n'.join(want).splitlines(True)))
            break
    nb['cells']=[c for c in nb['cells'] if not (c['cell_type']=='code' and not src(c).strip())]
    save(nbp, nb)
print(len(byf),'pages pruned')
