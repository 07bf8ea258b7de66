"""The placeholders of one request, and the checks DynamoDB makes on them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from shared.store.embedded.rejection import invalid
from shared.store.embedded.reserved import RESERVED
from shared.store.embedded.values import Value, canonical

Part = str | int
Path = tuple[Part, ...]


@dataclass(slots=True)
class Scope:
    """Names and values of a request; ``used`` collects the placeholders its expressions mention."""

    names: dict[str, str]
    values: dict[str, Value]
    used: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, request: dict[str, Any], *expressions: str) -> Scope:
        """The scope of a request whose expression parameters are called ``expressions``."""
        names, values = request.get("ExpressionAttributeNames"), request.get("ExpressionAttributeValues")
        present = any(request.get(name) is not None for name in expressions)
        for label, given in (("ExpressionAttributeNames", names), ("ExpressionAttributeValues", values)):
            if given is None:
                continue
            if not present:
                shown = [name for name in expressions if label.endswith("Names") or name != "ProjectionExpression"]
                verb = "are" if len(shown) > 1 else "is"
                invalid(f"{label} can only be specified when using expressions: {' and '.join(shown)} {verb} null")
            if not given:
                invalid(f"{label} must not be empty")
        checked = {}
        for key, value in (values or {}).items():
            if not key.startswith(":") or len(key) < 2:
                invalid(f'ExpressionAttributeValues contains invalid key: Syntax error; key: "{key}"')
            checked[key] = canonical(value)
        for key in names or {}:
            if not key.startswith("#") or len(key) < 2:
                invalid(f'ExpressionAttributeNames contains invalid key: Syntax error; key: "{key}"')
        return cls(names or {}, checked)

    def bind(self, label: str, mentioned: Iterable[str]) -> None:
        """Note the placeholders and plain names an expression mentions; refuse undefined and reserved ones."""
        for word in mentioned:
            if word.startswith("#"):
                if word not in self.names:
                    invalid(
                        f"Invalid {label}: An expression attribute name used in the document path is not defined; "
                        f"attribute name: {word}"
                    )
            elif word.startswith(":"):
                if word not in self.values:
                    invalid(
                        f"Invalid {label}: An expression attribute value used in expression is not defined; "
                        f"attribute value: {word}"
                    )
            elif word.upper() in RESERVED:
                invalid(f"Invalid {label}: Attribute name is a reserved keyword; reserved keyword: {word}")
            self.used.add(word)

    def finish(self) -> None:
        """Refuse placeholders no expression used."""
        for label, given in (("Names", self.names), ("Values", self.values)):
            unused = [key for key in given if key not in self.used]
            if unused:
                invalid(
                    f"Value provided in ExpressionAttribute{label} unused in expressions: keys: {{{', '.join(unused)}}}"
                )

    def path(self, parts: Path) -> Path:
        """The document path with its name placeholders replaced."""
        names = self.names
        return tuple(names.get(part, part) if isinstance(part, str) else part for part in parts)
