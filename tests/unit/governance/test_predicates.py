"""Conditions of approval rules on what an action is about. Source: docs/rulings.md#rule-predicates."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from shared.governance.arguments import argument_of, number_of
from shared.governance.predicates import predicate_of
from shared.kit.errors import Unprocessable

MONEY = {"kind": "money_amount", "direction": "outflow", "operator": "gt", "threshold_minor": 5000, "currency": "USD"}
PAID = {"kind": "money", "direction": "outflow", "amount_minor": 5001, "currency": "USD"}


def call(**kwargs: Any) -> dict[str, Any]:
    return {"kind": "tool_call", "tool_name": "f", "params": {"args": [], "kwargs": kwargs}}


def parameters(matcher: dict[str, Any], name: str = "x") -> dict[str, Any]:
    conditions = [{"param_name": name, "matcher": matcher}]
    return {"kind": "tool_parameters", "trigger_logic": "any", "conditions": conditions}


@pytest.mark.parametrize(
    ("operator", "below", "equal", "above"),
    [
        ("gt", False, False, True),
        ("gte", False, True, True),
        ("lt", True, False, False),
        ("lte", True, True, False),
        ("eq", False, True, False),
    ],
)
def test_amounts_are_compared(operator: str, below: bool, equal: bool, above: bool) -> None:
    """With what every operator says about amounts around the threshold."""
    predicate = predicate_of(MONEY | {"operator": operator})
    found = [predicate.holds(PAID | {"amount_minor": amount}) for amount in (4999, 5000, 5001)]
    assert found == [below, equal, above]


@pytest.mark.parametrize(
    ("impact", "holds"),
    [
        (PAID, True),
        (PAID | {"currency": "usd"}, True),
        (PAID | {"currency": "EUR"}, False),
        (PAID | {"direction": "inflow"}, False),
        (PAID | {"amount_minor": "5001"}, False),
        (PAID | {"amount_minor": True}, False),
        (PAID | {"currency": None}, False),
        (PAID | {"kind": "tool_call"}, False),
        ({"kind": "none"}, False),
        ({}, False),
    ],
)
def test_only_money_of_the_same_kind_is_compared(impact: dict[str, Any], holds: bool) -> None:
    """Direction and currency must be the rule's; other impacts have no amount."""
    assert predicate_of(MONEY).holds(impact) is holds


