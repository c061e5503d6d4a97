"A parcel: what it holds, what is refused of it, and that it trains on a machine that has nothing else."
import json, os, random, shutil, signal, subprocess, sys, threading, time, warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
import torch
from safetensors.torch import load_file

from ftkit.core import FtkitError
from ftkit.disk import read_json, write_json
from ftkit.records import InstructionDataset, InstructionExample
from ftkit.data.approval import ApprovalOrchestrator, ApprovalStore, decide
from ftkit.data.decisions import ApprovalBatch
from ftkit.data.gate import receipts_of
from ftkit.data.certificate import certificate
from ftkit.data.split import Split
from ftkit.data.synth import SyntheticDataService
from ftkit.data.version import save_version
from ftkit.model.load import resolve_base
from ftkit.runs.parcel import check_base, find_base, open_parcel, pack, write_about
from ftkit.pipeline import finetune_sync
from ftkit.plans.plan import Plan
from ftkit.telemetry.samples import telemetry
from ftkit.telemetry.files import FileProvider, save_telemetry
from ftkit.model.tiny import random_base, tiny_base
from ftkit.runs.metrics import read_metrics
from ftkit.train.run import CRASH, MISTAKE, cores, main, train_here, undisturbed

ROOT = Path(__file__).parent.parent
FULL = os.environ.get('FTKIT_FULL')=='1'
ASKED = ('parcel', 'delivery'), ('money', 'refunds'), ('mug', 'catalogue')
ROWS = [InstructionExample('Route.', f'{q} {n}', l, dict(span_id=f'{q}{n}', session_id=f'{q}{n}')) for n in range(4) for q,l in ASKED]
MADE = [InstructionExample('Route.', q, l, dict(synthetic=True)) for q,l in (('a lost parcel', 'delivery'), ('a red mug', 'catalogue'))]
SECRET = 'postgresql://ana:hunter2@db.acme.example/approvals'

def plan(**more):
    fields = dict(tenant_id='acme', project='shop', model_type='llm', agent_type='routing', base_model=str(random_base()), epochs=3, batch_size=4, learning_rate=.01, save_steps=1, logging_steps=1, lora_r=2, lora_dropout=.1, target_modules='all-linear', cpu=1)
    return Plan(**{**fields, **more})

def stored(root, validation=(), test=(), sealed=True):
    "A dataset version with two approved synthetic rows"
    store = ApprovalStore(f'sqlite:///{root}/approvals.db')
    batch = store.save(ApprovalBatch.of(MADE, 'spring'))
    approved = decide('spring', [i.item_id for i in batch.items], 'approve', 'ana', store=store).records
    rows = [*ROWS, *approved]
    sides = [{'examples': InstructionDataset(some)} for some in (rows, validation, test)]
    proof = certificate(sides[0], sides[2], sides[1])
    receipts = receipts_of(rows, store)
    return save_version(Split(sides[0], sides[1], sides[2], {}, proof, {}), root=root/'datasets', receipts=receipts if sealed else ()), receipts

@pytest.fixture(scope='module')
def version(tmp_path_factory): return stored(tmp_path_factory.mktemp('versions'))[0]

@pytest.fixture
def parcel(version, tmp_path): return pack(tmp_path/'parcel', 'sft_run', plan(), version, 'sft', 128, random_base())

@pytest.fixture(scope='module')
def local(version, tmp_path_factory):
    "The parcel of a run, where it was trained, and the bits of its adapter"
    run = tmp_path_factory.mktemp('runs')/'sft_run'
    parcel = pack(run/'parcel', run.name, plan(), version, 'sft', 128, random_base())
    train_here(parcel, run, random_base())
    return parcel, run, bits(run)

def bits(out): return (Path(out)/'adapter'/'adapter_model.safetensors').read_bytes()

def resealed(folder, **changes):
    "A parcel that somebody changed and listed again"
    about = {k: v for k,v in read_json(folder/'parcel.json').items() if k not in ('layout', 'versions', 'files', 'seal')}
    write_about(folder, **{**about, **changes})

# --- what is in it

