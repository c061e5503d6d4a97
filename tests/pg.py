"A scratch PostgreSQL for tests: one server a session, one empty database a test. Use it with `pytest_plugins = ['pg']`."
import ctypes, os, pwd, shutil, signal, socket, subprocess, tempfile, time, uuid
from pathlib import Path
import pytest

def binaries():
    "The folder that holds `initdb` and `postgres`, or None."
    found = sorted(Path('/usr/lib/postgresql').glob('*/bin/initdb'), key=lambda p: int(p.parts[-3].split('.')[0]), reverse=True)
    which = shutil.which('initdb')
    return found[0].parent if found else Path(which).resolve().parent if which else None

def someone_else():
    "Who runs the server: PostgreSQL refuses to run as root."
    if os.getuid()!=0: return None
    names = {p.pw_name for p in pwd.getpwall()}
    return pwd.getpwnam('postgres' if 'postgres' in names else 'nobody')

def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]

def die_with_parent(): ctypes.CDLL(None).prctl(1, signal.SIGINT)

class Postgres:
    "A running server on a free port, its data in a temporary folder."
    def __init__(self, bin):
        self.folder, self.port, who = Path(tempfile.mkdtemp(prefix='ftkit-pg-', dir='/tmp')), free_port(), someone_else()
        as_them = dict(user=who.pw_uid, group=who.pw_gid, extra_groups=[]) if who else {}
        if who: os.chown(self.folder, who.pw_uid, who.pw_gid)
        env = dict(PATH=os.environ['PATH'], HOME=str(self.folder), LC_ALL='C.UTF-8')
        subprocess.run([bin/'initdb', '-D', self.folder/'data', '-U', 'ftkit', '-A', 'trust', '-E', 'UTF8', '--no-sync'], check=True, capture_output=True, cwd=self.folder, env=env, **as_them)
        self.log = open(self.folder/'log', 'wb')
        options = dict(port=self.port, listen_addresses='127.0.0.1', unix_socket_directories=self.folder, fsync='off', synchronous_commit='off', full_page_writes='off', max_connections=200)
        self.process = subprocess.Popen([bin/'postgres', '-D', self.folder/'data', *(a for k,v in options.items() for a in ('-c', f'{k}={v}'))],
            stdout=self.log, stderr=self.log, cwd=self.folder, env=env, preexec_fn=die_with_parent, **as_them)
        self.wait()

    def wait(self, seconds=60):
        until = time.monotonic()+seconds
        while time.monotonic()<until:
            try: self.run('SELECT 1'); return
            except Exception: time.sleep(.1)
            if self.process.poll() is not None: break
        raise RuntimeError('postgres did not start: '+(self.folder/'log').read_text()[-2000:])

    def url(self, database='postgres'): return f'postgresql://ftkit@127.0.0.1:{self.port}/{database}'

    def run(self, sql):
        "Run one statement outside a transaction."
        import psycopg
        with psycopg.connect(self.url(), autocommit=True) as c: c.execute(sql)

    def database(self):
        "The URL of a new, empty database."
        name = 'db'+uuid.uuid4().hex[:12]
        self.run(f'CREATE DATABASE {name}')
        return self.url(name)

    def stop(self):
        self.process.send_signal(signal.SIGINT) # fast shutdown
        try: self.process.wait(20)
        except subprocess.TimeoutExpired: self.process.kill(); self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

@pytest.fixture(scope='session')
def postgres_server():
    "The session's PostgreSQL server, or a skip where there is none."
    pytest.importorskip('psycopg', reason='pip install "psycopg[binary]"')
    bin = binaries()
    if bin is None: pytest.skip('no PostgreSQL server on this machine')
    server = Postgres(bin)
    yield server
    server.stop()

@pytest.fixture
def postgres_url(postgres_server):
    "The URL of an empty PostgreSQL database."
    return postgres_server.database()
