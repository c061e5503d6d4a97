"The corners of `ftkit.data.version`."
import json
import multiprocessing as mp
import os
import random
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from ftkit.core import Accounting, FtkitError
from ftkit.disk import read_json, write_json
from ftkit.records import (
    ConversationTrajectory, ConversationTurn, InstructionDataset, InstructionExample,
    PreferenceDataset, PreferencePair, TrajectoryDataset, Triplet, TripletDataset)
from ftkit.data.certificate import certificate
from ftkit.data.split import split
from ftkit.data import version
from ftkit.data.lineage import delete_version, find_usage, forget, note_adapter
from ftkit.data.version import diff, list_versions, load_version, save_version, seal_receipts

START = datetime(2026, 3, 1, tzinfo=timezone.utc)

def _row(i, **metadata):
    m = dict(span_id=f'span{i}', trace_id=f'trace{i}', session_id=f'session{i}', user_id=f'user{i%10}', time=(START+timedelta(hours=4*i)).isoformat())
    return InstructionExample('Answer.', f'item{i} colour{i*7} size{i*13} shape{i*29}', f'answer {i}', {**m, **metadata})

ROWS = InstructionDataset(_row(i) for i in range(200))
PAIRS = PreferenceDataset(PreferencePair(r.input, r.output, 'no', dict(span_ids=list(r.spans), time=r.metadata['time'])) for r in ROWS[::3])

@pytest.fixture
def saved(tmp_path): return save_version(split({'sft': ROWS, 'dpo': PAIRS}), source=dict(project='p'), root=tmp_path), tmp_path

def test_all_kinds_come_back_as_they_went_in(tmp_path):
    turn = ConversationTurn(0, 'q', 'a', '2026-03-01T00:00:00+00:00', 's')
    data = dict(a=ROWS, b=PAIRS, c=TripletDataset([Triplet('q', 'd', 'e', dict(span_id='x'))]), d=TrajectoryDataset([ConversationTrajectory('c', [turn], 'solved', None, dict(n=[1, {'k': None}]))]))
    v = load_version(save_version(data, root=tmp_path).id, tmp_path)
    assert v.data==data and {k: type(d) for k,d in v.data.items()}=={k: type(d) for k,d in data.items()}

def test_the_name_is_the_content_whatever_the_order_the_time_and_the_source(tmp_path):
    parts = split({'sft': ROWS})
    ids = {save_version(parts, root=tmp_path/'a').id, save_version(parts, created='2020-01-01', source=dict(x=1), policy=dict(y=2), root=tmp_path/'b').id,
           save_version(split({'sft': InstructionDataset(random.Random(0).sample(list(ROWS), 200))}), root=tmp_path/'c').id}
    assert len(ids)==1
    assert save_version(split({'sft': ROWS}, seed=1), root=tmp_path/'a').id not in ids
    assert save_version(split({'sft': ROWS[:-1]}), root=tmp_path/'a').id not in ids

def test_saving_again_leaves_every_file_as_it_was(saved):
    v, root = saved
    before = {f: f.stat().st_mtime_ns for f in v.path.rglob('*')}
    assert save_version(split({'sft': ROWS, 'dpo': PAIRS}), source=dict(project='other'), root=root).path!=v.path, 'two owners share a version'
    again = save_version(split({'sft': ROWS, 'dpo': PAIRS}), source=dict(project='p', endpoint='elsewhere'), root=root)
    assert again.path==v.path and {f: f.stat().st_mtime_ns for f in v.path.rglob('*')}==before
    assert again.manifest['source']=={'project': 'p'}

def test_the_default_place_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv('FTKIT_HOME', str(tmp_path))
    v = save_version(ROWS)
    assert v.path.parent==tmp_path/'datasets' and load_version(v.id).data['records']==ROWS and find_usage(span_id='span3')[0]['dataset']==v.id

def test_the_manifest_says_what_a_reviewer_asks(saved):
    v, root = saved
    m = v.manifest
    assert m['distinct']=={'span': 200, 'trace': 200, 'session': 200, 'user': 10}
    assert m['time_range']==[ROWS[0].metadata['time'], ROWS[-1].metadata['time']]
    assert m['schema']['sft']=={'dataset': 'InstructionDataset', 'columns': ['instruction', 'input', 'output', 'metadata']}
    assert sum(k['sft']['records'] for k in m['sides'].values())==200 and m['code_version'] and m['report']['components']==200
    assert set(m['files'])=={'leakage.json', 'lineage.parquet', *(f'{s}/{k}/data.parquet' for s in ('train', 'validation', 'test', 'held') for k in ('sft', 'dpo'))}

