"The chat templates that TRL ships, each on the small tokenizer with the special tokens of its family."
import copy
from functools import cache
from pathlib import Path

import trl
from transformers import AutoTokenizer

from ftkit.model.tiny import WEIGHTS

TEMPLATES = Path(trl.__file__).parent/'chat_templates'
CHATML, THINK = ('<|im_start|>',), ('<|im_start|>', '<think>', '</think>')
HEADERS, TURNS, COHERE = ('<|start_header_id|>', '<|end_header_id|>'), ('<start_of_turn>', '<end_of_turn>'), ('<|START_OF_TURN_TOKEN|>', '<|SYSTEM_TOKEN|>', '<|USER_TOKEN|>', '<|CHATBOT_TOKEN|>')
DEEPSEEK = ('<｜begin▁of▁sentence｜>', '<｜end▁of▁sentence｜>', ('<｜User｜>', '<｜Assistant｜>', '<think>', '</think>'))

TRAINED = dict( # family -> beginning of sequence, end of sequence, other special tokens, end of an answer
    tiny=('<|endoftext|>', '<|im_end|>', (), '<|im_end|>'),
    qwen2_5=(None, '<|im_end|>', CHATML, '<|im_end|>'),
    qwen3=(None, '<|im_end|>', THINK, '<|im_end|>'),
    qwen3_instruct_2507=(None, '<|im_end|>', THINK, '<|im_end|>'),
    qwen3_5_nothink=(None, '<|im_end|>', THINK, '<|im_end|>'),
    llama3=('<|begin_of_text|>', '<|end_of_text|>', (*HEADERS, '<|eot_id|>'), '<|eot_id|>'),
    llama3_1=('<|begin_of_text|>', '<|eot_id|>', (*HEADERS, '<|eom_id|>'), '<|eot_id|>'),
    gemma=('<bos>', '<eos>', TURNS, '<end_of_turn>'),
    gemma3=('<bos>', '<eos>', TURNS, '<end_of_turn>'),
    gemma4=('<bos>', '<eos>', ('<|turn>', '<turn|>'), '<turn|>'),
    phi3=('<s>', '<|endoftext|>', ('<|system|>', '<|user|>', '<|assistant|>', '<|end|>'), '<|end|>'),
    cohere=('<BOS_TOKEN>', '<|END_OF_TURN_TOKEN|>', COHERE, '<|END_OF_TURN_TOKEN|>'),
    lfm2_v2=('<|startoftext|>', '<|im_end|>', CHATML, '<|im_end|>'),
)
REFUSED = dict( # family -> beginning of sequence, end of sequence, other special tokens, the reason
    qwen3_5_think=(None, '<|im_end|>', THINK, 'inside a block of reasoning'),
    deepseekv3=(*DEEPSEEK, 'inside a block of reasoning'),
    deepseek_r1_distill=(*DEEPSEEK, 'inside a block of reasoning'),
    nemotron_3_nano=(None, '<|im_end|>', THINK, 'inside a block of reasoning'),
    glm4moe=(None, '<|endoftext|>', ('[gMASK]', '<sop>', '<|user|>', '<|assistant|>', '<think>', '</think>'), 'no end after an answer'),
    gptoss=('<|startoftext|>', '<|return|>', ('<|start|>', '<|end|>', '<|message|>', '<|channel|>'), 'which the prompt does not have'),
    cohere2=('<BOS_TOKEN>', '<|END_OF_TURN_TOKEN|>', (*COHERE, '<|START_RESPONSE|>', '<|END_RESPONSE|>'), 'only the first of these'),
    smolvlm=('<|im_start|>', '<end_of_utterance>', (), 'leaves the answer out'),
    llava_next=('<s>', '</s>', (), 'cannot read a question'),
)

@cache
def tokenizer(family, template=None):
    "The small tokenizer as this family would have it; made once, never changed"
    tok = copy.deepcopy(AutoTokenizer.from_pretrained(WEIGHTS))
    bos, eos, more, _ = {**TRAINED, **REFUSED}[family]
    if family!='tiny':
        tok.add_special_tokens(dict(eos_token=eos, extra_special_tokens=list(more), **({'bos_token': bos} if bos else {})))
        if bos is None: tok.bos_token = None
        tok.chat_template = (TEMPLATES/f'{template or family}.jinja').read_text('utf-8')
    return tok
