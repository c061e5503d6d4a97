"What is taken from inside the libraries: it is there, it is in one place, and it acts."
import inspect
from configparser import ConfigParser
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from transformers import Trainer, TrainingArguments

from ftkit.core import FtkitError
from ftkit.records import InstructionExample
from ftkit.model.load import load_base, quietly
from ftkit.plans.plan import Adapter, Train
from ftkit.model.tiny import random_base
from ftkit.train.base import fit
from ftkit.train.checkpoints import checkpoints
from ftkit.train.lora import with_lora
from ftkit.train.methods import METHODS, PARAMETERS, open_method
from ftkit.train.sft import train_sft_rows
from ftkit.train.trl import PRIVATE, has_name, missing_names, own_trainer

ROOT = Path(__file__).parent.parent
NAMES = [(library, name, why) for library,names in PRIVATE.items() for name,why in names.items()]
ROWS = [InstructionExample('Route.', f'where is parcel {n}', 'delivery') for n in range(8)]

@pytest.mark.parametrize('library,name,why', NAMES, ids=[name for _,name,_ in NAMES])
def test_a_private_name_is_in_the_installed_version(library, name, why):
    assert has_name(name), f'{library} {version(library)} broke it: {name} is gone, which {why}. Find its new place in nbs/39_train.trl.ipynb, or end {library} below {version(library)} in settings.ini'

@pytest.mark.parametrize('gone', ['trl:DPOTrainer._align', 'trl.trainer.nowhere:use_adapter', 'transformers.trainer:Trainer._gone', 'transformers.trainer:Pilot._train', 'accelerate.utils.memory:gone'])
def test_a_name_that_is_gone_is_found_missing(gone):
    assert not has_name(gone)
    line, = missing_names({'transformers': {gone: 'is needed'}})
    assert line==f'transformers {version("transformers")} has no {gone}, which is needed'

@pytest.mark.parametrize('library', PRIVATE)
def test_a_library_whose_inside_is_used_has_versions_from_and_to(library):
    config = ConfigParser(delimiters=['='])
    config.read(ROOT/'settings.ini')
    needed = {r.name: r.specifier for r in map(Requirement, config['DEFAULT']['requirements'].split())}
    assert {s.operator for s in needed[library]}=={'>=', '<'}, f'{library}{needed[library]}'
    assert version(library) in needed[library]

def test_all_methods_are_called_alike():
    functions = {step.train for name in METHODS for step in open_method(name)}
    called = {tuple((p.name, p.default) for p in inspect.signature(f).parameters.values()) for f in functions}
    assert len(functions)==4 and called=={tuple((p.name, p.default) for p in PARAMETERS)}

def opened(adapter=None):
    base = load_base(random_base(), dtype='float32', device='cpu')
    return with_lora(base.model, adapter or Adapter())[0], base.tokenizer

def test_no_model_card_is_written_into_a_checkpoint(tmp_path):
    model, tokenizer = opened()
    with quietly(): train_sft_rows(model, tokenizer, ROWS, [], Train(epochs=1, save_steps=1), tmp_path, tmp_path/'checkpoints')
    kept = checkpoints(tmp_path/'checkpoints')
    assert kept and not [p for c in kept for p in c.rglob('README.md')]

def some_trainer(kind, place, **more):
    args = TrainingArguments(str(place/'writing'), per_device_train_batch_size=2, num_train_epochs=1, report_to='none', disable_tqdm=True, use_cpu=True)
    return kind(model=opened()[0], args=args, train_dataset=[dict(input_ids=[n, 6, 7], labels=[n, 6, 7]) for n in range(10, 14)], **more)

def test_a_trainer_writes_no_card_even_when_it_is_asked(tmp_path):
    for kind,there in ((Trainer, True), (own_trainer(Trainer), False)):
        with quietly(): some_trainer(kind, tmp_path/kind.__name__).create_model_card()
        assert (tmp_path/kind.__name__/'writing'/'README.md').exists()==there

def test_the_order_of_the_rows_is_that_of_the_own_sampler(tmp_path):
    from transformers import TrainerCallback
    seen = []
    class Look(TrainerCallback):
        def on_batch(self, args, state, control, inputs=None, **kw): seen.append(inputs['input_ids'][:, 0].tolist())
    class Backwards(own_trainer(Trainer)):
        def train_sampler(self): return range(3, -1, -1)
    with quietly(): some_trainer(Backwards, tmp_path, callbacks=[Look]).train()
    assert seen==[[13, 12], [11, 10]]

def test_a_trainer_that_would_not_tell_of_its_losses_is_refused(tmp_path):
    with pytest.raises(FtkitError, match='a Trainer does not tell its callbacks of every loss'): fit(some_trainer(Trainer, tmp_path), tmp_path, Train())

def test_a_trainer_that_takes_up_a_checkpoint_its_own_way_is_stopped(tmp_path):
    class Renamed(own_trainer(Trainer)): # as when the method that we override has another name
        _load_from_checkpoint = Trainer._load_from_checkpoint
    settings = Train(epochs=1, save_steps=1)
    def train(kind):
        with quietly(): return fit(some_trainer(kind, tmp_path/'checkpoints'), tmp_path, settings)
    train(Renamed)
    with pytest.raises(FtkitError, match='took up a checkpoint its own way'): train(Renamed)
    assert train(own_trainer(Trainer))['steps']==2
