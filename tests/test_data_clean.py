"The corners of `ftkit.data.clean`."
import json
import random
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from ftkit.core import FtkitError
from ftkit.records import (
    ConversationTrajectory, ConversationTurn, InstructionDataset, InstructionExample, PreferencePair,
    Triplet)
from ftkit.data.checks import CHECKS, each, open_check
from ftkit.data.clean import (
    clean, control_tokens, empty, escape_control_tokens, escape_text, exact_duplicates,
    length, length_auc, near_duplicates, no_difference, refusal, truncated)
from ftkit.data.near import Groups, Shingler, answers, user_text, band_rows, jaccard, near_duplicate_groups, signatures
from ftkit.data.overlap import nearest, no_overlap, not_near, overlap
from ftkit.data.redact import redact
from ftkit.data.split import split


def _texts(n, size=120, vocabulary=3000, seed=1):
    rng = random.Random(seed)
    return [rng.choices([f'w{i}' for i in range(vocabulary)], k=size) for _ in range(n)]

def _edit(words, rng, edits):
    words = list(words)
    for i in rng.sample(range(len(words)), edits): words[i] = f'x{rng.random()}'
    return words

def test_600_of_600_planted_copies_are_found_in_6600_texts_and_nothing_else():
    rng, originals = random.Random(2), _texts(6000)
    texts = [' '.join(t) for t in originals]+[' '.join(_edit(t, rng, 1+i%5)) for i,t in enumerate(originals[:600])]
    labels = near_duplicate_groups(texts)
    assert sum(labels[6000+i]==i for i in range(600))==600
    assert len(set(labels))==6000 # no two originals joined

def test_the_result_does_not_depend_on_the_order_of_the_texts():
    rng, originals = random.Random(3), _texts(200)
    texts = [' '.join(t) for t in originals+[_edit(t, rng, 4) for t in originals[:50]]]
    order = list(range(250)); rng.shuffle(order)
    a, b = near_duplicate_groups(texts), near_duplicate_groups([texts[i] for i in order])
    groups = lambda labels, of: {frozenset(of(i) for i in range(250) if labels[i]==g) for g in set(labels)}
    assert groups(a, lambda i: i)==groups(b, lambda k: order[k])

def test_texts_just_below_the_threshold_stay_apart():
    base = ' '.join(f'w{i}' for i in range(100))
    far = ' '.join(f'w{i}' if i%8 else f'x{i}' for i in range(100))
    s = Shingler()
    assert jaccard(s(base), s(far))<.8
    assert near_duplicate_groups([base, far])==[0, 1]
    assert near_duplicate_groups([base, far], threshold=.5)==[0, 0]

def test_the_estimate_of_a_signature_is_close_to_the_true_similarity():
    rng, (a,) = random.Random(4), _texts(1, 300)
    s = Shingler()
    for edits in (5, 20, 60):
        x, y = s(' '.join(a)), s(' '.join(_edit(a, rng, edits)))
        sig = signatures([x, y], n=1024)
        assert abs((sig[0]==sig[1]).mean()-jaccard(x, y))<.06

def test_blocks_do_not_change_signatures():
    s = Shingler()
    shingled = [s(' '.join(t)) for t in _texts(700, 120)] # more than one block of 2**15 shingles
    whole = signatures(shingled)
    assert all(np.array_equal(whole[i], signatures([shingled[i]])[0]) for i in (0, 272, 273, 274, 699))

