"OpenAI SDK watched by OpenTelemetry's own instrumentation, which does not record what was said unless asked."
from harness import tracing
from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor

OpenAIInstrumentor().instrument(tracer_provider=tracing())
import openai_calls # noqa: E402 - it is watched only when imported after

openai_calls.run()
