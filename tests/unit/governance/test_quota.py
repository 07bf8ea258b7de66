from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shared.composition import Services
from shared.governance.money import MICRO
from shared.governance.plans import plan
from shared.governance.quota import Quota, Share
from shared.identity import DEFAULT_ORG_ID
from shared.kit import ids, json
from shared.store.models.governance import ApiKey, OrgSettings, Purse, keys_pk, settings_pk
from shared.store.models.invites import Invite, invites_pk
from shared.store.models.policies import Policy, Rule, policies_pk, rules_pk
from tests.support.alerts import operation
from tests.support.governance import Governed, govern, owner
from tests.support.time import HeldClock

DAY_S = 24 * 3600


@pytest.fixture
def bot(services: Services, held: HeldClock) -> Governed:
    return govern(services, name="a", budget_cents=100)


def quota(services: Services) -> Quota:
    return services.governance.quotas.get(owner())


def called(bot: Governed, held: HeldClock, count: int = 1, **values: Any) -> None:
    for _ in range(count):
        operation(held.now_ms(), **{"key_id": bot.key_id, **values})


def on_plan(services: Services, plan_id: str) -> None:
    services.governance.statuses.get(owner())
    OrgSettings(settings_pk(DEFAULT_ORG_ID), "settings").update(actions=[OrgSettings.plan.set(plan_id)])


@pytest.mark.parametrize(
    ("share", "percent"),
    [
        (Share(3, 50), 6.0), (Share(9100, 750_000), 1.2), (Share(5, -1), 0.0), (Share(0, 0), 0.0), (Share(1, 0), 100.0),
        (Share(60, 50), 120.0), (Share(0, 50), 0.0),
    ],
)  # fmt: skip
def test_percent(share: Share, percent: float) -> None:
    """Of the limit, to a tenth; nothing of no limit, everything of a limit of nothing."""
    assert share.percent == percent


def test_each_resource_is_counted(services: Services, held: HeldClock, bot: Governed) -> None:
    """Beside the plan's limit; what is revoked, or promised no more, does not count."""
    second = govern(services, name="b")
    ApiKey(keys_pk(DEFAULT_ORG_ID), second.key_id).update(actions=[ApiKey.revoked_ms.set(1)])
    Policy(
        policies_pk(DEFAULT_ORG_ID), "p", policy_id="p", org_id=DEFAULT_ORG_ID, name="n", policy_type="RateLimit",
        scope="org", enabled=False, priority=1, enforcement_mode="Hard",
        config=json.dumps({"max_calls_per_minute": 1}), revision=1, created_ms=1, updated_ms=1,
    ).save()  # fmt: skip
    Rule(
        rules_pk(DEFAULT_ORG_ID), "r", rule_id="r", org_id=DEFAULT_ORG_ID, name="n", priority=1, expires_in_s=300,
        risk_level="LOW", revision=1, created_ms=1, updated_ms=1,
    ).save()  # fmt: skip
    for status, ends_s in (("pending", 7 * DAY_S), ("pending", -60), ("revoked", 7 * DAY_S)):
        Invite(
            invites_pk(DEFAULT_ORG_ID), ids.uuid7(), org_id=DEFAULT_ORG_ID, invite_id="i", email="bo@example.com",
            role="viewer", status=status, digest="d", expires_ms=held.now_ms() + ends_s * 1000, revision=1,
            created_ms=1, invited_by="ada", delivery_id="d",
        ).save()  # fmt: skip
    called(bot, held, 2, tokens=100)
    held.advance(3601)
    called(bot, held, tokens=7)
    purse = Purse(f"{DEFAULT_ORG_ID}#purse#{bot.workflow_id}", "purse")
    purse.update(actions=[Purse.minute.set(held.now_ms() // 60_000), Purse.calls.set({bot.key_id: 3})])
    found = quota(services).limits
    assert {name: (share.used, share.limit) for name, share in found.items()} == {
        "workflows": (2, 50), "policies": (1, 25), "api_keys": (1, 100), "seats": (1, 10), "executions": (3, 750_000),
        "tokens_per_hour": (7, 300_000), "requests_per_second": (1.5, 50), "approval_rules": (1, 20),
    }  # fmt: skip


def test_usage_is_told_by_key(services: Services, held: HeldClock, bot: Governed) -> None:
    """Each key of the org with what it used in the period, revoked ones and unused ones included."""
    other = govern(services, name="b")
    ApiKey(keys_pk(DEFAULT_ORG_ID), bot.key_id).update(actions=[ApiKey.last_used_ms.set(held.now_ms())])
    called(bot, held, 2, tokens=10, spent=3 * MICRO // 4)
    called(bot, held, decision="block")
    rows = {row.key_id: row for row in quota(services).per_key}
    mine, unused = rows[bot.key_id], rows[other.key_id]
    assert (mine.executions, mine.tokens, mine.cost_cents, mine.last_used_ms) == (3, 20, 2, held.now_ms())
    assert (mine.name, mine.workflow_id, mine.prefix) == ("prod", bot.workflow_id, bot.key[:12])
    assert (unused.executions, unused.tokens, unused.cost_cents, unused.last_used_ms) == (0, 0, 0, None)


def test_a_new_period_begins_at_nothing(services: Services, held: HeldClock, bot: Governed) -> None:
    """What was used in the one before does not count."""
    called(bot, held, 2)
    held.advance(31 * DAY_S)
    found = quota(services)
    assert found.limits["executions"].used == found.per_key[0].executions == 0


@pytest.mark.parametrize(
    ("plan_id", "kind"),
    [("lite", "lite_rolling_period"), ("growth", "billing_cycle"), ("enterprise_unlimited", "billing_cycle")],
)
def test_the_kind_of_period(services: Services, bot: Governed, plan_id: str, kind: str) -> None:
    """A free org's rolls from its beginning, a paying one's is its billing cycle."""
    on_plan(services, plan_id)
    assert quota(services).period_kind == kind


@pytest.mark.parametrize(
    ("used", "limit", "day", "hit", "at_risk"),
    [
        (0, 10, 10, None, False),
        (3, 10, 0, 2.3, True),
        (1, 100, 0, None, False),
        (1, 10, 10, None, False),
        (5, 10, 10, 10.0, True),
        (8, 10, 29, None, True),
        (10, 10, 5, 0.0, True),
        (12, 10, 5, 0.0, True),
        (12, -1, 5, None, False),
        (0, 0, 5, 0.0, True),
    ],
)
def test_the_risk(
    services: Services, held: HeldClock, bot: Governed, monkeypatch: pytest.MonkeyPatch, used: int, limit: int,
    day: int, hit: float | None, at_risk: bool,
) -> None:  # fmt: skip
    """When the executions are used up at this rate, if within the period; at risk then, or from 80 percent on."""
    chosen = replace(plan("growth"), limits={**plan("growth").limits, "executions": limit})
    monkeypatch.setattr("shared.governance.quota.plan", lambda plan_id: chosen)
    called(bot, held, used)
    held.advance(day * DAY_S)
    found = quota(services)
    assert (found.hit_in_days, found.at_risk) == (hit, at_risk)
