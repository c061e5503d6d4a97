"Training that can be trusted: resume gives the same adapter to the bit, broken checkpoints are passed over, NaN stops."
import math, shutil, subprocess, sys, time
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from hub_stub import Hub

from ftkit.core import FtkitError, as_time, now
from ftkit.disk import read_json, write_json
from ftkit.records import InstructionDataset, InstructionExample, PreferencePair
from ftkit.data.split import split
from ftkit.data.version import save_version
from ftkit.model.load import load_base
from ftkit.plans.advice import advice
from ftkit.plans.plan import OrchestrationConfig
from ftkit.model.tiny import random_base
from ftkit.runs.lines import append_line, read_lines
from ftkit.runs.metrics import read_metrics
from ftkit.runs.run import Run
from ftkit.runs.watch import forecast_lines
from ftkit.model.load import quietly as quiet
from ftkit.train.base import save_adapter
from ftkit.train.checkpoints import ASIDE, SEAL, DiskFull, checkpoints, newest_whole
from ftkit.train.log import Diverged
from ftkit.train.lora import targets, with_lora
from ftkit.train.dpo import train_dpo_rows
from ftkit.train.preflight import encode, encode_pair, fit_rows, inspect_rows, refuse_unless_clean
from ftkit.runs.parcel import pack
from ftkit.train.run import train_here, training_data
from ftkit.train.sft import train_sft_rows

LABELS = ('delivery', 'refunds', 'catalogue')
ASKED = ('where is parcel', 'money back for order', 'do you sell mug')
SHOP = [InstructionExample('Route the request.', f'{q} {n}', l) for n in range(8) for q,l in zip(ASKED, LABELS)]
PAIRS = [PreferencePair(f'Route.\n\n{q} {n}', l, LABELS[(i+1)%3]) for n in range(6) for i,(q,l) in enumerate(zip(ASKED, LABELS))]

def config(**more): return OrchestrationConfig(**{**dict(tenant_id='a', project='p', model_type='llm', agent_type='r', base_model='ftkit-tiny', epochs=3, learning_rate=.02, save_steps=2, target_modules='all-linear', logging_steps=1, keep_checkpoints=50), **more})

def trained(train, rows, folder, conf, stop_at=None, validation=()):
    "Train in this process; stop as a kill would after a step"
    torch.manual_seed(0)
    base = load_base(random_base(), dtype='float32', device='cpu')
    model, _ = with_lora(base.model, conf.adapter)
    with quiet(): result = train(model, base.tokenizer, rows, validation, conf.train, folder, folder/'checkpoints')
    return {n: p.detach().clone() for n,p in model.named_parameters() if 'lora' in n and 'default' in n}, result

