"Experiments in a real Phoenix: told once, found again, kept while it is away, and never in the way of a run."
import asyncio, shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from ftkit.runs.experiment import experiment_spans
from ftkit.runs.export import is_pending, recorded, server_of, sync, tell
from ftkit.runs.history import compare_experiments, experiments_frame, get_experiment_details, list_experiments, read_experiment, read_experiments
from ftkit.core import FtkitError, Waiting
from ftkit.disk import read_json, read_jsonl, write_json
from ftkit.data.extract import pull
from ftkit.data.split import split
from ftkit.data.version import save_version
from ftkit.telemetry.samples import telemetry
from ftkit.telemetry.spans import renewed
from ftkit.telemetry.files import FileProvider
from ftkit.telemetry.http import open_project, PhoenixProvider, span_pages, span_params
from ftkit.telemetry.sending import send
from ftkit.telemetry.server import free_port
from ftkit.runs.lines import append_line
from ftkit.runs.metrics import note_metrics
from ftkit.runs.run import Run, stage

class Typed:
    "A stage's result, with the file that the real one would write"
    def __init__(self, file, /, **about): self.file, self.about = file, about
    def save(self, folder): write_json(Path(folder)/f'{self.file}.json', self.about)

EVALUATION = dict(task='labels', decides='accuracy', verdict='better', test_size=50, p_value=.002, improvement_significant=True, agent_type='routing', adapter='adapter', need=None,
    base_metrics=dict(accuracy=.6, confidence=.5, error_rate=.02, hallucination_rate=.1, latency_ms=20.), adapter_metrics=dict(accuracy=.9, confidence=.8, error_rate=0., hallucination_rate=0., latency_ms=24.),
    improvements=dict(accuracy=.3, confidence=.3, error_rate=-.02, hallucination_rate=-.1, latency_ms=4.), comparisons=dict(accuracy=dict(low=.1, high=.4, p_holm=.004, verdict='better')))
PLAN = dict(tenant_id='acme', project='shop', agent_type='routing', base_model='acme/tiny', backend='local', backend_provider='modal', epochs=3, batch_size=4, learning_rate=2e-4, use_lora=True, lora_r=8, lora_alpha=16)

MEASURED = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)

def run_folder(parent, name='sft_routing_20260131_120000', plan=(), dataset=None, fail=None, method='sft', timed=True, **metrics):
    "A run written by the real `Run`, its results typed in"
    folder = Path(parent)/name
    folder.mkdir(parents=True)
    write_json(folder/'plan.json', {**PLAN, **dict(plan)})
    async def work():
        run = Run(folder, lambda line: None)
        async with recorded(run):
            await stage(run, 'extract', lambda: Typed('extraction', counts=dict(total_spans=120, approved_count=80, rejected_count=12, preference_pairs=3)))
            if dataset: await stage(run, 'split', lambda: Typed('dataset', id=dataset))
            for n in range(6):
                row = dict(step=n+1, loss=1-.1*n, **(dict(eval_loss=.9-.1*n) if n%2 else {}))
                if timed: note_metrics(folder, row, lambda n=n: MEASURED+timedelta(seconds=n**2))
                else: append_line(folder/'metrics.jsonl', row) # as they were written before they had a time
            if fail: raise fail
            await stage(run, 'train', lambda: Typed('trained', method=method, adapter='adapter', metrics={**dict(train_loss=.5, train_samples=64, train_examples=64, epochs_completed=3., used_validation_split=True, eval_loss=.6, eval_samples=8, val_examples=8), **metrics}))
            await stage(run, 'evaluate', lambda: Typed('evaluation', **EVALUATION))
            await stage(run, 'register', lambda: Typed('registered', adapter_id='ad-0123456789abcdef', name='routing', version='1.0.0'))
    try: asyncio.run(work())
    except RuntimeError: pass
    return folder

