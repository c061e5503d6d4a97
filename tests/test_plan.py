"The configuration: what is refused, what is advised, and that no field is there for nothing."
import asyncio, json, os, shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from ftkit.jobs.job import place_of, submit
from ftkit.jobs.waiting import wait
from ftkit.jobs.local import child_environment
from ftkit.core import FtkitError, plain
from ftkit.disk import read_json, write_json
from ftkit.records import InstructionDataset, InstructionExample, PreferencePair, Triplet
from ftkit.model.load import load_base
from ftkit.runs.parcel import write_about
from ftkit.opening import Services, check_plan
from ftkit.pipeline import finetune_sync, open_run
from ftkit.stages import choose_method, divide, extract, policy_of
from ftkit.plans.advice import advice, fill, fits, recommended
from ftkit.plans.plan import FIELDS, SECTIONS, OrchestrationConfig, Plan
from ftkit.plans.resume import read_plan, resumed
from ftkit.telemetry.samples import telemetry
from ftkit.telemetry.spans import Annotation, as_span
from ftkit.telemetry.files import FileProvider, save_telemetry
from ftkit.model.tiny import ADVICE, random_base
from ftkit.runs.run import Run
from ftkit.train.base import trainer_arguments, attach_callbacks
from ftkit.train.lora import with_lora
from ftkit.train.dpo import train_dpo_rows
from ftkit.train.embedding import embedding_loss
from ftkit.train.run import row_limit, training_data

MIN = dict(tenant_id='acme', project='shop', model_type='llm', agent_type='routing')
def plan(**more): return OrchestrationConfig(**{**MIN, **more})
def refused(**more):
    with pytest.raises(FtkitError) as e: plan(**more)
    return str(e.value)

OUT = [('learning_rate', 0, 'above 0'), ('learning_rate', .2, 'to 0.1'), ('epochs', 0, 'from 1'), ('batch_size', 0, 'from 1'), ('lora_r', 0, 'from 1 to 256'), ('lora_r', 257, 'from 1 to 256'), ('lora_dropout', .11, 'from 0 to 0.1'),
       ('warmup_ratio', .6, 'to 0.5'), ('weight_decay', 1.1, 'to 1'), ('beta', 0, 'above 0'), ('max_length', 8, 'from 16'), ('learning_rate', float('nan'), 'number'), ('epochs', 1.5, 'integer'), ('keep_checkpoints', 0, 'from 1')]

@pytest.mark.parametrize('field,value,accepted', OUT)
def test_a_value_out_of_range_is_refused_with_the_range(field, value, accepted):
    assert field in refused(**{field: value}) and accepted in refused(**{field: value})

ANY = None
RANGES = dict( # refused, accepted, accepted, refused
    approval_threshold=(float('-inf'), -5, 5, float('inf')), most_lost=(-.01, 0, 1, 1.01), min_sft_examples=(0, 1, 10**6, ANY), min_dpo_pairs=(0, 1, 10**6, ANY), min_triplets=(0, 1, 10**6, ANY), min_turns_per_session=(0, 1, 1000, 1001), test_days=(0, .01, 3650, 3651), test_set_size=(0, 1, 100_000, 100_001),
    epochs=(0, 1, 1000, 1001), batch_size=(0, 1, 4096, 4097), gradient_accumulation=(0, 1, 4096, 4097), learning_rate=(0, 1e-9, .1, .1001), warmup_ratio=(-.01, 0, .5, .51), weight_decay=(-.01, 0, 1, 1.01), max_length=(15, 16, 10_000_000, 10_000_001), beta=(0, 1e-3, 10, 10.1), margin=(0, 1e-3, 10, 10.1), seed=(-1, 0, 2**32-1, 2**32),
    lora_r=(0, 1, 256, 257), lora_alpha=(0, 1, 1024, 1025), lora_dropout=(-.01, 0, .1, .11), save_steps=(0, 1, 10**9, ANY), eval_steps=(0, 1, 10**9, ANY), keep_checkpoints=(0, 1, 1000, 1001), patience=(0, 1, 1000, 1001), logging_steps=(0, 1, 100_000, 100_001),
    gpu_count=(0, 1, 64, 65), cpu=(0, 1, 1024, 1025), memory=(255, 256, 10**7, ANY), timeout=(0, 1, 10**7, ANY))

