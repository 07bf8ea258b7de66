"""An org whose agents are governed: what operations are asked of, made once a path or body names it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from scripts import samples
from scripts.costing.bill import Bill
from scripts.costing.edges import GitHub
from scripts.costing.flows import TRANSFORM, chain
from scripts.costing.world import PASSWORD, World
from shared.governance.signatures import sign
from shared.kit import clock

MODEL_CALL = {"organization_id": "local", "check_type": "llm", "estimated_tokens": 1000, "model": "gpt-4o-mini"}
DIGEST = "0049d93a36f0710269a6deb733ca78d57a770ef640a2698d0fddaa9653b7c3de"
CHAIN = "2f1f9c59-7c0b-4f3c-9b62-0c6a0d3ee0c5"
REDIRECT = "https://app.example.com/callback"


@dataclass(frozen=True, slots=True)
class Agent:
    """An API key, and how its client calls: every request is signed."""

    world: World
    key: str
    secret: str

    def headers(self, body: Any = None) -> dict[str, str]:
        """Credentials of a request."""
        stamp = clock.now_ms() // 1000
        raw = b"" if body is None else json.dumps(body).encode()
        signature = sign(self.secret, stamp, self.key, raw)
        return {"x-api-key": self.key, "x-signature": signature, "x-signature-timestamp": str(stamp)}

    def call(self, path: str, body: Any, *, refused: int = 0) -> Any:
        """The answer to a POST. Raises ValueError unless it succeeds, or is refused with the status ``refused``."""
        return self.world.call("POST", path, body, headers=self.headers(body), refused=refused)

    def gate(self, name: str, *, refused: int = 0, **fields: Any) -> Any:
        """A gate call under an operation id."""
        return self.call("/api/v1/gate", MODEL_CALL | {"operation_id": name} | fields, refused=refused)


@dataclass
class Governed:
    """The org of the deployment's first account. ``places`` are ids by the names that paths and bodies have."""

    world: World
    token: str
    places: dict[str, str]
    _agent: Agent | None = field(default=None, init=False)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """A request of the org's owner; a path without a leading slash is one of the org."""
        whole = path if path.startswith("/") else f"/api/v1/orgs/{self.places['org_id']}/{path}"
        return self.world.call(method, whole, body, self.token)

    def place(self, name: str) -> str:
        """The id that a path calls ``name``; it is made now unless it is there."""
        if name not in self.places:
            self.places[name] = MAKERS[name](self)
        return self.places[name]

    @property
    def agent(self) -> Agent:
        """A client with a key of the workflow, known to the functions from an earlier call."""
        if self._agent is None:
            made = self.call("POST", "api-keys", {"name": "agent", "workflow_id": self.place("workflow_id")})
            self._agent = Agent(self.world, made["key"], made["secret_key"])
            self._agent.gate("earlier")
        return self._agent

    def settle(self) -> None:
        """Let the relay do what is to be done."""
        self.world.settle(Bill(), Bill())


def governed(world: World) -> Governed:
    """The owner has signed in, and nothing else has been done."""
    world.call("POST", "/api/v1/accounts", {"username": "ada", "password": PASSWORD})
    session = world.call("POST", "/api/v1/auth/login", {"username": "ada", "password": PASSWORD})
    fixed = {"org_id": session["organization_id"], "provider": "github", "template_id": "block-destructive-sql"}
    return Governed(world, session["token"], fixed)


def _workflow(org: Governed) -> str:
    return str(org.call("POST", "workflows", {"name": "support bot", "budget_cents": 5000})["id"])


def _key(org: Governed) -> str:
    return str(org.call("POST", "api-keys", {"name": "spare", "workflow_id": org.place("workflow_id")})["id"])


def _policy(org: Governed) -> str:
    budget = {"name": "Cap", "policy_type": "BudgetLimit", "scope": "Org", "config": {"budget_cents": 5000}}
    return str(org.call("POST", "policies", budget)["id"])


def _rule(org: Governed) -> str:
    asking = {"name": "Refunds", "tool_patterns": ["refund*"], "action_label": "Refund a customer"}
    return str(org.call("POST", "approval-rules", asking)["id"])


def _execution(org: Governed) -> str:
    return str(org.agent.gate("execution", tools=["search"])["execution_id"])


def _chain(org: Governed) -> str:
    org.agent.gate("chain", chain_id=CHAIN, chain_op="start")
    return CHAIN


def _approval(org: Governed) -> str:
    org.place("rule_id")
    return str(org.agent.gate("approval", tools=["refund"], action_digest=DIGEST)["approval_id"])


def _approved(org: Governed) -> str:
    org.place("rule_id")
    asked = org.agent.gate("approved", tools=["refund"], action_digest=DIGEST)
    org.call("POST", f"approvals/{asked['approval_id']}/approve", {})
    org.places["approved_execution"] = asked["execution_id"]
    return str(asked["approval_id"])


def _approved_execution(org: Governed) -> str:
    org.place("approved")
    return org.places["approved_execution"]


def _invite(org: Governed) -> str:
    made = org.call("POST", "invites", {"email": "grace@example.com", "role": "operator"})
    org.places["token"] = made["token"]
    return str(made["id"])


def _token(org: Governed) -> str:
    org.place("invite_id")
    return org.places["token"]


def _member(org: Governed) -> str:
    body = {"name": "Grace", "password": PASSWORD}
    org.world.call("POST", f"/api/v1/invites/{org.place('token')}/accept", body)
    members = org.call("GET", "members")["members"]
    return str(next(member["user_id"] for member in members if member["role"] == "operator"))


