"Files of others become the rows that they hold: each kind from the file to the extracted rows, and every way in which a file can be broken."
import gzip, json, random
from pathlib import Path

import pytest

from ftkit import AnnotationPolicy, FileProvider, FtkitError, feedback_telemetry, import_telemetry
from ftkit.data.extract import extraction
from ftkit.data.trajectories import trajectories
from ftkit.data.triplets import triplets
from ftkit.telemetry.imports import KINDS
from ftkit.telemetry.turns import as_moment, as_number

FILES = Path(__file__).parent/'fixtures'/'imports'
SYSTEM = 'You help the guests of a tea shop.'

def rows_of(imported, policy=AnnotationPolicy()): return extraction(*imported, None, policy).sets

def said(dataset): return sorted((e.input.split('\n')[-1], e.output) for e in dataset)

def write(path, rows):
    path.write_text(''.join(json.dumps(r, ensure_ascii=False)+'\n' for r in rows), encoding='utf-8')
    return path

# Files that the clients wrote

def test_a_chat_file_of_openai_gives_every_answer_that_is_learned_with_its_calls_and_tools():
    imported = import_telemetry(FILES/'openai_chat.jsonl')
    examples = rows_of(imported)['examples']
    assert imported.kind=='chat' and imported.accounting.kept==3
    call = '<tool_call>\n{"name": "get_menu", "arguments": {"kind": "green"}}\n</tool_call>'
    assert {e.output for e in examples}=={call, 'We have Sencha and Gyokuro.', 'Yes, from ten to four. – 日曜も営業しています 🙂', 'Sadly not.'}
    assert all(e.instruction==SYSTEM for e in examples)
    answered = next(e for e in examples if e.output.startswith('We have'))
    assert [m['role'] for m in answered.metadata['messages']]==['system', 'user', 'assistant', 'tool']
    assert answered.metadata['messages'][2]['tool_calls'][0]['function']['name']=='get_menu' and answered.metadata['messages'][3]['tool_call_id']=='call_1'
    assert json.loads(answered.metadata['tools'])[0]['function']['parameters']['required']==['kind']

def test_a_preference_file_of_openai_gives_its_pairs_and_no_other():
    imported = import_telemetry(FILES/'openai_preference.jsonl')
    pairs = rows_of(imported)['pairs']
    assert imported.kind=='openai_preference'
    assert {(p.prompt.split('\n')[-1], p.chosen.split('\n')[0], p.rejected) for p in pairs}=={
        ('May I bring my dog?', 'Yes, dogs are welcome on a lead.', 'No.'), ('Which green teas do you have?', '<tool_call>', 'All of them.')}

SHOP = [('Sunday?', 'Yes, from ten to four. – 日曜も営業しています 🙂'), ('dog?', 'Yes, dogs are welcome on a lead.'), ('["Sencha", "Gyokuro"]', 'We have Sencha and Gyokuro.')]

@pytest.mark.parametrize('files', [['langfuse_observations.jsonl', 'langfuse_scores.jsonl'], ['mlflow_traces.jsonl']])
def test_traces_of_other_tools_give_the_answers_that_were_approved_or_corrected(files):
    policy = AnnotationPolicy(names=('user-feedback', 'correctness', 'output', 'stars', 'correct', 'expected_response', 'relevance_to_query'), threshold=None)
    imported = import_telemetry([FILES/f for f in files], scale=(1, 5))
    sets = rows_of(imported, policy)
    assert imported.kind==files[0].partition('_')[0] and not imported.left_out
    assert sorted((q.split()[-1] if '[' not in q else q.partition(': ')[2], a) for q,a in said(sets['examples']))==sorted(SHOP)
    assert [(p.chosen, p.rejected) for p in sets['pairs']]==[('Yes, dogs are welcome on a lead.', 'No.')]
    assert {s.user_id for s in imported.spans}>={'u1', 'u2'} and {s.session_id for s in imported.spans}>={'s1', 's2'}
    assert {a.identifier for a in imported.annotations}>={'ana'}
    tea = next(e for e in sets['examples'] if 'Sencha' in e.output)
    assert json.loads(tea.metadata['tools'])[0]['function']['name']=='get_menu' and tea.metadata['messages'][2]['tool_calls']

