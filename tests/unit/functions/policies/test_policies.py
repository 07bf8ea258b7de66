"""Policies and templates over HTTP. Source: NullRun docs, HTTP API, Policies."""

from __future__ import annotations

from typing import Any

import pytest

from functions.gate.app import handler as gate
from shared.composition import Services
from shared.governance.policy_forms import MAX_PRIORITY
from shared.governance.templates import TEMPLATES
from shared.kit import clock
from shared.kit.settings import use_settings
from shared.store.models.governance import ApiKey, keys_pk
from shared.store.transaction import Transaction, read
from tests.support.apigw import Answer
from tests.support.deployment import Person
from tests.support.governance import Governed
from tests.support.orgs import made, ok, org_path
from tests.support.time import HeldClock
from tests.support.workflows import events_of, frames_of, on_plan
from tests.unit.functions.policies.conftest import send

FIELDS = {
    "id", "policy_id", "organization_id", "name", "policy_type", "type", "scope", "scope_id", "workflow_id",
    "api_key_id", "enabled", "priority", "enforcement_mode", "config", "template_id", "version", "created_at",
    "updated_at",
}  # fmt: skip
LIMIT = {"name": "limit", "policy_type": "RateLimit", "config": {"max_calls_per_minute": 60}}
BUDGET = {"name": "cap", "policy_type": "BudgetLimit", "config": {"budget_cents": 3}}
BLOCK = {"name": "no drops", "policy_type": "ToolBlock", "config": {"tool_pattern": ["db.drop*"]}}


def create(who: Person, body: dict[str, Any]) -> dict[str, Any]:
    return made(send("POST", org_path(who, "/policies"), who, body))


def error(answer: Answer) -> tuple[int, str, str]:
    return answer.status, answer.body["error"], answer.body["error_code"]


def test_create_201(olga: Person, ada: Person) -> None:
    """The documented fields, flat and again under ``policy``; what was not said has its default."""
    row = made(send("POST", org_path(ada, "/policies"), olga, BLOCK | {"unknown": 1}))
    nested = row.pop("policy")
    assert nested == row
    assert row.keys() == FIELDS
    assert row | BLOCK == row
    assert (row["scope"], row["scope_id"], row["workflow_id"]) == ("Org", None, None)
    assert (row["enabled"], row["priority"], row["enforcement_mode"], row["version"]) == (True, 100, "Hard", 1)
    assert (row["organization_id"], row["policy_id"], row["type"]) == (ada.org_id, row["id"], "ToolBlock")
    assert row["created_at"] == row["updated_at"] == clock.rfc3339(clock.parse_rfc3339(row["created_at"]))
    assert send("GET", org_path(ada, "/policies"), olga).body == {"policies": [row], "total": 1, "next_cursor": None}


