"Corners of `ftkit.core`."
import json, signal, subprocess, sys
from datetime import date, datetime, timezone

import pytest

from ftkit.core import Accounting, FtkitError, as_time, check_name, content_hash, slug, to_json
from ftkit.disk import atomic_dir, atomic_file, read_json, read_jsonl, write_json, write_jsonl
from ftkit.display import html_table
from ftkit.records import (
    ConversationTrajectory, ConversationTurn, InstructionDataset, InstructionExample,
    TrajectoryDataset)

@pytest.mark.parametrize('name', ['', '.', '..', 'a..b', '../x', '/abs', 'a/b', 'a\\b', 'A', 'ä', 'a\x00', 'x'*65, 'a.', ' a', 'a b', None, 5, 'con\n'])
def test_hostile_names_are_refused(name):
    with pytest.raises(FtkitError): check_name(name)

def test_an_account_with_a_hole_is_an_error():
    with pytest.raises(AssertionError, match='does not add up'): Accounting(10, 5, {'a': 4})

@pytest.mark.parametrize('text', ['', 'é', '🙂', '\ud83d', 'a\x00b', '\u2028', 'x'*100_000])
def test_any_text_survives_a_round_trip_or_is_replaced(tmp_path, text):
    ds = InstructionDataset([InstructionExample('i', text, 'o')])
    back = InstructionDataset.load_jsonl(ds.save_jsonl(tmp_path/'a'))
    assert back[0].input==text.encode('utf-8', 'replace').decode()

def test_metadata_keeps_its_own_keys_through_parquet_and_arrow(tmp_path):
    ds = InstructionDataset([InstructionExample('i', 'a', 'b', {'tools': '[{"x": 1}]'}), InstructionExample('i', 'c', 'd', {'other': [1, 2]})])
    assert InstructionDataset.load_parquet(ds.save_parquet(tmp_path/'p'))==ds
    assert json.loads(ds.to_hf()[1]['metadata'])=={'other': [1, 2]}

def test_an_empty_dataset_can_be_saved_shown_and_converted(tmp_path):
    ds = InstructionDataset()
    assert InstructionDataset.load_jsonl(ds.save_jsonl(tmp_path/'a'))==[] and '0 records' in ds._repr_html_()
    assert list(ds.to_pandas().columns)==['instruction', 'input', 'output', 'metadata'] and len(ds.to_hf())==0

def test_turns_come_back_as_turns(tmp_path):
    ds = TrajectoryDataset([ConversationTrajectory('s', [ConversationTurn(0, 'q', 'a', '', 'x')])])
    assert isinstance(TrajectoryDataset.load_jsonl(ds.save_jsonl(tmp_path/'t'))[0].turns[0], ConversationTurn)

def test_records_do_not_change():
    with pytest.raises(AttributeError): InstructionExample('a', 'b', 'c').output = 'd'

def test_equal_content_has_one_hash_whatever_the_order():
    assert content_hash({'b': {2, 1}, 'a': (1, 2)})==content_hash({'a': [1, 2], 'b': {1, 2}})!=content_hash({'a': [2, 1], 'b': {1, 2}})

def test_nan_never_reaches_a_file(tmp_path):
    assert read_json(write_json(tmp_path/'x', {'loss': float('inf'), 'rows': [float('nan')]}))=={'loss': None, 'rows': [None]}

def test_a_damaged_line_is_named(tmp_path):
    path = write_jsonl(tmp_path/'a.jsonl', [{'a': 1}]*3)
    path.write_text(path.read_text().replace('{"a":1}\n', '{"a":1}\n{"a":\n', 1))
    with pytest.raises(FtkitError, match='line 2 is not JSON'): read_jsonl(path)

def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    write_json(tmp_path/'a', 1)
    with pytest.raises(RuntimeError):
        with atomic_file(tmp_path/'a') as f:
            f.write_text('half')
            raise RuntimeError
    assert read_json(tmp_path/'a')==1 and [p.name for p in tmp_path.iterdir()]==['a']

def test_a_folder_is_never_half_there_when_the_process_is_killed(tmp_path):
    code = f"import os, signal, sys\nfrom ftkit.disk import atomic_dir\nwith atomic_dir({str(tmp_path/'d')!r}) as d:\n (d/'a').write_text('x')\n os.kill(os.getpid(), signal.SIGKILL)"
    assert subprocess.run([sys.executable, '-c', code]).returncode==-signal.SIGKILL
    assert not (tmp_path/'d').exists()

