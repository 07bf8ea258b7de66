from __future__ import annotations

import base64
import hashlib
import hmac
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from shared.governance.channels import ChannelChanges
from shared.governance.deliveries import CLAIM_MS
from shared.governance.incidents import KINDS, NOTICES
from shared.governance.messages import mail_delivery
from shared.governance.notifications import CHOICES
from shared.kit import ids, json
from shared.kit.errors import Forbidden, NotFound
from shared.store.embedded import EmbeddedEngine
from shared.store.models.alerts import Delivery, deliveries_pk
from shared.store.transaction import put_if_absent, read
from tests.support.alerts import (
    ORG,
    System,
    crossing,
    event,
    join,
    member,
    refused,
    stored_alerts,
    stored_deliveries,
    workflow,
)
from tests.support.standin import Received, Reply, StandIn
from tests.support.time import HeldClock

ADMIN = member("admin")
SECRET = "s3cret of ours"
STANDARD = "whsec_" + base64.b64encode(b"thirty-two bytes of a key, yes!!").decode()


@dataclass
class Receiver:
    """Somebody else's server; ``replies`` are answered in turn, then 204."""

    replies: list[Reply] = field(default_factory=list)

    def __call__(self, received: Received) -> Reply:
        return self.replies.pop(0) if self.replies else Reply(status=204)


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def standin(receiver: Receiver) -> Iterator[StandIn]:
    with StandIn(receiver).serving() as server:
        yield server


@pytest.fixture
def system(store: EmbeddedEngine, held: HeldClock, tmp_path: Path) -> Iterator[System]:
    made = System(tmp_path, "127.0.0.1")
    workflow("support bot", "w1")
    yield made
    made.outbound.close()


def webhook(system: System, standin: StandIn, secret: str | None = SECRET, kind: str = "webhook") -> str:
    config = {"url": f"{standin.url}/hook?token=abc"} | ({} if secret is None else {"secret": secret})
    return system.channels.create(ADMIN, name="ops", channel_type=kind, config=config).id


def kill(system: System) -> None:
    system.alerts.follow(ORG, [event("workflow.killed", workflow_id="w1")])


def only() -> Delivery:
    (found,) = stored_deliveries()
    return found


def hex_mac(key: bytes, text: bytes) -> str:
    return hmac.new(key, text, hashlib.sha256).hexdigest()


# What is sent