def test_create_for_a_workflow_or_a_key(ada: Person, bot: Governed) -> None:
    """The target under any of its names; the scope is told in the docs' spelling."""
    row = create(ada, LIMIT | {"scope": "workflow", "workflow_id": bot.workflow_id})
    assert (row["scope"], row["scope_id"], row["workflow_id"], row["api_key_id"]) == (
        "Workflow", bot.workflow_id, bot.workflow_id, None,
    )  # fmt: skip
    row = create(ada, LIMIT | {"scope": "API_KEY", "scope_id": bot.key_id})
    assert (row["scope"], row["scope_id"], row["workflow_id"], row["api_key_id"]) == (
        "ApiKey", bot.key_id, None, bot.key_id,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({"tool_pattern": "bash"}, "bare_string_pattern"),
        ({"tool_pattern": ["a" * 4097]}, "pattern_too_long"),
        ({"tool_pattern": ["a", ""]}, "invalid_glob"),
        ({"tools": ["[ab]"]}, "invalid_glob"),
    ],
)
def test_400_of_patterns(ada: Person, config: dict[str, Any], code: str) -> None:
    """Each by its own code, at making and at changing; nothing changes."""
    policy = create(ada, BLOCK)["id"]
    for answer in (
        send("POST", org_path(ada, "/policies"), ada, BLOCK | {"config": config}),
        send("PATCH", org_path(ada, f"/policies/{policy}"), ada, {"config": config}),
    ):
        assert error(answer) == (400, code, code.upper())
        assert answer.body["message"] == answer.body["error_message"]
    (row,) = send("GET", org_path(ada, "/policies"), ada).body["policies"]
    assert (row["version"], row["config"]) == (1, BLOCK["config"])


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": 5}, "name"),
        ({"name": "x" * 81}, "name"),
        ({"name": " "}, "name"),
        ({"scope": "galaxy"}, "scope"),
        ({"scope": 7}, "scope"),
        ({"scope": "Workflow", "workflow_id": "nope"}, "scope_id"),
        ({"scope": "Workflow", "workflow_id": "00000000-0000-4000-8000-000000000000"}, "scope_id"),
        ({"scope": "ApiKey", "scope_id": "00000000-0000-4000-8000-000000000000"}, "scope_id"),
        ({"scope_id": "x" * 201}, "scope_id"),
        ({"enabled": "yes"}, "enabled"),
        ({"priority": "1"}, "priority"),
        ({"priority": True}, "priority"),
        ({"priority": -1}, "priority"),
        ({"priority": MAX_PRIORITY + 1}, "priority"),
        ({"priority": 10**400}, "priority"),
        ({"enforcement_mode": "firm"}, "enforcement_mode"),
        ({"config": []}, "config"),
        ({"config": {"budget_cents": -1}}, "config.budget_cents"),
        ({"config": {"budget_cents": 10**400}}, "config.budget_cents"),
        ({"config": {"budget_cents": 1e300}}, "config.budget_cents"),
    ],
)
def test_422(ada: Person, wrong: dict[str, Any], field: str) -> None:
    """A bad field is named, at making and at changing, and nothing changes."""
    policy = create(ada, BUDGET)
    for answer in (
        send("POST", org_path(ada, "/policies"), ada, BUDGET | wrong),
        send("PATCH", org_path(ada, f"/policies/{policy['id']}"), ada, wrong),
    ):
        assert error(answer) == (422, "validation_error", "INVALID_FIELD")
        assert list(answer.body["details"]["fields"]) == [field]
    assert send("GET", org_path(ada, "/policies"), ada).body["policies"] == [policy["policy"]]


@pytest.mark.parametrize("missing", ["name", "policy_type", "config"])
def test_422_missing(ada: Person, missing: str) -> None:
    """Name, type and config are needed."""
    body = {name: value for name, value in LIMIT.items() if name != missing}
    answer = send("POST", org_path(ada, "/policies"), ada, body)
    assert error(answer) == (422, "validation_error", "INVALID_FIELD")
    assert list(answer.body["details"]["fields"]) == [missing]


def test_422_targets_of_other_orgs_and_past_ones(ada: Person, bob: Person, bot: Governed) -> None:
    """Another org's workflow and key are unknown, and so is a key that was revoked."""
    for target in ({"workflow_id": bot.workflow_id}, {"api_key_id": bot.key_id}):
        answer = send("POST", org_path(bob, "/policies"), bob, LIMIT | target)
        assert error(answer) == (422, "validation_error", "INVALID_FIELD")
        assert "no such" in answer.body["message"]
    key = read(ApiKey, keys_pk(bot.org_id), bot.key_id)
    assert key is not None
    Transaction().update(key, [ApiKey.revoked_ms.set(1)]).commit()
    assert send("POST", org_path(ada, "/policies"), ada, LIMIT | {"api_key_id": bot.key_id}).status == 422


