"What a page of friendly models does not show: other architectures, damaged adapters, unreachable hubs, odd tokenizers."
import json, shutil, threading, time, warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

torch = pytest.importorskip('torch')
torch.set_num_threads(1) # small models gain nothing from more, and lose a lot on a busy machine
from transformers import (AutoModelForCausalLM, AutoTokenizer, BloomConfig, DogeConfig, Gemma2Config, Gemma3Config, Gemma3TextConfig, GPT2Config, GPTNeoConfig, LlamaConfig, Llama4TextConfig, MistralConfig,
    Phi3Config, Qwen2Config, Qwen3NextConfig, SmolLM3Config, Starcoder2Config)

from ftkit.model.embed import load_embedder
from ftkit.model.generate import _beginning, generate
from ftkit.model.load import Model, base_only, effect, load, quietly, resolve_base, to_ids
from ftkit.model.prompt import answer_ids, closing_id, render
from ftkit.model.score import _tree, answer_logprobs, score_labels, why_plain
from ftkit.model.windows import position_limit, why_not_whole, window_limits
from ftkit.core import FtkitError
from ftkit.model.tiny import random_base

SYSTEM = dict(role='system', content='Route the request to one of: billing, delivery, delivery delay, returns, other.')
ASKED = [[SYSTEM, dict(role='user', content=q)] for q in ('where is my parcel?', 'I want my money back', 'hi', 'the courier lost my parcel, it was due on Monday')]
LABELS = ['delivery', 'delivery delay', 'returns', 'billing', 'other']
VOCAB = 512
SHAPES = dict(
    qwen2=Qwen2Config(vocab_size=VOCAB, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512),
    gpt2=GPT2Config(vocab_size=VOCAB, n_embd=32, n_layer=2, n_head=4, n_positions=512),
    mistral_whole=MistralConfig(vocab_size=VOCAB, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, sliding_window=None),
    mistral_window=MistralConfig(vocab_size=VOCAB, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, sliding_window=16),
    gemma2=Gemma2Config(vocab_size=VOCAB, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8, sliding_window=16),
    bloom=BloomConfig(vocab_size=VOCAB, hidden_size=32, n_layer=2, n_head=4))


@pytest.fixture(scope='module')
def folder(tmp_path_factory): return shutil.copytree(random_base(), tmp_path_factory.mktemp('base')/'base')


@pytest.fixture(scope='module')
def base(folder): return load(folder, dtype='float32', device='cpu')


@pytest.fixture(scope='module')
def adapter(folder, tmp_path_factory):
    from peft import LoraConfig, get_peft_model
    torch.manual_seed(1)
    config = LoraConfig(r=4, target_modules=['q_proj', 'v_proj'], init_lora_weights=False, task_type='CAUSAL_LM')
    out = tmp_path_factory.mktemp('adapter')/'adapter'
    get_peft_model(AutoModelForCausalLM.from_pretrained(folder), config).save_pretrained(out)
    return out


def with_shape(base, config):
    torch.manual_seed(0)
    return Model(AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval(), base.tokenizer, config.model_type)


def one_by_one(model, prompt, answer):
    "One unpadded forward over prompt and answer, read token by token."
    p, a = to_ids(model.tokenizer, prompt), answer_ids(model.tokenizer, prompt, answer)
    with torch.no_grad(): lp = torch.log_softmax(model.model(torch.tensor([p+a])).logits[0].double(), -1)
    return sum(lp[len(p)+i-1, t].item() for i,t in enumerate(a))


@pytest.mark.parametrize('name', SHAPES)
def test_label_scores_equal_one_forward_per_label_on_every_architecture(base, name):
    model = with_shape(base, SHAPES[name])
    got = score_labels(model, ASKED, LABELS)
    want = np.array([[one_by_one(model, p, l) for l in LABELS] for p in ASKED])
    assert np.abs(np.exp(got.logprobs)-np.exp(want)).max()<1e-5 and np.abs(got.logprobs-want).max()<2e-4
    assert ('trie' in got.path) == (name in ('qwen2', 'gpt2', 'mistral_whole')), got.path


def test_the_path_says_why_a_model_was_scored_the_plain_way(base):
    assert 'sliding window' in score_labels(with_shape(base, SHAPES['mistral_window']), ASKED, LABELS).path


