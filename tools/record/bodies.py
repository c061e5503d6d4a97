"""What a stub received and sent, as a chat: messages, answer and tools in the form of OpenAI's chat completions. Read from the
bodies alone, each by the documentation of its API."""
import json

def message(role, content='', calls=(), **more):
    "A chat message without empty parts."
    said = dict(role=role, content=content or '', tool_calls=list(calls), **more)
    return {k: v for k,v in said.items() if v not in (None, []) or k=='content'}

def call(name, arguments, id=None):
    "A tool call; its arguments as JSON text."
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return dict(id=id or '', type='function', function=dict(name=name, arguments=text or '{}'))

def function(name, description, parameters):
    "A tool in the form of OpenAI's chat completions."
    told = dict(name=name, description=description, parameters=parameters)
    return dict(type='function', function={k: v for k,v in told.items() if v is not None})

def joined(texts):
    "The texts of the parts of one message."
    return '\n'.join(t for t in texts if t)

def listed(content):
    "Content as a list of parts, whatever form it came in."
    return [dict(type='text', text=content)] if isinstance(content, str) else content or []

# -- chat completions

def chat_message(m):
    "A message of a request or an answer of chat completions."
    text = joined(p.get('text') for p in listed(m.get('content')))
    calls = [call(c['function']['name'], c['function']['arguments'], c.get('id')) for c in m.get('tool_calls') or ()]
    return message(m['role'], text, calls, tool_call_id=m.get('tool_call_id'))

def read_chat(request, response):
    "Messages, answer, tools, other answers."
    tools = [function(*map(t['function'].get, ('name', 'description', 'parameters'))) for t in request.get('tools') or ()]
    first, *others = [c['message'] for c in response.get('choices') or [dict(message=dict(role='assistant', content=None))]]
    said = dict(chat_message(first), reasoning=first.get('reasoning_content'))
    return [chat_message(m) for m in request['messages']], said, tools, len(others)

# -- the Responses API

def responses_item(item):
    "An item of the input or the output."
    kind = item.get('type', 'message')
    if kind=='function_call':
        return message('assistant', '', [call(item['name'], item['arguments'], item['call_id'])])
    if kind=='function_call_output':
        return message('tool', joined(p.get('text') for p in listed(item['output'])), tool_call_id=item['call_id'])
    if kind=='message':
        return message(item['role'], joined(p.get('text') for p in listed(item['content'])))

def one_turn(messages):
    "Assistant messages that follow each other are one."
    kept = []
    for m in messages:
        if kept and m['role']==kept[-1]['role']=='assistant':
            before = kept.pop()
            m = message('assistant', joined((before['content'], m['content'])), [*before.get('tool_calls', ()), *m.get('tool_calls', ())])
        kept.append(m)
    return kept

def read_responses(request, response):
    "Messages, answer, tools, other answers."
    items = [dict(role='user', content=request['input'])] if isinstance(request['input'], str) else request['input']
    told = [message('system', request['instructions'])] if request.get('instructions') else []
    tools = [function(*map(t.get, ('name', 'description', 'parameters'))) for t in request.get('tools') or ()]
    output = response.get('output') or []
    said = one_turn(filter(None, map(responses_item, output))) or [message('assistant')]
    thought = joined(s['text'] for i in output if i['type']=='reasoning' for s in i['summary'])
    return told+one_turn(filter(None, map(responses_item, items))), dict(said[0], reasoning=thought or None), tools, 0

# -- Anthropic messages, also through Bedrock's InvokeModel

def anthropic_messages(m):
    "A message, and the tool messages that it holds."
    parts = listed(m['content'])
    results = [p for p in parts if p['type']=='tool_result']
    yield from (message('tool', joined(b.get('text') for b in listed(p.get('content'))), tool_call_id=p['tool_use_id']) for p in results)
    calls = [call(p['name'], p['input'], p['id']) for p in parts if p['type']=='tool_use']
    if len(results)<len(parts) or not parts:
        yield message(m['role'], joined(p.get('text') for p in parts if p['type']=='text'), calls)

def read_anthropic(request, response):
    "Messages, answer, tools, other answers."
    told = [message('system', joined(p['text'] for p in listed(request['system'])))] if request.get('system') else []
    asked = [said for m in request['messages'] for said in anthropic_messages(m)]
    tools = [function(*map(t.get, ('name', 'description', 'input_schema'))) for t in request.get('tools') or ()]
    content = response.get('content') or []
    said, = anthropic_messages(dict(role='assistant', content=content))
    thought = joined(p.get('thinking') for p in content)
    return told+asked, dict(said, reasoning=thought or None), tools, 0

