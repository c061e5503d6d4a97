"Corners of `ftkit.data.synth`: few seeds, odd seeds, screening, recipes, other generators, real agents."
import gzip, json, math, os, random, subprocess, sys, time
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from ftkit.core import FtkitError, as_time
from ftkit.records import InstructionExample
from ftkit.data.approval import ApprovalStore, decide
from ftkit.data.decisions import ApprovalBatch
from ftkit.data.gate import record_generated, require_approved
from ftkit.data.near import near_duplicate_groups
from ftkit.data.certificate import leaks
from ftkit.data.near import user_text
from ftkit.data.recombine import Candidate, asking, copied, exchange, last_ask, roughen, slots, splice, swap_word
from ftkit.data.requests import Nearest, OutputSpace, SyntheticDataRequest, output_space
from ftkit.data.screen import CONTROL, Screen, bad_form, balance, distinct, label_confidence
from ftkit.data.synth import SyntheticDataService, coverage
from ftkit.data.version import load_version, save_version

def shop(agent, n=30):
    from ftkit.data.examples import examples
    from ftkit.data.judged import judge
    from ftkit.telemetry.samples import telemetry
    rows = [e for e in examples(judge(*telemetry(agent))) if e.metadata['agent_type']==agent]
    return rows[:n], rows[n:]

def ask(text, label, k=0): return InstructionExample('Route.', text, label, dict(span_id=f's{k}'))
at = lambda: as_time('2026-02-01T00:00:00Z')
make = lambda seeds, n=20, evaluation=(), **kw: SyntheticDataService(clock=at).generate(SyntheticDataRequest('routing', n, **kw), seeds, evaluation)

@pytest.fixture(scope='module', autouse=True)
def home_of_its_own(tmp_path_factory):
    "What is generated here is known here alone: other tests train on the shop"
    with pytest.MonkeyPatch.context() as m:
        m.setenv('FTKIT_HOME', str(tmp_path_factory.mktemp('synth')))
        yield

# --- the whole way

@pytest.mark.parametrize('agent', ['routing', 'concierge', 'profile_selection', 'entity_extraction', 'support'])
def test_thirty_approved_rows_of_any_agent_give_fifty_new_ones_that_keep_every_promise(agent):
    seeds, later = shop(agent)
    made = SyntheticDataService(clock=at).generate(SyntheticDataRequest(agent, count=50), seeds, later)
    assert len(made)==50 and made.accounting.kept==50
    space, old = output_space(seeds), {user_text(s) for s in (*seeds, *later)}
    for r in made:
        assert bad_form(r, space) is None and user_text(r) not in old
        m = r.metadata
        assert m['synthetic'] and m['agent_type']==agent and m['time']=='2026-02-01T00:00:00+00:00' and r.spans==() and not {'session_id', 'trace_id', 'user_id', 'span_id'}&set(m)
        assert m['seed_span_ids'] and set(m['seed_span_ids'])<={i for s in seeds for i in s.spans} and m['recipe']['prompt_hash'] and m['recipe']['seeds']
        assert m['messages'][-1]['content'] in r.input and m['messages'][-1]['role']=='user'
    texts = [user_text(r) for r in made]
    assert len(set(texts))==50

@pytest.mark.parametrize('agent', ['routing', 'entity_extraction', 'support'])
def test_nothing_made_leaks_into_the_evaluation_data(agent):
    seeds, later = shop(agent, 60)
    made = SyntheticDataService(clock=at).generate(SyntheticDataRequest(agent, count=80), seeds, later)
    texts = [user_text(r) for r in later]
    for r in made: # each row by itself, as the leak certificate compares
        groups = near_duplicate_groups([user_text(r), *texts])
        assert 0 not in groups[1:]
    if agent!='support': # its conversations share beginnings by nature
        assert not any(leaks(list(made), later).values()) or leaks(seeds, later)['near duplicate']

def test_labels_end_up_evenly_filled_from_uneven_seeds():
    seeds, _ = shop('routing', 150)
    few = [s for s in seeds if s.output=='billing'][:4]
    seeds = few+[s for s in seeds if s.output!='billing'][:60]
    made = make(seeds, 40)
    assert Counter(r.output for r in made).most_common(1)[0][0]=='billing'
    assert balance(r.output for r in [*seeds, *made])>balance(r.output for r in seeds)

