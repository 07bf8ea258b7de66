"""The same handlers over a DynamoDB that is not ours."""

from __future__ import annotations

import pytest

from shared.composition import Services
from tests.support.alerts import event, refused, stored_deliveries
from tests.support.deployment import sign_up
from tests.support.governance import govern
from tests.support.orgs import made, ok, org_path
from tests.unit.functions.alerts.conftest import send


@pytest.mark.usefixtures("elsewhere")
def test_a_life_of_an_alert(elsewhere: Services) -> None:
    """A channel, alerts told twice, their deliveries, a dismissal, settings, and the numbers."""
    ada = sign_up("ada@example.com")
    bot = govern(elsewhere, org_id=ada.org_id, budget_cents=500)
    mail = {"name": "m", "channel_type": "email", "config": {"email": "ops@example.com"}}
    channel = made(send("POST", org_path(ada, "/alert-channels"), ada, mail))
    one = org_path(ada, f"/alert-channels/{channel['id']}")
    assert ok(send("PATCH", one, ada, {"name": "night"}))["name"] == "night"
    assert ok(send("PATCH", org_path(ada, "/notification-settings"), ada, {"weekly_digest": False}))
    causes = [
        event("workflow.killed", org_id=ada.org_id, workflow_id=bot.workflow_id),
        refused("TOOL_BLOCKED", org_id=ada.org_id, workflow_id=bot.workflow_id),
    ]
    for _ in range(2):
        elsewhere.governance.alerts.follow(ada.org_id, causes)
    rows = stored_deliveries(ada.org_id)
    assert len([row for row in rows if row.channel_id]) == 2 and len(rows) == 3
    assert all(elsewhere.governance.deliveries.deliver(ada.org_id, row.delivery_id) for row in rows)
    shown = ok(send("GET", f"{one}/deliveries", ada))
    assert [row["status"] for row in shown["deliveries"]] == ["delivered"] * 2
    listed = ok(send("GET", org_path(ada, "/alerts?category=system"), ada))
    assert listed["meta"]["total"] == 1
    alert = listed["data"][0]["id"]
    assert ok(send("POST", org_path(ada, f"/alerts/{alert}/dismiss"), ada))["dismissed"]
    assert ok(send("GET", org_path(ada, "/status"), ada))["budget_cents"] == 500
    assert ok(send("GET", org_path(ada, "/quota"), ada))["limits"]["workflows"]["used"] == 1
    assert ok(send("GET", org_path(ada, "/dashboard"), ada))["alerts"]["active"] == 1
    assert ok(send("POST", f"{one}/test", ada))["status"] == "delivered"
    assert send("DELETE", one, ada).status == 204
