"Adapters out and in: at the wire of a hub, on a disk that is not empty, through names, into a model."
import json, os, shutil, subprocess, sys, tempfile
from pathlib import Path
import pytest
from adapters import toy_adapter, toy_weights
from hub_stub import Hub
from ftkit import hub
from ftkit.core import FtkitError, check_name, file_hash
from ftkit.model.passport import check_adapter, write_passport
from ftkit.model.weights import AdapterRefused, inventory, tree_hash
from ftkit.adapters.registry import AdapterRegistry
from ftkit.adapters.store import METHODS_OF_A_STORE, STORES, open_store

WHAT = dict(base_model='acme/tiny', model_type='llm', training_method='sft', agent_type='routing')

@pytest.fixture
def registry(tmp_path): return AdapterRegistry(f'sqlite:///{tmp_path/"r.db"}', tmp_path/'registry')

@pytest.fixture
def folder(tmp_path): return toy_adapter(tmp_path/'adapter')

# ---- folders

def test_a_place_that_holds_the_same_is_a_success_and_another_is_not_overwritten(tmp_path, folder):
    place = f'file://{tmp_path}/shared/röuter 1'
    uri = hub.upload_adapter(folder, place)
    assert hub.upload_adapter(folder, place)==uri and hub.split_uri(uri)==('file', f'{tmp_path}/shared/röuter 1')
    with pytest.raises(FtkitError, match='already holds something else'): hub.upload_adapter(toy_adapter(tmp_path/'b', seed=1), place)
    assert hub.folder_hash(tmp_path/'shared'/'röuter 1')==hub.folder_hash(folder)
    assert sorted(p.name for p in (tmp_path/'shared').iterdir())==['röuter 1']

def test_an_empty_folder_is_filled_and_a_file_is_not(tmp_path, folder):
    (tmp_path/'empty').mkdir(); (tmp_path/'file').write_text('x')
    assert hub.folder_hash(hub.download_adapter(f'file://{folder}', tmp_path/'empty'))==hub.folder_hash(folder)
    with pytest.raises(FtkitError, match='already holds something else'): hub.download_adapter(str(folder), tmp_path/'file')

def test_what_must_not_be_loaded_is_neither_sent_nor_received(tmp_path, folder):
    (folder/'adapter_model.bin').write_bytes(b'\x80\x02')
    with pytest.raises(AdapterRefused, match='pickle'): hub.upload_adapter(folder, f'file://{tmp_path}/shared/a')
    with pytest.raises(AdapterRefused, match='pickle'): hub.download_adapter(f'file://{folder}', tmp_path/'here')
    assert not (tmp_path/'shared').exists() and not (tmp_path/'here').exists()

@pytest.mark.parametrize('bad', ['ftp://x/y', 'file://host/x', 'file:relative', 'hf://onlyone', 'hf://a/b/c', 'hf://../x', 'hf://a/b@../../x', 'hf://-a/b', 'hf://a/b@', 'ftkit://acme/router', 'ftkit://acme', 'ftkit://a/b@c@d', '', 's3://bucket/x'])
def test_a_uri_that_names_nothing_is_refused(bad, registry):
    with pytest.raises(FtkitError): hub.resolve_adapter_path(bad, registry)

# ---- the hub, at the wire

@pytest.fixture
def remote():
    server = Hub()
    yield server
    server.stop()

