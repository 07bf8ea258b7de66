"""The waiting line that no tenant can fill."""

from __future__ import annotations

from shared.kit.fairness import FairQueue


def taken(queue: FairQueue[int]) -> list[tuple[str, int]]:
    """Everything that may begin now."""
    found = []
    while (one := queue.take()) is not None:
        found.append(one)
    return found


def test_one_key_gets_its_share_and_no_more() -> None:
    """In order; the rest follows as its items end."""
    queue: FairQueue[int] = FairQueue(2)
    for number in range(5):
        queue.put("a", number)
    assert taken(queue) == [("a", 0), ("a", 1)]
    queue.done("a")
    assert taken(queue) == [("a", 2)]
    queue.done("a")
    queue.done("a")
    assert taken(queue) == [("a", 3), ("a", 4)]


def test_whoever_comes_late_still_finds_room() -> None:
    """One key with a long line keeps nobody else waiting."""
    queue: FairQueue[int] = FairQueue(4)
    for number in range(100):
        queue.put("hog", number)
    assert len(taken(queue)) == 4
    for key in ("b", "c"):
        queue.put(key, 0)
        assert queue.take() == (key, 0)


def test_keys_take_turns() -> None:
    """A place that becomes free goes to the key that waits longest for a turn, not to the longest line."""
    queue: FairQueue[int] = FairQueue(1)
    for number in range(3):
        queue.put("a", number)
    queue.put("b", 0)
    assert taken(queue) == [("a", 0), ("b", 0)]
    queue.put("b", 1)
    queue.done("b")
    queue.done("a")
    assert taken(queue) == [("a", 1), ("b", 1)]


def test_what_waits_may_leave() -> None:
    """What has begun may not."""
    queue: FairQueue[int] = FairQueue(1)
    queue.put("a", 0)
    queue.put("a", 1)
    assert queue.take() == ("a", 0)
    assert not queue.leave("a", 0)
    assert queue.leave("a", 1) and not queue.leave("a", 1) and not queue.leave("b", 1)
    queue.done("a")
    assert queue.take() is None
