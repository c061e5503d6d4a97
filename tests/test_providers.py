"Providers name themselves in a plan, are opened again by that name, and keep their secrets."
import asyncio, base64, json, sqlite3, sys
from importlib import import_module
from inspect import signature
from types import ModuleType

import httpx
import pytest
from test_house import PKG

from ftkit.runs.export import keep_spans, send_kept, server_of
from ftkit.core import FtkitError, to_json
from ftkit.data.extract import extraction, pull
from ftkit.disk import read_json, write_json
from ftkit.telemetry.phoenixdb import PhoenixDatabaseProvider, without_password
from ftkit.telemetry.samples import telemetry
from ftkit.telemetry.files import FileProvider, save_telemetry
from ftkit.telemetry.http import PhoenixProvider
from ftkit.telemetry.reading import TelemetryProvider
from ftkit.telemetry.provider import Provider, PROVIDERS, describe_provider, open_provider
from ftkit.telemetry.wire import TelemetryError

SECRET = 's3cr3t'
NAMES = ('PHOENIX_COLLECTOR_ENDPOINT', 'PHOENIX_ENDPOINT', 'PHOENIX_API_KEY', 'PHOENIX_SQL_DATABASE_URL')

@pytest.fixture(autouse=True)
def nowhere(monkeypatch):
    for name in NAMES: monkeypatch.delenv(name, raising=False)

def again(provider, **how): return open_provider(json.loads(to_json(describe_provider(provider))), 'acme', 'shop', **how)

@pytest.mark.parametrize('endpoint, kept', [('http://phoenix:6006', 'http://phoenix:6006'), (f'https://ana:{SECRET}@phoenix.example.org', 'https://phoenix.example.org'), (f'http://{SECRET}@[::1]:6006/base/', 'http://[::1]:6006/base'),
    (f'phoenix:6006?api_key={SECRET}', 'http://phoenix:6006'), (f'http://a%40b:{SECRET}%2F@phoenix', 'http://phoenix')])
def test_a_phoenix_is_named_by_its_address_and_nothing_that_opens_it(endpoint, kept):
    provider = PhoenixProvider('acme', 'shop', endpoint, api_key=SECRET)
    assert describe_provider(provider)==dict(kind='phoenix', endpoint=kept)
    back = again(provider, api_key='k')
    assert type(back) is PhoenixProvider and (back.wire.endpoint, back.wire.api_key, back.tenant_id, back.project)==(kept, 'k', 'acme', 'shop') and describe_provider(back)==describe_provider(provider)
    assert SECRET not in repr(provider)+repr(provider.wire).replace(f"api_key='{SECRET}'", '')

def test_a_login_in_the_address_is_still_used_and_no_message_shows_it():
    heard = []
    def answer(request): heard.append(request.headers.get('authorization')); return httpx.Response(401)
    provider = PhoenixProvider('acme', 'shop', f'http://a%40b:{SECRET}@phoenix:6006', transport=httpx.MockTransport(answer))
    with pytest.raises(TelemetryError) as refused: asyncio.run(provider.projects())
    assert heard==['Basic '+base64.b64encode(f'a@b:{SECRET}'.encode()).decode()] and SECRET not in str(refused.value)
    for wrong in (f'http://:{SECRET}@', f'ftp://ana:{SECRET}@phoenix'):
        with pytest.raises(FtkitError) as refused: PhoenixProvider('acme', 'shop', wrong)
        assert SECRET not in str(refused.value)

def test_a_login_comes_back_from_the_environment_that_names_the_same_phoenix(monkeypatch):
    about = describe_provider(PhoenixProvider('acme', 'shop', f'http://ana:{SECRET}@phoenix:6006'))
    assert open_provider(about, 'acme', 'shop').wire.login is None
    monkeypatch.setenv('PHOENIX_COLLECTOR_ENDPOINT', 'http://bo:x@elsewhere:6006')
    assert (open_provider(about, 'acme', 'shop').wire.login, open_provider(about, 'acme', 'shop').wire.endpoint)==(None, 'http://phoenix:6006')
    monkeypatch.setenv('PHOENIX_ENDPOINT', f'http://ana:{SECRET}@phoenix:6006/')
    assert open_provider(about, 'acme', 'shop').wire.login==('ana', SECRET)

