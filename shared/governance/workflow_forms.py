"""What people may say of a workflow. Source: NullRun docs, HTTP API, Workflows."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from shared.governance.money import LARGEST_CENTS
from shared.kit.errors import Unprocessable

MAX_NAME = 255
MAX_DESCRIPTION = 2000
MAX_EXTERNAL_ID = 64
MAX_REASON = 500
_CONTROLS = ("Cc", "Zl", "Zp")
_EXTERNAL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Draft:
    """A workflow as somebody wants it. A budget of 0 is none, as is None."""

    name: str
    external_id: str | None = None
    description: str | None = None
    budget_cents: int | None = None
    human_approvals_enabled: bool = False


def checked_draft(draft: Draft) -> Draft:
    """The draft. Raises Unprocessable naming the bad field."""
    return Draft(**checked_changes(asdict(draft)))


def checked_changes(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Those that name a field of a :class:`Draft`. Raises Unprocessable naming the bad one."""
    return {field.name: _CHECKS[field.name](changes[field.name]) for field in fields(Draft) if field.name in changes}


def has_controls(text: str) -> bool:
    """Whether a text has characters that control how it is shown instead of being shown; a line's end is one."""
    return any(unicodedata.category(character) in _CONTROLS for character in text)


def checked_reason(reason: Any) -> str | None:
    """A reason of 500 characters at most; an empty one is none. Raises Unprocessable."""
    return _text("reason", reason, MAX_REASON) or None


def _name(value: Any) -> str:
    if value is None or not str(value).strip():
        raise Unprocessable.field("name", "Name is required")
    name = _text("name", value, MAX_NAME) or ""
    # It is told in mails and chats, where a line of its own may look like one of ours.
    if has_controls(name):
        raise Unprocessable.field("name", "Name must not contain control characters")
    return name


def _external_id(value: Any) -> str | None:
    if value is not None and not (isinstance(value, str) and _EXTERNAL_ID.fullmatch(value)):
        reason = f"External_id must be 1 to {MAX_EXTERNAL_ID} letters, digits, underscores or hyphens"
        raise Unprocessable.field("external_id", reason)
    return value


def _budget(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST_CENTS:
        reason = f"Budget_cents must be a whole number of cents from 0 (no budget) to {LARGEST_CENTS}"
        raise Unprocessable.field("budget_cents", reason)
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Unprocessable.field("human_approvals_enabled", "Human_approvals_enabled must be true or false")
    return value


def _description(value: Any) -> str | None:
    return _text("description", value, MAX_DESCRIPTION)


def _text(name: str, value: Any, most: int) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise Unprocessable.field(name, f"{name.capitalize()} must be a string")
    if len(value) > most:
        raise Unprocessable.field(name, f"{name.capitalize()} must have {most} characters at most")
    return value


_CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "name": _name,
    "external_id": _external_id,
    "description": _description,
    "budget_cents": _budget,
    "human_approvals_enabled": _flag,
}
