"""Stopping what runs in an org that goes, and removing what ran."""

from __future__ import annotations

import contextlib
import re
from typing import Protocol

from shared.engine.views import LIVE, ExecutionView, Page
from shared.identity.deletion import Departure
from shared.identity.principal import Principal, system_principal
from shared.kit.errors import Conflict, NotFound
from shared.store.blobs import Blobs
from shared.store.models.executions import (
    Alias,
    ChildRecord,
    Control,
    ExecutionItem,
    Summary,
    alias_pk,
    execution_pk,
)
from shared.store.transaction import Transaction

_MANY = 1_000_000
_BATCH = 50


class Executions(Protocol):
    """The part of the engine that is needed."""

    def list(
        self, principal: Principal, *, statuses: frozenset[str] | None = None, limit: int, offset: int
    ) -> Page[ExecutionView]: ...

    def cancel(self, principal: Principal, execution_id: str) -> None: ...


def cancel_executions(engine: Executions, departure: Departure) -> None:
    """Cancel every live execution of the orgs whose data go. Harmless when called again."""
    for org_id in departure.org_ids:
        principal = system_principal(org_id, departure.account_id)
        # One look, because those that end meanwhile would move the rows of a second page.
        for view in engine.list(principal, statuses=LIVE, limit=_MANY, offset=0).items:
            # It may have ended by itself, or have been cancelled and not ended yet.
            with contextlib.suppress(Conflict, NotFound):
                engine.cancel(principal, view.id)


def forget_executions(blobs: Blobs, departure: Departure) -> None:
    """Remove every execution of the orgs whose data go. Harmless when called again.

    A worker that still holds one loses its lease with the control item, and appends nothing more.
    """
    for org_id in departure.org_ids:
        for row in list(Summary.by_org.query(org_id)):
            _forget(blobs, org_id, row)


def _forget(blobs: Blobs, org_id: str, row: Summary) -> None:
    pk = execution_pk(org_id, row.execution_id)
    Transaction().delete(Control(pk, "control")).commit()
    children = list(ChildRecord.query(pk, ChildRecord.sk.startswith("child#"), consistent_read=True))
    for child in children:
        child_pk = execution_pk(org_id, child.child_id)
        Transaction().delete(Control(child_pk, "control")).commit()
        _forget_items(blobs, child_pk)
        Transaction().delete(Summary(child_pk, "summary")).commit()
    _forget_items(blobs, pk)
    tx = Transaction().delete(Alias(alias_pk(org_id, int(row.number)), "alias"))
    tx.delete(Summary(pk, "summary")).commit()


def _forget_items(blobs: Blobs, pk: str) -> None:
    blob = re.compile(re.escape(f"{pk.replace('#', '/')}/") + "[0-9a-f-]{36}")
    # What lists it goes last, so that a removal cut short can be taken up again.
    items = [item for item in ExecutionItem.query(pk, consistent_read=True) if item.sk != "summary"]
    for item in items:
        for text in (item.facts, item.fact, item.blob):
            for key in set(blob.findall(text or "")):
                blobs.delete(key)
    for start in range(0, len(items), _BATCH):
        tx = Transaction()
        for item in items[start : start + _BATCH]:
            tx.delete(item)
        tx.commit()
