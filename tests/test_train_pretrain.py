"Corners of `ftkit.model.pretrain` that the page does not show."
import gzip, json, math, random

import numpy as np
import pytest

from ftkit.core import FtkitError
from ftkit.model.tiny import SENTENCES, chat_tokenizer, llama_config, random_model, train_tokenizer
from ftkit.model.pretrain import (
    Text, batches_of_tokens, coffee_chats, curate_corpus, docstrings, gap_tasks, licence, lines, next_token_loss,
    optimizers, pack_rows, perplexity, pretrain, prose, rate_at, telling_words, topic_tasks,
    unigram_perplexity, written)


@pytest.fixture(scope='module')
def tok(): return chat_tokenizer(train_tokenizer(SENTENCES, 320))


def small(tok, seed=0): return random_model(llama_config(len(tok), 32, 1, 2, 64), seed)


def test_prose_leaves_out_examples_rulers_and_tables():
    doc = '''Sum of two numbers.

    >>> add(1, 2)
    3

    Parameters
    ----------
    a: int

    | a | b |

    The result is
    exact.'''
    assert prose(doc)=='Sum of two numbers.\nThe result is exact.'


def test_prose_is_cut_between_paragraphs():
    assert prose('one two\n\nthree four', max_chars=10)=='one two'


def test_docstrings_come_from_source_without_importing(tmp_path, monkeypatch):
    pkg = tmp_path/'sleepy'
    pkg.mkdir()
    (pkg/'__init__.py').write_text('"A package that must not be imported."\nraise SystemExit\n')
    (pkg/'broken.py').write_text('def (:\n')
    (pkg/'a.py').write_bytes('def f():\n    "Says caf\u00e9."\n'.encode('latin-1'))
    monkeypatch.syspath_prepend(tmp_path)
    assert [t.text for t in docstrings('sleepy')]==['A package that must not be imported.']


def test_a_missing_package_is_named_with_what_to_do():
    with pytest.raises(FtkitError, match="'no_such_package' is not an installed package"): list(docstrings('no_such_package'))


def test_licences_are_found_where_each_generation_of_metadata_puts_them():
    assert {p: licence(p) for p in ('sklearn', 'scipy', 'transformers')}=={'sklearn': 'BSD-3-Clause', 'scipy': 'BSD License', 'transformers': 'Apache 2.0 License'}


def test_lines_are_read_plain_and_gzipped_and_blank_ones_are_not_texts(tmp_path):
    (tmp_path/'a.txt').write_text('one\n\n two \n')
    with gzip.open(tmp_path/'b.txt.gz', 'wt') as f: f.write('drei\n')
    assert [t.text for t in lines(tmp_path/'a.txt')]==['one', 'two'] and list(lines(tmp_path/'b.txt.gz'))==[Text('drei', 'b')]


@pytest.mark.parametrize('text, reason', [('', 'too short'), ('a b', 'too short'), ('x = [1, 2, 3]; y = {4: 5}', 'mostly symbols'), ('the words are fine but <|im_end|> is not', 'control characters'),
                                          ('a bell \x07 rings in the text', 'control characters'), ('lost \ufffd character in here', 'control characters'), ('again and again '*20, 'repetitive'), ('größer als 東京 und kleiner 🦊', None)])
def test_each_quality_check_has_its_own_reason(text, reason):
    kept, account = curate_corpus([Text(text, 'x')])
    assert (not kept and account.dropped=={reason: 1}) if reason else len(kept)==1


def test_curating_nothing_counts_nothing():
    assert curate_corpus([])[1].rows==[('seen', 0), ('kept', 0)]


def test_an_evaluation_text_is_dropped_whatever_its_case_and_punctuation():
    kept, account = curate_corpus([Text('Freeze my account, now!', 'x')], held_out=['freeze my account now'])
    assert not kept and account.dropped=={'evaluation text': 1}


def test_curate_takes_an_iterator_and_keeps_the_first_of_two_alike():
    kept, account = curate_corpus(Text(t, str(i)) for i,t in enumerate(['same old story again', 'Same old story, again.']))
    assert [t.source for t in kept]==['0'] and account.seen==2


def test_coffee_dialogs_become_messages_in_the_order_things_happened(tmp_path):
    api = [dict(name='api_call', value='find', context='api_call_0'), dict(name='request', value='{"q": "tea"}', context='api_call_0'),
           dict(name='api_response', value='find', context='api_response_0'), dict(name='response', value='{"id": 1}', context='api_response_0')]
    row = dict(utterances=[dict(speaker='user', text='a tea', api=api), dict(speaker='assistant', text='Anything else?', api=[])])
    with gzip.open(tmp_path/'d.jsonl.gz', 'wt') as f: f.write(json.dumps(row)+'\n')
    messages, = coffee_chats(tmp_path/'d.jsonl.gz')
    assert [m['role'] for m in messages]==['user', 'assistant', 'tool', 'assistant']
    assert messages[1]['tool_calls'][0]['function']==dict(name='find', arguments='{"q": "tea"}') and messages[2]['content']=='{"id": 1}'


