"""Alert channels over HTTP. Source: NullRun docs, HTTP API, Alert channels."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.composition import Services
from shared.governance.channels import MOST_CHANNELS
from shared.kit import ids
from tests.support.alerts import event, stored_deliveries
from tests.support.deployment import Person, deployment, sign_up
from tests.support.governance import Governed
from tests.support.orgs import made, ok, org_path
from tests.support.standin import StandIn
from tests.support.time import HeldClock
from tests.unit.functions.alerts.conftest import send

ROW = {"id", "name", "channel_type", "config", "enabled", "last_sent_at", "last_error", "created_at"}
NEW = {
    "name": "ops", "channel_type": "webhook", "config": {"url": "https://hooks.example.com/x?token=abc", "secret": "s3"}
}  # fmt: skip
MAIL = {"name": "mail", "channel_type": "email", "config": {"email": "ops@example.com"}}


@pytest.fixture
def path(ada: Person) -> str:
    return org_path(ada, "/alert-channels")


@pytest.fixture
def channel(ada: Person, path: str) -> dict[str, Any]:
    return made(send("POST", path, ada, NEW))


# Making and looking


def test_create_201(ada: Person, alan: Person, path: str) -> None:
    """The documented fields; the path of the URL and the secret are shown to nobody, not even at once."""
    answer = send("POST", path, alan, NEW)
    body = made(answer)
    assert body.keys() == ROW
    assert (body["name"], body["channel_type"], body["enabled"]) == ("ops", "webhook", True)
    assert body["config"] == {"url": "https://hooks.example.com/…", "secret": "***"}
    assert body["last_sent_at"] is None and body["last_error"] is None
    assert b"token=abc" not in answer.raw and b"s3" not in answer.raw
    assert ok(send("GET", path, ada)) == {"alert_channels": [body], "total": 1, "next_cursor": None}


def test_create_accepts_type(ada: Person, path: str) -> None:
    """Its short name, and a channel that is off."""
    body = made(send("POST", path, ada, {"name": "m", "type": "email", "config": MAIL["config"], "enabled": False}))
    assert (body["channel_type"], body["config"], body["enabled"]) == ("email", {"email": "ops@example.com"}, False)


def test_create_is_idempotent(ada: Person, path: str) -> None:
    """A repeated key makes one channel."""
    headers = ada.headers | {"Idempotency-Key": "k"}
    assert send("POST", path, headers, MAIL).body == send("POST", path, headers, MAIL).body
    assert ok(send("GET", path, ada))["total"] == 1


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"name": "\\ud800"}'])
def test_create_400(ada: Person, path: str, raw: bytes) -> None:
    """No JSON object."""
    assert send("POST", path, ada, raw=raw).status == 400


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"), ({"name": None}, "name"), ({"name": 5}, "name"), ({"name": "x" * 81}, "name"),
        ({"channel_type": "pager"}, "channel_type"), ({"channel_type": None}, "channel_type"),
        ({"config": None}, "config"), ({"config": []}, "config"), ({"config": {}}, "config.url"),
        ({"config": {"url": "http://hooks.example.com/x"}}, "config.url"),
        ({"config": {"url": "https://10.0.0.1/x"}}, "config.url"), ({"config": {"url": -1}}, "config.url"),
        ({"config": {"url": "https://hooks.example.com/x", "secret": {}}}, "config.secret"),
        ({"channel_type": "email", "config": {"email": "nobody"}}, "config.email"), ({"enabled": "yes"}, "enabled"),
        ({"enabled": 1e400}, None),
    ],
)  # fmt: skip
def test_create_422(ada: Person, path: str, change: dict[str, Any], field: str | None) -> None:
    """The field is named, and what would be right; nothing is made."""
    answer = send("POST", path, ada, NEW | change)
    if field is None:
        # Infinity is no JSON at all.
        assert answer.status == 400
    else:
        assert (answer.status, answer.body["error"]) == (422, "validation_error")
        assert list(answer.body["details"]["fields"]) == [field]
    assert ok(send("GET", path, ada))["total"] == 0


@pytest.mark.parametrize(("plan", "status"), [("lite", 403), ("starter", 201)])
def test_a_plan_without_alerts_403(tmp_path: Path, plan: str, status: int) -> None:
    """Where plans are enforced, the lowest has no channels; whoever may not make one learns nothing of the plan."""
    with deployment(tmp_path, plan_enforcement=True, default_plan=plan):
        ada = sign_up("ada")
        answer = send("POST", org_path(ada, "/alert-channels"), ada, MAIL)
        assert answer.status == status
        assert answer.body.get("error") == ("plan_feature_missing" if status == 403 else None)


def test_create_409(ada: Person, path: str) -> None:
    """Each alert goes to every channel, so there is an end to them."""
    for _ in range(MOST_CHANNELS):
        made(send("POST", path, ada, MAIL))
    answer = send("POST", path, ada, MAIL)
    assert (answer.status, answer.body["error"]) == (409, "conflict")


def test_list_200(ada: Person, vic: Person, key: dict[str, str], path: str) -> None:
    """Oldest first, in parts, for members and keys alike."""
    names = [made(send("POST", path, ada, MAIL | {"name": name}))["name"] for name in "abc"]
    first = ok(send("GET", f"{path}?limit=2", vic))
    second = ok(send("GET", f"{path}?limit=2&cursor={first['next_cursor']}", key))
    assert [row["name"] for row in first["alert_channels"] + second["alert_channels"]] == names
    assert (first["total"], second["next_cursor"]) == (3, None)


@pytest.mark.parametrize("query", ["limit=0", "limit=1e3", "cursor=%20"])
def test_list_400(ada: Person, path: str, query: str) -> None:
    """Bad paging."""
    assert send("GET", f"{path}?{query}", ada).status == 400


# Changing


def test_update_200(services: Services, ada: Person, alan: Person, path: str, channel: dict[str, Any]) -> None:
    """What is left out or sent as its mask stays, the secret included."""
    one = f"{path}/{channel['id']}"
    assert ok(send("PATCH", one, alan, {})) == channel
    changed = ok(send("PATCH", one, alan, {"name": "night", "enabled": False, "config": channel["config"]}))
    assert changed == channel | {"name": "night", "enabled": False}
    moved = ok(send("PATCH", one, ada, {"config": {"url": "https://other.example.com/y"}}))
    assert moved["config"] == {"url": "https://other.example.com/…", "secret": "***"}
    channels = services.governance.alert_channels
    (record,) = channels.list(principal_of(services, ada), limit=2).items
    whole = channels.config(channels.get(principal_of(services, ada), record.id))
    assert whole == {"url": "https://other.example.com/y", "secret": "s3"}


def principal_of(services: Services, who: Person) -> Any:
    return services.identity.authenticator.authenticate(who.headers["authorization"])


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": ""}, 422), ({"config": {"url": "http://hooks.example.com/"}}, 422), ({"config": "x"}, 422),
        ({"enabled": "no"}, 422), ({"config": {"secret": ""}}, 422), ([], 400),
    ],
)  # fmt: skip
def test_update_400_and_422(ada: Person, path: str, channel: dict[str, Any], body: Any, status: int) -> None:
    """The channel stays as it was."""
    assert send("PATCH", f"{path}/{channel['id']}", ada, body).status == status
    assert ok(send("GET", path, ada))["alert_channels"] == [channel]


def test_delete_204(ada: Person, path: str, channel: dict[str, Any]) -> None:
    """Gone, and a second time not found."""
    answer = send("DELETE", f"{path}/{channel['id']}", ada)
    assert (answer.status, answer.raw) == (204, b"")
    assert send("DELETE", f"{path}/{channel['id']}", ada).status == 404
    assert ok(send("GET", path, ada))["total"] == 0


@pytest.mark.parametrize(
    ("method", "rest", "body"),
    [("PATCH", "", {"name": ""}), ("DELETE", "", None), ("POST", "/test", None), ("GET", "/deliveries?limit=x", None)],
)
def test_404(
    ada: Person, bob: Person, path: str, channel: dict[str, Any], method: str, rest: str, body: Any
) -> None:  # fmt: skip
    """Unknown and foreign channels, before anything that is wrong with the request."""
    theirs = org_path(bob, "/alert-channels")
    for who, one in ((ada, f"{path}/{ids.uuid4()}"), (ada, f"{path}/nonsense"), (bob, f"{theirs}/{channel['id']}")):
        answer = send(method, one + rest, who, body)
        assert (answer.status, answer.body["error"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "rest", "body"),
    [("POST", "", {}), ("PATCH", "/c", {"name": ""}), ("DELETE", "/c", None), ("POST", "/c/test", None)],
)
def test_403(
    olga: Person, vic: Person, key: dict[str, str], path: str, method: str, rest: str, body: Any
) -> None:  # fmt: skip
    """Operators, viewers and keys change nothing, and learn nothing of what is wrong with their request."""
    for who in (olga, vic, key):
        assert send(method, path + rest, who, body).status == 403


@pytest.mark.parametrize(("method", "rest"), [("POST", ""), ("PATCH", "/c")])
def test_413(ada: Person, path: str, channel: dict[str, Any], method: str, rest: str) -> None:
    """A body beyond the limit."""
    rest = rest.replace("c", channel["id"])
    assert send(method, path + rest, ada, raw=b"x" * (4 * 1024 * 1024 + 1)).status == 413


def test_503(ada: Person, path: str, channel: dict[str, Any], unwritable: Callable[[], None]) -> None:
    """The store is away; nothing was sent or changed."""
    unwritable()
    one = f"{path}/{channel['id']}"
    sent = [
        send("POST", path, ada, MAIL), send("PATCH", one, ada, {"name": "x"}), send("DELETE", one, ada),
        send("POST", f"{one}/test", ada),
    ]  # fmt: skip
    assert [answer.status for answer in sent] == [503] * 4


# Sending


def test_test_200(ada: Person, path: str, receiver: StandIn) -> None:
    """The message arrives, signed; the answer and the channel say so."""
    config = {"url": f"{receiver.url}/hook", "secret": "s3"}
    one = f"{path}/{made(send('POST', path, ada, NEW | {'config': config}))['id']}"
    body = ok(send("POST", f"{one}/test", ada))
    assert (body["status"], body["attempts"], body["last_error"], body["next_attempt_at"]) == (
        "delivered",
        1,
        None,
        None,
    )
    (got,) = receiver.received
    headers = got.headers
    signed = f"{headers['x-nullrun-timestamp']}.{headers['x-nullrun-nonce']}.".encode() + got.body
    assert headers["x-nullrun-signature"] == hmac.new(b"s3", signed, hashlib.sha256).hexdigest()
    (shown,) = ok(send("GET", path, ada))["alert_channels"]
    assert shown["last_sent_at"] is not None and shown["last_error"] is None
    assert ok(send("GET", f"{one}/deliveries", ada)) == {"deliveries": [body], "total": 1}


def test_a_test_that_fails_200(ada: Person, vic: Person, path: str, receiver: StandIn) -> None:
    """The answer says why; the channel shows it."""
    one = f"{path}/{made(send('POST', path, ada, NEW | {'config': {'url': f'{receiver.url}/broken'}}))['id']}"
    body = ok(send("POST", f"{one}/test", ada))
    assert (body["status"], body["last_error"]) == ("failed", "The receiver answered 500")
    (shown,) = ok(send("GET", path, vic))["alert_channels"]
    assert (shown["last_sent_at"], shown["last_error"]) == (None, "The receiver answered 500")


def test_deliveries_400(ada: Person, path: str, channel: dict[str, Any]) -> None:
    """A bad limit."""
    assert send("GET", f"{path}/{channel['id']}/deliveries?limit=0", ada).status == 400


class Inline:
    """Messengers that need no thread."""

    def submit(self, org_id: str, work: Callable[[], None]) -> None:
        work()

    def close(self) -> None:
        """There is nothing to end."""


def test_an_alert_reaches_its_channel(
    services: Services, ada: Person, bot: Governed, path: str, receiver: StandIn
) -> None:  # fmt: skip
    """From the change stream alone: the event makes the alert, the alert its delivery, the delivery is sent."""
    services.__dict__["messengers"] = Inline()
    made(send("POST", path, ada, NEW | {"config": {"url": f"{receiver.url}/hook"}}))
    event("workflow.killed", org_id=ada.org_id, workflow_id=bot.workflow_id).save()
    assert services.store is not None
    stream, seen = services.store.stream, 0
    for _ in range(2):
        # The stream is read again from its beginning, as after a crash.
        seen = 0
        while records := stream.read(seen):
            assert services.relay.handle(records) == []
            seen = records[-1].sequence
    told = sorted(got.json["data"]["incident_type"] for got in receiver.received)
    assert told == ["key_created", "workflow_killed"]
    sent = [row for row in stored_deliveries(ada.org_id) if row.channel_id]
    assert [(row.status, row.attempts) for row in sent] == [("delivered", 1)] * 2


def test_the_sweep_tries_again(
    held: HeldClock, services: Services, ada: Person, bot: Governed, path: str, receiver: StandIn
) -> None:  # fmt: skip
    """What was not taken is due again after its backoff, found by the due index alone."""
    services.__dict__["messengers"] = Inline()
    made(send("POST", path, ada, NEW | {"config": {"url": f"{receiver.url}/broken"}}))
    killed = event("workflow.killed", org_id=ada.org_id, workflow_id=bot.workflow_id)
    services.governance.alerts.follow(ada.org_id, [killed])

    def attempts() -> list[tuple[str, float]]:
        rows = [row for row in stored_deliveries(ada.org_id) if row.channel_id and "workflow_killed" in row.payload]
        return [(row.status, row.attempts) for row in rows]

    services.governance.sweep.run()
    assert attempts() == [("pending", 1)]
    services.governance.sweep.run()
    assert attempts() == [("pending", 1)]
    for seconds, expected in ((5, ("pending", 2)), (60, ("failed", 3)), (600, ("failed", 3))):
        held.advance(seconds)
        services.governance.sweep.run()
        assert attempts() == [expected]
    assert sum(got.json["data"]["incident_type"] == "workflow_killed" for got in receiver.received) == 3
