"OpenAI SDK watched by OpenInference."
import openai_calls
from harness import tracing
from openinference.instrumentation import using_session
from openinference.instrumentation.openai import OpenAIInstrumentor

OpenAIInstrumentor().instrument(tracer_provider=tracing())
openai_calls.run(using_session)
