"Kill a training, resume it, and compare the bits: run by test_checkpoints as a process of its own, because it forks."
import argparse, gc, json, os, random, shutil, signal, sys, tempfile, time
from copy import deepcopy
from pathlib import Path

os.environ['CUDA_VISIBLE_DEVICES'] = '' # a fork cannot go on with another process's GPU

import torch

from ftkit.core import as_time
from ftkit.records import InstructionExample
from ftkit.model.load import load_base
from ftkit.plans.plan import OrchestrationConfig
from ftkit.model.tiny import random_base
from ftkit.runs.metrics import read_metrics
from ftkit.train import base as floor
from ftkit.train.checkpoints import newest_whole
from ftkit.train.lora import with_lora
from ftkit.train.sft import train_sft_rows

torch.set_num_threads(1)
ROWS = [InstructionExample('Route.', f'{q} {n}', l) for n in range(4) for q,l in (('parcel', 'delivery'), ('money', 'refunds'), ('mug', 'catalogue'))]
CONFIG = OrchestrationConfig(tenant_id='a', project='p', model_type='llm', agent_type='r', base_model='ftkit-tiny', epochs=3, batch_size=4, learning_rate=.02, save_steps=1, logging_steps=1, lora_r=2, lora_dropout=.1, target_modules='all-linear', keep_checkpoints=2)
BASE = load_base(random_base(hidden=32, layers=1, vocab_size=384), dtype='float32', device='cpu')

def train(folder):
    "Train to the end in this process and leave the adapter's bits"
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    model, _ = with_lora(deepcopy(BASE.model), CONFIG.adapter)
    result = train_sft_rows(model, BASE.tokenizer, ROWS, [], CONFIG.train, folder, folder/'checkpoints')
    torch.save({n: p.detach() for n,p in model.named_parameters() if p.requires_grad}, folder/'final.pt')
    return result

def child(work):
    "Do it in a fork; its exit code, or minus the signal"
    pid = os.fork()
    if not pid:
        null = os.open(os.devnull, os.O_WRONLY); os.dup2(null, 1)
        if 'VERBOSE' not in os.environ: os.dup2(null, 2)
        try: work(); os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
    return pid

def ended(pid): return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
def bits(folder): return torch.load(folder/'final.pt')
def equal(a, b): return a.keys()==b.keys() and all(torch.equal(a[n], b[n]) for n in a)

def steps_of(folder):
    "How many steps have their measurements in the log"
    try: return (folder/'metrics.jsonl').read_bytes().count(b'"loss"')
    except OSError: return 0

def hit(code):
    "Was it the kill that ended this run?"
    assert code in (0, -signal.SIGKILL), f'a run failed by itself: VERBOSE=1 shows why ({code})'
    return code!=0

def kill_within(pid, folder, step, wait):
    "Kill once this step was seen in the log and `wait` seconds have passed; is it hit?"
    while steps_of(folder)<step:
        if (state := os.waitpid(pid, os.WNOHANG))!=(0, 0): return hit(os.waitstatus_to_exitcode(state[1]))
        time.sleep(.005)
    time.sleep(wait)
    os.kill(pid, signal.SIGKILL)
    return hit(ended(pid))

def killed_at_random(work, n, seed):
    "n runs, each killed a random moment after a random step (0: before the first) and resumed; one that ends before its moment is run again"
    rng, whole = random.Random(seed), work/'whole'
    train(whole)
    log = read_metrics(whole)
    a_step = (as_time(log[-1]['time'])-as_time(log[0]['time'])).total_seconds()/(len(log)-1)
    at, escaped, resumed, right = [], 0, 0, 0
    gc.collect(); gc.freeze() # what is here now is no garbage of the forks'
    while len(at)<n:
        folder, step = work/f'run{len(at)}', rng.randrange(len(log)-1)
        if not kill_within(child(lambda f=folder: train(f)), folder, step, rng.random()*a_step):
            escaped += 1
            shutil.rmtree(folder)
            continue
        resumed += newest_whole(folder/'checkpoints') is not None
        at.append(steps_of(folder))
        assert ended(child(lambda f=folder: train(f)))==0, f'run {len(at)} of seed {seed} could not be resumed'
        right += equal(bits(whole), bits(folder))
        shutil.rmtree(folder)
    return dict(runs=n, escaped=escaped, resumed_from_a_checkpoint=resumed, bitwise_equal=right, steps=len(log), last_step_seen=at, ms_a_step=round(1000*a_step, 1), seed=seed)

