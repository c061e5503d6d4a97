"Pydantic AI's own spans, in GenAI conventions, as Phoenix converts them."
import pydantic_runs
from harness import tracing
from pydantic_ai import Agent
from pydantic_ai.models.instrumented import InstrumentationSettings

Agent.instrument_all(InstrumentationSettings(tracer_provider=tracing()))
pydantic_runs.run()