def test_plans(services: Services, ada: Person) -> None:
    """Where plans are enforced: 403 for a type the plan does not have, 422 for one policy too many."""
    enforced = services.settings.model_copy(update={"plan_enforcement": True})
    services.__dict__["settings"] = enforced
    services.__dict__.pop("governance", None)
    use_settings(enforced)
    on_plan("lite", ada.org_id)
    answer = send("POST", org_path(ada, "/policies"), ada, BLOCK)
    assert error(answer) == (403, "plan_feature_missing", "PLAN_FEATURE_MISSING")
    answer = send("POST", org_path(ada, "/policies/templates/block-shell/enable"), ada)
    assert error(answer) == (403, "plan_feature_missing", "PLAN_FEATURE_MISSING")
    for _ in range(3):
        create(ada, LIMIT)
    answer = send("POST", org_path(ada, "/policies"), ada, LIMIT)
    assert error(answer)[:2] == (422, "plan_limit_exceeded")
    assert answer.body["details"] == {"resource": "policies", "current": 3, "limit": 3}


def test_list_goes_on_at_a_cursor(ada: Person) -> None:
    """Oldest first, in parts."""
    policies = [create(ada, LIMIT)["id"] for _ in range(5)]
    seen, cursor = [], ""
    for _ in range(3):
        part = ok(send("GET", f"{org_path(ada, '/policies')}?limit=2{cursor}", ada))
        seen += [row["id"] for row in part["policies"]]
        assert part["total"] == 5
        cursor = f"&cursor={part['next_cursor']}"
    assert (seen, part["next_cursor"]) == (policies, None)


def test_update_200(ada: Person, bot: Governed) -> None:
    """What is left out, or null, stays; the version counts changes and only those."""
    row = create(ada, BUDGET | {"workflow_id": bot.workflow_id})
    path = org_path(ada, f"/policies/{row['id']}")
    changes = {"name": "less", "priority": 5, "enforcement_mode": "soft", "enabled": None, "config": {"max_cents": 1}}
    changed = ok(send("PATCH", path, ada, changes))
    assert changed["policy"] | row["policy"] | {
        "name": "less", "priority": 5, "enforcement_mode": "Soft", "config": {"budget_cents": 1}, "version": 2,
        "updated_at": changed["updated_at"],
    } == changed["policy"]  # fmt: skip
    assert changed["updated_at"] > row["updated_at"]
    assert ok(send("PATCH", path, ada, changes)) == changed
    assert ok(send("PATCH", path, ada, {})) == changed
    moved = ok(send("PATCH", path, ada, {"scope": "ApiKey", "scope_id": bot.key_id}))
    assert (moved["scope"], moved["api_key_id"], moved["version"]) == ("ApiKey", bot.key_id, 3)


def test_a_type_does_not_change_400(ada: Person) -> None:
    """Another type has a code of its own; the same may be repeated."""
    path = org_path(ada, f"/policies/{create(ada, BUDGET)['id']}")
    answer = send("PATCH", path, ada, {"policy_type": "RateLimit", "config": {"max_calls_per_minute": 1}})
    assert error(answer) == (400, "policy_type_immutable", "POLICY_TYPE_IMMUTABLE")
    assert ok(send("PATCH", path, ada, {"type": "budgetlimit", "name": "x"}))["version"] == 2


def test_delete_204(ada: Person) -> None:
    """It is gone; deleting it again is 404."""
    path = org_path(ada, f"/policies/{create(ada, LIMIT)['id']}")
    answer = send("DELETE", path, ada)
    assert (answer.status, answer.raw) == (204, b"")
    assert send("DELETE", path, ada).status == 404
    assert send("PATCH", path, ada, {}).status == 404
    assert send("GET", org_path(ada, "/policies"), ada).body["total"] == 0


