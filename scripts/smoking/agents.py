"""Agents under governance: asked for, counted, refused, stopped, and written down."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
import uuid
from typing import Any
from urllib.parse import urlsplit

import requests
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from scripts.smoking.caller import END_S, Caller, Failed, expect, until

MODEL = {"model": "gpt-4o", "input_tokens": 40_000, "output_tokens": 0}
CENTS = 10
"""What a report of MODEL comes to, by the price list."""

NO_IMPACT = hashlib.sha256(b'nullrun/v1/business_impact:{"kind":"none"}').hexdigest()

EFFECT = """
metadata: {name: smoke effect}
nodes:
  keep:
    type: store
    params: {operation: set, key: smoke, value: 1}
"""

WAIT = """
metadata: {name: smoke wait}
nodes:
  wait:
    type: delay
    params: {duration: 1h}
"""


class Team:
    """Somebody who has signed up by NullRun's API, with an org, a workflow and its key."""

    def __init__(self, caller: Caller, bootstrap_token: str) -> None:
        form = {
            "email": f"smoke-{uuid.uuid4().hex[:8]}@example.com", "password": "correct horse battery", "name": "Smoke",
        }  # fmt: skip
        headers = {"X-Signalbox-Bootstrap": bootstrap_token} if bootstrap_token else {}
        made = caller.send("POST", "/api/v1/auth/register", 201, json=form, headers=headers)
        self.person = caller.anonymous()
        self.person.session.headers["Authorization"] = f"Bearer {made['session_token']}"
        self.nobody = caller.anonymous()
        self.org_id, self.workflow_id = str(made["organization_id"]), str(made["workflow_id"])
        self.key_id, self.key, self.secret = str(made["key_id"]), str(made["api_key"]), str(made["secret_key"])

    def send(self, method: str, path: str, expected: int, body: Any = None) -> Any:
        """A request of the person, under the org's path."""
        return self.person.send(method, f"/api/v1/orgs/{self.org_id}{path}", expected, json=body)

    def get(self, path: str) -> Any:
        """What is under the org's path."""
        return self.send("GET", path, 200)

    def sign(self, stamp: int | str, body: bytes) -> str:
        """A signature of the key, by the documented formula."""
        message = f"{stamp}:{self.key}:{hashlib.sha256(body).hexdigest()}"
        return hmac.new(self.secret.encode(), message.encode(), hashlib.sha256).hexdigest()

    def ask(self, path: str, expected: int, **fields: Any) -> Any:
        """A signed call of the agent."""
        body, stamp = json.dumps(fields, separators=(",", ":")).encode(), int(time.time())
        headers = {
            "X-API-Key": self.key, "X-Signature": self.sign(stamp, body), "X-Signature-Timestamp": str(stamp),
            "X-NULLRUN-PROTOCOL": "4", "Content-Type": "application/json",
        }  # fmt: skip
        return self.nobody.send("POST", f"/api/v1{path}", expected, data=body, headers=headers)

    def gate(self, expected: int, tool: str, **fields: Any) -> Any:
        """Ask whether a tool may be called."""
        asked = {"organization_id": self.org_id, "operation_id": str(uuid.uuid4()), "tools": [tool]}
        return self.ask("/gate", expected, **asked, action_digest=NO_IMPACT, **fields)

    def execute(self, expected: int, tool: str, execution_id: str, **fields: Any) -> Any:
        """Ask whether it may run now."""
        asked = {"organization_id": self.org_id, "execution_id": execution_id, "tool": tool, "tools": [tool]}
        return self.ask("/execute", expected, **asked, action_digest=NO_IMPACT, **fields)


