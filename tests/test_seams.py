"What one page gives to another, called by itself: the corners that the page of its definition does not show."
import asyncio, json
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import httpx
import pytest

from ftkit.adapters.record import Adapters
from ftkit.adapters.storage import pinned
from ftkit.core import FtkitError, plain
from ftkit.data.approval import ApprovalOrchestrator, ApprovalStore, decide, open_approval
from ftkit.data.certificate import certificate
from ftkit.data.decisions import ApprovalBatch
from ftkit.data.split import Split
from ftkit.data.verdicts import AnnotationPolicy
from ftkit.data.version import load_version, save_version
from ftkit.disk import write_jsonl
from ftkit.evals.pair import ask_both, noticed, with_judge
from ftkit.evals.sheet import room_for
from ftkit.model.load import check_fits
from ftkit.model.prompt import answer_ids
from ftkit.model.tiny import random_base
from ftkit.model.weights import tree_hash
from ftkit.opening import plan_of, policy_from, take_up
from ftkit.plans.plan import Plan, read_config
from ftkit.plans.select import MethodAnalysis
from ftkit.records import InstructionDataset, InstructionExample
from ftkit.runs.experiment import Traced, traced
from ftkit.runs.metrics import read_metrics
from ftkit.runs.run import Run
from ftkit.runs.watch import PlainView, best_view
from ftkit.stages import Choice, Dataset, with_approved
from ftkit.telemetry.provider import Batch, check_kinds, check_window, start_mark
from ftkit.telemetry.spans import Span, record_row
from ftkit.telemetry.wire import TelemetryError, Wire, project_id
from ftkit.train.log import Diverged, Progress, metrics_log, stop_at_nan
from ftkit.train.trl import pair_trainer

PLAN = dict(tenant_id='acme', project='shop', model_type='llm', agent_type='routing')

# telemetry

def test_a_window_of_time_goes_forward():
    start, end = check_window('2026-01-01T12:00:00+02:00', '2026-01-02T00:00:00+00:00')
    assert start.isoformat()=='2026-01-01T10:00:00+00:00' and end>start and check_window(None, None)==(None, None)
    with pytest.raises(FtkitError, match='is not before end_time'): check_window(end, start)

def test_kinds_of_span_are_one_or_several_in_any_case():
    assert check_kinds(None)==check_kinds(())==set()
    assert check_kinds('llm')==check_kinds(['LLM'])=={'LLM'}

def test_a_mark_goes_on_where_it_was_made_and_nowhere_else():
    mark = start_mark(None, 'files', 'shop')
    batch = Batch([], [], dict(mark, span=7))
    assert start_mark(json.loads(json.dumps(batch.mark)), 'files', 'shop')['span']==7
    with pytest.raises(FtkitError, match="the mark is for files project 'shop', not for files project 'desk'; leave since out"): start_mark(mark, 'files', 'desk')

def test_a_project_is_found_by_its_whole_name():
    def serve(request):
        there = [dict(name=n, id=f'id-{n}') for n in ('shop', 'shop-test')]
        named = request.url.params.get('name_contains', '')
        return httpx.Response(200, json=dict(data=[p for p in there if named in p['name']], next_cursor=None))
    async def ask(project):
        wire = Wire('http://phoenix', transport=httpx.MockTransport(serve))
        async with wire.client() as client: return await project_id(wire, client, project)
    assert asyncio.run(ask('shop'))=='id-shop'
    with pytest.raises(TelemetryError, match='shop-test'): asyncio.run(ask('sho'))

# plans and runs

def test_a_configuration_file_holds_names_and_values(tmp_path):
    path = tmp_path/'plan.yaml'
    path.write_text('epochs: 3\n')
    assert read_config(path)==dict(epochs=3)
    for text,why in (('- epochs', 'it holds a list'), ('a: [', 'is not readable YAML')):
        path.write_text(text)
        with pytest.raises(FtkitError, match=why): read_config(path)
    with pytest.raises(FtkitError, match='there is no configuration file'): read_config(tmp_path/'nowhere.yaml')

