"""Training on rows that share a beginning, against TRL's trainers with their defaults. Usage: python benchmarks/training.py [--only sft dpo] [--rounds 5]

The model is SmolLM-135M's configuration with random weights (30 layers, 49,152 tokens), with a LoRA adapter of rank 8 on its attention layers;
rows are chat messages in the tokens of the shipped model. TRL's trainers get the same model, the same token ids, the same batch of 8 and one thread; everything
else is their default: bfloat16 autocast, gradient checkpointing, random batches. ftkit is called as a run calls it: `train_sft_rows` and `train_dpo_rows`.
Seconds are those of the trainer's loop, from `on_train_begin` to `on_train_end`: collating, steps, clipping, logging and the checkpoint at the end.
What a run does once before that (encoding, the trial on a tree, the forecast, DPO's reference for these few rows) is in `set_up_s`. Losses and gradients are compared in 32 bits first.
"""
import os, random, shutil, tempfile
from functools import cache
from pathlib import Path
from statistics import median

import measure as m

SIDES = ('trl', 'ftkit')
WORDS = 'parcel order refund delivery invoice account address colour size return shop courier voucher payment gift basket price week morning counter'.split()


def smol(layers):
    "A folder with SmolLM-135M's configuration, at this depth, with random weights and the shipped tokenizer; one layer is a toy to try the programs with."
    width, heads, vocab = (96, 3, 4096) if layers==1 else (576, 9, 49152)
    from transformers import AutoTokenizer, LlamaConfig
    from ftkit.disk import atomic_dir, home
    from ftkit.model.tiny import random_model, tiny_base
    path = home('models')/f'benchmark-{layers}x{width}-{vocab}'
    if path.exists(): return path
    config = LlamaConfig(vocab_size=vocab, hidden_size=width, intermediate_size=width*8//3, num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=heads//3,
        max_position_embeddings=2048, tie_word_embeddings=True, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=3, pad_token_id=0)
    with atomic_dir(path) as tmp:
        random_model(config).save_pretrained(tmp)
        AutoTokenizer.from_pretrained(tiny_base()).save_pretrained(tmp)
    return path


@cache
def tokenizer():
    from transformers import AutoTokenizer
    from ftkit.model.tiny import tiny_base
    return AutoTokenizer.from_pretrained(tiny_base())


def text(rng, tokens):
    "Words that are about this many tokens."
    said = []
    while len(tokenizer()(' '.join(said))['input_ids'])<tokens: said.append(rng.choice(WORDS))
    return ' '.join(said)


def examples(n, system=256, user=28, answer=3, seed=0):
    "Rows with one system prompt of this many tokens (none when 0), and a question and an answer of their own."
    from ftkit.records import InstructionExample
    rng = random.Random(seed)
    frame = 5 # tokens of the template around a message
    start = [dict(role='system', content=text(rng, system-frame))] if system else []
    rows = []
    for _ in range(n):
        q = text(rng, user-frame)
        rows.append(InstructionExample(start[0]['content'] if start else '', q, text(rng, answer), {'messages': [*start, dict(role='user', content=q)]}))
    return rows


def pairs(n, prompt=240, answer=16, seed=0):
    "Preferences: a prompt of their own, and two answers."
    from ftkit.records import PreferencePair
    rng, rows = random.Random(seed), []
    for _ in range(n):
        q = text(rng, prompt-12)
        rows.append(PreferencePair(q, text(rng, answer-1), text(rng, answer-1)+' no', {'messages': [dict(role='user', content=q)]}))
    return rows


def plan(batch=8, epochs=1, **more):
    from ftkit.plans.plan import OrchestrationConfig
    return OrchestrationConfig(tenant_id='benchmark', project='benchmark', model_type='llm', agent_type='benchmark', batch_size=batch, epochs=epochs, cpu=1, memory=10**6, **more)


def fresh(folder):
    "The model with a new adapter."
    import torch
    from ftkit.model.load import load_base
    from ftkit.train.lora import with_lora
    torch.manual_seed(0)
    return with_lora(load_base(folder, dtype='float32', device='cpu').model, plan().adapter)[0]


@cache
def clock():
    "Seconds of the last trainer's loop, told by a callback that every trainer gets."
    from transformers import TrainerCallback, trainer
    class Clock(TrainerCallback):
        took = 0.
        def on_train_begin(self, *_, **kw): Clock.took = -m.now()
        def on_train_end(self, *_, **kw): Clock.took += m.now()
    trainer.DEFAULT_CALLBACKS.append(Clock)
    return Clock


