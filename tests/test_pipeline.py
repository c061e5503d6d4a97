"The main path from outside: as a library, from a terminal, killed and resumed, and given what it cannot use."
import asyncio, json, os, shutil, signal, subprocess, sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from transformers import Trainer

from ftkit import pipeline
from ftkit.jobs.job import BACKENDS, Job, state_left
from ftkit.core import FtkitError
from ftkit.disk import read_json, write_json
from ftkit.records import InstructionExample
from ftkit.data.approval import ApprovalOrchestrator, ApprovalStore, decide
from ftkit.data.decisions import ApprovalBatch
from ftkit.data.verdicts import AnnotationPolicy
from ftkit.data.synth import SyntheticDataService
from ftkit.data.version import load_version, save_version
from ftkit.pipeline import FinetuningOrchestrator, finetune, finetune_sync
from ftkit.stages import curate, divide, extract, stored
from ftkit.runs.history import get_experiment_details
from ftkit.model.load import load
from ftkit.runs.parcel import open_parcel
from ftkit.model.passport import read_passport

from ftkit.plans.plan import OrchestrationConfig
from ftkit.plans.resume import read_plan
from ftkit.adapters.registry import AdapterRegistry
from ftkit.plans.select import MethodAnalysis
from ftkit.telemetry.samples import telemetry
from ftkit.telemetry.spans import renewed
from ftkit.telemetry.files import FileProvider, save_telemetry
from ftkit.telemetry.http import PhoenixProvider
from ftkit.telemetry.sending import send
from ftkit.model.tiny import random_base
from ftkit.runs.lines import read_lines
from ftkit.runs.metrics import read_metrics
from ftkit.runs.run import Run, locked
from ftkit.train.base import Trained
from ftkit.train.run import train_here

@pytest.fixture(scope='module')
def exports(tmp_path_factory):
    "Routing traces of the shop, as files"
    folder = tmp_path_factory.mktemp('exports')
    save_telemetry(folder, *telemetry('routing', n=150))
    return folder

def plan(out, **more):
    return {**dict(tenant_id='acme', project='shop', model_type='llm', agent_type='routing', base_model=str(random_base()), output_dir=str(out), epochs=1, batch_size=8, min_sft_examples=40, test_set_size=8), **more}

def quietly(line): pass

def test_the_documented_call_works_against_a_real_phoenix(phoenix_server, tmp_path):
    project = 'pipeline-shop'
    asyncio.run(send(*renewed(*telemetry('routing', n=120), key=project), project=project, endpoint=phoenix_server.endpoint))
    provider = PhoenixProvider(tenant_id='acme', project=project, endpoint=phoenix_server.endpoint)
    result = finetune_sync(telemetry_provider=provider, say=quietly, **plan(tmp_path, project=project))
    assert result.training_method=='sft' and result.status=='finished'
    assert Path(result.adapter_path, 'adapter_model.safetensors').exists()
    assert result.evaluation_result.test_size>0 and not result.used_synthetic
    report = Path(result.run, 'report.md').read_text()
    for part in ('## Extract', '## Select', '## Train', '## Evaluate', '## Register', 'wraps another call'): assert part in report
    experiment = asyncio.run(get_experiment_details(provider, project, Path(result.run).name))
    assert experiment.params['method']=='sft' and experiment.output['adapter_id']==result.adapter_id and experiment.history and experiment.data['source_spans']>20
    assert [s for s,*_ in experiment.stages]==['extract', 'curate', 'split', 'select', 'train', 'evaluate', 'register'] and experiment.compared()['adapter']==result.evaluation_result.adapter_metrics['accuracy']
    card, passport = Path(result.adapter_path, 'README.md').read_text(), read_passport(result.adapter_path)
    assert 'model-index' in card and 'gain in accuracy' in card and passport['metrics']['accuracy']['n']==result.evaluation_result.test_size
    kept = AdapterRegistry().get_adapter(result.adapter_id)
    assert Path(kept.adapter_path, 'README.md').read_text()==card, 'the card went with the adapter'
    load(kept.base_model, kept.adapter_path)

def test_telemetry_of_another_tenant_is_refused(exports, tmp_path):
    config = OrchestrationConfig(**plan(tmp_path))
    with pytest.raises(FtkitError, match="of tenant 'rival' and the run of tenant 'acme'"): asyncio.run(extract(FileProvider(exports, 'rival'), config.source))
    for same in (FileProvider(exports), FileProvider(exports, 'acme')): assert len(asyncio.run(extract(same, config.source)).sets['examples'])>40