def elsewhere(remote, tmp_path, *calls, offline='0', token='hf_good'):
    "What each call prints or is refused with, in a process that knows this hub only"
    env = {**os.environ, 'HF_ENDPOINT': remote if isinstance(remote, str) else remote.url, 'HF_HUB_OFFLINE': offline, 'HF_HUB_DISABLE_TELEMETRY': '1', 'HF_HUB_DISABLE_PROGRESS_BARS': '1', 'HF_HOME': str(tmp_path/'hf'), 'HF_TOKEN': token, 'FTKIT_HOME': str(tmp_path/'home')}
    head = 'from ftkit.adapters.storage import *\nfrom ftkit.adapters.card import *\nfrom ftkit.adapters.inference import *\nfrom ftkit.core import FtkitError\n'
    body = '\n'.join(f'try: print({call})\nexcept FtkitError as e: print("REFUSED", e)\nprint("\\0")' for call in calls)
    got = subprocess.run([sys.executable, '-c', head+body], env=env, capture_output=True, text=True, timeout=120)
    assert got.returncode==0, got.stderr[-2000:]
    said = [text.strip() for text in got.stdout.split('\0')[:-1]]
    assert len(said)==len(calls)
    return said if len(calls)>1 else said[0]

def test_up_to_a_hub_and_down_again(remote, tmp_path, folder):
    uri = elsewhere(remote, tmp_path, f'upload_adapter({str(folder)!r}, "hf://acme/router")')
    assert uri==f'hf://acme/router@{remote.sha("acme/router")}' and remote.created['acme/router']=='private'
    back = elsewhere(remote, tmp_path, f'download_adapter({uri!r}, {str(tmp_path/"back")!r})')
    assert hub.folder_hash(back)==hub.folder_hash(folder)

def test_a_revision_is_made_and_a_commit_is_fetched_once(remote, tmp_path, folder):
    _, first = elsewhere(remote, tmp_path, f'upload_adapter({str(folder)!r}, "hf://acme/router@v2")', 'resolve_adapter_path("hf://acme/router")')
    assert ('POST', '/api/models/acme/router/branch/v2') in remote.asked
    asked = len(remote.asked)
    again = elsewhere(remote, tmp_path, f'resolve_adapter_path("hf://acme/router@{remote.sha("acme/router")}")')
    assert first==again and len(remote.asked)==asked and hub.folder_hash(first)==hub.folder_hash(folder)
    toy_adapter(folder, seed=1)
    _, newer = elsewhere(remote, tmp_path, f'upload_adapter({str(folder)!r}, "hf://acme/router")', 'resolve_adapter_path("hf://acme/router")')
    assert newer!=first and hub.folder_hash(newer)==hub.folder_hash(folder)

def test_a_pickle_or_a_script_on_a_hub_never_reaches_the_disk(remote, tmp_path, folder):
    remote.repos['evil/router'] = {**{p.name: p.read_bytes() for p in folder.iterdir()}, 'training_args.bin': b'\x80\x02', 'modeling.py': b'import os', '.gitattributes': b''}
    back = Path(elsewhere(remote, tmp_path, f'download_adapter("hf://evil/router", {str(tmp_path/"back")!r})'))
    assert sorted(p.name for p in back.iterdir())==['adapter_config.json', 'adapter_model.safetensors']
    assert not [a for a in remote.asked if 'training_args' in a[1] or 'modeling' in a[1]]

def test_a_bad_adapter_on_a_hub_leaves_nothing_behind(remote, tmp_path, folder):
    remote.repos['evil/router'] = {'adapter_config.json': (folder/'adapter_config.json').read_bytes().replace(b'null', b'{"parent_library": "os"}', 1), 'adapter_model.safetensors': (folder/'adapter_model.safetensors').read_bytes()}
    said = elsewhere(remote, tmp_path, f'download_adapter("hf://evil/router", {str(tmp_path/"back")!r})')
    assert 'REFUSED' in said and 'auto_mapping' in said and not (tmp_path/'back').exists()

@pytest.mark.parametrize('fault, token, says', [(None, 'hf_wrong', '401'), (404, 'hf_good', '404'), (403, 'hf_good', '403')])
def test_a_hub_that_refuses_is_named_with_what_to_do(remote, tmp_path, folder, fault, token, says):
    remote.fault = fault
    for said in elsewhere(remote, tmp_path, f'upload_adapter({str(folder)!r}, "hf://acme/router")', f'download_adapter("hf://acme/router", {str(tmp_path/"back")!r})', 'resolve_adapter_path("hf://acme/router")', token=token):
        assert said.startswith('REFUSED could not') and says in said and 'HF_TOKEN' in said and '\n' not in said
        assert token not in said
    assert not (tmp_path/'back').exists()