@pytest.mark.parametrize('threshold', [.5, .7, .8, .9, 1.])
def test_bands_miss_less_than_one_in_a_million_at_the_threshold(threshold):
    rows = band_rows(threshold)
    assert (1-threshold**rows)**(128//rows)<=1e-6

def test_strange_texts_are_compared_too():
    texts = ['', ' ', '\x00', '👍👍', '👍👍', '我的包裹在哪里', '我的包裹在哪里?', '\ud83d', 'a', 'A']
    assert near_duplicate_groups(texts)==[0, 1, 2, 3, 3, 5, 5, 7, 8, 8]
    assert near_duplicate_groups([])==[] and near_duplicate_groups([''])==[0]

def test_words_of_one_order_are_not_words_of_another():
    assert near_duplicate_groups(['cancel the first and keep the second', 'cancel the second and keep the first'])==[0, 1]

def test_time_grows_with_the_number_of_texts_and_not_with_its_square():
    def cost(n):
        texts, start = [' '.join(t) for t in _texts(n, 60)], time.process_time()
        near_duplicate_groups(texts)
        return time.process_time()-start
    cost(200)
    assert cost(4000)/cost(500)<24 # eight times the texts; a comparison of all with all would take 64 times as long

def test_ten_thousand_equal_texts_are_one_group():
    assert set(near_duplicate_groups(['the same answer again and again']*10_000))=={0}

def test_groups_label_by_the_first_item_whatever_the_order_of_joining():
    for pairs in ([(4, 3), (3, 2), (2, 1)], [(1, 2), (3, 4), (2, 3)]):
        g = Groups(6)
        for p in pairs: g.join(*p)
        assert g.labels==[0, 1, 1, 1, 1, 5]


# reading records

def _example(output='Sure.', input='a large tea please', instruction='Sell tea.', **m): return InstructionExample(instruction, input, output, m)
def _pair(chosen='Sure.', rejected='No.', prompt='tea?', **m): return PreferencePair(prompt, chosen, rejected, m)
def _talk(*qa, **m): return ConversationTrajectory('s', [ConversationTurn(i, q, a, '2026-03-01T00:00:00+00:00', f's{i}') for i,(q,a) in enumerate(qa)], metadata=m)

def test_what_was_asked_is_the_users_words_whatever_the_record():
    chat = [dict(role='system', content='S'), dict(role='user', content='one'), dict(role='assistant', content='A'), dict(role='tool', content='T'), dict(role='user', content=[dict(type='text', text='two')])]
    assert user_text(_example(messages=chat)).split()==user_text(_pair(messages=chat)).split()==['one', 'two']
    assert user_text(_example(input='x\n\ny'))=='x\ny' and user_text(_talk(('q1', 'a1'), ('q2', 'a2')))=='q1\nq2' and user_text(Triplet('query', 'd', 'e'))=='query'

def test_answers_are_what_a_model_would_learn_from():
    assert answers(_example('a'))==['a'] and answers(_pair('c', 'r'))==['c', 'r'] and answers(Triplet('q', 'd', 'e'))==['d', 'e'] and answers(_talk(('q1', 'a1'), ('q2', 'a2')))==['a1', 'a2']


# checks

@pytest.mark.parametrize('record,reason', [
    (_example(' \n'), 'empty answer'), (_example(input='', instruction=' '), 'empty prompt'), (_example(input=''), None), (_pair('a', ''), 'empty answer'), (_pair(prompt=''), 'empty prompt'),
    (_talk(('q', 'a'), ('q2', '')), 'empty answer'), (_talk(('', 'a')), 'empty prompt'), (_talk(), 'empty prompt'), (Triplet('q', 'd', ''), 'empty answer'), (_example(), None)])
def test_empty_looks_at_every_text_that_matters(record, reason): assert empty(record)==reason

@pytest.mark.parametrize('answer,cut', [
    ('delivery', False), ('We are open from nine to five on every day', False), ('Yes, and', False), ('The parcel left our house this morning and', True), ('You can choose between tea, coffee, milk and also,', True),
    ('{"a": 1}', False), ('{"a": 1', True), ('[{"a": ', True), ('[1, 2', False), ('{name} is required', False), ('```python\nx\n```', False), ('```python\nx', True), ('Is there anything else you are looking for', True), ('', False)])
def test_truncation_is_seen_by_form(answer, cut): assert (truncated(_example(answer))=='truncated answer')==cut

def test_truncation_is_believed_when_the_model_said_so():
    assert truncated(_example('done.', finish_reason='length')) and truncated(_example('done.', finish_reason='MAX_TOKENS')) and not truncated(_example('done.', finish_reason='stop'))

@pytest.mark.parametrize('answer', ["I'm sorry, but I can't help with that.", 'I’m sorry, I cannot assist with this request', 'As an AI language model, I do not drink.', 'I am unable to provide that', "I'm not able to answer",
    'I cannot fulfill this request', 'That is against my guidelines.', 'Sorry, I will not be able to help you', "I won't continue this conversation"])
def test_refusals_are_seen(answer): assert refusal(_example(answer))=='refusal'

@pytest.mark.parametrize('answer', ['Sorry, we cannot deliver on Sunday.', 'The shop is closed, sorry.', 'I can help with that!', 'You cannot provide a wrong card.', 'I cannot wait to help you', 'Ai Weiwei is an artist', 'a language model is on sale', ''])
def test_ordinary_bad_news_is_no_refusal(answer): assert refusal(_example(answer)) is None

def test_only_the_chosen_answer_of_a_pair_may_not_refuse():
    assert refusal(_pair("I can't help with that", 'Sure.')) and not refusal(_pair('Sure.', "I can't help with that"))

def test_length_limits_each_change_what_is_dropped():
    rows = [_example('x'*n, input='y'*m) for n,m in ((1, 1), (50, 1), (5, 900))]
    assert length()(rows)==[None]*3
    assert length(min_chars=2)(rows)==['answer too short', None, None] and length(max_chars=40)(rows)==[None, 'answer too long', None]
    assert length(max_prompt_chars=800)(rows)==[None, None, 'prompt too long']
    assert length(min_chars=3)([_pair('good', 'no')])==['answer too short']

def test_a_pair_without_a_difference_is_dropped_and_other_records_pass():
    assert no_difference(_pair('A  b', 'a B')) and not no_difference(_pair('a', 'b')) and not no_difference(_example())

@pytest.mark.parametrize('pairs,auc', [([('aa', 'b')], 1.), ([('a', 'bb')], 0.), ([('a', 'b')], .5), ([], .5), ([('aaa', 'b'), ('a', 'bb')], .625)])
def test_length_auc_equals_the_count_by_hand(pairs, auc): # 3 against 1 and 2, 1 against 1 and 2: 1, 1, one half, 0
    assert length_auc([_pair(a, b) for a,b in pairs])==auc


# template tokens

TOKENS = ['<|im_start|>', '<|im_end|>', '<|endoftext|>', '<|eot_id|>', '<|start_header_id|>', '<s>', '</s>', '[INST]', '[/INST]', '<<SYS>>', '<</SYS>>', '<start_of_turn>', '<end_of_turn>', '<bos>', '<eos>',
          '<｜User｜>', '<｜end▁of▁sentence｜>', '<tool_call>', '</tool_call>', '<think>', '[TOOL_CALLS]', '[gMASK]', '<|channel|>', '<|"|>']

@pytest.mark.parametrize('token', TOKENS)
def test_no_template_token_survives_in_user_text(token):
    for text in (token, f'a{token}b', token*3, f'{{"x": "{token}"}}'):
        out = escape_text(text)
        assert token not in out and out.replace(' ', '')==text.replace(' ', '') and escape_text(out)==out

def test_escaped_json_is_still_json():
    text = json.dumps({'a': ''.join(TOKENS[:-1])})
    assert json.loads(escape_text(text))['a'].replace(' ', '')==''.join(TOKENS[:-1])

@pytest.mark.parametrize('text', ['a < b > c', '<div>', 'x[0] [1]', '<b>bold</b>', 'a <| b', '|>', '2<3', '<span>', '[INSTRUCTIONS]', '<think about it>'])
def test_ordinary_brackets_survive(text): assert escape_text(text)==text

def test_tokens_of_the_tokenizer_at_hand_can_be_added():
    assert escape_text('a <sep> b', tokens=['<sep>', '', None])=='a < sep> b' and escape_text('a <sep> b')=='a <sep> b'

def test_escaping_takes_user_and_tool_text_and_leaves_system_and_answers():
    t = '<|im_end|>'
    chat = [dict(role=r, content=t) for r in ('system', 'user', 'assistant', 'tool')]+[dict(role='user', content=[dict(type='text', text=t), dict(type='image_url', image_url='x')])]
    e = escape_control_tokens(_example(t, t, t, messages=chat))
    assert (e.instruction, e.input, e.output)==(t, '< |im_end|>', t) and e.metadata['escaped']
    assert [m['content'] for m in e.metadata['messages'][:4]]==[t, '< |im_end|>', t, '< |im_end|>'] and e.metadata['messages'][4]['content'][0]['text']=='< |im_end|>'
    assert escape_control_tokens(_pair(prompt=t, input=t)).metadata['input']=='< |im_end|>' and escape_control_tokens(Triplet(t, t, t)).anchor=='< |im_end|>'
    talk = escape_control_tokens(_talk((t, t)))
    assert (talk.turns[0].query, talk.turns[0].response)==('< |im_end|>', t)
    clean_one = _example()
    assert escape_control_tokens(clean_one) is clean_one

def test_a_template_token_in_an_answer_drops_the_record():
    assert control_tokens(_example('ok</s>')) and control_tokens(_pair('ok', 'no<|im_end|>')) and control_tokens(_talk(('q', 'a'), ('q', '[INST]'))) and not control_tokens(_example('a <b>', '<s>'))


def test_the_marks_around_a_whole_tool_call_belong_in_an_answer_and_nowhere_else():
    call = '<tool_call>\n{"name": "menu", "arguments": {"q": "tea"}}\n</tool_call>'
    assert not control_tokens(_example(call)) and not control_tokens(_example(f'{call}\n{call}')) and not control_tokens(_pair(call, f'Sure.\n{call}'))
    for broken in (call[:-12], call.replace('{', '').replace('}', ''), call.replace('tea', '<|im_end|>'), f'{call}</s>'): assert control_tokens(_example(broken))
    assert clean([_example(call)])[0].answer==call


# duplicates

def test_duplicates_differ_in_nothing_but_case_and_spacing():
    a = _example('Sure.', 'tea')
    others = [_example('Sure!', 'tea'), _example('Sure.', 'teas'), _example('Sure.', 'tea', 'Other.'), _pair('Sure.', 'x', 'tea'), _pair('Sure.', 'y', 'tea')]
    assert exact_duplicates([a, *others])==[None]*6 and exact_duplicates([a, _example(' SURE. ', 'Tea'), a])==[None, 'duplicate', 'duplicate']

def test_two_contexts_with_the_same_text_and_other_tool_calls_are_two_records():
    call = lambda q: [dict(role='user', content='tea'), dict(role='assistant', content='', tool_calls=[dict(function=dict(name='menu', arguments=q))])]
    assert exact_duplicates([_example(messages=call('{"q": 1}')), _example(messages=call('{"q": 2}')), _example(messages=call('{"q":1}'))])==[None, None, 'duplicate']

LONG = 'hello my parcel with the green tea and the two red cups from last week did not arrive today can you look where it is'
def test_near_duplicates_need_the_same_answer():
    near, check = LONG.replace('today', 'yet'), near_duplicates()
    assert check([_example('delivery', LONG), _example('delivery', near), _example('refund', near)])==[None, 'near duplicate', None]
    assert check([_example('delivery', LONG), _pair('delivery', 'x', near)])==[None, None]
    assert near_duplicates(threshold=1.)([_example('delivery', LONG), _example('delivery', near)])==[None, None]

def test_turns_of_one_session_are_not_near_duplicates():
    history, rows = [], []
    for q, a in (('where is my parcel, I ordered it a week ago', 'Which number?'), ('it is four two seven', 'It is on its way.'), ('thanks', 'You are welcome.')):
        history = [*history, dict(role='user', content=q)]
        rows.append(_example(a, '\n'.join(m['content'] for m in history), messages=history))
        history = [*history, dict(role='assistant', content=a)]
    assert near_duplicates()(rows)==[None]*3

def test_answers_without_a_word_are_compared_as_they_are():
    assert near_duplicates()([_example('👍', LONG), _example('👎', LONG), _example('👍', LONG)])==[None, None, 'near duplicate']


# overlap

EXAM = ['If a train leaves Leeds at nine and another leaves York at ten, when do they meet?', 'Capital of France?', '']
@pytest.mark.parametrize('record,share', [
    (_example(input='solve: IF a train leaves leeds at nine and another leaves york at ten when do they meet'), 1.),
    (_example('The question was: if a train leaves Leeds at nine and another leaves York at ten, when do they meet?', 'what'), 1.),
    (_example(input='if a train leaves Leeds at nine and another one leaves'), .2),
    (_example(input='capital of france'), 1.), (_example(input='what is the capital of france'), 0.), (_example(input=''), 0.), (_example(), 0.)])
def test_overlap_is_the_share_of_the_evaluation_text(record, share): assert overlap([record], EXAM)[0][0]==pytest.approx(share)

def test_the_evidence_names_the_evaluation_text_and_records_serve_as_evaluation_too():
    assert overlap([_example(input='capital of France')], EXAM)==[(1., 1)] and overlap([_example(input='capital of France')], [_example(input='x'), _example(input='Capital of France?')])==[(1., 1)]
    assert overlap([], EXAM)==[] and overlap([_example()], [])==[(0., None)]

def test_share_and_run_length_change_what_is_dropped():
    r = [_example(input='if a train leaves Leeds at nine and another one leaves')]
    assert no_overlap(EXAM)(r)==[None] and no_overlap(EXAM, share=.2)(r)==['overlaps evaluation'] and no_overlap(EXAM, n=4)(r)==[None]
    assert no_overlap(EXAM, n=4, share=.4)(r)==['overlaps evaluation']

def test_any_encoder_serves_and_its_vectors_need_no_unit_length():
    meaning = {'car': [2., 0.], 'automobile': [9., 1.], 'tree': [0., 3.]}
    encode = lambda texts: [meaning[t] for t in texts]
    rows = [_example(input='automobile'), _example(input='tree')]
    assert [i for _,i in nearest(rows, ['tree', 'car'], encode)]==[1, 0]
    assert not_near(['car'], encode)(rows)==['close to evaluation', None] and not_near(['car'], encode, threshold=.999)(rows)==[None, None]
    assert nearest([], ['car'], encode)==[] and nearest(rows, [], encode)==[(0., None)]*2

def test_the_built_in_encoder_sees_inflection_and_typing_errors():
    rows = [_example(input=t) for t in ('Where is my parcell??', 'I would like a green tea')]
    assert not_near(['where is my parcel'], threshold=.7)(rows)==['close to evaluation', None]
    assert [round(s, 6) for s,_ in nearest(rows[:1], ['where is my parcell??'])]==[1.]


# cleaning

def test_the_first_reason_wins_and_a_dropped_record_hides_no_good_one():
    bad, good = _example("I can't help with that", 'tea?'), _example('Sure.', 'tea?')
    c = clean(InstructionDataset([bad, good, good, _example('', '')]))
    assert c==[good] and c.accounting.dropped=={'refusal': 1, 'duplicate': 1, 'empty answer': 1} and isinstance(c, InstructionDataset)

def test_checks_are_chosen_by_name_or_given_and_a_wrong_one_is_explained():
    rows = [_example(), _example(), _example('')]
    assert len(clean(rows, ['empty']))==2 and len(clean(rows, []))==3 and len(clean(rows, [each(lambda r: 'all')]))==0
    with pytest.raises(FtkitError, match='is not one of: empty'): clean(rows, ['emty'])
    with pytest.raises(FtkitError, match='becomes a check with each'): clean(rows, [lambda records: []])

def test_repairs_run_first_and_can_be_left_out():
    rows = [_example(input='hi<|im_end|>')]
    assert clean(rows)[0].input=='hi< |im_end|>' and clean(rows, repairs=())[0].input=='hi<|im_end|>' and rows[0].input=='hi<|im_end|>'

def test_every_check_of_the_table_drops_something():
    rows = dict(zip(CHECKS, [_example(''), _example('x</s>'), _example('{"a": '), _example("I can't help"), _example('x'*40_000), _pair('a', 'a'), _example('Sure.', LONG), _example('Sure.', LONG.replace('today', 'yet'))]))
    base = _example('Sure.', LONG)
    for name, record in rows.items(): assert clean([base, record], [name]).accounting.dropped, name

_any_json = st.recursive(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10)), lambda x: st.one_of(st.lists(x, max_size=3), st.dictionaries(st.text(max_size=8), x, max_size=3)), max_leaves=6)
_message = st.one_of(_any_json, st.fixed_dictionaries(dict(role=st.sampled_from(['user', 'assistant', 'tool', 'system', None, 3])), optional=dict(content=_any_json, tool_calls=st.one_of(st.none(), st.lists(_any_json, max_size=2)))))
_metadata = st.fixed_dictionaries({}, optional=dict(messages=st.one_of(st.none(), st.lists(_message, max_size=4)), span_id=st.text(max_size=4), session_id=st.sampled_from(['a', 'b']), finish_reason=_any_json, synthetic=st.booleans(), note=_any_json))
_records = st.lists(st.one_of(st.builds(InstructionExample, st.text(max_size=20), st.text(max_size=40), st.text(max_size=40), _metadata), st.builds(PreferencePair, st.text(max_size=40), st.text(max_size=20), st.text(max_size=20), _metadata)), min_size=1, max_size=8)

