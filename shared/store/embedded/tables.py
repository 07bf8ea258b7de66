"""Table definitions: keys, indexes, stream and TTL settings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from shared.store.embedded.rejection import Rejection, invalid, invalid_parameter
from shared.store.embedded.values import Item, Value, kind_of, sortable

Role = Literal["hash", "range"]


@dataclass(frozen=True, slots=True)
class KeyAttribute:
    """A key attribute and its type, S, N or B."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Key:
    """The bytes an item is found under."""

    pk: bytes
    sk: bytes


@dataclass(frozen=True, slots=True)
class Index:
    """A secondary index. ``projected`` is None for ALL; ``local`` ones may be read consistently."""

    name: str
    number: int
    hash: KeyAttribute
    range: KeyAttribute | None
    projected: frozenset[str] | None
    local: bool

    def entry(self, item: Item) -> tuple[bytes, bytes] | None:
        """The item's place in this index, or None when it lacks a key attribute (a sparse index)."""
        first = item.get(self.hash.name)
        if first is None:
            return None
        if self.range is None:
            return sortable(first), b""
        second = item.get(self.range.name)
        return None if second is None else (sortable(first), sortable(second))


@dataclass(frozen=True, slots=True)
class Table:
    """A table as created. ``view`` is the stream's view type, or None without a stream."""

    number: int
    name: str
    hash: KeyAttribute
    range: KeyAttribute | None
    indexes: tuple[Index, ...]
    view: str | None
    ttl: str | None

    def index(self, name: str) -> Index:
        """The index called ``name``, or a ValidationException."""
        found = next((index for index in self.indexes if index.name == name), None)
        if found is None:
            invalid(f"The table does not have the specified index: {name}")
        return found

    @property
    def key_names(self) -> tuple[str, ...]:
        return (self.hash.name,) if self.range is None else (self.hash.name, self.range.name)

    def key_of(self, key: Item) -> Key:
        """The key given in a request, which must hold the key attributes and nothing else."""
        if len(key) != (1 if self.range is None else 2) or any(name not in key for name in self.key_names):
            invalid("The provided key element does not match the schema")
        for attribute in (self.hash, self.range):
            if attribute is not None and kind_of(key[attribute.name]) != attribute.kind:
                invalid("The provided key element does not match the schema")
        return self._bytes(key)

    def key_in(self, item: Item) -> Key:
        """The key within a whole item."""
        for attribute in (self.hash, self.range):
            if attribute is None:
                continue
            value = item.get(attribute.name)
            if value is None:
                invalid_parameter(f"Missing the key {attribute.name} in the item")
            if kind_of(value) != attribute.kind:
                invalid_parameter(
                    f"Type mismatch for key {attribute.name} expected: {attribute.kind} actual: {kind_of(value)}"
                )
        return self._bytes(item)

    def _bytes(self, item: Item) -> Key:
        pk = _key_bytes(item, self.hash, "hash")
        return Key(pk, b"" if self.range is None else _key_bytes(item, self.range, "range"))

    def keys(self, item: Item) -> Item:
        """The key attributes of an item."""
        return {name: item[name] for name in self.key_names}

    def check_index_keys(self, item: Item) -> None:
        """Refuse values that no index could hold."""
        for index in self.indexes:
            for role, attribute in (("hash", index.hash), ("range", index.range)):
                if attribute is None or attribute.name not in item or attribute.name in self.key_names:
                    continue
                _check_index_key(index, attribute, "hash" if role == "hash" else "range", item[attribute.name])


def _key_bytes(item: Item, attribute: KeyAttribute, role: Role) -> bytes:
    value = item[attribute.name]
    data = sortable(value)
    if not data:
        what = "string" if attribute.kind == "S" else "binary"
        invalid(
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an "
            f"empty {what} value. Key: {attribute.name}"
        )
    _check_length(data, role)
    return data


def _check_length(data: bytes, role: Role) -> None:
    if role == "hash" and len(data) > 2048:
        invalid_parameter("Size of hashkey has exceeded the maximum size limit of2048 bytes")
    if role == "range" and len(data) > 1024:
        invalid_parameter("Aggregated size of all range keys has exceeded the size limit of 1024 bytes")


