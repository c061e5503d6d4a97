"The registry under other conditions than its page: PostgreSQL, many processes, crashes, hostile names, another tenant."
import inspect, itertools, json, multiprocessing, os, pickle, random, signal, subprocess, sys, threading, time
from datetime import datetime, timedelta, timezone
from pathlib import Path
import pytest
import sqlalchemy as sa
from adapters import toy_adapter
from ftkit import hub
from ftkit.core import FtkitError
from ftkit.model.passport import write_passport
from ftkit.model.weights import AdapterRefused
from ftkit.adapters import blobs, register
from ftkit.adapters.activate import ANY, StaleActivation
from ftkit.adapters.blobs import intact
from ftkit.adapters.record import check_text, next_version
from ftkit.adapters.registry import AdapterRegistry, default_registry, remove_unnamed
from ftkit.adapters.schema import ADAPTERS, HISTORY, MIGRATIONS, SLOTS, migrate, schema_version
from ftkit.database import open_engine, transaction

pytest_plugins = ['pg']
fork = multiprocessing.get_context('fork')
WHAT = dict(base_model='acme/tiny', model_type='llm', training_method='sft', agent_type='routing')
FULL = os.environ.get('FTKIT_FULL') # the counts of the figures; fewer of each otherwise
SEED = int(os.environ.get('FTKIT_SEED', random.SystemRandom().randrange(10**6)))

@pytest.fixture(params=['sqlite', 'postgresql'])
def url(request, tmp_path): return f'sqlite:///{tmp_path/"registry.db"}' if request.param=='sqlite' else request.getfixturevalue('postgres_url')

@pytest.fixture
def registry(url, tmp_path): return AdapterRegistry(url, tmp_path/'registry', actor='ana')

@pytest.fixture
def folder(tmp_path): return toy_adapter(tmp_path/'adapter')

def add(registry, folder, version=None, tenant='acme', name='router', **more): return registry.register_adapter(tenant, name, version, adapter_path=folder, **{**WHAT, **more})

def several(registry, tmp_path, n, **more): return [add(registry, toy_adapter(tmp_path/f'a{i}', seed=i), **more) for i in range(n)]

def sound(registry, tenant='acme', agent='routing'):
    "Rows, files, switch and history agree; return the moves"
    for path, sha256 in {(r.adapter_path, r.sha256) for r in registry.list_adapters(tenant)}: assert intact(Path(path), sha256), f'{path} is not whole'
    moves = registry.history(tenant, agent)
    assert [m.generation for m in moves]==list(range(1, len(moves)+1))
    for before, after in itertools.pairwise(moves): assert after.previous_id==before.adapter_id
    active = registry.get_active_adapter(tenant, agent)
    assert (active and active.id)==(moves[-1].adapter_id if moves else None)
    assert [r.id for r in registry.list_adapters(tenant, agent) if r.active]==([active.id] if active else [])
    return moves

# ---- records

def test_two_agents_never_share_a_name_silently(tmp_path, folder):
    from ftkit.plans.plan import Source
    from ftkit.stages import adapter_name
    registry = AdapterRegistry(f'sqlite:///{tmp_path/"registry.db"}', tmp_path/'registry')
    one, other, third = (Source(tenant_id='acme', project='p', agent_type=t) for t in ('profile_selection', 'Profile Selection', 'Профиль'))
    name = adapter_name(registry, one)
    add(registry, folder, name=name, agent_type='profile_selection')
    assert name=='profile-selection'==adapter_name(registry, one), 'the first keeps it'
    assert adapter_name(registry, other).startswith('profile-selection-') and adapter_name(registry, third).startswith('x-')

def test_what_was_registered_is_read_back_whole(registry, folder):
    parent = add(registry, folder)
    links = dict(dataset_version='ds-1', run_id='run-7', parent_id=parent, approvals=['batch-1', 'batch-2'], adapter_uri='hf://acme/router@v1')
    a = add(registry, folder, '2.0.0', metrics={'loss': float('nan'), 'acc': .5}, report=dict(text='Ωβ\x00\ud83d', time_s=3), config=dict(epochs=3), **links)
    r = AdapterRegistry(registry.url, registry.root).get_adapter(a)
    assert {k: getattr(r, k) for k in links}=={**links, 'approvals': ('batch-1', 'batch-2')}
    assert (r.metrics, r.config, r.report['time_s'], r.created_by, r.active)==({'loss': None, 'acc': .5}, dict(epochs=3), 3, 'ana', False)
    assert [x.version for x in registry.lineage(a)]==['2.0.0', '1.0.0']
    for k in ('dataset_version', 'run_id', 'parent_id'): assert [x.id for x in registry.list_adapters('acme', **{k: links[k]})]==[a]
    assert registry.list_adapters('acme', run_id='other')==[]

