"""Protocol version 2026-07-28, which has no handshake: every request says in body and head what it is.

Source: Model Context Protocol Specification 2026-07-28, Overview; Streamable HTTP; Versioning and Compatibility.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any

VERSION = "2026-07-28"
HEADER_MISMATCH = -32020
UNDERSTOOD_ERRORS = frozenset({-32601, HEADER_MISMATCH, -32021, -32022})
"""Answers to ``initialize`` that only a server without a handshake gives: unknown method, header mismatch, missing
capability, unsupported version."""

MOST_DEPTH = 20
_PREFIX = "io.modelcontextprotocol/"
_NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_PLAIN = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SENTINEL = re.compile(r"=\?base64\?.*\?=")


def with_metadata(params: Mapping[str, Any], client: Mapping[str, str]) -> dict[str, Any]:
    """The params of a request with the version, the client and its capabilities."""
    meta = {"protocolVersion": VERSION, "clientInfo": dict(client), "clientCapabilities": {}}
    return {**params, "_meta": {_PREFIX + name: value for name, value in meta.items()}}


def standard_headers(request: Mapping[str, Any]) -> dict[str, str]:
    """The method, and the name of what it is about, for those who look at the head only."""
    method = request["method"]
    headers = {"MCP-Protocol-Version": VERSION, "Mcp-Method": method}
    return headers | ({"Mcp-Name": encoded(request["params"][_NAMED[method]])} if method in _NAMED else {})


def parameter_headers(schema: Any, arguments: Any) -> dict[str, str]:
    """``Mcp-Param-…`` headers of the arguments that a tool's input schema marks with ``x-mcp-header``."""
    return {f"Mcp-Param-{name}": encoded(value) for name, value in _marked(schema, arguments, MOST_DEPTH)}


def _marked(schema: Any, value: Any, depth: int) -> Iterator[tuple[str, Any]]:
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict) or not isinstance(value, dict) or depth == 0:
        return
    for name, inner in properties.items():
        given = value.get(name)
        marked = inner.get("x-mcp-header") if isinstance(inner, dict) else None
        if isinstance(marked, str) and _TOKEN.fullmatch(marked) and isinstance(given, (str, int)):
            yield marked, given
        yield from _marked(inner, given, depth - 1)


def encoded(value: str | int) -> str:
    """A header value; what a header cannot carry, or would be mistaken for this encoding, goes as Base64."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if _PLAIN.fullmatch(text) and not _SENTINEL.fullmatch(text):
        return text
    return f"=?base64?{base64.b64encode(text.encode('utf-8', 'replace')).decode()}?="
