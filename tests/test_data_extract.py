"Corners of `ftkit.data.extract`: who is right, what counts once, and accounts that add up whatever comes."
import asyncio, os, tempfile, tracemalloc
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from ftkit.core import FtkitError
from ftkit.records import InstructionDataset
from ftkit.data.calls import read_call
from ftkit.data.examples import examples, preference_pairs, rankings
from ftkit.data.extract import (
    Extraction, PreferencePairExtractor, TraceToTrajectoryConverter, TripletExtractor, extraction,
    pull)
from ftkit.data.judged import Reader, judge
from ftkit.data.trajectories import trajectories
from ftkit.data.triplets import RELEVANT, SearchReader, documents, triplets
from ftkit.data.verdicts import AnnotationPolicy, settle_verdicts
from ftkit.stages import extract
from ftkit.plans.plan import OrchestrationConfig
from ftkit.telemetry.samples import telemetry
from ftkit.telemetry.spans import as_annotation, as_span
from ftkit.telemetry.files import FileProvider, save_telemetry
from ftkit.telemetry.reading import TelemetryProvider

def span(id, user='hi', answer='yes', kind='LLM', parent=None, agent='a', **attributes):
    said = {'llm.input_messages.0.message.role': 'user', 'llm.input_messages.0.message.content': user, 'llm.output_messages.0.message.content': answer, 'metadata': {'agent_type': agent}}
    return as_span(dict(span_id=id, trace_id='t'+id, parent_id=parent, span_kind=kind, name='n', start_time='2026-01-01T00:00:00Z', attributes={**said, **attributes}))

def note(span, label=None, score=None, who='ann', kind='HUMAN', day=1, name='review', **extra):
    return as_annotation(dict(span_id=span, name=name, label=label, score=score, identifier=who, annotator_kind=kind, updated_at=f'2026-01-{day:02}T00:00:00Z', **extra))

@pytest.mark.parametrize('notes,verdict', [
    ([note('s', 'approved')], True), ([note('s', 'REJECTED ')], False), ([note('s', score=.5)], True), ([note('s', score=.49)], False),
    ([note('s', 'approved', 0.)], True), ([note('s', 'great', .9)], True),
    ([note('s', 'approved', who='a'), note('s', 'rejected', who='b')], 'people disagree'),
    ([note('s', 'approved', who='a'), note('s', 'rejected', who='b'), note('s', 'rejected', who='c')], False),
    ([note('s', 'approved'), note('s', 'rejected', kind='LLM', who='m', day=9)], True),
    ([note('s', 'rejected', kind='CODE', who='c'), note('s', 'approved', kind='LLM', who='m')], False),
    ([note('s', 'rejected', day=1), note('s', 'approved', day=2)], True), ([note('s', 'approved', day=2), note('s', 'rejected', day=1)], True),
    ([note('s', 'meh')], 'label not in the policy: meh'), ([note('s')], 'annotation without label or score'), ([], 'no annotation'),
    ([note('s', 'approved', name='note')], 'no annotation'),
    ([note('s', 'approved', who='a', kind='HUMAN'), note('s', 'rejected', who='b'), note('s', 'approved', kind='LLM', who='m')], 'people disagree'),
])
def test_who_is_right(notes, verdict):
    got = settle_verdicts(notes)
    assert (got if isinstance(got, str) else got.approved)==verdict

def test_only_named_annotations_count():
    assert settle_verdicts([note('s', 'approved', name='tone'), note('s', 'rejected', name='review')], AnnotationPolicy(names=('tone',))).approved

def test_labels_of_ones_own():
    assert settle_verdicts([note('s', 'gut')], AnnotationPolicy(approved=('gut',))).approved

def test_wrapper_and_provider_span_count_once_at_any_depth():
    spans = [span('a', kind='AGENT'), span('b', kind='CHAIN', parent='a'), span('c', parent='b'), span('d', parent='c')]
    got = judge(spans, [note('a', 'approved')])
    assert [c.span.span_id for c,_ in got.calls]==['d'] and got.reasons=={'wraps another call': 3}

def test_a_judged_chain_with_an_answer_of_its_own_counts():
    got = judge([span('a', answer='summary', kind='CHAIN'), span('b', answer='draft', parent='a')], [note('a', 'approved')])
    assert [c.answer for c,_ in got.calls]==['summary'] and got.reasons=={'no annotation': 1}

def test_spans_that_are_their_own_ancestors_do_not_hang():
    assert judge([span('a', parent='b'), span('b', parent='a')], []).seen==2

def test_a_span_sent_twice_is_counted_as_such():
    assert judge([span('a'), span('a')], [note('a', 'approved')]).reasons=={'span seen twice': 1}

def test_messages_beyond_nine_stay_in_order():
    many = {f'llm.input_messages.{i}.message.{k}': v for i in range(12) for k,v in (('role', 'user' if i%2==0 else 'assistant'), ('content', str(i)))}
    call = read_call(as_span(dict(span_id='x', trace_id='t', span_kind='LLM', attributes=many)), {})
    assert [m['content'] for m in call.messages]==[str(i) for i in range(12)]

@pytest.mark.parametrize('value,mime', [('{"messages": [{"role": "user", "content": "hi"}]}', 'application/json'), ('hi', 'text/plain'), ('[1, 2', 'application/json')])
def test_values_of_either_mime_type_are_read(value, mime):
    call = read_call(as_span(dict(span_id='x', trace_id='t', span_kind='LLM', attributes={'input.value': value, 'input.mime_type': mime, 'output.value': 'yes'})), {})
    assert call.messages[-1]['content'] in ('hi', value) and call.answer=='yes'

