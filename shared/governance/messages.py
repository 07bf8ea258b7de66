"""Messages as they are put: whoever has something to tell writes one into the transaction of what it tells of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.kit import clock, json
from shared.store.models.alerts import Delivery, deliveries_pk
from shared.store.models.governance import due_shard

MOST_ATTEMPTS = 3
"""How often a message is tried."""

KEPT_S = 30 * 24 * 3600
"""How long a delivery is kept."""


def mail_delivery(org_id: str, delivery_id: str, recipient: str, *, subject: str, text: str) -> Delivery:
    """A mail to a person, to be put into the transaction of what it tells of; it is due at once.

    A ``subject`` may have names of people and orgs in it; whatever ends a line there becomes a space.
    """
    return new_delivery(org_id, delivery_id, {"subject": " ".join(subject.split()), "text": text}, recipient=recipient)


def new_delivery(
    org_id: str, delivery_id: str, payload: Mapping[str, Any], *, channel_id: str | None = None,
    recipient: str | None = None, alert_id: str | None = None, most_attempts: int = MOST_ATTEMPTS,
) -> Delivery:  # fmt: skip
    """A message to an alert channel, or to a person, that is due at once; not stored yet."""
    now = clock.now_ms()
    return Delivery(
        deliveries_pk(org_id), delivery_id, org_id=org_id, delivery_id=delivery_id, channel_id=channel_id,
        recipient=recipient, payload=json.dumps(payload), status="pending", alert_id=alert_id,
        most_attempts=most_attempts, created_ms=now, due_shard=due_shard(org_id), due_ms=now,
        ttl=now // 1000 + KEPT_S,
    )  # fmt: skip