def test_toggle_200(ada: Person) -> None:
    """Both paths, under each name of the value; without one it is turned over; the same again changes nothing."""
    policy = create(ada, LIMIT)["id"]
    path, flat = org_path(ada, f"/policies/{policy}/toggle"), "/api/v1/policies/toggle"
    told = [
        send("POST", path, ada),
        send("POST", path, ada, {"enabled": True}),
        send("POST", path, ada, {"active": True}),
        send("POST", flat, ada, {"policy_id": policy, "is_active": False}),
        send("POST", flat, ada, {"policy_id": policy}),
        send("POST", path, ada, {"enabled": None}),
    ]
    assert [(answer.status, answer.body["enabled"], answer.body["version"]) for answer in told] == [
        (200, False, 2), (200, True, 3), (200, True, 3), (200, False, 4), (200, True, 5), (200, False, 6),
    ]  # fmt: skip


def test_toggle_in_the_acting_org(ada: Person, olga: Person) -> None:
    """The org named in the header, for its members; the home org otherwise."""
    policy = create(ada, LIMIT)["id"]
    body, flat = {"policy_id": policy, "enabled": False}, "/api/v1/policies/toggle"
    assert send("POST", flat, olga, body).status == 404
    named = olga.headers | {"x-signalbox-org": ada.org_id}
    assert ok(send("POST", flat, named, body))["enabled"] is False


@pytest.mark.parametrize("wrong", [{"enabled": "off"}, {"active": 1}, {"is_active": []}])
def test_toggle_422(ada: Person, wrong: dict[str, Any]) -> None:
    """A value that is neither true nor false, and on the flat path no id."""
    policy = create(ada, LIMIT)["id"]
    assert send("POST", org_path(ada, f"/policies/{policy}/toggle"), ada, wrong).status == 422
    assert send("POST", "/api/v1/policies/toggle", ada, {"policy_id": policy} | wrong).status == 422
    assert error(send("POST", "/api/v1/policies/toggle", ada, {}))[:2] == (422, "validation_error")


def test_what_changed_is_told(ada: Person) -> None:
    """Each change is an event with its author, and a frame for the org's clients."""
    policy = create(ada, LIMIT)["id"]
    send("PATCH", org_path(ada, f"/policies/{policy}"), ada, {"name": "slower"})
    send("DELETE", org_path(ada, f"/policies/{policy}"), ada)
    events = events_of(ada.org_id, "policy.")
    assert [event.action for event in events] == ["policy.created", "policy.updated", "policy.deleted"]
    assert {(event.actor_type, event.actor_id) for event in events} == {("user", ada.id)}
    assert {(event.resource_type, event.resource_id, event.outcome) for event in events} == {
        ("policy", policy, "success")
    }
    assert [frames_of(event)[0]["new_version"] for event in events] == [2, 3, 4]


def test_a_repetition_with_a_key_makes_one(ada: Person) -> None:
    """Idempotency-Key: the first answer again."""
    headers = ada.headers | {"idempotency-key": "k"}
    first, again = (send("POST", org_path(ada, "/policies"), headers, LIMIT) for _ in range(2))
    assert (first.status, again.status, again.raw) == (201, 201, first.raw)
    assert send("GET", org_path(ada, "/policies"), ada).body["total"] == 1


# Templates


def test_templates_200(ada: Person) -> None:
    """Those the docs name, none of them enabled at first."""
    rows = ok(send("GET", org_path(ada, "/policies/templates"), ada))["templates"]
    assert {row["name"] for row in rows} >= {
        "Cap dev workflow at 100 calls/min", "Block shell tools", "Block destructive SQL", "Block outbound messages",
        "$5 monthly budget", "$50 monthly budget",
    }  # fmt: skip
    assert [row["id"] for row in rows] == list(TEMPLATES)
    for row in rows:
        assert row.keys() == {
            "id", "name", "description", "policy_type", "config", "enabled", "policy_id", "plan",
        }  # fmt: skip
        assert (row["enabled"], row["policy_id"]) == (False, None)


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_is_enabled_once(ada: Person, template: str) -> None:
    """201 with a real policy, 200 with the same one; it is listed as enabled until it is deleted either way."""
    path = org_path(ada, f"/policies/templates/{template}")
    first, again = send("POST", f"{path}/enable", ada), send("POST", f"{path}/enable", ada, {})
    assert (first.status, again.status) == (201, 200)
    assert again.body == first.body
    assert (first.body["template_id"], first.body["scope"], first.body["enabled"]) == (template, "Org", True)
    assert first.body["config"] == TEMPLATES[template].config
    assert enabled(ada) == {template: first.body["id"]}
    assert [send("DELETE", path, ada).status for _ in range(2)] == [204, 204]
    assert enabled(ada) == {}
    second = made(send("POST", f"{path}/enable", ada))
    assert second["id"] != first.body["id"]
    assert send("DELETE", org_path(ada, f"/policies/{second['id']}"), ada).status == 204
    assert enabled(ada) == {}


