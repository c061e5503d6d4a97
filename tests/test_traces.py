"Verdicts on traces of real instrumentations, beside what the models' servers received and sent"
import asyncio, importlib.util, json, shutil, sys
from collections import Counter
from pathlib import Path

import pytest

from ftkit.data.calls import read_call
from ftkit.data.extract import extraction
from ftkit.data.judged import judge
from ftkit.data.verdicts import AnnotationPolicy
from ftkit.telemetry.files import FileProvider
from ftkit.telemetry.spans import as_annotation, as_span

ROOT = Path(__file__).parent.parent

def tool(path):
    "A script of `tools` as a module"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module

score = tool(ROOT/'tools'/'record'/'score.py')
SILENT = {('openai_traceloop', 'responses previous id')} # its spans do not hold `previous_response_id`, and nobody can see that a turn is missing

@pytest.fixture(scope='module')
def outcomes(): return {s: score.outcomes(score.ftkit_reader, s) for s in score.setups()}

@pytest.mark.parametrize('setup', score.setups())
def test_every_verdict_becomes_its_row_or_is_left_out_with_a_reason(outcomes, setup):
    bad = [(how, e and (e['name'], e['scenario']), row and row['span_id']) for e,row,how in outcomes[setup] if how in ('wrong', 'stray', 'missing', 'kept')]
    assert [b for b in bad if (setup, b[1] and b[1][1]) not in SILENT]==[]

def test_what_is_right_is_nearly_all(outcomes):
    assert len(outcomes)==17
    found = Counter((e['name'].partition('_')[0], how) for of in outcomes.values() for e,_,how in of if e)
    for place in ('call', 'root', 'trace', 'session'):
        right = found[place, 'right']
        answered = sum(n for (p, how),n in found.items() if p==place and how!='left out')
        assert answered and right/answered>=.95, (place, right, answered)
    assert found['call', 'right']/sum(n for (p, how),n in found.items() if p=='call' and how not in ('left out', 'lossy'))>=.98

def test_agents_have_the_names_that_the_application_gave_them(outcomes):
    named = [row.get('agent')==e['agent'] for of in outcomes.values() for e,row,_ in of if e and row and e['agent']]
    assert len(named)>150 and sum(named)/len(named)>=.98

# --- the kinds, each in its smallest form

def span(i='s', kind='LLM', parent=None, trace='t', **attributes): return as_span(dict(span_id=i, trace_id=trace, parent_id=parent, span_kind=kind, name='n', start_time=f'2026-01-01T00:00:{len(i):02}Z', attributes=attributes))
def asked(text='Weather?', answer='21 degrees', **more): return {'llm.input_messages': [{'message': {'role': 'user', 'content': text}}], 'llm.output_messages': [{'message': {'role': 'assistant', 'content': answer}}], **more}
def said(i='s', label='approved', **on): return as_annotation(dict(name='review', label=label, identifier='mara', **(on or dict(span_id=i))))
def only(spans, notes, **kw):
    (call, rating), = judge(spans, notes, AnnotationPolicy(**kw)).calls
    return call, rating
def reasons(spans, notes, **kw): return judge(spans, notes, AnnotationPolicy(**kw)).reasons

def test_reasoning_is_kept_apart_from_the_answer():
    parts = [{'message_content': {'type': 'reasoning', 'text': '6 x 7'}}, {'message_content': {'type': 'text', 'text': 'It is 42.'}}]
    call, _ = only([span(**{**asked(), 'llm.output_messages': [{'message': {'role': 'assistant', 'contents': parts}}]})], [said()])
    assert (call.answer, call.reasoning)==('It is 42.', '6 x 7')
    call, _ = only([span(**asked(answer='<think>6 x 7</think>\n\nIt is 42.'))], [said()])
    assert (call.answer, call.reasoning)==('It is 42.', '6 x 7')

def test_the_first_of_several_choices_is_the_answer_and_pieces_of_one_choice_belong_together():
    three = [{'message': {'role': 'assistant', 'content': t}} for t in ('one', 'two', 'three')]
    choices = dict(asked(), **{'llm.output_messages': three})
    assert only([span(**choices, **{'llm.invocation_parameters': '{"n": 3}'})], [said()])[0].answer=='one'
    assert only([span(**choices)], [said()])[0].answer=='one\ntwo\nthree'

