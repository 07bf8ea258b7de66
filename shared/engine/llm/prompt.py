"""The forms in which an author may write a prompt, in their order of precedence.

Source: FlowRunner docs, LLM node.
"""

from __future__ import annotations

from typing import Any

from shared.engine.kinds.base import Call, NodeFailed
from shared.engine.kinds.scripting import text_of
from shared.engine.llm.templates import render

Message = dict[str, Any]

BRIEF = "Be helpful and brief."
"""The system prompt that goes with a question in the run's input."""

PROMPT_PARAMETERS: dict[str, Any] = {
    "templates": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"role": {"type": "string"}, "template": {"type": "string"}},
            "required": ["role", "template"],
        },
        "description": "Messages whose {{.name}} fields are filled from context.",
    },
    "context": {"type": "object", "description": "Names for templates."},
    "messages": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"role": {"type": "string"}, "content": {"description": "Text, or a list of parts."}},
            "required": ["role"],
        },
        "description": "Messages as they are, results of tools among them.",
    },
    "prompt": {"type": "string", "description": "One message of the user."},
    "template": {"type": "string", "description": "One message whose {{.name}} fields are filled from variables."},
    "variables": {"type": "object", "description": "Names for template."},
    "role": {"type": "string", "default": "user", "description": "Who says template."},
}


def messages_of(call: Call) -> list[Message]:
    """The messages to send; a node without any form of prompt fails."""
    params = call.params
    question = call.scope.shared.get("question")
    # A text question in the run's input comes before everything (docs/rulings.md#llm).
    if isinstance(question, str) and question.strip():
        return [{"role": "system", "content": BRIEF}, {"role": "user", "content": question}]
    if params.get("templates"):
        return _from_templates(call)
    if params.get("messages"):
        return _given(params["messages"])
    if _present(params.get("prompt")):
        return [{"role": "user", "content": text_of(params["prompt"])}]
    if _present(params.get("template")):
        content = render(text_of(params["template"]), _names(call, "variables"))
        return [{"role": text_of(params.get("role") or "user"), "content": content}]
    raise NodeFailed("a prompt is required: set templates, messages, prompt or template", retryable=False)


def _present(value: Any) -> bool:
    return value is not None and value != ""


def _from_templates(call: Call) -> list[Message]:
    names = _names(call, "context")
    wanted = "templates must be a list of {role, template}"
    return [
        {"role": entry["role"], "content": render(text_of(entry.get("template", "")), names)}
        for entry in _entries(call.params["templates"], wanted)
    ]


def _given(messages: Any) -> list[Message]:
    entries = _entries(messages, "messages must be a list of {role, content}")
    return [entry | {"content": _content(entry.get("content"))} for entry in entries]


def _content(content: Any) -> Any:
    """Text and lists of parts go on as they are; other values as JSON text; null stays, as beside tool calls."""
    return content if content is None or isinstance(content, list) else text_of(content)


def _entries(value: Any, wanted: str) -> list[Message]:
    entries = value if isinstance(value, list) else []
    if not entries or not all(isinstance(entry, dict) and isinstance(entry.get("role"), str) for entry in entries):
        raise NodeFailed(wanted, retryable=False)
    return entries


def _names(call: Call, parameter: str) -> dict[str, Any]:
    names = call.params.get(parameter)
    if names is None:
        return {}
    if not isinstance(names, dict):
        raise NodeFailed(f"{parameter} must be an object", retryable=False)
    return names
