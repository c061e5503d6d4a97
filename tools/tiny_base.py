"Make the shipped base model: run the tutorial on pre-training in full and put the result into the package. Usage: python tools/tiny_base.py [folder] | --seal"
import json, os, sys
from pathlib import Path

root = Path(__file__).resolve().parent.parent
notebook = root/'nbs/tutorials/pretraining.ipynb'


def run(out):
    "Run every code cell of the tutorial, in order, as one program; magics are for notebooks."
    os.environ.update(FTKIT_PRETRAIN='full', FTKIT_PRETRAIN_OUT=str(out), TOKENIZERS_PARALLELISM='true')
    os.chdir(notebook.parent)
    scope = {}
    for n,cell in enumerate(json.loads(notebook.read_text('utf-8'))['cells']):
        source = ''.join(cell['source'])
        if cell['cell_type']=='code' and not source.startswith('%'): exec(compile(source, f'{notebook.name}, cell {n}', 'exec'), scope)


if __name__=='__main__':
    from ftkit.disk import read_json
    from ftkit.model.tiny import MANIFEST, WEIGHTS, write_hashes
    if sys.argv[1:]==['--seal']: # after the model card was edited
        write_hashes(WEIGHTS, **{k: v for k,v in read_json(WEIGHTS/MANIFEST).items() if k!='files'})
    else:
        out = Path(sys.argv[1] if sys.argv[1:] else WEIGHTS).resolve()
        out.mkdir(parents=True, exist_ok=True)
        run(out)
