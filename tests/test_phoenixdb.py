"One contract for all providers: Phoenix over HTTP, its SQLite and PostgreSQL databases, and files give the same."
import asyncio, json, os, random, sqlite3, time
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from ftkit.telemetry import samples
from ftkit.core import FtkitError
from ftkit.data.extract import TraceToTrajectoryConverter, TripletExtractor, pull
from ftkit.telemetry.phoenixdb import REVISIONS, PhoenixDatabaseProvider, stored_attributes
from ftkit.telemetry.spans import Annotation, Span, frame_spans, nest, renewed
from ftkit.telemetry.files import FileProvider, save_telemetry
from ftkit.telemetry.http import mark_time, PhoenixProvider
from ftkit.telemetry.sending import send
from ftkit.telemetry.server import free_port, phoenix
from ftkit.telemetry.wire import TelemetryError

run = asyncio.run

pytest_plugins = ['pg']

@pytest.fixture(scope='session')
def pg_phoenix(postgres_server):
    "A real Phoenix that keeps its data in PostgreSQL"
    with phoenix(database_url=postgres_server.database(), timeout_s=300) as server: yield server


# ---- the same project everywhere ----

def telemetry():
    "The shop, and what is unusual: many messages, dotted and numbered keys, floats, our own kinds, a judged trace"
    spans, notes = samples.telemetry(n=20)
    when = samples.UNTIL-timedelta(days=3)
    make = lambda i, **kw: Span(**{**dict(span_id=f'{i:016x}', trace_id=f'{i:032x}', parent_id=None, name='odd', kind='CHAIN', start_time=when, end_time=when+timedelta(microseconds=1), status='OK', attributes={}), **kw})
    odd = [make(1, attributes={'llm': {'input_messages': [{'message': {'role': 'user', 'content': str(i)}} for i in range(13)]}}), make(2, kind='EXPERIMENT', attributes={'metrics': {'loss': .1+.2, 'n': 3}, 'flags': [True, False], 'empty': []}),
        make(3, status='ERROR', status_message='no \U0001f600 left', attributes={'metadata': {'0': {'a': 1}, 'list': [1, 2.5], 'a.b': {'c': 'd'}, 'nothing': {}}, 'tool': {'parameters': {'x': {'y': 1}}}}),
        make(4, parent_id=f'{3:016x}', trace_id=f'{3:032x}', attributes={'input': {'value': '{"a": 1}', 'mime_type': 'application/json'}})]
    extra = [Annotation('', 'flow', 'CODE', 'good', .5, 'looks fine', 'check-1', trace_id=f'{3:032x}', metadata={'why': {'deep': [1]}}), Annotation(f'{1:016x}', 'human_review', 'HUMAN', None, 1.0, None, '')]
    spans, notes = renewed(spans+odd, notes+extra, key='contract')
    return sorted(spans, key=lambda s: (s.start_time, s.span_id)), notes

@pytest.fixture(scope='module')
def both(phoenix_server, pg_phoenix):
    "The same telemetry in a Phoenix on SQLite and in one on PostgreSQL"
    spans, notes = telemetry()
    for server in (phoenix_server, pg_phoenix): run(send(spans, notes, 'contract', server.endpoint))
    return phoenix_server, pg_phoenix, spans, notes

async def everything(p, **kw):
    spans, notes = {}, {}
    async for b in p.pull(**kw):
        spans.update({s.span_id: s for s in b.spans})
        notes.update({(a.target, a.on, a.document_position, a.name, a.identifier): a for a in b.annotations})
    return spans, notes

NAMES = ['http on SQLite', 'http on PostgreSQL', 'SQLite', 'PostgreSQL', 'JSON Lines', 'Parquet']

@pytest.fixture(scope='module')
def providers(both, tmp_path_factory):
    lite, pg, *_ = both
    found = {'http on SQLite': PhoenixProvider('acme', 'contract', lite.endpoint), 'http on PostgreSQL': PhoenixProvider('acme', 'contract', pg.endpoint),
        'SQLite': PhoenixDatabaseProvider(lite.database_url, 'acme', 'contract'), 'PostgreSQL': PhoenixDatabaseProvider(pg.database_url, 'acme', 'contract')}
    spans, notes = run(everything(found['http on SQLite']))
    for name, kind in (('JSON Lines', 'jsonl'), ('Parquet', 'parquet')): found[name] = FileProvider(save_telemetry(tmp_path_factory.mktemp(kind), spans.values(), notes.values(), kind=kind), 'acme', 'contract')
    return found

