"Observations, scores and score configs as the types of Langfuse's client (version 5) serialise them."
import json
from datetime import datetime, timezone
from langfuse_shop import about, kept, plain_answer, SCORES, shop_agent
from langfuse import get_client, propagate_attributes
from langfuse.api.commons.types import ObservationV2, Score, ScoreConfig
from pydantic import TypeAdapter
from local import write_lines

for n,(run,question) in enumerate(((shop_agent, 'Which green teas do you have?'), (shop_agent, 'May I bring my dog?'), (plain_answer, 'Do you open on Sunday?'))):
    with propagate_attributes(user_id=f'u{n+1}', session_id=f's{n+1}'):
        run(question)
get_client().flush()
NOW = datetime(2026, 3, 2, 9, tzinfo=timezone.utc)
observations = []
for span in sorted(kept.get_finished_spans(), key=lambda s: s.start_time):
    known, a = about(span)
    observations.append(ObservationV2(**known, project_id='shop', user_id=a.get('user.id'), session_id=a.get('session.id'), is_root_observation=known['parent_observation_id'] is None))
roots = {json.dumps(o.input): o for o in observations if not o.parent_observation_id}
scores = []
for n,(question,on,score) in enumerate(SCORES):
    root = next(o for text,o in roots.items() if question in text)
    answer = [o for o in observations if o.trace_id==root.trace_id and o.type=='GENERATION'][-1]
    target = dict(trace_id=root.trace_id, observation_id=answer.id if on=='answer' else None)
    scores.append(TypeAdapter(Score).validate_python(dict(score, id=f'score-{n}', timestamp=NOW, created_at=NOW, updated_at=NOW, environment='default', **target)))
config = ScoreConfig(id='cfg-stars', name='stars', created_at=NOW, updated_at=NOW, project_id='shop', data_type='NUMERIC', is_archived=False, min_value=1, max_value=5)
write_lines('langfuse_observations.jsonl', [json.loads(o.json()) for o in observations])
write_lines('langfuse_scores.jsonl', [json.loads(s.json()) for s in [*scores, config]])
