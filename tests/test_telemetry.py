"Telemetry comes whole or not at all: providers against a scripted server and against a real Phoenix."
import asyncio, base64, json, os, random, signal, subprocess, sys, threading, time
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from ftkit.telemetry import samples
from ftkit.core import FtkitError, collector_waits, content_hash
from ftkit.data.extract import extraction, pull
from ftkit.telemetry.spans import (
    Annotation, Span, annotations_frame, frame_annotations, frame_spans, nest, renewed, spans_frame)
from ftkit.telemetry.files import FileProvider, save_telemetry
from ftkit.telemetry.http import PhoenixProvider
from ftkit.telemetry.sending import send
from ftkit.telemetry.server import free_port, phoenix
from ftkit.telemetry.wire import TelemetryError, address

run = asyncio.run

def plain_span(i, **kw):
    "A small span with number `i`"
    when = samples.UNTIL-timedelta(days=9)+timedelta(seconds=i)
    given = dict(span_id=f'{i+1:016x}', trace_id=f'{i+1:032x}', parent_id=None, name='answer', kind='LLM', start_time=when, end_time=when+timedelta(seconds=1), status='OK', attributes={'input': {'value': f'question {i}'}, 'output': {'value': f'answer {i}'}})
    return Span(**{**given, **kw})


# ---- a scripted server: Phoenix's lists, and a fault for each request that the script names ----

SPANS = [plain_span(i) for i in range(130)]
NOTES = [Annotation(s.span_id, 'human_review', label='approved' if i%3 else 'rejected', score=float(i%3>0), identifier=who) for i,s in enumerate(SPANS) for who in ('mara', 'joel')]

def row_id(n): return base64.b64encode(f'Span:{n}'.encode()).decode()

def rest_span(n, s):
    return dict(id=row_id(n+1), name=s.name, context=dict(span_id=s.span_id, trace_id=s.trace_id), span_kind=s.kind, parent_id=s.parent_id, start_time=s.start_time.isoformat(), end_time=s.end_time.isoformat(),
        status_code=s.status, status_message='', attributes={k: s.get(k) for k in ('input.value', 'output.value')})

def rest_note(a): return dict(span_id=a.span_id, name=a.name, annotator_kind=a.kind, result=dict(label=a.label, score=a.score, explanation=None), identifier=a.identifier, metadata={}, created_at='2026-02-01T00:00:00Z', updated_at='2026-02-01T00:00:00Z', user_id=None)

class Stub(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *_): pass

    def answer(self, code, body, headers=(), cut=0, kind='application/json'):
        self.send_response(code)
        for k,v in (('content-type', kind), ('content-length', str(len(body))), *headers): self.send_header(k, v)
        self.end_headers()
        self.wfile.write(body[:len(body)-cut] if cut else body)
        if cut: self.wfile.flush(); self.close_connection = True

    def do_GET(self):
        s = self.server
        with s.lock: s.flying += 1; s.most = max(s.most, s.flying); n = len(s.log); s.log.append(self.path)
        try: self.serve(s.script(n))
        except (BrokenPipeError, ConnectionResetError): self.close_connection = True
        finally:
            with s.lock: s.flying -= 1

    def do_POST(self):
        self.rfile.read(int(self.headers['content-length']))
        self.do_GET()

    def serve(self, fault):
        if fault=='stall': time.sleep(1.2)
        if fault=='hang up': self.close_connection = True; return self.connection.close()
        if isinstance(fault, int): return self.answer(fault, b'{"detail": "busy"}')
        if isinstance(fault, tuple): return self.answer(fault[0], b'busy', [('retry-after', fault[1])], kind='text/plain')
        if fault=='html': return self.answer(200, b'<html>hello</html>', kind='text/html')
        if len(self.path)>self.server.longest: return self.answer(414, b'too long', kind='text/plain')
        body = json.dumps(self.body(fault)).encode()
        if fault=='not json': return self.answer(200, body[:-7]+b'#')
        if fault=='no data': return self.answer(200, b'{"error": 1}')
        self.answer(200, body, cut=10 if fault=='cut' else 0)

    def body(self, fault):
        url = urlsplit(self.path); q = parse_qs(url.query)
        if url.path=='/v1/projects': return dict(data=[dict(name=name, id=i) for name,i in self.server.ids.items()], next_cursor=None)
        if url.path=='/v1/annotation_configs': return dict(data=[], next_cursor=None)
        if url.path=='/graphql': return dict(data=dict(node=dict(spans=dict(pageInfo=dict(hasNextPage=False, endCursor=None), edges=[dict(node=dict(id=row_id(n+1), spanId=s.span_id, spanAnnotations=[dict(updatedAt='2026-02-01T00:00:00+00:00')])) for n,s in enumerate(SPANS)]))))
        rows = [rest_span(n, s) for n,s in enumerate(SPANS)] if url.path.endswith('/spans') else [rest_note(a) for a in NOTES if a.span_id in q.get('span_ids', [])]
        start, limit = int(base64.b64decode(q['cursor'][0])[5:])-1 if 'cursor' in q else 0, int(q['limit'][0])
        following = start+limit if start+limit<len(rows) else None
        if fault=='same cursor' and start: following = start
        return dict(data=rows[start:start+limit], next_cursor=None if following is None else row_id(following+1))

