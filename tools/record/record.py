"""Records the traces under tests/fixtures/traces: runs each set-up in an environment of its own against a model server of scripted
answers, sends its spans through a Phoenix, and writes spans, verdicts and what must become of them.

    python tools/record/record.py [--upgrade] [SETUP ...]"""
import gzip, hashlib, json, os, re, subprocess, sys, time, urllib.request
from datetime import datetime, timedelta, timezone
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD, FIXTURES = ROOT/'build'/'record', ROOT/'tests'/'fixtures'/'traces'
sys.path[:0] = [str(HERE), str(ROOT)]

from expect import judged # noqa: E402
from stubs import Stub # noqa: E402

GROUPS = dict( # set-up -> the environment it runs in
    openai_oi='sdks', openai_traceloop='traceloop', openai_v2='openai_v2', anthropic_oi='sdks', anthropic_traceloop='traceloop',
    langchain_oi='langchain', pydantic_native='pydantic', pydantic_oi='pydantic', openai_agents_oi='agents', google_genai_oi='sdks',
    bedrock_oi='sdks', llama_index_oi='llama_index', dspy_oi='dspy', litellm_oi='dspy', smolagents_oi='smolagents', haystack_oi='haystack')
IMPORTS = dict( # script under imports/ -> the environment it runs in
    openai_files='imports_openai', langfuse_observations='imports_langfuse', langfuse_traces='imports_langfuse3', langsmith_runs='imports_langsmith',
    mlflow_traces='imports_mlflow')
RAW = dict(raw_genai='pydantic_native') # the same spans as they were sent, not as Phoenix keeps them
NOISE = ('llm.token_count', 'gen_ai.usage', 'gen_ai.aggregated_usage', 'llm.usage', 'operation.cost', 'llm.cost',
    'gen_ai.response.time_to_first_chunk')
BEGAN = datetime(2026, 3, 2, 9, tzinfo=timezone.utc)

# -- running

def python_of(group):
    "An environment with the packages of a group."
    folder = BUILD/'venvs'/group
    wanted = HERE/'requirements'/f'{group}.txt'
    mark = folder/'requirements.txt'
    if not mark.exists() or mark.read_text()!=wanted.read_text():
        uv = [str(Path(sys.executable).parent/'uv')]
        subprocess.run([*uv, 'venv', '-q', '--allow-existing', '--python', sys.executable, str(folder)], check=True)
        subprocess.run([*uv, 'pip', 'sync', '-q', '--python', str(folder/'bin'/'python'), str(wanted)], check=True)
        mark.write_text(wanted.read_text())
    return folder/'bin'/'python'

def pinned(group):
    "{package: version} of what a group asks for by name."
    wanted = {re.split('[<>=[ ]', line)[0] for line in (HERE/'requirements'/f'{group}.in').read_text().split('\n') if line}
    lines = (HERE/'requirements'/f'{group}.txt').read_text().split('\n')
    versions = dict(line.split(' ')[0].split('==') for line in lines if '==' in line)
    return {p: v for p,v in versions.items() if p in wanted and p!='httpx'}

def upgrade(group):
    "Pin the newest versions of a group's packages."
    folder = HERE/'requirements'
    quiet = '--upgrade -q --no-header --no-annotate --no-emit-index-url --no-emit-find-links --prerelease if-necessary-or-explicit'
    command = [str(Path(sys.executable).parent/'uv'), 'pip', 'compile', *quiet.split(), '--python-version', '3.11']
    subprocess.run([*command, str(folder/f'{group}.in'), '-o', str(folder/f'{group}.txt')], check=True, stdout=subprocess.DEVNULL)

def write_versions(setups):
    "Note the versions that the recorded set-ups ran with."
    from importlib.metadata import version
    path = FIXTURES/'versions.json'
    known = json.loads(path.read_text()) if path.exists() else {}
    known.update({s: pinned(GROUPS[s]) for s in setups}, phoenix={'arize-phoenix': version('arize-phoenix')})
    path.write_text(json.dumps(known, indent=1, sort_keys=True)+'\n')

