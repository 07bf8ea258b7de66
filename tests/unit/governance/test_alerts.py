from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from shared.governance.alerts import AlertFilter, Alerts
from shared.kit.errors import Forbidden, InvalidRequest, NotFound, Unavailable
from shared.store.base import Record
from shared.store.embedded import EmbeddedEngine
from shared.store.models.alerts import Alert
from shared.store.models.governance import Event, events_pk
from tests.support.alerts import (
    ORG,
    System,
    crossing,
    event,
    key_principal,
    member,
    refused,
    stored_alerts,
    stored_deliveries,
    workflow,
)
from tests.support.time import HeldClock
from tests.support.workflows import raced

UNKNOWN = "0d7c3a10-6f3f-4b0e-9a55-3f1f0f7c2b11"

WEBHOOK = {"url": "https://hooks.example.com/x", "secret": "s3"}
EVERYTHING = AlertFilter(status="all")


@pytest.fixture
def system(store: EmbeddedEngine, held: HeldClock, tmp_path: Path) -> Iterator[System]:
    made = System(tmp_path)
    workflow("support bot", "w1")
    yield made
    made.outbound.close()


@pytest.mark.parametrize(
    ("make", "severity", "category", "incident_type", "message"),
    [
        (
            lambda: event("workflow.killed", workflow_id="w1", reason="runaway"), "Critical", "System",
            "workflow_killed", "ada killed support bot. Reason: runaway",
        ),
        (lambda: event("workflow.paused", workflow_id="w1"), "Warning", "System", "workflow_paused",
         "ada paused support bot."),
        (lambda: event("approval.requested", workflow_id="w1", tool="refund"), "Warning", "System",
         "approval_required", "support bot waits for approval of refund."),
        (lambda: event("approval.requested", workflow_id="gone"), "Warning", "System", "approval_required",
         "A workflow waits for approval of an action."),
        (lambda: event("api_key.created", workflow_id="w1", name="prod"), "Info", "System", "key_created",
         "ada made the API key prod."),
        (lambda: event("api_key.revoked", workflow_id="w1", name="prod"), "Info", "System", "key_revoked",
         "ada revoked the API key prod."),
        (lambda: event("team.invite", email="bo@example.com"), "Info", "System", "member_invited",
         "ada invited bo@example.com."),
        (lambda: crossing(80), "Warning", "System", "budget_threshold", "support bot has used $40.10 of $50.00."),
        (lambda: crossing(95, scope="org", scope_id=ORG), "Warning", "System", "budget_threshold",
         "The organisation has used $47.60 of $50.00."),
        (lambda: crossing(100, scope="key", scope_id="k1"), "Critical", "System", "budget_exhausted",
         "An API key has used $50.10 of $50.00."),
        (lambda: refused("TOOL_BLOCKED"), "Warning", "Prevented", "tool_blocked", "support bot: It may not."),
        (lambda: refused("BUDGET_WORKFLOW_BLOCKED"), "Critical", "Prevented", "budget_blocked",
         "support bot: It may not."),
        (lambda: refused("BUDGET_ORG_CEILING_BLOCKED"), "Critical", "Prevented", "budget_blocked",
         "support bot: It may not."),
        (lambda: refused("EXECUTION_QUOTA_EXCEEDED"), "Critical", "Prevented", "quota_blocked",
         "support bot: It may not."),
    ],
)  # fmt: skip
def test_what_makes_an_alert(
    system: System, make: Callable[[], Record], severity: str, category: str, incident_type: str, message: str
) -> None:
    """Each cause has its severity, category and kind, and a message in words."""
    system.alerts.follow(ORG, [make()])
    (alert,) = stored_alerts()
    assert (alert.severity, alert.category, alert.incident_type) == (severity, category, incident_type)
    assert alert.message == message


@pytest.mark.parametrize(
    "make",
    [
        lambda: event("policy.created"),
        lambda: event("member.joined", email="bo@example.com"),
        lambda: event("workflow.resumed", workflow_id="w1"),
        lambda: event("alert.dismissed"),
        lambda: crossing(50),
        lambda: refused("RATE_LIMIT_EXCEEDED"),
        lambda: refused("WORKFLOW_PAUSED"),
        lambda: refused("SOMETHING_ELSE"),
        lambda: refused("TOOL_BLOCKED", decision="allow"),
    ],
)
def test_what_makes_none(system: System, make: Callable[[], Record]) -> None:
    """Everything else is history, not an alert."""
    system.alerts.follow(ORG, [make()])
    assert stored_alerts() == []


