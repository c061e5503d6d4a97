"Old paths: modules of 0.1 are found for one version, each name with a warning that says where it is."
import subprocess, sys, warnings
from importlib import import_module

import pytest
from test_house import PKG, ROOT, bound, exported_names, modules

from ftkit._moved import HERE, MOVED, RENAMED

def old_name(module, name):
    "A name by its old path, and the warnings that came with it."
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter('always')
        found = getattr(import_module(module), name)
    return found, [str(w.message) for w in seen if w.category is DeprecationWarning and str(w.message).startswith('ftkit.')]

@pytest.mark.parametrize('old, name, page', [
    ('core', 'InstructionExample', 'records'), ('core', 'PreferenceDataset', 'records'), ('core', 'atomic_file', 'disk'), ('core', 'html_table', 'display'),
    ('telemetry', 'PhoenixProvider', 'telemetry.http'), ('telemetry', 'FileProvider', 'telemetry.files'), ('telemetry', 'send', 'telemetry.sending'), ('telemetry', 'phoenix', 'telemetry.server'),
    ('spans', 'Span', 'telemetry.spans'), ('samples', 'telemetry', 'telemetry.samples'), ('messages', 'for_template', 'telemetry.messages'), ('phoenixdb', 'PhoenixDatabaseProvider', 'telemetry.phoenixdb'),
    ('data.extract', 'Call', 'data.calls'), ('data.extract', 'direction_of', 'data.rules'), ('data.extract', 'Rating', 'data.verdicts'), ('data.extract', 'context_pairs', 'data.examples'),
    ('data.clean', 'jaccard', 'data.near'), ('data.split', 'check_certificate', 'data.certificate'), ('data.version', 'forget', 'data.lineage'), ('data.synth', 'OutputSpace', 'data.requests'), ('data.approval', 'edited', 'data.decisions'), ('data.approval', 'require_approved', 'data.gate'),
    ('tiny', 'tiny_base', 'model.tiny'), ('models', 'resolve_base', 'model.load'), ('models', 'generate', 'model.generate'), ('passport', 'check_adapter', 'model.passport'),
    ('plan', 'Plan', 'plans.plan'), ('plan', 'OrchestrationConfig', 'plans.plan'), ('plan', 'recommended', 'plans.advice'), ('select', 'choose', 'plans.select'),
    ('track', 'Run', 'runs.run'), ('track', 'list_runs', 'runs.report'), ('experiment', 'list_experiments', 'runs.history'), ('faults', 'affected', 'runs.faults'),
    ('backends.local', 'child_environment', 'jobs.local'), ('backends.base', 'Job', 'jobs.job'), ('backends.base', 'wait', 'jobs.waiting'), ('backends.training', 'TrainingBackend', 'jobs.training'),
    ('evals.compare', 'read_labels', 'evals.sheet'), ('registry', 'AdapterRegistry', 'adapters.registry'), ('registry', 'AdapterMetadata', 'adapters.record'), ('hub', 'upload_adapter', 'adapters.storage'), ('hub', 'write_card', 'adapters.card'),
    ('pipeline', 'check_plan', 'opening'), ('widgets', 'approval_panel', 'panels.approval'), ('widgets', 'experiments', 'panels.experiments'),
])
def test_a_name_is_found_by_its_old_path_with_a_warning(old, name, page):
    found, said = old_name(f'ftkit.{old}', name)
    assert found is getattr(import_module(f'ftkit.{page}'), name)
    assert said and all(f'from ftkit.{page} import {name}`' in s and f'ftkit.{old} has moved' in s for s in said)

@pytest.mark.parametrize('old', MOVED)
def test_every_page_of_the_table_is_there_and_all_it_exports_is_found(old):
    from ftkit._moved import find
    known = modules(PKG)
    for page in MOVED[old].split():
        lost = set(exported_names(known[page]))-bound(known[page])
        assert not lost, f'{page} exports {lost}'
    name = exported_names(known[MOVED[old].split()[-1]])[-1]
    assert find(old, name)[0] is not None

def test_names_that_a_page_uses_itself_are_there_without_a_warning():
    for name in ('examples', 'preference_pairs', 'judge', 'AnnotationPolicy', 'trajectories'):
        found, said = old_name('ftkit.data.extract', name)
        assert found.__name__==name and said==[]

def test_what_is_here_and_what_is_gone_are_told_apart():
    there = {*modules(PKG), *(p.name for p in PKG.iterdir() if p.is_dir())}
    assert {old for old in MOVED if old in there}==HERE, '`HERE` names the old paths that a page or a room has too'

@pytest.mark.parametrize('page, name', [('data.extract', 'TripletExtractor'), ('data.extract', 'Extraction'), ('core', 'FtkitError'), ('data.split', 'split'), ('data.clean', 'clean'), ('evals.compare', 'evaluate'), ('pipeline', 'finetune'), ('train.base', 'fit')])
def test_a_page_that_is_still_there_warns_only_for_what_moved(page, name):
    found, said = old_name(f'ftkit.{page}', name)
    assert found.__name__==name and said==[]

@pytest.mark.parametrize('statement', ['import ftkit.plan; ftkit.plan.Plan', 'import ftkit.backends.local as b; b.child_environment', 'from ftkit.registry import AdapterRegistry', 'from ftkit.telemetry import PhoenixProvider', 'from ftkit.data.extract import (\n    judge, Rating)', 'from ftkit import plan; plan.Plan'])
def test_old_code_runs_in_a_process_of_its_own_and_is_told(statement):
    r = subprocess.run([sys.executable, '-W', 'default::DeprecationWarning', '-c', statement], cwd=ROOT, capture_output=True, text=True)
    assert r.returncode==0 and 'has moved: write `from ftkit.' in r.stderr, r.stderr
    assert '<string>:' in r.stderr, 'the warning points at the line that has the old path'

@pytest.mark.parametrize('module', ['plan', 'registry', 'core', 'data.extract', 'telemetry', 'backends.local', 'pipeline'])
def test_an_unknown_name_is_an_error_that_names_it(module):
    there = import_module(f'ftkit.{module}')
    with pytest.raises(AttributeError, match="'nothing_of_this_name'"): getattr(there, 'nothing_of_this_name')  # noqa: B009
    with pytest.raises(ImportError, match='nothing_of_this_name'): exec(f'from ftkit.{module} import nothing_of_this_name')
    assert not hasattr(there, 'nothing_of_this_name')

def test_a_module_that_never_was_is_not_found():
    with pytest.raises(ModuleNotFoundError, match='ftkit.plans_of_old'): import_module('ftkit.plans_of_old')
    with pytest.raises(ModuleNotFoundError, match='ftkit.backends.modal'): import_module('ftkit.backends.modal')

@pytest.mark.parametrize('entry', RENAMED)
def test_a_name_that_is_called_otherwise_is_found_under_its_old_name(entry):
    page, old = entry.split(':')
    path = next(path for path,pages in MOVED.items() if page in pages.split())
    found, said = old_name(f'ftkit.{path}', old)
    assert found is getattr(import_module(f'ftkit.{page}'), RENAMED[entry])
    assert said and all(f'from ftkit.{page} import {RENAMED[entry]}`' in s for s in said)
