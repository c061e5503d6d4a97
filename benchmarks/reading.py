"""Reading telemetry out of Phoenix: its database, its HTTP interface, and its own client's data frames. Usage: python benchmarks/reading.py [--spans 30000] [--stores FOLDER]

The store is a real Phoenix's: about 2,100 spans of the sample shop and what was said about them go in over OTLP and HTTP, each span with 2 KB of prompt template more, so that a
span has about 3 KB. Then, with Phoenix stopped, its rows are multiplied in SQL, each copy with ids and times of its own, until there are enough; that takes seconds where sending would take
an hour. Phoenix then serves the multiplied file. All sides fetch every span with its annotations: `PhoenixDatabaseProvider.pull` (with document, trace and session
annotations besides), `PhoenixProvider` page by page, and `get_spans_dataframe` + `get_span_annotations_dataframe` of Phoenix's client with a limit and a timeout that let them finish.
Each is timed in a process of its own. With `--clock cpu`, time is the processor time of client and server together; the other user's waiting is always by the wall.
"""
import asyncio, json, os, shutil, sqlite3, subprocess, sys, tempfile, time
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from statistics import median

import measure as m

PROJECT = 'shop'
COPIED = ('project_sessions', 'traces', 'spans', 'span_annotations', 'document_annotations', 'trace_annotations', 'project_session_annotations')
KEYS = dict(trace_rowid='traces', span_rowid='spans', parent_rowid='spans', project_session_rowid='project_sessions', project_session_id='project_sessions')
IDS = ('span_id', 'trace_id', 'parent_id')
TEMPLATE = 'Answer as the shop does: say what is known about the order, ask for what is missing, and never promise a day. '*18


def sample(seeds, key):
    "Spans of the shop and what was said about them."
    from ftkit.telemetry import samples
    from ftkit.telemetry.spans import renewed
    spans, notes = [], []
    for seed in range(seeds):
        s, a = renewed(*samples.telemetry(seed=seed), key=f'{key}-{seed}')
        spans += [replace(x, attributes={**x.attributes, 'llm': {**x.attributes.get('llm', {}), 'prompt_template': {'template': TEMPLATE}}}) for x in s]
        notes += a
    return spans, notes


def seed_store(folder, seeds=3):
    "A Phoenix's folder with a few thousand spans, sent as any client sends them."
    from ftkit.telemetry.sending import send
    from ftkit.telemetry.server import phoenix
    if (folder/'phoenix.db').exists(): return folder
    making = folder.with_name(folder.name+'.part')
    shutil.rmtree(making, ignore_errors=True)
    with phoenix(working_dir=making, timeout_s=300) as server: asyncio.run(send(*sample(seeds, 'seed'), PROJECT, server.endpoint, timeout_s=300))
    with sqlite3.connect(making/'phoenix.db') as db: db.execute('PRAGMA wal_checkpoint(TRUNCATE)')
    making.rename(folder)
    return folder


def multiplied(db, table, copies, widest):
    "One statement a copy: the same rows with row ids, ids and times of their own."
    columns = [(r[1], r[2].upper()) for r in db.execute(f'PRAGMA table_info({table})')]
    def value(name, kind):
        if name=='id' or name in KEYS: return f'{name}+:k*{widest[KEYS.get(name, table)]}'
        if name=='session_id': return "session_id||'-'||:k"
        if name in IDS: return f"CASE WHEN {name} IS NULL THEN NULL ELSE printf('%06x', :k)||substr({name}, 7) END"
        if name in ('start_time', 'end_time'): return f"strftime('%Y-%m-%d %H:%M:%f000', {name}, '-'||:k||' minutes')"
        return name
    names = ', '.join(n for n,_ in columns)
    picked = ', '.join(value(*c) for c in columns)
    for k in range(1, copies): db.execute(f'INSERT INTO {table} ({names}) SELECT {picked} FROM {table} WHERE id<={widest[table]}', dict(k=k))


