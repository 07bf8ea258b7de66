from __future__ import annotations

import pytest

from shared.catalog import Catalog, Metadata
from shared.engine.program import Node, Program
from shared.identity import Principal
from shared.kit.errors import NotFound, Unprocessable
from shared.store.embedded import EmbeddedEngine


class MemoryBlobs:
    """Blobs in a dictionary."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}

    def put(self, key: str, data: bytes) -> None:
        self.held[key] = data

    def get(self, key: str) -> bytes:
        try:
            return self.held[key]
        except KeyError:
            raise NotFound("The stored value is gone") from None

    def delete(self, key: str) -> None:
        self.held.pop(key, None)


class Lines:
    """A dialect whose first line is name, version and description; counts what it compiles."""

    def __init__(self) -> None:
        self.compiled = 0

    def compile(self, text: str) -> tuple[Metadata, Program]:
        self.compiled += 1
        first, _, rest = text.partition("\n")
        if first.count("|") != 2:
            raise Unprocessable.field("definition", "The first line must have three parts")
        name, version, description = first.split("|")
        node = Node("start", "base", params={"text": rest})
        return Metadata(name, description, version), Program("lines", "none", name, version, "start", {"start": node})


@pytest.fixture
def blobs() -> MemoryBlobs:
    return MemoryBlobs()


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def catalog(store: EmbeddedEngine, blobs: MemoryBlobs, lines: Lines) -> Catalog:
    """A catalog over the empty store."""
    return Catalog(blobs, {"flow": lines})


@pytest.fixture
def ada() -> Principal:
    return Principal(kind="session", org_id="org-a", account_id="ada", username="ada", role="owner")


@pytest.fixture
def bob() -> Principal:
    """Somebody of another org."""
    return Principal(kind="session", org_id="org-b", account_id="bob", username="bob", role="owner")