class Socket:
    """The agent's WebSocket."""

    def __init__(self, team: Team, opened: ClientConnection) -> None:
        self._team = team
        self._opened = opened

    def knows(self, workflow_id: str, state: str) -> None:
        """The first frame tells the states."""
        frame = self._next("initial_state")
        states = {entry["workflow_id"]: entry["state"] for entry in frame["workflows"]}
        expect("initial_state on the WebSocket", (frame["type"], states[workflow_id]), ("initial_state", state))

    def hears(self, kind: str, **fields: Any) -> None:
        """Wait for a frame of this type with these fields, which is signed."""
        frame: dict[str, Any] = {}
        while frame.get("type") != kind or not fields.items() <= frame.items():
            frame = self._next(kind)
        signature = self._team.sign(frame["timestamp"], bytes.fromhex(frame["signed_payload"]))
        expect(f"a signed {kind} on the WebSocket", frame["signature"], signature)

    def is_closed(self) -> None:
        """Wait until the server closes it."""
        try:
            while True:
                self._next("end")
        except ConnectionClosed:
            expect("the WebSocket of a revoked key closed", True, True)

    def _next(self, wanted: str) -> dict[str, Any]:
        try:
            frame: dict[str, Any] = json.loads(self._opened.recv(timeout=END_S))
        except TimeoutError:
            raise Failed(f"no {wanted} on the WebSocket for {END_S:.0f} s") from None
        return frame


def register(caller: Caller, bootstrap_token: str) -> Team:
    """Sign up the deployment's first account, or another one."""
    expect("health", caller.send("GET", "/healthz", 200)["status"], "ok")
    expect("readiness", caller.send("GET", "/health/ready", 200)["status"], "ok")
    team = Team(caller, bootstrap_token)
    headers = {"X-API-Key": team.key}
    known = team.nobody.send("POST", "/api/v1/auth/verify", 200, headers=headers)
    found = known["organization_id"], known["workflow_id"], known["secret_key"]
    expect("registered, the key verified", found, (team.org_id, team.workflow_id, team.secret))
    return team


def journey(team: Team) -> None:
    """Everything that agents and the people who govern them do, a kill last."""
    with team.nobody.connect(f"/ws/control/{team.org_id}", {"X-API-Key": team.key}) as opened:
        socket = Socket(team, opened)
        socket.knows(team.workflow_id, "Normal")
        _people(team)
        _calls(team)
        _policies(team, socket)
        _approvals(team, socket)
        _money(team)
        _flows(team)
        _states(team, socket)
        _trail(team)
        team.send("DELETE", f"/api-keys/{team.key_id}", 204)
        refused = team.ask("/gate", 401, organization_id=team.org_id, tools=["search"])
        expect("a revoked key", refused["error_code"], "API_KEY_REVOKED")
        socket.is_closed()


def _people(team: Team) -> None:
    """Somebody is invited, joins, looks and is removed; and where alerts go."""
    invite = team.send(
        "POST", "/invites", 201, {"email": f"smoke-{uuid.uuid4().hex[:8]}@example.com", "role": "viewer"}
    )
    form = {"name": "Bo", "password": "correct horse battery"}
    joined = team.nobody.send("POST", f"/api/v1/invites/{invite['token']}/accept", 200, json=form)
    headers = {"Authorization": f"Bearer {joined['session_token']}"}
    path = f"/api/v1/orgs/{team.org_id}/workflows"
    shown = team.nobody.send("GET", path, 200, headers=headers)["workflows"]
    refused = team.nobody.send("POST", path, 403, json={"name": "mine"}, headers=headers)
    expect("a member who may only look", (len(shown), refused["error"]), (1, "forbidden"))
    (member,) = (row for row in team.get("/members")["members"] if row["user_id"] == joined["user_id"])
    team.send("DELETE", f"/members/{member['id']}", 204)
    team.nobody.send("GET", path, 401, headers=headers)
    config = {"url": "https://hooks.example.com/smoke", "secret": "correct horse battery"}
    channel = {"name": "ops", "channel_type": "webhook", "config": config, "enabled": False}
    made = team.send("POST", "/alert-channels", 201, channel)
    expect("an alert channel with a secret", made["config"]["secret"], "***")


