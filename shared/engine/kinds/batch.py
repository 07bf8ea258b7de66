"""``batch``, ``async_batch`` and ``worker_pool``: lists on their way to nodes that work per element."""

from __future__ import annotations

from typing import ClassVar

from shared.engine.kinds.base import Call, Done, NodeKind, Outcome


class Batch(NodeKind):
    """The input if it is a list, otherwise an empty list; behind a batch modifier each element as it is."""

    name: ClassVar[str] = "batch"
    aliases: ClassVar[tuple[str, ...]] = ("async_batch", "worker_pool")
    description: ClassVar[str] = "Pass a list on; anything else becomes an empty list."

    def run(self, call: Call) -> Outcome:
        return Done(call.input if call.scope.has_item or isinstance(call.input, list) else [])
