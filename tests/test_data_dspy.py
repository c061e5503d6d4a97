"The DSPy generator against a local OpenAI-compatible server that behaves well, badly, or not at all."
import http.server, json, subprocess, sys, threading, time
from collections import Counter
from pathlib import Path

import pytest

from ftkit.core import FtkitError, as_time
from ftkit.records import InstructionExample
from ftkit.data.dspy import OPTIONS, cut_off, options_of, read_rows
from ftkit.data.requests import SyntheticDataRequest
from ftkit.data.synth import SyntheticDataService

pytest.importorskip('dspy', reason='the dspy generator needs pip install "ftkit[synth]"')

SEEDS = [InstructionExample('Route to orders or returns.', t, a, dict(span_id=f's{k}', messages=[dict(role='system', content='Route to orders or returns.'), dict(role='user', content=t)]))
         for k,(t,a) in enumerate([('cancel order 7', 'orders'), ('i want a refund', 'returns'), ('add a lamp to my order', 'orders'), ('the cup came broken', 'returns')])]
THINGS = [f'{verb} the {thing} {when}' for verb in ('where is', 'please change', 'i lost', 'who sent', 'wrap') for thing in ('kettle', 'scarf', 'shelf', 'coat', 'lamp', 'mat', 'tie', 'clock') for when in ('today', 'before noon', 'by friday')]
END = '\n\n[[ ## completed ## ]]'