def test_whole_traces_of_langfuse_hold_their_scores():
    imported = import_telemetry(FILES/'langfuse_traces.jsonl', scale=(1, 5))
    assert imported.kind=='langfuse' and len(imported.spans)>7 and {s.user_id for s in imported.spans}=={'u1', 'u2', 'u3'}
    examples = rows_of(imported, AnnotationPolicy(names=('user-feedback', 'stars')))['examples']
    assert {e.output for e in examples}=={SHOP[0][1], SHOP[2][1]}

def test_runs_and_feedback_of_langsmith_find_each_other():
    imported = import_telemetry([FILES/'langsmith_runs.jsonl', FILES/'langsmith_feedback.jsonl'])
    sets = rows_of(imported, AnnotationPolicy(names=('user_score', 'correctness', 'helpful')))
    assert imported.kind=='langsmith' and not imported.remarks
    assert {e.output for e in sets['examples']}=={SHOP[0][1], SHOP[1][1], SHOP[2][1]}
    assert [(p.chosen, p.rejected) for p in sets['pairs']]==[('Yes, dogs are welcome on a lead.', 'No.')]
    assert {s.session_id for s in imported.spans}>={'guest-1', 'guest-2', 'guest-3'}
    last = next(s for s in imported.spans if s.session_id is None and s.kind=='LLM')
    assert last.get('llm.tools') and last.get('llm.output_messages.0.message.tool_calls.0.tool_call.function.name')=='get_menu'

# Files written by hand

def test_pair_tables_give_their_pairs_and_pairs_of_one_prompt_do_not_mix(tmp_path):
    path = write(tmp_path/'p.jsonl', [dict(prompt='tea?', chosen='A', rejected='B'), dict(prompt='tea?', chosen='C', rejected='D'), dict(prompt='tea?', chosen='E', rejected='E')])
    imported = import_telemetry(path)
    assert imported.kind=='preference' and {(p.chosen, p.rejected) for p in rows_of(imported)['pairs']}=={('A', 'B'), ('C', 'D')}
    assert imported.left_out==[('p.jsonl, line 3', 'both answers are the same')]

def test_conversations_that_part_at_their_end_are_a_pair(tmp_path):
    user, good, bad = dict(role='user', content='tea?'), dict(role='assistant', content='Gladly.'), dict(role='assistant', content='No.')
    imported = import_telemetry(write(tmp_path/'p.jsonl', [dict(chosen=[user, good], rejected=[user, bad]), dict(prompt='tea?', chosen=[user, good], rejected=[user, dict(bad, content='Never.')])]))
    assert {(p.prompt, p.chosen, p.rejected) for p in rows_of(imported)['pairs']}=={('tea?', 'Gladly.', 'No.'), ('tea?', 'Gladly.', 'Never.')}

def test_a_tie_gives_no_pair_and_people_who_split_give_none():
    row = lambda prompt, winner, who: dict(prompt=prompt, answer_a=f'{prompt} yes', answer_b=f'{prompt} no', winner=winner, annotator=who)
    table = [row('one', 'A', 'ana'), row('one', 'model_b', 'ben'), row('one', 'A', 'cy'), row('two', 'tie', 'ana'), row('three', 'A', 'ana'), row('three', 'B', 'ben'), row('four', 'answer_b', 'ana')]
    imported = import_telemetry([*table, row('five', 'C', 'ana')])
    sets = rows_of(imported)
    assert {(p.chosen, p.rejected) for p in sets['pairs']}=={('one yes', 'one no'), ('four no', 'four yes')}
    assert imported.accounting.dropped=={"a winner that is neither A, B nor tie: 'C'": 1}

def test_a_winner_in_numbers_needs_both_sides():
    row = lambda n: dict(prompt=f'q{n}', answer_a='yes', answer_b='no', winner=n)
    assert len(rows_of(import_telemetry([row(1), row(2)]))['pairs'])==2
    with pytest.raises(FtkitError, match='neither A, B nor tie'): import_telemetry([row(1), row(1)])

