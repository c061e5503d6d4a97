"Training that can be trusted: resume gives the same adapter to the bit, broken checkpoints are passed over, NaN stops."
import math, shutil, subprocess, sys
from types import SimpleNamespace

import pytest
import torch

from ftkit.core import FtkitError, InstructionExample, PreferencePair, as_time, now, read_json
from ftkit.models import load_base
from ftkit.plan import OrchestrationConfig
from ftkit.tiny import random_base
from ftkit.track import Run, append_line, read_lines, read_metrics
from ftkit.train.base import SEAL, Diverged, checkpoints, newest_whole, quiet, save_adapter, targets, with_lora
from ftkit.train.dpo import train_dpo_rows
from ftkit.train.preflight import encode, encode_pair, fit_rows, inspect_rows, refuse_unless_clean
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
    model, _ = with_lora(base.model, conf)
    with quiet(): result = train(model, base.tokenizer, rows, validation, conf, folder, folder/'checkpoints')
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
    assert read_metrics(tmp_path/'cut')[0]['step']>int(cut.name.split('-')[1]), 'it began from the start'

def test_accumulated_batches_give_the_gradient_of_one(tmp_path):
    one, _ = trained(train_sft_rows, SHOP[:8], tmp_path/'one', config(batch_size=8, epochs=1, save_steps=1))
    two, _ = trained(train_sft_rows, SHOP[:8], tmp_path/'two', config(batch_size=4, gradient_accumulation=2, epochs=1, save_steps=1))
    log = [read_metrics(tmp_path/n)[0]['grad_norm'] for n in ('one', 'two')]
    assert log[0]==pytest.approx(log[1], rel=5e-3)

def test_dpo_begins_at_ln_2_also_from_a_trained_adapter(tmp_path):
    base = load_base(random_base(), dtype='float32', device='cpu')
    conf = config(epochs=1)
    model, _ = with_lora(base.model, conf)
    with quiet():
        train_sft_rows(model, base.tokenizer, SHOP, [], conf, tmp_path/'s', tmp_path/'s'/'c')
        train_dpo_rows(model, base.tokenizer, PAIRS, [], conf, tmp_path/'d', tmp_path/'d'/'c')
    first = read_metrics(tmp_path/'d')[0]
    assert first['loss']==pytest.approx(math.log(2), abs=2e-3) and first['reward_margin']==pytest.approx(0, abs=1e-2)

def test_early_stopping_keeps_the_best_weights(tmp_path):
    wrong = [InstructionExample(r.instruction, r.input, LABELS[(LABELS.index(r.output)+1)%3]) for r in SHOP[:6]]
    _, result = trained(train_sft_rows, SHOP, tmp_path, config(epochs=40, patience=2, learning_rate=.05), validation=wrong)
    assert result['stopped_early'] and result['best_step']<result['steps'] and result['used_validation_split']
    assert result['eval_loss']==pytest.approx(min(m['eval_loss'] for m in read_metrics(tmp_path) if m.get('eval_loss')))

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

def test_a_gradient_that_is_no_number_stops_in_its_step(tmp_path):
    class Bad(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x): return x.clone()
        @staticmethod
        def backward(ctx, g): return g*float('nan')
    with pytest.raises(Diverged, match='the gradient is not finite at step 3'): trained(poisoned(3, Bad.apply), SHOP, tmp_path, config(logging_steps=100))
    assert newest_whole(tmp_path/'checkpoints').name=='checkpoint-2'

def test_weights_that_are_no_numbers_are_never_written_so_nothing_can_be_registered(tmp_path):
    from ftkit.registry import AdapterRegistry
    base = load_base(random_base(), dtype='float32', device='cpu')
    model, _ = with_lora(base.model, config())
    with torch.no_grad(): next(p for p in model.parameters() if p.requires_grad)[0, 0] = float('nan')
    with pytest.raises(Diverged, match='not finite'): save_adapter(model, base.tokenizer, tmp_path)
    assert not (tmp_path/'adapter').exists()
    with pytest.raises((FtkitError, OSError)): AdapterRegistry().register_adapter('a', 'n', '1.0.0', 'ftkit-tiny', 'llm', 'sft', tmp_path/'adapter', 'r', {})

class Narrow:
    "A model whose wire carries only so many rows at once"
    def __init__(self, rows, after=0): self.rows, self.after, self.seen = rows, after, []
    def __call__(self, model, tokenizer, train, held, conf, folder, place):
        def look(module, args, kw):
            if not model.training: return
            self.seen.append(self.batch)
            if self.batch>self.rows and len(self.seen)>self.after: raise torch.OutOfMemoryError(f'tried to carry {self.batch} rows')
        import ftkit.train.sft as sft
        real = sft.tree_collator
        def counted(pad):
            make = real(pad)
            def to_batch(rows): self.batch = len(rows); return make(rows)
            return to_batch
        sft.tree_collator = counted
        model.get_output_embeddings().register_forward_pre_hook(look, with_kwargs=True)
        try: return train_sft_rows(model, tokenizer, train, held, conf, folder, place)
        finally: sft.tree_collator = real

