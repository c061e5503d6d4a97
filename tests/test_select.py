"From a provider to a method: too little data, made-up rows, a person, and further rounds that bring other rows."
import asyncio
from dataclasses import replace

import pytest

from ftkit.core import FtkitError
from ftkit.records import InstructionExample
from ftkit.data.approval import ApprovalOrchestrator, ApprovalStore, decide
from ftkit.data.decisions import record_hash
from ftkit.data.gate import require_approved
from ftkit.data.extract import pull
from ftkit.data.synth import SyntheticDataService
from ftkit.telemetry.samples import telemetry
from ftkit.plans.select import AwaitingApproval, MethodAnalysis, Supply, TrainingMethodSelector, batch_name, choose, require
from ftkit.telemetry.spans import renewed
from ftkit.telemetry.files import FileProvider, save_telemetry
from ftkit.telemetry.http import PhoenixProvider
from ftkit.telemetry.sending import send

ENOUGH = 45

@pytest.fixture
def store(tmp_path): return ApprovalStore(f'sqlite:///{tmp_path}/approvals.db')

@pytest.fixture
def shop(tmp_path):
    "Traces of the shop with about thirty approved calls, as files"
    save_telemetry(tmp_path/'in', *telemetry('routing', n=44))
    return FileProvider(tmp_path/'in')

class Later(ApprovalOrchestrator):
    "A reviewer who has not looked yet."
    async def submit_for_review(self, batch): return self.store.save(batch)

class Strict(ApprovalOrchestrator):
    "A reviewer who decides at once, and turns every other row down."
    async def submit_for_review(self, batch): return reading(self.store, lambda n: 'reject' if n%2 else 'approve', self.store.save(batch).batch_id)

def selector(store, person=Later, **more): return TrainingMethodSelector(SyntheticDataService(), person(store, poll_s=.01, tell=lambda text: None), **{'min_sft_examples': ENOUGH, **more})
def ask(selector, provider, agent='routing', project='shop'): return asyncio.run(selector.analyze_and_prepare(provider, project, agent, generate_synthetic=True))

def reading(store, verdict, name=None):
    "Decide on what is open in a batch (the newest, or the one named) as `verdict(position)` says"
    batch = store.load(name or store.batches()[0])
    for n,i in enumerate(batch.items):
        if i.status=='pending': decide(batch.batch_id, i.item_id, verdict(n), 'mara', store=store)
    return store.load(batch.batch_id)

def test_from_phoenix_through_a_person_to_a_method(phoenix_server, store):
    project = 'select-shop'
    asyncio.run(send(*renewed(*telemetry('routing', n=44), key=project), project=project, endpoint=phoenix_server.endpoint))
    provider = PhoenixProvider('acme', project, phoenix_server.endpoint)
    alone, nothing = asyncio.run(TrainingMethodSelector(min_sft_examples=ENOUGH).analyze_and_prepare(provider, project, 'routing'))
    assert alone.recommended_method=='insufficient' and nothing is None and alone.approved_examples<ENOUGH
    async def both():
        asked = asyncio.ensure_future(selector(store, ApprovalOrchestrator).analyze_and_prepare(provider, project, 'routing', generate_synthetic=True))
        while not store.batches(): await asyncio.sleep(.02)
        await asyncio.sleep(.05)
        assert not asked.done(), 'it did not wait for a person'
        reading(store, lambda n: 'reject' if n%5==0 else 'approve')
        return await asyncio.wait_for(asked, 10)
    analysis, batch = asyncio.run(both())
    let_through = [i for n,i in enumerate(batch.items) if n%5]
    assert batch.done and [r.input for r in batch.records]==[i.record.input for i in let_through]
    assert require(analysis)=='sft' and analysis.approved_examples==alone.approved_examples+len(let_through)>=ENOUGH and analysis.proposed==len(batch.items)
    assert require_approved(batch.records, store)==batch.records

def test_synthesis_that_is_not_wanted_makes_nothing(shop, store):
    analysis, batch = asyncio.run(selector(store).analyze_and_prepare(shop, 'shop', 'routing', generate_synthetic=False))
    assert analysis.recommended_method=='insufficient' and batch is None and not store.batches() and not analysis.again

