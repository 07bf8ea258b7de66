"""What an action is about, and its digest. Source: docs/rulings.md#business-impact."""

from __future__ import annotations

from typing import Any

import pytest

from shared.governance.digests import LARGEST_BYTES, action_digest, canonical, checked_impact, verify_digest
from shared.governance.refusals import Refused

NONE = "0049d93a36f0710269a6deb733ca78d57a770ef640a2698d0fddaa9653b7c3de"
CALL = {
    "kind": "tool_call",
    "tool_name": "refund",
    "params": {"args": ["1"], "kwargs": {"amount": "500"}},
    "extractor_id": "nullrun.tool_call.path",
    "extractor_version": "1",
}
MONEY = {"kind": "money", "direction": "outflow", "amount_minor": 5000, "currency": "USD"}


def nested(depth: int) -> dict[str, Any]:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return {"kind": "other", "value": value}


def test_the_digest_of_no_impact() -> None:
    """The digest every client sends for a call without a tool."""
    assert action_digest({"kind": "none"}) == NONE


@pytest.mark.parametrize(
    ("impact", "expected"),
    [
        ({"b": 1, "a": {"d": 2, "c": [{"z": None, "y": True}]}}, b'{"a":{"c":[{"y":true,"z":null}],"d":2},"b":1}'),
        ({"kind": "Größe \U0001f600"}, '{"kind":"Größe \U0001f600"}'.encode()),
        ({"n": 10**40}, b'{"n":1' + b"0" * 40 + b"}"),
        ({"kind": 'a"\\\n'}, b'{"kind":"a\\"\\\\\\n"}'),
    ],
)
def test_canonical_form(impact: dict[str, Any], expected: bytes) -> None:
    """Keys are sorted at every level, nothing is padded, text stays UTF-8."""
    assert canonical(impact) == expected


def test_the_order_of_keys_does_not_matter() -> None:
    """The same action has the same digest, whoever wrote it down."""
    turned = {name: CALL[name] for name in reversed(CALL)}
    assert action_digest(turned) == action_digest(CALL)
    assert action_digest(CALL) != action_digest(CALL | {"tool_name": "charge"})


@pytest.mark.parametrize("digest", [action_digest(CALL), action_digest(CALL).upper(), None])
def test_verify_accepts_the_digest(digest: str | None) -> None:
    """In either case; a caller that sends none binds nothing."""
    verify_digest(CALL, digest)


@pytest.mark.parametrize("digest", [NONE, "", "Größe", action_digest(CALL)[:-1]])
def test_verify_refuses_any_other(digest: str) -> None:
    """With the documented code and status."""
    with pytest.raises(Refused) as refused:
        verify_digest(CALL, digest)
    assert (refused.value.reason, refused.value.status) == ("BUSINESS_IMPACT_INVALID", 422)


def test_verify_checks_the_impact_itself() -> None:
    """A digest does not make an impact of what is none, and neither does its absence."""
    for digest in (NONE, None):
        with pytest.raises(Refused, match="tool_name"):
            verify_digest(CALL | {"tool_name": ""}, digest)


@pytest.mark.parametrize(
    "impact", [CALL, MONEY, {"kind": "none"}, {"kind": "record_count", "count": 5}, nested(30), CALL | {"more": 1}]
)
def test_impacts_are_taken_as_they_are(impact: dict[str, Any]) -> None:
    """Nothing is added or left out, else the digest would be another; unknown kinds are let through."""
    assert checked_impact(impact) is impact


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "none",
        {},
        {"kind": 5},
        {"kind": ""},
        CALL | {"tool_name": None},
        CALL | {"tool_name": ""},
        CALL | {"tool_name": "x" * 129},
        CALL | {"tool_name": "größe"},
        CALL | {"tool_name": "a\nb"},
        CALL | {"params": None},
        CALL | {"params": []},
        CALL | {"params": {"k" * 65: 1}},
        CALL | {"params": {"a": [{"ö" * 33: 1}]}},
        CALL | {"params": {"a": 1.0}},
        CALL | {"params": {"a": {"b": [float("nan")]}}},
        CALL | {"params": {"a": "\ud800"}},
        CALL | {"params": {"a": b"bytes"}},
        CALL | {"params": {1: "a"}},
        CALL | {"extractor_id": 5},
        MONEY | {"direction": "up"},
        MONEY | {"amount_minor": True},
        MONEY | {"amount_minor": -1},
        MONEY | {"amount_minor": "5"},
        MONEY | {"currency": ""},
        {"kind": "other", "value": 0.5},
        {"kind": "other", "value": "x" * LARGEST_BYTES},
        nested(40),
    ],
)
def test_what_is_no_impact_is_refused(value: Any) -> None:
    """Never a fault: the caller learns what is wrong."""
    with pytest.raises(Refused) as refused:
        checked_impact(value)
    assert refused.value.reason == "BUSINESS_IMPACT_INVALID"
    assert "business_impact" in refused.value.message
