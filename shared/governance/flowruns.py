"""The engine's executions as governance lists them: that they ran and how it ended, never with what values.

Source: docs/rulings.md#governed-executions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from shared.governance.executions import FlowRun
from shared.governance.trail import Happening, Span
from shared.identity.principal import Principal

if TYPE_CHECKING:
    from shared.engine.service import Engine
    from shared.engine.state import Fact
    from shared.engine.views import ExecutionView

MOST_FACTS = 2_000
"""Facts of a journal that are told."""

_TOLD = ("node", "kind", "visit", "item", "status", "version", "timed_out", "command")
_ENDS = {"node_finished": "completed", "node_failed": "failed"}


class EngineFlowRuns:
    """Looks at executions through the engine's face."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def newest(self, principal: Principal, before: str | None) -> Iterator[FlowRun]:
        """Those whose ids lie before one, newest first."""
        return (_run(view) for view in self._engine.newest(principal, before=before))

    def get(self, principal: Principal, execution_id: str) -> FlowRun:
        """One of them. Raises NotFound."""
        return _run(self._engine.get(principal, execution_id))

    def happenings(self, principal: Principal, execution_id: str) -> tuple[Sequence[Happening], Sequence[Span]]:
        """The facts of the journal but for log lines, and the visits of nodes."""
        facts = [fact for _, fact in islice(self._engine.follow(principal, execution_id), MOST_FACTS)]
        told = [fact for fact in facts if fact["type"] != "log"]
        return [Happening(fact["type"], int(fact["at"]), _details(fact)) for fact in told], _spans(told)


def _run(view: ExecutionView) -> FlowRun:
    return FlowRun(view.id, view.kind, view.definition_id, view.status, view.started_ms, view.ended_ms)


def _details(fact: Fact) -> dict[str, object]:
    return {name: fact[name] for name in _TOLD if name in fact}


def _spans(facts: Sequence[Fact]) -> Sequence[Span]:
    """Each visit of a node, in the order of their beginnings."""
    spans: dict[tuple[object, ...], Span] = {}
    for fact in facts:
        visit = fact.get("token"), fact.get("node"), fact.get("visit"), fact.get("item")
        at_ms = int(fact["at"])
        if fact["type"] == "node_started":
            spans.setdefault(visit, Span(fact["node"], fact["kind"], None, None, at_ms, None, "running"))
        elif fact["type"] in _ENDS and visit in spans:
            begun = spans[visit]
            status = _ENDS[fact["type"]]
            spans[visit] = Span(begun.name, begun.type, None, None, begun.started_ms, at_ms, status)
    return list(spans.values())
