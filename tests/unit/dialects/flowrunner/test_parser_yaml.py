from __future__ import annotations

import math
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from shared.dialects.flowrunner import tree
from shared.dialects.flowrunner.scalars import resolve
from shared.dialects.flowrunner.values import plain
from shared.kit import json
from shared.kit.errors import Unprocessable


@pytest.fixture(params=["C", "pure"])
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both parsers in turn: the fast one, and the one for machines without it."""
    if request.param == "pure":
        monkeypatch.setattr(tree, "_LOADER", yaml.SafeLoader)
    elif not hasattr(yaml, "CSafeLoader"):
        pytest.skip("this machine has no fast parser")
    return str(request.param)


def loaded(text: str) -> Any:
    return plain(tree.parse(text))


def refused(text: str) -> str:
    with pytest.raises(Unprocessable) as caught:
        tree.parse(text)
    assert caught.value.details == {"field": "definition", "reason": caught.value.message}
    return caught.value.message


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("NULL", None),
        ("nUll", "nUll"),
        ("true", True),
        ("Yes", True),
        ("ON", True),
        ("false", False),
        ("no", False),
        ("Off", False),
        ("y", "y"),
        ("n", "n"),
        ("0", 0),
        ("42", 42),
        ("-7", -7),
        ("+5", 5),
        ("1_000", 1000),
        ("0x1F", 31),
        ("-0b101", -5),
        ("0o17", 15),
        ("9007199254740993", 9007199254740993),
        ("123456789012345678901234567890", 123456789012345678901234567890),
        ("1.5", 1.5),
        ("-.5", -0.5),
        ("1.", 1.0),
        ("1e3", 1000.0),
        ("2.5E-1", 0.25),
        ("1_0.5", 10.5),
        ("1e999", "1e999"),
        (".", "."),
        ("+", "+"),
        ("e5", "e5"),
        (".inf", ".inf"),
        ("-.INF", "-.INF"),
        (".nan", ".nan"),
        ("0755", "0755"),
        ("007", "007"),
        ("08", "08"),
        ("1:30", "1:30"),
        ("12:30:45", "12:30:45"),
        ("0xZZ", "0xZZ"),
        ("0b12", "0b12"),
        ("2026-01-31", "2026-01-31"),
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
        ("1.2.3", "1.2.3"),
        ("=", "="),
        ("9" * 64, int("9" * 64)),
        ("9" * 65, "9" * 65),
        ("9" * 5000, "9" * 5000),
        ("٣", "٣"),
        ("1٣", "1٣"),
    ],
)
def test_unquoted_scalars(written: str, value: Any) -> None:
    """Each becomes the JSON value its author means; what JSON or YAML's versions cannot agree on stays text."""
    found = resolve(written)
    assert found == value
    assert type(found) is type(value)


@given(st.text())
def test_scalars_are_always_json(written: str) -> None:
    """Whatever is written, the value can be stored."""
    value = resolve(written)
    assert not isinstance(value, float) or math.isfinite(value)
    assert json.loads(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (
            "{yes: 1, no: 2, on: 3, off: 4, true: 5, False: 6}",
            {"yes": 1, "no": 2, "on": 3, "off": 4, "true": 5, "False": 6},
        ),
        (
            "{1: a, 1.50: b, 0x10: c, ~: d, null: e, 2026-01-31: f, '': g}",
            {"1": "a", "1.50": "b", "0x10": "c", "~": "d", "null": "e", "2026-01-31": "f", "": "g"},
        ),
        (
            "{'quoted': '1', \"b\": \"true\", c: 'null', d: !!str 5, e: ! 6, f: !!int '7'}",
            {"quoted": "1", "b": "true", "c": "null", "d": "5", "e": "6", "f": 7},
        ),
        ("{a: !!float 8, b: !!null '', c: !!bool yes}", {"a": 8.0, "b": None, "c": True}),
        (
            "base: &b {x: 1, y: 2}\nmore:\n  <<: *b\n  y: 3\n  z: 4",
            {"base": {"x": 1, "y": 2}, "more": {"x": 1, "y": 3, "z": 4}},
        ),
        (
            "a: &a {x: 1}\nb: &b {x: 2, y: 2}\nc: {<<: [*a, *b], z: 3}",
            {"a": {"x": 1}, "b": {"x": 2, "y": 2}, "c": {"x": 1, "y": 2, "z": 3}},
        ),
        ("a: &a {x: 1}\nb:\n  <<: *a\n  <<: {y: 2}", {"a": {"x": 1}, "b": {"x": 1, "y": 2}}),
        ("'<<': 1", {"<<": 1}),
        ("k: &k name\nm: {*k : 1}\nl: [*k, *k]", {"k": "name", "m": {"name": 1}, "l": ["name", "name"]}),
        ("a: |\n  one\n  \ttwo\nb: >-\n  x\n  y", {"a": "one\n\ttwo\n", "b": "x y"}),
        ("\ufeffa: 1", {"a": 1}),
        ("%YAML 1.2\n---\na: 1\n...\n", {"a": 1}),
        ("a: ü€😀", {"a": "ü€😀"}),
        ('{"json": [1, 2.5, true, null, "\\u00e9"]}', {"json": [1, 2.5, True, None, "é"]}),
        ("a: !!map {b: !!seq [1]}", {"a": {"b": [1]}}),
    ],
)
def test_documents(loader: str, text: str, value: Any) -> None:
    """Keys are text as written, anchors and merge keys work, and order is the file's."""
    found = loaded(text)
    assert found == value
    assert json.dumps(found) == json.dumps(value)


