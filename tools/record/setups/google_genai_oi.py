"Google's SDK watched by OpenInference."
import base64

from google import genai
from google.genai import types
from harness import CHAT, PIXEL, STUB, SYSTEM, WEATHER, root, say, scenario, tracing, use
from openinference.instrumentation import using_session
from openinference.instrumentation.google_genai import GoogleGenAIInstrumentor

GoogleGenAIInstrumentor().instrument(tracer_provider=tracing())
MODEL = 'gemini-2.5-flash'
client = genai.Client(api_key='none', http_options=types.HttpOptions(base_url=STUB))

def config(**more):
    return types.GenerateContentConfig(**{'system_instruction': SYSTEM, **more})

def ask(contents, **more):
    return client.models.generate_content(model=MODEL, contents=contents, config=config(**more))

def turn(role, *parts):
    return types.Content(role=role, parts=[types.Part(text=p) if isinstance(p, str) else p for p in parts])

def tools():
    return [types.Tool(function_declarations=[types.FunctionDeclaration(name='get_weather', description='Weather of a city', parameters=dict(
        type='OBJECT', properties=dict(city=dict(type='STRING', description='name of the city')), required=['city']))])]

def tool_loop(question):
    "One question, a tool, an answer."
    contents = [turn('user', question)]
    said = ask(contents, tools=tools(), automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True))
    contents.append(said.candidates[0].content)
    results = [types.Part.from_function_response(name=c.name, response=dict(temp=21)) for c in said.function_calls]
    return ask([*contents, turn('user', *results)], tools=tools()).text

def get_weather(city: str) -> dict:
    "Weather of a city"
    return dict(temp=21)

assert WEATHER['name']==get_weather.__name__
with scenario('simple', say('Within 30 days.')):
    ask('Refund policy?')
with scenario('no config', say('Hello, how can I help?')):
    client.models.generate_content(model=MODEL, contents='Hi')
with scenario('history', say('Only with a receipt.')):
    ask([turn('user', 'Refund policy?'), turn('model', 'Within 30 days.'), turn('user', 'Without a receipt?')])
with scenario('parts', say('Both are covered.')):
    ask([turn('user', 'My screen broke.', 'And the battery?')])
with scenario('stream', say('Yes, we ship to Norway.')):
    for _ in client.models.generate_content_stream(model=MODEL, contents='Do you ship to Norway?', config=config()):
        pass
with scenario('image', say('It shows a broken screen.')):
    picture = types.Part.from_bytes(data=base64.b64decode(PIXEL), mime_type='image/png')
    ask([turn('user', 'What is broken?', picture)])
with scenario('empty answer', say('')):
    ask('Say nothing.')
with scenario('length', say('The policy begins with', finish='length')):
    ask('The whole policy, please.', max_output_tokens=5)
with scenario('thinking', say('The answer is 42.', reasoning='Six times seven.')):
    ask('Six times seven?', thinking_config=types.ThinkingConfig(include_thoughts=True))
with scenario('structured', say('{"queue": "refunds"}')):
    schema = dict(type='OBJECT', properties=dict(queue=dict(type='STRING')))
    ask('I want my money back.', response_mime_type='application/json', response_schema=schema)
with scenario('three candidates', say(choices=['First.', 'Second.', 'Third.'])):
    ask('A slogan?', candidate_count=3)
with scenario('failed', say('overloaded', status=500)):
    ask('Are you there?')
with scenario('tools', say(None, use('get_weather', city='Paris')), say('It is 21 degrees in Paris.')):
    tool_loop('Weather in Paris?')
both = say('I look at both.', use('get_weather', city='Oslo'), use('get_weather', city='Rome'))
with scenario('two tools at once', both, say('Both have 21 degrees.')), root('POST /weather'):
    tool_loop('Weather in Oslo and Rome?')
with scenario('automatic tools', say(None, use('get_weather', city='Bern')), say('Bern has 21 degrees.')):
    ask('Weather in Bern?', tools=[get_weather])
with scenario('agent root', say('Open from nine to five.'), agent='hours_agent'), root('hours_agent', agent='hours_agent', question='Opening hours?') as span:
    span.set_attribute('output.value', ask('Opening hours?').text)
chat = client.chats.create(model=MODEL, config=config())
for n,(question, said) in enumerate((('My router is slow.', 'Please restart it.'), ('Still slow.', 'I will send a technician.'))):
    with scenario(f'session turn {n}', say(said)), root('POST /turn', session=CHAT), using_session(CHAT):
        chat.send_message(question)
