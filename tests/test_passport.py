"Adapters from elsewhere: refused before torch or PEFT opens them, each for its own reason."
import json, os, shutil, struct, subprocess, sys
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from safetensors.numpy import load_file, save_file
from adapters import TARGETS, toy_adapter, toy_base, toy_weights
from ftkit.core import FtkitError
from ftkit.disk import read_json, write_json
from ftkit.model.passport import (
    add_figures, check_adapter, check_json, public_name, pin_base, read_passport, tokenizer_hashes,
    weights_hash, write_passport)
from ftkit.model.weights import AdapterRefused, inventory, tensor_table
from ftkit.model.load import load
from ftkit.model.tiny import tiny_base

pytestmark = pytest.mark.usefixtures('fresh_home')

@pytest.fixture
def base(tmp_path): return toy_base(tmp_path/'base')

@pytest.fixture
def adapter(tmp_path, base):
    write_passport(toy_adapter(tmp_path/'adapter'), 'acme/tiny', base)
    return tmp_path/'adapter'

def config(folder, **changed): write_json(folder/'adapter_config.json', {**read_json(folder/'adapter_config.json'), **changed})
def tensors(folder, change):
    w = load_file(folder/'adapter_model.safetensors')
    save_file(change(w) or w, folder/'adapter_model.safetensors')
def header(folder, n): p = folder/'adapter_model.safetensors'; p.write_bytes(struct.pack('<Q', n)+p.read_bytes()[8:])
def long_header(folder):
    p = folder/'adapter_model.safetensors'
    raw, n = p.read_bytes(), 17<<20
    start = 8+int.from_bytes(raw[:8], 'little')
    p.write_bytes(struct.pack('<Q', n)+raw[8:start].ljust(n)+raw[start:])
def as_archive(folder):
    shutil.make_archive(str(folder.parent/'packed'), 'zip', folder)
    shutil.move(folder.parent/'packed.zip', folder/'adapter_model.safetensors')
def first_nan(w): next(iter(w.values()))[0, 0] = np.nan
def zero_b(w): return {k: v*('lora_A' in k) for k,v in w.items()}
def as_pickle(f): (f/'adapter_model.safetensors').rename(f/'adapter_model.bin')

