"Corners of `ftkit.data.extract`: who is right, what counts once, and accounts that add up whatever comes."
import os
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from ftkit.core import FtkitError
from ftkit.data.extract import AnnotationPolicy, documents, examples, extraction, judge, preference_pairs, rate, read_call, trajectories, triplets
from ftkit.samples import telemetry
from ftkit.spans import as_annotation, as_span

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
    got = rate(notes)
    assert (got if isinstance(got, str) else got.approved)==verdict

def test_only_named_annotations_count():
    assert rate([note('s', 'approved', name='tone'), note('s', 'rejected', name='review')], AnnotationPolicy(names=('tone',))).approved

def test_labels_of_ones_own():
    assert rate([note('s', 'gut')], AnnotationPolicy(approved=('gut',))).approved

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

weird = st.one_of(st.none(), st.text(max_size=20), st.integers(), st.floats(), st.lists(st.integers(), max_size=3), st.just('<|im_end|>'), st.just('x'*10_000), st.just('\ud800'), st.just('a\x00'))
attribute = st.dictionaries(st.sampled_from(['input.value', 'output.value', 'llm.input_messages', 'llm.output_messages.0.message.content', 'llm.input_messages.0.message.role', 'metadata', 'session.id', 'llm.tools', 'retrieval.documents']), weird, max_size=5)
row = st.fixed_dictionaries(dict(span_id=st.sampled_from(['a', 'b', 'c', '']), trace_id=st.sampled_from(['t', 'u']), parent_id=st.sampled_from([None, 'a', 'b', 'zz']), span_kind=st.sampled_from(['LLM', 'CHAIN', 'RETRIEVER', None]),
    start_time=st.sampled_from([None, '2026-01-01T00:00:00Z', 'yesterday', -5.0, float('nan')]), end_time=st.just('1999-01-01T00:00:00Z'), attributes=attribute))
remark = st.fixed_dictionaries(dict(span_id=st.sampled_from(['a', 'b', 'orphan']), name=weird, label=weird, score=weird, annotator_kind=st.sampled_from(['HUMAN', 'LLM', 'ALIEN']), metadata=st.just({'correction': 7})))

@settings(max_examples=10_000 if os.environ.get('FTKIT_FULL') else 500, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(row, min_size=1, max_size=6), st.lists(remark, max_size=6))
def test_whatever_comes_the_account_adds_up_and_repeats(rows, remarks):
    spans, notes = [as_span(r) for r in rows], [as_annotation(r) for r in remarks]
    first = judge(spans, notes)
    for d in (examples(first), preference_pairs(first), triplets(spans, notes), trajectories(spans, notes)):
        assert d.accounting.seen==d.accounting.kept+sum(d.accounting.dropped.values())
    assert Counter(first.reasons)==Counter(judge(spans, notes).reasons) and examples(first)==examples(judge(spans, notes))