def _job(org: Governed) -> str:
    made = org.call("POST", "audit-log/export", {})["job_id"]
    org.settle()
    return str(made)


def _alert(org: Governed) -> str:
    block = {"name": "No drops", "policy_type": "ToolBlock", "scope": "Org", "config": {"tool_pattern": ["db.drop*"]}}
    org.call("POST", "policies", block)
    org.agent.gate("refused", tools=["db.drop"], refused=403)
    org.settle()
    return str(org.call("GET", "alerts")["data"][0]["id"])


def _channel(org: Governed) -> str:
    hook = {"url": "https://hooks.example.com/x", "secret": "correct horse"}
    return str(org.call("POST", "alert-channels", {"name": "ops", "channel_type": "webhook", "config": hook})["id"])


def _definition(org: Governed) -> str:
    text = chain(10, TRANSFORM)
    return str(org.call("POST", "/api/v1/flows", {"name": "Orders", "definition": text})["id"])


MAKERS: Mapping[str, Callable[[Governed], str]] = {
    "alert_id": _alert, "approval_id": _approval, "approved": _approved, "approved_execution": _approved_execution,
    "chain_id": _chain, "channel_id": _channel, "definition_id": _definition, "execution_id": _execution,
    "invite_id": _invite, "job_id": _job, "key_id": _key, "member_id": _member, "policy_id": _policy,
    "reservation_id": _execution, "rule_id": _rule, "token": _token, "workflow_id": _workflow,
}  # fmt: skip
"""What makes a thing, by the name that paths and bodies have for its id."""

IN_BODIES = {"chain_id", "execution_id", "policy_id", "reservation_id", "workflow_id"}
"""Fields of request bodies that are ids of things."""


@dataclass(frozen=True, slots=True)
class Special:
    """Where an operation differs: other things in its path or body, another caller, something to do first.

    ``first`` may answer the body, if only what it did tells it.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    query: Callable[[Governed], str] | None = None
    by_agent: bool = False
    first: Callable[[Governed], Any] | None = None


def _begin_oauth(org: Governed) -> dict[str, str]:
    org.world.services.governance.oauth.__dict__["_client"] = lambda provider: GitHub()
    begun = org.world.call("GET", "/api/v1/auth/oauth/github/start", query=f"redirect_uri={REDIRECT}")
    return {"provider": "github", "code": "c0de", "redirect_uri": REDIRECT, "state": begun["state"]}


def _bind(org: Governed) -> None:
    org.call("PUT", f"workflows/{org.place('workflow_id')}/definitions/{org.place('definition_id')}")


def _enable(org: Governed) -> None:
    org.call("POST", f"policies/templates/{org.places['template_id']}/enable", {"scope": "Org"})


def _link(org: Governed) -> str:
    """The query of a file's address, which stands for credentials."""
    status = org.call("GET", f"audit-log/export/{org.place('job_id')}/status")
    return str(status["file_url"]).partition("?")[2]


def _own_org(org: Governed) -> None:
    """The caller is somebody with an org of their own; the deployment's first one stays."""
    form = {"name": "Edsger", "email": "edsger@example.com", "password": PASSWORD}
    made = org.world.call("POST", "/api/v1/auth/register", form)
    org.token, org.places["org_id"] = made["session_token"], made["organization_id"]


def _pause(org: Governed) -> None:
    org.call("POST", f"workflows/{org.place('workflow_id')}/pause", {"reason": "runaway"})
    org.settle()


SPECIAL = {
    "approximate": Special(by_agent=True),
    "consume": Special({"approval_id": "approved", "execution_id": "approved_execution"}),
    "delete_org": Special(first=_own_org),
    "disable_template": Special(first=_enable),
    "get_export_file": Special(query=_link),
    "get_governed_definition": Special(first=_bind),
    "register_oauth": Special(first=_begin_oauth),
    "resume_workflow": Special(first=_pause),
    "start_oauth": Special(query=lambda org: f"redirect_uri={REDIRECT}"),
    "status": Special(by_agent=True),
    "unbind_definition": Special(first=_bind),
}


def measure(org: Governed, method: str, path: str, operation: dict[str, Any]) -> Bill:
    """What one operation of governance consumes."""
    special = SPECIAL.get(operation["operationId"], Special())
    given = special.first(org) if special.first is not None else None
    body = samples.sample_body(method, path, operation) if given is None else given
    target = re.sub(r"\{(\w+)\}", lambda found: org.place(special.names.get(found[1], found[1])), path)
    body = _with_ids(org, special, body)
    security = operation["x-signalbox-security"]
    by_agent = special.by_agent or security == "key"
    headers = org.agent.headers(body) if by_agent else {}
    token = org.token if security in ("required", "any") and not by_agent else ""
    query = special.query(org) if special.query is not None else ""
    bill = Bill()
    with org.world.meter.on(bill):
        org.world.call(method, target, body, token, headers=headers, query=query)
    return bill


def _with_ids(org: Governed, special: Special, value: Any) -> Any:
    """A body in whose fields the ids of the examples are those of things that exist."""
    if isinstance(value, list):
        return [_with_ids(org, special, member) for member in value]
    if not isinstance(value, dict):
        return value
    return {
        name: org.place(special.names.get(name, name)) if name in IN_BODIES else _with_ids(org, special, member)
        for name, member in value.items()
    }