@pytest.mark.parametrize('train,rows', [(train_sft_rows, SHOP), (train_dpo_rows, PAIRS)], ids=['sft', 'dpo'])
def test_a_resumed_training_ends_in_the_same_bits(train, rows, tmp_path):
    whole, _ = trained(train, rows, tmp_path/'whole', config())
    found = checkpoints(tmp_path/'whole'/'checkpoints')
    cut = found[len(found)//2]
    (tmp_path/'cut').mkdir()
    shutil.copytree(cut, tmp_path/'cut'/'checkpoints'/cut.name)
    half = tmp_path/'cut'/'checkpoints'/'checkpoint-999'
    shutil.copytree(cut, half)
    (half/SEAL).unlink() # a kill in the middle of a save leaves files without a seal
    again, _ = trained(train, rows, tmp_path/'cut', config())
    assert all(torch.equal(whole[n], again[n]) for n in whole)
    log = [read_metrics(tmp_path/n) for n in ('whole', 'cut')]
    assert log[1][0]['step']>int(cut.name.split('-')[1]), 'it began from the start'
    assert log[0][-1]['tokens']==log[1][-1]['tokens']>log[0][0]['tokens'], 'the tokens before the kill are counted'

def test_accumulated_batches_give_the_gradient_of_one(tmp_path):
    one, _ = trained(train_sft_rows, SHOP[:8], tmp_path/'one', config(batch_size=8, epochs=1, save_steps=1))
    two, _ = trained(train_sft_rows, SHOP[:8], tmp_path/'two', config(batch_size=4, gradient_accumulation=2, epochs=1, save_steps=1))
    log = [read_metrics(tmp_path/n)[0]['grad_norm'] for n in ('one', 'two')]
    assert log[0]==pytest.approx(log[1], rel=5e-3)

def test_dpo_begins_at_ln_2_also_from_a_trained_adapter(tmp_path):
    base = load_base(random_base(), dtype='float32', device='cpu')
    conf = config(epochs=1)
    model, _ = with_lora(base.model, conf.adapter)
    with quiet():
        train_sft_rows(model, base.tokenizer, SHOP, [], conf.train, tmp_path/'s', tmp_path/'s'/'c')
        train_dpo_rows(model, base.tokenizer, PAIRS, [], conf.train, tmp_path/'d', tmp_path/'d'/'c')
    first = read_metrics(tmp_path/'d')[0]
    assert first['loss']==pytest.approx(math.log(2), abs=2e-3) and first['reward_margin']==pytest.approx(0, abs=1e-2)

def test_early_stopping_keeps_the_best_weights_also_when_it_was_killed_on_the_way(tmp_path):
    wrong = [InstructionExample(r.instruction, r.input, LABELS[(LABELS.index(r.output)+1)%3]) for r in SHOP[:6]]
    conf, store = config(epochs=40, patience=2, learning_rate=.05, eval_steps=5, save_steps=6), tmp_path/'whole'/'checkpoints'
    final, result = trained(train_sft_rows, SHOP, tmp_path/'whole', conf, validation=wrong)
    assert result['stopped_early'] and result['best_step']<result['steps'] and result['used_validation_split']
    assert result['eval_loss']==pytest.approx(min(m['eval_loss'] for m in read_metrics(tmp_path/'whole') if m.get('eval_loss')))
    best = store/f'checkpoint-{result["best_step"]}'
    weights = load_file(best/'adapter_model.safetensors')
    assert final and all(torch.equal(final[n], weights[n.replace('.default', '')]) for n in final), 'what comes out is not the best checkpoint'
    last = next(p for p in checkpoints(store) if result['best_step']<int(p.name.split('-')[1])<result['steps'])
    for p in (best, last): shutil.copytree(p, tmp_path/'killed'/'checkpoints'/p.name)
    again, resumed = trained(train_sft_rows, SHOP, tmp_path/'killed', conf, validation=wrong)
    assert all(resumed[k]==result[k] for k in ('steps', 'best_step', 'eval_loss')) and all(torch.equal(final[n], again[n]) for n in final)

@pytest.mark.parametrize('method, metric, rows, held, rate', [
    (train_sft_rows, 'token_accuracy', SHOP, SHOP[:6], .03),
    (train_dpo_rows, 'reward_accuracy', PAIRS, PAIRS[:6], .001)])
def test_the_metric_of_the_plan_says_which_step_is_the_best(tmp_path, method, metric, rows, held, rate):
    conf = config(epochs=6, patience=40, learning_rate=rate, eval_steps=2, logging_steps=1, metric_for_best_model=metric)
    _, result = trained(method, rows, tmp_path, conf, validation=held)
    seen = [m for m in read_metrics(tmp_path) if m.get(f'eval_{metric}') is not None]
    best = max(seen, key=lambda m: m[f'eval_{metric}'])
    assert len(seen)>3 and result['best_step']==best['step'] and result[f'eval_{metric}']==best[f'eval_{metric}']
    assert best['step']!=min(seen, key=lambda m: m['eval_loss'])['step'], 'the loss would have said the same'

def poisoned(at, spoil):
    "What comes out of the model is spoiled at one step"
    def train(model, *args):
        calls = []
        model.get_output_embeddings().register_forward_hook(lambda m, i, out: spoil(out) if model.training and (calls.append(1) or len(calls)==at) else out)
        return train_sft_rows(model, *args)
    return train

@pytest.mark.parametrize('loss,spoil', [('nan', lambda out: out*float('nan')), ('inf', lambda out: out.index_fill(-1, torch.arange(1, out.shape[-1]), -float('inf')))])
def test_a_loss_that_is_no_number_stops_in_its_step(tmp_path, loss, spoil):
    with pytest.raises(Diverged, match=f'the loss is {loss} at step 4'): trained(poisoned(4, spoil), SHOP, tmp_path, config(logging_steps=100))
    assert newest_whole(tmp_path/'checkpoints').name=='checkpoint-2'

@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
def test_a_gradient_that_is_no_number_stops_in_its_step(tmp_path, bad):
    def train(model, *args):
        calls = []
        next(p for p in model.parameters() if p.requires_grad).register_hook(lambda g: g.index_fill(0, torch.tensor([0]), bad) if calls.append(1) or len(calls)==3 else g)
        return train_sft_rows(model, *args)
    with pytest.raises(Diverged, match='the gradient is not finite at step 3'): trained(train, SHOP, tmp_path, config(logging_steps=100))
    assert newest_whole(tmp_path/'checkpoints').name=='checkpoint-2'

def test_a_validation_loss_that_is_no_number_stops_the_run_and_is_no_best_one(tmp_path):
    def train(model, *args):
        begun = []
        model.get_output_embeddings().register_forward_hook(lambda m, i, out: out*float('nan') if not model.training and begun else begun.append(1) if model.training else None)
        return train_sft_rows(model, *args)
    with pytest.raises(Diverged, match='eval_loss is nan at step 2'): trained(train, SHOP[:8], tmp_path, config(epochs=2, logging_steps=100, save_steps=1), validation=SHOP[8:12])
    assert newest_whole(tmp_path/'checkpoints').name=='checkpoint-1'

def test_weights_that_are_no_numbers_are_never_written_so_nothing_can_be_registered(tmp_path):
    from ftkit.adapters.registry import AdapterRegistry
    base = load_base(random_base(), dtype='float32', device='cpu')
    model, _ = with_lora(base.model, config().adapter)
    with torch.no_grad(): next(p for p in model.parameters() if p.requires_grad)[0, 0] = float('nan')
    with pytest.raises(Diverged, match='not finite'): save_adapter(model, base.tokenizer, tmp_path)
    assert not (tmp_path/'adapter').exists()
    with pytest.raises((FtkitError, OSError)): AdapterRegistry().register_adapter('a', 'n', '1.0.0', 'ftkit-tiny', 'llm', 'sft', tmp_path/'adapter', 'r', {})

class Narrow:
    "A machine that carries only so many rows at once"
    def __init__(self, rows, after=0): self.rows, self.after, self.seen = rows, after, []
    def __call__(self, *args):
        from trl import SFTTrainer
        step = SFTTrainer.training_step
        def narrow(trainer, model, inputs, *more):
            rows = int(inputs['owners'].max())+1
            self.seen.append(rows)
            if rows>self.rows and len(self.seen)>self.after: raise torch.OutOfMemoryError(f'tried to carry {rows} rows')
            return step(trainer, model, inputs, *more)
        SFTTrainer.training_step = narrow
        try: return train_sft_rows(*args)
        finally: SFTTrainer.training_step = step

@pytest.mark.parametrize('after,save_steps', [(0, 50), (2, 50), (3, 1)], ids=['at once', 'before a checkpoint', 'after a checkpoint'])
def test_a_batch_that_does_not_fit_is_halved_and_the_steps_stay_the_same(tmp_path, after, save_steps):
    conf = config(batch_size=8, epochs=2, save_steps=save_steps)
    whole, _ = trained(train_sft_rows, SHOP, tmp_path/'whole', conf)
    narrow = Narrow(2, after)
    got, result = trained(narrow, SHOP, tmp_path/'narrow', conf)
    assert [(e['batch_size'], bool(as_time(e['time']))) for e in read_lines(tmp_path/'narrow'/'events.jsonl')]==[(4, True), (2, True)] and read_lines(tmp_path/'narrow'/'events.jsonl')[-1]['gradient_accumulation']==4
    steps = lambda name: [m['step'] for m in read_metrics(tmp_path/name)]
    assert steps('whole')==steps('narrow') and result['steps']==6 and max(narrow.seen[-8:])==2
    loss = lambda name: [m['loss'] for m in read_metrics(tmp_path/name)][:3] # later ones drift apart: the trainer computes in 16 bits where the CPU does
    assert loss('narrow')==pytest.approx(loss('whole'), rel=.02), 'it did not begin again with the weights it had'

def test_one_row_that_does_not_fit_is_said_in_one_line(tmp_path):
    with pytest.raises(FtkitError, match='out of memory with one row a batch') as e: trained(Narrow(0), SHOP[:4], tmp_path, config(batch_size=3))
    assert '\n' not in str(e.value) and [e['batch_size'] for e in read_lines(tmp_path/'events.jsonl')]==[1]

@pytest.fixture
def small_disk(tmp_path):
    "A file system of 600 kB, where this machine lets us make one"
    place = tmp_path/'small'
    place.mkdir()
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=600k', 'tmpfs', str(place)], capture_output=True).returncode: pytest.skip('a small file system cannot be mounted here')
    yield place
    subprocess.run(['umount', str(place)], check=True)

@pytest.mark.parametrize('room_is_known', [True, False], ids=['seen before', 'in the middle'])
def test_a_full_disk_is_said_in_one_line_and_the_run_goes_on_after_freeing(tmp_path, small_disk, room_is_known, monkeypatch):
    import ftkit.train.base as floor
    conf = config(lora_r=2, epochs=1, save_steps=2, keep_checkpoints=1)
    whole, _ = trained(train_sft_rows, SHOP, tmp_path/'whole', conf)
    one = floor.checkpoint_bytes(tmp_path/'whole'/'checkpoints')
    before = shutil.disk_usage(small_disk)
    (small_disk/'ballast').write_bytes(b'x'*max(600*1024-int(1.9*one), 0))
    if not room_is_known: monkeypatch.setattr(shutil, 'disk_usage', lambda path: before) # as when another process takes the room meanwhile
    with pytest.raises(floor.DiskFull, match=('the disk is' if room_is_known else 'the disk was')+r' full: a checkpoint needs [\d.]+ MB and [\d.]+ MB are free') as e: trained(train_sft_rows, SHOP, small_disk, conf)
    assert '\n' not in str(e.value) and newest_whole(small_disk/'checkpoints').name=='checkpoint-2' and not (small_disk/'checkpoints'/floor.ASIDE).exists()
    monkeypatch.undo()
    (small_disk/'ballast').unlink()
    again, _ = trained(train_sft_rows, SHOP, small_disk, conf)
    assert all(torch.equal(whole[n], again[n]) for n in whole)

@pytest.mark.parametrize('validation', [(), SHOP[4:6]], ids=['after a step', 'after a validation'])
def test_room_is_asked_for_before_a_checkpoint_is_begun(tmp_path, monkeypatch, validation):
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: SimpleNamespace(free=1000))
    conf = config(epochs=1, batch_size=2, save_steps=1 if not validation else 2, eval_steps=1)
    with pytest.raises(DiskFull, match=r'the disk is full: a checkpoint needs [\d.]+ MB and 0.0 MB are free'): trained(train_sft_rows, SHOP[:4], tmp_path, conf, validation=validation)
    assert checkpoints(tmp_path/'checkpoints')==[] and not (tmp_path/'checkpoints'/ASIDE).exists()