def test_the_same_request_gives_the_same_rows_and_another_seed_others():
    seeds, _ = shop('routing')
    a, b, c = make(seeds), make(seeds), make(seeds, seed=1)
    assert [r.text() for r in a]==[r.text() for r in b]!=[r.text() for r in c]
    assert ApprovalBatch.of(a).batch_id==ApprovalBatch.of(b).batch_id

def test_the_order_of_hashing_does_not_change_the_rows():
    code = "from tests.test_data_synth import *; print([r.input for r in make(shop('routing')[0])])"
    outs = {subprocess.run([sys.executable, '-c', code], env={'PYTHONHASHSEED': s, 'PATH': '', 'FTKIT_HOME': os.environ['FTKIT_HOME']}, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=True).stdout for s in ('1', '2')}
    assert len(outs)==1

def test_made_rows_do_not_train_before_someone_read_them(tmp_path):
    made = make(shop('routing')[0], 5)
    store = ApprovalStore(f'sqlite:///{tmp_path}/a.db')
    batch = store.save(ApprovalBatch.of(made))
    with pytest.raises(FtkitError, match='5 of 5 records are synthetic'): require_approved(made, store)
    decide(batch.batch_id, [i.item_id for i in batch.items], 'approve', 'ana', store=store)
    assert require_approved(made, store)==list(made) and {i.label for i in batch.items}<=set(output_space(shop('routing')[0]).labels)

def test_what_was_made_is_known_to_the_gate_from_then_on(fresh_home, tmp_path):
    seeds, store = shop('routing')[0], ApprovalStore(f'sqlite:///{tmp_path}/a.db')
    made = make(seeds, 3)
    for one in (make(seeds, 3), SyntheticDataService(at, record=partial(record_generated, store=store)).generate(SyntheticDataRequest('routing', 3), seeds)): assert list(one)==list(made)
    liars = [replace(r, metadata={**r.metadata, 'synthetic': False, 'span_id': seeds[0].spans[0]}) for r in made]
    for where in (None, store):
        with pytest.raises(FtkitError, match='3 of 3 records are synthetic and not approved as they are.*in no batch'): require_approved(liars, where)
    assert require_approved(seeds, store)==list(seeds)

def test_a_stored_version_of_made_rows_is_loaded_again(tmp_path):
    made = make(shop('routing')[0], 3)
    stored = save_version(dict(data=dict(examples=made)), root=tmp_path)
    assert {r.text() for r in load_version(stored.id, tmp_path).data['examples']}=={r.text() for r in made}

def test_one_hundred_thousand_evaluation_rows_do_not_slow_it_down():
    seeds, _ = shop('routing')
    rng = random.Random(0)
    many = [ask(' '.join(rng.choice('abcdefghijklmnopqrstuvwxyz')*3 for _ in range(8)), 'orders') for _ in range(20_000)]
    t = time.perf_counter()
    made = make(seeds, 50, many)
    assert len(made)==50 and time.perf_counter()-t<20

# --- few or odd seeds

def test_one_seed_gives_slips_only():
    made = make([ask('where is my parcel today', 'delivery')]*1, 5, labels=['delivery', 'orders'])
    assert {r.metadata['recipe']['how'] for r in made}=={'slip'} and {r.output for r in made}=={'delivery'}
    assert made.diversity.missing==('orders',)

@pytest.mark.parametrize('seeds', [[], [InstructionExample('Only an instruction.', '', 'x')],
    [InstructionExample('i', 'user: q\ntool: r', 'a', dict(messages=[dict(role='user', content='q'), dict(role='tool', content='r')]))]])
def test_seeds_without_a_question_are_an_error_that_says_so(seeds):
    with pytest.raises(FtkitError, match='no seeds to generate from'): make(seeds)

def test_seeds_that_cannot_be_varied_are_an_error_that_lists_the_reasons():
    with pytest.raises(FtkitError, match='nothing usable came out'): make([ask('ok', 'orders'), ask('no', 'orders')]*2)

