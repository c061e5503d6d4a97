"Pydantic AI's spans through OpenInference's span processor."
import pydantic_runs
from harness import tracing
from openinference.instrumentation.pydantic_ai import OpenInferenceSpanProcessor
from pydantic_ai import Agent
from pydantic_ai.models.instrumented import InstrumentationSettings

Agent.instrument_all(InstrumentationSettings(tracer_provider=tracing(OpenInferenceSpanProcessor())))
pydantic_runs.run()
