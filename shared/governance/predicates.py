"""Conditions of approval rules on what an action is about.

``{"kind": "money_amount", "direction", "operator", "threshold_minor", "currency"}``: the amount of a money impact.

``{"kind": "tool_parameters", "trigger_logic": "any" | "all", "conditions": [{"param_name", "matcher"}]}``: the named
arguments of a tool call. A matcher is ``{"kind": "equals", "value"}``, ``{"kind": "one_of", "values"}``,
``{"kind": "numeric_range", "min", "max"}``, ``{"kind": "regex", "pattern"}`` or ``{"kind": "exists"}``.

A value that was masked, cut off or cannot be judged counts as meeting the condition: a person is asked rather than
passed by. Source: NullRun docs, Human approval, Typed predicates; docs/rulings.md#rule-predicates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from operator import eq, ge, gt, le, lt
from typing import Any, Literal, Protocol, TypeAlias

from shared.governance.arguments import Argument, argument_of, arguments_of, number_of
from shared.governance.regexes import SafePattern, safe_pattern
from shared.kit.errors import Unprocessable

MOST_CONDITIONS = 5
MOST_VALUES = 50
LONGEST_TEXT = 256
"""Characters of a parameter's name and of a value to compare with."""

LARGEST_NUMBER = 10**18

Impact: TypeAlias = Mapping[str, Any]

_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {"gt": gt, "gte": ge, "lt": lt, "lte": le, "eq": eq}
_DIRECTIONS = ("outflow", "inflow")
_LOGIC = ("any", "all")


class Predicate(Protocol):
    """A condition on an impact."""

    def holds(self, impact: Impact) -> bool:
        """Whether the impact meets it."""
        ...


class Matcher(Protocol):
    """A condition on one argument that is there."""

    def holds(self, argument: Argument) -> bool:
        """Whether the argument meets it, or cannot be judged."""
        ...


@dataclass(frozen=True, slots=True)
class MoneyAmount:
    """Money in the smallest unit of its currency."""

    direction: str
    operator: str
    threshold_minor: int
    currency: str

    def holds(self, impact: Impact) -> bool:
        if impact.get("kind") != "money" or impact.get("direction") != self.direction:
            return False
        amount, currency = impact.get("amount_minor"), impact.get("currency")
        if not isinstance(currency, str) or currency.upper() != self.currency or type(amount) is not int:
            return False
        return _OPERATORS[self.operator](amount, self.threshold_minor)


@dataclass(frozen=True, slots=True)
class ToolParameters:
    """Conditions on the arguments of a tool call; one or all of them must hold."""

    every: bool
    conditions: tuple[tuple[str, Matcher], ...]

    def holds(self, impact: Impact) -> bool:
        given = arguments_of(impact)
        found = (name in given and matcher.holds(argument_of(given[name])) for name, matcher in self.conditions)
        return all(found) if self.every else any(found)


@dataclass(frozen=True, slots=True)
class Equals:
    """The argument is one of these."""

    values: tuple[Any, ...]

    def holds(self, argument: Argument) -> bool:
        return any(argument.may_be(value) for value in self.values)


@dataclass(frozen=True, slots=True)
class NumericRange:
    """The argument is a number between two others, which belong to the range. A text that is a number is one."""

    least: Decimal | None
    most: Decimal | None

    def holds(self, argument: Argument) -> bool:
        if argument.is_hidden:
            return not argument.is_text
        number = number_of(argument.value)
        if number is None:
            return False
        if number.is_nan():
            return True
        return (self.least is None or number >= self.least) and (self.most is None or number <= self.most)


@dataclass(frozen=True, slots=True)
class Matches:
    """The argument, as text, has a part that the pattern matches."""

    pattern: SafePattern

    def holds(self, argument: Argument) -> bool:
        return argument.is_hidden or self.pattern.found_in(argument.text) is not False


@dataclass(frozen=True, slots=True)
class Exists:
    """The argument is there, whatever it is."""

    def holds(self, argument: Argument) -> bool:
        return True