def enabled(who: Person) -> dict[str, str]:
    rows = send("GET", org_path(who, "/policies/templates"), who).body["templates"]
    return {row["id"]: row["policy_id"] for row in rows if row["enabled"]}


def test_a_template_for_one_workflow(ada: Person, bot: Governed) -> None:
    """The body may name what it is about; a bad target is 422."""
    path = org_path(ada, "/policies/templates/cap-dev-workflow/enable")
    for wrong in ({"workflow_id": "nope"}, {"scope": "galaxy"}, {"scope": 7}):
        assert send("POST", path, ada, wrong).status == 422
    row = made(send("POST", path, ada, {"workflow_id": bot.workflow_id}))
    assert (row["scope"], row["workflow_id"]) == ("Workflow", bot.workflow_id)


# The next call


def test_the_next_call_obeys(ada: Person, bot: Governed) -> None:
    """Each change bites, and each removal frees, at the very next gate call."""
    path = org_path(ada, f"/policies/{create(ada, BLOCK)['id']}")
    blocked = bot.gate(gate, tools=["DB.drop_table"])
    assert (blocked.status, blocked.body["error_code"]) == (403, "TOOL_BLOCKED")
    assert bot.gate(gate, tools=["db.select"]).status == 200
    send("PATCH", path, ada, {"config": {"tools": ["*.select"]}})
    assert bot.gate(gate, tools=["db.select"]).status == 403
    send("POST", f"{path}/toggle", ada)
    assert bot.gate(gate, tools=["db.select"]).status == 200
    send("POST", f"{path}/toggle", ada)
    send("DELETE", path, ada)
    assert bot.gate(gate, tools=["db.select"]).status == 200


@pytest.mark.parametrize(
    ("scope", "code"),
    [
        ({"scope": "Org"}, "BUDGET_ORG_CEILING_BLOCKED"),
        ({"workflow_id": "{workflow}"}, "BUDGET_WORKFLOW_BLOCKED"),
        ({"api_key_id": "{key}"}, "BUDGET_HARD_BLOCKED"),
    ],
)
def test_a_budget_of_any_scope_is_a_limit(ada: Person, bot: Governed, scope: dict[str, str], code: str) -> None:
    """Three cents are three calls of a cent; raised by one it is one more, and without the policy there is no limit."""
    target = {
        name: value.format(workflow=bot.workflow_id, key=bot.key_id) for name, value in scope.items()
    }  # fmt: skip
    path = org_path(ada, f"/policies/{create(ada, BUDGET | target)['id']}")
    answers = [bot.gate(gate) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 402]
    assert answers[3].body["error_code"] == code
    send("PATCH", path, ada, {"config": {"budget_cents": 4}})
    assert [bot.gate(gate).status for _ in range(2)] == [200, 402]
    send("DELETE", path, ada)
    assert bot.gate(gate).status == 200


def test_a_rate_limit_is_one(held: HeldClock, ada: Person, bot: Governed) -> None:
    """The calls of a minute, and then 429 until the next."""
    create(ada, LIMIT | {"config": {"max_calls_per_minute": 2}})
    assert [bot.gate(gate).status for _ in range(3)] == [200, 200, 429]
    held.advance(60)
    assert bot.gate(gate).status == 200
