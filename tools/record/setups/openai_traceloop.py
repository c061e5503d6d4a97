"OpenAI SDK watched by traceloop's OpenLLMetry."
from harness import tracing
from opentelemetry.instrumentation.openai import OpenAIInstrumentor

OpenAIInstrumentor().instrument(tracer_provider=tracing())
import openai_calls # noqa: E402 - it is watched only when imported after

openai_calls.run()
