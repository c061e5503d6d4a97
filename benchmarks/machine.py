"""What ftkit chooses by the machine it is on. Usage: python benchmarks/machine.py [--only precision sending]

The number format: steps of ftkit-tiny with a LoRA adapter on all its linear layers, in the format that `best_dtype` chooses for this processor and in the other one.
The core of an embedded Phoenix: spans of the sample shop are sent to one that stays on a core, as it does by itself, and to the same one while it may use every core, in turn. Timed is the
processor time of the server, and the wall in `seconds`; it needs two cores.
"""
import asyncio, os, time
from pathlib import Path
from statistics import median

import measure as m
from reading import sample, server_cpu


def precision(a, report):
    "A training step in either number format."
    import torch
    from ftkit.model.load import best_dtype, load_base
    from ftkit.plans.plan import OrchestrationConfig
    from ftkit.model.tree import forgetful
    from ftkit.model.tiny import tiny_base
    from ftkit.train.lora import with_lora
    torch.manual_seed(0)
    config = OrchestrationConfig(tenant_id='benchmark', project='machine', model_type='llm', agent_type='any', target_modules='all-linear')
    model, _ = with_lora(load_base(tiny_base(), dtype='float32', device='cpu').model, config.adapter)
    ids, half = torch.randint(4, model.config.vocab_size, (a.batch, a.tokens)), best_dtype('cpu')=='bfloat16'
    def steps(bf16):
        for _ in range(a.steps):
            with torch.autocast('cpu', torch.bfloat16, enabled=bf16), forgetful(): loss = model(input_ids=ids, labels=ids).loss
            loss.backward()
            model.zero_grad()
    took = m.in_turn(dict(other=lambda: steps(not half), chosen=lambda: steps(half)), a.rounds)
    report.keep(m.row('Training step in the number format chosen for this processor', 'the other one', m.ratios(took, 'other', 'chosen'), 1,
        chosen='bfloat16' if half else 'float32', batch=a.batch, tokens=a.tokens, ms_a_step={k: 1000*median(v)/a.steps for k,v in took.items()}))


def sending(a, report):
    "Spans into an embedded Phoenix, on one core and on all."
    from ftkit.telemetry.sending import send
    from ftkit.telemetry.server import phoenix
    if len(os.sched_getaffinity(0))<2: return print('sending: one core is all there is, so there is nothing to choose')
    with phoenix(timeout_s=300) as server:
        pid, seconds, n = server.child.pid, dict(one=[], all=[]), 0
        where = dict(one=os.sched_getaffinity(pid), all=os.sched_getaffinity(0))
        if len(where['one'])!=1: raise AssertionError(f'Phoenix may use {len(where["one"])} cores')
        def call(name):
            nonlocal n
            n += 1
            spans = sample(1, f'sent-{n}')[0][:a.spans]
            for task in Path(f'/proc/{pid}/task').iterdir(): os.sched_setaffinity(int(task.name), where[name])
            cpu, began = server_cpu(pid), time.perf_counter()
            asyncio.run(send(spans, (), 'sent', server.endpoint, timeout_s=300))
            seconds[name].append(time.perf_counter()-began)
            return server_cpu(pid)-cpu
        took = m.in_turn({k: (lambda k=k: call(k)) for k in ('all', 'one')}, a.rounds)
    report.keep(m.row('Sending spans to the embedded Phoenix, processor time of the server', 'the same on all cores', m.ratios(took, 'all', 'one'), 1,
        spans=a.spans, ms_a_span={k: 1000*median(v)/a.spans for k,v in took.items()}, seconds={k: median(v) for k,v in seconds.items()}))


PARTS = dict(precision=precision, sending=sending)


def main():
    ap = m.arguments(__doc__, __file__, PARTS)
    ap.add_argument('--batch', type=int, default=8)
    ap.add_argument('--tokens', type=int, default=128, help='of a row')
    ap.add_argument('--steps', type=int, default=5, help='in a round')
    ap.add_argument('--spans', type=int, default=400, help='sent in a round')
    a = ap.parse_args()
    if a.smallest: a.batch, a.tokens, a.steps, a.spans, a.rounds = 2, 16, 1, 20, 1
    import torch
    torch.set_num_threads(a.threads)
    report = m.Report(a.out, m.environment('arize-phoenix', 'transformers'))
    for part in a.only: PARTS[part](a, report)


if __name__=='__main__' and not m.served(globals()): main()