@contextmanager
def stub(script=lambda n: None, longest=10**6):
    "A running stub; `script` maps the number of a request to its fault"
    class Server(ThreadingHTTPServer):
        daemon_threads = True
        def handle_error(self, *_): pass
    server = Server(('127.0.0.1', 0), Stub)
    server.script, server.longest, server.lock, server.log, server.flying, server.most = script, longest, threading.Lock(), [], 0, 0
    server.ids = dict(shop='UHJv', lab='TGFi')
    threading.Thread(target=server.serve_forever, args=(.02,), daemon=True).start()
    try: yield server, f'http://127.0.0.1:{server.server_port}'
    finally: server.shutdown(); server.server_close()

class Waits:
    "A clock that only moves when somebody sleeps"
    def __init__(self): self.now, self.slept = 0., []
    async def sleep(self, seconds): self.slept.append(seconds); self.now += seconds
    def clock(self): return self.now

def provider(url, **kw):
    w = Waits()
    p = PhoenixProvider('acme', 'shop', url, **{**dict(sleep=w.sleep, clock=w.clock), **kw})
    p.waits = w
    return p

async def pulled(p, batch_size=20):
    "Everything, in small pages, as records"
    spans = [s async for f in p.traces.iter_spans(batch_size=batch_size) for s in frame_spans(f)]
    return spans, [a async for f in p.annotations.iter_annotations(spans, batch_size=50) for a in frame_annotations(f)]

@pytest.fixture(scope='module')
def clean():
    with stub() as (_, url): spans, notes = run(pulled(provider(url)))
    assert spans==SPANS and len(notes)==len(NOTES)
    return spans, notes

FAULTS = ['hang up', 500, 502, 503, 504, 408, 429, (429, '2'), (503, '1'), 'cut', 'not json', 'no data', 'same cursor']

@pytest.mark.parametrize('fault', FAULTS, ids=str)
@pytest.mark.parametrize('at', [0, 3])
def test_a_passing_fault_changes_nothing(clean, fault, at):
    with stub(lambda n: fault if n in (at, at+1) else None) as (server, url): assert run(pulled(provider(url)))==clean
    if fault!='same cursor': assert len(server.log)>=11

def dataset(url): return content_hash(run(pull(provider(url), 'shop')).sets)

async def batches(p, mark=None):
    "What a pull gives until it fails, and the failure"
    got = []
    try:
        async for b in p.pull(since=mark, batch_size=20): got.append(b)
    except TelemetryError as e: return got, e
    return got, None

@pytest.mark.parametrize('fault', FAULTS, ids=str)
def test_the_dataset_is_the_same_through_faults(fault):
    with stub() as (_, url): want = dataset(url)
    with stub(lambda n: fault if n in (1, 2, 4, 5) else None) as (_, url): assert dataset(url)==want

@pytest.mark.parametrize('fault', [500, (429, '1'), 'cut', 'not json', 'same cursor', 'hang up', 401, 404], ids=str)
def test_after_a_lasting_fault_the_mark_leads_to_the_dataset_of_a_clean_run(fault):
    with stub() as (server, url):
        want = dataset(url)
        server.script = lambda n: fault if n>=done+10 else None # the project, three pages and what was said about them
        done = len(server.log)
        part, problem = run(batches(provider(url)))
        assert problem and 0<len(part)<7 and sum(len(b.spans) for b in part)<len(SPANS)
        server.script = lambda n: None
        rest, problem = run(batches(provider(url), json.loads(json.dumps(part[-1].mark))))
    assert problem is None and sum(len(b.spans) for b in part+rest)>=len(SPANS)
    spans, notes = ([x for b in part+rest for x in getattr(b, k)] for k in ('spans', 'annotations'))
    once = {s.span_id: s for s in spans}
    assert content_hash(extraction(once.values(), notes).sets)==want

@pytest.mark.parametrize('at', [11, 12])
def test_a_project_that_goes_while_annotations_are_read_ends_the_pull(at):
    with stub() as (server, url):
        want = dataset(url)
        done = len(server.log)
        server.script = lambda n: 404 if n>=done+at else None # the project and three pages are there, and of the fourth a part
        part, problem = run(batches(provider(url)))
        assert problem and [len(b.annotations) for b in part]==[40]*3, 'no page without its annotations'
        server.script = lambda n: None
        rest, _ = run(batches(provider(url), part[-1].mark))
    spans, notes = ([x for b in part+rest for x in getattr(b, k)] for k in ('spans', 'annotations'))
    assert content_hash(extraction(spans, notes).sets)==want

