"""A model server of scripted answers on 127.0.0.1. It speaks the chat APIs that instrumentations watch, takes in the spans
that they send, and keeps every body it received and sent."""
import binascii, json, re, struct, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

USAGE = dict(prompt_tokens=20, completion_tokens=9, total_tokens=29)
NO_DETAILS = dict(input_tokens_details=dict(cached_tokens=0), output_tokens_details=dict(reasoning_tokens=0))

# -- a scripted reply, a dict with `text`, `calls`, `reasoning`, `choices`, `finish`, `status`, as the body of each API

def chat_message(reply, text, name):
    "The message of one choice of a chat completion."
    said = dict(role='assistant', content=text, refusal=None)
    if reply.get('reasoning'):
        said['reasoning_content'] = reply['reasoning']
    if reply.get('calls'):
        said['tool_calls'] = [
            dict(id=f'call_{name}_{i}', type='function', function=dict(name=c['name'], arguments=json.dumps(c['args'])))
            for i,c in enumerate(reply['calls'])]
    return said

def chat_body(request, reply, name):
    "A chat completion."
    texts = reply.get('choices') or [reply.get('text')]
    finish = reply.get('finish') or ('tool_calls' if reply.get('calls') else 'stop')
    choices = [
        dict(index=i, message=chat_message(reply, t, name), finish_reason=finish, logprobs=None) for i,t in enumerate(texts)]
    return dict(
        id=f'chatcmpl-{name}', object='chat.completion', created=1767225600, model=request['model'], choices=choices, usage=USAGE)

def chat_events(body, request):
    "The chunks of a streamed chat completion."
    head = dict(id=body['id'], object='chat.completion.chunk', created=body['created'], model=body['model'])
    def chunk(i, delta, finish=None):
        return dict(head, choices=[dict(index=i, delta=delta, finish_reason=finish, logprobs=None)])
    for choice in body['choices']:
        i, said = choice['index'], choice['message']
        yield chunk(i, dict(role='assistant', content=''))
        if said.get('reasoning_content'):
            yield chunk(i, dict(reasoning_content=said['reasoning_content']))
        for piece in pieces(said['content']):
            yield chunk(i, dict(content=piece))
        for n,call in enumerate(said.get('tool_calls', ())):
            yield chunk(i, dict(tool_calls=[dict(call, index=n, function=dict(name=call['function']['name'], arguments=''))]))
            for piece in pieces(call['function']['arguments']):
                yield chunk(i, dict(tool_calls=[dict(index=n, function=dict(arguments=piece))]))
        yield chunk(i, {}, choice['finish_reason'])
    if (request.get('stream_options') or {}).get('include_usage'):
        yield dict(head, choices=[], usage=body['usage'])

def pieces(text, size=7):
    "A text in the pieces in which it is streamed."
    return [text[i:i+size] for i in range(0, len(text), size)] if text else []

def responses_items(reply, name):
    "The output items of the Responses API."
    items = []
    if reply.get('reasoning'):
        summary = [dict(type='summary_text', text=reply['reasoning'])]
        items.append(dict(id=f'rs_{name}', type='reasoning', summary=summary))
    if reply.get('text') is not None:
        content = [dict(type='output_text', text=reply['text'], annotations=[])]
        items.append(dict(id=f'msg_{name}', type='message', role='assistant', status='completed', content=content))
    for i,c in enumerate(reply.get('calls') or ()):
        call = dict(id=f'fc_{name}_{i}', call_id=f'call_{name}_{i}', name=c['name'], arguments=json.dumps(c['args']))
        items.append(dict(call, type='function_call', status='completed'))
    return items

def responses_body(request, reply, name):
    "An answer of the Responses API."
    cut = reply.get('finish')=='length'
    told = {k: request.get(k) for k in ('instructions', 'previous_response_id', 'model')}
    state = dict(status='incomplete' if cut else 'completed', incomplete_details=dict(reason='max_output_tokens') if cut else None)
    usage = dict(input_tokens=20, output_tokens=9, total_tokens=29, **NO_DETAILS)
    settings = dict(parallel_tool_calls=True, tool_choice='auto', tools=request.get('tools') or [], temperature=1., top_p=1.)
    return dict(id=f'resp_{name}', object='response', created_at=1767225600, error=None, metadata={}, **told, **state,
        **settings, output=responses_items(reply, name), usage=usage)

