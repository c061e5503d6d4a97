__version__ = "0.2.0.dev0"
from importlib import import_module

# public name -> the page that defines it; resolved on first use, so that `import ftkit` stays light
_pages = {
    'core': 'FtkitError Accounting',
    'records': 'InstructionExample PreferencePair Ranking Triplet ConversationTurn ConversationTrajectory InstructionDataset PreferenceDataset RankingDataset TripletDataset TrajectoryDataset',
    'telemetry.spans': 'Span Annotation',
    'telemetry.reading': 'TelemetryProvider',
    'telemetry.http': 'PhoenixProvider',
    'telemetry.files': 'FileProvider save_telemetry',
    'telemetry.phoenixdb': 'PhoenixDatabaseProvider',
    'telemetry.server': 'phoenix',
    'telemetry.sending': 'send',
    'telemetry.feedback': 'feedback_telemetry',
    'telemetry.imports': 'import_telemetry',
    'data.verdicts': 'AnnotationPolicy',
    'data.extract': 'TraceToInstructionConverter PreferencePairExtractor TripletExtractor TraceToTrajectoryConverter',
    'data.redact': 'redact',
    'data.clean': 'escape_control_tokens',
    'data.certificate': 'certificate check_certificate',
    'data.split': 'split',
    'data.version': 'save_version load_version list_versions diff',
    'data.lineage': 'find_usage forget',
    'data.formats': 'format_alpaca_text format_dpo format_triplets format_chat validate_sft_dataset validate_dpo_dataset validate_embedding_dataset InstructionFormatter',
    'data.requests': 'SyntheticDataRequest',
    'data.synth': 'SyntheticDataService',
    'data.decisions': 'ApprovalBatch ReviewItem',
    'data.approval': 'ApprovalOrchestrator ApprovalStore decide undo approved_records',
    'data.gate': 'require_approved receipts_of check_receipts',
    'model.tiny': 'tiny_base',
    'model.weights': 'AdapterRefused',
    'model.passport': 'write_passport add_figures check_adapter',
    'model.load': 'load resolve_base',
    'model.score': 'score_labels',
    'model.generate': 'generate',
    'plans.plan': 'OrchestrationConfig Plan',
    'plans.advice': 'recommended',
    'plans.select': 'TrainingMethodSelector MethodAnalysis',
    'runs.metrics': 'plot_loss read_metrics',
    'runs.report': 'list_runs',
    'runs.parcel': 'pack open_parcel',
    'runs.history': 'list_experiments get_experiment_details compare_experiments',
    'runs.faults': 'affected',
    'train.preflight': 'show_tokens preview',
    'jobs.waiting': 'WaitingForJob',
    'jobs.job': 'Job',
    'jobs.training': 'TrainingBackend LocalTrainingBackend RemoteTrainingBackend TrainingJobResult SFTFinetuner DPOFinetuner EmbeddingFinetuner',
    'evals.metrics': 'plot_reliability calibration_error field_metrics retrieval_rows',
    'evals.stats': 'mcnemar paired_bootstrap holm compare_paired required_n',
    'evals.judge': 'Judge',
    'evals.verdict': 'EvaluationResult',
    'evals.compare': 'evaluate evaluate_safely',
    'adapters.record': 'AdapterMetadata',
    'adapters.activate': 'StaleActivation',
    'adapters.registry': 'AdapterRegistry default_registry',
    'adapters.storage': 'upload_adapter download_adapter LocalStorage HuggingFaceStorage',
    'adapters.card': 'write_card',
    'adapters.inference': 'resolve_adapter_path get_active_adapter_path get_active_adapter_for_inference AdapterAwareMixin lora_request lora_payload vllm_args load_checked',
    'pipeline': 'finetune finetune_sync FinetuningOrchestrator OrchestrationResult',
    'panels.approval': 'approval_panel',
    'panels.experiments': 'experiments',
}
_home = {name: page for page,names in _pages.items() for name in names.split()}
__all__ = list(_home)

def __getattr__(name):
    if name not in _home: raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'.{_home[name]}', __name__), name)

def __dir__(): return [*globals(), *_home]

from ._moved import install

install()