def test_a_stored_split_may_train_and_unsplit_or_leaking_data_may_not(saved, tmp_path):
    v, root = saved
    assert load_version(v.id, root).ready().train['sft']
    with pytest.raises(FtkitError, match='no leak certificate'): save_version({'sft': ROWS}, root=root).ready()
    leaking = save_version({'train': {'sft': ROWS[:150]}, 'test': {'sft': ROWS[149:]}}, root=root)
    with pytest.raises(FtkitError, match='the split leaks'): leaking.ready()
    assert save_version({'train': {'sft': ROWS[:150]}, 'test': {'sft': ROWS[150:]}}, root=root).ready().certificate==certificate({'sft': ROWS[:150]}, {'sft': ROWS[150:]})

def test_every_flipped_cut_missing_or_extra_file_is_noticed(saved):
    v, root = saved
    rng = random.Random(0)
    files = [f for f in v.path.rglob('*') if f.is_file() and f.name!='manifest.json']
    for f in files:
        good = f.read_bytes()
        for _ in range(5):
            i = rng.randrange(len(good))
            f.write_bytes(good[:i]+bytes([good[i]^1<<rng.randrange(8)])+good[i+1:])
            with pytest.raises(FtkitError, match='was changed'): load_version(v.id, root)
        f.write_bytes(good[:-1])
        with pytest.raises(FtkitError, match='was changed'): load_version(v.id, root)
        f.unlink()
        with pytest.raises(FtkitError, match='is missing'): load_version(v.id, root)
        f.write_bytes(good)
    (v.path/'more.txt').write_text('x')
    with pytest.raises(FtkitError, match='more.txt does not belong'): load_version(v.id, root)
    (v.path/'more.txt').unlink()
    assert load_version(v.id, root).id==v.id

def test_an_edited_manifest_is_noticed(saved):
    v, root = saved
    path = v.path/'manifest.json'
    m = read_json(path)
    write_json(path, {**m, 'sides': {**m['sides'], 'train': {}}})
    with pytest.raises(FtkitError, match='its name does not fit'): load_version(v.id, root)
    write_json(path, {**m, 'layout': 99})
    with pytest.raises(FtkitError, match='layout 99'): load_version(v.id, root)
    path.write_text('{')
    with pytest.raises(FtkitError, match='not readable JSON'): load_version(v.id, root)
    assert [r['records'] for r in list_versions(root)]==['damaged']
    path.unlink()
    with pytest.raises(FtkitError, match='has no manifest.json'): load_version(v.id, root)

def test_data_swapped_together_with_its_hash_are_noticed_when_read(saved):
    v, root = saved
    other = InstructionDataset([replace(ROWS[0], output='poison')])
    other.save_parquet(v.path/'train/sft/data.parquet')
    m = read_json(v.path/'manifest.json')
    from ftkit.core import file_hash
    m['files']['train/sft/data.parquet']['sha256'] = file_hash(v.path/'train/sft/data.parquet')
    write_json(v.path/'manifest.json', m)
    with pytest.raises(FtkitError, match='does not hold what its manifest lists'): load_version(v.id, root).train # noqa: B018

def test_an_id_can_be_shortened_while_it_is_clear(saved):
    v, root = saved
    assert load_version(v.id[:9], root).id==v.id
    for bad in ('ds-', 'ds-zz', '../x', '', 'manifest.json', v.id+'0'):
        if bad=='ds-': save_version(ROWS, root=root)
        with pytest.raises(FtkitError, match='dataset version'): load_version(bad, root)
    with pytest.raises(FtkitError, match='none yet'): load_version('ds-1', root/'empty')

def test_a_version_of_another_tenant_looks_like_one_that_does_not_exist(tmp_path):
    of = {t: save_version(ROWS, source=dict(tenant_id=t), root=tmp_path).id for t in ('acme', 'globex')}
    by_hand = save_version(ROWS, root=tmp_path).id
    said = lambda name, tenant: str(pytest.raises(FtkitError, load_version, name, tmp_path, tenant_id=tenant).value)
    assert len({*of.values(), by_hand})==3
    for name in (of['globex'], of['globex'][:9], by_hand, 'ds-000000000000'):
        assert f"there is no dataset {name!r} for tenant 'acme'; stored for it: {of['acme']}." in said(name, 'acme')
    assert said(of['globex'], 'acme').replace(of['globex'], '')==said('ds-000000000000', 'acme').replace('ds-000000000000', ''), 'the answer tells whether the id exists'
    for tenant,mine in (('acme', of['acme']), ('default', by_hand)):
        for start in (mine, mine[:9], 'ds-'): assert load_version(start, tmp_path, tenant_id=tenant).id==mine, 'shortened, it is looked for among one\'s own'
    assert load_version(of['globex'], tmp_path).id==of['globex']

