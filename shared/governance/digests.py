"""What an action is about, and the digest that binds an approval to exactly that.

``action_digest`` = hex of SHA-256 over ``nullrun/v1/business_impact:`` and the impact as canonical JSON: keys sorted at
every level, no spaces, UTF-8. Source: NullRun docs, Human approval; docs/rulings.md#business-impact.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from shared.governance.refusals import Refused
from shared.kit import json

LARGEST_BYTES = 32 * 1024
"""Largest canonical form of an impact."""

LARGEST_DEPTH = 32
LARGEST_TOOL_NAME = 128
LARGEST_PARAMETER_NAME = 64
"""Bytes of a tool's and of a parameter's name."""

_DOMAIN = b"nullrun/v1/business_impact:"
_DIRECTIONS = ("outflow", "inflow")


def canonical(impact: Mapping[str, Any]) -> bytes:
    """The bytes an impact is hashed as. Raises Refused for what has no canonical form."""
    _require_canonical(impact, 0)
    if not json.is_unicode(impact):
        raise _invalid("business_impact must be valid Unicode text")
    return json.dumpb(_sorted(impact))


def action_digest(impact: Mapping[str, Any]) -> str:
    """The digest of an impact, 64 hex characters in lower case. Raises Refused for what has no canonical form."""
    return hashlib.sha256(_DOMAIN + canonical(impact)).hexdigest()


def verify_digest(impact: Mapping[str, Any], digest: str | None) -> None:
    """Raise Refused (BUSINESS_IMPACT_INVALID) unless this is an impact and ``digest``, where there is one, is its."""
    checked_impact(impact)
    if digest is None:
        return
    sent = digest.lower().encode("utf-8", "replace")
    if not hmac.compare_digest(sent, action_digest(impact).encode()):
        raise _invalid("action_digest is not the digest of business_impact; compute it over the canonical JSON")


def checked_impact(value: Any) -> dict[str, Any]:
    """An impact as it came, once it is known to be one. Raises Refused (BUSINESS_IMPACT_INVALID).

    ``tool_call`` and ``money`` have their fields checked; of other kinds only that they have a canonical form.
    """
    if not isinstance(value, dict):
        raise _invalid("business_impact must be an object")
    kind = value.get("kind")
    if not isinstance(kind, str) or not kind:
        raise _invalid("business_impact.kind must name the kind of impact, such as tool_call")
    size = len(canonical(value))
    if size > LARGEST_BYTES:
        raise _invalid(f"business_impact has {size} bytes and may have {LARGEST_BYTES}")
    if kind == "tool_call":
        _check_tool_call(value)
    elif kind == "money":
        _check_money(value)
    return value


def _check_tool_call(impact: Mapping[str, Any]) -> None:
    name = impact.get("tool_name")
    # Printable ASCII only, so that a name looks to a person like what it is to the machine.
    if not isinstance(name, str) or not 1 <= len(name) <= LARGEST_TOOL_NAME or not all(" " <= c <= "~" for c in name):
        raise _invalid(f"business_impact.tool_name must be 1 to {LARGEST_TOOL_NAME} printable ASCII characters")
    params = impact.get("params")
    if not isinstance(params, dict):
        raise _invalid("business_impact.params must be an object")
    _check_names(params)
    for field in ("extractor_id", "extractor_version"):
        if not isinstance(impact.get(field, ""), str):
            raise _invalid(f"business_impact.{field} must be a string")


def _check_names(value: Any) -> None:
    """Parameter names at every level."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if len(name.encode()) > LARGEST_PARAMETER_NAME:
                raise _invalid(f"A parameter name in business_impact is longer than {LARGEST_PARAMETER_NAME} bytes")
            _check_names(inner)
    elif isinstance(value, list):
        for inner in value:
            _check_names(inner)


def _check_money(impact: Mapping[str, Any]) -> None:
    if impact.get("direction") not in _DIRECTIONS:
        raise _invalid(f"business_impact.direction must be one of {', '.join(_DIRECTIONS)}")
    if type(impact.get("amount_minor")) is not int or impact["amount_minor"] < 0:
        raise _invalid("business_impact.amount_minor must be a whole number of 0 or more")
    if not isinstance(impact.get("currency"), str) or not impact["currency"]:
        raise _invalid("business_impact.currency must be a currency code such as USD")


def _require_canonical(value: Any, depth: int) -> None:
    if depth > LARGEST_DEPTH:
        raise _invalid(f"business_impact is nested more than {LARGEST_DEPTH} deep")
    if isinstance(value, float):
        # Two languages write the same float differently, so its digest would be a matter of luck.
        raise _invalid("business_impact must not contain numbers with a fraction; send them as strings")
    if isinstance(value, dict):
        if not all(isinstance(name, str) for name in value):
            raise _invalid("business_impact must have names of text")
        for inner in value.values():
            _require_canonical(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _require_canonical(inner, depth + 1)
    elif value is not None and not isinstance(value, str | int):
        raise _invalid("business_impact must be JSON")


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    if isinstance(value, list):
        return [_sorted(inner) for inner in value]
    return value


def _invalid(message: str) -> Refused:
    return Refused("BUSINESS_IMPACT_INVALID", message)
