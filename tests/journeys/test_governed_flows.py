"""A flow under a workflow, on a real server process: money, a person's decision, pause, kill, and a crash."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.kit import clock, json
from tests.support.models import KEY, OpenAIApi, openai_answer
from tests.support.server import PASSWORD, PATIENCE_S, Client, Server, serving
from tests.support.standin import Received, Reply, StandIn

pytestmark = pytest.mark.slow

WHO = "ada@example.com"
USAGE = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
COST_CENTS = (1000 * 15 + 500 * 60) / 1_000_000
"""What gpt-4o-mini costs for that."""


@pytest.fixture
def outside() -> Iterator[StandIn]:
    """A model, and orders to fetch."""
    model = OpenAIApi(*(openai_answer("Send it.", usage=USAGE) for _ in range(20)))

    def answer(request: Received) -> Reply:
        return Reply({"total": 120}) if request.path == "/orders/1" else model(request)

    with StandIn(answer).serving() as made:
        yield made


def definition(outside: StandIn) -> str:
    """Fetch an order, make a question of it, ask a model."""
    model = {"provider": "openai", "api_key": KEY, "model": "gpt-4o-mini", "prompt": "${input.question}"}
    nodes = {
        "fetch": {"type": "http.request", "params": {"url": f"{outside.url}/orders/1"}, "next": {"success": "put"}},
        "put": {
            "type": "transform", "params": {"script": "return {question: `Send ${input.body.total}?`};"},
            "next": {"default": "ask"},
        },
        "ask": {"type": "llm", "params": {**model, "options": {"base_url": f"{outside.url}/v1"}}},
    }  # fmt: skip
    return json.dumps({"metadata": {"name": "orders"}, "nodes": nodes})


class Org:
    """The org of a client, and a workflow in it that governs a flow."""

    def __init__(self, client: Client, flow: str) -> None:
        self.client = client
        self.path = f"/api/v1/orgs/{self._org_id()}"
        self.workflow = f"{self.path}/workflows/{self.ask('POST', '/workflows', {'name': 'orders'})['id']}"
        assert client.call("PUT", f"{self.workflow}/definitions/{flow}").status_code == 200

    def _org_id(self) -> str:
        found = self.client.call("POST", "/api/v1/auth/login", {"username": WHO, "password": PASSWORD})
        assert found.status_code == 200, found.text
        return str(found.json()["organization_id"])

    def ask(self, method: str, rest: str, body: Any = None) -> Any:
        """A request in the org."""
        answer = self.client.call(method, f"{self.path}{rest}", body)
        assert answer.ok, answer.text
        return answer.json()

    def change(self, change: str) -> None:
        """Pause, resume or kill the workflow."""
        assert self.client.call("POST", f"{self.workflow}/{change}", {}).status_code == 200

    def operations(self) -> list[dict[str, Any]]:
        """What the gate was asked, oldest first."""
        rows = self.ask("GET", "/executions?limit=100")["executions"]
        return [row for row in reversed(rows) if row["kind"] == "operation"]

    def until(self, look: Callable[[], Any]) -> Any:
        """What a look sees as soon as it sees something."""
        end = clock.monotonic() + PATIENCE_S
        while not (seen := look()):
            assert clock.monotonic() < end, "it does not come"
            clock.sleep(0.02)
        return seen

    def waiting(self) -> Any:
        """The approval that waits, once there is one."""
        return self.until(lambda: self.ask("GET", "/approvals?status=PENDING")["approvals"])[0]


def test_a_governed_flow(tmp_path: Path, outside: StandIn) -> None:
    """From the first run to the kill, with a kill -9 while a person thinks."""
    flags = ("--allow-host", outside.url.removeprefix("http://"))
    server = Server(tmp_path / "data", *flags).ready()
    try:
        client = server.join(WHO)
        flow = client.create(definition(outside))
        org = Org(client, flow)
        assert client.finished(client.run(flow))["status"] == "completed"
        rows = org.operations()
        assert [(row["tool"], row["model"], row["result"]) for row in rows] == [
            ("http.request", None, "completed"), (None, "gpt-4o-mini", "completed"),
        ]  # fmt: skip
        assert (rows[0]["cost_cents"], rows[1]["tokens"]) == (0, 1500)
        org.ask("POST", "/approval-rules", {"name": "Ask first", "tool_patterns": ["ask"]})
        held = client.run(flow)
        approval = org.waiting()
        assert approval["flow_execution_id"] == held
    finally:
        server.kill()
    with serving(tmp_path / "data", *flags) as again:
        client.url = again.url
        assert client.execution(held)["status"] == "running"
        assert org.waiting()["approval_id"] == approval["approval_id"]
        org.ask("POST", f"/approvals/{approval['approval_id']}/approve", {})
        assert client.finished(held)["status"] == "completed"
        denied = client.run(flow)
        org.ask("POST", f"/approvals/{org.waiting()['approval_id']}/deny", {})
        assert client.finished(denied)["error"].startswith("APPROVAL_DENIED")
        org.change("pause")
        paused = client.run(flow)
        org.until(lambda: "WORKFLOW_PAUSED" in client.call("GET", f"/api/v1/executions/{paused}/logs").text)
        org.change("kill")
        assert client.finished(paused)["status"] == "canceled"
        assert len([request for request in outside.received if request.path.endswith("completions")]) == 2
        spent = client.call("GET", org.workflow).json()
        assert spent["spent_cents"] == int(2 * COST_CENTS)
        actors = {row["actor_type"] for row in org.ask("GET", "/audit-log?limit=500")["data"]}
        assert "definition" in actors
