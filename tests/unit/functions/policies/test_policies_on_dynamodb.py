"""The same handlers over a DynamoDB that is not ours."""

from __future__ import annotations

from shared.composition import Services
from shared.governance.money import MICRO, UNLIMITED
from shared.governance.purses import read_purse
from tests.support.deployment import sign_up
from tests.support.governance import govern
from tests.support.orgs import made, org_path
from tests.unit.functions.policies.conftest import send


def test_a_life_of_policies(elsewhere: Services) -> None:
    """Budgets of every scope are made, changed, switched off and deleted, and the purses follow."""
    ada = sign_up("ada")
    bot = govern(elsewhere, org_id=ada.org_id, budget_cents=5000)
    targets = {
        ada.org_id: {},
        bot.workflow_id: {"workflow_id": bot.workflow_id},
        bot.key_id: {"api_key_id": bot.key_id},
    }
    caps = {ada.org_id: None, bot.workflow_id: 5000 * MICRO, bot.key_id: None}

    def cap(scope_id: str) -> int | None:
        purse = read_purse(ada.org_id, scope_id)
        assert purse is None or purse.available == purse.cap < UNLIMITED
        return None if purse is None else int(purse.cap)

    for scope_id, target in targets.items():
        body = {"name": "cap", "policy_type": "BudgetLimit", "config": {"budget_cents": 30}} | target
        policy = made(send("POST", org_path(ada, "/policies"), ada, body))["id"]
        path = org_path(ada, f"/policies/{policy}")
        assert cap(scope_id) == 30 * MICRO
        assert send("PATCH", path, ada, {"config": {"budget_cents": 20}}).status == 200
        assert cap(scope_id) == 20 * MICRO
        assert send("POST", f"{path}/toggle", ada).status == 200
        assert cap(scope_id) == caps[scope_id]
        assert send("DELETE", path, ada).status == 204
    assert bot.purse.policy_version == 13