@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(_records)
def test_malformed_records_are_counted_cleaned_redacted_and_split_without_a_crash(records):
    redacted, _ = redact(records)
    cleaned = clean(redacted, [*CHECKS, no_overlap(EXAM)])
    assert cleaned.accounting.seen==len(records) and clean(redacted, [*CHECKS, no_overlap(EXAM)])==cleaned
    s = split(records)
    assert sum(len(side['records']) for side in (s.train, s.validation, s.test, s.held))==len(records) and s.certificate.ok

def test_a_check_put_into_the_table_is_run_on_every_dataset(monkeypatch):
    monkeypatch.setitem(CHECKS, 'tea', each(lambda r: 'no tea' if 'tea' not in r.input else None))
    cleaned = clean([_example('Sure.', 'green tea'), _example('No.', 'coffee')])
    assert [r.input for r in cleaned]==['green tea'] and cleaned.accounting.dropped=={'no tea': 1}

@pytest.mark.parametrize('entry, why', [('nowhere:look', "'nowhere:look' cannot be imported: No module named 'nowhere'; write 'module:function'"), (7, 'the check 7 cannot be imported'),
    (each('ftkit.data.clean:gone'), "'ftkit.data.clean:gone' cannot be imported"), (lambda records: [], 'gave 0 reasons for 1 records')])
def test_a_check_that_cannot_be_run_says_what_to_write(monkeypatch, entry, why):
    monkeypatch.setitem(CHECKS, 'mine', entry)
    with pytest.raises(FtkitError, match=why): clean([_example('Sure.')], ['mine'])

def test_the_table_gives_the_same_as_its_functions():
    records = [_example('x'), _example(''), _example('x'*40_000)]
    assert open_check('length')(records)==length()(records)==[None, 'answer too short', 'answer too long']
    assert [open_check(name).__name__ for name in CHECKS]==['empty', 'control_tokens', 'truncated', 'refusal', 'too_long_or_short', 'no_difference', 'exact_duplicates', 'near_duplicate']
