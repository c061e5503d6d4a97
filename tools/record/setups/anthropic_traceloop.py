"Anthropic SDK watched by traceloop's OpenLLMetry."
from harness import tracing
from opentelemetry.instrumentation.anthropic import AnthropicInstrumentor

AnthropicInstrumentor().instrument(tracer_provider=tracing())
import anthropic_calls # noqa: E402 - it is watched only when imported after

anthropic_calls.run()