def test_what_was_sent_is_written_down_without_the_login(phoenix_server, tmp_path):
    from test_old_runs import old_run
    folder = old_run(tmp_path)
    write_json(folder/'plan.json', {**read_json(folder/'plan.json'), 'project': 'providers'}) # other tests count what is in theirs
    provider = PhoenixProvider('acme', 'providers', phoenix_server.endpoint.replace('//', f'//ana:{SECRET}@'))
    server = server_of(provider)
    assert server['login']==('ana', SECRET)
    keep_spans(folder)
    assert asyncio.run(send_kept(folder, server))['endpoint']==phoenix_server.endpoint
    assert not [p for p in folder.rglob('*') if p.is_file() and SECRET.encode() in p.read_bytes()]

def test_files_are_named_by_their_whole_path(tmp_path, monkeypatch):
    save_telemetry(tmp_path/'shop', *telemetry('routing', n=3))
    monkeypatch.chdir(tmp_path)
    provider = FileProvider('shop', 'acme')
    about = describe_provider(provider)
    assert about==dict(kind='file', path=str(tmp_path/'shop'))
    monkeypatch.chdir('/')
    back = again(FileProvider(tmp_path/'shop'))
    assert len(asyncio.run(back.traces.get_spans()))==len(asyncio.run(open_provider(about, 'acme', 'shop').traces.get_spans()))>=3
    with pytest.raises(TelemetryError, match='does not exist'): open_provider(dict(kind='file', path=str(tmp_path/'gone')), 'acme', 'shop')

def test_a_database_file_is_named_and_opened_again(tmp_path):
    sqlite3.connect(tmp_path/'phoenix.db').close()
    provider = PhoenixDatabaseProvider(tmp_path, 'acme', 'shop')
    assert describe_provider(provider)==dict(kind='database', url=f'sqlite:///{tmp_path}/phoenix.db')
    assert describe_provider(again(provider))==describe_provider(provider) and again(provider).shown==provider.shown

@pytest.mark.parametrize('url, kept', [('postgresql://ana@db/phoenix', 'postgresql://ana@db/phoenix'), ('postgres://db:5433/phoenix?ssl=require', 'postgresql://db:5433/phoenix?ssl=require'), (f'postgresql://ana:{SECRET}@db/phoenix', 'postgresql://ana:***@db/phoenix'),
    (f'postgresql+asyncpg://ana@db/phoenix?password={SECRET}', 'postgresql://ana:***@db/phoenix'), (f'postgresql://db/phoenix?password={SECRET}', 'postgresql://:***@db/phoenix'), (f'postgresql://ana:{SECRET}%40x@db/phoenix?sslpassword={SECRET}&ssl=require', 'postgresql://ana:***@db/phoenix?ssl=require')])
def test_a_server_is_named_without_its_password_and_opened_with_it_from_the_environment(monkeypatch, url, kept):
    pytest.importorskip('asyncpg')
    provider = PhoenixDatabaseProvider(url, 'acme', 'shop')
    about = describe_provider(provider)
    assert about==dict(kind='database', url=kept) and SECRET not in provider.shown+repr(provider)
    if '***' not in kept:
        assert again(provider)._engine.url==provider._engine.url
        return
    with pytest.raises(TelemetryError, match='PHOENIX_SQL_DATABASE_URL.*telemetry_provider='): again(provider)
    for other in {url.replace('@db', '@elsewhere'), url.replace('ana', 'bo'), url.replace('/phoenix', '/other'), 'sqlite:///x.db', 'postgresql://'}-{url}:
        monkeypatch.setenv('PHOENIX_SQL_DATABASE_URL', other)
        with pytest.raises(TelemetryError, match='was not written down'): again(provider)
    monkeypatch.setenv('PHOENIX_SQL_DATABASE_URL', url)
    back = again(provider)
    assert back._engine.url==provider._engine.url and describe_provider(back)==about

def test_an_address_that_cannot_be_read_is_refused_without_its_password():
    with pytest.raises(FtkitError) as refused: PhoenixDatabaseProvider(f'postgresql://ana:{SECRET}@db:port/phoenix')
    assert SECRET not in str(refused.value) and 'not a database address' in str(refused.value)
    assert without_password('postgresql:///phoenix')=='postgresql:///phoenix'

class Mine(FileProvider): "A subclass that reads something else"

class Bare: "Not even of our base class"

class Named(FileProvider):
    "One that can be opened again"
    def describe(self): return dict(kind='named', path=self.path)

def open_named(about, tenant_id, project, api_key=None): return Named(about['path'], tenant_id, project)