def test_a_full_disk_leaves_nothing_behind(tmp_path):
    code = f"import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\nfrom ftkit.disk import write_jsonl\ntry: write_jsonl({str(tmp_path/'a')!r}, [dict(x='y'*100)]*100)\nexcept OSError as e: print(e.errno)"
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout.strip()=='27'
    assert list(tmp_path.iterdir())==[]

def test_two_writers_of_one_folder_leave_one_whole_folder(tmp_path):
    with pytest.raises(OSError):
        with atomic_dir(tmp_path/'d') as a:
            (a/'x').write_text('1')
            with atomic_dir(tmp_path/'d') as b: (b/'x').write_text('2')
    assert (tmp_path/'d'/'x').read_text()=='2' and len(list(tmp_path.iterdir()))==1

def test_tables_escape_what_people_typed():
    assert '<script>' not in html_table(['<script>'], [['<script>alert(1)</script>']], '<script>')

@pytest.mark.parametrize('value', [None, float('nan')])
def test_no_time_is_none(value): assert as_time(value) is None

def test_times_without_a_zone_are_utc(): assert as_time('2026-01-01T00:00:00').isoformat()=='2026-01-01T00:00:00+00:00'

def test_json_is_canonical(): assert to_json({'b': 1, 'a': [True, None]})=='{"a":[true,null],"b":1}'

@pytest.mark.parametrize('some', [('Заявка', 'Ответ', 'заявка'), ('返金', '退款', 'คืนเงิน', '👍', '👎'), ('José', 'Jose', 'jose 返金'), ('a'*41, 'a'*42), ('!', '?', ''), ('ß', 'ss')])
def test_names_in_other_scripts_do_not_share_a_slug(some):
    slugs = [slug(name) for name in some]
    assert len(set(slugs))==len(some)
    assert all(check_name(s)==s and len(s)<=40 for s in slugs)

@pytest.mark.parametrize('name, folded', [('Profile Selection / v2', 'profile-selection-v2'), ('routing', 'routing'), ('', 'x'), ('../../etc', 'etc')])
def test_names_in_ascii_keep_their_slug(name, folded): assert slug(name)==folded

def test_a_readable_part_stays_and_two_spellings_of_an_accent_are_one_name():
    assert slug('Café 返金').startswith('cafe-') and slug('Cafe\u0301')==slug('Café')

@pytest.mark.parametrize('value', ['2026-01-05T10:00:00.000000000Z', '2026-01-05T10:00:00.0Z', '2026-01-05 10:00:00 UTC', '2026-01-05 11:00:00.000000000 +0100 CET'.removesuffix(' CET'), '2026-01-05T11:00:00,000+01:00', 'Mon, 05 Jan 2026 10:00:00 GMT',
    'Mon, 5 Jan 2026 05:00:00 -0500', '05 Jan 2026 10:00:00 +0000', ' 2026-01-05T10:00:00z ', 1767607200, 1767607200., datetime(2026, 1, 5, 10)])
def test_times_as_programs_write_them_are_read(value): assert as_time(value)==datetime(2026, 1, 5, 10, tzinfo=timezone.utc)

def test_a_day_begins_at_midnight(): assert as_time(date(2026, 1, 5))==as_time('2026-01-05')==datetime(2026, 1, 5, tzinfo=timezone.utc)

def test_times_of_numpy_and_pandas_are_read():
    np, pd = pytest.importorskip('numpy'), pytest.importorskip('pandas')
    ns = '2026-01-05T10:00:00.123456789'
    assert {as_time(ns), as_time(np.datetime64(ns)), as_time(pd.Timestamp(ns))}=={datetime(2026, 1, 5, 10, microsecond=123456, tzinfo=timezone.utc)}
    assert as_time(np.int64(1767607200)).year==2026 and as_time(pd.NaT) is None and as_time(np.datetime64('NaT')) is None

@pytest.mark.parametrize('value', ['yesterday', '', '2026-13-01', '99:99', True, [], {}, object(), 1e300, -1e18, '0001-01-01T00:00:00+14:00', '5 apples 2026'])
def test_nonsense_is_refused_as_a_time(value):
    with pytest.raises(FtkitError, match='is not a time; write it like 2026-01-31'): as_time(value)
