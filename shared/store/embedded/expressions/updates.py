"""Update expressions: SET, REMOVE, ADD, DELETE.

Every right-hand side is computed from the item as it was; then the results are written to a copy.
Source: Amazon DynamoDB Developer Guide, Using update expressions in DynamoDB.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.store.embedded import numbers
from shared.store.embedded.expressions.conditions import literal
from shared.store.embedded.expressions.operands import (
    Operand,
    PathOperand,
    ValueOperand,
    check_kind,
    resolve,
    show_path,
)
from shared.store.embedded.expressions.scope import Path, Scope
from shared.store.embedded.rejection import invalid
from shared.store.embedded.values import Item, Value, kind_of, sort_members

_LABEL = "UpdateExpression"
_INVALID_PATH = "The document path provided in the update expression is invalid for update"
_WRONG_TYPE = "An operand in the update expression has an incorrect data type"
_MISSING = "The provided expression refers to an attribute that does not exist in the item"
_SETS = ("SS", "NS", "BS")


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """``a + b`` or ``a - b`` on numbers."""

    operator: str
    left: Operand
    right: Operand

    def value(self, item: Item, scope: Scope) -> Value:
        left, right = _needed(self.left, item, scope), _needed(self.right, item, scope)
        if "N" not in left or "N" not in right:
            invalid(_WRONG_TYPE)
        return {"N": numbers.add(left["N"], right["N"], negate=self.operator == "-")}

    def shown(self, scope: Scope) -> str:
        return f"{self.left.shown(scope)} {self.operator} {self.right.shown(scope)}"


@dataclass(frozen=True, slots=True)
class IfNotExists:
    """``if_not_exists(path, default)``."""

    path: PathOperand
    default: Operand

    def value(self, item: Item, scope: Scope) -> Value | None:
        found = self.path.value(item, scope)
        return self.default.value(item, scope) if found is None else found

    def shown(self, scope: Scope) -> str:
        return f"if_not_exists({self.path.shown(scope)}, {self.default.shown(scope)})"


@dataclass(frozen=True, slots=True)
class ListAppend:
    """``list_append(a, b)``: one list, then the other."""

    first: Operand
    second: Operand

    def value(self, item: Item, scope: Scope) -> Value:
        first, second = _needed(self.first, item, scope), _needed(self.second, item, scope)
        if "L" not in first or "L" not in second:
            invalid(_WRONG_TYPE)
        return {"L": [*first["L"], *second["L"]]}

    def shown(self, scope: Scope) -> str:
        return f"list_append({self.first.shown(scope)}, {self.second.shown(scope)})"


@dataclass(frozen=True, slots=True)
class Set:
    """``SET path = operand``."""

    path: Path
    operand: Operand


@dataclass(frozen=True, slots=True)
class Remove:
    """``REMOVE path``."""

    path: Path


@dataclass(frozen=True, slots=True)
class Add:
    """``ADD path :value``: a number to a number (absent counts as 0), or members to a set."""

    path: Path
    operand: ValueOperand


@dataclass(frozen=True, slots=True)
class Delete:
    """``DELETE path :value``: members from a set; the last one takes the attribute with it."""

    path: Path
    operand: ValueOperand


Action = Set | Remove | Add | Delete


@dataclass(frozen=True, slots=True)
class Update:
    """A whole update expression, one tuple of actions per section."""

    sections: tuple[tuple[Action, ...], ...]

    def actions(self) -> list[Action]:
        return [action for section in self.sections for action in section]

    def paths(self, scope: Scope) -> list[Path]:
        """The document paths it writes, placeholders replaced."""
        return [scope.path(action.path) for action in self.actions()]

    def check(self, scope: Scope) -> None:
        """Refuse overlapping paths and literal operands of impossible types."""
        self._check_overlap(self.paths(scope))
        for action in self.actions():
            if isinstance(action, Set):
                _check_operand(action.operand, scope)
            elif isinstance(action, Add):
                check_kind(_LABEL, "ADD", literal(action.operand, scope), "N", *_SETS)
            elif isinstance(action, Delete):
                check_kind(_LABEL, "DELETE", literal(action.operand, scope), *_SETS)

    @staticmethod
    def _check_overlap(paths: list[Path]) -> None:
        for at, one in enumerate(paths):
            for two in paths[at + 1 :]:
                depth = min(len(one), len(two))
                if one[:depth] == two[:depth]:
                    invalid(
                        f"Invalid {_LABEL}: Two document paths overlap with each other; must remove or rewrite one "
                        f"of these paths; path one: {show_path(one)}, path two: {show_path(two)}"
                    )
                fork = next(i for i in range(depth) if one[i] != two[i])
                if type(one[fork]) is not type(two[fork]):
                    invalid(
                        f"Invalid {_LABEL}: Two document paths conflict with each other; must remove or rewrite one "
                        f"of these paths; path one: {show_path(one)}, path two: {show_path(two)}"
                    )

    def apply(self, item: Item, scope: Scope) -> Item:
        """The item after the update; the one given is left as it is."""
        writes: list[tuple[Path, Value]] = []
        removals: list[Path] = []
        for action in self.actions():
            path = scope.path(action.path)
            if isinstance(action, Remove):
                removals.append(path)
                continue
            result = _result(action, path, item, scope)
            if result is not None:
                writes.append((path, result))
            elif isinstance(action, Delete) and resolve(item, path) is not None:
                removals.append(path)
        changed = dict(item)
        nested = {str(path[0]) for path, _ in writes if len(path) > 1} | {str(p[0]) for p in removals if len(p) > 1}
        for name in nested & changed.keys():
            changed[name] = _copy(changed[name])
        for path, value in sorted(writes, key=lambda write: _last_index(write[0])):
            _write(changed, path, value)
        for path in sorted(removals, key=_last_index, reverse=True):
            _remove(changed, path)
        return changed


def _last_index(path: Path) -> int:
    # Elements beyond a list's end are appended in index order, and removed ones must not shift those still to go.
    return path[-1] if isinstance(path[-1], int) else -1


def _result(action: Set | Add | Delete, path: Path, item: Item, scope: Scope) -> Value | None:
    if isinstance(action, Set):
        return _needed(action.operand, item, scope)
    operand, current = scope.values[action.operand.name], resolve(item, path)
    if current is None:
        return operand if isinstance(action, Add) else None
    kind = kind_of(operand)
    if kind_of(current) != kind:
        invalid(_WRONG_TYPE)
    if kind == "N":
        return {"N": numbers.add(current["N"], operand["N"])}
    have, given = set(current[kind]), set(operand[kind])
    members = have | given if isinstance(action, Add) else have - given
    return {kind: sort_members(kind, members)} if members else None


def _needed(operand: Operand, item: Item, scope: Scope) -> Value:
    value = operand.value(item, scope)
    if value is None:
        invalid(_MISSING)
    return value


def _check_operand(operand: Operand, scope: Scope) -> None:
    if isinstance(operand, Arithmetic):
        for side in (operand.left, operand.right):
            check_kind(_LABEL, operand.operator, literal(side, scope), "N")
            _check_operand(side, scope)
    elif isinstance(operand, ListAppend):
        for side in (operand.first, operand.second):
            check_kind(_LABEL, "list_append", literal(side, scope), "L")
            _check_operand(side, scope)
    elif isinstance(operand, IfNotExists):
        _check_operand(operand.default, scope)


def _copy(value: Value) -> Value:
    ((kind, inner),) = value.items()
    if kind == "M":
        return {"M": {name: _copy(child) for name, child in inner.items()}}
    if kind == "L":
        return {"L": [_copy(child) for child in inner]}
    return value


def _parent(item: Item, path: Path) -> Value | None:
    return {"M": item} if len(path) == 1 else resolve(item, path[:-1])


def _write(item: Item, path: Path, value: Value) -> None:
    parent, last = _parent(item, path), path[-1]
    if isinstance(last, int):
        if parent is None or "L" not in parent:
            invalid(_INVALID_PATH)
        members = parent["L"]
        if last < len(members):
            members[last] = value
        else:
            members.append(value)
    else:
        if parent is None or "M" not in parent:
            invalid(_INVALID_PATH)
        parent["M"][last] = value


def _remove(item: Item, path: Path) -> None:
    parent, last = _parent(item, path), path[-1]
    if isinstance(last, int):
        if parent is None or "L" not in parent:
            invalid(_INVALID_PATH)
        if last < len(parent["L"]):
            del parent["L"][last]
    else:
        if parent is None or "M" not in parent:
            invalid(_INVALID_PATH)
        parent["M"].pop(last, None)
