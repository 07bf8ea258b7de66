"""Language models behind one request and one answer, both in the shape of OpenAI's chat completions."""

from shared.engine.llm.base import ChatRequest, Completion
from shared.engine.llm.client import complete, timeout_s
from shared.engine.llm.parameters import (
    CONNECTION_PARAMETERS,
    SAMPLING_PARAMETERS,
    chat_request,
    tool_definitions,
)
from shared.engine.llm.prompt import PROMPT_PARAMETERS, messages_of
from shared.engine.llm.structured import structured

__all__ = [
    "CONNECTION_PARAMETERS",
    "PROMPT_PARAMETERS",
    "SAMPLING_PARAMETERS",
    "ChatRequest",
    "Completion",
    "chat_request",
    "complete",
    "messages_of",
    "structured",
    "timeout_s",
    "tool_definitions",
]