def run_setup(stub, setup):
    "Run one set-up to its end; the stub holds what came of it."
    stub.begin(setup)
    home = BUILD/'home'
    home.mkdir(parents=True, exist_ok=True)
    told = dict(RECORD_STUB=stub.url, RECORD_SETUP=setup, HOME=str(home), PYTHONPATH=os.pathsep.join((str(HERE), str(HERE/'setups'))),
        PYTHONDONTWRITEBYTECODE='1', HF_HUB_OFFLINE='1', LITELLM_LOCAL_MODEL_COST_MAP='True', OPENAI_API_KEY='none', NO_PROXY='127.0.0.1')
    env = {k: v for k,v in os.environ.items() if k in ('PATH', 'LANG', 'TMPDIR')}
    subprocess.run([python_of(GROUPS[setup]), str(HERE/'setups'/f'{setup}.py')], env={**env, **told}, cwd=home, check=True, timeout=300)
    loud = [e['scenario'] for e in stub.exchanges if e.get('unscripted')]
    if loud:
        print(f'{setup}: more calls than the script foresees in {loud}')

# -- spans

def attribute(value):
    "An attribute's value out of OTLP."
    kind = value.WhichOneof('value')
    if kind=='array_value':
        return [attribute(v) for v in value.array_value.values]
    return None if kind is None else getattr(value, kind)

def sent_spans(requests):
    "The spans in OTLP requests, as dicts with flat attributes."
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    for raw in requests:
        for r in ExportTraceServiceRequest.FromString(raw).resource_spans:
            for s in (s for scope in r.scope_spans for s in scope.spans):
                yield dict(span_id=s.span_id.hex(), trace_id=s.trace_id.hex(), parent_id=s.parent_span_id.hex() or None, name=s.name,
                    start=s.start_time_unix_nano, end=s.end_time_unix_nano, status=('UNSET', 'OK', 'ERROR')[s.status.code],
                    status_message=s.status.message, attributes={a.key: attribute(a.value) for a in s.attributes})

def ask(url, body=None, kind='application/json'):
    "A request to Phoenix."
    request = urllib.request.Request(url, body, {'content-type': kind})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    raw = opener.open(request, timeout=60).read()
    return json.loads(raw) if body is None else raw

def through_phoenix(endpoint, setup, requests, many):
    "The spans of a set-up as Phoenix keeps them."
    for raw in requests:
        ask(f'{endpoint}/v1/traces', raw, 'application/x-protobuf')
    for _ in range(120):
        time.sleep(.5)
        try:
            stored = ask(f'{endpoint}/v1/projects/{setup}/spans?limit=1000')['data']
        except OSError:
            continue
        if len(stored)==many:
            return stored
    raise SystemExit(f'{setup}: Phoenix does not hold the {many} spans that were sent')

def phoenix_sessions(endpoint, setup):
    "{session: its traces in time order}, as Phoenix tells; the first span of a trace that arrives decides its session."
    rows = ask(f'{endpoint}/v1/projects/{setup}/sessions?limit=1000')['data']
    return {r['session_id']: [t['trace_id'] for t in sorted(r['traces'], key=lambda t: t['start_time'])] for r in rows}

def sent_sessions(sent):
    "{session: its traces in time order}, by the attribute alone."
    found = {}
    for s in sorted(sent, key=lambda s: s['start']):
        if s['attributes'].get('session.id'):
            found.setdefault(s['attributes']['session.id'], {})[s['trace_id']] = True
    return {i: list(traces) for i,traces in found.items()}

def record(row):
    "A span as a file of FileProvider holds it: nested attributes, no empty fields."
    from ftkit.spans import as_span, record_row
    return record_row(as_span(row))

def as_sent(span):
    "A sent span without the conversion that Phoenix makes."
    when = {f'{k}_time': datetime.fromtimestamp(span[k]/1e9, timezone.utc).isoformat() for k in ('start', 'end')}
    return record({**{k: v for k,v in span.items() if k not in ('start', 'end')}, **when})

# -- the same names at each recording