def multiply(file, n):
    "Give a Phoenix database exactly this many spans."
    db = sqlite3.connect(file)
    widest = {t: db.execute(f'SELECT coalesce(max(id), 0) FROM {t}').fetchone()[0] for t in COPIED}
    copies = -(-n//db.execute('SELECT count(*) FROM spans').fetchone()[0])
    for t in COPIED: multiplied(db, t, copies, widest)
    last = db.execute('SELECT id FROM spans ORDER BY id LIMIT 1 OFFSET ?', (n-1,)).fetchone()[0]
    for t in ('span_annotations', 'document_annotations'): db.execute(f'DELETE FROM {t} WHERE span_rowid>?', (last,))
    db.execute('DELETE FROM spans WHERE id>?', (last,))
    db.commit()
    db.execute('PRAGMA wal_checkpoint(TRUNCATE)')
    db.close()


def store(stores, n):
    "A folder with a Phoenix database of exactly this many spans."
    folder = Path(stores)/f'spans-{n}'
    if (folder/'phoenix.db').exists(): return folder
    seed, making = seed_store(Path(stores)/'seed'), folder.with_name(folder.name+'.part')
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    shutil.copy(seed/'phoenix.db', making/'phoenix.db')
    multiply(making/'phoenix.db', n)
    making.rename(folder)
    return folder


async def _pulled(provider, since, seen, batch_size):
    spans = notes = 0
    mark = since
    async for b in provider.pull(since=since, batch_size=batch_size):
        spans, notes, mark = spans+len(b.spans), notes+len(b.annotations), b.mark
        if seen: seen(b)
    return spans, notes, mark


def pull(provider, since=None, seen=None, batch_size=1000):
    "Everything a provider has, batch by batch, nothing kept: spans, annotations, mark."
    return asyncio.run(_pulled(provider, since, seen, batch_size))


def same_content(provider):
    "What the client's two frames hold: spans and annotations of spans, batch by batch."
    async def go():
        async for spans in provider.span_batches(): await provider.annotations_on('span', [s.span_id for s in spans])
    asyncio.run(go())


def providers(folder, endpoint=None):
    from ftkit.telemetry.phoenixdb import PhoenixDatabaseProvider
    from ftkit.telemetry.http import PhoenixProvider
    return PhoenixDatabaseProvider(folder/'phoenix.db', 'benchmark', PROJECT), endpoint and PhoenixProvider('benchmark', PROJECT, endpoint, timeout_s=600)


def frames(endpoint, n):
    "Phoenix's own client: two data frames."
    from phoenix.client import Client
    client = Client(base_url=endpoint)
    spans = client.spans.get_spans_dataframe(project_identifier=PROJECT, limit=n, timeout=3600)
    return spans, client.spans.get_span_annotations_dataframe(spans_dataframe=spans, project_identifier=PROJECT, timeout=3600)


def check_equal(n, database, http, endpoint):
    "All three sides give the same spans and the same annotations of spans; returns how many."
    found = []
    for p in (database, http):
        spans, notes = {}, Counter()
        def see(b):
            spans.update({s.span_id: (s.name, str(s.get('input.value'))) for s in b.spans}) # noqa: B023
            notes.update((a.span_id, a.name, a.label) for a in b.annotations if a.target=='span') # noqa: B023
        pull(p, seen=see)
        found.append((spans, notes))
    df, said = frames(endpoint, n)
    found.append(({i: (r['name'], str(r.get('attributes.input.value'))) for i,r in df.iterrows()}, Counter((i, r['annotation_name'] if 'annotation_name' in said else r['name'], r['result.label']) for i,r in said.iterrows())))
    for what,(spans,notes) in zip(('HTTP', 'the client'), found[1:]):
        if spans!=found[0][0]: raise AssertionError(f'{what} gives other spans than the database')
        if notes!=found[0][1]: raise AssertionError(f'{what} gives other annotations than the database')
    return dict(spans=len(found[0][0]), annotations=sum(found[0][1].values()))


def server_cpu(pid):
    "Processor seconds of another process."
    fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    return (int(fields[11])+int(fields[12]))/os.sysconf('SC_CLK_TCK')


def served_store(a, n):
    "Phoenix on a copy of a store, which a benchmark may add to."
    from ftkit.telemetry.server import phoenix
    place = Path(tempfile.mkdtemp(prefix='ftkit-benchmark-', dir=a.stores))
    shutil.copy(store(a.stores, n)/'phoenix.db', place/'phoenix.db')
    server = phoenix(working_dir=place, timeout_s=300)
    if a.clock=='cpu': m.now = lambda: time.process_time()+server_cpu(server.child.pid)
    return server, place


def bare(file):
    "The least that a reader in Python does: fetch the rows of both tables, read JSON and times, make records. No project, no odd shapes, no sessions, no marks."
    import orjson
    from datetime import datetime
    from ftkit.telemetry.spans import Annotation, Span
    when = lambda text: datetime.fromisoformat(text+'+00:00')
    db = sqlite3.connect(f'file:{file}?mode=ro', uri=True)
    try:
        rows = db.execute('SELECT s.span_id, t.trace_id, s.parent_id, s.name, s.span_kind, s.start_time, s.end_time, s.status_code, s.attributes FROM spans s JOIN traces t ON t.id = s.trace_rowid')
        while some := rows.fetchmany(1000): [Span(*r[:5], when(r[5]), when(r[6]), r[7], orjson.loads(r[8])) for r in some]
        said = db.execute('SELECT s.span_id, a.name, a.annotator_kind, a.label, a.score, a.explanation, a.identifier, a.created_at, a.updated_at FROM span_annotations a JOIN spans s ON s.id = a.span_rowid')
        while some := said.fetchmany(1000): [Annotation(*r[:7], None, when(r[7]), when(r[8])) for r in some]
    finally: db.close()


def alone(side, folder, endpoint, n, clock):
    "Seconds that one side takes, in a process of its own that has its libraries."
    import aiosqlite, phoenix.client, sqlalchemy.ext.asyncio # noqa: F401, E401
    m.choose_clock(clock)
    database, http = providers(Path(folder), endpoint)
    sides = dict(frames=lambda: frames(endpoint, n), http=lambda: same_content(http), database=lambda: pull(database), bare=lambda: bare(Path(folder)/'phoenix.db'))
    began = m.now()
    sides[side]()
    return m.now()-began


def extraction(a, report):
    "All spans with their annotations; then what is new."
    server, place = served_store(a, a.spans)
    try:
        found, at_server = check_equal(a.spans, *providers(place, server.endpoint), server.endpoint), {}
        def call(side):
            began = server_cpu(server.child.pid)
            own = m.child(__file__, 'alone', side, str(place), server.endpoint, a.spans, a.clock)
            at_server.setdefault(side, []).append(server_cpu(server.child.pid)-began)
            return own+(at_server[side][-1] if a.clock=='cpu' else 0)
        took = m.in_turn({k: (lambda k=k: call(k)) for k in ('frames', 'http', 'database', 'bare')}, a.rounds, warm=0)
        a_span = lambda times: {k: 1000*median(v)/a.spans for k,v in times.items()}
        more = dict(found, spans_per_s={k: a.spans/median(v) for k,v in took.items()}, ms_a_span=a_span(took), of_it_processor_time_of_the_server=a_span(at_server), bytes=(place/'phoenix.db').stat().st_size)
        report.keep(m.row('Extraction from the database, spans/s', "Phoenix's client, data frames", m.ratios(took, 'frames', 'database'), 50, note=WHERE_DB, limit=median(m.ratios(took, 'frames', 'bare')), **more),
            m.row('Extraction over HTTP, spans/s', "Phoenix's client, data frames", m.ratios(took, 'frames', 'http'), 3, note=WHERE_HTTP, limit=median(took['frames'])/median(at_server['http']), **more))
        second(a, report, server, place)
    finally: stop(server, place)


def stop(server, place):
    server.stop()
    m.now = m.CLOCKS['wall']
    shutil.rmtree(place, ignore_errors=True)


def second(a, report, server, place):
    "A pull, one percent more spans and annotations, and a pull from the mark."
    from ftkit.telemetry.sending import send
    took, got, n = dict(first=[], second=[]), [], a.spans//100
    for i in range(a.rounds):
        database, _ = providers(place)
        began = m.now()
        mark = pull(database)[2]
        took['first'].append(m.now()-began)
        spans, notes = sample(max(1, n//700+1), f'new-{i}')
        some = [replace(s, start_time=s.start_time+timedelta(days=30+i), end_time=s.end_time+timedelta(days=30+i)) for s in spans[:n]]
        ids = {s.span_id for s in some}
        asyncio.run(send(some, [x for x in notes if x.span_id in ids], PROJECT, server.endpoint, timeout_s=300))
        time.sleep(3) # a mark goes back two seconds
        began = m.now()
        got.append(pull(database, mark)[0])
        took['second'].append(m.now()-began)
    if not all(g>=n for g in got): raise AssertionError(f'the second pull found {got} of {n} new spans')
    report.keep(m.row('Second pull after 1% new data, share of the first', 'the first pull, database', m.ratios(took, 'second', 'first'), .03, better=False, note=SMALL, new_spans=n, seconds={k: median(v) for k,v in took.items()}))


def read_peak(folder):
    "Megabytes that reading a whole store adds to a process that has its libraries."
    import aiosqlite, sqlalchemy.ext.asyncio # noqa: F401, E401
    database, _ = providers(Path(folder))
    return m.growth(lambda: pull(database))


def growth(a, report):
    "Time and memory of the database reader against the number of spans."
    folders = {n: store(a.stores, n) for n in (*a.sizes, *a.large)}
    took = m.in_turn({n: (lambda n=n: pull(providers(folders[n])[0])) for n in a.sizes}, a.rounds)
    mb = m.in_turn({n: (lambda n=n: float(m.child(__file__, 'read_peak', str(folders[n])))) for n in folders}, a.rounds, warm=0)
    took.update(m.in_turn({n: (lambda n=n: pull(providers(folders[n])[0])) for n in a.large}, 1, warm=0))
    found = [dict(spans=n, seconds=median(took[n]), memory_mb=median(mb[n])) for n in folders]
    slopes = [m.exponent(a.sizes, [took[n][i] for n in a.sizes]) for i in range(a.rounds)]
    sizes = list(folders)
    report.keep(m.row('Reading time against spans, exponent', 'four sizes', slopes, 1.1, better=False), m.row('Reading memory against spans, exponent', f'{sizes[0]:,} to {sizes[-1]:,} spans', [m.exponent(sizes, [mb[n][i] for n in sizes]) for i in range(a.rounds)], .1, better=False),
        **{'Reading by spans': dict(against="Phoenix's database, with annotations", x='spans', y='seconds', points=found)})


def other_user(endpoint, every):
    "Seconds of a small request that another user makes at this pace, whatever happens to the ones before, until standard input ends."
    import httpx
    took = []
    async def ask(client):
        began = time.perf_counter()
        (await client.get(f'v1/projects/{PROJECT}/spans', params=dict(limit=10))).raise_for_status()
        took.append(time.perf_counter()-began)
    async def go():
        waiting, end = [], asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        async with httpx.AsyncClient(base_url=endpoint, timeout=None, trust_env=False, limits=httpx.Limits(max_connections=None)) as client:
            while not end.done():
                waiting.append(asyncio.create_task(ask(client)))
                await asyncio.sleep(every)
            await asyncio.gather(*waiting)
    asyncio.run(go())
    return took


def beside(endpoint, every, call):
    "The 99th percentile of the other user's requests while something else happens."
    import numpy as np
    user = subprocess.Popen([sys.executable, __file__, '--child', 'other_user', json.dumps([endpoint, every])], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    time.sleep(3)
    call()
    return float(np.quantile(json.loads(user.communicate('')[0].splitlines()[-1]), .99))


def kindness(a, report):
    "How long another user waits while somebody reads everything."
    server, place = served_store(a, a.export)
    try:
        from phoenix.client import Client
        database, http = providers(place, server.endpoint)
        whole = lambda: Client(base_url=server.endpoint).spans.get_spans_dataframe(project_identifier=PROJECT, limit=a.export, timeout=3600)
        sides = dict(frames=whole, http=lambda: pull(http), pages_of_100=lambda: pull(http, batch_size=100), database=lambda: pull(database), nobody=lambda: time.sleep(5))
        took = m.in_turn({k: (lambda f=f: beside(server.endpoint, a.every, f)) for k,f in sides.items()}, a.rounds, warm=0)
    finally: stop(server, place)
    more = dict(spans=a.export, request_every_s=a.every, ratio_where_nobody_reads=median(m.ratios(took, 'frames', 'nobody')), p99_s={k: median(v) for k,v in took.items()})
    for k,name in (('http', 'over HTTP'), ('pages_of_100', 'over HTTP, pages of 100'), ('database', 'from the database')):
        report.keep(m.row(f'p99 of another user during an export {name}', 'get_spans_dataframe', m.ratios(took, 'frames', k), 70, note=PAGES, **more),
            m.row(f'p99 of another user during an export {name}, seconds', 'none', took[k], .2, better=False, note=PAGES, **more))


WHERE_DB = "limit is what the least reader in Python reaches in the same rounds (`bare`: rows of both tables from sqlite3, JSON by orjson, times, records, nothing else); it is below the target. The rest goes into SQLAlchemy, the project, documents', traces' and sessions' annotations, shapes of attributes that need rebuilding, and marks"
WHERE_HTTP = "limit is what would be reached if everything but the server's own processor time were free (of_it_processor_time_of_the_server): it builds and writes every span one by one, and the data frames need twice that. Its query language would hand out whole attributes too, but rounds numbers to ten places and gives no order to go on from, so it is not used"
SMALL = "opening the database, checking its schema and looking for late annotations cost the same for one span as for all; the share falls as the store grows: 5% at 5,000 spans, 1.7% at 30,000"
PAGES = "ratio_where_nobody_reads is the most that can be reached. A page of 1,000 spans keeps the server's one process busy for about a second, and others wait for it; pages of 100 (batch_size=100) let them in between, and the database is not noticed"

PARTS = dict(growth=growth, kindness=kindness, extraction=extraction)


def main():
    ap = m.arguments(__doc__, __file__, PARTS)
    ap.add_argument('--spans', type=int, default=30_000)
    ap.add_argument('--sizes', type=int, nargs='+', default=[10_000, 20_000, 40_000, 80_000], help='of the growth curve')
    ap.add_argument('--large', type=int, nargs='*', default=[300_000], help='more sizes, timed once')
    ap.add_argument('--export', type=int, default=10_000, help='spans of the export that another user notices')
    ap.add_argument('--every', type=float, default=.1, help="seconds between the other user's requests")
    ap.add_argument('--stores', default=str(Path(tempfile.gettempdir())/'ftkit-benchmark-stores'), help='where the multiplied databases are kept')
    a = ap.parse_args()
    if a.smallest: a.spans, a.sizes, a.large, a.export, a.rounds = 800, [800, 1600], [], 800, 1
    Path(a.stores).mkdir(parents=True, exist_ok=True)
    m.choose_clock(a.clock)
    report = m.Report(a.out, dict(m.environment('arize-phoenix', 'arize-phoenix-client', 'sqlalchemy'), clock=a.clock))
    for part in a.only: PARTS[part](a, report)


if __name__=='__main__' and not m.served(globals()): main()
