"A run folder of ftkit 0.1 is listed, compared and read; only ftkit 0.1 can finish it."
import asyncio, json, shutil

import pytest

from ftkit.runs.experiment import experiment_spans
from ftkit.runs.export import is_pending, keep_spans
from ftkit.runs.history import read_experiment, read_experiments, side_by_side
from ftkit.core import FtkitError
from ftkit.disk import read_json, write_json
from ftkit.plans.resume import read_plan
from ftkit.runs.metrics import plot_loss, plot_run, read_metrics
from ftkit.runs.report import facts_of, write_report
from ftkit.runs.run import Run, find_run, stage, working

NAME = 'sft_routing_20260131_120000'
OLD = { # file -> what ftkit 0.1.0 wrote into it
    'plan.json': dict(tenant_id='acme', project='shop', model_type='llm', agent_type='routing', modality=None, dataset=None, base_model='ftkit-tiny', method='auto', backend='local', backend_provider='modal',
        epochs=1, batch_size=8, gradient_accumulation=1, learning_rate=2e-4, use_lora=True, lora_r=8, lora_alpha=16, lora_dropout=0., target_modules='attention', annotation_names=None, approval_threshold=.5,
        redact_names=[], test_set_size=50, output_dir='outputs/adapters', timeout=3600),
    'run.json': dict(layout=1, pid=10404, reason=None, state='finished', stages={
        'extract': dict(state='done', seconds=.2, shown='**examples: 66**'), 'split': dict(state='done', seconds=1.2, shown='`ds-b795b0fd7b11`'), 'train': dict(state='done', seconds=26.8, shown='| measure | value |\n|---|---:|\n| steps | 7 |\n'),
        'evaluate': dict(state='done', seconds=21., shown='**cannot tell**'), 'register': dict(state='done', seconds=1.2, shown='`ad-6eb13bab37400e8f`: routing, version 1.0.0.')}),
    'train.json': dict(base='/models/ftkit-tiny', dataset='/home/user/.ftkit/datasets/ds-b795b0fd7b11', max_length=1024, method='sft'),
    'data/extract/extraction.json': dict(accounts={}, agreement=None, counts=dict(approved_count=66, preference_pairs=0, redacted=1, rejected_count=7, total_spans=88), disputes=[], labels={}),
    'data/split/dataset.json': dict(id='ds-b795b0fd7b11', shown='| kind | train |'),
    'data/train/trained.json': dict(adapter='adapter', how='lora', lora_config=dict(r=8, lora_alpha=16), method='sft', metrics=dict(computation='shared', steps=7, train_loss=2.95, train_examples=52, used_validation_split=False), notes=[]),
    'data/evaluate/evaluation.json': dict(verdict='cannot tell', task='labels', decides='accuracy', test_size=14, p_value=1., need=391, base_metrics=dict(accuracy=.14), adapter_metrics=dict(accuracy=.28), improvements=dict(accuracy=.14),
        comparisons=dict(accuracy=dict(low=-.1, high=.3, p_holm=1., verdict='cannot tell'))),
    'data/register/registered.json': dict(adapter_id='ad-6eb13bab37400e8f', adapter_uri=None, folder='/home/user/.ftkit/registry/blobs/56', name='routing', version='1.0.0'),
    'adapter/passport.json': dict(layout=1, kind='lora', base=dict(name='ftkit-tiny', revision=None, weights='b8f38d58fccd'), libraries=dict(torch='2.13.0', trl='1.16.0'), files={}, metrics={}, parents=[])}
LOGS = {
    'events.jsonl': [dict(time=f'2026-01-31T12:00:{s:02}+00:00', what=what, stage=stage) for s,(stage,what) in enumerate((stage, what) for stage in ('extract', 'split', 'train', 'evaluate', 'register') for what in ('started', 'done'))]+[dict(time='2026-01-31T12:01:00+00:00', what='finished')],
    'metrics.jsonl': [dict(step=1, of=7, loss=2.95, grad_norm=1.8, learning_rate=0., token_accuracy=.55), dict(step=5, of=7, loss=2.4, eval_loss=2.6, grad_norm=1.9, learning_rate=1e-4, token_accuracy=.6)]}

def old_run(parent, name=NAME, **changes):
    "A run folder as ftkit 0.1.0 left it; `changes` are of its `run.json`"
    for file,value in OLD.items(): write_json(parent/name/file, {**value, **changes} if file=='run.json' else value)
    for file,rows in LOGS.items(): (parent/name/file).write_text(''.join(json.dumps(r)+'\n' for r in rows))
    return parent/name

