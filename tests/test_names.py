"Names that users' notebooks hold do what the notebooks expect of them."
import copy, json, pickle
from dataclasses import asdict, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from adapters import toy_adapter

import ftkit
from ftkit import hub
from ftkit.core import Accounting, FtkitError, content_hash, to_json
from ftkit.disk import write_json
from ftkit.records import (
    ConversationTrajectory, ConversationTurn, InstructionDataset, InstructionExample,
    PreferenceDataset, PreferencePair, Ranking, RankingDataset, TrajectoryDataset, Triplet,
    TripletDataset)
from ftkit.data.formats import format_alpaca_text, format_chat, format_dpo, format_triplets
from ftkit.data.version import load_version, save_version
from ftkit.adapters.registry import AdapterRegistry
from ftkit.telemetry.files import FileProvider
from ftkit.telemetry.http import PhoenixProvider

WHAT = dict(tenant_id='acme', base_model='acme/tiny', model_type='llm', training_method='sft', agent_type='routing')

@pytest.mark.parametrize('name', ['LocalStorage', 'HuggingFaceStorage', 'InstructionFormatter', 'TelemetryProvider', 'list_runs', 'affected'])
def test_names_are_found_in_the_package(name): assert name in ftkit.__all__ and getattr(ftkit, name).__doc__

# ---- adapters

@pytest.fixture
def registry(tmp_path): return AdapterRegistry(f'sqlite:///{tmp_path}/registry.db', tmp_path/'registry')

@pytest.fixture
def folder(tmp_path): return toy_adapter(tmp_path/'a')

def test_the_adapter_in_use_names_a_place_that_resolves_after_a_plain_local_run(registry, folder):
    assert hub.get_active_adapter_for_inference('acme', 'routing', registry) is None
    registry.activate_adapter(registry.register_adapter(name='router', version='1.0.0', adapter_path=folder, **WHAT))
    info = hub.get_active_adapter_for_inference('acme', 'routing', registry)
    assert info.adapter_uri.startswith('file:///') and hub.resolve_adapter_path(info.adapter_uri)==hub.resolve_adapter_path(info, registry)==hub.get_active_adapter_path('acme', 'routing', registry)==Path(info.adapter_path)

def test_an_adapter_that_was_uploaded_names_the_place_it_was_uploaded_to(registry, folder, tmp_path):
    uri = hub.upload_adapter(folder, f'file://{tmp_path}/shared/my router')
    registry.activate_adapter(registry.register_adapter(name='router', version='1.0.0', adapter_path=folder, adapter_uri=uri, **WHAT))
    assert hub.get_active_adapter_for_inference('acme', 'routing', registry).adapter_uri==uri and hub.resolve_adapter_path(uri)==tmp_path/'shared'/'my router'

class Service(hub.AdapterAwareMixin):
    def __init__(self, tenant_id=None):
        self.loaded = []
        if tenant_id: self.tenant_id = tenant_id
    def load_adapter(self, record): self.loaded.append(record and record.ref)

def test_an_object_with_a_tenant_names_its_agent_alone(registry, folder):
    registry.activate_adapter(registry.register_adapter(name='router', version='1.0.0', adapter_path=folder, **WHAT))
    mine, other, nobody = Service('acme'), Service('globex'), Service()
    path = hub.get_active_adapter_path('acme', 'routing', registry)
    assert mine.load_adapter_if_available('routing', registry=registry)==mine.load_adapter_if_available('acme', 'routing', registry)==path and mine.loaded==['acme/router@1.0.0']
    assert other.load_adapter_if_available('routing', registry=registry) is None and other.load_adapter_if_available('acme', 'routing', registry)==path
    with pytest.raises(FtkitError, match="whose 'routing'.*self.tenant_id"): nobody.load_adapter_if_available('routing', registry=registry)

