"""The engine's executions as governance tells them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shared.engine.kinds.base import Call, Outcome
from shared.governance.flowruns import EngineFlowRuns
from shared.kit.errors import NotFound
from tests.support.engine import FLOW, RUNNER, STRANGER, World, node
from tests.support.engine import world as engine_world


@pytest.fixture
def world() -> Iterator[World]:
    """An engine in memory."""
    with engine_world() as made:
        yield made


def test_newest_first_and_only_before(world: World) -> None:
    """In the order of their ids, from any of them on, of the org alone."""
    made = [world.start(node("a"), input={"secret": "canary"}) for _ in range(3)]
    flows = EngineFlowRuns(world.engine)
    assert [run.id for run in flows.newest(RUNNER, None)] == made[::-1]
    assert [run.id for run in flows.newest(RUNNER, made[1])] == made[:1]
    assert list(flows.newest(STRANGER, None)) == []
    assert flows.get(RUNNER, made[0]).definition_id == FLOW.id
    assert flows.get(RUNNER, str(world.view(made[0]).number)).id == made[0]
    with pytest.raises(NotFound):
        flows.get(STRANGER, made[0])


def test_the_journal_is_told_without_values(world: World) -> None:
    """Each visit of a node is a span; inputs and outputs are nobody's business here."""
    view = world.run(node("a", next={"default": "b"}), node("b"), input={"secret": "canary"})
    flows = EngineFlowRuns(world.engine)
    events, spans = flows.happenings(RUNNER, view.id)
    assert (events[0].type, events[-1].type) == ("started", "ended")
    assert events[-1].details["status"] == "completed"
    told = [(span.name, span.type, span.status) for span in spans]
    assert told == [("a", "pass", "completed"), ("b", "pass", "completed")]
    assert all(span.ended_ms is not None and span.ended_ms >= span.started_ms for span in spans)
    assert "canary" not in repr((events, spans))
    assert flows.get(RUNNER, view.id).status == "completed"


def test_a_node_that_failed(world: World) -> None:
    """Its span says so."""

    def fail(call: Call) -> Outcome:
        raise ValueError("broken")

    world.kind("broken", fail)
    view = world.run(node("a", "broken"))
    _, spans = EngineFlowRuns(world.engine).happenings(RUNNER, view.id)
    assert [(span.name, span.status) for span in spans] == [("a", "failed")]
