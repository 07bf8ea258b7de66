"""What callers see of an execution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from shared.store.models.executions import Summary

LIVE = frozenset({"pending", "running", "waiting", "paused"})
"""States in which an execution can still do something."""


@dataclass(frozen=True, slots=True)
class ExecutionView:
    """One execution. ``status`` is the engine's own word; times are epoch milliseconds; ``result`` is raw."""

    id: str
    number: int
    kind: str
    definition_id: str
    definition_version: int
    account_id: str
    status: str
    started_ms: int
    ended_ms: int | None = None
    error: str | None = None
    error_node: str | None = None
    input: Any = None
    result: Any = None
    current_node: str | None = None

    @classmethod
    def of(cls, row: Summary, **more: Any) -> ExecutionView:
        """The view of a summary item."""
        return cls(
            id=row.execution_id, number=int(row.number), kind=row.kind, definition_id=row.definition_id,
            definition_version=int(row.definition_version), account_id=row.account_id, status=row.status,
            started_ms=int(row.started_ms), ended_ms=int(row.ended_ms) if row.ended_ms is not None else None,
            error=row.error, error_node=row.error_node, **more,
        )  # fmt: skip


Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """A slice of a list; ``total`` counts what the filter keeps before paging."""

    items: Sequence[Item]
    total: int
    limit: int
    offset: int
