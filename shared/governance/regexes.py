"""Regular expressions of people we do not know, on texts of people we do not know: only those that end soon.

Python's matcher tries the ways a pattern can divide a text, one after the other. A pattern with ``k`` open repetitions
has about C(n + k, k) ways over ``n`` characters; where one repetition holds another, they grow without bound. So a
pattern is taken only if it has no repetition in a repetition, no back reference, and few enough ways over a text of the
length that clients send; longer texts than it can bear are not tried. Source: docs/rulings.md#rule-predicates.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from math import comb
from typing import Any

LONGEST_PATTERN = 200
SHORTEST_BOUND = 64
"""Characters of a text that every pattern must bear: no value of NullRun's SDK is longer."""

LONGEST_BOUND = 4096
_STEPS = 5_000_000
"""Steps that one match may take, some tens of milliseconds."""

_MANY = 64
"""From so many counts on, a bounded repetition is as costly as an open one."""

# The parser is the only one that reads patterns exactly as the matcher does; it has no public name.
_parser: Any = import_module("re._parser")


@dataclass(frozen=True, slots=True)
class SafePattern:
    """A compiled pattern, and the longest text it may be tried on."""

    pattern: re.Pattern[str]
    bound: int

    def found_in(self, text: str) -> bool | None:
        """Whether it matches anywhere in the text; None for a text that is too long to try."""
        return self.pattern.search(text) is not None if len(text) <= self.bound else None


@dataclass(frozen=True, slots=True)
class _Cost:
    """Ways to match: ``choices`` fixed ones times those of ``stars`` open repetitions.

    ``work`` is how often one way repeats something at least, which it does even where that is empty.
    """

    choices: int = 1
    stars: int = 0
    work: int = 1

    def then(self, other: _Cost) -> _Cost:
        return _Cost(self.choices * other.choices, self.stars + other.stars, max(self.work, other.work))

    def steps(self, length: int) -> int:
        return self.choices * comb(length + self.stars, self.stars) * self.work

    @property
    def is_fixed(self) -> bool:
        return self.choices == 1 and self.stars == 0


def safe_pattern(text: str) -> SafePattern:
    """The pattern of a text. Raises ValueError saying what is wrong with it, for people."""
    if not 1 <= len(text) <= LONGEST_PATTERN:
        raise ValueError(f"must be a regular expression of 1 to {LONGEST_PATTERN} characters")
    try:
        parsed = _parser.parse(text)
        compiled = re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"is no regular expression: {error}") from None
    cost = _sequence(parsed)
    if not _is_anchored(parsed):
        cost = cost.then(_Cost(stars=1))
    if cost.steps(SHORTEST_BOUND) > _STEPS:
        raise ValueError("can take too long: use fewer repetitions and alternatives, or begin it with ^")
    return SafePattern(compiled, _bound(cost))


def _bound(cost: _Cost) -> int:
    length = SHORTEST_BOUND
    while length < LONGEST_BOUND and cost.steps(2 * length) <= _STEPS:
        length *= 2
    return length


def _is_anchored(parsed: Any) -> bool:
    return bool(parsed) and str(parsed[0][0]) == "AT" and str(parsed[0][1]) in ("AT_BEGINNING", "AT_BEGINNING_STRING")


def _sequence(items: Any) -> _Cost:
    cost = _Cost()
    for operator, argument in items:
        cost = cost.then(_cost(str(operator), argument))
    return cost


def _cost(operator: str, argument: Any) -> _Cost:
    if operator in _ONE_WAY:
        return _Cost()
    judged = _COSTS.get(operator)
    if judged is None:
        raise ValueError("must not refer back to what it has matched")
    return judged(argument)


def _branch(argument: Any) -> _Cost:
    costs = [_sequence(alternative) for alternative in argument[1]]
    choices = sum(cost.choices for cost in costs)
    return _Cost(choices, max(cost.stars for cost in costs), max(cost.work for cost in costs))


def _repeat(argument: Any) -> _Cost:
    least, most, repeated = argument
    inner = _sequence(repeated)
    if int(most) == 1:
        return _Cost(inner.choices + 1, inner.stars, inner.work) if least == 0 else inner
    if not inner.is_fixed:
        raise ValueError("must not repeat what has repetitions or alternatives in it")
    counts, work = int(most) - least + 1, max(least, 1) * inner.work
    return _Cost(counts, 0, work) if counts < _MANY else _Cost(1, 1, work)


_ONE_WAY = frozenset({"LITERAL", "NOT_LITERAL", "ANY", "IN", "AT"})

_COSTS: Mapping[str, Callable[[Sequence[Any]], _Cost]] = {
    "BRANCH": _branch,
    "SUBPATTERN": lambda argument: _sequence(argument[-1]),
    "ATOMIC_GROUP": lambda argument: _sequence(argument),
    "ASSERT": lambda argument: _sequence(argument[1]),
    "ASSERT_NOT": lambda argument: _sequence(argument[1]),
    "MAX_REPEAT": _repeat,
    "MIN_REPEAT": _repeat,
    "POSSESSIVE_REPEAT": _repeat,
}
