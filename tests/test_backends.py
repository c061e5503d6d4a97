"Places and jobs: a job is found, watched and ended from any process, and nobody can be fooled about its state."
import asyncio, fcntl, json, os, shutil, signal, subprocess, sys, tempfile, threading, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from ftkit.jobs.job import (
    ENDED, PLACES, STATES, Job, current_job, open_place, place_of, state_left, submit)
from ftkit.jobs.waiting import WaitingForJob, training_result, wait
from ftkit.jobs.local import LocalPlace, group_of, read_log, wait_until
from ftkit.jobs.training import LocalTrainingBackend, TrainingBackend, open_training
from ftkit.core import FtkitError
from ftkit.disk import read_json, write_json
from ftkit.records import InstructionDataset, InstructionExample
from ftkit.data.certificate import certificate
from ftkit.data.split import Split
from ftkit.data.version import save_version
from ftkit.plans.plan import Plan
from ftkit.model.tiny import random_base
from ftkit.runs.lines import is_held, take_lock
from ftkit.runs.run import Run
from ftkit.runs.watch import being_worked_on

DOOR = '''
import argparse, json, os, pathlib, signal, subprocess, sys, threading, time
p = argparse.ArgumentParser()
p.add_argument('parcel', type=pathlib.Path)
p.add_argument('--out', type=pathlib.Path)
p.add_argument('--base')
p.add_argument('--timeout', type=float)
p.add_argument('--attached', action='store_true')
a = p.parse_args()

def leave(name, **record): (a.out/name).write_text(json.dumps(record))
def measure(step): open(a.out/'metrics.jsonl', 'a').write(json.dumps(dict(step=step, of=3, loss=1/step))+chr(10))
def succeed(): leave('trained.json', method='sft', adapter='adapter', how='lora', metrics=dict(train_loss=.5))
def end_with_parent():
    while os.read(0, 1024): pass
    os._exit(1)
if a.attached: threading.Thread(target=end_with_parent, daemon=True).start()
(a.out/'begun').touch()
exec((a.parcel/'script.py').read_text())
'''
FOREVER = 'time.sleep(600)'

@pytest.fixture
def place(tmp_path, monkeypatch):
    "A local place with a small door, which carries out the script in its parcel"
    (tmp_path/'doors').mkdir()
    (tmp_path/'doors'/'small_door.py').write_text(DOOR)
    monkeypatch.setenv('PYTHONPATH', f'{tmp_path/"doors"}{os.pathsep}{os.environ.get("PYTHONPATH", "")}')
    monkeypatch.setitem(PLACES, 'local', LocalPlace('small_door'))
    return PLACES['local']

@pytest.fixture
def started(place, tmp_path):
    "Starts scripts as jobs, and ends those that are left"
    jobs = []
    def start(script, run='sft_routing_20260131_120000', **more):
        jobs.append(submit('local', parcel(tmp_path/run, script), tmp_path/run, **more))
        return jobs[-1]
    yield start
    for job in jobs:
        if job.run.is_dir(): job.cancel()

def parcel(run, script):
    folder = run/'parcel'
    folder.mkdir(parents=True, exist_ok=True)
    (folder/'script.py').write_text(script)
    return SimpleNamespace(folder=folder, plan=SimpleNamespace(place=SimpleNamespace(cpu=1, timeout=60)))

def begun(job):
    assert wait_until((job.run/'begun').exists, 30)
    return job

def ended(job):
    assert wait_until(lambda: job.status() in ENDED, 30)
    return job.status()

def waited(job, say=lambda line: None): return asyncio.run(wait(job, say))

