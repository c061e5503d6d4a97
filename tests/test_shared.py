"A tree computes what the rows it stands for compute: scores, losses and gradients, on several architectures."
import random

import pytest
import torch
from transformers import (AutoModelForCausalLM, CohereConfig, Gemma3TextConfig, GPT2Config, GPTNeoConfig, LlamaConfig, MistralConfig, Phi3Config, Qwen2Config,
    Starcoder2Config)

from ftkit.model.tree import IGNORED, answer_logps, collate, common_prefix, plain_logps, share, tree, why_not_shared

SMALL = dict(vocab_size=97, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256)
ARCHITECTURES = dict(llama=LlamaConfig(**SMALL), qwen=Qwen2Config(**SMALL), gpt2=GPT2Config(vocab_size=97, n_embd=32, n_layer=2, n_head=4, n_positions=256, resid_pdrop=0., embd_pdrop=0., attn_pdrop=0.))

def model_of(config):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()

def rows(n, shared=40, seed=0):
    pick = random.Random(seed)
    some = lambda k: [pick.randrange(3, 97) for _ in range(k)]
    start = some(shared)
    out = []
    for _ in range(n):
        asked, said = some(pick.randrange(1, 9)), some(pick.randrange(1, 6))
        out.append((start+asked+said, [IGNORED]*(shared+len(asked))+said))
    return out

def gradient(model, loss):
    model.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

@pytest.mark.parametrize('name', ARCHITECTURES)
@pytest.mark.parametrize('worth', [.8, 0.], ids=['shared', 'each by itself'])
def test_scores_and_gradients_are_those_of_single_rows(name, worth):
    model, batch = model_of(ARCHITECTURES[name]), rows(5)
    ours = answer_logps(model, collate(share(batch, worth)))[0]
    theirs = plain_logps(model, batch)
    assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    a, b = gradient(model, ours.sum()), gradient(model, plain_logps(model, batch).sum())
    assert (a-b).abs().max()/b.abs().max()<1e-5

LOUD = dict(SMALL, initializer_range=.3, pad_token_id=0) # a window shows in the scores
LONGROPE = dict(rope_type='longrope', rope_theta=1e4, short_factor=[1.]*4, long_factor=[4.]*4, original_max_position_embeddings=48)
FAR = dict(mistral=MistralConfig(**LOUD, sliding_window=48), qwen2=Qwen2Config(**LOUD, sliding_window=48, use_sliding_window=True, max_window_layers=1), starcoder2=Starcoder2Config(**LOUD, sliding_window=48),
    gemma3=Gemma3TextConfig(**LOUD, head_dim=8, sliding_window=48, layer_types=['sliding_attention', 'full_attention']), longrope=Phi3Config(**LOUD, rope_parameters=LONGROPE, original_max_position_embeddings=48),
    dynamic=LlamaConfig(**{**LOUD, 'max_position_embeddings': 48}, rope_parameters=dict(rope_type='dynamic', factor=4., rope_theta=1e4)))

def of_length(lengths, shared=20):
    "Rows with a common beginning and exactly so many tokens"
    pick = random.Random(0)
    some = lambda k: [pick.randrange(3, 97) for _ in range(k)]
    start = some(shared)
    whole = [start+some(n-shared) for n in lengths]
    return [(ids, [IGNORED]*(len(ids)-4)+ids[-4:]) for ids in whole]

@pytest.mark.parametrize('name', FAR)
def test_rows_share_as_long_as_every_layer_sees_each_of_them_whole(name):
    model, fits, beyond = model_of(FAR[name]), of_length([30, 40, 48]), of_length([30, 40, 49])
    assert why_not_shared(model, fits) is None and 'shorter than the longest row of 49' in why_not_shared(model, beyond)
    ours, theirs = answer_logps(model, collate(share(fits, worth=2)))[0], plain_logps(model, fits)
    assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-4)
    a, b = gradient(model, ours.sum()), gradient(model, plain_logps(model, fits).sum())
    assert (a-b).norm()/b.norm()<1e-4
    long = of_length([30, 40, 90])
    off = (answer_logps(model, collate(share(long, worth=2)))[0]-plain_logps(model, long)).abs().max()
    assert off>.01, 'what the limit keeps out'

def test_local_layers_that_count_places_in_the_tree_never_share():
    config = GPTNeoConfig(vocab_size=97, hidden_size=32, num_layers=2, num_heads=4, attention_types=[[['global', 'local'], 1]], window_size=48, max_position_embeddings=256)
    assert 'local attention' in why_not_shared(model_of(config), of_length([30, 40, 41]))

