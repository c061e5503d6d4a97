"Attributes of every shape, and rows nobody meant."
import json, math
from datetime import datetime, timezone

import pytest
from hypothesis import given, settings, strategies as st

from ftkit.telemetry.spans import (
    Annotation, Span, annotations_frame, as_annotation, as_span, at, flatten, frame_annotations,
    frame_spans, nest, record_row, spans_frame)

leaf = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(['{"a": 1}', '[1, 2]', '{', '\ud83d', 'x\x00y', '<|im_end|>']))
key = st.one_of(st.text(max_size=4), st.sampled_from(['a', 'a.b', 'a.0.b', 'a.10.b', '0', '', '.', 'a..b', 'metadata', 'tool.parameters', ' a']))
tree = st.recursive(leaf, lambda t: st.one_of(st.lists(t, max_size=3), st.dictionaries(key, t, max_size=3)), max_leaves=12)
attributes = st.dictionaries(key, tree, max_size=5)

@settings(max_examples=400)
@given(attributes)
def test_nesting_twice_is_nesting_once(a):
    once = nest(a)
    assert nest(once)==once and nest(flatten(a))==once

@settings(max_examples=200)
@given(st.dictionaries(st.sampled_from(['span_id', 'context', 'context.span_id', 'trace_id', 'parent_id', 'name', 'span_kind', 'kind', 'start_time', 'end_time', 'status_code', 'status', 'attributes', 'attributes.output.value', 'attributes.metadata', 'junk']), tree))
def test_any_row_becomes_a_span(row):
    s = as_span(row)
    assert isinstance(s.span_id, str) and isinstance(s.attributes, dict) and (s.start_time is None or s.start_time.tzinfo)
    assert as_span(json.loads(json.dumps(record_row(s), default=str)))==s

@settings(max_examples=200)
@given(st.dictionaries(st.sampled_from(['span_id', 'trace_id', 'session_id', 'name', 'annotation_name', 'annotator_kind', 'kind', 'result', 'result.score', 'label', 'score', 'metadata', 'created_at', 'document_position', 'identifier']), tree))
def test_any_row_becomes_an_annotation(row):
    a = as_annotation(row)
    assert a.score is None or math.isfinite(a.score)
    assert a.target in ('span', 'document', 'trace', 'session') and isinstance(a.metadata, dict)

def test_depth_without_end_is_no_crash():
    deep = {}
    for _ in range(5000): deep = {'a': deep}
    assert isinstance(nest(deep), dict)
    assert as_span({'attributes': '{"a":'*5000+'1'+'}'*5000}).attributes=={}

def test_both_flattened_shapes_give_the_same_messages():
    dotted = {f'llm.input_messages.{i}.message.{k}': v for i in range(12) for k,v in (('role', 'user'), ('content', f'turn {i}'))}
    dotted |= {'llm.input_messages.11.message.tool_calls.10.tool_call.function.name': 'last', 'llm.input_messages.11.message.tool_calls.2.tool_call.function.name': 'first'}
    half = {'llm.input_messages': [{k.split('.', 3)[3]: v for k,v in dotted.items() if k.startswith(f'llm.input_messages.{i}.')} for i in range(12)]}
    assert nest(dotted)==nest(half)
    assert [c['tool_call']['function']['name'] for c in at(nest(dotted), 'llm.input_messages.11.message.tool_calls')]==['first', 'last']

def test_keys_of_metadata_that_are_numbers_stay_keys(): assert nest({'metadata': '{"0": "zero", "1": "one"}'})=={'metadata': {'0': 'zero', '1': 'one'}}

def test_a_value_and_something_below_it_are_both_kept(): assert nest({'a': 1, 'a.b': 2})=={'a': 1, 'a.b': 2}

@pytest.mark.parametrize('given_time', ['2026-01-05T10:00:00Z', '2026-01-05 10:00:00', 1767607200, 1767607200000, 1767607200000000000, datetime(2026, 1, 5, 10), '2026-01-05T11:00:00+01:00'])
def test_times_of_every_kind_are_read(given_time): assert as_span({'start_time': given_time}).start_time==datetime(2026, 1, 5, 10, tzinfo=timezone.utc)

@pytest.mark.parametrize('given_time', ['soon', True, float('nan'), 1e300, '', [], {}])
def test_what_is_no_time_is_none(given_time): assert as_span({'start_time': given_time}).start_time is None

def test_numpy_and_missing_values_in_frames_are_read():
    import numpy as np, pandas as pd
    df = pd.DataFrame({'context.span_id': ['a', 'b'], 'name': ['x', None], 'attributes.llm.input_messages': [np.array([{'message.role': 'user', 'message.content': 'hi'}], dtype=object), None], 'attributes.score': [np.float64(1.5), np.nan], 'start_time': [pd.Timestamp('2026-01-05T10:00Z'), pd.NaT]})
    a, b = frame_spans(df)
    assert a.get('llm.input_messages.0.message.content')=='hi' and a.get('score')==1.5 and a.start_time.year==2026
    assert b.attributes=={} and b.name=='' and b.start_time is None