def test_a_version_given_to_another_tenant_by_hand_is_noticed(tmp_path):
    v = save_version(ROWS, source=dict(tenant_id='globex'), root=tmp_path)
    path = v.path/'manifest.json'
    path.write_text(path.read_text().replace('globex', 'acme'))
    with pytest.raises(FtkitError, match='its name does not fit its content'): load_version(v.id, tmp_path, tenant_id='acme')
    path.write_text('{')
    with pytest.raises(FtkitError, match='there is no dataset'): load_version(v.id, tmp_path, tenant_id='acme')

def test_two_tenants_may_have_a_user_of_the_same_name(tmp_path):
    of = {t: save_version(ROWS, source=dict(tenant_id=t), root=tmp_path).id for t in ('acme', 'globex')}
    user = ROWS[0].metadata['user_id']
    assert {u['dataset'] for u in find_usage(user_id=user, root=tmp_path)}==set(of.values())
    assert [u['dataset'] for u in find_usage(user_id=user, root=tmp_path, tenant_id='acme')]==[of['acme']]
    assert list(forget(user, root=tmp_path, tenant_id='acme').drafts)==[of['acme']]
    assert [r['id'] for r in list_versions(tmp_path, 'acme')]==[of['acme']]

def test_a_crash_while_saving_leaves_nothing(tmp_path, monkeypatch):
    import pyarrow.parquet as pq
    real, written = pq.write_table, []
    def full(*a, **k):
        if written: raise OSError(28, 'No space left on device')
        written.append(real(*a, **k))
    monkeypatch.setattr(pq, 'write_table', full) # the second file finds the disk full
    with pytest.raises(OSError, match='No space'): save_version(ROWS, root=tmp_path)
    assert written and list(tmp_path.iterdir())==[]

def _save(root): return save_version(split({'sft': ROWS}), root=root).id

def test_eight_processes_that_save_the_same_content_get_one_version(tmp_path):
    _save(tmp_path/'first') # what is imported here is not imported eight times
    with mp.get_context('fork').Pool(8) as pool: ids = pool.map(_save, [tmp_path/'all']*8, chunksize=1)
    assert len(set(ids))==1 and [p.name for p in (tmp_path/'all').iterdir()]==[ids[0]]
    load_version(ids[0], tmp_path/'all')

def test_half_surrogates_nul_and_huge_texts_are_stored(tmp_path):
    rows = [_row(1), replace(_row(2), input='a\ud83d\x00b'), replace(_row(3), output='x'*2_000_000)]
    v = save_version({'sft': rows}, root=tmp_path)
    assert load_version(v.id, tmp_path).data['sft'][1].input=='a?\x00b' and len(v.data['sft'][2].output)==2_000_000
    assert save_version({'sft': rows}, root=tmp_path).id==v.id

def test_what_is_no_record_is_refused(tmp_path):
    with pytest.raises(FtkitError, match='got dict'): save_version([dict(a=1)], root=tmp_path)
    assert not list(tmp_path.iterdir())

def test_an_empty_side_is_stored_and_comes_back_empty(tmp_path):
    v = save_version(split({'sft': ROWS[:20], 'dpo': PreferenceDataset()}), root=tmp_path)
    assert load_version(v.id, tmp_path).ready().train['dpo']==[] and isinstance(v.train['dpo'], PreferenceDataset)

def test_accounts_of_the_stages_are_kept(tmp_path):
    v = save_version(ROWS, accounting=dict(extract=Accounting(5, 3, {'no annotation': 2}), redact={'EMAIL': 4}), root=tmp_path)
    assert load_version(v.id, tmp_path).manifest['accounting']=={'extract': {'seen': 5, 'kept': 3, 'no annotation': 2}, 'redact': {'EMAIL': 4}}

def test_diff_names_every_kind_of_change(tmp_path):
    a = save_version({'train': {'sft': ROWS[:10]}, 'test': {'sft': ROWS[10:20]}}, policy=dict(t=1), root=tmp_path)
    b = save_version({'train': {'sft': [*ROWS[1:9], replace(ROWS[9], output='corrected'), ROWS[10], _row(500)]}, 'test': {'sft': ROWS[11:20], 'dpo': PAIRS[:2]}}, policy=dict(t=2), root=tmp_path)
    d = diff(a, b.id, tmp_path)
    assert d.counts=={'sft': {'same': 17, 'moved': 1, 'changed': 1, 'added': 1, 'removed': 1}, 'dpo': {'added': 2, 'removed': 0}} or d.counts['dpo']['added']==2
    assert d.counts['sft']==dict(same=17, moved=1, changed=1, added=1, removed=1) and d.settings['policy']==({'t': 1}, {'t': 2})
    assert diff(a, a).counts['sft']==dict(same=20, removed=0)

