"Bedrock through boto3, watched by OpenInference."
import base64, json

import boto3
from harness import CHAT, PARAMETERS, PIXEL, STUB, SYSTEM, root, say, scenario, tracing, use
from openinference.instrumentation import using_session
from openinference.instrumentation.bedrock import BedrockInstrumentor

BedrockInstrumentor().instrument(tracer_provider=tracing())
MODEL = 'anthropic.claude-3-haiku-20240307-v1:0'
client = boto3.client('bedrock-runtime', region_name='us-east-1', endpoint_url=STUB, aws_access_key_id='none', aws_secret_access_key='none')
TOOLS = dict(tools=[dict(toolSpec=dict(name='get_weather', description='Weather of a city', inputSchema=dict(json=PARAMETERS)))])

def user(*content):
    return dict(role='user', content=[dict(text=c) if isinstance(c, str) else c for c in content])

def ask(*messages, **more):
    return client.converse(modelId=MODEL, system=[dict(text=SYSTEM)], messages=list(messages), **more)['output']['message']

def tool_loop(question):
    "One question, a tool, an answer."
    said = ask(user(question), toolConfig=TOOLS)
    results = [dict(toolResult=dict(toolUseId=c['toolUse']['toolUseId'], content=[dict(json=dict(temp=21))])) for c in said['content'] if 'toolUse' in c]
    return ask(user(question), said, user(*results), toolConfig=TOOLS)['content'][0]['text']

with scenario('converse', say('Within 30 days.')):
    ask(user('Refund policy?'))
with scenario('history', say('Only with a receipt.')):
    ask(user('Refund policy?'), dict(role='assistant', content=[dict(text='Within 30 days.')]), user('Without a receipt?'))
with scenario('converse stream', say('Yes, we ship to Norway.')):
    for _ in client.converse_stream(modelId=MODEL, system=[dict(text=SYSTEM)], messages=[user('Do you ship to Norway?')])['stream']:
        pass
with scenario('invoke', say('Hello, how can I help?')):
    body = dict(anthropic_version='bedrock-2023-05-31', max_tokens=100, system=SYSTEM, messages=[dict(role='user', content='Hi')])
    client.invoke_model(modelId=MODEL, body=json.dumps(body))['body'].read()
with scenario('image', say('It shows a broken screen.')):
    ask(user('What is broken?', dict(image=dict(format='png', source=dict(bytes=base64.b64decode(PIXEL))))))
with scenario('empty answer', say()):
    ask(user('Say nothing.'))
with scenario('thinking', say('The answer is 42.', reasoning='Six times seven.')):
    ask(user('Six times seven?'))
with scenario('tools', say(None, use('get_weather', city='Paris')), say('It is 21 degrees in Paris.')):
    tool_loop('Weather in Paris?')
with scenario('agent root', say('I look.', use('get_weather', city='Bern')), say('Bern has 21 degrees.'), agent='weather_agent'):
    with root('weather_agent', agent='weather_agent', question='Weather in Bern?') as span:
        span.set_attribute('output.value', tool_loop('Weather in Bern?'))
for n,(question, said) in enumerate((('My router is slow.', 'Please restart it.'), ('Still slow.', 'I will send a technician.'))):
    with scenario(f'session turn {n}', say(said)), root('POST /turn', session=CHAT), using_session(CHAT):
        ask(user(question))
