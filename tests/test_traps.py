"Faults that other systems shipped: a healthy loss curve and a wrong model. Numbers are those of the list in the traps file; 19 and 22 train, and are in test_train."
import copy, json
from dataclasses import replace

import pytest
import torch
from families import REFUSED, TRAINED, tokenizer
from tokenizers.processors import TemplateProcessing

from ftkit.core import FtkitError
from ftkit.disk import write_json
from ftkit.records import (ConversationTrajectory, ConversationTurn, InstructionDataset, InstructionExample, PreferencePair)
from ftkit.data.formats import prompt_of, tools_of
from ftkit.model.load import load, load_base
from ftkit.model.prompt import closing_id, fit_roles, lost_texts, render, to_ids
from ftkit.plans.plan import OrchestrationConfig
from ftkit.model.tree import IGNORED, answer_logps, collate, plain_logps, share, tree
from ftkit.model.tiny import random_base
from ftkit.train.base import save_adapter
from ftkit.train.lora import with_lora
from ftkit.train.preflight import (
    CHECKS, Row, arrow_marks, encode, encode_conversation, encode_pair, fit_rows, inspect_rows,
    length_notes, preview, refuse_unless_clean, stops, template_fault)
from ftkit.train.run import row_limit
from ftkit.train.sft import fit_conversations, sft_columns, tree_collator

families = pytest.mark.parametrize('family', TRAINED)
ODD = ('a', 'user', 'assistant', '', 'Where is it?', ' spaced ', 'é🙂', 'model\n\nuser')

def asked(text='Where is it?', answer='On its way', **metadata): return InstructionExample(text, '', answer, metadata)
def talk(*turns, **metadata): return ConversationTrajectory('c', tuple(ConversationTurn(n, q, a, '', f's{n}') for n,(q,a) in enumerate(turns)), metadata=metadata)
def learned(row, tok): return [tok.decode(s) for s in row.stretches]
def refusal(row, tok, checks=CHECKS): return next((why for why,_ in inspect_rows([row], tok, checks).examples), None)
def without(name): return {k: c for k,c in CHECKS.items() if k!=name}

def caught_only_by(name, row, tok, says):
    "The check refuses the row, and without the check it would pass"
    assert says in refusal(row, tok) and refusal(row, tok, without(name)) is None

# --- masks, templates, special tokens

@families
def test_1_every_answer_ends_with_the_end_of_turn_of_its_family(family):
    tok, end = tokenizer(family), TRAINED[family][3]
    assert learned(encode(asked(), tok), tok)==['On its way'+end] and tok.convert_tokens_to_ids(end) in stops(tok)

@families
def test_1_a_conversation_ends_every_turn(family):
    tok, end = tokenizer(family), TRAINED[family][3]
    if family=='qwen3_5_nothink':
        with pytest.raises(FtkitError, match='writes earlier turns differently'): encode_conversation(talk(('Q', 'One'), ('R', 'Two')), tok)
    else: assert learned(encode_conversation(talk(('Q', 'One'), ('R', 'Two')), tok), tok)==['One'+end, 'Two'+end]

def test_1_a_row_without_its_end_is_refused():
    tok = tokenizer('gemma')
    row = encode_conversation(talk(('Q', 'One'), ('R', 'Two')), tok)
    last = max(i for i,l in enumerate(row.labels) if l!=IGNORED)
    first = next(i for i,l in enumerate(row.labels) if l==closing_id(tok))
    for at in (first, last):
        caught_only_by('no_end', replace(row, labels=[IGNORED if i==at else l for i,l in enumerate(row.labels)]), tok, 'never stop')

@pytest.mark.parametrize('family', REFUSED)
def test_2_a_template_that_cannot_teach_an_answer_is_refused_with_the_reason(family):
    tok = tokenizer(family)
    assert REFUSED[family][3] in template_fault(tok)
    for make in (encode, lambda r, t: encode_pair(PreferencePair('q', 'a', 'b'), t), lambda r, t: fit_rows([r], t, 512)):
        with pytest.raises(FtkitError, match='cannot be trained with the chat template'): make(asked(), tok)

def test_2_an_end_given_to_the_next_message_is_refused_in_a_conversation():
    with pytest.raises(FtkitError, match='does not end an assistant turn'): encode_conversation(talk(('Q', 'One'), ('R', 'Two')), _endless())

