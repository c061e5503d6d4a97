"Calls of the OpenAI SDK, as an application makes them; the set-ups differ in what watches them."
import asyncio
import json
from contextlib import contextmanager

import openai
from harness import CHAT, PIXEL, STUB, SYSTEM, WEATHER, root, say, scenario, use

MODEL = 'gpt-4o-mini'
TOOL = dict(type='function', function=WEATHER)
FLAT_TOOL = dict(type='function', **WEATHER)
SCHEMA = dict(name='route', strict=True, schema=dict(type='object', additionalProperties=False, required=['queue'], properties=dict(queue=dict(type='string'))))
client = openai.OpenAI(base_url=f'{STUB}/v1', api_key='none', max_retries=0)
client_async = openai.AsyncOpenAI(base_url=f'{STUB}/v1', api_key='none', max_retries=0)

def system(text=SYSTEM):
    return dict(role='system', content=text)

def user(content):
    return dict(role='user', content=content)

def chat(messages, **more):
    return client.chat.completions.create(model=MODEL, messages=messages, **more)

def answer(messages, **more):
    "A call after which the history holds what was said."
    said = chat(messages, **more).choices[0].message
    messages.append(said.model_dump(exclude_none=True))
    return said

def tool_loop(messages, **more):
    "Calls until no tool is asked for."
    while calls := answer(messages, tools=[TOOL], **more).tool_calls:
        for c in calls:
            city = json.loads(c.function.arguments)['city']
            messages.append(dict(role='tool', tool_call_id=c.id, content=json.dumps(dict(city=city, temp=21))))
    return messages[-1]['content']

def read_stream(stream):
    for _ in stream:
        pass

def texts():
    "Calls that are answered with words."
    with scenario('simple', say('Within 30 days.')):
        chat([system(), user('Refund policy?')], temperature=0)
    with scenario('no system', say('Hello, how can I help?')):
        chat([user('Hi')])
    with scenario('history', say('Only with a receipt.')):
        chat([system(), user('Refund policy?'), dict(role='assistant', content='Within 30 days.'), user('Without a receipt?')])
    with scenario('developer', say('Two to four days.')):
        chat([dict(role='developer', content=SYSTEM), user('How long does delivery take?')])
    with scenario('text parts', say('Both are covered.')):
        chat([system(), user([dict(type='text', text='My screen broke.'), dict(type='text', text='And the battery?')])])
    with scenario('unicode', say('Natürlich – 30 Tage. 是的 🙂')):
        chat([system('Du hilfst „Acme“.'), user('Kann ich zurückgeben?\n\n\tEs ist «neu».')])
    with scenario('json texts', say('[1, 2, 3]')):
        chat([system(), user('{"question": "Sort these", "items": [3, 1, 2]}')])
    with scenario('async', say('By card or by invoice.')):
        asyncio.run(client_async.chat.completions.create(model=MODEL, messages=[system(), user('How do I pay?')]))

def shapes():
    "Answers of other kinds."
    with scenario('stream', say('Yes, we ship to Norway.')):
        read_stream(chat([system(), user('Do you ship to Norway?')], stream=True))
    with scenario('stream with usage', say('No, not to Chile.')):
        read_stream(chat([system(), user('And to Chile?')], stream=True, stream_options=dict(include_usage=True)))
    with scenario('three choices', say(choices=['First.', 'Second.', 'Third.'])):
        chat([system(), user('A slogan?')], n=3)
    with scenario('image', say('It shows a broken screen.')):
        chat([system(), user([dict(type='text', text='What is broken?'), dict(type='image_url', image_url=dict(url=f'data:image/png;base64,{PIXEL}'))])])
    with scenario('empty answer', say('')):
        chat([system(), user('Say nothing.')])
    with scenario('length', say('The policy begins with', finish='length')):
        chat([system(), user('The whole policy, please.')], max_tokens=5)
    with scenario('structured', say('{"queue":"refunds"}')):
        chat([system('Route the ticket.'), user('I want my money back.')], response_format=dict(type='json_schema', json_schema=SCHEMA))
    with scenario('reasoning', say('The answer is 42.', reasoning='Six times seven.')):
        chat([system(), user('Six times seven?')])
    with scenario('failed', say('overloaded', status=500)):
        chat([system(), user('Are you there?')])