@pytest.fixture(autouse=True)
def nowhere(monkeypatch):
    for name in ('PHOENIX_COLLECTOR_ENDPOINT', 'PHOENIX_ENDPOINT'): monkeypatch.delenv(name, raising=False)

SPEC = """experiment.run_id experiment.agent_type
params.base_model params.method params.backend params.epochs params.batch_size params.learning_rate params.use_lora params.lora_r params.lora_alpha
data.total_spans data.approved_count data.rejected_count data.preference_pairs data.dataset_size data.used_synthetic data.synthetic_approved_count
metrics.train_loss metrics.train_samples metrics.train_examples metrics.epochs_completed metrics.used_validation_split metrics.eval_loss metrics.eval_samples metrics.val_examples
metrics.eval_reward_accuracy metrics.eval_reward_margin output.adapter_path""".split()
JUDGED = ['evaluation.adapter_path', 'evaluation.agent_type', 'evaluation.test_size', *(f'metrics.{s}.{m}' for s in ('base', 'adapter') for m in ('accuracy', 'confidence', 'error_rate', 'hallucination_rate', 'latency_ms')),
    *(f'improvement.{m}' for m in ('accuracy', 'confidence', 'error_reduction', 'latency_overhead', 'significant', 'p_value'))]

@pytest.fixture(scope='module')
def learned(phoenix_server, tmp_path_factory):
    "A project in Phoenix, a dataset made from it, and a run that was told to it"
    project = 'experiments-shop'
    asyncio.run(send(*renewed(*telemetry('routing', n=60), key=project), project=project, endpoint=phoenix_server.endpoint))
    provider = PhoenixProvider('acme', project, phoenix_server.endpoint)
    found = asyncio.run(pull(provider, project, 'routing'))
    version = save_version(split(found.sets))
    folder = run_folder(tmp_path_factory.mktemp('runs'), plan=dict(project=project), dataset=version.id, eval_reward_accuracy=.7, eval_reward_margin=.2)
    asyncio.run(tell(Run(folder, pytest.fail), provider, annotate_sources=True))
    return provider, folder, version, found

def raw(provider, **params):
    "Spans as Phoenix gives them, with their events"
    async def get():
        async with open_project(provider.wire, provider.project) as opened: return [r async for page in span_pages(opened, span_params()) for r in page]
    return asyncio.run(get())

def test_every_attribute_of_the_contract_is_on_the_spans_in_phoenix(learned):
    provider, folder, *_ = learned
    rows = {r['name']: r for r in raw(provider) if 'experiment.run_id' in r['attributes']}
    told, judged = rows[folder.name], rows['evaluate']
    assert told['span_kind']=='EXPERIMENT' and told['attributes']['operation.name']=='fine_tuning' and not set(SPEC)-set(told['attributes'])
    assert judged['span_kind']=='EVALUATION' and judged['attributes']['operation.name']=='adapter_evaluation' and not set(JUDGED)-set(judged['attributes'])
    assert 'params.backend_provider' not in told['attributes'], 'this run was a local one'
    assert judged['attributes']['improvement.error_reduction']==.02 and judged['attributes']['improvement.latency_overhead']==4
    assert {n for n,r in rows.items() if r['parent_id']==told['context']['span_id']}=={'extract', 'split', 'train', 'evaluate', 'register'}
    events = rows['train']['events']
    assert [e['name'] for e in events]==['metrics']*6 and events[-1]['attributes']['loss']==.5
    assert [datetime.fromisoformat(e['timestamp']) for e in events]==[MEASURED+timedelta(seconds=n**2) for n in range(6)], 'when they were measured'

@pytest.mark.parametrize('backend, provider', [('local', None), ('remote', 'modal'), ('mine', None)])
def test_a_provider_of_machines_is_named_for_remote_runs_alone(tmp_path, backend, provider):
    run, *_ = experiment_spans(run_folder(tmp_path, plan=dict(backend=backend)))
    assert run.get('params.backend')==backend and run.get('params.backend_provider')==provider

