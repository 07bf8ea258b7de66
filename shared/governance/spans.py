"""In which execution a span began.

The SDK names on each report the execution it was given last. For what an outer function reports once an inner one is
over that is the inner one's; the span is still its own. So a span whose end did not come with its start leaves a
pointer. Source: NullRun docs, HTTP API, Track; docs/rulings.md#track-batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection

from shared.identity.principal import Principal
from shared.kit import clock
from shared.store.models.tracked import Tracked, tracked_pk
from shared.store.transaction import Transaction, read_each

KEPT_S = 24 * 3600
"""How long a span may last; after it no execution is bound any more."""

_SK = "span"


def add_beginning(tx: Transaction, principal: Principal, span_id: str, execution_id: str) -> None:
    """Remember, in a transaction, where a span of the key began."""
    now = clock.now_ms()
    pointer = Tracked(
        _pk(principal, span_id), _SK, org_id=principal.org_id, key_id=principal.key_id,
        workflow_id=principal.workflow_id, event_type=_SK, execution_id=execution_id, digest="", created_ms=now,
        ttl=now // 1000 + KEPT_S,
    )  # fmt: skip
    tx.put(pointer, label=f"span {span_id}")


def beginnings(principal: Principal, span_ids: Collection[str]) -> dict[str, str]:
    """The executions in which spans of the key began, as far as that was remembered; up to a hundred spans."""
    wanted = list(span_ids)
    found = read_each(*((Tracked, _pk(principal, span_id), _SK) for span_id in wanted))
    return {
        span_id: row.execution_id
        for span_id, row in zip(wanted, found, strict=True)
        if isinstance(row, Tracked) and row.execution_id is not None
    }


def _pk(principal: Principal, span_id: str) -> str:
    return tracked_pk(principal.org_id, hashlib.sha256(f"span\n{principal.key_id}\n{span_id}".encode()).hexdigest())
