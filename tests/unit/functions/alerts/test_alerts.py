"""Alerts and notification settings over HTTP. Source: NullRun docs, HTTP API, Alerts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shared.composition import Services
from shared.governance.notifications import CHOICES
from tests.support.alerts import crossing, event, refused
from tests.support.deployment import Person
from tests.support.governance import Governed
from tests.support.orgs import ok, org_path
from tests.unit.functions.alerts.conftest import send

ROW = {
    "id", "severity", "category", "incident_type", "title", "message", "workflow_id", "workflow_name", "current_cents",
    "threshold_cents", "dismissed", "snoozed_until", "created_at",
}  # fmt: skip


@pytest.fixture
def alerts(services: Services, ada: Person, bot: Governed) -> str:
    """The path of three alerts: a kill, a blocked tool, and four fifths of a budget."""
    causes = [
        event("workflow.killed", org_id=ada.org_id, workflow_id=bot.workflow_id),
        refused("TOOL_BLOCKED", org_id=ada.org_id, workflow_id=bot.workflow_id),
        crossing(80, scope_id=bot.workflow_id),
    ]
    services.governance.alerts.follow(ada.org_id, causes)
    return org_path(ada, "/alerts")


def kinds(body: dict[str, Any]) -> set[str]:
    return {row["incident_type"] for row in body["data"]}


def test_list_200(alerts: str, ada: Person, vic: Person, key: dict[str, str], bot: Governed) -> None:
    """The documented fields and counts, the same for every member and for a key of the org."""
    body = ok(send("GET", alerts, ada))
    assert all(row.keys() == ROW for row in body["data"])
    assert body["meta"] == {
        "total": 3, "critical_count": 1, "warning_count": 2, "info_count": 0, "next_cursor": None
    }  # fmt: skip
    (told,) = (row for row in body["data"] if row["incident_type"] == "budget_threshold")
    assert (told["severity"], told["category"], told["title"]) == ("Warning", "System", "80% of budget used")
    assert told["message"] == "support bot has used $40.10 of $50.00."
    assert (told["current_cents"], told["threshold_cents"], told["dismissed"]) == (4010, 4000, False)
    assert (told["workflow_id"], told["workflow_name"]) == (bot.workflow_id, "support bot")
    for who in (vic, key, {"authorization": f"Bearer {bot.key}"}):
        assert send("GET", alerts, who).body == body


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("category=prevented", {"tool_blocked"}),
        ("category=Prevented", {"tool_blocked"}),
        ("category=system", {"workflow_killed", "budget_threshold"}),
        ("severity=Critical", {"workflow_killed"}),
        ("severity=warning&category=system", {"budget_threshold"}),
        ("severity=info", set()),
        ("status=active", {"tool_blocked", "workflow_killed", "budget_threshold"}),
        ("status=dismissed", set()),
        ("status=all&limit=1", None),
    ],
)
def test_list_filters(alerts: str, ada: Person, query: str, expected: set[str] | None) -> None:
    """By category, severity and status, in any case; in parts."""
    body = ok(send("GET", f"{alerts}?{query}", ada))
    if expected is None:
        assert len(body["data"]) == 1 and body["meta"]["total"] == 3
        following = ok(send("GET", f"{alerts}?{query}&cursor={body['meta']['next_cursor']}", ada))
        assert len(following["data"]) == 1 and following["data"] != body["data"]
    else:
        assert kinds(body) == expected


@pytest.mark.parametrize(
    "query",
    ["category=money", "category=", "severity=high", "status=open", "limit=0", "limit=x", "cursor=x", "cursor=%00"],
)
def test_list_400(ada: Person, query: str) -> None:
    """An unknown filter, in NullRun's form, with what would be right."""
    answer = send("GET", org_path(ada, f"/alerts?{query}"), ada)
    assert (answer.status, answer.body["error"], answer.body["code"]) == (400, "bad_request", "BAD_REQUEST")
    assert answer.body["message"] == answer.body["error_message"] != ""


@pytest.mark.parametrize(
    ("method", "rest"),
    [
        ("GET", "/alerts"), ("POST", "/alerts/a/dismiss"), ("GET", "/alert-channels"), ("POST", "/alert-channels"),
        ("PATCH", "/alert-channels/c"), ("DELETE", "/alert-channels/c"), ("POST", "/alert-channels/c/test"),
        ("GET", "/alert-channels/c/deliveries"), ("GET", "/notification-settings"), ("PATCH", "/notification-settings"),
        ("GET", "/dashboard"), ("GET", "/quota"), ("GET", "/usage"), ("GET", "/status"),
    ],
)  # fmt: skip
def test_401_and_403(ada: Person, bob: Person, key: dict[str, str], method: str, rest: str) -> None:
    """Nobody, and nobody of another org, gets anywhere; a key of another org neither."""
    answer = send(method, org_path(ada, rest))
    assert (answer.status, answer.body["error"]) == (401, "unauthorized")
    assert send(method, org_path(ada, rest), {"x-api-key": "nr_live_" + "x" * 32}).status == 401
    assert send(method, org_path(ada, rest), bob).status == 403
    assert send(method, org_path(bob, rest), key).status == 403