def _endless():
    tok = copy.deepcopy(tokenizer('tiny'))
    tok.chat_template = "{% for m in messages %}{{ '<|im_start|>' + m.role + ': ' + m.content + ' ' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant: ' }}{% endif %}"
    return tok

def test_3_the_end_is_learned_where_padding_is_the_same_token():
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling
    tok = copy.deepcopy(tokenizer('tiny'))
    tok.pad_token = tok.eos_token
    rows = [encode(asked(answer=a), tok) for a in ('no', 'a longer answer')]
    refuse_unless_clean(inspect_rows(rows, tok))
    batch = DataCollatorForLanguageModeling(pad_token_id=tok.pad_token_id)(list(sft_columns(rows)))
    assert [int((b==tok.eos_token_id).sum()) for b in batch['labels']]==[1, 1]
    assert int((tree_collator(tok.pad_token_id)(list(sft_columns(rows)))['targets']==tok.eos_token_id).sum())==2

def test_3_padding_that_is_learned_is_refused():
    tok, row = tokenizer('tiny'), encode(asked(), tokenizer('tiny'))
    pad = [tok.pad_token_id]
    at = len(row)-1
    padded = Row(row.input_ids[:at]+pad+row.input_ids[at:], row.labels[:at]+pad+row.labels[at:])
    caught_only_by('padding_learned', padded, tok, 'padding is learned')

@families
def test_4_the_first_token_of_an_answer_is_learned(family):
    tok = tokenizer(family)
    row = encode(asked(), tok)
    first = next(i for i,l in enumerate(row.labels) if l!=IGNORED)
    caught_only_by('other_words', replace(row, labels=[IGNORED if i==first else l for i,l in enumerate(row.labels)]), tok, 'first token of an answer')

def test_4_answers_that_differ_in_their_first_token_only_have_a_margin():
    base = load_base(random_base(), dtype='float32', device='cpu')
    p = encode_pair(PreferencePair('q', 'yes it is', 'no it is'), base.tokenizer)
    assert p['chosen_ids'][0]!=p['rejected_ids'][0]
    with torch.no_grad(): logps, _ = answer_logps(base.model, collate([tree(p['prompt_ids'], [(p[k], p[k]) for k in ('chosen_ids', 'rejected_ids')])]))
    assert abs(logps[0]-logps[1])>1e-3

@families
@pytest.mark.parametrize('answer', ODD)
def test_5_short_and_repeated_words_are_found_in_their_place(family, answer):
    tok, end = tokenizer(family), TRAINED[family][3]
    assert learned(encode(asked(answer=answer), tok), tok)==[answer+end]
    if family=='qwen3_5_nothink': return
    row = encode_conversation(talk(('user', answer), (answer or 'x', 'assistant')), tok)
    assert [' '.join(t.removesuffix(end).split()) for t in learned(row, tok)]==[' '.join(answer.split()), 'assistant']
    assert row.learned==len(tok(answer if answer.strip()==answer or tok.decode(row.stretches[0])==answer+end else answer.strip(), add_special_tokens=False)['input_ids'])+len(tok('assistant', add_special_tokens=False)['input_ids'])+2
    refuse_unless_clean(inspect_rows([row], tok))

def test_6_an_empty_mask_is_refused():
    row = encode(asked(), tokenizer('tiny'))
    empty = Row(row.input_ids, [IGNORED]*len(row))
    caught_only_by('nothing_learned', empty, tokenizer('tiny'), 'nothing in it is learned')

def test_6_a_template_without_generation_marks_is_used_where_prompts_are_prefixes_and_refused_elsewhere():
    assert 'generation' not in tokenizer('qwen2_5').chat_template.replace('add_generation_prompt', '')
    assert encode_conversation(talk(('Q', 'One'), ('R', 'Two')), tokenizer('qwen2_5')).learned
    with pytest.raises(FtkitError, match=r'no \{% generation %\} marks'): encode_conversation(talk(('Q', 'One'), ('R', 'Two')), tokenizer('qwen3_5_nothink'))
    marked = tokenizer('qwen3_5_nothink', 'qwen3_5_nothink_training')
    assert learned(encode_conversation(talk(('Q', 'One'), ('R', 'Two')), marked), marked)==['One<|im_end|>', 'Two<|im_end|>']

