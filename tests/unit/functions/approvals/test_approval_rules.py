"""Approval rules over HTTP. Source: NullRun docs, Human approval; docs/rulings.md#approval-rules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from functions.gate.app import handler as gate
from shared.governance.orgsettings import org_settings
from shared.kit import ids, json
from shared.store.models.governance import Event, events_pk
from tests.support.deployment import Person, deployment, sign_up
from tests.support.governance import Governed
from tests.support.orgs import made, ok, org_path
from tests.unit.functions.approvals.conftest import LARGEST, refund, send

FIELDS = {
    "id", "rule_id", "organization_id", "name", "enabled", "tool_patterns", "per_call_threshold_cents",
    "action_predicate", "priority", "expires_in_seconds", "action_label", "risk_level", "workflow_id", "version",
    "created_at", "updated_at",
}  # fmt: skip
DEFAULTS = {
    "enabled": True,
    "tool_patterns": [],
    "per_call_threshold_cents": None,
    "action_predicate": None,
    "priority": 100,
    "expires_in_seconds": 300,
    "action_label": None,
    "risk_level": "MEDIUM",
    "workflow_id": None,
}
LARGE = {
    "kind": "tool_parameters",
    "trigger_logic": "any",
    "conditions": [{"param_name": "amount", "matcher": {"kind": "numeric_range", "min": 500, "max": None}}],
}
UNKNOWN = "0198c0e1-5d20-7b13-8e44-7c1a2b3c4d5e"


def rules(who: Person, rest: str = "") -> str:
    return org_path(who, f"/approval-rules{rest}")


def version(who: Person) -> int:
    return int(org_settings(who.org_id).policy_version)


def last_event(who: Person) -> Event:
    return list(Event.query(events_pk(who.org_id), consistent_read=True))[-1]


# Making


def test_create_201(ada: Person, olga: Person, bot: Governed) -> None:
    """An operator makes a rule: the documented fields, where to find it, and what was asked for."""
    full = DEFAULTS | {
        "name": "Großes",
        "tool_patterns": ["refund*", "charge"],
        "per_call_threshold_cents": 5,
        "action_predicate": LARGE,
        "priority": 0,
        "expires_in_seconds": 3600,
        "action_label": "Refund a customer",
        "risk_level": "HIGH",
        "workflow_id": bot.workflow_id,
        "enabled": False,
    }
    answer = send("POST", rules(ada), olga, full | {"unknown": 1})
    row = made(answer)
    assert row.keys() == FIELDS
    assert row | full == row
    assert (row["rule_id"], row["organization_id"], row["version"]) == (row["id"], ada.org_id, 1)
    assert answer.headers["location"] == rules(ada, f"/{row['id']}")
    assert send("GET", answer.headers["location"], olga).body == row


def test_create_201_with_a_name_alone(ada: Person) -> None:
    """Everything else has a default; levels are read in any case, names without spaces around them."""
    row = made(send("POST", rules(ada), ada, {"name": " all ", "risk_level": "low"}))
    assert row | DEFAULTS | {"name": "all", "risk_level": "LOW"} == row


@pytest.mark.parametrize(
    ("action", "method", "body", "status"),
    [
        ("created", "POST", {"name": "r"}, 201),
        ("updated", "PATCH", {"priority": 5}, 200),
        ("deleted", "DELETE", None, 204),
    ],
)
def test_every_change_is_told_and_moves_the_policy_version(
    ada: Person, bot: Governed, rule: dict[str, Any], action: str, method: str, body: Any, status: int
) -> None:
    """Purses carry the new version when the change is answered, and clients hear of it."""
    before = version(ada)
    path = rules(ada) if method == "POST" else rules(ada, f"/{rule['id']}")
    assert send(method, path, ada, body).status == status
    assert version(ada) == bot.purse.policy_version == before + 1
    event = last_event(ada)
    assert (event.action, event.resource_type) == (f"approval_rule.{action}", "approval_rule")
    (frame,) = json.loads(event.control or "[]")
    assert (frame["type"], frame["policy_id"]) == ("policy_invalidated", event.resource_id)
    assert (frame["organization_id"], frame["new_version"]) == (ada.org_id, before + 1)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": None}, "name"),
        ({"name": " "}, "name"),
        ({"name": 5}, "name"),
        ({"name": "x" * 81}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"tool_patterns": "refund"}, "tool_patterns"),
        ({"tool_patterns": [5]}, "tool_patterns.0"),
        ({"tool_patterns": ["x"] * 101}, "tool_patterns"),
        ({"tool_patterns": ["x" * 4000] * 20}, "tool_patterns"),
        ({"per_call_threshold_cents": -1}, "per_call_threshold_cents"),
        ({"per_call_threshold_cents": 10**400}, "per_call_threshold_cents"),
        ({"per_call_threshold_cents": 1.5}, "per_call_threshold_cents"),
        ({"per_call_threshold_cents": True}, "per_call_threshold_cents"),
        ({"action_predicate": []}, "action_predicate"),
        ({"action_predicate": {"kind": "other"}}, "action_predicate.kind"),
        ({"action_predicate": LARGE | {"conditions": []}}, "action_predicate.conditions"),
        ({"priority": -1}, "priority"),
        ({"priority": 1001}, "priority"),
        ({"priority": None}, "priority"),
        ({"expires_in_seconds": 0}, "expires_in_seconds"),
        ({"expires_in_seconds": 3601}, "expires_in_seconds"),
        ({"action_label": "x" * 201}, "action_label"),
        ({"action_label": 5}, "action_label"),
        ({"risk_level": "EXTREME"}, "risk_level"),
        ({"risk_level": None}, "risk_level"),
        ({"workflow_id": "x"}, "workflow_id"),
        ({"workflow_id": UNKNOWN}, "workflow_id"),
        ({"enabled": "yes"}, "enabled"),
        ({"enabled": None}, "enabled"),
    ],
)
def test_422(ada: Person, rule: dict[str, Any], wrong: dict[str, Any], field: str) -> None:
    """A bad field is named, at making and at changing, and nothing changes."""
    before = version(ada)
    for answer in (
        send("POST", rules(ada), ada, {"name": "x"} | wrong),
        send("PATCH", rules(ada, f"/{rule['id']}"), ada, wrong),
    ):
        assert (answer.status, answer.body["error"]) == (422, "validation_error"), answer
        assert answer.body["details"]["field"] == field
        assert answer.body["error_message"] == answer.body["message"]
    assert send("GET", rules(ada, f"/{rule['id']}"), ada).body == rule
    assert version(ada) == before


@pytest.mark.parametrize(
    ("pattern", "slug"), [("a?", "invalid_glob"), ("a||b", "invalid_glob"), ("x" * 4097, "pattern_too_long")]
)
def test_400_for_patterns(ada: Person, rule: dict[str, Any], pattern: str, slug: str) -> None:
    """Patterns are refused as those of policies are."""
    for method, path in (("POST", rules(ada)), ("PATCH", rules(ada, f"/{rule['id']}"))):
        answer = send(method, path, ada, {"name": "x", "tool_patterns": [pattern]})
        assert (answer.status, answer.body["error"]) == (400, slug)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b'{"name": "\\ud800"}', b'{"name": NaN}'])
def test_400_for_what_is_no_object(ada: Person, rule: dict[str, Any], raw: bytes) -> None:
    """Before anything else is looked at."""
    for method, path in (("POST", rules(ada)), ("PATCH", rules(ada, f"/{rule['id']}"))):
        answer = send(method, path, ada, raw=raw)
        assert (answer.status, answer.body["error"]) == (400, "invalid_json")


def test_413(ada: Person, rule: dict[str, Any]) -> None:
    """A body beyond what anybody may send."""
    for method, path in (("POST", rules(ada)), ("PATCH", rules(ada, f"/{rule['id']}"))):
        assert send(method, path, ada, raw=b" " * (LARGEST + 1)).status == 413


def test_422_for_more_rules_than_the_plan_allows(tmp_path: Path) -> None:
    """Where plans are enforced: what there is, and what there may be."""
    with deployment(tmp_path, plan_enforcement=True, default_plan="starter"):
        ada = sign_up("ada")
        answer = send("POST", rules(ada), ada, {"name": "x"})
    assert (answer.status, answer.body["error"]) == (422, "plan_limit_exceeded")
    assert answer.body["details"] == {"resource": "approval_rules", "current": 0, "limit": 0}


def test_422_for_more_rules_than_anybody_may_have(
    ada: Person, rule: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every gate call looks at all of them."""
    monkeypatch.setattr("shared.governance.ruleservice.MOST_RULES", 1)
    answer = send("POST", rules(ada), ada, {"name": "x"})
    assert (answer.status, answer.body["error"]) == (422, "plan_limit_exceeded")
    assert answer.body["details"] == {"resource": "approval_rules", "current": 1, "limit": 1}


