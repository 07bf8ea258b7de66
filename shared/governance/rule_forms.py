"""What people may say of an approval rule. Source: NullRun docs, Human approval; docs/rulings.md#approval-rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from shared.governance.money import LARGEST_CENTS
from shared.governance.patterns import checked_pattern
from shared.governance.predicates import predicate_of
from shared.kit import ids, json
from shared.kit.errors import Unprocessable

MAX_NAME = 80
MAX_LABEL = 200
MAX_PATTERNS = 100
MAX_PATTERN_BYTES = 64 * 1024
"""Bytes of all patterns of a rule together."""

MAX_PRIORITY = 1000
MAX_EXPIRY_S = 3600
RISK_LEVELS = ("LOW", "MEDIUM", "HIGH")


@dataclass(frozen=True, slots=True)
class RuleDraft:
    """A rule as somebody wants it. ``action_predicate`` is a JSON object."""

    name: str
    tool_patterns: list[str] = field(default_factory=list)
    per_call_threshold_cents: int | None = None
    action_predicate: dict[str, Any] | None = None
    priority: int = 100
    expires_in_seconds: int = 300
    action_label: str | None = None
    risk_level: str = "MEDIUM"
    workflow_id: str | None = None
    enabled: bool = True


def checked_draft(draft: RuleDraft) -> RuleDraft:
    """The draft. Raises Unprocessable naming the bad field, and InvalidRequest for a bad pattern."""
    return RuleDraft(**checked_changes(asdict(draft)))


def checked_changes(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Those that name a field of a :class:`RuleDraft`. Raises as :func:`checked_draft`."""
    return {
        known.name: _CHECKS[known.name](known.name, changes[known.name])
        for known in fields(RuleDraft)
        if known.name in changes
    }


def _bad(name: str, reason: str) -> Unprocessable:
    return Unprocessable.field(name, f"{name.capitalize()} {reason}")


def _name(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _bad(name, "is required")
    return _text(name, value.strip(), MAX_NAME)


def _text(name: str, value: Any, most: int) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise _bad(name, f"must be a string of {most} characters at most")
    if any(character < " " or character == "\x7f" for character in value):
        raise _bad(name, "must not contain control characters")
    return value


def _patterns(name: str, value: Any) -> list[str]:
    if not isinstance(value, list) or len(value) > MAX_PATTERNS or not all(isinstance(text, str) for text in value):
        raise _bad(name, f"must be a list of at most {MAX_PATTERNS} strings")
    for text in value:
        checked_pattern(text)
    if json.size(value) > MAX_PATTERN_BYTES:
        raise _bad(name, f"must have {MAX_PATTERN_BYTES} bytes at most together")
    return value


def _predicate(name: str, value: Any) -> dict[str, Any] | None:
    if value is not None:
        predicate_of(value, name)
    return value  # type: ignore[no-any-return]


def _label(name: str, value: Any) -> str | None:
    return None if value is None else _text(name, value, MAX_LABEL)


def _risk(name: str, value: Any) -> str:
    level = value.upper() if isinstance(value, str) else None
    if level not in RISK_LEVELS:
        raise _bad(name, f"must be one of {', '.join(RISK_LEVELS)}")
    return level


def _workflow(name: str, value: Any) -> str | None:
    if value is not None and not (isinstance(value, str) and ids.is_uuid(value)):
        raise _bad(name, "must be the id of a workflow, or null for all of them")
    return value if value is None else value.lower()


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _bad(name, "must be true or false")
    return value


def _whole(least: int, most: int) -> Callable[[str, Any], int]:
    def check(name: str, value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            raise _bad(name, f"must be a whole number from {least} to {most}")
        return value

    return check


def _threshold(name: str, value: Any) -> int | None:
    return None if value is None else _whole(0, LARGEST_CENTS)(name, value)


_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "name": _name,
    "tool_patterns": _patterns,
    "per_call_threshold_cents": _threshold,
    "action_predicate": _predicate,
    "priority": _whole(0, MAX_PRIORITY),
    "expires_in_seconds": _whole(1, MAX_EXPIRY_S),
    "action_label": _label,
    "risk_level": _risk,
    "workflow_id": _workflow,
    "enabled": _flag,
}
