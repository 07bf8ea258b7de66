"""The flows that are counted, from the request that runs them to the last change record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from scripts.costing.bill import Bill
from scripts.costing.world import World

Act = Callable[[World, str, str], None]
"""What happens from outside once the flow has come to rest, given the caller's token and the execution's id."""


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow to count. ``acts`` follow each other; the flow is let to rest after each."""

    name: str
    text: str
    acts: tuple[Act, ...] = ()


@dataclass(slots=True)
class FlowBill:
    """What a flow consumes, by who consumes it."""

    api: Bill = field(default_factory=Bill)
    engine: Bill = field(default_factory=Bill)
    relay: Bill = field(default_factory=Bill)

    @property
    def total(self) -> Bill:
        """Everything together."""
        whole = Bill()
        for part in (self.api, self.engine, self.relay):
            whole.add(part)
        return whole

    def to_json(self) -> dict[str, Any]:
        """The parts and the whole."""
        parts = {"api": self.api, "engine": self.engine, "relay": self.relay, "total": self.total}
        return {name: bill.to_json() for name, bill in parts.items()}


def chain(steps: int, node: str) -> str:
    """A flow of ``steps`` nodes in a row; ``node`` is the YAML of one, without its name and edges."""
    lines = ['metadata: {name: chain, version: "1.0"}', "nodes:"]
    for number in range(steps):
        following = f"step{number + 1}" if number + 1 < steps else "END"
        lines.append(f"  step{number}: {{{node}, next: {{default: {following}}}}}")
    return "\n".join(lines)


TRANSFORM = 'type: transform, params: {script: "return {count: (input.count || 0) + 1};"}'
HTTP = 'type: http.request, params: {url: "https://api.example.com/orders", method: GET}'


def http_step(url: str) -> str:
    """The YAML of a node that gets ``url``."""
    return HTTP.replace("https://api.example.com/orders", url)


def _pass_time(world: World, token: str, execution_id: str) -> None:
    world.machines.let_time_pass()


def _approve(world: World, token: str, execution_id: str) -> None:
    world.call("POST", f"/api/v1/executions/{execution_id}/signal/ask", {"approved": True}, token)


WAIT = chain(1, "type: delay, params: {duration: 1h}")
APPROVAL = """
metadata: {name: question, version: "1.0"}
nodes:
  ask: {type: human.approval, params: {timeout: 24h}, next: {approved: END, rejected: END}}
"""

FLOWS = (
    Flow("empty flow", chain(1, "type: base")),
    Flow("10 transforms", chain(10, TRANSFORM)),
    Flow("10 HTTP requests", chain(10, HTTP)),
    Flow("one delay of an hour", WAIT, (_pass_time,)),
    Flow("one approval", APPROVAL, (_approve,)),
)


def run(world: World, flow: Flow, token: str) -> FlowBill:
    """Make the flow, run it to its end and answer what that took. Raises ValueError when it does not complete."""
    made = world.call("POST", "/api/v1/flows", {"name": flow.name, "definition": flow.text}, token)
    spent = FlowBill()
    world.settle(Bill(), Bill())
    with world.meter.on(spent.api):
        started = world.call("POST", f"/api/v1/flows/{made['id']}/run", {"input": {"key": "value"}}, token)
    world.settle(spent.engine, spent.relay)
    for act in flow.acts:
        with world.meter.on(spent.api):
            act(world, token, started["execution_id"])
        world.settle(spent.engine, spent.relay)
    found = world.call("GET", f"/api/v1/executions/{started['execution_id']}", token=token)
    if found["status"] != "completed":
        raise ValueError(f"{flow.name} ended {found['status']}: {found.get('error')}")
    return spent