def test_7_tokens_and_labels_match_one_to_one():
    tok, row = tokenizer('tiny'), encode(asked(), tokenizer('tiny'))
    assert len(row.input_ids)==len(row.labels) and all(type(i) is int for i in row.input_ids)
    caught_only_by('uneven', replace(row, labels=[*row.labels, row.labels[-1]]), tok, 'one to one')
    caught_only_by('uneven', Row([*tok('a')][:1]+row.input_ids[1:], row.labels, row.said), tok, 'one to one')

@families
def test_8_the_prompt_is_a_prefix_and_the_answer_follows_at_once(family):
    tok = tokenizer(family)
    for answer in ODD:
        row = encode(asked(answer=answer), tok)
        prompt = to_ids(tok, prompt_of(asked()))
        assert row.input_ids[:len(prompt)]==prompt and set(row.labels[:len(prompt)])=={IGNORED} and IGNORED not in row.labels[len(prompt):]

def test_8_a_prompt_that_the_whole_does_not_begin_with_is_refused():
    tok = copy.deepcopy(tokenizer('tiny'))
    tok.chat_template = tok.chat_template.replace("{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}", "{%- if add_generation_prompt -%}{{- '<|im_start|>bot\\n' -}}")
    assert 'not the beginning' in template_fault(tok)

def test_8_plain_text_is_cut_where_the_answer_begins():
    tok = copy.deepcopy(tokenizer('tiny'))
    tok.chat_template = None
    for answer in ('\nanswer', ' answer', 'answer'):
        row = encode(InstructionExample('Say', 'it', answer), tok)
        assert row.input_ids[:-row.learned]==to_ids(tok, prompt_of(InstructionExample('Say', 'it', answer), chat=False)) and learned(row, tok)==[answer+tok.eos_token]

@families
def test_9_one_beginning_of_sequence_in_training_and_in_generation(family):
    tok = copy.deepcopy(tokenizer(family))
    if tok.bos_token is None: return
    tok.backend_tokenizer.post_processor = TemplateProcessing(single='$bos $A'.replace('$bos', tok.bos_token), special_tokens=[(tok.bos_token, tok.bos_token_id)])
    for ids in (encode(asked(), tok).input_ids, to_ids(tok, prompt_of(asked()))): assert ids.count(tok.bos_token_id)==(family not in ('tiny', 'phi3')) # their templates write none
    assert to_ids(tok, tok.bos_token+'plain text').count(tok.bos_token_id)==1

def test_9_two_beginnings_are_refused():
    tok, row = tokenizer('llama3'), encode(asked(), tokenizer('llama3'))
    caught_only_by('double_start', Row([tok.bos_token_id, *row.input_ids], [IGNORED, *row.labels], row.said), tok, 'two beginning-of-sequence')

@families
def test_10_training_prompts_are_the_ones_a_server_makes(family):
    tok, row = tokenizer(family), encode(asked(), tokenizer(family))
    served = tok.apply_chat_template([dict(role='user', content='Where is it?')], add_generation_prompt=True, return_dict=True)['input_ids']
    assert row.input_ids[:len(row)-row.learned]==served

@pytest.mark.parametrize('family', ['qwen3', 'qwen3_5_nothink'])
def test_11_an_inserted_empty_thought_is_not_learned(family):
    tok = tokenizer(family, 'qwen3_5_nothink_training' if family!='qwen3' else None)
    row = encode_conversation(talk(('Q', 'One'), ('R', 'Two')), tok)
    assert '<think>' in tok.decode(row.input_ids) and not any('think' in t for t in learned(row, tok))

def test_11_reasoning_that_a_template_strips_is_refused():
    with pytest.raises(FtkitError, match='changes answer 1'): encode_conversation(talk(('Q', '<think>\nwhy\n</think>\n\nOne'), ('R', 'Two')), tokenizer('qwen3'))

@families
def test_12_a_system_message_is_read_and_never_taught(family):
    tok, record = tokenizer(family), InstructionExample('Be brief.', 'Where is it?', 'Here')
    row = encode(record, tok)
    assert 'Be brief.' in tok.decode(row.input_ids) and learned(row, tok)==['Here'+TRAINED[family][3]]
    if family!='qwen3_5_nothink': assert len(encode_conversation(talk(('Q', 'One'), ('R', 'Two'), system='Be brief.'), tok).stretches)==2

def test_13_the_saved_tokenizer_speaks_as_the_trained_one(tmp_path):
    from transformers import AutoTokenizer
    model, _ = with_lora(load_base(random_base(), dtype='float32', device='cpu').model, _config().adapter)
    tok = tokenizer('llama3')
    again = AutoTokenizer.from_pretrained(save_adapter(model, tok, tmp_path))
    assert again.chat_template==tok.chat_template and encode(asked(), again)==encode(asked(), tok)