def test_an_answer_that_no_id_is_known_is_no_error():
    with stub(lambda n: 404 if n==1 else None) as (server, url): assert len(run(provider(url).annotations.get_annotations(SPANS[:3])))==0
    assert [urlsplit(p).path for p in server.log]==['/v1/projects', '/v1/projects/UHJv/span_annotations', '/v1/projects'], 'the project is looked up again'

def test_a_project_of_another_id_while_it_is_read_is_an_error():
    def made_again(n):
        if n==2: server.ids = dict(shop='SGFs', lab='TGFi')
        return 404 if n==2 else None
    with stub(made_again) as (server, url), pytest.raises(TelemetryError, match='deleted and made again while it was read'): run(batches_of(provider(url)))

async def batches_of(p): return [b async for b in p.pull(batch_size=20)]

@pytest.mark.parametrize('seed', range(40))
def test_bursts_of_faults_change_nothing(clean, seed):
    rng = random.Random(seed)
    faults = {n: rng.choice(FAULTS) for n in range(60) if rng.random()<.4}
    with stub(faults.get) as (_, url):
        try: assert run(pulled(provider(url)))==clean
        except TelemetryError as e: assert 'tries' in str(e), seed # seven in a row: an error, never less data

def test_a_stalled_answer_is_asked_for_again(clean):
    with stub(lambda n: 'stall' if n==2 else None) as (_, url):
        assert run(pulled(PhoenixProvider('acme', 'shop', url, timeout_s=2)))==clean

LASTING = [(500, 'HTTP 500'), ((429, '1'), 'HTTP 429'), ('cut', 'a broken connection'), ('not json', 'a damaged answer'), ('no data', 'an answer without data'), ('hang up', 'a broken connection'), (401, 'wants an API key'), (403, 'wants an API key'),
    (404, 'not as Phoenix does'), ('html', 'not as Phoenix does'), (422, 'refused the request')]

@pytest.mark.parametrize('fault,said', LASTING, ids=str)
@pytest.mark.parametrize('at', [0, 3])
def test_a_lasting_fault_is_one_clear_error(fault, said, at):
    if fault==404 and at: said = 'no longer finds project'
    with stub(lambda n: fault if n>=at else None) as (_, url), pytest.raises(TelemetryError, match=said): run(pulled(provider(url)))

def test_a_cursor_that_never_moves_is_an_error():
    with stub(lambda n: 'same cursor') as (_, url), pytest.raises(TelemetryError, match='the same cursor twice'): run(pulled(provider(url)))

def test_a_wrong_key_is_told_apart_from_no_key():
    with stub(lambda n: 401) as (_, url), pytest.raises(TelemetryError, match='refused the API key'): run(provider(url, api_key='k').traces.get_spans())

def test_an_unknown_project_is_answered_with_those_there_are():
    with stub() as (_, url), pytest.raises(TelemetryError, match="no project 'shopp'; it has: lab, shop; did you mean 'shop'"): run(provider(url).traces.get_spans('shopp'))

def test_nobody_there_says_how_to_start_one():
    started = time.monotonic()
    with pytest.raises(TelemetryError, match='no Phoenix answers.*ftkit phoenix'): run(PhoenixProvider('acme', 'shop', f'http://127.0.0.1:{free_port()}').traces.get_spans())
    assert time.monotonic()-started<10

def test_a_slow_server_is_given_up_within_the_timeout():
    started = time.monotonic()
    with stub(lambda n: 'stall') as (_, url), pytest.raises(TelemetryError, match='no answer within'): run(PhoenixProvider('acme', 'shop', url, timeout_s=2).traces.get_spans())
    assert time.monotonic()-started<6

def test_retry_after_is_obeyed_and_the_pauses_grow():
    with stub(lambda n: (429, '5') if n==0 else 503 if n<4 else None) as (_, url):
        p = provider(url)
        run(p.projects())
    first, *others = p.waits.slept
    assert first==5 and all(b>a for a,b in zip(others, others[1:]))

def test_a_date_in_retry_after_is_understood():
    with stub(lambda n: (503, 'Wed, 21 Oct 2099 07:28:00 GMT') if n==0 else None) as (_, url), pytest.raises(TelemetryError, match='it asks to wait'): run(provider(url).projects())

def test_a_page_that_fails_is_asked_for_in_half_the_size():
    with stub(lambda n: 504 if n in (1, 2) else None) as (server, url): run(provider(url).traces.get_spans())
    assert [parse_qs(urlsplit(p).query)['limit'][0] for p in server.log[1:4]]==['1000', '500', '250']

def test_ids_that_do_not_fit_are_asked_for_in_halves(clean):
    with stub(longest=700) as (server, url): assert run(pulled(provider(url)))==clean
    assert any(len(p)>700 for p in server.log)

def test_one_request_flies_at_a_time():
    async def both(p): return await asyncio.gather(*(p.traces.get_spans() for _ in range(4)))
    with stub() as (server, url):
        p = provider(url)
        frames = run(both(p))
        assert len(run(p.traces.get_spans()))==len(SPANS), 'and again in another event loop'
    assert server.most==1 and all(len(f)==len(SPANS) for f in frames)