def test_a_dataset_of_another_tenant_is_refused(exports, tmp_path):
    config = lambda tenant, **more: OrchestrationConfig(**plan(tmp_path/'out', tenant_id=tenant, **more))
    found = asyncio.run(extract(FileProvider(exports), config('globex').source))
    theirs = divide(curate(found), config('globex').source).id
    assert stored(config('globex', dataset=theirs).source).id==stored(config('globex', dataset=theirs[:12]).source).id==theirs
    for name in (theirs, theirs[:12]):
        with pytest.raises(FtkitError, match=f"there is no dataset '{name}' for tenant 'acme'"): stored(config('acme', dataset=name).source)
    with pytest.raises(FtkitError, match="for tenant 'acme'"): finetune_sync(config=config('acme', dataset=theirs), say=quietly)
    assert not list((tmp_path/'out').rglob('adapter*'))

def test_training_counts_the_approvals_of_its_tenant_alone(fresh_home, tmp_path):
    store, made = ApprovalStore(), InstructionExample('Route.', 'where is it', 'delivery', dict(synthetic=True))
    batch = store.save(ApprovalBatch.of([made], tenant_id='globex'))
    rows = decide(batch.batch_id, batch.items[0].item_id, 'approve', 'mara', store=store).records
    def training(tenant):
        version = save_version(dict(train={'examples': rows}, validation={'examples': []}, test={'examples': []}), dict(tenant_id=tenant))
        config = OrchestrationConfig(**plan(tmp_path, tenant_id=tenant))
        run = pipeline.Run(pipeline.new_folder(tmp_path, tenant), quietly)
        return pipeline.packed(run, config, pipeline.Dataset(version.id), pipeline.Choice(MethodAnalysis('sft', 1.)), random_base(), ApprovalOrchestrator(store))
    with pytest.raises(FtkitError, match="not approved as they are for tenant 'acme'"): training('acme')
    parcel = training('globex')
    assert [r.text() for r in parcel.rows('train', 'examples')]==[made.text()] and parcel.receipts[0].reviewer=='mara'

def test_the_stored_version_says_what_became_of_spans_and_annotations(exports, tmp_path):
    config = OrchestrationConfig(**plan(tmp_path))
    found = asyncio.run(extract(FileProvider(exports), config.source))
    told = load_version(divide(curate(found), config.source).id).manifest['accounting']
    assert told['annotations']==dict(found.annotations.rows) and found.annotations.kept>40 and set(told)=={'examples', 'pairs', 'annotations'}

def test_the_orchestrator_runs_the_same_plan(exports, tmp_path):
    config = OrchestrationConfig(**plan(tmp_path, evaluate_after_training=False, enable_registry=False))
    said = []
    result = asyncio.run(FinetuningOrchestrator(FileProvider(exports)).run(config, say=said.append, in_process=True))
    assert result.training_method=='sft' and result.evaluation_result is None and result.adapter_id is None
    assert '\n'.join(said).count('annotations that decided')==1 and Path(result.run, 'report.md').read_text().count('annotations that decided')==1

def test_preferences_train_with_dpo_and_a_stored_dataset_trains_again(tmp_path):
    save_telemetry(tmp_path/'in', *telemetry('concierge'))
    provider = FileProvider(tmp_path/'in')
    common = plan(tmp_path/'out', agent_type='concierge', min_sft_examples=20, evaluate_after_training=False)
    first = finetune_sync(telemetry_provider=provider, say=quietly, in_process=True, **common)
    assert first.training_method=='dpo' and first.metrics['computation']=='shared'
    assert not (Path(first.adapter_path)/'ref').exists(), 'the reference adapter was saved with the trained one'
    fields = {**common, 'dataset': first.dataset, 'method': 'combined'}
    again = finetune_sync(say=quietly, in_process=True, **fields)
    assert again.training_method=='combined' and again.dataset==first.dataset

