"""Attribute values: validation into one canonical form, sizes, order.

In canonical form numbers have one spelling, sets are sorted lists and binary is ``bytes``; two values are equal
exactly when their canonical forms are. Source: Amazon DynamoDB API Reference, AttributeValue.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from shared.store.embedded import numbers
from shared.store.embedded.rejection import invalid, invalid_parameter

Value = dict[str, Any]
Item = dict[str, Value]

TYPES = ("S", "N", "B", "SS", "NS", "BS", "M", "L", "NULL", "BOOL")
ORDERED = ("S", "N", "B")
_DEPTH = 32
_ONE_TYPE = "must contain exactly one of the supported datatypes"
_SET_NAMES = {"SS": "string", "NS": "number", "BS": "binary"}


def canonical_item(item: Any) -> Item:
    """A whole item (or key) in canonical form."""
    if not isinstance(item, dict):
        invalid("Item must be a map of attribute names to attribute values")
    found: Item = {}
    for name, value in item.items():
        # Nearly every value is a plain text, which is canonical as it is.
        text = value.get("S") if type(value) is dict and len(value) == 1 else None
        found[name] = value if type(text) is str and text.isascii() else canonical(value)
    return found


def canonical(value: Any, depth: int = 0) -> Value:
    """One attribute value in canonical form, or a ValidationException."""
    if not isinstance(value, dict) or not value:
        invalid(f"Supplied AttributeValue is empty, {_ONE_TYPE}")
    if len(value) > 1:
        invalid(f"Supplied AttributeValue has more than one datatypes set, {_ONE_TYPE}")
    ((kind, inner),) = value.items()
    if kind == "S":
        return {"S": _text(inner)}
    if kind == "N":
        return {"N": numbers.canonical(inner)}
    if kind in ("M", "L"):
        return _canonical_document(kind, inner, depth)
    return _canonical_other(kind, inner)


def _canonical_document(kind: str, inner: Any, depth: int) -> Value:
    if depth >= _DEPTH:
        invalid("Nesting Levels have exceeded supported limits")
    if kind == "M":
        return {"M": {name: canonical(child, depth + 1) for name, child in inner.items()}}
    return {"L": [canonical(child, depth + 1) for child in inner]}


def _canonical_other(kind: str, inner: Any) -> Value:
    if kind == "B":
        return {"B": _binary(inner)}
    if kind == "BOOL":
        return {"BOOL": bool(inner)}
    if kind == "NULL":
        if inner is not True:
            invalid_parameter("Null attribute value types must have the value of true")
        return {"NULL": True}
    if kind not in _SET_NAMES:
        invalid(f"Supplied AttributeValue is empty, {_ONE_TYPE}")
    return {kind: _members(kind, inner)}


def _members(kind: str, inner: Iterable[Any]) -> list[Any]:
    convert: Any = {"SS": _text, "NS": numbers.canonical, "BS": _binary}[kind]
    members = [convert(member) for member in inner]
    if not members:
        invalid_parameter(f"An {_SET_NAMES[kind]} set  may not be empty")
    if len(set(members)) != len(members):
        shown = ", ".join(str(member) for member in members)
        invalid_parameter(f"Input collection [{shown}] contains duplicates.")
    return sort_members(kind, members)


def sort_members(kind: str, members: Iterable[Any]) -> list[Any]:
    """Set members in canonical order."""
    return sorted(members, key=numbers.parse) if kind == "NS" else sorted(members)


def _text(text: Any) -> str:
    if not isinstance(text, str):
        invalid("Type mismatch: a string was expected")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            invalid_parameter("Strings must be valid Unicode")
    return text


def _binary(data: Any) -> bytes:
    if isinstance(data, str):
        return data.encode()
    if not isinstance(data, bytes | bytearray | memoryview):
        invalid("Type mismatch: binary data was expected")
    return bytes(data)


def item_size(item: Item) -> int:
    """Bytes of an item: the UTF-8 length of its attribute names plus its values."""
    size = 0
    for name, value in item.items():
        size += len(name) if name.isascii() else len(name.encode())
        text = value.get("S")
        if text is None:
            size += value_size(value)
        else:
            size += len(text) if text.isascii() else len(text.encode())
    return size


def value_size(value: Value) -> int:
    """Bytes of one canonical value (Amazon DynamoDB Developer Guide, Item sizes and formats)."""
    ((kind, inner),) = value.items()
    if kind == "S":
        return _length(inner)
    if kind == "N":
        return numbers.size(inner)
    if kind == "M":
        return 3 + sum(_length(name) + value_size(child) + 1 for name, child in inner.items())
    if kind == "L":
        return 3 + sum(value_size(child) + 1 for child in inner)
    if kind == "B":
        return len(inner)
    if kind == "SS":
        return sum(map(_length, inner))
    if kind == "NS":
        return sum(map(numbers.size, inner))
    if kind == "BS":
        return sum(map(len, inner))
    return 1


def _length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def kind_of(value: Value) -> str:
    """The type tag of a value."""
    return next(iter(value))


def order_key(value: Value) -> Any:
    """What ordered values (S, N, B) of one type compare by; code point order is UTF-8 byte order."""
    ((kind, inner),) = value.items()
    return numbers.parse(inner) if kind == "N" else inner


def sortable(value: Value) -> bytes:
    """Key bytes of an S, N or B value: they sort as DynamoDB sorts such keys."""
    ((kind, inner),) = value.items()
    if kind == "S":
        return str(inner).encode()
    return numbers.sortable(inner) if kind == "N" else bytes(inner)