class Server(http.server.ThreadingHTTPServer):
    "Answers each call with the next of a script; the last one repeats."
    daemon_threads = True
    def __init__(self, *script):
        self.script, self.calls, self.things = list(script), [], iter(THINGS)
        super().__init__(('127.0.0.1', 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()
    url = property(lambda self: f'http://127.0.0.1:{self.server_port}/v1')

class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *a): pass
    def reply(self, status, body, **headers):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for k,v in {'content-type': 'application/json', 'content-length': str(len(raw)), **headers}.items(): self.send_header(k.replace('_', '-'), v)
        self.end_headers(); self.wfile.write(raw)
    def do_POST(self):
        s, asked = self.server, json.loads(self.rfile.read(int(self.headers['content-length'])))
        s.calls.append(asked)
        what = s.script.pop(0) if len(s.script)>1 else s.script[0]
        if callable(what): what = what(s, asked)
        if isinstance(what, int): return self.reply(what, dict(error=dict(message=f'status {what}', type='x')), **({'retry_after': '0'} if what==429 else {}))
        if what=='stall': time.sleep(3); return
        if what=='hang up': self.connection.close(); return
        if isinstance(what, bytes): return self.reply(200, what)
        self.reply(200, dict(id='x', object='chat.completion', created=1, model='m', choices=[dict(index=0, message=dict(role='assistant', content=what), finish_reason='stop')], usage=dict(prompt_tokens=1, completion_tokens=1, total_tokens=2)))

def good(s, asked, n=5): return '[[ ## requests ## ]]\n'+json.dumps([next(s.things) for _ in range(n)])+END
def rows(pairs): return '[[ ## rows ## ]]\n'+json.dumps(pairs)+END

def make(server, count=10, seeds=SEEDS, labels=('orders', 'returns'), evaluation=(), **options):
    options = {**dict(model='m', endpoint=server.url, timeout_s=1, retries=1), **options}
    return SyntheticDataService(clock=lambda: as_time('2026-02-01T00:00:00Z'), generator='dspy', options=options).generate(SyntheticDataRequest('routing', count, labels), seeds, evaluation)

def test_a_model_that_behaves_gives_balanced_rows_with_recipes():
    server = Server(good)
    made = make(server, 20)
    assert len(made)==20 and Counter(r.output for r in made)=={'orders': 10, 'returns': 10}
    m = made[0].metadata
    assert m['synthetic'] and m['recipe']['model']=='m' and m['recipe']['generator']=='dspy' and len(m['recipe']['prompt_hash'])==16 and m['time']=='2026-02-01T00:00:00+00:00'
    assert set(m['seed_span_ids'])=={'s0', 's2'} and [x['role'] for x in m['messages']]==['system', 'user'] and m['messages'][1]['content']==made[0].input

def test_the_model_reads_the_task_the_label_set_and_seeds_of_that_label():
    server = Server(good); make(server, 10)
    said = server.calls[0]['messages'][-1]['content']
    assert 'Route to orders or returns.' in said and 'cancel order 7' in said and 'i want a refund' not in said and server.calls[0]['temperature']==1
    assert 'i want a refund' in server.calls[1]['messages'][-1]['content']

def test_rubbish_refusals_and_half_an_answer_are_counted_and_the_rest_is_kept():
    server = Server('lorem ipsum', 'lorem ipsum', "I'm sorry, I can't help with that.", "I'm sorry, I can't help with that.", '[[ ## requests ## ]]\n["where is the parcel of my aunt", "how do i send a gif', good)
    made = make(server, 6)
    assert made.accounting.dropped=={'unreadable answer': 1, 'a refusal': 1, 'cut off': 1}
    assert len(made)==6 and made[0].input=='where is the parcel of my aunt' and not any('gif' in r.input for r in made)

def test_a_model_that_only_talks_rubbish_ends_in_one_clear_error():
    server = Server('lorem ipsum')
    with pytest.raises(FtkitError, match='nothing usable came out'): make(server)
    assert len(server.calls)<=3*2

@pytest.mark.parametrize('fault,reason', [(429, 'ratelimit'), (500, 'server'), (503, 'server'), ('stall', 'no answer'), ('hang up', 'no answer'), (b'{"id": "x", "choi', 'no answer')])
def test_a_server_that_fails_is_retried_and_then_named(fault, reason):
    server = Server(fault); began = time.monotonic()
    with pytest.raises(FtkitError) as e: make(server)
    assert reason in str(e.value) and len(server.calls)>=2 and time.monotonic()-began<40

def test_a_server_that_recovers_costs_nothing():
    made = make(Server(429, good, 500, good, good), 10)
    assert len(made)==10 and made.accounting.dropped=={}

@pytest.mark.parametrize('status', [401, 403, 404, 400])
def test_what_will_not_get_better_stops_at_once(status):
    server = Server(status)
    with pytest.raises(FtkitError, match='refused the request'): SyntheticDataService(generator='dspy', options=dict(model='m', endpoint=server.url, retries=0)).generate(SyntheticDataRequest('routing', 5, ('orders', 'returns')), SEEDS)
    assert len(server.calls)==1

def test_nobody_listening_is_a_clear_error():
    server = Server(good); server.shutdown(); server.server_close()
    with pytest.raises(FtkitError, match='no answer'): make(server)

def test_rows_are_screened_like_all_others():
    bad = ['cancel order 7', '', '<|im_end|> hello', 'where is it exactly now', 'where is it exactly now!']
    made = make(Server('[[ ## requests ## ]]\n'+json.dumps(bad)+END, '[[ ## requests ## ]]\n["a question held back for judging"]'+END, good), 4, evaluation=[InstructionExample('', 'a question held back for judging', 'returns')])
    assert made[0].input=='where is it exactly now' and len(made)==4
    assert made.accounting.dropped['repeats a seed']==1 and made.accounting.dropped['control tokens in the text']==1 and made.accounting.dropped['in the evaluation data']==1

def test_free_answers_come_as_rows_and_json_answers_are_checked():
    seeds = [InstructionExample('Extract.', f'i need a {c} cup', json.dumps(dict(item='cup', colour=c)), dict(span_id=c)) for c in ('red', 'blue', 'green')]
    server = Server(rows([dict(request='two lamps please', answer=dict(item='lamp', colour=None)), dict(request='a mat', answer='no json'), dict(question='x'), dict(request='a grey tie', answer='{"item": "tie", "colour": "grey"}')]))
    made = make(server, 2, seeds, None)
    assert [(r.input, json.loads(r.output)['item']) for r in made]==[('two lamps please', 'lamp'), ('a grey tie', 'tie')]
    assert made.accounting.dropped=={'answer is not JSON with the expected keys': 1, 'a row without request or answer': 1}
    assert 'JSON with the keys colour, item' in server.calls[0]['messages'][-1]['content']

def test_every_option_reaches_the_server_or_changes_the_run():
    server = Server(good); make(server, 3, temperature=.3, max_tokens=77, per_call=3, shown=1, api_key='k')
    call = server.calls[0]
    assert call['temperature']==.3 and 77 in (call.get('max_tokens'), call.get('max_completion_tokens')) and call['model']=='m'
    said = call['messages'][-1]['content']
    assert ('cancel order 7' in said)!=('add a lamp to my order' in said) and '3' in said
    assert {'model', 'endpoint', 'api_key', 'temperature', 'max_tokens', 'timeout_s', 'retries', 'shown', 'per_call'}==set(OPTIONS)

@pytest.mark.parametrize('bad', [dict(temperature=-1), dict(per_call=0), dict(shown='many'), dict(timeout_s=0), dict(retries=-1), dict(max_tokens=0)])
def test_options_out_of_range_are_named(bad):
    with pytest.raises(FtkitError, match=next(iter(bad))): options_of(SyntheticDataRequest('routing', options=dict(model='m', **bad)))

@pytest.mark.parametrize('raw,cut', [('[[ ## requests ## ]]\n["a"]', False), ('[[ ## requests ## ]]\n["a", "b', True), ('{"requests": ["a"]}', False), ('x[[ ## completed ## ]]', False), ('', True)])
def test_an_answer_that_stops_in_the_middle_is_noticed(raw, cut): assert cut_off(raw)==cut

def test_odd_rows_are_losses_not_errors():
    assert read_rows('text', 'a')==[] and read_rows([1, 'q'], 'a')[1]==('q', 'a', None) and [r[2] for r in read_rows([['x'], {}, dict(request=1, answer=2)], None)]==['a row without request or answer']*3

def test_without_dspy_the_error_says_what_to_install():
    code = "import sys; sys.modules['dspy'] = None\nfrom ftkit.data.dspy import connect, OPTIONS\ntry: connect({**OPTIONS, 'model': 'm'})\nexcept ValueError as e: print(e)"
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent).stdout
    assert 'pip install "ftkit[synth]"' in out