CASES = { # name -> what is done to a good adapter, the reason it is refused for
    'a pickle instead of safetensors': (as_pickle, 'pickle'),
    'a pickle under another name': (lambda f: (f/'notes.txt').write_bytes(b'\x80\x04cos\nsystem\n.'), 'pickle'),
    'an edited alpha': (lambda f: config(f, lora_alpha=64), 'edited'),
    'a thousandfold alpha': (lambda f: config(f, lora_alpha=8000), 'rank'),
    'NaN': (lambda f: tensors(f, first_nan), 'nan'),
    'a rank bomb in the configuration': (lambda f: config(f, r=10**9), 'rank'),
    'a rank that fills the memory': (lambda f: (save_file(toy_weights(r=2048), f/'adapter_model.safetensors'), config(f, r=2048, lora_alpha=2048)), 'rank'),
    'a rank that the weights do not have': (lambda f: config(f, r=512, lora_alpha=512), 'rank'),
    'a rank pattern that the weights do not have': (lambda f: config(f, rank_pattern={'q_proj': 1024}), 'rank'),
    'a huge header': (lambda f: header(f, 1<<62), 'header'),
    'a negative header': (lambda f: header(f, 2**64-1), 'header'),
    'a header that fills the memory': (long_header, 'header'),
    'a pipe': (lambda f: os.mkfifo(f/'notes.txt'), 'file'),
    'an extra script': (lambda f: (f/'modeling.py').write_text('import os'), 'code'),
    'a file of no known kind': (lambda f: (f/'notes.dat').write_text('x'), 'file'),
    'a thousand files': (lambda f: [(f/f'{i}.txt').write_text('x') for i in range(1000)], 'file'),
    'an alpha for one module': (lambda f: config(f, alpha_pattern={'q_proj': 8000}), 'rank'),
    'a script under another name': (lambda f: (f/'notes.txt').write_text('#!/bin/sh'), 'code'),
    'a link': (lambda f: (f/'vocab.json').symlink_to('/etc/hostname'), 'link'),
    'auto_mapping': (lambda f: config(f, auto_mapping=dict(base_model_class='X', parent_library='evil')), 'code'),
    'auto_map': (lambda f: write_json(f/'config.json', dict(auto_map={'AutoModel': 'evil--x.Y'})), 'code'),
    'a class from elsewhere': (lambda f: write_json(f/'modules.json', [dict(type='evil.Module')]), 'code'),
    'megatron_core': (lambda f: config(f, megatron_core='evil', megatron_config={'x': 1}), 'code'),
    'a regular expression': (lambda f: config(f, target_modules='(q+)+_proj$'), 'pattern'),
    'a regular expression in a list': (lambda f: config(f, target_modules=['q_proj', '(v+)+_proj']), 'pattern'),
    'a regular expression in rank_pattern': (lambda f: config(f, rank_pattern={'(q+)+$': 4}), 'pattern'),
    'an archive': (as_archive, 'archive'),
    'an unknown setting': (lambda f: config(f, run_this='x'), 'config'),
    'a trained head': (lambda f: config(f, modules_to_save=['lm_head']), 'config'),
    'half of the keys': (lambda f: tensors(f, lambda w: {k: v for k,v in w.items() if 'layers.0' in k}), 'keys'),
    'DoRA without its magnitudes': (lambda f: config(f, use_dora=True), 'keys'),
    'one weight of a pair': (lambda f: tensors(f, lambda w: {k: v for k,v in w.items() if 'layers.1.self_attn.v_proj.lora_B' not in k}), 'keys'),
    'weights that are no target': (lambda f: config(f, target_modules=['q_proj']), 'keys'),
    'a target without weights': (lambda f: config(f, target_modules=['q_proj', 'v_proj', 'k_proj']), 'keys'),
    'renamed keys': (lambda f: tensors(f, lambda w: {k.replace('model.layers', 'model.inner.layers'): v for k,v in w.items()}), 'keys'),
    'keys with an adapter name in them': (lambda f: tensors(f, lambda w: {k.replace('.weight', '.default.weight'): v for k,v in w.items()}), 'keys'),
    'an embedding saved along': (lambda f: tensors(f, lambda w: {**w, 'base_model.model.model.embed_tokens.weight': np.ones((4, 4), 'f4')}), 'keys'),
    'another width': (lambda f: save_file(toy_weights(width=8), f/'adapter_model.safetensors'), 'shape'),
    'whole numbers': (lambda f: tensors(f, lambda w: {k: v.astype('i4') for k,v in w.items()}), 'shape'),
    'no effect': (lambda f: tensors(f, zero_b), 'no effect'),
    'other weights of the same shape': (lambda f: save_file(toy_weights(seed=9), f/'adapter_model.safetensors'), 'edited'),
    'a file more': (lambda f: (f/'extra.txt').write_text('hello'), 'edited'),
    'no weights': (lambda f: (f/'adapter_model.safetensors').unlink(), 'file'),
    'a name with a line break': (lambda f: (f/'a\nb.json').write_text('{}'), 'name'),
    'a hidden file': (lambda f: (f/'.env').write_text('x'), 'name'),
    'a configuration that is not JSON': (lambda f: (f/'adapter_config.json').write_text('{'), 'config'),
    'a configuration nested too deep': (lambda f: (f/'adapter_config.json').write_text('['*100_000), 'config'),
    'a list for a configuration': (lambda f: (f/'adapter_config.json').write_text('[]'), 'config'),
    'an infinite alpha': (lambda f: (f/'adapter_config.json').write_text((f/'adapter_config.json').read_text().replace('"lora_alpha": 8', '"lora_alpha": Infinity')), 'rank'),
    'a passport from the future': (lambda f: write_json(f/'passport.json', {**read_json(f/'passport.json'), 'layout': 2}), 'config'),
    'a passport that is none': (lambda f: write_json(f/'passport.json', [1]), 'edited'),
}

def reason(folder, base):
    with pytest.raises(AdapterRefused) as e: check_adapter(folder, base)
    assert len(str(e.value))>20 and 'Traceback' not in str(e.value)
    return e.value.reason

@pytest.mark.parametrize('name', CASES)
def test_it_is_refused_for_its_own_reason_also_by_load_before_anything_is_read(name, adapter, base, monkeypatch):
    spoil, expected = CASES[name]
    spoil(adapter)
    assert reason(adapter, base)==expected
    monkeypatch.setattr('transformers.AutoModelForCausalLM.from_pretrained', lambda *a, **k: pytest.fail('the base was read'))
    monkeypatch.setattr('peft.PeftModel.from_pretrained', lambda *a, **k: pytest.fail('the adapter was read'))
    with pytest.raises(AdapterRefused) as e: load(base, adapter)
    assert e.value.reason==expected

