"""What every set-up needs: a tracer that sends its spans to the stub, and scenarios with scripted replies."""
import json, os, urllib.request
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

STUB, SETUP = os.environ['RECORD_STUB'], os.environ['RECORD_SETUP']
CHAT = f'chat-{SETUP}' # a session; Phoenix keeps each name once
SYSTEM = 'You are Acme support.'
PARAMETERS = dict(type='object', properties=dict(city=dict(type='string', description='name of the city')), required=['city'])
WEATHER = dict(name='get_weather', description='Weather of a city', parameters=PARAMETERS)
PIXEL = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII='

def tracing(
    *processors, # of spans, before they are sent
):
    "A tracer provider whose spans go to the stub as they end."
    resource = Resource({'openinference.project.name': SETUP, 'service.name': SETUP})
    provider = TracerProvider(resource=resource)
    for p in processors:
        provider.add_span_processor(p)
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f'{STUB}/v1/traces')))
    trace.set_tracer_provider(provider)
    return provider

def say(
    text=None, # the words
    *calls, # of tools, from `use`
    **more, # reasoning, choices, finish, status
):
    "A scripted reply."
    return dict(text=text, calls=list(calls), **more)

def use(name, **args):
    "A call of a tool, for `say`."
    return dict(name=name, args=args)

@contextmanager
def scenario(
    name, # of the scenario
    *replies, # what the model will say, in order
    answer=-1, # which of them answers the user
    agent=None, # the agent that the application named
):
    "Calls that follow a script; an error in one does not stop the others."
    body = dict(scenario=name, replies=replies, answer=answer, agent=agent)
    request = urllib.request.Request(f'{STUB}/script', json.dumps(body).encode(), {'content-type': 'application/json'})
    urllib.request.urlopen(request).read()
    try:
        yield
    except Exception as e:
        if not any(r.get('status') for r in replies):
            print(f'{SETUP}: {name}: {type(e).__name__}: {str(e)[:300]}', flush=True)

@contextmanager
def root(
    name='POST /chat', # of the span
    session=None, # id of a session
    agent=None, # makes it the AGENT span of an application that follows OpenInference
    question=None, # what was asked
):
    "A span that the application opened itself."
    attributes = {'http.request.method': 'POST', 'http.route': '/chat'}
    if agent:
        attributes = {'openinference.span.kind': 'AGENT', 'agent.name': agent, 'input.value': question or ''}
    if session:
        attributes['session.id'] = session
    with trace.get_tracer('app').start_as_current_span(name, attributes=attributes) as span:
        yield span
