"""What the owner has: one of everything, named so that it is recognised wherever it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.composition import Services
from shared.kit import clock
from tests.support.apigw import Handler, call
from tests.support.deployment import Person
from tests.support.governance import NONE_DIGEST

CANARY = "canary-7f3a"
SECRET = "CANARY_KEY"
CHAIN = "7f3ab3a1-30e8-4b7a-9c55-0d5ba7e2c001"
TEMPLATE = "block-shell"
FLOW = f"""metadata:
  name: {CANARY}
nodes:
  start:
    type: transform
    params: {{script: "return '{CANARY}'"}}
"""
_HOUR_S = 3600


@dataclass(frozen=True)
class Hand:
    """Makes things over the API as somebody."""

    handler: Handler
    headers: Mapping[str, str]
    org_id: str

    def make(self, path: str, body: Any = None, *, method: str = "POST", status: int = 201) -> dict[str, Any]:
        """What was made. A path without a leading slash is one of the org."""
        whole = path if path.startswith("/") else f"/api/v1/orgs/{self.org_id}/{path}"
        made = call(self.handler, method, whole, headers=self.headers, json=body)
        assert made.status == status, (path, made)
        found: dict[str, Any] = made.body
        return found

    def workflow(self, name: str) -> str:
        """A workflow's id."""
        made: str = self.make("workflows", {"name": name, "description": name, "budget_cents": 5000})["id"]
        return made

    def key(self, workflow_id: str, name: str, **more: Any) -> dict[str, Any]:
        """A new API key of a workflow."""
        return self.make("api-keys", {"name": name, "workflow_id": workflow_id, **more})


def owners_things(handler: Handler, owner: Person, services: Services) -> dict[str, str]:
    """Ids of the owner's things by the names that paths and bodies have for them."""
    hand = Hand(handler, owner.headers, owner.org_id)
    renamed = {"name": CANARY, "contact_email": f"{CANARY}@example.com"}
    hand.make(f"/api/v1/orgs/{owner.org_id}", renamed, method="PATCH", status=200)
    things = {"org_id": owner.org_id, "account_id": owner.id, "key": SECRET, "name": "transform", "provider": "github"}
    things |= _flows(hand, owner)
    things["workflow_id"] = hand.workflow(CANARY)
    things["sibling_id"] = hand.workflow(f"{CANARY} sibling")
    things["key_id"] = hand.key(things["workflow_id"], CANARY)["id"]
    bound = f"workflows/{things['workflow_id']}/definitions/{things['definition_id']}"
    hand.make(bound, method="PUT", status=200)
    things |= _rules(hand)
    things |= _calls(hand, things["workflow_id"])
    invited = hand.make("invites", {"email": f"invited-{CANARY}@example.com", "role": "viewer"})
    things |= {"invite_id": invited["id"], "token": invited["token"]}
    things["job_id"] = hand.make("audit-log/export", {}, status=200)["job_id"]
    # What follows the change stream writes the audit chain, alerts and the export's file.
    assert services.store is not None
    assert services.governance.outbox.handle(services.store.stream.read(0, 10_000)) == []
    things["alert_id"] = hand.make("alerts", method="GET", status=200)["data"][0]["id"]
    return things | _channels(hand)


def _flows(hand: Hand, owner: Person) -> dict[str, str]:
    hand.make(f"/api/v1/accounts/{owner.id}/secrets", {"key": SECRET, "value": f"{CANARY}-value"})
    flow = hand.make("/api/v1/flows", {"name": CANARY, "description": CANARY, "definition": FLOW})
    bound = hand.make("/api/v1/flows", {"name": f"{CANARY}-bound", "description": CANARY, "definition": FLOW})
    run = hand.make(f"/api/v1/flows/{flow['id']}/run", {"input": {"value": CANARY}})
    return {"flow_id": flow["id"], "definition_id": bound["id"], "execution_id": run["execution_id"]}