@pytest.mark.parametrize(
    ("secret", "key"), [(SECRET, SECRET.encode()), (STANDARD, b"thirty-two bytes of a key, yes!!")]
)
def test_a_webhook_is_signed_twice(system: System, standin: StandIn, held: HeldClock, secret: str, key: bytes) -> None:
    """NullRun's is over time, nonce and body, keyed by the secret's text; Standard Webhooks' over id, time, body."""
    webhook(system, standin, secret)
    kill(system)
    assert system.deliver_all() == 1
    (got,) = standin.received
    stamp, nonce = got.headers["x-nullrun-timestamp"], got.headers["x-nullrun-nonce"]
    assert stamp == str(held.now_ms() // 1000) and len(nonce) >= 16
    assert got.headers["x-nullrun-signature"] == hex_mac(secret.encode(), f"{stamp}.{nonce}.".encode() + got.body)
    message_id = got.headers["webhook-id"]
    assert (message_id, got.headers["webhook-timestamp"]) == (only().delivery_id, stamp)
    digest = hmac.new(key, f"{message_id}.{stamp}.".encode() + got.body, hashlib.sha256).digest()
    assert got.headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()


def test_a_webhook_tells_the_alert(system: System, standin: StandIn) -> None:
    """JSON with the kind of message, when, which org, and the alert as the list shows it."""
    webhook(system, standin)
    system.alerts.follow(ORG, [crossing(80)])
    system.deliver_all()
    (got,), (alert,) = standin.received, stored_alerts()
    assert (got.method, got.path, got.query) == ("POST", "/hook", "token=abc")
    assert got.headers["content-type"] == "application/json"
    assert got.json == {
        "type": "alert.created", "timestamp": "2026-01-01T00:00:00.000Z", "organization_id": ORG,
        "data": {
            "id": alert.alert_id, "severity": "Warning", "category": "System", "incident_type": "budget_threshold",
            "title": "80% of budget used", "message": "support bot has used $40.10 of $50.00.", "workflow_id": "w1",
            "current_cents": 4010, "threshold_cents": 4000, "created_at": "2026-01-01T00:00:00.000Z",
        },
    }  # fmt: skip


def test_a_webhook_without_a_secret_is_not_signed(system: System, standin: StandIn) -> None:
    """It still tells which message it is and when it was sent."""
    webhook(system, standin, None)
    kill(system)
    system.deliver_all()
    (got,) = standin.received
    assert {"webhook-id", "webhook-timestamp", "x-nullrun-timestamp", "x-nullrun-nonce"} <= got.headers.keys()
    assert not {"webhook-signature", "x-nullrun-signature"} & got.headers.keys()


def test_slack_gets_text_without_mentions(system: System, standin: StandIn) -> None:
    """One text; a workflow's name cannot call a whole channel."""
    workflow("<!channel> & co", "w1")
    webhook(system, standin, None, "slack")
    kill(system)
    system.deliver_all()
    (got,) = standin.received
    assert got.json == {"text": "*Critical: Workflow killed*\nada killed &lt;!channel&gt; &amp; co."}


def test_an_email_channel_gets_mail(system: System) -> None:
    """Subject and text, to the channel's address."""
    system.channels.create(ADMIN, name="ops", channel_type="email", config={"email": "ops@example.com"})
    kill(system)
    system.deliver_all()
    assert system.mails.sent == [("ops@example.com", "Critical: Workflow killed", "ada killed support bot.")]


def test_plain_mail_is_sent(system: System) -> None:
    """Whatever others put, an invite for one, reaches its recipient."""
    put_if_absent(mail_delivery(ORG, ids.uuid7(), "bo@example.com", subject="Invitation", text="Come."))
    assert system.deliver_all() == 1
    assert system.mails.sent == [("bo@example.com", "Invitation", "Come.")]
    assert only().status == "delivered"


# Who hears of it


def test_members_hear_of_what_they_want(system: System) -> None:
    """Owners and admins get mail unless they switched it off or have no address; nobody else does."""
    join("owner", "ada", "ada@example.com")
    silent = join("admin", "cyd", "cyd@example.com")
    join("admin", "dee", "dee@local")
    join("operator", "eve", "eve@example.com")
    join("admin", "fay", "fay@example.com", deleting=True)
    join("owner", "bob", "bob@example.com", org_id="org-b")
    system.notifications.change(silent, {"notify_on_workflow_killed": False})
    kill(system)
    system.alerts.follow(ORG, [event("workflow.paused", workflow_id="w1"), refused("TOOL_BLOCKED")])
    system.deliver_all()
    assert sorted((to, subject) for to, subject, _ in system.mails.sent) == [
        ("ada@example.com", "Critical: Workflow killed"), ("ada@example.com", "Warning: Workflow paused"),
        ("cyd@example.com", "Warning: Workflow paused"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("action", "details", "text"),
    [
        ("workflow.resumed", {}, "ada resumed support bot."),
        ("workflow.created", {}, "ada made support bot."),
        ("approval.approved", {"tool": "refund", "note": None}, "ada approved refund of support bot."),
        ("approval.denied", {"tool": None, "note": "no"}, "ada denied an action of support bot."),
        ("policy.created", {"name": "cap"}, "ada made the policy cap."),
        ("policy.updated", {"name": "cap"}, "ada changed the policy cap."),
        ("policy.deleted", {"name": "cap"}, "ada deleted the policy cap."),
        ("member.joined", {"email": "bo@example.com"}, "bo@example.com has joined."),
        ("member.removed", {"email": "bo@example.com"}, "bo@example.com is no member any more."),
    ],
)
def test_members_hear_of_what_is_no_alert(
    system: System, standin: StandIn, action: str, details: dict[str, Any], text: str
) -> None:  # fmt: skip
    """By mail alone: no alert is listed and no channel hears of it. Twice is once."""
    webhook(system, standin)
    join("owner", "ada", "ada@example.com")
    told = event(action, workflow_id="w1", **details)
    for _ in range(2):
        system.alerts.follow(ORG, [told, told])
    system.deliver_all()
    assert [(to, body) for to, _, body in system.mails.sent] == [("ada@example.com", text)]
    assert (stored_alerts(), standin.received) == ([], [])


def test_each_notice_has_a_switch(system: System) -> None:
    """Whoever switched everything off gets no mail at all."""
    silent = join("owner", "ada", "ada@example.com")
    system.notifications.change(silent, dict.fromkeys(CHOICES, False))
    for action in (*KINDS, *NOTICES):
        system.alerts.follow(ORG, [event(action, workflow_id="w1")])
    system.alerts.follow(ORG, [crossing(80), crossing(100), refused("TOOL_BLOCKED")])
    assert stored_deliveries() == []


def test_a_kind_is_sent_once_in_15_minutes(system: System, standin: StandIn, held: HeldClock) -> None:
    """Further alerts of the kind are listed and not sent; the end of a budget is a kind of its own."""
    webhook(system, standin)
    kill(system)
    held.advance(15 * 60 - 1)
    kill(system)
    system.alerts.follow(ORG, [crossing(95), crossing(100), crossing(100, scope_id="w2")])
    system.deliver_all()
    sent = [got.json["data"]["incident_type"] for got in standin.received]
    assert sorted(sent) == ["budget_exhausted", "budget_threshold", "workflow_killed"]
    held.advance(1)
    kill(system)
    system.deliver_all()
    assert standin.received[-1].json["data"]["incident_type"] == "workflow_killed"
    assert (len(standin.received), len(stored_alerts())) == (4, 6)


def test_orgs_do_not_silence_each_other(system: System, standin: StandIn) -> None:
    """The pause is an org's own, and an alert goes to its own org's channels only."""
    webhook(system, standin)
    system.alerts.follow("org-b", [event("workflow.killed", org_id="org-b")])
    assert stored_deliveries() == stored_deliveries("org-b") == []
    kill(system)
    assert len(stored_deliveries()) == 1


def test_a_channel_that_is_off_gets_nothing(system: System, standin: StandIn) -> None:
    """Neither what comes now, nor what was on its way when it was switched off."""
    channel_id = webhook(system, standin)
    kill(system)
    system.channels.update(ADMIN, channel_id, ChannelChanges(enabled=False))
    system.alerts.follow(ORG, [event("workflow.paused", workflow_id="w1")])
    system.deliver_all()
    assert standin.received == []
    assert (only().status, only().last_error) == ("failed", "The channel is switched off")


def test_a_deleted_channel_gets_nothing(system: System, standin: StandIn) -> None:
    """What was on its way is given up at once."""
    channel_id = webhook(system, standin)
    kill(system)
    system.channels.delete(ADMIN, channel_id)
    system.deliver_all()
    assert standin.received == []
    assert (only().status, only().last_error) == ("failed", "The channel has been deleted")


# Trying again


def test_a_failure_is_tried_again(system: System, standin: StandIn, receiver: Receiver, held: HeldClock) -> None:
    """After 5 s, then after 60 s, as the same message with a fresh time and nonce; then it is delivered."""
    receiver.replies = [Reply(status=500, body=b"secret trace"), Reply(status=503)]
    channel_id = webhook(system, standin)
    kill(system)
    assert system.deliver_all() == 1
    assert (only().status, only().attempts, only().last_error) == ("pending", 1, "The receiver answered 500")
    assert system.channels.get(ADMIN, channel_id).last_error == "The receiver answered 500"
    held.advance(4.999)
    assert system.deliver_all() == 0
    held.advance(0.001)
    assert system.deliver_all() == 1
    held.advance(59.999)
    assert system.deliver_all() == 0
    held.advance(0.001)
    assert system.deliver_all() == 1
    assert (only().status, only().attempts) == ("delivered", 3)
    assert only().last_error is None and only().due_ms is None
    channel = system.channels.get(ADMIN, channel_id)
    assert channel.last_sent_ms == held.now_ms() and channel.last_error is None
    assert len({got.headers["webhook-id"] for got in standin.received}) == 1
    assert len({got.headers["x-nullrun-nonce"] for got in standin.received}) == 3
    assert len({got.body for got in standin.received}) == 1


def test_three_failures_are_the_end(system: System, standin: StandIn, receiver: Receiver, held: HeldClock) -> None:
    """Then it has failed, is due no more, and nothing is sent however often somebody looks."""
    receiver.replies = [Reply(status=500)] * 5
    webhook(system, standin)
    kill(system)
    for _ in range(5):
        system.deliver_all()
        held.advance(60)
    assert (only().status, only().attempts) == ("failed", 3)
    assert only().due_ms is None and only().due_shard is None
    assert len(standin.received) == 3


@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 410])
def test_only_2xx_is_success(system: System, standin: StandIn, receiver: Receiver, status: int) -> None:
    """A redirect is not followed, for it could lead anywhere; a refusal is a failure."""
    receiver.replies = [Reply(status=status, headers={"Location": f"{standin.url}/elsewhere"})]
    webhook(system, standin)
    kill(system)
    system.deliver_all()
    assert (only().status, only().last_error) == ("pending", f"The receiver answered {status}")
    assert [got.path for got in standin.received] == ["/hook"]