def test_measurements_without_a_time_are_spread_over_the_training(tmp_path):
    train = next(s for s in experiment_spans(run_folder(tmp_path, timed=False)) if s.name=='train')
    times = [datetime.fromisoformat(e['time']) for e in train.events]
    assert len(times)==6 and train.start_time<=times[0]<times[-1]<=train.end_time and all('time' not in e['attributes'] for e in train.events)

def test_an_event_without_a_time_costs_no_record(tmp_path):
    folder = run_folder(tmp_path)
    append_line(folder/'events.jsonl', dict(what='out of memory', batch_size=2))
    assert read_experiment(folder).state=='finished' and is_pending(folder)

def test_a_run_is_linked_to_the_spans_it_learned_from_and_they_to_its_adapter(learned):
    provider, folder, version, found = learned
    spans = experiment_spans(folder)
    ids = {s for side in ('train', 'validation') for rows in version.side(side).values() for r in rows for s in r.spans}
    assert ids and set(spans[0].get('data.source_span_ids'))==ids and spans[0].get('data.source_spans')==len(ids)
    assert {sid for sid,_ in spans[0].links}<=ids and len(spans[0].links)>.8*len(ids)
    judged = next(s for s in spans if s.kind=='EVALUATION')
    assert set(judged.get('evaluation.source_span_ids'))=={s for rows in version.test.values() for r in rows for s in r.spans}
    notes = asyncio.run(provider.annotations.get_annotations(sorted(ids)))
    used = notes[notes['annotation_name']=='used_in_adapter']
    assert set(used.index)==ids and set(used['result.label'])=={'ad-0123456789abcdef'} and 'used in adapter routing 1.0.0' in used['result.explanation'].iloc[0]

def test_the_record_of_a_run_changes_nothing_that_is_learned_next(learned):
    provider, _, _, found = learned
    again = asyncio.run(pull(provider, None, 'routing'))
    assert len(raw(provider))>found.counts['total_spans'] and again.counts==found.counts
    assert [e.output for e in again.sets['examples']]==[e.output for e in found.sets['examples']]

def test_experiments_are_listed_detailed_and_compared_from_phoenix(learned, tmp_path):
    provider, folder, *_ = learned
    project = provider.project
    second = run_folder(tmp_path, 'dpo_routing_20260201_120000', dict(project=project, lora_r=16), method='dpo')
    failed = run_folder(tmp_path, 'sft_billing_20260202_120000', dict(project=project, agent_type='billing'), fail=RuntimeError('the disk is full'))
    assert set(asyncio.run(sync(tmp_path, provider.wire.endpoint)))=={second.name, failed.name}
    assert asyncio.run(sync(tmp_path, provider.wire.endpoint))=={}
    df = asyncio.run(list_experiments(provider, project))
    assert set(df.run_id)=={failed.name, second.name, folder.name}
    assert list(df.time)==sorted(df.time, reverse=True)
    of = lambda **k: set(asyncio.run(list_experiments(provider, project, **k)).run_id)
    assert of(agent_type='billing')=={failed.name} and of(method='sft')=={folder.name} and of(method='dpo')=={second.name} and len(of(limit=1))==1 and of(agent_type='nobody')==set()
    with pytest.raises(FtkitError, match='limit=0'): of(limit=0)
    row = df.set_index('run_id').loc[folder.name]
    assert (row.base_accuracy, row.adapter_accuracy, row.p_value, row.verdict, row.adapter_id)==(.6, .9, .002, 'better', 'ad-0123456789abcdef') and row.overfit==pytest.approx(.2)
    there, here = asyncio.run(get_experiment_details(provider, project, folder.name)), read_experiment(folder)
    assert there.history==here.history and len(there.history)==6 and [s for s,*_ in there.stages]==[s for s,*_ in here.stages]==['extract', 'split', 'train', 'evaluate', 'register']
    assert there.params==here.params and there.compared()==here.compared()==dict(base=.6, adapter=.9, change=pytest.approx(.3), low=.1, high=.4, p_holm=.004, verdict='better')
    broken = asyncio.run(get_experiment_details(provider, project, failed.name))
    assert broken.state=='failed' and 'disk is full' in broken.reason and 'disk is full' in broken._repr_markdown_()
    both = asyncio.run(compare_experiments(provider, project, [folder.name, second.name], only_differences=True))
    assert list(both.columns)==[folder.name, second.name] and list(both.loc['params.lora_r'])==[8, 16] and 'params.epochs' not in both.index
    with pytest.raises(FtkitError, match="no experiment 'nothing'.*"+folder.name): asyncio.run(get_experiment_details(provider, project, 'nothing'))
    with pytest.raises(FtkitError, match='nothing'): asyncio.run(compare_experiments(provider, project, [folder.name, 'nothing']))

