"""Governed flows in a whole deployment in memory: a person, a workflow, a driver and a relay that a test steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from functions.alerts.app import handler as alerts
from functions.approvals.app import handler as approvals
from functions.audit.app import handler as audit
from functions.executions.app import handler as executions
from functions.flows.app import handler as flows
from functions.policies.app import handler as policies
from functions.workflows.app import handler as workflows
from shared.composition import Services
from shared.engine.advance import Advancer
from shared.kit import json
from shared.store.models.executions import Control
from shared.store.models.governance import Purse, purse_pk
from shared.store.transaction import read
from tests.support.apigw import Answer, Handler, call
from tests.support.deployment import Person
from tests.support.engine import SteppedDriver, SteppedWorkers
from tests.support.time import HeldClock

Node = dict[str, Any]


def stepped(services: Services) -> SteppedDriver:
    """Have a deployment that nothing has used yet go on only when it is stepped."""
    driver = SteppedDriver()
    services.__dict__["driver"] = driver
    return driver


class GovernedFlows:
    """One person's flows. ``before`` is called before every attempt of a node; ``inflight`` run at once."""

    def __init__(self, services: Services, driver: SteppedDriver, held: HeldClock, who: Person) -> None:
        self.services, self.driver, self.clock, self.who = services, driver, held, who
        self.before: Callable[[], None] = lambda: None
        self.workflow_id = ""
        self.inflight = 64
        self._timers: list[tuple[int, tuple[str, str, int]]] = []
        self._seen = 0

    # Over the API

    def send(self, handler: Handler, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """One request in the person's org; the body of its answer, which has this status."""
        answer = self.ask(handler, method, path, body)
        assert answer.status == status, answer
        return answer.body

    def ask(self, handler: Handler, method: str, path: str, body: Any = None) -> Answer:
        """One request in the person's org."""
        return call(handler, method, f"/api/v1{path}", headers=self.who.headers, json=body)

    def org(self, rest: str) -> str:
        """A path in the person's org."""
        return f"/orgs/{self.who.org_id}{rest}"

    def govern(self, budget_cents: int | None = None) -> str:
        """Make the workflow that governs what is bound from now on; its id."""
        body = {"name": "bot", "budget_cents": budget_cents}
        self.workflow_id = self.send(workflows, "POST", self.org("/workflows"), body, 201)["id"]
        return self.workflow_id

    def flow(self, *, bound: bool = True, **nodes: Node) -> str:
        """Make a flow of these nodes, bound to the workflow; its id."""
        text = json.dumps({"metadata": {"name": "a flow"}, "nodes": nodes})
        made = self.send(flows, "POST", "/flows", {"name": "a flow", "definition": text}, 201)
        if bound:
            self.bind(made["id"])
        return str(made["id"])

    def bind(self, flow_id: str, method: str = "PUT") -> None:
        """Bind a flow to the workflow, or free it."""
        path = self.org(f"/workflows/{self.workflow_id}/definitions/{flow_id}")
        self.send(workflows, method, path, status=200 if method == "PUT" else 204)

    def change(self, change: str) -> None:
        """Pause, resume or kill the workflow."""
        self.send(workflows, "POST", self.org(f"/workflows/{self.workflow_id}/{change}"), {"reason": "a test"})

    def policy(self, kind: str, **config: Any) -> None:
        """Make a policy of the org."""
        body = {"name": kind, "policy_type": kind, "config": config}
        self.send(policies, "POST", self.org("/policies"), body, 201)

    def rule(self, *patterns: str, **more: Any) -> None:
        """Have calls of these tools wait for a person."""
        body = {"name": "Ask first", "tool_patterns": list(patterns), "risk_level": "HIGH", **more}
        self.send(approvals, "POST", self.org("/approval-rules"), body, 201)

    def waiting(self) -> list[dict[str, Any]]:
        """The approvals that wait for a decision, oldest first."""
        found = self.send(approvals, "GET", self.org("/approvals?status=PENDING&limit=100"))
        return list(reversed(found["approvals"]))

    def decide(self, approval: dict[str, Any], outcome: str) -> None:
        """Approve or deny."""
        self.send(approvals, "POST", self.org(f"/approvals/{approval['approval_id']}/{outcome}"), {})

    def run(self, flow_id: str, **input: Any) -> str:
        """Start an execution and let it go as far as it can; its id."""
        body = self.send(executions, "POST", f"/flows/{flow_id}/run", {"input": input}, 201)
        self.settle()
        return str(body["execution_id"])

    def tell(self, execution_id: str, command: str) -> None:
        """Pause, resume or cancel an execution, as its own people do."""
        self.send(executions, "POST", f"/executions/{execution_id}/{command}")

    def view(self, execution_id: str) -> dict[str, Any]:
        """The execution as FlowRunner's API shows it."""
        found: dict[str, Any] = self.send(executions, "GET", f"/executions/{execution_id}")
        return found

    def log(self, execution_id: str) -> list[str]:
        """Messages of the execution's log, but for debugging."""
        rows = self.send(executions, "GET", f"/executions/{execution_id}/logs?limit=100")["logs"]
        return [row["message"] for row in rows if row["level"] != "debug"]

    def listed(self) -> list[dict[str, Any]]:
        """What governance lists of executions, oldest first."""
        found = self.send(audit, "GET", self.org("/executions?limit=100"))
        return list(reversed(found["executions"]))

    def entries(self) -> list[dict[str, Any]]:
        """The audit trail, oldest first."""
        found = self.send(audit, "GET", self.org("/audit-log?limit=500"))
        return list(reversed(found["data"]))

    def alerts(self) -> list[dict[str, Any]]:
        """The org's alerts."""
        found: list[dict[str, Any]] = self.send(alerts, "GET", self.org("/alerts"))["data"]
        return found

    # As it is

    @property
    def purse(self) -> Purse:
        """The workflow's purse."""
        found = read(Purse, purse_pk(self.who.org_id, self.workflow_id), "purse")
        assert found is not None
        return found

    def control(self, execution_id: str) -> Control:
        """An execution's control item."""
        found = self.services.repository.control(self.who.org_id, execution_id)
        assert found is not None
        return found

    # Steps

    @property
    def advancer(self) -> Advancer:
        """Runs attempts when their results are asked for."""

        def ready(number: int) -> bool:
            self.before()
            return True

        limits = replace(self.services.advancer.limits, max_inflight=self.inflight)
        return replace(
            self.services.advancer, limits=limits, workers=lambda org_id, execution_id: SteppedWorkers(ready)
        )

    def settle(self, seconds: float = 0.0) -> None:
        """Relay what happened and advance what was woken, letting so many seconds pass for timers and the sweep."""
        end = self.clock.now_ms() + int(seconds * 1000)
        while True:
            self._drain()
            self._timers.sort()
            if not self._timers or self._timers[0][0] > end:
                break
            moment, ref = self._timers.pop(0)
            self.clock.sleep(max(moment - self.clock.now_ms(), 0) / 1000)
            self.services.governance.sweep.run()
            self.driver.queue.append(ref)
        self.clock.sleep(max(end - self.clock.now_ms(), 0) / 1000)
        self.services.governance.sweep.run()
        self._drain()

    def _drain(self) -> None:
        while self.relay() or self.driver.queue:
            while self.driver.queue:
                ref = self.driver.queue.popleft()
                verdict = self.advancer.advance(*ref)
                if verdict.word == "advance":
                    self.driver.queue.append(ref)
                elif verdict.until_ms is not None and verdict.word in ("park", "busy"):
                    self._timers.append((verdict.until_ms, ref))

    def relay(self) -> bool:
        """Tell everybody what has happened; whether there was anything."""
        store = self.services.store
        assert store is not None
        records = store.stream.read(self._seen, 1000)
        if records:
            self._seen = records[-1].sequence
            assert self.services.relay.handle(records) == []
        return bool(records)
