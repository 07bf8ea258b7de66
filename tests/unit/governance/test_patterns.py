"""Tool patterns. Source: NullRun docs, Policies, Tool patterns."""

from __future__ import annotations

import pytest

from shared.governance.patterns import (
    LONGEST_PATTERN,
    InvalidGlob,
    PatternTooLong,
    checked_pattern,
    compile_pattern,
    first_match,
)
from shared.kit.errors import InvalidRequest

TABLE = [
    ("bash", "bash", True),
    ("bash", "BASH", True),
    ("BaSh", "bash", True),
    ("bash", "bash2", False),
    ("bash", "abash", False),
    ("bash", "", False),
    ("*", "anything", True),
    ("*", "", True),
    ("db.*", "db.drop", True),
    ("db.*", "db.", True),
    ("db.*", "db", True),
    ("db.*", "dbx", False),
    ("db.*", "mydb.drop", False),
    ("db*", "db", True),
    ("*.db.*", "my.db", True),
    ("*.db.*", "db", False),
    (".*", ".x", True),
    (".*", "", False),
    ("*drop", "db.drop", True),
    ("*drop", "db.drops", False),
    ("a*b*c", "abc", True),
    ("a*b*c", "a__b__c", True),
    ("a*b*c", "acb", False),
    ("a*b*b", "ab", False),
    ("a*b*b", "abb", True),
    ("*a*", "bab", True),
    ("a**b", "ab", True),
    ("a**b", "axxb", True),
    ("ab*ba", "aba", False),
    ("ab*ba", "abba", True),
    ("bash|sh", "sh", True),
    ("bash|sh", "bash", True),
    ("bash|sh", "bash|sh", False),
    ("db.*|fs.*", "fs", True),
    ("mcp://server/*", "mcp://server/tool", True),
    ("mcp://server/*", "mcp://other/tool", False),
    ("custom:name", "Custom:Name", True),
    ("a.c", "abc", False),
    ("a+", "aa", False),
    ("^a$", "a", False),
    ("(a)", "a", False),
    ("a\\*", "a*", False),
    ("straße", "STRASSE", True),
]


@pytest.mark.parametrize(("pattern", "name", "expected"), TABLE)
def test_what_a_pattern_is_about(pattern: str, name: str, expected: bool) -> None:
    """The star is any run, bars part alternatives, ``a.*`` is also ``a``; case never counts, the whole name does."""
    assert compile_pattern(pattern).matches(name) is expected


def test_a_hostile_pattern_takes_no_longer_than_its_length() -> None:
    """What makes a regular expression go back and forth for ever is answered after one look."""
    assert not compile_pattern("a*" * 2000 + "b").matches("a" * 4096)
    assert compile_pattern("a*" * 2000 + "b").matches("a" * 4095 + "b")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", InvalidGlob),
        ("a||b", InvalidGlob),
        ("|", InvalidGlob),
        ("a\nb", InvalidGlob),
        ("a\x7fb", InvalidGlob),
        ("a\x85b", InvalidGlob),
        ("a?", InvalidGlob),
        ("[ab]", InvalidGlob),
        ("{a,b}", InvalidGlob),
        ("a" * (LONGEST_PATTERN + 1), PatternTooLong),
        ("é" * (LONGEST_PATTERN // 2 + 1), PatternTooLong),
    ],
)
def test_a_pattern_that_would_not_do_what_it_seems_to_is_refused(text: str, error: type[InvalidRequest]) -> None:
    """Empty alternatives, control characters, signs of other pattern languages and too many bytes."""
    with pytest.raises(error) as caught:
        checked_pattern(text)
    assert caught.value.status == 400


@pytest.mark.parametrize("text", ["bash", "a**b", "a" * LONGEST_PATTERN, "mcp://s/*|x"])
def test_a_pattern_is_kept_as_it_was_written(text: str) -> None:
    """What is accepted keeps its text."""
    assert checked_pattern(text).text == text


def test_the_first_tool_that_is_concerned_is_told_with_its_pattern() -> None:
    """Tools count in their order, then patterns in theirs; the name is told as it came."""
    patterns = [compile_pattern("db.*"), compile_pattern("*.drop"), compile_pattern("bash")]
    assert first_match(patterns, ["ls", "X.Drop", "db.x"]) == ("*.drop", "X.Drop")
    assert first_match(patterns, ["DB.drop"]) == ("db.*", "DB.drop")
    assert first_match(patterns, ["ls"]) is None
    assert first_match(patterns, []) is None
    assert first_match([], ["ls"]) is None