def test_a_proxy_is_not_asked_for_localhost(monkeypatch):
    monkeypatch.setenv('HTTP_PROXY', 'http://127.0.0.1:9'); monkeypatch.setenv('ALL_PROXY', 'http://127.0.0.1:9')
    with stub() as (_, url): assert run(provider(url).projects())==['lab', 'shop']

@pytest.mark.parametrize('given,meant', [('http://h:6006/', 'http://h:6006'), ('h:6006/v1/traces', 'http://h:6006'), ('https://app.example.org/s/team/v1', 'https://app.example.org/s/team')])
def test_addresses_are_forgiven(given, meant): assert address(given)==meant

@pytest.mark.parametrize('given', ['ftp://h', 'http://', '://'])
def test_what_is_no_address_is_refused(given):
    with pytest.raises(FtkitError, match='is not an address'): address(given)

def test_the_environment_names_the_endpoint_and_the_key(monkeypatch):
    monkeypatch.setenv('PHOENIX_ENDPOINT', 'http://b:1'); assert address()=='http://b:1'
    monkeypatch.setenv('PHOENIX_COLLECTOR_ENDPOINT', 'http://a:1/v1/traces'); assert address()=='http://a:1'
    monkeypatch.setenv('PHOENIX_API_KEY', 'secret')
    p = PhoenixProvider('acme', 'shop')
    assert p.wire.client().headers['authorization']=='Bearer secret' and 'secret' not in repr(p)

@pytest.mark.parametrize('kw', [dict(start_time='2026-02-01', end_time='2026-01-01'), dict(start_time='soon')])
def test_a_window_that_makes_no_sense_is_refused(kw):
    with pytest.raises(FtkitError): run(provider('http://127.0.0.1:9').traces.get_spans(**kw))

@pytest.mark.parametrize('tenant,project', [('../x', 'shop'), ('Acme', 'shop'), ('acme', ''), ('acme', None)])
def test_tenant_and_project_are_names(tenant, project):
    with pytest.raises(FtkitError): PhoenixProvider(tenant, project)


