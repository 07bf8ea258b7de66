"""Finding templates in text and in trees of parameters."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.engine.expressions import templates
from shared.engine.expressions.templates import (
    LONGEST_EXPRESSION,
    MOST_UNCLOSED,
    Expression,
    expression_end,
    found_in,
    parse,
    replace,
)


def shown(text: str) -> list[str]:
    """Segments as text, expressions between angle brackets."""
    return [f"<{one.source}>" if isinstance(one, Expression) else one for one in parse(text)]


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        ("", []),
        ("plain $5 {x} $x }", ["plain $5 {x} $x }"]),
        ("${a}", ["<a>"]),
        ("a${b}c${d}", ["a", "<b>", "c", "<d>"]),
        ("${{a: {b: 1}}}", ["<{a: {b: 1}}>"]),
        ("${'}'}x", ["<'}'>", "x"]),
        ('${"\\"}"}', ['<"\\"}">']),
        ("${`}${'}'}`}", ["<`}${'}'}`>"]),
        ("${`a ${`b ${c} }`} d`}!", ["<`a ${`b ${c} }`} d`>", "!"]),
        ("${a /* } */ + 1}", ["<a /* } */ + 1>"]),
        ("${a // }\n}", ["<a // }\n>"]),
        ("${x.replace(/[}/]'/g, '')}", ["<x.replace(/[}/]'/g, '')>"]),
        ("${x.split(/\\//)[0]}", ["<x.split(/\\//)[0]>"]),
        ("${a / 2} and '${b / c}'", ["<a / 2>", " and '", "<b / c>", "'"]),
        ("${(a) / 2 + '}'.length / 3}", ["<(a) / 2 + '}'.length / 3>"]),
        ("${typeof /}/}", ["<typeof /}/>"]),
        ("$${a}", ["$", "<a>"]),
        ("${", ["${"]),
        ("${a", ["${a"]),
        ("${it's} ${b}", ["${it's} ", "<b>"]),
        ("${}", ["<>"]),
        ("${`open}", ["${`open}"]),
        ("{{.name}} ${a}\n", ["{{.name}} ", "<a>", "\n"]),
    ],
)
def test_where_an_expression_ends(text: str, segments: list[str]) -> None:
    """The end is found by counting brackets outside strings, comments, regular expressions and template literals."""
    assert shown(text) == segments


@given(st.text(alphabet="${}'\"`/\\*[]( )a1\n", max_size=60))
def test_segments_put_together_are_the_text(text: str) -> None:
    """Whatever the text, nothing is lost or added, and no expression crosses its own end."""
    assert "".join("${" + one.source + "}" if isinstance(one, Expression) else one for one in parse(text)) == text


QUOTED = st.text(max_size=8).map(json.dumps)
NESTED = st.recursive(
    QUOTED | st.just("x") | st.just("1 / 2"),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: "[" + ", ".join(parts) + "]"),
        inner.map(lambda part: "{a: " + part + "}"),
        inner.map(lambda part: "`t} ${" + part + "} `"),
        inner.map(lambda part: "f(/[}`'\"]/, " + part + ") /* }'` */"),
    ),
    max_leaves=6,
)


@given(NESTED, st.text(alphabet="ab} '\"`", max_size=5))
def test_well_formed_expressions_are_found_whole(source: str, rest: str) -> None:
    """Any nesting of literals, strings, comments and regular expressions ends at its own bracket."""
    assert expression_end("${" + source + "}" + rest, 2) == 2 + len(source)


class Counted:
    """A pattern that counts how often it is matched."""

    steps = 0

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self._pattern = pattern

    def match(self, text: str, position: int) -> re.Match[str] | None:
        Counted.steps += 1
        return self._pattern.match(text, position)


@pytest.mark.parametrize("piece", ["${", "${{", "${`", "${/[", "${/*", "${'", "(/[", "/*"])
def test_hostile_text_costs_bounded_work(piece: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeated openings are looked at a fixed number of times, however long the text."""
    for name in ("_AFTER_VALUE", "_ELSEWHERE", "_LITERAL_TEXT"):
        monkeypatch.setattr(templates, name, Counted(getattr(templates, name)))
    Counted.steps = 0
    parse("${" + piece * 100_000)
    assert Counted.steps <= MOST_UNCLOSED * LONGEST_EXPRESSION


@pytest.mark.parametrize(("length", "expressions"), [(LONGEST_EXPRESSION - 1, 1), (LONGEST_EXPRESSION, 0)])
def test_an_end_too_far_away_is_none(length: int, expressions: int) -> None:
    """An expression longer than anybody writes is plain text."""
    found = parse("${" + "1" * length + "}")
    assert sum(isinstance(segment, Expression) for segment in found) == expressions


def test_scripts_are_never_expanded() -> None:
    """Scripts, hooks and conditions keep their own template literals; everything else is found at any depth."""
    params: dict[str, Any] = {
        "script": "`${a}`", "condition_script": "${b}", "processor_script": "${c}", "hooks": {"prep": "${d}"},
        "conditions": [{"condition": "${e}", "action": "${f}"}, "${g}"],
        "body": {"script": "${h}", "${i}": [["${j}"]], "not ${k}": 1}, "n": 5,
    }  # fmt: skip
    found = dict(found_in(params))
    assert found == {"${f}": False, "${g}": False, "${h}": False, "${i}": True, "${j}": False}
    done = replace(params, lambda text, is_key: text[2:-1].upper())
    assert done["body"] == {"script": "H", "I": [["J"]], "not ${k}": 1}
    assert done["conditions"] == [{"condition": "${e}", "action": "F"}, "G"]
    assert done["script"] == params["script"]