def test_a_run_that_failed_was_told_and_went_on_is_listed_as_it_ended(phoenix_server, tmp_path):
    project = 'experiments-again'
    folder = run_folder(tmp_path, plan=dict(project=project), fail=RuntimeError('out of memory'))
    assert list(asyncio.run(sync(tmp_path, phoenix_server.endpoint)).values())==[2]
    async def resumed():
        run = Run(folder, lambda line: None)
        async with recorded(run): await stage(run, 'train', lambda: Typed('trained', method='sft', adapter='adapter', metrics=dict(train_loss=.4)))
    asyncio.run(resumed())
    assert is_pending(folder)
    asyncio.run(sync(folder, phoenix_server.endpoint))
    assert not is_pending(folder)
    df = asyncio.run(list_experiments(PhoenixProvider('acme', project, phoenix_server.endpoint)))
    assert list(df.run_id)==[folder.name] and df.state[0]=='finished' and df.train_loss[0]==.4

def test_a_phoenix_that_is_away_costs_one_line_and_sync_sends_later(phoenix_server, tmp_path):
    said, project = [], 'experiments-away'
    folder = run_folder(tmp_path, plan=dict(project=project))
    asyncio.run(tell(Run(folder, said.append), PhoenixProvider('acme', project, f'http://127.0.0.1:{free_port()}', timeout_s=1)))
    assert len(said)==1 and 'ftkit sync' in said[0] and is_pending(folder) and (folder/'experiment'/'spans.jsonl').exists()
    assert read_json(folder/'run.json')['state']=='finished'
    kept = asyncio.run(list_experiments(FileProvider(folder/'experiment'), None))
    assert list(kept.run_id)==[folder.name]
    assert list(asyncio.run(sync(tmp_path, phoenix_server.endpoint)))==[folder.name] and not is_pending(folder)
    assert list(asyncio.run(list_experiments(PhoenixProvider('acme', project, phoenix_server.endpoint))).run_id)==[folder.name]

def test_whatever_goes_wrong_with_the_record_the_run_stands(tmp_path):
    folder, said = run_folder(tmp_path), []
    (folder/'plan.json').write_text('{') # as a damaged disk leaves it
    asyncio.run(tell(Run(folder, said.append)))
    assert len(said)==1 and 'plan.json' in said[0] and 'the run stands' in said[0]

def test_without_a_server_to_tell_nothing_is_asked_and_the_environment_names_one(tmp_path, monkeypatch):
    assert server_of() is None and server_of(FileProvider(tmp_path)) is None
    monkeypatch.setenv('PHOENIX_COLLECTOR_ENDPOINT', 'http://phoenix:6006')
    assert server_of()==dict(endpoint='http://phoenix:6006', api_key=None)
    assert server_of(PhoenixProvider('acme', 'shop', 'http://here:1', api_key='k'))==dict(endpoint='http://here:1', api_key='k')