ROOM = Path(tempfile.gettempdir())/f'ftkit-benchmark-{os.getpid()}'

def place():
    "A new folder, gone after the run."
    ROOM.mkdir(exist_ok=True)
    return Path(tempfile.mkdtemp(dir=ROOM))


def trl_arguments(batch=8, **more):
    "TRL's defaults, on this machine's processor."
    import torch
    return dict(per_device_train_batch_size=batch, num_train_epochs=1, disable_tqdm=True, report_to='none', use_cpu=not torch.cuda.is_available(), **more)


def sft_trainer(model, records, **more):
    "TRL's SFT trainer as it comes, for rows that are tokens already."
    from trl import SFTConfig, SFTTrainer
    from ftkit.train.sft import sft_columns, sft_rows
    args = SFTConfig(str(place()), dataset_kwargs={'skip_prepare_dataset': True}, **trl_arguments(**more))
    return SFTTrainer(model=model, args=args, processing_class=tokenizer(), train_dataset=sft_columns(sft_rows(records, tokenizer())))


def dpo_trainer(model, records, **more):
    "TRL's DPO trainer as it comes, for pairs that are tokens already."
    from trl import DPOConfig
    from ftkit.train.dpo import dpo_columns
    from ftkit.train.trl import pair_trainer
    args = DPOConfig(str(place()), **trl_arguments(**more))
    return pair_trainer()(model=model, args=args, processing_class=tokenizer(), train_dataset=dpo_columns(records, tokenizer()))


def our_sft_trainer(model, records, batch=8, worth=.8, random_batches=False, **more):
    "The trainer that `train_sft_rows` makes; with `worth=0` every row by itself, or with TRL's random batches."
    import torch
    from trl import SFTConfig
    from ftkit.model.tree import IGNORED, collate, share
    from ftkit.train import sft
    from ftkit.train.base import trainer_arguments
    rows = sft.sft_rows(records, tokenizer())
    def trees(some):
        made = collate(share([(r['input_ids'], r['labels']) for r in some], worth), 0)
        return dict(labels=torch.cat([torch.tensor([IGNORED]), made['targets']]), **made)
    kind = sft.shared_trainer()
    if random_batches: kind = type('RandomBatches', (kind,), dict(train_sampler=lambda trainer: None))
    args = SFTConfig(**{**trainer_arguments(plan(batch).train, place(), len(rows)), **more}, max_length=None, packing=False, dataset_kwargs={'skip_prepare_dataset': True})
    return kind(model=model, args=args, processing_class=tokenizer(), data_collator=trees, train_dataset=sft.sft_columns(rows))


def our_dpo_trainer(model, records, batch=8, **more):
    "The trainer that `train_dpo_rows` makes."
    from trl import DPOConfig
    from ftkit.train import dpo
    from ftkit.train.base import trainer_arguments
    args = DPOConfig(**{**trainer_arguments(plan(batch).train, place(), len(records)), **more}, max_length=None, precompute_ref_log_probs=True, precompute_ref_batch_size=batch)
    return dpo.shared_dpo_trainer()(model=model, args=args, processing_class=tokenizer(), data_collator=dpo.pair_collator(0), train_dataset=dpo.dpo_columns(records, tokenizer()))


def train(side, kind, folder, records, batch=8, whole=None, model=None):
    "Train once; the seconds of the trainer's loop. Sides: trl, ftkit, alone (ftkit's trainer without trees), random (the same in random batches)."
    from ftkit.model.load import quietly
    from ftkit.train import dpo, sft
    timer, model, where = clock(), model or fresh(folder), place()
    began = m.now()
    with quietly():
        if side=='ftkit':
            got = {'sft': sft.train_sft_rows, 'dpo': dpo.train_dpo_rows}[kind](model, tokenizer(), records, [], plan(batch).train, where, where/'checkpoints')
            if got['computation']!='shared': raise AssertionError(got['computation'])
        elif side=='trl': {'sft': sft_trainer, 'dpo': dpo_trainer}[kind](model, records, batch=batch).train()
        else: our_sft_trainer(model, records, batch, 0, side=='random').train()
    if whole is not None: whole.setdefault(side, []).append(m.now()-began)
    shutil.rmtree(ROOM, ignore_errors=True)
    return timer.took