def test_merged_keys_come_first() -> None:
    """The order of keys, which orders a split's branches, has merged ones before a mapping's own."""
    assert list(loaded("a: &a {x: 1, y: 1}\nb: {z: 1, <<: *a, y: 2}")["b"]) == ["x", "z", "y"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "The definition is empty"),
        ("# nothing\n", "The definition is empty"),
        ("a: 1\n---\nb: 2\n", "one YAML document, not several (line 2)"),
        ("a: 1\na: 2", "The key a is there twice (line 2)"),
        ("1: a\n'1': b", "The key 1 is there twice (line 2)"),
        ("deep:\n  list:\n    - {x: 1, x: 2}", "The key x is there twice (line 3)"),
        ("a:\n\t- b", "indented with a tab, YAML wants spaces (line 2)"),
        ("a: [1, 2", "not valid YAML"),
        ("a: b: c", "not valid YAML"),
        ("a: 'open", "not valid YAML"),
        ("a: *gone", "The alias *gone has no anchor before it (line 1)"),
        ("a: &a [1, *a]", "The alias *a stands inside what it refers to (line 1)"),
        ("a: &a {b: {<<: *a}}", "The alias *a stands inside what it refers to (line 1)"),
        ("a: !!python/object:os.system x", "The tag !!python/object:os.system is not allowed (line 1)"),
        ("a: !secret x", "The tag !secret is not allowed (line 1)"),
        ("a: !!binary aGk=", "The tag !!binary is not allowed (line 1)"),
        ("a: !!set {x}", "The tag !!set is not allowed (line 1)"),
        ("a: !!timestamp 2026-01-01", "The tag !!timestamp is not allowed (line 1)"),
        ("a: !!int five", "five is not what its tag !!int says (line 1)"),
        ("a: !!int true", "true is not what its tag !!int says (line 1)"),
        ("? [a, b]\n: 1", "A key must be text, not a list or a mapping (line 1)"),
        ("a: &a [1]\nb: {*a : 1}", "A key must be text, not a list or a mapping (line 2)"),
        ("a: {<<: 5}", "A merge key (<<) takes a mapping, or a list of mappings (line 1)"),
        ("a: {<<: [{b: 1}, 5]}", "A merge key (<<) takes a mapping, or a list of mappings (line 1)"),
        ("a: \x07", "not valid YAML"),
        ("a: \x00", "not valid YAML"),
        ("%YAML 3.0\n---\na: 1", "not valid YAML"),
        ("a: '\ud800'", "half of a surrogate pair"),
    ],
)
def test_refusals(loader: str, text: str, reason: str) -> None:
    """Each is the author's error, says why, and where that is known."""
    assert reason in refused(text)


def bomb(width: int, levels: int) -> str:
    """Every level refers to the one before it ``width`` times."""
    lines = ["l0: &l0 [x, x]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (bomb(9, 20), "values, aliases followed"),
        (
            "a: &a\n"
            + "".join(f"  k{n}: 1\n" for n in range(500))
            + "b:\n"
            + "".join(f"  m{n}: {{<<: *a}}\n" for n in range(500)),
            "values, aliases followed",
        ),
        (f"a: &a {'x' * 5000}\nb: [{'*a, ' * 500}]", "characters, aliases followed"),
        ("[" * 101 + "]" * 101, "nested more than 100 levels deep"),
        ("[" * 500_000, "nest"),
        ("{a: " * 200_000, "nested more than 100 levels deep"),
        ("- " * 500_000, "nested more than 100 levels deep"),
        (
            "l0: &l0 [1]\n" + "".join(f"l{n}: &l{n} [*l{n - 1}]\n" for n in range(1, 120)),
            "nested more than 100 levels deep",
        ),
        ("x: 1\n" * 100 + "".join(f"k{n}: 1\n" for n in range(60_000)), "The key x is there twice"),
        ("".join(f"k{n}: 1\n" for n in range(60_000)), "more than 100000 values"),
        ("".join(f"%TAG !{n}! x\n" for n in range(60_000)), "too many YAML directives"),
        ("\r".join(f"%TAG !{n}! x" for n in range(60_000)), "too many YAML directives"),
        ("x" * (1024 * 1024 + 1), "must have 1048576 bytes at most"),
        ("é" * 600_000, "must have 1048576 bytes at most"),
        ("a: |\n" + " x\n" * 1_700_000, "must have 1048576 bytes at most"),
    ],
)
def test_floods_are_refused(text: str, reason: str) -> None:
    """However much a short or long text would unfold to, the answer is a reason."""
    assert reason in refused(text)


def test_what_is_just_small_enough() -> None:
    """A text of the largest size, and nesting of the largest depth, are taken."""
    assert loaded("a: " + "x" * (tree.MAX_BYTES - 3))["a"].startswith("xxx")
    value = loaded("[" * 100 + "]" * 100)
    for _ in range(99):
        (value,) = value
    assert value == []


@given(st.text(alphabet=st.sampled_from("ab: -[]{},&*!|>'\"%#?\n\t<x1~"), max_size=60))
def test_any_text_is_a_value_or_a_reason(text: str) -> None:
    """No text breaks the parser in any other way."""
    try:
        value = loaded(text)
    except Unprocessable:
        return
    json.dumps(value)


@given(st.text(alphabet=st.sampled_from("ab: -[]{},&*'\"\n1~"), max_size=40))
def test_both_parsers_agree(text: str) -> None:
    """A machine without the fast parser takes the same texts and makes the same of them."""

    def outcome(loader: Any) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tree, "_LOADER", loader)
            try:
                return loaded(text)
            except Unprocessable:
                return "refused"

    assert outcome(getattr(yaml, "CSafeLoader", yaml.SafeLoader)) == outcome(yaml.SafeLoader)
