"""Ids that follow from a moment and a name."""

from __future__ import annotations

import uuid

import pytest

from shared.kit import clock, ids
from tests.support.time import HeldClock

NOW = 1_767_225_600_000


def test_the_same_name_has_the_same_id() -> None:
    """Always; another moment, another name and other limits between its parts make another one."""
    made = ids.uuid7_of(NOW, "org", "job")
    assert made == ids.uuid7_of(NOW, "org", "job")
    others = [
        ids.uuid7_of(NOW + 1, "org", "job"),
        ids.uuid7_of(NOW, "org", "jobs"),
        ids.uuid7_of(NOW, "orgj", "ob"),
        ids.uuid7_of(NOW, "orgjob"),
        ids.uuid7_of(NOW, "org", "job", ""),
        ids.uuid7_of(NOW, "org", "\ud800"),
    ]
    assert len({made, *others}) == 7


@pytest.mark.parametrize("name", ["", "a", "b"])
def test_it_is_a_uuid_of_its_moment(name: str) -> None:
    """Version 7, sorted among the others by its millisecond."""
    made = uuid.UUID(ids.uuid7_of(NOW, name))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == NOW
    with clock.use(HeldClock(NOW - 1)), ids.use(ids.SeededSource(1)):
        before = ids.uuid7()
    with clock.use(HeldClock(NOW + 1)), ids.use(ids.SeededSource(1)):
        after = ids.uuid7()
    assert before < str(made) < after