def endless(n, size=4000):
    "Phoenix behind a transport, with `n` long spans made when they are asked for"
    import httpx
    def serve(request):
        q, path = request.url.params, request.url.path
        if path=='/v1/projects': return httpx.Response(200, json=dict(data=[dict(name='shop', id='1')], next_cursor=None))
        if path.endswith('/spans'):
            start, limit = int(base64.b64decode(q['cursor'])[5:])-1 if 'cursor' in q else 0, int(q['limit'])
            rows = [rest_span(i, plain_span(i, attributes={'input': {'value': 'q'}, 'output': {'value': f'{i:03} '*(size//4)}})) for i in range(start, min(start+limit, n))]
            return httpx.Response(200, json=dict(data=rows, next_cursor=row_id(start+limit+1) if start+limit<n else None))
        return httpx.Response(200, json=dict(data=[rest_note(NOTES[0])|dict(span_id=i) for i in q.get_list('span_ids')], next_cursor=None))
    return PhoenixProvider('acme', 'shop', 'http://phoenix', transport=httpx.MockTransport(serve))

def test_memory_over_http_does_not_grow_with_the_project():
    import tracemalloc
    async def read(p): return sum([len(b.annotations) async for b in p.pull(batch_size=50)])
    def peak(n):
        tracemalloc.start()
        try: return run(read(endless(n))), tracemalloc.get_traced_memory()[1]/1e6
        finally: tracemalloc.stop()
    run(read(endless(60)))
    (few, small), (many, large) = peak(800), peak(3200) # garbage of requests is collected now and then, so the level is reached after some hundred
    assert (few, many)==(800, 3200) and large<small*1.5, f'{small:.1f} MB for 800 spans, {large:.1f} MB for 3,200'

class SlowPhoenix:
    "Phoenix behind a transport: refuses now and then, stores spans late, and counts what it was sent"
    def __init__(self, faults=(), late=2, lose=0): self.faults, self.late, self.lose, self.spans, self.notes, self.log = list(faults), late, lose, [], {}, []

    def __call__(self, request):
        import httpx
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
        path = request.url.path
        self.log.append(path)
        if self.faults and path!='/v1/projects' and (fault := self.faults.pop(0)): return httpx.Response(fault)
        if path=='/v1/projects': return httpx.Response(200, json=dict(data=[dict(name='shop', id='1')], next_cursor=None))
        if path=='/v1/traces':
            sent = ExportTraceServiceRequest.FromString(request.content)
            if len(request.content)>20_000: return httpx.Response(413)
            self.spans += [s.span_id.hex() for r in sent.resource_spans for c in r.scope_spans for s in c.spans][self.lose:]
            return httpx.Response(200, headers={'content-type': 'application/x-protobuf'})
        if path.endswith('/spans'):
            self.late -= 1
            return httpx.Response(200, json=dict(data=[dict(context=dict(span_id=i)) for i in self.spans if i in request.url.params.get_list('span_id')] if self.late<0 else [], next_cursor=None))
        if path=='/graphql': return httpx.Response(200, json=dict(data=dict(getSpanByOtelId=None)))
        data = json.loads(request.content)['data']
        for a in data: self.notes[a['span_id'], a['name'], a['identifier']] = a
        return httpx.Response(200, json=dict(data=[dict(id=str(hash((a['span_id'], a['name'], a['identifier'])))) for a in data][self.lose:]))

def sent_to(server, spans, notes=()):
    import httpx
    w = Waits()
    return run(send(spans, notes, 'shop', 'http://phoenix', sleep=w.sleep, clock=w.clock, transport=httpx.MockTransport(server)))

def test_sending_survives_a_busy_server_and_waits_for_the_spans():
    server = SlowPhoenix(faults=[503, 503, None, 500, None, None, 502])
    assert sent_to(server, SPANS[:9], NOTES[:18])==dict(spans=9, annotations=18)
    assert set(server.spans)=={s.span_id for s in SPANS[:9]} and len(server.notes)==18
    assert server.log.index('/v1/span_annotations')>max(i for i,p in enumerate(server.log) if p.endswith('/spans')), 'spans first'

def test_what_does_not_fit_is_sent_in_halves():
    big = [plain_span(i, attributes={'output': {'value': 'x'*3000}}) for i in range(16)]
    server = SlowPhoenix()
    sent_to(server, big)
    assert sorted(server.spans)==sorted(s.span_id for s in big) and server.log.count('/v1/traces')>=7

def test_spans_that_never_appear_are_an_error():
    with pytest.raises(TelemetryError, match='1 of 9 spans .* did not appear within'): sent_to(SlowPhoenix(lose=1), SPANS[:9])

def test_annotations_that_are_not_kept_are_an_error():
    with pytest.raises(TelemetryError, match='18 annotations were sent .* and 17 were kept'): sent_to(SlowPhoenix(lose=1), [], NOTES[:18])


# ---- files ----

def test_files_of_several_projects_lie_in_folders(tmp_path):
    for name in ('shop', 'lab'): save_telemetry(tmp_path/name, [replace(SPANS[0], name=name)], NOTES[:2])
    p = FileProvider(tmp_path, project='lab')
    assert run(p.projects())==['lab', 'shop']
    assert list(run(p.traces.get_spans()).name)==['lab'] and list(run(p.traces.get_spans('shop')).name)==['shop']
    with pytest.raises(FtkitError, match="did you mean 'shop'"): run(p.traces.get_spans('shopp'))
    with pytest.raises(FtkitError): run(p.traces.get_spans('../shop'))

def test_a_gzipped_export_reads_the_same(tmp_path):
    import gzip
    save_telemetry(tmp_path, SPANS)
    before = run(FileProvider(tmp_path).traces.get_spans())
    (tmp_path/'spans.jsonl.gz').write_bytes(gzip.compress((tmp_path/'spans.jsonl').read_bytes())); (tmp_path/'spans.jsonl').unlink()
    assert run(FileProvider(tmp_path).traces.get_spans()).equals(before)

@pytest.mark.parametrize('kind', ['jsonl', 'parquet'])
def test_a_damaged_file_is_named(tmp_path, kind):
    save_telemetry(tmp_path, SPANS, kind=kind)
    f = tmp_path/f'spans.{kind}'
    f.write_bytes(f.read_bytes()[:-20])
    with pytest.raises(TelemetryError, match=f'spans.{kind}.*export it again'): run(FileProvider(tmp_path).traces.get_spans())

def test_a_frame_saved_without_its_index_is_refused(tmp_path):
    save_telemetry(tmp_path, SPANS)
    annotations_frame(NOTES[:3]).to_json(tmp_path/'annotations.jsonl', orient='records', lines=True, date_format='iso')
    with pytest.raises(TelemetryError, match='reset_index'): run(FileProvider(tmp_path).annotations.get_annotations(SPANS))

def test_frames_dumped_to_parquet_are_telemetry(tmp_path):
    spans, notes = samples.telemetry('concierge')
    spans_frame(spans).to_parquet(tmp_path/'spans.parquet')
    annotations_frame(notes).to_parquet(tmp_path/'annotations.parquet')
    p = FileProvider(tmp_path)
    assert frame_spans(run(p.traces.get_spans()))==spans
    assert sorted(map(str, frame_annotations(run(p.annotations.get_annotations(spans)))))==sorted(map(str, notes))

def test_a_folder_without_spans_says_what_it_wants(tmp_path):
    with pytest.raises(TelemetryError, match='holds no spans.jsonl'): run(FileProvider(tmp_path).traces.get_spans())
    with pytest.raises(TelemetryError, match='does not exist'): FileProvider(tmp_path/'nope')

def test_spans_only_is_fine_and_nothing_was_judged(tmp_path):
    f = save_telemetry(tmp_path, SPANS)/'spans.jsonl'
    (tmp_path/'annotations.jsonl').unlink()
    assert len(run(FileProvider(f).annotations.get_annotations(SPANS)))==0

def test_batches_cover_everything_once(tmp_path):
    save_telemetry(tmp_path, SPANS)
    async def sizes(): return [len(f) async for f in FileProvider(tmp_path).traces.iter_spans(batch_size=50)]
    assert run(sizes())==[50, 50, 30]


# ---- a real Phoenix ----

@pytest.fixture(scope='module')
def shop(phoenix_server):
    "The sample shop inside the real Phoenix"
    spans, notes = renewed(*samples.telemetry(), key='shop')
    assert run(send(spans, notes, 'shop', phoenix_server.endpoint))==dict(spans=len(spans), annotations=len(notes))
    return PhoenixProvider('acme', 'shop', phoenix_server.endpoint), spans, notes

def bare(a): return replace(a, created_at=None, updated_at=None)

def test_what_was_sent_comes_back(shop):
    p, spans, notes = shop
    back = run(p.traces.get_spans())
    assert frame_spans(back)==spans
    for target, get in (('span', 'get_annotations'), ('document', 'get_document_annotations'), ('session', 'get_session_annotations')):
        got = frame_annotations(run(getattr(p.annotations, get)(back)))
        key = lambda a: (a.on, a.document_position or 0, a.name, a.identifier)
        assert [bare(a) for a in got]==sorted((bare(a) for a in notes if a.target==target), key=key)
        assert all(a.created_at and a.updated_at for a in got)

def test_the_same_comes_back_from_the_phoenix_client(shop, tmp_path):
    with collector_waits(): from phoenix.client import Client # brings the whole server
    p, spans, notes = shop
    client = Client(base_url=p.wire.endpoint)
    df = client.spans.get_spans_dataframe(project_identifier='shop', limit=5000, timeout=60)
    judged = client.spans.get_span_annotations_dataframe(spans_dataframe=df, project_identifier='shop')
    some = [s for s in spans if s.kind=='LLM'] # the client rounds floats, and only retrieval has them
    key = lambda s: (s.start_time, s.span_id)
    assert sorted((s for s in frame_spans(df) if s.kind=='LLM'), key=key)==some
    df.to_parquet(tmp_path/'spans.parquet'); judged.to_parquet(tmp_path/'annotations.parquet')
    files = FileProvider(tmp_path)
    assert frame_spans(run(files.traces.get_spans(span_kinds='LLM')))==some
    assert [bare(a) for a in frame_annotations(run(files.annotations.get_annotations(some)))]==[bare(a) for a in frame_annotations(run(p.annotations.get_annotations(some)))]

def test_windows_and_kinds_are_filtered_by_the_server(shop):
    p, spans, _ = shop
    cut = samples.UNTIL-timedelta(days=7)
    assert len(run(p.traces.get_spans(start_time=cut, span_kinds='RETRIEVER')))==sum(s.start_time>=cut and s.kind=='RETRIEVER' for s in spans)
    edge = spans[100].start_time
    assert len(run(p.traces.get_spans(end_time=edge)))==100, 'the end is not included'

def test_many_people_on_one_span_are_all_heard(phoenix_server):
    judged = [plain_span(10_000+i) for i in range(11)]
    notes = [Annotation(s.span_id, 'human_review', label='approved', identifier=f'p{k}') for s in judged for k in range(11)]
    run(send(judged, notes, 'many', phoenix_server.endpoint))
    p = PhoenixProvider('acme', 'many', phoenix_server.endpoint)
    assert len(run(p.annotations.get_annotations(run(p.traces.get_spans()))))==121

def test_spans_that_come_and_go_while_we_read_disturb_no_others(phoenix_server):
    import httpx
    before, new = [plain_span(6000+i) for i in range(120)], [plain_span(6200+i) for i in range(7)]
    run(send(before, (), 'moving', phoenix_server.endpoint))
    p = PhoenixProvider('acme', 'moving', phoenix_server.endpoint)
    async def read():
        ids = []
        async for f in p.traces.iter_spans(batch_size=50):
            if not ids:
                await send(new, (), 'moving', phoenix_server.endpoint)
                for gone in (before[3], before[110]): httpx.delete(f'{phoenix_server.endpoint}/v1/spans/{gone.span_id}').raise_for_status()
            ids += list(f.index)
        return ids
    assert run(read())==[s.span_id for s in before+new if s is not before[110]]

def test_a_project_may_have_any_name(phoenix_server):
    name = 'team/ä?#1 50%'
    run(send([plain_span(5000)], (), name, phoenix_server.endpoint))
    p = PhoenixProvider('acme', name, phoenix_server.endpoint)
    assert len(run(p.traces.get_spans()))==1 and name in run(p.projects())

def test_our_own_kinds_are_found(phoenix_server):
    ours = [plain_span(5100, kind='EXPERIMENT'), plain_span(5101, kind='EVALUATION'), plain_span(5102)]
    run(send(ours, (), 'kinds', phoenix_server.endpoint))
    p = PhoenixProvider('acme', 'kinds', phoenix_server.endpoint)
    assert list(run(p.traces.get_spans(span_kinds='experiment')).span_kind)==['EXPERIMENT']
    assert set(run(p.traces.get_spans()).span_kind)=={'EXPERIMENT', 'EVALUATION', 'LLM'}

def test_sending_twice_changes_nothing(shop):
    p, spans, notes = shop
    run(send(spans[:20], [a for a in notes if a.span_id in {s.span_id for s in spans[:20]}], 'shop', p.wire.endpoint))
    assert frame_spans(run(p.traces.get_spans()))==spans

def test_an_id_that_another_project_has_is_told_at_once(shop):
    p, spans, _ = shop
    started = time.monotonic()
    with pytest.raises(TelemetryError, match="is in project 'shop' of this Phoenix already.*renewed"): run(send(spans[:3], (), 'second-shop', p.wire.endpoint))
    assert time.monotonic()-started<30
    again, _ = renewed(spans[:3], key='second-shop')
    assert run(send(again, (), 'second-shop', p.wire.endpoint))['spans']==3

def test_trace_annotations_come_back(phoenix_server):
    s = plain_span(5200)
    run(send([s], [Annotation('', 'flow', label='good', trace_id=s.trace_id, identifier='mara')], 'traces', phoenix_server.endpoint))
    df = run(PhoenixProvider('acme', 'traces', phoenix_server.endpoint).annotations.get_trace_annotations([s]))
    assert list(df.index)==[s.trace_id] and list(df['result.label'])==['good']

def test_ids_nobody_knows_have_no_annotations(shop):
    assert len(run(shop[0].annotations.get_annotations(['f'*16])))==0

def test_spans_never_judged_have_no_annotations(shop):
    p, spans, notes = shop
    quiet = [s for s in spans if s.span_id not in {a.span_id for a in notes}]
    assert quiet and len(run(p.annotations.get_annotations(quiet)))==0

ODD = {'text': 'a\x01b "quoted" \U0001f600', 'half': 'cut \ud83d here', 'words': ['a', 'b'], 'mixed': [1, 'a'], 'deep': {'a': {'b': {'c': 1.5}}}, 'flag': True, 'n': 2**40,
    'llm': {'input_messages': [{'message': {'role': 'user', 'content': str(i)}} for i in range(12)]}, 'metadata': {'agent_type': 'odd', 'nested': {'list': [1, 2]}, '0': 'zero'}}

def test_odd_attributes_survive_the_journey(phoenix_server):
    run(send([plain_span(5300, attributes=ODD)], (), 'odd', phoenix_server.endpoint))
    (back,) = frame_spans(run(PhoenixProvider('acme', 'odd', phoenix_server.endpoint).traces.get_spans()))
    assert back.attributes=={**nest(ODD), 'half': 'cut ? here', 'mixed': '[1,"a"]'}

@pytest.mark.parametrize('bad,said', [(dict(span_id='abc'), 'not 16 hex digits'), (dict(trace_id='z'*32), 'not 32 hex digits'), (dict(span_id='0'*16), 'not 16 hex digits'), (dict(start_time=None), 'no start time'), (dict(status='FINE'), 'status')])
def test_spans_phoenix_cannot_hold_are_named(shop, bad, said):
    with pytest.raises(FtkitError, match=said): run(send([plain_span(1, **bad)], (), 'bad', shop[0].wire.endpoint))

def test_annotations_phoenix_cannot_hold_are_named(shop):
    p, spans, _ = shop
    with pytest.raises(TelemetryError, match='send the spans first'): run(send([], [Annotation('e'*16, 'human_review', label='approved')], 'shop', p.wire.endpoint))
    with pytest.raises(FtkitError, match='one judgement a document'): run(send([], [Annotation(spans[0].span_id, 'relevance', label='relevant', document_position=0, identifier='mara')], 'shop', p.wire.endpoint))

class FakeModel(BaseHTTPRequestHandler):
    "An OpenAI-compatible endpoint with one answer"
    def log_message(self, *_): pass
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers['content-length'])))
        call = dict(id='call-1', type='function', function=dict(name='find_order', arguments='{"number": "7"}'))
        message = dict(role='assistant', content=None, tool_calls=[call]) if asked.get('tools') else dict(role='assistant', content='returns')
        body = json.dumps(dict(id='c1', object='chat.completion', created=1, model=asked['model'], choices=[dict(index=0, finish_reason='stop', message=message)], usage=dict(prompt_tokens=1, completion_tokens=1, total_tokens=2))).encode()
        self.send_response(200)
        for k,v in (('content-type', 'application/json'), ('content-length', str(len(body)))): self.send_header(k, v)
        self.end_headers(); self.wfile.write(body)

@pytest.fixture
def instrumented(phoenix_server):
    "Spans of the real OpenAI client, recorded by the real instrumentation, in the real Phoenix"
    from openai import OpenAI
    from openinference.instrumentation import using_attributes
    from openinference.instrumentation.openai import OpenAIInstrumentor
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    model = ThreadingHTTPServer(('127.0.0.1', 0), FakeModel)
    threading.Thread(target=model.serve_forever, args=(.02,), daemon=True).start()
    tracing = TracerProvider(resource=Resource({'openinference.project.name': 'instrumented'}))
    tracing.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f'{phoenix_server.endpoint}/v1/traces')))
    OpenAIInstrumentor().instrument(tracer_provider=tracing)
    try:
        client = OpenAI(base_url=f'http://127.0.0.1:{model.server_port}/v1', api_key='none')
        talk = [dict(role='system', content='Route it.')]+[dict(role='user' if i%2 else 'assistant', content=f'turn {i}') for i in range(1, 14)]
        tool = dict(type='function', function=dict(name='find_order', parameters=dict(type='object', properties=dict(number=dict(type='string')))))
        parts = [dict(role='user', content=[dict(type='text', text='what is'), dict(type='text', text='this?')])]
        with using_attributes(session_id='s-1', user_id='u-1', metadata=dict(agent_type='routing', nested=dict(a=1))):
            for ask in (dict(messages=talk), dict(messages=talk[:2], tools=[tool]), dict(messages=parts)): client.chat.completions.create(model='m', **ask)
    finally: OpenAIInstrumentor().uninstrument(); model.shutdown(); model.server_close()
    p, end = PhoenixProvider('acme', 'instrumented', phoenix_server.endpoint), time.monotonic()+30
    while time.monotonic()<end:
        if 'instrumented' in run(p.projects()) and len(spans := frame_spans(run(p.traces.get_spans())))==3: return talk, spans
        time.sleep(.2)
    raise AssertionError('the instrumented spans did not arrive')