LONGROPE = dict(rope_type='longrope', rope_theta=1e4, short_factor=[1.]*4, long_factor=[4.]*4, original_max_position_embeddings=64)
PHI = dict(vocab_size=VOCAB, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, initializer_range=.3, pad_token_id=0)
FAR = dict( # what a token sees, or where it is, depends on how long its row is
    gpt_neo=GPTNeoConfig(vocab_size=VOCAB, hidden_size=32, num_layers=2, num_heads=4, attention_types=[[['global', 'local'], 1]], window_size=24, max_position_embeddings=512, initializer_range=.3),
    longrope=Phi3Config(**PHI, max_position_embeddings=512, rope_parameters=LONGROPE, original_max_position_embeddings=64),
    starcoder2=Starcoder2Config(**PHI, sliding_window=24),
    gemma3=Gemma3TextConfig(**PHI, head_dim=8, sliding_window=24, layer_types=['sliding_attention', 'full_attention']))
SAID = [*ASKED, [SYSTEM, dict(role='user', content='the courier lost my parcel, '*8)]]


@pytest.mark.parametrize('name', FAR)
def test_scores_and_answers_are_those_of_one_row_at_a_time_beyond_a_window_or_a_context(base, name):
    model = with_shape(base, FAR[name])
    got = score_labels(model, SAID, LABELS)
    want = np.array([[one_by_one(model, p, l) for l in LABELS] for p in SAID])
    assert np.abs(got.logprobs-want).max()<2e-4 and 'one forward per answer' in got.path
    assert generate(model, SAID, 8)==[generate(model, [p], 8)[0] for p in SAID]


def test_rows_within_the_context_share_and_the_first_longer_one_does_not(base):
    model = with_shape(base, FAR['longrope'])
    lengths = [len(to_ids(base.tokenizer, p)) for p in SAID]
    most = max(len(answer_ids(base.tokenizer, SAID[0], l)) for l in LABELS)
    assert min(lengths)+most<=64<max(lengths)+most
    short = [p for p,n in zip(SAID, lengths) if n+most<=64]
    assert 'trie' in score_labels(model, short, LABELS).path
    assert 'original context of 64 tokens' in score_labels(model, SAID, LABELS).path
    assert _beginning(model, [to_ids(base.tokenizer, p) for p in short], 4)[1] and not _beginning(model, [to_ids(base.tokenizer, p) for p in short], 64)[1]


ROPE = dict(max_position_embeddings=128)
LIMITS = {
    'none': (LlamaConfig(), {}, None), 'off': (Qwen2Config(use_sliding_window=False, sliding_window=48), {}, None),
    'on': (Qwen2Config(use_sliding_window=True, sliding_window=48, max_window_layers=1), {'sliding window': 48}, None),
    'not of this class': (MistralConfig(use_sliding_window=False, sliding_window=48), {'sliding window': 48}, None),
    'declared and off': (SmolLM3Config(use_sliding_window=False, sliding_window=48), {}, None),
    'alternating': (Gemma2Config(sliding_window=48), {'sliding window': 48}, None), 'inside a bigger model': (Gemma3Config(text_config=dict(sliding_window=48)), {'sliding window': 48}, None),
    'chunks': (Llama4TextConfig(attention_chunk_size=48), {'attention chunk size': 48}, None), 'local': (GPTNeoConfig(), {'local attention': 0}, None),
    'global': (GPTNeoConfig(num_layers=2, attention_types=[[['global'], 2]]), {}, None), 'best tokens': (DogeConfig(), {'dynamic mask': 0}, None), 'state': (Qwen3NextConfig(), {'linear attention': 0}, None),
    'longrope': (FAR['longrope'], {}, 64), 'dynamic': (LlamaConfig(**ROPE, rope_parameters=dict(rope_type='dynamic', factor=4., rope_theta=1e4)), {}, 128),
    'yarn': (LlamaConfig(**ROPE, rope_parameters=dict(rope_type='yarn', factor=4., rope_theta=1e4, original_max_position_embeddings=32)), {}, None),
    'by kind of layer': (Gemma3TextConfig(**ROPE, sliding_window=None, layer_types=['full_attention']*26, rope_parameters=dict(full_attention=dict(rope_type='dynamic', factor=4., rope_theta=1e4))), {}, 128)}