def _rules(hand: Hand) -> dict[str, str]:
    budget = {"name": CANARY, "policy_type": "BudgetLimit", "scope": "Org", "config": {"budget_cents": 100_000}}
    policy = hand.make("policies", budget)
    hand.make(f"policies/templates/{TEMPLATE}/enable", {})
    asking = {"name": CANARY, "tool_patterns": ["refund"], "expires_in_seconds": _HOUR_S, "action_label": CANARY}
    rule = hand.make("approval-rules", asking)
    return {"policy_id": policy["id"], "template_id": TEMPLATE, "rule_id": rule["id"]}


def _calls(hand: Hand, workflow_id: str) -> dict[str, str]:
    """An execution that was allowed, in a chain; a question that waits, and one that was answered."""
    key = hand.key(workflow_id, "caller")
    agent = Hand(hand.handler, {"x-api-key": key["key"]}, hand.org_id)
    said = {"organization_id": hand.org_id, "action_digest": NONE_DIGEST}
    asked = [
        agent.make("/api/v1/gate", {**said, "tools": [tool], **more}, status=200)
        for tool, more in (("search", {"chain_id": CHAIN, "chain_op": "start"}), ("refund", {}), ("refund", {}))
    ]
    hand.make(f"approvals/{asked[2]['approval_id']}/approve", {"note": CANARY}, status=200)
    agent.make("/api/v1/gate", {**said, "tools": ["bash.run"]}, status=403)
    return {
        "governed_id": asked[0]["execution_id"], "chain_id": CHAIN, "approval_id": asked[1]["approval_id"],
        "approved_id": asked[2]["approval_id"], "api_key": key["key"],
    }  # fmt: skip


def _channels(hand: Hand) -> dict[str, str]:
    """Made last, so that nothing is on its way to them."""
    hook = {"url": f"https://{CANARY}.example.com/{CANARY}", "secret": f"{CANARY}-secret"}
    hand.make("alert-channels", {"name": f"{CANARY} hook", "channel_type": "webhook", "config": hook})
    mail = {"name": CANARY, "channel_type": "email", "config": {"email": f"{CANARY}@example.com"}}
    return {"channel_id": hand.make("alert-channels", mail)["id"]}


def keys_by_kind(handler: Handler, owner: Person, stranger: Person, things: Mapping[str, str]) -> dict[str, str]:
    """API keys by the kind of caller; the one that made the owner's execution is ``key``."""
    hand, abroad = (Hand(handler, who.headers, who.org_id) for who in (owner, stranger))
    revoked = hand.key(things["workflow_id"], "revoked")
    hand.make(f"api-keys/{revoked['id']}/revoke", status=204)
    foreign = abroad.key(abroad.workflow("abroad"), "abroad")["key"]
    live = {
        "key": things["api_key"],
        "sibling_key": hand.key(things["sibling_id"], "sibling")["key"],
        "unscoped_key": hand.key(things["workflow_id"], "verifies", scopes=["verify"])["key"],
        "unverifying_key": hand.key(things["workflow_id"], "gates", scopes=["gate"])["key"],
        "intruding_key": foreign,
        "foreign_key": foreign,
    }
    for key in set(live.values()):
        # When a key was last used is written once a minute: it has been used in this one.
        asked = call(handler, "POST", "/api/v1/check", headers={"x-api-key": key}, json={"tools": ["search"]})
        assert asked.status == 200, asked
    return live | {"revoked_key": revoked["key"], "unknown_key": f"nr_live_{'x' * 32}"}


def ended_key(handler: Handler, owner: Person, workflow_id: str) -> str:
    """A key that is good for an hour."""
    ends = clock.rfc3339(clock.now_ms() + _HOUR_S * 1000)
    made: str = Hand(handler, owner.headers, owner.org_id).key(workflow_id, "ended", expires_at=ends)["key"]
    return made
