"""What callers see of definitions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Definition:
    """A definition at its newest version. Times are epoch milliseconds; ``revision`` counts versions from 1.

    ``version`` is its author's word for that version, ``account_id`` who made the definition.
    """

    id: str
    name: str
    description: str
    version: str
    revision: int
    created_ms: int
    updated_ms: int
    account_id: str
    tags: Sequence[str] = ()
    category: str = ""
    status: str = ""
    custom: Mapping[str, Any] = field(default_factory=dict)
    load: Callable[[], str] = field(default=str, repr=False, compare=False)

    @property
    def text(self) -> str:
        """The text of that version as it was received; read when asked for. Raises NotFound when it is gone."""
        return self.load()


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a definition; ``revision`` counts from 1, ``created_ms`` is epoch milliseconds."""

    revision: int
    version: str
    created_ms: int
    account_id: str


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """A slice of a list; ``total`` counts all of it."""

    items: Sequence[Item]
    total: int
    limit: int
    offset: int


def page_of(items: Sequence[Item], limit: int, offset: int) -> Page[Item]:
    """The slice of a whole list."""
    return Page(items[offset : offset + limit], len(items), limit, offset)
