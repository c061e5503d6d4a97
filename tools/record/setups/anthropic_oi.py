"Anthropic SDK watched by OpenInference, with the span that the SDK itself makes below."
from harness import tracing
from openinference.instrumentation import using_session
from openinference.instrumentation.anthropic import AnthropicInstrumentor

AnthropicInstrumentor().instrument(tracer_provider=tracing())
import anthropic_calls # noqa: E402 - it is watched only when imported after

anthropic_calls.run(using_session)