def command(*args, **kw):
    return subprocess.Popen([sys.executable, '-c', 'from ftkit.cli import app; app()', *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kw)

def wait_for(found, seconds=180):
    until = time.monotonic()+seconds
    while time.monotonic()<until:
        if value := found(): return value
        time.sleep(.1)
    raise AssertionError('nothing happened in time')

CHANGED = 'the base model base has changed since the run started .weights sha256 [0-9a-f]{12}… then, [0-9a-f]{12}… now.; put it back or start a new run'

def noise(base):
    "Change one bit of a base in the last place, keeping size and time; what it was"
    file = base/'model.safetensors'
    was, data = file.stat(), file.read_bytes()
    file.write_bytes(data[:-4]+bytes([data[-4]^1])+data[-3:])
    os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))
    return data

def test_a_killed_run_goes_on_where_it_was_and_on_the_base_it_was_on(exports, tmp_path):
    out, base = tmp_path/'out', shutil.copytree(random_base(), tmp_path/'base')
    sets = [x for k,v in plan(out, epochs=12, save_steps=2, logging_steps=1, evaluate_after_training=False).items() if k not in ('tenant_id', 'project', 'model_type', 'agent_type', 'base_model') for x in ('--set', f'{k}={v}')]
    child = command('train', '--project', 'shop', '--tenant', 'acme', '--agent-type', 'routing', '--base-model', base, '--file', exports, *sets, start_new_session=True)
    wait_for(lambda: len(list(out.glob('sft_*/checkpoints/step0/checkpoint-*/seal.json')))>=2 or child.poll() is not None)
    assert child.poll() is None, child.communicate()
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    run, = out.glob('sft_*')
    trainer_gone = lambda: subprocess.run(['pgrep', '-f', str(run)], capture_output=True).returncode!=0
    wait_for(trainer_gone, 30)
    reached = read_metrics(run)[-1]['step']
    right = noise(base)
    begun = len(read_lines(run/'events.jsonl'))
    with pytest.raises(FtkitError, match=CHANGED): finetune_sync(resume=run, say=quietly)
    assert len(read_lines(run/'events.jsonl'))==begun, 'a stage was begun on another base'
    (base/'model.safetensors').write_bytes(right)
    done = command('train', '--resume', run, '--json')
    said, complaints = done.communicate(timeout=300)
    assert done.returncode==0, complaints
    assert json.loads(said)['training_method']=='sft'
    events = [(e['what'], e.get('stage')) for e in read_lines(run/'events.jsonl')]
    assert ('loaded', 'extract') in events and events.count(('started', 'extract'))==1
    steps = [r['step'] for r in read_lines(run/'metrics.jsonl') if 'loss' in r]
    after = steps[steps.index(reached)+1:] if reached in steps else steps
    assert min(after)>1, 'training began again from the start'
    assert Run(run).state=='finished'

def test_a_changed_base_is_refused_in_training_and_evaluation_and_registration(exports, tmp_path, monkeypatch):
    base = shutil.copytree(random_base(), tmp_path/'base')
    result = finetune_sync(telemetry_provider=FileProvider(exports), say=quietly, in_process=True, **plan(tmp_path/'out', base_model=str(base), evaluate_after_training=False, enable_registry=False))
    run, config = Run(result.run, quietly), read_plan(Path(result.run)/'plan.json')
    dataset, trained, choice = (noun.load(run.folder/'data'/name) for noun,name in ((pipeline.Dataset, 'split'), (Trained, 'train'), (pipeline.Choice, 'select')))
    assert read_json(run.folder/'base.json')['weights']==read_passport(result.adapter_path)['base']['weights']
    right = noise(base)
    with pytest.raises(FtkitError, match=CHANGED): pipeline.examine(run, config, dataset, trained, base)
    with pytest.raises(FtkitError, match=CHANGED): pipeline.register(run, config, dataset, trained, None, choice)
    parcel, other = open_parcel(run.folder/'parcel'), r'is not the one of this run, base \(weights sha256'
    with monkeypatch.context() as m, pytest.raises(FtkitError, match=other):
        m.setattr('transformers.AutoModelForCausalLM.from_pretrained', lambda *a, **k: pytest.fail('the base was read'))
        train_here(parcel, run.folder, base)
    assert finetune_sync(resume=run.folder, say=quietly).status=='finished', 'nothing is left to do with the base'
    (base/'model.safetensors').write_bytes(right)
    shutil.rmtree(run.folder/'checkpoints')
    shutil.rmtree(run.folder/'adapter')
    real = Trainer.train
    monkeypatch.setattr(Trainer, 'train', lambda *a, **kw: (real(*a, **kw), noise(base))[0]) # as when it changes while the run trains
    with pytest.raises(FtkitError, match=other): train_here(parcel, run.folder, base)
    assert not (run.folder/'adapter').exists(), 'a passport vouches for the base that came later'

