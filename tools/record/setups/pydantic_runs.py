"Runs of Pydantic AI agents; the set-ups differ in what becomes of their spans."
import base64

from harness import CHAT, PIXEL, STUB, SYSTEM, root, say, scenario, use
from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent, ModelRetry
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

served = OpenAIProvider(base_url=f'{STUB}/v1', api_key='none')
model = OpenAIChatModel('gpt-4o-mini', provider=served)

class Ticket(BaseModel):
    queue: str

def get_weather(city: str) -> dict:
    """Weather of a city

    Args:
        city: name of the city
    """
    if city=='Atlantis':
        raise ModelRetry('no such city; ask for another')
    return dict(temp=21)

def run():
    "All of them."
    support = Agent(model, name='support', system_prompt=SYSTEM)
    weather = Agent(model, name='weather_agent', system_prompt=SYSTEM, tools=[get_weather])
    with scenario('simple', say('Within 30 days.'), agent='support'):
        first = support.run_sync('Refund policy?')
    with scenario('history', say('Only with a receipt.'), agent='support'):
        support.run_sync('Without a receipt?', message_history=first.all_messages())
    with scenario('tools', say(None, use('get_weather', city='Paris')), say('It is 21 degrees in Paris.'), agent='weather_agent'):
        weather.run_sync('Weather in Paris?')
    both = say('I look at both.', use('get_weather', city='Oslo'), use('get_weather', city='Rome'))
    with scenario('two tools at once', both, say('Both have 21 degrees.'), agent='weather_agent'), root('POST /weather'):
        weather.run_sync('Weather in Oslo and Rome?')
    retried = say(None, use('get_weather', city='Atlantis')), say('I know no such city.')
    with scenario('tool that refuses', *retried, agent='weather_agent'):
        weather.run_sync('Weather in Atlantis?')
    with scenario('structured', say(None, use('final_result', queue='refunds')), agent='router'):
        Agent(model, name='router', system_prompt='Route the ticket.', output_type=Ticket).run_sync('I want my money back.')
    with scenario('image', say('It shows a broken screen.'), agent='support'):
        support.run_sync(['What is broken?', BinaryContent(base64.b64decode(PIXEL), media_type='image/png')])
    with scenario('instructions', say('By card or by invoice.'), agent='support'):
        Agent(model, name='support', instructions=SYSTEM).run_sync('How do I pay?')
    with scenario('reasoning', say('The answer is 42.', reasoning='Six times seven.'), agent='support'):
        support.run_sync('Six times seven?')
    with scenario('length', say('The policy begins with', finish='length'), agent='support'):
        support.run_sync('The whole policy, please.')
    with scenario('responses', say(None, use('get_weather', city='Graz')), say('Graz has 21 degrees.'), agent='weather_agent'):
        told = OpenAIResponsesModel('gpt-4o-mini', provider=served)
        Agent(told, name='weather_agent', instructions=SYSTEM, tools=[get_weather]).run_sync('Weather in Graz?')
    history = []
    for n,(question, said) in enumerate((('My router is slow.', 'Please restart it.'), ('Still slow.', 'I will send a technician.'))):
        with scenario(f'session turn {n}', say(said), agent='support'), root('POST /turn', session=CHAT):
            history = support.run_sync(question, message_history=history).all_messages()