class _Reader:
    """The fields of one JSON object, each checked as it is read."""

    def __init__(self, given: Mapping[str, Any], field: str) -> None:
        self._given = given
        self.field = field

    def _bad(self, name: str, reason: str) -> Unprocessable:
        return Unprocessable.field(f"{self.field}.{name}", f"{name} {reason}")

    def value(self, name: str) -> Any:
        if name not in self._given:
            raise self._bad(name, "is required")
        return self._given[name]

    def text(self, name: str) -> str:
        value = self.value(name)
        if not isinstance(value, str) or not 1 <= len(value) <= LONGEST_TEXT:
            raise self._bad(name, f"must be a string of 1 to {LONGEST_TEXT} characters")
        return value

    def choice(self, name: str, choices: tuple[str, ...], default: str | None = None) -> str:
        value = self._given.get(name, default)
        if value not in choices or not isinstance(value, str):
            raise self._bad(name, f"must be one of {', '.join(choices)}")
        return value

    def whole(self, name: str) -> int:
        value = self.value(name)
        if type(value) is not int or not 0 <= value <= LARGEST_NUMBER:
            raise self._bad(name, f"must be a whole number from 0 to {LARGEST_NUMBER}")
        return value

    def number(self, name: str) -> Decimal | None:
        value = self._given.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._bad(name, "must be a number or null")
        if not -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
            raise self._bad(name, f"must be from {-LARGEST_NUMBER} to {LARGEST_NUMBER}")
        return Decimal(str(value))

    def currency(self, name: str) -> str:
        value = self.value(name)
        if not isinstance(value, str) or len(value) != 3 or not value.isascii() or not value.isalpha():
            raise self._bad(name, "must be a currency code of three letters, such as USD")
        return value.upper()

    def items(self, name: str, most: int) -> list[Any]:
        value = self.value(name)
        if not isinstance(value, list) or not 1 <= len(value) <= most:
            raise self._bad(name, f"must be a list of 1 to {most} entries")
        return value


def predicate_of(value: Any, field: str = "action_predicate") -> Predicate:
    """The predicate of a JSON value. Raises Unprocessable naming the part that is wrong."""
    reader = _Reader(_object(value, field), field)
    if reader.choice("kind", ("money_amount", "tool_parameters")) == "tool_parameters":
        return _tool_parameters(reader)
    return MoneyAmount(
        direction=reader.choice("direction", _DIRECTIONS),
        operator=reader.choice("operator", tuple(_OPERATORS)),
        threshold_minor=reader.whole("threshold_minor"),
        currency=reader.currency("currency"),
    )


def _tool_parameters(reader: _Reader) -> ToolParameters:
    logic: Literal["any", "all"] | str = reader.choice("trigger_logic", _LOGIC, default="all")
    conditions = []
    for place, item in enumerate(reader.items("conditions", MOST_CONDITIONS)):
        inner = _Reader(_object(item, f"{reader.field}.conditions.{place}"), f"{reader.field}.conditions.{place}")
        conditions.append((inner.text("param_name"), _matcher(inner)))
    return ToolParameters(logic == "all", tuple(conditions))


def _matcher(condition: _Reader) -> Matcher:
    field = f"{condition.field}.matcher"
    reader = _Reader(_object(condition.value("matcher"), field), field)
    return _MATCHERS[reader.choice("kind", tuple(_MATCHERS))](reader)


def _one_of(reader: _Reader) -> Equals:
    values = reader.items("values", MOST_VALUES)
    return Equals(tuple(_scalar(value, f"{reader.field}.values.{place}") for place, value in enumerate(values)))


def _range(reader: _Reader) -> NumericRange:
    least, most = reader.number("min"), reader.number("max")
    if least is None and most is None:
        raise Unprocessable.field(reader.field, "A numeric_range needs min, max or both")
    if least is not None and most is not None and least > most:
        raise Unprocessable.field(f"{reader.field}.min", "min must not be above max")
    return NumericRange(least, most)


def _regex(reader: _Reader) -> Matches:
    field = f"{reader.field}.pattern"
    pattern = reader.value("pattern")
    if not isinstance(pattern, str):
        raise Unprocessable.field(field, "pattern must be a string")
    try:
        return Matches(safe_pattern(pattern))
    except ValueError as error:
        raise Unprocessable.field(field, f"pattern {error}") from None


_MATCHERS: Mapping[str, Callable[[_Reader], Matcher]] = {
    "equals": lambda reader: Equals((_scalar(reader.value("value"), f"{reader.field}.value"),)),
    "one_of": _one_of,
    "numeric_range": _range,
    "regex": _regex,
    "exists": lambda reader: Exists(),
}


def _object(value: Any, field: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Unprocessable.field(field, f"{field} must be an object")
    return value


def _scalar(value: Any, field: str) -> Any:
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        raise Unprocessable.field(field, f"{field} must have {LONGEST_TEXT} characters at most")
    if isinstance(value, int | float) and not -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
        raise Unprocessable.field(field, f"{field} must be a number from {-LARGEST_NUMBER} to {LARGEST_NUMBER}")
    if value is not None and not isinstance(value, str | int | float):
        raise Unprocessable.field(field, f"{field} must be a string, a number, true, false or null")
    return value
