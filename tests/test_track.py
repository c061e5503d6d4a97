"Corners of `ftkit.track`: what a run folder says about itself, and a folder of runs."
import asyncio

import pytest
from test_old_runs import old_run

from ftkit.core import write_json
from ftkit.plan import Plan, fill
from ftkit.track import Run, base_and_versions, facts_of, hyperparameters, list_runs, locked, stage, working, write_report

NAME = 'sft_routing_20260131_120000'
PLAN = dict(tenant_id='acme', project='shop', model_type='llm', agent_type='routing', base_model='acme/base')

class Typed:
    "A stage's result, with the file that the real one would write"
    def __init__(self, file, /, **about): self.file, self.about = file, about
    def save(self, folder): write_json(folder/f'{self.file}.json', self.about)

def run_folder(parent, name=NAME, plan=None, trained=None, **stages):
    "A run written by the real `Run`, its results typed in"
    run = Run(parent/name, lambda line: None)
    run.folder.mkdir(parents=True)
    write_json(run.folder/'plan.json', plan or Plan(**PLAN))
    async def work():
        with working(run):
            await stage(run, 'split', lambda: Typed('dataset', id='ds-0123456789ab'))
            await stage(run, 'train', lambda: Typed('trained', **{**dict(method='sft', adapter='adapter', metrics={}), **(trained or {})}))
            for name,about in stages.items(): await stage(run, name, lambda about=about: about)
    asyncio.run(work())
    return run.folder

def test_a_report_names_subject_base_dataset_versions_and_every_hyperparameter(tmp_path):
    plan = fill(Plan(**PLAN, epochs=2, lora_r=16, redact_names=('Mara Quill',)), ('epochs', 'lora_r'), n_params=3e9)
    folder = run_folder(tmp_path, plan=plan)
    write_json(folder/'parcel'/'parcel.json', dict(base=dict(name='acme/base', revision='4f0c', sha256='b8f38d58fccd6ce5'), versions=dict(ftkit='0.2.0', torch='2.13.0')))
    text = write_report(Run(folder)).read_text()
    for line in ('routing of shop on `acme/base`, tenant acme.', '| method | sft |', '| base model | `acme/base`, revision 4f0c, weights `b8f38d58fccd` |', '| dataset | `ds-0123456789ab` |', '| made with | ftkit 0.2.0, torch 2.13.0 |',
        '| epochs | 2 | given |', '| learning_rate | 5e-05 | by size |', '| batch_size | 2 | by size |', '| lora_r | 16 | given |', '| lora_alpha | 32 | default |', '| weight_decay | 0 | default |', '| redact_names | one name | given |'): assert line in text.splitlines(), line
    assert 'Mara' not in text and '| beta |' not in text, 'names of people, and what cannot act'

def test_every_field_that_acts_in_training_is_in_the_report(tmp_path):
    plan = Plan(tenant_id='acme', project='shop', model_type='embedding', modality='text', margin=.2, embedding_loss='triplet', quantize=None, save_steps=9, max_length=64)
    folder = run_folder(tmp_path, plan=plan)
    named = {name for name,*_ in hyperparameters(facts_of(folder))}
    assert {*type(plan.train).model_fields, *type(plan.adapter).model_fields}-named=={'base_model', 'beta', 'quantize', 'number_format'}
    whole = {name for name,*_ in hyperparameters({**facts_of(folder), 'plan': plan.but(use_lora=False).flat()})}
    assert named-whole=={'lora_r', 'lora_alpha', 'lora_dropout', 'target_modules'}

def test_a_run_that_recorded_nothing_of_its_base_has_a_report_too(tmp_path):
    folder = run_folder(tmp_path)
    assert base_and_versions(folder)==dict(base=dict(name=None, revision=None, weights=None), versions={})
    assert 'on `acme/base`' in write_report(Run(folder)).read_text()
    (folder/'plan.json').unlink()
    assert 'on `?`' in write_report(Run(folder)).read_text()

def listed(folder): return {r['run']: r for r in list_runs(folder)}

def test_runs_are_listed_the_newest_first_with_what_came_of_them(tmp_path):
    old_run(tmp_path)
    folder = run_folder(tmp_path, 'dpo_routing_20270101_000000', trained=dict(method='dpo'))
    write_json(folder/'data'/'evaluate'/'evaluation.json', dict(verdict='better'))
    new, old = list_runs(tmp_path)
    assert (new['run'], new['state'], new['method'], new['agent'], new['base'], new['verdict'])==(folder.name, 'finished', 'dpo', 'routing', 'acme/base', 'better') and new['began']>'2026'
    assert (old['run'], old['method'], old['verdict'], old['began'])==(NAME, 'sft', 'cannot tell', '2026-01-31 12:00:00')
    assert list_runs(tmp_path/'nothing')==[] and list(new)==list(old)
    assert f'| {folder.name} | finished |' in list_runs(tmp_path)._repr_markdown_()

@pytest.mark.parametrize('file, damage', [('run.json', b'{'), ('run.json', b'[]'), ('run.json', b''), ('run.json', b'\xff\xfe'), ('plan.json', b'null'), ('data/evaluate/evaluation.json', b'"x"'), ('data/split/dataset.json', b'{"id":')])
def test_a_damaged_run_is_a_row_and_hides_no_other(tmp_path, file, damage):
    old_run(tmp_path, 'sft_routing_20260131_130000')
    (old_run(tmp_path)/file).write_bytes(damage)
    rows = listed(tmp_path)
    assert rows[NAME]['state']=='damaged' and rows[NAME]['began']=='2026-01-31 12:00:00' and rows['sft_routing_20260131_130000']['state']=='finished'

def test_a_run_without_a_log_began_when_its_name_says(tmp_path):
    (old_run(tmp_path)/'events.jsonl').write_bytes(b'\x00\n3\n{"what": "started"}\n')
    assert listed(tmp_path)[NAME]['began']=='2026-01-31 12:00:00'
    write_json(tmp_path/'mine'/'run.json', dict(layout=2, state='finished', stages={}))
    assert listed(tmp_path)['mine']['began']

def test_a_run_whose_process_was_killed_is_listed_as_stopped_and_one_that_is_held_as_running(tmp_path):
    folder = old_run(tmp_path, state='running')
    before = sorted(p.name for p in folder.iterdir())
    assert listed(tmp_path)[NAME]['state']=='stopped' and sorted(p.name for p in folder.iterdir())==before, 'a list changes nothing'
    with locked(Run(folder)): assert listed(tmp_path)[NAME]['state']=='running'