def test_the_passport_fills_in_what_was_not_said_and_is_not_contradicted(registry, folder):
    write_passport(folder, 'acme/tiny', dataset='ds-9', run_id='run-9', metrics=dict(accuracy=.7))
    r = registry.get_adapter(add(registry, folder))
    assert (r.dataset_version, r.run_id, r.metrics, r.passport['dataset'])==('ds-9', 'run-9', dict(accuracy=.7), 'ds-9')
    with pytest.raises(FtkitError, match='contradicts the passport'): add(registry, folder, dataset_version='ds-1')
    with pytest.raises(AdapterRefused, match="trained on 'acme/tiny'"): add(registry, folder, base_model='acme/other')

def test_an_adapter_that_must_not_be_loaded_is_not_registered(registry, folder):
    (folder/'adapter_model.bin').write_bytes(b'\x80\x02')
    with pytest.raises(AdapterRefused, match='pickle'): add(registry, folder)
    assert registry.list_adapters('acme')==[] and not (registry.root/'blobs').exists() and list((registry.root/'staging').iterdir())==[]

def test_a_registered_adapter_survives_its_output_folder_and_cannot_be_edited_in_place(registry, folder):
    r = registry.get_adapter(add(registry, folder))
    (folder/'adapter_config.json').unlink()
    assert registry.verify(r) and not os.stat(Path(r.adapter_path)/'adapter_config.json').st_mode & 0o222

def test_a_damaged_copy_is_not_activated_and_heals_when_registered_again(registry, folder):
    a = add(registry, folder, '1.0.0')
    path = Path(registry.get_adapter(a).adapter_path)/'adapter_config.json'
    path.chmod(0o644); path.write_text('{}')
    with pytest.raises(FtkitError, match='damaged'): registry.activate_adapter(a)
    assert add(registry, folder, '1.0.0')==a
    registry.activate_adapter(a)

def test_files_that_are_not_on_this_machine_are_named_as_such(registry, folder, tmp_path):
    a = add(registry, folder, adapter_uri='file:///shared/a')
    with pytest.raises(FtkitError, match='not on this machine.*download file:///shared/a'): AdapterRegistry(registry.url, tmp_path/'elsewhere').activate_adapter(a)

def test_files_are_put_back_from_the_right_copy_only(registry, folder, tmp_path):
    here, record = AdapterRegistry(registry.url, tmp_path/'elsewhere'), registry.get_adapter(add(registry, folder))
    record = here.get_adapter(record.id)
    with pytest.raises(FtkitError, match='not what was registered as acme/router@1.0.0'): here.restore(record, toy_adapter(tmp_path/'b', seed=5))
    with pytest.raises(FtkitError, match='not on this machine'): here.verify(record)
    assert here.restore(record, folder)==here.verify(record)

def test_versions_never_change_and_the_next_one_is_free(registry, tmp_path):
    several(registry, tmp_path, 3)
    assert [r.version for r in registry.list_adapters('acme')]==['1.0.0', '1.0.1', '1.0.2']
    add(registry, toy_adapter(tmp_path/'b', seed=9), '1.0.4')
    add(registry, toy_adapter(tmp_path/'c', seed=10), '1.0.3')
    assert registry.get_adapter(add(registry, toy_adapter(tmp_path/'d', seed=11))).version=='1.0.5'
    with pytest.raises(FtkitError, match='versions never change'): add(registry, toy_adapter(tmp_path/'e', seed=12), '1.0.3')
    with pytest.raises(FtkitError, match="version 'latest' does not start with a digit"): add(registry, tmp_path/'e', 'latest')
    assert add(registry, toy_adapter(tmp_path/'c', seed=10), '1.0.3')==registry.get_version('acme', 'router', '1.0.3').id

def test_a_run_that_did_not_hear_the_answer_repeats_the_call(registry, folder, tmp_path):
    first = add(registry, folder, run_id='run-1')
    assert add(registry, folder, run_id='run-1')==add(registry, folder, '1.0.0', run_id='run-1')==first
    assert len({first, add(registry, folder, run_id='run-2'), add(registry, folder), add(registry, toy_adapter(tmp_path/'b', seed=1), run_id='run-1')})==4

def test_one_adapter_under_two_names_is_kept_once(registry, folder):
    a, b = add(registry, folder), add(registry, folder, name='other', tenant='globex')
    assert a!=b and registry.get_adapter(a).adapter_path==registry.get_adapter(b).adapter_path

def test_the_same_files_for_another_agent_are_a_second_record(registry, folder):
    a = add(registry, folder, run_id='run-1')
    b = add(registry, folder, run_id='run-1', agent_type='billing')
    assert a!=b and [(r.version, r.agent_type) for r in registry.list_adapters('acme')]==[('1.0.0', 'routing'), ('1.0.1', 'billing')]
    for version in (None, '1.0.1'): assert add(registry, folder, version, run_id='run-1', agent_type='billing')==b, 'asking again finds it'
    assert add(registry, folder, run_id='run-1')==a
    with pytest.raises(FtkitError, match="version 1.0.0 that answers for 'routing', not for 'billing'.*version=None"): add(registry, folder, '1.0.0', agent_type='billing')
    registry.activate_adapter(b)
    assert registry.get_active_adapter('acme', 'routing') is None and registry.get_active_adapter('acme', 'billing').id==b

