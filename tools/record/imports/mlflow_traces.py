"Traces with assessments as MLflow writes them to JSON."
import json, os, tempfile
os.environ.update(MLFLOW_ALLOW_FILE_STORE='true', MLFLOW_ENABLE_ASYNC_TRACE_LOGGING='false') # the database backend is not in mlflow-skinny
import mlflow, openai
from mlflow.entities import AssessmentSource, AssessmentSourceType
from local import Local, MENU, SYSTEM, write_lines

local = Local()
mlflow.set_tracking_uri(f'file:{tempfile.mkdtemp()}')
mlflow.set_experiment('shop')
mlflow.openai.autolog()
client = openai.OpenAI(base_url=f'{local.url}/v1', api_key='none', max_retries=0)

def user(text):
    return dict(role='user', content=text)

def ask(messages, **more):
    said = client.chat.completions.create(model='gpt-4o-mini', messages=messages, **more).choices[0].message
    messages.append(said.model_dump(exclude_none=True))
    return said

@mlflow.trace(span_type='AGENT')
def shop_agent(question, session, guest):
    "An application around the model."
    mlflow.update_current_trace(metadata={'mlflow.trace.session': session, 'mlflow.trace.user': guest})
    messages = [SYSTEM, user(question)]
    while (said := ask(messages, tools=[MENU])).tool_calls:
        messages += [dict(role='tool', tool_call_id=c.id, content='["Sencha", "Gyokuro"]') for c in said.tool_calls]
    return said.content

def last():
    return mlflow.get_last_active_trace_id()

person = AssessmentSource(source_type=AssessmentSourceType.HUMAN, source_id='ana')
judge = AssessmentSource(source_type=AssessmentSourceType.LLM_JUDGE, source_id='gpt-4o')
shop_agent('Which green teas do you have?', 's1', 'u1')
mlflow.log_feedback(trace_id=last(), name='correct', value=True, source=person, rationale='both are on the list')
shop_agent('May I bring my dog?', 's2', 'u2')
mlflow.log_feedback(trace_id=last(), name='correct', value=False, source=person)
mlflow.log_expectation(trace_id=last(), name='expected_response', value='Yes, dogs are welcome on a lead.', source=person)
ask([SYSTEM, user('Do you open on Sunday?')])
mlflow.log_feedback(trace_id=last(), name='relevance_to_query', value='yes', source=judge)
mlflow.log_feedback(trace_id=last(), name='stars', value=4, source=person)
traces = mlflow.search_traces(experiment_ids=[mlflow.get_experiment_by_name('shop').experiment_id], return_type='list')
write_lines('mlflow_traces.jsonl', [json.loads(t.to_json()) for t in sorted(traces, key=lambda t: t.info.request_time)])