def test_who_asks_again_before_deciding_finds_the_same_batch(shop, store):
    for _ in range(2):
        with pytest.raises(AwaitingApproval): ask(selector(store), shop)
    assert len(store.batches())==1 and store.load(store.batches()[0]).context['rounds']==1

def test_too_small_after_rejections_says_so_and_asking_again_brings_other_rows(shop, tmp_path):
    def rounds(name):
        person = selector(ApprovalStore(f'sqlite:///{tmp_path}/{name}.db'), Strict)
        found = []
        for _ in range(6):
            analysis, batch = ask(person, shop)
            found.append((analysis, batch))
            if analysis.recommended_method=='sft': return found
        raise AssertionError(f'{len(batch.records)} after {len(found)} rounds')
    found = rounds('one')
    first, second = found[0][0], found[1][1]
    assert len(found)>1 and first.recommended_method=='insufficient' and first.proposed==len(found[0][1].items)
    with pytest.raises(FtkitError, match=rf'Insufficient approved examples: \d+ < {ENOUGH}.*or ask again .*finetune\(resume=\.\.\.\).*none of the {first.proposed} synthetic'): require(first)
    assert first.again in first.lines() and first.again in first._repr_markdown_()
    last = found[-1][1]
    assert second.batch_id==last.batch_id==found[0][1].batch_id and last.context['rounds']==len(found)
    assert len({record_hash(i.record) for i in last.items})==len(last.items), 'a row was proposed twice'
    assert [i.record.text() for i in second.items[:first.proposed]]==[i.record.text() for i in found[0][1].items], 'earlier rows and what was said of them stay'
    assert found[-1][0].approved_examples>=ENOUGH and not found[-1][0].again
    again = rounds('two')
    assert [[i.hash for i in b.items] for _,b in again]==[[i.hash for i in b.items] for _,b in found], 'the same decisions led to other rows'

def test_a_higher_threshold_asks_for_what_is_still_missing(shop, store):
    with pytest.raises(AwaitingApproval): ask(selector(store), shop)
    first = reading(store, lambda n: 'approve')
    with pytest.raises(AwaitingApproval): ask(selector(store, min_sft_examples=ENOUGH+10), shop)
    more = store.load(first.batch_id)
    assert 0<len(more.items)-len(first.items)<len(first.items)+15 and len(more.records)==len(first.records)
    reading(store, lambda n: 'approve')
    assert ask(selector(store, min_sft_examples=ENOUGH+10), shop)[0].recommended_method=='sft'

def test_what_was_turned_down_does_not_come_back_in_another_batch(tmp_path, store):
    def provider(n):
        save_telemetry(tmp_path/f'{n}', *telemetry('routing', n=n))
        return FileProvider(tmp_path/f'{n}')
    with pytest.raises(AwaitingApproval): ask(selector(store), provider(40))
    bad = {i.record.input for i in reading(store, lambda n: 'reject').items}
    with pytest.raises(AwaitingApproval): ask(selector(store), provider(44)) # a few more judged calls: other seeds, another batch
    newer = store.load(store.batches()[0])
    assert len(store.batches())==2 and newer.context['rounds']==1 and not bad & {i.record.input for i in newer.items}

def test_tenants_with_the_same_traces_have_a_batch_each(shop, store):
    def asking(tenant): return asyncio.run(selector(store).prepare(found['examples'], found['pairs'], 'routing', tenant_id=tenant))
    found = asyncio.run(pull(shop, 'shop', 'routing')).sets
    for tenant in ('acme', 'globex', 'acme'):
        with pytest.raises(AwaitingApproval): asking(tenant)
    theirs, ours = (store.load(b) for b in store.batches())
    assert len(store.batches())==2 and (ours.context['tenant_id'], theirs.context['tenant_id'])==('acme', 'globex')
    records = reading(store, lambda n: 'approve', theirs.batch_id).records
    assert require_approved(records, store, 'globex')==records
    with pytest.raises(FtkitError, match="not approved as they are for tenant 'acme'"): require_approved(records, store, 'acme')
    with pytest.raises(AwaitingApproval): asking('acme')
    assert asking('globex')[0].recommended_method=='sft'

