"""Items as bytes in SQLite: JSON, with binary values in base64."""

from __future__ import annotations

import base64
from typing import Any

import orjson

from shared.store.embedded.values import Item, Value


def encode(item: Item) -> tuple[bytes, bool]:
    """JSON bytes, and whether any value is binary (then reading must decode it)."""
    binary = False

    def plain(data: Any) -> str:
        nonlocal binary
        binary = True
        return base64.b64encode(data).decode()

    return orjson.dumps(item, default=plain), binary


def decode(data: bytes, binary: bool) -> Item:
    """The reverse of :func:`encode`."""
    item: Item = orjson.loads(data)
    if binary:
        return {name: _restore(value) for name, value in item.items()}
    return item


def _restore(value: Value) -> Value:
    ((kind, inner),) = value.items()
    if kind == "B":
        return {"B": base64.b64decode(inner)}
    if kind == "BS":
        return {"BS": [base64.b64decode(member) for member in inner]}
    if kind == "M":
        return {"M": {name: _restore(child) for name, child in inner.items()}}
    if kind == "L":
        return {"L": [_restore(child) for child in inner]}
    return value