def test_no_network_is_one_clear_sentence(tmp_path, folder):
    for endpoint, offline in (('http://127.0.0.1:9', '0'), ('http://127.0.0.1:9', '1')):
        for said in elsewhere(endpoint, tmp_path, f'upload_adapter({str(folder)!r}, "hf://acme/router")', f'download_adapter("hf://acme/router", {str(tmp_path/"back")!r})', offline=offline):
            assert said.startswith('REFUSED could not') and 'HF_HUB_OFFLINE' in said and '\n' not in said, said
    assert not (tmp_path/'back').exists()

# ---- a store of one's own

def store_of_the_page():
    "The store that the page of the contract writes"
    page = json.loads((Path(__file__).parent.parent/'nbs'/'80_adapters'/'05_store.ipynb').read_text())
    source, = [''.join(c['source']) for c in page['cells'] if 'class ZipStore' in ''.join(c['source'])]
    names = dict(os=os, shutil=shutil, tempfile=tempfile, Path=Path, FtkitError=FtkitError, check_name=check_name,
        file_hash=file_hash, inventory=inventory, tree_hash=tree_hash)
    exec(source, names)
    return names['ZipStore']

@pytest.fixture
def zips(tmp_path, monkeypatch, fresh_home):
    "The folder of a store under `zip://`"
    (tmp_path/'zips').mkdir()
    monkeypatch.setitem(STORES, 'zip', store_of_the_page()(tmp_path/'zips'))
    return tmp_path/'zips'

def test_a_store_of_ones_own_is_uploaded_to_resolved_and_served_from(tmp_path, folder, registry, zips):
    uri = hub.upload_adapter(folder, 'zip://router')
    assert uri.startswith('zip://router@') and hub.upload_adapter(folder, 'zip://router')==uri and len(list(zips.iterdir()))==1
    assert hub.folder_hash(hub.resolve_adapter_path('zip://router'))==hub.folder_hash(hub.download_adapter(uri, tmp_path/'back'))==hub.folder_hash(folder)
    registry.activate_adapter(registry.register_adapter('acme', 'router', None, adapter_path=folder, adapter_uri=uri, **WHAT))
    there = AdapterRegistry(registry.url, tmp_path/'other machine')
    record = hub.get_active_adapter_for_inference('acme', 'routing', there)
    assert record.adapter_uri==uri and tmp_path/'other machine' in Path(record.adapter_path).parents
    class Service(hub.AdapterAwareMixin):
        def load_adapter(self, record): self.loaded = hub.folder_hash(record.adapter_path)
    service = Service()
    service.load_adapter_if_available('acme', 'routing', there)
    assert service.loaded==hub.folder_hash(folder)

def test_what_a_store_gave_once_is_kept_by_its_pinned_place(folder, zips):
    first = hub.upload_adapter(folder, 'zip://router')
    here = hub.resolve_adapter_path('zip://router')
    second = hub.upload_adapter(toy_adapter(folder, seed=1), 'zip://router')
    os.utime(zips/f'{first.removeprefix("zip://")}.zip', (1, 1))
    assert second!=first and hub.resolve_adapter_path('zip://router')==hub.resolve_adapter_path(second)!=here
    (zips/f'{second.removeprefix("zip://")}.zip').write_bytes(b'not read again')
    assert hub.folder_hash(hub.resolve_adapter_path(second))==hub.folder_hash(folder) and hub.resolve_adapter_path(first)==here