# Looking


def test_list_200(ada: Person, vic: Person, bot: Governed) -> None:
    """Oldest first, in parts; members and the org's keys may look."""
    names = ["a", "b", "c"]
    for name in names:
        made(send("POST", rules(ada), ada, {"name": name}))
    for who in (ada, vic, {"x-api-key": bot.key}):
        body = ok(send("GET", rules(ada), who))
        assert [row["name"] for row in body["approval_rules"]] == names
        assert (body["total"], body["next_cursor"]) == (3, None)
    first = send("GET", rules(ada, "?limit=2"), ada).body
    assert [row["name"] for row in first["approval_rules"]] == ["a", "b"]
    rest = send("GET", rules(ada, f"?limit=2&cursor={first['next_cursor']}"), ada).body
    assert [row["name"] for row in rest["approval_rules"]] == ["c"]


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "cursor=%20"])
def test_list_400(ada: Person, query: str) -> None:
    """Bad paging."""
    assert send("GET", rules(ada, f"?{query}"), ada).status == 400


# Changing


def test_update_200(ada: Person, rule: dict[str, Any]) -> None:
    """What is given changes, null removes, the rest stays; what is so already changes nothing."""
    path = rules(ada, f"/{rule['id']}")
    row = ok(send("PATCH", path, ada, {"per_call_threshold_cents": 5, "action_predicate": LARGE}))
    assert row == rule | {
        "per_call_threshold_cents": 5,
        "action_predicate": LARGE,
        "version": 2,
        "updated_at": row["updated_at"],
    }
    assert row["updated_at"] > rule["updated_at"]
    removed = ok(send("PATCH", path, ada, {"per_call_threshold_cents": None, "action_label": None}))
    assert (removed["per_call_threshold_cents"], removed["action_label"]) == (None, None)
    before = version(ada)
    assert send("PATCH", path, ada, {"action_label": None, "id": UNKNOWN}).body == removed
    assert send("PATCH", path, ada, {}).body == removed
    assert version(ada) == before


