"Imports by the module paths of 0.1, for one version: each name is found where it is, with a warning."
import sys
import warnings
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.util import spec_from_loader
from types import ModuleType

MOVED = { # module of 0.1 -> the pages its names are on
    'backends.base': 'jobs.waiting jobs.job',
    'backends.local': 'jobs.local',
    'backends.training': 'jobs.training',
    'core': 'core disk display records',
    'data.approval': 'data.decisions data.approval_tables data.approval data.gate data.queue',
    'data.clean': 'data.near data.checks data.clean data.overlap words',
    'data.extract': 'data.calls data.rules data.verdicts data.outlines data.judged data.examples data.triplets data.trajectories data.extract',
    'data.split': 'data.certificate data.split',
    'data.synth': 'data.requests data.recombine data.screen data.synth',
    'data.version': 'data.version data.lineage',
    'data.dspy': 'data.dspy',
    'evals.judge': 'evals.judge',
    'train.dpo': 'train.dpo',
    'evals.compare': 'evals.sheet evals.verdict evals.pair evals.compare',
    'evals.metrics': 'evals.metrics words',
    'experiment': 'runs.experiment runs.export runs.history',
    'faults': 'runs.faults',
    'feedback': 'telemetry.feedback',
    'hub': 'adapters.store adapters.storage adapters.card adapters.inference',
    'messages': 'telemetry.messages',
    'models': 'model.load model.prompt model.windows model.score model.generate model.embed',
    'parcel': 'runs.parcel',
    'passport': 'model.weights model.passport',
    'phoenixdb': 'telemetry.phoenixdb',
    'pipeline': 'opening stages pipeline',
    'plan': 'plans.plan plans.resume plans.advice',
    'registry': 'adapters.record adapters.blobs adapters.schema adapters.versions adapters.register adapters.activate adapters.registry',
    'samples': 'telemetry.samples',
    'select': 'plans.select',
    'shared': 'model.tree',
    'spans': 'telemetry.spans',
    'telemetry': 'telemetry.wire telemetry.reading telemetry.provider telemetry.http telemetry.files telemetry.server telemetry.sending',
    'telemetry.provider': 'telemetry.reading',
    'telemetry.providers': 'telemetry.provider telemetry.http telemetry.files',
    'tiny': 'model.tiny',
    'track': 'runs.lines runs.run runs.metrics runs.watch runs.report',
    'train.base': 'train.lora train.log train.restore train.checkpoints train.base',
    'train.pretrain': 'model.pretrain',
    'widgets': 'panels.parts panels.approval panels.experiments',
}
RENAMED = { # page and name of 0.1 -> name on that page
    'adapters.card:figures': 'metric_rows',
    'adapters.registry:Back': 'AdapterRegistry',
    'adapters.registry:Listing': 'AdapterRegistry',
    'adapters.registry:Registering': 'AdapterRegistry',
    'adapters.registry:Serving': 'AdapterRegistry',
    'adapters.registry:Shelf': 'AdapterRegistry',
    'adapters.registry:Store': 'AdapterRegistry',
    'adapters.registry:Switch': 'AdapterRegistry',
    'adapters.registry:Versions': 'AdapterRegistry',
    'adapters.registry:sweep': 'remove_unnamed',
    'data.dspy:generate': 'generate_rows',
    'data.extract:known': 'check_agent',
    'data.near:asked': 'user_text',
    'data.queue:agreement': 'reviewer_agreement',
    'data.trajectories:unapproved': 'not_learned',
    'data.verdicts:rate': 'settle_verdicts',
    'evals.judge:Agreement': 'JudgeAgreement',
    'evals.judge:agreement': 'judge_agreement',
    'evals.judge:question': 'judge_prompt',
    'evals.pair:keep': 'keep_sheet',
    'jobs.waiting:outcome': 'training_result',
    'model.pretrain:batches_of': 'batches_of_tokens',
    'model.pretrain:curate': 'curate_corpus',
    'model.pretrain:pack': 'pack_rows',
    'model.pretrain:rate': 'rate_at',
    'model.score:accepted': 'forward_arguments',
    'model.tiny:seal': 'write_hashes',
    'panels.approval:check_keys': 'check_shortcuts',
    'plans.plan:Place': 'Location',
    'plans.select:missing': 'shortage',
    'runs.experiment:known': 'present',
    'runs.export:pending': 'is_pending',
    'stages:describe': 'describe_result',
    'telemetry.reading:Provider': 'TelemetryProvider',
    'telemetry.samples:review': 'sample_verdict',
    'telemetry.wire:ask': 'request',
    'train.base:watch': 'attach_callbacks',
    'train.dpo:shared_trainer': 'shared_dpo_trainer',
    'words:words': 'text_words',
}
HERE = {'core', 'data.approval', 'data.clean', 'data.extract', 'data.split', 'data.synth', 'data.version', 'data.dspy', 'evals.judge', 'evals.metrics', 'train.dpo', 'evals.compare', 'pipeline', 'telemetry', 'telemetry.provider', 'train.base'} # of these, the pages and rooms that are still there

def find(old:str, name:str):
    "The object that a module of 0.1 had under a name, the page it is on, and its name there."
    pages = MOVED[old].split()
    for page in pages:
        new = RENAMED.get(f'{page}:{name}')
        if new: return getattr(import_module(f'ftkit.{page}'), new), page, new
    for page in pages:
        module = import_module(f'ftkit.{page}')
        if name in vars(module): return getattr(module, name), page, name
    raise AttributeError(f"module 'ftkit.{old}' of ftkit 0.1 had no {name!r} that is still there")

def warn(old:str, name:str, page:str):
    "Say where a name is."
    warnings.warn(f'ftkit.{old} has moved: write `from ftkit.{page} import {name}`; the old path goes in the next version', DeprecationWarning, stacklevel=3)

class MovedModule(ModuleType):
    "Stands where a module of 0.1 was."
    def __getattr__(self, name):
        if name.startswith('__'): raise AttributeError(name)
        found, page, new = find(self.__name__.removeprefix('ftkit.'), name)
        warn(self.__name__.removeprefix('ftkit.'), new, page)
        return found

class MovedFinder(MetaPathFinder, Loader):
    "Finds the modules of 0.1 that are no more."
    def find_spec(self, fullname, path=None, target=None):
        old = fullname.removeprefix('ftkit.')
        if fullname.startswith('ftkit.') and old in MOVED and old not in HERE or fullname=='ftkit.backends': return spec_from_loader(fullname, self, is_package=fullname=='ftkit.backends')
    def create_module(self, spec): return MovedModule(spec.name)
    def exec_module(self, module): pass

def install():
    "Let old paths be imported."
    if not any(isinstance(f, MovedFinder) for f in sys.meta_path): sys.meta_path.insert(0, MovedFinder())

def old_attribute(old:str):
    "`__getattr__` for a room or page that has the path of a module of 0.1."
    def __getattr__(name):
        if name.startswith('__') or old not in MOVED: raise AttributeError(f"module 'ftkit.{old}' has no attribute {name!r}")
        try: found, page, new = find(old, name)
        except AttributeError: raise AttributeError(f"module 'ftkit.{old}' has no attribute {name!r}") from None
        warn(old, new, page)
        return found
    return __getattr__