def responses_events(body, request):
    "The events of a streamed answer of the Responses API."
    started = dict(body, output=[], status='in_progress', usage=None)
    yield dict(type='response.created', response=started)
    for n,item in enumerate(body['output']):
        yield dict(type='response.output_item.added', output_index=n, item=dict(item, **empty_item(item)))
        yield from item_events(item, dict(item_id=item['id'], output_index=n))
        yield dict(type='response.output_item.done', output_index=n, item=item)
    yield dict(type='response.incomplete' if body['status']=='incomplete' else 'response.completed', response=body)

def empty_item(item):
    "What an output item is before its text arrives."
    return dict(message=dict(content=[]), function_call=dict(arguments=''), reasoning=dict(summary=[]))[item['type']]

def item_events(item, head):
    "The pieces of one output item."
    if item['type']=='message':
        head, part = dict(head, content_index=0), item['content'][0]
        yield dict(head, type='response.content_part.added', part=dict(part, text=''))
        for piece in pieces(part['text']):
            yield dict(head, type='response.output_text.delta', delta=piece, logprobs=[])
        yield dict(head, type='response.output_text.done', text=part['text'], logprobs=[])
        yield dict(head, type='response.content_part.done', part=part)
    if item['type']=='function_call':
        yield dict(head, type='response.function_call_arguments.delta', delta=item['arguments'])
        yield dict(head, type='response.function_call_arguments.done', arguments=item['arguments'])

def anthropic_body(request, reply, name):
    "An Anthropic message."
    content = []
    if reply.get('reasoning'):
        content.append(dict(type='thinking', thinking=reply['reasoning'], signature='c2ln'))
    if reply.get('text') is not None:
        content.append(dict(type='text', text=reply['text']))
    content += [dict(type='tool_use', id=f'toolu_{name}_{i}', name=c['name'], input=c['args']) for i,c in enumerate(reply.get('calls') or ())]
    stop = 'max_tokens' if reply.get('finish')=='length' else 'tool_use' if reply.get('calls') else 'end_turn'
    usage = dict(input_tokens=20, output_tokens=9, cache_creation_input_tokens=0, cache_read_input_tokens=0)
    return dict(id=f'msg_{name}', type='message', role='assistant', model=request.get('model', 'claude'), content=content,
        stop_reason=stop, stop_sequence=None, usage=usage)

def anthropic_events(body, request):
    "The events of a streamed Anthropic message."
    yield dict(type='message_start', message=dict(body, content=[], stop_reason=None))
    for i,block in enumerate(body['content']):
        key, kind = dict(text=('text', 'text_delta'), thinking=('thinking', 'thinking_delta'), tool_use=('input', 'input_json_delta'))[block['type']]
        whole = json.dumps(block['input']) if key=='input' else block[key]
        yield dict(type='content_block_start', index=i, content_block=dict(block, **{key: {} if key=='input' else ''}))
        for piece in pieces(whole):
            yield dict(type='content_block_delta', index=i, delta={'type': kind, 'partial_json' if key=='input' else key: piece})
        yield dict(type='content_block_stop', index=i)
    stop = dict(stop_reason=body['stop_reason'], stop_sequence=None)
    yield dict(type='message_delta', delta=stop, usage=dict(output_tokens=9))
    yield dict(type='message_stop')