@pytest.mark.parametrize(
    ("matcher", "came", "holds"),
    [
        # A text, as the SDK sends it and as others do.
        ({"kind": "equals", "value": "EU"}, "'EU'", True),
        ({"kind": "equals", "value": "EU"}, '"EU"', True),
        ({"kind": "equals", "value": "EU"}, "EU", True),
        ({"kind": "equals", "value": "EU"}, "'eu'", False),
        ({"kind": "equals", "value": "it's"}, '"it\'s"', True),
        ({"kind": "equals", "value": "a\nb"}, r"'a\nb'", True),
        ({"kind": "equals", "value": "grün"}, "'grün'", True),
        ({"kind": "equals", "value": r"\d"}, r"'\d'", False),
        # Numbers, however they are written.
        ({"kind": "equals", "value": 5}, "5", True),
        ({"kind": "equals", "value": 5}, 5, True),
        ({"kind": "equals", "value": 5}, "5.0", True),
        ({"kind": "equals", "value": 5}, "'5'", True),
        ({"kind": "equals", "value": 0.1}, "0.1", True),
        ({"kind": "equals", "value": 0.1}, "Decimal('0.1')", True),
        ({"kind": "equals", "value": 5}, "True", False),
        ({"kind": "equals", "value": 1}, True, False),
        ({"kind": "equals", "value": 5}, "nan", False),
        ({"kind": "equals", "value": "5"}, "5", True),
        # The other constants.
        ({"kind": "equals", "value": True}, "True", True),
        ({"kind": "equals", "value": True}, True, True),
        ({"kind": "equals", "value": True}, "1", False),
        ({"kind": "equals", "value": False}, "True", False),
        ({"kind": "equals", "value": None}, "None", True),
        ({"kind": "equals", "value": None}, None, True),
        ({"kind": "equals", "value": None}, "''", False),
        # One of several.
        ({"kind": "one_of", "values": ["EU", "US"]}, "'US'", True),
        ({"kind": "one_of", "values": ["EU", 5]}, "5", True),
        ({"kind": "one_of", "values": ["EU", "US"]}, "'UK'", False),
        # Ranges, whose ends belong to them.
        ({"kind": "numeric_range", "min": 500}, "500", True),
        ({"kind": "numeric_range", "min": 500, "max": None}, "499.99", False),
        ({"kind": "numeric_range", "max": 10}, "10", True),
        ({"kind": "numeric_range", "max": 10}, "10.01", False),
        ({"kind": "numeric_range", "min": 1, "max": 2}, "1.5", True),
        ({"kind": "numeric_range", "min": 1, "max": 2}, "3", False),
        ({"kind": "numeric_range", "min": 500}, "'1_000'", True),
        ({"kind": "numeric_range", "min": 500}, "'0" + "0" * 60 + "900'", True),
        ({"kind": "numeric_range", "min": 500}, "Decimal('900.5')", True),
        ({"kind": "numeric_range", "min": 500}, "1e3", True),
        ({"kind": "numeric_range", "min": 500}, "inf", True),
        ({"kind": "numeric_range", "max": 500}, "-inf", True),
        ({"kind": "numeric_range", "max": 500}, "inf", False),
        ({"kind": "numeric_range", "min": 500}, "nan", True),
        ({"kind": "numeric_range", "min": 0}, "'many'", False),
        ({"kind": "numeric_range", "min": 0}, "True", False),
        ({"kind": "numeric_range", "min": 0}, "[5]", False),
        ({"kind": "numeric_range", "min": 0}, 7, True),
        # Patterns, on what the text is in Python.
        ({"kind": "regex", "pattern": "^EU$"}, "'EU'", True),
        ({"kind": "regex", "pattern": "^(?!internal@).*"}, "'bob@example.com'", True),
        ({"kind": "regex", "pattern": "^(?!internal@).*"}, "'internal@example.com'", False),
        ({"kind": "regex", "pattern": "^5"}, "500", True),
        ({"kind": "regex", "pattern": "^5"}, 500, True),
        ({"kind": "regex", "pattern": "true"}, True, True),
        ({"kind": "regex", "pattern": "drop"}, "'select'", False),
        ({"kind": "regex", "pattern": "drop"}, "x" * 5000, True),
        # Presence.
        ({"kind": "exists"}, "None", True),
        ({"kind": "exists"}, None, True),
        ({"kind": "exists"}, "***", True),
        # What was masked could be anything.
        ({"kind": "equals", "value": "EU"}, "***", True),
        ({"kind": "one_of", "values": [5]}, "***", True),
        ({"kind": "numeric_range", "min": 5}, "***", True),
        ({"kind": "regex", "pattern": "^a$"}, "***", True),
        # What was cut off could be whatever begins so.
        ({"kind": "equals", "value": "a" * 80}, "'" + "a" * 49 + "...<truncated>", True),
        ({"kind": "equals", "value": "EU"}, "'" + "a" * 49 + "...<truncated>", False),
        ({"kind": "one_of", "values": ["EU"]}, "'" + "a" * 49 + "...<truncated>", False),
        ({"kind": "numeric_range", "min": 5}, "'" + "a" * 49 + "...<truncated>", False),
        ({"kind": "numeric_range", "min": 5}, "1" * 50 + "...<truncated>", True),
        ({"kind": "regex", "pattern": "z"}, "'" + "a" * 49 + "...<truncated>", True),
    ],
)
def test_matchers(matcher: dict[str, Any], came: Any, holds: bool) -> None:
    """Each on a value as clients send it; what cannot be judged counts as met."""
    assert predicate_of(parameters(matcher)).holds(call(x=came)) is holds


@pytest.mark.parametrize("kind", ["equals", "one_of", "numeric_range", "regex", "exists"])
def test_a_parameter_that_is_not_there_meets_nothing(kind: str) -> None:
    """Whatever the matcher; neither does one of an impact without arguments."""
    more = {"value": None, "values": [None], "min": 0, "pattern": "."}
    predicate = predicate_of(parameters({"kind": kind} | more))
    for impact in (
        call(y="1"),
        call(),
        {"kind": "none"},
        PAID,
        {"kind": "tool_call"},
        {"kind": "tool_call", "params": 5},
    ):
        assert predicate.holds(impact) is False


def test_arguments_without_kwargs_are_the_parameters_themselves() -> None:
    """Clients that extract parameters on their own send them flat."""
    predicate = predicate_of(parameters({"kind": "equals", "value": "EU"}))
    assert predicate.holds({"kind": "tool_call", "tool_name": "f", "params": {"x": "EU"}})