def test_a_label_that_cannot_be_varied_does_not_hold_up_the_others():
    seeds = [ask('ok', 'yes', k) for k in range(4)]+[s for s in shop('routing')[0] if s.output=='orders']
    assert len(make(seeds, 15, labels=['yes', 'orders']))==15

@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=60), st.text(min_size=1, max_size=20)), min_size=1, max_size=8))
def test_any_text_either_gives_rows_of_good_form_or_a_clear_error(pairs):
    seeds = [ask(t, o, k) for k,(t,o) in enumerate(pairs)]
    try: made = make(seeds, 5)
    except FtkitError: return
    for r in made: assert bad_form(r, output_space(seeds)) is None

# --- answers

@pytest.mark.parametrize('outputs,kind', [(['a', 'b']*3, 'labels'), (['a', 'b', 'c', 'd'], 'text'), (['{"x": 1}', '{"x": 2, "y": 3}'], 'json'), (['[1]', '[2]'], 'text'), ([], 'text'), (['two\nlines']*9, 'text')])
def test_the_form_of_answers_is_read_from_the_seeds(outputs, kind): assert output_space([ask('q', o) for o in outputs]).kind==kind

def test_labels_that_are_known_win(): assert output_space([ask('q', 'a')], ['a', 'b']).labels==('a', 'b')

@pytest.mark.parametrize('text', ['<|im_start|>system', 'x</s>', '[INST] x', '<start_of_turn>user'])
def test_control_tokens_never_pass(text): assert CONTROL.search(text) and bad_form(ask(text, 'a'), OutputSpace('text'))=='control tokens in the text'

@pytest.mark.parametrize('answer,bad', [("I'm sorry, but I can't help with that.", True), ('As an AI language model, I', True), ('I am sorry to hear that. What is the order number?', False), ('Sorry for the wait; it left today.', False)])
def test_a_refusal_is_told_from_an_apology(answer, bad): assert (bad_form(ask('q', answer), OutputSpace('text'))=='a refusal')==bad

def test_json_must_have_the_keys():
    space = OutputSpace('json', keys=('a',))
    assert [bad_form(ask('q', o), space) for o in ('{"a": 1, "b": 2}', '{"b": 1}', '{"a": 1', '[]')]==[None]+['answer is not JSON with the expected keys']*3

# --- operations

@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from('a b c d e f'.split()), max_size=8), st.lists(st.sampled_from('a b c x y'.split()), max_size=8), st.integers(0, 99))
def test_a_splice_only_joins_words_that_were_neighbours(x, y, seed):
    made = splice(' '.join(x), ' '.join(y), random.Random(seed))
    if made is None: return
    pairs = set(zip(x, x[1:], strict=False)) | set(zip(y, y[1:], strict=False))
    w = made.split()
    assert all(p in pairs for p in zip(w, w[1:], strict=False)) and w[0]==x[0] and w[-1]==y[-1]

@settings(max_examples=200, deadline=None)
@given(st.text(alphabet='abcdeABC ?.', max_size=40), st.integers(0, 99))
def test_a_slip_changes_little_and_never_the_words_of_the_answer(text, seed):
    slip = roughen(text, 'abcde', random.Random(seed))
    if slip: assert sorted(slip.lower().replace('?', '').replace('.', '').split(), key=sorted)==sorted(slip.lower().replace('?', '').replace('.', '').split(), key=sorted) and Counter(c for c in slip.lower() if c.isalpha())==Counter(c for c in text.lower() if c.isalpha())
    assert roughen('abcde', 'ABCDE', random.Random(seed)) is None

def test_words_only_stand_in_for_each_other_between_the_same_neighbours():
    between = slots(['the red cup', 'the blue cup', 'a red car'])
    assert between=={('the', 'cup'): ['blue', 'red']}
    assert swap_word('the red cup', between, random.Random(0))=='the blue cup' and swap_word('a red car', between, random.Random(0)) is None

@pytest.mark.parametrize('q,a,piece', [('a red desk lamp', '{"item": "desk lamp"}', 'desk lamp'), ('find order 12345', 'Order 12345 left', '12345'), ('hello', 'hi', None), ('the the', 'the the', None), ('(a+b)*c', '(a+b)*c', None), ('', '', None), ('Der große Tisch', 'große Tisch!', 'große Tisch')])
def test_what_an_answer_copies_is_found(q, a, piece): assert copied(q, a)==piece

