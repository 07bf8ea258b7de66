"""Status, quota and dashboard over HTTP. Source: NullRun docs, HTTP API, Executions, audit, observability."""

from __future__ import annotations

from functions.gate.app import handler as gate
from functions.tracking.app import handler as tracking
from shared.governance.money import MICRO
from shared.governance.purses import purse_key
from shared.store.models.governance import Purse
from tests.support.deployment import Person
from tests.support.governance import Governed
from tests.support.orgs import ok, org_path
from tests.unit.functions.alerts.conftest import send


def test_status_200(ada: Person, vic: Person, bot: Governed, key: dict[str, str]) -> None:
    """The documented names, for members and for the SDK's key alike."""
    purse_key(ada.org_id, bot.workflow_id).update(actions=[Purse.spent.set(231 * MICRO)])
    body = ok(send("GET", org_path(ada, "/status"), ada))
    assert list(body)[:6] == [
        "current_spend_cents", "budget_cents", "time_to_exhaustion_secs", "rate_used", "rate_limit_per_min", "plan_caps"
    ]  # fmt: skip
    assert (body["current_spend_cents"], body["budget_cents"], body["rate_used"]) == (231, 5000, 0)
    assert isinstance(body["time_to_exhaustion_secs"], int) and body["rate_limit_per_min"] == 3000
    assert body["plan_caps"] == {
        "plan": "growth", "workflows": 50, "api_keys": 100, "seats": 10, "policies": 25, "approval_rules": 20,
        "max_executions_per_month": 750_000, "max_tokens_per_hour": 300_000, "max_rps": 50, "history_days": 30,
    }  # fmt: skip
    assert body["period_start"] < body["period_end"]
    for who in (vic, key, {"authorization": f"Bearer {bot.key}"}):
        assert ok(send("GET", org_path(ada, "/status"), who)).keys() == body.keys()


def test_status_without_a_budget_200(ada: Person) -> None:
    """Zero and null, never a number that means nothing."""
    body = ok(send("GET", org_path(ada, "/status"), ada))
    assert (body["current_spend_cents"], body["budget_cents"], body["time_to_exhaustion_secs"]) == (0, 0, None)


def test_quota_200(ada: Person, vic: Person, bot: Governed, key: dict[str, str]) -> None:
    """What calls of the gate and reports of their cost came to, by key; the usage is the same answer."""
    reservation = bot.gate(gate).body["reservation_id"]
    report = {"reservation_id": reservation, "model": "gpt-4o", "input_tokens": 1000, "output_tokens": 100}
    assert bot.post(tracking, "/api/v1/track", report | {"idempotency_key": "k"}).status == 200
    body = ok(send("GET", org_path(ada, "/quota"), vic))
    (row,) = body["per_key"]
    assert row.keys() == {
        "key_id", "name", "key_prefix", "workflow_id", "executions", "tokens", "cost_cents", "last_used_at"
    }  # fmt: skip
    assert (row["key_id"], row["workflow_id"], row["key_prefix"]) == (bot.key_id, bot.workflow_id, bot.key[:12])
    assert (row["executions"], row["tokens"]) == (1, 1100)
    assert body["limits"]["executions"] == {"used": 1, "limit": 750_000, "percent": 0.0}
    assert body["limits"]["workflows"] == {"used": 1, "limit": 50, "percent": 2.0}
    assert body["limits"]["tokens_per_hour"]["used"] == 1100
    assert body["limits"].keys() == {
        "workflows", "policies", "api_keys", "seats", "executions", "tokens_per_hour", "requests_per_second",
        "approval_rules",
    }  # fmt: skip
    assert (body["plan"], body["period"]["kind"], body["executions_period_kind"]) == (
        "growth", "billing_cycle", "billing_cycle"
    )  # fmt: skip
    assert (body["at_risk"], body["projected_hit_in_days"]) == (False, None)
    for who in (ada, key):
        usage = ok(send("GET", org_path(ada, "/usage"), who))
        assert usage["per_key"][0]["tokens"] == 1100 and usage.keys() == body.keys()


def test_dashboard_200(ada: Person, vic: Person, bot: Governed, key: dict[str, str]) -> None:
    """Calls, spend, workflows and alerts of the period."""
    allowed = bot.gate(gate).body["reservation_id"]
    purse_key(ada.org_id, bot.workflow_id).update(actions=[Purse.spent.set(231 * MICRO)])
    body = ok(send("GET", org_path(ada, "/dashboard"), vic))
    assert body["organization"] == {"id": ada.org_id, "name": "Default", "plan": "growth"}
    assert (body["spend"]["current_cents"], body["spend"]["budget_cents"]) == (231, 5000)
    assert [day.keys() for day in body["spend"]["series"]] == [{"date", "cost_cents"}]
    assert body["executions"] == {"total": 1, "allow": 1, "block": 0, "require_approval": 0}
    assert body["workflows"] == {
        "total": 1, "active": 1, "paused": 0, "killed": 0,
        "top": [{"id": bot.workflow_id, "name": "support bot", "spent_cents": 231}],
    }  # fmt: skip
    assert body["alerts"] == {"active": 0, "critical": 0, "warning": 0, "info": 0}
    (recent,) = body["recent_executions"]
    assert (recent["id"], recent["execution_id"], recent["decision"]) == (allowed, allowed, "allow")
    assert body["pending_approvals"] == 0 and body["generated_at"].endswith("Z")
    assert ok(send("GET", org_path(ada, "/dashboard"), key)).keys() == body.keys()
