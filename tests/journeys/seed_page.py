"""Walks through the FlowRunner API Reference with curl, from its first section to its last, against a running server.

    python tests/journeys/seed_page.py BASE_URL TARGET_URL

The server must be fresh (the walk signs up the first account) and allow flows to call TARGET_URL, a server like
``functions/local/target.py``, which stands for the page's api.example.com and webhook.example.com.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from websockets.exceptions import ConnectionClosedOK
from websockets.sync.client import connect

Fields = dict[str, Any]

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
CURL = shutil.which("curl") or "curl"

DEFINITION = (
    'metadata:\n  name: "My Flow"\n  description: "A simple flow"\n  version: "1.0.0"\n\nnodes:\n  start:\n'
    '    type: "http.request"\n    params:\n      url: "https://api.example.com/data"\n      method: "GET"\n'
    '    next:\n      default: "end"\n  \n  end:\n    type: "webhook"\n    params:\n'
    '      url: "https://webhook.example.com/callback"\n      method: "POST"\n'
)
"""The page's definition, character for character."""

FAILING = "metadata: {name: Failing}\nnodes:\n  start:\n    type: http.request\n    params: {url: https://api.example.com/status/500}\n"
WAITING = "metadata: {name: Waiting}\nnodes:\n  start:\n    type: delay\n    params: {duration: 1h}\n"

USER, PASSWORD = "user@example.com", "your-password"


@dataclass(frozen=True)
class Answer:
    """What curl printed: status, headers (lower case) and JSON body."""

    status: int
    headers: dict[str, str]
    body: Any