def test_no_source_no_service_no_address_of_a_database_and_no_path_travels(version, tmp_path, monkeypatch):
    monkeypatch.setenv('FTKIT_DATABASE_URL', SECRET)
    told = plan(provider=dict(kind='database', url=SECRET), services=dict(approval=dict(url=SECRET)), output_dir=str(tmp_path/'runs'), adapter_storage_uri=f'file://{tmp_path}/store')
    parcel = pack(tmp_path/'parcel', 'run', told, version, 'sft', 128, random_base())
    assert parcel.plan.source is None and parcel.plan.method.services is None and parcel.plan.adapter==told.adapter
    assert parcel.plan.train==told.but(base_model=random_base().name).train and parcel.plan.filled==told.filled and parcel.plan.place.cpu==1
    for f in (tmp_path/'parcel').rglob('*'):
        for word in ('hunter2', str(tmp_path), str(random_base().parent)): assert f.is_dir() or word.encode() not in f.read_bytes(), (f, word)
    from ftkit.jobs.local import child_environment
    assert not [k for k,v in child_environment(1).items() if 'hunter2' in v]

def test_the_test_side_travels_only_when_it_is_asked_for(tmp_path):
    held = [InstructionExample('Route.', 'where is the sofa', 'delivery', dict(span_id='t', session_id='t'))]
    version, _ = stored(tmp_path, test=held)
    common = 'run', plan(), version, 'sft', 128, random_base()
    assert set(pack(tmp_path/'a', *common).about['sides'])=={'train', 'validation'} and b'sofa' not in b''.join(f.read_bytes() for f in (tmp_path/'a').rglob('*.parquet'))
    assert pack(tmp_path/'b', *common, sides=('test',)).rows('test', 'examples')==held
    assert pack(tmp_path/'b', *common, sides=('test',)).receipts==(), 'receipts of rows that stay behind'

def test_rows_come_out_as_they_went_in_and_what_is_not_there_is_empty(parcel, version):
    assert parcel.rows('train', 'examples')==version.train['examples'] and len(parcel.receipts)==2
    assert not parcel.rows('validation', 'examples') and not parcel.rows('train', 'pairs') and not parcel.rows('test', 'examples')

def test_a_parcel_that_is_there_stays_and_one_with_other_content_is_replaced(parcel, version, tmp_path):
    def again(**more): return pack(tmp_path/'parcel', 'sft_run', plan(**more), version, 'sft', 128, random_base())
    inode = (tmp_path/'parcel').stat().st_ino
    assert again()==parcel and (tmp_path/'parcel').stat().st_ino==inode
    assert again(timeout=77).plan.place.timeout==77 and (tmp_path/'parcel').stat().st_ino!=inode
    (tmp_path/'parcel'/'plan.json').write_text('{')
    assert again(timeout=77).plan.place.timeout==77, 'a damaged one was not replaced'
    write_json(tmp_path/'parcel'/'parcel.json', dict(layout=0))
    assert again()==parcel and [p.name for p in tmp_path.iterdir()]==['parcel']

def test_packing_replaces_neither_results_nor_a_folder_that_is_no_parcel(parcel, version, tmp_path):
    write_json(tmp_path/'parcel'/'out'/'trained.json', {})
    def packed(name, **more): return pack(tmp_path/name, 'sft_run', plan(**more), version, 'sft', 128, random_base())
    assert packed('parcel')==parcel
    with pytest.raises(FtkitError, match='holds results in out/'): packed('parcel', timeout=77)
    (tmp_path/'thesis').mkdir()
    with pytest.raises(FtkitError, match='thesis is there and is no parcel'): packed('thesis')
    assert (tmp_path/'parcel'/'out'/'trained.json').exists() and not list((tmp_path/'thesis').iterdir())

def test_a_synthetic_row_is_packed_only_with_its_receipt(tmp_path):
    version, receipts = stored(tmp_path, sealed=False)
    common = 'run', plan(), version, 'sft', 128, random_base()
    with pytest.raises(FtkitError, match='2 of 14 records are synthetic and have no approval receipt'): pack(tmp_path/'parcel', *common)
    assert not (tmp_path/'parcel').exists() and pack(tmp_path/'parcel', *common, receipts=receipts).receipts==tuple(receipts)
    with pytest.raises(FtkitError, match='1 of 14 records are synthetic'): pack(tmp_path/'other', *common, receipts=receipts[:1])

# --- what is refused