def gemini_body(request, reply, name):
    "An answer of Gemini's generateContent."
    parts = [dict(text=reply['reasoning'], thought=True)] if reply.get('reasoning') else []
    parts += [dict(functionCall=dict(name=c['name'], args=c['args'])) for c in reply.get('calls') or ()]
    finish = 'MAX_TOKENS' if reply.get('finish')=='length' else 'STOP'
    def candidate(i, text):
        said = parts if text is None else [*parts, dict(text=text)]
        return dict(content=dict(role='model', parts=said), finishReason=finish, index=i)
    texts = reply.get('choices') or [reply.get('text')]
    usage = dict(promptTokenCount=20, candidatesTokenCount=9, totalTokenCount=29)
    return dict(candidates=[candidate(i, t) for i,t in enumerate(texts)], usageMetadata=usage, modelVersion='gemini-2.5-flash',
        responseId=f'gem-{name}')

def gemini_events(body, request):
    "The chunks of a streamed answer of Gemini."
    only = body['candidates'][0]
    for part in only['content']['parts']:
        cut = [dict(part, text=p) for p in pieces(part['text'])] if 'text' in part else [part]
        for p in cut:
            yield dict(body, candidates=[dict(index=0, content=dict(role='model', parts=[p]))])
    yield dict(body, candidates=[dict(only, content=dict(role='model', parts=[dict(text='')]))])

def converse_body(request, reply, name):
    "An answer of Bedrock's Converse."
    content = [dict(reasoningContent=dict(reasoningText=dict(text=reply['reasoning'])))] if reply.get('reasoning') else []
    if reply.get('text') is not None:
        content.append(dict(text=reply['text']))
    content += [dict(toolUse=dict(toolUseId=f'tooluse_{name}_{i}', name=c['name'], input=c['args'])) for i,c in enumerate(reply.get('calls') or ())]
    stop = 'max_tokens' if reply.get('finish')=='length' else 'tool_use' if reply.get('calls') else 'end_turn'
    usage = dict(inputTokens=20, outputTokens=9, totalTokens=29)
    return dict(output=dict(message=dict(role='assistant', content=content)), stopReason=stop, usage=usage, metrics=dict(latencyMs=1))

def converse_events(body, request):
    "The events of Converse as a stream: (kind, payload)."
    yield 'messageStart', dict(role='assistant')
    for i,block in enumerate(body['output']['message']['content']):
        if 'toolUse' in block:
            use = {k: block['toolUse'][k] for k in ('toolUseId', 'name')}
            yield 'contentBlockStart', dict(contentBlockIndex=i, start=dict(toolUse=use))
            yield 'contentBlockDelta', dict(contentBlockIndex=i, delta=dict(toolUse=dict(input=json.dumps(block['toolUse']['input']))))
        for piece in pieces(block.get('text')):
            yield 'contentBlockDelta', dict(contentBlockIndex=i, delta=dict(text=piece))
        yield 'contentBlockStop', dict(contentBlockIndex=i)
    yield 'messageStop', dict(stopReason=body['stopReason'])
    yield 'metadata', dict(usage=body['usage'], metrics=body['metrics'])

# -- how events travel

def sse(events, named, done=b''):
    "Server-sent events."
    for n,e in enumerate(events):
        name = f'event: {e["type"]}\n' if named else ''
        yield f'{name}data: {json.dumps(dict(e, sequence_number=n) if "response" in e.get("type", "") else e)}\n\n'.encode()
    if done:
        yield done

def aws_events(events):
    "Frames of the AWS event stream encoding."
    for kind,payload in events:
        headers = b''
        for k,v in ((':event-type', kind), (':content-type', 'application/json'), (':message-type', 'event')):
            headers += bytes([len(k)])+k.encode()+b'\x07'+struct.pack('>H', len(v))+v.encode()
        body = json.dumps(payload).encode()
        prelude = struct.pack('>II', len(headers)+len(body)+16, len(headers))
        frame = prelude+struct.pack('>I', binascii.crc32(prelude))+headers+body
        yield frame+struct.pack('>I', binascii.crc32(frame))

