"Names that notebooks out there hold: of the pages on data, evaluation, registry and pipeline."
import asyncio

import pytest

from ftkit import DPOFinetuner, EmbeddingFinetuner, EvaluationResult, FinetuningOrchestrator, OrchestrationConfig, ReviewItem, SFTFinetuner, SyntheticDataRequest, SyntheticDataService, TrainingMethodSelector
from ftkit.core import FtkitError, content_hash
from ftkit.records import InstructionExample, PreferencePair, Triplet
from ftkit.data.decisions import ApprovalBatch
from ftkit.database import private_url, public_url
from ftkit.adapters.record import AdapterMetadata
from ftkit.adapters.registry import AdapterRegistry
from ftkit.telemetry.samples import telemetry
from ftkit.telemetry.files import FileProvider, save_telemetry

def test_figures_of_an_evaluation_are_attributes_too():
    figures = dict(accuracy=.5, confidence=.6, error_rate=.5, hallucination_rate=.1, latency_ms=50.)
    result = EvaluationResult('labels', 'base', 'adapter', base_metrics=figures, adapter_metrics={**figures, 'accuracy': .7}, improvements=dict(accuracy=.2))
    assert result.accuracy_improvement==.2 and result.adapter_metrics.accuracy==.7 and result.improvement_significant is False
    assert [getattr(result.base_metrics, k) for k in figures]==list(figures.values())
    assert EvaluationResult('text', 'base', 'adapter', base_metrics=dict(token_f1=.5)).base_metrics.accuracy is None, 'a figure that was not measured'

def test_a_review_item_can_be_made_of_a_record_alone():
    item = ReviewItem(InstructionExample('Route.', 'late', 'delivery'))
    same = ReviewItem(InstructionExample('Route.', 'late', 'delivery'))
    assert item.record.output=='delivery' and item.item_id==same.item_id and ApprovalBatch('b', [item]).items[0].item_id==item.item_id

def test_the_registry_has_its_record_under_both_names(fresh_home):
    assert AdapterRegistry().list_adapters('acme')==[] and 'training_method' in AdapterMetadata.__dataclass_fields__

@pytest.fixture(scope='module')
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp('shop')
    save_telemetry(folder, *telemetry('routing', n=80))
    return FileProvider(folder)

def test_a_selector_analyzes_data_and_makes_nothing(shop):
    analysis = asyncio.run(TrainingMethodSelector(min_sft_examples=20).analyze_data(shop, 'default', 'routing'))
    assert analysis.recommended_method=='sft' and analysis.approved_examples>20

def test_a_service_with_seeds_generates_on_request(fresh_home):
    seeds = [InstructionExample('Route.', f'where is my {thing}, I ordered it {day}', 'delivery') for thing in ('parcel', 'mug', 'lamp', 'mat') for day in ('today', 'yesterday', 'on Monday')]
    seeds += [InstructionExample('Route.', f'I was charged twice for the {thing} {day}', 'billing') for thing in ('parcel', 'mug', 'lamp', 'mat') for day in ('today', 'yesterday', 'on Monday')]
    made = SyntheticDataService(seeds=seeds).generate(SyntheticDataRequest(optimizer='routing', count=4))
    assert 0<len(made)<=4 and {r.output for r in made}<={'delivery', 'billing'}
    with pytest.raises(FtkitError, match='no seeds to generate from'): SyntheticDataService().generate(SyntheticDataRequest(optimizer='routing', count=4))

def test_the_orchestrator_asks_for_one_method(shop, tmp_path):
    plan = OrchestrationConfig(tenant_id='acme', project='default', model_type='llm', agent_type='routing', base_model='ftkit-tiny', output_dir=str(tmp_path))
    orchestrator = FinetuningOrchestrator(shop)
    for train,words in ((orchestrator.train_dpo, 'Insufficient preference pairs'), (orchestrator.train_embedding, 'Insufficient')):
        with pytest.raises(FtkitError, match=words): asyncio.run(train(plan.but(min_sft_examples=500) if train==orchestrator.train_embedding else plan, say=lambda line: None))
    assert callable(orchestrator.train_sft)

def test_a_finetuner_wants_records_of_its_method():
    plan = OrchestrationConfig(tenant_id='acme', project='p', model_type='llm', agent_type='a', base_model='ftkit-tiny')
    for finetuner in (SFTFinetuner, DPOFinetuner):
        with pytest.raises(FtkitError, match='records of'): asyncio.run(finetuner(plan).train([object()]))
    with pytest.raises(FtkitError, match="embedding needs a plan with model_type='embedding'"): asyncio.run(EmbeddingFinetuner(plan).train([object()]))

def test_metadata_answer_to_their_second_names_and_store_only_the_first():
    pair = PreferencePair('p', 'a', 'b', dict(span_id='s1', score=.9))
    assert pair.metadata['chosen_score']==.9 and pair.metadata.get('confidence')==.9 and pair.metadata['search_id']=='s1'
    assert dict(pair.metadata)==dict(span_id='s1', score=.9) and content_hash(pair)==content_hash(dict(prompt='p', chosen='a', rejected='b', metadata=dict(span_id='s1', score=.9)))
    assert pair.metadata.get('nothing', 3)==3 and pair.noting(confidence=.2).metadata['confidence']==.2
    with pytest.raises(KeyError): Triplet('a', 'b', 'c').metadata['search_id']

def test_a_plan_names_a_database_without_its_password_and_it_opens_again():
    private = 'postgresql://ann:secret@db/approvals'
    public = public_url(private)
    assert public=='postgresql://ann@db/approvals' and private_url(public, private)==private and private_url(public, None)==public
    assert private_url(public, 'postgresql://ann:secret@other/approvals')==public, 'another database'