@pytest.mark.parametrize('version, after', [('1', '2'), ('v9', 'v10'), ('2024.12.31', '2024.12.32'), ('1.0.0-rc.1', '1.0.0-rc.2')])
def test_the_next_version_counts_up_the_last_number(version, after): assert next_version(version)==after

def test_the_database_itself_refuses_to_change_a_record_or_the_history(registry, folder):
    registry.activate_adapter(add(registry, folder))
    for statement in (sa.update(ADAPTERS).values(metrics='{}'), sa.delete(ADAPTERS), sa.update(HISTORY).values(actor='x'), sa.delete(HISTORY)):
        with pytest.raises(sa.exc.DBAPIError, match='never changes'):
            with transaction(registry.engine, write=True) as c: c.execute(statement)
    assert len(sound(registry))==1

def test_the_table_shows_figures_with_and_without_interval_as_text(registry, folder):
    add(registry, folder, metrics=dict(accuracy=dict(value=.91234, low=.8, high=.97), steps=12, note='<b>'))
    shown = registry.list_adapters('acme')._repr_html_()
    assert 'accuracy 0.9123, note &lt;b&gt;, steps 12' in shown and 'low' not in shown

# ---- the switch

def test_a_stale_activation_is_refused_and_moves_nothing(registry, tmp_path):
    a, b, c = several(registry, tmp_path, 3)
    registry.activate_adapter(a, expected=None)
    registry.activate_adapter(b, expected=a)
    for stale in (a, None, c):
        with pytest.raises(StaleActivation, match='look again'): registry.activate_adapter(c, expected=stale)
    with pytest.raises(StaleActivation): registry.rollback('acme', 'routing', expected=a)
    with pytest.raises(StaleActivation): registry.deactivate(a)
    assert [m.adapter_id for m in sound(registry)]==[a, b]

def test_activating_what_is_active_is_no_move(registry, folder):
    a = add(registry, folder)
    assert registry.activate_adapter(a)==registry.activate_adapter(a)==1

def test_rollbacks_walk_back_and_a_new_activation_stands_on_what_is_left(registry, tmp_path):
    a, b, c, d = several(registry, tmp_path, 4)
    for x in (a, b, c): registry.activate_adapter(x)
    assert registry.rollback('acme', 'routing').id==b
    registry.activate_adapter(d)
    assert [registry.rollback('acme', 'routing').id for _ in range(2)]==[b, a]
    with pytest.raises(FtkitError, match='no earlier version'): registry.rollback('acme', 'routing')
    assert [m.action for m in sound(registry)]==['activate']*3+['rollback', 'activate']+['rollback']*2

def test_going_back_over_a_deactivation_restores_what_served(registry, tmp_path):
    a, b = several(registry, tmp_path, 2)
    registry.activate_adapter(a); registry.deactivate(a); registry.activate_adapter(b)
    assert registry.rollback('acme', 'routing') is None and registry.get_active_adapter('acme', 'routing') is None
    assert registry.rollback('acme', 'routing').id==a
    assert len(sound(registry))==5

def test_a_rollback_to_damaged_files_is_refused_and_moves_nothing(registry, tmp_path):
    a, b = several(registry, tmp_path, 2)
    registry.activate_adapter(a); registry.activate_adapter(b)
    path = Path(registry.get_adapter(a).adapter_path)/'adapter_config.json'
    path.chmod(0o644); path.write_text('{}')
    with pytest.raises(FtkitError, match='damaged'): registry.rollback('acme', 'routing')
    assert registry.get_active_adapter('acme', 'routing').id==b

def test_order_comes_from_the_sequence_and_not_from_the_clock(url, tmp_path):
    days = iter(datetime(2026, 1, 20, tzinfo=timezone.utc)-timedelta(days=365*i) for i in range(100))
    registry = AdapterRegistry(url, tmp_path/'registry', clock=lambda: next(days))
    a, b = several(registry, tmp_path, 2)
    registry.activate_adapter(a); registry.activate_adapter(b)
    assert [r.id for r in registry.list_adapters('acme')]==[a, b] and registry.rollback('acme', 'routing').id==a

def test_aliases_move_under_the_same_rules(registry, tmp_path):
    a, b = several(registry, tmp_path, 2)
    registry.set_alias('acme', 'router', 'champion', '1.0.0', expected=None)
    with pytest.raises(StaleActivation): registry.set_alias('acme', 'router', 'champion', '1.0.1', expected=b)
    registry.set_alias('acme', 'router', 'champion', '1.0.1', expected=a)
    registry.set_alias('acme', 'router', 'previous', '1.0.0')
    assert registry.aliases('acme', 'router')=={'champion': '1.0.1', 'previous': '1.0.0'}
    assert registry.get_version('acme', 'router', 'previous').id==a
    assert registry.aliases('acme', 'rou')=={} and registry.aliases('acme', 'r_uter')=={}
    assert registry.get_active_adapter('acme', 'routing') is None
    for bad in ('1.0.0', 'v2'):
        with pytest.raises(FtkitError, match='looks like a version'): registry.set_alias('acme', 'router', bad, '1.0.0')
    with pytest.raises(FtkitError, match='no version or alias'): registry.set_alias('acme', 'router', 'champion', '3.0.0')