def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data)//2] ^= 1
    path.write_bytes(data)

def other_receipts(folder, change):
    write_json(folder/'receipts.json', change(read_json(folder/'receipts.json')))
    resealed(folder)

def other_row(folder):
    pairs = [*ROWS, InstructionExample('Route.', 'a lost parcel', 'refunds', dict(synthetic=True))]
    InstructionDataset(pairs).save_parquet(folder/'rows'/'train'/'examples.parquet')
    resealed(folder)

def linked(folder):
    file = folder/'plan.json'
    os.rename(file, folder.parent/f'{folder.name}.plan')
    file.symlink_to(folder.parent/f'{folder.name}.plan')

DAMAGE = dict( # what is done to a parcel, and what is said of it
    missing=(lambda f: (f/'leakage.json').unlink(), 'leakage.json is missing'),
    rows_missing=(lambda f: (f/'rows'/'train'/'examples.parquet').unlink(), 'rows/train/examples.parquet is missing'),
    extra=(lambda f: (f/'rows'/'train'/'more.parquet').write_text('x'), 'rows/train/more.parquet does not belong'),
    hidden=(lambda f: (f/'.netrc').write_text('x'), '.netrc does not belong'),
    changed_rows=(lambda f: flip(f/'rows'/'train'/'examples.parquet'), 'rows/train/examples.parquet was changed'),
    changed_plan=(lambda f: write_json(f/'plan.json', {**read_json(f/'plan.json'), 'layout': 3}), 'plan.json was changed'),
    changed_about=(lambda f: write_json(f/'parcel.json', {**read_json(f/'parcel.json'), 'max_length': 64}), 'parcel.json was changed'),
    link=(linked, 'plan.json is a link'),
    layout=(lambda f: write_json(f/'parcel.json', {**read_json(f/'parcel.json'), 'layout': 2}), 'has layout 2 and this ftkit reads layout 1'),
    no_json=(lambda f: (f/'parcel.json').write_text('{'), 'parcel.json is not readable JSON'),
    no_parcel=(lambda f: (f/'parcel.json').unlink(), 'it has no parcel.json'),
    leaking=(other_row, 'the leak certificate does not cover these 13 train records'),
    row_without_receipt=(lambda f: other_receipts(f, lambda rs: rs[:1]), '1 of 14 records are synthetic and have no approval receipt'),
    receipt_without_row=(lambda f: other_receipts(f, lambda rs: [*rs, {**rs[0], 'hash': '0'*32}]), 'fits no row'),
    receipt_of_another_item=(lambda f: other_receipts(f, lambda rs: [{**rs[0], 'item_id': 'x'}, rs[1]]), 'is of another item than its row names'),
    rejection=(lambda f: other_receipts(f, lambda rs: [{**rs[0], 'decision': 'reject'}, rs[1]]), "says 'reject'"),
)

DOOR = '''
import json, sys
from ftkit.train.run import main
codes = [main([*arguments]) for arguments in json.loads(sys.argv[1])]
print(json.dumps([codes, sorted({'torch', 'transformers', 'peft', 'trl', 'datasets'} & set(sys.modules))]))
'''

def test_a_parcel_that_is_not_whole_is_refused_by_name_before_torch_is_imported(parcel, tmp_path):
    copies = {name: Path(shutil.copytree(parcel.folder, tmp_path/name)) for name in DAMAGE}
    for name,(spoil,_) in DAMAGE.items(): spoil(copies[name])
    starts = [[str(f)] for f in copies.values()]
    starts += [[str(parcel.folder)], [str(parcel.folder), '--base', str(random_base(seed=1))], [str(parcel.folder), '--base', str(tmp_path/'nothing')], [str(tmp_path/'nowhere'), '--out', str(tmp_path/'out')]]
    done = subprocess.run([sys.executable, '-c', DOOR, json.dumps(starts)], capture_output=True, text=True, cwd=ROOT)
    codes, heavy = json.loads(done.stdout)
    assert codes==[MISTAKE]*len(starts) and not heavy, done.stderr[-2000:]
    for name,(_,said) in DAMAGE.items():
        failed = read_json(copies[name]/'out'/'failed.json')
        assert failed['mistake'] and said in failed['reason'], (name, failed)
        with pytest.raises(FtkitError): open_parcel(copies[name])
    assert 'nothing holds no weights' in read_json(parcel.folder/'out'/'failed.json')['reason']
    assert 'nowhere is no parcel' in read_json(tmp_path/'out'/'failed.json')['reason'] and not (tmp_path/'nowhere').exists()