@pytest.mark.parametrize('part, why', [({'type': 'image', 'image': {'image': {'url': 'data:'}}}, 'has a picture'), ({'type': 'input_audio'}, 'has audio'), ({'type': 'file'}, 'has a file')])
def test_a_picture_is_never_a_text_row_without_it(part, why):
    contents = [{'message_content': {'type': 'text', 'text': 'What is it?'}}, {'message_content': part}]
    judged = [span(**{**asked(), 'llm.input_messages': [{'message': {'role': 'user', 'contents': contents}}]})]
    assert reasons(judged, [said()])=={why: 1} and judge(judged, [said()]).annotations.dropped=={f'left out: {why}': 1}

def test_a_history_at_the_provider_is_named():
    assert reasons([span(**asked(), **{'input.value': '{"input": "And then?", "previous_response_id": "resp_1"}'})], [said()])=={'its history is kept by the provider (previous_response_id)': 1}

def test_an_empty_message_after_a_tool_call_is_named():
    call = {'tool_call': {'id': 'c', 'function': {'name': 'find', 'arguments': '{}'}}}
    messages = [{'message': {'role': 'user', 'content': 'Weather?'}}, {'message': {'role': 'assistant', 'tool_calls': [call]}}, {'message': {'role': 'user'}}]
    assert reasons([span(**{**asked(), 'llm.input_messages': messages})], [said()])=={'a part of it was not recorded': 1}

def test_arguments_that_are_no_json_leave_the_row_out():
    call = {'tool_call': {'function': {'name': 'find', 'arguments': 'city: Bern'}}}
    assert reasons([span(**{**asked(), 'llm.output_messages': [{'message': {'role': 'assistant', 'tool_calls': [call]}}]})], [said()])=={'arguments of a tool call are no JSON': 1}

def test_a_span_without_content_says_what_to_switch_on():
    why, = reasons([span(**{'gen_ai.operation.name': 'chat', 'output.value': '{"id": "msg_1", "model": "m"}'})], [said()])
    assert 'switch content capture on' in why

def test_the_richer_of_two_lists_is_read():
    sent = json.dumps([{'role': 'user', 'parts': [{'type': 'text', 'content': 'Weather?'}]}, {'role': 'assistant', 'parts': [{'type': 'tool_call', 'id': 'c', 'name': 'find', 'arguments': {}}]}, {'role': 'tool', 'parts': [{'type': 'tool_call_response', 'id': 'c', 'result': {'temp': 21}}]}])
    lost = [{'message': {'role': 'user', 'content': 'Weather?'}}, {'message': {'role': 'assistant', 'tool_calls': [{'tool_call': {'id': 'c', 'function': {'name': 'find', 'arguments': '{}'}}}]}}, {'message': {'role': 'user'}}]
    call, _ = only([span(**{**asked(), 'llm.input_messages': lost, 'gen_ai.input.messages': sent})], [said()])
    assert call.messages[-1]==dict(role='tool', content='{"temp": 21}', tool_call_id='c')

@pytest.mark.parametrize('attributes', [
    {'gen_ai.prompt.0.role': 'user', 'gen_ai.prompt.0.content': 'Weather?', 'gen_ai.completion.0.content': '21 degrees', 'gen_ai.operation.name': 'chat'},
    {'gen_ai.input.messages': '[{"role": "user", "parts": [{"type": "text", "content": "Weather?"}]}]', 'gen_ai.output.messages': '[{"role": "assistant", "parts": [{"type": "text", "content": "21 degrees"}]}]', 'gen_ai.operation.name': 'chat'}])
def test_the_conventions_are_read_as_they_were_sent(attributes):
    call, _ = only([span(kind='UNKNOWN', **attributes)], [said()])
    assert (call.span.kind, call.messages, call.answer)==('LLM', [dict(role='user', content='Weather?')], '21 degrees')

def test_events_of_a_span_are_messages():
    events = [dict(name='gen_ai.user.message', attributes=dict(content='Weather?')), dict(name='gen_ai.choice', attributes=dict(message='{"content": "21 degrees"}'))]
    s = as_span(dict(span_id='s', trace_id='t', kind='CLIENT', events=events, attributes={'gen_ai.operation.name': 'chat'}))
    call, _ = only([s], [said()])
    assert (call.input, call.answer)==('Weather?', '21 degrees')

@pytest.mark.parametrize('told', [
    {'type': 'function', 'name': 'find', 'parameters': {'type': 'object', 'properties': {}}}, {'name': 'find', 'input_schema': {'type': 'object', 'properties': {}}},
    {'name': 'find', 'parameters': {'type': 'OBJECT', 'properties': {}}}, {'toolSpec': {'name': 'find', 'inputSchema': {'json': {'type': 'object', 'properties': {}}}}}])