def test_judged_documents_are_triplets(tmp_path):
    (tmp_path/'q.tsv').write_text('query\tdocument\trelevance\ntea\tgreen tea\t2\ntea\ta car\t0\ntea\tblack tea\t1\ncar\ta car\t1\n')
    found = triplets(*import_telemetry(tmp_path/'q.tsv'))
    assert {(t.anchor, t.positive, t.negative) for t in found}=={('tea', 'green tea', 'a car'), ('tea', 'black tea', 'a car')}
    with pytest.raises(FtkitError, match="by 'query-id' and 'corpus-id' and hold no texts"): import_telemetry([{'query-id': 1, 'corpus-id': 2, 'score': 1}])

def test_conversations_with_a_reward_are_approved_or_rejected_sessions():
    talk = lambda name: [dict(role=r, content=f'{name} {t}') for r,t in (('user', 'tea?'), ('assistant', 'Which?'), ('user', 'green'), ('assistant', 'Here.'))]
    imported = import_telemetry([dict(messages=talk('a'), reward=1.0, session_id='s1', created_at='2026-01-05'), dict(messages=talk('b'), reward=0.0, session_id='s2')])
    assert imported.kind=='trajectory'
    kept = trajectories(*imported, approved=True)
    assert [(t.session_id, [turn.response for turn in t.turns]) for t in kept]==[('s1', ['a Which?', 'a Here.'])]
    assert {t.session_id: t.session_score for t in trajectories(*imported)}=={'s1': 1.0, 's2': 0.0}

def test_ratings_have_their_scale_or_the_run_asks_for_it():
    rows = [dict(question=f'q{n}', answer=f'a{n}', stars=n) for n in (1, 3, 5)]
    assert {e.output for e in rows_of(import_telemetry(rows, scale=(1, 5)))['examples']}=={'a3', 'a5'}
    unscaled = import_telemetry(rows)
    assert 'stars runs from 1 to 5: give its scale' in str(unscaled)
    with pytest.raises(FtkitError, match='stars runs from 1 to 5'): rows_of(unscaled)
    assert import_telemetry([dict(question='q', answer='a', stars=7), *rows], scale=(1, 5)).accounting.dropped=={'a rating of 7 outside its scale 1 to 5': 1}

def test_a_table_with_named_columns_keeps_people_times_and_sessions(tmp_path):
    lines = ['frage;antwort;ok;wer;wann;gespräch;nutzer', 'Tee?;Gern.;yes;ana;2026-01-02 10:00;s1;u1', 'Tee?;Gern.;no;ben;2026-01-02 10:00;s1;u1', 'Tee?;Gern.;yes;cy;2026-01-02 10:00;s1;u1']
    (tmp_path/'t.csv').write_text('\n'.join(lines), encoding='utf-8-sig')
    columns = dict(question='frage', answer='antwort', good='ok', annotator='wer', time='wann', session='gespräch', user='nutzer')
    imported = import_telemetry(tmp_path/'t.csv', agent_type='cafe', **columns)
    example, = rows_of(imported)['examples']
    assert len(imported.spans)==1 and example.metadata['annotator']=='ana, cy' and example.metadata['session_id']=='s1' and example.metadata['time'].startswith('2026-01-02T10:00')
    assert imported.spans[0].user_id=='u1' and imported.spans[0].agent_type=='cafe'

def test_labelled_texts_completions_and_corrections():
    assert said(rows_of(import_telemetry([dict(text='no wifi', label='network')]))['examples'])==[('no wifi', 'network')]
    assert said(rows_of(import_telemetry([dict(prompt='hi', completion='hello'), dict(prompt='hi', completion='go away', label=False)]))['examples'])==[('hi', 'hello')]
    corrected = rows_of(import_telemetry([dict(question='tea?', answer='No.', correction='Gladly.'), dict(question='tee?', answer='Yes.', correction='Yes.')]))
    assert said(corrected['examples'])==[('tea?', 'Gladly.'), ('tee?', 'Yes.')] and [(p.chosen, p.rejected) for p in corrected['pairs']]==[('Gladly.', 'No.')]

