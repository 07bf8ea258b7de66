"""What governing agents consumes: gate calls by what becomes of them, what follows them, and the relay's share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scripts.costing.bill import Bill
from scripts.costing.governed import CHAIN, DIGEST, Governed
from shared.kit import clock

_MINUTE_S = 60
_SPANS = 10
_CALL = {"model": "gpt-4o-mini", "provider": "openai", "input_tokens": 1000, "output_tokens": 200}


def measure(org: Governed) -> dict[str, Bill]:
    """Bills by what was asked, in the order in which it was. The functions know key and policies from earlier calls."""
    rows = _Rows(org)
    agent = org.agent
    rows.count("gate, allowed", lambda: agent.gate("allowed", tools=["search"]))
    rows.count("gate, the same call again", lambda: agent.gate("allowed", tools=["search"]))
    execution = org.place("execution_id")
    rows.count("execute", lambda: agent.call("/api/v1/execute", _tool(execution)))
    rows.count("track", lambda: agent.call("/api/v1/track", _CALL | {"reservation_id": execution}))
    rows.count(f"batch of {_SPANS} spans", lambda: agent.call("/api/v1/track/batch", _spans(execution)))
    org.settle()
    call = agent.gate("relayed")
    agent.call("/api/v1/track", _CALL | {"reservation_id": call["execution_id"]})
    rows.relayed("relay, of a gate call and its track")
    org.place("chain_id")
    rows.count("gate, in a chain", lambda: agent.gate("chained", chain_id=CHAIN, chain_op="continue"))
    clock.sleep(_MINUTE_S)
    rows.count("gate, first call of a minute", lambda: agent.gate("minute"))
    org.place("rule_id")
    agent.gate("rules known")
    rows.count("gate, a person decides", lambda: agent.gate("asks", tools=["refund"], action_digest=DIGEST))
    _blocked(org, rows)
    _short(org, rows)
    return rows.bills


def _blocked(org: Governed, rows: _Rows) -> None:
    org.place("alert_id")
    agent = org.agent
    rows.count("gate, refused by a tool block", lambda: agent.gate("blocked", tools=["db.drop"], refused=403))
    org.settle()
    agent.gate("blocked again", tools=["db.drop"], refused=403)
    rows.relayed("relay, of a refusal")


def _short(org: Governed, rows: _Rows) -> None:
    """A ceiling of the org is a further purse; then nobody has any money."""
    agent = org.agent
    org.place("policy_id")
    agent.gate("ceiling known")
    rows.count("gate, under the org's ceiling", lambda: agent.gate("under a ceiling"))
    org.call("PATCH", f"workflows/{org.place('workflow_id')}", {"budget_cents": 1})
    agent.gate("short", estimated_tokens=10**9, refused=402)
    rows.count("gate, out of money", lambda: agent.gate("out of money", estimated_tokens=10**9, refused=402))
    org.settle()
    rows.count("kill", lambda: org.call("POST", f"workflows/{org.place('workflow_id')}/kill", {"reason": "runaway"}))
    rows.relayed("relay, of a kill nobody listens to")
    rows.count("gate, of a killed workflow", lambda: agent.gate("killed", refused=403))


def _tool(execution_id: str) -> dict[str, Any]:
    return {"execution_id": execution_id, "tool": "search", "tools": ["search"], "action_digest": DIGEST}


def _spans(execution_id: str) -> dict[str, Any]:
    return {
        "events": [
            {
                "event_id": f"span-{number}", "type": "span_end", "span_id": f"s-{number}", "fn_name": "search",
                "execution_id": execution_id, "latency_ms": 40,
            }
            for number in range(_SPANS)
        ]
    }  # fmt: skip


class _Rows:
    """Bills in the making."""

    def __init__(self, org: Governed) -> None:
        self._org = org
        self.bills: dict[str, Bill] = {}

    def count(self, name: str, ask: Callable[[], object]) -> None:
        """Bill what a request consumes."""
        self.bills[name] = Bill()
        with self._org.world.meter.on(self.bills[name]):
            ask()

    def relayed(self, name: str) -> None:
        """Bill what the relay consumes for everything since it last worked."""
        self.bills[name] = Bill()
        self._org.world.settle(Bill(), self.bills[name])