# -- Gemini

def gemini_messages(content):
    "A message, and the tool messages that it holds."
    parts = content.get('parts') or []
    results = [p['functionResponse'] for p in parts if 'functionResponse' in p]
    yield from (message('tool', json.dumps(r['response'])) for r in results)
    calls = [call(p['functionCall']['name'], p['functionCall'].get('args') or {}) for p in parts if 'functionCall' in p]
    if len(results)<len(parts) or not parts:
        role = 'assistant' if content.get('role')=='model' else content.get('role') or 'user'
        yield message(role, joined(p.get('text') for p in parts if not p.get('thought')), calls)

def read_gemini(request, response):
    "Messages, answer, tools, other answers."
    told = [m for m in gemini_messages(dict(request.get('systemInstruction') or {}, role='system')) if m['content']]
    asked = [said for c in request['contents'] for said in gemini_messages(c)]
    declared = [d for t in request.get('tools') or () for d in t.get('functionDeclarations', ())]
    tools = [function(d['name'], d.get('description'), d.get('parameters') or d.get('parametersJsonSchema')) for d in declared]
    first, *others = [c['content'] for c in response.get('candidates') or [dict(content=dict(role='model', parts=[]))]]
    said, = gemini_messages(first)
    thought = joined(p['text'] for p in first['parts'] if p.get('thought'))
    return told+asked, dict(said, reasoning=thought or None), tools, len(others)

# -- Bedrock's Converse

def converse_messages(m):
    "A message, and the tool messages that it holds."
    parts = m['content']
    results = [p['toolResult'] for p in parts if 'toolResult' in p]
    for r in results:
        yield message('tool', joined(json.dumps(c['json']) if 'json' in c else c.get('text') for c in r['content']), tool_call_id=r['toolUseId'])
    calls = [call(p['toolUse']['name'], p['toolUse']['input'], p['toolUse']['toolUseId']) for p in parts if 'toolUse' in p]
    if len(results)<len(parts) or not parts:
        yield message(m['role'], joined(p.get('text') for p in parts), calls)

def read_converse(request, response):
    "Messages, answer, tools, other answers."
    told = [message('system', joined(p['text'] for p in request['system']))] if request.get('system') else []
    asked = [said for m in request['messages'] for said in converse_messages(m)]
    specs = [t['toolSpec'] for t in (request.get('toolConfig') or {}).get('tools', ())]
    tools = [function(s['name'], s.get('description'), s['inputSchema']['json']) for s in specs]
    answer = response.get('output', {}).get('message') or dict(role='assistant', content=[])
    said, = converse_messages(answer)
    thought = joined(p['reasoningContent']['reasoningText']['text'] for p in answer['content'] if 'reasoningContent' in p)
    return told+asked, dict(said, reasoning=thought or None), tools, 0

READERS = dict(
    chat=read_chat, responses=read_responses, anthropic=read_anthropic, invoke=read_anthropic, gemini=read_gemini, converse=read_converse)
PICTURES = ('image_url', 'input_image', 'image', 'inlineData')

def has_picture(value):
    "Is there a picture anywhere in a request's messages?"
    if isinstance(value, list):
        return any(map(has_picture, value))
    if not isinstance(value, dict):
        return False
    return value.get('type') in PICTURES or any(k in ('inlineData', 'image') or has_picture(v) for k,v in value.items())

def read_exchange(exchange):
    "What one call of a model was: messages, answer, tools, and why it can be no row, if it cannot."
    request, response = exchange['request'], exchange['response']
    messages, answer, tools, others = READERS[exchange['api']](request, response)
    said = {k: v for k,v in answer.items() if v is not None}
    why = None
    if exchange['status']!=200:
        why = 'call failed'
    elif has_picture(request.get('messages') or request.get('contents') or request.get('input')):
        why = 'picture'
    elif request.get('previous_response_id'):
        why = 'history elsewhere'
    elif not said['content'].strip() and not said.get('tool_calls'):
        why = 'no answer'
    return dict(messages=messages, answer=said, tools=tools, others=others, left_out=why)