@pytest.mark.parametrize('name', LIMITS)
def test_the_configuration_says_how_long_a_row_may_be(name):
    config, windows, context = LIMITS[name]
    assert window_limits(config)==windows and position_limit(config)==context
    limit = min([*windows.values(), *([context] if context else [])], default=None)
    if limit is None: assert why_not_whole(config, 10**6) is None
    else: assert why_not_whole(config, limit) is None and why_not_whole(config, limit+1)


def test_layers_that_differ_from_each_other_have_the_shortest_window():
    config = MistralConfig(num_hidden_layers=3, sliding_window=64, per_layer_config={1: dict(sliding_window=48)})
    assert window_limits(config)=={'sliding window': 48}


def test_a_window_that_no_setting_tells_is_caught_by_the_trial_on_a_long_row(base):
    model = with_shape(base, MistralConfig(**PHI, sliding_window=48))
    model.model.config = MistralConfig(**PHI, sliding_window=None, attn_implementation='sdpa') # the layers keep their own
    row = [5+n%90 for n in range(100)]
    assert why_plain(model, row[:20]) is None and 'the trial was off' in why_plain(model, row)


def test_a_model_that_ignores_the_mask_is_caught_by_the_trial(base):
    model = with_shape(base, SHAPES['qwen2'])
    forward = model.model.forward
    def deaf(input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, use_cache=None, logits_to_keep=0):
        if attention_mask is not None and attention_mask.ndim==4: attention_mask = None
        return forward(input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, past_key_values=past_key_values, use_cache=use_cache, logits_to_keep=logits_to_keep)
    model.model.forward = deaf
    assert 'the trial was off' in why_plain(model)


def test_the_label_that_is_a_beginning_of_another_is_not_favoured(base):
    got = score_labels(base, ASKED[:1], ['delivery', 'delivery delay'])
    assert got.logprobs[0, 0] == pytest.approx(one_by_one(base, ASKED[0], 'delivery'), abs=2e-4)
    ids = answer_ids(base.tokenizer, ASKED[0], 'delivery')
    assert ids[-1]==closing_id(base.tokenizer) and answer_ids(base.tokenizer, ASKED[0], 'delivery delay')[:len(ids)]!=ids


def test_order_batching_and_company_change_no_score(base):
    whole = score_labels(base, ASKED, LABELS).logprobs
    assert np.allclose(score_labels(base, ASKED[::-1], LABELS).logprobs[::-1], whole, atol=1e-4)
    assert np.allclose(np.vstack([score_labels(base, [p], LABELS).logprobs for p in ASKED]), whole, atol=1e-4)
    assert np.allclose(score_labels(base, ASKED, LABELS[::-1]).logprobs[:, ::-1], whole, atol=1e-4)
    items = [(to_ids(base.tokenizer, p), [answer_ids(base.tokenizer, p, l) for l in LABELS]) for p in ASKED]
    assert np.allclose(_tree(base, items, tokens=1), whole, atol=1e-4) # one item a row


def test_equal_prompts_and_plain_text_prompts_are_scored_too(base):
    same = score_labels(base, ['to whom?\n']*3, LABELS)
    assert np.allclose(same.logprobs, same.logprobs[0]) and same.logprobs[0, 0]==pytest.approx(one_by_one(base, 'to whom?\n', 'delivery'), abs=2e-4)


def test_nothing_to_score_and_repeated_labels_are_said(base):
    assert score_labels(base, [], LABELS).probs.shape==(0, 5)
    with pytest.raises(FtkitError, match='distinct'): score_labels(base, ASKED, ['a', 'a'])


def test_answers_are_scored_with_their_own_lengths(base):
    answers = ['delivery', 'I would like to return these shoes and get my money back.', 'é', '']
    total, count = answer_logprobs(base, ASKED, answers)
    assert np.allclose(total, [one_by_one(base, p, a) for p,a in zip(ASKED, answers)], atol=1e-3)
    assert count.tolist()==[len(answer_ids(base.tokenizer, p, a)) for p,a in zip(ASKED, answers)] and count[-1]==1
    with pytest.raises(ValueError): answer_logprobs(base, ASKED, answers[:2])


