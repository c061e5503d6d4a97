"Checkpoints: whole or not there, in the order of their steps, and the right one taken up after any kill."
import json, os, random, shutil, subprocess, sys, time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers.sentence_transformer.modules import Dense
from test_methods import base_of, cut as cut_run, embedding_config, job, logits, same, tuned, weights
from test_train import PAIRS, SHOP, config, trained

from ftkit.core import FtkitError
from ftkit.disk import read_json, write_json
from ftkit.model.embed import embed, load_embedder
from ftkit.model.load import load, load_base
from ftkit.model.tiny import random_base
from ftkit.model.load import quietly as quiet
from ftkit.train.base import START, back_to_start, keep_start
from ftkit.train.checkpoints import (ASIDE, SEAL, broken, checkpoints, load_weights, newest_whole, prune, put, seal, sweep)
from ftkit.train.lora import with_lora
from ftkit.train.restore import restore
from ftkit.train.embedding import open_embedder
from ftkit.train.run import _finished, run_steps
from ftkit.train.sft import train_sft_rows

FULL = os.environ.get('FTKIT_FULL')=='1'
FILES = {'adapter_model.safetensors': 400, 'optimizer.pt': 300, 'scheduler.pt': 40, 'rng_state.pth': 60, 'trainer_state.json': 80, 'nested/tokenizer.json': 90}

def sealed(store, step, rng=random):
    folder = Path(store)/f'checkpoint-{step}'
    for name,size in FILES.items():
        (folder/name).parent.mkdir(parents=True, exist_ok=True)
        (folder/name).write_bytes(rng.randbytes(size))
    seal(folder, step=step)
    return folder

