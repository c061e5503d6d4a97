"The application that both recordings of Langfuse watch, and what its spans are on the server."
import json, os
from datetime import datetime, timezone
from local import Local, MENU, SYSTEM

local = Local(lambda method, path, body: {})
os.environ.update(LANGFUSE_PUBLIC_KEY='pk', LANGFUSE_SECRET_KEY='sk', LANGFUSE_HOST=local.url, LANGFUSE_BASE_URL=local.url, OPENAI_API_KEY='none')

from langfuse import Langfuse, observe
from langfuse.openai import OpenAI
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

kept, provider = InMemorySpanExporter(), TracerProvider()
Langfuse(public_key='pk', secret_key='sk', tracer_provider=provider)
provider.add_span_processor(SimpleSpanProcessor(kept))
model = OpenAI(base_url=f'{local.url}/v1', api_key='none', max_retries=0)

def user(text):
    return dict(role='user', content=text)

def ask(messages, **more):
    said = model.chat.completions.create(model='gpt-4o-mini', messages=messages, **more).choices[0].message
    messages.append(said.model_dump(exclude_none=True))
    return said

@observe(as_type='agent')
def shop_agent(question):
    messages = [SYSTEM, user(question)]
    while (said := ask(messages, tools=[MENU])).tool_calls:
        messages += [dict(role='tool', tool_call_id=c.id, content='["Sencha", "Gyokuro"]') for c in said.tool_calls]
    return said.content

@observe()
def plain_answer(question):
    return ask([SYSTEM, user(question)]).content

def when(ns):
    return datetime.fromtimestamp(ns/1e9, timezone.utc)

def hexes(span):
    "Observation, trace and parent id."
    c = span.get_span_context()
    return f'{c.span_id:016x}', f'{c.trace_id:032x}', f'{span.parent.span_id:016x}' if span.parent else None

def read(text):
    "An attribute as the server keeps it: JSON where it is JSON."
    try: return json.loads(text)
    except (TypeError, ValueError): return text

def about(span):
    "What the server reads from a span of the client."
    a, (i, trace, parent) = dict(span.attributes), hexes(span)
    return dict(id=i, trace_id=trace, parent_observation_id=parent, type=a.get('langfuse.observation.type', 'span').upper(), name=span.name,
        start_time=when(span.start_time), end_time=when(span.end_time), model=a.get('langfuse.observation.model.name'),
        input=read(a.get('langfuse.observation.input')), output=read(a.get('langfuse.observation.output')), level=a.get('langfuse.observation.level') or 'DEFAULT'), a

SCORES = [ # question, on the observation that answered or on the whole trace, score
    ('Which green teas do you have?', 'trace', dict(name='user-feedback', data_type='BOOLEAN', value=1, string_value='True', source='API', comment='quick')),
    ('May I bring my dog?', 'trace', dict(name='correctness', data_type='CATEGORICAL', value=0, string_value='incorrect', source='ANNOTATION', author_user_id='ana')),
    ('May I bring my dog?', 'trace', dict(name='output', data_type='CORRECTION', value=0, string_value='Yes, dogs are welcome on a lead.', source='ANNOTATION', author_user_id='ana')),
    ('Do you open on Sunday?', 'answer', dict(name='stars', data_type='NUMERIC', value=4, source='ANNOTATION', author_user_id='ben', config_id='cfg-stars')),
    ('Do you open on Sunday?', 'answer', dict(name='hallucination', data_type='NUMERIC', value=0.1, source='EVAL', comment='all of it is in the hours')),
]
