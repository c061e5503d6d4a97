"LlamaIndex watched by OpenInference."
import asyncio

from harness import CHAT, PIXEL, STUB, SYSTEM, root, say, scenario, tracing, use
from llama_index.core import Document, MockEmbedding, VectorStoreIndex
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.llms.openai import OpenAI
from openinference.instrumentation import using_session
from openinference.instrumentation.llama_index import LlamaIndexInstrumentor

LlamaIndexInstrumentor().instrument(tracer_provider=tracing())
model = OpenAI(model='gpt-4o-mini', api_base=f'{STUB}/v1', api_key='none', max_retries=0)

def get_weather(city: str) -> str:
    "Weather of a city"
    return '{"temp": 21}'

def message(role, content):
    return ChatMessage(role=role, content=content)

with scenario('complete', say('Within 30 days.')):
    model.complete('Refund policy?')
with scenario('chat', say('Only with a receipt.')):
    model.chat([message('system', SYSTEM), message('user', 'Refund policy?'), message('assistant', 'Within 30 days.'), message('user', 'Without a receipt?')])
with scenario('stream', say('Yes, we ship to Norway.')):
    for _ in model.stream_chat([message('system', SYSTEM), message('user', 'Do you ship to Norway?')]):
        pass
with scenario('image', say('It shows a broken screen.')):
    model.chat([ChatMessage(role='user', blocks=[TextBlock(text='What is broken?'), ImageBlock(image=PIXEL, image_mimetype='image/png')])])
with scenario('empty answer', say('')):
    model.chat([message('user', 'Say nothing.')])
with scenario('async', say('By card or by invoice.')):
    asyncio.run(model.achat([message('system', SYSTEM), message('user', 'How do I pay?')]))
engine = SimpleChatEngine.from_defaults(llm=model, system_prompt=SYSTEM)
for n,(question, said) in enumerate((('My router is slow.', 'Please restart it.'), ('Still slow.', 'I will send a technician.'))):
    with scenario(f'session turn {n}', say(said)), using_session(CHAT):
        engine.chat(question)
index = VectorStoreIndex.from_documents([Document(text='Refunds are paid within 30 days.')], embed_model=MockEmbedding(8))
with scenario('query engine', say('Thirty days.')):
    index.as_query_engine(llm=model).query('How long do refunds take?')
with scenario('context chat engine', say('In thirty days.')), root('POST /ask'):
    index.as_chat_engine(chat_mode='context', llm=model, system_prompt=SYSTEM).chat('When is a refund paid?')
fresh = OpenAI(model='gpt-4o-mini', api_base=f'{STUB}/v1', api_key='none', max_retries=0, reuse_client=False)
agent = FunctionAgent(tools=[get_weather], llm=fresh, system_prompt=SYSTEM, name='weather_agent', streaming=False)

async def ask(question):
    return await agent.run(question)

with scenario('agent', say(None, use('get_weather', city='Paris')), say('It is 21 degrees in Paris.'), agent='weather_agent'):
    asyncio.run(ask('Weather in Paris?'))