def test_the_base_that_comes_with_ftkit_is_named_and_not_its_place(tmp_path, base):
    copy = shutil.copytree(tiny_base(), tmp_path/'copy')
    assert public_name('ftkit-tiny')==public_name(str(tiny_base()))==public_name(str(copy))=='ftkit-tiny'
    assert public_name(str(base))==str(base) and public_name('acme/tiny')=='acme/tiny'
    adapter = toy_adapter(tmp_path/'adapter', base_model_name_or_path=str(base))
    (adapter/'README.md').write_text(f'base_model: {base}')
    write_passport(adapter, 'acme/tiny', base)
    assert not [f for f in adapter.iterdir() if str(base).encode() in f.read_bytes()] and read_json(adapter/'adapter_config.json')['base_model_name_or_path']=='acme/tiny'
    check_adapter(adapter, base)

def test_a_good_adapter_passes(adapter, base):
    seen = check_adapter(adapter, base)
    assert (seen.kind, seen.modules, seen.checks['base'])==('lora', 4, 'the same weights')
    assert check_adapter(adapter, 'acme/tiny').checks['base']=='by name only'

def test_another_base_of_the_same_shape_is_refused(adapter, tmp_path): assert reason(adapter, toy_base(tmp_path/'twin', seed=1))=='base'

def test_another_base_name_is_refused(adapter, base, tmp_path):
    assert reason(adapter, 'acme/large')=='base'
    assert reason(toy_adapter(tmp_path/'bare'), 'acme/large')=='base'
    write_passport(toy_adapter(tmp_path/'plain'), 'tiny-one', base) # PEFT's own entry is not looked at for a name without an owner
    assert check_adapter(tmp_path/'plain', 'tiny-one') and reason(tmp_path/'plain', 'tiny-two')=='base'

def test_json_that_is_too_large_is_not_read(tmp_path):
    write_json(tmp_path/'a.json', dict(a='x'*100))
    with pytest.raises(AdapterRefused, match='larger than') as e: check_json('a.json', tmp_path/'a.json', 50)
    assert e.value.reason=='config' and check_json('a.json', tmp_path/'a.json')

def test_another_tokenizer_or_template_of_the_base_is_refused(adapter, base):
    tok = read_json(base/'tokenizer.json')
    write_json(base/'tokenizer.json', {**tok, 'padding': dict(length=8)})
    check_adapter(adapter, base)
    write_json(base/'tokenizer.json', {**tok, 'model': dict(tok['model'], vocab={'b': 0})})
    assert reason(adapter, base)=='base'

def test_without_a_passport_only_what_can_be_seen_is_claimed(tmp_path, base):
    seen = check_adapter(toy_adapter(tmp_path/'bare'), base)
    assert (seen.passport, seen.checks['files against the passport'], seen.checks['base'])==(None, 'no passport', 'names and shapes fit')

def test_nothing_that_would_be_refused_gets_a_passport(tmp_path, base):
    spoiled = toy_adapter(tmp_path/'bad', tensors=zero_b(toy_weights()))
    with pytest.raises(AdapterRefused): write_passport(spoiled, 'acme/tiny', base)
    assert not (spoiled/'passport.json').exists()

def test_figures_are_added_to_the_files_of_training_only(adapter, base, tmp_path):
    before = read_passport(adapter)
    add_figures(adapter, dict(accuracy=np.float64(.9)))
    assert add_figures(adapter, dict(f1=float('nan')))=={**before, 'metrics': dict(accuracy=.9, f1=None)}==read_passport(adapter)
    with pytest.raises(FtkitError, match='write_passport'): add_figures(toy_adapter(tmp_path/'bare'), {})
    config(adapter, lora_alpha=4)
    with pytest.raises(AdapterRefused, match='not what the passport says'): add_figures(adapter, {})

def test_a_passport_can_be_renewed_and_the_card_may_follow(adapter, base):
    write_passport(adapter, 'acme/tiny', base, metrics=dict(accuracy=.9), dataset='ds-1', config=dict(epochs=3))
    (adapter/'README.md').write_text('# card')
    p = check_adapter(adapter, base).passport
    assert p['metrics']=={'accuracy': .9} and p['config'] and p['base']['weights']==weights_hash(base) and 'README.md' not in p['files']