def test_a_download_replaces_an_earlier_one_when_it_is_whole_and_readers_keep_the_old_files(folder, tmp_path):
    newer = toy_adapter(tmp_path/'b', seed=1)
    target = hub.download_adapter(str(folder), tmp_path/'router')
    first = hub.folder_hash(target)
    with open(target/'adapter_model.safetensors', 'rb') as reader:
        assert hub.download_adapter(str(newer), target)==target and hub.folder_hash(target)==hub.folder_hash(newer)!=first
        assert reader.read()==(folder/'adapter_model.safetensors').read_bytes()
    assert hub.folder_hash(tmp_path/'.router.before')==first
    hub.download_adapter(str(folder), target), hub.download_adapter(str(folder), target)
    assert hub.folder_hash(target)==first and sorted(p.name for p in tmp_path.iterdir())==['.router.before', 'a', 'b', 'router']

def test_a_download_that_fails_leaves_the_earlier_one(folder, tmp_path):
    target = hub.download_adapter(str(folder), tmp_path/'router')
    bad = toy_adapter(tmp_path/'b', seed=1)
    (bad/'adapter_model.bin').write_bytes(b'\x80\x02')
    with pytest.raises(FtkitError): hub.download_adapter(str(bad), target)
    assert hub.folder_hash(target)==hub.folder_hash(folder) and not (tmp_path/'.router.before').exists()

@pytest.mark.parametrize('make', [lambda t: (t/'data.csv').write_text('1'), lambda t: (t/'adapter_model.safetensors').unlink(), lambda t: write_json(t.parent/'run.json', dict(state='finished')), lambda t: (t/'link').symlink_to('/etc/hosts')])
def test_what_is_not_an_earlier_download_is_not_replaced(folder, tmp_path, make):
    target = hub.download_adapter(str(folder), tmp_path/'x'/'router')
    make(target)
    before = {p.name: p.read_bytes() for p in target.iterdir()}
    with pytest.raises(FtkitError): hub.download_adapter(str(toy_adapter(tmp_path/'b', seed=1)), target)
    assert {p.name: p.read_bytes() for p in target.iterdir()}==before

def test_an_upload_never_replaces(folder, tmp_path):
    uri = hub.upload_adapter(folder, f'file://{tmp_path}/shared/router')
    with pytest.raises(FtkitError, match='already holds something else'): hub.upload_adapter(toy_adapter(tmp_path/'b', seed=1), uri)

def test_storages_carry_adapters_by_name_and_by_uri(folder, tmp_path, monkeypatch):
    shelf = hub.LocalStorage(tmp_path/'my shelf')
    uri = shelf.upload(folder, 'router/v1')
    assert uri==hub.file_uri(tmp_path/'my shelf'/'router'/'v1')
    for n,name in enumerate(('router/v1', uri)): assert hub.folder_hash(shelf.download(name, tmp_path/str(n)))==hub.folder_hash(folder)
    storage = hub.HuggingFaceStorage('s3cr3t')
    assert 's3cr3t' not in repr(storage)
    with pytest.raises(FtkitError, match='names no repository'): storage.upload(folder, 'no-repository')
    with pytest.raises(FtkitError, match='names no repository'): storage.download('hf://no-repository', tmp_path/'x')

# ---- datasets

PAIR, TRIPLET, TURN = PreferencePair('q', 'a', 'b'), Triplet('q', 'a', 'b'), dict(turn_id=0, query='q', response='a', span_id='s')
SETS = dict(examples=InstructionDataset([InstructionExample('i', 'q', 'a')]), pairs=PreferenceDataset([PAIR]), triplets=TripletDataset([TRIPLET]), rankings=RankingDataset([Ranking('q', ('a', 'b'), (1, 0))]),
    trajectories=TrajectoryDataset([ConversationTrajectory('c', [ConversationTurn(timestamp='2026-01-31T12:00:00Z', **TURN)])]))