def test_a_plan_is_given_whole_or_by_its_fields():
    plan = Plan(**PLAN, epochs=2)
    assert plan_of(None, dict(PLAN, epochs=2))==plan and plan_of(plan, {}) is plan
    with pytest.raises(FtkitError, match='config= was given and so were epochs'): plan_of(plan, dict(epochs=3))

def test_a_policy_comes_back_from_a_plan_and_unknown_fields_are_named():
    policy = AnnotationPolicy(names=('quality',), threshold=4)
    assert policy_from(json.loads(json.dumps(plain(policy))))==policy
    with pytest.raises(FtkitError, match='policy: there is no treshold; an AnnotationPolicy has'): policy_from(dict(treshold=4))

def test_an_earlier_run_is_taken_up_with_its_own_plan(tmp_path):
    run = Run(tmp_path/'auto_routing_20260110_100000', say=lambda line: None)
    run.folder.mkdir()
    run.write()
    run.keep_plan(Plan(**PLAN, base_model=str(random_base()), output_dir=str(tmp_path)))
    opened = take_up(run.folder, dict(timeout=60), provider=object(), say=lambda line: None)
    assert opened.run.folder==run.folder and opened.plan.place.timeout==60 and opened.plan.source.project=='shop'
    with pytest.raises(FtkitError, match='keeps its policy'): take_up(run.folder, {}, object(), policy=AnnotationPolicy(threshold=4), say=lambda line: None)

def test_a_kept_span_comes_back_with_its_events_and_links(tmp_path):
    span = Traced(**vars(Span('s1', 't1', None, 'train', 'CHAIN', None, None)), events=(dict(name='failed', time='2026-01-01'),), links=(('s0', 't0'),))
    path = tmp_path/'spans.jsonl'
    write_jsonl(path, [record_row(span)])
    assert traced(json.loads(path.read_text()))==span

def test_without_a_notebook_and_a_terminal_lines_are_shown(): assert best_view() is PlainView

# data

def test_approvals_are_opened_where_a_plan_says(tmp_path):
    known = ApprovalOrchestrator(ApprovalStore(f'sqlite:///{tmp_path}/approvals.db'))
    opened = open_approval(json.loads(json.dumps(known.describe())))
    assert opened.store.engine.url==known.store.engine.url

def test_approved_rows_join_the_training_side_with_their_receipts(tmp_path):
    def example(n, **more): return InstructionExample('Route.', f'where is parcel {n}', 'delivery', dict(span_id=f's{n}', session_id=f's{n}', **more))
    train, test = (dict(examples=InstructionDataset(rows), pairs=[]) for rows in ([example(1)], [example(2)]))
    version = save_version(Split(train, {}, test, {}, certificate(train, test), {}), dict(tenant_id='acme'))
    store = ApprovalStore(f'sqlite:///{tmp_path}/approvals.db')
    made = ApprovalBatch.of([InstructionExample('Route.', 'where did my teapot go', 'delivery', dict(synthetic=True, seeds=['s1']))])
    batch = store.save(replace(made, context=dict(tenant_id='acme')))
    decide(batch.batch_id, batch.items[0].item_id, 'approve', 'mara', store=store)
    joined = with_approved(Dataset(version.id), Choice(MethodAnalysis('sft', 1.), batch.batch_id), ApprovalOrchestrator(store))
    kept = load_version(joined.id)
    assert [len(d.train['examples']) for d in (version, kept)]==[1, 2] and len(kept.receipts)==1 and kept.manifest['parent']==version.id

# models and training

def test_prompts_that_leave_no_room_for_an_answer_are_refused():
    model = SimpleNamespace(context=8)
    assert check_fits(model, [[1]*5], 3) is None
    with pytest.raises(FtkitError, match='1 of 2 prompts do not fit: the longest has 6 tokens, the model reads 8 with 3 of them'): check_fits(model, [[1]*5, [1]*6], 3)