def test_agent_types_that_look_alike_are_one(registry, folder):
    a = add(registry, folder, agent_type='cafe\u0301')
    registry.activate_adapter(a)
    assert registry.get_active_adapter('acme', 'caf\u00e9').id==a

# ---- the database

def test_a_registry_from_an_older_ftkit_is_brought_up_to_date(url, tmp_path, folder):
    engine = open_engine(url)
    with transaction(engine, write=True) as c: assert migrate(c, MIGRATIONS[:1])==1
    registry = AdapterRegistry(url, tmp_path/'registry')
    a = add(registry, folder)
    later = [*MIGRATIONS, lambda op: op.add_column('registry_adapters', sa.Column('note', sa.Text))]
    with transaction(engine, write=True) as c: assert (migrate(c, later), migrate(c, later), schema_version(c))==(1, 0, len(later))
    with pytest.raises(FtkitError, match='upgrade ftkit'): AdapterRegistry(url, tmp_path/'registry').get_adapter(a)

def test_a_step_that_fails_leaves_the_old_schema(url):
    engine = open_engine(url)
    def broken(op): op.create_table('half', sa.Column('x', sa.Text)); raise RuntimeError('power cut')
    with pytest.raises(RuntimeError):
        with transaction(engine, write=True) as c: migrate(c, [*MIGRATIONS, broken])
    with transaction(engine) as c: assert schema_version(c)==0 and not sa.inspect(c).has_table('half')

def test_the_schema_has_every_column_the_queries_name(registry):
    with transaction(registry.engine) as c:
        for table in (ADAPTERS, SLOTS, HISTORY): assert {x['name'] for x in sa.inspect(c).get_columns(table.name)}=={x.name for x in table.columns}

@pytest.mark.parametrize('bad, says', [('mysql://x/y', 'registry database'), ('nonsense', 'not a database address'), ('sqlite:////no/such/folder/r.db', 'cannot be used'), ('sqlite://', 'names no file')])
def test_a_database_that_cannot_be_opened_is_named(bad, says, tmp_path):
    with pytest.raises(FtkitError, match=says): AdapterRegistry(bad, tmp_path).list_adapters('acme')

def test_a_server_that_is_away_is_named_without_the_password(tmp_path):
    pytest.importorskip('psycopg')
    with pytest.raises(FtkitError, match='cannot be used') as e: AdapterRegistry('postgresql://ana:secret@127.0.0.1:1/r', tmp_path).list_adapters('acme')
    assert 'secret' not in str(e.value)+repr(AdapterRegistry('postgresql://ana:secret@127.0.0.1:1/r', tmp_path))

def test_the_environment_names_the_database(monkeypatch, tmp_path, fresh_home):
    assert AdapterRegistry().url==f'sqlite:///{fresh_home}/registry/registry.db'
    monkeypatch.setenv('FTKIT_REGISTRY', f'sqlite:///{tmp_path}/team.db')
    assert AdapterRegistry().url==f'sqlite:///{tmp_path}/team.db'

def test_the_default_registry_is_opened_once_and_follows_the_environment(monkeypatch, tmp_path, fresh_home):
    first = default_registry()
    assert default_registry() is first and first.root==fresh_home/'registry'
    monkeypatch.setenv('FTKIT_HOME', str(tmp_path/'other'))
    assert default_registry().root==tmp_path/'other'/'registry'
    assert hub.get_active_adapter_path('acme', 'routing') is None and (tmp_path/'other'/'registry'/'registry.db').exists()

def test_sqlite_is_set_to_survive_a_power_cut(tmp_path):
    with AdapterRegistry(f'sqlite:///{tmp_path}/r.db', tmp_path).engine.connect() as c:
        assert [c.exec_driver_sql(f'PRAGMA {p}').scalar() for p in ('journal_mode', 'synchronous', 'busy_timeout')]==['delete', 2, 60000]

def test_a_registry_can_be_sent_to_another_process_and_used_by_threads(registry, tmp_path):
    ids = several(registry, tmp_path, 4)
    assert pickle.loads(pickle.dumps(registry)).get_adapter(ids[0]).id==ids[0]
    threads = [threading.Thread(target=registry.activate_adapter, args=(a,)) for a in ids*3]
    for t in threads: t.start()
    for t in threads: t.join()
    sound(registry)

def test_a_fork_gets_connections_of_its_own_and_leaves_its_parents_alone(postgres_url, tmp_path, folder):
    registry = AdapterRegistry(postgres_url, tmp_path/'registry')
    a = add(registry, folder)
    def who():
        with registry._tx() as c: return c.exec_driver_sql('SELECT pg_backend_pid()').scalar()
    before, out = who(), fork.Queue()
    child = fork.Process(target=lambda: out.put((who(), registry.get_adapter(a).id)))
    child.start()
    theirs, found = out.get(timeout=60)
    child.join()
    assert found==a and theirs!=before and who()==before