def _config(**more): return OrchestrationConfig(**{**dict(tenant_id='a', project='p', model_type='llm', agent_type='r', base_model='ftkit-tiny'), **more})

def test_14_both_computations_learn_the_same_tokens():
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling
    tok = tokenizer('tiny')
    rows = [encode(asked(t, a), tok) for t,a in (('one', 'first'), ('another question', 'second answer'))]
    trl, ours = DataCollatorForLanguageModeling(pad_token_id=tok.pad_token_id)(list(sft_columns(rows)))['labels'], tree_collator(0)(list(sft_columns(rows)))['targets']
    assert sorted(trl[trl!=IGNORED].tolist())==sorted(ours.tolist())==sorted(l for r in rows for l in r.labels if l!=IGNORED)

def test_14_a_learned_prompt_is_refused():
    row = encode(asked(), tokenizer('tiny'))
    caught_only_by('no_prompt', Row(row.input_ids, row.input_ids), tokenizer('tiny'), 'prompt is learned')

def test_14_labels_are_the_tokens_themselves():
    row = encode(asked(), tokenizer('tiny'))
    shifted = Row(row.input_ids, [*row.labels[1:], row.labels[-1]])
    caught_only_by('other_tokens', Row(row.input_ids, [*row.labels[:-2], row.labels[-2]+1, row.labels[-1]]), tokenizer('tiny'), 'differs')
    assert refusal(shifted, tokenizer('tiny'))

def test_14_every_answer_of_a_conversation_is_learned():
    tok = tokenizer('tiny')
    row = encode_conversation(talk(('Q', 'One'), ('R', 'Two')), tok)
    half = next(i for i,l in enumerate(row.labels) if l==tok.eos_token_id)+1
    caught_only_by('not_all_answers', replace(row, labels=[IGNORED]*half+row.labels[half:], said=('Two', 'Two')), tok, '1 of its 2 answers')

# --- lengths, packing, loss

def test_15_an_answer_is_never_cut_and_the_lost_rows_are_named():
    tok = tokenizer('tiny')
    rows = [asked() for _ in range(18)]+[asked(answer='word '*300), asked()]
    fitted = fit_rows(rows, tok, 128)
    assert fitted.left_out==(18,) and len(fitted.kept)==19 and all(learned(encode(r, tok), tok)==['On its way<|im_end|>'] for r in fitted.kept)
    assert fitted.notes('examples')==['examples: 1 of 20 rows were left out because their last message or answer is too long (rows 18)']
    with pytest.raises(FtkitError, match='too little would remain: 3 of 20 rows were left out'): fit_rows(rows[:17]+rows[18:19]*3, tok, 128)

def test_16_a_shortened_prompt_is_counted_and_named():
    tok = tokenizer('tiny')
    long = asked(messages=[dict(role=r, content='word '*30) for r in ('user', 'assistant')*3]+[dict(role='user', content='Where is it?')])
    fitted = fit_rows([asked(), long], tok, 100)
    assert fitted.shortened==(1,) and 'rows 1' in fitted.notes('examples')[0] and len(encode(fitted.kept[1], tok))<=100
    assert learned(encode(fitted.kept[1], tok), tok)==['On its way<|im_end|>'] and fitted.account.kept==2

def _row_limit(c, base): return row_limit(c.method, c.train, base)

def test_17_the_length_asked_for_is_the_length_there_is(tmp_path):
    tok = tokenizer('tiny')
    long = asked('word '*1400)
    seen = preview([long], tok, 1800)
    assert 1024<seen.longest<=1800 and len(tree_collator(0)(list(sft_columns([encode(long, tok)])))['input_ids'][0])>1024
    with pytest.raises(FtkitError, match='left out'): fit_rows([long], tok, 512)
    with pytest.raises(FtkitError, match='more than the 2,048 tokens'): _row_limit(_config(max_length=4096), random_base())
    search = dict(model_type='embedding', agent_type=None, modality='text')
    for name,holds in (('config', dict(max_position_embeddings=512)), ('sentence_bert_config', dict(max_seq_length=128))): write_json(tmp_path/f'{name}.json', holds)
    assert _row_limit(_config(**search), tmp_path)==128 and _row_limit(_config(), tmp_path)==512
    with pytest.raises(FtkitError, match='more than the 128 tokens'): _row_limit(_config(**search, max_length=256), tmp_path)

