"The project's whole check: notebooks exported and clean, README current, style, notebooks run, tests pass."
import hashlib, os, subprocess, sys, tempfile, time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
WATCHED = ('nbs', 'ftkit', 'README.md')

def snapshot():
    "Hash of every file that a check could change."
    files = [p for w in WATCHED for p in ([ROOT/w] if (ROOT/w).is_file() else (ROOT/w).rglob('*'))]
    return {str(p.relative_to(ROOT)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files
            if p.is_file() and p.suffix in ('.py', '.ipynb', '.md', '.json') and '.ipynb_checkpoints' not in p.parts}

def start(name, *command, log=None):
    "Begin one step; its output goes to a log when there is one."
    print(f'--- {name}: {" ".join(map(str, command))}', flush=True)
    return name, time.monotonic(), subprocess.Popen(list(map(str, command)), cwd=ROOT, stdout=log, stderr=log and subprocess.STDOUT)

def finish(step):
    "Wait for a step and say how it went."
    name, began, process = step
    code = process.wait()
    print(f'--- {name}: {"ok" if code==0 else "FAILED"} after {time.monotonic()-began:.0f} s', flush=True)
    return code

def run(name, *command):
    "Run one step to its end; stop here if it fails."
    if code := finish(start(name, *command)): sys.exit(code)

def unchanged(name, *commands):
    "Run commands that must leave every file as it was."
    before = snapshot()
    for c in commands: run(name, *c)
    after = snapshot()
    changed = sorted(f for f in before.keys() | after.keys() if before.get(f)!=after.get(f))
    if changed: sys.exit(f'{name} changed {", ".join(changed)}: run `make notebooks` and commit')

def jobs():
    "Notebooks and tests in parts, what takes longest first. All tests that need a Phoenix share one."
    pytest = sys.executable, '-m', 'pytest', '-q', '--durations=10', '-m'
    notebooks = BIN/'nbdev_test', '--n_workers', '1', '--do_print', *slow_cells() # one process: what it imports is imported once
    files = sorted(set((ROOT/'tests').glob('test_*.py'))-{SITE, PANEL})
    phoenix = [f for f in files if 'phoenix_server' in f.read_text(encoding='utf-8')]
    return [('tests with Phoenix', *pytest, 'phoenix', *phoenix), ('tutorials', *notebooks, '--path', ROOT/'nbs'/'tutorials'),
        *((f'tests, {n+1} of 3', *pytest, 'not phoenix', *files[n::3]) for n in (2, 1, 0)), ('site', *pytest, 'not phoenix', SITE), ('pages', *notebooks, '--skip_folder_re', '^[_.]|^tutorials'), BROWSER]

def slow_cells():
    "With `--all` cells that take long run too; those of tutorial 02 need the feedback files."
    if os.environ.get('FTKIT_FULL'): return '--flags', 'slow', '--skip_file_re', '^[_.]' if (ROOT.parent/'shared'/'data').exists() else '^[_.]|^02_real'
    return ()

SITE, PANEL = (ROOT/'tests'/f'test_{name}.py' for name in ('docs', 'widgets_browser'))
BROWSER = 'browser', sys.executable, '-m', 'pytest', '-q', PANEL

def together(jobs, at_once=3):
    "Run jobs beside each other: three on two cores, since those with a Phoenix wait a lot. What a job printed is shown when it ends. Gives the names of those that failed."
    waiting, running, failed = list(jobs), {}, []
    while waiting or running:
        while waiting and len(running)<at_once:
            name, *command = waiting.pop(0)
            log = tempfile.TemporaryFile('w+')
            running[name] = start(name, *command, log=log), log
        time.sleep(.2)
        for name in [n for n,(step,_) in running.items() if step[2].poll() is not None]:
            step, log = running.pop(name)
            log.seek(0)
            print(log.read())
            if finish(step): failed.append(name)
    return failed

def chromium():
    "In CI, have a browser installed meanwhile; nothing elsewhere."
    if os.environ.get('CI'): return subprocess.Popen(['timeout', '600', 'sh', 'tools/browser.sh', sys.executable], cwd=ROOT)

def main():
    "Run all steps."
    if '--all' in sys.argv: os.environ['FTKIT_FULL'] = '1'
    os.environ.pop('PYTHONDONTWRITEBYTECODE', None) # many processes import the same
    os.environ.update(HF_HUB_OFFLINE='1', FTKIT_HOME=tempfile.mkdtemp(prefix='ftkit-home-'), OMP_NUM_THREADS='1', TOKENIZERS_PARALLELISM='false')
    installing = chromium()
    unchanged('export', [BIN/'nbdev_export'], [BIN/'nbdev_clean'], [sys.executable, 'tools/readme.py'])
    run('style', BIN/'ruff', 'check', 'ftkit', 'tests', 'tools', 'benchmarks', 'docs')
    if installing and installing.wait(): print('without a browser its test is skipped')
    failed = together(jobs())
    if 'browser' in failed and not finish(start(*BROWSER)): failed.remove('browser') # beside other work it may time out: it times what a person would see
    sys.exit(f'failed: {", ".join(failed)}' if failed else 0)

if __name__=='__main__': main()
