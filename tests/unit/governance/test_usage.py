"""What a client says a call used."""

from __future__ import annotations

from typing import Any

import pytest

from shared.governance.money import MICRO
from shared.governance.usage import InvalidField, read_report


@pytest.mark.parametrize(
    ("event", "amount", "tokens", "source", "confidence"),
    [
        ({}, 0, 0, "default", "low"),
        ({"model": "gpt-4o"}, 0, 0, "catalog", "high"),
        ({"model": "gpt-4o", "input_tokens": 4, "output_tokens": 2}, 3000, 6, "catalog", "high"),
        ({"model": "gpt-4o", "tokens": 6, "input_tokens": 4, "output_tokens": 2}, 3000, 6, "catalog", "high"),
        # Only a sum: taken for the dearer kind.
        ({"model": "gpt-4o", "tokens": 6}, 6000, 6, "catalog", "high"),
        ({"model": "gpt-4o", "tokens": 6, "input_tokens": 6}, 1500, 6, "catalog", "high"),
        ({"model": "gpt-4o", "tokens": 12.0}, 12_000, 12, "catalog", "high"),
        ({"model": "gpt-4o", "input_tokens": None, "tokens": None}, 0, 0, "catalog", "high"),
        # A claimed cost counts only where there is no price.
        ({"model": "gpt-4o", "input_tokens": 4, "cost_cents": 99}, 1000, 4, "catalog", "high"),
        ({"model": "house", "input_tokens": 4, "cost_cents": 0.5}, MICRO // 2, 4, "client", "low"),
        ({"model": "house", "input_tokens": 4}, 6000, 4, "default", "low"),
        ({"cost_cents": 3}, 3 * MICRO, 0, "client", "low"),
        ({"cost_cents": 1e-9}, 1, 0, "client", "low"),
    ],
)
def test_spendings(event: dict[str, Any], amount: int, tokens: int, source: str, confidence: str) -> None:
    """The cost in micro-cents, and whose price it is."""
    spending = read_report(event).spending
    assert (spending.amount, spending.tokens, spending.source, spending.confidence) == (
        amount, tokens, source, confidence,
    )  # fmt: skip


def test_the_reservation_is_the_execution() -> None:
    """reservation_id counts before execution_id; an empty text is none."""
    assert read_report({"reservation_id": "r", "execution_id": "e"}).execution_id == "r"
    assert read_report({"reservation_id": "", "execution_id": "e"}).execution_id == "e"
    assert read_report({"reservation_id": ""}).execution_id is None


@pytest.mark.parametrize(
    ("name", "value"), [("cost_cents", float("nan")), ("latency_ms", float("inf")), ("tokens", float("nan"))]
)
def test_numbers_that_are_none_are_refused(name: str, value: float) -> None:
    """Also where they did not come as JSON."""
    with pytest.raises(InvalidField, match=name):
        read_report({name: value})


def test_half_a_character_is_refused() -> None:
    """Text that nothing can store."""
    with pytest.raises(InvalidField, match="model"):
        read_report({"model": "\ud800"})