def test_a_parcel_may_be_copied_and_hold_its_results(parcel, tmp_path):
    copy = Path(shutil.copytree(parcel.folder, tmp_path/'copy'))
    write_json(copy/'out'/'checkpoints'/'x.json', {})
    assert open_parcel(copy).about==parcel.about

# --- the base

def test_the_base_is_the_one_carried_or_given_or_named_and_its_hash_decides(parcel, version, tmp_path):
    def found(p, base=None): return find_base(p, base, resolve_base)
    elsewhere = Path(shutil.copytree(random_base(), tmp_path/'elsewhere'))
    assert found(parcel, elsewhere)==elsewhere
    with pytest.raises(FtkitError, match='does not carry its base random-.*give the folder of that model with --base'): found(parcel) # nobody asks the hub for the name of a folder
    with pytest.raises(FtkitError, match=r'is not the one of this run, random-.* .weights sha256 [0-9a-f]{12}… here, [0-9a-f]{12}… when it was packed.*--base'): found(parcel, random_base(seed=1))
    own = pack(tmp_path/'own', 'run', plan(base_model=str(elsewhere)), version, 'sft', 128, elsewhere, carry_base=True)
    shutil.rmtree(elsewhere)
    assert found(own)==tmp_path/'own'/'base' and found(own, random_base(seed=1))==tmp_path/'own'/'base'
    named = pack(tmp_path/'named', 'run', plan(base_model='ftkit-tiny', target_modules='attention'), version, 'sft', 128, tiny_base())
    assert found(named)==tiny_base() and named.base['name']==pack(tmp_path/'same', 'run', plan(base_model=str(tiny_base())), version, 'sft', 128, tiny_base()).base['name']
    away = pack(tmp_path/'away', 'run', plan(base_model='acme/away'), version, 'sft', 128, random_base())
    with pytest.raises(FtkitError, match=r"(?s)base model 'acme/away' is neither.*or give the folder of this base model with --base"): found(away)
    assert found(away, random_base())==random_base()

def test_a_base_with_other_words_or_another_template_is_another_base(parcel, tmp_path):
    for name,change in dict(tokenizer=lambda f: (f/'tokenizer.json').write_text((f/'tokenizer.json').read_text().replace('parcel', 'percal').replace('Ġon', 'Ġno', 1)), template=lambda f: (f/'chat_template.jinja').write_text('x'), config=lambda f: write_json(f/'config.json', {**read_json(f/'config.json'), 'rms_norm_eps': 1e-3})).items():
        other = Path(shutil.copytree(random_base(), tmp_path/name))
        change(other)
        with pytest.raises(FtkitError, match=f'{name}.* sha256 [0-9a-f]{{12}}… here'): check_base(parcel, other)

def test_a_base_that_needs_pickled_files_is_not_carried(version, tmp_path):
    base = Path(shutil.copytree(random_base(), tmp_path/'base'))
    write_json(base/'modules.json', [])
    (base/'2_Dense').mkdir()
    (base/'2_Dense'/'pytorch_model.bin').write_bytes(b'x')
    with pytest.raises(FtkitError, match='save the model with safetensors, or give its folder with --base'): pack(tmp_path/'parcel', 'run', plan(base_model=str(base)), version, 'sft', 128, base, carry_base=True)
    assert not (tmp_path/'parcel').exists()

def test_a_base_from_the_hub_is_packed_with_its_revision(version, tmp_path):
    cached = tmp_path/'models--acme--small'/'snapshots'/('a'*40)
    shutil.copytree(random_base(), cached)
    parcel = pack(tmp_path/'parcel', 'run', plan(base_model='acme/small'), version, 'sft', 128, cached)
    assert (parcel.base['name'], parcel.base['revision'])==('acme/small', 'a'*40)
    with pytest.raises(FtkitError, match='acme/small at revision a{40}'): check_base(parcel, random_base(seed=1))

