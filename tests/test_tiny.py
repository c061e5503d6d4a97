"Corners of `ftkit.model.tiny` that the page does not show."
import json, subprocess, sys
from concurrent.futures import ProcessPoolExecutor

import pytest

from ftkit.core import FtkitError
from ftkit.model.tiny import CHATML, EOS, PAD, chat_tokenizer, random_base, write_hashes, tiny_base, train_tokenizer, verified


@pytest.fixture(scope='module')
def tok():
    from transformers import AutoTokenizer
    return AutoTokenizer.from_pretrained(random_base())


def test_importing_the_page_imports_no_torch():
    code = "import sys, ftkit.model.tiny; sys.exit(any(m in sys.modules for m in ('torch', 'transformers', 'tokenizers')))"
    assert subprocess.run([sys.executable, '-c', code]).returncode==0


def test_trl_accepts_the_template_for_training(tok):
    from trl import chat_template_utils as u
    assert u.is_chat_template_stop_token_trained(tok)
    assert u.is_chat_template_prefix_preserving(tok)
    assert u.has_generation_markers(tok.chat_template)


@pytest.mark.parametrize('text', ['', ' ', '\n', '\r\n', 'a'*5000, '\x00\x07', '𝔘𝔫𝔦 \u202e e\u0301', '한국어 हिन्दी العربية', '👩\u200d👧', '\t\n  \n', '0123456789'])
def test_any_text_survives_the_tokenizer(tok, text):
    assert tok.decode(tok(text)['input_ids'])==text


def test_a_reloaded_tokenizer_gives_the_same_ids_as_the_one_that_was_built(tok):
    from ftkit.model.tiny import SENTENCES
    built = chat_tokenizer(train_tokenizer(SENTENCES, 512))
    for text in (*SENTENCES, 'a  b\n\n c 12'): assert built(text)['input_ids']==tok(text)['input_ids']


def test_no_start_token_is_added_anywhere(tok):
    ids = tok.apply_chat_template([dict(role='user', content='hi')], add_generation_prompt=True)['input_ids']
    text = tok.apply_chat_template([dict(role='user', content='hi')], add_generation_prompt=True, tokenize=False)
    assert tok.bos_token_id not in ids and tok(text)['input_ids']==ids


@pytest.mark.parametrize('content', ['a', 'user', 'assistant', '', ' x', '\n', 'hi\n\nhi', '{"a": 1}'])
def test_every_assistant_turn_is_trained_to_its_end_token_and_nothing_else_is(tok, content):
    talk = [dict(role='system', content=content), dict(role='user', content=content), dict(role='assistant', content=content),
            dict(role='tool', content=content), dict(role='assistant', content=content)]
    out = tok.apply_chat_template(talk, return_dict=True, return_assistant_tokens_mask=True)
    trained = tok.decode([i for i,m in zip(out['input_ids'], out['assistant_masks']) if m])
    assert trained==(content+EOS)*2


def test_tool_arguments_read_the_same_as_text_and_as_an_object(tok):
    def render(arguments): return tok.apply_chat_template([dict(role='user', content='x'), dict(role='assistant', content='ok', tool_calls=[dict(id='1', type='function', function=dict(name='f', arguments=arguments))])], tokenize=False)
    assert render('{"a": "é"}')==render(dict(a='é'))
    assert '{"name": "f", "arguments": {}}' in render('') and render('')==render(None)==render({})


def test_tool_marks_survive_when_special_tokens_are_skipped(tok):
    ids = tok('<tool_call>\n{}\n</tool_call>'+EOS)['input_ids']
    assert tok.decode(ids, skip_special_tokens=True)=='<tool_call>\n{}\n</tool_call>'


def test_content_in_parts_reads_like_plain_content(tok):
    parts = [dict(role='user', content=[dict(type='text', text='two '), dict(type='text', text='parts')])]
    assert tok.apply_chat_template(parts)['input_ids']==tok.apply_chat_template([dict(role='user', content='two parts')])['input_ids']


def test_tools_without_a_system_message_open_one(tok):
    tools = [dict(type='function', function=dict(name='find', parameters={}))]
    text = tok.apply_chat_template([dict(role='user', content='x')], tools=tools, tokenize=False)
    assert text.count('<|im_start|>system')==1 and json.dumps(tools[0]) in text


def _build(seed): return str(random_base(seed=seed))


