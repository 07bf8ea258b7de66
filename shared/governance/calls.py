"""What a client asks of the gate and of execute, taken from the body. Unknown fields are ignored.

Source: NullRun docs, HTTP API, SDK endpoints; docs/rulings.md#gate-fields.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.governance.refusals import Refused
from shared.kit import ids, json

LONGEST_ID = 200
LONGEST_TEXT = 4096
MOST_TOOLS = 256
LONGEST_LIST = 65536
"""Characters of all tools together."""

MOST_TOKENS = 10**9
CHAIN_OPS = ("start", "continue", "end")
MODEL_NODE = "llm"
"""The type of a definition's node that asks a model and does nothing else."""

TOOL_CLASSES = ("builtin", "mcp", "custom", "invalid")


@dataclass(frozen=True, slots=True)
class Call:
    """One question. ``tools`` is None when the field was absent, which differs from an empty list."""

    operation_id: str
    model: str | None
    estimated_tokens: int
    max_output_tokens: int | None
    check_type: str | None
    tool: str | None
    tools: tuple[str, ...] | None
    tool_class: str | None
    action_digest: str | None
    impact: Mapping[str, Any] | None
    chain_id: str | None
    chain_op: str | None
    parent_execution_id: str | None
    approval_id: str | None
    trace_id: str | None
    execution_id: str | None
    fingerprint: str
    flow_execution_id: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Every tool that may run: those listed, and the one named."""
        listed = self.tools or ()
        return listed if self.tool is None or self.tool in listed else (*listed, self.tool)

    @property
    def runs_tools(self) -> bool:
        """Whether more may happen than one call of a model. The first tool of a definition's node is its type."""
        return bool(self.names) and not (self.flow_execution_id is not None and self.names[0] == MODEL_NODE)


def read_call(body: Any, org_id: str, *, at_gate: bool) -> Call:
    """The call of a body. Raises Refused: INVALID_FIELD, ORG_MISMATCH, CHAIN_ID_INVALID, VALIDATION_FAILED."""
    if not isinstance(body, dict):
        raise Refused("INVALID_JSON", "The body must be a JSON object", at_gate=at_gate)
    fields = _Fields(body, at_gate)
    claimed = fields.text("organization_id")
    if claimed is not None and claimed not in (org_id, "local"):
        raise Refused("ORG_MISMATCH", "The API key belongs to another organisation", at_gate=at_gate)
    impact = body.get("business_impact")
    if impact is not None and not isinstance(impact, dict):
        raise fields.bad("business_impact", "must be an object")
    return Call(
        operation_id=fields.text("operation_id") or fields.text("idempotency_key") or ids.uuid4(),
        model=fields.text("model"),
        estimated_tokens=fields.count("estimated_tokens") or 0,
        max_output_tokens=fields.count("max_output_tokens"),
        check_type=fields.text("check_type"),
        tool=fields.name("tool"),
        tools=fields.names("tools"),
        tool_class=fields.choice("tool_class", TOOL_CLASSES),
        action_digest=fields.text("action_digest"),
        impact=impact,
        chain_id=fields.chain(),
        chain_op=fields.choice("chain_op", CHAIN_OPS),
        parent_execution_id=fields.text("parent_execution_id"),
        approval_id=fields.text("approval_id"),
        trace_id=fields.text("trace_id"),
        execution_id=fields.text("execution_id"),
        fingerprint=_fingerprint(body),
    )


class _Fields:
    def __init__(self, body: Mapping[str, Any], at_gate: bool) -> None:
        self._body = body
        self._at_gate = at_gate

    def bad(self, name: str, reason: str, code: str = "INVALID_FIELD") -> Refused:
        message = f"{name} {reason}"
        return Refused(code, message, at_gate=self._at_gate, details={"fields": [{"field": name, "reason": reason}]})

    def text(self, name: str, longest: int = LONGEST_ID) -> str | None:
        value = self._body.get(name)
        if value is None or value == "":
            return None
        if not isinstance(value, str) or len(value) > longest:
            raise self.bad(name, f"must be a string of at most {longest} characters")
        if not json.is_unicode(value):
            raise self.bad(name, "must be valid Unicode text")
        return value

    def name(self, name: str) -> str | None:
        return self._tool(name, self._body.get(name))

    def _tool(self, field: str, value: Any) -> str | None:
        if value is None or value == "":
            return None
        if not isinstance(value, str) or len(value) > LONGEST_TEXT or not json.is_unicode(value):
            raise self.bad(field, f"must name tools with at most {LONGEST_TEXT} characters", "VALIDATION_FAILED")
        if any(ord(character) < 32 or ord(character) == 127 for character in value):
            raise self.bad(field, "must not contain control characters", "VALIDATION_FAILED")
        return value

    def names(self, name: str) -> tuple[str, ...] | None:
        value = self._body.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) > MOST_TOOLS:
            raise self.bad(name, f"must be a list of at most {MOST_TOOLS} tool names")
        found = [self._tool(name, item) for item in value]
        if None in found:
            raise self.bad(name, "must not contain empty names")
        if sum(map(len, value)) > LONGEST_LIST:
            raise self.bad(name, f"must have at most {LONGEST_LIST} characters in all")
        return tuple(dict.fromkeys(tool for tool in found if tool is not None))

    def count(self, name: str) -> int | None:
        value = self._body.get(name)
        if value is None:
            return None
        if type(value) is not int or not 0 <= value <= MOST_TOKENS:
            raise self.bad(name, f"must be a whole number from 0 to {MOST_TOKENS}")
        return value

    def choice(self, name: str, choices: tuple[str, ...]) -> str | None:
        value = self.text(name)
        if value is not None and value not in choices:
            raise self.bad(name, f"must be one of {', '.join(choices)}")
        return value

    def chain(self) -> str | None:
        value = self.text("chain_id")
        if value is not None and not ids.is_uuid(value):
            raise self.bad("chain_id", "must be a UUID", "CHAIN_ID_INVALID")
        return value if value is None else value.lower()


_ASKED = (
    "model", "estimated_tokens", "max_output_tokens", "check_type", "tool", "tools", "input", "action_digest",
    "business_impact", "chain_id", "chain_op", "parent_execution_id", "tool_class", "mcp_annotations",
)  # fmt: skip


def _fingerprint(body: Mapping[str, Any]) -> str:
    """What was asked, without what differs between two attempts of one call."""
    asked = [(name, body[name]) for name in _ASKED if body.get(name) is not None]
    return hashlib.sha256(json.dumpb(asked)).hexdigest()