def test_an_exchange_keeps_json_valid_and_does_not_put_a_name_for_a_number():
    a, b = ask('i need 2 desk lamps', '{"item": "desk lamps"}'), ask('a yoga "mat" please', '{"item": "yoga mat"}')
    assert json.loads(exchange(a, ask('a yoga mat', '{"item": "yoga mat"}'))[1])=={'item': 'yoga mat'}
    assert exchange(ask('order 12345', 'Order 12345'), a) is None and exchange(a, a) is None
    assert b and exchange(a, b) is None or json.loads(exchange(a, b)[1])

def test_history_is_kept_and_only_the_last_question_changes():
    messages = [dict(role='system', content='S'), dict(role='user', content='hi'), dict(role='assistant', content='hello'), dict(role='user', content='hi')]
    s = InstructionExample('S', 'user: hi\nassistant: hello\nuser: hi', 'x', dict(messages=messages, tools='[1]', session_id='c'))
    r = asking(s, 'bye', 'y')
    assert last_ask(s)=='hi' and r.input=='user: hi\nassistant: hello\nuser: bye' and [m['content'] for m in r.metadata['messages']]==['S', 'hi', 'hello', 'bye']
    assert r.metadata['tools']=='[1]' and 'session_id' not in r.metadata and messages[-1]['content']=='hi'
    assert [m['content'] for m in asking(s, 'bye', 'y', history=False).metadata['messages']]==['S', 'bye']

# --- measures, against figures worked out by hand or in another way

def test_nearest_equals_comparing_with_every_text():
    from ftkit.data.near import Shingler, jaccard
    seeds, later = shop('routing', 100)
    near, sh = Nearest(map(user_text, seeds)), Shingler()
    for r in later[:40]: assert near(user_text(r))==pytest.approx(max(jaccard(sh(user_text(r)), sh(user_text(s))) for s in seeds))

def test_confidence_is_naive_bayes():
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.naive_bayes import MultinomialNB
    from ftkit.data.near import text_words
    seeds, later = shop('routing', 100)
    space = output_space(seeds); sure = label_confidence(seeds, space.labels)
    v = CountVectorizer(analyzer=text_words); x = v.fit_transform(map(user_text, seeds))
    n = Counter(s.output for s in seeds); prior = [(n[l]+1)/(len(seeds)+len(space.labels)) for l in space.labels]
    nb = MultinomialNB(alpha=.5, class_prior=prior).fit(x, [s.output for s in seeds])
    known = [r for r in later if all(w in v.vocabulary_ for w in text_words(user_text(r)))][:20]
    assert known
    for r, p in zip(known, nb.predict_proba(v.transform(map(user_text, known))), strict=True): assert sure(user_text(r), nb.classes_[0])==pytest.approx(p[0], abs=2e-3)

def test_diversity_figures_by_hand():
    assert distinct(['a b c', 'a b d'], 1)==4/6 and distinct(['a b c', 'a b d'], 2)==3/4 and distinct([], 2)==0
    assert balance('ab')==1 and balance('aaaa')==0 and balance('aaab')==pytest.approx(-(.75*math.log(.75)+.25*math.log(.25))/math.log(2))

def test_coverage_takes_every_label_before_any_twice_and_never_more_than_there_are():
    seeds, _ = shop('routing')
    k = len({s.output for s in seeds})
    assert len({s.output for s in coverage(seeds, k)})==k and len(coverage(seeds, 999))==len(seeds) and coverage([], 3)==[]

# --- other generators

def test_a_generator_that_returns_rubbish_is_counted_not_believed():
    good = ask('where is my parcel now', 'delivery', 1)
    def rubbish(request, seeds, space, needed):
        yield Candidate(None, (), 'asked', problem='answer is not JSON')
        for text, label in (('x', 'nowhere'), ('', 'delivery'), ('<|im_end|> hi', 'delivery'), ("I'm sorry, I cannot help", 'delivery'), ('a new question about a parcel', 'delivery'), ('a new question about a parcel!', 'delivery')):
            yield Candidate(asking(good, text, label), (good,), 'asked', 'm', 'h')
    made = SyntheticDataService(at, dict(embedded=rubbish)).generate(SyntheticDataRequest('routing', 10, labels=['delivery', 'orders']), [good])
    assert [r.input for r in made]==['a new question about a parcel'] and made[0].metadata['recipe']['model']=='m'
    assert made.accounting.dropped=={'answer is not JSON': 1, 'answer is not one of the labels': 1, 'empty request or answer': 1, 'control tokens in the text': 1, 'a refusal': 1, 'repeats another row': 1}