def timeless(df): return df.drop(columns=['created_at', 'updated_at'])

@pytest.mark.parametrize('name', NAMES)
def test_all_providers_give_the_same(providers, both, name):
    *_, spans, notes = both
    p, reference = providers[name], providers['http on SQLite']
    df = run(p.traces.get_spans())
    assert frame_spans(df)==[replace(s, attributes=nest(s.attributes)) for s in spans]
    pd.testing.assert_frame_equal(df, run(reference.traces.get_spans()))
    for target in ('span', 'document', 'trace', 'session'):
        got, want = (run(x.annotations.get_annotations(df, target=target)) for x in (p, reference))
        assert len(got)==sum(a.target==target for a in notes)
        if 'PostgreSQL' in name: got, want = timeless(got), timeless(want) # another server, another clock
        pd.testing.assert_frame_equal(got, want)

@pytest.mark.parametrize('name', NAMES)
def test_all_providers_give_the_same_data_with_the_same_accounts(providers, name):
    async def found(p):
        both = await pull(p, 'contract', 'concierge')
        return both.counts, [(list(d), d.accounting, d.annotations) for d in (*both.sets.values(), await TripletExtractor(p).extract('contract'), await TraceToTrajectoryConverter(p).extract_trajectories('contract'))]
    got, want = run(found(providers[name])), run(found(providers['http on SQLite']))
    assert got==want and len(want[1])==4 and all(notes.kept and notes.seen==notes.kept+sum(notes.dropped.values()) for _,_,notes in want[1])

def test_the_database_gives_the_times_that_http_gives(providers):
    for db, http in (('SQLite', 'http on SQLite'), ('PostgreSQL', 'http on PostgreSQL')):
        a, b = (run(everything(providers[n])) for n in (db, http))
        assert a==b

@pytest.mark.parametrize('name', NAMES)
def test_all_providers_filter_the_same(providers, both, name):
    *_, spans, _ = both
    p, cut, end = providers[name], samples.UNTIL-timedelta(days=7), spans[60].start_time
    ids = lambda **kw: list(run(p.traces.get_spans(**kw)).index)
    assert ids(start_time=cut)==[s.span_id for s in spans if s.start_time>=cut]
    assert ids(end_time=end)==[s.span_id for s in spans if s.start_time<end]
    assert ids(span_kinds=('retriever', 'EXPERIMENT'))==[s.span_id for s in spans if s.kind in ('RETRIEVER', 'EXPERIMENT')]
    assert ids(start_time=cut, end_time=cut+timedelta(microseconds=1)) in ([], [s.span_id for s in spans if s.start_time==cut])

@pytest.mark.parametrize('name', NAMES)
def test_all_providers_hand_out_batches(providers, both, name):
    *_, spans, notes = both
    async def sizes(): return [len(f) async for f in providers[name].traces.iter_spans(batch_size=100)]
    got = run(sizes())
    assert sum(got)==len(spans) and max(got)<=100
    found, said = run(everything(providers[name], batch_size=64))
    assert set(found)=={s.span_id for s in spans} and len(said)==len(notes)

@pytest.mark.parametrize('name', ['http on SQLite', 'http on PostgreSQL', 'SQLite', 'PostgreSQL'])
def test_all_providers_name_the_projects_there_are(providers, name):
    assert 'contract' in run(providers[name].projects())
    with pytest.raises(TelemetryError, match="no project 'contrakt'.*did you mean 'contract'"): run(providers[name].traces.get_spans('contrakt'))


# ---- only what is new ----

def numbered(i):
    when = samples.UNTIL-timedelta(days=2)+timedelta(seconds=i)
    return Span(f'{i+1:016x}', f'{i+1:032x}', None, 'answer', 'LLM', when, when+timedelta(seconds=1), 'OK', {'output': {'value': str(i)}, 'session': {'id': f'n-{i//10}'}})

