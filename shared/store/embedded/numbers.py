"""DynamoDB numbers: up to 38 significant digits, 1E-130 to 9.99…E+125, kept as canonical text.

Source: Amazon DynamoDB Developer Guide, Supported data types, Number.
"""

from __future__ import annotations

import re
from decimal import Context, Decimal, InvalidOperation

from shared.store.embedded.rejection import invalid

Number = int | Decimal

_PLAIN = re.compile(r"(?:0|-?[1-9][0-9]{0,37})\Z")
_WIDE = Context(prec=200, Emin=-100_000, Emax=100_000)


def canonical(text: str) -> str:
    """The one spelling of a number: plain notation without leading or trailing zeros."""
    if isinstance(text, str) and _PLAIN.match(text):
        return text
    return _spell(_decimal(text))


def parse(text: str) -> Number:
    """The value of canonical text; integers stay ints, so that common comparisons are cheap."""
    return int(text) if _PLAIN.match(text) else Decimal(text)


def add(left: str, right: str, *, negate: bool = False) -> str:
    """``left + right`` (or minus, with ``negate``) as canonical text."""
    a, b = parse(left), parse(right)
    if isinstance(a, int) and isinstance(b, int):
        return canonical(str(a - b if negate else a + b))
    x, y = Decimal(a), Decimal(b)
    return _spell(_check(_WIDE.subtract(x, y) if negate else _WIDE.add(x, y)))


def size(text: str) -> int:
    """Stored bytes of canonical text: one per two significant digits, plus one, plus one when negative."""
    digits = text.lstrip("-").replace(".", "").strip("0")
    return 1 + (len(digits) + 1) // 2 + (1 if text.startswith("-") else 0)


def sortable(text: str) -> bytes:
    """Bytes that sort as the numbers do.

    A positive number is ``2``, its exponent, its digits. A negative one is the complement of that behind ``0``,
    closed by 0xFF so that the longer of two equal beginnings sorts first. Zero is ``1``.
    """
    sign, digits, exponent = Decimal(text).as_tuple()
    if not any(digits):
        return b"\x01"
    spelled = "".join(map(str, digits))
    point = len(spelled) + int(exponent)
    body = (point + 512).to_bytes(2, "big") + spelled.rstrip("0").encode()
    if not sign:
        return b"\x02" + body
    return b"\x00" + bytes(255 - byte for byte in body) + b"\xff"


def _decimal(text: str) -> Decimal:
    try:
        value = _WIDE.create_decimal(text)
    except (InvalidOperation, TypeError, ValueError):
        value = None
    if value is None or not value.is_finite() or text != text.strip() or "_" in text:
        if text == "":
            invalid("The parameter cannot be converted to a numeric value")
        invalid(f"The parameter cannot be converted to a numeric value: {text}")
    return _check(value)


def _check(value: Decimal) -> Decimal:
    value = value.normalize(_WIDE)
    if value.is_zero():
        return Decimal(0)
    if value.adjusted() > 125:
        invalid("Number overflow. Attempting to store a number with magnitude larger than supported range")
    if value.adjusted() < -130:
        invalid("Number underflow. Attempting to store a number with magnitude smaller than supported range")
    if len(value.as_tuple().digits) > 38:
        invalid("Attempting to store more than 38 significant digits in a Number")
    return value


def _spell(value: Decimal) -> str:
    return format(value, "f")