def test_another_base_is_refused_on_resume_too(local, tmp_path, capsys):
    parcel, run, _ = local
    out = Path(shutil.copytree(run, tmp_path/'run'))
    assert main([str(parcel.folder), '--out', str(out), '--base', str(random_base(seed=1))])==MISTAKE
    assert 'is not the one of this run' in read_json(out/'failed.json')['reason'] and not (out/'trained.json').exists()
    with pytest.raises(FtkitError, match='is not the one of this run'): train_here(parcel, out, random_base(seed=1))

# --- elsewhere

ELSEWHERE = '''
import os, runpy, sys
root, home, *sys.argv[1:] = sys.argv[1:]
sys.path.insert(0, root)
wrong = []
def watch(event, args):
    if event.startswith('socket.'):
        frame, names = sys._getframe(), []
        while frame: names.append(frame.f_code.co_filename); frame = frame.f_back
        if any(n.endswith('urllib3/util/connection.py') for n in names): return # asks the machine, when it is imported, whether it has IPv6
        wrong.append(event)
        raise OSError('no network')
    writes = event=='open' and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if writes and isinstance(args[0], str) and not args[0].startswith((home, '/dev/', '/proc/')): wrong.append(f'writes {args[0]}')
sys.addaudithook(watch)
try: runpy.run_module('ftkit.train.run', run_name='__main__')
finally: print(wrong)
'''

def test_a_copy_trains_to_the_same_bits_on_a_machine_that_has_nothing_else(local, version, tmp_path, monkeypatch):
    "`env -i`, and no home folder can be made; that of before, the run folder and the base are moved away; no socket is opened, and nothing is written but the results"
    parcel, run, expected = local
    monkeypatch.setenv('FTKIT_HOME', str(tmp_path/'home'))
    pack(tmp_path/'run'/'parcel', run.name, plan(base_model=str(random_base())), version, 'sft', 128, random_base(), carry_base=True)
    there = tmp_path/'there'
    shutil.copytree(tmp_path/'run'/'parcel', there/'parcel')
    for gone in ('run', 'home'): shutil.move(tmp_path/gone, tmp_path/'moved'/gone)
    nothing = 'env', '-i', 'HOME=/dev/null', f'TMPDIR={there}'
    done = subprocess.run([*nothing, sys.executable, '-B', '-c', ELSEWHERE, str(ROOT), str(there), str(there/'parcel')], capture_output=True, text=True, cwd=there)
    assert done.returncode==0, done.stderr[-3000:]
    out = there/'parcel'/'out'
    assert done.stdout.splitlines()[-1]=='[]', done.stdout
    assert bits(out)==expected
    trained = read_json(out/'trained.json')
    assert trained['machine']['threads']==1 and trained['machine']['processor'] and trained['machine']['versions']['torch']==parcel.about['versions']['torch']
    assert {p.name for p in out.iterdir()}=={'adapter', 'checkpoints', 'forecast.json', 'metrics.jsonl', 'trained.json'}

