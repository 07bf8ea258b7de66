"""Walks through NullRun's HTTP API page with curl, every row of every table once, against a running server.

    python tests/journeys/nullrun_page.py BASE_URL [CODE]

The server must be fresh. With CODE, an authorization code of the GitHub that the server knows, the walk signs up there,
too. Each row is called as the page says: by an agent with its key and a signature, or by a session, of the least role
that may.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from websockets.sync.client import connect

Fields = dict[str, Any]

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
KEY = re.compile(r"nr_live_[A-Za-z0-9]{32}")
SECRET = re.compile(r"[0-9a-f]{64}")
CURL = shutil.which("curl") or "curl"
PASSWORD = "correct horse 42"
PATIENCE_S = 30


@dataclass(frozen=True)
class Key:
    """An agent's credentials."""

    key: str
    secret: str

    def signed(self, body: str) -> list[str]:
        """Headers of a signed request, by the page's formula."""
        at = int(time.time())
        message = f"{at}:{self.key}:{hashlib.sha256(body.encode()).hexdigest()}"
        signature = hmac.new(self.secret.encode(), message.encode(), hashlib.sha256).hexdigest()
        return [f"X-API-Key: {self.key}", f"X-Signature: {signature}", f"X-Signature-Timestamp: {at}"]


Who = Key | str | None
"""An agent, a person's session, or nobody."""