def _check_index_key(index: Index, attribute: KeyAttribute, role: Role, value: Value) -> None:
    if kind_of(value) != attribute.kind:
        invalid_parameter(
            f"Type mismatch for Index Key {attribute.name} Expected: {attribute.kind} Actual: {kind_of(value)} "
            f"IndexName: {index.name}"
        )
    data = sortable(value)
    if not data:
        what = "string" if attribute.kind == "S" else "binary"
        invalid(
            "One or more parameter values are not valid. A value specified for a secondary index key is not "
            f"supported. The AttributeValue for a key attribute cannot contain an empty {what} value. "
            f"IndexName: {index.name}, IndexKey: {attribute.name}"
        )
    _check_length(data, role)


@lru_cache(maxsize=256)
def parse_table(number: int, definition: str) -> Table:
    """The table of a stored definition (the CreateTable request as JSON)."""
    request = json.loads(definition)
    kinds = {entry["AttributeName"]: entry["AttributeType"] for entry in request["AttributeDefinitions"]}
    first, second = _schema(request["KeySchema"], kinds)
    base = {first.name} | ({second.name} if second else set())
    indexes: list[Index] = []
    listed = [(entry, False) for entry in request.get("GlobalSecondaryIndexes") or []]
    listed += [(entry, True) for entry in request.get("LocalSecondaryIndexes") or []]
    for entry, local in listed:
        index_hash, index_range = _schema(entry["KeySchema"], kinds)
        projection = entry["Projection"]
        projected = None
        if projection["ProjectionType"] != "ALL":
            names = base | {index_hash.name} | ({index_range.name} if index_range else set())
            projected = frozenset(names | set(projection.get("NonKeyAttributes") or ()))
        place = index_numbers(number)[0] + len(indexes)
        indexes.append(Index(entry["IndexName"], place, index_hash, index_range, projected, local))
    stream = request.get("StreamSpecification") or {}
    view = stream.get("StreamViewType") if stream.get("StreamEnabled") else None
    return Table(number, request["TableName"], first, second, tuple(indexes), view, request.get("_ttl"))


def index_numbers(table: int) -> tuple[int, int]:
    """The numbers of a table's indexes, from and below; DynamoDB allows 20 global and 5 local ones."""
    return table * 100, table * 100 + 100


def _schema(entries: list[dict[str, str]], kinds: dict[str, str]) -> tuple[KeyAttribute, KeyAttribute | None]:
    by_role = {entry["KeyType"]: entry["AttributeName"] for entry in entries}
    if "HASH" not in by_role:
        invalid("Invalid KeySchema: The first KeySchemaElement is not a HASH key type")
    missing = [name for name in by_role.values() if name not in kinds]
    if missing:
        invalid_parameter(
            "Some index key attributes are not defined in AttributeDefinitions. "
            f"Keys: [{', '.join(missing)}], AttributeDefinitions: [{', '.join(kinds)}]"
        )
    second = by_role.get("RANGE")
    return (
        KeyAttribute(by_role["HASH"], kinds[by_role["HASH"]]),
        None if second is None else KeyAttribute(second, kinds[second]),
    )


def check_definition(request: dict[str, Any]) -> None:
    """Refuse a CreateTable request whose attribute definitions and keys do not match."""
    name = request.get("TableName") or ""
    if not 3 <= len(name) <= 255:
        invalid("TableName must be at least 3 characters long and at most 255 characters long")
    used = {entry["AttributeName"] for entry in request["KeySchema"]}
    for index in [*(request.get("GlobalSecondaryIndexes") or []), *(request.get("LocalSecondaryIndexes") or [])]:
        used |= {entry["AttributeName"] for entry in index["KeySchema"]}
    defined = {entry["AttributeName"] for entry in request["AttributeDefinitions"]}
    if defined - used:
        invalid_parameter(
            "Number of attributes in KeySchema does not exactly match number of attributes defined in "
            "AttributeDefinitions"
        )
    parse_table(0, json.dumps(request))


def not_found(name: str | None = None) -> Rejection:
    """The refusal for an unknown table; requests about the table itself name it."""
    message = "Requested resource not found"
    return Rejection("ResourceNotFoundException", f"{message}: Table: {name} not found" if name else message)