@pytest.mark.parametrize('kind', ['http', 'database'])
def test_a_second_pull_reads_what_is_new_and_what_was_judged_since(phoenix_server, kind):
    name, base = f'grow-{kind}', 70_000 if kind=='http' else 80_000
    spans = [numbered(base+i) for i in range(200)]
    run(send(spans, [Annotation(s.span_id, 'human_review', label='approved', identifier='mara') for s in spans[::2]], name, phoenix_server.endpoint))
    p = PhoenixProvider('acme', name, phoenix_server.endpoint) if kind=='http' else PhoenixDatabaseProvider(phoenix_server.database_url, 'acme', name)
    async def all_of(**kw): return [b async for b in p.pull(batch_size=50, **kw)]
    for _ in range(6): # a mark leaves the clocks two seconds, and on a busy machine the server's clock lags
        time.sleep(3.1)
        *_, last = run(all_of())
        if not any(b.spans for b in run(all_of(since=last.mark))): break
    assert json.loads(json.dumps(last.mark))==last.mark
    assert [len(b.spans) for b in run(all_of(since=last.mark))]==[0], 'nothing is new'
    new, late = [numbered(base+200+i) for i in range(3)], [Annotation(spans[5].span_id, 'human_review', label='rejected', identifier='joel'), Annotation(spans[6].span_id, 'human_review', label='rejected', identifier='mara'),
        Annotation('', 'outcome', label='solved', session_id=spans[30].session_id)]
    run(send(new, late, name, phoenix_server.endpoint))
    batches = run(all_of(since=last.mark))
    touched = {s.span_id for b in batches for s in b.spans}
    assert touched=={s.span_id for s in new+[spans[5], spans[6]]+spans[30:40]}
    said = {(a.on, a.identifier): a.label for b in batches for a in b.annotations}
    assert said[spans[6].span_id, 'mara']=='rejected', 'a changed verdict is a new one'
    assert said[spans[30].span_id, 'mara']=='approved', 'a span comes with everything said about it'
    assert {s.span_id for b in run(all_of(since=batches[-1].mark)) for s in b.spans}<=touched, 'at most the same second again'

class CountedEngine:
    "An engine of SQLAlchemy whose connections count the rows that they give"
    def __init__(self, engine, counted): self.engine, self.counted, self.dialect = engine, counted, engine.dialect
    @asynccontextmanager
    async def connect(self):
        async with self.engine.connect() as c: yield CountedConnection(c, self.counted)

class CountedConnection:
    def __init__(self, connection, counted): self.connection, self.counted, self.dialect = connection, counted, connection.dialect
    async def execute(self, *what):
        rows = (await self.connection.execute(*what)).fetchall()
        self.counted.requests += 1
        self.counted.rows += len(rows)
        self.counted.bytes += sum(len(str(r)) for r in rows)
        return SimpleNamespace(fetchall=lambda: rows, scalar=lambda: rows[0][0])

class Counted:
    "A provider that counts what it is sent: requests, bytes as they were on the wire, rows"
    def __init__(self, p):
        import httpx
        self.p, self.requests, self.bytes, self.rows, self.paths = p, 0, 0, 0, []
        if isinstance(p, PhoenixProvider): self.inner = httpx.AsyncHTTPTransport(); p.wire.transport = self
        else: p._engine = CountedEngine(p._engine, self)

    async def handle_async_request(self, request):
        import httpx
        answer = await self.inner.handle_async_request(request)
        body = b''.join([chunk async for chunk in answer.stream])
        self.requests += 1; self.bytes += len(body); self.paths.append(request.url.path)
        of_project = request.method=='GET' and '/v1/projects/' in request.url.path # not the list of projects, which every other test makes longer
        self.rows += len(httpx.Response(200, headers=answer.headers, content=body).json().get('data') or ()) if of_project else 0
        return httpx.Response(answer.status_code, headers=answer.headers, stream=httpx.ByteStream(body))
    async def __aenter__(self): return self
    async def __aexit__(self, *_): pass
    async def aclose(self): pass

    def pull(self, **kw):
        "Batches, and what they cost"
        async def go(): return [b async for b in self.p.pull(**kw)]
        before = (self.requests, self.bytes, self.rows)
        got = run(go())
        return got, dict(zip(('requests', 'bytes', 'rows'), (b-a for a,b in zip(before, (self.requests, self.bytes, self.rows))))), sum(len(b.spans) for b in got), sum(len(b.annotations) for b in got)

