"The sample shop: the same everywhere, and enough of everything."
from collections import Counter, defaultdict
from datetime import timedelta

import pytest

from ftkit.telemetry import samples
from ftkit.core import FtkitError
from ftkit.telemetry.spans import annotations_frame, frame_annotations, frame_spans, spans_frame


def answered(agent_type):
    "Spans of one agent type with its approved and rejected verdicts by people"
    spans, notes = samples.telemetry(agent_type)
    verdicts = defaultdict(set)
    for a in notes:
        if a.kind=='HUMAN' and a.target=='span': verdicts[a.span_id].add(a.label)
    return spans, notes, verdicts

def test_one_agent_type_alone_is_what_it_is_among_all():
    spans, notes = samples.telemetry()
    for name in samples.AGENTS:
        some, judged = samples.telemetry(name)
        assert set(s.span_id for s in some) <= set(s.span_id for s in spans)
        assert all(s in spans for s in some) and all(a in notes for a in judged)

def test_another_seed_tells_another_story():
    assert samples.telemetry('routing', 20, seed=1)[0] != samples.telemetry('routing', 20, seed=2)[0]

def test_every_annotation_judges_something_that_is_there():
    spans, notes = samples.telemetry()
    ids, sessions = {s.span_id: s for s in spans}, {s.session_id for s in spans}
    for a in notes:
        if a.target=='session': assert a.session_id in sessions
        else: assert a.span_id in ids
        if a.target=='document': assert a.document_position < len(ids[a.span_id].get('retrieval.documents'))

def test_times_end_before_until_and_cover_four_weeks():
    spans, _ = samples.telemetry('routing')
    assert all(samples.UNTIL-timedelta(days=28) <= s.start_time < samples.UNTIL for s in spans)
    recent = sum(s.start_time > samples.UNTIL-timedelta(days=7) for s in spans)
    assert .15 < recent/len(spans) < .35

def test_until_moves_everything():
    early, late = (samples.telemetry('search', 5, until=samples.UNTIL+timedelta(days=d))[0] for d in (0, 30))
    assert [b.start_time-a.start_time for a,b in zip(early, late)] == [timedelta(days=30)]*5

def test_routing_has_much_to_imitate_and_little_to_compare():
    spans, notes, verdicts = answered('routing')
    assert sum('approved' in v for v in verdicts.values()) >= 150
    assert sum('correction' in a.metadata for a in notes) < 15
    assert sum(len(v)==2 for v in verdicts.values()) >= 3, 'a few reviewers disagree'
    texts = [s.get('input.value') for s in spans if s.name!='ChatCompletion']
    assert len(texts)==len(set(texts)), 'no message twice'

def test_concierge_has_at_least_twenty_pairs():
    spans, notes, verdicts = answered('concierge')
    by_context = defaultdict(set)
    for s in spans: by_context[str(s.get('llm.input_messages'))] |= verdicts[s.span_id]
    corrected = sum('correction' in a.metadata for a in notes)
    assert corrected+sum(len(v)==2 for v in by_context.values()) >= 20

def test_wrapped_calls_say_the_same_twice():
    spans, _ = samples.telemetry('routing')
    ids = {s.span_id: s for s in spans}
    inner = [s for s in spans if s.parent_id]
    assert len(inner) >= 20
    for s in inner: assert s.get('llm') == ids[s.parent_id].get('llm') and s.trace_id == ids[s.parent_id].trace_id

def test_support_history_grows_with_each_turn():
    spans, _ = samples.telemetry('support')
    for session in {s.session_id for s in spans}:
        lengths = [len(s.get('llm.input_messages')) for s in spans if s.session_id==session]
        assert lengths == sorted(lengths) and len(lengths) >= 2
    tools = Counter(bool(s.get('llm.output_messages.0.message.tool_calls')) for s in spans)
    assert tools[True] >= 10

def test_frames_lose_nothing():
    spans, notes = samples.telemetry()
    assert frame_spans(spans_frame(spans)) == spans
    for target in ('span', 'document', 'session'):
        assert frame_annotations(annotations_frame(notes, target)) == [a for a in notes if a.target==target]

@pytest.mark.parametrize('n', [0, -1, 501])
def test_a_size_the_shop_does_not_have_is_refused(n):
    with pytest.raises(FtkitError, match='between 1 and 500'): samples.telemetry('routing', n)

@pytest.mark.parametrize('name', list(samples.AGENTS))
def test_the_largest_size_works(name): assert len(samples.telemetry(name, 500)[0]) >= 500
