"""Numbers as text: order, sums, spelling."""

from __future__ import annotations

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.store.embedded import numbers
from shared.store.embedded.rejection import Rejection

digits = st.integers(min_value=-(10**38) + 1, max_value=10**38 - 1)
exponents = st.integers(min_value=-90, max_value=80)
decimals = st.builds(lambda number, exponent: Decimal(number).scaleb(exponent), digits, exponents)


def _exact(number: Decimal) -> Decimal:
    with localcontext() as context:
        context.prec = 200
        return number.normalize()


spelled = st.builds(lambda number: str(number), decimals)


@given(spelled, spelled)
def test_key_bytes_sort_as_numbers(left: str, right: str) -> None:
    """The bytes of two numbers compare as the numbers do."""
    a, b = numbers.canonical(left), numbers.canonical(right)
    one, two = numbers.sortable(a), numbers.sortable(b)
    assert (one < two, one == two) == (Decimal(left) < Decimal(right), Decimal(left) == Decimal(right))


@given(spelled)
def test_spelling_keeps_the_value(text: str) -> None:
    """A number's one spelling is plain, has its value, and is the spelling of itself."""
    canonical = numbers.canonical(text)
    assert Decimal(canonical) == Decimal(text)
    assert "E" not in canonical
    assert numbers.canonical(canonical) == canonical


small = st.builds(lambda number, exponent: str(Decimal(number).scaleb(exponent)), st.integers(-(10**15), 10**15),
                  st.integers(-10, 10))  # fmt: skip


@given(small, small)
def test_sums_are_exact(left: str, right: str) -> None:
    """Sums and differences have no rounding."""
    a, b = numbers.canonical(left), numbers.canonical(right)
    with localcontext() as context:
        context.prec = 200
        assert Decimal(numbers.add(a, b)) == Decimal(left) + Decimal(right)
        assert Decimal(numbers.add(a, b, negate=True)) == Decimal(left) - Decimal(right)


@pytest.mark.parametrize("text", ["", " 1", "1 ", "1_000", "0x10", "Infinity", "-Infinity", "NaN", "one", "1,5", "--1"])
def test_what_is_no_number(text: str) -> None:
    """Only plain and scientific notation is a number."""
    with pytest.raises(Rejection, match="cannot be converted to a numeric value"):
        numbers.canonical(text)


def test_a_sum_beyond_the_limits_is_refused() -> None:
    """A result needs to be a storable number itself."""
    with pytest.raises(Rejection, match="38 significant digits"):
        numbers.add("1" + "0" * 37, "0.1")
    with pytest.raises(Rejection, match="overflow"):
        numbers.add("9" * 38 + "0" * 88, "9" * 38 + "0" * 88)


@pytest.mark.parametrize(
    ("text", "size"), [("0", 1), ("7", 2), ("-7", 3), ("1000", 2), ("0.001", 2), ("123", 3), ("1234", 3)]
)
def test_size(text: str, size: int) -> None:
    """One byte per two significant digits, one more, and one for a minus sign."""
    assert numbers.size(text) == size
