"Training files as the OpenAI client uploads them: what the model said, in the chat format and the preference format."
import json
import openai
from local import Local, MENU, OUT, SYSTEM

def upload(method, path, body):
    return dict(id='file-1', object='file', bytes=len(body), created_at=1772442000, filename='f.jsonl', purpose='fine-tune', status='processed')

local = Local(upload)
client = openai.OpenAI(base_url=f'{local.url}/v1', api_key='none', max_retries=0)

def ask(messages, **more):
    said = client.chat.completions.create(model='gpt-4o-mini', messages=messages, **more).choices[0].message
    messages.append(said.model_dump(exclude_none=True))
    return said

def user(text):
    return dict(role='user', content=text)

tea = [SYSTEM, user('Which green teas do you have?')]
call = ask(tea, tools=[MENU]).tool_calls[0]
tea.append(dict(role='tool', tool_call_id=call.id, content='["Sencha", "Gyokuro"]'))
ask(tea, tools=[MENU])
sunday = [SYSTEM, user('Do you open on Sunday?')]
ask(sunday)
discount = [SYSTEM, user('Is there a discount for students?')]
ask(discount)
discount[-1]['weight'] = 0
discount.append(user('And for teachers?'))
ask(discount)
chats = [dict(messages=tea, tools=[MENU], parallel_tool_calls=False), dict(messages=sunday), dict(messages=discount)]

dog = [SYSTEM, user('May I bring my dog?')]
ask(dog)
pairs = [
    dict(input=dict(messages=dog[:-1], tools=[], parallel_tool_calls=True), preferred_output=[dict(role='assistant', content='Yes, dogs are welcome on a lead.')], non_preferred_output=[dog[-1]]),
    dict(input=dict(messages=tea[:2], tools=[MENU], parallel_tool_calls=False), preferred_output=[tea[2]], non_preferred_output=[dict(role='assistant', content='All of them.')]),
]
for name,rows in (('openai_chat.jsonl', chats), ('openai_preference.jsonl', pairs)):
    path = OUT/name
    OUT.mkdir(parents=True, exist_ok=True)
    path.write_text(''.join(json.dumps(r, ensure_ascii=False)+'\n' for r in rows), encoding='utf-8')
    with open(path, 'rb') as f:
        client.files.create(file=f, purpose='fine-tune') # the client reads and sends the file as it is
    assert path.read_bytes() in local.posted[-1][2]