def test_an_adapter_on_the_model_hides_no_window():
    from peft import LoraConfig, get_peft_model
    model = get_peft_model(model_of(FAR['mistral']), LoraConfig(target_modules=['q_proj']))
    assert why_not_shared(model, of_length([30, 48])) is None and 'sliding window of 48' in why_not_shared(model, of_length([30, 49]))

def test_a_model_that_scales_its_scores_is_noticed():
    assert 'other scores' in why_not_shared(model_of(CohereConfig(**LOUD, logit_scale=.5)), rows(3))

def test_a_model_that_objects_is_noticed():
    class Odd(torch.nn.Module):
        def __init__(self): super().__init__(); self.w = torch.nn.Parameter(torch.zeros(1))
    assert 'cannot take a tree' in why_not_shared(Odd(), rows(2))

def test_trees_of_different_sizes_share_a_batch():
    model = model_of(ARCHITECTURES['llama'])
    pairs = [rows(2, shared=k, seed=k) for k in (3, 30, 11)]
    trees = [t for p in pairs for t in share(p, worth=2)]
    ours = answer_logps(model, collate(trees))[0]
    assert torch.allclose(ours, torch.cat([plain_logps(model, p) for p in pairs]), rtol=1e-5, atol=1e-5)

def test_learned_turns_inside_a_row_stay_in_its_branch():
    model, start = model_of(ARCHITECTURES['llama']), list(range(5, 45))
    talk = [(start+[50, 51, 52, 53, 54], [IGNORED]*41+[51, IGNORED, 53, 54]), (start+[60, 61, 62], [IGNORED]*41+[61, 62])]
    assert len(share(talk))==1
    assert torch.allclose(answer_logps(model, collate(share(talk)))[0], plain_logps(model, talk), rtol=1e-5, atol=1e-5)

def test_rows_of_very_different_lengths_lie_in_a_few_narrow_trees_in_their_order():
    model, lengths = model_of(ARCHITECTURES['llama']), (200, 190, 30, 28, 25, 20, 15, 10)
    batch = [([1, *(n%90+3+i%4 for i in range(n))], [IGNORED]*(n-2)+[7, 8, 9]) for n in lengths]
    batch = [(ids[:-3]+[7, 8, 9], labels) for ids,labels in batch]
    trees = share(batch)
    assert 1<len(trees)<len(batch) and [max(t.owners)+1 for t in trees]==[1, 1, 6] and max(map(len, trees))<=200
    assert torch.allclose(answer_logps(model, collate(trees))[0], plain_logps(model, batch), rtol=1e-5, atol=1e-5)
    assert all(len(t)<=250 for t in share(batch, most=250)) and len(share(batch, most=199))==len(batch), 'no tree is wider than `most`'

def test_nothing_learned_is_ever_shared():
    same = [([1, 2, 3, 4, 5], [IGNORED, IGNORED, 3, 4, 5])]*3
    t, = share(same, worth=2)
    assert t.segments.count(0)==2 and len(t.targets)==9

@pytest.mark.parametrize('some,n', [([[1, 2], [1, 2]], 2), ([[1], [2]], 0), ([[1, 2, 3], [1, 2], [1, 2, 9]], 2), ([[5]], 1)])
def test_common_prefix(some, n): assert common_prefix(some)==n

def test_the_last_token_is_predicted_and_never_read():
    assert tree([1], [([2, 9], [2, 9])]).ids==[1, 2]

def test_copies_of_frozen_weights_are_not_kept_and_nothing_else_changes():
    from contextlib import nullcontext
    from ftkit.model import tree as shared
    from ftkit.plans.plan import OrchestrationConfig
    from ftkit.train.lora import with_lora
    config = OrchestrationConfig(tenant_id='a', project='b', model_type='llm', agent_type='c')
    def run(way):
        torch.manual_seed(0)
        model, kept = with_lora(model_of(ARCHITECTURES['llama']), config.adapter)[0], []
        for n,p in model.named_parameters():
            if 'lora_B' in n: torch.nn.init.normal_(p, std=.1)
        frozen = {p.shape for p in model.parameters() if not p.requires_grad and p.ndim==2}
        was, shared.forgetful = shared.forgetful, way or shared.forgetful
        try:
            with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append((t.dtype, t.shape)) or t, lambda t: t), torch.autocast('cpu', torch.bfloat16): loss = -answer_logps(model, collate(share(rows(4))))[0].sum()
        finally: shared.forgetful = was
        trained = [p for p in model.parameters() if p.requires_grad]
        return loss, torch.autograd.grad(loss, trained), [s for d,s in kept if d is torch.bfloat16 and (s in frozen or s[::-1] in frozen)]
    (a, da, few), (b, db, many) = run(None), run(nullcontext)
    assert torch.equal(a, b) and all(map(torch.equal, da, db))
    assert many and len(few)<len(many)/4 # two of a dozen shapes are also those of activations
