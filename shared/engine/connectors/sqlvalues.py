"""Arguments as the text PostgreSQL reads, columns as JSON (docs/rulings.md#postgres)."""

from __future__ import annotations

import base64
import math
from typing import Any

from psycopg import Connection
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.types.multirange import MultirangeInfo
from psycopg.types.range import RangeInfo
from psycopg.types.string import TextLoader

from shared.engine.connectors.numbers import exact
from shared.engine.kinds.base import NodeFailed
from shared.kit import json

_AS_WRITTEN = ("date", "time", "timetz", "interval", "inet", "cidr", "uuid")


def argument(value: Any) -> str | None:
    """A JSON value as an argument whose type the server infers: lists are arrays, objects JSON, null is NULL."""
    if value is None or isinstance(value, str):
        return value
    try:
        return _array(value) if isinstance(value, list) and not _has_objects(value) else json.dumps(value)
    except RecursionError:
        raise NodeFailed("an argument is nested deeper than an array can be", retryable=False) from None


def arguments(values: Any) -> list[str | None]:
    """The arguments of one statement."""
    if values is None:
        return []
    if not isinstance(values, list):
        raise NodeFailed("args must be a list, one value for each of $1, $2, …", retryable=False)
    return [argument(value) for value in values]


def _has_objects(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(map(_has_objects, value)))


def _array(values: list[Any]) -> str:
    return "{" + ",".join(_element(value) for value in values) + "}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, list):
        return _array(value)
    text = value if isinstance(value, str) else json.dumps(value)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def load_as_json(connection: Connection[Any]) -> None:
    """Columns of ``connection`` become values JSON can carry, without loss."""
    adapters = connection.adapters
    for name in _AS_WRITTEN:
        adapters.register_loader(name, TextLoader)
    for info in adapters.types:
        if isinstance(info, (RangeInfo, MultirangeInfo)):
            adapters.register_loader(info.oid, TextLoader)
    for name, loader in _LOADERS.items():
        adapters.register_loader(name, loader)


def plain(value: Any) -> Any:
    """What the loaders left: rows and arrays of them become lists, anything unknown its text."""
    if value is None or isinstance(value, (str, int, float, bool, dict)):
        return value
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return str(value)


def approximate(text: str) -> int | float | str:
    """A ``float``; whole ones as integers, NaN and infinities, which JSON lacks, as text."""
    number = float(text)
    if not math.isfinite(number):
        return text
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


class _Numeric(Loader):
    def load(self, data: Buffer) -> Any:
        return exact(bytes(data).decode())


class _Float(Loader):
    def load(self, data: Buffer) -> Any:
        return approximate(bytes(data).decode())


class _Moment(Loader):
    """``timestamp`` and ``timestamptz``, in UTC by the session's setting: RFC 3339 as far as the value allows."""

    def load(self, data: Buffer) -> Any:
        text = bytes(data).decode().replace(" ", "T", 1)
        return text.removesuffix("+00") + "Z" if text.endswith("+00") else text


class _Bytes(Loader):
    def load(self, data: Buffer) -> Any:
        return base64.b64encode(bytes.fromhex(bytes(data).decode().removeprefix("\\x"))).decode()


class _Json(Loader):
    def load(self, data: Buffer) -> Any:
        return json.loads(bytes(data))


_LOADERS: dict[str, type[Loader]] = {
    "numeric": _Numeric,
    "float4": _Float,
    "float8": _Float,
    "timestamp": _Moment,
    "timestamptz": _Moment,
    "bytea": _Bytes,
    "json": _Json,
    "jsonb": _Json,
}
