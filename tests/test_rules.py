"What annotations of a name mean"
import json
from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from ftkit.core import FtkitError, plain
from ftkit.data.examples import examples, preference_pairs
from ftkit.data.judged import judge
from ftkit.data.rules import APPROVING, fold_label, parse_rule, REJECTING, Rule, rules_of_configs
from ftkit.data.verdicts import AnnotationPolicy, settle_verdicts
from ftkit.telemetry.spans import as_annotation, as_span

def note(name='review', label=None, score=None, who='mara', kind='HUMAN', day=1, on='s', **metadata):
    return as_annotation(dict(span_id=on, name=name, label=label, score=score, identifier=who, annotator_kind=kind, updated_at=f'2026-01-{day:02}T00:00:00Z', metadata=metadata))
def call(i='s', answer='21 degrees', user='Weather?'): return as_span(dict(span_id=i, trace_id='t', span_kind='LLM', attributes={'llm.input_messages': [{'message': {'role': 'user', 'content': user}}], 'llm.output_messages': [{'message': {'role': 'assistant', 'content': answer}}]}))
def verdict(*notes, **policy):
    got = settle_verdicts(notes, AnnotationPolicy(**policy))
    return got if isinstance(got, str) else got.approved

def test_the_rules_of_the_contract():
    rules = dict(correctness=Rule(approve='correct'), stars=Rule(scale=(1, 5), approve=4))
    assert verdict(note('correctness', 'Correct'), rules=rules) is True
    assert [verdict(note('stars', score=n), rules=rules) for n in (1, 3.9, 4, 5)]==[False, False, True, True]
    assert verdict(note('stars', score=9), rules=rules)=='score outside the scale of stars'

def test_a_policy_with_rules_comes_back_from_a_file():
    policy = AnnotationPolicy(rules=dict(stars=Rule(scale=(1, 5), approve=4), tone=Rule(approve=('good', 'fine'), reject='bad')))
    stored = json.loads(json.dumps(plain(policy)))
    assert AnnotationPolicy(**stored)==replace(policy, approved=stored['approved'], rejected=stored['rejected'], correction_keys=stored['correction_keys'])

@pytest.mark.parametrize('wrong, said', [(dict(stars=4), 'the rule for stars is 4'), (dict(stars=dict(aprove=4)), 'has aprove'), (['stars'], 'is no mapping'), (dict(stars=dict(scale=5)), 'lowest and a highest'), (dict(stars=dict(direction='up')), 'direction'), (dict(stars=dict(approve=[1, 2])), 'neither labels nor a score')])
def test_a_wrong_rule_is_named(wrong, said):
    with pytest.raises(FtkitError, match=said): AnnotationPolicy(rules=wrong)

@pytest.mark.parametrize('label', ['Thumbs Up', 'thumbs_up', 'THUMBS-UP', '👍', '👍🏿', 'factual', 'Non-Toxic', 'safe', 'Relevant', 'faithful', 'PASS'])
def test_words_of_praise_are_known(label): assert verdict(note(label=label)) is True

@pytest.mark.parametrize('label', ['thumbs down', '👎🏻', 'hallucinated', 'toxic', 'unsafe', 'irrelevant', 'unfaithful', 'FAIL'])
def test_words_of_blame_are_known(label): assert verdict(note('hallucination', label, 1., kind='LLM', direction='minimize')) is False

def test_no_word_praises_and_blames(): assert not {fold_label(l) for l in APPROVING} & {fold_label(l) for l in REJECTING}

@given(st.sampled_from([*APPROVING, *REJECTING]), st.sampled_from([str.upper, str.title, lambda s: f' {s} ', lambda s: s.replace(' ', '_')]))
def test_a_label_is_read_however_it_is_spelled(label, change): assert verdict(note(label=change(label))) is (label in APPROVING)

def test_a_name_that_blames_is_better_the_lower_it_is():
    assert [verdict(note('toxicity', score=s, kind='LLM')) for s in (.1, .9)]==[True, False]