def _calls(team: Team) -> None:
    """Ask, run, report."""
    headers = {"X-API-Key": team.key, "X-Signature": "0" * 64, "X-Signature-Timestamp": str(int(time.time()))}
    refused = team.nobody.send("POST", "/api/v1/gate", 401, json={"organization_id": team.org_id}, headers=headers)
    expect("a wrong signature", refused["error_code"], "HMAC_MISMATCH")
    allowed = team.gate(200, "search", model="gpt-4o")
    execution_id = str(allowed["reservation_id"])
    ran = team.execute(200, "search", execution_id)
    expect("gate and execute", (allowed["decision"], ran["decision"]), ("allow", "allow"))
    sent = {"reservation_id": execution_id, "idempotency_key": str(uuid.uuid4()), **MODEL}
    counted = [team.ask("/track", 200, **sent) for _ in range(2)]
    replays = [answer["idempotent_replay"] for answer in counted]
    expect("a report, counted once", (counted[0]["snapshot"]["spent_cents"], replays), (CENTS, [False, True]))
    event = {"event_id": str(uuid.uuid4()), "type": "span_end", "execution_id": execution_id, "fn_name": "search"}
    team.ask("/track/batch", 200, events=[event])
    listed = until(
        "the execution is over",
        lambda: {row["id"]: row for row in team.get("/executions")["executions"]},
        lambda rows: rows.get(execution_id, {}).get("result") == "completed",
    )[execution_id]
    expect("the execution in the list", (listed["tool"], listed["cost_cents"]), ("search", CENTS))


def _policies(team: Team, socket: Socket) -> None:
    """A tool is blocked, and free again."""
    policy = {"name": "No drops", "policy_type": "ToolBlock", "config": {"tool_pattern": ["db.drop*"]}}
    made = team.send("POST", "/policies", 201, policy)
    refused = team.gate(403, "db.drop_table")
    expect("a blocked tool", (refused["error_code"], refused["policy_id"]), ("TOOL_BLOCKED", made["id"]))
    socket.hears("policy_invalidated", policy_id=made["id"])
    team.send("DELETE", f"/policies/{made['id']}", 204)
    expect("a policy deleted", team.gate(200, "db.drop_table")["decision"], "allow")


def _approvals(team: Team, socket: Socket) -> None:
    """A person decides."""
    team.send("POST", "/approval-rules", 201, {"name": "Refunds", "tool_patterns": ["refund*"]})
    asked = team.gate(200, "refund")
    execution_id = str(asked["reservation_id"])
    waiting = [row["id"] for row in team.get("/approvals?status=PENDING")["approvals"]]
    expect("a question", (asked["decision"], waiting), ("require_approval", [asked["approval_id"]]))
    refused = team.execute(403, "refund", execution_id, approval_id=waiting[0])
    expect("nobody has decided", refused["error_code"], "APPROVAL_NOT_YET_APPROVED")
    team.send("POST", f"/approvals/{waiting[0]}/approve", 200, {"note": "fine"})
    socket.hears("approval_resolved", approval_id=waiting[0], outcome="approved")
    ran = team.execute(200, "refund", execution_id, approval_id=waiting[0])
    shown = team.get(f"/approvals/{waiting[0]}")
    expect("an approval used", (ran["decision"], shown["status"]), ("allow", "CONSUMED"))


def _money(team: Team) -> None:
    """A budget refuses, and more money does not."""
    path = f"/workflows/{team.workflow_id}"
    team.send("PATCH", path, 200, {"budget_cents": CENTS})
    refused = team.gate(402, "search")
    expect("no money", (refused["category"], refused["error_code"]), ("budget", "BUDGET_WORKFLOW_BLOCKED"))
    team.send("PATCH", path, 200, {"budget_cents": 100 * CENTS})
    expect("more money", team.gate(200, "search")["decision"], "allow")


