"Runs of earlier versions are asked whether a mended fault may have touched them; a false no is worse than a false perhaps."
import json

import pytest
from test_old_runs import NAME, OLD, old_run

from ftkit.disk import read_json, write_json
from ftkit.records import InstructionDataset, InstructionExample
from ftkit.data.version import save_version
from ftkit.runs.faults import FAULTS, affected, downloaded_config, stretched_beyond, text_config, window_of
from ftkit.runs.lines import append_line

LONG = dict(rope_scaling=dict(rope_type='longrope'), original_max_position_embeddings=512)
FULL, BEST = dict(how='full', method='sft'), dict(best_step=3, steps=7)

def rows_of(run, *rows, kind='examples'): (run/'data'/'extract'/f'{kind}.jsonl').write_text(''.join(json.dumps(r)+'\n' for r in rows))
def scored(score): return dict(instruction='i', input='q', output='a', metadata=dict(score=score))
def base_of(run, **config):
    write_json(run/'base'/'config.json', config)
    change(run, 'plan.json', base_model=str(run/'base'))
def change(run, file, **values): write_json(run/file, {**read_json(run/file), **values})
def trained(run, metrics=(), **values): change(run, 'data/train/trained.json', **values, metrics={**OLD['data/train/trained.json']['metrics'], **dict(metrics)})
def started_again(run): append_line(run/'events.jsonl', dict(time='2026-01-31T13:00:00+00:00', what='started', stage='train'))
def away(run):
    change(run, 'plan.json', base_model='acme/nowhere')
    change(run, 'train.json', base='/nowhere')

TOUCHED = { # fault: what happened -> how it is known
    'scores': [(lambda r: rows_of(r, scored(4), scored(.5)), 'seen'), (lambda r: rows_of(r, scored(-.1)), 'seen'), (lambda r: rows_of(r, scored(1.)), 'not recorded'), (lambda r: None, 'not recorded'), # the rows are gone
        (lambda r: rows_of(r, dict(session_id='s', session_score=3, turns=[], metadata={}), kind='trajectories'), 'seen'), (lambda r: rows_of(r, dict(turns=[dict(metadata=dict(score=2))], metadata={}), kind='trajectories'), 'seen'),
        (lambda r: rows_of(r, dict(prompt='q', answers=['a', 'b'], scores=[5, 1], metadata={}), kind='rankings'), 'not recorded')],
    'windows': [(lambda r: base_of(r, model_type='gpt_oss', sliding_window=128), 'seen'), (lambda r: base_of(r, model_type='gemma3', text_config=dict(model_type='gemma3_text')), 'seen'), (lambda r: base_of(r, model_type='phi3', **LONG), 'seen'), (away, 'not recorded')],
    'checkpoints': [(lambda r: (base_of(r, model_type='mixtral'), trained(r, **FULL), started_again(r)), 'seen'), (lambda r: (base_of(r, model_type='qwen3_moe'), trained(r, BEST, **FULL)), 'seen'),
        (lambda r: (base_of(r, model_type='nemotron_h'), trained(r, how='full', method='combined')), 'seen'), (lambda r: (away(r), trained(r, BEST, **FULL)), 'not recorded')],
    'approvals': [(lambda r: write_json(r/'data'/'synthesize'/'dataset.json', dict(id='ds-0')), 'seen'), (lambda r: change(r, 'plan.json', dataset='ds-0'), 'not recorded')],
    'bases': [(started_again, 'not recorded'), (lambda r: append_line(r/'events.jsonl', dict(time='2026-01-31T13:00:00+00:00', what='loaded', stage='extract')), 'not recorded')],
    'answers': [(lambda r: base_of(r, model_type='rwkv'), 'seen'), (lambda r: base_of(r, model_type='llama', **{**LONG, 'rope_scaling': dict(type='dynamic')}), 'seen'), (away, 'not recorded')]}
SPARED = {
    'scores': [lambda r: rows_of(r, dict(scored(1), metadata={})), lambda r: rows_of(r)],
    'windows': [lambda r: base_of(r, model_type='llama'), lambda r: base_of(r, model_type='mistral', sliding_window=None), lambda r: base_of(r, model_type='mistral', sliding_window=4096), lambda r: base_of(r, model_type='qwen2', use_sliding_window=False, sliding_window=128),
        lambda r: (base_of(r, model_type='gpt_oss', sliding_window=128), trained(r, dict(computation='TRL: it has sliding attention'))), lambda r: base_of(r, model_type='phi3', **{**LONG, 'original_max_position_embeddings': 1024})],
    'checkpoints': [lambda r: (base_of(r, model_type='mixtral'), trained(r, BEST), started_again(r)), lambda r: (base_of(r, model_type='mixtral'), trained(r, **FULL)), lambda r: (base_of(r, model_type='llama'), trained(r, BEST, **FULL)), lambda r: (base_of(r, model_type='mixtral'), trained(r, dict(best_step=7, steps=7), **FULL))],
    'approvals': [lambda r: None], 'bases': [lambda r: None],
    'answers': [lambda r: base_of(r, model_type='llama'), lambda r: (base_of(r, model_type='rwkv'), (r/'data'/'evaluate'/'evaluation.json').unlink())]}