def test_dismiss_200(alerts: str, ada: Person, olga: Person) -> None:
    """The alert, dismissed; again is the same, and it leaves the list."""
    row = ok(send("GET", alerts, ada))["data"][0]
    path = f"{alerts}/{row['id']}/dismiss"
    assert ok(send("POST", path, olga)) == row | {"dismissed": True} == ok(send("POST", path, olga))
    assert ok(send("GET", alerts, ada))["meta"]["total"] == 2
    assert ok(send("GET", f"{alerts}?status=dismissed", ada))["data"] == [row | {"dismissed": True}]


def test_dismiss_403(alerts: str, ada: Person, vic: Person, key: dict[str, str]) -> None:
    """A viewer and a key may look only."""
    path = f"{alerts}/{ok(send('GET', alerts, ada))['data'][0]['id']}/dismiss"
    assert send("POST", path, vic).status == send("POST", path, key).status == 403


@pytest.mark.parametrize("alert_id", ["nonsense", "0d7c3a10-6f3f-4b0e-9a55-3f1f0f7c2b11", "%F0%9F%98%80", "a" * 3000])
def test_dismiss_404(ada: Person, alert_id: str) -> None:
    """Unknown, whatever it looks like."""
    answer = send("POST", org_path(ada, f"/alerts/{alert_id}/dismiss"), ada)
    assert (answer.status, answer.body["error_code"]) == (404, "NOT_FOUND")


def test_dismiss_404_of_another_org(alerts: str, ada: Person, bob: Person) -> None:
    """Under the own path a foreign id is as unknown as any."""
    alert_id = ok(send("GET", alerts, ada))["data"][0]["id"]
    assert send("POST", org_path(bob, f"/alerts/{alert_id}/dismiss"), bob).status == 404


def test_dismiss_503(alerts: str, ada: Person, unwritable: Callable[[], None]) -> None:
    """The store is away."""
    alert_id = ok(send("GET", alerts, ada))["data"][0]["id"]
    unwritable()
    assert send("POST", f"{alerts}/{alert_id}/dismiss", ada).status == 503


# Notification settings


def test_settings_200(ada: Person, vic: Person) -> None:
    """Everything is on; a change is the member's own and names only what changes."""
    path = org_path(ada, "/notification-settings")
    assert ok(send("GET", path, vic)) == dict.fromkeys(CHOICES, True)
    changed = ok(send("PATCH", path, vic, {"weekly_digest": False, "notify_on_workflow_killed": False}))
    assert {name for name, chosen in changed.items() if not chosen} == {"weekly_digest", "notify_on_workflow_killed"}
    assert ok(send("PATCH", path, vic, {})) == changed == ok(send("GET", path, vic))
    assert ok(send("GET", path, ada)) == dict.fromkeys(CHOICES, True)


def test_settings_403(ada: Person, key: dict[str, str]) -> None:
    """A key reads no mail."""
    path = org_path(ada, "/notification-settings")
    assert send("GET", path, key).status == send("PATCH", path, key, {"weekly_digest": False}).status == 403


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b'{"weekly_digest": NaN}', b'"\\ud800"'])
def test_settings_400(ada: Person, raw: bytes) -> None:
    """No JSON object."""
    answer = send("PATCH", org_path(ada, "/notification-settings"), ada, raw=raw)
    assert (answer.status, answer.body["error"]) == (400, "invalid_json")


@pytest.mark.parametrize(
    "body", [{"notify_on_everything": True}, {"weekly_digest": "no"}, {"weekly_digest": None}, {"weekly_digest": 0}]
)
def test_settings_422(ada: Person, body: dict[str, Any]) -> None:
    """An unknown name, or no boolean; the field is named and nothing is changed."""
    path = org_path(ada, "/notification-settings")
    answer = send("PATCH", path, ada, {"notify_on_key_created": False} | body)
    assert (answer.status, answer.body["error"], answer.body["code"]) == (422, "validation_error", "INVALID_FIELD")
    assert list(answer.body["details"]["fields"]) == list(body)
    assert ok(send("GET", path, ada)) == dict.fromkeys(CHOICES, True)


def test_settings_413(ada: Person) -> None:
    """A body beyond the limit."""
    assert send("PATCH", org_path(ada, "/notification-settings"), ada, raw=b"x" * (4 * 1024 * 1024 + 1)).status == 413


def test_settings_503(ada: Person, unwritable: Callable[[], None]) -> None:
    """The store is away."""
    unwritable()
    assert send("PATCH", org_path(ada, "/notification-settings"), ada, {"weekly_digest": False}).status == 503