def test_a_bare_score_that_evaluators_read_both_ways_stops_the_run():
    calls = [call('a'), call('b', answer='other')]
    with pytest.raises(FtkitError, match='hallucination: some evaluators count it up'): examples(judge(calls, [note('hallucination', score=.9, kind='LLM', on='a')]))
    explained = AnnotationPolicy(rules=dict(hallucination=Rule(direction='minimize')))
    assert len(examples(judge(calls, [note('hallucination', score=.1, kind='LLM', on='a')], explained)))==1
    assert len(examples(judge(calls, [note('hallucination', score=.1, kind='LLM', on='a', direction='minimize')])))==1

def test_scores_of_two_scales_side_by_side_need_no_common_threshold():
    policy, calls = AnnotationPolicy(rules=dict(stars=Rule(scale=(1, 5), approve=4))), [call('a'), call('b', answer='other')]
    got = judge(calls, [note('stars', score=5, on='a'), note('quality', score=.9, on='b')], policy)
    assert [(c.span.span_id, r.approved, r.score) for c,r in got.calls]==[('a', True, 1.), ('b', True, .9)]
    with pytest.raises(FtkitError, match=r'stars runs from 5 to 5.*Rule\(scale=\(5, 5\)'): judge(calls, [note('stars', score=5, on='a')])

def test_configs_of_phoenix_are_rules():
    rules = rules_of_configs([dict(name='halluc', optimization_direction='MINIMIZE', values=[dict(label='made up', score=1), dict(label='true to source', score=0)]), dict(name='stars', optimization_direction='MAXIMIZE', lower_bound=1, upper_bound=5), dict(name='refusal', optimization_direction='NEUTRAL', lower_bound=0, upper_bound=1), dict(name='note')])
    assert rules=={'halluc': Rule(approve=('true to source',), reject=('made up',)), 'stars': Rule(scale=(1, 5), direction='maximize'), 'refusal': Rule(direction='neutral')}
    assert [verdict(note('halluc', l), rules=rules) for l in ('made up', 'True To Source')]==[False, True]
    assert [verdict(note('stars', score=s), rules=rules) for s in (2, 3, 4)]==[False, True, True]
    assert verdict(note('refusal', 'yes', 1.), rules=rules)=='neutral by its rule: refusal'

def test_a_rule_is_typed_in_one_word():
    assert parse_rule('stars:approve=4,scale=1..5')==('stars', Rule(approve=4, scale=(1, 5)))
    for wrong in ('stars', 'stars:', ':approve=4', 'stars:approve'):
        with pytest.raises(FtkitError, match='is no rule'): parse_rule(wrong)

# --- people

def test_one_person_under_two_names_is_one_person():
    assert verdict(note('tone', 'bad', day=1), note('review', 'good', day=2)) is True
    assert verdict(note('tone', 'bad', who='joel'), note('review', 'good'))=='people disagree'
    assert verdict(note('tone', 'bad', who='', day=1), note('review', 'good', who='', day=2))=='people disagree', 'nobody knows that these are one person'

def test_a_tie_with_a_correction_is_a_pair():
    judged = judge([call(answer='20 degrees')], [note(label='approved'), note(label='rejected', who='joel', correction='21 degrees')])
    pair, = preference_pairs(judged)
    assert (pair.chosen, pair.rejected)==('21 degrees', '20 degrees')
    assert judge([call()], [note(label='approved'), note(label='rejected', who='joel')]).reasons=={'people disagree': 1}

@pytest.mark.parametrize('margin, n', [(None, 0), (.2, 1), (.4, 0)])
def test_ratings_that_differ_by_a_margin_are_a_pair(margin, n):
    calls, notes = [call('a', 'good'), call('b', 'better')], [note(score=.6, on='a'), note(score=.9, on='b')]
    policy = AnnotationPolicy(pair_margin=margin)
    pairs = preference_pairs(judge(calls, notes, policy), policy)
    assert len(pairs)==n and all((p.chosen, p.rejected)==('better', 'good') for p in pairs)
