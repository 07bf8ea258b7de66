"""Decimal numbers of databases as JSON numbers."""

from __future__ import annotations

from decimal import Decimal

MOST_DIGITS = 300
"""Whole numbers with more digits are shown as text."""
AMOUNT_DIGITS, AMOUNT_DECIMALS = 15, 8
"""Below so many digits, more decimals than this are taken for the rest of a division and may be rounded."""


def exact(text: str) -> int | float | str:
    """A decimal number as a JSON number; as text where that would lose digits an amount may have."""
    number = Decimal(text)
    if not number.is_finite() or number.adjusted() >= MOST_DIGITS:
        return text
    if number == number.to_integral_value():
        return int(number)
    approximate = float(number)
    computed = number.adjusted() < AMOUNT_DIGITS and len(text.partition(".")[2]) > AMOUNT_DECIMALS
    return approximate if computed or Decimal(repr(approximate)) == number else text