def test_frames_and_parquet_are_read_as_their_rows(tmp_path):
    pd = pytest.importorskip('pandas')
    frame = pd.DataFrame([dict(question='q', answer='a', good=True, time=pd.Timestamp('2026-01-02')), dict(question='r', answer=None, good=None, time=pd.NaT)])
    frame.to_parquet(tmp_path/'f.parquet')
    for source in (frame, tmp_path/'f.parquet', frame.set_index('question')):
        imported = import_telemetry(source)
        assert [(s.get('llm.input_messages.0.message.content'), s.start_time.year) for s in imported.spans]==[('q', 2026)] and len(imported.left_out)==1

def test_every_fixture_and_kind_is_recognised_by_itself():
    kinds = {f.name: import_telemetry(f, scale=(1, 5)).kind for f in sorted(FILES.glob('*.jsonl')) if 'scores' not in f.name and 'feedback' not in f.name}
    assert kinds=={'langfuse_observations.jsonl': 'langfuse', 'langfuse_traces.jsonl': 'langfuse', 'langsmith_runs.jsonl': 'langsmith',
        'mlflow_traces.jsonl': 'mlflow', 'openai_chat.jsonl': 'chat', 'openai_preference.jsonl': 'openai_preference'}
    assert import_telemetry([dict(context=[dict(role='user', text='q')], generation='a', reward=1)]).kind=='feedback'

# Logs

def test_two_rows_of_a_log_that_differ_only_in_a_call_are_two_contexts():
    row = lambda city, answer, reward: dict(context=[dict(role='user', content='weather?'), dict(role='assistant', content=None, tool_calls=[dict(id='c', type='function', function=dict(name='weather', arguments=json.dumps(dict(city=city))))]),
        dict(role='tool', tool_call_id='c', content='21')], generation=answer, reward=reward)
    assert len(rows_of(feedback_telemetry([row('Oslo', 'warm', 1), row('Rome', 'cold', 0)], 'w'))['pairs'])==0
    assert len(rows_of(feedback_telemetry([row('Oslo', 'warm', 1), row('Oslo', 'cold', 0)], 'w'))['pairs'])==1

def test_a_log_keeps_calls_tools_times_users_and_annotators():
    call = dict(role='assistant', content=None, tool_calls=[dict(id='c', function=dict(name='weather', arguments='{}'))])
    row = dict(context=[dict(role='user', content='weather?')], generation=call, label='approved', tools=[dict(name='weather')], time='2026-01-02', user='u1', annotator='ana', conversation_id='s1')
    (span,), (note,) = feedback_telemetry([row], 'w')
    assert (span.user_id, span.session_id, span.start_time.day, note.identifier)==('u1', 's1', 2, 'ana')
    assert span.get('llm.tools.0.tool.json_schema') and rows_of(([span], [note]))['examples'][0].output.startswith('<tool_call>')

# What is broken

GOOD = '{"question": "q", "answer": "a", "good": true}\n'

def test_a_row_that_cannot_be_read_is_left_out_with_its_line(tmp_path):
    (tmp_path/'x.jsonl').write_bytes((GOOD+'null\n7\n{"question": \n'+'{"a":'*3000+'\n'+'{"a": '*150+'1'+'}'*150+'\n'+GOOD).encode()+GOOD.encode().replace(b'"a"', b'"\xff"'))
    imported = import_telemetry(tmp_path/'x.jsonl')
    assert [where.rpartition(' ')[2] for where,_ in imported.left_out]==['2', '3', '4', '5', '6', '8'] and imported.accounting.seen==8 and len(imported.spans)==2
    assert len({s.span_id for s in imported.spans})==2