def test_importing_it_is_light():
    code = 'import sys, time; t = time.process_time(); import ftkit.adapters.registry, ftkit.adapters.inference; print(time.process_time()-t); assert not {"torch", "alembic", "peft", "pandas", "huggingface_hub"} & set(sys.modules)'
    took = min(float(subprocess.run([sys.executable, '-c', code], check=True, capture_output=True, text=True).stdout) for _ in range(3))
    assert took<1.5 # of the processor; 0.2 on a calm machine

# ---- tenants and names

def test_no_call_of_one_tenant_reaches_another(registry, tmp_path):
    mine, theirs = add(registry, toy_adapter(tmp_path/'a', seed=1)), add(registry, toy_adapter(tmp_path/'b', seed=2), tenant='globex')
    registry.activate_adapter(theirs); registry.set_alias('globex', 'router', 'champion', '1.0.0')
    before = registry.get_adapter(theirs), registry.history('globex', 'routing'), registry.aliases('globex', 'router')
    acme = registry.for_tenant('acme')
    for call in (acme.get_adapter, acme.lineage, acme.activate_adapter, acme.deactivate):
        with pytest.raises(FtkitError) as e: call(theirs)
        assert str(e.value).replace(theirs, '')==str(pytest.raises(FtkitError, call, 'ad-0000').value).replace('ad-0000', ''), 'the answer tells whether the id exists'
    for call in (lambda: acme.list_adapters('globex'), lambda: acme.get_active_adapter('globex', 'routing'), lambda: acme.history('globex', 'routing'), lambda: acme.rollback('globex', 'routing'), lambda: acme.aliases('globex', 'router'),
        lambda: acme.get_version('globex', 'router', '1.0.0'), lambda: acme.set_alias('globex', 'router', 'champion', '1.0.0'), lambda: add(acme, tmp_path/'a', tenant='globex'), lambda: acme.for_tenant('globex'),
        lambda: hub.resolve_adapter_path('ftkit://globex/router@1.0.0', acme), lambda: hub.get_active_adapter_path('globex', 'routing', acme)):
        with pytest.raises(FtkitError, match="answers for tenant 'acme'"): call()
    with pytest.raises(FtkitError, match='no adapter has the id'): add(acme, tmp_path/'a', '2.0.0', parent_id=theirs)
    with pytest.raises(FtkitError, match='same tenant'): add(registry, tmp_path/'a', '2.0.0', parent_id=theirs)
    assert registry.get_active_adapter('acme', 'routing') is None and [r.id for r in registry.list_adapters('acme')]==[mine]
    assert before==(registry.get_adapter(theirs), registry.history('globex', 'routing'), registry.aliases('globex', 'router'))

def hostile():
    "150 names that have opened something elsewhere"
    walks = ['../x', '..', '.', '/abs', '/etc/passwd', '../../../../etc/passwd', 'a/../../b', 'a\\..\\b', '..\\..\\x', '..%2f..%2fx', '%2e%2e/x', '..%252f', '....//', 'a/', './a', '//host/share', '\\\\host\\share', '~', '~root/x', 'C:\\x', 'C:x', 'file:///etc/passwd', '$HOME', '${IFS}', '`id`', '$(id)', ';id', '|id', '&id', 'a b', ' a', 'a ', '\ta', 'a\n', 'a\r\nb']
    control = ['', '\0', 'a\0b', 'a\0.json', '\x1b[2J', '\x7f', '\u202eabc', 'a\u200b', '\u200fa', '\ufeffa', 'a\u2028b', '\u00ada', '\ud800', 'a\udcffb', '\u2066x']
    confusable = ['\u0430cme', 'acm\u0435', '\uff41cme', 'ac\u043ce', 'acme\u0301', 'caf\u00e9', 'cafe\u0301', '\u2024\u2024/x', '\u2215etc', '\uff0e\uff0e/x', '\u017fcme', '\u212acme', 'I\u0307', '\u1e9e', 'acme\u00a0', '\u0391', 'a\u0338', '\ufb01le']
    cases = ['ACME', 'Acme', 'aCME', 'ROUTER', 'Router', 'rOuter']
    long = ['x'*65, 'x'*300, 'x'*5000, 'é'*200, '../'*200, 'a.'*150]
    devices = ['CON', 'con.', 'NUL', 'AUX', 'PRN', 'COM1', 'LPT1', 'con ', 'aux.txt ', '-', '--help', '-rf', '.hidden', '..a', 'a..b', '_a', 'a.', '.git', '.ssh/id', 'lock/../x']
    sql = ["' OR 1=1 --", "'; DROP TABLE registry_adapters; --", '" OR ""="', 'a%', 'a_b%', '%', '*', '?', '[a-z]', ':id', ':tenant', "\\'", '1; SELECT 1', 'a\\', 'alias:router:champion', 'agent:routing']
    others = ['{{7*7}}', '{x}', '%s', '%(x)s', '<script>', '<b>x</b>', '&lt;', '[a](javascript:x)', '@', 'a@b', 'a/b', 'a:b', 'a,b', 'a=b', 'a+b', '#', 'a#b', '!', 'null\n', 'None ', 'nan/', 'true!', '0x/', '1e9/', '٣', '１.０.０', 'v１', '/proc/self/environ', '/dev/stdin', '../registry.db', '../staging', '..\u2215x', 'a\u0000/../b', '\U0001f600', 'a\U000e0001', 'x\u0301'*40, 'registry.db-journal/..', '@champion', 'acme/router@1.0.0/..', '//', '///etc', 'a//b', '?x=1', 'a?b', '%00', '%0a']
    odd = [None, 0, 1, -1, 1.5, True, b'acme', ['acme'], {'a': 1}, ('acme',), Path('/etc'), float('nan')]
    return [*walks, *control, *confusable, *cases, *long, *devices, *sql, *others], odd

