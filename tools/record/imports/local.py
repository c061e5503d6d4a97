"A chat server of scripted answers and a store that keeps what is posted to it, on 127.0.0.1, for the scripts beside it."
import json, os, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SYSTEM = dict(role='system', content='You help the guests of a tea shop.')
MENU = dict(type='function', function=dict(
    name='get_menu', description='Teas of a kind', parameters=dict(type='object', properties=dict(kind=dict(type='string')), required=['kind'])))
SAID = { # last thing that was said -> what is answered
    'Which green teas do you have?': dict(call=dict(kind='green')),
    '["Sencha", "Gyokuro"]': dict(text='We have Sencha and Gyokuro.'),
    'Do you open on Sunday?': dict(text='Yes, from ten to four. – 日曜も営業しています 🙂'),
    'May I bring my dog?': dict(text='No.'),
    'Is there a discount for students?': dict(text='Ten percent, with a card.'),
    'And for teachers?': dict(text='Sadly not.'),
    'Failing call': dict(text='never'),
}
OUT = Path(os.environ.get('RECORD_OUT') or sys.argv[1])

def completion(request):
    "A chat completion to a request."
    said = SAID[request['messages'][-1]['content']]
    message = dict(role='assistant', content=said.get('text'))
    if 'call' in said:
        message['tool_calls'] = [dict(id='call_1', type='function', function=dict(name='get_menu', arguments=json.dumps(said['call'])))]
    choice = dict(index=0, message=message, finish_reason='tool_calls' if 'call' in said else 'stop', logprobs=None)
    usage = dict(prompt_tokens=20, completion_tokens=9, total_tokens=29)
    return dict(id='chatcmpl-1', object='chat.completion', created=1772442000, model=request['model'], choices=[choice], usage=usage)

class Local:
    "The server; `answer` may be replaced by a function of method, path and body."
    def __init__(self, answer=None):
        own = self
        self.posted = [] # (method, path, body)
        class Handler(BaseHTTPRequestHandler):
            def handle_any(self):
                body = self.rfile.read(int(self.headers.get('content-length') or 0))
                own.posted.append((self.command, self.path, body))
                told = completion(json.loads(body)) if self.path.endswith('/chat/completions') else answer(self.command, self.path, body)
                raw = json.dumps(told).encode()
                self.send_response(200)
                self.send_header('content-type', 'application/json')
                self.send_header('content-length', str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)
            do_GET = do_POST = do_PATCH = handle_any
            def log_message(self, *args):
                pass
        self.server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f'http://127.0.0.1:{self.server.server_port}'

def write_lines(name, rows):
    "A file of JSON lines."
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT/name).write_text(''.join(json.dumps(r, ensure_ascii=False, sort_keys=True)+'\n' for r in rows), encoding='utf-8')
