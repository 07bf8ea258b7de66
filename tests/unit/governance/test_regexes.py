"""Only patterns that end soon are taken. Source: docs/rulings.md#rule-predicates."""

from __future__ import annotations

import re

import pytest

from shared.governance.regexes import LONGEST_BOUND, SHORTEST_BOUND, safe_pattern


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("^(?!internal@).*", "ada@example.com", True),
        ("^(?!internal@).*", "internal@example.com", False),
        ("(?i)drop|delete", "please DROP it", True),
        (r"[\w.+-]+@[\w-]+\.[\w.]+", "to ada@example.com", True),
        (r"^(GET|POST)$", "PUT", False),
        (r"(\d{3}-){2}\d{4}", "call 555-123-4567", True),
        ("(ab)*c", "ababc", True),
        ("^0x[0-9a-f]{40}$", "0x" + "a" * 40, True),
        ("(?<=a)b", "cb", False),
        ("a++b", "aab", True),
        ("(?>a+)b", "aab", True),
    ],
)
def test_ordinary_patterns_work(pattern: str, text: str, found: bool) -> None:
    """They are searched for anywhere in the text, as Python does."""
    assert safe_pattern(pattern).found_in(text) is found


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+$",
        "(a|aa)+$",
        "(a*)*",
        "((ab)*c)*",
        "(x{1,50}){2}",
        "(a?){30}",
        "a?" * 20 + "a" * 20,
        "(a|a)" * 30,
        "a*" * 8,
        ".*.*.*.*=",
        r"(a+)\1",
        "(?P<n>a)(?P=n)",
        "(a)?(?(1)b|c)",
        "(?:(?:(?:){9999}){9999}){9999}",
        "x{99999999999999999999}",
        "[",
        "(",
        "\\",
        "*",
        "",
        "x" * 201,
    ],
)
def test_patterns_that_may_take_long_or_are_none_are_refused(pattern: str) -> None:
    """With a reason that reads as the end of a sentence about the pattern."""
    with pytest.raises(ValueError, match=r"^(must|is no|can take)"):
        safe_pattern(pattern)


def test_a_pattern_is_tried_on_no_longer_text_than_it_can_bear() -> None:
    """Cheap patterns bear long texts, dear ones only what clients send; beyond that there is no verdict."""
    cheap, dear = safe_pattern("drop"), safe_pattern(".*a.*b.*c")
    assert (cheap.bound, dear.bound) == (LONGEST_BOUND, SHORTEST_BOUND)
    assert cheap.found_in("x" * LONGEST_BOUND) is False
    assert cheap.found_in("x" * (LONGEST_BOUND + 1)) is None
    assert dear.found_in("abc") is True
    assert dear.found_in("abc" * SHORTEST_BOUND) is None


def test_a_pattern_is_the_one_python_compiles() -> None:
    """The bound is judged, the matching is left to Python."""
    assert safe_pattern("a(?=b)").pattern == re.compile("a(?=b)")
