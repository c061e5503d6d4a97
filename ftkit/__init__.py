__version__ = "0.2.0.dev0"
from importlib import import_module

# public name -> the page that defines it; resolved on first use, so that `import ftkit` stays light
_pages = {
    'core': 'FtkitError Accounting InstructionExample PreferencePair Ranking Triplet ConversationTurn ConversationTrajectory InstructionDataset PreferenceDataset RankingDataset TripletDataset TrajectoryDataset',
    'spans': 'Span Annotation',
    'tiny': 'tiny_base',
    'telemetry': 'TelemetryProvider PhoenixProvider FileProvider phoenix send save_telemetry',
    'phoenixdb': 'PhoenixDatabaseProvider',
    'feedback': 'feedback_telemetry',
    'data.extract': 'AnnotationPolicy TraceToInstructionConverter PreferencePairExtractor TripletExtractor TraceToTrajectoryConverter',
    'data.redact': 'redact',
    'data.clean': 'escape_control_tokens',
    'data.split': 'split certificate check_certificate',
    'data.version': 'save_version load_version list_versions diff find_usage forget',
    'data.formats': 'format_alpaca_text format_dpo format_triplets format_chat validate_sft_dataset validate_dpo_dataset validate_embedding_dataset InstructionFormatter',
    'data.synth': 'SyntheticDataRequest SyntheticDataService',
    'data.approval': 'ApprovalBatch ReviewItem ApprovalOrchestrator ApprovalStore decide undo approved_records require_approved receipts_of check_receipts',
    'parcel': 'pack open_parcel',
    'passport': 'write_passport add_figures check_adapter AdapterRefused',
    'select': 'TrainingMethodSelector MethodAnalysis',
    'plan': 'OrchestrationConfig Plan recommended',
    'models': 'load generate score_labels resolve_base',
    'train.preflight': 'show_tokens preview',
    'experiment': 'list_experiments get_experiment_details compare_experiments',
    'evals.metrics': 'plot_reliability calibration_error field_metrics retrieval_rows',
    'evals.stats': 'mcnemar paired_bootstrap holm compare_paired required_n',
    'evals.judge': 'Judge',
    'evals.compare': 'evaluate evaluate_safely EvaluationResult',
    'registry': 'AdapterRegistry AdapterMetadata StaleActivation default_registry',
    'hub': 'upload_adapter download_adapter LocalStorage HuggingFaceStorage resolve_adapter_path get_active_adapter_path get_active_adapter_for_inference AdapterAwareMixin lora_request lora_payload vllm_args write_card load_checked',
    'track': 'plot_loss read_metrics list_runs',
    'faults': 'affected',
    'backends.base': 'Job WaitingForJob',
    'backends.training': 'TrainingBackend LocalTrainingBackend RemoteTrainingBackend TrainingJobResult SFTFinetuner DPOFinetuner EmbeddingFinetuner',
    'pipeline': 'finetune finetune_sync FinetuningOrchestrator OrchestrationResult',
    'widgets': 'approval_panel experiments',
}
_home = {name: page for page,names in _pages.items() for name in names.split()}
__all__ = list(_home)

def __getattr__(name):
    if name not in _home: raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'.{_home[name]}', __name__), name)

def __dir__(): return [*globals(), *_home]
