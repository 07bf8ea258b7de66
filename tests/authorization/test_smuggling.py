"""Ids of the owner's things where a request may carry them besides its path: in bodies, queries and cursors."""

from __future__ import annotations

from typing import Any

import pytest

from tests.authorization.asking import ask, shows_nothing
from tests.authorization.things import TEMPLATE, Hand
from tests.authorization.world import World
from tests.support.governance import NONE_DIGEST

POLICY = {"name": "theirs", "policy_type": "BudgetLimit", "config": {"budget_cents": 1}}
RULE = {"name": "theirs", "tool_patterns": ["search"]}
CALL = {"organization_id": "local", "tools": ["search"], "action_digest": NONE_DIGEST}

BODIES: list[tuple[str, str, Any, int]] = [
    ("create_policy", "stranger", POLICY | {"scope": "Workflow", "scope_id": "$workflow_id"}, 422),
    ("create_policy", "stranger", POLICY | {"workflow_id": "$workflow_id"}, 422),
    ("create_policy", "stranger", POLICY | {"scope": "ApiKey", "api_key_id": "$key_id"}, 422),
    ("create_policy", "foreign_key", POLICY, 403),
    ("enable_template", "stranger", {"scope": "Workflow", "workflow_id": "$workflow_id"}, 422),
    ("create_approval_rule", "stranger", RULE | {"workflow_id": "$workflow_id"}, 422),
    ("mint_api_key", "stranger", {"name": "theirs", "workflow_id": "$sibling_id"}, 404),
    ("toggle_policy", "deployment_admin", {"policy_id": "$policy_id", "enabled": False}, 404),
    # What an agent names of another org is not there, or is the agent's own of that name.
    ("gate", "foreign_key", CALL | {"parent_execution_id": "$governed_id"}, 404),
    ("gate", "foreign_key", CALL | {"approval_id": "$approved_id"}, 200),
    ("gate", "foreign_key", CALL | {"chain_id": "$chain_id", "chain_op": "continue"}, 200),
    ("gate", "foreign_key", CALL | {"chain_id": "$chain_id", "chain_op": "end"}, 200),
    ("check", "foreign_key", CALL | {"execution_id": "$governed_id"}, 200),
    ("execute", "foreign_key", {"organization_id": "local", "execution_id": "$governed_id", "tool": "refund"}, 404),
    ("cancel", "foreign_key", {"execution_id": "$governed_id", "reason": "theirs"}, 404),
    ("track", "foreign_key", {"reservation_id": "$governed_id", "tokens": 5, "workflow_id": "$workflow_id"}, 200),
    ("track_batch", "foreign_key", {"events": [{
        "event_id": "0198f2c0-e1b3-7d10-a5c4-7b9e33f2d805", "type": "span_end", "execution_id": "$governed_id",
    }]}, 200),
    ("verify", "foreign_key", {"api_key": "nr_live_theirs"}, 200),
]  # fmt: skip


@pytest.mark.parametrize(("name", "kind", "body", "status"), BODIES)
def test_bodies_reach_nothing_of_others(where: World, name: str, kind: str, body: Any, status: int) -> None:
    """The decided status; the owner's things are as they were, and nothing of them is told."""
    with where.afresh():
        before = where.owned()
        asked = ask(where, name, kind, body=body)
        assert asked.answer.status == status, asked.answer
        assert where.owned() == before
        shows_nothing(where, asked)