class Walk:
    """One walk. Every step checks what the page shows; the first difference ends it with an AssertionError."""

    def __init__(self, base_url: str, target_url: str, *, show: bool = False) -> None:
        self._base, self._target, self._show = base_url, target_url, show
        self._token = ""

    def definition(self, text: str) -> str:
        """The page's text with its example hosts replaced by the target."""
        return text.replace("https://api.example.com", self._target).replace(
            "https://webhook.example.com", self._target
        )

    def curl(
        self, method: str, path: str, data: Any = None, *, token: str | None = None, raw: str | None = None
    ) -> Answer:
        """Send a request as the page describes it."""
        command = [CURL, "-sS", "-i", "-X", method, f"{self._base}{path}"]
        held = self._token if token is None else token
        if held:
            command += ["-H", f"Authorization: Bearer {held}"]
        sent = raw if raw is not None else json.dumps(data) if data is not None else None
        if sent is not None:
            command += ["-H", "Content-Type: application/json", "--data-binary", sent]
        shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
        head, _, body = shown.replace("\r\n", "\n").partition("\n\n")
        lines = head.split("\n")
        pairs = (line.partition(": ") for line in lines[1:])
        answer = Answer(
            int(lines[0].split()[1]),
            {name.lower(): value for name, _, value in pairs},
            json.loads(body) if body else None,
        )
        if self._show:
            print(f"{method} {path} -> {answer.status} {body[:200]}")
        return answer

    def expect(self, status: int, method: str, path: str, data: Any = None, **more: Any) -> Any:
        """The body of an answer that must have this status; an error must be in the envelope."""
        answer = self.curl(method, path, data, **more)
        assert answer.status == status, (method, path, answer)
        assert answer.headers["content-type"].startswith("application/json"), answer
        if status >= 400:
            error = answer.body["error"]
            assert isinstance(error["code"], str) and error["code"], answer
            assert isinstance(error["message"], str) and error["message"], answer
            assert error["code"] == CODES[status], answer
        return answer.body

    def everything(self) -> None:
        """The whole page."""
        self.authentication()
        flow_id = self.flows()
        self.executions(flow_id)
        self.accounts()
        self.secrets()
        self.errors()

    # Authentication

    def authentication(self) -> None:
        sign_up = {"username": USER, "password": PASSWORD}
        assert set(self.expect(201, "POST", "/api/v1/accounts", sign_up)) >= {"id", "username", "created_at"}
        login = self.expect(200, "POST", "/api/v1/auth/login", sign_up)
        check(login, token=str, expires_at=TIME, account_id=str)
        self._token = login["token"]

        for wrong in ({"username": USER, "password": "wrong-password"}, {"username": "nobody", "password": PASSWORD}):
            refused = self.expect(401, "POST", "/api/v1/auth/login", wrong, token="")
        details = self.expect(400, "POST", "/api/v1/auth/login", {"username": USER}, token="")["error"]["details"]
        assert details["field"] == "password", details
        self.expect(400, "POST", "/api/v1/auth/login", raw="{broken", token="")
        assert "password" in refused["error"]["message"]

        refreshed = self.expect(200, "POST", "/api/v1/auth/refresh")
        check(refreshed, token=str, expires_at=TIME, account_id=login["account_id"])
        assert refreshed["token"] != login["token"]
        self.expect(401, "POST", "/api/v1/auth/refresh", token="")

        out = self.expect(200, "POST", "/api/v1/auth/logout", token=refreshed["token"])
        assert out == {"message": "Logged out successfully"}
        self.expect(401, "GET", "/api/v1/flows", token=refreshed["token"])
        self.expect(401, "POST", "/api/v1/auth/refresh", token=refreshed["token"])
        self.expect(200, "GET", "/api/v1/flows")

    # Flow Management

    def flows(self) -> str:
        assert self.expect(200, "GET", "/api/v1/flows") == {"flows": [], "total": 0, "limit": 10, "offset": 0}
        definition = self.definition(DEFINITION)
        sent = {"name": "My Flow", "description": "A simple flow", "definition": definition, "tags": ["production"]}
        first = self.expect(201, "POST", "/api/v1/flows", sent)
        check_flow(first, "My Flow", "A simple flow", "1.0.0", ["production"])
        assert "definition" not in first

        other = sent | {"name": "Another Flow", "description": "Another flow", "tags": ["development"]}
        second = self.expect(201, "POST", "/api/v1/flows", other)
        assert self.expect(200, "GET", "/api/v1/flows") == {
            "flows": [first, second],
            "total": 2,
            "limit": 10,
            "offset": 0,
        }
        tagged = self.expect(200, "GET", "/api/v1/flows?tag=production")
        assert (tagged["flows"], tagged["total"]) == ([first], 1)
        rest = self.expect(200, "GET", "/api/v1/flows?limit=1&offset=1")
        assert rest == {"flows": [second], "total": 2, "limit": 1, "offset": 1}
        for query in ("limit=0", "limit=x", "offset=-1"):
            self.expect(400, "GET", f"/api/v1/flows?{query}")

        shown = self.expect(200, "GET", f"/api/v1/flows/{first['id']}")
        assert shown == first | {"definition": definition}
        self.expect(404, "GET", "/api/v1/flows/flow-123")

        nameless = self.expect(400, "POST", "/api/v1/flows", {"definition": definition})
        assert nameless["error"]["details"] == {"field": "name", "reason": "Name is required"}
        undefined = self.expect(400, "POST", "/api/v1/flows", {"name": "My Flow"})
        assert undefined["error"]["details"]["field"] == "definition"
        invalid = self.expect(422, "POST", "/api/v1/flows", {"name": "My Flow", "definition": "nodes: {}"})
        assert invalid["error"]["details"]["field"] == "definition"
        self.expect(401, "POST", "/api/v1/flows", sent, token="")

        self._update_and_delete(first, second, definition)
        return str(first["id"])

    def _update_and_delete(self, first: Fields, second: Fields, definition: str) -> None:
        text = definition.replace('"1.0.0"', '"1.0.1"').replace('"My Flow"', '"Updated Flow"')
        sent = {
            "name": "Updated Flow",
            "description": "An updated flow",
            "definition": text,
            "tags": ["production", "updated"],
        }
        updated = self.expect(200, "PUT", f"/api/v1/flows/{first['id']}", sent)
        check_flow(updated, "Updated Flow", "An updated flow", "1.0.1", ["production", "updated"])
        assert (updated["id"], updated["created_at"]) == (first["id"], first["created_at"])
        assert updated["updated_at"] > first["updated_at"]
        assert self.expect(200, "GET", f"/api/v1/flows/{first['id']}")["definition"] == text
        self.expect(404, "PUT", "/api/v1/flows/flow-123", sent)

        gone = self.expect(200, "DELETE", f"/api/v1/flows/{second['id']}")
        assert gone == {"message": "Flow deleted successfully"}
        self.expect(404, "DELETE", f"/api/v1/flows/{second['id']}")

    # Flow Execution

    def executions(self, flow_id: str) -> None:
        started = self.expect(201, "POST", f"/api/v1/flows/{flow_id}/run", {"input": {"key": "value"}})
        check(started, execution_id=str, flow_id=flow_id, status="running", created_at=TIME)
        execution_id = started["execution_id"]
        messages = self.watch(execution_id)

        done = self.expect(200, "GET", f"/api/v1/executions/{execution_id}")
        check(
            done, id=execution_id, flow_id=flow_id, status="completed", input={"key": "value"}, result=dict,
            started_at=TIME, completed_at=TIME, duration=int,
        )  # fmt: skip
        assert "error" not in done
        self.websocket(execution_id, messages, done["result"])
        self.logs(execution_id)

        failing = self.expect(201, "POST", "/api/v1/flows", {"name": "Failing", "definition": self.definition(FAILING)})
        failed_id = self.expect(201, "POST", f"/api/v1/flows/{failing['id']}/run")["execution_id"]
        last = self.watch(failed_id)[-1]
        check(
            last, type="execution_failed", execution_id=failed_id, status="failed",
            error="HTTP request failed with status 500", node_id="start", node_type="http.request", timestamp=TIME,
        )  # fmt: skip

        listed = self.expect(200, "GET", "/api/v1/executions")
        assert (listed["total"], listed["limit"], listed["offset"]) == (2, 10, 0)
        completed, failed = listed["executions"]
        check(
            completed,
            id=execution_id,
            flow_id=flow_id,
            status="completed",
            started_at=TIME,
            completed_at=TIME,
            duration=int,
        )
        check(failed, id=failed_id, status="failed", error="HTTP request failed with status 500", duration=int)
        for query, ids in (
            (f"flow_id={flow_id}", [execution_id]),
            ("status=failed", [failed_id]),
            (f"status=failed&flow_id={flow_id}", []),
            ("limit=1&offset=1", [failed_id]),
        ):
            assert [row["id"] for row in self.expect(200, "GET", f"/api/v1/executions?{query}")["executions"]] == ids
        self.expect(400, "GET", "/api/v1/executions?status=sleeping")
        self.expect(404, "GET", "/api/v1/executions/exec-123")
        self.expect(404, "POST", "/api/v1/flows/flow-123/run", {"input": {}})
        wrong_inputs: tuple[Any, ...] = ([], "text", 7)
        for wrong in wrong_inputs:
            self.expect(400, "POST", f"/api/v1/flows/{flow_id}/run", {"input": wrong})
        self.cancel()

    def cancel(self) -> None:
        waiting = self.expect(201, "POST", "/api/v1/flows", {"name": "Waiting", "definition": WAITING})
        execution_id = self.expect(201, "POST", f"/api/v1/flows/{waiting['id']}/run")["execution_id"]
        running = self.expect(200, "GET", "/api/v1/executions?status=running")
        assert [row["id"] for row in running["executions"]] == [execution_id]
        self.expect(401, "DELETE", f"/api/v1/executions/{execution_id}", token="")
        cancelled = self.expect(200, "DELETE", f"/api/v1/executions/{execution_id}")
        assert cancelled == {"message": "Execution cancelled successfully"}
        after = self.expect(200, "GET", f"/api/v1/executions/{execution_id}")
        check(after, status="canceled", completed_at=TIME, error=str)
        self.expect(409, "DELETE", f"/api/v1/executions/{execution_id}")
        self.expect(404, "DELETE", "/api/v1/executions/exec-123")
        assert self.watch(execution_id)[-1]["type"] == "execution_cancelled"

    def logs(self, execution_id: str) -> None:
        path = f"/api/v1/executions/{execution_id}/logs"
        rows = self.expect(200, "GET", f"{path}?level=info")
        assert (rows["total"], rows["limit"], rows["offset"]) == (3, 10, 0)
        first, second, third = rows["logs"]
        started = {"level": "info", "message": "Execution started", "node_id": "start", "node_type": "http.request"}
        check(first, timestamp=TIME, **started)
        assert set(first) == {"timestamp", *started}
        data = {"status_code": 200, "url": f"{self._target}/data"}
        check(second, timestamp=TIME, level="info", message="HTTP request successful", node_id="start", data=data)
        check(third, timestamp=TIME, level="info", message="Execution completed", node_id="end", node_type="webhook")
        everything = self.expect(200, "GET", f"{path}?limit=100")["logs"]
        assert [row for row in everything if row["level"] != "debug"] == rows["logs"]
        for level in ("warn", "error"):
            assert self.expect(200, "GET", f"{path}?level={level}")["total"] == 0
        assert self.expect(200, "GET", f"{path}?limit=1&offset=1&level=info")["logs"] == [second]
        self.expect(400, "GET", f"{path}?level=loud")
        self.expect(404, "GET", "/api/v1/executions/exec-123/logs")

    # WebSocket API

    def watch(self, execution_id: str) -> list[Fields]:
        """Every message until the server closes the connection."""
        url = f"{self._base.replace('http', 'ws', 1)}/ws/executions/{execution_id}"
        with connect(url, additional_headers={"Authorization": f"Bearer {self._token}"}) as socket:
            messages = []
            with contextlib.suppress(ConnectionClosedOK):
                while True:
                    messages.append(json.loads(socket.recv(timeout=30)))
        assert socket.protocol.close_code == 1000
        return messages

    def websocket(self, execution_id: str, messages: list[Fields], result: Fields) -> None:
        order = [(message["type"], message.get("node_id")) for message in messages]
        assert sorted(order[:2], key=str) == [("execution_update", "start"), ("log", "start")], order
        assert order[2:] == [
            ("log", "start"), ("node_completed", "start"), ("execution_update", "end"), ("node_completed", "end"),
            ("log", "end"), ("execution_completed", None),
        ], order  # fmt: skip
        for message in messages:
            check(message, execution_id=execution_id, timestamp=TIME)
        update = next(message for message in messages if message["type"] == "execution_update")
        check(update, status="running", node_type="http.request")
        check(messages[2], level="info", message="HTTP request successful", node_type="http.request", data=dict)
        check(messages[3], node_type="http.request", result=dict)
        assert messages[3]["result"]["status_code"] == 200 and messages[3]["result"]["body"]["key"] == "value"
        check(messages[-1], status="completed", result=result)

    # Account Management

    def accounts(self) -> None:
        me = self.expect(200, "GET", "/api/v1/accounts/me")
        listed = self.expect(200, "GET", "/api/v1/accounts")
        assert (listed["total"], listed["limit"], listed["offset"]) == (1, 10, 0)
        check_account(listed["accounts"][0], me["name"], USER, "admin")

        sent = {"name": "New Account", "email": "new@example.com", "password": PASSWORD, "role": "user"}
        self.expect(401, "POST", "/api/v1/accounts", sent, token="")
        created = self.expect(201, "POST", "/api/v1/accounts", sent)
        check_account(created, "New Account", "new@example.com", "user")
        self.expect(409, "POST", "/api/v1/accounts", sent)
        self.expect(400, "POST", "/api/v1/accounts", {"email": "x@example.com", "password": PASSWORD})
        self.expect(422, "POST", "/api/v1/accounts", sent | {"email": "x@example.com", "role": "king"})
        assert self.expect(200, "GET", "/api/v1/accounts?role=user")["total"] == 1

        path = f"/api/v1/accounts/{created['id']}"
        assert self.expect(200, "GET", path) == created
        theirs = self.expect(200, "POST", "/api/v1/auth/login", {"username": "new@example.com", "password": PASSWORD})
        token = theirs["token"]
        self.expect(403, "GET", "/api/v1/accounts", token=token)
        self.expect(403, "GET", f"/api/v1/accounts/{me['id']}", token=token)
        self.expect(403, "POST", "/api/v1/accounts", sent, token=token)
        self.expect(403, "PUT", path, {"role": "admin"}, token=token)
        self.expect(404, "GET", "/api/v1/accounts/account-123")

        change = {"name": "Updated Account", "email": "updated@example.com", "role": "admin"}
        updated = self.expect(200, "PUT", path, change)
        check_account(updated, "Updated Account", "updated@example.com", "admin")
        assert updated["created_at"] == created["created_at"] and updated["updated_at"] > created["updated_at"]
        self.expect(200, "POST", "/api/v1/auth/login", {"username": "updated@example.com", "password": PASSWORD})

        assert self.expect(200, "DELETE", path) == {"message": "Account deleted successfully"}
        self.expect(404, "GET", path)
        self.expect(401, "GET", "/api/v1/accounts/me", token=token)

    # Secrets Management

    def secrets(self) -> None:
        me = self.expect(200, "GET", "/api/v1/accounts/me")["id"]
        path = f"/api/v1/accounts/{me}/secrets"
        assert self.expect(200, "GET", path)["secrets"] == []
        created = self.expect(201, "POST", path, {"key": "NEW_API_KEY", "value": "your-api-key"})
        check(created, key="NEW_API_KEY", created_at=TIME, updated_at=TIME)
        assert "value" not in created
        assert self.expect(200, "GET", path)["secrets"] == [created]
        self.expect(400, "POST", path, {"key": "NEW_API_KEY"})
        self.expect(403, "GET", "/api/v1/accounts/account-123/secrets")
        self.expect(401, "GET", path, token="")
        gone = self.expect(200, "DELETE", f"{path}/NEW_API_KEY")
        assert gone == {"message": "Secret deleted successfully"}
        self.expect(404, "DELETE", f"{path}/NEW_API_KEY")

    # Error Handling

    def errors(self) -> None:
        self.expect(404, "GET", "/api/v1/unknown")
        self.expect(404, "GET", "/unknown")
        self.expect(405, "PATCH", "/api/v1/flows")
        self.expect(400, "POST", "/api/v1/flows", raw="[]")
        self.expect(401, "GET", "/api/v1/flows", token="forged")


CODES = {
    400: "invalid_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "invalid_request",
    409: "conflict",
    422: "validation_error",
}


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


def check_flow(row: Fields, name: str, description: str, version: str, tags: list[str]) -> None:
    """A flow row has the page's fields."""
    check(row, id=str, name=name, description=description, version=version, tags=tags, created_at=TIME, updated_at=TIME)


def check_account(row: Fields, name: str, email: str, role: str) -> None:
    """An account row has the page's fields and shows no password."""
    check(row, id=str, name=name, email=email, role=role, created_at=TIME, updated_at=TIME)
    assert not {"password", "password_hash", "token"} & set(row)


if __name__ == "__main__":
    Walk(sys.argv[1].rstrip("/"), sys.argv[2].rstrip("/"), show=True).everything()
    print("every step of the page holds")
