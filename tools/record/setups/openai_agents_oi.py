"OpenAI's Agents SDK watched by OpenInference."
import agents
from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, function_tool
from harness import CHAT, PIXEL, STUB, SYSTEM, root, say, scenario, tracing, use
from openinference.instrumentation import using_session
from openinference.instrumentation.openai_agents import OpenAIAgentsInstrumentor
from pydantic import BaseModel

OpenAIAgentsInstrumentor().instrument(tracer_provider=tracing())
client = agents.AsyncOpenAI(base_url=f'{STUB}/v1', api_key='none', max_retries=0)
model = OpenAIResponsesModel('gpt-4o-mini', client)
chat = OpenAIChatCompletionsModel('gpt-4o-mini', client)

class Ticket(BaseModel):
    queue: str

@function_tool
def get_weather(city: str) -> str:
    """Weather of a city

    Args:
        city: name of the city
    """
    return '{"temp": 21}'

support = Agent(name='support', instructions=SYSTEM, model=model)
weather = Agent(name='weather_agent', instructions=SYSTEM, model=model, tools=[get_weather])
with scenario('simple', say('Within 30 days.'), agent='support'):
    first = Runner.run_sync(support, 'Refund policy?')
with scenario('history', say('Only with a receipt.'), agent='support'):
    Runner.run_sync(support, [*first.to_input_list(), dict(role='user', content='Without a receipt?')])
with scenario('tools', say(None, use('get_weather', city='Paris')), say('It is 21 degrees in Paris.'), agent='weather_agent'):
    Runner.run_sync(weather, 'Weather in Paris?')
both = say('I look at both.', use('get_weather', city='Oslo'), use('get_weather', city='Rome'))
with scenario('two tools at once', both, say('Both have 21 degrees.'), agent='weather_agent'), root('POST /weather'):
    Runner.run_sync(weather, 'Weather in Oslo and Rome?')
with scenario('hand-over', say(None, use('transfer_to_weather_agent')), say('Bern has 21 degrees.'), agent='weather_agent'):
    Runner.run_sync(Agent(name='triage', instructions='Hand over.', model=model, handoffs=[weather]), 'Weather in Bern?')
with scenario('structured', say('{"queue":"refunds"}'), agent='router'):
    Runner.run_sync(Agent(name='router', instructions='Route the ticket.', model=model, output_type=Ticket), 'I want my money back.')
with scenario('reasoning', say('The answer is 42.', reasoning='Six times seven.'), agent='support'):
    Runner.run_sync(support, 'Six times seven?')
with scenario('image', say('It shows a broken screen.'), agent='support'):
    parts = [dict(type='input_text', text='What is broken?'), dict(type='input_image', image_url=f'data:image/png;base64,{PIXEL}', detail='auto')]
    Runner.run_sync(support, [dict(role='user', content=parts)])
with scenario('previous id', say('Then that.'), agent='support'):
    Runner.run_sync(support, 'And then?', previous_response_id=first.last_response_id)
talker = Agent(name='talker', instructions=SYSTEM, model=chat, tools=[get_weather], model_settings=ModelSettings(temperature=0))
with scenario('chat completions', say(None, use('get_weather', city='Graz')), say('Graz has 21 degrees.'), agent='talker'):
    Runner.run_sync(talker, 'Weather in Graz?')
items = []
for n,(question, said) in enumerate((('My router is slow.', 'Please restart it.'), ('Still slow.', 'I will send a technician.'))):
    with scenario(f'session turn {n}', say(said), agent='support'), root('POST /turn', session=CHAT), using_session(CHAT):
        items = Runner.run_sync(support, [*items, dict(role='user', content=question)]).to_input_list()