@pytest.mark.parametrize('name', SETS)
def test_a_dataset_gives_its_records_by_their_name_and_tells_its_counts(name):
    ds = SETS[name]
    assert getattr(ds, name)==list(ds) and ds.metadata==dict(count=1, accounting=dict(seen=1, kept=1, dropped={}, what='records'), annotations=None)
    counted = type(ds)(ds, Accounting(3, 1, dict(empty=2), 'spans'), Accounting(2, 2, {}, 'annotations')).metadata
    assert counted['accounting']['dropped']==dict(empty=2) and counted['annotations']['seen']==2 and json.loads(json.dumps(counted))==counted

def test_a_whole_dataset_is_formatted_row_by_row():
    "Though it has metadata, as a record does"
    for ds,form in ((SETS['examples'], format_alpaca_text), (SETS['pairs'], format_dpo), (SETS['triplets'], format_triplets), (SETS['examples'], format_chat)): assert form(ds)==[form(ds[0])]

def test_the_formatter_is_the_functions():
    form = ftkit.InstructionFormatter
    assert form.format_alpaca_text(SETS['examples'])==form().format_alpaca_text(SETS['examples'])==format_alpaca_text(SETS['examples'])
    assert form.format_dpo(PAIR, chat=True)==format_dpo(PAIR, chat=True)

# ---- times of turns

def turn(timestamp): return ConversationTurn(timestamp=timestamp, **TURN)

TIMES = ['2026-01-31T12:00:00+00:00', '2026-01-31T12:00:00Z', '2026-01-31T12:00:00', '2026-01-31T12:00:00.5+00:00', '2026-01-31T13:00:00.123456+01:00', '2026-01-31 12:00:00+00:00', '2026-01-31', '', 'yesterday', '٢٠٢٦']

@pytest.mark.parametrize('text', TIMES)
def test_a_time_is_written_as_it_was_read_whatever_is_done_with_its_turn(text, tmp_path):
    t = turn(text)
    for same in (t, copy.copy(t), copy.deepcopy(t), pickle.loads(pickle.dumps(t)), replace(t, query='q'), ConversationTurn(**asdict(t)), ConversationTurn(**json.loads(to_json(t)))):
        assert json.loads(to_json(same))['timestamp']==text and same==t and str(same)==str(t)
    assert content_hash(t)==content_hash(dict(TURN, timestamp=text, metadata={})) and f"timestamp='{text}'" in str(t), 'as when it was a text'
    ds = TrajectoryDataset([ConversationTrajectory('c', [t])])
    for back in (TrajectoryDataset.load_jsonl(ds.save_jsonl(tmp_path/'t')), TrajectoryDataset.load_parquet(ds.save_parquet(tmp_path/'p'))): assert content_hash(back[0])==content_hash(ds[0]) and back==ds

@pytest.mark.parametrize('text', TIMES[:3])
def test_the_time_of_a_turn_is_a_datetime_in_utc(text):
    t = turn(text).timestamp
    assert isinstance(t, datetime) and t==datetime(2026, 1, 31, 12, tzinfo=timezone.utc) and t.year==2026 and f'{t:%H:%M}'=='12:00'
    later = t+timedelta(hours=1)
    assert later-t==timedelta(hours=1) and later.isoformat()=='2026-01-31T13:00:00+00:00' and t.isoformat(timespec='hours')=='2026-01-31T12+00:00'

def test_a_datetime_that_was_given_stays_what_it_was():
    given = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
    assert turn(given).timestamp is given and json.loads(to_json(turn(given)))['timestamp']=='2026-01-31T12:00:00+00:00'

def test_dataset_versions_keep_the_names_they_had_when_times_were_texts(fresh_home):
    turns = [turn(t) for t in TIMES]
    version = save_version(dict(train=dict(trajectories=TrajectoryDataset([ConversationTrajectory('c', turns, 'solved', 1., dict(time=TIMES[0]))]))), dict(tenant_id='acme', project='shop'))
    assert version.id=='ds-0357ede7532d' and load_version(version.id).train['trajectories'][0].turns==tuple(turns)

def test_providers_are_telemetry_providers(tmp_path):
    assert isinstance(FileProvider(tmp_path), ftkit.TelemetryProvider) and isinstance(PhoenixProvider('acme', 'shop'), ftkit.TelemetryProvider)
