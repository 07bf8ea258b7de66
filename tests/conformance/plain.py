"""Python values as DynamoDB attribute values, so that cases read well."""

from __future__ import annotations

from decimal import Decimal
from typing import Any


def av(value: Any) -> dict[str, Any]:
    """``"x"`` → ``{"S": "x"}``, and so on for every type."""
    if isinstance(value, bool):
        return {"BOOL": value}
    if value is None:
        return {"NULL": True}
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, int | Decimal):
        return {"N": str(value)}
    if isinstance(value, bytes):
        return {"B": value}
    if isinstance(value, list):
        return {"L": [av(member) for member in value]}
    if isinstance(value, dict):
        return {"M": {name: av(member) for name, member in value.items()}}
    if isinstance(value, set):
        return _set(value)
    raise TypeError(f"no attribute value for {value!r}")


def _set(value: set[Any]) -> dict[str, Any]:
    kind = av(next(iter(value)))
    (tag,) = kind
    return {f"{tag}S": sorted(str(member) if tag == "N" else member for member in value)}


def item(**attributes: Any) -> dict[str, Any]:
    """A whole item."""
    return {name: av(value) for name, value in attributes.items()}


def values(given: dict[str, Any]) -> dict[str, Any]:
    """Expression values: ``{"v": 1}`` → ``{":v": {"N": "1"}}``."""
    return {f":{name}": av(value) for name, value in given.items()}


def same(one: Any, two: Any) -> bool:
    """Whether two answers agree; sets have no order and numbers no spelling."""
    return bool(_normal(one) == _normal(two))


def _normal(value: Any) -> Any:
    if isinstance(value, dict):
        if len(value) == 1:
            ((tag, inner),) = value.items()
            if tag == "N" and isinstance(inner, str):
                return ("N", Decimal(inner))
            if tag in ("SS", "NS", "BS") and isinstance(inner, list):
                members = (Decimal(member) if tag == "NS" else member for member in inner)
                return (tag, frozenset(members))
        return {name: _normal(member) for name, member in value.items()}
    return [_normal(member) for member in value] if isinstance(value, list) else value