def test_tools_come_in_one_form(told):
    call = read_call(span(**asked(), **{'llm.tools': [{'tool': {'json_schema': json.dumps(told)}}]}), {})
    assert json.loads(call.tools)==[dict(type='function', function=dict(name='find', parameters=dict(type='object', properties={})))]

# --- where a verdict lies

ROOT_OUT = '{"messages": [{"content": "Weather?"}, {"content": "21 degrees"}]}'
def trace(): return [span('r', 'CHAIN', **{'input.value': '{"state": {}}', 'output.value': ROOT_OUT}), span('aa', parent='r', **asked(answer='let me see')), span('bbb', parent='r', **asked()), span('cccc', parent='r', **asked(answer='Title'))]

@pytest.mark.parametrize('on', [dict(span_id='r'), dict(trace_id='t'), dict(session_id='c1')], ids=['root', 'trace', 'session'])
@pytest.mark.parametrize('credit, ids', [('answer', ['bbb']), ('last', ['cccc']), ('every', ['aa', 'bbb', 'cccc']), ('none', [])])
def test_a_verdict_goes_to_the_call_that_made_the_answer(on, credit, ids):
    spans = trace()
    spans[0].attributes['session'] = dict(id='c1')
    got = judge(spans, [said(**on)], AnnotationPolicy(credit=credit))
    assert [c.span.span_id for c,_ in got.calls]==ids
    assert got.annotations.seen==max(1, len(ids)) and sum(got.moved.values())==(credit!='none')

def test_no_row_is_made_of_the_arguments_of_a_root():
    alone = [span('r', 'CHAIN', **{'input.value': '{"state": {}}', 'output.value': ROOT_OUT})]
    assert reasons(alone, [said('r')])=={'not a model call': 1}
    unread = [span('r', 'CHAIN', **{'input.value': 'Weather?', 'output.value': '21 degrees'}), span('aa', parent='r', **{'gen_ai.operation.name': 'chat'})]
    assert judge(unread, [said('r')]).calls==[]

def test_two_spans_of_one_response_are_one_call():
    spans = [span('full', trace='t1', **asked(), **{'gen_ai.response.id': 'msg_1'}), span('empty', trace='t2', **{'output.value': '{"id": "msg_1", "model": "m"}'})]
    for on in (dict(span_id='empty'), dict(trace_id='t2'), dict(span_id='full')): assert only(spans, [said(**on)])[0].span.span_id=='full'

def test_a_frame_whose_leaf_recorded_nothing_is_the_call():
    assert only([span('frame', **asked()), span('leaf', parent='frame')], [said('frame')])[0].span.span_id=='frame'

def test_credit_is_one_of_four():
    with pytest.raises(ValueError, match='answer, last, every, none'): AnnotationPolicy(credit='most')

# --- agents

def test_a_project_that_names_no_agent_is_one_agent_and_says_so():
    spans = [span('a', **asked()), span('bb', **asked(text='And Rome?'))]
    got = extraction(spans, [said('a')], 'anything')
    assert len(got.sets['examples'])==1 and "no span names an agent: all of them were taken for 'anything'" in got.lines()
    named = [*spans, span('ccc', **asked(), **{'agent.name': 'sales'})]
    with pytest.raises(ValueError, match=r"no span has agent_type 'anything'; seen: sales \(1 spans\)"): extraction(named, [said('a')], 'anything')

@pytest.mark.parametrize('where', ['metadata.agent_type', 'agent.name', 'gen_ai.agent.name', 'agent_name', 'metadata.lc_agent_name', 'graph.node.id'])
def test_an_agent_is_found_where_instrumentations_write_it(where):
    spans = [span('r', 'AGENT', **{where: 'support'}), span('aa', parent='r', **asked())]
    assert only(spans, [said('aa')])[0].agent_type=='support'

def test_what_moved_is_told():
    assert 'verdicts that went to the call that answered: 1 from a trace' in extraction(trace(), [said(trace_id='t')]).lines()

def test_a_collectors_file_gives_what_the_stored_spans_give(tmp_path):
    at = score.FIXTURES/'raw_genai'
    shutil.copy(at/'otlp.jsonl.gz', tmp_path/'spans.jsonl.gz')
    async def read(): return [s async for batch in FileProvider(tmp_path).span_batches() for s in batch]
    spans = asyncio.run(read())
    stored, annotations, _ = score.load('raw_genai')
    def rows(spans): return sorted((c.span.span_id, c.input, c.answer, c.tools, c.agent_type, c.session_id) for c,_ in judge(spans, [as_annotation(a) for a in annotations]).calls)
    assert len(spans)==len(stored) and rows(spans)==rows([as_span(s) for s in stored])!=[]