def loss_and_gradient(trainer, model):
    "Of the first batch, with an adapter that does something."
    import torch
    torch.manual_seed(3)
    for n,p in model.named_parameters():
        if 'lora_B.default' in n: torch.nn.init.normal_(p, std=.02)
    model.train()
    model.zero_grad()
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(len(trainer.train_dataset))])
    loss = trainer.compute_loss(model, batch)
    loss.backward()
    return loss.detach(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def equality(kind, folder, records, within=1e-5):
    "One batch in 32 bits by TRL's trainer and by ftkit's: how far loss and gradient are apart. More than `within` is an error."
    made = []
    for make in {'sft': (sft_trainer, our_sft_trainer), 'dpo': (dpo_trainer, our_dpo_trainer)}[kind]:
        model = fresh(folder)
        made.append(loss_and_gradient(make(model, records, bf16=False), model))
    shutil.rmtree(ROOM, ignore_errors=True)
    return {what: m.same(b, a, within, f'{kind} {what}') for what,a,b in zip(('loss', 'gradient'), *made)}


def tokens_of(records, batch=8):
    "Tokens that a batch puts through the model: TRL's padded rows, and one tree; and the share that is prompt."
    from ftkit.model.tree import share
    from ftkit.train.sft import sft_rows
    rows = sft_rows(records[:batch], tokenizer())
    trees = share([(r.input_ids, r.labels) for r in rows])
    padded = len(rows)*max(map(len, rows))
    ours = len(trees)*max(map(len, trees))
    return dict(padded=padded, ours=ours, learned=sum(r.learned for r in rows), limit=padded/ours)


def pair_tokens(records):
    from ftkit.train.preflight import encode_pair
    some = [encode_pair(p, tokenizer()) for p in records]
    both = [(len(e['prompt_ids']), len(e['chosen_ids']), len(e['rejected_ids'])) for e in some]
    trl, ours = sum(2*p+c+r for p,c,r in both), sum(p+c+r for p,c,r in both)
    return dict(trl=trl, ours=ours, limit=2*trl/ours) # TRL scores each pair twice: policy and reference


def set_up(whole, took): return {k: median(v)-median(took[k]) for k,v in whole.items()}


def per_s(took, n): return {k: n/median(v) for k,v in took.items()}


def race(kind, folder, records, a, batch=8, sides=SIDES, whole=None):
    "Seconds of each side's loop, in turn. The comparison of losses before it has warmed everything up."
    return m.in_turn({s: (lambda s=s: train(s, kind, folder, records, batch, whole)) for s in sides}, a.rounds, warm=0)


def sft(a, report):
    "SFT with a system prompt of 256 tokens."
    folder, records, whole = smol(a.layers), examples(8*a.steps, a.system), {}
    off, tokens = equality('sft', folder, records[:8]), tokens_of(records)
    took = race('sft', folder, records, a, sides=(*SIDES, 'alone'), whole=whole)
    alone = m.ratios(took, 'alone', 'ftkit')
    more = dict(layers=a.layers, batch=8, steps=a.steps, tokens_a_batch=tokens, off=off, examples_per_s=per_s(took, len(records)))
    report.keep(m.row('SFT examples/s, shared system prompt', 'TRL SFTTrainer, defaults', m.ratios(took, 'trl', 'ftkit'), 6, set_up_s=set_up(whole, took), **more),
        m.row('SFT, share of the token-count limit', 'ftkit without sharing', [r/tokens['limit'] for r in alone], .7, speedup=median(alone), **more))


def unshared(a, report):
    "SFT where no two rows begin alike."
    folder, records = smol(a.layers), examples(8*a.steps, 0, 248, 7)
    off, tokens = equality('sft', folder, records[:2]), tokens_of(records)
    took = race('sft', folder, records, a)
    report.keep(m.row('SFT examples/s, nothing shared', 'TRL SFTTrainer, defaults', m.ratios(took, 'trl', 'ftkit'), 2, note=BY_ITSELF, layers=a.layers, batch=8, steps=a.steps, tokens_a_batch=tokens, off=off, examples_per_s=per_s(took, len(records))))


def peak(side, layers, system):
    "Megabytes that training adds to a process in which the model is loaded; the model's own."
    import gc
    import torch
    import trl.trainer.dpo_trainer, trl.trainer.sft_trainer # noqa: F401, E401
    torch.set_num_threads(1)
    records, folder = examples(8, system), smol(layers)
    gc.collect()
    before = m.memory('VmRSS')
    model = fresh(folder)
    for p in model.parameters(): p.sum() # weights that were mapped are read
    return m.growth(lambda: train(side, 'sft', folder, records, model=model)), m.memory('VmRSS')-before


def memory(a, report):
    "SFT's peak memory, each side in a process of its own."
    smol(a.layers)
    took = {s: [] for s in SIDES}
    for _ in range(a.rounds):
        for s in SIDES: took[s].append(m.child(__file__, 'peak', s, a.layers, a.system)[0])
    report.keep(m.row('SFT peak memory over the loaded model', 'TRL SFTTrainer, defaults', m.ratios(took, 'trl', 'ftkit'), 4, layers=a.layers, batch=8, mb={k: median(v) for k,v in took.items()}))


def dpo(a, report):
    "DPO with the whole model."
    folder, records, whole = smol(a.layers), pairs(a.pairs*a.steps), {}
    off, tokens = equality('dpo', folder, records[:1]), pair_tokens(records[:1])
    took = race('dpo', folder, records, a, batch=a.pairs, whole=whole)
    report.keep(m.row('DPO pairs/s', 'TRL DPOTrainer, defaults', m.ratios(took, 'trl', 'ftkit'), 5, note=FEW_TOKENS, set_up_s=set_up(whole, took), layers=a.layers, batch=a.pairs, steps=a.steps, tokens_a_pair=tokens, off=off, pairs_per_s=per_s(took, len(records))))


def lengths(a, report):
    "Rows of very different lengths: padded in random batches, and as ftkit takes them (similar lengths together, one tree where that is shorter)."
    import numpy as np
    drawn = np.exp(np.random.default_rng(0).normal(np.log(70), .9, a.mixed)).clip(20, 512).astype(int)
    records = [examples(1, 0, int(n)-8, 3, seed)[0] for seed,n in enumerate(drawn)]
    folder = smol(a.few)
    off = equality('sft', folder, records[:4])
    took = race('sft', folder, records, a, sides=('random', 'ftkit'))
    from ftkit.model.tree import share
    from ftkit.train.sft import alike, sft_rows
    size = [len(r) for r in sft_rows(records, tokenizer())]
    order, rows = dict(random=random.Random(0).sample(range(a.mixed), a.mixed), ftkit=list(alike(size, 8, 0))), sft_rows(records, tokenizer())
    batches = {k: [[(rows[i].input_ids, rows[i].labels) for i in o[n:n+8]] for n in range(0, len(o), 8)] for k,o in order.items()}
    padded = {k: sum(len(trees)*max(map(len, trees)) for b in bs for trees in [share(b, .8 if k=='ftkit' else 0)]) for k,bs in batches.items()}
    report.keep(m.row('Mixed lengths, real tokens/s', 'the same trainer, random padded batches', m.ratios(took, 'random', 'ftkit'), 2, note=MANY_ROWS, layers=a.few, batch=8, examples=a.mixed, off=off, real_tokens=sum(size),
        padded_to_real={k: v/sum(size) for k,v in padded.items()}, token_limit=padded['random']/padded['ftkit'], tokens_per_s=per_s(took, sum(size))))


def curve(a, report):
    "How the ratio grows with what is shared."
    folder, found = smol(a.few), []
    for system in a.systems:
        records = examples(4, system)
        took = race('sft', folder, records, a, batch=4)
        tokens = tokens_of(records, 4)
        found.append(dict(prompt_to_answer=round((tokens['padded']-tokens['learned'])/tokens['learned'], 1), shared_tokens=system, ratio=median(m.ratios(took, 'trl', 'ftkit')), token_limit=tokens['limit'], examples_per_s=per_s(took, 4)['ftkit']))
    report.keep(**{'SFT by system prompt': dict(against='TRL SFTTrainer, defaults', layers=a.few, batch=4, rounds=a.rounds, x='shared_tokens', y='ratio', points=found)})


def dpo_curve(a, report):
    "The same for preferences; the point at 15:1 is a row of its own."
    folder, found = smol(a.few), []
    off = equality('dpo', folder, pairs(1))
    for share in (1, 4, 15):
        records = pairs(a.pairs, 16*share)
        took = race('dpo', folder, records, a, batch=a.pairs)
        tokens = pair_tokens(records[:1])
        found.append(dict(prompt_to_answer=share, ratio=median(m.ratios(took, 'trl', 'ftkit')), token_limit=tokens['limit'], pairs_per_s=per_s(took, a.pairs)['ftkit']))
    report.keep(m.row('DPO pairs/s, prompt:answer 15:1', 'TRL DPOTrainer, defaults', m.ratios(took, 'trl', 'ftkit'), 8, note=FEW_TOKENS, layers=a.few, batch=a.pairs, off=off, pairs_per_s=per_s(took, a.pairs)),
        **{'DPO by prompt:answer': dict(against='TRL DPOTrainer, defaults', layers=a.few, batch=a.pairs, x='prompt_to_answer', y='ratio', points=found)})


def peak_of_rows(n):
    "Megabytes that a run on this many rows adds, and those of the whole process at most."
    import torch
    from ftkit.model.tiny import tiny_base
    torch.set_num_threads(1)
    records, model = examples(n), fresh(tiny_base())
    train('ftkit', 'sft', tiny_base(), records[:8]) # what is loaded and kept once
    return m.growth(lambda: train('ftkit', 'sft', None, records, model=model)), m.memory('VmHWM')


def growth(a, report):
    "Time and memory against the number of rows, with the model that ships."
    from ftkit.jobs.local import KERNELS, child_environment
    from ftkit.model.tiny import tiny_base
    records, told = examples(max(a.sizes)), child_environment(1) # as every training process is told
    train('ftkit', 'sft', tiny_base(), records[:8])
    took = m.in_turn({n: (lambda n=n: train('ftkit', 'sft', tiny_base(), records[:n])) for n in a.sizes}, a.rounds, warm=0)
    added, whole = {n: [] for n in a.sizes}, {n: [] for n in a.sizes}
    for n in a.sizes*a.rounds:
        for kept,mb in zip((added, whole), m.child(__file__, 'peak_of_rows', n, **told)): kept[n].append(mb)
    unbounded = {n: m.child(__file__, 'peak_of_rows', n, **child_environment(1, dict.fromkeys(KERNELS, '1024')))[0] for n in a.sizes} # once
    found = [dict(rows=n, seconds=median(took[n]), memory_mb=median(whole[n]), added_mb=median(added[n]), added_mb_with_all_kernels_kept=unbounded[n]) for n in a.sizes]
    slopes = lambda of: [m.exponent(a.sizes, [of[n][i] for n in a.sizes]) for i in range(a.rounds)]
    report.keep(m.row('Training time against rows, exponent', 'four sizes', slopes(took), 1.1, better=False), m.row('Training memory against rows, exponent', 'four sizes, the whole process', slopes(whole), .1, better=False),
        m.row('What training adds to memory against rows, exponent', 'four sizes', slopes(added), .1, better=False, note=ROWS_STAY),
        **{'Training by rows': dict(against='ftkit-tiny, batch of 8', x='rows', y='seconds', points=found)})


ROWS_STAY = "added_mb of the curve: what is the same for all sizes is the work of one step and its compiled kernels (all of them kept, as is oneDNN's default, would be added_mb_with_all_kernels_kept); what grows is the data itself, each row's text and tokens"
FEW_TOKENS = 'a step of few pairs is few tokens, so the work that a step has whatever its size (16-bit copies of all weights, the optimizer, the checkpoint at the end of so short a run) weighs more on the side that has less to compute; the limit by tokens is in token_limit'
BY_ITSELF = 'what is left is the model itself: every row is computed whole, forward and backward, and only the head and the recomputation of gradient checkpointing are saved'
MANY_ROWS = "padded_to_real says how many tokens went through the model for each real one, and token_limit is what that alone would give. Attention is not in it: it grows with the square of a row's width, and a tree is wider than its rows; the layout is chosen for the least of both together"

PARTS = dict(sft=sft, unshared=unshared, dpo=dpo, memory=memory, dpo_curve=dpo_curve, lengths=lengths, curve=curve, growth=growth)


def main():
    ap = m.arguments(__doc__, __file__, PARTS)
    ap.add_argument('--layers', type=int, default=30, help="SmolLM-135M's depth")
    ap.add_argument('--few', type=int, default=10, help='layers for the curves and for mixed lengths')
    ap.add_argument('--steps', type=int, default=1, help='steps of one measurement')
    ap.add_argument('--pairs', type=int, default=8, help='pairs of one DPO step')
    ap.add_argument('--system', type=int, default=256, help='tokens of the shared system prompt')
    ap.add_argument('--systems', type=int, nargs='+', default=[32, 128, 256, 512], help='system prompts of the curve')
    ap.add_argument('--mixed', type=int, default=64, help='rows of mixed lengths')
    ap.add_argument('--sizes', type=int, nargs='+', default=[256, 512, 1024, 2048], help='rows of the growth curve')
    a = ap.parse_args()
    if a.smallest: a.layers, a.few, a.rounds, a.pairs, a.systems, a.mixed, a.sizes = 1, 1, 1, 2, [32, 64], 16, [8, 16]
    import torch
    torch.set_num_threads(a.threads)
    m.choose_clock(a.clock)
    report = m.Report(a.out, dict(m.environment('transformers', 'trl', 'peft'), clock=a.clock))
    for part in a.only: PARTS[part](a, report)


if __name__=='__main__' and not m.served(globals()): main()
