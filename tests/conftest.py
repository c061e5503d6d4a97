"What tests share: a home folder of their own, no network, and one real Phoenix for all of them."
import gc, os, sys

os.environ.update(HF_HUB_OFFLINE='1', TOKENIZERS_PARALLELISM='false', PHOENIX_TELEMETRY_ENABLED='false', MPLBACKEND='Agg')
for name in ('PHOENIX_COLLECTOR_ENDPOINT', 'PHOENIX_ENDPOINT', 'PHOENIX_API_KEY', 'PHOENIX_CLIENT_HEADERS'): os.environ.pop(name, None)

import pytest
from hypothesis import settings

settings.register_profile('ftkit', database=None, deadline=None, derandomize=True, print_blob=True)
settings.load_profile('ftkit')

KNOWN = pytest.StashKey()

@pytest.hookimpl(hookwrapper=True)
def pytest_collection(session):
    "The garbage collector waits while libraries come with the tests"
    from ftkit.core import collector_waits
    with collector_waits():
        yield
        gc.freeze()

@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    "Tests that ask for the real Phoenix can be told from the others"
    for item in items:
        if 'phoenix_server' in item.fixturenames: item.add_marker('phoenix')

def pytest_runtest_teardown(item, nextitem):
    "Libraries that came with a test are objects by the million, and none is garbage: the collector need not look through them again and again"
    libraries = len(sys.modules)
    if libraries>item.session.stash.get(KNOWN, 0)+100:
        item.session.stash[KNOWN] = libraries
        gc.collect()
        gc.freeze()

@pytest.fixture(scope='session', autouse=True)
def ftkit_home(tmp_path_factory):
    "One home folder for the session, so that a model built once is built once"
    before, home = os.environ.get('FTKIT_HOME'), tmp_path_factory.mktemp('home')
    os.environ['FTKIT_HOME'] = str(home)
    yield home
    os.environ.pop('FTKIT_HOME')
    if before: os.environ['FTKIT_HOME'] = before

@pytest.fixture
def fresh_home(tmp_path, monkeypatch):
    "An empty home folder for one test"
    monkeypatch.setenv('FTKIT_HOME', str(tmp_path/'home'))
    return tmp_path/'home'

@pytest.fixture(scope='session')
def phoenix_server():
    "One real Phoenix, started by the first test that asks for it; use a project and ids of your own: `renewed(spans, notes, key=project)`"
    from ftkit.telemetry.server import phoenix
    with phoenix(timeout_s=300) as server: yield server # a busy machine takes its time
