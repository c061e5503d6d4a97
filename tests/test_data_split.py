"The corners of `ftkit.data.split`."
import gzip
import json
import random
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from ftkit.core import FtkitError
from ftkit.disk import read_json, write_json
from ftkit.records import (
    ConversationTrajectory, ConversationTurn, InstructionDataset, InstructionExample,
    PreferenceDataset, PreferencePair, TrajectoryDataset, Triplet, TripletDataset)
from ftkit.data.clean import clean
from ftkit.data.near import canonical
from ftkit.data.redact import redact
from ftkit.data.certificate import (
    LINKS, LeakCertificate, Linking, beginnings, certificate, check_certificate, components, leaks,
    side_hashes)
from ftkit.data.near import user_text
from ftkit.data.split import split
from ftkit.data.version import save_version

DATA = Path(__file__).parents[2]/'shared/data'
START = datetime(2026, 3, 1, tzinfo=timezone.utc)
NUMBERS = 'zero one two three four five six seven eight nine'.split()

def _question(i): return f'question {" ".join(f"{NUMBERS[int(d)]}{k}" for k,d in enumerate(f"{i:04}"))} item{i} colour{i*7} size{i*13}'

def _row(i, hours=1, **metadata):
    "An example that is tied to no other."
    m = dict(span_id=f'span{i}', session_id=f'session{i}', time=(START+timedelta(hours=i*hours)).isoformat())
    return InstructionExample('Answer.', _question(i), f'answer {i}', {**m, **metadata})

def _chat(*texts, system='Be brief.'):
    roles = ['system']+['user', 'assistant']*len(texts)
    return [dict(role=r, content=t) for r,t in zip(roles, [system, *texts])]

def _spans(side): return {s for rows in side.values() for r in rows for s in r.spans}
def _all(s): return [r for side in (s.train, s.validation, s.test, s.held) for rows in side.values() for r in rows]


# what ties rows

@pytest.mark.parametrize('key,value', [('span_id', 'x'), ('span_ids', ['q', 'x']), ('trace_id', 'x'), ('session_id', 'x')])
def test_rows_with_one_id_in_common_are_one_component(key, value):
    a, b = _row(1, **{key: value}), _row(2, **{key.rstrip('s'): 'x'})
    assert components([a, b, _row(3)]).labels==[0, 0, 2]

def test_a_user_ties_rows_only_when_asked():
    rows = [_row(1, user_id='u'), _row(2, user_id='u')]
    assert components(rows).labels==[0, 1]
    assert components(rows, Linking(by=(*LINKS, 'user'))).labels==[0, 0]

def test_a_greeting_or_a_system_prompt_alone_ties_nobody():
    greet = [dict(role='system', content='Be brief.'), dict(role='assistant', content='Welcome!')]
    first = _row(1, messages=greet)
    later = _row(2, messages=[*greet, dict(role='user', content='a latte')])
    assert components([first, later]).labels==[0, 1]
    assert components([first, replace(first, metadata={**first.metadata, 'span_id': 'z', 'session_id': 'z'})]).labels==[0, 0] # the same context is the same context

def test_a_prefix_ties_rows_and_a_common_beginning_that_nobody_has_as_context_does_not():
    base = _chat('I want tea', 'Which?')
    a, b = _row(1, messages=[*base, dict(role='user', content='green and strong and in a pot for two')]), _row(2, messages=[*base, dict(role='user', content='black with milk sugar and a biscuit')])
    stem = _row(3, messages=base[:2])
    by = Linking(by=('prefix',))
    assert components([a, b], by).labels==[0, 1]
    assert components([a, b, stem], by).labels==[0, 0, 0]

def test_two_greetings_are_two_contexts():
    rows = [_row(i, messages=[dict(role='assistant', content=text)]) for i,text in enumerate(('Welcome!', 'Good morning!', 'Welcome!'))]
    assert components(rows, Linking(by=('context',))).labels==[0, 1, 0]

def test_contexts_that_differ_in_a_tool_call_only_are_two_contexts():
    call = lambda args: [dict(role='user', content='tea'), dict(role='assistant', content='', tool_calls=[dict(id='1', function=dict(name='menu', arguments=args))])]
    rows = [_row(i, messages=call(a)) for i,a in enumerate(('{"q": 1}', '{"q": 2}', '{"q":1}'))]
    assert components(rows, Linking(by=('context',))).labels==[0, 1, 0]