def test_a_different_system_prompt_is_a_different_context():
    a, b = span('a', answer='x'), as_span(dict(span_id='b', trace_id='t', span_kind='LLM', attributes={'llm.input_messages': [{'message': {'role': 'system', 'content': 's'}}, {'message': {'role': 'user', 'content': 'hi'}}], 'output.value': 'y'}))
    assert len(preference_pairs(judge([a, b], [note('a', 'approved'), note('b', 'rejected')])))==0

def test_a_correction_is_the_target_and_the_chosen_answer():
    got = judge([span('a', answer='wrong')], [note('a', 'rejected', metadata={'correction': 'right'})])
    assert examples(got)[0].output=='right'
    assert [(p.chosen, p.rejected) for p in preference_pairs(got)]==[('right', 'wrong')]

def test_one_busy_context_is_capped():
    spans = [span(f'g{i}', answer=f'good {i}') for i in range(5)]+[span(f'b{i}', answer=f'bad {i}') for i in range(5)]
    got = preference_pairs(judge(spans, [note(s.span_id, 'approved' if s.span_id[0]=='g' else 'rejected') for s in spans]))
    assert len(got)==4 and got.accounting.kept<10

def test_the_order_of_spans_changes_nothing():
    spans, notes = telemetry('concierge')
    a, b = extraction(spans, notes, 'concierge'), extraction(spans[::-1], notes[::-1], 'concierge')
    assert a.sets==b.sets and a.counts==b.counts

def test_an_empty_project_is_an_error():
    with pytest.raises(FtkitError, match='holds no spans'): extraction([], [], 'a')

def test_documents_used_or_clicked_are_relevant():
    s = as_span(dict(span_id='s', trace_id='t', span_kind='RETRIEVER', attributes={'input.value': 'q', 'retrieval.documents': [{'document.content': 'a', 'document.metadata': '{"clicked": true}'}, {'document.content': 'b'}]}))
    assert documents(s)[0]['used'] and len(triplets([s], [note('s', 'irrelevant', document_position=1)]))==1

def test_short_sessions_are_counted_out():
    got = trajectories([span('a', **{'session.id': 's1'}), span('b', **{'session.id': 's2'}), span('c', **{'session.id': 's2'}), span('d')])
    assert len(got)==1 and got.accounting.dropped=={'session of fewer than 2 turns': 1, 'no session': 1}

# ---- which end of a score is good, and on which scale ----

LESS, NEUTRAL = {'direction': 'minimize'}, {'direction': 'neutral'}

def evaluated(span, label=None, score=None, metadata=LESS, name='hallucination', kind='LLM', **extra):
    "As phoenix.evals writes it"
    return note(span, label, score, kind=kind, name=name, who=name, metadata=metadata, **extra)

@pytest.mark.parametrize('annotation,verdict', [
    (evaluated('s', 'hallucinated', 1.), False), (evaluated('s', 'grounded', 0.), True), (evaluated('s', score=1., metadata={'direction': 'MINIMIZE '}), False), (evaluated('s', score=.5), True),
    (evaluated('s', 'True', 1.), False), (evaluated('s', 'False', 0.), True), (evaluated('s', 'yes'), False), (evaluated('s', 'negative'), True), (evaluated('s', 'True', 1., {'direction': 'maximize'}), True),
    (evaluated('s', 'approved', 1.), True), (evaluated('s', 'incorrect', 0.), False), (evaluated('s', score=1., metadata={'direction': 'inbound'}), True), (note('s', ' '), 'annotation without label or score'),
    (evaluated('s', 'refused', 1., NEUTRAL, 'refusal'), 'neutral by its direction: refusal'), (evaluated('s', 'True', 1., NEUTRAL, 'refusal'), 'neutral by its direction: refusal'), (evaluated('s', 'refused', None, NEUTRAL, 'refusal'), 'neutral by its direction: refusal')])
def test_the_direction_of_an_annotation_says_which_end_is_good(annotation, verdict):
    got = settle_verdicts([annotation])
    assert (got if isinstance(got, str) else got.approved)==verdict

def test_a_hallucinated_answer_is_no_example_and_the_rejected_side_of_a_pair():
    spans = [span('a', answer='made up'), span('b', answer='true to the source')]
    judged = judge(spans, [evaluated('a', 'hallucinated', 1.), evaluated('b', 'grounded', 0.)])
    assert [e.output for e in examples(judged)]==['true to the source'] and examples(judged)[0].metadata['score']==1
    assert [(p.chosen, p.rejected) for p in preference_pairs(judged)]==[('true to the source', 'made up')]

def test_a_ranking_puts_the_least_toxic_answer_first():
    scores = dict(a=.9, b=.1, c=.4)
    (r,) = rankings(judge([span(i, answer=i) for i in scores], [evaluated(i, score=n, name='toxicity') for i,n in scores.items()]))
    assert r.answers==('b', 'c', 'a') and r.scores==pytest.approx((.9, .6, .1))

def test_a_threshold_is_turned_round_with_the_score():
    policy = AnnotationPolicy(threshold=.9)
    assert [settle_verdicts([evaluated('s', score=n)], policy).approved for n in (0., .1, .11, 1.)]==[True, True, False, False]
    assert settle_verdicts([evaluated('s', score=.9)], AnnotationPolicy(threshold=.1)).approved, 'a rounding error decides nothing'

def test_a_neutral_annotation_is_counted_and_decides_nothing():
    assert judge([span('a', agent='other')], [evaluated('a', 'refused', 1., NEUTRAL, 'refusal')], agent_type='a').annotations.dropped=={'left out: another agent': 1}
    judged = judge([span('a', answer='x'), span('b', answer='y')], [evaluated('a', 'refused', 1., NEUTRAL, 'refusal'), evaluated('b', 'refused', 1., NEUTRAL, 'refusal'), note('b', 'approved', score=.8)])
    assert judged.reasons=={'neutral by its direction: refusal': 1} and judged.annotations.dropped=={'neutral by its direction: refusal': 2} and judged.annotations.kept==1
    assert settle_verdicts([note('s', 'approved', .8), note('s', 'answered', 0., name='refusal', metadata=NEUTRAL)], AnnotationPolicy(approved=('approved', 'answered'))).score==.8, 'a label the policy knows counts; its score says nothing'

