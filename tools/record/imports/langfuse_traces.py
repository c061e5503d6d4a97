"Whole traces, each with its observations and scores, as the types of Langfuse's client (version 3) serialise them."
import json
from datetime import datetime, timezone
from langfuse_shop import about, kept, plain_answer, SCORES, shop_agent
from langfuse import get_client, observe
from langfuse.api.resources.commons.types import ObservationsView, TraceWithFullDetails
from local import write_lines

@observe()
def chat(run, question, n):
    get_client().update_current_trace(user_id=f'u{n}', session_id=f's{n}', input=question)
    return run(question)

for n,(run,question) in enumerate(((shop_agent, 'Which green teas do you have?'), (shop_agent, 'May I bring my dog?'), (plain_answer, 'Do you open on Sunday?')), 1):
    chat(run, question, n)
get_client().flush()
NOW = datetime(2026, 3, 2, 9, tzinfo=timezone.utc)
spans = sorted(kept.get_finished_spans(), key=lambda s: s.start_time)
ZERO = dict(usage=dict(input=0, output=0, total=0, unit='TOKENS'), usage_details={}, cost_details={}, environment='default')
traces = []
for root in [s for s in spans if s.parent is None]:
    known, a = about(root)
    seen = [ObservationsView(**about(s)[0], **ZERO) for s in spans if hex(s.context.trace_id)==hex(root.context.trace_id)]
    question = a.get('langfuse.trace.input') or json.dumps(known['input'])
    answer = [o for o in seen if o.type=='GENERATION'][-1]
    scores = [dict(score, id=f'score-{n}', timestamp=NOW, created_at=NOW, updated_at=NOW, environment='default', trace_id=known['trace_id'], observation_id=answer.id if on=='answer' else None)
        for n,(asked,on,score) in enumerate(SCORES) if asked in question and score['data_type']!='CORRECTION']
    traces.append(TraceWithFullDetails(id=known['trace_id'], timestamp=known['start_time'], name='chat', input=question, output=known['output'], user_id=a.get('user.id'), session_id=a.get('session.id'),
        metadata={}, tags=[], public=False, environment='default', html_path='/trace', latency=.1, total_cost=0., observations=seen, scores=scores))
write_lines('langfuse_traces.jsonl', [json.loads(t.json()) for t in traces])