def test_questions_in_almost_the_same_words_are_one_component():
    rows = [_row(1), replace(_row(2), input=_question(1)+', please!'), _row(3)]
    assert components(rows).labels==[0, 0, 2] and components(rows, Linking(threshold=1.)).labels==[0, 1, 2]
    assert components(rows, Linking(text=lambda r: 'the same for all')).labels==[0, 0, 0]

def test_the_session_of_a_trajectory_is_its_session():
    talk = ConversationTrajectory('session7', [ConversationTurn(0, 'quite something else', 'a', '2026-03-01T00:00:00+00:00', '')])
    assert components([talk, _row(7), _row(8)]).labels==[0, 0, 2]

def test_min_user_turns_moves_the_point_from_which_a_prefix_counts():
    talk = _chat('start', 'Hello, what can I do?', 'where is parcel nine')
    a, b = _row(1, messages=talk[:2]), _row(2, messages=talk)
    assert components([a, b], Linking(by=('prefix',))).labels==[0, 0]
    assert components([a, b], Linking(by=('prefix',), min_user_turns=2)).labels==[0, 1]

def test_the_form_of_a_message_does_not_matter():
    call = lambda args, id: dict(role='assistant', content=None, tool_calls=[dict(id=id, type='function', function=dict(name='f', arguments=args))])
    assert canonical(call('{"a":1,"b":2}', '1'))==canonical(call('{"b": 2, "a": 1}', '2'))
    assert canonical(call('{"a":1}', '1'))!=canonical(call('{"a":2}', '1'))
    assert canonical(call('not json', '1'))==canonical(call('not json', '2'))
    assert canonical(dict(role='user', content=' a  b\n'))==canonical(dict(role='user', content='a b'))
    assert canonical(dict(role='user', content='a'))!=canonical(dict(role='assistant', content='a'))

def test_records_without_messages_are_compared_line_by_line_across_kinds():
    example = InstructionExample('Route.', 'user: my parcel is late', 'delivery', {})
    same = PreferencePair('Route.\n\nuser: my parcel is late', 'a', 'b', {})
    longer = PreferencePair('Route.\n\nuser: my parcel is late\nassistant: since when\nuser: monday last week at nine in the morning', 'a', 'b', {})
    by = Linking(by=('prefix',))
    assert beginnings(example)[-1]==beginnings(same)[-1]
    assert components([example, same, longer], by).labels==[0, 0, 0]
    assert components([InstructionExample('Route.', '', 'x', {}), example], by).labels==[0, 1]

def test_a_trajectory_and_a_turn_of_it_are_tied_without_any_id():
    turns = [ConversationTurn(0, 'a latte', 'large?', '2026-03-01T00:00:00+00:00', ''), ConversationTurn(1, 'small', 'done', '2026-03-01T00:01:00+00:00', '')]
    whole = ConversationTrajectory('', turns)
    turn = _row(1, messages=[dict(role='user', content='a latte')])
    assert components([whole, turn], Linking(by=('prefix',))).labels==[0, 0]

def test_parts_of_a_message_are_read_as_text():
    r = _row(1, messages=[dict(role='user', content=[dict(type='text', text='what is this'), dict(type='image_url', image_url='x')])])
    assert user_text(r).split()==['what', 'is', 'this']

def test_an_unknown_link_is_refused_by_name():
    with pytest.raises(FtkitError, match="did you mean 'session'"): Linking(by=('sesion',))


# the split

def test_every_row_lands_on_exactly_one_side():
    rows = [_row(i) for i in range(700)]
    s = split({'sft': InstructionDataset(rows)})
    assert sorted(r.metadata['span_id'] for r in _all(s))==sorted(r.metadata['span_id'] for r in rows)
    assert isinstance(s.train['sft'], InstructionDataset)

def test_evaluation_is_a_sample_of_the_last_seven_days():
    rows = [_row(i) for i in range(700)] # 29 days
    s = split({'sft': rows})
    recent = {f'span{i}' for i in range(700) if i>=699-7*24}
    assert _spans(s.test)|_spans(s.held)==recent and len(s.test['sft'])==50
    assert s.report['moved']=='' and len(s.validation['sft'])==round(.1*(700-len(recent)))

