"""Which span watched which exchange, the verdicts, and what each must become. The words of an expectation come from the bodies that the
stub received and sent; the spans only say where they belong, and whether the instrumentation kept them."""
import json
from collections import defaultdict
from datetime import datetime, timedelta, timezone

from bodies import read_exchange

MODEL_CALLS = ('chat', 'text_completion', 'generate_content', 'completion')
CONTENT = ('llm.input_messages', 'llm.output_messages', 'llm.prompts', 'gen_ai.input', 'gen_ai.prompt', 'gen_ai.output', 'input.value')
JUDGED = datetime(2026, 3, 2, 12, tzinfo=timezone.utc)
REASONS = dict(call='the judged call', root='the answer of the trace below the root', trace='the answer of the trace', session='the answer of its last trace')

def is_model_call(span):
    "Does a sent span say that it is a call of a model?"
    a = span['attributes']
    return a.get('openinference.span.kind')=='LLM' or a.get('gen_ai.operation.name') in MODEL_CALLS or bool(a.get('llm.request.type'))

def has_content(span):
    "Did the instrumentation write down what was said?"
    return any(k.startswith(CONTENT) for k in span['attributes'])

def depth(span, by_id):
    "How many spans are above."
    n = 0
    while span := by_id.get(span['parent_id']):
        n += 1
    return n

def watchers(exchange, spans):
    "The model-call spans during which the stub was called, the outermost first."
    by_id = {s['span_id']: s for s in spans}
    around = [s for s in spans if is_model_call(s) and s['start']<=exchange['received']<=s['end']]
    return sorted(around, key=lambda s: depth(s, by_id))

def watched(exchanges, spans):
    "Exchanges with the spans that watched them and no other exchange."
    seen = [(e, watchers(e, spans)) for e in exchanges]
    busy = defaultdict(int)
    for _,around in seen:
        for s in around:
            busy[s['span_id']] += 1
    return [(e, [s for s in around if busy[s['span_id']]==1]) for e,around in seen]

# -- what a span kept

def leaves(value, texts, shapes):
    "Every text in an attribute, and every structure, those inside JSON text included."
    if isinstance(value, str):
        texts.add(squeezed(value))
        if (inner := parsed(value, (dict, list, str))) is not None:
            leaves(inner, texts, shapes)
    elif isinstance(value, (dict, list)):
        shapes.add(canonical(value))
        for v in value.values() if isinstance(value, dict) else value:
            leaves(v, texts, shapes)

def parsed(text, kinds=(dict, list)):
    "What JSON text holds, if it is of these kinds."
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, kinds) else None

def squeezed(text):
    "A text with its whitespace collapsed."
    return ' '.join(text.split())

def canonical(value):
    "A structure as text that can be compared; types of schemas in lower case."
    return json.dumps(value, sort_keys=True).replace('"OBJECT"', '"object"').replace('"STRING"', '"string"')

class Kept:
    "What can be found in some stored spans."
    def __init__(self, spans):
        self.texts, self.shapes = set(), set()
        for s in spans:
            leaves(s.get('attributes', {}), self.texts, self.shapes)

    def text(self, text):
        "Is a text there, or the structure that it holds?"
        value = parsed(text)
        if value is not None and canonical(value) in self.shapes:
            return True
        return self.pieces([line for line in text.split('\n') if line.strip()])

    def pieces(self, lines):
        "Can lines be cut into runs that are there, one by one?"
        reached = {0}
        for end in range(1, len(lines)+1):
            if any(squeezed(' '.join(lines[start:end])) in self.texts for start in reached):
                reached.add(end)
        return len(lines) in reached

    def message(self, m):
        "Is a message there, in the words in which it was sent?"
        calls = [c['function'] for c in m.get('tool_calls', ())]
        return self.text(m['content']) and all(f['name'] in self.texts and self.text(f['arguments']) for f in calls)

    def tool(self, t):
        "As much of a tool as is there; `None` where at most its name is, which a call of it tells too."
        f = t['function']
        there = dict(name=f['name'])
        if f.get('description') and self.text(f['description']):
            there['description'] = f['description']
        if canonical(f.get('parameters')) in self.shapes:
            there['parameters'] = f['parameters']
        return dict(type='function', function=there) if f['name'] in self.texts and len(there)>1 else None

