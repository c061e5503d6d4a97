"Runs and feedback as the LangSmith client lists them, out of a store that keeps what the client itself posted."
import json, os
from datetime import datetime, timezone
from local import Local, MENU, SYSTEM, write_lines

runs, feedback = {}, []

def answer(method, path, body):
    "The parts of LangSmith's API that the client needs."
    at = path.split('?')[0].rstrip('/')
    told = json.loads(body) if body[:1] in (b'{', b'[') else {}
    if method=='POST' and at.endswith('/runs'): runs[told['id']] = told
    if method=='PATCH' and '/runs/' in at: runs[at.split('/')[-1]].update({k: v for k,v in told.items() if v is not None})
    if method=='POST' and at.endswith('/runs/query'): return dict(runs=[{k: v for k,v in r.items() if k!='attachments'} for r in runs.values()], cursors={})
    if method=='POST' and at.endswith('/feedback'): feedback.append(told)
    if method=='GET' and at.endswith('/feedback'): return [{'trace_id': None, **f, 'created_at': f.get('created_at') or NOW, 'modified_at': NOW} for f in feedback]
    if at.endswith('/info'): return dict(version='0.10.0', batch_ingest_config=None, instance_flags={})
    if at.endswith('/sessions'): return [dict(id='11111111-1111-4111-8111-111111111111', name='shop', reference_dataset_id=None, tenant_id='22222222-2222-4222-8222-222222222222', start_time=NOW)]
    return {}

NOW = datetime(2026, 3, 2, 9, tzinfo=timezone.utc).isoformat()
local = Local(answer)
os.environ.update(LANGSMITH_TRACING='true', LANGSMITH_ENDPOINT=local.url, LANGSMITH_API_KEY='none', LANGSMITH_PROJECT='shop')

import openai
from langchain_core.tracers import LangChainTracer
from langchain_openai import ChatOpenAI
from langsmith import Client, traceable
from langsmith.wrappers import wrap_openai

smith = Client(api_url=local.url, api_key='none', auto_batch_tracing=False)
model = wrap_openai(openai.OpenAI(base_url=f'{local.url}/v1', api_key='none', max_retries=0))

def user(text):
    return dict(role='user', content=text)

@traceable(run_type='chain', client=smith)
def guest_question(question):
    "An application around the model."
    messages = [SYSTEM, user(question)]
    said = model.chat.completions.create(model='gpt-4o-mini', messages=messages, tools=[MENU], langsmith_extra=dict(client=smith)).choices[0].message
    while said.tool_calls:
        messages.append(said.model_dump(exclude_none=True))
        messages += [dict(role='tool', tool_call_id=c.id, content='["Sencha", "Gyokuro"]') for c in said.tool_calls]
        said = model.chat.completions.create(model='gpt-4o-mini', messages=messages, tools=[MENU], langsmith_extra=dict(client=smith)).choices[0].message
    return said.content

guest_question('Which green teas do you have?', langsmith_extra=dict(metadata=dict(thread_id='guest-1', user_id='u1')))
guest_question('May I bring my dog?', langsmith_extra=dict(metadata=dict(thread_id='guest-2', user_id='u2')))
chat = ChatOpenAI(model='gpt-4o-mini', base_url=f'{local.url}/v1', api_key='none')
chat.invoke([('system', SYSTEM['content']), ('human', 'Do you open on Sunday?')], config=dict(callbacks=[LangChainTracer(client=smith, project_name='shop')], metadata=dict(session_id='guest-3')))
chat.bind_tools([MENU]).invoke([('system', SYSTEM['content']), ('human', 'Which green teas do you have?')], config=dict(callbacks=[LangChainTracer(client=smith, project_name='shop')]))

listed = sorted(smith.list_runs(project_name='shop'), key=lambda r: r.dotted_order)
roots = [r for r in listed if r.parent_run_id is None]
calls = [r for r in listed if r.run_type=='llm']
smith.create_feedback(roots[0].id, key='user_score', score=1, comment='quick', feedback_source_type='api')
smith.create_feedback(roots[1].id, key='correctness', score=0.0, correction=dict(answer='Yes, dogs are welcome on a lead.'), source_info=dict(annotator='ana'))
smith.create_feedback(calls[-2].id, key='helpful', value='good', score=True)
smith.create_feedback(calls[-1].id, key='hallucination', score=0.1, feedback_source_type='model')
write_lines('langsmith_runs.jsonl', [json.loads(r.model_dump_json()) for r in listed])
write_lines('langsmith_feedback.jsonl', [json.loads(f.model_dump_json()) for f in smith.list_feedback(run_ids=[r.id for r in listed])])