def test_telling_words_are_neither_everywhere_nor_nearly_nowhere():
    texts = [Text(f'common {"apple" if i%10==0 else "other"} rare{i}x', 'x') for i in range(100)]
    assert telling_words(texts, least=3, most=.2)==['apple']


def test_the_answer_of_a_gap_is_among_its_options_and_gone_from_its_place():
    words = ['alarm', 'bread', 'cloud', 'drive', 'email', 'ferry']
    for task in gap_tasks([Text(f'please set the {w} for seven', 'x') for w in words]*5, words, random.Random(0)):
        options = task.instruction.rstrip('.').split(': ')[1].split(', ')
        assert task.output in options and len(set(options))==len(options) and task.output not in task.input and '___' in task.input


def test_texts_without_a_telling_word_or_a_topic_make_no_task():
    assert not list(gap_tasks([Text('nothing here', 'x')], ['alarm', 'bread'], random.Random(0)))
    assert not list(topic_tasks([Text('nothing here', 'x')], random.Random(0)))


def test_a_topic_task_offers_its_topic():
    texts = [Text(f'about number {i}', 'x', f'topic {i}') for i in range(20)]
    for t in topic_tasks(texts, random.Random(0)): assert t.output in t.instruction and t.input.endswith(t.output.split()[1])


def test_a_written_task_ends_its_turn_once_in_either_layout(tok):
    task = next(topic_tasks([Text('about tea and milk', 'x', 'tea')], random.Random(0)))
    seen = {written(task, tok, random.Random(i)) for i in range(10)}
    assert len(seen)==2 and all('tea<|im_end|>' in t for t in seen) and any(t.startswith('### Instruction:') for t in seen)


def test_packing_loses_only_the_tail_and_nothing_else(tok):
    docs = ['ab', 'c', '']
    stream = [i for d in docs for i in (tok.bos_token_id, *tok(d)['input_ids'])]
    rows = pack_rows(docs, tok, 2)
    assert rows.ravel().tolist()==stream[:len(stream)//2*2]


@pytest.mark.parametrize('docs', [[], ['a']])
def test_too_little_text_for_one_row_is_said(tok, docs):
    with pytest.raises(FtkitError, match='do not fill one row of 64'): pack_rows(docs, tok, 64)


def test_every_row_is_in_exactly_one_batch():
    rows = np.arange(70).reshape(7, 10)
    batches = batches_of_tokens(rows, 20, random.Random(3))
    assert [len(b) for b in batches]==[2, 2, 2, 1] and sorted(r[0] for b in batches for r in b)==rows[:,0].tolist()


def test_a_row_longer_than_a_batch_is_a_batch():
    assert [b.shape for b in batches_of_tokens(np.zeros((2, 50), int), 20, random.Random(0))]==[(1, 50)]*2


def test_the_rate_starts_low_stays_and_ends_at_zero():
    assert rate_at(1, .1)==0 and rate_at(.05, .1)==.5 and rate_at(.5)==1 and rate_at(0, 0)==1


def test_the_loss_in_parts_is_the_loss_of_transformers(tok):
    import torch
    model, rows = small(tok), np.random.default_rng(0).integers(0, len(tok), (3, 20)).astype(np.uint16)
    ids = torch.tensor(rows.astype(int))
    with torch.autocast('cpu', torch.bfloat16): whole = model(input_ids=ids, labels=ids).loss
    for part in (1, 7, 1000): assert abs(next_token_loss(model, rows, part).item()-whole.item())<1e-4


def test_perplexity_weighs_rows_and_not_batches(tok):
    model, rows = small(tok), np.random.default_rng(1).integers(0, len(tok), (5, 16)).astype(np.uint16)
    rows[4] = 5
    assert math.isclose(perplexity(model, rows, 2), perplexity(model, rows, 5), rel_tol=1e-3)


def test_measuring_leaves_the_model_in_the_mode_it_was_in(tok):
    model = small(tok).train()
    perplexity(model, np.zeros((1, 8), np.uint16))
    assert model.training


def test_the_unigram_baseline_by_hand():
    train, held = np.array([[0, 0, 1]]), np.array([[1, 0, 0]])
    assert math.isclose(unigram_perplexity(train, held, 2), 1/(3/5), rel_tol=1e-9)


def test_every_weight_has_exactly_one_optimizer_and_the_embedding_is_not_muons(tok):
    model = small(tok)
    muon, adam = ([id(p) for g in o.param_groups for p in g['params']] for o in optimizers(model))
    assert sorted(muon+adam)==sorted(id(p) for p in model.parameters()) and id(model.get_input_embeddings().weight) in adam


def test_the_same_seed_trains_the_same_model(tok):
    rows = pack_rows(list(SENTENCES), tok, 16)
    def losses(): return [m['loss'] for m in pretrain(small(tok), batches_of_tokens(rows, 32, random.Random(0)))]
    assert losses()==losses()


def test_nothing_is_trained_before_a_step_is_asked_for(tok):
    model = small(tok)
    before = model.get_input_embeddings().weight.detach().clone()
    steps = pretrain(model, [np.full((1, 8), 7, np.uint16)]*3)
    assert (model.get_input_embeddings().weight==before).all()
    next(steps)
    assert not (model.get_input_embeddings().weight==before).all()