@pytest.mark.parametrize('file', ['run.json', 'plan.json', 'data/evaluate/evaluation.json'])
def test_a_damaged_run_hides_no_other_and_keeps_none_from_being_sent(phoenix_server, tmp_path, file):
    project = f'experiments-damaged-{file[-9:-5]}'
    for n in (1, 2, 3): run_folder(tmp_path, f'sft_routing_20260131_12000{n}', plan=dict(project=project, lora_r=n))
    (tmp_path/'sft_routing_20260131_120002'/file).write_text('{')
    read = {e.run_id: e for e in read_experiments(tmp_path)}
    assert len(read)==3 and (read['sft_routing_20260131_120002'].state, read['sft_routing_20260131_120001'].state)==('damaged', 'finished') and file in read['sft_routing_20260131_120002'].reason
    assert list(experiments_frame(read.values()).state.sort_values())==['damaged', 'finished', 'finished']
    with pytest.raises(FtkitError, match=f'{file}.* is not readable(.|\n)*2 of them sent'): asyncio.run(sync(tmp_path, phoenix_server.endpoint))
    assert len(asyncio.run(list_experiments(PhoenixProvider('acme', project, phoenix_server.endpoint))))==2

@pytest.mark.parametrize('error, state, told', [(Waiting('for a person'), 'waiting', False), (RuntimeError('no'), 'failed', True), (KeyboardInterrupt(), 'failed', False)])
def test_a_run_is_told_when_it_has_ended_and_not_while_it_waits(tmp_path, error, state, told):
    try: folder = run_folder(tmp_path, fail=error)
    except KeyboardInterrupt: folder, = tmp_path.iterdir()
    assert read_json(folder/'run.json')['state']==state and (folder/'experiment'/'spans.jsonl').exists()==told
    assert is_pending(folder)==(state=='failed')

def test_a_run_that_failed_before_it_had_data_is_not_told(tmp_path):
    "The project may be a slip of the pen, and telling would create it"
    run = Run(tmp_path/'auto_routing_20260131_120000', lambda line: None)
    run.folder.mkdir()
    async def work():
        async with recorded(run): await stage(run, 'extract', lambda: 1/0)
    with pytest.raises(ZeroDivisionError): asyncio.run(work())
    assert not (run.folder/'experiment').exists() and not is_pending(run.folder) and asyncio.run(sync(tmp_path, 'http://127.0.0.1:9'))=={}

def test_the_same_run_has_the_same_spans_and_another_attempt_others(tmp_path):
    folder = run_folder(tmp_path)
    ids = [s.span_id for s in experiment_spans(folder)]
    moved = shutil.copytree(folder, tmp_path/'elsewhere'/folder.name)
    assert ids==[s.span_id for s in experiment_spans(moved)]==[r['span_id'] for r in read_jsonl(folder/'experiment'/'spans.jsonl')]
    append_line(folder/'events.jsonl', dict(time='2026-01-31T13:00:00+00:00', what='failed', reason='x'))
    assert not set(ids) & {s.span_id for s in experiment_spans(folder)}

def test_a_stage_that_was_killed_or_failed_says_so(tmp_path):
    folder = run_folder(tmp_path, fail=RuntimeError('no'))
    for e in (dict(what='started', stage='train'), dict(what='failed', reason='out of memory'), dict(what='started', stage='select')): append_line(folder/'events.jsonl', dict(time='2027-01-01T00:00:00+00:00', **e))
    spans = {s.name: s for s in experiment_spans(folder)}
    assert (spans['train'].status, spans['train'].status_message)==('ERROR', 'out of memory') and spans['select'].status_message=='was interrupted' and spans['extract'].status=='OK'

def test_a_dataset_that_was_removed_leaves_a_run_without_sources(tmp_path):
    spans = experiment_spans(run_folder(tmp_path, dataset='ds-000000000000'))
    assert spans[0].links==() and spans[0].get('data.source_spans')==0 and spans[0].get('data.dataset')=='ds-000000000000'
    with pytest.raises(FtkitError, match='no events.jsonl'): experiment_spans(tmp_path)