class Boundaries:
    "Counts what a process does to the disk, and kills it at the n-th act"
    WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
    def __init__(self, at=None):
        self.n, self.at, self.on, sync = 0, at, False, os.fsync
        def fsync(fd): self.act(); sync(fd); self.act()
        os.fsync = fsync
        sys.addaudithook(self.hook)
    def act(self):
        self.n += self.on
        if self.on and self.n==self.at: os.kill(os.getpid(), signal.SIGKILL)
    def hook(self, event, args):
        if not self.on: return
        if event in ('os.rename', 'os.remove', 'os.rmdir', 'os.mkdir', 'shutil.rmtree') or event=='open' and isinstance(args[2], int) and args[2] & self.WRITES: self.act()

def killed_in_a_save(work, stride):
    "Fork at the third save, once for each boundary in it; each child dies there, and what it leaves is looked at"
    from transformers import Trainer, TrainerCallback
    found = dict(boundaries=0, died=0, previous=0, new=0, lost=0, resumed_equal=0, resumed=0)
    class Fork(TrainerCallback):
        def on_step_end(self, args, state, control, **kw):
            if state.global_step!=3 or found['boundaries']: return
            store = Path(args.output_dir).parent
            def save(at, report=None):
                copy = work/f'at{at}'
                shutil.copytree(store, copy/'checkpoints')
                pid = os.fork()
                if pid: return copy, pid
                seen = Boundaries(at)
                args.output_dir = str(copy/'checkpoints'/floor.ASIDE)
                keeper = next(c for c in self.trainer.callback_handler.callbacks if type(c).__name__=='KeepCheckpoints')
                self.trainer.remove_callback(type(keeper))
                self.trainer.add_callback(floor.keep_checkpoints(copy/'checkpoints', 2))
                seen.on = True
                self.trainer._save_checkpoint(self.trainer.model, None)
                self.trainer.callback_handler.on_save(args, state, control)
                Path(copy/'count').write_text(str(seen.n))
                os._exit(0)
            copy, pid = save(0)
            assert ended(pid)==0
            found['boundaries'] = int((copy/'count').read_text())
            for at in range(1, found['boundaries']+1, stride):
                copy, pid = save(at)
                found['died'] += ended(pid)==-signal.SIGKILL
                last = newest_whole(copy/'checkpoints')
                kind = {'checkpoint-2': 'previous', 'checkpoint-3': 'new'}.get(last.name if last else '', 'lost')
                found[kind] += 1
    begin = Trainer.train
    def forking(trainer, *args, **kw):
        fork = Fork()
        fork.trainer = trainer
        trainer.add_callback(fork)
        return begin(trainer, *args, **kw)
    Trainer.train, whole = forking, work/'whole'
    train(whole)
    Trainer.train = begin
    tries = [p for p in sorted(work.glob('at*'), key=lambda p: int(p.name[2:])) if not (p/'count').exists()]
    for folder in tries[::max(len(tries)//3, 1)][:3]:
        found['resumed'] += 1
        found['resumed_equal'] += ended(child(lambda folder=folder: train(folder)))==0 and equal(bits(whole), bits(folder))
    return found

if __name__=='__main__':
    p = argparse.ArgumentParser()
    p.add_argument('what', choices=['random', 'saves'])
    p.add_argument('--n', type=int, default=3)
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--stride', type=int, default=1)
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as d: print(json.dumps(killed_at_random(Path(d), a.n, a.seed) if a.what=='random' else killed_in_a_save(Path(d), a.stride)))
