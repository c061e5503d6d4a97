"Calls of the Anthropic SDK, as an application makes them; the set-ups differ in what watches them."
from contextlib import contextmanager

import anthropic
from harness import CHAT, PARAMETERS, PIXEL, STUB, SYSTEM, root, say, scenario, use

MODEL = 'claude-sonnet-4-5'
TOOL = dict(name='get_weather', description='Weather of a city', input_schema=PARAMETERS)
client = anthropic.Anthropic(base_url=STUB, api_key='none', max_retries=0)

def user(content):
    return dict(role='user', content=content)

def create(messages, **more):
    return client.messages.create(model=MODEL, max_tokens=100, messages=messages, **{'system': SYSTEM, **more})

def tool_loop(messages):
    "Calls until no tool is asked for."
    while True:
        said = create(messages, tools=[TOOL])
        messages.append(dict(role='assistant', content=[b.model_dump(exclude_none=True) for b in said.content]))
        results = [dict(type='tool_result', tool_use_id=b.id, content='{"temp": 21}') for b in said.content if b.type=='tool_use']
        if not results:
            return said.content[0].text
        messages.append(user(results))

def texts():
    with scenario('simple', say('Within 30 days.')):
        create([user('Refund policy?')])
    with scenario('no system', say('Hello, how can I help?')):
        client.messages.create(model=MODEL, max_tokens=100, messages=[user('Hi')])
    with scenario('history', say('Only with a receipt.')):
        create([user('Refund policy?'), dict(role='assistant', content='Within 30 days.'), user('Without a receipt?')])
    with scenario('blocks', say('Both are covered.')):
        create([user([dict(type='text', text='My screen broke.'), dict(type='text', text='And the battery?')])], system=[dict(type='text', text=SYSTEM)])
    with scenario('stream', say('Yes, we ship to Norway.')):
        for _ in create([user('Do you ship to Norway?')], stream=True):
            pass
    with scenario('stream helper', say('No, not to Chile.')), client.messages.stream(model=MODEL, max_tokens=100, system=SYSTEM, messages=[user('And to Chile?')]) as stream:
        stream.until_done()

def shapes():
    with scenario('image', say('It shows a broken screen.')):
        picture = dict(type='image', source=dict(type='base64', media_type='image/png', data=PIXEL))
        create([user([picture, dict(type='text', text='What is broken?')])])
    with scenario('empty answer', say()):
        create([user('Say nothing.')])
    with scenario('length', say('The policy begins with', finish='length')):
        create([user('The whole policy, please.')])
    with scenario('thinking', say('The answer is 42.', reasoning='Six times seven.')):
        create([user('Six times seven?')])
    with scenario('json texts', say('{"queue": "refunds"}')):
        create([user('{"ticket": "I want my money back."}')], system='Answer in JSON.')
    with scenario('failed', say('overloaded', status=500)):
        create([user('Are you there?')])

def tools(context):
    with scenario('tools', say(None, use('get_weather', city='Paris')), say('It is 21 degrees in Paris.')):
        tool_loop([user('Weather in Paris?')])
    both = say('I look at both.', use('get_weather', city='Oslo'), use('get_weather', city='Rome'))
    with scenario('two tools at once', both, say('Both have 21 degrees.')), root('POST /weather'):
        tool_loop([user('Weather in Oslo and Rome?')])
    with scenario('tool stream', say('One moment.', use('get_weather', city='Lima'))):
        for _ in create([user('Weather in Lima?')], tools=[TOOL], stream=True):
            pass
    with scenario('agent root', say(None, use('get_weather', city='Bern')), say('Bern has 21 degrees.'), agent='weather_agent'):
        with root('weather_agent', agent='weather_agent', question='Weather in Bern?') as span:
            span.set_attribute('output.value', tool_loop([user('Weather in Bern?')]))
    messages = []
    for n,(question, said) in enumerate((('My router is slow.', 'Please restart it.'), ('Still slow.', 'I will send a technician.'))):
        messages.append(user(question))
        with scenario(f'session turn {n}', say(said)), root('POST /turn', session=CHAT), context(CHAT):
            messages.append(dict(role='assistant', content=create(messages).content[0].text))

@contextmanager
def no_context(session):
    yield

def run(context=no_context):
    texts()
    shapes()
    tools(context)
