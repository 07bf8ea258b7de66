"""Which definitions a search means. Source: FlowRunner, flow search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.catalog.views import Definition


@dataclass(frozen=True, slots=True)
class Query:
    """Everything given must hold; of ``tags`` any. Texts are found without regard to case; empty ones ask for nothing.

    Times are epoch milliseconds, both ends included.
    """

    name_contains: str | None = None
    description_contains: str | None = None
    tags: Sequence[str] | None = None
    category: str | None = None
    status: str | None = None
    created_after: int | None = None
    created_before: int | None = None
    updated_after: int | None = None
    updated_before: int | None = None

    def matches(self, one: Definition) -> bool:
        """Whether the definition is meant."""
        return (
            _contains(one.name, self.name_contains)
            and _contains(one.description, self.description_contains)
            and (not self.tags or not set(self.tags).isdisjoint(one.tags))
            and self.category in (None, "", one.category)
            and self.status in (None, "", one.status)
            and _between(one.created_ms, self.created_after, self.created_before)
            and _between(one.updated_ms, self.updated_after, self.updated_before)
        )


def _contains(text: str, part: str | None) -> bool:
    return not part or part.casefold() in text.casefold()


def _between(moment: int, after: int | None, before: int | None) -> bool:
    return (after is None or moment >= after) and (before is None or moment <= before)