def test_generation_matches_transformers_one_prompt_at_a_time(base):
    got = generate(base, ASKED, 6, batch_size=4)
    for p,a in zip(ASKED, got):
        ids = torch.tensor([to_ids(base.tokenizer, p)])
        with torch.no_grad(): out = base.model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=6, eos_token_id=[closing_id(base.tokenizer), base.tokenizer.eos_token_id], pad_token_id=0)
        assert a==base.tokenizer.decode(out[0, ids.shape[1]:], skip_special_tokens=True)


def test_a_prompt_without_room_for_an_answer_is_refused_not_cut(base):
    long = [[dict(role='user', content='where is my parcel? '*400)]]
    with pytest.raises(FtkitError, match='do not fit'): generate(base, long, 8)
    with pytest.raises(FtkitError, match='do not fit'): score_labels(base, long, LABELS)


def test_one_beginning_token_whatever_the_tokenizer_and_the_template_add(base, folder):
    from tokenizers.processors import TemplateProcessing
    tok = AutoTokenizer.from_pretrained(folder)
    tok.backend_tokenizer.post_processor = TemplateProcessing(single=f'{tok.bos_token} $A {tok.eos_token}', special_tokens=[(tok.bos_token, tok.bos_token_id), (tok.eos_token, tok.eos_token_id)])
    assert to_ids(tok, 'hello').count(tok.bos_token_id)==1
    assert to_ids(tok, tok.bos_token+'hello')==to_ids(tok, 'hello')
    assert to_ids(tok, 'hello')[-1]!=tok.eos_token_id
    tok.chat_template = '{{ bos_token }}'+tok.chat_template
    assert to_ids(tok, ASKED[0]).count(tok.bos_token_id)==1
    assert to_ids(tok, ASKED[0])==tok.apply_chat_template(ASKED[0], add_generation_prompt=True, return_dict=False)
    assert to_ids(tok, '')!=[]


def test_the_closing_token_is_the_templates_not_the_tokenizers(base, folder):
    tok = AutoTokenizer.from_pretrained(folder)
    tok.eos_token = '<|endoftext|>'
    assert tok.decode([closing_id(tok)])=='<|im_end|>' and closing_id(tok, chat=False)==tok.eos_token_id
    tok.chat_template = "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}" # writes no end
    assert closing_id(tok)==tok.eos_token_id


def test_tools_and_text_arguments_reach_the_template(base):
    call = dict(id='1', type='function', function=dict(name='find_order', arguments='{"number": 17}'))
    asked = dict(messages=[dict(role='user', content='order 17?'), dict(role='assistant', content='', tool_calls=[call]), dict(role='tool', content='shipped', tool_call_id='1')],
                 tools=[dict(type='function', function=dict(name='find_order', parameters={}))])
    text = render(base.tokenizer, asked)
    assert '"arguments": {"number": 17}' in text and text.count('find_order')==2 and text.endswith('<|im_start|>assistant\n')


def test_messages_need_a_template(folder):
    tok = AutoTokenizer.from_pretrained(folder)
    tok.chat_template = None
    with pytest.raises(FtkitError, match='no chat template'): to_ids(tok, ASKED[0])


def test_a_base_that_cannot_be_reached_names_the_ways_out(monkeypatch, tmp_path):
    import httpx2, huggingface_hub
    def silent(*args, **kw): raise httpx2.ConnectError('Name or service not known')
    monkeypatch.setattr(huggingface_hub.HfApi, 'model_info', silent)
    with pytest.raises(FtkitError) as e: resolve_base('acme/secret-model')
    for word in ('ConnectError', "'ftkit-tiny'", 'hf download acme/secret-model', 'folder'): assert word in str(e.value)


@pytest.mark.parametrize('name', ['../x', './x', '/x/y', 'a/b/c', '~/nowhere', 'a b', 'a/../b', '.empty'])
def test_a_path_that_is_not_there_never_asks_the_hub(name, monkeypatch):
    import huggingface_hub
    monkeypatch.setattr(huggingface_hub.HfApi, 'model_info', lambda *a, **k: pytest.fail('asked the hub'))
    with pytest.raises(FtkitError, match='there is no folder'): resolve_base(name)