def test_every_number_has_its_range():
    schemas = {s: cls.model_json_schema()['properties'] for s,cls in SECTIONS.items()}
    kinds = {k: {o.get('type') for o in schemas[s][f].get('anyOf', [schemas[s][f]]) if 'enum' not in o} for k,(s,f) in FIELDS.items()}
    assert set(RANGES)|{'approval_threshold'}=={k for k,types in kinds.items() if types & {'integer', 'number'}} # any number may be a threshold
    def said(**field): # what is wrong with the number itself; it may still be one that has no effect here
        try: plan(**field)
        except FtkitError as e: return [l for l in str(e).splitlines() if ': got' in l]
        return []
    for k,(low, least, most, high) in RANGES.items():
        for v in (least, most): assert not said(**{k: v}), f'{k}={v} is refused'
        for v in (low, high): assert v is ANY or said(**{k: v}), f'{k}={v} is accepted'

def test_every_wrong_field_is_named_at_once_and_unknown_ones_get_the_nearest():
    said = refused(learning_rat=1e-4, epoch=2, lora_r=1000, quantum=1)
    assert 'did you mean learning_rate' in said and 'did you mean epochs' in said and 'lora_r: got 1000' in said and 'quantum: there is no such field' in said

def test_alpha_is_twice_the_rank_unless_it_is_given():
    assert [plan(lora_r=r).lora_alpha for r in (1, 8, 256)]==[2, 16, 512] and plan(lora_r=32, lora_alpha=7).lora_alpha==7
    assert OrchestrationConfig(**plan(lora_r=32).model_dump())==plan(lora_r=32) and with_lora(load_base(random_base(), 'float32', 'cpu').model, plan(lora_r=4).adapter)[0].peft_config['default'].lora_alpha==8

@pytest.mark.parametrize('params,rate,batch', [(135e6, 2e-4, (4, 8)), (3e9, 5e-5, (2, 4)), (8e9, 2e-5, (1, 2))])
def test_recommendations_follow_the_size_of_the_model(params, rate, batch):
    usual = recommended(params, 300)
    assert usual['learning_rate'][0]==rate and usual['batch_size'][1:3]==batch
    fine = plan(learning_rate=rate, batch_size=batch[0], gradient_accumulation=usual['gradient_accumulation'][0], epochs=usual['epochs'][0])
    assert advice(fine.train, fine.adapter, params, 300)==[]
    fast = fine.but(learning_rate=rate*10)
    assert any('learning_rate' in a for a in advice(fast.train, fast.adapter, params, 300)) and not advice(fast.train, fast.adapter, params, 300, filled=['learning_rate'])

def test_fewer_rows_are_seen_more_often(): assert recommended(1e8, 50)['epochs'][1:3]==(3, 5) and recommended(1e8, 5000)['epochs'][1:3]==(1, 3)

# --- every field

@pytest.fixture(scope='module')
def shop(tmp_path_factory):
    "Traces as files, and what is extracted from them"
    folder = tmp_path_factory.mktemp('traces')
    save_telemetry(folder, *telemetry('routing', n=150))
    return FileProvider(folder)

@pytest.fixture(scope='module')
def finished(shop, tmp_path_factory):
    "A whole run, to be resumed with another plan"
    out = tmp_path_factory.mktemp('runs')
    result = finetune_sync(telemetry_provider=shop, say=lambda line: None, in_process=True, **{**MIN, **dict(base_model=str(random_base()), output_dir=str(out), epochs=1, batch_size=8, min_sft_examples=40, test_set_size=8)})
    return Path(result.run)

def outcome(work):
    "A value, or what was refused"
    try: return work()
    except Exception as e: return f'{type(e).__name__}: {e}'

