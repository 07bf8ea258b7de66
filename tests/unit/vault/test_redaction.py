from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.vault import Redactor

SECRET = 's3cr&t "quoted" é'


def test_every_form_a_secret_travels_in_is_taken_out() -> None:
    """Plain, in JSON text, in URLs and in Base64."""
    redactor = Redactor([SECRET])
    forms = (
        SECRET, json.dumps(SECRET)[1:-1], json.dumps(SECRET, ensure_ascii=False)[1:-1], quote(SECRET, safe=""),
        base64.b64encode(SECRET.encode()).decode(), base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("="),
    )  # fmt: skip
    for form in forms:
        text = redactor.text(f"before {form} after")
        assert form not in text
        assert text.startswith("before [redacted]")


@pytest.mark.parametrize("before", ["a:", "ab:", "abc:", "user@example.org:"])
@pytest.mark.parametrize("after", ["", "x", ":more"])
@pytest.mark.parametrize("secret", ["hunter22", "hunter22-", "hunter22-?", SECRET])
def test_a_secret_inside_base64(before: str, after: str, secret: str) -> None:
    """As in Basic authentication, wherever it begins; at most the bits that its neighbours share are left."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = Redactor([secret]).text(f"Basic {encode(f'{before}{secret}{after}'.encode()).decode()}")
        start, mark, end = text.removeprefix("Basic ").partition("[redacted]")
        assert mark, text
        assert len(start) < len(before.encode()) * 4 / 3 + 2
        assert len(end.rstrip("=")) < len(after.encode()) * 4 / 3 + 2


def test_a_secret_that_was_pasted_with_a_line_end() -> None:
    """It is used without the line end and taken out without it."""
    assert Redactor(["hunter22\n"]).text("Bearer hunter22, hunter22\n") == "Bearer [redacted], [redacted]"
    assert Redactor(["a \n"]).text("a b") == "a b"


def test_as_scripts_write_urls() -> None:
    """encodeURIComponent leaves marks alone that others encode."""
    assert Redactor(["it's (me)!"]).text("?k=it's%20(me)!") == "?k=[redacted]"


def test_json_is_searched_to_the_last_key() -> None:
    """Values, keys, lists and numbers that are a secret; the given value is not changed."""
    redactor = Redactor(["hunter22", "12345678"])
    value = {"a": ["x hunter22 y", {"hunter22": 1}], "n": 12345678, "b": True, "z": None, "f": 1.5}
    assert redactor.value(value) == {
        "a": ["x [redacted] y", {"[redacted]": 1}],
        "n": "[redacted]",
        "b": True,
        "z": None,
        "f": 1.5,
    }
    assert value["n"] == 12345678


def test_short_values_stay() -> None:
    """A value of three characters or less would blot out half of every text."""
    assert Redactor(["a", "abc", ""]).text("abc a") == "abc a"


def test_a_secret_inside_another_goes_with_it() -> None:
    """The longest match wins, so that no tail of a longer secret is left."""
    assert Redactor(["hunter", "hunter22-long"]).text("hunter22-long hunter") == "[redacted] [redacted]"


def test_without_secrets_nothing_changes() -> None:
    """The very same value comes back."""
    value = {"a": [1]}
    assert Redactor([]).value(value) is value


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.lists(st.text(min_size=4), min_size=1, max_size=3), _json)
def test_no_secret_is_left_anywhere(secrets: list[str], value: object) -> None:
    """Whatever the value and the secrets are, none of them is a text in the result, unless it is part of the mark."""
    redacted = Redactor(secrets).value([value, *secrets])

    def texts(item: object) -> list[str]:
        if isinstance(item, dict):
            return [*item, *(text for inner in item.values() for text in texts(inner))]
        if isinstance(item, list):
            return [text for inner in item for text in texts(inner)]
        return [item] if isinstance(item, str) else []

    for text in texts(redacted):
        for secret in secrets:
            assert secret not in text.replace("[redacted]", "\0")