def test_processes_that_build_at_once_share_one_whole_model(monkeypatch, tmp_path):
    monkeypatch.setenv('FTKIT_HOME', str(tmp_path))
    with ProcessPoolExecutor(3) as pool: paths = set(pool.map(_build, [7]*3))
    assert len(paths)==1 and [p.name for p in (tmp_path/'models').iterdir()]==[paths.pop().rsplit('/', 1)[1]]


def test_seeds_and_shapes_are_different_models_and_the_same_seed_is_the_same_bytes(monkeypatch, tmp_path):
    from ftkit.core import file_hash
    monkeypatch.setenv('FTKIT_HOME', str(tmp_path/'a'))
    first, other, wide = random_base(seed=1), random_base(seed=2), random_base(seed=1, hidden=32)
    monkeypatch.setenv('FTKIT_HOME', str(tmp_path/'b'))
    again = random_base(seed=1)
    name = 'model.safetensors'
    assert file_hash(first/name)==file_hash(again/name) and len({file_hash(p/name) for p in (first, other, wide)})==3


def test_making_a_random_model_leaves_the_callers_random_state_alone(monkeypatch, tmp_path):
    import torch
    monkeypatch.setenv('FTKIT_HOME', str(tmp_path))
    torch.manual_seed(3); before = torch.rand(1)
    torch.manual_seed(3); random_base(seed=9); after = torch.rand(1)
    assert before==after


def test_the_padding_token_is_the_one_the_model_names(tok):
    from transformers import AutoConfig
    config = AutoConfig.from_pretrained(random_base())
    assert (config.pad_token_id, config.eos_token_id, config.bos_token_id)==(tok.pad_token_id, tok.eos_token_id, tok.bos_token_id)
    assert tok.pad_token==PAD and CHATML==tok.chat_template


@pytest.fixture
def sealed(tmp_path):
    (tmp_path/'a.bin').write_bytes(b'abc'); (tmp_path/'b.json').write_text('{}')
    write_hashes(tmp_path)
    return tmp_path


def test_a_cut_file_and_a_missing_file_are_named_with_what_to_type(sealed):
    (sealed/'a.bin').write_bytes(b'ab')
    with pytest.raises(FtkitError, match='a.bin is damaged.*make tiny-base'): verified(sealed)
    (sealed/'a.bin').write_bytes(b'abc'); verified(sealed)
    (sealed/'b.json').unlink()
    with pytest.raises(FtkitError, match='b.json is missing.*make tiny-base'): verified(sealed)


def test_a_damaged_manifest_is_named(sealed):
    (sealed/'manifest.json').write_text('{')
    with pytest.raises(FtkitError, match='manifest.json is not readable'): verified(sealed)


def test_a_tree_without_the_weights_says_how_to_rebuild_them(monkeypatch, tmp_path):
    monkeypatch.setattr('ftkit.model.tiny.WEIGHTS', tmp_path/'weights')
    with pytest.raises(FtkitError, match='came without its data.*make tiny-base'): tiny_base()


def test_the_shipped_model_is_whole_small_enough_and_carries_the_template():
    from safetensors import safe_open
    from transformers import AutoTokenizer
    path = tiny_base()
    assert sum(f.stat().st_size for f in path.iterdir() if f.is_file())<=8_000_000
    assert AutoTokenizer.from_pretrained(path).chat_template==CHATML
    with safe_open(path/'model.safetensors', 'np') as f: assert {f.get_slice(k).get_dtype() for k in f.keys()}=={'BF16'}


def test_the_shipped_model_has_read_something_and_a_random_one_has_not():
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from ftkit.model.tiny import random_model
    tok = AutoTokenizer.from_pretrained(tiny_base())
    ids = tok('The list of values that will be returned when the request is complete.', return_tensors='pt')['input_ids']
    trained, untrained = (m.eval()(ids, labels=ids).loss.item() for m in (AutoModelForCausalLM.from_pretrained(tiny_base(), dtype=torch.float32), random_model(AutoConfig.from_pretrained(tiny_base()))))
    assert trained<untrained-3


def test_the_shipped_model_reads_at_least_1024_tokens():
    from transformers import AutoConfig, AutoTokenizer
    assert AutoConfig.from_pretrained(tiny_base()).max_position_embeddings>=1024 and AutoTokenizer.from_pretrained(tiny_base()).model_max_length>=1024