def expectation(exchange, around, stored):
    "What a verdict on the answer of this exchange must become."
    row = read_exchange(exchange)
    ids = [s['span_id'] for s in around]
    kept = Kept([stored[i] for i in ids])
    best = next((s for s in reversed(around) if has_content(s)), around[-1])
    tools = [kept.tool(t) for t in row['tools']]
    lost = [i for i,m in enumerate(row['messages']) if not kept.message(m)]+([] if kept.message(row['answer']) else ['answer'])
    why = row['left_out'] or ('content not recorded' if not any(map(has_content, around)) else 'part not recorded' if lost else None)
    where = dict(span_id=best['span_id'], same_call=ids)
    if why and why!='part not recorded':
        return dict(where, left_out=why)
    said = dict(messages=row['messages'], answer=row['answer'], tools=None if None in tools else tools)
    return dict(where, **said, may_be_left_out='several answers' if row['others'] else None, left_out=why, lost=lost or None)

# -- verdicts

class Verdicts:
    "One annotator's verdicts, every fourth of them a rejection."
    def __init__(self):
        self.annotations, self.expected = [], []

    def add(self, target, on, row, exchange, agent):
        "A verdict and what must become of it."
        n = len(self.annotations)
        good = n%4!=3
        when = (JUDGED+timedelta(seconds=n)).isoformat()
        name = f'{target}_fb'
        key = 'span_id' if target in ('call', 'root') else f'{target}_id'
        self.annotations.append({key: on, 'name': name, 'kind': 'HUMAN', 'label': 'good' if good else 'bad', 'score': float(good),
            'identifier': 'reviewer', 'created_at': when, 'updated_at': when})
        told = dict(verdict_on=dict(target='span' if key=='span_id' else target, id=on), name=name, approved=good, agent=agent)
        whole = dict(told, **row, scenario=exchange['scenario'], reason=REASONS[target])
        self.expected.append({k: v for k,v in whole.items() if v is not None or k=='agent' or k=='tools' and 'messages' in row})

def agent_of(exchange, scripts, spans):
    "The agent's name, where the application gave one and the spans of the trace hold it."
    script = scripts[exchange['scenario']]
    name = exchange.get('agent') or script['agent']
    texts = Kept(spans).texts if name else ()
    return name if name in texts else None

def judged(exchanges, scripts, sent, stored, sessions):
    """Verdicts on calls, roots, traces and sessions. `sent` are the spans as they came, `stored` (by id) as they are kept,
    `sessions` the traces of each session, in time order."""
    made, seen = Verdicts(), [(e, around) for e,around in watched(exchanges, sent) if around]
    scripts, traces = {s['scenario']: s for s in scripts}, defaultdict(list)
    members = defaultdict(list)
    for s in sent:
        members[s['trace_id']].append(stored[s['span_id']])
    rows = {}
    for n,(e,around) in enumerate(seen):
        trace_id = around[0]['trace_id']
        rows[e['n']] = expectation(e, around, stored), e, agent_of(e, scripts, members[trace_id])
        traces[trace_id].append(e)
        best = rows[e['n']][0]['span_id'] if n%2==0 else around[0]['span_id']
        made.add('call', best, *rows[e['n']])
    answers = {t: rows[answering(es, scripts)['n']] for t,es in traces.items()}
    for trace_id,answer in answers.items():
        top = next((s for s in sent if s['trace_id']==trace_id and not s['parent_id']), None)
        if top and top['span_id'] not in answer[0]['same_call']:
            made.add('root', top['span_id'], *answer)
        made.add('trace', trace_id, *answer)
    for session,held in sorted(sessions.items()):
        answered = [t for t in held if t in answers]
        if len(answered)>1:
            made.add('session', session, *answers[answered[-1]])
    return made

def answering(exchanges, scripts):
    "The exchange of a trace that answered the user."
    wanted = scripts[exchanges[0]['scenario']]['answer']
    return exchanges[wanted]