def test_a_cached_model_is_found_without_the_hub(monkeypatch, folder):
    import huggingface_hub
    monkeypatch.setattr(huggingface_hub, 'snapshot_download', lambda name, local_files_only=False, **kw: str(folder) if local_files_only else pytest.fail('asked the hub'))
    assert resolve_base('acme/model')==folder


def test_folders_that_are_not_models_are_told_apart(tmp_path, adapter, folder):
    with pytest.raises(FtkitError, match='holds an adapter'): resolve_base(adapter)
    with pytest.raises(FtkitError, match='has no config.json'): resolve_base(tmp_path)
    bare = tmp_path/'bare'; bare.mkdir(); shutil.copy(folder/'config.json', bare)
    (bare/'pytorch_model.bin').write_bytes(b'')
    with pytest.raises(FtkitError, match='no .safetensors'): resolve_base(bare)
    part = shutil.copytree(folder, tmp_path/'part')
    (part/'model.safetensors.index.json').write_text(json.dumps(dict(weight_map=dict(a='model-00001-of-00002.safetensors'))))
    with pytest.raises(FtkitError, match='lacks 1 of 1'): resolve_base(part)


def test_resolving_a_base_loads_no_torch(folder):
    import subprocess, sys
    code = f"import sys; from ftkit.model.load import resolve_base; resolve_base({str(folder)!r}); print([m for m in ('torch', 'transformers', 'peft') if m in sys.modules])"
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout.strip()=='[]'


def damaged(adapter, out, change):
    from safetensors.torch import load_file, save_file
    shutil.copytree(adapter, out)
    save_file(change(load_file(out/'adapter_model.safetensors')), out/'adapter_model.safetensors')
    return out


@pytest.mark.parametrize('change, says', [
    (lambda w: {k.replace('base_model.model', 'base_model.inner.model'): v for k,v in w.items()}, 'no weights for 8 of 8'),
    (lambda w: dict(list(w.items())[:4]), 'no weights for 4 of 8'),
    (lambda w: {**w, 'base_model.model.model.layers.9.self_attn.q_proj.lora_A.weight': torch.ones(4, 64)}, 'weights for 1 places')])
@pytest.mark.filterwarnings('ignore')
def test_an_adapter_whose_keys_do_not_fit_is_refused(folder, adapter, tmp_path, change, says):
    with pytest.raises(FtkitError, match=says): load(folder, damaged(adapter, tmp_path/'a', change), 'float32', 'cpu', check=None)


def test_a_pickled_adapter_is_refused_before_anything_is_loaded(folder, adapter, tmp_path):
    a = shutil.copytree(adapter, tmp_path/'a')
    (a/'adapter_model.safetensors').rename(a/'adapter_model.bin')
    with pytest.raises(FtkitError, match='is a pickle, which runs code when it is opened'): load(folder, a)


def test_the_check_sees_both_folders_before_weights_are_read(folder, adapter):
    def refuse(base, a): raise FtkitError(f'not this one: {a.name}')
    with pytest.raises(FtkitError, match='not this one'): load(folder, adapter, check=refuse)


def test_switching_off_gives_the_base_bit_for_bit_and_comes_back_after_an_error(base, folder, adapter):
    tuned = load(folder, adapter, 'float32', 'cpu')
    before = score_labels(tuned, ASKED, LABELS).logprobs
    with pytest.raises(KeyError), base_only(tuned):
        assert np.array_equal(score_labels(tuned, ASKED, LABELS).logprobs, score_labels(base, ASKED, LABELS).logprobs)
        raise KeyError
    assert np.array_equal(score_labels(tuned, ASKED, LABELS).logprobs, before) and effect(tuned)>1e-3


def test_the_head_is_not_copied_for_every_row_of_a_batch(folder, adapter):
    "a matrix that is frozen is copied once a row where its input is a slice: 880 MB for 16 answers of a small model"
    tuned, whole = load(folder, adapter, dtype='float32', device='cpu'), []
    tuned.model.get_base_model().get_output_embeddings().register_forward_pre_hook(lambda _, args: whole.append(args[0].is_contiguous()))
    assert generate(tuned, ASKED, 3, share=False)==[generate(tuned, [p], 3, share=False)[0] for p in ASKED]
    assert whole and all(whole)


