"""New deliveries are handed over by the outbox as soon as the stream tells of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.governance.audit import Audit
from shared.governance.exports import Exports
from shared.governance.messages import mail_delivery
from shared.governance.outbox import Outbox
from shared.kit import ids
from shared.kit.errors import Unavailable
from shared.store.blobs import FolderBlobs
from shared.store.embedded import EmbeddedEngine
from shared.store.models.alerts import Delivery
from shared.store.transaction import put_if_absent
from tests.support.alerts import ORG


class Handed:
    """Whoever sends; ``error`` is raised once everything is noted."""

    def __init__(self, error: Exception | None = None) -> None:
        self.deliveries: list[tuple[str, str]] = []
        self.error = error

    def __call__(self, org_id: str, delivery_id: str) -> bool:
        self.deliveries.append((org_id, delivery_id))
        if self.error is not None:
            raise self.error
        return True


def put(org_id: str) -> str:
    delivery_id = ids.uuid7()
    put_if_absent(mail_delivery(org_id, delivery_id, "bo@example.com", subject="Hello", text="Come."))
    return delivery_id


@pytest.mark.parametrize("error", [None, Unavailable("away"), RuntimeError("a fault of ours")])
def test_what_is_new_is_handed_over_once(store: EmbeddedEngine, tmp_path: Path, error: Exception | None) -> None:
    """Of each org its own; a change of one is none; one that fails keeps nothing from coming and comes by the sweep."""
    handed = Handed(error)
    outbox = Outbox(Audit(), Exports(b"r" * 32, FolderBlobs(tmp_path), ""), deliver=handed)
    first, second = put(ORG), put("org-b")
    Delivery(f"{ORG}#deliveries", first).update(actions=[Delivery.attempts.set(1)])
    assert outbox.handle(store.stream.read(0)) == []
    assert handed.deliveries == [(ORG, first), ("org-b", second)]
