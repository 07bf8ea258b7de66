from __future__ import annotations

import threading
from typing import Any

import pytest

from shared.catalog import Catalog
from shared.engine.ports import DefinitionRef
from shared.identity import Departure, Principal
from shared.kit import clock
from shared.kit.errors import InvalidRequest, NotFound, Unavailable, Unprocessable
from shared.store.embedded import EmbeddedEngine
from tests.support.time import HeldClock
from tests.unit.catalog.conftest import Lines, MemoryBlobs

TEXT = "flow|1.0|from the text\n\tkörper \r\n"
ALL: dict[str, Any] = {"limit": 100, "offset": 0}


def items(store: EmbeddedEngine) -> list[Any]:
    found: list[Any] = store._make_api_call("Scan", {"TableName": "signalbox-catalog"})["Items"]
    return found


def text_of(program: Any) -> Any:
    return program.nodes["start"].params["text"]


def test_what_is_registered_comes_back(catalog: Catalog, ada: Principal) -> None:
    """With its text byte for byte, its first version and its program."""
    made = catalog.create(ada, "flow", "Mine", TEXT, tags=["b", "a"])
    found = catalog.get(ada, "flow", made.id)
    assert found == made
    assert found.text == TEXT
    assert (found.name, found.description, found.version, found.revision) == ("Mine", "from the text", "1.0", 1)
    assert (found.tags, found.account_id, found.category, found.status, found.custom) == (["b", "a"], "ada", "", "", {})
    assert found.created_ms == found.updated_ms
    assert text_of(catalog.program(DefinitionRef("org-a", made.id, 1))) == "\tkörper \r\n"


@pytest.mark.parametrize(("given", "kept"), [(None, "from the text"), ("", ""), ("own", "own")])
def test_the_text_describes_unless_the_caller_does(
    catalog: Catalog, ada: Principal, given: str | None, kept: str
) -> None:
    """An empty description is one."""
    assert catalog.create(ada, "flow", "n", TEXT, description=given).description == kept


