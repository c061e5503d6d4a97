"Checkpoints: whole or not there, in the order of their steps, and the right one taken up after any kill."
import json, os, random, shutil, subprocess, sys, time
from pathlib import Path

import pytest
import torch
from test_train import SHOP, config, trained

from ftkit.core import FtkitError, read_json, write_json
from ftkit.train.base import ASIDE, SEAL, broken, checkpoints, load_weights, newest_whole, prune, put, seal, sweep
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
    with pytest.raises(FtkitError, match='the best checkpoint checkpoint-3 cannot be loaded'): load_weights(torch.nn.Linear(1, 1), tmp_path/'checkpoint-3')

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
