"""How many verdicts on recorded traces become the rows that they should.

`score(reader)` gives a table; `reader(spans, annotations)` is any function from the lines of both files, as dicts, to rows: dicts with
`span_id`, `messages`, `answer` (a message, or text with `<tool_call>` blocks), and, where known, `tools`, `agent`, `approved`,
`verdict_on` (the id of what was judged). Rows and expectations are compared with whitespace collapsed, roles as they stand, messages
of one speaker that follow each other joined, and tool calls (and what tools gave back) as JSON. Run as a script it scores `ftkit.data.extract.judge`."""
import gzip, json, re, sys
from collections import Counter
from pathlib import Path

FIXTURES = Path(__file__).resolve().parents[2]/'tests'/'fixtures'/'traces'
CALL = re.compile(r'<tool_call>\s*(.*?)\s*</tool_call>', re.S)

def read_lines(path):
    "The rows of a file of JSON lines."
    opened = gzip.open if str(path).endswith('.gz') else open
    with opened(path, 'rt', encoding='utf-8') as f:
        return [json.loads(line) for line in f if line.strip()]

def load(setup, folder=FIXTURES):
    "Spans, annotations and expectations of a set-up, as dicts."
    at = Path(folder)/setup
    return [read_lines(at/name) for name in ('spans.jsonl.gz', 'annotations.jsonl', 'expected.jsonl')]

def setups(folder=FIXTURES):
    "Names of the recorded set-ups."
    return sorted(p.parent.name for p in Path(folder).glob('*/expected.jsonl'))

# -- two forms of one message

def as_json(text):
    "The structure that a text holds, or the text with its whitespace collapsed."
    if not isinstance(text, str):
        return text
    try:
        value = json.loads(text)
    except ValueError:
        return ' '.join(text.split())
    return value if isinstance(value, (dict, list)) else ' '.join(text.split())

def plain(m):
    "A message as (role, text, calls), to be compared."
    content = m.get('content')
    if isinstance(content, list):
        content = '\n'.join(str(p.get('text') or '') for p in content)
    calls = [(c['function']['name'], as_json(c['function'].get('arguments') or '{}')) for c in m.get('tool_calls') or ()]
    text = as_json(content or '') if m['role']=='tool' else ' '.join((content or '').split())
    return m['role'], text, calls

def chat(messages):
    "Messages to be compared; those of one speaker that follow each other are one."
    kept = []
    for role,text,calls in map(plain, messages):
        if kept and role==kept[-1][0] and role in ('assistant', 'user'):
            _, before, called = kept.pop()
            text, calls = ' '.join(filter(None, (before, text))), called+calls
        kept.append((role, text, calls))
    return kept

def as_message(answer):
    "An answer as a message."
    if isinstance(answer, dict):
        return dict(answer, role='assistant')
    calls = [dict(function=json.loads(c)) for c in CALL.findall(answer)]
    return dict(role='assistant', content=CALL.sub('', answer), tool_calls=calls)

def schema(value):
    "A schema with its types in lower case, as JSON Schema has them."
    if isinstance(value, dict):
        return {k: v.lower() if k=='type' and isinstance(v, str) else schema(v) for k,v in value.items()}
    return [schema(v) for v in value] if isinstance(value, list) else value

def same_tools(expected, tools):
    "Are the tools those that were offered, as far as the spans tell?"
    if expected is None:
        return True
    tools = json.loads(tools) if isinstance(tools, str) else tools or []
    told = [t.get('function') or {} for t in tools if isinstance(t, dict)]
    if len(told)!=len(expected):
        return False
    pairs = zip(told, (e['function'] for e in expected))
    return all(schema(t.get(k))==schema(v) for t,e in pairs for k,v in e.items())

def hidden(messages, lost):
    "Messages without those parts that the spans do not hold as they were sent."
    return [('lost',) if i in lost else plain(m) for i,m in enumerate(messages)]

def faults(row, expected):
    "What is wrong with a row: some of `messages`, `answer`, `tools`, `verdict`."
    wrong, lost = [], expected.get('lost', ())
    same = chat(row['messages'])==chat(expected['messages'])
    if not same and (not lost or hidden(row['messages'], lost)!=hidden(expected['messages'], lost)):
        wrong.append('messages')
    if 'answer' not in lost and plain(as_message(row['answer']))!=plain(as_message(expected['answer'])):
        wrong.append('answer')
    if not same_tools(expected['tools'], row.get('tools')):
        wrong.append('tools')
    if row.get('approved', expected['approved'])!=expected['approved']:
        wrong.append('verdict')
    return wrong