def test_two_stores_that_call_a_place_the_same_do_not_share_files(tmp_path, folder, zips, monkeypatch):
    other = toy_adapter(tmp_path/'other', seed=1)
    class Other:
        def upload(self, folder, place, token=None): return place
        def pinned(self, place, token=None): return place
        def download(self, place, folder, token=None): shutil.copytree(other, folder, dirs_exist_ok=True)
    monkeypatch.setitem(STORES, 'other', Other)
    uri = hub.upload_adapter(folder, 'zip://router')
    same = uri.replace('zip://', 'other://')
    assert [hub.folder_hash(hub.resolve_adapter_path(u)) for u in (uri, same)]==[hub.folder_hash(f) for f in (folder, other)]

def test_what_a_store_gives_is_checked_before_it_gets_its_name(tmp_path, folder, zips):
    (folder/'adapter_model.bin').write_bytes(b'\x80\x02')
    with pytest.raises(AdapterRefused, match='pickle'): hub.upload_adapter(folder, 'zip://router')
    assert list(zips.iterdir())==[]
    shutil.make_archive(str(zips/'router@0'), 'zip', folder)
    for call in (lambda: hub.resolve_adapter_path('zip://router@0'), lambda: hub.download_adapter('zip://router@0', tmp_path/'here')):
        with pytest.raises(AdapterRefused, match='pickle'): call()
    assert not (tmp_path/'here').exists() and not list((Path(os.environ['FTKIT_HOME'])/'adapters').glob('*/*'))

def test_a_store_that_breaks_the_contract_is_told_what_to_do(folder, monkeypatch):
    class Forgetful:
        def upload(self, folder, place, token=None): pass
        def pinned(self, place, token=None): return place
        def download(self, place, folder, token=None): pass
    monkeypatch.setitem(STORES, 'mine', Forgetful)
    with pytest.raises(FtkitError, match='returned None; let it return the place'): hub.upload_adapter(folder, 'mine://router')
    monkeypatch.setitem(STORES, 'mine', object())
    with pytest.raises(FtkitError, match='is no store: it lacks upload, pinned, download'): hub.upload_adapter(folder, 'mine://router')
    monkeypatch.delitem(STORES, 'mine')
    for call in (lambda: hub.upload_adapter(folder, 'mine://router'), lambda: hub.resolve_adapter_path('mine://router')):
        with pytest.raises(FtkitError, match="'mine' is not one of: file, hf"): call()

def test_every_store_of_the_package_keeps_the_contract():
    for scheme in STORES:
        for name in METHODS_OF_A_STORE: assert getattr(type(open_store(scheme)), name).__annotations__['place'] is str

def test_a_plan_may_name_a_store_of_ones_own_and_is_refused_before_any_work_when_there_is_none(zips):
    from ftkit.opening import check_plan
    from ftkit.plans.plan import Plan
    plan = Plan(project='p', model_type='llm', agent_type='routing', tenant_id='acme', base_model='ftkit-tiny', adapter_storage_uri='zip://router')
    assert check_plan(plan).is_dir()
    with pytest.raises(FtkitError, match="'s3' is not one of: file, hf, zip"): check_plan(plan.but(adapter_storage_uri='s3://bucket/router'))
    with pytest.raises(FtkitError, match="destination 'ftkit'"): check_plan(plan.but(adapter_storage_uri='ftkit://acme/router@1'))
    with pytest.raises(FtkitError, match='must be a URI'): plan.but(adapter_storage_uri='router')

# ---- names, services

def test_a_version_that_this_machine_lacks_is_fetched_from_where_it_is_kept(tmp_path, folder, registry):
    uri = hub.upload_adapter(folder, f'file://{tmp_path}/shared/router')
    a = registry.register_adapter('acme', 'router', '1.0.0', adapter_path=folder, adapter_uri=uri, **WHAT)
    registry.activate_adapter(a)
    there = AdapterRegistry(registry.url, tmp_path/'other machine')
    path = hub.get_active_adapter_path('acme', 'routing', there)
    assert path.is_dir() and tmp_path/'other machine' in path.parents and hub.resolve_adapter_path('ftkit://acme/router@1.0.0', there)==path