def flip(folder, rng):
    f = rng.choice([p for p in folder.rglob('*') if p.is_file()])
    data = bytearray(f.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    f.write_bytes(data)

def cut(folder, rng):
    f = rng.choice([p for p in folder.rglob('*') if p.is_file()])
    with open(f, 'r+b') as out: out.truncate(rng.randrange(f.stat().st_size))

def lose(folder, rng): rng.choice([p for p in folder.rglob('*') if p.is_file()]).unlink()
def add(folder, rng): (folder/rng.choice(['more.bin', 'nested/.hidden', 'nested/seal.json', 'model.safetensors', '.seal.json.tmp'])).write_bytes(b'x'*rng.randrange(3))
def swap(folder, rng):
    a, b = rng.sample(sorted(FILES), 2)
    os.rename(folder/a, folder/'t'); os.rename(folder/b, folder/a); os.rename(folder/'t', folder/b)
def link(folder, rng):
    f = folder/rng.choice(sorted(FILES))
    f.rename(folder.parent/f'elsewhere-{rng.random()}')
    f.symlink_to(max(folder.parent.glob('elsewhere-*'), key=lambda p: p.stat().st_ctime_ns))
def link_folder(folder, rng): (folder/'more').symlink_to(folder.parent, target_is_directory=True)
def other_seal(folder, rng):
    listed = read_json(folder/SEAL)
    write_json(folder/SEAL, {**listed, **rng.choice([dict(step=7), dict(files={}), dict(layout=3), dict(signature='0'*64), dict(signature=None)])})

DAMAGE = (flip, flip, flip, cut, lose, add, swap, link, link_folder, other_seal)

def test_two_hundred_of_two_hundred_damages_are_found(tmp_path):
    rng, whole = random.Random(0), sealed(tmp_path, 5, random.Random(1))
    for n in range(200):
        folder = tmp_path/f'{n}'/'checkpoint-5'
        shutil.copytree(whole, folder)
        assert broken(folder) is None
        damage = DAMAGE[n%len(DAMAGE)]
        damage(folder, rng)
        assert broken(folder), f'{damage.__name__} number {n} was not found'
    assert broken(whole) is None

def test_a_damaged_checkpoint_is_passed_over_and_removed(tmp_path):
    for step in (1, 2, 3): sealed(tmp_path, step)
    flip(tmp_path/'checkpoint-3', random.Random(3))
    (tmp_path/ASIDE/'checkpoint-4').mkdir(parents=True)
    assert sweep(tmp_path).name=='checkpoint-2'
    assert sorted(p.name for p in tmp_path.iterdir())==['checkpoint-1', 'checkpoint-2']

def test_a_damaged_best_checkpoint_is_not_loaded(tmp_path):
    flip(sealed(tmp_path, 3), random.Random(3))
    with pytest.raises(FtkitError, match='the checkpoint checkpoint-3 cannot be loaded'): load_weights(torch.nn.Linear(1, 1), tmp_path/'checkpoint-3')

def test_a_step_saved_again_replaces_the_first(tmp_path):
    sealed(tmp_path, 3)
    again = sealed(tmp_path/ASIDE, 3)
    wanted = (again/'optimizer.pt').read_bytes()
    assert put(again, tmp_path)==tmp_path/'checkpoint-3' and (tmp_path/'checkpoint-3'/'optimizer.pt').read_bytes()==wanted and broken(tmp_path/'checkpoint-3') is None

def test_the_newest_by_step_and_the_best_stay(tmp_path):
    for step in (1, 2, 3, 10, 11): sealed(tmp_path, step)
    for n,step in enumerate((11, 10, 3, 2, 1)): os.utime(tmp_path/f'checkpoint-{step}', (n*1e6, n*1e6))
    prune(tmp_path, 2, best=2)
    assert [p.name for p in checkpoints(tmp_path)]==['checkpoint-11', 'checkpoint-10', 'checkpoint-2']

@pytest.mark.parametrize('days', [-1, 1])
def test_a_clock_stepped_by_a_day_loses_nothing(tmp_path, monkeypatch, days):
    some, real, calls = config(epochs=3, save_steps=1, keep_checkpoints=2), time.time, []
    monkeypatch.setattr(time, 'time', lambda: real()+86400*days*len(calls)+0*len(calls.append(1) or ''))
    trained(train_sft_rows, SHOP[:8], tmp_path, some)
    store = tmp_path/'checkpoints'
    assert calls and [p.name for p in checkpoints(store)]==['checkpoint-6', 'checkpoint-5']
    for p in store.rglob('*'): os.utime(p, (real()+86400*days,)*2)
    shutil.rmtree(store/'checkpoint-6')
    trained(train_sft_rows, SHOP[:8], tmp_path, some)
    assert [p.name for p in checkpoints(store)]==['checkpoint-6', 'checkpoint-5'] and all(broken(p) is None for p in checkpoints(store)) and newest_whole(store).name=='checkpoint-6'

# weights that come back

SMALL = dict(hidden_size=32, intermediate_size=32, num_attention_heads=2, num_key_value_heads=2)
SAVED_OTHERWISE = dict( # transformers saves these under other names than it computes with
    Mixtral=dict(SMALL, num_hidden_layers=1, num_local_experts=4, num_experts_per_tok=2),
    Qwen3Moe=dict(SMALL, num_hidden_layers=1, moe_intermediate_size=16, head_dim=16, num_experts=4, num_experts_per_tok=2),
    NemotronH=dict(SMALL, layers_block_type=['mamba', 'attention', 'mlp'], head_dim=16, mamba_num_heads=4, mamba_head_dim=16, ssm_state_size=8, n_groups=1, chunk_size=16),
)
FULL_RUN = dict(epochs=2, use_lora=False, target_modules='attention', learning_rate=1e-3)

@pytest.fixture(scope='module')
def bases(tmp_path_factory):
    "A small base of each kind"
    place = tmp_path_factory.mktemp('bases')
    return {kind: base_of(place/kind, kind, **shape) for kind,shape in SAVED_OTHERWISE.items()}

def network(base, seed=None):
    "A base's network; with a seed, with other weights"
    net = load_base(base, dtype='float32', device='cpu').model
    if seed is None: return net
    torch.manual_seed(seed)
    for p in net.parameters(): p.data.add_(.1*torch.randn_like(p))
    return net

def checkpoint_of(model, folder, change=None):
    "A sealed checkpoint, its tensors changed before it was sealed"
    with quiet(): model.save_pretrained(folder)
    file = next(folder.glob('*model.safetensors'))
    tensors = load_file(file)
    if change: change(tensors)
    save_file(tensors, file, metadata=dict(format='pt'))
    seal(folder, step=1)
    return folder

@pytest.mark.parametrize('kind', SAVED_OTHERWISE)
def test_whole_weights_come_back_to_the_bit(tmp_path, bases, kind):
    saved, model = network(bases[kind], seed=1), network(bases[kind])
    assert not torch.equal(logits(saved), logits(model))
    load_weights(model, checkpoint_of(saved, tmp_path/'checkpoint-1'))
    assert same(saved.state_dict(), model.state_dict()) and torch.equal(logits(saved), logits(model))

def test_tied_weights_are_stored_once_and_come_back_twice(tmp_path):
    base = base_of(tmp_path/'base', 'Llama', num_hidden_layers=1, tie_word_embeddings=True, **SMALL)
    saved, model = network(base, seed=1), network(base)
    load_weights(model, checkpoint_of(saved, tmp_path/'checkpoint-1'))
    assert 'lm_head.weight' not in load_file(tmp_path/'checkpoint-1'/'model.safetensors') and torch.equal(logits(saved), logits(model))
    other = checkpoint_of(saved, tmp_path/'checkpoint-2', lambda t: t.update({'lm_head.weight': t['model.embed_tokens.weight']+1}))
    with pytest.raises(FtkitError, match='do not fill the model: 1 untied'): load_weights(model, other)

EXPERT = 'model.layers.0.block_sparse_moe.experts.3.w1.weight'
@pytest.mark.parametrize('kind,change,said', [
    ('Mixtral', lambda t: t.pop('model.norm.weight'), r'1 missing \(model.norm.weight\)'),
    ('Mixtral', lambda t: t.pop(EXPERT), rf'1 missing \({EXPERT}\)'),
    ('Mixtral', lambda t: t.update({EXPERT.replace('.3.', '.4.'): t[EXPERT].clone()}), r'1 unknown \(model.layers.0.block_sparse_moe.experts.4.w1.weight\)'),
    ('Mixtral', lambda t: t.update({'model.norm.weight': torch.ones(3)}), r'1 reshaped \(model.norm.weight\)'),
    ('Qwen3Moe', lambda t: t.update({'model.more.weight': torch.ones(3)}), r'1 unknown \(model.more.weight\)'),
    ('NemotronH', lambda t: t.pop(next(k for k in t if k.endswith('A_log'))), r'1 missing \(model.layers.0.mixer.A_log\)')])
def test_a_name_too_few_or_too_many_is_an_error_that_names_it(tmp_path, bases, kind, change, said):
    model = network(bases[kind])
    with pytest.raises(FtkitError, match=said): load_weights(model, checkpoint_of(network(bases[kind], seed=1), tmp_path/'checkpoint-1', change))
    assert same(model.state_dict(), network(bases[kind]).state_dict()), 'half of the model was changed'

PIECE = 'base_model.model.model.layers.0.mlp.down_proj.lora_A.weight'
@pytest.mark.parametrize('change,said', [(lambda t: t.pop(PIECE), rf'1 missing \({PIECE}\)'), (lambda t: t.update({PIECE.replace('.0.', '.7.'): t[PIECE].clone()}), r'1 unknown \(base_model.model.model.layers.7.mlp')])
def test_an_adapter_with_a_name_too_few_or_too_many_is_an_error_that_names_it(tmp_path, change, said):
    with quiet(): model, _ = with_lora(network(random_base()), config().adapter)
    with pytest.raises(FtkitError, match=said): load_weights(model, checkpoint_of(model, tmp_path/'checkpoint-1', change))

def test_an_adapter_is_not_taken_for_whole_weights_and_the_reverse(tmp_path):
    with quiet(): lora, _ = with_lora(network(random_base()), config().adapter)
    adapter, whole = checkpoint_of(lora, tmp_path/'checkpoint-1'), checkpoint_of(network(random_base()), tmp_path/'checkpoint-2')
    with pytest.raises(FtkitError, match='holds an adapter, and the run trains all weights'): load_weights(network(random_base()), adapter)
    with pytest.raises(FtkitError, match='adapter_config.json is missing'): load_weights(lora, whole)

def test_the_weights_of_the_start_are_put_back_whole(tmp_path):
    with quiet(): model, _ = with_lora(network(random_base()), config().adapter)
    keep_start(model, tmp_path)
    before = weights(model)
    for p in model.parameters(): p.data.add_(1)
    back_to_start(model, tmp_path)
    assert same(before, weights(model))
    some = load_file(tmp_path/START)
    some.pop(min(before))
    save_file(some, tmp_path/START)
    with pytest.raises(FtkitError, match=f'1 missing .{min(before)}'): back_to_start(model, tmp_path)

def full(folder, base, conf, validation=()):
    "Train all weights in this process"
    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    opened = load_base(base, dtype='float32', device='cpu')
    with quiet(): result = train_sft_rows(opened.model, opened.tokenizer, SHOP, validation, conf.train, folder, folder/'checkpoints')
    return opened.model.eval(), result

@pytest.mark.parametrize('kind', SAVED_OTHERWISE)
def test_a_full_training_that_was_interrupted_ends_in_the_same_bits(tmp_path, bases, kind):
    conf = config(**FULL_RUN)
    whole, _ = full(tmp_path/'whole', bases[kind], conf)
    assert cut_run(tmp_path/'whole', tmp_path/'cut')>0
    again, _ = full(tmp_path/'cut', bases[kind], conf)
    assert same(whole.state_dict(), again.state_dict()) and torch.equal(logits(whole), logits(again))
    assert not torch.equal(logits(whole), logits(network(bases[kind]))), 'nothing was learned'

def test_the_best_step_of_a_full_training_comes_back_whole(tmp_path, bases):
    wrong = [type(r)(r.instruction, r.input, SHOP[n+1].output) for n,r in enumerate(SHOP[:6])] # validation that gets worse the more is learned
    model, result = full(tmp_path, bases['Mixtral'], config(**{**FULL_RUN, 'epochs': 20, 'learning_rate': .01, 'patience': 2, 'eval_steps': 5}), wrong)
    best = network(tmp_path/'checkpoints'/f'checkpoint-{result["best_step"]}')
    assert result['best_step']<result['steps'] and torch.equal(logits(best), logits(model))

def test_a_full_training_in_two_steps_that_was_killed_in_its_second_ends_in_the_same_bits(tmp_path, bases):
    conf = config(**{**FULL_RUN, 'epochs': 1})
    folder, todo = job(tmp_path, 'combined', conf, base=bases['Mixtral'], examples=SHOP[:12], pairs=PAIRS[:9])
    def ends(folder):
        torch.manual_seed(0)
        with quiet(): run_steps(todo, folder, bases['Mixtral'])
        return load_file(folder/'adapter'/'model.safetensors')
    whole, half = ends(folder), tmp_path/'killed'
    for name in ('checkpoints/step0', 'checkpoints/step1'): (half/name).mkdir(parents=True)
    shutil.copytree(folder/'checkpoints'/'step0'/'done', half/'checkpoints'/'step0'/'done')
    shutil.copy(folder/'checkpoints'/'step1'/'reference_train.json', half/'checkpoints'/'step1')
    assert same(whole, ends(half))
    begins, done = network(bases['Mixtral']), folder/'checkpoints'/'step0'/'done'
    assert _finished(begins, done.parent)['steps'] and same(begins.state_dict(), type(begins).from_pretrained(done).state_dict()), 'the second step begins with half of the first'

def with_dense(folder):
    "An embedding base with a layer after its network"
    torch.manual_seed(0)
    embedder = load_embedder(random_base(), device='cpu')
    embedder.append(Dense(64, 16))
    with quiet(): embedder.save_pretrained(str(folder))
    return folder

@pytest.mark.parametrize('use_lora', [True, False], ids=['lora', 'full'])
def test_the_layers_after_an_embedding_network_come_back_too(tmp_path, use_lora):
    base = with_dense(tmp_path/'base')
    conf = embedding_config(learning_rate=1e-3, **({} if use_lora else dict(use_lora=False, target_modules='attention')))
    whole, _, _ = tuned(tmp_path/'whole', conf, base)
    cut_run(tmp_path/'whole', tmp_path/'cut')
    again, _, _ = tuned(tmp_path/'cut', conf, base)
    assert any('linear' in n for n in weights(whole)) and same(weights(whole), weights(again))
    fresh, _ = open_embedder(base, conf.adapter, 64)
    restore(fresh, newest_whole(tmp_path/'whole'/'checkpoints'))
    assert (embed(fresh, ['tea'])==embed(whole, ['tea'])).all()

def test_a_model_that_lacks_weights_is_not_loaded(tmp_path, bases):
    lacking = shutil.copytree(bases['Mixtral'], tmp_path/'base')
    tensors = load_file(lacking/'model.safetensors')
    tensors.pop('lm_head.weight')
    save_file(tensors, lacking/'model.safetensors', metadata=dict(format='pt'))
    with pytest.raises(FtkitError, match='lacks 1 of the weights that MixtralForCausalLM computes with, e.g. lm_head.weight'): load(lacking)
    with pytest.raises(FtkitError, match='lacks 1 of the weights'): load(bases['Mixtral'], lacking)

# killed

def kills(*args):
    "Forks need a process that has no threads: not this one"
    done = subprocess.run([sys.executable, Path(__file__).with_name('kills.py'), *map(str, args)], capture_output=True, text=True, timeout=3000, env={**os.environ, 'OMP_NUM_THREADS': '1'})
    assert done.returncode==0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])

def test_killed_at_random_and_resumed_the_adapter_is_equal_to_the_bit():
    got = kills('random', '--n', 100 if FULL else 12, '--seed', 7)
    assert got['bitwise_equal']==got['runs']>=12, got
    assert got['resumed_from_a_checkpoint']>got['runs']/2 and len(set(got['last_step_seen']))>3, got

def test_killed_at_any_boundary_of_a_save_the_previous_checkpoint_is_there():
    got = kills('saves', '--stride', 1 if FULL else 7)
    assert got['boundaries']>20 and got['lost']==0 and got['died']==got['previous']+got['new'] and got['previous']>got['new'], got
    assert got['resumed']==got['resumed_equal']>0, got