def test_a_threshold_tells_its_money(system: System) -> None:
    """What was spent, and the part of the budget that was reached, in cents."""
    system.alerts.follow(ORG, [crossing(80)])
    (alert,) = stored_alerts()
    assert (alert.current_cents, alert.threshold_cents, alert.workflow_id) == (4010, 4000, "w1")


def test_a_threshold_is_told_once_in_each_period(system: System, held: HeldClock) -> None:
    """Another event of the same scope, period and threshold is the same alert; another period is another."""
    system.alerts.follow(ORG, [crossing(80), crossing(95)])
    held.advance(3600)
    system.alerts.follow(ORG, [crossing(80), crossing(80, scope_id="w2"), crossing(80, period_start_ms=9_000)])
    assert sorted((alert.title, alert.workflow_id) for alert in stored_alerts()) == [
        ("80% of budget used", "w1"), ("80% of budget used", "w1"), ("80% of budget used", "w2"),
        ("95% of budget used", "w1"),
    ]  # fmt: skip


def test_refusals_are_gathered(system: System, held: HeldClock) -> None:
    """One alert for each workflow, code and 15 minutes, however many calls were refused."""
    system.alerts.follow(ORG, [refused("TOOL_BLOCKED") for _ in range(20)])
    held.advance(14 * 60)
    system.alerts.follow(ORG, [refused("TOOL_BLOCKED"), refused("TOOL_BLOCKED", workflow_id="w2")])
    system.alerts.follow(ORG, [refused("BUDGET_HARD_BLOCKED")])
    assert len(stored_alerts()) == 3
    held.advance(60)
    system.alerts.follow(ORG, [refused("TOOL_BLOCKED")])
    assert len(stored_alerts()) == 4


def test_told_twice_is_told_once(system: System) -> None:
    """The same records, by many threads at once and again later, make one alert and one delivery to each channel."""
    for name in ("ops", "night"):
        system.channels.create(member("admin"), name=name, channel_type="webhook", config=WEBHOOK)
    records = [event("workflow.killed", workflow_id="w1"), refused("TOOL_BLOCKED"), crossing(100)]
    barrier, failures = threading.Barrier(8), []

    def follow() -> None:
        barrier.wait()
        try:
            system.alerts.follow(ORG, records)
        except Exception as error:  # noqa: BLE001 - the test shows it.
            failures.append(error)

    threads = [threading.Thread(target=follow) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    system.alerts.follow(ORG, records)
    assert failures == []
    alerts, sent = stored_alerts(), stored_deliveries()
    assert len(alerts) == 3 and all(alert.announced for alert in alerts)
    assert len({(row.alert_id, row.channel_id) for row in sent}) == len(sent) == 6


def test_what_was_interrupted_is_finished(store: EmbeddedEngine, held: HeldClock) -> None:
    """An alert that was stored and not announced is announced when its record comes again, and never after that."""
    announced: list[str] = []

    def announce(alert: Alert) -> None:
        announced.append(alert.alert_id)
        if len(announced) == 1:
            raise Unavailable("away")

    alerts, record = Alerts(announce, announce), event("workflow.killed", workflow_id="w1")
    with pytest.raises(Unavailable):
        alerts.follow(ORG, [record])
    alerts.follow(ORG, [record])
    alerts.follow(ORG, [record])
    assert announced == [stored_alerts()[0].alert_id] * 2


# Looking


@pytest.fixture
def several(system: System, held: HeldClock) -> System:
    """Four alerts, a minute apart: tool block, kill, key, threshold."""
    causes = [
        refused("TOOL_BLOCKED"), event("workflow.killed", workflow_id="w1"),
        event("api_key.created", workflow_id="w1", name="prod"), crossing(80),
    ]  # fmt: skip
    for cause in causes:
        cause.created_ms = held.now_ms()  # type: ignore[attr-defined]
        system.alerts.follow(ORG, [cause])
        held.advance(60)
    return system


@pytest.mark.parametrize(
    ("wanted", "kinds"),
    [
        (AlertFilter(), ["budget_threshold", "key_created", "workflow_killed", "tool_blocked"]),
        (AlertFilter(category="prevented"), ["tool_blocked"]),
        (AlertFilter(category="system"), ["budget_threshold", "key_created", "workflow_killed"]),
        (AlertFilter(severity="warning"), ["budget_threshold", "tool_blocked"]),
        (AlertFilter(severity="critical", category="prevented"), []),
        (AlertFilter(status="dismissed"), []),
    ],
)
def test_lists_are_filtered(several: System, wanted: AlertFilter, kinds: list[str]) -> None:
    """Newest first; the total counts what fits."""
    page = several.alerts.list(member("viewer"), wanted, limit=50)
    assert [view.alert.incident_type for view in page.items] == kinds
    assert page.total == len(kinds)


def test_a_list_counts_by_severity_and_names_workflows(several: System) -> None:
    """Counts are of all that fit, not of the part that is shown; a workflow's name is the present one."""
    workflow("help desk", "w1")
    page = several.alerts.list(key_principal(), AlertFilter(), limit=2)
    assert (page.total, page.critical, page.warning, page.info) == (4, 1, 2, 1)
    assert {view.workflow_name for view in page.items} == {"help desk"}


def test_a_list_goes_on_at_its_cursor(several: System) -> None:
    """Every alert is in one part and in no other, whatever is dismissed meanwhile."""
    first = several.alerts.list(member("viewer"), AlertFilter(), limit=2)
    several.alerts.dismiss(member("operator"), first.items[1].alert.alert_id)
    second = several.alerts.list(member("viewer"), AlertFilter(), limit=2, cursor=first.next_cursor)
    assert [view.alert.incident_type for view in (*first.items, *second.items)] == [
        "budget_threshold", "key_created", "workflow_killed", "tool_blocked",
    ]  # fmt: skip
    assert second.next_cursor is None


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "1",
        ".",
        "1.x",
        "-1." + "a" * 36,
        "1" * 20 + "." + "0d7c3a10-6f3f-4b0e-9a55-3f1f0f7c2b11",
        "²." + "0d7c3a10-6f3f-4b0e-9a55-3f1f0f7c2b11",
    ],
)
def test_a_cursor_must_be_one(system: System, cursor: str) -> None:
    """Anything else is a clear 400."""
    with pytest.raises(InvalidRequest, match="next_cursor"):
        system.alerts.list(member("viewer"), AlertFilter(), limit=2, cursor=cursor)