class Walk:
    "What each field does, seen from outside"
    def __init__(self, shop, finished, tmp_path): self.shop, self.finished, self.tmp = shop, finished, tmp_path
    def arguments(self, c): return trainer_arguments(c.train, 'here', 4000, 400)
    def adapter(self, c):
        model, how = with_lora(load_base(random_base(), 'float32', 'cpu').model, c.adapter)
        return how if how=='full' else plain({k: getattr(model.peft_config['default'], k) for k in ('r', 'lora_alpha', 'lora_dropout', 'target_modules')})
    def callbacks(self, c):
        held = []
        trainer = SimpleNamespace(tell=None, remove_callback=lambda c: None, add_callback=held.append)
        attach_callbacks(trainer, self.tmp, c.train, self.tmp)
        numbers = lambda f: sorted(str(x.cell_contents) for x in f.__closure__ or () if isinstance(x.cell_contents, (int, str)))
        return {type(h).__name__: (numbers(h.on_save), numbers(h.on_evaluate)) for h in held}
    def extracted(self, c):
        def look():
            found = asyncio.run(extract(self.shop, c.source, c.data, c.method))
            return found.counts, {k: [plain(r) for r in d] for k,d in found.sets.items()}
        return plain(policy_of(c.source, c.method.model_type)), outcome(look)
    def sessions(self, c):
        if not hasattr(self, 'talk'):
            save_telemetry(self.tmp/'talk', *telemetry('support'))
            self.talk = FileProvider(self.tmp/'talk')
        return outcome(lambda: asyncio.run(extract(self.talk, c.source, c.data, c.method)).counts)
    def thought(self, c):
        said = {'llm.input_messages': [{'message': {'role': 'user', 'content': '6 x 7?'}}], 'llm.output_messages': [{'message': {'role': 'assistant', 'content': '<think>easy</think>42'}}], 'metadata': {'agent_type': 'routing'}}
        spans = [as_span(dict(span_id='s', trace_id='t', span_kind='LLM', attributes=said))]
        save_telemetry(self.tmp/'thought', spans, [Annotation('s', 'review', label='approved')])
        return [e.output for e in asyncio.run(extract(FileProvider(self.tmp/'thought'), c.source, c.data, c.method)).sets['examples']]
    def loss(self, c):
        module = embedding_loss(torch.nn.Identity(), c.train)
        return type(module).__name__, getattr(module, 'triplet_margin', None)
    def divided(self, c):
        v = divide(self.whole(), c.source, c.data, c.method.model_type, c.train.seed).version
        return v.manifest['source'], {k: [[plain(r) for r in d] for d in getattr(v, k).values()] for k in ('train', 'validation', 'test', 'held')}
    def whole(self):
        if not hasattr(self, 'found'): self.found = asyncio.run(extract(self.shop, plan().source))
        return self.found
    def chosen(self, c):
        n, m = 45, 18
        data = SimpleNamespace(everything=lambda kind: [InstructionExample('i', f'q{i}', 'a') for i in range(n)] if kind=='examples' else [PreferencePair(f'q{i}', 'a', 'b') for i in range(m)] if kind=='pairs' else [Triplet('q', f'a{i}', 'b') for i in range(60)] if kind=='triplets' else [], train={}, kept_apart=list)
        return outcome(lambda: plain(asyncio.run(choose_method(data, c.method, c.source, Services(SimpleNamespace(), SimpleNamespace()))).analysis))
    def folder(self, c):
        folder = open_run(c, {}, provider=self.shop).run.folder
        return str(folder.parent), folder.name.split('_')[1]
    def begun_again(self, c):
        "What a run that was begun with this plan asks when it is resumed"
        run = open_run(c, {}, provider=self.shop).run
        kept = read_plan(run.folder/'plan.json')
        Run(run.folder).keep_plan(kept.but(provider=c.source.provider or kept.source.provider, services=c.method.services))
        def asked():
            again = open_run(None, {}, resume=run.folder)
            return type(again.provider).__name__, type(again.services.synthetic).__name__
        return outcome(asked)
    def too_long(self, c):
        "Training rows of which one in ten is too long"
        tokenizer = load_base(random_base(), 'float32', 'cpu').tokenizer
        rows = InstructionDataset([InstructionExample('i', f'q{n}', 'yes '*(90 if n%10==0 else 1)) for n in range(40)])
        parcel = SimpleNamespace(rows=lambda side, kind: rows if side=='train' else InstructionDataset(), plan=c, max_length=64)
        return outcome(lambda: len(training_data(parcel, 'examples', tokenizer)[0]))
    def placed(self, c): return outcome(lambda: place_of(c.backend, c.backend_provider))
    def checked(self, c): return outcome(lambda: str(check_plan(c)))
    def begun(self, c): return outcome(lambda: finetune_sync(config=c, say=lambda line: None))
    def preferred(self, c):
        torch.manual_seed(0)
        base = load_base(random_base(), 'float32', 'cpu')
        model, _ = with_lora(base.model, c.adapter)
        self.n = getattr(self, 'n', 0)+1
        train_dpo_rows(model, base.tokenizer, [PreferencePair('q', 'yes', 'no'), PreferencePair('r', 'no', 'yes')], [], c.train, self.tmp/f'dpo{self.n}', self.tmp/f'dpo{self.n}'/'c')
        return [p.tolist() for n,p in model.named_parameters() if 'lora_B' in n]
    def waited(self, c):
        folder = self.tmp/f'wait{c.timeout}'
        folder.mkdir()
        write_json(folder/'parcel'/'plan.json', {})
        write_about(folder/'parcel')
        (folder/'parcel'/'plan.json').unlink()
        os.mkfifo(folder/'parcel'/'plan.json') # the child waits for somebody to write it
        job = submit('local', SimpleNamespace(folder=folder/'parcel', plan=c), folder)
        return outcome(lambda: asyncio.run(wait(job, lambda line: None)))
    def resumed(self, stage):
        def again(c):
            copy = self.tmp/f'{stage}-{len(list(self.tmp.iterdir()))}'/self.finished.name
            shutil.copytree(self.finished, copy)
            after = {k: getattr(c, k) for k in ('evaluate_after_training', 'enable_registry', 'adapter_version', 'adapter_storage_uri')}
            write_json(copy/'plan.json', read_plan(copy/'plan.json').but(**after))
            record = read_json(copy/'run.json')
            write_json(copy/'run.json', {**record, 'stages': {k: v for k,v in record['stages'].items() if k!=stage}})
            result = finetune_sync(resume=str(copy), say=lambda line: None)
            registered = copy/'data'/'register'/'registered.json'
            return bool(result.evaluation_result), result.adapter_id is None, read_json(registered)['version'] if stage and registered.exists() else None, 'uploaded' in str(result.adapter_uri)
        return again

