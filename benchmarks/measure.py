"What all benchmarks share: timing in turn, equality, memory, the machine, and where results go."
import argparse, json, os, platform, subprocess, sys, time
from importlib.metadata import version
from pathlib import Path
from statistics import median

os.environ.setdefault('TOKENIZERS_PARALLELISM', 'false')
os.environ.setdefault('HF_HUB_OFFLINE', '1')

HERE = Path(__file__).resolve().parent
FLAGS = ('avx2', 'avx512f', 'avx512_bf16', 'amx_bf16', 'amx_tile')


CLOCKS = dict(wall=time.perf_counter, cpu=time.process_time)
now = time.perf_counter # `choose_clock` may take another


def choose_clock(name):
    "Time by the wall, or by the processor's time of this process: what one thread takes on a machine that others use too."
    global now
    now = CLOCKS[name]


def in_turn(calls, rounds=5, warm=1):
    "Seconds of each call, one after the other in every round: {name: [seconds a round]}. A call that returns a float has timed itself."
    took = {k: [] for k in calls}
    for n in range(warm+rounds):
        for k,call in calls.items():
            began = now()
            own = call()
            if n>=warm: took[k].append(own if isinstance(own, float) else now()-began)
    return took


def ratios(took, baseline, ours):
    "Baseline over ours in each round."
    return [b/o for b,o in zip(took[baseline], took[ours], strict=True)]


def row(what, against, values, target, better=True, note='', **more):
    "One line of the published table. `values` holds one figure a round; `better=False` for a figure that must stay below its target; the note is for when it is missed."
    got = median(values)
    if note and not (got>=target if better else got<=target): more['note'] = note
    return dict(row=what, baseline=against, ratio=got, at='least' if better else 'most', target=target, reached=got>=target if better else got<=target, lowest=min(values), highest=max(values), rounds=len(values), **more)


def same(a, b, within, what):
    "The largest difference, relative to the largest value; raises when it is more than allowed."
    import torch
    a, b = (torch.as_tensor(x).double() for x in (a, b))
    off = float((a-b).abs().max()/b.abs().max().clamp(min=1e-30))
    if not off<=within: raise AssertionError(f'{what} differs by {off:.1e} of its largest value; {within:g} is allowed')
    return off


def exponent(sizes, values):
    "The slope of log(values) over log(sizes): 1 when a cost is proportional, 0 when it is constant."
    import numpy as np
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def memory(name):
    "Megabytes of this process: `VmRSS` now, or `VmHWM` at most since `forget_peak`."
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f'{name}:'))/1024


def forget_peak(): Path('/proc/self/clear_refs').write_text('5')


def growth(call):
    "What one call adds to this process's memory at most, in megabytes."
    import gc
    gc.collect(); forget_peak()
    before = memory('VmRSS')
    call()
    return memory('VmHWM')-before


def child(script, name, *args, **env):
    "Run one function of a benchmark in a process of its own; what it returns comes back as JSON."
    command = [sys.executable, str(script), '--child', name, json.dumps(args)]
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True)
    if done.returncode: raise RuntimeError(f'{name} in {Path(script).name} ended with {done.returncode}:\n{done.stdout[-500:]}{done.stderr[-2000:]}')
    return json.loads(done.stdout.strip().splitlines()[-1])


def environment(*packages):
    "The machine and the versions, as far as they matter for speed."
    import torch
    cpu = Path('/proc/cpuinfo').read_text() if Path('/proc/cpuinfo').exists() else ''
    line = lambda key: next((l.partition(':')[2].strip() for l in cpu.splitlines() if l.startswith(key)), '')
    found = set(line('flags').split())
    return dict(processor=line('model name') or platform.processor(), flags=[f for f in FLAGS if f in found], cores=os.cpu_count(), used=len(os.sched_getaffinity(0)), threads=torch.get_num_threads(), python=platform.python_version(), versions={p: version(p) for p in ('torch', *packages)})


class Report:
    "Rows and curves of one benchmark: printed as they come, and kept in its JSON file."
    def __init__(self, path, environment): self.path, self.environment = Path(path), environment

    def known(self): # rows of another machine do not belong here
        old = json.loads(self.path.read_text()) if self.path.exists() else {}
        return old if old.get('environment')==self.environment else {}

    def keep(self, *rows, **curves):
        old, names = self.known(), {r['row'] for r in rows}
        said = dict(environment=self.environment, rows=[*(r for r in old.get('rows', []) if r['row'] not in names), *rows], curves={**old.get('curves', {}), **curves})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(said, indent=1)+'\n')
        print(table(rows), *(f'{k}\n{points(c["points"])}' for k,c in curves.items()), sep='\n', flush=True)


def table(rows):
    "Rows as a person reads them in a terminal."
    return '\n'.join(f'{r["row"]:58s} {r["ratio"]:9.3g}   at {r["at"]:5s} {r["target"]:<5g} {"reached" if r["reached"] else "NOT reached"}   ({r["lowest"]:.3g} to {r["highest"]:.3g}, {r["rounds"]} rounds)' for r in rows)


def points(some): return '\n'.join('   '+'  '.join(f'{k} {v:.4g}' if isinstance(v, (int, float)) else f'{k} {v}' for k,v in p.items()) for p in some)


def arguments(doc, script, parts):
    "The options that all benchmarks have."
    ap = argparse.ArgumentParser(description=doc.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    ap.add_argument('--only', nargs='+', choices=list(parts), default=list(parts), help='parts to run')
    ap.add_argument('--rounds', type=int, default=5, help='measurements in turn')
    ap.add_argument('--smallest', action='store_true', help='only see that everything runs: toy sizes, one round')
    ap.add_argument('--out', default=str(HERE/'results'/f'{Path(script).stem}.json'), help='where the results go')
    ap.add_argument('--threads', type=int, default=1)
    ap.add_argument('--clock', choices=CLOCKS, default='wall', help='cpu: the processor time of this process, for one thread on a busy machine')
    return ap


def served(script_globals):
    "Is this process one that `child` started? Then do its work and say so."
    if sys.argv[1:2]!=['--child']: return False
    print(json.dumps(script_globals[sys.argv[2]](*json.loads(sys.argv[3]))))
    return True