class Walk:
    """One walk. The first difference from the page ends it with an AssertionError."""

    def __init__(self, base_url: str, code: str | None = None, *, show: bool = False) -> None:
        self._base, self._code, self._show = base_url, code, show
        self._org, self._workflow, self._key_id = "", "", ""
        self._key = Key("", "")
        self._people: dict[str, str] = {}
        self._members: dict[str, str] = {}

    def expect(self, status: int, who: Who, method: str, path: str, data: Any = None) -> Any:
        """The body of an answer that must have this status; ``{org}`` in the path is the walk's."""
        path = path.replace("{org}", self._org)
        sent = "" if data is None else json.dumps(data)
        headers = ["Content-Type: application/json"] if sent else []
        if isinstance(who, Key):
            headers += who.signed(sent)
        elif who is not None:
            headers.append(f"Authorization: Bearer {who}")
        command = [CURL, "-sS", "-w", "\n%{http_code} %{content_type}", "-X", method, f"{self._base}{path}"]
        for header in headers:
            command += ["-H", header]
        if sent:
            command += ["--data-binary", sent]
        shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
        body, _, last = shown.rpartition("\n")
        if self._show:
            print(f"{method} {path} -> {last} {body[:160]}")
        assert last.startswith(f"{status} "), (method, path, last, body)
        if status == 204:
            assert not body, (method, path, body)
            return None
        assert last.startswith(f"{status} application/json"), (method, path, last)
        return json.loads(body)

    def person(self, role: str) -> str:
        """The session of somebody with the role."""
        return self._people[role]

    def everything(self) -> None:
        """The whole page."""
        self.health()
        self.auth()
        self.org_management()
        self.sdk_endpoints()
        self.workflows()
        self.policies()
        self.observability()
        self.alerts()
        self.keys()
        self.control_plane()
        self.departure()

    # Health

    def health(self) -> None:
        for path in ("/health", "/healthz", "/health/live", "/health/ready", "/health/startup"):
            shown = self.expect(200, None, "GET", path)
            check(shown, status="ok", dependencies=dict)

    # Auth

    def auth(self) -> None:
        # The first account administers the deployment and lives in its default organisation; the second is anybody.
        for email in ("first@example.com", "ada@example.com"):
            form = {"email": email, "password": PASSWORD, "name": "Ada"}
            made = self.expect(201, None, "POST", "/api/v1/auth/register", form)
        check(
            made, user_id=UUID, organization_id=UUID, workflow_id=UUID, key_id=UUID, session_token=str, api_key=KEY,
            secret_key=SECRET,
        )  # fmt: skip
        assert made["key"] == made["api_key"]
        self._org, self._workflow, self._key_id = made["organization_id"], made["workflow_id"], made["key_id"]
        self._key = Key(made["api_key"], made["secret_key"])

        form = {"email": "ada@example.com", "password": PASSWORD}
        login = self.expect(200, None, "POST", "/api/v1/auth/login", form)
        check(login, session_token=str, expires_at=TIME, organization_id=self._org, role="owner")
        self._people["owner"] = login["session_token"]
        self.expect(401, None, "POST", "/api/v1/auth/login", form | {"password": "wrong-password"})

        verified = self.expect(200, None, "POST", "/api/v1/auth/verify", {"api_key": self._key.key})
        check(verified, valid=True, organization_id=self._org, workflow_id=self._workflow, key_version=1)
        assert verified["secret_key"] == self._key.secret
        if self._code is not None:
            self._oauth(self._code)

    def _oauth(self, code: str) -> None:
        back = "https://app.example.com/callback"
        start = self.expect(200, None, "GET", f"/api/v1/auth/oauth/github/start?redirect_uri={back}")
        form = {"provider": "github", "code": code, "redirect_uri": back, "state": start["state"]}
        made = self.expect(201, None, "POST", "/api/v1/auth/oauth/register", form)
        check(made, organization_id=UUID, session_token=str, api_key=KEY, secret_key=SECRET)

    # Org management

    def org_management(self) -> None:
        owner = self.person("owner")
        check(self.expect(200, owner, "GET", "/api/v1/orgs/{org}"), id=self._org, name=str, plan=str, member_count=1)
        changed = self.expect(200, owner, "PATCH", "/api/v1/orgs/{org}", {"name": "Acme"})
        check(changed, id=self._org, name="Acme")

        for role in ("admin", "operator", "viewer"):
            self._join(role)
        admin = self.person("admin")
        members = self.expect(200, self.person("viewer"), "GET", "/api/v1/orgs/{org}/members")
        assert members["total"] == 4
        self._members = {row["role"]: row["id"] for row in members["members"]}
        path = f"/api/v1/orgs/{{org}}/members/{self._members['viewer']}"
        check(self.expect(200, admin, "PATCH", path, {"role": "operator"}), role="operator")
        check(self.expect(200, admin, "PATCH", path, {"role": "viewer"}), role="viewer")
        self.expect(403, self.person("operator"), "PATCH", path, {"role": "operator"})

        self._invites(admin)

    def _join(self, role: str) -> None:
        """Somebody is invited, looks at the invite, and accepts it."""
        by = self.person("owner" if role == "admin" else "admin")
        email = f"{role}@example.com"
        invite = self.expect(201, by, "POST", "/api/v1/orgs/{org}/invites", {"email": email, "role": role})
        check(invite, id=UUID, email=email, role=role, token=str, status="pending", invite_url=str, expires_at=TIME)
        shown = self.expect(200, None, "GET", f"/api/v1/invites/{invite['token']}")
        check(shown, organization_name="Acme", email=email, role=role, status="pending", expires_at=TIME)
        form = {"name": role.title(), "password": PASSWORD}
        joined = self.expect(200, None, "POST", f"/api/v1/invites/{invite['token']}/accept", form)
        check(joined, organization_id=self._org, session_token=str)
        self._people[role] = joined["session_token"]

    def _invites(self, admin: str) -> None:
        """An invite that is sent again, one that is revoked, and one that is declined."""
        for email in ("bo@example.com", "cy@example.com"):
            made = self.expect(201, admin, "POST", "/api/v1/orgs/{org}/invites", {"email": email, "role": "viewer"})
            again = self.expect(200, admin, "POST", f"/api/v1/orgs/{{org}}/invites/{made['id']}/resend")
            token = again.get("token") or made["token"]
            if email == "bo@example.com":
                self.expect(204, admin, "DELETE", f"/api/v1/orgs/{{org}}/invites/{made['id']}")
                self.expect(410, None, "GET", f"/api/v1/invites/{token}")
            else:
                self.expect(200, None, "POST", f"/api/v1/invites/{token}/decline")

    # SDK endpoints

    def sdk_endpoints(self) -> None:
        key, base = self._key, {"organization_id": self._org}
        check(self.expect(200, key, "POST", "/api/v1/auth/verify", {"api_key": key.key}), valid=True)

        asked = base | {"operation_id": str(uuid4()), "check_type": "llm", "estimated_tokens": 1, "tools": ["refund"]}
        gate = self.expect(200, key, "POST", "/api/v1/gate", asked)
        check(gate, decision="allow", decision_source="gateway", reservation_id=UUID)
        running = {"execution_id": gate["reservation_id"], "tool": "refund", "input": {"args": [], "kwargs": {}}}
        execute = self.expect(200, key, "POST", "/api/v1/execute", base | running)
        check(execute, decision="allow", decision_source="gateway", reservation_id=gate["reservation_id"])
        used = {"workflow_id": self._workflow, "model": "gpt-4o", "input_tokens": 40_000, "output_tokens": 0}
        track = self.expect(200, key, "POST", "/api/v1/track", used | {"reservation_id": gate["reservation_id"]})
        check(track, event_id=str, snapshot=dict)
        assert track["snapshot"]["spent_cents"] == 10
        events = [{"event_id": str(uuid4()), "type": kind} for kind in ("span_start", "tool_call", "span_end")]
        batch = self.expect(200, key, "POST", "/api/v1/track/batch", {"events": events})
        assert sorted(batch["accepted_event_ids"]) == sorted(event["event_id"] for event in events)
        many = [{"event_id": str(uuid4()), "type": "span_start"} for _ in range(101)]
        self.expect(413, key, "POST", "/api/v1/track/batch", {"events": many})
        checked = self.expect(200, key, "POST", "/api/v1/check", asked | {"operation_id": str(uuid4())})
        check(checked, decision="allow", reservation_id=None)

        check(self.expect(200, key, "GET", "/api/v1/orgs/{org}/policies"), policies=list)
        workflow = self.expect(200, key, "GET", f"/api/v1/orgs/{{org}}/workflows/{self._workflow}")
        check(workflow, id=self._workflow, state="Normal", spent_cents=10)
        check(self.expect(200, key, "GET", "/api/v1/orgs/{org}/status"), current_spend_cents=10)

        # A wrong signature, a stale one, and the org of others.
        self.expect(401, replace(key, secret="0" * 64), "POST", "/api/v1/gate", asked)
        self.expect(403, key, "GET", f"/api/v1/orgs/{uuid4()}/policies")

    # Workflows

    def workflows(self) -> None:
        operator, base = self.person("operator"), "/api/v1/orgs/{org}/workflows"
        made = self.expect(201, operator, "POST", base, {"name": "support bot", "budget_cents": 5000})
        check(made, id=UUID, name="support bot", state="Normal", budget_cents=5000, created_at=TIME)
        self.expect(403, self.person("viewer"), "POST", base, {"name": "mine"})
        viewer, path = self.person("viewer"), f"{base}/{made['id']}"
        listed = self.expect(200, viewer, "GET", base)
        assert {row["id"] for row in listed["workflows"]} == {self._workflow, made["id"]}
        check(self.expect(200, viewer, "GET", path), id=made["id"], name="support bot")
        changed = self.expect(200, operator, "PATCH", path, {"name": "refund bot", "budget_cents": 6000})
        check(changed, name="refund bot", budget_cents=6000)
        for verb, state in (("pause", "Paused"), ("resume", "Normal"), ("kill", "Killed")):
            check(self.expect(200, operator, "POST", f"{path}/{verb}", {"reason": "drill"}), state=state)
        self.expect(409, operator, "POST", f"{path}/resume", {})

    # Policies

    def policies(self) -> None:
        operator, base = self.person("operator"), "/api/v1/orgs/{org}/policies"
        form = {
            "name": "No drops",
            "policy_type": "ToolBlock",
            "scope": "Org",
            "config": {"tool_pattern": ["db.drop*"]},
        }
        made = self.expect(201, operator, "POST", base, form)
        check(made, id=UUID, name="No drops", policy_type="ToolBlock", enabled=True, policy=dict)
        listed = self.expect(200, self.person("viewer"), "GET", base)["policies"]
        assert [row["id"] for row in listed] == [made["id"]]

        asked = {"organization_id": self._org, "operation_id": str(uuid4()), "tools": ["db.drop"]}
        refused = self.expect(403, self._key, "POST", "/api/v1/gate", asked)
        check(refused, decision="block", category="denied", error_code="TOOL_BLOCKED", policy_id=made["id"])
        path = f"{base}/{made['id']}"
        changed = self.expect(200, operator, "PATCH", path, {"config": {"tool_pattern": ["db.*"]}})
        assert changed["config"]["tool_pattern"] == ["db.*"]
        toggled = self.expect(200, operator, "POST", "/api/v1/policies/toggle", {"policy_id": made["id"]})
        check(toggled, id=made["id"], enabled=False)
        self.expect(200, self._key, "POST", "/api/v1/gate", asked)
        self.expect(204, operator, "DELETE", path)

        templates = self.expect(200, self.person("viewer"), "GET", f"{base}/templates")["templates"]
        check(templates[0], id=str, name=str, policy_type=str, config=dict, enabled=False)
        template = f"{base}/templates/{templates[0]['id']}"
        enabled = self.expect(201, operator, "POST", f"{template}/enable")
        assert self.expect(200, operator, "POST", f"{template}/enable")["id"] == enabled["id"]
        self.expect(204, operator, "DELETE", template)
        assert self.expect(200, operator, "GET", base)["policies"] == []

    # Executions, audit, observability

    def observability(self) -> None:
        viewer = self.person("viewer")
        listed = self.expect(200, viewer, "GET", "/api/v1/orgs/{org}/executions")
        check(listed, executions=list, counts=dict, total=int)
        execution = next(row for row in listed["executions"] if row["cost_cents"])
        shown = self.expect(200, viewer, "GET", f"/api/v1/orgs/{{org}}/executions/{execution['id']}")
        check(shown, id=execution["id"], decision="allow", cost_cents=10, events=list, spans=list)
        # What happened is chained just after its answer.
        trail = self.until(
            lambda: self.expect(200, viewer, "GET", "/api/v1/orgs/{org}/audit-log"),
            lambda page: {"workflow.killed", "policy.created"} <= {row["action"] for row in page["data"]},
        )
        check(trail, meta=dict)
        check(trail["data"][0], id=str, actor=str, timestamp=TIME, current_event_hash=SECRET)
        dashboard = self.expect(200, viewer, "GET", "/api/v1/orgs/{org}/dashboard")
        check(dashboard, organization=dict, spend=dict, executions=dict, workflows=dict, alerts=dict)
        quota = self.expect(200, viewer, "GET", "/api/v1/orgs/{org}/quota")
        check(quota, plan=str, limits=dict, per_key=list)
        status = self.expect(200, viewer, "GET", "/api/v1/orgs/{org}/status")
        check(status, current_spend_cents=10, plan_caps=dict, rate_used=int)

    def until(self, ask: Any, is_so: Any) -> Any:
        """Ask until the answer is as it should be."""
        deadline = time.monotonic() + PATIENCE_S
        while not is_so(found := ask()):
            assert time.monotonic() < deadline, found
        return found

    # Alerts

    def alerts(self) -> None:
        viewer, admin = self.person("viewer"), self.person("admin")
        found = self.until(
            lambda: self.expect(200, viewer, "GET", "/api/v1/orgs/{org}/alerts"), lambda page: bool(page["data"])
        )
        check(found["meta"], total=int, critical_count=int, warning_count=int, info_count=int)
        alert = found["data"][0]
        check(alert, id=str, severity=str, category=str, title=str, created_at=TIME)
        path = f"/api/v1/orgs/{{org}}/alerts/{alert['id']}/dismiss"
        self.expect(200, self.person("operator"), "POST", path)

        form = {"name": "ops", "channel_type": "email", "config": {"email": "ops@example.com"}}
        channel = self.expect(201, admin, "POST", "/api/v1/orgs/{org}/alert-channels", form)
        check(channel, id=str, name="ops", channel_type="email", enabled=True)
        channels = self.expect(200, viewer, "GET", "/api/v1/orgs/{org}/alert-channels")
        assert channel["id"] in json.dumps(channels)

        mine = "/api/v1/orgs/{org}/notification-settings"
        check(self.expect(200, viewer, "GET", mine), notify_on_workflow_killed=True)
        changed = self.expect(200, viewer, "PATCH", mine, {"notify_on_workflow_killed": False})
        check(changed, notify_on_workflow_killed=False, notify_on_workflow_paused=True)

    # Keys

    def keys(self) -> None:
        operator, viewer, base = self.person("operator"), self.person("viewer"), "/api/v1/orgs/{org}/api-keys"
        minted = self.expect(201, operator, "POST", base, {"name": "prod", "workflow_id": self._workflow})
        check(minted, id=UUID, key=KEY, secret_key=SECRET, key_version=1, workflow_id=self._workflow, scopes=["*"])
        for path in (base, f"/api/v1/workflows/{self._workflow}/api-keys"):
            rows = self.expect(200, viewer, "GET", path)["api_keys"]
            assert {row["id"] for row in rows} == {self._key_id, minted["id"]}
            assert not any({"key", "api_key", "secret_key"} & row.keys() for row in rows)
        rotated = self.expect(200, operator, "POST", f"{base}/{minted['id']}/rotate")
        check(rotated, id=minted["id"], secret_key=SECRET, key_version=2, previous_secret_expires_at=TIME)
        for secret in (minted["secret_key"], rotated["secret_key"]):
            asked = {"organization_id": self._org, "operation_id": str(uuid4()), "tools": []}
            self.expect(200, Key(minted["key"], secret), "POST", "/api/v1/gate", asked)
        self.expect(204, operator, "DELETE", f"{base}/{minted['id']}")
        refused = self.expect(401, Key(minted["key"], rotated["secret_key"]), "POST", "/api/v1/gate", asked)
        check(refused, error_code="API_KEY_REVOKED")

    # WebSocket control plane

    def control_plane(self) -> None:
        url = f"{self._base.replace('http', 'ws', 1)}/ws/control/{self._org}"
        path, operator = f"/api/v1/orgs/{{org}}/workflows/{self._workflow}", self.person("operator")
        with connect(url, additional_headers={"X-API-Key": self._key.key}) as socket:

            def heard(kind: str) -> Fields:
                while True:
                    frame: Fields = json.loads(socket.recv(timeout=PATIENCE_S))
                    if frame["type"] == kind:
                        return frame

            known = {row["workflow_id"]: row["state"] for row in heard("initial_state")["workflows"]}
            assert known[self._workflow] == "Normal"
            socket.send(json.dumps({"type": "Subscribed"}))
            self.expect(200, operator, "POST", f"{path}/pause", {"reason": "drill"})
            frame = heard("state_change")
            check(frame, state="Paused", reason="drill", version=int, signature=SECRET, message_id=str)
            socket.send(json.dumps({"type": "Ack", "message_id": frame["message_id"], "received_at": int(time.time())}))
            form = {"name": "Slowly", "policy_type": "RateLimit", "config": {"max_calls_per_minute": 100}}
            self.expect(201, operator, "POST", "/api/v1/orgs/{org}/policies", form)
            check(heard("policy_invalidated"), organization_id=self._org, new_version=int)
            self.expect(200, operator, "POST", f"/api/v1/orgs/{{org}}/api-keys/{self._key_id}/rotate")
            check(heard("key_rotated"), key_id=self._key_id, new_version=2)

    # The end of the org

    def departure(self) -> None:
        owner = self.person("owner")
        self.expect(409, owner, "DELETE", "/api/v1/orgs/{org}")
        for role in ("viewer", "operator", "admin"):
            by = self.person("owner" if role == "admin" else "admin")
            self.expect(204, by, "DELETE", f"/api/v1/orgs/{{org}}/members/{self._members[role]}")
        self.expect(204, owner, "DELETE", "/api/v1/orgs/{org}")
        self.expect(401, self._key, "POST", "/api/v1/auth/verify", {"api_key": self._key.key})


def check(found: Fields, **expected: Any) -> None:
    """Every expected field is there: of a type, of a form, or equal."""
    for name, wanted in expected.items():
        assert name in found, (name, found)
        value = found[name]
        if isinstance(wanted, re.Pattern):
            assert isinstance(value, str) and wanted.fullmatch(value), (name, found)
        elif isinstance(wanted, type):
            assert type(value) is wanted, (name, found)
        else:
            assert value == wanted, (name, found)


if __name__ == "__main__":
    Walk(sys.argv[1].rstrip("/"), *sys.argv[2:3], show=True).everything()
    print("every row of the page holds")