def test_18_rows_in_one_tree_do_not_see_each_other():
    base = load_base(random_base(), dtype='float32', device='cpu')
    rows = [(r.input_ids, r.labels) for r in (encode(InstructionExample('Route the request to one team.', q, a), base.tokenizer) for q,a in (('parcel', 'delivery'), ('money', 'refunds'), ('mug', 'catalogue')))]
    packed = share(rows, worth=2)
    with torch.no_grad(): together, alone = answer_logps(base.model, collate(packed))[0], plain_logps(base.model, rows)
    assert len(packed)==1 and torch.allclose(together, alone, atol=1e-4)

def test_20_a_batch_without_a_learned_token_is_not_a_loss_of_zero():
    row = encode(asked(), tokenizer('tiny'))
    with pytest.raises(FtkitError, match='nothing in it is learned'): refuse_unless_clean(inspect_rows([row, Row(row.input_ids, [IGNORED]*len(row))], tokenizer('tiny')))
    with pytest.raises(FtkitError, match='empty dataset'): refuse_unless_clean(inspect_rows([], tokenizer('tiny')))

# --- preference training with adapters

def test_21_a_new_adapter_begins_as_its_reference():
    base = load_base(random_base(), dtype='float32', device='cpu')
    model, _ = with_lora(base.model, _config(target_modules='all-linear').adapter)
    p = encode_pair(PreferencePair('q', 'yes', 'no'), base.tokenizer)
    batch = collate([tree(p['prompt_ids'], [(p[k], p[k]) for k in ('chosen_ids', 'rejected_ids')])])
    with torch.no_grad():
        policy = answer_logps(model, batch)[0]
        with model.disable_adapter(): assert torch.equal(policy, answer_logps(model, batch)[0])

def test_23_stacked_and_merged_adapters_say_the_same(tmp_path):
    base = load_base(random_base(), dtype='float32', device='cpu')
    model, _ = with_lora(base.model, _config(target_modules='all-linear').adapter)
    with torch.no_grad():
        for n,p in model.named_parameters():
            if 'lora_B' in n: p.normal_(std=.05)
    ids = torch.tensor([to_ids(base.tokenizer, 'Where is it?')])
    trained = model(ids).logits
    stacked = load(random_base(), save_adapter(model, base.tokenizer, tmp_path), dtype='float32', device='cpu').model
    assert torch.equal(stacked(ids).logits, trained) and torch.allclose(stacked.merge_and_unload()(ids).logits, trained, atol=1e-5)

def test_25_equal_answers_are_refused_and_length_as_the_label_is_said():
    with pytest.raises(FtkitError, match='the same to the model'): encode_pair(PreferencePair('q', 'same', 'same'), tokenizer('tiny'))
    assert '100% of 12 pairs' in length_notes([PreferencePair('q', 'a long answer', 'no')]*12)[0] and 'shorter' in length_notes([PreferencePair('q', 'no', 'a long answer')]*12)[0]
    assert length_notes([PreferencePair('q', *sides) for sides in (('long one', 'no'), ('no', 'long one'))*6])==[]

@families
def test_26_chosen_and_rejected_begin_right_after_the_prompt(family):
    tok = tokenizer(family)
    p = encode_pair(PreferencePair('Where is it?', 'yes', 'no'), tok)
    assert tok.decode(p['chosen_ids'])=='yes'+TRAINED[family][3] and tok.decode(p['rejected_ids'])=='no'+TRAINED[family][3]
    assert tok.decode(p['prompt_ids'])==render(tok, [dict(role='user', content='Where is it?')])

# --- tools and structure

TOOLS = [dict(type='function', function=dict(name='find', description='Find an order', parameters=dict(type='object', properties=dict(order=dict(type='string')), required=['order']))),
         dict(type='function', function=dict(name='refund', description='Give money back', parameters=dict(type='object', properties=dict(amount=dict(type='number', minimum=0, default=None)))))]

def test_27_tool_schemas_come_back_from_a_table_byte_for_byte(tmp_path):
    rows = InstructionDataset([asked(tools=json.dumps(TOOLS)), asked(tools=json.dumps(TOOLS[:1]))])
    rows.save_parquet(tmp_path/'r.parquet')
    for again in (InstructionDataset.load_parquet(tmp_path/'r.parquet'), InstructionDataset(InstructionExample(**{**r, 'metadata': json.loads(r['metadata'])}) for r in rows.to_hf())):
        assert [r.metadata['tools'] for r in again]==[r.metadata['tools'] for r in rows] and tools_of(again[0])==TOOLS

