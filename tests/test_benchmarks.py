"The benchmarks run, in toy sizes: what they print for people and keep as JSON is there for every row."
import asyncio, importlib, json, os, sqlite3, subprocess, sys
from pathlib import Path

import pytest

from ftkit.telemetry.phoenixdb import PhoenixDatabaseProvider
from ftkit.telemetry.sending import send

ROOT = Path(__file__).parent.parent
QUICK = {'training': ['sft'], 'scoring': ['labels']} # the rest with FTKIT_FULL=1

@pytest.fixture
def measure(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT/'benchmarks'))
    return importlib.import_module('measure')

def ran(name, out, *args):
    done = subprocess.run([sys.executable, str(ROOT/'benchmarks'/f'{name}.py'), '--smallest', '--out', str(out), *args], env={**os.environ, 'PYTHONPATH': str(ROOT)}, capture_output=True, text=True, timeout=900)
    assert done.returncode==0, done.stderr
    return done.stdout, json.loads(out.read_text())

@pytest.mark.parametrize('name', ['training', 'scoring', *(['machine'] if os.environ.get('FTKIT_FULL') else [])])
def test_a_benchmark_runs_and_keeps_its_rows(name, tmp_path):
    parts = None if os.environ.get('FTKIT_FULL') else QUICK[name]
    printed, kept = ran(name, tmp_path/'out.json', *(['--only', *parts] if parts else []))
    assert kept['rows'] and all(r['ratio']>0 and r['rounds']==1 and r['row'] in printed for r in kept['rows'])
    assert kept['environment']['versions']['torch'] and kept['environment']['threads']==1
    assert all(len(c['points'])>=1 and c['x'] in c['points'][0] and c['y'] in c['points'][0] for c in kept['curves'].values())

def test_a_store_is_multiplied_into_spans_and_annotations_of_their_own(measure, phoenix_server, tmp_path, monkeypatch):
    reading = importlib.import_module('reading')
    spans, notes = reading.sample(1, 'bench')
    some = {s.span_id for s in spans[:50]}
    asyncio.run(send([s for s in spans if s.span_id in some], [n for n in notes if n.span_id in some], 'bench', phoenix_server.endpoint))
    with sqlite3.connect(Path(phoenix_server.working_dir)/'phoenix.db') as live, sqlite3.connect(tmp_path/'phoenix.db') as copy: live.backup(copy)
    before = read(tmp_path)
    reading.multiply(tmp_path/'phoenix.db', 3*copy.execute('SELECT count(*) FROM spans').fetchone()[0])
    after = read(tmp_path)
    assert len(before[0])==50 and len(after[0])==150 and len({s.span_id for s in after[0]})==150 and len({s.trace_id for s in after[0]})==3*len({s.trace_id for s in before[0]})
    assert len(after[1])==3*len(before[1])>0 and {n.span_id for n in after[1] if n.span_id}<={s.span_id for s in after[0]}
    texts = lambda found: sorted(str(s.get('input.value')) for s in found[0])
    assert texts(after)==sorted(3*texts(before))

def read(folder):
    "Everything in project bench, by the database."
    async def go():
        spans, notes = [], []
        async for b in PhoenixDatabaseProvider(folder/'phoenix.db', 'acme', 'bench').pull(): spans += b.spans; notes += b.annotations
        return spans, notes
    return asyncio.run(go())

@pytest.mark.skipif(not os.environ.get('FTKIT_FULL'), reason='starts three Phoenix servers')
def test_reading_runs(tmp_path):
    printed, kept = ran('reading', tmp_path/'out.json', '--stores', str(tmp_path/'stores'))
    assert len(kept["rows"])==11 and all(r['row'] in printed for r in kept['rows'])

def test_a_result_that_differs_is_an_error(measure):
    assert measure.same([1., 2.], [1., 2.+1e-7], 1e-6, 'loss')<1e-6
    with pytest.raises(AssertionError, match='loss differs by'): measure.same([1., 2.], [1., 2.1], 1e-6, 'loss')

def test_a_row_is_the_median_of_its_rounds_and_reached_or_not(measure):
    took = measure.in_turn({'base': lambda: 6., 'ours': iter([9., 1., 2., 3.]).__next__}, rounds=3)
    assert measure.ratios(took, 'base', 'ours')==[6., 3., 2.] # the first round warms up
    r = measure.row('x', 'y', [6., 3., 2.], 4)
    assert (r['ratio'], r['reached'], r['lowest'], r['highest'])==(3., False, 2., 6.) and measure.row('x', 'y', [6., 3., 2.], 4, better=False)['reached']
    assert abs(measure.exponent([10, 100, 1000], [5, 50, 500])-1)<1e-9 and abs(measure.exponent([1, 2, 4], [7, 7, 7]))<1e-9

def test_results_of_another_machine_are_not_mixed_in(measure, tmp_path):
    for machine, name in (('a', 'one'), ('a', 'two'), ('a', 'one'), ('b', 'three')): measure.Report(tmp_path/'r.json', dict(processor=machine)).keep(measure.row(name, 'y', [1.], 1))
    assert [r['row'] for r in json.loads((tmp_path/'r.json').read_text())['rows']]==['three']
