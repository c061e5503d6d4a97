"Haystack watched by OpenInference."
from harness import CHAT, STUB, SYSTEM, root, say, scenario, tracing, use
from haystack import Document, Pipeline
from haystack.components.agents import Agent
from haystack.components.builders import ChatPromptBuilder
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
from haystack.dataclasses import ChatMessage
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.tools import Tool
from haystack.utils import Secret
from openinference.instrumentation import using_session
from openinference.instrumentation.haystack import HaystackInstrumentor

HaystackInstrumentor().instrument(tracer_provider=tracing())
told = dict(api_key=Secret.from_token('none'), model='gpt-4o-mini', api_base_url=f'{STUB}/v1', max_retries=0)
system = ChatMessage.from_system(SYSTEM)
weather = Tool('get_weather', 'Weather of a city', dict(type='object', properties=dict(city=dict(type='string')), required=['city']), lambda city: '{"temp": 21}')

def chat_pipeline(**more):
    pipeline = Pipeline()
    pipeline.add_component('llm', OpenAIChatGenerator(**told, **more))
    return pipeline

def answering_pipeline():
    "A pipeline that looks for documents first."
    store = InMemoryDocumentStore()
    store.write_documents([Document(content='Refunds are paid within 30 days.'), Document(content='We ship to Norway.')])
    pipeline = Pipeline()
    pipeline.add_component('retriever', InMemoryBM25Retriever(store, top_k=1))
    template = [system, ChatMessage.from_user('{% for d in documents %}{{ d.content }}{% endfor %}\n{{ question }}')]
    pipeline.add_component('prompt', ChatPromptBuilder(template=template, required_variables=['question']))
    pipeline.add_component('llm', OpenAIChatGenerator(**told))
    pipeline.connect('retriever.documents', 'prompt.documents')
    pipeline.connect('prompt.prompt', 'llm.messages')
    return pipeline

with scenario('pipeline', say('Within 30 days.')):
    chat_pipeline().run(dict(llm=dict(messages=[system, ChatMessage.from_user('Refund policy?')])))
with scenario('history', say('Only with a receipt.')):
    turns = [system, ChatMessage.from_user('Refund policy?'), ChatMessage.from_assistant('Within 30 days.'), ChatMessage.from_user('Without a receipt?')]
    chat_pipeline().run(dict(llm=dict(messages=turns)))
with scenario('retrieval', say('Thirty days.')), root('POST /ask'):
    answering_pipeline().run(dict(retriever=dict(query='refunds'), prompt=dict(question='How long do refunds take?')))
with scenario('tool call', say(None, use('get_weather', city='Lima'))):
    chat_pipeline(tools=[weather]).run(dict(llm=dict(messages=[system, ChatMessage.from_user('Weather in Lima?')])))
with scenario('empty answer', say('')):
    chat_pipeline().run(dict(llm=dict(messages=[system, ChatMessage.from_user('Say nothing.')])))
with scenario('agent', say(None, use('get_weather', city='Paris')), say('It is 21 degrees in Paris.')):
    Agent(chat_generator=OpenAIChatGenerator(**told), tools=[weather], system_prompt=SYSTEM).run(messages=[ChatMessage.from_user('Weather in Paris?')])
for n,(question, said) in enumerate((('My router is slow.', 'Please restart it.'), ('Still slow.', 'I will send a technician.'))):
    with scenario(f'session turn {n}', say(said)), using_session(CHAT):
        chat_pipeline().run(dict(llm=dict(messages=[system, ChatMessage.from_user(question)])))