def test_every_line_of_the_log_has_speed_memory_and_time_to_go(tmp_path):
    before = now()
    conf = config(epochs=2)
    told = partial(train_sft_rows, advice=advice(conf.train, conf.adapter, 126_000, len(SHOP)))
    _, result = trained(told, SHOP, tmp_path, conf)
    rows = read_metrics(tmp_path)
    for k in ('loss', 'learning_rate', 'grad_norm', 'tokens', 'tokens_per_s', 'examples_per_s', 'eta_s', 'memory_mb'): assert all(isinstance(r[k], (int, float)) for r in rows if 'loss' in r), k
    assert [r['tokens'] for r in rows]==sorted(r['tokens'] for r in rows) and rows[-1]['eta_s']==0 and rows[0]['memory_mb']>50
    assert before<=as_time(rows[0]['time'])<as_time(rows[-1]['time'])<=now(), 'when it was measured'
    expected = read_json(tmp_path/'forecast.json')
    assert expected['steps']==result['steps'] and expected['rows']==len(SHOP) and expected['seconds']>0 and expected['memory_mb']>0 and any('learning_rate' in a for a in expected['advice'])
    assert 'expected: under a minute of computing, besides starting, validating and saving, and ' in forecast_lines(tmp_path)[0]
    write_json(tmp_path/'forecast.json', {**expected, 'seconds': 90})
    assert 'about 1:30 minutes of computing' in forecast_lines(tmp_path)[0]