def fields(w):
    "Every public field: how it is changed, and where that shows"
    remote, search = dict(backend='remote'), dict(model_type='embedding', agent_type=None, modality='text')
    talk, triplet = dict(agent_type='support', multi_turn=True), dict(**search, embedding_loss='triplet')
    return dict(
        tenant_id=(w.divided, dict(tenant_id='other')), project=(w.divided, dict(project='other')), model_type=(w.chosen, search), agent_type=(w.extracted, dict(agent_type='nobody')),
        modality=(w.folder, {**search, 'modality': 'image'}, search), dataset=(w.begun, dict(dataset='ds-0123456789abcdef')), start_time=(w.extracted, dict(start_time='2999-01-01T00:00:00+00:00')),
        approval_threshold=(w.extracted, dict(approval_threshold=.9)), annotation_names=(w.extracted, dict(annotation_names=('nothing',))), redact_names=(w.extracted, dict(redact_names=('where', 'order', 'my'))), policy=(w.extracted, dict(policy=dict(names=('nothing',)))),
        provider=(w.begun_again, dict(provider=dict(kind='custom', name='mine:Provider'))), services=(w.begun_again, dict(services=dict(synthetic=dict(kind='custom', name='mine:Service')))), most_lost=(w.too_long, dict(most_lost=.01)),
        min_sft_examples=(w.chosen, dict(min_sft_examples=40)), min_dpo_pairs=(w.chosen, dict(min_dpo_pairs=10)), min_triplets=(w.chosen, dict(**search, min_triplets=5), search), method=(w.chosen, dict(method='dpo')), generate_synthetic=(w.chosen, dict(generate_synthetic=False)),
        multi_turn=(w.sessions, talk, dict(agent_type='support')), min_turns_per_session=(w.sessions, dict(**talk, min_turns_per_session=4), talk), embedding_loss=(w.loss, triplet, search), margin=(w.loss, dict(**triplet, margin=.5), triplet), quantize=(w.checked, dict(quantize=4)), test_days=(w.divided, dict(test_days=1.5)), test_set_size=(w.divided, dict(test_set_size=5)),
        base_model=(w.checked, dict(base_model='ftkit-tiny')), max_length=(lambda c: outcome(lambda: row_limit(c.method, c.train, random_base())), dict(max_length=64)), beta=(w.preferred, dict(beta=2.)),
        **{k: (w.arguments, {k: v}) for k,v in dict(epochs=4, batch_size=2, gradient_accumulation=2, learning_rate=1e-3, warmup_ratio=.2, weight_decay=.5, seed=3, save_steps=7, eval_steps=9, logging_steps=2, number_format='bfloat16').items()},
        **{k: (w.adapter, {k: v}) for k,v in dict(use_lora=False, lora_r=4, lora_alpha=5, lora_dropout=.05, target_modules='all-linear').items()},
        keep_checkpoints=(w.callbacks, dict(keep_checkpoints=9)), patience=(w.callbacks, dict(patience=8)), metric_for_best_model=(w.callbacks, dict(metric_for_best_model='token_accuracy')), reasoning=(w.thought, dict(reasoning='keep')),
        backend=(w.placed, remote), backend_provider=(w.placed, dict(**remote, backend_provider='ray'), remote), gpu=('refused', dict(gpu='H100')), gpu_count=('refused', dict(gpu_count=2)),
        cpu=(lambda c: child_environment(c.cpu)['OMP_NUM_THREADS'], dict(cpu=1), dict(cpu=2)), memory=(lambda c: outcome(lambda: fits(3000, c.memory, c.batch_size)), dict(memory=1000)), timeout=(w.waited, dict(timeout=1), dict(timeout=2)),
        output_dir=(w.folder, dict(output_dir=str(w.tmp/'elsewhere'))), evaluate_after_training=(w.resumed('evaluate'), dict(evaluate_after_training=False)), enable_registry=(w.resumed(''), dict(enable_registry=False)),
        adapter_version=(w.resumed('register'), dict(adapter_version='7.0.0')), adapter_storage_uri=(w.resumed('register'), dict(adapter_storage_uri=f'file://{w.tmp}/uploaded')))

