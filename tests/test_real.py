"Real feedback from two real agents, replayed into a real Phoenix and trained on. Taskmaster-3 and -4, Google LLC, CC BY 4.0."
import asyncio, gzip, json, os
from collections import defaultdict
from pathlib import Path

import pytest

from ftkit.core import FtkitError
from ftkit.data.approval import ApprovalOrchestrator, ApprovalStore, decide
from ftkit.data.synth import SyntheticDataService
from ftkit.telemetry.feedback import feedback_telemetry
from ftkit.pipeline import finetune_sync
from ftkit.adapters.registry import AdapterRegistry
from ftkit.telemetry.spans import renewed
from ftkit.telemetry.files import FileProvider, save_telemetry
from ftkit.telemetry.http import PhoenixProvider
from ftkit.telemetry.sending import send
from ftkit.model.tiny import llama_config, random_model, tiny_base

DATA = Path(__file__).parents[2]/'shared'/'data'
pytestmark = [pytest.mark.real, pytest.mark.skipif(not DATA.exists(), reason=f'{DATA} is not here: the feedback files are not part of the project')]
FULL = os.environ.get('FTKIT_FULL')=='1'
FAST = dict(model_type='llm', epochs=1, batch_size=8, max_length=384, learning_rate=1e-3, test_set_size=6, target_modules='all-linear')

@pytest.fixture(scope='module')
def base(tmp_path_factory):
    "The tiny base with FTKIT_FULL=1; otherwise a random model with its vocabulary and template, which trains in a quarter of the time, in this process"
    from transformers import AutoTokenizer
    if FULL: return tiny_base()
    folder = tmp_path_factory.mktemp('base')
    random_model(llama_config(hidden=64, layers=2)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_base()).save_pretrained(folder)
    return folder

def rows(agent):
    with gzip.open(DATA/f'taskmaster_{agent}'/'feedback.jsonl.gz', 'rt') as f: return [json.loads(line) for line in f]

def said(row):
    "What the agent said in this row, as a text that two equal turns share"
    turn = json.loads(row['generation'])
    return json.dumps({k: v for k,v in turn.items() if k!='role' and v not in ('', {}, None)}, sort_keys=True)

def counted(rows):
    "The counts that ftkit's account must show, made from the raw file alone"
    answered = [r for r in rows if said(r)!='{}']
    contexts = defaultdict(lambda: ([], []))
    for r in answered: contexts[json.dumps(json.loads(r['context']), sort_keys=True)][int(r['reward']>=.5)].append(said(r))
    both = {c: v for c,v in contexts.items() if v[0] and v[1]}
    pairs = sum(min(4, len({(g, b) for g in good for b in bad if g!=b})) for bad,good in both.values())
    return dict(seen=len(rows), approved=sum(r['reward']>=.5 for r in answered), contexts_with_both=len(both), pairs=pairs)

def replayed(agent, some, server, project):
    asyncio.run(send(*renewed(*feedback_telemetry(some, agent), key=project), project=project, endpoint=server.endpoint))
    return PhoenixProvider('acme', project, server.endpoint)

def logits(folder, adapter=None):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if adapter: model = PeftModel.from_pretrained(model, adapter)
    ids = AutoTokenizer.from_pretrained(folder)('one espresso please', return_tensors='pt')
    with torch.no_grad(): return model(**ids).logits

@pytest.mark.parametrize('agent,method', [('coffee', 'dpo'), ('tickets', 'sft')])
def test_an_agents_feedback_becomes_a_registered_adapter(agent, method, base, phoenix_server, tmp_path):
    raw = rows(agent)
    provider, expected = replayed(agent, raw, phoenix_server, f'real-{agent}'), counted(raw)
    result = finetune_sync(telemetry_provider=provider, tenant_id='acme', project=f'real-{agent}', agent_type=agent, output_dir=str(tmp_path), base_model=str(base), in_process=not FULL, say=print, **FAST)
    about = json.loads((Path(result.run)/'data'/'extract'/'extraction.json').read_text())
    examples, pairs = about['accounts']['examples'], about['accounts']['pairs']
    assert examples['seen']==pairs['seen']==expected['seen'] and examples['kept']==expected['approved'] and about['counts']['preference_pairs']==expected['pairs']
    assert result.training_method==method
    if agent=='coffee': assert expected['contexts_with_both']==213
    if agent=='tickets': assert sum(r['reward']>=.5 for r in raw)==479
    assert (logits(base)-logits(base, result.adapter_path)).abs().max()>1e-3
    record = AdapterRegistry().get_adapter(result.adapter_id)
    assert record.dataset_version==result.dataset and record.training_method==method
    assert result.evaluation_result.task!='none', result.evaluation_result.warnings

def test_thirty_rows_are_too_few_and_it_says_so(base, phoenix_server, tmp_path):
    provider = replayed('coffee', rows('coffee')[:30], phoenix_server, 'real-slice')
    with pytest.raises(FtkitError, match=r'Insufficient preference pairs: \d+ < 20. Insufficient approved examples: \d+ < 50.'):
        finetune_sync(telemetry_provider=provider, tenant_id='acme', project='real-slice', agent_type='coffee', output_dir=str(tmp_path), base_model=str(base), say=print, **FAST)

class Later(ApprovalOrchestrator):
    "A reviewer who has not looked yet."
    async def submit_for_review(self, batch): return self.store.save(batch)

def test_thirty_approved_rows_and_a_person_are_enough(base, tmp_path):
    approved = [r for r in rows('tickets') if r['reward']>=.5 and said(r)!='{}'][:30]
    save_telemetry(tmp_path/'in', *feedback_telemetry(approved, 'tickets'))
    store = ApprovalStore(f'sqlite:///{tmp_path}/approvals.db')
    parts = dict(telemetry_provider=FileProvider(tmp_path/'in', 'acme', 'thirty'), synthetic_service=SyntheticDataService(), approval_orchestrator=Later(store), in_process=True, say=print)
    first = finetune_sync(**parts, tenant_id='acme', project='thirty', agent_type='tickets', output_dir=str(tmp_path), base_model=str(base), **{**FAST, 'test_set_size': 4})
    assert first.status=='awaiting approval' and not first.used_synthetic
    batch = store.load(store.batches()[0])
    decide(batch.batch_id, [i.item_id for i in batch.items], 'approve', 'mara', store=store)
    done = finetune_sync(resume=first.run, **parts)
    assert done.training_method=='sft' and done.used_synthetic and done.synthetic_approval_count==len(batch.items)
    assert done.metrics['train_examples']>=50 and Path(done.adapter_path, 'adapter_model.safetensors').exists()