def _flows(team: Team) -> None:
    """A governed flow runs while there is money and nobody is asked, and is cancelled with its workflow."""
    workflow_id = str(team.send("POST", "/workflows", 201, {"name": "flows", "budget_cents": 5})["id"])
    effect, wait = team.person.make_flow("smoke effect", EFFECT), team.person.make_flow("smoke wait", WAIT)
    for flow_id in (effect, wait):
        team.send("PUT", f"/workflows/{workflow_id}/definitions/{flow_id}", 200)
    ended = team.person.ended(team.person.run(effect, {}))
    expect("a governed flow", ended["status"], "completed")

    about = {"tool_patterns": ["store"], "workflow_id": workflow_id}
    rule = team.send("POST", "/approval-rules", 201, {"name": "Effects", **about})
    asking = team.person.run(effect, {})
    (question,) = until(
        "a flow asks",
        lambda: team.get("/approvals?status=PENDING")["approvals"],
        bool,
    )
    team.send("POST", f"/approvals/{question['id']}/approve", 200, {})
    expect("a governed flow that was approved", team.person.ended(asking)["status"], "completed")
    team.send("DELETE", f"/approval-rules/{rule['id']}", 204)

    path = f"/workflows/{workflow_id}"
    team.send("POST", f"{path}/pause", 200, {})
    held = team.person.run(effect, {})
    until(
        "a flow is held",
        lambda: team.person.send("GET", f"/api/v1/executions/{held}/logs?limit=100", 200)["logs"],
        lambda lines: any(line["message"].startswith("WORKFLOW_PAUSED") for line in lines),
    )
    team.send("POST", f"{path}/resume", 200, {})
    expect("a governed flow after pause and resume", team.person.ended(held)["status"], "completed")

    scope = {"scope": "Workflow", "workflow_id": workflow_id, "config": {"budget_cents": 0}}
    team.send("POST", "/policies", 201, {"name": "Nothing", "policy_type": "BudgetLimit", **scope})
    ended = team.person.ended(team.person.run(effect, {}))
    expect("a governed flow without money", (ended["status"], ended["error"][:7]), ("failed", "BUDGET_"))
    waiting = team.person.run(wait, {})
    team.send("POST", f"{path}/kill", 200, {"reason": "smoke"})
    expect("a governed flow whose workflow is killed", team.person.ended(waiting)["status"], "canceled")


def _states(team: Team, socket: Socket) -> None:
    """Pause, resume, kill."""
    path = f"/workflows/{team.workflow_id}"
    for verb, state, status in (("pause", "Paused", 403), ("resume", "Normal", 200), ("kill", "Killed", 403)):
        team.send("POST", f"{path}/{verb}", 200, {"reason": "smoke"})
        answer = team.gate(status, "search")
        code = None if status == 200 else answer["error_code"]
        codes = {"pause": "WORKFLOW_PAUSED", "resume": None, "kill": "WORKFLOW_INACTIVE"}
        expect(f"the gate after {verb}", code, codes[verb])
        socket.hears("state_change", workflow_id=team.workflow_id, state=state)


def _trail(team: Team) -> None:
    """What was written down, and who is told."""
    found = until(
        "the audit chain has everything",
        lambda: team.get("/audit-log/verify"),
        lambda verified: not verified["verified"] or (verified["unchained"] == 0 and verified["record_count"] > 0),
    )
    expect("the audit chain is whole", (found["verified"], found["first_failure_reason"]), (True, None))
    entries = team.get("/audit-log?limit=100")["data"]
    actions = {"gate.allow", "gate.block", "execute.allow", "approval.approved", "policy.created", "workflow.killed"}
    expect("the audit trail", actions - {entry["action"] for entry in entries}, set())
    wanted = {"workflow_killed", "workflow_paused", "approval_required", "tool_blocked", "budget_blocked"}
    told = until(
        "alerts appear",
        lambda: {row["incident_type"] for row in team.get("/alerts")["data"]},
        lambda kinds: wanted <= kinds,
    )
    expect("alerts", wanted <= told, True)
    job = team.send("POST", "/audit-log/export", 200, {})["job_id"]
    done = until(
        "an export is made",
        lambda: team.get(f"/audit-log/export/{job}/status"),
        lambda status: status["status"] in ("completed", "failed"),
    )
    expect("an export of the audit trail", (done["status"], done["record_count"] >= len(entries)), ("completed", True))
    # The file is asked for where the journey is sent, not where the deployment believes to be.
    link = urlsplit(done["file_url"])
    address = f"{team.nobody.url}{link.path}?{link.query}"
    answer = team.nobody.session.get(address, timeout=END_S, allow_redirects=False)
    if answer.is_redirect:
        # The file is elsewhere, where the deployment's host name is none.
        answer = requests.get(answer.headers["Location"], timeout=END_S)
    lines = len(answer.text.splitlines())
    expect("its file", (answer.status_code, lines), (200, done["record_count"]))
    for path in ("/status", "/quota", "/dashboard"):
        team.get(path)
    expect("status, quota and dashboard", True, True)