def test_a_run_that_did_not_record_its_base_says_so_and_records_it(exports, tmp_path):
    said = []
    with pytest.raises(FtkitError, match='timeout=1 s'): finetune_sync(telemetry_provider=FileProvider(exports), say=quietly, **plan(tmp_path, timeout=1, evaluate_after_training=False, enable_registry=False))
    run, = tmp_path.glob('sft_*')
    (run/'base.json').unlink()
    finetune_sync(resume=run, timeout=600, in_process=True, say=said.append)
    assert any('its base was not recorded when it started' in line for line in said) and (run/'base.json').exists()

def test_a_run_is_worked_on_by_one_process(exports, tmp_path):
    result = finetune_sync(telemetry_provider=FileProvider(exports), say=quietly, in_process=True, **plan(tmp_path, evaluate_after_training=False, enable_registry=False))
    with locked(Run(result.run)), pytest.raises(FtkitError, match='another process'):
        finetune_sync(resume=result.run, say=quietly)

def test_evaluations_of_runs_side_by_side_take_turns(exports, tmp_path):
    with ThreadPoolExecutor() as others:
        with pipeline._one_at_a_time: # as another run's evaluation would
            run = others.submit(finetune_sync, telemetry_provider=FileProvider(exports), say=quietly, in_process=True, **plan(tmp_path, enable_registry=False, cpu=1))
            wait_for(lambda: run.done() or any(e['what']=='started' and e.get('stage')=='evaluate' for f in tmp_path.glob('*/events.jsonl') for e in read_lines(f)))
            time.sleep(6) # an evaluation of eight rows takes two or three
            assert not run.done()
        assert run.result().evaluation_result.task=='labels'

def test_a_failed_stage_leaves_its_reason_and_nothing_that_looks_finished(exports, tmp_path):
    with pytest.raises(FtkitError, match='Insufficient preference pairs: 2 < 20. Insufficient approved examples: 109 < 500.'):
        finetune_sync(telemetry_provider=FileProvider(exports), say=quietly, **plan(tmp_path, min_sft_examples=500))
    run, = tmp_path.glob('auto_*')
    record = read_json(run/'run.json')
    assert record['state']=='failed' and 'Insufficient' in record['reason'] and not (run/'adapter').exists()

def test_damaged_data_is_named_and_can_be_mended(exports, tmp_path):
    with pytest.raises(FtkitError, match='training took longer than timeout=1 s and was stopped; resume it'):
        finetune_sync(telemetry_provider=FileProvider(exports), say=quietly, **plan(tmp_path, timeout=1, evaluate_after_training=False))
    run, = tmp_path.glob('sft_*')
    assert Run(run).state=='failed' and not (run/'adapter').exists()
    data = load_version(read_json(run/'data'/'split'/'dataset.json')['id']).path/'train'/'examples'/'data.parquet'
    good = data.read_bytes()
    data.write_bytes(good[:-7]+b'damaged')
    with pytest.raises(FtkitError, match='ds-[0-9a-f]{12}'): finetune_sync(resume=run, say=quietly)
    data.write_bytes(good)
    with pytest.raises(FtkitError, match='epochs: it was 1; leave it out'): finetune_sync(resume=run, epochs=9, say=quietly)
    assert finetune_sync(resume=run, timeout=600, in_process=True, say=quietly).status=='finished' and read_json(run/'plan.json')['place']['timeout']==600

def test_an_agent_nobody_used_is_named_with_those_that_were(exports, tmp_path):
    with pytest.raises(FtkitError, match="no span has agent_type 'rooting'; seen: routing"):
        finetune_sync(telemetry_provider=FileProvider(exports), say=quietly, **plan(tmp_path, agent_type='rooting'))

def test_without_annotations_the_account_says_so(tmp_path):
    spans, _ = telemetry('routing', n=20)
    save_telemetry(tmp_path/'in', spans, [])
    with pytest.raises(FtkitError, match='(?s)no approved or rejected examples.*no annotation'):
        finetune_sync(telemetry_provider=FileProvider(tmp_path/'in'), say=quietly, **plan(tmp_path/'out'))