def test_a_change_of_the_base_is_noticed_although_its_hash_is_remembered(base):
    before = weights_hash(base)
    assert weights_hash(base)==before
    save_file({f'{t}.weight': np.ones((16, 16), 'f4') for t in TARGETS}, base/'model.safetensors')
    assert weights_hash(base)!=before

def test_a_change_that_keeps_size_and_time_is_noticed_too(base):
    before, file = weights_hash(base), base/'model.safetensors'
    was, data = file.stat(), bytearray(file.read_bytes())
    data[-1] ^= 1
    with open(file, 'r+b') as f: f.write(data)
    os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns, file.stat().st_ino)==(was.st_size, was.st_mtime_ns, was.st_ino) and weights_hash(base)!=before

def test_a_fresh_hash_does_not_trust_what_is_remembered(base, fresh_home):
    right, memory = weights_hash(base), fresh_home/'passport'/'weights.json'
    write_json(memory, {k: [*mark[:-1], '0'*64] for k,mark in read_json(memory).items()})
    assert weights_hash(base)!=right and weights_hash(base, fresh=True)==right==weights_hash(base)

def noisy(base):
    w = load_file(base/'model.safetensors')
    save_file({k: v+np.float32(.01) for k,v in w.items()}, base/'model.safetensors')
def other_module(base):
    write_json(base/'modules.json', [dict(path=''), dict(path='1_Dense')])
    (base/'1_Dense').mkdir(exist_ok=True)
    save_file({'linear.weight': np.random.default_rng().normal(size=(4, 4)).astype('f4')}, base/'1_Dense'/'model.safetensors')

@pytest.mark.parametrize('what,change', [
    ('weights', noisy), ('config.json', lambda b: write_json(b/'config.json', dict(model_type='llama', rope_theta=1))), ('modules', other_module),
    ('tokenizer', lambda b: write_json(b/'tokenizer.json', dict(model=dict(type='BPE', vocab={'b': 0})))), ('chat template', lambda b: (b/'chat_template.jinja').write_text('{{ messages }}'))])
def test_a_base_that_changed_since_the_run_started_is_refused_by_name(base, tmp_path, what, change):
    run = tmp_path/'run'; run.mkdir()
    if what=='modules': other_module(base)
    first = pin_base(run, 'acme/tiny', base)
    assert pin_base(run, 'acme/tiny', base)==first and first['weights']==weights_hash(base)
    change(base)
    with pytest.raises(FtkitError, match=f'the base model acme/tiny has changed since the run started \\({what} sha256 .{{4,12}}… then, [0-9a-f]{{12}}… now\\); put it back or start a new run'): pin_base(run, 'acme/tiny', base)

def test_what_a_base_is_called_says_nothing_of_this_machine(base, tmp_path):
    names = []
    for n,name in enumerate((str(base), str(tiny_base()), 'acme/tiny')):
        (tmp_path/f'run{n}').mkdir()
        names.append(pin_base(tmp_path/f'run{n}', name, base)['name'])
    assert names==['base', 'ftkit-tiny', 'acme/tiny']

def test_a_damaged_memory_of_hashes_is_made_again(base, fresh_home):
    before = weights_hash(base)
    (fresh_home/'passport'/'weights.json').write_text('{')
    assert weights_hash(base)==before

def test_a_base_that_stores_a_prefix_fits(tmp_path):
    base = tmp_path/'encoder'; base.mkdir()
    save_file({f'bert.{t}.weight': np.ones((16, 16), 'f4') for t in TARGETS}, base/'model.safetensors')
    check_adapter(toy_adapter(tmp_path/'a'), base)

def test_a_module_that_the_base_stores_under_no_such_name_is_not_judged(tmp_path):
    targets = [*TARGETS, 'lm_head']
    w = toy_weights(targets=targets)
    check_adapter(toy_adapter(tmp_path/'a', tensors=w, target_modules=['q_proj', 'v_proj', 'lm_head']), toy_base(tmp_path/'base'))

def test_an_adapter_for_another_model_is_refused(tmp_path, base):
    other = toy_weights(targets=['h.0.attn.c_attn', 'h.1.attn.c_attn'])
    assert reason(toy_adapter(tmp_path/'gpt', tensors=other, target_modules=['c_attn']), base)=='keys'

def test_full_weights_are_accepted_and_looked_at(tmp_path, base):
    assert check_adapter(base).kind=='full'
    write_passport(base, 'acme/tiny', base)
    save_file({'w': np.array([np.inf], 'f4')}, base/'model.safetensors')
    assert reason(base, None)=='nan'
    (tmp_path/'empty').mkdir()
    assert reason(tmp_path/'empty', None)=='file'

