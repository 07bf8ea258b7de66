"""The same handlers over a DynamoDB that is not ours."""

from __future__ import annotations

from functions.approvals.app import handler
from functions.gate.app import handler as gate
from shared.composition import Services
from shared.kit import ids
from tests.support.deployment import sign_up
from tests.support.governance import govern
from tests.support.orgs import made, ok, org_path
from tests.unit.functions.approvals.conftest import asked, refund, send


def test_a_life_of_a_rule_and_its_approvals(elsewhere: Services) -> None:
    """Made, changed, asked by, decided both ways, consumed, used once, listed, and removed."""
    ada = sign_up("ada")
    bot = govern(elsewhere, org_id=ada.org_id)
    row = made(send("POST", org_path(ada, "/approval-rules"), ada, {"name": "Refunds", "tool_patterns": ["refund"]}))
    path = org_path(ada, f"/approval-rules/{row['id']}")
    assert ok(send("PATCH", path, ada, {"expires_in_seconds": 60}))["version"] == 2
    first, second = asked(bot), asked(bot)
    assert elsewhere.governance.approvals.pending(ada.org_id) == 2
    one, two = (org_path(ada, f"/approvals/{waiting['approval_id']}") for waiting in (first, second))
    assert ok(send("POST", f"{one}/approve", ada, {"note": "fine"}))["status"] == "APPROVED"
    assert ok(send("POST", f"{two}/deny", ada))["status"] == "DENIED"
    assert send("POST", f"{two}/approve", ada).status == 409
    assert elsewhere.governance.approvals.pending(ada.org_id) == 0
    told = [
        bot.post(handler, f"/api/v1/approvals/{waiting['approval_id']}/consume", {}).body["status"]
        for waiting in (first, first, second)
    ]
    assert told == ["consumed", "already_consumed", "not_approved"]
    body = {"organization_id": bot.org_id, "execution_id": first["execution_id"], "tool": "refund"} | refund()
    codes = [bot.post(gate, "/api/v1/execute", body).body.get("error_code") for _ in range(2)]
    assert codes == [None, "APPROVAL_REPLAY_REJECTED"]
    listed = send("GET", org_path(ada, "/approvals"), ada).body["approvals"]
    assert [found["status"] for found in listed] == ["DENIED", "CONSUMED"]
    assert send("DELETE", path, ada).status == 204
    assert bot.gate(gate, operation_id=ids.uuid4(), **refund()).body["decision"] == "allow"