def test_a_batch_that_names_no_tenant_is_gone_on_with(shop, store):
    with pytest.raises(AwaitingApproval): asyncio.run(selector(store).prepare(*(asyncio.run(pull(shop, 'shop', 'routing')).sets[k] for k in ('examples', 'pairs')), 'routing'))
    reading(store, lambda n: 'approve')
    assert ask(selector(store), shop)[0].recommended_method=='sft' and store.load(store.batches()[0]).context['tenant_id']=='default'

def test_seeds_that_give_nothing_more_are_an_error_that_counts(store):
    few = [InstructionExample('Route.', f'where is my {thing}', 'delivery', dict(span_id=thing)) for thing in ('parcel', 'teapot')]
    person, tries = selector(store, Strict, min_sft_examples=12), []
    with pytest.raises(FtkitError, match='(?s)nothing usable came out of 2 seeds.*was proposed before'):
        while len(tries)<20: tries.append(asyncio.run(person.prepare(few, [], 'routing'))[0])
    assert tries and all(a.recommended_method=='insufficient' and a.again for a in tries)

def test_a_batch_belongs_to_its_examples_their_spans_what_is_held_out_and_the_agent():
    E = InstructionExample
    a, b, other = E('i', 'x', 'y', dict(span_id='1')), E('i', 'x', 'y', dict(span_id='2')), E('i', 'z', 'y', dict(span_id='1'))
    names = [batch_name(*args) for args in (([a], [], 'r'), ([b], [], 'r'), ([other], [], 'r'), ([a], [other], 'r'), ([a], [], 's'))]
    assert len(set(names))==len(names) and batch_name([a, other], [], 'r')==batch_name([other, a], [], 'r')

FEW = dict(preference_pairs=15, approved_examples=9)

def refusal(analysis):
    with pytest.raises(FtkitError) as e: require(analysis)
    return str(e.value)

@pytest.mark.parametrize('method, short, limits', [
    ('auto', 'Insufficient preference pairs: 15 < 20. Insufficient approved examples: 9 < 50.', 'min_dpo_pairs, min_sft_examples'),
    ('combined', 'Insufficient approved examples: 9 < 50. Insufficient preference pairs: 15 < 20.', 'min_dpo_pairs, min_sft_examples'),
    ('dpo', 'Insufficient preference pairs: 15 < 20.', 'min_dpo_pairs'),
    ('ranking', 'Insufficient ranked prompts: 0 < 20.', 'min_dpo_pairs'),
    ('multi_turn', 'Insufficient turns of approved conversations: 0 < 50.', 'min_sft_examples')])
def test_too_little_data_is_said_with_the_numbers_and_the_ways_out(method, short, limits):
    said = refusal(choose(FEW, method=method))
    assert said.startswith(f'{short} Ways out: annotate more spans in Phoenix (') and f', lower the threshold ({limits}) if you accept the risk' in said
    assert ('synthetic_service=' in said)==('approved examples:' in short)

def test_the_ways_out_follow_from_the_numbers_not_from_the_words():
    analysis = choose(FEW)
    translated = replace(analysis, reasons=('Zu wenig Daten.',))
    assert translated.lacking==(Supply('dpo', 15, 20), Supply('sft', 9, 50))
    assert refusal(translated)==refusal(analysis).replace(analysis.reasons[-1], 'Zu wenig Daten.')
    enough = replace(analysis, lacking=(), recommended_method='insufficient')
    assert 'min_dpo_pairs' not in refusal(enough) and 'synthetic_service' not in refusal(enough)

def test_what_is_lacking_is_kept_with_the_run(tmp_path):
    for analysis in (choose(FEW), choose(dict(preference_pairs=90))):
        analysis.save(tmp_path)
        assert MethodAnalysis.load(tmp_path)==analysis