STARS = [note('a', score=1, name='stars'), note('b', score=5, name='stars')]

def test_stars_without_a_threshold_stop_with_the_range_that_was_seen():
    spans = [span('a', answer='x'), span('b', answer='y')]
    with pytest.raises(FtkitError, match=r'stars runs from 1 to 5: give a threshold, e.g. approval_threshold=4'): judge(spans, STARS)
    judged = judge(spans, STARS, AnnotationPolicy(threshold=4))
    assert [(p.chosen, p.rejected) for p in preference_pairs(judged)]==[('y', 'x')]
    with pytest.raises(FtkitError, match='stars runs from 1 to 5'): judge(spans, [*STARS, note('a', 'approved', kind='LLM', who='m')]) # a program does not decide for a person
    assert judge([span('c')], [note('c', score=-.2)], AnnotationPolicy(threshold=-.5)).calls[0][1].approved, 'any number will do'

def test_a_star_of_this_agent_is_read_on_the_scale_of_the_whole_project():
    spans = [span('a'), span('b', agent='other')]
    with pytest.raises(FtkitError, match='stars runs from 1 to 5'): judge(spans, STARS, agent_type='a')
    assert judge(spans, [*STARS[1:], note('a', 'approved')], agent_type='a').annotations.dropped=={'left out: another agent': 1}, 'what does not decide here stops nothing'

@pytest.mark.parametrize('extra', [note('a', 'approved'), note('b', 'approved')], ids='ab')
def test_scores_that_decide_nothing_stop_nothing(extra):
    other = 'b' if extra.span_id=='a' else 'a'
    judged = judge([span('a'), span('b')], [extra, note(extra.span_id, score=5, name='stars', kind='LLM', who='m'), note(other, 'rejected', 3., name='grade')])
    assert len(judged.calls)==2 and judged.annotations.dropped=={'scale of the score is not known: stars': 1}
    assert judge([span('a')], [note('a', 'yes', score=5)]).calls, 'the label decides'

def test_less_is_better_only_from_0_to_1():
    for score,policy in ((3., AnnotationPolicy()), (3., AnnotationPolicy(threshold=2)), (0., AnnotationPolicy(threshold=4))):
        with pytest.raises(FtkitError, match='hallucination runs from .* and less is better'): judge([span('a')], [evaluated('a', score=score)], policy)
    assert judge([span('a')], [evaluated('a', score=3.), note('a', 'approved')], AnnotationPolicy(names=('review',))).calls

def test_one_name_has_one_direction():
    spans, person = [span('a'), span('b')], note('b', score=1., name='hallucination')
    with pytest.raises(FtkitError, match=r'hallucination has several directions \(maximize, minimize'): judge(spans, [evaluated('a', score=1.), person])
    with pytest.raises(FtkitError, match='several directions'): judge(spans, [evaluated('a', score=1.), note('b', 'no', name='hallucination')])
    assert len(judge(spans, [evaluated('a', score=1.), replace(person, label='approved')]).calls)==2, 'a label that judges needs no direction'

def test_searches_and_conversations_read_scores_by_the_same_rules():
    find = as_span(dict(span_id='s', trace_id='t', span_kind='RETRIEVER', attributes={'input.value': 'q', 'retrieval.documents': [{'document.content': 'far'}, {'document.content': 'near'}]}))
    marks = lambda low, high, metadata: [evaluated('s', score=n, name='distance', metadata=metadata, document_position=k) for k,n in enumerate((high, low))]
    assert [(t.positive, t.negative) for t in triplets([find], marks(0., 1., LESS))]==[('near', 'far')]
    assert triplets([find], marks(0., 1., NEUTRAL)).annotations.dropped=={'neutral by its direction: distance': 2}
    for search in (marks(2, 5, {}), marks(2, 2, {})):
        with pytest.raises(FtkitError, match='distance runs from 2'): triplets([find], search)
    assert [t.positive for t in triplets([find], marks(2, 5, {}), policy=replace(RELEVANT, threshold=4))]==['far']
    talk = [span('a', **{'session.id': 's1'}), span('b', **{'session.id': 's1'})]
    on = lambda score, metadata: [as_annotation(dict(session_id='s1', name='friction', label='as found', score=score, annotator_kind='LLM', metadata=metadata))]
    assert trajectories(talk, on(1., LESS), approved=True).accounting.dropped=={'session rejected': 2} and len(trajectories(talk, on(0., LESS), approved=True))==1
    for notes in (on(5, {}), [note('a', score=5, name='stars')]):
        with pytest.raises(FtkitError, match='runs from 5 to 5: give a threshold'): trajectories(talk, notes, approved=True)
    assert len(trajectories(talk, on(5, {}), policy=AnnotationPolicy(threshold=4), approved=True))==1

def test_labels_are_compared_without_regard_to_case():
    policy = AnnotationPolicy(approved=('Gut', 'STRASSE'), rejected=('Schlecht ',))
    assert [settle_verdicts([note('s', l)], policy).approved for l in ('gut', 'GUT', 'straße', 'schlecht')]==[True, True, True, False]

@pytest.mark.parametrize('field', ['names', 'approved', 'rejected', 'correction_keys'])
def test_text_in_place_of_a_list_is_refused(field):
    with pytest.raises(FtkitError, match=rf"{field}='tone' is text where a list is needed; write {field}=\('tone',\)"): AnnotationPolicy(**{field: 'tone'})

@pytest.mark.parametrize('value', ['4', float('nan'), float('inf')])
def test_a_threshold_is_a_finite_number(value):
    with pytest.raises(FtkitError, match='not a finite number'): AnnotationPolicy(threshold=value)
    assert settle_verdicts([note('s', score=5)], AnnotationPolicy(threshold=np.float64(4))).approved is True