def test_what_is_no_folder_is_no_adapter(tmp_path):
    with pytest.raises(FtkitError, match='is not a folder'): inventory(tmp_path/'nowhere')

HEADERS = {
    'not an object': b'[1]', 'no offsets': b'{"a":{"dtype":"F32","shape":[1]}}', 'unknown type': b'{"a":{"dtype":"X9","shape":[1],"data_offsets":[0,4]}}',
    'a negative side': b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', 'twice': b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    'overlap': b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    'beyond the end': b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}', 'text for a shape': b'{"a":{"dtype":"F32","shape":"1","data_offsets":["0",4]}}',
    'two negative sides': b'{"a":{"dtype":"F32","shape":[-1,-1],"data_offsets":[0,4]}}',
}
@pytest.mark.parametrize('name', HEADERS)
def test_a_header_that_lies_is_refused(name, tmp_path):
    (tmp_path/'x.safetensors').write_bytes(struct.pack('<Q', len(HEADERS[name]))+HEADERS[name]+b'\0'*4)
    with pytest.raises(AdapterRefused) as e: tensor_table(tmp_path/'x.safetensors')
    assert e.value.reason=='header'

def test_every_float_format_is_scanned(tmp_path):
    torch = pytest.importorskip('torch')
    from safetensors.torch import save_file as save
    from ftkit.model.weights import EXPONENT, scan
    kinds = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]
    for kind in kinds:
        for value, expected in ((1.5, (True, True)), (-0., (True, False)), (float('nan'), (False, True))):
            x = torch.zeros(1000); x[777] = value
            save({'x': x.to(kind)}, tmp_path/'x.safetensors')
            t = tensor_table(tmp_path/'x.safetensors')['x']
            assert t.dtype in EXPONENT and scan(tmp_path/'x.safetensors', t, block=64)==expected, kind

@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_change_of_any_byte_is_found(adapter, base, data):
    "With a passport, one flipped bit or a cut anywhere is refused, and nothing else than a refusal comes out"
    path = adapter/data.draw(st.sampled_from(['adapter_model.safetensors', 'adapter_config.json']))
    before = path.read_bytes()
    at, bit = data.draw(st.integers(0, len(before)-1)), data.draw(st.integers(0, 8))
    path.write_bytes(before[:at]+(bytes([before[at]^(1<<bit)]) if bit<8 else b'')+(before[at+1:] if bit<8 else b''))
    try: reason(adapter, base)
    finally: path.write_bytes(before)

def test_checking_opens_nothing_with_torch_or_peft(adapter, base):
    code = f'import sys; from ftkit.model.passport import check_adapter; check_adapter({str(adapter)!r}, {str(base)!r}); assert not {{"torch", "peft", "transformers", "safetensors"}} & set(sys.modules)'
    subprocess.run([sys.executable, '-c', code], check=True)

def test_what_peft_saves_passes_and_tells_its_base_apart(tmp_path):
    peft = pytest.importorskip('peft')
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from ftkit.model.tiny import random_base
    base = random_base()
    for name, targets, more in (('some', ['q_proj', 'down_proj'], {}), ('all', 'all-linear', dict(use_rslora=True)), ('dora', ['q_proj', 'down_proj'], dict(use_dora=True, rank_pattern={'down_proj': 2}))):
        model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), peft.LoraConfig(r=4, target_modules=targets, task_type='CAUSAL_LM', **more))
        model.save_pretrained(tmp_path/name)
        AutoTokenizer.from_pretrained(base).save_pretrained(tmp_path/name)
        assert reason(tmp_path/name, base)=='no effect'
        for n,p in model.named_parameters():
            if 'lora_B' in n: torch.nn.init.normal_(p)
        model.save_pretrained(tmp_path/name)
        (tmp_path/name/'README.md').unlink()
        p = write_passport(tmp_path/name, 'ftkit-random', base)
        assert tokenizer_hashes(base)=={k: p[k] for k in ('tokenizer', 'template')}, 'saving the tokenizer changed what it does'
        assert check_adapter(tmp_path/name, base).modules==(14 if name=='all' else 4)
    assert read_passport(tmp_path/'some')['base']['name']=='ftkit-random'
    assert json.loads((tmp_path/'some'/'passport.json').read_text())['libraries']['peft']
