"""Parts of lists. Source: docs/rulings.md#nullrun-lists."""

from __future__ import annotations

import pytest

from shared.governance.pages import part_of


@pytest.mark.parametrize(
    ("limit", "cursor", "shown", "more"),
    [
        (2, None, ["a", "b"], True),
        (4, None, ["a", "b", "c", "d"], False),
        (9, None, ["a", "b", "c", "d"], False),
        (2, "b", ["c", "d"], False),
        (1, "b", ["c"], True),
        (2, "bb", ["c", "d"], False),
        (2, "d", [], False),
        (2, "z", [], False),
    ],
)
def test_part_of(limit: int, cursor: str | None, shown: list[str], more: bool) -> None:
    """What follows the cursor, whether or not the item it named is still there; the total is of the whole list."""
    part = part_of(["a", "b", "c", "d"], limit, cursor, lambda item: item)
    assert (part.items, part.keys, part.total, part.more) == (shown, shown, 4, more)


def test_other_items_in_their_place() -> None:
    """Rows made of the items keep the keys, and so the cursor."""
    part = part_of(["a", "b", "c"], 2, None, lambda item: item).of([1, 2])
    assert (part.items, part.keys, part.total, part.more) == ([1, 2], ["a", "b"], 3, True)