def test_the_window_its_end_and_the_sample_can_be_chosen():
    rows = [_row(i) for i in range(700)]
    assert _spans(split({'x': rows}, test_days=14).held|{}) > _spans(split({'x': rows}).held)
    assert len(split({'x': rows}, test_size=20).test['x'])==20
    assert _spans(split({'x': rows}, seed=1).test)!=_spans(split({'x': rows}).test)
    later = split({'x': rows}, now=START+timedelta(hours=699+72))
    assert len(_spans(later.test)|_spans(later.held))==7*24-72+1
    assert len(split({'x': rows}, validation_share=.2).validation['x'])>len(split({'x': rows}).validation['x'])

def test_a_young_project_is_judged_by_its_newest_fifth_and_told_so():
    s = split({'sft': [_row(i) for i in range(100)]}) # four days
    assert _spans(s.test)|_spans(s.held)=={f'span{i}' for i in range(80, 100)}
    assert 'newest fifth' in s.report['moved'] and s.report['moved'] in s.report['notes']

def test_a_quiet_week_makes_the_window_longer_and_says_so():
    rows = [_row(i) for i in range(500)]+[_row(500+i, hours=2) for i in range(3)]
    s = split({'sft': rows})
    assert len(_spans(s.test)|_spans(s.held))==50 and 'longer' in s.report['moved']

def test_records_without_times_are_split_by_their_order():
    rows = [replace(_row(i), metadata=dict(span_id=f'span{i}')) for i in range(100)]
    s = split(rows)
    assert _spans(s.test)|_spans(s.held)=={f'span{i}' for i in range(80, 100)}
    assert 'no time' in s.report['moved']

def test_rows_that_lack_a_time_among_rows_that_have_one_train():
    rows = [_row(i) for i in range(60)]+[_row(100+i, time=None) for i in range(40)]
    s = split(rows)
    assert {f'span{100+i}' for i in range(40)}<=_spans(s.train)

def test_a_component_that_began_before_the_cut_trains_whole():
    rows = [_row(i) for i in range(700)]
    rows[699] = _row(699, session_id='session0')
    s = split({'sft': rows})
    assert 'span699' in _spans(s.train)|_spans(s.validation) and s.report['straddling']==1

def test_validation_starts_above_100_training_rows_and_keeps_components_whole():
    rows = [_row(i, session_id=f's{i//5}') for i in range(700)]
    s = split({'sft': rows})
    sessions = lambda side: {r.metadata['session_id'] for r in side['sft']}
    assert 40<=len(s.validation['sft'])<=53 and not sessions(s.train)&sessions(s.validation)
    few = split({'sft': [_row(i) for i in range(125)]})
    assert len(few.train['sft'])==100 and not few.validation['sft']

def test_the_split_does_not_depend_on_the_order_of_rows():
    rows = [_row(i, session_id=f's{i//3}') for i in range(400)]
    shuffled = random.Random(0).sample(rows, 400)
    a, b = split({'x': rows}), split({'x': shuffled})
    for side in ('train', 'validation', 'test', 'held'): assert _spans(getattr(a, side))==_spans(getattr(b, side))
    assert a.certificate==b.certificate

def test_examples_and_pairs_of_one_span_are_on_one_side():
    rows = [_row(i) for i in range(300)]
    pairs = PreferenceDataset(PreferencePair(r.input, r.output, 'no', dict(span_ids=[r.metadata['span_id'], f'other{i}'], time=r.metadata['time'])) for i,r in enumerate(rows[::3]))
    s = split({'sft': InstructionDataset(rows), 'dpo': pairs})
    sides = [_spans(side) for side in (s.train, s.validation, {k: [*s.test[k], *s.held[k]] for k in s.test})]
    assert not sides[0]&sides[1] and not sides[0]&sides[2] and not sides[1]&sides[2]
    assert isinstance(s.train['dpo'], PreferenceDataset) and len(s.test['dpo'])>0

def test_made_up_rows_train_and_are_never_tested_or_counted_as_recent():
    rows, made_up = [_row(i) for i in range(300)], [_row(1000+i, synthetic=True, span_id=None, session_id=None) for i in range(300)]
    s = split({'sft': InstructionDataset([*rows, *made_up])})
    assert len(s.test['sft'])==50 and all(r in s.train['sft'] for r in made_up)
    assert _spans(s.test)==_spans(split({'sft': rows}).test) and isinstance(s.train['sft'], InstructionDataset)
    assert not split({'sft': made_up}).test['sft'] and split({'sft': made_up}).certificate.ok