def tools():
    "Answers that ask for tools, and what follows."
    loop = say(None, use('get_weather', city='Paris')), say('It is 21 degrees in Paris.')
    with scenario('tools', *loop):
        tool_loop([system(), user('Weather in Paris?')])
    both = say('I look at both.', use('get_weather', city='Oslo'), use('get_weather', city='Rome'))
    with scenario('two tools at once', both, say('Both have 21 degrees.')), root('POST /weather'):
        tool_loop([system(), user('Weather in Oslo and Rome?')])
    with scenario('tool stream', say(None, use('get_weather', city='Lima'))):
        read_stream(chat([system(), user('Weather in Lima?')], tools=[TOOL], stream=True))
    with scenario('tools offered only', say('Gladly.')):
        chat([system(), user('Thanks!')], tools=[TOOL])
    with scenario('no arguments', say(None, use('list_cities'))):
        chat([system(), user('Which cities?')], tools=[dict(type='function', function=dict(name='list_cities', description='All cities', parameters=dict(type='object', properties={})))])

def below_roots(context):
    "Calls below a span of the application."
    with scenario('plain root', say('Open from nine to five.')), root('GET /answer'):
        chat([system(), user('Opening hours?')])
    with scenario('agent root', say(None, use('get_weather', city='Bern')), say('Bern has 21 degrees.'), agent='weather_agent'):
        with root('weather_agent', agent='weather_agent', question='Weather in Bern?') as span:
            span.set_attribute('output.value', tool_loop([system(), user('Weather in Bern?')]))
    with scenario('title after the answer', say('It costs 20 euros.'), say('Price of a plan'), answer=0, agent='sales'):
        with root('sales', agent='sales', question='What does it cost?') as span:
            span.set_attribute('output.value', chat([system(), user('What does it cost?')]).choices[0].message.content)
            chat([system('Give this chat a title.'), user('What does it cost?\nIt costs 20 euros.')])
    messages = [system()]
    for n,(question, said) in enumerate((('My router is slow.', 'Please restart it.'), ('Still slow.', 'I will send a technician.'))):
        messages.append(user(question))
        with scenario(f'session turn {n}', say(said)), root('POST /turn', session=CHAT), context(CHAT):
            answer(messages)

def responses():
    "The Responses API."
    create, told = client.responses.create, dict(model=MODEL, instructions=SYSTEM)
    with scenario('responses simple', say('Within 14 days.')):
        create(input='Exchange policy?', **told)
    with scenario('responses items', say('The green one.')):
        create(input=[user('Which is cheaper?'), dict(role='assistant', content='Red or green?'), user('Yes, of those.')], **told)
    with scenario('responses tools', say(None, use('get_weather', city='Graz')), say('Graz has 21 degrees.')):
        items = [user('Weather in Graz?')]
        first = create(input=items, tools=[FLAT_TOOL], **told)
        call = first.output[0]
        items += [dict(type='function_call', call_id=call.call_id, name=call.name, arguments=call.arguments)]
        items += [dict(type='function_call_output', call_id=call.call_id, output='{"temp": 21}')]
        create(input=items, tools=[FLAT_TOOL], **told)
    with scenario('responses previous id', say('First this.'), say('Then that.')):
        first = create(input='What first?', **told)
        create(input='And then?', previous_response_id=first.id, **told)
    with scenario('responses stream', say('Streams work too.')):
        read_stream(create(input='Do streams work?', stream=True, **told))
    with scenario('responses reasoning', say('It is 56.', reasoning='Seven times eight is 56.')):
        create(input='Seven times eight?', **told)
    with scenario('responses structured', say('{"queue":"sales"}')):
        create(input='I want to buy.', text=dict(format=dict(type='json_schema', **SCHEMA)), **told)
    with scenario('responses image', say('A cat.')):
        parts = [dict(type='input_text', text='What is it?'), dict(type='input_image', image_url=f'data:image/png;base64,{PIXEL}')]
        create(input=[user(parts)], **told)
    with scenario('responses developer', say('Certainly.')):
        create(model=MODEL, input=[dict(role='developer', content='Answer in one word.'), user('Can you help?')])
    with scenario('responses empty', say('')):
        create(input='Say nothing.', **told)
    with scenario('responses length', say('It begins', finish='length')):
        create(input='Tell all.', max_output_tokens=16, **told)

@contextmanager
def no_context(session):
    yield

def run(context=no_context):
    "All of them; `context` says which session a call belongs to, where the instrumentation has a way."
    texts()
    shapes()
    tools()
    below_roots(context)
    responses()