def test_27_schemas_that_a_table_changed_are_refused():
    from datasets import Dataset
    through = Dataset.from_list([dict(tools=TOOLS)])[0]['tools']
    assert through!=TOOLS and arrow_marks(through) and arrow_marks(TOOLS) is None
    with pytest.raises(FtkitError, match='null at'): encode(asked(tools=through), tokenizer('tiny'))
    with pytest.raises(FtkitError, match='null at'): encode_conversation(talk(('Q', 'One'), tools=through), tokenizer('tiny'))
    assert encode(asked(tools=TOOLS), tokenizer('tiny')).learned

CALLING = ('tiny', 'qwen2_5', 'qwen3', 'qwen3_instruct_2507', 'qwen3_5_nothink', 'llama3_1', 'lfm2_v2')
SAID = dict(role='tool', tool_call_id='1', name='find', content='left on Monday')

def called(arguments): return [dict(role='user', content='Where is it?'), dict(role='assistant', content='', tool_calls=[dict(id='1', type='function', function=dict(name='find', arguments=arguments))]), SAID]

@pytest.mark.parametrize('family', CALLING)
def test_28_arguments_as_text_and_as_a_dict_are_one_prompt(family):
    tok = tokenizer(family)
    text, value = (encode(asked(messages=called(a), tools=json.dumps(TOOLS[:1])), tok) for a in ('{"order": "A7"}', dict(order='A7')))
    assert text==value and '\\"order\\"' not in tok.decode(text.input_ids) and 'A7' in tok.decode(text.input_ids)

@pytest.mark.parametrize('family', CALLING)
def test_29_what_a_tool_said_is_read_and_never_learned(family):
    tok = tokenizer(family)
    row = encode(asked(messages=called(dict(order='A7')), tools=json.dumps(TOOLS[:1])), tok)
    assert 'left on Monday' in tok.decode(row.input_ids) and learned(row, tok)==['On its way'+TRAINED[family][3]]

@pytest.mark.parametrize('family', sorted(set(TRAINED)-set(CALLING)-{'gemma4'}))
def test_29_a_template_that_drops_tools_is_refused(family):
    with pytest.raises(FtkitError, match='leaves tool calls|refuses a record'): encode(asked(messages=called(dict(order='A7'))), tokenizer(family))

# --- roles

LOOKED = [dict(role='assistant', content='', tool_calls=[dict(id='call00001', type='function', function=dict(name='find', arguments='{"order": "A \\"7\\"\\nb", "days": [12, {"by": "sea"}]}'))]),
          dict(role='tool', tool_call_id='call00001', name='find', content='{"left": "on \\"Monday\\"\\n", "to": "K\u00f6ln 🙂"}')]
TOLD = [dict(role='system', content='Be  kind.'), dict(role='developer', content='Answer\nbriefly.\n'), dict(role='user', content='Hello "you".'), dict(role='user', content=' Where is C:\\new? ')]
LATER = [dict(role='assistant', content='<think>\nwhy\n</think>\n\nIt left.'), dict(role='user', content='Thanks, and?')]
WITHOUT_TOOLS = ('llama3', 'gemma', 'gemma3', 'phi3', 'cohere')
TEXTS = ('Be kind.', 'Answer briefly.', 'Hello "you".', 'Where is C:', 'It left.', 'Thanks, and?')

def spaced(tok, ids): return ' '.join(tok.decode(ids).split())
def among(record, tok, fit=fit_rows): return fit([record, *[asked()]*19] if fit is fit_rows else [record, *[talk(('Q', 'A'))]*19], tok, 1024)

@families
def test_50_every_text_arrives_whatever_its_role(family):
    tok = tokenizer(family)
    record = asked(messages=[*TOLD, *LATER])
    fitted = among(record, tok)
    assert len(fitted.kept)==20 and not fitted.left_out
    row = encode(fitted.kept[0], tok)
    assert [t for t in TEXTS if t not in spaced(tok, row.input_ids)]==[] and learned(row, tok)==['On its way'+TRAINED[family][3]]
    refuse_unless_clean(inspect_rows([row], tok))
    p = encode_pair(PreferencePair('q', 'yes', 'no', metadata=record.metadata), tok)
    assert p['prompt_ids']==to_ids(tok, prompt_of(record))==row.input_ids[:len(row)-row.learned]