def test_files_fetched_from_elsewhere_must_be_the_ones_that_were_registered(tmp_path, folder, registry):
    a = registry.register_adapter('acme', 'router', '1.0.0', adapter_path=folder, adapter_uri=hub.upload_adapter(toy_adapter(tmp_path/'b', seed=3), f'file://{tmp_path}/shared/other'), **WHAT)
    registry.activate_adapter(a)
    for _ in range(2):
        with pytest.raises(FtkitError, match='not what was registered as acme/router@1.0.0'): hub.get_active_adapter_path('acme', 'routing', AdapterRegistry(registry.url, tmp_path/'other machine'))

def test_a_service_follows_the_switch_to_the_base_and_keeps_what_it_has_when_loading_fails(tmp_path, registry):
    ids = [registry.register_adapter('acme', 'router', None, adapter_path=toy_adapter(tmp_path/f'a{i}', seed=i), **WHAT) for i in range(2)]
    class Service(hub.AdapterAwareMixin):
        loaded, fail = (), False
        def load_adapter(self, record):
            if self.fail: raise RuntimeError('no memory')
            self.loaded += (record and record.version,)
    s = Service()
    assert s.load_adapter_if_available('acme', 'routing', registry) is None and s.loaded==()
    registry.activate_adapter(ids[0]); s.load_adapter_if_available('acme', 'routing', registry)
    registry.activate_adapter(ids[1]); s.fail = True
    with pytest.raises(RuntimeError): s.load_adapter_if_available('acme', 'routing', registry)
    assert s.adapter.id==ids[0]
    s.fail = False
    assert s.load_adapter_if_available('acme', 'routing', registry)==hub.get_active_adapter_path('acme', 'routing', registry)
    registry.deactivate(ids[1])
    assert s.load_adapter_if_available('acme', 'routing', registry) is None and s.loaded==('1.0.0', '1.0.1', None)

def test_every_version_has_a_name_and_a_number_of_its_own_for_vllm(tmp_path, registry):
    records = [registry.get_adapter(registry.register_adapter(t, n, v, adapter_path=toy_adapter(tmp_path/f'{i}', seed=i), **WHAT)) for i,(t,n,v) in enumerate([('a', 'b-c', '1'), ('a-b', 'c', '1'), ('a', 'b', '1'), ('a', 'b', '2')])]
    assert len({hub.lora_name(r) for r in records})==len({hub.lora_request(r)['lora_int_id'] for r in records})==4
    class LoRARequest:
        def __init__(self, lora_name, lora_int_id, lora_path): self.seen = lora_name, lora_int_id, lora_path
    assert hub.lora_request(records[0], LoRARequest).seen==tuple(hub.lora_request(records[0]).values())
    assert hub.lora_payload(records[0])=={k: hub.lora_request(records[0])[k] for k in ('lora_name', 'lora_path')}
    args = hub.vllm_args(records)
    assert args[:4]==['--enable-lora', '--max-lora-rank', '8', '--lora-modules'] and len(args)==8 and all(Path(m.split('=', 1)[1]).is_dir() for m in args[4:])
    assert hub.vllm_args([])==[]

@pytest.mark.parametrize('r, dora, says', [(9, False, '16'), (300, False, '320'), (600, False, 'more than vLLM serves'), (4, True, 'uses DoRA')])
def test_vllm_is_told_the_rank_it_needs_or_why_it_cannot(r, dora, says, tmp_path, registry):
    magnitudes = {k.replace('lora_A.weight', 'lora_magnitude_vector'): v[0] for k,v in toy_weights().items() if 'lora_A' in k}
    record = registry.get_adapter(registry.register_adapter('a', 'b', '1', adapter_path=toy_adapter(tmp_path/'a', tensors={**toy_weights(r=r), **(magnitudes if dora else {})}, r=r, lora_alpha=r, use_dora=dora), **WHAT))
    if says.isdigit(): assert hub.vllm_args([record])[2]==says
    else:
        with pytest.raises(FtkitError, match=says): hub.vllm_args([record])

