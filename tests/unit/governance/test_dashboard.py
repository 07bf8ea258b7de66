from __future__ import annotations

import pytest

from shared.composition import Services
from shared.governance.alerts import AlertFilter
from shared.governance.dashboard import DashboardView
from shared.governance.money import MICRO
from shared.governance.purses import purse_key
from shared.identity import DEFAULT_ORG_ID
from shared.kit import ids
from shared.store.models.governance import Purse
from shared.store.models.policies import Approval, approvals_pk
from tests.support.alerts import event, operation, refused
from tests.support.governance import Governed, govern, owner
from tests.support.time import HeldClock

DAY_S = 24 * 3600


@pytest.fixture
def bot(services: Services, held: HeldClock) -> Governed:
    return govern(services, name="a", budget_cents=100)


def view(services: Services) -> DashboardView:
    return services.governance.dashboard.get(owner())


def set_purse(bot: Governed, **values: object) -> None:
    purse_key(DEFAULT_ORG_ID, bot.workflow_id).update(
        actions=[getattr(Purse, name).set(value) for name, value in values.items()]
    )


def test_an_empty_org(services: Services, held: HeldClock) -> None:
    """Zeros, one day, and the org's name."""
    services.identity.prepare()
    found = view(services)
    assert (found.org_id, found.org_name, found.plan.id) == (DEFAULT_ORG_ID, "Default", "growth")
    assert (found.spent_cents, found.budget_cents, found.pending_approvals) == (0, 0, 0)
    assert [day.cost_cents for day in found.series] == [0]
    assert not found.decisions and not found.states and not found.alerts and not found.top and not found.recent
    assert found.generated_ms == held.now_ms()


def test_spend_by_day(services: Services, held: HeldClock, bot: Governed) -> None:
    """Each day of the period so far, with what its calls came to."""
    begun = held.now_ms()
    operation(begun, spent=3 * MICRO)
    held.advance(2 * DAY_S)
    operation(held.now_ms(), spent=4 * MICRO)
    found = view(services).series
    assert [(day.day_ms - begun, day.cost_cents) for day in found] == [
        (0, 3), (DAY_S * 1000, 0), (2 * DAY_S * 1000, 4)
    ]  # fmt: skip


def test_workflows_by_state_and_by_spend(services: Services, bot: Governed) -> None:
    """All that were not deleted; the top ones spend most, and those that spent nothing are not in it."""
    others = [govern(services, name=name) for name in "bcd"]
    set_purse(bot, spent=5 * MICRO)
    set_purse(others[0], spent=9 * MICRO, state="Paused")
    set_purse(others[1], state="Killed")
    found = view(services)
    assert dict(found.states) == {"Normal": 2, "Paused": 1, "Killed": 1}
    assert [(row.name, row.spent_cents) for row in found.top] == [("b", 9), ("a", 5)]
    assert (found.spent_cents, found.budget_cents) == (14, 100)


def test_calls_by_decision_and_the_latest(services: Services, held: HeldClock, bot: Governed) -> None:
    """Ten at most, newest first, with the name of their workflow."""
    for _ in range(11):
        operation(held.now_ms(), decision="block")
        held.advance(1)
    last = operation(held.now_ms(), spent=2 * MICRO, tokens=7, tool="refund")
    last.update(actions=[type(last).workflow_id.set(bot.workflow_id)])
    found = view(services)
    assert dict(found.decisions) == {"block": 11, "allow": 1}
    assert len(found.recent) == 10
    first = found.recent[0]
    assert (first.id, first.tool, first.cost_cents, first.tokens) == (last.execution_id, "refund", 2, 7)
    assert (first.workflow_name, found.recent[1].workflow_name) == ("a", None)


def test_active_alerts_by_severity(services: Services, bot: Governed) -> None:
    """Those that were dismissed are not active."""
    alerts = services.governance.alerts
    alerts.follow(DEFAULT_ORG_ID, [event("workflow.killed"), event("workflow.paused"), refused("TOOL_BLOCKED")])
    (critical,) = alerts.list(owner(), AlertFilter(severity="critical"), limit=5).items
    alerts.dismiss(owner(), critical.alert.alert_id)
    assert dict(view(services).alerts) == {"warning": 2}


def test_approvals_that_wait(services: Services, held: HeldClock, bot: Governed) -> None:
    """Only those that somebody can still decide."""
    for status, ends_s in (("PENDING", 60), ("PENDING", 3600), ("PENDING", -1), ("APPROVED", 60)):
        approval_id = ids.uuid7()
        Approval(
            approvals_pk(DEFAULT_ORG_ID), approval_id, approval_id=approval_id, org_id=DEFAULT_ORG_ID,
            workflow_id=bot.workflow_id, execution_id="e", status=status, created_ms=held.now_ms(),
            expires_ms=held.now_ms() + ends_s * 1000,
        ).save()  # fmt: skip
    assert view(services).pending_approvals == 2
    held.advance(3599)
    assert view(services).pending_approvals == 1