def test_what_may_not_be_called_is_given_up(system: System, standin: StandIn, tmp_path: Path) -> None:
    """An address that has become forbidden since the channel was made is refused, and not tried again."""
    webhook(system, standin)
    kill(system)
    strict = System(tmp_path)
    strict.deliver_all()
    strict.outbound.close()
    assert standin.received == []
    assert only().status == "failed" and "allow_hosts" in str(only().last_error)
    assert "token=abc" not in str(only().last_error)


def test_a_broken_mail_server_is_tried_again(system: System, held: HeldClock) -> None:
    """The reason is kept, and the mail arrives once the server is back."""
    put_if_absent(mail_delivery(ORG, ids.uuid7(), "bo@example.com", subject="Invitation", text="Come."))
    system.mails.broken = True
    system.deliver_all()
    assert (only().status, only().last_error) == ("pending", "the mail server is away")
    system.mails.broken = False
    held.advance(5)
    system.deliver_all()
    assert (only().status, len(system.mails.sent)) == ("delivered", 1)


def test_a_fault_of_ours_shows_no_detail(system: System) -> None:
    """Whatever breaks inside is a failed attempt with a plain sentence, and is tried again."""
    put_if_absent(mail_delivery(ORG, ids.uuid7(), "bo@example.com", subject="Invitation", text="Come."))
    record = only()
    record.update(actions=[Delivery.payload.set(json.dumps({"text": "no subject"}))])
    assert system.deliver_all() == 1
    assert (only().status, only().last_error) == (
        "pending", "The message could not be sent; the server's log says why"
    )  # fmt: skip