def there(pid):
    "Is this process there, and no zombie?"
    state = subprocess.run(['ps', '-o', 'stat=', '-p', str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(state) and not state.startswith('Z')

def elsewhere(code, *args):
    "What another process prints"
    return subprocess.run([sys.executable, '-c', code, *map(str, args)], capture_output=True, text=True, check=True).stdout.strip()

STATUS = 'import sys; from ftkit.jobs.job import Job; print(Job.load(sys.argv[1]).status())'
SUBMIT = '''
import os, pathlib, signal, sys
from types import SimpleNamespace
from ftkit.jobs.local import LocalPlace
run, detached, end = pathlib.Path(sys.argv[1]), sys.argv[2]=='detached', sys.argv[3]
plan = SimpleNamespace(place=SimpleNamespace(cpu=1, timeout=60))
job = LocalPlace('small_door').submit(SimpleNamespace(folder=run/'parcel', plan=plan), run, detached)
print(job.id, flush=True)
sys.stdin.read(1)
if end=='kill': os.kill(os.getpid(), signal.SIGKILL)
'''

def submitted_elsewhere(run, kind, end):
    "A process that submits a job and waits for a word before it goes"
    process = subprocess.Popen([sys.executable, '-c', SUBMIT, str(run), kind, end], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    return process

def test_a_job_that_ends_well_shows_what_it_measures(started):
    lines = []
    job = started('print("hello"); measure(1); time.sleep(.4); measure(2); succeed()')
    trained = waited(job, lines.append)
    assert trained.metrics==dict(train_loss=.5) and job.status()=='succeeded' and job.fetch()==job.run
    assert any('step 2/3' in l for l in lines) and job.logs()[0]=='hello\n'

def test_a_job_that_fails_says_why(started):
    job = started('leave("failed.json", reason="the disk is full", mistake=False); sys.exit(1)')
    with pytest.raises(FtkitError, match='the disk is full\nresume it with .*sft_routing'): waited(job)
    assert job.status()=='failed' and current_job(job.run) is None

def test_a_killed_job_is_lost_and_any_process_learns_the_signal(started):
    job = started('os.kill(os.getpid(), signal.SIGKILL)', detached=True)
    with pytest.raises(FtkitError, match=r'killed by signal 9 \(often: out of memory\)'): waited(job)
    assert job.status()=='lost'
    assert 'signal 9' in elsewhere('import sys; from ftkit.jobs.waiting import training_result\ntry: training_result(sys.argv[1])\nexcept ValueError as e: print(e)', job.run)

def test_a_job_whose_shell_is_killed_too_is_lost(started):
    job = begun(started(FOREVER))
    os.killpg(group_of(job), signal.SIGKILL)
    assert ended(job)=='lost'
    with pytest.raises(FtkitError, match='left no result'): training_result(job.run)

def test_a_detached_job_outlives_who_submitted_it(place, tmp_path):
    run = tmp_path/'run'
    parcel(run, 'while not (a.out/"go").exists(): time.sleep(.02)\nsucceed()')
    submitted_elsewhere(run, 'detached', 'kill').communicate('x')
    job = Job.load(run)
    assert job.detached and elsewhere(STATUS, run)=='running'==job.status()
    (run/'go').touch()
    assert ended(job)=='succeeded' and waited(job).method=='sft'

def test_an_attached_job_ends_with_a_killed_parent(place, tmp_path):
    parcel(tmp_path/'run', FOREVER)
    parent = submitted_elsewhere(tmp_path/'run', 'attached', 'kill')
    job = begun(Job.load(tmp_path/'run'))
    assert job.status()=='running'
    parent.communicate('x')
    assert parent.returncode==-signal.SIGKILL and ended(job)=='lost' and not is_held(job.run/'.job.lock')

def test_a_job_is_running_from_the_moment_submit_returns(started):
    for n in range(5): assert started(FOREVER, f'run{n}').status()=='running'

def test_a_job_that_cannot_be_started_changes_nothing(started, place):
    job = started('leave("failed.json", reason="the first")')
    assert ended(job)=='failed'
    write_json(job.run/'plan.json', plan(base_model=str(job.run/'gone')))
    with pytest.raises(FtkitError, match='gone'): place.submit(parcel(job.run, FOREVER), job.run)
    assert job.status()=='failed' and not is_held(job.run/'.job.lock')

def test_two_who_ask_for_the_state_do_not_see_each_other(started):
    job = started('succeed()')
    ended(job)
    with ThreadPoolExecutor(4) as pool: seen = set(pool.map(lambda _: job.status(), range(1000)))
    assert seen=={'succeeded'}

def test_who_only_looks_does_not_keep_others_from_working(tmp_path):
    lock = os.open(tmp_path/'.lock', os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_SH)
    assert take_lock(tmp_path/'.lock', .05) is None
    threading.Timer(.1, os.close, (lock,)).start()
    os.close(take_lock(tmp_path/'.lock', 5))

def test_a_run_has_one_job_at_a_time(started, place):
    job = begun(started(FOREVER))
    with pytest.raises(FtkitError, match=f'has a job already: {job.id} at local'): started(FOREVER)
    with pytest.raises(FtkitError, match='is being trained already'): place.submit(parcel(job.run, FOREVER), job.run)
    assert Job.load(job.run).id==job.id and job.status()=='running' and being_worked_on(job.run)

def test_a_cancelled_job_leaves_nobody_behind(started):
    child = '''
deaf = subprocess.Popen([sys.executable, '-c', 'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)'], stdout=subprocess.PIPE)
deaf.stdout.readline()
leave('pids', pids=[os.getpid(), deaf.pid])
time.sleep(600)
'''
    job = started(child)
    assert wait_until((job.run/'pids').exists, 30)
    time.sleep(.1)
    pids = read_json(job.run/'pids')['pids']
    job.cancel()
    assert job.status()=='cancelled' and wait_until(lambda: not any(map(there, pids)), 5), 'a process is left'
    with pytest.raises(FtkitError, match='was cancelled\nresume it'): waited(job)
    job.cancel() # once more changes nothing

def test_a_job_that_is_deaf_to_the_first_signal_is_ended_by_the_second(started, place):
    place.grace_s = .5
    job = begun(started('signal.signal(signal.SIGTERM, signal.SIG_IGN); leave("deaf"); time.sleep(600)'))
    assert wait_until((job.run/'deaf').exists, 30)
    job.cancel()
    assert job.status()=='cancelled'

def test_another_process_can_cancel(started):
    job = begun(started(FOREVER, detached=True))
    elsewhere('import sys; from ftkit.jobs.job import Job; Job.load(sys.argv[1]).cancel()', job.run)
    assert job.status()=='cancelled'

def test_a_job_can_be_cancelled_when_nothing_can_be_written(started):
    job = begun(started(FOREVER))
    (job.run/'cancelled.json').mkdir()
    (job.run/'cancelled.json'/'x').touch()
    with pytest.raises(OSError): job.cancel()
    assert not is_held(job.run/'.job.lock')

def test_a_number_given_to_another_process_is_not_signalled(started):
    bystander = subprocess.Popen(['sleep', '60'], start_new_session=True)
    job = started('succeed()')
    ended(job)
    (job.run/'.job.lock').write_text(f'{bystander.pid} {job.id}')
    job.cancel()
    lock = take_lock(job.run/'.job.lock') # somebody else holds the run
    (job.run/'.job.lock').write_text(f'{bystander.pid} another')
    with pytest.raises(FtkitError, match='could not be ended'): LocalPlace(grace_s=.1).cancel(job)
    os.close(lock)
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()

def test_a_job_that_was_followed_by_another_cannot_end_it(started):
    first = started('sys.exit(1)')
    assert ended(first)=='lost'
    second = begun(started(FOREVER))
    first.cancel()
    assert (first.status(), second.status())==('lost', 'running')

def test_whoever_waits_owns_the_job_unless_it_is_detached(started):
    async def interrupted(job, say):
        task = asyncio.create_task(wait(job, say))
        await asyncio.sleep(.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError): await task
    lines, owned, free = [], begun(started(FOREVER, 'owned')), begun(started(FOREVER, 'free', detached=True))
    asyncio.run(interrupted(owned, lines.append))
    asyncio.run(interrupted(free, lines.append))
    assert (owned.status(), free.status())==('cancelled', 'running')
    assert lines==[f"no longer watching: job {free.id} at local for run free; go on with finetune(resume='free') or `ftkit train --resume free`"]

def test_the_event_loop_goes_on_while_a_place_takes_its_time(started, monkeypatch):
    class Slow(LocalPlace):
        def status(self, job):
            time.sleep(.4)
            return super().status(job)
    async def tick():
        while True:
            ticks.append(time.monotonic())
            await asyncio.sleep(.01)
    async def both():
        ticking = asyncio.create_task(tick())
        await wait(job, lambda line: None)
        ticking.cancel()
    ticks, job = [], started('succeed()')
    monkeypatch.setitem(PLACES, 'local', Slow())
    asyncio.run(both())
    assert len(ticks)>5

def test_what_an_earlier_job_left_is_not_taken_for_the_end_of_the_next(started, place):
    for end,state in (('leave("failed.json", reason="x")', 'failed'), ('pass', 'lost'), (FOREVER, 'cancelled'), ('pass', 'lost'), ('succeed()', 'succeeded'), ('pass', 'lost')):
        job = started(end)
        job.cancel()
        job = place.submit(parcel(job.run, end), job.run)
        if end==FOREVER: job.cancel()
        assert ended(job)==state

def test_in_the_background_the_run_waits_for_its_job(started):
    job = begun(started(FOREVER, detached=True))
    with pytest.raises(WaitingForJob) as e: asyncio.run(wait(job, background=True))
    assert e.value.job is job and e.value.state=='waiting for job' and str(e.value).startswith(f'job {job.id} at local for run {job.run.name}; go on with finetune(resume=')
    assert job.status()=='running' and current_job(job.run).id==job.id
    done = started('succeed()', 'done', detached=True)
    ended(done)
    assert asyncio.run(wait(done, background=True)).method=='sft'

def test_logs_give_only_what_is_new_and_begin_with_the_job(started):
    assert ended(started('print("the first job"); sys.exit(1)'))=='lost'
    job = started('print("one", flush=True); (a.out/"one").touch()\nwhile not (a.out/"go").exists(): time.sleep(.02)\nprint("two")')
    assert wait_until((job.run/'one').exists, 30)
    text, at = job.logs()
    assert text=='one\n' and job.logs(at)==('', at)
    (job.run/'go').touch()
    ended(job)
    assert job.logs(at)==('two\n', 8) and job.logs()[0]=='one\ntwo\n'

def test_no_character_is_split_however_a_log_is_read(tmp_path):
    data, text, at = 'Grüße 日本 🙂!\n'.encode(), '', 0
    for n in range(len(data)+1):
        (tmp_path/'log').write_bytes(data[:n])
        new, at = read_log(tmp_path/'log', at, whole=n==len(data))
        text += new
    assert text.encode()==data and at==len(data)
    (tmp_path/'log').write_bytes(data[:2]+b'\xf0\x9f')
    assert read_log(tmp_path/'log', 0, whole=False)==('Gr', 2)
    assert read_log(tmp_path/'log', 2)==('\ufffd', 4)

def test_a_run_folder_may_be_moved(started):
    job = started('print("here"); succeed()')
    ended(job)
    moved = Job.load(job.run.rename(job.run.with_name('moved')))
    assert moved.status()=='succeeded' and moved.logs()[0]=='here\n' and moved.fetch().name=='moved' and waited(moved).method=='sft'
    with pytest.raises(FtkitError, match='no longer at .*Job.load'): job.status()
    assert str(job.run) not in (moved.run/'job.json').read_text()

def test_a_run_moved_while_it_trains_can_be_ended(started):
    job = begun(started(FOREVER))
    moved = Job.load(job.run.rename(job.run.with_name('moved')))
    assert moved.status()=='running'
    moved.cancel()
    assert moved.status()=='cancelled'

def test_a_place_of_ones_own_is_used_under_the_name_it_was_given(tmp_path, monkeypatch):
    class Mine:
        def submit(self, parcel, run, detached=False): return Job('1', 'whatever', run)
        def status(self, job): return 'succeeded' if (job.run/'trained.json').exists() else 'queued'
        def logs(self, job, since=0): return '', since
        def cancel(self, job): pass
        def fetch(self, job): return write_json(job.run/'trained.json', dict(method='sft', adapter='adapter', how='lora', metrics={})).parent
    for name,place in dict(mine=Mine, one=Mine()).items():
        monkeypatch.setitem(PLACES, name, place)
        assert place_of('remote', name)==place_of(name)==name
        write_json(tmp_path/'failed.json', dict(reason='of an earlier job'))
        job = submit(name, None, tmp_path)
        assert not (tmp_path/'failed.json').exists() and job.place==name and waited(Job.load(tmp_path)).method=='sft' and open_place(name)

def test_what_is_no_place_is_refused_with_what_it_lacks(monkeypatch):
    with pytest.raises(FtkitError, match="backend='mine' is not a place; there are: local"): place_of('mine')
    with pytest.raises(FtkitError, match='backend_provider=.modal. is not a place'): place_of('remote', 'modal')
    for wrong,said in (('no.such:Place', 'cannot be imported'), ('ftkit.core:Nothing', 'cannot be imported'), (object(), 'it lacks submit, status, logs, cancel, fetch')):
        monkeypatch.setitem(PLACES, 'wrong', wrong)
        with pytest.raises(FtkitError, match=said): open_place('wrong')

def test_a_state_that_is_none_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(PLACES, 'vague', SimpleNamespace(submit=print, logs=print, cancel=print, fetch=print, status=lambda job: 'done'))
    with pytest.raises(FtkitError, match="state of a job at vague 'done' is not one of: queued"): Job('1', 'vague', tmp_path).status()
    assert list(STATES)==['queued', 'running', *ENDED]

def test_a_job_record_of_another_layout_is_refused(tmp_path):
    job = Job('1', 'local', tmp_path)
    write_json(tmp_path/'job.json', {**json.loads(job.save().read_text()), 'layout': 2})
    with pytest.raises(FtkitError, match='layout 2'): Job.load(tmp_path)

# --- a real parcel

ASKED = dict(parcel='delivery', money='refunds', mug='catalogue')
ROWS = InstructionDataset(InstructionExample('Route.', f'{q} {n}', route, dict(span_id=f'{q}{n}')) for n in range(6) for q,route in ASKED.items())

def plan(**more):
    base = more.pop('base_model', None) or str(random_base())
    fields = dict(tenant_id='acme', project='shop', model_type='llm', agent_type='routing', base_model=base, epochs=1, test_set_size=3, lora_r=2, cpu=1)
    return Plan(**{**fields, **more})

def place_of_the_page():
    "The place that the page of the contract writes, and the command it starts"
    page = json.loads((Path(__file__).parent.parent/'nbs'/'60_jobs'/'10_jobs.ipynb').read_text())
    source, = [''.join(c['source']) for c in page['cells'] if 'class Elsewhere' in ''.join(c['source'])]
    names = dict(tempfile=tempfile, shutil=shutil, subprocess=subprocess, sys=sys, Path=Path, Job=Job, FtkitError=FtkitError, state_left=state_left)
    exec(source, names)
    return names['Elsewhere']

def test_a_parcel_travels_to_the_place_the_page_writes_and_its_results_come_back(tmp_path, monkeypatch, fresh_home):
    monkeypatch.setitem(PLACES, 'elsewhere', place_of_the_page())
    result = asyncio.run(TrainingBackend('elsewhere', say=lambda line: None).train_sft(ROWS, plan(), tmp_path/'runs'))
    there = Path(result.job.handle['folder'])
    assert there not in result.run.parents and (there/'parcel'/'parcel.json').exists() and (result.run/'metrics.jsonl').exists()
    assert (result.adapter_path/'adapter_model.safetensors').read_bytes()==(there/'out'/'adapter'/'adapter_model.safetensors').read_bytes()
    assert (result.method, Run(result.run).state, result.job.status(), result.metrics['train_examples'])==('sft', 'finished', 'succeeded', 14)
    with pytest.raises(FtkitError, match='end with the kernel'): submit('elsewhere', None, tmp_path, detached=True)

def test_what_cannot_be_trained_leaves_no_run_folder(tmp_path, fresh_home):
    made = [InstructionExample('Route.', 'a red mug', 'catalogue', dict(synthetic=True))]
    sides = dict(examples=InstructionDataset([*ROWS, *made])), {}, {}
    unsealed = save_version(Split(*sides, {}, certificate(sides[0], {}, {}), {}))
    with pytest.raises(FtkitError, match='have no approval receipt'): open_training(unsealed.id, 'sft', plan(), tmp_path/'runs')
    with pytest.raises(FtkitError, match='approve'): open_training(sides[0]['examples'], 'sft', plan(), tmp_path/'runs')
    with pytest.raises(FtkitError, match='give a PreferenceDataset'): open_training(ROWS, 'dpo', plan(), tmp_path/'runs')
    with pytest.raises(FtkitError, match="model_type='embedding'"): asyncio.run(LocalTrainingBackend().train_embedding(ROWS, plan(), tmp_path/'runs'))
    assert not list(tmp_path.glob('runs/*'))
