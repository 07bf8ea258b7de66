"""Key conditions: one partition, and at most one range within it."""

from __future__ import annotations

from dataclasses import dataclass

from shared.store.embedded.expressions import conditions as c
from shared.store.embedded.expressions.operands import Operand, PathOperand, ValueOperand, check_kind
from shared.store.embedded.expressions.parser import parse_condition
from shared.store.embedded.expressions.scope import Scope
from shared.store.embedded.rejection import invalid, invalid_parameter
from shared.store.embedded.tables import KeyAttribute
from shared.store.embedded.values import Value, kind_of, sortable

_LABEL = "KeyConditionExpression"
_FLIPPED = {"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}

Bounds = list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class KeyCondition:
    """The partition's key bytes and SQL comparisons of the range key's bytes."""

    partition: bytes
    bounds: Bounds


def parse(text: str | None, scope: Scope, first: KeyAttribute, second: KeyAttribute | None) -> KeyCondition:
    """The key condition of a query against keys ``first`` and ``second``."""
    if text is None:
        invalid("Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.")
    root = parse_condition(_LABEL, text).bound(scope)
    root.check(_LABEL, scope)
    leaves: dict[str, c.Condition] = {}
    for leaf in _leaves(root):
        name = _subject(leaf, scope)
        if name in leaves:
            invalid("KeyConditionExpressions must only contain one condition per key")
        leaves[name] = leaf
    partition = leaves.pop(first.name, None)
    if partition is None:
        invalid(f"Query condition missed key schema element: {first.name}")
    if not isinstance(partition, c.Comparison) or partition.operator != "=":
        invalid("Query key condition not supported")
    bounds: Bounds = []
    if leaves:
        if second is None or second.name not in leaves:
            missed = second.name if second else first.name
            invalid(f"Query condition missed key schema element: {missed}")
        if len(leaves) > 1:
            invalid("Conditions can be of length 1 or 2 only")
        bounds = _bounds(leaves[second.name], scope, second)
    return KeyCondition(_key(_operand(partition), scope, first), bounds)


def _leaves(condition: c.Condition) -> list[c.Condition]:
    if isinstance(condition, c.And):
        return _leaves(condition.left) + _leaves(condition.right)
    if isinstance(condition, c.Or | c.Not | c.In | c.Exists | c.HasType | c.Contains):
        operator = type(condition).__name__.upper()
        invalid(f"Invalid operator used in KeyConditionExpression: {operator}")
    return [condition]


def _subject(leaf: c.Condition, scope: Scope) -> str:
    operand: Operand
    if isinstance(leaf, c.Comparison):
        operand = leaf.left if isinstance(leaf.left, PathOperand) else leaf.right
    elif isinstance(leaf, c.Between | c.BeginsWith):
        operand = leaf.operand
    if not isinstance(operand, PathOperand):
        invalid(
            "Invalid KeyConditionExpression: Invalid condition in KeyConditionExpression: no key attribute specified"
        )
    path = scope.path(operand.parts)
    if len(path) > 1:
        invalid("Key condition expressions cannot contain nested attributes")
    return str(path[0])


def _operand(comparison: c.Comparison) -> Operand:
    return comparison.right if isinstance(comparison.left, PathOperand) else comparison.left


def _bounds(leaf: c.Condition, scope: Scope, key: KeyAttribute) -> Bounds:
    if isinstance(leaf, c.Between):
        return [(">=", _key(leaf.low, scope, key)), ("<=", _key(leaf.high, scope, key))]
    if isinstance(leaf, c.BeginsWith):
        check_kind(_LABEL, "begins_with", _value(leaf.prefix, scope), "S", "B")
        return _prefix(_key(leaf.prefix, scope, key, prefix=True))
    if not isinstance(leaf, c.Comparison) or leaf.operator == "<>":
        invalid("Unsupported operator in KeyConditionExpression: operator: <>")
    operator = leaf.operator if isinstance(leaf.left, PathOperand) else _FLIPPED[leaf.operator]
    return [(operator, _key(_operand(leaf), scope, key))]


def _prefix(prefix: bytes) -> Bounds:
    """The range of keys that begin with ``prefix``: up to the prefix with its last byte below 0xFF raised by one."""
    stem = prefix.rstrip(b"\xff")
    bounds = [(">=", prefix)]
    if stem:
        bounds.append(("<", stem[:-1] + bytes([stem[-1] + 1])))
    return bounds


def _value(operand: Operand, scope: Scope) -> Value:
    if not isinstance(operand, ValueOperand):
        invalid("Invalid KeyConditionExpression: Invalid condition in KeyConditionExpression: no value specified")
    return scope.values[operand.name]


def _key(operand: Operand, scope: Scope, key: KeyAttribute, *, prefix: bool = False) -> bytes:
    value = _value(operand, scope)
    if kind_of(value) != key.kind:
        invalid_parameter("Condition parameter type does not match schema type")
    data = sortable(value)
    if not data and not prefix:
        what = "string" if key.kind == "S" else "binary"
        invalid(
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an "
            f"empty {what} value. Key: {key.name}"
        )
    return data