def server_time(p):
    "The time that the next mark will have"
    run(p.projects())
    return datetime.fromisoformat(mark_time(p.wire))

@pytest.fixture(scope='module')
def aged(phoenix_server):
    "1,000 spans over a year with answers of two kilobytes, every fifth judged; and the same after 1% more, with five verdicts on old ones"
    def old(i, k=1000): return replace(numbered(90_000+i), start_time=samples.UNTIL-timedelta(days=365*(k-i)/k), attributes={'output': {'value': random.Random(i).randbytes(1024).hex()}, 'session': {'id': f'year-{i//3}'}})
    spans, say = [old(i) for i in range(1010)], lambda s, label, who: Annotation(s.span_id, 'human_review', label=label, identifier=who)
    run(send(spans[:1000], [say(s, 'approved', 'mara') for s in spans[:1000:5]], 'aged', phoenix_server.endpoint))
    heard, phoenix, until = datetime.now(timezone.utc), PhoenixProvider('acme', 'aged', phoenix_server.endpoint), time.monotonic()+60
    while server_time(phoenix)<heard+timedelta(seconds=1): # a mark leaves the clocks two seconds, and the Date of a busy server lags behind
        assert time.monotonic()<until, 'the clock of Phoenix stands'
        time.sleep(.2)
    late = [say(spans[0], 'rejected', 'mara'), say(spans[700], 'approved', 'joel'), say(spans[950], 'approved', 'joel'), Annotation('', 'outcome', label='solved', session_id='year-100'), Annotation('', 'flow', label='good', trace_id=spans[900].trace_id)]
    touched = {spans[i].span_id for i in (0, 700, 950, 300, 301, 302, 900, *range(1000, 1010))}
    return spans, late, touched, lambda: run(send(spans[1000:], late, 'aged', phoenix_server.endpoint))

def test_after_one_percent_more_a_second_pull_reads_little_more_than_that(aged, phoenix_server):
    spans, late, touched, grow = aged
    sources = dict(http=Counted(PhoenixProvider('acme', 'aged', phoenix_server.endpoint)), database=Counted(PhoenixDatabaseProvider(phoenix_server.database_url, 'acme', 'aged')))
    firsts = {k: c.pull() for k,c in sources.items()}
    grow()
    assert len(run(sources['http'].p.traces.get_spans()))==1010, 'no limit of a list shows'
    for k,c in sources.items():
        (_, first, n, notes), (again, second, m, _) = firsts[k], c.pull(since=firsts[k][0][-1].mark)
        assert (n, notes)==(1000, 200) and {s.span_id for b in again for s in b.spans}==touched and m==len(touched)
        said = {(a.on, a.name, a.identifier): a.label for b in again for a in b.annotations}
        assert all(said[a.on, a.name, a.identifier]==a.label for a in late), 'late ones are there, of any age'
        assert m/n<.02 and second['rows']/first['rows']<.04 and second['bytes']/first['bytes']<.03, (k, first, second)
    http, mark = sources['http'], firsts['http'][0][-1].mark
    assert {s.span_id for b in http.pull(since=mark, late_days=60)[0] for s in b.spans}==touched-{spans[i].span_id for i in (0, 700, 300, 301, 302)}, 'a limit is a limit'

def test_a_pull_over_http_looks_its_project_up_once(phoenix_server):
    spans = [numbered(60_000+i) for i in range(17)]
    run(send(spans, [Annotation(s.span_id, 'human_review', label='approved') for s in spans], 'once', phoenix_server.endpoint))
    http = Counted(PhoenixProvider('acme', 'once', phoenix_server.endpoint))
    batches, cost, n, notes = http.pull(batch_size=5)
    assert (n, notes)==(17, 17) and http.paths.count('/v1/projects')==1, http.paths
    assert cost['requests']==1+4*4, 'the project; for each of four pages the spans, and annotations of spans, traces and sessions'
    http.pull(since=batches[-1].mark)
    assert http.paths.count('/v1/projects')==2, 'once a pull'

