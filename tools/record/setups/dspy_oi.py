"DSPy watched by OpenInference."
import dspy
from harness import CHAT, STUB, root, say, scenario, tracing
from openinference.instrumentation import using_session
from openinference.instrumentation.dspy import DSPyInstrumentor

DSPyInstrumentor().instrument(tracer_provider=tracing())
lm = dspy.LM('openai/gpt-4o-mini', api_base=f'{STUB}/v1', api_key='none', cache=False, num_retries=0)
dspy.configure(lm=lm)

def get_weather(city: str) -> str:
    "Weather of a city"
    return '{"temp": 21}'

def fields(**values):
    "An answer in the form that DSPy's chat adapter reads."
    return say('\n\n'.join(f'[[ ## {k} ## ]]\n{v}' for k,v in values.items())+'\n\n[[ ## completed ## ]]')

with scenario('predict', fields(answer='Paris')):
    dspy.Predict('question -> answer')(question='Capital of France?')
with scenario('chain of thought', fields(reasoning='Six times seven.', answer='42')):
    dspy.ChainOfThought('question -> answer')(question='Six times seven?')
with scenario('label', fields(queue='refunds')), root('POST /route'):
    dspy.Predict(dspy.Signature('ticket -> queue', 'Route the ticket.'))(ticket='I want my money back.')
with scenario('react', fields(next_thought='I look.', next_tool_name='get_weather', next_tool_args='{"city": "Paris"}'),
        fields(next_thought='Done.', next_tool_name='finish', next_tool_args='{}'), fields(reasoning='The tool says so.', answer='21 degrees')):
    dspy.ReAct('question -> answer', tools=[get_weather])(question='Weather in Paris?')
with scenario('demos', fields(answer='Oslo')):
    predict = dspy.Predict('question -> answer')
    predict.demos = [dspy.Example(question='Capital of Spain?', answer='Madrid')]
    predict(question='Capital of Norway?')
with scenario('plain call', say('Hello.')):
    lm('Hi')
for n,(question, answer) in enumerate((('My router is slow.', 'Please restart it.'), ('Still slow.', 'I will send a technician.'))):
    with scenario(f'session turn {n}', fields(answer=answer)), using_session(CHAT):
        dspy.Predict('question -> answer')(question=question)
