"""Scoring closed answers and evaluating adapters. Usage: python benchmarks/scoring.py [--only labels evaluation memory]

SmolLM-135M's configuration with random weights and 12 layers, in 32 bits; a system prompt of 384 tokens, 40 tokens of question, 16 labels of up to 7 tokens and their end.
`score_labels` gives the exact probability of every label. It is timed against one forward per label (`share=False`: the same function, padded batches of 8, the head
on the label's tokens only; timed on a few items, as it takes them one by one) and against `model.generate` of transformers on one batch of all items, which gives one answer and no probabilities.
The second evaluation is `evaluate` with another adapter of the same base: the base's answers are known then.
"""
import random, shutil, tempfile
from pathlib import Path
from statistics import median

import measure as m
from training import fresh, smol, text, tokenizer


def asked(n, system, user=40, labels=16, seed=0):
    "Prompts with one beginning, and labels that share first words."
    rng = random.Random(seed)
    start = dict(role='system', content=text(rng, system-5))
    names = [f'{a} {b}' for a in ('billing', 'delivery', 'returns', 'other') for b in ('home', 'shop', 'abroad', 'gift')][:labels]
    return [[start, dict(role='user', content=text(rng, user-9))] for _ in range(n)], names


def generated(model, prompts, tokens):
    "One batch of greedy answers, as transformers gives them."
    import torch
    from ftkit.model.prompt import padded, to_ids
    ids, mask, _ = padded([to_ids(model.tokenizer, p) for p in prompts], 0)
    with torch.no_grad(): return model.model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False, pad_token_id=0)


def labels(a, report):
    "`score_labels` against what it replaces."
    import numpy as np
    from ftkit.model.load import load_base, quietly
    from ftkit.model.prompt import answer_ids
    from ftkit.model.score import score_labels
    model = load_base(smol(a.layers), dtype='float32')
    prompts, names = asked(a.items, a.system)
    room = max(len(answer_ids(model.tokenizer, prompts[0], l)) for l in names)
    ours, plain = score_labels(model, prompts[:a.each], names), score_labels(model, prompts[:a.each], names, share=False)
    if ours.path!='label trie on a shared prefix': raise AssertionError(ours.path)
    off = m.same(ours.probs, plain.probs, 1e-5, 'probability')
    def by_label(): # for as many items as the others
        began = m.now()
        score_labels(model, prompts[:a.each], names, share=False)
        return (m.now()-began)*a.items/a.each
    with quietly(): took = m.in_turn(dict(by_label=by_label, generate=lambda: generated(model, prompts, room), ftkit=lambda: score_labels(model, prompts, names)), a.rounds)
    more = dict(layers=a.layers, items=a.items, labels=len(names), system_tokens=a.system, ms_an_item={k: 1000*median(v)/a.items for k,v in took.items()}, off=off)
    report.keep(m.row('Scoring 16 labels, items/s', 'one forward per label', m.ratios(took, 'by_label', 'ftkit'), 40, items_timed_by_label=a.each, **more),
        m.row('Scoring 16 labels against an answer without probabilities', 'generate, one batch', m.ratios(took, 'generate', 'ftkit'), 2.5, new_tokens=room, **more))
    found = []
    for n in a.counts:
        some = names[:n]
        took = m.in_turn(dict(by_label=lambda some=some: score_labels(model, prompts[:1], some, share=False), ftkit=lambda some=some: score_labels(model, prompts, some)), a.rounds, warm=0)
        found.append(dict(labels=n, ratio=median(r*a.items for r in m.ratios(took, 'by_label', 'ftkit')), ms_an_item=1000*median(took['ftkit'])/a.items))
    report.keep(**{'Scoring by number of labels': dict(against='one forward per label', x='labels', y='ratio', points=found)})
    if not np.isfinite(ours.logprobs).all(): raise AssertionError('a label has no probability')


def adapters(folder, place, n=2):
    "Adapters that do something, as training would leave them."
    import torch
    from ftkit.model.passport import write_passport
    from ftkit.train.base import save_adapter
    made = []
    for seed in range(n):
        model = fresh(folder)
        torch.manual_seed(seed)
        for name,p in model.named_parameters():
            if 'lora_B' in name: torch.nn.init.normal_(p, std=.02)
        run = Path(place)/f'run{seed}'
        run.mkdir(parents=True)
        made.append(str(save_adapter(model, tokenizer(), run, lambda tmp: write_passport(tmp, Path(folder).name, folder))))
    return made


def rows(n, system):
    from ftkit.records import InstructionExample
    prompts, names = asked(n, system)
    return [InstructionExample(p[0]['content'], p[1]['content'], names[i%len(names)], {'messages': p}) for i,p in enumerate(prompts)]