BROKEN = dict(
    gz=(b'question,answer\n', 'is named .gz and is not gzip'), cut=(gzip.compress(GOOD.encode()*50)[:-9], 'is not whole gzip'),
    json=(b'[{"question": "q"},\n{"question"', 'line 2: the JSON is broken or ends early'), quote=(b'question,answer\nq,"a\nq,a\n', 'line 2: a quotation mark is opened and never closed'),
    latin=(('question,answer,good\n'+'qué,sí,1\n'*3).encode('latin-1'), 'line 2 is not UTF-8 .* give encoding='),
    twice=(b'question,question\n1,2\n', "has the column 'question' twice"), empty=(b'\n', 'is empty'), zip=(b'PK\x03\x04....', 'save the sheet as CSV'),
    parquet=(b'PAR1....', 'is not a whole Parquet file'), utf16=('question,answer\nq,a\n'.encode('utf-16')[:-1], 'line 2 is not utf-16'), nothing=(b'null\n', 'holds no row that can be read'),
    unknown=(b'foo,bar\n1,2\n', 'is of no known kind'))

@pytest.mark.parametrize('name', BROKEN)
def test_a_file_that_cannot_be_read_is_one_clear_error(name, tmp_path):
    raw, message = BROKEN[name]
    path = tmp_path/('x.csv.gz' if name in ('gz', 'cut') else 'x.json' if name=='json' else 'x.csv')
    path.write_bytes(raw)
    with pytest.raises(FtkitError, match=message): import_telemetry(path)

@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16', 'utf-16-le', 'utf-32'])
def test_encodings_that_show_are_read(encoding, tmp_path):
    (tmp_path/'x.csv').write_bytes('question,answer,good\nqué?,sí,1\n'.encode(encoding))
    assert import_telemetry(tmp_path/'x.csv').spans[0].get('llm.output_messages.0.message.content')=='sí'

def test_a_named_encoding_is_read_and_an_unknown_one_refused(tmp_path):
    (tmp_path/'x.csv').write_bytes('question,answer,good\nкак?,да,1\n'.encode('cp1251'))
    assert import_telemetry(tmp_path/'x.csv', encoding='cp1251').spans[0].get('llm.output_messages.0.message.content')=='да'
    with pytest.raises(FtkitError, match="encoding 'cp9' is not known"): import_telemetry(tmp_path/'x.csv', encoding='cp9')

def test_what_is_asked_wrongly_is_said():
    for match, call in {'did you mean': dict(kind='langfus'), 'is not of the kind': dict(kind='chat'), 'there is no column': dict(question='frage'), 'is no scale': dict(scale=(5, 1)),
            'is of no known kind': dict(nonsense='a'), 'direction': dict(direction='up')}.items():
        with pytest.raises(FtkitError, match=match): import_telemetry([dict(question='q', answer='a', good=1)], **call)

def test_pictures_and_several_choices_are_left_out_and_said(tmp_path):
    chat = lambda content: dict(messages=[dict(role='user', content=content), dict(role='assistant', content='A cat.')])
    imported = import_telemetry([chat('what?'), chat([dict(type='text', text='what?'), dict(type='image_url', image_url=dict(url='x'))])])
    assert imported.accounting.dropped=={'has a part that is no text: image_url': 1} and len(imported.spans)==1

JUNK = [None, 0, -1.5, True, '', 'text', [], [None], {}, dict(role=3), dict(role='user'), [[1]], '{', '[{"role": "x"}]', dict(type='constructor', id=[], kwargs=3), 10**400, '\ud83d', [dict(role='assistant', tool_calls=[3])], dict(info={}, data=3)]

@pytest.mark.parametrize('seed', range(12))
def test_nothing_in_a_row_raises_anything_but_a_clear_error(seed):
    rng = random.Random(seed)
    known = [json.loads(line) for f in sorted(FILES.glob('*.jsonl')) for line in f.read_text(encoding='utf-8').splitlines()]
    known += [dict(prompt='a', chosen='b', rejected='c'), dict(prompt='a', answer_a='b', answer_b='c', winner='A'), dict(query='a', document='b', relevance=1), dict(text='a', label='b'),
        dict(question='q', answer='a', good=1, rating=3, session='s', session_good=1, correction='c', tools=[], time=3), dict(context=[], generation='a', reward=1), dict(anchor='a', positive='b', negative='c')]
    for base in known:
        rows = [damaged(base, rng) for _ in range(6)]
        for kind in ('auto', rng.choice(list(KINDS))):
            try: imported = import_telemetry(rows, kind)
            except FtkitError: continue
            assert imported.accounting.seen==len(rows) and all(a.on in {s.span_id for s in imported.spans} for a in imported.annotations if a.target in ('span', 'document'))