def test_a_project_that_was_deleted_and_made_again_is_found(phoenix_server):
    import httpx
    at = phoenix_server.endpoint
    p = PhoenixProvider('acme', 'reborn', at)
    async def names(): return [s.span_id async for spans in p.span_batches() for s in spans]
    async def pulled(): return [s.span_id async for b in p.pull() for s in b.spans]
    old, others, new = [numbered(61_000)], [numbered(61_100)], [numbered(61_200), numbered(61_201)]
    run(send(old, (), 'reborn', at))
    assert run(names())==run(pulled())==[old[0].span_id]
    httpx.delete(f'{at}/v1/projects/reborn').raise_for_status()
    run(send(others, (), 'between', at)) # SQLite gives it the id that is free
    for read in (names, pulled):
        with pytest.raises(TelemetryError, match="no project 'reborn'"): run(read())
    run(send(new, (), 'reborn', at))
    assert run(names())==run(pulled())==[s.span_id for s in new]

def test_a_pull_that_was_cut_goes_on_where_it_was(providers, both):
    *_, spans, notes = both
    for name in ('http on SQLite', 'SQLite', 'PostgreSQL'):
        p = providers[name]
        async def first(p, k):
            got = []
            async for b in p.pull(batch_size=100):
                got.append(b)
                if len(got)==k: return got
        part = run(first(p, 3))
        async def rest(p, mark): return [b async for b in p.pull(batch_size=100, since=mark)]
        others = run(rest(p, part[-1].mark))
        ids = [s.span_id for b in part+others for s in b.spans]
        assert set(ids)=={s.span_id for s in spans}, name
        if name=='http on SQLite': assert len(part[0].spans)==100

def test_a_mark_of_another_project_is_refused(providers):
    for name in ('http on SQLite', 'SQLite', 'JSON Lines'):
        async def go(p): return [b async for b in p.pull(since=dict(source='elsewhere', project='x'))]
        with pytest.raises(FtkitError, match='the mark is for elsewhere'): run(go(providers[name]))

def test_files_are_read_again_when_they_change(tmp_path):
    p = FileProvider(save_telemetry(tmp_path, [numbered(1)]))
    async def go(since=None): return [b async for b in p.pull(since=since)]
    mark = run(go())[-1].mark
    assert run(go(mark))==[]
    save_telemetry(tmp_path, [numbered(1), numbered(2)], [Annotation(numbered(1).span_id, 'human_review', label='approved')])
    assert [(len(b.spans), len(b.annotations)) for b in run(go(mark))]==[(2, 1), (0, 0)]

def test_rows_deleted_and_given_out_again_start_the_pull_over(tmp_path, small_db):
    p = PhoenixDatabaseProvider(small_db, project='shop')
    async def go(since=None): return [b async for b in p.pull(since=since)]
    mark = run(go())[-1].mark
    with sqlite3.connect(small_db) as db: db.execute("UPDATE spans SET span_id = 'another' WHERE id = (SELECT max(id) FROM spans)")
    assert sum(len(b.spans) for b in run(go(mark)))==5


# ---- what can be wrong with a database ----

TABLES = 'projects', 'project_sessions', 'traces', 'spans', 'span_annotations', 'document_annotations', 'trace_annotations', 'project_session_annotations'

@pytest.fixture(scope='module')
def columns(phoenix_server):
    "The columns of each table, as the Phoenix that runs here made them"
    with sqlite3.connect(phoenix_server.database_url.removeprefix('sqlite:///')) as db: return {t: [row[1] for row in db.execute(f'PRAGMA table_info({t})')] for t in TABLES}