class Names:
    "Ids, times and addresses that do not change from one recording to the next."
    def __init__(self, setup, sent, port):
        self.port, self.uuids, self.setup = port, {}, setup
        order = sorted(sent, key=lambda s: (s['start'], -s['end']))
        self.ids = {s['span_id']: self.hashed('span', n, 16) for n,s in enumerate(order)}
        traces = dict.fromkeys(s['trace_id'] for s in order)
        self.ids.update({t: self.hashed('trace', n, 32) for n,t in enumerate(traces)})
        moments = sorted({s[k] for s in sent for k in ('start', 'end')})
        self.times = {t: BEGAN+timedelta(milliseconds=20*n) for n,t in enumerate(moments)}

    def hashed(self, kind, n, digits):
        "The id of the nth of a kind."
        return hashlib.sha256(f'{self.setup} {kind} {n}'.encode()).hexdigest()[:digits]

    def uuid(self, found):
        "The nth id that a library made."
        text = found.group(0)
        if text in self.ids:
            return self.ids[text]
        n = self.uuids.setdefault(text, len(self.uuids))
        return f'00000000-0000-4000-8000-{n:012}' if '-' in text else f'{n:032x}'

    def text(self, text):
        "A file's text with the names replaced."
        text = re.sub(r'[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?<![0-9a-f])(?:[0-9a-f]{32}|[0-9a-f]{16})(?![0-9a-f])', self.known, text)
        text = re.sub(rf'127\.0\.0\.1:{self.port}|localhost:{self.port}', '127.0.0.1:8080', text)
        text = text.replace(f'"intValue": "{self.port}"', '"intValue": "8080"')
        text = re.sub(r'\b(start_time|end_time|duration)=[\d.e-]+', r'\1=0.0', text)
        return re.sub(r'0x[0-9a-f]{8,}', '0x0', text)

    def known(self, found):
        "An id by its name; sixteen digits that are none of ours stay."
        return self.ids.get(found.group(0)) or (found.group(0) if len(found.group(0))==16 else self.uuid(found))

    def rows(self, rows):
        "Rows with the names replaced."
        return [json.loads(self.text(json.dumps(r, ensure_ascii=False, sort_keys=True))) for r in rows]

    def span(self, row, sent):
        "A span's row with its times replaced and without what is counted."
        times = {f'{k}_time': self.times[sent[k]].isoformat() for k in ('start', 'end')}
        a = without(row.get('attributes', {}))
        if a.get('server', {}).get('port')==self.port:
            a['server'] = dict(a['server'], port=8080)
        return {**row, **times, 'attributes': a} if a else {**row, **times}

def without(tree, path=''):
    "Attributes without what is counted or timed."
    return {k: without(v, f'{path}{k}.') if isinstance(v, dict) else v for k,v in tree.items() if f'{path}{k}' not in NOISE}

# -- writing

def write_lines(path, rows):
    "A file of JSON lines; the bytes of a compressed one depend on its rows alone."
    path.parent.mkdir(parents=True, exist_ok=True)
    text = ''.join(json.dumps(r, ensure_ascii=False, sort_keys=True)+'\n' for r in rows).encode()
    path.write_bytes(gzip.compress(text, mtime=0) if path.suffix=='.gz' else text)

def write(setup, names, stored, sent, exchanges, scripts, sessions):
    "The files of one set-up."
    rows = [names.span(stored[s['span_id']], s) for s in sorted(sent, key=lambda s: (s['start'], -s['end']))]
    made = judged(exchanges, scripts, sent, stored, sessions)
    write_lines(FIXTURES/setup/'spans.jsonl.gz', names.rows(rows))
    write_lines(FIXTURES/setup/'annotations.jsonl', names.rows(made.annotations))
    write_lines(FIXTURES/setup/'expected.jsonl', names.rows(made.expected))
    out = [e for e in made.expected if 'left_out' in e]
    print(f'{setup}: {len(sent)} spans of {len(exchanges)} calls, {len(made.expected)} verdicts, {len(out)} of them to be left out', flush=True)