def test_a_run_killed_elsewhere_goes_on_and_ends_in_the_same_bits(local, tmp_path):
    parcel, _, expected = local
    copy = Path(shutil.copytree(parcel.folder, tmp_path/'parcel'))
    out = tmp_path/'out'
    start = [str(copy), '--out', str(out), '--base', str(random_base())]
    child = subprocess.Popen([sys.executable, '-m', 'ftkit.train.run', *start], stderr=subprocess.PIPE, cwd=ROOT)
    while not list(out.glob('checkpoints/step0/checkpoint-*/seal.json')) and child.poll() is None: time.sleep(.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait()==-signal.SIGKILL, child.stderr.read()[-2000:]
    before = len([m for m in read_metrics(out) if 'loss' in m])
    assert main(start)==0 and bits(out)==expected
    losses = [m['step'] for m in read_metrics(out) if 'loss' in m]
    assert before>0 and losses.count(1)==1, 'training began again from the start'

@pytest.mark.skipif(not FULL, reason='another process; FTKIT_FULL=1 runs it')
def test_another_processor_differs_by_less_than_a_hundred_thousandth(local, tmp_path):
    "Instructions of twenty years ago stand for it"
    parcel, run, expected = local
    old = dict(ATEN_CPU_CAPABILITY='default', ONEDNN_MAX_CPU_ISA='SSE41', MKL_ENABLE_INSTRUCTIONS='SSE4_2')
    done = subprocess.run([sys.executable, '-m', 'ftkit.train.run', str(parcel.folder), '--out', str(tmp_path/'out'), '--base', str(random_base())], env={**os.environ, **old}, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode==0, done.stderr[-2000:]
    here, there = (load_file(out/'adapter'/'adapter_model.safetensors') for out in (run, tmp_path/'out'))
    assert bits(tmp_path/'out')!=expected, 'the instructions were the same'
    assert max((here[n]-there[n]).abs().max().item() for n in here)<1e-5

def test_the_number_format_of_the_plan_decides_and_is_recorded(version, tmp_path):
    adapters = {}
    for name in ('bfloat16', 'float32'):
        out = tmp_path/name
        trained = train_here(pack(out/'parcel', name, plan(number_format=name, epochs=1), version, 'sft', 128, random_base()), out, random_base())
        assert trained.machine['number_format']==name
        adapters[name] = load_file(out/'adapter'/'adapter_model.safetensors')
    a, b = adapters.values()
    assert 1e-5<max((a[n]-b[n]).abs().max().item() for n in a)<.1

def state():
    "What a training could leave behind in its process"
    import datasets
    import huggingface_hub.utils as hub
    from huggingface_hub import constants
    from transformers.utils import logging
    switches = dict(transformers=logging.is_progress_bar_enabled(), hub=not hub.are_progress_bars_disabled(), datasets=not datasets.are_progress_bars_disabled(), telemetry=constants.HF_HUB_DISABLE_TELEMETRY)
    draws = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    return dict(switches=switches, draws=draws, threads=torch.get_num_threads(), environment=dict(os.environ), filters=warnings.filters[:], dtype=torch.get_default_dtype(), verbosity=logging.get_verbosity())

@pytest.mark.parametrize('ends', ['well', 'with an error'])
@pytest.mark.parametrize('shown', [True, False], ids=['bars shown', 'bars hidden'])
def test_training_here_leaves_the_process_as_it_was(local, tmp_path, monkeypatch, ends, shown):
    import datasets
    from huggingface_hub import constants
    from transformers.utils import logging
    parcel, run, expected = local
    monkeypatch.delenv('HF_HUB_DISABLE_TELEMETRY', raising=False)
    monkeypatch.setattr(constants, 'HF_HUB_DISABLE_TELEMETRY', False)
    before, threads = state()['switches'], torch.get_num_threads()
    torch.set_num_threads(2)
    for library,name in ((logging, 'progress_bar'), (datasets, 'progress_bars')): getattr(library, f'{"enable" if shown else "disable"}_{name}')()
    torch.manual_seed(777); random.seed(777); np.random.seed(777)
    try:
        found = state()
        if ends=='well': train_here(parcel, tmp_path/'out', random_base())
        else:
            with pytest.raises(FtkitError, match='is not the one of this run'): train_here(parcel, tmp_path/'out', random_base(seed=1))
        assert state()==found
    finally:
        torch.set_num_threads(threads)
        if before['transformers']: logging.enable_progress_bar()
        if before['datasets']: datasets.enable_progress_bars()
    assert ends!='well' or bits(tmp_path/'out')==expected, 'the state of the process shows in the adapter'

def test_threads_that_compute_side_by_side_leave_the_number_that_the_first_one_found():
    threads, entered, left = torch.get_num_threads(), threading.Event(), threading.Event()
    def second():
        with cores(1):
            entered.set()
            assert left.wait(20)
    def number():
        with ThreadPoolExecutor(1) as fresh: return fresh.submit(torch.get_num_threads).result()
    try:
        torch.set_num_threads(2)
        with cores(1):
            other = threading.Thread(target=second)
            other.start()
            assert entered.wait(20)
        left.set()
        other.join()
        assert (torch.get_num_threads(), number())==(2, 2)
    finally: torch.set_num_threads(threads)

def test_variables_that_were_set_changed_or_removed_come_back(monkeypatch):
    for name in ('FTKIT_ONE', 'FTKIT_TWO'): monkeypatch.setenv(name, 'here')
    before = dict(os.environ)
    with pytest.raises(KeyboardInterrupt), undisturbed():
        os.environ.update(FTKIT_ONE='there', FTKIT_THREE='new')
        del os.environ['FTKIT_TWO']
        raise KeyboardInterrupt
    assert dict(os.environ)==before

# --- the door

def blocked(folder):
    "A parcel whose plan never comes: who opens it waits"
    write_json(folder/'plan.json', {})
    write_about(folder)
    (folder/'plan.json').unlink()
    os.mkfifo(folder/'plan.json')
    return folder

def door(*arguments, **kw): return subprocess.Popen([sys.executable, '-m', 'ftkit.train.run', *map(str, arguments)], stderr=subprocess.PIPE, text=True, cwd=ROOT, **kw)

def test_the_clock_runs_from_the_start(tmp_path):
    child = door(blocked(tmp_path/'parcel'), '--out', tmp_path/'out', '--timeout', .5)
    assert child.wait(60)==MISTAKE
    assert read_json(tmp_path/'out'/'failed.json')==dict(reason='training took longer than timeout=0.5 s and was stopped; resume it with a larger timeout', mistake=True)

def test_a_child_that_is_attached_ends_with_its_parent_and_another_does_not(tmp_path):
    parcel = blocked(tmp_path/'parcel')
    bound, free = door(parcel, '--attached', stdin=subprocess.PIPE), door(parcel, stdin=subprocess.PIPE)
    for child in (bound, free): child.stdin.close()
    assert bound.wait(60)==CRASH
    assert free.poll() is None
    free.kill()
    free.wait()

def test_the_earlier_result_is_gone_before_a_parcel_is_read(tmp_path):
    for name in ('trained', 'failed'): write_json(tmp_path/'out'/f'{name}.json', {})
    child = door(blocked(tmp_path/'parcel'), '--out', tmp_path/'out')
    until = time.monotonic()+60
    while list((tmp_path/'out').iterdir()) and time.monotonic()<until: time.sleep(.05)
    assert not list((tmp_path/'out').iterdir()) and child.poll() is None
    child.kill()
    child.wait()

# --- runs side by side

class Later(ApprovalOrchestrator):
    "Someone who has not looked yet"
    async def submit_for_review(self, batch): return self.store.save(batch)

def test_runs_side_by_side_ask_their_own_databases_and_train_as_if_alone(tmp_path):
    save_telemetry(tmp_path/'in', *telemetry('routing', n=44))
    fields = dict(tenant_id='acme', project='shop', model_type='llm', agent_type='routing', base_model=str(random_base()), epochs=1, min_sft_examples=45, test_set_size=4, evaluate_after_training=False, enable_registry=False)
    start, stores = threading.Barrier(3), {name: ApprovalStore(f'sqlite:///{tmp_path}/{name}.db') for name in ('ana', 'ben', 'eve')}
    def run(name, say=lambda line: None, **more): # the same rows and the same plan, approved in three databases
        return finetune_sync(telemetry_provider=FileProvider(tmp_path/'in'), synthetic_service=SyntheticDataService(), approval_orchestrator=Later(stores[name]), in_process=True, say=say, **more)
    def approved(name):
        first = run(name, output_dir=str(tmp_path/name), **fields)
        batch = stores[name].load(*stores[name].batches())
        decide(batch.batch_id, [i.item_id for i in batch.items], 'approve', name, store=stores[name])
        return first.run
    waiting = {name: approved(name) for name in stores}
    def go_on(name):
        def say(line):
            if 'approved and joined' not in line: return
            if name=='eve':
                with stores[name].write() as c: c.execute(sa.text('delete from approval_decisions'))
            start.wait(60)
        return run(name, say, resume=waiting[name])
    with ThreadPoolExecutor(3) as pool: done = {name: pool.submit(go_on, name) for name in stores}
    assert [done[name].result().status for name in ('ana', 'ben')]==['finished']*2
    with pytest.raises(FtkitError, match='not approved'): done['eve'].result()
    receipts = {name: read_json(Path(done[name].result().run)/'parcel'/'receipts.json') for name in ('ana', 'ben')}
    assert 'ana' in json.dumps(receipts['ana']) and 'ana' not in json.dumps(receipts['ben'])
    assert bits(done['ana'].result().run)==bits(done['ben'].result().run), 'one drew from the random state of the other'