@pytest.mark.parametrize("kind", ["stranger", "foreign_key"])
@pytest.mark.parametrize(
    ("name", "query", "rows"),
    [
        ("list_workflows", "?cursor=$workflow_id", "workflows"),
        ("list_policies", "?cursor=$policy_id", "policies"),
        ("list_approvals", "?cursor=$approved_id", "approvals"),
        ("list_approval_rules", "?cursor=$rule_id", "approval_rules"),
        ("list_alerts", "?status=all", "data"),
        ("list_alert_channels", "?cursor=$channel_id", "alert_channels"),
        ("list_governed_executions", "?workflow_id=$workflow_id", "executions"),
        ("list_governed_executions", "?cursor=$governed_id", "executions"),
        ("list_audit_log", "?resource_id=$workflow_id", "data"),
        ("list_audit_log", "?execution_id=$governed_id", "data"),
        ("list_audit_log", "?policy_id=$policy_id", "data"),
    ],
)
def test_queries_reach_nothing_of_others(where: World, name: str, kind: str, query: str, rows: str) -> None:
    """Filters and cursors that name the owner's things find rows of the caller's own org at most."""
    asked = ask(where, name, kind, query=query)
    assert asked.answer.status == 200, asked.answer
    assert isinstance(asked.answer.body[rows], list)
    shows_nothing(where, asked)


RISES: list[tuple[str, str, str, Any, int]] = [
    # An org's admins make no owners, and touch none.
    ("update_member", "admin", "member", {"role": "owner"}, 403),
    ("update_member", "admin", "admin", {"role": "owner"}, 403),
    ("update_member", "admin", "owner", {"role": "viewer"}, 403),
    ("remove_member", "admin", "owner", None, 403),
    ("create_invite", "admin", "member", {"email": "bo@example.com", "role": "owner"}, 403),
    # The last owner stays.
    ("update_member", "owner", "owner", {"role": "admin"}, 409),
    ("remove_member", "owner", "owner", None, 409),
    # Nobody gives themselves a role, in the org or in the deployment.
    ("update_member", "operator", "operator", {"role": "admin"}, 403),
    ("update_member", "viewer", "viewer", {"role": "operator"}, 403),
    ("update_account", "viewer", "viewer", {"role": "admin"}, 403),
    ("update_account", "owner", "owner", {"role": "admin"}, 403),
    ("remove_member", "operator", "member", None, 403),
    ("remove_member", "stranger", "owner", None, 404),
]


@pytest.mark.parametrize(("name", "kind", "whom", "body", "status"), RISES)
def test_nobody_rises(where: World, name: str, kind: str, whom: str, body: Any, status: int) -> None:
    """Roles are given by those who have more, and the refused change nothing."""
    before = where.stored()
    ids = {"member_id": where.accounts[whom], "account_id": where.accounts[whom]}
    answer = ask(where, name, kind, body=body, ids=ids).answer
    assert answer.status == status, answer
    assert where.stored() == before


def test_members_may_leave(where: World) -> None:
    """Whatever their role, and what they see of the org ends with it."""
    with where.afresh():
        assert ask(where, "remove_member", "viewer", ids={"member_id": where.accounts["viewer"]}).answer.status == 204
        for name in ("get_workflow", "get_flow", "list_members", "status"):
            asked = ask(where, name, "viewer")
            assert asked.answer.status == 403, asked.answer
            shows_nothing(where, asked)


def test_own_and_others_do_not_mix(where: World) -> None:
    """One's own workflow governs no flow of another org, and an own path carries no other workflow's id."""
    with where.afresh():
        stranger = Hand(where.handler, where.headers["stranger"], where.home)
        mine = {"workflow_id": stranger.workflow("mine")}
        before = where.owned()
        assert ask(where, "bind_definition", "stranger", ids=mine).answer.status == 404
        body = {"name": "theirs", "workflow_id": "$workflow_id"}
        assert ask(where, "mint_workflow_api_key", "stranger", ids=mine, body=body).answer.status == 400
        policy = stranger.make("policies", POLICY | {"scope": "Org"})
        moved = {"scope": "Workflow", "scope_id": "$workflow_id"}
        assert ask(where, "update_policy", "stranger", ids={"policy_id": policy["id"]}, body=moved).answer.status == 422
        assert ask(where, "enable_template", "stranger", ids={"template_id": TEMPLATE}).answer.status == 201
        assert where.owned() == before