ROUTES = ( # pattern of the path, name of the API, the body of an answer, how it is streamed
    (r'/chat/completions$', 'chat', chat_body, lambda b, r: sse(chat_events(b, r), False, b'data: [DONE]\n\n')),
    (r'/responses$', 'responses', responses_body, lambda b, r: sse(responses_events(b, r), True)),
    (r'/v1/messages$', 'anthropic', anthropic_body, lambda b, r: sse(anthropic_events(b, r), True)),
    (r':(stream)?[gG]enerateContent$', 'gemini', gemini_body, lambda b, r: sse(gemini_events(b, r), False)),
    (r'/converse(-stream)?$', 'converse', converse_body, lambda b, r: aws_events(converse_events(b, r))),
    (r'/invoke$', 'invoke', anthropic_body, None),
)

class Stub:
    "The server, what it is to answer next, and what it has seen."
    def __init__(self):
        self.setup, self.scenario, self.replies = '', {}, []
        self.exchanges, self.scenarios, self.spans = [], [], []
        self.lock = threading.Lock()
        stub = self
        class Handler(_Handler):
            server_stub = stub
        self.server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None # a client that leaves is no matter
        self.url = f'http://127.0.0.1:{self.server.server_port}'
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def begin(self, setup):
        "Forget what was seen, and listen to another set-up."
        self.setup, self.scenario, self.replies = setup, {}, []
        self.exchanges, self.scenarios, self.spans = [], [], []

    def told(self, script):
        "A scenario begins: what will be answered, in order."
        self.scenario, self.replies = script, list(script['replies'])
        self.scenarios.append(script)

    def next_reply(self):
        "The next scripted reply, with its number."
        with self.lock:
            n = len(self.exchanges)
            reply = self.replies.pop(0) if self.replies else dict(status=400, text='nothing is scripted here', unscripted=True)
            self.exchanges.append(dict(n=n, scenario=self.scenario.get('scenario')))
            return n, reply

class _Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    server_stub = None

    def date_time_string(self, timestamp=None):
        "The same date at each recording."
        return 'Mon, 02 Mar 2026 09:00:00 GMT'

    def version_string(self):
        "A server's name without versions."
        return 'stub'

    def log_message(self, *_):
        "Silence: the log is the list of exchanges."

    def do_POST(self):
        "A script, spans, or a call of a model."
        raw = self.rfile.read(int(self.headers.get('content-length') or 0))
        stub, path = self.server_stub, self.path.split('?')[0]
        if path=='/script':
            stub.told(json.loads(raw))
            return self.send_whole(200, {})
        if path=='/v1/traces':
            stub.spans.append(raw)
            return self.send_raw(200, b'', 'application/x-protobuf')
        self.answer(path, json.loads(raw or b'{}'))

    def answer(self, path, request):
        "One call of a model."
        received = time.time_ns()
        route = next((r for r in ROUTES if re.search(r[0], path)), None)
        if route is None:
            return self.send_whole(404, dict(error=dict(message=f'no such path: {path}')))
        n, reply = self.server_stub.next_reply()
        _, api, as_body, as_stream = route
        status = reply.get('status', 200)
        body = as_body(request, reply, f'{n:04}') if status==200 else dict(error=dict(message=reply['text'], type='error', code=status))
        streamed = status==200 and bool(request.get('stream') or 'stream' in path.rsplit('/', 1)[-1])
        kept = dict(path=path, api=api, request=request, response=body, status=status, streamed=streamed, received=received)
        self.server_stub.exchanges[n].update(kept, sent=time.time_ns(), unscripted=bool(reply.get('unscripted')))
        if streamed:
            return self.send_stream(as_stream(body, request), 'application/vnd.amazon.eventstream' if api=='converse' else 'text/event-stream')
        self.send_whole(status, body)

    def send_whole(self, status, body):
        "A JSON answer."
        self.send_raw(status, json.dumps(body).encode(), 'application/json')

    def send_raw(self, status, raw, kind):
        "Bytes."
        self.send_response(status)
        self.send_header('content-type', kind)
        self.send_header('content-length', str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def send_stream(self, parts, kind):
        "An answer in pieces; the connection is closed at its end."
        self.send_response(200)
        self.send_header('content-type', kind)
        self.send_header('connection', 'close')
        self.end_headers()
        for p in parts:
            self.wfile.write(p)
            self.wfile.flush()
        self.close_connection = True