# Once


def test_many_senders_send_once(system: System, standin: StandIn) -> None:
    """Relay and sweep, in several processes, claim a delivery one after the other; one of them sends."""
    webhook(system, standin)
    kill(system)
    delivery_id, barrier, done = only().delivery_id, threading.Barrier(8), []

    def deliver() -> None:
        barrier.wait()
        done.append(system.deliveries.deliver(ORG, delivery_id))

    threads = [threading.Thread(target=deliver) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [False] * 7 + [True]
    assert len(standin.received) == 1
    assert (only().status, only().attempts) == ("delivered", 1)


def _claimed(attempts: int, held: HeldClock) -> None:
    """A process claimed the delivery and died."""
    only().update(actions=[Delivery.attempts.set(attempts), Delivery.due_ms.set(held.now_ms() + CLAIM_MS)])


def test_a_sender_that_died_is_replaced(system: System, standin: StandIn, held: HeldClock) -> None:
    """Its claim ends after a minute; then the next attempt is made."""
    webhook(system, standin)
    kill(system)
    _claimed(1, held)
    assert system.deliver_all() == 0
    held.advance(CLAIM_MS / 1000)
    assert system.deliver_all() == 1
    assert (only().status, only().attempts) == ("delivered", 2)


def test_a_sender_that_died_in_the_last_attempt_ends_it(system: System, standin: StandIn, held: HeldClock) -> None:
    """It may have been sent; a fourth attempt is not made."""
    webhook(system, standin)
    kill(system)
    _claimed(3, held)
    held.advance(CLAIM_MS / 1000)
    assert system.deliver_all() == 0
    assert (only().status, standin.received) == ("failed", [])


@pytest.mark.parametrize("delivery_id", ["nonsense", "0d7c3a10-6f3f-4b0e-9a55-3f1f0f7c2b11"])
def test_what_is_not_there_is_not_sent(system: System, delivery_id: str) -> None:
    """A hint about a delivery that is gone is harmless."""
    assert system.deliveries.deliver(ORG, delivery_id) is False


# Testing a channel


def test_a_test_is_sent_at_once(system: System, standin: StandIn) -> None:
    """Once, signed like any message, also when the channel is off; the relay leaves it alone."""
    channel_id = webhook(system, standin)
    system.channels.update(ADMIN, channel_id, ChannelChanges(enabled=False))
    shown = system.deliveries.test(ADMIN, channel_id)
    assert (shown.status, shown.attempts, shown.last_error, shown.next_attempt_ms) == ("delivered", 1, None, None)
    assert system.deliver_all() == 0
    (got,) = standin.received
    assert (got.json["type"], got.headers["webhook-id"]) == ("alert.test", shown.id)
    assert "x-nullrun-signature" in got.headers


def test_a_test_fails_at_once(system: System, standin: StandIn, receiver: Receiver, held: HeldClock) -> None:
    """Its answer says why, and nobody tries again."""
    receiver.replies = [Reply(status=500)]
    shown = system.deliveries.test(ADMIN, webhook(system, standin))
    assert (shown.status, shown.last_error) == ("failed", "The receiver answered 500")
    held.advance(600)
    assert system.deliver_all() == 0
    assert len(standin.received) == 1


def test_a_test_needs_an_admin_and_a_channel(system: System, standin: StandIn) -> None:
    """Nobody else can make us call out."""
    channel_id = webhook(system, standin)
    attempts: list[tuple[type[Exception], Callable[[], object]]] = [
        (Forbidden, lambda: system.deliveries.test(member("operator"), channel_id)),
        (NotFound, lambda: system.deliveries.test(ADMIN, ids.uuid4())),
        (NotFound, lambda: system.deliveries.test(member("owner", org_id="org-b"), channel_id)),
    ]
    for error, act in attempts:
        with pytest.raises(error):
            act()
    assert standin.received == []


# Looking


def test_deliveries_of_a_channel(system: System, standin: StandIn, held: HeldClock) -> None:
    """The newest first, those of other channels left out, without what was sent."""
    mine, other = webhook(system, standin), webhook(system, standin)
    kill(system)
    held.advance(1000)
    kill(system)
    shown = system.deliveries.of_channel(member("viewer"), mine, limit=10)
    assert len(shown) == 2 and {row.channel_id for row in shown} == {mine}
    assert shown[0].created_ms > shown[1].created_ms
    assert shown[0].next_attempt_ms == shown[0].created_ms
    assert len(system.deliveries.of_channel(member("viewer"), other, limit=1)) == 1
    held.advance(30 * 24 * 3600)
    assert system.deliveries.of_channel(member("viewer"), mine, limit=10) == []
    with pytest.raises(NotFound):
        system.deliveries.of_channel(member("viewer", org_id="org-b"), mine, limit=10)


def test_a_delivery_is_due_from_the_start(system: System, standin: StandIn, held: HeldClock) -> None:
    """The sweep's index has it until it is settled, so nothing is lost when the relay is."""
    webhook(system, standin)
    kill(system)
    found = read(Delivery, deliveries_pk(ORG), only().delivery_id)
    assert found is not None and (found.kind, found.due_ms) == ("delivery", held.now_ms())
    assert found.due_shard is not None