# -- rows beside expectations

def find(expected, rows):
    "The row that a verdict became, taken out of `rows`."
    def fits(row):
        if row.get('verdict_on'):
            return row['verdict_on']==expected['verdict_on']['id']
        return row['span_id'] in (*expected['same_call'], expected['verdict_on']['id'])
    for i,row in enumerate(rows):
        if fits(row):
            return rows.pop(i)

def shows_loss(row, expected):
    "Is a lost message empty in the row, so that its reader could have known?"
    there = dict(enumerate(row['messages']))
    return any(not any(plain(there[i])[1:]) for i in expected['lost'] if i in there)

def outcome(expected, row):
    "right, wrong, missing, left out (rightly), lossy (right but for what nobody could read), or kept (and should not have been)."
    if row is None:
        return 'left out' if expected.get('left_out') or expected.get('may_be_left_out') else 'missing'
    if expected.get('left_out') and ('messages' not in expected or shows_loss(row, expected)):
        return 'kept'
    return 'wrong' if faults(row, expected) else 'lossy' if expected.get('left_out') else 'right'

def outcomes(reader, setup, folder=FIXTURES):
    "(expectation, row or `None`, outcome) of every verdict; rows that answer to none come last as (`None`, row, 'stray')."
    spans, annotations, expected = load(setup, folder)
    found = []
    for name in sorted({a['name'] for a in annotations}):
        rows = [dict(r) for r in reader(spans, [a for a in annotations if a['name']==name])]
        for e in (e for e in expected if e['name']==name):
            row = find(e, rows)
            found.append((e, row, outcome(e, row)))
        found += [(None, row, 'stray') for row in rows]
    return found

KINDS = ('right', 'left out', 'lossy', 'wrong', 'kept', 'stray', 'missing')

def score(reader, folder=FIXTURES):
    "{(set-up, kind of verdict): count of each outcome}"
    table = {}
    for setup in setups(folder):
        for e,row,how in outcomes(reader, setup, folder):
            counts = table.setdefault((setup, e['name'] if e else 'stray'), Counter())
            counts[how] += 1
            if e and row and e['agent']:
                counts['agent named' if row.get('agent')==e['agent'] else 'agent not named'] += 1
    return table

GROUPS = dict(calls=('call_fb',), roots=('root_fb',), wider=('trace_fb', 'session_fb'))

def markdown(table):
    "The table, a set-up a line: verdicts on calls, on roots, and on traces and sessions."
    cells = [f'{g}: {k}' if k=='right' else k for g in GROUPS for k in ('right', 'of', *KINDS[1:-1])]
    lines = ['| set-up | '+' | '.join(cells)+' |', '|---|'+'---:|'*len(cells)]
    total = [Counter() for _ in GROUPS]
    for setup in sorted({s for s,_ in table}):
        counts = [sum((table.get((setup, n), Counter()) for n in names), Counter()) for names in GROUPS.values()]
        counts[0]['stray'] += table.get((setup, 'stray'), Counter())['stray']
        total = [t+c for t,c in zip(total, counts)]
        lines.append(line(setup, counts))
    named, not_named = (sum(c[f'agent {k}'] for c in total) for k in ('named', 'not named'))
    return '\n'.join([*lines, line('all', total), '', f'agent named in {named} of {named+not_named} rows whose spans hold its name'])

def line(name, counts):
    "A line of the table; what is missing is the rest."
    cells = [n for c in counts for n in (c['right'], sum(c[k] for k in KINDS if k!='stray'), *(c[k] for k in KINDS[1:-1]))]
    return f'| {name} | '+' | '.join(map(str, cells))+' |'

def ftkit_reader(spans, annotations):
    "What `ftkit.data.extract.judge` makes of spans and annotations."
    from ftkit.data.judged import judge
    from ftkit.telemetry.spans import as_annotation, as_spans
    judged = judge(as_spans(spans), [as_annotation(a) for a in annotations])
    for call,rating in judged.calls:
        yield dict(span_id=call.span.span_id, messages=call.messages, answer=call.answer, tools=call.tools, agent=call.agent_type, approved=rating.approved)

if __name__=='__main__':
    if len(sys.argv)>1: # one set-up, verdict by verdict
        for e,row,how in outcomes(ftkit_reader, sys.argv[1]):
            print(how, e and (e['name'], e['scenario'], e.get('left_out')), faults(row, e) if how=='wrong' else '')
    else:
        print(markdown(score(ftkit_reader)))