def tree(folder): return {str(p.relative_to(folder)): p.lstat().st_mtime_ns for p in Path(folder).rglob('*') if 'registry.db' not in p.name}

def calls(registry, theirs, name):
    "Every entry point, with the name in every place of it that takes one"
    good = dict(tenant_id='acme', name='router', version='1.0.0', agent_type='routing', adapter_id=registry.list_adapters('acme')[0].id, alias='champion', base_model='acme/tiny', model_type='llm', training_method='sft',
        dataset_version='ds', run_id='run', parent_id=None, adapter_uri=None, expected=ANY, reason='x', adapter_path=registry.root.parent/'adapter')
    for method in ('register_adapter', 'list_adapters', 'get_adapter', 'lineage', 'activate_adapter', 'deactivate', 'get_active_adapter', 'history', 'rollback', 'set_alias', 'aliases', 'get_version', 'for_tenant'):
        params = inspect.signature(getattr(registry, method)).parameters
        needed = {k: good[k] for k,p in params.items() if p.default is p.empty or k=='version'}
        for k in params:
            if k in good: yield method, k, lambda method=method, k=k, needed=needed: getattr(registry, method)(**{**needed, k: name})
    for scheme in ('file://', 'hf://', 'ftkit://', 'ftkit://acme/router@', 'ftkit://acme/', 'ftkit://', ''): yield 'resolve_adapter_path', scheme, lambda scheme=scheme: hub.resolve_adapter_path(f'{scheme}{name}' if isinstance(name, (str, int)) else name, registry)
    for f in (hub.get_active_adapter_path, hub.get_active_adapter_for_inference, lambda *a: hub.AdapterAwareMixin().load_adapter_if_available(*a)):
        yield str(f), 'tenant_id', lambda f=f: f(name, 'routing', registry)
        yield str(f), 'agent_type', lambda f=f: f('acme', name, registry)

def test_150_hostile_names_through_every_entry_point_escape_nowhere(tmp_path, monkeypatch):
    monkeypatch.setenv('FTKIT_HOME', str(tmp_path/'inside'/'home'))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, 'fsync', lambda fd: None) # thousands of registrations; crashes have their own tests
    (tmp_path/'inside').mkdir()
    folder = toy_adapter(tmp_path/'inside'/'adapter')
    registry = AdapterRegistry(f'sqlite:///{tmp_path}/inside/registry.db', tmp_path/'inside'/'registry')
    add(registry, folder); theirs = add(registry, folder, tenant='globex')
    registry.activate_adapter(theirs)
    outside, blobs = tree(tmp_path), tree(registry.root/'blobs')
    texts, odd = hostile()
    assert len(set(texts))>=150
    made = refused = 0
    for name in [*(texts if FULL else texts[::4]), *odd]:
        for method, place, call in calls(registry, theirs, name):
            try: result = call()
            except FtkitError: refused += 1; continue
            except Exception as e: raise AssertionError(f'{method}({place}={name!r}) failed with {e!r}') from e
            made += 1
            found = result if isinstance(result, list) else [result]
            assert theirs not in str(found), f'{method}({place}={name!r}) shows another tenant'
            for path in (x for x in found if isinstance(x, Path)): assert registry.root in path.parents or method=='resolve_adapter_path' and path.is_dir()
    assert registry.get_active_adapter('globex', 'routing').id==theirs and len(registry.list_adapters('globex'))==1 and len(registry.history('globex', 'routing'))==1
    assert blobs==tree(registry.root/'blobs')
    now = {k for k in tree(tmp_path) if not k.startswith('inside/registry')}
    assert now=={k for k in outside if not k.startswith('inside/registry')}|{'inside/home', 'inside/home/registry', 'inside/home/adapters'} & now
    assert {r.tenant_id for t in ('acme', 'globex') for r in registry.list_adapters(t)}=={'acme', 'globex'}
    print(f'{len(texts[::1 if FULL else 4])+len(odd)} names, {made+refused} calls, {refused} refused, 0 escapes')

def test_a_folder_swapped_for_a_link_while_it_is_copied_is_refused(registry, folder, monkeypatch):
    opened, swapped = os.open, folder/'adapter_config.json'
    def swap(path, *args, **kw):
        if path==folder and not swapped.is_symlink(): swapped.unlink(); swapped.symlink_to('/etc/passwd') # its files were listed, and none is open yet
        return opened(path, *args, **kw)
    monkeypatch.setattr(os, 'open', swap)
    with pytest.raises(FtkitError, match='changed while it was copied'): add(registry, folder)
    assert swapped.is_symlink() and registry.list_adapters('acme')==[]