def test_nothing_is_fetched_before_the_plan_is_right(tmp_path):
    class Fetching:
        def __getattr__(self, name): raise AssertionError('the provider was asked')
    for wrong in (dict(epochs=0), dict(learning_rat=1), dict(base_model='no/such-model'), dict(backend='remote'), dict(max_length=100_000), dict(multi_turn=True, method='dpo'), dict(quantize=4, use_lora=False)):
        with pytest.raises(FtkitError): finetune_sync(telemetry_provider=Fetching(), say=quietly, **plan(tmp_path, **wrong))
    assert not list(tmp_path.iterdir())

def test_a_mistake_leaves_no_run_folder(exports, tmp_path):
    with pytest.raises(FtkitError): finetune_sync(telemetry_provider=FileProvider(exports), say=quietly, **plan(tmp_path, agent_type='rooting'))
    with pytest.raises(FtkitError, match='generate_synthetic: has no effect without'): finetune_sync(telemetry_provider=FileProvider(exports), say=quietly, **plan(tmp_path, generate_synthetic=True))
    assert not list(tmp_path.iterdir())

def test_a_resumed_run_knows_policy_and_telemetry(exports, tmp_path):
    policy = AnnotationPolicy(threshold=.9, per_annotator=40)
    with pytest.raises(FtkitError, match='Insufficient'): finetune_sync(telemetry_provider=FileProvider(exports), policy=policy, say=quietly, **plan(tmp_path, min_sft_examples=500))
    run, = tmp_path.glob('auto_*')
    shutil.rmtree(run/'data')
    record = read_json(run/'run.json')
    write_json(run/'run.json', {**record, 'stages': {}}) # as if it had been killed while extracting
    with pytest.raises(FtkitError, match='Insufficient'): finetune_sync(resume=run, say=quietly)
    kept = load_version(read_json(run/'data'/'split'/'dataset.json')['id']).manifest['policy']['annotations']
    assert (kept['threshold'], kept['per_annotator'])==(.9, 40)
    with pytest.raises(FtkitError, match='keeps its policy'): finetune_sync(resume=run, policy=AnnotationPolicy(), say=quietly)

def test_a_refused_resume_leaves_the_plan_of_a_working_run_alone(exports, tmp_path):
    result = finetune_sync(telemetry_provider=FileProvider(exports), say=quietly, in_process=True, **plan(tmp_path, evaluate_after_training=False, enable_registry=False))
    before = Path(result.run, 'plan.json').read_bytes()
    with locked(Run(result.run)), pytest.raises(FtkitError, match='another process'): finetune_sync(resume=result.run, timeout=9, say=quietly)
    assert Path(result.run, 'plan.json').read_bytes()==before

def test_a_stored_dataset_brings_its_agent_and_needs_no_phoenix(exports, tmp_path, fresh_home):
    common = plan(tmp_path, evaluate_after_training=False)
    first = finetune_sync(telemetry_provider=FileProvider(exports), say=quietly, in_process=True, **common)
    rest = {k: v for k,v in common.items() if k not in ('agent_type', 'project')}
    again = finetune_sync(dataset=first.dataset, say=quietly, in_process=True, **rest)
    assert AdapterRegistry().get_adapter(again.adapter_id).agent_type=='routing' and read_plan(Path(again.run)/'plan.json').source.project=='shop'
    assert finetune_sync(resume=again.run, say=quietly).adapter_id==again.adapter_id

def test_a_job_goes_on_while_nobody_waits_and_another_kernel_takes_it_up(exports, tmp_path):
    first = finetune_sync(telemetry_provider=FileProvider(exports), background=True, say=quietly, **plan(tmp_path, epochs=6, evaluate_after_training=False, enable_registry=False))
    assert first.status=='waiting for job' and first.job.status()=='running' and Run(first.run).state=='waiting for job'
    other = 'import sys, json; from ftkit.pipeline import finetune_sync; r = finetune_sync(resume=sys.argv[1], say=lambda l: None); print(json.dumps([r.status, r.training_method]))'
    done = subprocess.run([sys.executable, '-c', other, first.run], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)==['finished', 'sft']
    assert len([r for r in read_lines(Path(first.run)/'metrics.jsonl') if r.get('step')==1])==1, 'the training began twice'