@pytest.mark.parametrize('after,save_steps', [(0, 50), (2, 50), (3, 1)], ids=['at once', 'before a checkpoint', 'after a checkpoint'])
def test_a_batch_that_does_not_fit_is_halved_and_the_steps_stay_the_same(tmp_path, after, save_steps):
    conf = config(batch_size=8, epochs=2, save_steps=save_steps)
    whole, _ = trained(train_sft_rows, SHOP, tmp_path/'whole', conf)
    narrow = Narrow(2, after)
    got, result = trained(narrow, SHOP, tmp_path/'narrow', conf)
    assert [(e['batch_size'], bool(as_time(e['time']))) for e in read_lines(tmp_path/'narrow'/'events.jsonl')]==[(4, True), (2, True)] and read_lines(tmp_path/'narrow'/'events.jsonl')[-1]['gradient_accumulation']==4
    steps = lambda name: [m['step'] for m in read_metrics(tmp_path/name)]
    assert steps('whole')==steps('narrow') and result['steps']==6 and max(narrow.seen[-8:])==2
    if not after: assert all(torch.allclose(whole[n], got[n], atol=.2) for n in whole)

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
    with pytest.raises(floor.DiskFull, match=r'a checkpoint needs [\d.]+ MB and [\d.]+ MB are free') as e: trained(train_sft_rows, SHOP, small_disk, conf)
    assert '\n' not in str(e.value) and newest_whole(small_disk/'checkpoints').name=='checkpoint-2' and not (small_disk/'checkpoints'/floor.ASIDE).exists()
    monkeypatch.undo()
    (small_disk/'ballast').unlink()
    again, _ = trained(train_sft_rows, SHOP, small_disk, conf)
    assert all(torch.equal(whole[n], again[n]) for n in whole)

def test_every_line_of_the_log_has_speed_memory_and_time_to_go(tmp_path):
    before = now()
    _, result = trained(train_sft_rows, SHOP, tmp_path, config(epochs=2))
    rows = read_metrics(tmp_path)
    for k in ('loss', 'learning_rate', 'grad_norm', 'tokens', 'tokens_per_s', 'examples_per_s', 'eta_s', 'memory_mb'): assert all(isinstance(r[k], (int, float)) for r in rows if 'loss' in r), k
    assert [r['tokens'] for r in rows]==sorted(r['tokens'] for r in rows) and rows[-1]['eta_s']==0 and rows[0]['memory_mb']>50
    assert before<=as_time(rows[0]['time'])<as_time(rows[-1]['time'])<=now(), 'when it was measured'
    expected = read_json(tmp_path/'forecast.json')
    assert expected['steps']==result['steps'] and expected['rows']==len(SHOP) and expected['seconds']>0 and expected['memory_mb']>0 and any('learning_rate' in a for a in expected['advice'])

def test_a_drawing_error_does_not_stop_the_view(tmp_path, monkeypatch, capsys):
    import ftkit.track as track
    append_line(tmp_path/'metrics.jsonl', dict(step=1, of=2, loss=1.))
    view, frames = track.NotebookView(tmp_path, every_s=0), []
    view.handle = SimpleNamespace(update=frames.append) # a notebook's display handle
    append_line(tmp_path/'metrics.jsonl', dict(step=2, of=2, loss=.5, grad_norm=float('nan')))
    (tmp_path/'forecast.json').write_text('{')
    for row in track.read_metrics(tmp_path): view.show(row)
    monkeypatch.setattr('matplotlib.axes.Axes.plot', lambda *a, **kw: 1/0)
    view.show({})
    view.close()
    assert capsys.readouterr().err.count('the plot could not be drawn: ZeroDivisionError')==1 and frames[-1]=='the plot could not be drawn' and frames[0]._repr_png_()[1:4]==b'PNG'

def test_a_run_in_another_process_is_watched_to_its_end(tmp_path):
    run, seen = Run(tmp_path), []
    append_line(tmp_path/'metrics.jsonl', dict(step=1, of=2, loss=1.))
    code = 'import sys, time; from ftkit.track import *; r = Run(sys.argv[1]);\nwith locked(r): print("held", flush=True); time.sleep(1); append_line(r.folder/"metrics.jsonl", dict(step=2, of=2, loss=.5))'
    other = subprocess.Popen([sys.executable, '-c', code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline().strip()=='held'
    run.live(seen.append)
    assert other.wait()==0 and [s.split()[1] for s in seen]==['1/2', '2/2'] and list(run.metrics()['loss'])==[1., .5]
    assert run.plot()._repr_png_()[1:4]==b'PNG'

def test_lora_on_a_model_without_its_layers_falls_back_with_the_reason():
    class Odd(torch.nn.Module):
        def __init__(self): super().__init__(); self.body = torch.nn.Embedding(3, 3)
        def get_output_embeddings(self): return None
    with pytest.warns(UserWarning, match='LoRA cannot be applied to Odd'): assert with_lora(Odd(), config(target_modules='attention'))[1]=='full'
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