def test_made_up_rows_are_held_when_a_seed_or_a_twin_is_not_trained_on():
    rows = [_row(i) for i in range(300)]
    made = lambda **m: _row(5000, synthetic=True, span_id=None, session_id=None, **m)
    for seeds, side in (([], 'train'), (['span3', 'span5'], 'train'), (['span3', 'span299'], 'held')):
        checked = _spans(split({'sft': rows}).validation)
        seeds = [s if s not in checked else 'span7' for s in seeds]
        s = split({'sft': [*rows, made(seed_span_ids=seeds)]})
        assert made(seed_span_ids=seeds) in getattr(s, side)['sft'] and s.certificate.ok
    twin = replace(made(), input=_question(299)+'!')
    assert twin in split({'sft': [*rows, twin]}).held['sft']

def test_made_up_rows_do_not_tie_their_seeds_together():
    rows = [_row(i) for i in range(300)]
    glue = [_row(6000+i, synthetic=True, span_id=None, session_id=None, seed_span_ids=[f'span{i}', f'span{i+1}']) for i in range(299)]
    assert split({'sft': [*rows, *glue]}).report['largest'][0]==1

def test_a_made_up_row_trained_beside_a_test_of_its_seed_is_a_leak():
    assert leaks([_row(5000, synthetic=True, span_id=None, session_id=None, seed_span_ids=['span1'])], [_row(1)])['span']==[0]

def test_one_giant_component_trains_whole_and_is_reported():
    rows = [_row(i, session_id='one') for i in range(300)]+[_row(300+i) for i in range(100)]
    s = split({'sft': rows})
    assert {f'span{i}' for i in range(300)}<=_spans(s.train) and s.certificate.ok
    assert s.report['largest'][0]==300 and any('largest component' in n for n in s.report['notes'])
    alone = split({'sft': rows[:300]})
    assert not alone.test['sft'] and any('no evaluation data' in n for n in alone.report['notes'])

def test_a_giant_component_trains_even_when_it_is_the_newest():
    rows = [_row(i) for i in range(300)]+[_row(300+i, session_id='one') for i in range(100)]
    for days in (7, 3):
        s = split({'sft': rows}, test_days=days)
        assert {f'span{i}' for i in range(300, 400)}<=_spans(s.train) and len(s.test['sft'])==50
    assert any('form one large component' in n for n in s.report['notes'])

def test_rows_without_a_time_never_evaluate_even_when_nothing_else_can():
    s = split([_row(i, session_id='one') for i in range(20)]+[_row(100+i, time=None) for i in range(30)])
    assert not s.test['records'] and len(s.train['records'])+len(s.validation['records'])==50

def test_each_kind_gets_its_share_of_the_evaluation_however_old_its_rows_are():
    rows = [_row(i) for i in range(700)]
    old = PreferenceDataset(PreferencePair(r.input, 'a', 'b', dict(r.metadata, span_ids=[r.metadata['span_id']])) for r in rows[:200])
    s = split({'sft': rows, 'dpo': old})
    assert len(s.test['dpo'])==40 and len(s.test['sft'])==50 and '0 of 200 dpo' in s.report['moved']
    newest = {f'span{i}' for i in range(160, 200)}
    assert _spans({'dpo': s.test['dpo']})==newest
    young = split({'sft': rows[:100], 'dpo': old[:50]})
    assert len(young.test['dpo'])==10 and len(young.test['sft'])==20+10 # the pairs' spans come along

@pytest.mark.parametrize('n', [1, 2, 3, 5])
def test_a_handful_of_rows_is_split_without_an_error(n):
    s = split([_row(i) for i in range(n)])
    assert len(_all(s))==n and s.train['records']

def test_nothing_to_split_is_an_error():
    with pytest.raises(FtkitError, match='nothing to split'): split({'sft': []})

def test_all_kinds_of_records_are_split_together():
    rows = [_row(i) for i in range(200)]
    when = [r.metadata['time'] for r in rows]
    triplets = TripletDataset(Triplet(_question(500+i), 'good', 'bad', dict(span_id=f't{i}', time=when[i])) for i in range(200))
    talks = TrajectoryDataset(ConversationTrajectory(f'session{i}', [ConversationTurn(0, _question(i), 'a', when[i], f'span{i}')]) for i in range(200))
    s = split({'sft': InstructionDataset(rows), 'embedding': triplets, 'talk': talks})
    assert s.certificate.ok and len(_all(s))==600 and all(len(v)>0 for v in s.test.values())
    assert _spans({'a': s.test['talk']})<=_spans({'a': [*s.test['sft'], *s.held['sft']]})