def test_usage_is_found_by_every_id_and_in_every_kind(saved):
    v, root = saved
    for key, value in dict(span_id='span3', trace_id='trace3', session_id='session3').items():
        (found,) = find_usage(**{key: value}, root=root)
        assert found['dataset']==v.id and found['train']+found['validation']==2, 'the example, and the pair that carries the span alone'
    assert sum(find_usage(user_id='user3', root=root)[0][s] for s in ('train', 'validation', 'test', 'held'))==20+7
    assert find_usage(span_id='nobody', root=root)==[]
    with pytest.raises(FtkitError, match='name one of span_id='): find_usage(root=root)
    with pytest.raises(FtkitError, match='got span_id, user_id'): find_usage(span_id='a', user_id='b', root=root)

def test_adapters_come_from_notes_and_from_the_caller(saved):
    v, root = saved
    note_adapter('a-1', v.id, root); note_adapter('a-1', v.id, root); note_adapter('a-2', v.id[:9], root)
    assert find_usage(span_id='span3', adapters=[('b', v.id), ('c', 'ds-000000000000')], root=root)[0]['adapters']=='a-1, a-2, b'
    with pytest.raises(FtkitError, match='was not found'): note_adapter('a', 'ds-ffffffffffff', root)

def test_forgetting_takes_rows_made_from_the_users_spans_too(tmp_path):
    child = InstructionExample('', 'synthetic one', 'x', dict(seed_span_ids=['span7', 'span8'], synthetic=True))
    v = save_version(split({'sft': InstructionDataset([*ROWS, child]), 'dpo': PAIRS}), root=tmp_path)
    f = forget('user7', root=tmp_path)
    left = [r for s in f.drafts[v.id].values() for rows in s.values() for r in rows]
    assert child not in left and not any(r.metadata.get('user_id')=='user7' or {f'span{i}' for i in range(7, 200, 10)}&set(r.spans) for r in left)
    taken = 20+1+sum(int(p.spans[0][4:])%10==7 for p in PAIRS)
    assert len(left)==201+len(PAIRS)-taken==201+len(PAIRS)-sum(f.rows[0][k] for k in ('trained_on', 'tested_on', 'other'))
    assert [p.name for p in tmp_path.glob('ds-*')]==[v.id] # nothing written yet
    (new,) = f.save().values()
    assert new.ready().manifest['parent']==v.id and 'user7' not in json.dumps(new.manifest)
    assert [u['dataset'] for u in find_usage(user_id='user7', root=tmp_path)]==[v.id]

def test_rows_made_from_somebodys_spans_are_found_in_versions_that_hold_nothing_else_of_theirs(tmp_path):
    v = save_version({'data': {'sft': InstructionDataset([_row(7), _row(8)])}}, root=tmp_path)
    child = InstructionExample('', 'synthetic one', 'x', dict(seed_span_ids=['span7'], synthetic=True))
    w = save_version({'data': {'sft': InstructionDataset([child, _row(9)])}}, root=tmp_path)
    for given in (dict(user_id='user7'), dict(session_id='session7'), dict(trace_id='trace7'), dict(span_id='span7')):
        assert {u['dataset']: u['data'] for u in find_usage(**given, root=tmp_path)}=={v.id: 1, w.id: 1}, given
    assert forget('user7', root=tmp_path).drafts[w.id]['data']=={'sft': [_row(9)]}
    assert [u['dataset'] for u in find_usage(user_id='user9', root=tmp_path)]==[w.id]

@pytest.mark.parametrize('user,to_do', [('trained', 'train again'), ('tested', 'evaluate again'), ('held', 'replace the data')])
def test_forgetting_says_what_to_do_with_adapters(tmp_path, user, to_do):
    rows = {'train': _row(1, user_id='trained'), 'test': _row(2, user_id='tested'), 'held': _row(3, user_id='held')}
    v = save_version({s: {'sft': [r, _row(10+i)]} for i,(s,r) in enumerate(rows.items())}, root=tmp_path)
    assert [r['to_do'] for r in forget(user, adapters=[('a', v.id)], root=tmp_path).rows]==[to_do]
    assert [r['to_do'] for r in forget(user, root=tmp_path).rows]==['replace the data']

