"smolagents watched by OpenInference."
from harness import CHAT, STUB, SYSTEM, root, say, scenario, tracing, use
from openinference.instrumentation import using_session
from openinference.instrumentation.smolagents import SmolagentsInstrumentor
from smolagents import CodeAgent, OpenAIModel, ToolCallingAgent, tool
from smolagents.models import ChatMessage, MessageRole

SmolagentsInstrumentor().instrument(tracer_provider=tracing())
model = OpenAIModel('gpt-4o-mini', api_base=f'{STUB}/v1', api_key='none', client_kwargs=dict(max_retries=0))

@tool
def get_weather(city: str) -> str:
    """Weather of a city

    Args:
        city: name of the city
    """
    return '{"temp": 21}'

with scenario('plain call', say('Within 30 days.')):
    text = dict(type='text', text='Refund policy?')
    model.generate([ChatMessage(MessageRole.SYSTEM, [dict(type='text', text=SYSTEM)]), ChatMessage(MessageRole.USER, [text])])
loop = say(None, use('get_weather', city='Paris')), say(None, use('final_answer', answer='It is 21 degrees in Paris.'))
with scenario('tool calling agent', *loop, agent='weather_agent'):
    ToolCallingAgent(tools=[get_weather], model=model, name='weather_agent', description='Weather', verbosity_level=0).run('Weather in Paris?')
code = 'Thought: I look.\n<code>\nfinal_answer(get_weather("Oslo"))\n</code>'
with scenario('code agent', say(code)), root('POST /code'):
    CodeAgent(tools=[get_weather], model=model, verbosity_level=0).run('Weather in Oslo?')
talker = ToolCallingAgent(tools=[], model=model, verbosity_level=0)
for n,(question, said) in enumerate((('My router is slow.', 'Please restart it.'), ('Still slow.', 'I will send a technician.'))):
    with scenario(f'session turn {n}', say(None, use('final_answer', answer=said))), using_session(CHAT):
        talker.run(question, reset=n==0)