# ---- many processes

def in_children(jobs, seconds=240):
    "Run every job in a process of its own; return what they put on the queue"
    out, go = fork.Queue(), fork.Event()
    def child(job, args):
        go.wait()
        try: out.put((job.__name__, job(*args), None))
        except BaseException as e: out.put((job.__name__, None, repr(e)))
    children = [fork.Process(target=child, args=(job, args)) for job,*args in jobs]
    for c in children: c.start()
    start = time.monotonic(); go.set()
    results = [out.get(timeout=seconds) for _ in children]
    for c in children: c.join(30)
    assert not [e for *_,e in results if e], [e for *_,e in results if e]
    return [(name, value) for name,value,_ in results], time.monotonic()-start

def registering(url, root, folder, n): r = AdapterRegistry(url, root); return [add(r, folder) for _ in range(n)]
def activating(url, root, ids, n, seed):
    r, rng, moved, stale = AdapterRegistry(url, root), random.Random(seed), 0, 0
    for i in range(n):
        target = rng.choice(ids)
        seen = r.get_active_adapter('acme', 'routing')
        if seen and seen.id==target: continue
        try: r.activate_adapter(target, expected=(seen and seen.id) if i%2 else ANY); moved += 1
        except StaleActivation: stale += 1
    return moved, stale
def rolling(url, root, n):
    r, moved = AdapterRegistry(url, root), 0
    for _ in range(n):
        try: r.rollback('acme', 'routing'); moved += 1
        except FtkitError as e: assert 'no earlier' in str(e)
    return moved

def test_16_register_while_16_activate_and_4_roll_back(url, tmp_path):
    each, total = (25, 400) if FULL else (3, 48)
    registry = AdapterRegistry(url, tmp_path/'registry')
    ids = several(registry, tmp_path, 4, name='seed')
    jobs = [*((registering, url, registry.root, toy_adapter(tmp_path/f'p{i}', seed=100+i), each) for i in range(16)), *((activating, url, registry.root, ids, 10, SEED+i) for i in range(16)), *((rolling, url, registry.root, 10) for _ in range(4))]
    results, took = in_children(jobs)
    registered = [a for name,got in results if name=='registering' for a in got]
    rows = registry.list_adapters('acme', name='router')
    assert len(registered)==len(set(registered))==len(rows)==len({r.version for r in rows})==total, f'seed {SEED}'
    assert sorted(r.version for r in rows)==sorted(f'1.0.{i}' for i in range(total))
    moves = sound(registry)
    activations = [m for m in moves if m.action=='activate']
    assert len(moves)-len(activations)==sum(got for name,got in results if name=='rolling')
    moved, stale = (sum(x) for x in zip(*(got for name,got in results if name=='activating')))
    assert len(activations)<=moved and (registry.root/'staging').is_dir() and not list((registry.root/'staging').iterdir())
    print(f'\n{url.split(":")[0]}: {total} of {total} distinct, {len(moves)} moves, {stale} stale refused, {took:.1f} s')

def reading(url, root, over, log):
    r, seen = AdapterRegistry(url, root), []
    while not over.is_set():
        a = time.monotonic()
        path = hub.get_active_adapter_path('acme', 'routing', r)
        seen.append((a, time.monotonic(), path.name))
    return seen
def flipping(url, root, pair, times, over):
    r, flips = AdapterRegistry(url, root), []
    try:
        for target in itertools.islice(itertools.cycle(pair), times):
            a = time.monotonic(); r.activate_adapter(target); flips.append((a, time.monotonic(), r.get_adapter(target).sha256))
            time.sleep(.05)
    finally: over.set()
    return flips

def test_8_readers_of_a_flipped_switch_always_get_one_of_the_two_and_then_the_new_one(url, tmp_path):
    registry = AdapterRegistry(url, tmp_path/'registry')
    a, b = several(registry, tmp_path, 2)
    registry.activate_adapter(a)
    first = (0, 0, registry.get_adapter(a).sha256)
    over, times = fork.Event(), 50 if FULL else 8
    results, _ = in_children([*((reading, url, registry.root, over, None) for _ in range(8)), (flipping, url, registry.root, (b, a), times, over)])
    flips = [first, *next(got for name,got in results if name=='flipping')]
    reads = [x for name,got in results if name=='reading' for x in got]
    for start, end, answer in reads:
        settled = max(i for i,f in enumerate(flips) if f[1]<=start)
        allowed = {flips[settled][2], *(f[2] for f in flips[settled+1:] if f[0]<=end)}
        assert answer in allowed, f'a read from {start} to {end} answered neither what was set nor what was being set'
    assert len(flips)==times+1 and len(reads)>=times
    print(f'\n{url.split(":")[0]}: {len(reads)} reads during {len(flips)-1} flips, every answer right')

# ---- crashes

def busy(url, root, folders, out):
    "Register and activate until killed; report only what was acknowledged"
    r = AdapterRegistry(url, root)
    for i in itertools.count():
        a = add(r, folders[i%len(folders)], name=f'n{os.getpid()}')
        os.write(out, f'{a} registered\n'.encode())
        r.activate_adapter(a)
        os.write(out, f'{a} activated\n'.encode())

