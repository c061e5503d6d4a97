"A tiny model hub on localhost: enough of the HTTP API for `upload_folder` and `snapshot_download`."
import base64, hashlib, json, re, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

class Hub:
    "Repositories in memory; `token` is what a caller must send, `fault` a status to answer instead"
    def __init__(self, token='hf_good'):
        self.repos, self.token, self.fault, self.asked, self.created = {}, token, None, [], {}
        hub = self
        class Handler(BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'
            def log_message(self, *a): pass
            def do_GET(self): hub.answer(self)
            do_POST = do_HEAD = do_GET
        self.server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.url = f'http://127.0.0.1:{self.server.server_port}'
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self): self.server.shutdown(); self.server.server_close()

    def answer(self, h):
        body = h.rfile.read(int(h.headers.get('Content-Length') or 0))
        path = unquote(h.path.split('?')[0])
        self.asked.append((h.command, path))
        if self.fault: return self.send(h, self.fault, dict(error='fault'))
        if h.headers.get('Authorization')!=f'Bearer {self.token}': return self.send(h, 401, dict(error='who are you?'), {'X-Error-Code': 'RepoNotFound'})
        for pattern, act in ((r'/api/repos/create', self.create), (r'/api/models/(.+?)/preupload/(.+)', self.preupload), (r'/api/models/(.+?)/commit/(.+)', self.commit),
            (r'/api/models/(.+?)/branch/(.+)', self.branch), (r'/api/models/(.+?)/tree/([^/]+).*', self.tree), (r'/api/models/([^/]+/[^/]+)(?:/revision/(.+))?', self.info), (r'/([^/]+/[^/]+)/resolve/([^/]+)/(.+)', self.file)):
            m = re.fullmatch(pattern, path)
            if m: return act(h, body, *m.groups())
        self.send(h, 404, dict(error='no such page'))

    def send(self, h, status, value=None, headers=(), raw=None):
        data = json.dumps(value).encode() if raw is None else raw
        h.send_response(status)
        for k,v in {'Content-Length': str(len(data)), 'Content-Type': 'application/json', **dict(headers)}.items(): h.send_header(k, v)
        h.end_headers()
        if h.command!='HEAD': h.wfile.write(data)

    def create(self, h, body):
        asked = json.loads(body)
        name = f'{asked.get("organization") or "me"}/{asked["name"]}'
        self.created.setdefault(name, asked.get('visibility') or ('private' if asked.get('private') else 'public'))
        there = name in self.repos
        self.repos.setdefault(name, {})
        self.send(h, 409 if there else 200, dict(url=f'{self.url}/{name}', id=name, name=name))

    def preupload(self, h, body, repo, revision):
        if repo not in self.repos: return self.missing(h)
        self.send(h, 200, dict(files=[dict(path=f['path'], uploadMode='regular', shouldIgnore=False) for f in json.loads(body)['files']], commitOid=self.sha(repo)))

    def commit(self, h, body, repo, revision):
        for line in body.decode().splitlines():
            row = json.loads(line)
            if row['key']=='file': self.repos[repo][row['value']['path']] = base64.b64decode(row['value']['content'])
        self.send(h, 200, dict(success=True, commitUrl=f'{self.url}/{repo}/commit/{self.sha(repo)}', commitOid=self.sha(repo)))

    def branch(self, h, body, repo, revision): self.send(h, 200, {})

    def sha(self, repo): return hashlib.sha1(repr(sorted(self.repos[repo].items())).encode()).hexdigest()
    def missing(self, h): self.send(h, 404, dict(error='Repository not found'), {'X-Error-Code': 'RepoNotFound'})

    def info(self, h, body, repo, revision=None):
        if repo not in self.repos: return self.missing(h)
        if revision not in (None, 'main', self.sha(repo)): return self.send(h, 404, dict(error='no such revision'), {'X-Error-Code': 'RevisionNotFound'})
        self.send(h, 200, dict(id=repo, modelId=repo, sha=self.sha(repo), siblings=[dict(rfilename=k) for k in self.repos[repo]], tags=[], private=True))

    def tree(self, h, body, repo, revision):
        if repo not in self.repos: return self.missing(h)
        self.send(h, 200, [dict(type='file', path=k, size=len(v), oid=hashlib.sha1(v).hexdigest()) for k,v in self.repos[repo].items()])

    def file(self, h, body, repo, revision, name):
        data = self.repos.get(repo, {}).get(name)
        if data is None: return self.send(h, 404, dict(error='Entry not found'), {'X-Error-Code': 'EntryNotFound'})
        self.send(h, 200, raw=data, headers={'ETag': f'"{hashlib.sha1(data).hexdigest()}"', 'X-Repo-Commit': self.sha(repo), 'Content-Type': 'application/octet-stream', 'Accept-Ranges': 'bytes'})