# the certificate

@pytest.mark.parametrize('link,train,test', [
    ('span', _row(1), _row(2, span_id='span1')),
    ('trace', _row(1, trace_id='t'), _row(2, trace_ids=['t', 'u'])),
    ('session', _row(1), _row(2, session_id='session1')),
    ('context', _row(1), replace(_row(1), metadata={})),
    ('prefix', _row(1, messages=_chat('x1 y1')), _row(2, messages=_chat('x1 y1', 'z1', 'other words'))),
    ('prefix', _row(1, messages=_chat('x1 y1', 'z1', 'other words')), _row(2, messages=_chat('x1 y1'))),
    ('near duplicate', _row(1), replace(_row(1), input=_question(1)+'!!', metadata={})),
])
def test_each_kind_of_leak_is_seen(link, train, test):
    assert leaks([train, _row(50)], [_row(60), test])[link]==[1]
    cert = certificate([train], [test])
    assert not cert.ok
    with pytest.raises(FtkitError, match=f'by {link}'): check_certificate(cert)

def test_a_leak_into_validation_is_a_leak():
    assert not certificate([_row(1)], [_row(2)], validation=[_row(3, session_id='session1')]).ok
    assert not certificate([_row(1)], [_row(2)], validation=[_row(3, session_id='session2')]).ok

def test_a_certificate_survives_the_disk_and_shows_what_was_edited(tmp_path):
    rows = [_row(i) for i in range(20)]
    cert = certificate({'sft': rows[:15]}, {'sft': rows[15:]})
    path = cert.save(tmp_path/'leakage.json')
    assert LeakCertificate.load(path)==cert and check_certificate(path, train={'sft': rows[:15]}, test=rows[15:])==cert
    bad = read_json(path); bad['leaks']['train -> test']['span'] = 3
    write_json(path, bad)
    with pytest.raises(FtkitError, match='changed after'): LeakCertificate.load(path)
    write_json(path, dict(a=1))
    with pytest.raises(FtkitError, match='not a leak certificate'): check_certificate(path)
    write_json(path, [])
    with pytest.raises(FtkitError, match='not a leak certificate'): check_certificate(path)
    with pytest.raises(FtkitError, match='no leak certificate'): check_certificate(tmp_path/'none.json')

@pytest.mark.parametrize('change', [lambda rows: rows[:-1], lambda rows: [*rows, _row(99)], lambda rows: [replace(rows[0], output='other'), *rows[1:]]])
def test_other_data_than_the_certified_are_refused(change):
    rows = [_row(i) for i in range(20)]
    cert = certificate({'sft': rows[:15]}, {'sft': rows[15:]})
    with pytest.raises(FtkitError, match='does not cover'): check_certificate(cert, train={'sft': change(rows[:15])})
    with pytest.raises(FtkitError, match='does not cover'): check_certificate(cert, train=change(rows[:15]))
    check_certificate(cert, train=rows[14::-1], test={'sft': rows[15:]})

def test_a_kind_the_certificate_never_saw_is_refused():
    rows = [_row(i) for i in range(20)]
    cert = certificate({'sft': rows[:15]}, {'sft': rows[15:]})
    with pytest.raises(FtkitError, match='does not cover'): check_certificate(cert, train={'dpo': rows[:15]})
    with pytest.raises(FtkitError, match='did you mean'): check_certificate(cert, tests=rows)

def test_a_certificate_that_looked_for_less_is_refused():
    rows = [_row(i) for i in range(20)]
    cert = certificate(rows[:15], rows[15:], linking=Linking(by=('session',)))
    with pytest.raises(FtkitError, match='did not look for links by .*prefix'): check_certificate(cert)
    assert check_certificate(cert, require=('session',)).ok

def test_side_hashes_ignore_order_but_not_content():
    rows = [_row(i) for i in range(5)]
    assert side_hashes(rows)==side_hashes(rows[::-1])!=side_hashes(rows[:4])
    assert side_hashes([rows[0], rows[0]])!=side_hashes([rows[0]])


