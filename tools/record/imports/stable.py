"The same ids, times and addresses in every recording of files for importers."
import base64, re
from datetime import datetime, timedelta, timezone

TIMES = dict( # how clients write times
    compact=r'\d{8}T\d{12}Z', nanos=r'(?<!\d)1[789]\d{17}(?!\d)',
    time=r'2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)')
BEGAN = datetime(2026, 3, 2, 9, tzinfo=timezone.utc)
UUID = r'[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}'
MACHINE = ('runtime', 'revision_id', 'LANGSMITH_ENDPOINT', 'mlflow.source.name', 'mlflow.user', 'mlflow.artifactLocation', 'mlflow.source.type',
    'mlflow.source.git.commit', 'mlflow.source.git.branch', 'mlflow.source.git.repoURL', 'mlflow.trace.sizeBytes', 'mlflow.trace.sizeStats')

class Stable:
    "Names that stay the same, given in the order in which they come."
    def __init__(self):
        self.known = {}

    def numbered(self, kind, text, make):
        "The name of the nth of a kind."
        n = len([k for k in self.known if k[0]==kind])
        return self.known.setdefault((kind, text), make(n+1))

    def hexes(self, found):
        text = found.group(0)
        return self.numbered(f'hex{len(text)}', text, lambda n: f'{n:x}'.rjust(len(text), 'a'))

    def uuid(self, found):
        return self.numbered('uuid', found.group(0), lambda n: f'aaaaaaaa-aaaa-4aaa-8aaa-{n:012x}')

    def moment(self, n):
        return BEGAN+timedelta(seconds=n)

    def time(self, found):
        return self.numbered('time', found.group(0), lambda n: self.moment(n).isoformat().replace('+00:00', 'Z'))

    def compact(self, found):
        return self.numbered('compact', found.group(0), lambda n: self.moment(n).strftime('%Y%m%dT%H%M%S000000Z'))

    def nanos(self, found):
        return self.numbered('nanos', found.group(0), lambda n: str(int(self.moment(n).timestamp())*10**9))

    def packed(self, found):
        "An id in base64, as MLflow has them."
        raw = base64.b64decode(found.group(1))
        return f'"{base64.b64encode(bytes.fromhex(self.hexes(re.match(".*", raw.hex())))).decode()}"'

    def text(self, text):
        "A file with the names replaced."
        for kind,pattern in TIMES.items(): # the earlier stays the earlier
            for found in sorted(re.finditer(pattern, text), key=lambda m: m.group(0)):
                getattr(self, kind)(found)
            text = re.sub(pattern, getattr(self, kind), text)
        text = re.sub(r'"([A-Za-z0-9+/]{22}==|[A-Za-z0-9+/]{11}=)"', self.packed, text)
        text = re.sub(UUID, self.uuid, text)
        text = re.sub(r'(?<![0-9a-fA-F-])(?:[0-9a-f]{32}|[0-9a-f]{16})(?![0-9a-fA-F-])', self.hexes, text)
        return re.sub(r'127\.0\.0\.1:\d+', '127.0.0.1:8080', text)

def without_machine(value):
    "Rows without what tells of the machine."
    if isinstance(value, list):
        return [without_machine(v) for v in value]
    if not isinstance(value, dict):
        return value
    return {k: without_machine(v) for k,v in value.items() if k not in MACHINE}