def tree(folder): return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob('*') if p.is_file()}

def test_an_old_run_is_found_and_its_facts_are_read(tmp_path):
    folder = old_run(tmp_path)
    assert find_run('auto_routing_20260131_120000', tmp_path)==find_run(NAME, tmp_path)==folder
    facts = facts_of(folder)
    assert (facts['plan']['learning_rate'], facts['plan']['method'], facts['dataset'], facts['registered']['version'], facts['filled'])==(2e-4, 'auto', 'ds-b795b0fd7b11', '1.0.0', {})
    assert Run(folder).state=='finished' and Run(folder).done('train') and len(Run(folder).metrics())==2

def test_an_old_run_is_drawn(tmp_path):
    folder = old_run(tmp_path)
    assert [r['step'] for r in read_metrics(folder)]==[1, 5]
    for figure in (plot_loss([folder, folder]), plot_run(folder)): assert figure._repr_png_().startswith(b'\x89PNG')

def test_old_runs_are_read_as_experiments_and_compared(tmp_path):
    old_run(tmp_path)
    folder = old_run(tmp_path, 'sft_routing_20260131_130000', state='failed', reason='the disk is full')
    write_json(folder/'plan.json', {**OLD['plan.json'], 'lora_r': 16})
    assert [s.name for s in experiment_spans(folder)][1:]==['extract', 'split', 'train', 'evaluate', 'register']
    failed, e = read_experiment(folder), read_experiment(NAME, tmp_path)
    assert (e.state, e.about['agent_type'], e.params['method'], e.params['learning_rate'], e.data['approved_count'], e.output['adapter_version'])==('finished', 'routing', 'sft', 2e-4, 66, '1.0.0')
    assert e.compared()['change']==pytest.approx(.14) and e.history[-1]['eval_loss']==2.6 and failed.reason=='the disk is full'
    assert {x.run_id for x in read_experiments(tmp_path)}=={NAME, folder.name}
    both = side_by_side([e, failed], only_differences=True)
    assert list(both.loc['params.lora_r'])==[8, 16] and 'params.epochs' not in both.index

def test_an_old_run_has_a_report(tmp_path):
    text = write_report(Run(old_run(tmp_path))).read_text()
    assert 'routing of shop on `ftkit-tiny`, tenant acme.' in text and '## Train' in text and '**cannot tell**' in text

def test_an_old_run_is_still_sent_to_phoenix(tmp_path):
    folder = old_run(tmp_path)
    assert is_pending(folder)
    assert (keep_spans(folder)/'spans.jsonl').exists()

def test_only_01_can_finish_an_old_run_and_nothing_in_it_is_touched(tmp_path):
    folder = old_run(tmp_path, state='failed')
    before = tree(folder)
    said = f'{NAME} was begun by ftkit 0.1; it can be listed, compared and read here, and only ftkit 0.1 can finish it: `pip install "ftkit<0.2"`'
    with pytest.raises(FtkitError) as refused: read_plan(folder/'plan.json')
    assert str(refused.value)==said
    with pytest.raises(FtkitError) as refused:
        with working(Run(folder)): pytest.fail('work began')
    assert str(refused.value)==said and tree(folder)==before

def test_the_pipeline_refuses_to_resume_an_old_run(tmp_path):
    from ftkit.pipeline import finetune_sync
    folder = old_run(tmp_path, state='failed')
    before = tree(folder)
    with pytest.raises(FtkitError, match='only ftkit 0.1 can finish it'): finetune_sync(resume=folder)
    assert tree(folder)==before

def test_a_new_run_has_layout_2_and_a_later_one_asks_for_an_upgrade(tmp_path):
    run = Run(tmp_path/NAME, lambda line: None)
    run.folder.mkdir()
    async def work():
        with working(run): await stage(run, 'extract', lambda: dict(rows=1))
    asyncio.run(work())
    assert read_json(run.folder/'run.json')['layout']==2
    shutil.copytree(run.folder, tmp_path/'later')
    write_json(tmp_path/'later'/'run.json', {**run.record, 'layout': 3})
    with pytest.raises(FtkitError, match='layout 3, .* upgrade'):
        with working(Run(tmp_path/'later')): pass