def test_a_class_of_ones_own_is_named_and_asked_for(tmp_path):
    for provider in (Mine(tmp_path), Bare()):
        about = describe_provider(provider)
        assert about==dict(kind='custom', name=f'test_providers:{type(provider).__name__}')
        with pytest.raises(TelemetryError, match=f'{about["name"]}.*pass telemetry_provider='): open_provider(about, 'acme', 'shop')

def test_a_class_of_ones_own_can_be_opened_again_by_a_line_in_the_table(tmp_path, monkeypatch):
    monkeypatch.setitem(PROVIDERS, 'named', f'{__name__}:open_named')
    back = again(Named(tmp_path))
    assert type(back) is Named and back.path==tmp_path and back.tenant_id=='acme'

def page_cells(page, *beginnings):
    "Cells of a page that begin with these words, each once"
    cells = [''.join(c['source']) for c in read_json(PKG.parent/'nbs'/page)['cells']]
    found = [next(c for c in cells if c.startswith(words)) for words in beginnings]
    return '\n\n'.join(found)

@pytest.fixture
def own_provider(monkeypatch):
    "The provider that the contract page shows how to write, with the sample shop in its lists"
    made = ModuleType('own_provider')
    monkeypatch.setitem(sys.modules, 'own_provider', made)
    before = dict(PROVIDERS)
    made.PROVIDERS = PROVIDERS
    exec(page_cells('10_telemetry/25_provider.ipynb', 'from dataclasses import', 'class ListProvider'), vars(made))
    made.ListProvider.shops['shop'] = telemetry('routing', n=60)
    yield made.ListProvider
    PROVIDERS.clear()
    PROVIDERS.update(before)

def test_a_provider_of_ones_own_is_opened_by_the_table_and_extracted(own_provider):
    spans, notes = own_provider.shops['shop']
    back = again(own_provider('acme', 'shop'))
    assert type(back) is own_provider and (back.tenant_id, back.project)==('acme', 'shop')
    got = asyncio.run(pull(back, 'shop', 'routing'))
    want = extraction(spans, [a for a in notes if a.target=='span'], 'routing')
    assert got==want and len(got.sets['examples'])>20
    async def pulled(since=None): return [b async for b in back.pull(since=since)]
    first, = asyncio.run(pulled())
    assert (len(first.spans), len(first.annotations))==(len(spans), len(notes)) and extraction(first.spans, first.annotations, 'routing')==extraction(spans, notes, 'routing')
    assert asyncio.run(pulled(json.loads(to_json(first.mark))))[0].spans==[]

def parameters(function): return [(p.name, p.default) for p in signature(function).parameters.values()]

@pytest.mark.parametrize('cls', [PhoenixProvider, FileProvider, PhoenixDatabaseProvider])
def test_every_provider_has_what_the_contract_names(cls):
    asked = {name: f for name,f in vars(Provider).items() if not name.startswith('_') and callable(f)}
    assert set(asked)=={'projects', 'span_batches', 'annotations_on', 'orphans', 'pull', 'describe'}
    for name,f in asked.items(): assert parameters(getattr(cls, name))[:len(parameters(f))]==parameters(f), name

def own_classes(cls): return [c.__name__ for c in cls.__mro__ if c.__module__.startswith('ftkit.')]

def test_a_class_of_this_room_is_one_thing():
    modules = [import_module(f'ftkit.telemetry.{p.stem}') for p in sorted((PKG/'telemetry').glob('[a-z]*.py'))]
    classes = {c for m in modules for c in vars(m).values() if isinstance(c, type) and c.__module__==m.__name__}
    deep = [own_classes(c) for c in classes if len(own_classes(c))>2]
    assert len(classes)>10 and deep==[], 'write functions on plain values, and let one class call them'

def test_a_plan_without_a_provider_or_with_an_unknown_one_says_what_to_pass():
    assert describe_provider(None) is None
    with pytest.raises(TelemetryError, match='pass telemetry_provider='): open_provider(None, 'acme', 'shop')
    with pytest.raises(FtkitError, match="kind of provider 'os' is not one of: phoenix, file, database"): open_provider(dict(kind='os', name='os:system'), 'acme', 'shop')

def test_every_provider_of_the_package_is_in_the_table():
    for where in PROVIDERS.values():
        module, _, name = where.partition(':')
        assert callable(getattr(import_module(module), name))
    assert issubclass(PhoenixProvider, TelemetryProvider)