def make_db(path, columns, n=5):
    "Phoenix's tables with one project of `n` judged spans"
    with sqlite3.connect(path) as c:
        for name, found in columns.items():
            made = ', '.join('id INTEGER PRIMARY KEY' if col=='id' else f'"{col}"' for col in found)
            c.execute(f'CREATE TABLE {name} ({made})')
        c.execute('CREATE TABLE alembic_version (version_num)'); c.execute(f"INSERT INTO alembic_version VALUES ('{REVISIONS[-1]}')")
        c.execute("INSERT INTO projects (id, name) VALUES (1, 'shop')")
        c.execute("INSERT INTO traces (id, project_rowid, trace_id) VALUES (1, 1, 't')")
        attributes = json.dumps({'llm': {'input_messages': [{'message': {'role': 'user', 'content': 'word '*20}} for _ in range(10)]}})
        c.executemany("INSERT INTO spans (id, trace_rowid, span_id, name, span_kind, start_time, end_time, attributes, status_code, status_message) VALUES (?, 1, ?, 'a', 'LLM', '2026-01-01 00:00:00.000000', '2026-01-01 00:00:01.000000', ?, 'OK', '')", [(i+1, f's{i}', attributes) for i in range(n)])
        c.executemany("INSERT INTO span_annotations (id, span_rowid, name, label, annotator_kind, metadata, identifier, created_at, updated_at) VALUES (?, ?, 'human_review', 'approved', 'HUMAN', '{}', '', '2026-01-02 00:00:00', '2026-01-02 00:00:00')", [(i+1, i+1) for i in range(n)])
        c.execute('CREATE UNIQUE INDEX span_ids ON spans (span_id)'); c.execute('CREATE INDEX judged ON span_annotations (span_rowid)')
    return path

@pytest.fixture
def small_db(tmp_path, columns): return make_db(tmp_path/'phoenix.db', columns)

def test_the_installed_phoenix_has_a_known_schema(phoenix_server):
    with sqlite3.connect(phoenix_server.database_url.removeprefix('sqlite:///')) as db: assert db.execute('SELECT version_num FROM alembic_version').fetchone()[0]==REVISIONS[-1]

def test_an_unknown_schema_is_refused(small_db):
    with sqlite3.connect(small_db) as db: db.execute("UPDATE alembic_version SET version_num = 'feedfeedfeed'")
    with pytest.raises(TelemetryError, match='revision feedfeedfeed.*PhoenixProvider'): run(PhoenixDatabaseProvider(small_db, project='shop').traces.get_spans())

def test_another_database_is_refused(tmp_path):
    sqlite3.connect(tmp_path/'x.db').execute('CREATE TABLE a (b)')
    with pytest.raises(TelemetryError, match="is not Phoenix's"): run(PhoenixDatabaseProvider(tmp_path/'x.db').projects())

def test_a_file_that_is_no_database_is_named(tmp_path):
    (tmp_path/'x.db').write_text('not a database at all '*50)
    with pytest.raises(TelemetryError, match='x.db cannot be read'): run(PhoenixDatabaseProvider(tmp_path/'x.db').projects())

def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TelemetryError, match='there is no database at'): PhoenixDatabaseProvider(tmp_path/'no.db')
    with pytest.raises(TelemetryError, match='there is no database at'): PhoenixDatabaseProvider(f'sqlite:///{tmp_path}')

def test_a_server_that_is_not_there_is_named_without_its_password():
    p = PhoenixDatabaseProvider(f'postgresql://me:secret@127.0.0.1:{free_port()}/phoenix')
    with pytest.raises(TelemetryError, match='cannot be read') as e: run(p.projects())
    assert 'secret' not in str(e.value) and 'secret' not in repr(p)

def test_a_database_that_is_not_there_is_named(postgres_server):
    with pytest.raises(TelemetryError, match='"nope" does not exist'): run(PhoenixDatabaseProvider(postgres_server.url('nope')).projects())

def test_nothing_can_be_written(providers):
    for name in ('SQLite', 'PostgreSQL'):
        p = providers[name]
        async def write(p):
            from sqlalchemy import text
            async with p._connected() as c: await c.execute(text("UPDATE projects SET name = 'mine'"))
        with pytest.raises(TelemetryError, match='read.?only'): run(write(p))

def test_attributes_skip_nest_only_when_it_would_change_nothing():
    for value in ({'a': {'b': [1, 2]}}, {'a': [{'b': 1}]}, {'a.b': 1}, {'a': {}}, {'a': None}, {'metadata': '{"x": 1}'}, {'metadata': 'text'}, {'m': {'0': 1}}, {'m': {'0': {'a': 1}}}, {'a': [{}]}, {'a': [{'b': 1}, None]}, {'a': [1, {'b': 1}]}, {'a': [[{'b.c': 1}]]}, {'a': []}, {'': 1}, {' a': 1}):
        assert stored_attributes(json.dumps(value))==nest(value), value
    assert stored_attributes('{"a": NaN, "b": 1}')=={'b': 1}