# real feedback

def _feedback(name):
    path = DATA/f'taskmaster_{name}/feedback.jsonl.gz'
    if not path.exists(): pytest.skip(f'{path} is not here')
    with gzip.open(path, 'rt', encoding='utf-8') as f: rows = [json.loads(line) for line in f]
    return [_replayed(n, r) for n,r in enumerate(rows)]

def _replayed(n, row):
    roles, messages = dict(agent='assistant', user='user', api='tool'), []
    for t in json.loads(row['context']):
        calls = [dict(id=f'call{n}', type='function', function=dict(name=k, arguments=json.dumps(v))) for k,v in t.get('api', {}).items()]
        messages.append(dict(role=roles[t['role']], content=t.get('text') or json.dumps(t.get('response')), **(dict(tool_calls=calls) if calls else {})))
    text = '\n'.join(f'{m["role"]}: {m["content"]}' for m in messages)
    return InstructionExample('', text, row['generation'], dict(span_id=f's{n}', session_id=row['conversation_id'], time=(START+timedelta(minutes=n)).isoformat(), messages=messages))

@pytest.mark.real
@pytest.mark.parametrize('name,extending', [('coffee', 1503), ('tickets', 2700)])
def test_real_feedback_leaks_by_shuffling_and_by_conversation_and_not_by_our_split(name, extending):
    rows = _feedback(name)
    names = [beginnings(r) for r in rows]
    whole = {n[-1] for n in names}
    assert sum(bool(whole.intersection(n[:-1])-{None}) for n in names)==extending
    rng, n = random.Random(0), len(rows)//5
    shuffled = rng.sample(rows, len(rows))
    assert not certificate(shuffled[n:], shuffled[:n]).ok
    held = set(rng.sample(sorted({r.metadata['session_id'] for r in rows}), n))
    assert not certificate([r for r in rows if r.metadata['session_id'] not in held], [r for r in rows if r.metadata['session_id'] in held]).ok
    s = split({'sft': rows})
    late = {k: [*s.test[k], *s.held[k]] for k in s.test}
    assert s.certificate.ok and certificate(s.train, late, s.validation).ok # the rows that were not sampled do not leak either
    assert .15*len(rows)<len(late['sft'])<.25*len(rows) and len(s.test['sft'])==50
    assert s.report['largest'][0]<=.05*len(rows)

@pytest.mark.real
def test_examples_and_pairs_of_real_feedback_are_curated_split_stored_and_ready_to_train(tmp_path):
    rows = _feedback('coffee')
    with gzip.open(DATA/'taskmaster_coffee/feedback.jsonl.gz', 'rt', encoding='utf-8') as f: rewards = [json.loads(line)['reward'] for line in f]
    good, by_context = [r for r,w in zip(rows, rewards) if w==1], {}
    for r,w in zip(rows, rewards): by_context.setdefault(beginnings(r)[-1], {True: [], False: []})[w==1].append(r)
    both = [c for c in by_context.values() if c[True] and c[False]]
    assert len(both)==213
    pairs = PreferenceDataset(PreferencePair(c[True][0].input, c[True][0].output, c[False][0].output, dict(c[True][0].metadata, span_ids=[c[w][0].metadata['span_id'] for w in (True, False)],
        session_ids=[c[w][0].metadata['session_id'] for w in (True, False)])) for c in both)
    sets, counts = {k: redact(d) for k,d in (('sft', InstructionDataset(good)), ('dpo', pairs))}, {}
    cleaned = {k: clean(d) for k,(d,_) in sets.items()}
    for k,d in cleaned.items(): counts[k] = d.accounting
    assert counts['sft'].seen==len(good) and counts['sft'].dropped['duplicate']>150 and all(not c for _,c in sets.values())
    v = save_version(split(cleaned), accounting=counts, root=tmp_path).ready()
    sides = [_spans(v.train), _spans(v.validation), _spans(v.test)|_spans(v.held)]
    assert not sides[0]&sides[1] and not sides[0]&sides[2] and not sides[1]&sides[2]
    assert len(v.train['dpo'])>100 and len(v.test['dpo'])>10 and len(v.test['sft'])==50
    assert v.id==save_version(split({k: d.like(d[::-1]) for k,d in cleaned.items()}), root=tmp_path/'again').id
