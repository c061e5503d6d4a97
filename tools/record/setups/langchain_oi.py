"LangChain and LangGraph watched by OpenInference."
from typing import TypedDict

from harness import CHAT, PIXEL, STUB, SYSTEM, root, say, scenario, tracing, use
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, StateGraph
from openinference.instrumentation import using_session
from openinference.instrumentation.langchain import LangChainInstrumentor
from pydantic import BaseModel

LangChainInstrumentor().instrument(tracer_provider=tracing())
told = dict(model='gpt-4o-mini', base_url=f'{STUB}/v1', api_key='none', max_retries=0)
model = ChatOpenAI(**told)

class Ticket(BaseModel):
    "Where a ticket goes."
    queue: str

@tool
def get_weather(city: str) -> str:
    "Weather of a city"
    return '{"temp": 21}'

def ask(*messages, **more):
    return model.invoke(list(messages), **more)

def bare():
    "Calls without a chain."
    with scenario('simple', say('Within 30 days.')):
        ask(SystemMessage(SYSTEM), HumanMessage('Refund policy?'))
    with scenario('history', say('Only with a receipt.')):
        ask(SystemMessage(SYSTEM), HumanMessage('Refund policy?'), AIMessage('Within 30 days.'), HumanMessage('Without a receipt?'))
    with scenario('stream', say('Yes, we ship to Norway.')):
        list(model.stream([SystemMessage(SYSTEM), HumanMessage('Do you ship to Norway?')]))
    with scenario('image', say('It shows a broken screen.')):
        picture = dict(type='image_url', image_url=dict(url=f'data:image/png;base64,{PIXEL}'))
        ask(SystemMessage(SYSTEM), HumanMessage([dict(type='text', text='What is broken?'), picture]))
    with scenario('text parts', say('Both are covered.')):
        ask(SystemMessage(SYSTEM), HumanMessage([dict(type='text', text='My screen broke.'), dict(type='text', text='And the battery?')]))
    with scenario('three choices', say(choices=['First.', 'Second.', 'Third.'])):
        ChatOpenAI(n=3, **told).invoke([SystemMessage(SYSTEM), HumanMessage('A slogan?')])
    with scenario('empty answer', say('')):
        ask(SystemMessage(SYSTEM), HumanMessage('Say nothing.'))
    with scenario('length', say('The policy begins with', finish='length')):
        ask(SystemMessage(SYSTEM), HumanMessage('The whole policy, please.'))
    with scenario('bound tools', say('I look.', use('get_weather', city='Lima'))):
        model.bind_tools([get_weather]).invoke([SystemMessage(SYSTEM), HumanMessage('Weather in Lima?')])
    with scenario('responses', say('Within 14 days.')):
        ChatOpenAI(use_responses_api=True, **told).invoke([SystemMessage(SYSTEM), HumanMessage('Exchange policy?')])

def chains():
    "Chains of a prompt, a model and what reads its answer."
    prompt = ChatPromptTemplate.from_messages([('system', SYSTEM), ('user', '{question}')])
    with scenario('chain', say('By card or by invoice.')):
        (prompt | model | StrOutputParser()).invoke(dict(question='How do I pay?'))
    with scenario('structured', say('{"queue":"refunds"}')):
        (prompt | model.with_structured_output(Ticket)).invoke(dict(question='I want my money back.'))
    with scenario('structured by tool', say(None, use('Ticket', queue='sales'))):
        (prompt | model.with_structured_output(Ticket, method='function_calling')).invoke(dict(question='I want to buy.'))

def graphs():
    "Agents and graphs."
    weather = create_agent(model, tools=[get_weather], system_prompt=SYSTEM, name='support_agent')
    with scenario('agent', say(None, use('get_weather', city='Paris')), say('It is 21 degrees in Paris.'), agent='support_agent'):
        weather.invoke(dict(messages=[('user', 'Weather in Paris?')]))
    both = say('I look at both.', use('get_weather', city='Oslo'), use('get_weather', city='Rome'))
    with scenario('two tools at once', both, say('Both have 21 degrees.'), agent='support_agent'), root('POST /weather'):
        weather.invoke(dict(messages=[('user', 'Weather in Oslo and Rome?')]))
    with scenario('title after the answer', say('It costs 20 euros.'), say('Price of a plan'), answer=0):
        titled().invoke(dict(question='What does it cost?'))
    messages = []
    for n,(question, said) in enumerate((('My router is slow.', 'Please restart it.'), ('Still slow.', 'I will send a technician.'))):
        messages.append(HumanMessage(question))
        with scenario(f'session turn {n}', say(said), agent='support_agent'), using_session(CHAT):
            messages = weather.invoke(dict(messages=messages))['messages']

class State(TypedDict, total=False):
    question: str
    answer: str
    title: str

def titled():
    "A graph that answers, and then gives the chat a title."
    def answer(state):
        return dict(answer=ask(SystemMessage(SYSTEM), HumanMessage(state['question'])).content)
    def title(state):
        ask(SystemMessage('Give this chat a title.'), HumanMessage(state['question']+'\n'+state['answer']))
        return dict(answer=state['answer'])
    graph = StateGraph(State).add_node('answer', answer).add_node('title', title)
    return graph.add_edge(START, 'answer').add_edge('answer', 'title').add_edge('title', END).compile()

bare()
chains()
graphs()