class Mine:
    "A place of one's own"
    def submit(self, parcel, run, detached=False):
        out = subprocess.run([sys.executable, '-m', 'ftkit.train.run', str(parcel.folder), '--out', str(run), '--base', str(random_base())], capture_output=True, text=True)
        assert out.returncode==0, out.stderr
        return Job('mine-1', 'mine', run)
    def status(self, job): return state_left(job.run)
    def logs(self, job, since=0): return '', since
    def cancel(self, job): pass
    def fetch(self, job): return job.run

def test_a_place_of_ones_own_is_used_by_its_name(exports, tmp_path, monkeypatch):
    monkeypatch.setitem(BACKENDS, 'mine', Mine)
    result = finetune_sync(telemetry_provider=FileProvider(exports), backend='mine', say=quietly, **plan(tmp_path, evaluate_after_training=False, enable_registry=False))
    assert result.status=='finished' and Job.load(result.run).place=='mine'

def test_a_notebook_is_told_to_await():
    async def cell(): finetune_sync()
    with pytest.raises(FtkitError, match='await finetune'): asyncio.run(cell())

def test_a_provider_is_needed(tmp_path):
    with pytest.raises(FtkitError, match='there is no telemetry_provider'): asyncio.run(finetune(say=quietly, **plan(tmp_path)))

class Reviewer(ApprovalOrchestrator):
    "Someone who has not looked yet."
    async def submit_for_review(self, batch): return self.store.save(batch)

@pytest.mark.parametrize('in_process', [False, True])
def test_too_little_data_waits_for_a_person_and_then_trains_on_what_that_person_let_through(tmp_path, in_process, phoenix_server):
    project = f'few-{in_process}'.lower()
    asyncio.run(send(*renewed(*telemetry('routing', n=44), key=project), project=project, endpoint=phoenix_server.endpoint))
    provider = PhoenixProvider('acme', project, phoenix_server.endpoint)
    store = ApprovalStore(f'sqlite:///{tmp_path}/approvals.db') # not the default one: the training process has to be told
    parts = dict(telemetry_provider=provider, synthetic_service=SyntheticDataService(), approval_orchestrator=Reviewer(store), say=quietly, in_process=in_process)
    first = finetune_sync(**parts, **plan(tmp_path/'out', project=project, min_sft_examples=45, test_set_size=4))
    assert first.status=='awaiting approval' and 'ftkit review' in first.reason and first.adapter_path is None
    batch = store.load(store.batches()[0])
    assert batch.context['tenant_id']=='acme' and {i.record.output for i in batch.items}<=set(batch.context['labels']) and len(batch.context['labels'])>2 and 'routing' in batch.context['guidelines']
    again = finetune_sync(resume=first.run, **parts)
    assert again.status=='awaiting approval' and again.run==first.run and store.batches()==[batch.batch_id]
    decide(batch.batch_id, [i.item_id for i in batch.items], 'reject', 'mara', store=store)
    further = finetune_sync(resume=first.run, **parts)
    more = store.load(batch.batch_id).items[len(batch.items):]
    assert further.status=='awaiting approval' and more and not {i.hash for i in more} & {i.hash for i in batch.items}
    wrong, changed, *good = more
    decide(batch.batch_id, wrong.item_id, 'reject', 'mara', store=store)
    decide(batch.batch_id, changed.item_id, 'edit', 'mara', next(l for l in batch.context['labels'] if l!=changed.record.output), store=store)
    decide(batch.batch_id, [i.item_id for i in good], 'approve', 'mara', store=store)
    done = finetune_sync(resume=first.run, **parts)
    assert done.status=='finished' and done.training_method=='sft' and done.used_synthetic and done.synthetic_approval_count==len(good)+1
    trained_on = {r.input for r in load_version(done.dataset).train['examples']}
    assert not {i.record.input for i in (wrong, *batch.items)} & trained_on and {i.record.input for i in (changed, *good)}<=trained_on
    told = asyncio.run(get_experiment_details(provider, project, Path(done.run).name))
    assert told.data['used_synthetic'] is True and told.data['synthetic_approved_count']==len(good)+1 and told.data['dataset']==done.dataset
    assert 0<told.data['source_spans']<=told.data['approved_count']+told.data['rejected_count']