def test_a_drawing_error_does_not_stop_the_view(tmp_path, monkeypatch, capsys):
    import ftkit.runs.watch as track
    append_line(tmp_path/'metrics.jsonl', dict(step=1, of=2, loss=1.))
    view, frames = track.NotebookView(tmp_path, every_s=0, share=float('inf')), []
    view.handle = SimpleNamespace(update=frames.append) # a notebook's display handle
    append_line(tmp_path/'metrics.jsonl', dict(step=2, of=2, loss=.5, grad_norm=float('nan')))
    (tmp_path/'forecast.json').write_text('{')
    for row in track.read_metrics(tmp_path): view.show(row)
    monkeypatch.setattr('matplotlib.axes.Axes.plot', lambda *a, **kw: 1/0)
    view.show({})
    view.close()
    assert capsys.readouterr().err.count('the plot could not be drawn: ZeroDivisionError')==1 and frames[-1]=='the plot could not be drawn' and frames[0]._repr_png_()[1:4]==b'PNG'

@pytest.mark.parametrize('share, drawn', [(.05, 1), (float('inf'), 3)])
def test_drawing_takes_a_small_share_of_the_time(tmp_path, monkeypatch, share, drawn):
    import ftkit.runs.watch as track
    view, frames = track.NotebookView(tmp_path, every_s=0, share=share), []
    view.handle = SimpleNamespace(update=frames.append)
    monkeypatch.setattr(view, 'frame', lambda: time.sleep(.1))
    for step in range(3): view.show(dict(step=step))
    assert len(frames)==drawn