def test_a_plan_takes_any_threshold_and_says_how_names_are_written(tmp_path):
    plan = lambda **more: OrchestrationConfig(**dict(dict(tenant_id='acme', project='shop', model_type='llm', agent_type='a'), **more))
    shop = FileProvider(save_telemetry(tmp_path, [span('a', answer='x'), span('b', answer='y')], STARS))
    with pytest.raises(FtkitError, match='stars runs from 1 to 5'): asyncio.run(extract(shop, plan().source))
    assert [e.output for e in asyncio.run(extract(shop, plan(approval_threshold=4).source)).sets['examples']]==['y']
    with pytest.raises(FtkitError, match=r"annotation_names: got 'tone', needed list or None; write \('tone',\)"): plan(annotation_names='tone')

# ---- batch by batch ----

def fed(reader, spans, notes, size):
    "Spans in batches, each with the annotations on them"
    for i in range(0, len(spans), size):
        ids = {s.span_id for s in spans[i:i+size]}
        reader.feed(spans[i:i+size], [a for a in notes if a.span_id in ids])
    return reader.feed([], [a for a in notes if a.span_id not in {s.span_id for s in spans}])

def told(judged): return [(c, r) for c,r in judged.calls], judged.reasons, judged.seen, judged.agents, judged.votes, judged.disputes, judged.annotations

parent, kind, agent = st.sampled_from([None, 'a', 'b', 'c', 'd', 'gone']), st.sampled_from(['LLM', 'LLM', 'CHAIN', 'AGENT', 'TOOL', 'RETRIEVER']), st.sampled_from([{}, {'metadata': {'agent_type': 'x'}}, {'metadata': {'agent_type': 'y'}}])
member = st.builds(lambda p, k, m, said, code, s, docs: dict(trace_id='t', parent_id=p, span_kind=k, status_code=code, attributes={'input.value': 'q', 'output.value': said, **m, **s, **docs}), parent, kind, agent, st.sampled_from(['u', 'v', '']),
    st.sampled_from(['OK', 'OK', 'ERROR']), st.sampled_from([{}, {'session.id': 's'}]), st.sampled_from([{}, {'retrieval.documents': [{'document.content': 'one'}, {'document.content': 'two'}]}]))
opinion = st.builds(lambda i, v, w, d: note(i, v, who=w, document_position=d), st.sampled_from('abcde'), st.sampled_from(['approved', 'rejected', 'meh']), st.sampled_from(['mara', 'joel']), st.sampled_from([None, None, 0, 1]))

@settings(max_examples=3000 if os.environ.get('FTKIT_FULL') else 150, suppress_health_check=list(HealthCheck))
@given(st.lists(member, min_size=1, max_size=5), st.lists(opinion, max_size=8), st.permutations(range(5)), st.integers(1, 3), st.sampled_from([None, 'x']))
def test_whatever_the_order_and_the_batches_the_result_is_the_same(members, notes, order, size, agent):
    spans = [as_span(dict(m, span_id='abcde'[i], start_time=f'2026-01-01T00:00:0{i}Z')) for i,m in enumerate(members)]
    mixed = [spans[i] for i in order if i<len(spans)]
    reader = fed(Reader(agent_type=agent), mixed, notes, size)
    assert told(reader.judged())==told(judge(spans, notes, agent_type=agent))
    search, whole = fed(SearchReader(), mixed, notes, size).dataset(), triplets(spans, notes)
    assert search==whole and search.accounting==whole.accounting and search.annotations==whole.annotations

def test_text_is_let_go_as_soon_as_nothing_can_bring_it_in():
    reader = Reader(agent_type='a')
    reader.feed([span('other', agent='b'), span('unjudged'), span('low', parent='up'), span('mute', parent='top', agent='b')])
    assert list(reader.whole)==['low'], 'what may still be judged above is kept'
    reader.feed([span('up', kind='CHAIN', parent='top')])
    assert list(reader.whole)==['low', 'up']
    reader.feed([span('top', kind='CHAIN')])
    assert not reader.whole and reader.judged().reasons=={'another agent': 2, 'no annotation': 2, 'wraps another call': 2}

def test_a_verdict_on_a_wrapper_reaches_a_call_that_came_long_before():
    reader = Reader().feed([span('low', parent='up')]).feed([span('x')]).feed([span('up', kind='CHAIN')], [note('up', 'approved')])
    assert [c.span.span_id for c,_ in reader.judged().calls]==['low']

@pytest.fixture(scope='module')
def shop(tmp_path_factory):
    spans, notes = telemetry(n=40)
    return FileProvider(save_telemetry(tmp_path_factory.mktemp('shop'), spans, notes)), spans, notes

@pytest.mark.parametrize('agent_type', ['routing', 'concierge', 'support'])
def test_a_pull_gives_what_the_pure_functions_give(shop, agent_type):
    class Dripping(FileProvider):
        "Seven spans at a time"
        def span_batches(self, *args): return super().span_batches(*args, batch_size=7)
    p, spans, notes = Dripping(shop[0].path), *shop[1:]
    got, want = asyncio.run(pull(p, 'shop', agent_type)), extraction(spans, notes, agent_type)
    on_spans = extraction(spans, [a for a in notes if a.target!='document'], agent_type) # a pull asks for nothing else
    assert got==want and got.accounts==on_spans.accounts and got.annotations.kept==want.annotations.kept>0