values = st.recursive(st.one_of(st.none(), st.booleans(), st.integers(-2**63, 2**63), st.floats(), st.text(max_size=5), st.just('{"a": 1}')), lambda t: st.one_of(st.lists(t, max_size=3), st.dictionaries(st.one_of(st.text(max_size=3), st.sampled_from(['a', 'b', 'metadata', 'a.b', '0'])), t, max_size=3)), max_leaves=10)

@settings(max_examples=500 if os.environ.get('FTKIT_FULL') else 100)
@given(st.dictionaries(st.sampled_from(['llm', 'input', 'metadata', 'a.b', 'tool', '1']), values, max_size=3))
def test_any_attributes_read_from_the_database_are_what_nest_gives(a): assert stored_attributes(json.dumps(a))==nest(a)


# ---- size ----

def peak_mb(p):
    "Most memory held at once by a whole pull"
    import gc, tracemalloc
    async def pull(): return sum([len(b.annotations) async for b in p.pull(batch_size=100)])
    run(pull()); gc.collect()
    tracemalloc.start()
    try: return run(pull()), tracemalloc.get_traced_memory()[1]/1e6
    finally: tracemalloc.stop()

@pytest.mark.parametrize('kind', ['database', 'jsonl', 'parquet'])
def test_memory_does_not_grow_with_the_project(tmp_path, columns, kind):
    def provider(n):
        db = PhoenixDatabaseProvider(make_db(tmp_path/f'{n}.db', columns, n), project='shop')
        if kind=='database': return db
        spans, notes = run(everything(db))
        return FileProvider(save_telemetry(tmp_path/f'{kind}-{n}', spans.values(), notes.values(), kind=kind))
    (few, small), (many, large) = peak_mb(provider(300)), peak_mb(provider(1500))
    assert (few, many)==(300, 1500) and large<small*1.5, f'{small:.1f} MB for 300 spans, {large:.1f} MB for 1,500'

# --- what annotation names mean in a Phoenix

def test_the_annotation_configs_of_a_phoenix_are_rules_over_http_and_from_its_database(phoenix_server):
    import httpx
    from ftkit.data.extract import known_policy, pull
    from ftkit.data.rules import Rule
    from ftkit.data.verdicts import AnnotationPolicy
    stars = dict(name='config_stars', type='CONTINUOUS', optimization_direction='MAXIMIZE', lower_bound=1, upper_bound=5)
    made_up = dict(name='config_made_up', type='CATEGORICAL', optimization_direction='MINIMIZE', values=[dict(label='made up', score=1), dict(label='from the source', score=0)])
    for config in (stars, made_up): assert httpx.post(f'{phoenix_server.endpoint}/v1/annotation_configs', json=config).status_code<300
    rules = dict(config_stars=Rule(scale=(1, 5), direction='maximize'), config_made_up=Rule(approve=('from the source',), reject=('made up',)))
    spans = [replace(numbered(65_000+i), attributes={'input': {'value': f'question {i}'}, 'output': {'value': f'answer {i}'}}) for i in range(3)]
    notes = [Annotation(spans[0].span_id, 'config_stars', score=2., identifier='mara'), Annotation(spans[1].span_id, 'config_stars', score=5., identifier='mara'), Annotation(spans[2].span_id, 'config_made_up', label='From the source', identifier='mara')]
    run(send(spans, notes, 'configs', phoenix_server.endpoint))
    for p in (PhoenixProvider('acme', 'configs', phoenix_server.endpoint), PhoenixDatabaseProvider(phoenix_server.database_url, 'acme', 'configs')):
        policy = run(known_policy(p, AnnotationPolicy()))
        assert {n: policy.rules[n] for n in rules}==rules
        assert run(known_policy(p, AnnotationPolicy(rules=dict(config_stars=Rule(approve=2))))).rules['config_stars']==Rule(approve=2), 'the rule of the caller wins'
        assert 'config_stars' not in run(known_policy(p, AnnotationPolicy(threshold=4.))).rules, 'so does a threshold'
        assert sorted(e.output for e in run(pull(p, 'configs')).sets['examples'])==['answer 1', 'answer 2']