def test_an_adapter_of_zeros_has_no_effect_and_says_so(folder, adapter, tmp_path):
    idle = damaged(adapter, tmp_path/'idle', lambda w: {k: v*0 if 'lora_B' in k else v for k,v in w.items()})
    assert effect(load(folder, idle, 'float32', 'cpu', check=None))==0
    with pytest.raises(FtkitError, match='changes nothing'): load(folder, idle, 'float32', 'cpu')


def test_a_fully_tuned_model_takes_the_place_of_an_adapter(folder, tmp_path):
    whole = load(folder, shutil.copytree(folder, tmp_path/'whole'), 'float32', 'cpu')
    assert not whole.switchable and whole.base==str(folder) and whole.adapter.endswith('whole')
    with pytest.raises(FtkitError, match='no adapter to switch off'), base_only(whole): pass


def test_an_embedding_model_computes_in_32_bits_on_a_processor_however_it_is_stored():
    from ftkit.model.tiny import tiny_base
    assert json.loads((tiny_base()/'config.json').read_text())['dtype']=='bfloat16'
    assert str(load_embedder(tiny_base(), device='cpu').dtype)=='torch.float32'

# the switches of the libraries

def bars():
    "Which libraries show progress bars"
    import datasets
    import huggingface_hub.utils as hub
    from transformers.utils import logging
    return logging.is_progress_bar_enabled(), not hub.are_progress_bars_disabled(), not datasets.are_progress_bars_disabled()

@pytest.fixture(params=['all shown', 'hub hidden', 'transformers hidden', 'datasets hidden'])
def switches(request):
    "The bars as somebody wants them; as they were, after the test"
    import datasets
    import huggingface_hub.utils as hub
    from transformers.utils import logging
    before = bars()
    def put(transformers, hubs, tables):
        (logging.enable_progress_bar if transformers else logging.disable_progress_bar)()
        (hub.enable_progress_bars if hubs else hub.disable_progress_bars)()
        (datasets.enable_progress_bars if tables else datasets.disable_progress_bars)()
    put(request.param!='transformers hidden', request.param!='hub hidden', request.param!='datasets hidden')
    yield bars()
    put(*before)

def test_quiet_gives_back_what_it_found_also_nested_and_after_an_error(switches):
    filters = warnings.filters[:]
    with pytest.raises(ZeroDivisionError):
        with quietly():
            with quietly(): assert bars()==(False, False, False)
            assert bars()==(False, False, False)
            warnings.warn('make way', FutureWarning, stacklevel=1)
            raise ZeroDivisionError
    assert bars()==switches and warnings.filters==filters

def test_the_one_who_leaves_last_gives_back_what_the_first_one_found(switches):
    filters, entered, left = warnings.filters[:], threading.Event(), threading.Event()
    seen = []
    def second():
        with quietly():
            entered.set()
            assert left.wait(20)
            with warnings.catch_warnings(record=True) as told: warnings.warn('make way', FutureWarning, stacklevel=1)
            seen.append((bars(), told))
    with quietly():
        other = threading.Thread(target=second)
        other.start()
        assert entered.wait(20)
    left.set()
    other.join()
    assert seen==[((False, False, False), [])] and bars()==switches and warnings.filters==filters

def test_many_threads_in_any_order_leave_the_switches_as_they_were(switches):
    filters = warnings.filters[:]
    def work(n):
        for k in range(20):
            with quietly():
                with quietly(): time.sleep(.0001*((n*k)%3))
    with ThreadPoolExecutor(6) as pool: list(pool.map(work, range(6)))
    assert bars()==switches and warnings.filters==filters

def test_quiet_inside_a_record_of_warnings_keeps_them_out_of_it_as_long_as_it_lasts():
    with quietly(), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter('always')
        with quietly(): warnings.warn('make way', FutureWarning, stacklevel=1)
        warnings.warn('version 7 is near', FutureWarning, stacklevel=1)
    assert [str(w.message) for w in told]==['version 7 is near'], 'the remarks of somebody else stayed off'