def test_empty_frames_keep_their_columns():
    assert list(spans_frame([]).columns)[:2]==['name', 'span_kind'] and len(frame_spans(spans_frame([])))==0
    for target in ('span', 'document', 'trace', 'session'): assert frame_annotations(annotations_frame([], target))==[]

def test_annotations_of_all_targets_survive_their_frames():
    notes = [Annotation('s', 'n', score=float(0)), Annotation('s', 'n', document_position=0), Annotation('', 'n', trace_id='t'), Annotation('', 'n', session_id='c', label='ok', metadata={'a': {'b': 1}})]
    for a in notes: assert frame_annotations(annotations_frame(notes, a.target))==[a]

def test_our_own_kind_is_told_by_the_attribute(): assert as_span({'span_kind': 'UNKNOWN', 'attributes': {'openinference.span.kind': 'EXPERIMENT'}})==Span('', '', None, '', 'EXPERIMENT', None, None)

@pytest.mark.parametrize('written', ['2026-01-05T10:00:00.000000000Z', '2026-01-05T10:00:00.123456789+00:00', 'Mon, 05 Jan 2026 10:00:00 GMT', '1767607200000000000', '1767607200'])
def test_times_as_exporters_write_them_are_read(written):
    span = as_span({'start_time': written})
    assert span.start_time.replace(microsecond=0)==datetime(2026, 1, 5, 10, tzinfo=timezone.utc) and span.attributes=={}

@pytest.mark.parametrize('written', ['soon', '2026-13-45', 'Mon, 99 Jan 2026', True, ['x'], -1e25])
def test_a_time_that_cannot_be_read_is_kept_as_text(written):
    span, note = as_span({'span_id': 's', 'start_time': written}), as_annotation({'span_id': 's', 'name': 'n', 'created_at': written, 'metadata': {'a': 1}})
    assert span.start_time is None and span.get('unread_time.start_time')==str(written)
    assert note.created_at is None and note.metadata=={'a': 1, 'unread_time': {'created_at': str(written)}}
    assert as_span(record_row(span))==span and as_annotation(record_row(note))==note
    assert frame_spans(spans_frame([span]))==[span]

@pytest.mark.parametrize('written', [None, '', float('nan')])
def test_no_time_is_no_time_that_cannot_be_read(written): assert as_span({'start_time': written}).attributes=={}

BLANK = {'': 1, ' ': 2, 'agent_type': 'x'}

@pytest.mark.parametrize('attributes', [{'metadata': BLANK}, {'metadata': json.dumps(BLANK)}, {f'metadata.{k}': v for k,v in BLANK.items()}, {'metadata': dict(reversed(BLANK.items()))}])
def test_blank_keys_wipe_nothing(attributes):
    for row in ({'attributes': attributes}, {'attributes': json.dumps(attributes)}, {f'attributes.{k}': v for k,v in attributes.items()}):
        span = as_span(row)
        assert span.attributes=={'metadata': {'_': 1, '__': 2, 'agent_type': 'x'}} and span.agent_type=='x'
        assert as_span(record_row(span))==span

def test_blank_keys_around_a_structure_wipe_nothing():
    assert as_span({'attributes': {'metadata': {'': {'a': 1}, 'agent_type': 'x'}, '': 3, ' ': {'metadata': 4}}}).agent_type=='x'
    assert nest({'a..b': 1, 'a.c': 2})=={'a': {'b': 1, 'c': 2}}

@pytest.mark.parametrize('attributes', [{'metadata': 'some text', 'metadata.agent_type': 'x'}, {'metadata': 0, 'metadata.agent_type': 'x'}])
def test_what_lies_below_a_value_is_found(attributes):
    span = as_span({'attributes': attributes})
    assert span.agent_type=='x' and span.get('metadata')==attributes['metadata'] and span.get('metadata.other') is None

@pytest.mark.parametrize('written, score', [('0,9', .9), ('90%', .9), ('90 %', .9), (' .9 ', .9), ('٠٫٩', .9), ('９０％', .9), ('\u22121', -1), (1, 1), (True, 1), ('3', 3), ('1e-1', .1)])
def test_scores_as_people_write_them_are_read(written, score):
    for row in ({'score': written}, {'result.score': written}, {'result': {'score': written}}):
        note = as_annotation(row)
        assert note.score==pytest.approx(score) and note.metadata=={}

@pytest.mark.parametrize('written', ['good', '1,000', '4/5', '1e400', '90%%', 'nan', ['x']])
def test_a_score_that_is_no_number_is_kept_as_text(written):
    note = as_annotation({'score': written, 'metadata': {'a': 1}})
    assert note.score is None and note.metadata=={'a': 1, 'unread_score': str(written)}
    assert as_annotation(record_row(note))==note