def test_what_the_real_instrumentation_writes_is_read_whole(instrumented):
    talk, (long, tools, parts) = instrumented
    assert [m['message'] for m in long.get('llm.input_messages')]==talk and long.get('llm.output_messages.0.message.content')=='returns'
    assert (long.kind, long.session_id, long.user_id, long.agent_type, long.get('metadata.nested.a'))==('LLM', 's-1', 'u-1', 'routing', 1)
    call = tools.get('llm.output_messages.0.message.tool_calls.0.tool_call')
    assert call['function']=={'name': 'find_order', 'arguments': '{"number": "7"}'} and 'find_order' in tools.get('llm.tools.0.tool.json_schema')
    assert [c['message_content']['text'] for c in parts.get('llm.input_messages.0.message.contents')]==['what is', 'this?']

def test_a_second_phoenix_says_that_the_port_is_taken(phoenix_server):
    port = int(phoenix_server.endpoint.rsplit(':', 1)[1])
    with pytest.raises(FtkitError, match=f'port {port} is taken'): phoenix(port=port)

@pytest.mark.parametrize('fault', ['a package that breaks', *(['a database that cannot be opened'] if os.environ.get('FTKIT_FULL')=='1' else [])]) # the real one takes ten seconds to say so
def test_a_phoenix_that_cannot_start_shows_its_log(tmp_path, monkeypatch, fault):
    if fault=='a package that breaks':
        (tmp_path/'phoenix').mkdir()
        (tmp_path/'phoenix'/'__init__.py').write_text("raise RuntimeError('unable to open the shop')")
        monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    with pytest.raises(TelemetryError, match='ended with code') as e: phoenix(database_url=f'sqlite:///{tmp_path}/no/such/folder/x.db')
    assert 'unable to open' in str(e.value)

@pytest.mark.skipif(not hasattr(os, 'sched_getaffinity'), reason='this system does not say where a process may run')
def test_a_phoenix_of_ones_own_stays_on_one_core(phoenix_server): assert len(os.sched_getaffinity(phoenix_server.child.pid))==1

def test_a_killed_parent_takes_its_phoenix_along():
    code = 'import os, ftkit.telemetry.server as t; t._await_phoenix = lambda server, s: server; server = t.phoenix(); print(server.child.pid, server.working_dir, flush=True); os.kill(os.getpid(), 9)'
    p = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert p.returncode==-signal.SIGKILL
    pid, folder = p.stdout.split()
    end = time.monotonic()+15
    while time.monotonic()<end and os.path.exists(f'/proc/{pid}') and open(f'/proc/{pid}/stat').read().split()[2]!='Z': time.sleep(.1)
    assert not os.path.exists(f'/proc/{pid}') or open(f'/proc/{pid}/stat').read().split()[2]=='Z'
    __import__('shutil').rmtree(folder, ignore_errors=True)
