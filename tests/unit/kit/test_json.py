"""JSON as it goes over the wire and into the store."""

from __future__ import annotations

import pytest

from shared.kit import json


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "-Infinity", "1e999", '{"a": -1e999}', "", "{", "[1] 2"])
def test_what_is_no_json_is_refused(text: str) -> None:
    """Also what would come in as a number and could not go out again."""
    with pytest.raises(ValueError):
        json.loads(text)


@pytest.mark.parametrize(
    "text", ["1e308", "-1.5", "0.1", "1e-400", "123456789012345678901234567890", "-0.0", '"\\ud800"']
)
def test_numbers_and_texts_come_back(text: str) -> None:
    """What was read can be written, and reads as the same value."""
    value = json.loads(text)
    assert json.loads(json.dumpb(value)) == value


def test_half_a_surrogate_pair_is_written_as_its_escape() -> None:
    """As text and as bytes alike; such a text is no Unicode, a whole pair is."""
    assert json.dumps({"a": "\ud800é"}) == '{"a":"\\ud800é"}' == json.dumpb({"a": "\ud800é"}).decode()
    assert not json.is_unicode(["\ud800"])
    assert json.is_unicode(json.loads('"\\ud83d\\ude00"'))