def test_a_run_in_another_process_is_watched_to_its_end(tmp_path):
    run, seen = Run(tmp_path), []
    append_line(tmp_path/'metrics.jsonl', dict(step=1, of=2, loss=1.))
    code = 'import sys, time; from ftkit.runs.lines import *; from ftkit.runs.run import *; r = Run(sys.argv[1]);\nwith locked(r): print("held", flush=True); time.sleep(1); append_line(r.folder/"metrics.jsonl", dict(step=2, of=2, loss=.5))'
    other = subprocess.Popen([sys.executable, '-c', code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline().strip()=='held'
    run.live(seen.append)
    assert other.wait()==0 and [s.split()[1] for s in seen]==['1/2', '2/2'] and list(run.metrics()['loss'])==[1., .5]
    assert run.plot()._repr_png_()[1:4]==b'PNG'

@pytest.mark.parametrize('allowed', [False, True])
def test_nobody_is_told_of_a_training_unless_the_environment_asks_for_it(tmp_path, monkeypatch, allowed):
    from huggingface_hub import constants
    from huggingface_hub.utils import _telemetry
    hub, rows = Hub(), [replace(r, metadata=dict(span_id=str(i), time=f'2026-01-{i+1:02}T10:00:00+00:00')) for i,r in enumerate(SHOP)]
    for name,value in dict(HF_HUB_OFFLINE=False, HF_HUB_DISABLE_TELEMETRY=False, ENDPOINT=hub.url).items(): monkeypatch.setattr(constants, name, value) # as read from the environment of a user who set none of them
    monkeypatch.delenv('CI', raising=False)
    monkeypatch.setenv('HF_HUB_DISABLE_TELEMETRY', '0') if allowed else monkeypatch.delenv('HF_HUB_DISABLE_TELEMETRY', raising=False)
    version = save_version(split({'examples': InstructionDataset(rows)}))
    parcel = pack(tmp_path/'parcel', 'run', config(epochs=1), version, 'sft', 256, random_base())
    assert train_here(parcel, tmp_path, random_base()).metrics['steps']>0
    assert constants.HF_HUB_DISABLE_TELEMETRY is False
    _telemetry._TELEMETRY_QUEUE.join()
    hub.stop()
    assert bool(hub.asked)==allowed, hub.asked

def test_lora_on_a_model_without_its_layers_falls_back_with_the_reason():
    class Odd(torch.nn.Module):
        def __init__(self): super().__init__(); self.body = torch.nn.Embedding(3, 3)
        def get_output_embeddings(self): return None
    with pytest.warns(UserWarning, match='LoRA cannot be applied to Odd'): assert with_lora(Odd(), config(target_modules='attention').adapter)[1]=='full'
    with pytest.raises(FtkitError): targets(Odd(), ('q_proj',))

def test_the_first_answer_token_decides_between_chosen_and_rejected():
    tok = load_base(random_base(), dtype='float32', device='cpu').tokenizer
    pair = encode_pair(PreferencePair('q', 'yes it is', 'no it is'), tok)
    assert pair['chosen_ids'][0]!=pair['rejected_ids'][0] and pair['chosen_ids'][-1]==pair['rejected_ids'][-1]==tok.eos_token_id

@pytest.mark.parametrize('answer', ['a', 'user', 'assistant', 'Route the request.', '', ' leading', 'é🙂', 'x\n\ny'])
def test_the_answer_and_its_end_are_learned_whatever_it_says(answer):
    tok = load_base(random_base(), dtype='float32', device='cpu').tokenizer
    row = encode(InstructionExample('Route the request.', 'hi', answer), tok)
    assert tok.decode([l for l in row.labels if l!=-100])==answer+tok.eos_token
    refuse_unless_clean(inspect_rows([row], tok))

def test_rows_that_cannot_fit_are_counted_and_none_is_cut():
    tok = load_base(random_base(), dtype='float32', device='cpu').tokenizer
    some = [InstructionExample('i', 'x', 'y'*n) for n in (1, 4000)]
    fitted = fit_rows(some, tok, 128, most_lost=.5)
    assert len(fitted.kept)==1 and fitted.account.dropped=={'does not fit into 128 tokens': 1} and fitted.shortened==() and fitted.left_out==(1,)

def test_a_few_validation_rows_may_be_too_long_and_training_rows_only_one_in_ten(tmp_path):
    tok = load_base(random_base(), dtype='float32', device='cpu').tokenizer
    def rows(step): return [InstructionExample('Route.', f'request number {n}', 'y'*(900 if n%step==0 else 4), dict(span_id=f's{n}', trace_id=f't{n}', time=f'2026-01-{n//10+1:02}T10:{n%10:02}:00+00:00')) for n in range(150)]
    def version(some, seed): return save_version(split({'examples': InstructionDataset(some)}, test_days=1, seed=seed), root=tmp_path/str(seed))
    too_long = lambda side: sum(len(r.output)>100 for r in side)/len(side)
    found = next(v for v in (version(rows(15), seed) for seed in range(50)) if .1<too_long(v.validation['examples'])<=.5 and too_long(v.train['examples'])<.1)
    def fitted(version, name, **fields): return training_data(pack(tmp_path/name, 'run', config(**fields), version, 'sft', 128, random_base()), 'examples', tok)
    train, held, notes = fitted(found, 'p1')
    assert not any(len(r.output)>100 for r in (*train, *held)) and len(held)<len(found.validation['examples']) and any('validation, examples' in n and 'left out' in n for n in notes)
    with pytest.raises(FtkitError, match='too little would remain'): fitted(version(rows(7), 0), 'p2')
    assert len(fitted(version(rows(7), 0), 'p3', most_lost=.3)[0])>80, 'most_lost is not read'
    with pytest.raises(FtkitError, match='too little would remain'): fitted(found, 'p4', most_lost=0)
