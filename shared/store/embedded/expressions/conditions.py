"""Conditions: what a condition, filter or key condition expression is made of.

``holds`` decides on an item (an absent item is ``{}``); ``check`` refuses literal operands of impossible types once per
request. Source: Amazon DynamoDB Developer Guide, Comparison operator and function reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from shared.store.embedded.expressions.operands import (
    Operand,
    PathOperand,
    SizeOperand,
    ValueOperand,
    check_kind,
    show_path,
)
from shared.store.embedded.expressions.scope import Scope
from shared.store.embedded.rejection import invalid
from shared.store.embedded.values import ORDERED, TYPES, Item, Value, kind_of, order_key


class Condition(Protocol):
    """A truth about an item."""

    def holds(self, item: Item, scope: Scope) -> bool: ...

    def check(self, label: str, scope: Scope) -> None: ...


@dataclass(frozen=True, slots=True)
class Comparison:
    """``a = b`` and its five sisters. Values of different types are never ordered, and are unequal."""

    operator: str
    left: Operand
    right: Operand

    def holds(self, item: Item, scope: Scope) -> bool:
        left, right = self.left.value(item, scope), self.right.value(item, scope)
        if left is None or right is None:
            return self.operator == "<>" and left is not right
        if self.operator == "=":
            return left == right
        if self.operator == "<>":
            return left != right
        return ordered(self.operator, left, right)

    def check(self, label: str, scope: Scope) -> None:
        if type(self.left) is type(self.right) and self.left.shown(scope) == self.right.shown(scope):
            shown = self.left.shown(scope)
            if isinstance(self.left, PathOperand):
                shown = show_path(scope.path(self.left.parts))
            invalid(
                f"Invalid {label}: The first operand must be distinct from the remaining operands for this operator "
                f"or function; operator: {self.operator}, first operand: {shown}"
            )
        if self.operator not in ("=", "<>"):
            for operand in (self.left, self.right):
                check_kind(label, self.operator, literal(operand, scope), *ORDERED)


@dataclass(frozen=True, slots=True)
class Between:
    """``a BETWEEN low AND high``, both ends included."""

    operand: Operand
    low: Operand
    high: Operand

    def holds(self, item: Item, scope: Scope) -> bool:
        value, low, high = (part.value(item, scope) for part in (self.operand, self.low, self.high))
        if value is None or low is None or high is None:
            return False
        return ordered(">=", value, low) and ordered("<=", value, high)

    def check(self, label: str, scope: Scope) -> None:
        low, high = literal(self.low, scope), literal(self.high, scope)
        for bound in (low, high):
            check_kind(label, "BETWEEN", bound, *ORDERED)
        if low is None or high is None:
            return
        if kind_of(low) != kind_of(high):
            invalid(
                f"Invalid {label}: The BETWEEN operator requires same data type for lower and upper bounds; "
                f"lower bound operand: AttributeValue: {show_value(low)}, "
                f"upper bound operand: AttributeValue: {show_value(high)}"
            )
        if not ordered("<=", low, high):
            invalid(
                f"Invalid {label}: The BETWEEN operator requires upper bound to be greater than or equal to lower "
                f"bound; lower bound operand: AttributeValue: {show_value(low)}, "
                f"upper bound operand: AttributeValue: {show_value(high)}"
            )


@dataclass(frozen=True, slots=True)
class In:
    """``a IN (b, c, …)``, up to 100 candidates."""

    operand: Operand
    candidates: tuple[Operand, ...]

    def holds(self, item: Item, scope: Scope) -> bool:
        value = self.operand.value(item, scope)
        return value is not None and any(value == candidate.value(item, scope) for candidate in self.candidates)

    def check(self, label: str, scope: Scope) -> None:
        if len(self.candidates) > 100:
            invalid(
                f"Invalid {label}: The IN operator is provided with too many operands; "
                f"number of operands: {len(self.candidates)}"
            )


@dataclass(frozen=True, slots=True)
class Exists:
    """``attribute_exists`` and, when not ``wanted``, ``attribute_not_exists``."""

    path: PathOperand
    wanted: bool

    def holds(self, item: Item, scope: Scope) -> bool:
        return (self.path.value(item, scope) is not None) is self.wanted

    def check(self, label: str, scope: Scope) -> None:
        return None


@dataclass(frozen=True, slots=True)
class HasType:
    """``attribute_type(path, :type)``."""

    path: PathOperand
    kind: Operand

    def holds(self, item: Item, scope: Scope) -> bool:
        value, kind = self.path.value(item, scope), self.kind.value(item, scope)
        return value is not None and kind is not None and kind_of(value) == kind.get("S")

    def check(self, label: str, scope: Scope) -> None:
        kind = literal(self.kind, scope)
        check_kind(label, "attribute_type", kind, "S")
        if kind is not None and kind["S"] not in TYPES:
            invalid(
                f"Invalid {label}: Invalid attribute type name found; type: {kind['S']}, "
                "valid types: {B,NULL,SS,BOOL,L,BS,N,NS,S,M}"
            )


@dataclass(frozen=True, slots=True)
class BeginsWith:
    """``begins_with(a, b)`` on strings or binary."""

    operand: Operand
    prefix: Operand

    def holds(self, item: Item, scope: Scope) -> bool:
        value, prefix = self.operand.value(item, scope), self.prefix.value(item, scope)
        if value is None or prefix is None or kind_of(value) != kind_of(prefix):
            return False
        kind = kind_of(value)
        return kind in ("S", "B") and bool(value[kind].startswith(prefix[kind]))

    def check(self, label: str, scope: Scope) -> None:
        for operand in (self.operand, self.prefix):
            check_kind(label, "begins_with", literal(operand, scope), "S", "B")


@dataclass(frozen=True, slots=True)
class Contains:
    """``contains(a, b)``: substring, set member or list element."""

    operand: Operand
    sought: Operand

    def holds(self, item: Item, scope: Scope) -> bool:
        value, sought = self.operand.value(item, scope), self.sought.value(item, scope)
        if value is None or sought is None:
            return False
        kind, wanted = kind_of(value), kind_of(sought)
        if kind == "L":
            return sought in value["L"]
        if kind in ("SS", "NS", "BS"):
            return kind[0] == wanted and sought[wanted] in value[kind]
        return kind in ("S", "B") and kind == wanted and sought[wanted] in value[kind]

    def check(self, label: str, scope: Scope) -> None:
        if type(self.operand) is type(self.sought) and self.operand == self.sought:
            invalid(
                f"Invalid {label}: The first operand must be distinct from the remaining operands for this operator "
                f"or function; operator: contains, first operand: {self.operand.shown(scope)}"
            )


@dataclass(frozen=True, slots=True)
class And:
    """Both."""

    left: Condition
    right: Condition

    def holds(self, item: Item, scope: Scope) -> bool:
        return self.left.holds(item, scope) and self.right.holds(item, scope)

    def check(self, label: str, scope: Scope) -> None:
        self.left.check(label, scope)
        self.right.check(label, scope)


@dataclass(frozen=True, slots=True)
class Or:
    """Either."""

    left: Condition
    right: Condition

    def holds(self, item: Item, scope: Scope) -> bool:
        return self.left.holds(item, scope) or self.right.holds(item, scope)

    def check(self, label: str, scope: Scope) -> None:
        self.left.check(label, scope)
        self.right.check(label, scope)


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    inner: Condition

    def holds(self, item: Item, scope: Scope) -> bool:
        return not self.inner.holds(item, scope)

    def check(self, label: str, scope: Scope) -> None:
        self.inner.check(label, scope)


def ordered(operator: str, left: Value, right: Value) -> bool:
    """Whether an ordering comparison holds; false for different or unordered types."""
    kind = kind_of(left)
    if kind != kind_of(right) or kind not in ORDERED:
        return False
    a, b = order_key(left), order_key(right)
    if operator == "<":
        return bool(a < b)
    if operator == "<=":
        return bool(a <= b)
    return bool(a > b) if operator == ">" else bool(a >= b)


def literal(operand: Operand, scope: Scope) -> Value | None:
    """The value of an operand known before any item is read."""
    if isinstance(operand, ValueOperand):
        return scope.values[operand.name]
    return {"N": "0"} if isinstance(operand, SizeOperand) else None


def show_value(value: Value) -> str:
    """A value as DynamoDB prints it in errors."""
    kind = kind_of(value)
    return f"{{{kind}:{value[kind]}}}"
