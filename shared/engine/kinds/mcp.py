"""``mcp``: use a tool, resource or prompt of a Model Context Protocol server."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, ClassVar

from shared.engine.kinds.base import Call, Done, NodeFailed, NodeKind, Outcome
from shared.engine.kinds.outward import reaching
from shared.engine.kinds.scripting import seconds, text_of
from shared.engine.mcp import Deadline, Headers, HttpWithSse, Session, StreamableHttp, Transport
from shared.kit import json

CONNECTIONS = ("http", "sse")
DEFAULT_TIMEOUT_MS = 60_000
LISTS = {
    "listTools": ("tools/list", "tools"),
    "listResources": ("resources/list", "resources"),
    "listResourceTemplates": ("resources/templates/list", "resourceTemplates"),
    "listPrompts": ("prompts/list", "prompts"),
}
OPERATIONS = ("readResource", "executeTool", "getPrompt", *LISTS)
_ANYTHING = {"type": ["object", "string"]}


class ModelContextProtocol(NodeKind):
    """One operation in a session of its own. Starting a program (``cmd``) is refused: the server is shared."""

    name: ClassVar[str] = "mcp"
    effectful: ClassVar[bool] = True
    description: ClassVar[str] = "Use a tool, resource or prompt of an MCP server."
    parameters: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "connectionType": {
                "type": "string",
                "enum": list(CONNECTIONS),
                "description": "http is Streamable HTTP, sse the older HTTP with SSE.",
            },
            "operation": {"type": "string", "enum": list(OPERATIONS)},
            "url": {"type": "string"},
            "headers": {**_ANYTHING, "description": "Sent with every request, for example Authorization."},
            "timeout": {"type": ["number", "string"], "default": DEFAULT_TIMEOUT_MS, "description": "Milliseconds."},
            "messagesPostEndpoint": {
                "type": "string",
                "description": "sse: where messages go, instead of what the server says.",
            },
            "resourceUri": {"type": "string"},
            "toolName": {"type": "string"},
            "toolParameters": {**_ANYTHING, "description": "An object or its JSON text; the input if missing."},
            "promptName": {"type": "string"},
            "promptArguments": {**_ANYTHING, "description": "An object or its JSON text."},
        },
        "required": ["connectionType", "operation", "url"],
    }

    def run(self, call: Call) -> Outcome:
        connection, operation = text_of(call.require("connectionType")), text_of(call.require("operation"))
        if connection == "cmd":
            message = "connectionType cmd would start a program on this server and is not allowed; use http or sse"
            raise NodeFailed(message, retryable=False)
        if connection not in CONNECTIONS:
            raise NodeFailed("connectionType must be http or sse", retryable=False)
        method, params = _request(call, operation)
        with reaching("MCP request failed: "), _transport(call, connection) as transport:
            session = Session(transport)
            session.initialize()
            listed = LISTS.get(operation)
            result = session.list(*listed) if listed else session.call(method, params)
        if operation == "executeTool" and result.get("isError") is True:
            raise NodeFailed(f"MCP tool {params['name']} failed: {_texts(result)}", output={"result": result})
        return Done({"result": result})


def _request(call: Call, operation: str) -> tuple[str, dict[str, Any]]:
    match operation:
        case "readResource":
            return "resources/read", {"uri": text_of(call.require("resourceUri"))}
        case "executeTool":
            arguments = call.params.get("toolParameters")
            given = call.input if arguments in (None, "") and isinstance(call.input, dict) else arguments
            name = text_of(call.require("toolName"))
            return "tools/call", {"name": name, "arguments": _object(given, "toolParameters")}
        case "getPrompt":
            arguments = _object(call.params.get("promptArguments"), "promptArguments")
            texts = {name: text_of(value) for name, value in arguments.items()}
            return "prompts/get", {"name": text_of(call.require("promptName")), "arguments": texts}
        case _ if operation in LISTS:
            return LISTS[operation][0], {}
    raise NodeFailed(f"operation must be one of {', '.join(OPERATIONS)}", retryable=False)


def _transport(call: Call, connection: str) -> AbstractContextManager[Transport]:
    url, http = text_of(call.require("url")), call.services.http
    headers, deadline = _headers(call), Deadline(_timeout_s(call))
    if connection == "http":
        return StreamableHttp(http, url, headers, deadline)
    endpoint = call.params.get("messagesPostEndpoint")
    return HttpWithSse(http, url, headers, deadline, text_of(endpoint) if endpoint else None)


def _headers(call: Call) -> Headers:
    given = _object(call.params.get("headers"), "headers")
    texts = {name: text_of(value) for name, value in given.items()}
    return Headers(texts, key=call.idempotency_key, attempt=call.attempt)


def _timeout_s(call: Call) -> float:
    """The whole session's time in seconds. The parameter is in milliseconds, unless it is text with a unit."""
    given = call.params.get("timeout")
    wanted = DEFAULT_TIMEOUT_MS if given in (None, "") else given
    if isinstance(wanted, str) and wanted.strip().isdecimal():
        wanted = float(wanted)
    chosen = seconds(wanted, "timeout") / (1 if isinstance(wanted, str) else 1000)
    if chosen <= 0:
        raise NodeFailed("timeout must be more than 0", retryable=False)
    return min(chosen, call.services.wall_clock_limit_s)


def _object(value: Any, name: str) -> dict[str, Any]:
    if value in (None, ""):
        return {}
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise NodeFailed(f"{name} must be an object, or its JSON text", retryable=False)
    return found


def _texts(result: dict[str, Any]) -> str:
    content = result.get("content")
    blocks = [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []
    return " ".join(str(block["text"]) for block in blocks if block.get("type") == "text" and "text" in block)[:500]
