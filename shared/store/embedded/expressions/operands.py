"""What expressions compute with: document paths, values, ``size``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from shared.store.embedded.expressions.scope import Path, Scope
from shared.store.embedded.rejection import invalid
from shared.store.embedded.values import Item, Value, kind_of


class Operand(Protocol):
    """Something with a value in an item; None means the attribute does not exist."""

    def value(self, item: Item, scope: Scope) -> Value | None: ...

    def shown(self, scope: Scope) -> str: ...


@dataclass(frozen=True, slots=True)
class PathOperand:
    """A document path such as ``a.b[1]``; parts may be name placeholders."""

    parts: Path

    def value(self, item: Item, scope: Scope) -> Value | None:
        parts = self.parts
        if len(parts) == 1:
            first = parts[0]
            return item.get(scope.names.get(first, first) if isinstance(first, str) else "")
        return resolve(item, scope.path(parts))

    def shown(self, scope: Scope) -> str:
        return show_path(scope.path(self.parts))


@dataclass(frozen=True, slots=True)
class ValueOperand:
    """A value placeholder."""

    name: str

    def value(self, item: Item, scope: Scope) -> Value | None:
        return scope.values[self.name]

    def shown(self, scope: Scope) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class SizeOperand:
    """``size(path)``: characters, bytes or elements."""

    of: PathOperand

    def value(self, item: Item, scope: Scope) -> Value | None:
        found = self.of.value(item, scope)
        if found is None:
            return None
        kind = kind_of(found)
        if kind in ("N", "BOOL", "NULL"):
            return None
        return {"N": str(len(found[kind]))}

    def shown(self, scope: Scope) -> str:
        return f"size({self.of.shown(scope)})"


def resolve(item: Item, path: Path) -> Value | None:
    """The value at a path (placeholders already replaced), or None."""
    found: Value | None = item.get(str(path[0]))
    for part in path[1:]:
        if found is None:
            return None
        if isinstance(part, int):
            members = found.get("L")
            if members is None or part >= len(members):
                return None
            found = members[part]
        else:
            fields = found.get("M")
            found = None if fields is None else fields.get(part)
    return found


def show_path(path: Path) -> str:
    """A path as DynamoDB prints it in errors: ``[a, b, [1]]``."""
    return "[" + ", ".join(f"[{part}]" if isinstance(part, int) else part for part in path) + "]"


def check_kind(label: str, function: str, value: Value | None, *allowed: str) -> None:
    """Refuse a literal operand of a type the operator or function cannot take."""
    if value is not None and kind_of(value) not in allowed:
        invalid(
            f"Invalid {label}: Incorrect operand type for operator or function; "
            f"operator or function: {function}, operand type: {kind_of(value)}"
        )