def damaged(value, rng):
    "The same with something else in one of its places."
    value = json.loads(json.dumps(value))
    here = value
    while isinstance(here, (dict, list)) and here:
        key = rng.choice(list(here)) if isinstance(here, dict) else rng.randrange(len(here))
        if rng.random()<.4 or not isinstance(here[key], (dict, list)) or not here[key]:
            here[key] = rng.choice(JUNK)
            break
        here = here[key]
    return value

def test_numbers_and_times_are_read_as_people_write_them():
    assert [as_number(v) for v in ('0,9', '90%', '-1.5', '1,000', '1,5 %', 'x', '', float('nan'))]==[.9, .9, -1.5, None, .015, None, None, None]
    assert [as_moment(v) and as_moment(v).year for v in (1767225600123, '1767225600000000', 'Thu, 01 Jan 2026 00:00:00 +0100', 'soon', True, 12)]==[2026, 2026, 2025, None, None, None]

# Where it goes

def test_importing_twice_gives_the_same_and_a_repeated_row_is_another_call():
    rows = [dict(question='q', answer='a', good=1)]*2
    first, second = import_telemetry(rows), import_telemetry(rows)
    assert list(first)==list(second) and len({s.span_id for s in first.spans})==2
    longer = import_telemetry([dict(question='new', answer='row', good=1), *rows])
    assert {s.span_id for s in first.spans}<={s.span_id for s in longer.spans}

async def all_spans(provider): return [s async for batch in provider.span_batches() for s in batch]

def test_what_is_imported_can_be_saved_and_provided(tmp_path, fresh_home):
    import asyncio
    imported = import_telemetry([dict(question='q', answer='a', good=1)], agent_type='cafe')
    spans = asyncio.run(all_spans(imported.provider('acme')))
    assert [s.span_id for s in spans]==[s.span_id for s in imported.spans] and asyncio.run(all_spans(FileProvider(imported.save(tmp_path/'x'))))==spans

def test_a_provider_of_one_project_refuses_another(tmp_path):
    import asyncio
    folder = import_telemetry([dict(question='q', answer='a', good=1)]).save(tmp_path/'cafe')
    spans = lambda project: asyncio.run(anext(FileProvider(folder, 'acme', 'shop').span_batches(project)))
    assert len(spans('shop'))==len(spans('cafe'))==len(spans(None))==1
    with pytest.raises(FtkitError, match="project 'bank' is not one of: shop, cafe"): spans('bank')

@pytest.mark.parametrize('name, text', [('x.csv', 'question,answer\n'), ('x.jsonl', '{"question": "q"}\n')])
def test_a_provider_of_files_names_the_import_when_it_is_given_something_else(name, text, tmp_path):
    import asyncio
    (tmp_path/name).write_text(text)
    with pytest.raises(FtkitError, match='import_telemetry'): asyncio.run(all_spans(FileProvider(tmp_path/name)))

def test_the_command_says_what_it_took_and_what_comes_next(tmp_path, capsys):
    from typer.testing import CliRunner
    from ftkit.cli import app
    (tmp_path/'t.csv').write_text('frage,antwort,ok,rest\nTee?,Gern.,yes,x\n,,no,y\n')
    options = ['--out', str(tmp_path/'cafe'), '--agent-type', 'cafe', '--column', 'question=frage', '--column', 'answer=antwort', '--column', 'good=ok']
    told = CliRunner().invoke(app, ['import', str(tmp_path/'t.csv'), *options])
    assert told.exit_code==0 and 'question <- frage' in told.output and 'left aside: rest' in told.output and '- no question' in told.output
    assert f'ftkit train --file {tmp_path/"cafe"} --project cafe --agent-type cafe' in told.output and (tmp_path/'cafe'/'spans.jsonl').exists()
    assert CliRunner().invoke(app, ['import', str(tmp_path/'t.csv'), '--out', str(tmp_path/'no')]).exit_code==2
    assert json.loads(CliRunner().invoke(app, ['import', str(tmp_path/'t.csv'), *options, '--json']).output)['spans']==1
