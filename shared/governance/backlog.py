"""Orgs whose operations the relay could not hand on: a mark that is due, so that the sweep makes up for them.

    (nothing) ──a batch fails──▶ due in a minute ──the sweep hands on what is left──▶ (nothing)
                                    ▲        │
                                    └────────┘ some of it failed again, or there was more than fits one turn

Events are due themselves; operations are not, because every gate call would pay for it.
"""

from __future__ import annotations

from shared.governance.events import RELAYED_MS
from shared.kit import clock
from shared.kit.logging import logger
from shared.store.models.backlog import Backlog, backlog_pk
from shared.store.models.governance import due_shard
from shared.store.transaction import ConditionFailed, Transaction, put_if_absent, read, update_if

log = logger("outbox")

GIVEN_UP_MS = 24 * 3600 * 1000
"""When operations that are failed on again and again are left alone."""


def mark(org_id: str, since_ms: int) -> None:
    """Have the sweep look after the org's operations asked at ``since_ms`` or later."""
    due_ms = clock.now_ms() + RELAYED_MS
    while True:
        known = read(Backlog, backlog_pk(org_id), "backlog")
        if known is None:
            fresh = Backlog(
                backlog_pk(org_id), org_id=org_id, since_ms=since_ms, due_shard=due_shard(org_id), due_ms=due_ms
            )
            if put_if_absent(fresh):
                return
            continue
        # Its revision moves also where nothing else does: whoever is making up for it now may have looked already.
        actions = [
            Backlog.since_ms.set(min(since_ms, int(known.since_ms))), Backlog.revision.set(known.revision + 1),
        ]  # fmt: skip
        if update_if(known, actions, Backlog.revision == known.revision):
            return


def due(org_id: str) -> Backlog | None:
    """The org's mark if it is due."""
    known = read(Backlog, backlog_pk(org_id), "backlog")
    return None if known is None or known.due_ms > clock.now_ms() else known


def postpone(known: Backlog, delay_ms: int) -> None:
    """Come again later, unless that has been done for a day."""
    now = clock.now_ms()
    if now - int(known.since_ms) >= GIVEN_UP_MS:
        log.error("operations were never handed on", extra={"org_id": known.org_id, "since_ms": int(known.since_ms)})
        clear(known)
        return
    actions = [Backlog.due_ms.set(now + delay_ms), Backlog.revision.set(known.revision + 1)]
    update_if(known, actions, Backlog.revision == known.revision)


def clear(known: Backlog) -> None:
    """Everything was handed on; the mark stays if it was set again meanwhile."""
    try:
        Transaction().delete(known, Backlog.revision == known.revision).commit()
    except ConditionFailed:
        return
