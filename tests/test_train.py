"Training that can be trusted: resume gives the same adapter to the bit, broken checkpoints are passed over, NaN stops."
import math, os, shutil

import pytest
import torch

from ftkit.core import FtkitError, InstructionExample, PreferencePair
from ftkit.models import load_base
from ftkit.plan import OrchestrationConfig
from ftkit.tiny import random_base
from ftkit.track import read_metrics
from ftkit.train.base import SEAL, Diverged, broken, checkpoints, newest_whole, prune, quiet, seal, targets, with_lora
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

def test_nan_stops_at_once_and_names_the_step(tmp_path, monkeypatch):
    import ftkit.train.sft as sft
    real, calls = sft.answer_scores, []
    monkeypatch.setattr(sft, 'answer_scores', lambda *a: real(*a)*(float('nan') if (calls.append(1) or len(calls)==4) else 1.))
    with pytest.raises(Diverged, match='loss is nan at step 4'): trained(train_sft_rows, SHOP, tmp_path, config())
    assert newest_whole(tmp_path/'checkpoints').name=='checkpoint-2'

def _sealed(tmp_path, step=5):
    folder = tmp_path/f'checkpoint-{step}'
    folder.mkdir(parents=True)
    for n in ('adapter_model.safetensors', 'optimizer.pt', 'trainer_state.json'): (folder/n).write_bytes(os.urandom(200))
    seal(folder, step=step)
    return folder

@pytest.mark.parametrize('name', ['adapter_model.safetensors', 'optimizer.pt', 'trainer_state.json'])
@pytest.mark.parametrize('damage', ['flip', 'cut', 'remove'])
def test_any_damage_is_found_before_torch_reads_it(tmp_path, name, damage):
    path = _sealed(tmp_path)/name
    data = bytearray(path.read_bytes())
    if damage=='remove': path.unlink()
    else:
        data[100] ^= 1
        path.write_bytes(data if damage=='flip' else data[:150])
    assert broken(path.parent)

def test_an_extra_file_and_a_damaged_seal_are_found(tmp_path):
    folder = _sealed(tmp_path)
    assert broken(folder) is None
    (folder/'more').write_text('x')
    assert 'more' in broken(folder)
    (folder/'more').unlink()
    (folder/SEAL).write_text('{')
    assert broken(folder)=='no valid seal'

def test_old_checkpoints_go_by_step_whatever_the_clock_says(tmp_path):
    for step in (1, 2, 3, 10, 11): _sealed(tmp_path, step)
    for n,step in enumerate((11, 10, 3, 2, 1)): os.utime(tmp_path/f'checkpoint-{step}', (n*1e6, n*1e6))
    prune(tmp_path, 2, best=2)
    assert [p.name for p in checkpoints(tmp_path)]==['checkpoint-11', 'checkpoint-10', 'checkpoint-2']

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