@pytest.mark.parametrize("size", [99 * 1024, 100 * 1024 + 20, 900 * 1024])
def test_texts_of_any_size(catalog: Catalog, ada: Principal, blobs: MemoryBlobs, size: int) -> None:
    """Small ones beside the version, large ones as blobs; programs likewise."""
    text = "n|1|\n" + "ü" * (size // 2)
    made = catalog.create(ada, "flow", "n", text)
    assert catalog.get(ada, "flow", made.id).text == text
    assert text_of(Catalog(blobs, {}).program(DefinitionRef("org-a", made.id, 1))) == text[5:]
    assert len(blobs.held) == (2 if size > 100 * 1024 else 0)


def test_a_text_that_does_not_compile_leaves_nothing(catalog: Catalog, ada: Principal, store: EmbeddedEngine) -> None:
    """Neither at creation nor at a change."""
    with pytest.raises(Unprocessable):
        catalog.create(ada, "flow", "n", "no header")
    assert items(store) == []
    made = catalog.create(ada, "flow", "n", TEXT)
    with pytest.raises(Unprocessable):
        catalog.update(ada, "flow", made.id, name="new", text="no header")
    assert catalog.get(ada, "flow", made.id) == made


def test_the_same_id_makes_one_definition(catalog: Catalog, ada: Principal, blobs: MemoryBlobs) -> None:
    """A repeated request finds what the first one made; what the second stored is gone."""
    large = "n|1|\n" + "x" * 200_000
    first = catalog.create(ada, "flow", "one", large, definition_id="some-id")
    held = set(blobs.held)
    second = catalog.create(ada, "flow", "two", large, definition_id="some-id")
    assert second == first
    assert set(blobs.held) == held
    catalog.delete(ada, "flow", "some-id")
    with pytest.raises(NotFound):
        catalog.create(ada, "flow", "one", large, definition_id="some-id")
    assert set(blobs.held) == held


def test_changes_are_versions(catalog: Catalog, ada: Principal, lines: Lines) -> None:
    """A new text is a new version; the old one's program stays what it was. Other fields make no version."""
    with clock.use(HeldClock()):
        made = catalog.create(ada, "flow", "n", TEXT, tags=["a"])
        second = catalog.update(ada, "flow", made.id, text="n|2.0|other\nbody")
        third = catalog.update(ada, "flow", made.id, name="new", description="d", tags=[])
    assert (second.revision, second.version, second.description, second.tags) == (2, "2.0", "from the text", ["a"])
    assert (third.revision, third.name, third.description, third.tags) == (2, "new", "d", [])
    assert made.created_ms == second.created_ms == third.created_ms
    assert made.updated_ms < second.updated_ms < third.updated_ms
    assert catalog.get(ada, "flow", made.id).text == "n|2.0|other\nbody"
    assert made.text == TEXT
    assert text_of(catalog.program(DefinitionRef("org-a", made.id, 1))) == "\tkörper \r\n"
    assert text_of(catalog.program(DefinitionRef("org-a", made.id, 2))) == "body"
    assert lines.compiled == 2


def test_the_same_text_is_no_version(catalog: Catalog, ada: Principal, lines: Lines) -> None:
    """Storing what is there moves the time of the last change only, and compiles nothing."""
    with clock.use(HeldClock()):
        made = catalog.create(ada, "flow", "n", TEXT)
        same = catalog.update(ada, "flow", made.id, text=TEXT)
    assert (same.revision, same.version) == (1, "1.0")
    assert same.updated_ms > made.updated_ms
    assert lines.compiled == 1


def test_versions_are_listed(catalog: Catalog, ada: Principal) -> None:
    """Oldest first, page by page, with the author's own words."""
    made = catalog.create(ada, "flow", "n", "n|one|")
    for word in ("two", "three"):
        catalog.update(ada, "flow", made.id, text=f"n|{word}|")
    found = catalog.versions(ada, "flow", made.id, **ALL)
    assert [(row.revision, row.version, row.account_id) for row in found.items] == [
        (1, "one", "ada"),
        (2, "two", "ada"),
        (3, "three", "ada"),
    ]
    page = catalog.versions(ada, "flow", made.id, limit=1, offset=1)
    assert ([row.version for row in page.items], page.total) == (["two"], 3)


def test_lists(catalog: Catalog, ada: Principal, bob: Principal) -> None:
    """Oldest first; a definition made a moment ago is there; tags must be equal; totals are exact; orgs are apart."""
    made = [catalog.create(ada, "flow", "same name", TEXT, tags=tags).id for tags in ([], ["a"], ["a", "b"], ["ab"])]
    catalog.create(bob, "flow", "his", TEXT, tags=["a"])

    def listed(**more: Any) -> tuple[list[str], int]:
        page = catalog.list(ada, "flow", **(ALL | more))
        return [one.id for one in page.items], page.total

    assert listed() == (made, 4)
    assert listed(limit=2, offset=1) == (made[1:3], 4)
    assert listed(offset=9) == ([], 4)
    assert listed(tag="a") == (made[1:3], 2)
    assert listed(tag="a", limit=1, offset=1) == ([made[2]], 2)
    assert listed(tag="") == ([], 0)


SEARCHES: list[tuple[dict[str, Any], list[int]]] = [
    ({}, [0, 1, 2]),
    ({"name_contains": "NIGHT"}, [0, 1]),
    ({"name_contains": "straße"}, [2]),
    ({"name_contains": ""}, [0, 1, 2]),
    ({"name_contains": "nothing"}, []),
    ({"description_contains": "second"}, [1]),
    ({"tags": ["x", "z"]}, [0, 1]),
    ({"tags": []}, [0, 1, 2]),
    ({"tags": ["X"]}, []),
    ({"category": "reports"}, [0]),
    ({"category": ""}, [0, 1, 2]),
    ({"status": "live", "category": "reports"}, [0]),
    ({"status": "live", "category": "other"}, []),
    ({"created_after": 2_000}, [1, 2]),
    ({"created_before": 2_000}, [0, 1]),
    ({"created_after": 1_001, "created_before": 1_999}, []),
    ({"updated_after": 3_500}, [0]),
    ({"updated_before": 3_000}, [1, 2]),
    ({"name_contains": "night", "tags": ["x"], "created_before": 1_000}, [0]),
]


@pytest.mark.parametrize(("wanted", "found"), SEARCHES)
def test_searches(catalog: Catalog, ada: Principal, bob: Principal, wanted: dict[str, Any], found: list[int]) -> None:
    """Everything given must hold, of tags any; without regard to case; both ends of a time count."""
    rows = [("Nightly", "first", ["x"]), ("By night", "Second", ["y", "z"]), ("Hauptstrasse", "", [])]
    made = []
    for second, (name, description, tags) in enumerate(rows, start=1):
        with clock.use(HeldClock(second * 1000)):
            made.append(catalog.create(ada, "flow", name, TEXT, description=description, tags=tags).id)
    with clock.use(HeldClock(4_000)):
        catalog.metadata(ada, "flow", made[0], category="reports", status="live")
        catalog.create(bob, "flow", "Nightly", TEXT, tags=["x"])
    page = catalog.search(ada, "flow", **wanted, **ALL)
    assert [made.index(one.id) for one in page.items] == found
    assert page.total == len(found)


def test_metadata(catalog: Catalog, ada: Principal) -> None:
    """What is given replaces, custom is merged key by key, what is left out stays."""
    made = catalog.create(ada, "flow", "n", TEXT, tags=["a"])
    catalog.metadata(ada, "flow", made.id, category="c", custom={"x": 1, "y": {"deep": [1]}})
    catalog.metadata(ada, "flow", made.id, status="s", custom={"y": None, "z": 2})
    found = catalog.metadata(ada, "flow", made.id, tags=[])
    assert (found.category, found.status, found.tags) == ("c", "s", [])
    assert found.custom == {"x": 1, "y": None, "z": 2}
    assert found.revision == 1
    assert found.updated_ms > made.updated_ms
    assert catalog.get(ada, "flow", made.id) == found


def test_custom_metadata_have_a_limit(catalog: Catalog, ada: Principal) -> None:
    """In all, not per request."""
    made = catalog.create(ada, "flow", "n", TEXT)
    catalog.metadata(ada, "flow", made.id, custom={"a": "x" * 20_000})
    with pytest.raises(InvalidRequest):
        catalog.metadata(ada, "flow", made.id, custom={"b": "x" * 20_000})
    assert list(catalog.get(ada, "flow", made.id).custom) == ["a"]


def test_a_deleted_definition_is_gone_for_everything_but_its_executions(
    catalog: Catalog, ada: Principal, blobs: MemoryBlobs
) -> None:
    """Lists, searches and paths know it no more; every version's program still loads, in another process too."""
    made = catalog.create(ada, "flow", "n", TEXT)
    catalog.update(ada, "flow", made.id, text="n|2|\nbody")
    catalog.delete(ada, "flow", made.id)
    assert catalog.list(ada, "flow", **ALL).items == catalog.search(ada, "flow", **ALL).items == []
    for attempt in (
        lambda: catalog.get(ada, "flow", made.id),
        lambda: catalog.delete(ada, "flow", made.id),
        lambda: catalog.update(ada, "flow", made.id, name="x"),
        lambda: catalog.metadata(ada, "flow", made.id, category="x"),
        lambda: catalog.versions(ada, "flow", made.id, **ALL),
    ):
        with pytest.raises(NotFound):
            attempt()
    elsewhere = Catalog(blobs, {})
    assert text_of(elsewhere.program(DefinitionRef("org-a", made.id, 1))) == "\tkörper \r\n"
    assert text_of(elsewhere.program(DefinitionRef("org-a", made.id, 2))) == "body"


@pytest.mark.parametrize("wrong", ["missing", "", "x" * 3000, "a#b", "flow"])
def test_what_is_not_there(catalog: Catalog, ada: Principal, bob: Principal, wrong: str) -> None:
    """Unknown ids and other orgs' definitions are the same to a caller."""
    made = catalog.create(bob, "flow", "n", TEXT)
    for identity in (wrong, made.id):
        with pytest.raises(NotFound):
            catalog.get(ada, "flow", identity)
        with pytest.raises(NotFound):
            catalog.delete(ada, "flow", identity)
        with pytest.raises(NotFound):
            catalog.program(DefinitionRef("org-a", made.id, 1))
    with pytest.raises(NotFound):
        catalog.program(DefinitionRef("org-b", made.id, 2))
    assert catalog.get(bob, "flow", made.id) == made


def test_a_program_is_loaded_once(catalog: Catalog, ada: Principal, store: EmbeddedEngine, blobs: MemoryBlobs) -> None:
    """The second time it comes from this process, even when the store has lost it."""
    made = catalog.create(ada, "flow", "n", TEXT)
    ref = DefinitionRef("org-a", made.id, 1)
    program = catalog.program(ref)
    Catalog(blobs, {"flow": Lines()}).forget(Departure("ada", ("org-a",)))
    assert catalog.program(ref) is program
    catalog.forget(Departure("ada", ("org-a",)))
    with pytest.raises(NotFound):
        catalog.program(ref)


def test_a_departure_leaves_nothing(
    catalog: Catalog, ada: Principal, bob: Principal, store: EmbeddedEngine, blobs: MemoryBlobs
) -> None:
    """Definitions, deleted ones too, with every version and blob; other orgs keep theirs; again is harmless."""
    large = "n|1|\n" + "x" * 200_000
    kept = catalog.create(bob, "flow", "n", large)
    before, held = len(items(store)), set(blobs.held)
    for _ in range(2):
        made = catalog.create(ada, "flow", "n", large)
        catalog.update(ada, "flow", made.id, text=large + "x")
    catalog.delete(ada, "flow", made.id)
    for _ in range(2):
        catalog.forget(Departure("ada", ("org-a",)))
    assert len(items(store)) == before
    assert set(blobs.held) == held
    assert catalog.get(bob, "flow", kept.id).text == large


def together(count: int, work: Any) -> list[Any]:
    """What ``work`` of each number answered or raised, all at once."""
    results: list[Any] = [None] * count
    gate = threading.Barrier(count)

    def one(number: int) -> None:
        gate.wait()
        try:
            results[number] = work(number)
        except (NotFound, Unavailable) as error:
            results[number] = error

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_versions_side_by_side_lose_nothing(catalog: Catalog, ada: Principal) -> None:
    """Every change gets a number of its own, and other fields changed meanwhile stay changed."""
    made = catalog.create(ada, "flow", "n", TEXT)

    def change(number: int) -> int:
        if number % 2:
            return catalog.update(ada, "flow", made.id, text=f"n|v{number}|").revision
        return catalog.metadata(ada, "flow", made.id, custom={f"k{number}": number}).revision

    results = together(12, change)
    assert sorted(results[1::2]) == [2, 3, 4, 5, 6, 7]
    found = catalog.get(ada, "flow", made.id)
    assert found.custom == {f"k{number}": number for number in range(0, 12, 2)}
    assert [row.revision for row in catalog.versions(ada, "flow", made.id, **ALL).items] == list(range(1, 8))
    # A change of metadata answers the revision it found, so only those of texts say whose came last.
    winner = 1 + 2 * results[1::2].index(7)
    assert (found.version, found.text) == (f"v{winner}", f"n|v{winner}|")


def test_a_deletion_beside_changes_wins_or_comes_after(catalog: Catalog, ada: Principal, blobs: MemoryBlobs) -> None:
    """One deletion succeeds; no change brings the definition back; a change that lost leaves no blob behind."""
    large = "n|1|\n" + "x" * 200_000
    made = catalog.create(ada, "flow", "n", large)

    def change(number: int) -> Any:
        if number < 2:
            return catalog.delete(ada, "flow", made.id)
        return catalog.update(ada, "flow", made.id, text=f"{large}{number}").revision

    results = together(8, change)
    assert sum(result is None for result in results[:2]) == 1
    done = [result for result in results[2:] if isinstance(result, int)]
    assert catalog.list(ada, "flow", **ALL).total == 0
    assert len(blobs.held) == 2 * (1 + len(done))
