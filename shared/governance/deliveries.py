"""Deliveries: one message on its way to one receiver.

             announce, mail                claim: attempts + 1, due again after CLAIM_MS
    (nothing) ─────────────▶ pending ─────────────────────────────────────────▶ being sent
                             due now ◀──── not taken: due after the backoff ────    │   │
                                                                    taken: delivered   no attempt left: failed

Every move is one conditional write on the number of attempts. The relay sends at once what is new; the sweep takes up
what is due again, and what a process was sending when it died.
Source: NullRun docs, HTTP API, Alert channels; docs/rulings.md#alert-channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pynamodb.expressions.update import Action

from shared.governance.channels import AlertChannels, channels
from shared.governance.incidents import SETTINGS, WINDOW_MS
from shared.governance.messages import new_delivery
from shared.governance.notifications import Notifications
from shared.governance.senders import NotSent, Senders
from shared.identity.principal import Principal
from shared.kit import clock, ids, json
from shared.kit.logging import logger
from shared.store.models.alerts import (
    Alert,
    AlertChannel,
    AlertPause,
    Delivery,
    alert_channels_pk,
    alert_pauses_pk,
    deliveries_pk,
)
from shared.store.transaction import ConditionFailed, Transaction, put_if_absent, read, update_if

log = logger("deliveries")

BACKOFF_MS = (5_000, 60_000)
"""How long after a failed attempt the next one is due."""

CLAIM_MS = 60_000
"""After how long an attempt whose end was not recorded is repeated."""

_LOOKED_AT = 1_000
_REASON_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class DeliveryView:
    """A delivery as it is shown. Times in epoch milliseconds."""

    id: str
    channel_id: str | None
    alert_id: str | None
    status: str
    attempts: int
    last_error: str | None
    next_attempt_ms: int | None
    created_ms: int

    @classmethod
    def of(cls, record: Delivery) -> DeliveryView:
        """The view of a stored delivery."""
        due = int(record.due_ms) if record.status == "pending" and record.due_ms is not None else None
        return cls(
            record.delivery_id, record.channel_id, record.alert_id, record.status, int(record.attempts),
            record.last_error, due, int(record.created_ms),
        )  # fmt: skip


class Deliveries:
    """Makes deliveries and sends them."""

    def __init__(self, channels: AlertChannels, notifications: Notifications, senders: Senders) -> None:
        self._channels = channels
        self._notifications = notifications
        self._senders = senders

    # Making

    def announce(self, alert: Alert) -> None:
        """Put a delivery for each enabled channel and each member who wants mail of such an alert. Twice is harmless.

        Of each kind of incident one alert in 15 minutes is sent; the others are only listed.
        """
        if not _may_be_sent(alert):
            return
        moment, payload = int(alert.created_ms), _payload(alert)
        for channel in channels(alert.org_id):
            if channel.enabled:
                delivery_id = ids.uuid7_of(moment, alert.alert_id, "channel", channel.channel_id)
                put_if_absent(
                    new_delivery(
                        alert.org_id, delivery_id, payload, channel_id=channel.channel_id, alert_id=alert.alert_id
                    )
                )
        self._mail_members(alert, payload)

    def notify(self, notice: Alert) -> None:
        """Mail what is no alert to each member who wants to hear of such. Twice is harmless."""
        if _may_be_sent(notice):
            self._mail_members(notice, _payload(notice))

    def _mail_members(self, alert: Alert, payload: Mapping[str, Any]) -> None:
        choice = SETTINGS.get(alert.incident_type)
        told = {} if choice is None else self._notifications.addresses(alert.org_id, choice)
        mail = {name: payload[name] for name in ("subject", "text")}
        for account_id, address in told.items():
            delivery_id = ids.uuid7_of(int(alert.created_ms), alert.alert_id, "account", account_id)
            put_if_absent(new_delivery(alert.org_id, delivery_id, mail, recipient=address, alert_id=alert.alert_id))

    def test(self, principal: Principal, channel_id: str) -> DeliveryView:
        """Send a test message to a channel, enabled or not, once. Raises Forbidden, NotFound."""
        principal.require_role("admin")
        channel = self._channels.get(principal, channel_id)
        now = clock.now_ms()
        record = new_delivery(
            principal.org_id, ids.uuid7(), _test_payload(channel, now), channel_id=channel.channel_id, most_attempts=1
        )
        # Claimed from the start: the relay, which sees it at once, leaves it to us.
        record.attempts, record.due_ms = 1, now + CLAIM_MS
        put_if_absent(record)
        self._attempt(record)
        return DeliveryView.of(read(Delivery, record.pk, record.sk) or record)

    # Looking

    def of_channel(self, principal: Principal, channel_id: str, *, limit: int) -> Sequence[DeliveryView]:
        """The newest deliveries of a channel. Raises NotFound."""
        channel = self._channels.get(principal, channel_id)
        rows = Delivery.query(
            deliveries_pk(principal.org_id), scan_index_forward=False, limit=_LOOKED_AT, consistent_read=True
        )
        now = clock.now_ms()
        mine = (row for row in rows if row.channel_id == channel.channel_id and not row.is_expired(now))
        return [DeliveryView.of(row) for row in islice(mine, limit)]

    # Sending

    def deliver(self, org_id: str, delivery_id: str) -> bool:
        """Send a delivery that is due; whether this call did. Early, late or twice is harmless."""
        record = read(Delivery, deliveries_pk(org_id), delivery_id)
        if record is None or record.status != "pending" or record.due_ms is None or record.due_ms > clock.now_ms():
            return False
        if record.attempts >= record.most_attempts:
            # The process that made the last attempt died before it could say how that ended.
            _settle(record, "failed", "The last attempt did not come to an end")
            return False
        seen, record.attempts = int(record.attempts), int(record.attempts) + 1
        claim = [Delivery.attempts.set(record.attempts), Delivery.due_ms.set(clock.now_ms() + CLAIM_MS)]
        if not update_if(record, claim, (Delivery.attempts == seen) & (Delivery.status == "pending")):
            return False
        self._attempt(record)
        return True

    def _attempt(self, record: Delivery) -> None:
        """Send a claimed delivery and write down how that went."""
        failure = self._failure(record)
        if record.channel_id is not None:
            _note(record, failure)
        if failure is None:
            _settle(record, "delivered", None)
        elif failure.final or record.attempts >= record.most_attempts:
            _settle(record, "failed", failure.reason)
        else:
            _settle(record, "pending", failure.reason)

    def _failure(self, record: Delivery) -> NotSent | None:
        try:
            self._send(record, json.loads(record.payload))
        except NotSent as failure:
            return NotSent(failure.reason[:_REASON_CHARACTERS], final=failure.final)
        except Exception:
            log.exception("delivery not sent", extra={"org_id": record.org_id, "delivery_id": record.delivery_id})
            return NotSent("The message could not be sent; the server's log says why")
        return None

    def _send(self, record: Delivery, payload: Mapping[str, Any]) -> None:
        if record.channel_id is None:
            self._senders.to_person(str(record.recipient), payload)
            return
        channel = read(AlertChannel, alert_channels_pk(record.org_id), record.channel_id)
        if channel is None:
            raise NotSent("The channel has been deleted", final=True)
        if not channel.enabled and record.alert_id is not None:
            raise NotSent("The channel is switched off", final=True)
        config = self._channels.config(channel)
        self._senders.to_channel(channel.channel_type, config, record.delivery_id, payload)


def _may_be_sent(alert: Alert) -> bool:
    """Whether no other alert of the kind was sent in the 15 minutes before; the answer stays the same."""
    pause = AlertPause(
        alert_pauses_pk(alert.org_id), alert.incident_type, alert_id=alert.alert_id, since_ms=alert.created_ms
    )
    over = AlertPause.since_ms <= int(alert.created_ms) - WINDOW_MS
    free = AlertPause.pk.does_not_exist() | over | (AlertPause.alert_id == alert.alert_id)
    try:
        Transaction().put(pause, free).commit()
    except ConditionFailed:
        return False
    return True


def _settle(record: Delivery, status: str, reason: str | None) -> None:
    """Write down how an attempt went, unless the delivery was taken up again meanwhile."""
    actions: list[Action] = [Delivery.status.set(status)]
    actions.append(Delivery.last_error.remove() if reason is None else Delivery.last_error.set(reason))
    if status == "pending":
        actions.append(Delivery.due_ms.set(clock.now_ms() + BACKOFF_MS[int(record.attempts) - 1]))
    else:
        actions += [Delivery.due_ms.remove(), Delivery.due_shard.remove()]
        if record.channel_id is None:
            # A mail may carry what opens something, an invite's token for one; it is not kept when it is not needed.
            actions.append(Delivery.payload.set("{}"))
    update_if(record, actions, (Delivery.attempts == record.attempts) & (Delivery.status == "pending"))


def _note(record: Delivery, failure: NotSent | None) -> None:
    """Show at the channel how the latest message went."""
    channel = AlertChannel(alert_channels_pk(record.org_id), record.channel_id)
    if failure is None:
        actions = [AlertChannel.last_sent_ms.set(clock.now_ms()), AlertChannel.last_error.remove()]
    else:
        actions = [AlertChannel.last_error.set(failure.reason)]
    update_if(channel, actions, AlertChannel.pk.exists())


def _payload(alert: Alert) -> dict[str, Any]:
    told: Iterable[str] = ("severity", "category", "incident_type", "title", "message", "workflow_id")
    data = {name: getattr(alert, name) for name in told}
    money = {name: _whole(getattr(alert, name)) for name in ("current_cents", "threshold_cents")}
    moment = clock.rfc3339(int(alert.created_ms))
    event = {
        "type": "alert.created",
        "timestamp": moment,
        "organization_id": alert.org_id,
        "data": {"id": alert.alert_id, **data, **money, "created_at": moment},
    }
    return {"subject": f"{alert.severity}: {alert.title}", "text": alert.message, "event": event}


def _test_payload(channel: AlertChannel, now: int) -> dict[str, Any]:
    text = f"This is a test of the alert channel {channel.name}."
    event = {
        "type": "alert.test",
        "timestamp": clock.rfc3339(now),
        "organization_id": channel.org_id,
        "data": {"channel_id": channel.channel_id, "message": text},
    }
    return {"subject": "Test of an alert channel", "text": text, "event": event}


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)