def cases(table): return [pytest.param(fault, n, id=f'{fault} {n}') for fault,some in table.items() for n in range(len(some))]
def answers(folder, fault): return [r['known'] for r in affected(folder) if r['fault']==fault]

def test_every_fault_has_runs_it_touched_and_runs_it_spared():
    assert set(TOUCHED)==set(SPARED)=={f.name for f in FAULTS}

@pytest.mark.parametrize('fault, n', cases(TOUCHED))
def test_a_run_that_may_have_been_touched_is_named(tmp_path, fault, n):
    happened, known = TOUCHED[fault][n]
    happened(old_run(tmp_path))
    assert answers(tmp_path, fault)==[known]

@pytest.mark.parametrize('fault, n', cases(SPARED))
def test_a_run_that_cannot_have_been_touched_is_not_named(tmp_path, fault, n):
    SPARED[fault][n](old_run(tmp_path))
    assert answers(tmp_path, fault)==[]

@pytest.mark.parametrize('version, touched', [(None, True), ('0.1.0', True), ('0.1.1', False), ('0.2.0', False), ('0.10.0', False), ('0.1.1.dev1', False)])
def test_only_versions_that_had_a_fault_are_asked(tmp_path, version, touched):
    folder = old_run(tmp_path)
    base_of(folder, model_type='gpt_oss', sliding_window=128)
    events = [json.loads(line) for line in (folder/'events.jsonl').read_text().splitlines()]
    (folder/'events.jsonl').write_text(''.join(json.dumps({**e, **(dict(ftkit=version) if version else {})})+'\n' for e in events))
    assert bool(affected(tmp_path))==touched

def test_a_training_that_an_earlier_version_began_is_asked_whoever_finished_it(tmp_path):
    folder = old_run(tmp_path)
    base_of(folder, model_type='gpt_oss', sliding_window=128)
    append_line(folder/'events.jsonl', dict(time='2027-01-31T13:00:00+00:00', what='started', stage='train', ftkit='0.1.1'))
    assert answers(tmp_path, 'windows')==['seen']

@pytest.mark.parametrize('made_by, touched', [('0.1.0', ['seen']), ('0.1.1', [])])
def test_a_stored_dataset_is_asked_by_the_version_that_made_it(fresh_home, tmp_path, made_by, touched):
    version = save_version(dict(train=dict(examples=InstructionDataset([InstructionExample('i', 'q', 'a', dict(score=5))]))))
    write_json(version.path/'manifest.json', {**version.manifest, 'code_version': made_by})
    folder = old_run(tmp_path/'runs')
    change(folder, 'plan.json', dataset=version.id)
    write_json(folder/'data'/'split'/'dataset.json', dict(id=version.id))
    (folder/'events.jsonl').write_text(json.dumps(dict(time='2027-01-01', what='started', stage='dataset', ftkit='0.2.0'))+'\n')
    assert answers(tmp_path/'runs', 'scores')==touched

def test_a_damaged_run_has_a_row_and_hides_no_other(tmp_path):
    (old_run(tmp_path)/'plan.json').write_text('{')
    base_of(old_run(tmp_path, 'sft_routing_20260131_130000'), model_type='gpt_oss', sliding_window=128)
    rows = affected(tmp_path)
    assert [(r['run'], r['known']) for r in rows if r['fault'] in ('', 'windows')]==[(NAME, 'damaged'), ('sft_routing_20260131_130000', 'seen')]
    assert affected(tmp_path/'nothing')==[]

def test_looking_changes_nothing_and_needs_no_network(tmp_path):
    folder = old_run(tmp_path)
    away(folder)
    before = {p: p.stat().st_mtime_ns for p in folder.rglob('*')}
    affected(tmp_path)
    assert {p: p.stat().st_mtime_ns for p in folder.rglob('*')}==before
    assert downloaded_config('../x') is None and downloaded_config('/etc/passwd') is None

def test_the_windows_of_configurations_as_they_are_published():
    "Against the defaults of transformers, for every architecture that is named"
    from transformers import CONFIG_MAPPING

    from ftkit.runs.faults import WINDOWED
    for kind in WINDOWED:
        given = text_config(json.loads(CONFIG_MAPPING[kind]().to_json_string()))
        assert window_of(given) and window_of(dict(model_type=kind))==0, kind
    for kind in ('llama', 'qwen2', 'qwen3', 'mixtral', 'phi3', 'starcoder2', 'smollm3'):
        assert window_of(text_config(json.loads(CONFIG_MAPPING[kind]().to_json_string()))) is None and window_of(dict(model_type=kind)) is None, kind
    assert stretched_beyond(dict(rope_scaling=dict(rope_type='llama3', original_max_position_embeddings=8192))) is None