@families
def test_50_tool_calls_and_results_arrive_or_the_row_is_counted(family):
    tok = tokenizer(family)
    fitted = among(asked(messages=[*TOLD, *LOOKED, *LATER], tools=json.dumps(TOOLS)), tok)
    if family in WITHOUT_TOOLS:
        assert fitted.left_out==(0,) and fitted.account.kept==19 and [n for n in fitted.account.dropped.values()]==[1]
        assert 'leaves tool calls or their answers out' in fitted.notes('rows')[0] and '1 of 20 rows were left out because' in fitted.notes('rows')[0]
    else:
        row = encode(fitted.kept[0], tok)
        text = spaced(tok, row.input_ids)
        assert fitted.account.kept==20 and [t for t in (*TEXTS, 'find', 'order', '12', 'sea', 'Köln 🙂', 'Monday') if t not in text]==[]
        refuse_unless_clean(inspect_rows([row], tok))

def test_50_words_beside_a_call_that_a_template_leaves_out_are_shown():
    said = [*TOLD, {**LOOKED[0], 'content': 'I look.'}, LOOKED[1]]
    fitted = among(asked(messages=said, tools=json.dumps(TOOLS)), tokenizer('llama3_1'))
    assert fitted.left_out==(0,) and "of the role 'assistant' says, first 'I look.'" in fitted.notes('rows')[0]
    assert not among(asked(messages=said, tools=json.dumps(TOOLS)), tokenizer('qwen3')).left_out

@pytest.mark.parametrize('family', [f for f in TRAINED if f!='qwen3_5_nothink'])
def test_50_a_conversation_keeps_every_text_and_teaches_every_answer(family):
    tok = tokenizer(family)
    told = talk(('x', 'On its way'), messages=[*TOLD, dict(role='assistant', content='It left.'), dict(role='user', content='Thanks, and?')])
    fitted = among(told, tok, fit_conversations)
    row = encode_conversation(fitted.kept[0], tok)
    assert len(fitted.kept)==20 and [t for t in TEXTS if t not in spaced(tok, row.input_ids)]==[]
    assert [t.removesuffix(TRAINED[family][3]) for t in learned(row, tok)]==['It left.', 'On its way']
    refuse_unless_clean(inspect_rows([row], tok))

def test_50_developer_text_is_read_as_system_text_where_the_template_has_no_place_for_it():
    said = [dict(role='developer', content='Be brief.'), dict(role='user', content='Where is it?')]
    for family in ('tiny', 'qwen2_5', 'qwen3', 'phi3', 'gemma3', 'cohere', 'qwen3_5_nothink'):
        tok = tokenizer(family)
        assert render(tok, said)==render(tok, [{**said[0], 'role': 'system'}, said[1]]) and 'Be brief.' in render(tok, said)
    for family in ('llama3', 'gemma4'):
        tok = tokenizer(family)
        assert render(tok, said)==tok.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
    assert render(tokenizer('gemma'), said)==render(tokenizer('gemma'), [dict(role='user', content='Be brief.\n\nWhere is it?')])==render(tokenizer('gemma3'), said)

def test_50_a_message_changes_only_where_the_template_demands_it():
    said = [dict(role='system', content='A'), dict(role='system', content='B'), dict(role='user', content='C'), dict(role='user', content='D'), dict(role='assistant', content='E'), dict(role='assistant', content='F'), dict(role='user', content='G')]
    roles = lambda family: ' '.join(m['role'][0] for m in fit_roles(tokenizer(family), said))
    assert {f: roles(f) for f in ('tiny', 'llama3_1', 'qwen3_5_nothink', 'gemma3', 'gemma', 'cohere')}==dict(
        tiny='s s u u a a u', llama3_1='s s u u a a u', qwen3_5_nothink='s u u a a u', gemma3='s u a u', gemma='u a u', cohere='s u a u')
    assert fit_roles(tokenizer('gemma'), said)[0]['content']=='A\n\nB\n\nC\n\nD' and all(fit_roles(tokenizer(f), fit_roles(tokenizer(f), said))==fit_roles(tokenizer(f), said) for f in TRAINED)