def evaluated(folder, adapter, records, forget=False):
    from ftkit.disk import home
    from ftkit.evals.compare import evaluate
    if forget: shutil.rmtree(home('evaluations'), ignore_errors=True)
    return evaluate(folder, adapter, records, task='labels', test_size=len(records), certificate=None)


def peak_of(what, layers, n, system, adapter=None):
    "Megabytes that an evaluation, or asking the base alone the same, adds to a process that has its libraries."
    import torch
    from ftkit.evals.sheet import fill_sheet, labels_of
    from ftkit.model.load import load
    import peft, scipy.stats, transformers # noqa: F401, E401
    torch.set_num_threads(1)
    records, folder = rows(n, system), smol(layers)
    if what=='evaluation': return m.growth(lambda: evaluated(folder, adapter, records, forget=True))
    return m.growth(lambda: fill_sheet(load(folder), records, 'labels', labels_of(records), 8))


def evaluation(a, report):
    "A first and a second adapter of one base."
    folder, records = smol(a.layers), rows(a.rows, a.system)
    place = tempfile.mkdtemp(prefix='ftkit-benchmark-')
    try:
        one, two = adapters(folder, place)
        known = []
        def second():
            known.append(evaluated(folder, two, records).details['base_from_cache'])
        took = m.in_turn(dict(first=lambda: evaluated(folder, one, records, forget=True), second=second), a.rounds, warm=0)
        if not all(known): raise AssertionError('the base was asked again')
    finally: shutil.rmtree(place, ignore_errors=True)
    report.keep(m.row('Evaluating a second adapter, share of the first', 'the first adapter', m.ratios(took, 'second', 'first'), .55, better=False, note=PER_RUN, seconds={k: median(v) for k,v in took.items()}, layers=a.layers, items=a.rows))


def memory(a, report):
    "An evaluation of base and adapter against asking the base alone, each in a process of its own."
    folder, place, n = smol(a.layers), tempfile.mkdtemp(prefix='ftkit-benchmark-'), min(a.rows, 16) # more rows are more batches, not larger ones
    try:
        one, = adapters(folder, place, 1)
        both = lambda **env: (m.child(__file__, 'peak_of', 'evaluation', a.layers, n, a.system, one, **env), m.child(__file__, 'peak_of', 'base', a.layers, n, a.system, **env))
        mb, given_back = zip(*[(both(), both(**GIVE_BACK)) for _ in range(a.rounds)])
    finally: shutil.rmtree(place, ignore_errors=True)
    report.keep(m.row('Peak memory of base and adapter over that of the base', 'the base alone, asked the same', [x/y for x,y in mb], 1.1, better=False, note=ONE_MODEL, mb=dict(evaluation=median(x for x,_ in mb), base=median(y for _,y in mb)),
        ratio_where_memory_is_given_back=median(x/y for x,y in given_back), layers=a.layers, items=n))


PER_RUN = "what does not depend on the number of rows (loading the model, the adapter's eight timed answers and two of the base) is the same for every adapter; it weighs less the more rows there are"

GIVE_BACK = dict(MALLOC_MMAP_THRESHOLD_='65536', MALLOC_TRIM_THRESHOLD_='65536') # glibc returns what was freed at once
ONE_MODEL = "the base is in memory once. What differs from round to round is how much freed memory the allocator keeps: where it has to give that back at once, base and adapter need ratio_where_memory_is_given_back, which is the adapter, a second sheet of answers and the timed answers"

PARTS = dict(labels=labels, evaluation=evaluation, memory=memory)


def main():
    ap = m.arguments(__doc__, __file__, PARTS)
    ap.add_argument('--layers', type=int, default=12)
    ap.add_argument('--system', type=int, default=384, help='tokens of the shared system prompt')
    ap.add_argument('--items', type=int, default=16)
    ap.add_argument('--each', type=int, default=1, help='items that are timed with one forward per label')
    ap.add_argument('--counts', type=int, nargs='+', default=[2, 4, 8, 16], help='labels of the curve')
    ap.add_argument('--rows', type=int, default=100, help='rows of the evaluation')
    a = ap.parse_args()
    if a.smallest: a.layers, a.system, a.items, a.rounds, a.counts, a.rows = 1, 64, 2, 1, [2], 4
    import torch
    torch.set_num_threads(a.threads)
    m.choose_clock(a.clock)
    report = m.Report(a.out, dict(m.environment('transformers', 'peft'), clock=a.clock))
    for part in a.only: PARTS[part](a, report)


if __name__=='__main__' and not m.served(globals()): main()
