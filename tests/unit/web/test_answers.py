from __future__ import annotations

import pytest

from shared.web.answers import fitting


@pytest.mark.parametrize(
    ("rows", "room", "kept"),
    [
        ([], 0, []),
        (["ab", "cd"], 10, ["ab", "cd"]),
        (["ab", "cd"], 9, ["ab"]),
        (["a" * 100, "b"], 10, ["a" * 100]),
        (["ü"], 5, ["ü"]),
        (["a", "b" * 50, "c"], 20, ["a"]),
    ],
)
def test_rows_that_fit(rows: list[str], room: int, kept: list[str]) -> None:
    """As many as the room holds with a comma each, in order and without gaps, and never none of some."""
    assert fitting(iter(rows), room) == kept