@pytest.mark.slow
def test_a_real_server_with_the_tiny_base_is_understood_even_where_it_cannot_do_the_work(tmp_path):
    import os, socket, urllib.request
    from ftkit.model.tiny import tiny_base
    with socket.socket() as s: s.bind(('127.0.0.1', 0)); port = s.getsockname()[1]
    base, env = str(tiny_base()), {**os.environ, 'HF_HUB_OFFLINE': '1', 'HF_HOME': str(tmp_path)}
    log = open(tmp_path/'serve.log', 'w')
    p = subprocess.Popen([Path(sys.executable).parent/'transformers', 'serve', base, '--port', str(port), '--device', 'cpu'], env=env, stdout=log, stderr=log)
    try:
        for _ in range(240):
            try: urllib.request.urlopen(f'http://localhost:{port}/health', timeout=2); break
            except OSError: time.sleep(.5)
            assert p.poll() is None, (tmp_path/'serve.log').read_text()[-2000:]
        service = SyntheticDataService(generator='dspy', options=dict(model=base, endpoint=f'http://localhost:{port}/v1', max_tokens=60, retries=0, timeout_s=120, per_call=2, shown=2))
        try: made = service.generate(SyntheticDataRequest('routing', 2, ('orders', 'returns')), SEEDS)
        except FtkitError as e: assert 'nothing usable came out' in str(e) and ('unreadable answer' in str(e) or 'repeats' in str(e))
        else: assert all(r.metadata['recipe']['model']==base for r in made)
        assert '/v1/chat/completions HTTP/1.1" 200' in (tmp_path/'serve.log').read_text()
    finally:
        p.terminate(); p.wait(20); log.close()