def test_every_public_field_changes_something(shop, finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, 'cpu_count', lambda: 8)
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    table, base = fields(Walk(shop, finished, tmp_path)), dict(base_model=str(random_base()))
    assert set(table)==set(FIELDS), f'not looked at, or gone: {set(table) ^ set(FIELDS)}'
    idle = []
    for name,(see, changed, *before) in table.items():
        if see=='refused': refused(**changed); continue
        old, new = plan(**{**base, **(before[0] if before else {})}), plan(**{**base, **changed})
        if json.dumps(plain(see(old)))==json.dumps(plain(see(new))): idle.append(name)
    assert not idle, f'changing these changes nothing: {idle}'

def test_a_field_that_nothing_reads_would_be_found(): # the walk compares what is seen: the same plan twice must look the same
    w = Walk(None, None, None)
    assert w.arguments(plan())==w.arguments(plan()) and w.adapter(plan())==w.adapter(plan())

# --- what is filled in, what may change, what cannot act

def test_what_nobody_decided_follows_the_size_of_the_base():
    large = fill(plan(), plan().given(), 8_000_000_000)
    assert (large.train.learning_rate, large.train.batch_size, large.train.gradient_accumulation)==(2e-5, 1, 4)
    assert set(large.filled.values())=={'by size'} and fill(plan(learning_rate=1e-3), {'learning_rate'}, 8e9).train.learning_rate==1e-3
    assert fill(plan(batch_size=1), {'batch_size'}, 135e6).train.gradient_accumulation==1, 'the rows behind a step were decided'