def collector_file(requests, names):
    "OTLP requests as a collector's file exporter writes them, one JSON a line."
    from google.protobuf.json_format import MessageToDict
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    lines = [hex_ids(MessageToDict(ExportTraceServiceRequest.FromString(r), use_integers_for_enums=True)) for r in requests]
    return names.rows(retimed(line, names.times) for line in lines)

def hex_ids(value):
    "Ids as hex: OTLP's JSON has them so, protobuf's does not."
    import base64
    if isinstance(value, list):
        return [hex_ids(v) for v in value]
    if not isinstance(value, dict):
        return value
    return {k: base64.b64decode(v).hex() if k in ('traceId', 'spanId', 'parentSpanId') else hex_ids(v) for k,v in value.items()}

def retimed(value, times):
    "The same with the times that do not change."
    if isinstance(value, list):
        return [retimed(v, times) for v in value]
    if not isinstance(value, dict):
        return value
    at = lambda v: str(int(times[int(v)].timestamp()*1000)*10**6) if int(v) in times else v # noqa: E731
    return {k: at(v) if k.endswith('TimeUnixNano') else retimed(v, times) for k,v in value.items() if k!='events'}

def record_setup(stub, endpoint, setup):
    "Run, export and write one set-up, and what is made of the same spans."
    run_setup(stub, setup)
    requests, exchanges, scripts = stub.spans, stub.exchanges, stub.scenarios
    sent = list(sent_spans(requests))
    stored = {s['span_id']: s for s in map(record, through_phoenix(endpoint, setup, requests, len(sent)))}
    names, sessions = Names(setup, sent, stub.server.server_port), phoenix_sessions(endpoint, setup)
    write(setup, names, stored, sent, exchanges, scripts, sessions)
    for raw in (r for r,source in RAW.items() if source==setup):
        names = Names(raw, sent, stub.server.server_port)
        write(raw, names, {s['span_id']: as_sent(s) for s in sent}, sent, exchanges, scripts, sent_sessions(sent))
        write_lines(FIXTURES/raw/'otlp.jsonl.gz', collector_file(requests, names))

def record_import(script):
    "Let a client write the files that importers are tested with."
    from imports.stable import Stable, without_machine
    out, home, names = BUILD/'imports'/script, BUILD/'home', Stable()
    for folder in (out, home, FIXTURES.parent/'imports'):
        folder.mkdir(parents=True, exist_ok=True)
    told = dict(RECORD_OUT=str(out), HOME=str(home), PYTHONDONTWRITEBYTECODE='1', NO_PROXY='127.0.0.1')
    env = {k: v for k,v in os.environ.items() if k in ('PATH', 'LANG', 'TMPDIR')}
    subprocess.run([python_of(IMPORTS[script]), str(HERE/'imports'/f'{script}.py')], env={**env, **told}, cwd=home, check=True, timeout=300)
    for path in sorted(out.glob('*.jsonl')): # files of one client name each other's ids
        text = names.text(path.read_text(encoding='utf-8'))
        rows = [json.loads(line) for line in text.split('\n') if line]
        write_lines(FIXTURES.parent/'imports'/path.name, without_machine(rows))
    print(f'{script}: {", ".join(p.name for p in sorted(out.glob("*.jsonl")))}', flush=True)

def main(wanted):
    "Record the set-ups named, or all; with `--upgrade` from the newest versions."
    from ftkit.telemetry import phoenix
    stub, asked = Stub(), [s for s in wanted if s!='--upgrade'] or [*GROUPS, *IMPORTS]
    chosen, scripts = [s for s in asked if s in GROUPS], [s for s in asked if s in IMPORTS]
    for group in sorted({(GROUPS | IMPORTS)[s] for s in asked}) if '--upgrade' in wanted else ():
        upgrade(group)
    for script in scripts:
        record_import(script)
    if not chosen:
        return
    with phoenix() as server:
        for setup in chosen:
            record_setup(stub, server.endpoint, setup)
    write_versions(chosen)

if __name__=='__main__':
    main(sys.argv[1:])