def test_50_changed_roles_are_said():
    notes = lambda family: [n for n in among(asked(messages=[*TOLD, *LATER]), tokenizer(family)).notes('rows')]
    assert notes('llama3')==[] and notes('tiny')==['rows: 1 of 20 rows have developer text as system text, which the chat template demands (rows 0)']
    assert ['first user message' in n or 'neighbouring' in n for n in notes('gemma')]==[True, True]

def test_50_neighbours_that_answer_are_learned_as_one_where_turns_alternate():
    said = [dict(role='user', content='Q'), dict(role='assistant', content='One.'), dict(role='assistant', content='Two.'), dict(role='user', content='R')]
    row = encode_conversation(talk(('x', 'Three.'), messages=said), tokenizer('gemma'))
    assert learned(row, tokenizer('gemma'))==['One.\n\nTwo.<end_of_turn>', 'Three.<end_of_turn>']

LATE = [dict(role='user', content='Q'), dict(role='assistant', content='A'), dict(role='system', content='Be brief.'), dict(role='user', content='R')]

@pytest.mark.parametrize('family', ['gemma', 'gemma3', 'cohere', 'qwen3_5_nothink'])
def test_50_a_row_that_one_template_refuses_is_left_out_and_counted(family):
    fitted = among(asked(messages=LATE), tokenizer(family))
    assert fitted.left_out==(0,) and 'refuses a record' in fitted.notes('rows')[0] and fitted.account.kept==19
    with pytest.raises(FtkitError, match='too little would remain: 1 of 1 rows were left out because the chat template of this base model refuses.*Use a base model'): fit_rows([asked(messages=LATE)], tokenizer(family), 512)

def test_50_a_conversation_that_a_template_changes_or_refuses_is_left_out_and_counted():
    for family,bad,why in (('qwen3', talk(('Q', '<think>\nwhy\n</think>\n\nOne'), ('R', 'Two')), 'changes answer 1'), ('gemma', talk(('Q', 'A'), messages=LATE), 'refuses a record'),
                           ('phi3', talk(('Q', 'A'), messages=[*TOLD, *LOOKED]), 'leaves tool calls')):
        fitted = among(bad, tokenizer(family), fit_conversations)
        assert fitted.left_out==(0,) and why in fitted.notes('rows')[0]
        assert why in preview([bad, *[talk(('Q', 'A'))]*19], tokenizer(family)).notes[0]

CRITIC = [dict(role='critic', content='You are a helpful assistant.'), dict(role='user', content='Where is it?')]

def test_50_a_text_that_stands_in_the_template_itself_has_not_arrived():
    tok = tokenizer('qwen2_5')
    assert CRITIC[0]['content'] in render(tok, CRITIC) and lost_texts(tok, CRITIC)==[('critic', 'You are a helpful assistant.')]

def test_50_a_text_that_a_template_takes_away_by_what_it_says_has_not_arrived():
    tok = copy.deepcopy(tokenizer('tiny'))
    tok.chat_template = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content.split('###')[0] }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    record = asked(messages=[dict(role='user', content='Where is ### it?')])
    assert lost_texts(tok, prompt_of(record))==[('user', 'Where is ### it?')] and among(record, tok).left_out==(0,)
    with pytest.raises(FtkitError, match='leaves out what a message'): encode_pair(PreferencePair('q', 'a', 'b', metadata=record.metadata), tok)
    caught_only_by('lost_text', encode(record, tok), tok, "lacks the text 'Where is ### it?'")

def test_50_tokens_that_lack_a_text_are_refused():
    tok = tokenizer('tiny')
    row = encode(asked(messages=[dict(role='user', content='one'), dict(role='user', content='two')]), tok)
    at = row.input_ids.index(tok.convert_tokens_to_ids('<|im_end|>'))+1
    caught_only_by('lost_text', replace(row, input_ids=row.input_ids[at:], labels=row.labels[at:]), tok, "lacks the text 'one'")
    talked = encode_conversation(talk(('one', 'A'), ('two', 'B')), tok)
    assert talked.read==('one', 'A', 'two', 'B')

def test_50_a_cut_does_not_leave_the_assistant_to_speak_first_where_it_may_not():
    said = [dict(role=r, content='word '*30) for r in ('user', 'assistant')*3]+[dict(role='user', content='Where is it?')]
    fitted = among(asked(messages=said), tokenizer('gemma'))
    assert not fitted.shortened
    short = fit_rows([asked(messages=said)], tokenizer('gemma'), 150).kept[0].metadata
    assert short['messages'][0]['role']=='user' and short['messages_dropped'] in (2, 4, 6)