def test_a_set_of_files_has_one_name_whatever_their_order():
    a, b = dict(x='1', y='2'), dict(y='2', x='1')
    assert tree_hash(a)==tree_hash(b)!=tree_hash(dict(x='2', y='1')) and len(tree_hash(a))==64

def test_pairs_that_are_tokens_already_are_not_prepared_again():
    from trl import DPOTrainer
    kind = pair_trainer()
    assert issubclass(kind, DPOTrainer) and kind is pair_trainer()
    assert kind._prepare_dataset(None, rows := [dict(prompt_ids=[1])]) is rows

STATE = SimpleNamespace(is_world_process_zero=True, global_step=3, max_steps=9)

def test_each_measurement_becomes_a_line_of_the_first_process_only(tmp_path):
    log = metrics_log(tmp_path, Progress())
    log.on_log(None, STATE, None, dict(eval_loss=.5))
    log.on_log(None, SimpleNamespace(is_world_process_zero=False), None, dict(eval_loss=.1))
    row, = read_metrics(tmp_path)
    assert (row['step'], row['of'], row['eval_loss'])==(3, 9, .5)

@pytest.mark.parametrize('name', ['loss', 'eval_loss', 'grad_norm'])
def test_training_stops_at_the_first_figure_that_is_not_finite(name):
    stop, args = stop_at_nan(), SimpleNamespace(learning_rate=.1)
    assert stop.on_log(args, STATE, None, {name: 1.}) is None
    with pytest.raises(Diverged, match=rf'{name} is nan at step 3; lower learning_rate \(0\.1\)'): stop.on_log(args, STATE, None, {name: float('nan')})

# evaluation and adapters

def test_the_base_is_asked_with_the_adapter_off():
    off = []
    def without():
        off.append(True)
        return nullcontext()
    pair = SimpleNamespace(base='base', adapter='adapter', off=without)
    sheets, ms, known = ask_both(pair, lambda model: dict(scores=[model]), lambda model, request: None, ['hi'], None)
    assert [s['scores'] for s in sheets]==[['base'], ['adapter']] and not known
    assert [len(times) for times in ms]==[1, 1] and len(off)>=2

def test_rows_that_could_not_be_read_and_an_idle_adapter_are_noticed():
    sheets = dict(failed=[None, None]), dict(failed=[None, 'no JSON'])
    assert noticed(SimpleNamespace(idle=False), sheets)==['1 rows could not be read by the adapter, e.g. no JSON']
    assert 'does nothing' in noticed(SimpleNamespace(idle=True), sheets[:1]*2)[0]

def test_a_judge_scores_what_was_answered():
    rows = [InstructionExample('', 'tea?', 'yes'), InstructionExample('', 'milk?', 'no')]
    sheet = dict(answers=['yes', None])
    assert with_judge(sheet, rows, lambda prompt, answer, approved: answer==approved)['judge']==[1., None]
    assert with_judge(sheet, rows, None) is sheet

def test_an_answer_gets_room_for_the_longest_that_is_known():
    from transformers import AutoTokenizer
    model = SimpleNamespace(tokenizer=AutoTokenizer.from_pretrained(random_base()))
    rows = [InstructionExample('', 'q', a) for a in ('yes', 'the parcel left this morning')]
    longest = max(len(answer_ids(model.tokenizer, '', r.answer)) for r in rows)
    assert room_for(model, rows, 'labels')==longest+2 and room_for(model, rows, 'text')==int(longest*1.5)+8
    assert room_for(model, [InstructionExample('', 'q', 'word '*2000)], 'text')==512

def test_a_commit_of_the_hub_needs_no_asking(): assert pinned(place := 'acme/tea@'+'0'*40)==place

def test_no_adapters_are_said_in_words(): assert repr(Adapters([]))=='no adapters'