def test_forgetting_one_of_two_people_keeps_the_rows_of_the_other(tmp_path):
    ann, bob = _row(1, user_id='ann'), _row(2, user_id='bob')
    both = PreferencePair('q', 'a', 'b', dict(span_ids=['span1', 'span2'], user_ids=['ann', 'bob']))
    v = save_version({'data': {'sft': InstructionDataset([ann, bob]), 'dpo': PreferenceDataset([both])}}, root=tmp_path)
    assert forget('bob', root=tmp_path).drafts[v.id]['data']=={'sft': [ann], 'dpo': []}
    assert find_usage(user_id='ann', root=tmp_path)[0]['data']==2

def test_forgetting_nobody_is_an_empty_report(saved):
    assert forget('nobody', root=saved[1]).rows==[] and forget('nobody', root=saved[1]).save()=={}

def test_deleting_needs_the_whole_id_and_leaves_a_reason(saved):
    v, root = saved
    with pytest.raises(FtkitError, match='write the whole id'): delete_version(v.id[:8], 'x', root)
    delete_version(v.id, 'forget user7', root)
    assert not v.path.exists() and list_versions(root)==[] and json.loads((root/'deleted.jsonl').read_text())['reason']=='forget user7'
    assert not [p for p in os.listdir(root) if 'ds-' in p]

def test_versions_are_listed_newest_first(tmp_path):
    for i,day in enumerate(('2026-01-02', '2026-01-03', '2026-01-01')): save_version(ROWS[i:i+2], created=day, root=tmp_path)
    assert [r['created'][:10] for r in list_versions(tmp_path)]==['2026-01-03', '2026-01-02', '2026-01-01']
    assert list_versions(tmp_path/'none')==[]

# --- receipts

RECEIPT = dict(hash='0'*32, decision='approve', reviewer='ana', time='2026-03-31T10:00:00+00:00', batch_id='spring', item_id='i1')

def test_receipts_are_sealed_with_a_version_and_change_neither_its_rows_nor_its_id(saved):
    v, root = saved
    def again(receipts): return save_version(split({'sft': ROWS, 'dpo': PAIRS}), source=dict(project='p'), root=root, receipts=receipts)
    rows = {f: f.stat().st_mtime_ns for f in v.path.rglob('*.parquet')}
    for receipts in ([RECEIPT], [RECEIPT], [{**RECEIPT, 'reviewer': 'ben'}]):
        new = again(receipts)
        assert new.id==v.id and new.receipts==load_version(v.id, root).receipts==receipts and new.manifest['created']==v.manifest['created']
    assert again(()).receipts[0]['reviewer']=='ben', 'a saving without receipts took them away'
    assert {f: f.stat().st_mtime_ns for f in v.path.rglob('*.parquet')}==rows
    assert save_version(split({'sft': ROWS}), root=root/'other', receipts=[RECEIPT]).receipts==[RECEIPT]
    (v.path/'receipts.json').write_text('[]')
    with pytest.raises(FtkitError, match='receipts.json was changed'): load_version(v.id, root)

@pytest.mark.parametrize('writes', [0, 1, 2, 3])
def test_a_process_killed_while_it_seals_receipts_leaves_a_whole_version(saved, monkeypatch, writes):
    v, root = saved
    seal_receipts(v.path, [RECEIPT])
    real, left = version.write_json, [None]*writes
    def killed(*args):
        if not left: raise KeyboardInterrupt
        left.pop()
        return real(*args)
    monkeypatch.setattr(version, 'write_json', killed)
    try: seal_receipts(v.path, [{**RECEIPT, 'reviewer': 'ben'}])
    except KeyboardInterrupt: pass
    assert [r['reviewer'] for r in load_version(v.id, root).receipts]==[['ana'], [], [], ['ben']][writes]
    monkeypatch.setattr(version, 'write_json', real)
    seal_receipts(v.path, [RECEIPT])
    assert load_version(v.id, root).receipts==[RECEIPT]

def test_forgetting_a_user_drops_the_receipts_of_the_rows_that_go(tmp_path):
    made = [_row(i, synthetic=True, approval=dict(batch_id='spring', item_id=f'i{i}')) for i in range(200)]
    receipts = [{**RECEIPT, 'item_id': f'i{i}'} for i in range(200)]
    old = save_version({'train': {'sft': made}}, root=tmp_path, receipts=receipts)
    new = load_version(forget('user3', root=tmp_path).save()[old.id].id, tmp_path)
    assert {r['item_id'] for r in new.receipts}=={f'i{i}' for i in range(200) if i%10!=3}