# ---- the card

def test_the_hubs_own_reader_finds_figures_and_intervals_in_the_card(folder):
    from huggingface_hub import ModelCard
    write_passport(folder, 'acme/tiny', training_method='dpo', dataset='ds-7', metrics={'accuracy': dict(value=.9, low=.8, high=.96, n=40), 'eval_loss': .25, 'note': 'text'}, licence='mit', parents=['ad-1'])
    hub.write_card(folder, 'router', 'For the *desk*.')
    card = ModelCard.load(folder/'README.md')
    found = {r.metric_type: (r.metric_value, r.metric_args, r.dataset_name) for r in card.data.eval_results}
    assert found=={'accuracy': (.9, dict(low=.8, high=.96, n=40), 'ds-7'), 'eval_loss': (.25, None, 'ds-7')}
    assert (card.data.base_model, card.data.license, card.data.library_name)==('acme/tiny', 'mit', 'peft')
    for said in ('For the *desk*.', '0.8 to 0.96', 'continues from | ad-1', 'measure again'): assert said in card.text
    check_adapter(folder)

def test_the_card_replaces_what_training_left_and_needs_a_passport(tmp_path, folder):
    (folder/'README.md').write_text('from PEFT')
    with pytest.raises(FtkitError, match='no passport.json'): hub.write_card(folder, 'router')
    write_passport(folder, 'a|b<script>', metrics={'acc|<b>': 1.})
    front, _, text = hub.write_card(folder, 'x <i>').read_text().partition('\n---\n')
    before, _, code = text.partition('```python')
    text = before+code.partition('```')[2]
    assert 'from PEFT' not in text and not any(bad in text for bad in ('<script>', '<b>', '<i>', '|b')), 'what people typed is content, never markup'

# ---- into a model

@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    "A real adapter on the random base"
    import peft, torch
    from transformers import AutoModelForCausalLM
    from ftkit.model.tiny import random_base
    base, folder = random_base(), tmp_path_factory.mktemp('real')/'adapter'
    torch.manual_seed(0)
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), peft.LoraConfig(r=4, target_modules=['q_proj', 'v_proj'], task_type='CAUSAL_LM'))
    for n,p in model.named_parameters():
        if 'lora_B' in n: torch.nn.init.normal_(p, std=.1)
    model.save_pretrained(folder)
    write_passport(folder, str(base), base)
    return base, folder

def test_a_checked_adapter_loads_and_acts(trained):
    base, folder = trained
    assert hub.load_checked(base, folder).switchable

def test_an_adapter_without_effect_is_refused_after_loading(trained, tmp_path):
    import shutil
    from safetensors.numpy import load_file, save_file
    base, folder = trained
    faint = shutil.copytree(folder, tmp_path/'faint')
    weights = load_file(faint/'adapter_model.safetensors')
    save_file({k: v*(1e-30 if 'lora_B' in k else 1) for k,v in weights.items()}, faint/'adapter_model.safetensors') # not zero, and lost in every sum
    write_passport(faint, str(base), base)
    with pytest.raises(AdapterRefused, match='changes nothing') as e: hub.load_checked(base, faint)
    assert e.value.reason=='no effect'

def test_nothing_is_loaded_when_the_files_are_refused(trained, tmp_path, monkeypatch):
    import shutil
    base, folder = trained
    spoiled = shutil.copytree(folder, tmp_path/'spoiled')
    from safetensors.numpy import save_file
    save_file(toy_weights(), spoiled/'adapter_model.safetensors')
    monkeypatch.setattr('transformers.AutoModelForCausalLM.from_pretrained', lambda *a, **k: pytest.fail('it was loaded'))
    with pytest.raises(AdapterRefused): hub.load_checked(base, spoiled)