def kill_again_and_again(url, tmp_path, times):
    rng, registry = random.Random(SEED), AdapterRegistry(url, tmp_path/'registry')
    folders = [toy_adapter(tmp_path/f'f{i}', seed=i) for i in range(7)]
    start, said = time.monotonic(), 0
    registry.activate_adapter(add(registry, folders[0]))
    step = time.monotonic()-start
    for n in range(times):
        ours, theirs = os.pipe()
        child = fork.Process(target=busy, args=(url, registry.root, folders, theirs))
        child.start(); os.close(theirs)
        with os.fdopen(ours) as lines:
            first = lines.readline() if n%2 else ''
            time.sleep(rng.uniform(0, 2*step))
            os.kill(child.pid, signal.SIGKILL); child.join()
            acknowledged = [x.split() for x in (first+lines.read()).splitlines()]
        said += len(acknowledged)
        known = {r.id for r in registry.list_adapters('acme')}
        moves = sound(registry)
        for adapter_id, what in acknowledged:
            assert adapter_id in known, f'kill {n} (seed {SEED}): {adapter_id} was acknowledged and is gone'
            if what=='activated': assert adapter_id in {m.adapter_id for m in moves}
    remove_unnamed(registry)
    named = {r.sha256 for r in registry.list_adapters('acme')}
    assert {p.name for p in (registry.root/'blobs').glob('*/*')}==named and not (registry.root/'staging').exists()
    print(f'\n{url.split(":")[0]}: {times} of {times} kills left it whole, {said} acknowledgements kept')
    assert said>=times//2, 'no child got far enough to be interrupted'

def test_kill_9_during_register_and_activate_leaves_nothing_half_done(url, tmp_path): kill_again_and_again(url, tmp_path, 100 if FULL else 6)

POINTS = ['copy', 'move', 'insert', 'commit']
@pytest.mark.parametrize('point', POINTS)
def test_a_crash_at_each_step_of_registering_leaves_all_or_nothing(point, url, tmp_path, folder):
    registry = AdapterRegistry(url, tmp_path/'registry')
    registry.list_adapters('acme')
    def dying():
        die = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
        if point=='copy': blobs.fsync = die
        if point=='move': register.keep = die
        if point=='insert': register.insert_version = die
        if point=='commit':
            keep = register.keep
            register.keep = lambda *a: (keep(*a), die())
        add(registry, folder)
    child = fork.Process(target=dying); child.start(); child.join()
    assert child.exitcode==-signal.SIGKILL and registry.list_adapters('acme')==[]
    a = add(registry, folder)
    assert [p for p in (registry.root/'staging').iterdir()]==[] and registry.verify(registry.get_adapter(a))

def test_a_full_disk_leaves_nothing_and_says_so(registry, folder, monkeypatch):
    import errno
    def full(fd): raise OSError(errno.ENOSPC, 'No space left on device')
    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(FtkitError, match='No space left.*make room'): add(registry, folder)
    assert registry.list_adapters('acme')==[] and list((registry.root/'staging').iterdir())==[]

def test_sweeping_waits_for_nobody_and_takes_nothing_in_use(registry, folder, tmp_path):
    a = add(registry, folder)
    with blobs.staged(registry.root, toy_adapter(tmp_path/'b', seed=5)) as (stage, _):
        assert remove_unnamed(registry)==[] and stage.is_dir()
        assert add(registry, folder, name='other') and stage.is_dir(), 'one who registers takes another\'s copy away'
    orphan = registry.root/'blobs'/'00'/('0'*64)
    orphan.mkdir(parents=True)
    assert remove_unnamed(registry)==[orphan.name] and registry.verify(registry.get_adapter(a))

def test_looking_up_does_not_slow_down_with_the_number_of_versions(tmp_path):
    registry = AdapterRegistry(f'sqlite:///{tmp_path}/r.db', tmp_path/'registry')
    a = add(registry, toy_adapter(tmp_path/'a'))
    registry.activate_adapter(a)
    with transaction(registry.engine) as c:
        plans = [' '.join(str(r) for r in c.exec_driver_sql(f'EXPLAIN QUERY PLAN {q}')) for q in (
            "SELECT version FROM registry_adapters WHERE tenant_id='a' AND name='b' ORDER BY seq DESC LIMIT 1", "SELECT * FROM registry_adapters WHERE tenant_id='a' AND id='b'", "SELECT * FROM registry_history WHERE tenant_id='a' AND slot='b' AND generation=3")]
    assert not [p for p in plans if 'SCAN' in p or 'TEMP B-TREE' in p], plans

def test_free_text_is_kept_readable(registry, folder):
    registry.activate_adapter(add(registry, folder), reason='line one\nline two\0\ud800'+'x'*5000)
    reason = registry.history('acme', 'routing')[0].reason
    assert reason.startswith('line one line two') and len(reason)==1000 and json.dumps(reason)
    assert check_text('ok', 'agent_type')=='ok'