def test_delete_204(ada: Person, rule: dict[str, Any]) -> None:
    """It is gone; a second time there is none."""
    path = rules(ada, f"/{rule['id']}")
    answer = send("DELETE", path, ada)
    assert (answer.status, answer.body) == (204, None)
    assert send("DELETE", path, ada).status == 404
    assert send("GET", rules(ada), ada).body["total"] == 0


@pytest.mark.parametrize("rule_id", ["x", UNKNOWN, "%00", "a" * 3000])
def test_404(ada: Person, rule_id: str) -> None:
    """No such rule, before the body is looked at."""
    path = rules(ada, f"/{rule_id}")
    assert send("GET", path, ada).status == 404
    assert send("PATCH", path, ada, raw=b"{").status == 404
    assert send("PATCH", path, ada, {"name": "x"}).status == 404
    answer = send("DELETE", path, ada)
    assert (answer.status, answer.body["error"]) == (404, "not_found")


def test_404_for_another_orgs_rule(ada: Person, bob: Person, rule: dict[str, Any]) -> None:
    """In one's own org it is not there."""
    assert send("GET", rules(bob, f"/{rule['id']}"), bob).status == 404
    assert send("DELETE", rules(bob, f"/{rule['id']}"), bob).status == 404


def test_401_and_403(ada: Person, bob: Person, vic: Person, bot: Governed, rule: dict[str, Any]) -> None:
    """Nobody without credentials; strangers not at all; viewers and keys only look."""
    one = rules(ada, f"/{rule['id']}")
    changes = [("POST", rules(ada)), ("PATCH", one), ("DELETE", one)]
    for method, path in [("GET", rules(ada)), ("GET", one), *changes]:
        assert send(method, path, raw=b"{").status == 401
        assert send(method, path, bob, raw=b"{").status == 403
    for method, path in changes:
        for who in (vic, {"x-api-key": bot.key}):
            answer = send(method, path, who, raw=b"{")
            assert (answer.status, answer.body["error"]) == (403, "forbidden")
    assert send("GET", one, {"x-api-key": bot.key}).body == rule


def test_503(ada: Person, rule: dict[str, Any], unwritable: Callable[[], None]) -> None:
    """When the store takes nothing."""
    unwritable()
    one = rules(ada, f"/{rule['id']}")
    for method, path, body in (
        ("POST", rules(ada), {"name": "x"}),
        ("PATCH", one, {"name": "y"}),
        ("DELETE", one, None),
    ):
        assert send(method, path, ada, body).status == 503


# Effect


def test_a_rule_counts_from_the_next_call_on(ada: Person, bot: Governed) -> None:
    """Made, changed and removed: the answer to the change is the promise."""

    def decision(amount: str) -> str:
        return str(ok(bot.gate(gate, operation_id=ids.uuid4(), **refund(amount)))["decision"])

    assert decision("900") == "allow"
    row = made(send("POST", rules(ada), ada, {"name": "x", "tool_patterns": ["refund"], "action_predicate": LARGE}))
    path = rules(ada, f"/{row['id']}")
    assert (decision("900"), decision("499")) == ("require_approval", "allow")
    send("PATCH", path, ada, {"action_predicate": None})
    assert decision("499") == "require_approval"
    send("PATCH", path, ada, {"enabled": False})
    assert decision("900") == "allow"
    send("PATCH", path, ada, {"enabled": True})
    assert decision("900") == "require_approval"
    send("DELETE", path, ada)
    assert decision("900") == "allow"


def test_an_idempotency_key_makes_one_rule(ada: Person) -> None:
    """A repetition is answered as the first was."""
    headers = ada.headers | {"idempotency-key": "k"}
    first, again = (send("POST", rules(ada), headers, {"name": "x"}) for _ in range(2))
    assert first.body == again.body
    assert send("GET", rules(ada), ada).body["total"] == 1