def test_the_screen_refuses_rows_near_what_is_judged_even_when_they_are_far_from_seeds():
    held = ask('when does the shop in the harbour street open on sundays', 'orders')
    screen = Screen(SyntheticDataRequest('routing'), OutputSpace('text'), [ask('q', 'a')], [held])
    assert screen(Candidate(replace(held, input=held.input+' please'), (), ''))=='near the evaluation data'
    assert screen(Candidate(replace(held, input=held.input.upper()), (), ''))=='in the evaluation data'

def test_a_service_may_name_its_generator_and_options_for_all_requests():
    asked = []
    def other(request, seeds, space, needed):
        asked.append(request)
        yield Candidate(asking(seeds[0], 'something quite new', seeds[0].output), (seeds[0],), 'asked')
    service = SyntheticDataService(at, dict(embedded=None, other=other), generator='other', options=dict(a=1, b=2))
    seeds = shop('routing')[0]
    service.generate(SyntheticDataRequest('routing', 1, options=dict(b=3)), seeds)
    assert asked[0].options==dict(a=1, b=3) and asked[0].generator=='other'

def test_the_embedded_generator_takes_no_options():
    with pytest.raises(FtkitError, match='takes no options'): make(shop('routing')[0], options=dict(temperature=1))

@pytest.mark.parametrize('bad', [dict(count=0), dict(count=1.5), dict(count=10**6), dict(max_similarity=0), dict(max_similarity=2)])
def test_a_request_out_of_range_names_the_field(bad):
    with pytest.raises(FtkitError, match=next(iter(bad))): SyntheticDataRequest('routing', **bad)

def test_every_field_of_the_request_matters():
    seeds, _ = shop('routing')
    base = [r.text() for r in make(seeds)]
    assert len(make(seeds, 10))==10
    for change in (dict(max_similarity=.5), dict(seed=3)): assert [r.text() for r in make(seeds, **change)]!=base
    assert {r.output for r in make([*seeds], labels=['orders', 'billing'])}<={'orders', 'billing'}
    assert SyntheticDataService(at).generate(SyntheticDataRequest('other', 3), seeds)[0].metadata['agent_type']=='other'

def test_the_import_is_light():
    code = "import sys, ftkit.data.synth, ftkit.data.approval; assert not {'torch', 'ipywidgets', 'pandas', 'sklearn', 'dspy'} & set(sys.modules)"
    subprocess.run([sys.executable, '-c', code], check=True, cwd=Path(__file__).parent.parent)

# --- real agents

@pytest.mark.parametrize('domain', ['taskmaster_coffee', 'taskmaster_tickets'])
def test_a_real_agent_with_thirty_approved_rows(domain):
    path = Path(__file__).parent.parent.parent/'shared'/'data'/domain/'feedback.jsonl.gz'
    if not path.exists(): pytest.skip('the real feedback is not here (../shared/data)')
    rows = [json.loads(l) for l in gzip.open(path, 'rt')]
    def row(r):
        turns = [dict(role='user' if t['role']=='user' else 'assistant', content=t.get('text') or json.dumps({k: v for k,v in t.items() if k!='role'})) for t in json.loads(r['context'])]
        return InstructionExample('', '\n'.join(f'{m["role"]}: {m["content"]}' for m in turns), json.dumps({k: v for k,v in json.loads(r['generation']).items() if k!='role'}), dict(span_id=r['conversation_id'], messages=turns))
    good = [row(r) for r in rows if r['reward']==1 and json.loads(r['context']) and json.loads(r['context'])[-1]['role']=='user']
    made = SyntheticDataService(clock=at).generate(SyntheticDataRequest('order', 50), good[:30], good[30:])
    assert len(made)>=20 and all(json.loads(r.output) for r in made)
    print(made.accounting, made.diversity._repr_markdown_())
