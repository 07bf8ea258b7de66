from __future__ import annotations

from shared.catalog.cache import ProgramCache
from shared.engine.ports import DefinitionRef
from shared.engine.program import Node, Program

PROGRAM = Program("d", "l", "n", "1", "a", {"a": Node("a", "base")})


def ref(name: str, org_id: str = "org") -> DefinitionRef:
    return DefinitionRef(org_id, name, 1)


def test_the_longest_unused_makes_room() -> None:
    """What was asked for last stays."""
    cache = ProgramCache(10)
    cache.put(ref("a"), PROGRAM, 4)
    cache.put(ref("b"), PROGRAM, 4)
    assert cache.get(ref("a")) is PROGRAM
    cache.put(ref("c"), PROGRAM, 4)
    assert [cache.get(ref(name)) for name in "abc"] == [PROGRAM, None, PROGRAM]


def test_one_that_is_too_large_is_not_kept() -> None:
    """It does not push the others out."""
    cache = ProgramCache(10)
    cache.put(ref("a"), PROGRAM, 4)
    cache.put(ref("b"), PROGRAM, 11)
    assert [cache.get(ref(name)) for name in "ab"] == [PROGRAM, None]


def test_twice_is_once() -> None:
    """A program put again takes no more room."""
    cache = ProgramCache(10)
    for _ in range(5):
        cache.put(ref("a"), PROGRAM, 4)
    cache.put(ref("b"), PROGRAM, 6)
    assert [cache.get(ref(name)) for name in "ab"] == [PROGRAM, PROGRAM]


def test_an_org_can_be_forgotten() -> None:
    """Its programs make room, others' stay."""
    cache = ProgramCache(10)
    cache.put(ref("a"), PROGRAM, 6)
    cache.put(ref("a", "other"), PROGRAM, 4)
    cache.forget("org")
    cache.put(ref("b", "other"), PROGRAM, 6)
    assert cache.get(ref("a")) is None
    assert [cache.get(ref(name, "other")) for name in "ab"] == [PROGRAM, PROGRAM]