@pytest.mark.parametrize(
    ("logic", "a", "b", "holds"),
    [
        ("any", "1", "1", True),
        ("any", "1", "0", True),
        ("any", "0", "0", False),
        ("all", "1", "1", True),
        ("all", "1", "0", False),
        ("all", "0", "0", False),
    ],
)
def test_any_and_all(logic: str, a: str, b: str, holds: bool) -> None:
    """One condition is enough, or every one must hold."""
    conditions = [{"param_name": name, "matcher": {"kind": "equals", "value": 1}} for name in ("a", "b")]
    predicate = predicate_of({"kind": "tool_parameters", "trigger_logic": logic, "conditions": conditions})
    assert predicate.holds(call(a=a, b=b)) is holds


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (None, "action_predicate"),
        ([], "action_predicate"),
        ({}, "action_predicate.kind"),
        ({"kind": "other"}, "action_predicate.kind"),
        ({"kind": ["money_amount"]}, "action_predicate.kind"),
        (MONEY | {"direction": "up"}, "action_predicate.direction"),
        (MONEY | {"operator": "ne"}, "action_predicate.operator"),
        (MONEY | {"threshold_minor": -1}, "action_predicate.threshold_minor"),
        (MONEY | {"threshold_minor": 1.5}, "action_predicate.threshold_minor"),
        (MONEY | {"threshold_minor": True}, "action_predicate.threshold_minor"),
        (MONEY | {"threshold_minor": 10**19}, "action_predicate.threshold_minor"),
        (MONEY | {"currency": "US"}, "action_predicate.currency"),
        (MONEY | {"currency": 5}, "action_predicate.currency"),
        ({name: MONEY[name] for name in MONEY if name != "currency"}, "action_predicate.currency"),
        ({"kind": "tool_parameters"}, "action_predicate.conditions"),
        ({"kind": "tool_parameters", "conditions": []}, "action_predicate.conditions"),
        (parameters({"kind": "exists"}) | {"trigger_logic": "none"}, "action_predicate.trigger_logic"),
        (
            {"kind": "tool_parameters", "conditions": parameters({"kind": "exists"})["conditions"] * 6},
            "action_predicate.conditions",
        ),
        ({"kind": "tool_parameters", "conditions": [5]}, "action_predicate.conditions.0"),
        (parameters({"kind": "exists"}, name=""), "action_predicate.conditions.0.param_name"),
        ({"kind": "tool_parameters", "conditions": [{"param_name": "x"}]}, "action_predicate.conditions.0.matcher"),
        (parameters({"kind": "like"}), "action_predicate.conditions.0.matcher.kind"),
        (parameters({"kind": "equals"}), "action_predicate.conditions.0.matcher.value"),
        (parameters({"kind": "equals", "value": []}), "action_predicate.conditions.0.matcher.value"),
        (parameters({"kind": "equals", "value": "x" * 257}), "action_predicate.conditions.0.matcher.value"),
        (parameters({"kind": "equals", "value": 10**19}), "action_predicate.conditions.0.matcher.value"),
        (parameters({"kind": "equals", "value": float("nan")}), "action_predicate.conditions.0.matcher.value"),
        (parameters({"kind": "one_of", "values": "EU"}), "action_predicate.conditions.0.matcher.values"),
        (parameters({"kind": "one_of", "values": []}), "action_predicate.conditions.0.matcher.values"),
        (parameters({"kind": "one_of", "values": [1, {}]}), "action_predicate.conditions.0.matcher.values.1"),
        (parameters({"kind": "numeric_range"}), "action_predicate.conditions.0.matcher"),
        (parameters({"kind": "numeric_range", "min": "5"}), "action_predicate.conditions.0.matcher.min"),
        (parameters({"kind": "numeric_range", "min": True}), "action_predicate.conditions.0.matcher.min"),
        (parameters({"kind": "numeric_range", "max": float("inf")}), "action_predicate.conditions.0.matcher.max"),
        (parameters({"kind": "numeric_range", "min": 2, "max": 1}), "action_predicate.conditions.0.matcher.min"),
        (parameters({"kind": "regex", "pattern": 5}), "action_predicate.conditions.0.matcher.pattern"),
        (parameters({"kind": "regex", "pattern": "(a+)+"}), "action_predicate.conditions.0.matcher.pattern"),
        (parameters({"kind": "regex", "pattern": "["}), "action_predicate.conditions.0.matcher.pattern"),
    ],
)
def test_what_is_no_predicate_is_refused(value: Any, field: str) -> None:
    """With the place that is wrong."""
    with pytest.raises(Unprocessable) as refused:
        predicate_of(value)
    assert refused.value.details is not None
    assert refused.value.details["field"] == field


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (5, 5),
        (" 5 ", 5),
        ("-.5", Decimal("-0.5")),
        ("5.", 5),
        ("1e2", 100),
        ("0x10", None),
        ("\u0665", None),
        ("", None),
        (None, None),
        (True, None),
        ([5], None),
    ],
)
def test_numbers_are_read_exactly(value: Any, number: Any) -> None:
    """In the forms that Python's own number types write; nothing else is a number."""
    assert number_of(value) == number


def test_texts_that_only_look_like_literals_stay_as_they_came() -> None:
    """Nothing in them is evaluated, and none is a fault."""
    for text in ("'open", "'a' + 'b'", r"'\N{BULLET}'", r"'\UFFFFFFFF'", r"'\U00ffffff'", "'a\0b'", "[1, 2]", "f'{x}'"):
        assert argument_of(text).value == text