def test_alerts_are_kept_for_30_days(several: System, held: HeldClock) -> None:
    """Whatever is older is in no list, whether or not the store has removed it."""
    held.advance(30 * 24 * 3600 - 200)
    assert several.alerts.list(member("viewer"), EVERYTHING, limit=50).total == 3
    held.advance(400)
    assert several.alerts.list(member("viewer"), EVERYTHING, limit=50).total == 0


# Dismissing


def dismissals() -> list[Event]:
    return [row for row in Event.query(events_pk(ORG)) if row.action == "alert.dismissed"]


def test_dismissing_is_done_once(several: System) -> None:
    """The alert leaves the active list; again is the same answer, and no second event."""
    alert_id = several.alerts.list(member("viewer"), AlertFilter(), limit=1).items[0].alert.alert_id
    first = several.alerts.dismiss(member("operator"), alert_id)
    again = several.alerts.dismiss(member("admin"), alert_id.upper())
    assert first.alert.dismissed and first.alert.attribute_values == again.alert.attribute_values
    assert several.alerts.list(member("viewer"), AlertFilter(), limit=50).total == 3
    (shown,) = several.alerts.list(member("viewer"), AlertFilter(status="dismissed"), limit=50).items
    assert (shown.alert.alert_id, shown.alert.dismissed) == (alert_id, True)
    (told,) = dismissals()
    assert (told.resource_id, told.actor_id) == (alert_id, "ada")


def test_dismissing_by_many_at_once(several: System) -> None:
    """All of them succeed, and it happened once."""
    alert_id = several.alerts.list(member("viewer"), AlertFilter(), limit=1).items[0].alert.alert_id
    dismiss = partial(several.alerts.dismiss, member("operator"), alert_id)
    assert raced(*(dismiss for _ in range(6))) == {"done": 6}
    assert len(dismissals()) == 1


def test_dismissing_needs_an_operator(several: System) -> None:
    """A viewer and a key may only look."""
    alert_id = several.alerts.list(member("viewer"), AlertFilter(), limit=1).items[0].alert.alert_id
    for principal in (member("viewer"), key_principal()):
        with pytest.raises(Forbidden):
            several.alerts.dismiss(principal, alert_id)


def test_an_alert_of_another_org_is_not_there(several: System) -> None:
    """Nobody sees or dismisses it, and a malformed id is as unknown as any."""
    alert_id = several.alerts.list(member("viewer"), AlertFilter(), limit=1).items[0].alert.alert_id
    stranger = member("owner", "bob", org_id="org-b")
    assert several.alerts.list(stranger, EVERYTHING, limit=50).total == 0
    for name in (alert_id, "nonsense", "\ud800"):
        with pytest.raises(NotFound):
            several.alerts.dismiss(stranger, name)