def test_a_base_that_ships_with_ftkit_brings_its_own_advice():
    tiny = fill(plan(base_model='ftkit-tiny'), {'base_model'}, 4_000_000, ADVICE)
    assert tiny.train.learning_rate==ADVICE['learning_rate'] and tiny.filled['lora_r']=='by base' and tiny.adapter.lora_alpha==2*ADVICE['lora_r']

def test_a_resumed_plan_takes_what_may_change_and_names_the_rest():
    known = plan(max_length=128)
    new = resumed(known, dict(timeout=9999, memory=512, adapter_version='2.0.0', output_dir='elsewhere', max_length=256, most_lost=.5))
    assert (new.place.timeout, new.after.adapter_version, new.train.max_length, new.train.most_lost)==(9999, '2.0.0', 256, .5)
    assert resumed(known, dict(learning_rate=known.learning_rate, agent_type='routing'))==known, 'the same value again is no change'
    with pytest.raises(FtkitError, match='(?s)learning_rate: it was 0.0002.*agent_type: it was .routing.*lernrate: there is no such field'): resumed(known, dict(learning_rate=7, agent_type='x', lernrate=1))
    with pytest.raises(FtkitError, match='max_length: it was 128'): resumed(known, dict(max_length=256), trained=True)

IDLE = [dict(method='ranking', beta=.2), dict(method='sft', beta=.2), dict(method='sft', min_dpo_pairs=3), dict(method='dpo', min_sft_examples=3), dict(enable_registry=False, adapter_version='2.0.0'), dict(min_triplets=3), dict(min_turns_per_session=3), dict(policy=dict(names=['a']), approval_threshold=.9)]

@pytest.mark.parametrize('given', IDLE, ids=lambda g: list(g)[-1]+str(len(g)))
def test_a_field_that_cannot_act_is_named(given): assert f'- {list(given)[-1]}: ' in refused(**given)

@pytest.mark.parametrize('field', ['epochs', 'batch_size', 'learning_rate', 'memory', 'test_days', 'approval_threshold'])
def test_true_is_no_number(field): assert f'{field}: got True, needed' in refused(**{field: True})

def test_a_wrong_rank_accuses_no_other_field(): assert 'lora_alpha' not in refused(lora_r=0)

def test_times_and_versions_are_looked_at_before_anything_runs():
    assert "start_time: got 'yesterday', needed a time" in refused(start_time='yesterday') and "adapter_version 'banana'" in refused(adapter_version='banana')
    import datetime
    assert plan(start_time=datetime.date(2026, 1, 31)).start_time=='2026-01-31'

def test_sections_and_flat_names_are_one_plan():
    nested = Plan(source=dict(tenant_id='acme', project='shop', agent_type='routing'), method=dict(model_type='llm'), train=dict(epochs=5))
    assert nested==plan(epochs=5) and nested.epochs==nested.train.epochs==5
    assert 'train.epoch: there is no such field; did you mean epochs?' in refused(train=dict(epoch=5))

# --- what is best

@pytest.mark.parametrize('more, field', [
    (dict(method='sft', metric_for_best_model='reward_accuracy'), 'reward_accuracy'),
    (dict(method='dpo', metric_for_best_model='eval_token_accuracy'), 'token_accuracy'),
    (dict(method='ranking', metric_for_best_model='reward_margin'), 'reward_margin'),
    (dict(model_type='embedding', agent_type=None, modality='text', metric_for_best_model='token_accuracy'), 'token_accuracy')])
def test_a_metric_that_the_method_does_not_measure_is_named_before_the_run(more, field):
    with pytest.raises(FtkitError, match='metric_for_best_model: is not measured by this method'): plan(**more)

def test_a_metric_is_written_as_the_libraries_write_it_or_plainly():
    assert plan(metric_for_best_model='eval_loss').train.metric_for_best_model=='loss'
    with pytest.raises(FtkitError, match='metric_for_best_model'): plan(metric_for_best_model='bleu')
