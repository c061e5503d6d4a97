"LiteLLM watched by OpenInference."
import litellm
from harness import CHAT, PIXEL, STUB, SYSTEM, WEATHER, root, say, scenario, tracing, use
from openinference.instrumentation import using_session
from openinference.instrumentation.litellm import LiteLLMInstrumentor

LiteLLMInstrumentor().instrument(tracer_provider=tracing())
TOOL = dict(type='function', function=WEATHER)

def system():
    return dict(role='system', content=SYSTEM)

def user(content):
    return dict(role='user', content=content)

def ask(messages, model='openai/gpt-4o-mini', base=f'{STUB}/v1', **more):
    return litellm.completion(model=model, api_base=base, api_key='none', messages=messages, num_retries=0, **more)

def tool_loop(question):
    "One question, a tool, an answer."
    messages = [system(), user(question)]
    said = ask(messages, tools=[TOOL]).choices[0].message
    calls = [dict(id=c.id, type='function', function=dict(name=c.function.name, arguments=c.function.arguments)) for c in said.tool_calls]
    messages.append(dict(role='assistant', content=said.content, tool_calls=calls))
    messages += [dict(role='tool', tool_call_id=c['id'], content='{"temp": 21}') for c in calls]
    return ask(messages, tools=[TOOL]).choices[0].message.content

with scenario('simple', say('Within 30 days.')):
    ask([system(), user('Refund policy?')])
with scenario('history', say('Only with a receipt.')):
    ask([system(), user('Refund policy?'), dict(role='assistant', content='Within 30 days.'), user('Without a receipt?')])
with scenario('stream', say('Yes, we ship to Norway.')):
    for _ in ask([system(), user('Do you ship to Norway?')], stream=True):
        pass
with scenario('image', say('It shows a broken screen.')):
    ask([system(), user([dict(type='text', text='What is broken?'), dict(type='image_url', image_url=dict(url=f'data:image/png;base64,{PIXEL}'))])])
with scenario('three choices', say(choices=['First.', 'Second.', 'Third.'])):
    ask([system(), user('A slogan?')], n=3)
with scenario('empty answer', say('')):
    ask([system(), user('Say nothing.')])
with scenario('reasoning', say('The answer is 42.', reasoning='Six times seven.')):
    ask([system(), user('Six times seven?')])
with scenario('tools', say(None, use('get_weather', city='Paris')), say('It is 21 degrees in Paris.')):
    tool_loop('Weather in Paris?')
both = say('I look at both.', use('get_weather', city='Oslo'), use('get_weather', city='Rome'))
with scenario('two tools at once', both, say('Both have 21 degrees.')), root('POST /weather'):
    tool_loop('Weather in Oslo and Rome?')
with scenario('anthropic', say('By card or by invoice.')):
    ask([system(), user('How do I pay?')], 'anthropic/claude-sonnet-4-5', STUB)
messages = [system()]
for n,(question, said) in enumerate((('My router is slow.', 'Please restart it.'), ('Still slow.', 'I will send a technician.'))):
    messages.append(user(question))
    with scenario(f'session turn {n}', say(said)), root('POST /turn', session=CHAT), using_session(CHAT):
        messages.append(dict(role='assistant', content=ask(messages).choices[0].message.content))