def test_triplets_and_conversations_come_in_batches_too(shop):
    p, spans, notes = shop
    got = asyncio.run(TripletExtractor(p).extract('shop', 'text'))
    assert got==triplets(spans, notes, 'text') and len(got)>50
    assert got.annotations==triplets(spans, [a for a in notes if a.target=='document'], 'text').annotations and got.annotations.kept>50
    got = asyncio.run(TraceToTrajectoryConverter(p).extract_trajectories('shop', agent_type='support'))
    want = trajectories(spans, [a for a in notes if a.target in ('span', 'session')], agent_type='support')
    assert got==want and got.accounting==want.accounting and got.annotations==want.annotations and any(t.session_outcome for t in got)
    assert not any(t.session_outcome for t in asyncio.run(TraceToTrajectoryConverter(p).extract_trajectories('shop', include_annotations=False)))

def test_a_start_time_reaches_the_provider(shop):
    p, spans, notes = shop
    cut = spans[len(spans)//2].start_time
    want = extraction([s for s in spans if s.start_time>=cut], notes, 'routing')
    assert asyncio.run(pull(p, 'shop', 'routing', start_time=cut)).counts==want.counts
    assert len(asyncio.run(PreferencePairExtractor(p).extract('shop', 'concierge', start_time=cut)))<len(asyncio.run(PreferencePairExtractor(p).extract('shop', 'concierge')))

class Made(TelemetryProvider):
    "Long calls made on demand: every tenth of the routing agent, and of these the first twenty judged"
    def __init__(self, n): super().__init__('acme', 'shop'); self.n = n
    async def span_batches(self, project=None, start_time=None):
        for i in range(0, self.n, 100): yield [span(f'{k:08}', user=f'{k} '*2000, parent=None if k%10 else f'{k+1:08}', agent='b' if k%10 else 'a') for k in range(i, i+100)]
    async def annotations_on(self, target, ids, project=None): return [note(i, 'approved') for i in ids if target=='span' and int(i)<200]

def test_memory_for_one_agent_grows_by_an_outline_a_span_and_not_by_its_text():
    def peak(n):
        tracemalloc.start()
        try: return len(asyncio.run(pull(Made(n), 'shop', 'a')).sets['examples']), tracemalloc.get_traced_memory()[1]
        finally: tracemalloc.stop()
    peak(100)
    (few, small), (many, large) = peak(400), peak(1600)
    assert few==many==20 and (large-small)/1200<2000, f'{(large-small)/1200:.0f} bytes for each further span of 12,000'


# ---- what became of each annotation ----

def lost(d): return d.annotations.dropped

@pytest.mark.parametrize('extra,why', [
    (note('gone', 'approved'), 'its span is not in the pull'), (note('s', 'approved', name='note', who='x'), 'a note'), (note('s', 'ad-1', name='used_in_adapter', who='x', kind='CODE'), 'a note'), (note('s', 'meh', who='x'), 'label not in the policy: meh'),
    (note('s', 'meh', float('nan'), who='x'), 'label not in the policy: meh'), (note('s', score=float('nan'), who='x'), 'annotation without label or score'), (note('s', who='x'), 'annotation without label or score'),
    (note('s', 'rejected', who='x', kind='ALIEN'), 'unknown kind of annotator'), (note('s', 'rejected', day=1, who='ann'), 'replaced by the same annotator'), (note('s', 'rejected', who='x', kind='CODE'), 'outranked by HUMAN'),
    (note('wrap', 'rejected', who='x', kind='LLM'), 'outranked by HUMAN'), (note('s', 'approved', who='x', document_position=0), 'on a document'), (as_annotation(dict(session_id='s1', name='review', label='approved')), 'on a session'),
    (as_annotation(dict(trace_id='gone', name='review', label='approved')), 'on a trace'), (note('other', 'approved'), 'left out: another agent'), (note('broken', 'approved'), 'left out: call failed'), (note('mute', 'approved'), 'left out: no answer'),
    (note('tool', 'approved'), 'left out: not a model call')], ids=lambda v: v if isinstance(v, str) else '')
def test_an_annotation_that_decides_nothing_says_why(extra, why):
    broken = as_span(dict(span_id='broken', trace_id='t', span_kind='LLM', status_code='ERROR', attributes={'input.value': 'q', 'output.value': 'a', 'metadata': {'agent_type': 'a'}}))
    spans = [span('wrap', kind='CHAIN'), span('s', parent='wrap'), span('other', agent='b'), broken, span('mute', answer=''), span('tool', kind='TOOL')]
    d = examples(judge(spans, [note('s', 'approved', day=5), extra], agent_type='a'))
    assert lost(d)=={why: 1} and (d.annotations.seen, d.annotations.kept)==(2, 1) and len(d)==1

def test_names_caps_and_quarrels_have_their_place_in_the_account_of_annotations():
    spans = [span(s, answer=s) for s in 'abcd']
    notes = [note(s, 'approved', who='m') for s in 'abcd']
    assert lost(judge(spans, [*notes, note('a', 'rejected', name='tone')], AnnotationPolicy(names=('review',))))=={'name not in the policy: tone': 1}
    got = judge(spans, notes, AnnotationPolicy(per_annotator=1))
    assert (got.annotations.kept, lost(got))==(1, {'left out: more than 1 decided by one annotator': 3})
    got = judge(spans, [*notes, note('a', 'rejected', who='j'), note('a', 'approved', who='x', kind='LLM'), note('b', 'rejected', who='j'), note('b', 'approved', who='k'), note('c', 'rejected', who='j', metadata={'correction': 'C'}), note('c', 'approved', who='k')])
    assert (got.annotations.kept, lost(got))==(6, {'people disagree': 2, 'outranked by HUMAN': 1, 'outvoted': 1}), 'an outvoted correction is used'
    assert [r.correction for c,r in got.calls if c.answer=='c']==['C']

def test_a_score_that_is_no_number_approves_and_rejects_nothing():
    from ftkit.telemetry.spans import Annotation
    for score in (float('nan'), float('inf'), None): assert settle_verdicts([Annotation('s', 'review', score=score)])=='annotation without label or score'
    assert settle_verdicts([Annotation('s', 'review', score=1.), Annotation('s', 'review', score=float('nan'), identifier='b')]).score==1
    for score in (float('nan'), float('inf')):
        labelled = Annotation('s', 'review', label='approved', score=score, identifier='b')
        assert settle_verdicts([labelled]).approved and settle_verdicts([labelled]).score is None and settle_verdicts([Annotation('s', 'review', score=.8), labelled]).score==.8, 'a label counts, the score beside it does not'

def test_annotations_of_searches_and_conversations_have_an_account_too():
    find = lambda i, docs: as_span(dict(span_id=i, trace_id='t', span_kind='RETRIEVER', attributes={'input.value': f'q{i}', 'retrieval.documents': docs}))
    two = [{'document.content': 'a'}, {'document.content': ''}, {'document.content': 'b'}]
    marks = [note('s', 'relevant', document_position=0), note('s', 'irrelevant', document_position=2), note('s', 'irrelevant', document_position=1), note('s', 'irrelevant', document_position=7), note('half', 'relevant', document_position=0), note('gone', 'relevant', document_position=0), note('s', 'approved')]
    got = triplets([find('s', two), find('half', two)], marks)
    assert len(got)==1 and got.annotations.kept==2 and lost(got)=={'its document is not there or empty': 2, 'left out: no irrelevant document': 1, 'its span is not in the pull': 1, 'on a span': 1}
    talks = [span('a1', **{'session.id': 's1'}), span('a2', **{'session.id': 's1'}), span('a3', kind='TOOL', parent='a2', **{'session.id': 's1'}), span('b1', **{'session.id': 's2'})]
    on = lambda s, label, day=1: as_annotation(dict(session_id=s, name='review', label=label, identifier='m', updated_at=f'2026-01-0{day}T00:00:00Z'))
    got = trajectories(talks, [note('a1', 'approved'), note('a3', 'approved'), note('b1', 'approved'), note('gone', 'approved'), on('s1', 'approved', 2), on('s1', 'rejected'), on('s9', 'approved'), note('a1', 'approved', document_position=0)])
    assert got.annotations.kept==2 and got[0].session_outcome=='approved'
    assert lost(got)=={'its span is no turn': 1, 'left out: session of fewer than 2 turns': 1, 'its span is not in the pull': 1, 'replaced by the same annotator': 1, 'its session is not in the pull': 1, 'on a document': 1}

def test_the_account_of_annotations_is_shown_kept_and_read_back(tmp_path):
    from ftkit.data.clean import clean
    from ftkit.data.redact import redact
    got = extraction([span('s')], [note('s', 'approved'), note('gone', 'approved')], 'a')
    assert '1 of 2 annotations decided' in got.sets['examples']._repr_html_() and 'annotations that decided: 1' in got.lines()
    for text in (got.lines(), got._repr_markdown_()): assert text.count('its span is not in the pull')==1, 'once, not for each set'
    got.save(tmp_path)
    assert Extraction.load(tmp_path).accounts==got.accounts=={'examples': got.sets['examples'].accounting, 'pairs': got.sets['pairs'].accounting, 'annotations': got.annotations}
    assert clean(redact(got.sets['examples'])[0]).annotations==got.annotations

def test_orphans_of_a_file_are_counted_and_those_of_another_time_are_not(tmp_path):
    spans, notes = telemetry('concierge')
    stray = note('f'*16, 'approved')
    p = FileProvider(save_telemetry(tmp_path, spans, [*notes, stray]))
    assert lost(asyncio.run(pull(p, 'shop', 'concierge')).sets['examples'])['its span is not in the pull']==1
    late = asyncio.run(pull(p, 'shop', 'concierge', start_time=spans[len(spans)//2].start_time)).annotations
    assert late.dropped['its span is not in the pull']==1 and late.seen<len([a for a in notes if a.target=='span'])
    assert asyncio.run(p.orphans('span'))==[stray] and asyncio.run(p.orphans('session'))==asyncio.run(p.orphans('document'))==[]

# ---- who judges, and how much ----

def test_no_annotator_decides_more_than_the_policy_lets_them():
    rows = [(('mara',), 'u')]*30+[(('joel',), 'u')]*5
    spans, notes = [span(f's{i}', answer=str(i)) for i in range(35)], [note(f's{i}', 'approved', who=w) for i,((w,),_) in enumerate(rows)]
    got = judge(spans, notes, AnnotationPolicy(per_annotator=8))
    assert Counter(r.annotator for _,r in got.calls)=={'mara': 8, 'joel': 5} and got.reasons=={'more than 8 decided by one annotator': 22}
    again = judge(spans[::-1], notes[::-1], AnnotationPolicy(per_annotator=8))
    assert told(again)==told(got) and examples(got).accounting.seen==35
    more = judge([*spans, span('s99', answer='new')], [*notes, note('s99', 'approved', who='joel')], AnnotationPolicy(per_annotator=8))
    assert {c.span.span_id for c,_ in got.calls}<={c.span.span_id for c,_ in more.calls}, 'what was in stays in'

def test_agreeing_with_everybody_does_not_use_up_everybodys_share():
    spans = [span(f's{i}', answer=str(i)) for i in range(20)]
    notes = [note(s.span_id, 'approved', who=w) for i,s in enumerate(spans) for w in ('loud', f'quiet{i%5}')]
    assert len(judge(spans, notes, AnnotationPolicy(per_annotator=4)).calls)==20

def test_no_user_is_more_of_the_data_than_the_policy_lets_them():
    spans = [span(f's{i}', answer=str(i), **({'user.id': 'bot'} if i<20 else {'user.id': f'u{i}'} if i<25 else {})) for i in range(30)]
    got = judge(spans, [note(s.span_id, 'approved') for s in spans], AnnotationPolicy(per_user=3))
    assert Counter(c.user_id for c,_ in got.calls)['bot']==3 and len(got.calls)==13 and got.reasons=={'more than 3 from one user': 17}

def test_caps_hold_for_searches_and_conversations():
    find = lambda i: as_span(dict(span_id=f's{i}', trace_id='t', span_kind='RETRIEVER', attributes={'user.id': 'bot', 'input.value': f'q{i}', 'retrieval.documents': [{'document.content': 'a'}, {'document.content': 'b'}]}))
    notes = [note(f's{i}', v, document_position=k) for i in range(6) for k,v in enumerate(('relevant', 'irrelevant'))]
    for cap in (dict(per_user=2), dict(per_annotator=2)):
        got = triplets([find(i) for i in range(6)], notes, policy=AnnotationPolicy(approved=('relevant',), rejected=('irrelevant',), **cap))
        assert len(got)==got.accounting.kept==2 and sum(got.accounting.dropped.values())==4
    talks = [span(f'{i}{k}', **{'session.id': f's{i}', 'user.id': 'bot'}) for i in range(5) for k in 'ab']
    got = trajectories(talks, policy=AnnotationPolicy(per_user=2))
    assert len(got)==2 and got.accounting.dropped=={'more than 2 from one user': 6}

def test_people_who_disagree_are_counted_listed_and_not_learned_from():
    spans = [span(s, answer=s) for s in 'abcd']
    notes = [note('a', 'approved', who='m'), note('a', 'approved', who='j'), note('b', 'rejected', who='m'), note('b', 'rejected', who='j'), note('c', 'approved', who='m'), note('c', 'rejected', who='j'), note('d', 'approved', who='m'), note('d', 'rejected', who='x', kind='LLM')]
    got = extraction(spans, notes, 'a')
    assert got.disputes==['c'] and got.sets['examples'].accounting.dropped['people disagree']==1
    (pair,) = got.agreement.pairs
    assert (pair['reviewers'], pair['items']) == (('j', 'm'), 3) and pair['kappa']==pytest.approx(.4) and got.agreement.judged==3 # 2 of 3 the same; by chance 4/9: (2/3-4/9)/(5/9)
    assert got.agreement.alpha==pytest.approx(1-(2/6)/(18/30)) # seen 2 of 6, expected 2*3*3 of 6*5
    for text in (got.lines(), got._repr_markdown_()): assert 'alpha' in text
    assert 'evenly split on 1: c' in got._repr_markdown_()

def test_other_agents_quarrels_are_not_ours():
    got = extraction([span('a'), span('b', agent='z')], [note('a', 'approved'), note('b', 'approved', who='m'), note('b', 'rejected', who='j')], 'a')
    assert got.agreement.judged==0 and not got.disputes and 'alpha' not in got.lines()

def test_an_extraction_survives_the_disk_and_draws_itself(tmp_path):
    spans, notes = telemetry('concierge')
    got = extraction(spans, [*notes, *(note(a.span_id, 'rejected', who='second') for a in notes[:9])], 'concierge')
    got.save(tmp_path)
    back = Extraction.load(tmp_path)
    assert back==got and back._repr_markdown_()==got._repr_markdown_() and got.agreement.judged==9
    assert got._repr_png_()[:4]==b'\x89PNG' and len(got._repr_png_())<60_000
    assert sum(map(sum, got.labels.values()))==got.counts['approved_count']+got.counts['rejected_count']
    axes = got.plot().axes
    assert [a.get_title(loc='left') for a in axes]==[*(f'{k}: {len(d):,}' for k,d in got.sets.items()), 'labels over time']
    for ax,d in zip(axes, got.sets.values(), strict=False): assert sum(b.get_width() for b in ax.patches)==d.accounting.seen
    assert sum(b.get_height() for b in axes[-1].patches)==sum(map(sum, got.labels.values()))
    assert Extraction({k: InstructionDataset() for k in 'a'}).plot().axes and Extraction({})._repr_png_() is None

def test_every_kind_of_dataset_is_a_table_in_a_cell():
    spans, notes = telemetry(n=20)
    judged = judge(spans, notes)
    for d in (examples(judged), preference_pairs(judged), triplets(spans, notes), trajectories(spans, notes)):
        html = d._repr_html_()
        assert html.startswith('<table>') and html.count('<tr>')==6 and f'{len(d):,} records' in html and f'of {d.accounting.seen:,} spans kept' in html


weird = st.one_of(st.none(), st.text(max_size=20), st.integers(), st.floats(), st.lists(st.integers(), max_size=3), st.just('<|im_end|>'), st.just('x'*10_000), st.just('\ud800'), st.just('a\x00'))
attribute = st.dictionaries(st.sampled_from(['input.value', 'output.value', 'llm.input_messages', 'llm.output_messages.0.message.content', 'llm.input_messages.0.message.role', 'metadata', 'session.id', 'llm.tools', 'retrieval.documents']), weird, max_size=5)
row = st.fixed_dictionaries(dict(span_id=st.sampled_from(['a', 'b', 'c', '']), trace_id=st.sampled_from(['t', 'u']), parent_id=st.sampled_from([None, 'a', 'b', 'zz']), span_kind=st.sampled_from(['LLM', 'CHAIN', 'RETRIEVER', None]),
    start_time=st.sampled_from([None, '2026-01-01T00:00:00Z', 'yesterday', -5.0, float('nan')]), end_time=st.just('1999-01-01T00:00:00Z'), attributes=attribute))
remark = st.fixed_dictionaries(dict(span_id=st.sampled_from(['a', 'b', 'orphan']), name=weird, label=weird, score=weird, annotator_kind=st.sampled_from(['HUMAN', 'LLM', 'ALIEN']), metadata=st.just({'correction': 7}),
    document_position=st.sampled_from([None, None, 0, float('nan')]), session_id=st.sampled_from([None, None, 's']), trace_id=st.sampled_from([None, None, 't'])))
pointed = st.sampled_from([dict(metadata={'direction': 'neutral'}, name='refusal'), dict(metadata={'direction': 'minimize'}, name='toxicity', score=.2)])
remark = remark | st.tuples(remark, pointed).map(lambda both: {**both[0], **both[1]})

@settings(max_examples=10_000 if os.environ.get('FTKIT_FULL') else 200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(row, min_size=1, max_size=6), st.lists(remark, max_size=6), st.integers(1, 6))
def test_whatever_comes_the_account_adds_up_and_repeats(rows, remarks, size):
    spans, notes = [as_span(r) for r in rows], [as_annotation(r) for r in remarks]
    policy, relevant = AnnotationPolicy(threshold=.5), replace(RELEVANT, threshold=.5) # scores on any scale
    def make():
        judged = judge(spans, notes, policy)
        return examples(judged), preference_pairs(judged), triplets(spans, notes, policy=relevant), trajectories(spans, notes, policy=policy)
    for d,again in zip(make(), make(), strict=True):
        assert d.accounting.seen==len(rows)==d.accounting.kept+sum(d.accounting.dropped.values())
        assert d==again and d.accounting==again.accounting and d.annotations==again.annotations
        assert d.annotations.seen==len(remarks)==d.annotations.kept+sum(d.annotations.dropped.values())
        if len(d): _stored_twice_the_same(d)
    first = fed(Reader(policy), spans, notes, size).judged()
    assert first.seen==len(rows)==len(first.calls)+sum(first.reasons.values())
    assert first.annotations.seen==first.annotations.kept+sum(first.annotations.dropped.values())>=len(remarks)

def _stored_twice_the_same(d):
    with tempfile.TemporaryDirectory() as folder: a, b = (type(d).load_jsonl(d.save_jsonl(f'{folder}/a')), type(d).load_parquet(d.save_parquet(f'{folder}/b')))
    assert a==b and len(a)==len(d)

def test_ten_megabytes_in_any_place_are_read():
    big = 'lorem '*1_700_000
    for where in ('input.value', 'output.value', 'llm.input_messages.0.message.content', 'metadata', 'session.id', 'retrieval.documents'):
        s = as_span(dict(span_id='a', trace_id='t', span_kind='LLM', attributes={'input.value': 'q', 'output.value': 'x', where: big}))
        got = judge([s], [note('a', 'approved', explanation=big, metadata={'correction': big})])
        assert len(got.calls)==1 and examples(got)[0].output==big

def test_half_a_surrogate_pair_and_nul_are_stored_in_every_form():
    s = as_span(dict(span_id='a', trace_id='t', span_kind='LLM', attributes={'input.value': 'cut \ud83d here\x00', 'output.value': '\ud800 x'}))
    d = examples(judge([s], [note('a', 'approved')]))
    _stored_twice_the_same(d)
    assert d.to_hf()[0]['input']=='cut ? here\x00' and d[0].input=='cut \ud83d here\x00'

# --- searches

def search_span(value=None, kind='RETRIEVER', **attributes):
    found = [dict(document=dict(id=f'd{n}', content=t)) for n,t in enumerate(('near', 'far'))]
    where = 'retrieval.documents' if kind=='RETRIEVER' else 'reranker.output_documents'
    return as_span(dict(span_id='f', trace_id='t', span_kind=kind, attributes={'input.value': value, where: found, **attributes}))

NEAR = [note('f', 'relevant', document_position=0), note('f', 'irrelevant', document_position=1)]
QUERIES = [
    ('{"query": "refunds", "filters": null, "top_k": null, "scale_score": null}', 'application/json', ['refunds']),
    ('{"query": "refunds", "filters": null}', None, ['refunds']),
    ('{"bundle": {"query_str": "refunds", "image_path": null}, "mode": "hybrid"}', 'application/json', ['refunds']),
    ('{"collection": "faq", "text": "refunds"}', 'application/json', ['refunds']),
    ('{"what": "refunds", "k": 3}', 'application/json', ['refunds']),
    ('["refunds"]', 'application/json', ['refunds']),
    ('"refunds"', 'application/json', ['refunds']),
    ('{"queries": ["refunds", "parcels"]}', 'application/json', []),
    ('{"where": "faq", "what": "refunds"}', 'application/json', []),
    ('{"query": "refunds"}', 'text/plain', ['{"query": "refunds"}']),
    ('{"colour": "blue", "size": "L"}', None, ['{"colour": "blue", "size": "L"}']),
    ('{not json', 'application/json', ['{not json']),
    ('"quoted', 'application/json', ['"quoted']),
    ('refunds', 'text/plain', ['refunds']),
    (' ', None, []),
]

@pytest.mark.parametrize('value,kind,anchors', QUERIES)
def test_a_search_is_known_by_its_query_and_not_by_its_arguments(value, kind, anchors):
    got = triplets([search_span(value, **({'input.mime_type': kind} if kind else {}))], NEAR)
    assert [t.anchor for t in got]==anchors and (anchors or got.accounting.dropped=={'no query': 1})

def test_a_reranker_gives_triplets_of_its_query_and_its_new_order():
    given = {'reranker.query': 'refunds', 'reranker.input_documents': [dict(document=dict(id='x', content=t)) for t in ('far', 'near', 'other')]}
    read = lambda *spans: [(t.anchor, t.positive, t.negative, t.metadata['positive_id']) for t in triplets(spans, NEAR)]
    assert read(search_span('{"model": "m"}', 'RERANKER', **given))==[('refunds', 'near', 'far', 'd0')]
    both = {**given, 'retrieval.documents': [dict(document=dict(content='before'))]}
    assert read(search_span('{"model": "m"}', 'RERANKER', **both))==[('refunds', 'near', 'far', 'd0')]
    assert read(search_span('{"query": "refunds", "top_k": 2}', 'RERANKER'))==[('refunds', 'near', 'far', 'd0')]
