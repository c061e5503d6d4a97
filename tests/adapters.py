"Small adapters and bases made with numpy, for tests that need the files and not the model."
from pathlib import Path
import numpy as np
from safetensors.numpy import save_file
from ftkit.disk import write_json

TARGETS = [f'model.layers.{i}.self_attn.{p}_proj' for i in range(2) for p in 'qv']

def toy_weights(r=4, seed=0, width=16, targets=TARGETS):
    "LoRA weights for two layers."
    rng = np.random.default_rng(seed)
    return {f'base_model.model.{t}.lora_{ab}.weight': rng.normal(size=(r, width) if ab=='A' else (width, r)).astype('f4') for t in targets for ab in 'AB'}

def toy_config(**changed):
    "What PEFT writes beside them."
    return {**dict(peft_type='LORA', task_type='CAUSAL_LM', r=4, lora_alpha=8, lora_dropout=0.0, bias='none', target_modules=['q_proj', 'v_proj'], base_model_name_or_path='acme/tiny',
        auto_mapping=None, modules_to_save=None, megatron_config=None, megatron_core='megatron.core', inference_mode=True, rank_pattern={}, loftq_config={}), **changed}

def toy_adapter(folder, seed=0, tensors=None, **config):
    "The folder of an adapter; another seed gives other files."
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(toy_weights(seed=seed) if tensors is None else tensors, folder/'adapter_model.safetensors')
    write_json(folder/'adapter_config.json', toy_config(**config))
    return folder

def toy_base(folder, seed=0, width=16):
    "The folder of a base that `toy_adapter` fits."
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    save_file({f'{t}.weight': rng.normal(size=(width, width)).astype('f4') for t in TARGETS}, folder/'model.safetensors')
    write_json(folder/'config.json', dict(model_type='llama'))
    write_json(folder/'tokenizer.json', dict(version='1.0', truncation=None, padding=None, model=dict(type='BPE', vocab={'a': 0}, merges=[])))
    return folder
