"""Executions under governance: two kinds in one list, filtered, counted and looked into."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from shared.governance.audit import Audit
from shared.governance.events import RELAYED_MS
from shared.governance.executions import ExecutionFilter, ExecutionPart, Executions, FlowRun
from shared.governance.tracking import listing
from shared.governance.trail import Happening, Span
from shared.identity.principal import Principal
from shared.kit import clock, ids, json
from shared.kit.errors import NotFound
from shared.store.embedded import EmbeddedEngine
from shared.store.models.governance import Operation, Workflow, workflows_pk
from shared.store.models.policies import Binding, bindings_pk
from shared.store.models.tracked import Tracked, tracked_pk
from tests.support.audit import ORG, OTHER_ORG, WORKFLOW, asked, happened
from tests.support.time import HeldClock

ADA = Principal(kind="session", org_id=ORG, account_id="acc-1", username="ada", role="viewer")
EVE = Principal(kind="session", org_id=OTHER_ORG, account_id="acc-2", username="eve", role="owner")
START = 1_767_225_600_000


class Flows:
    """The engine's executions of one org, in a list."""

    def __init__(self) -> None:
        self.runs: list[FlowRun] = []

    def ran(self, status: str = "completed", definition_id: str = "flow-1") -> str:
        now = clock.now_ms()
        ended = None if status in ("running", "waiting") else now + 250
        # Ids made by the process never go back, not even with a clock that was set back.
        execution_id = ids.uuid7_with(now, len(self.runs))
        run = FlowRun(execution_id, "flow", definition_id, status, now, ended)
        self.runs.append(run)
        return run.id

    def newest(self, principal: Principal, before: str | None) -> Iterator[FlowRun]:
        runs = [run for run in self.runs if before is None or run.id < before] if principal.org_id == ORG else []
        return iter(sorted(runs, key=lambda run: run.id, reverse=True))

    def get(self, principal: Principal, execution_id: str) -> FlowRun:
        for run in self.newest(principal, None):
            if run.id == execution_id:
                return run
        raise NotFound("no such execution")

    def happenings(self, principal: Principal, execution_id: str) -> tuple[Sequence[Happening], Sequence[Span]]:
        return [Happening("started", START, {})], [Span("a", "base", None, None, START, START + 1, "completed")]


@pytest.fixture
def flows(store: EmbeddedEngine, held: HeldClock) -> Flows:
    return Flows()


def ids_of(part: ExecutionPart) -> list[str]:
    return [row.id for row in part.items]


def look(flows: Flows, limit: int = 50, cursor: str | None = None, **wanted: Any) -> ExecutionPart:
    return Executions(flows).list(ADA, ExecutionFilter(**wanted), limit=limit, cursor=cursor)


def named_workflow() -> None:
    Workflow(
        workflows_pk(ORG), WORKFLOW, workflow_id=WORKFLOW, name="support bot", created_ms=1, updated_ms=1
    ).save()  # fmt: skip


def test_both_kinds_are_one_list(flows: Flows, held: HeldClock) -> None:
    """Newest first, refused ones too; another org sees none of it."""
    made = []
    for _ in range(3):
        made.append(asked().execution_id)
        held.advance(1)
        made.append(flows.ran())
        held.advance(1)
    made.append(asked("block").execution_id)
    part = look(flows)
    assert ids_of(part) == made[::-1]
    assert (part.total, part.more, part.complete) == (7, False, True)
    assert Executions(flows).list(EVE, ExecutionFilter(), limit=9).total == 0


def test_a_list_goes_on_where_it_ended(flows: Flows, held: HeldClock) -> None:
    """Parts of any size together are the whole, each with the same counts."""
    for _ in range(4):
        asked()
        held.advance(1)
        flows.ran()
        held.advance(1)
    whole = ids_of(look(flows))
    for size in (1, 3, 8):
        found: list[str] = []
        more = True
        while more:
            part = look(flows, size, found[-1] if found else None)
            assert len(part.items) <= size
            assert part.total == 8
            found += ids_of(part)
            more = part.more
        assert found == whole


def test_a_row_of_an_operation(flows: Flows) -> None:
    """What was asked, decided and spent, and the name of its workflow."""
    named_workflow()
    row = asked(
        "require_approval", tool="refund", model="gpt-4o", trace_id="t", error_code=None, policy_id="p",
        projected=10**6, spent=3 * 10**6, tokens=12, llm_calls=2, latency_ms=840, completed_ms=START + 5,
        explanation="Refunds need a person.",
    )  # fmt: skip
    [shown] = look(flows).items
    assert (shown.id, shown.kind, shown.decision, shown.result) == (
        row.execution_id,
        "operation",
        "require_approval",
        "pending",
    )
    assert (shown.workflow_id, shown.workflow_name, shown.definition_id) == (WORKFLOW, "support bot", None)
    assert (shown.tool, shown.model, shown.trace_id, shown.policy_id) == ("refund", "gpt-4o", "t", "p")
    assert (shown.projected, shown.spent, shown.tokens, shown.llm_calls, shown.latency_ms) == (
        10**6,
        3 * 10**6,
        12,
        2,
        840,
    )
    assert (shown.created_ms, shown.completed_ms, shown.explanation) == (START, START + 5, "Refunds need a person.")


@pytest.mark.parametrize(
    ("status", "result"),
    [
        ("pending", "pending"),
        ("running", "pending"),
        ("waiting", "pending"),
        ("paused", "pending"),
        ("completed", "completed"),
        ("failed", "failed"),
        ("expired", "failed"),
        ("canceled", "canceled"),
    ],
)
def test_a_row_of_a_definition(flows: Flows, status: str, result: str) -> None:
    """The engine's word is told as this API's; a bound definition's executions belong to its workflow."""
    named_workflow()
    Binding(bindings_pk(ORG), "flow-1", org_id=ORG, definition_id="flow-1", workflow_id=WORKFLOW, created_ms=1).save()
    flows.ran(status)
    flows.ran(status, "flow-2")
    free, bound = look(flows).items
    assert (bound.decision, bound.result, bound.kind, bound.definition_id) == ("allow", result, "flow", "flow-1")
    assert (bound.workflow_id, bound.workflow_name) == (WORKFLOW, "support bot")
    assert (free.workflow_id, free.workflow_name) == (None, None)
    assert ids_of(look(flows, workflow_id=WORKFLOW)) == [bound.id]
    assert Executions(flows).get(ADA, bound.id).row == bound


def test_a_list_is_filtered(flows: Flows, held: HeldClock) -> None:
    """By workflow, decision and time; counts and total are of what fits."""
    for decision in ("allow", "block", "require_approval", "soft_pass"):
        asked(decision)
        asked(decision, workflow_id="w-2")
        held.advance(10)
    flows.ran()
    assert look(flows).total == 9
    assert look(flows, workflow_id="w-2").total == 4
    for decision, total in {"allow": 3, "block": 2, "require_approval": 2, "soft_pass": 2}.items():
        part = look(flows, decision=decision)
        assert part.total == total
        assert {row.decision for row in part.items} == {decision}
    assert [row.decision for row in look(flows, workflow_id="w-2", since_ms=START + 10_000).items] == [
        "soft_pass",
        "require_approval",
        "block",
    ]
    assert [row.decision for row in look(flows, workflow_id="w-2", until_ms=START + 20_000).items] == ["block", "allow"]
    assert look(flows, since_ms=START + 10_000, until_ms=START + 10_000).total == 0
    assert look(flows, until_ms=0).total == 0


@pytest.mark.parametrize(
    ("decision", "result", "counted"),
    [
        ("allow", "pending", "allow"),
        ("allow", "failed", "allow"),
        ("soft_pass", "completed", "allow"),
        ("block", "blocked", "block"),
        ("require_approval", "pending", "pending"),
        ("require_approval", "completed", "allow"),
        ("require_approval", "blocked", "denied"),
        ("require_approval", "canceled", "denied"),
    ],
)
def test_how_an_execution_is_counted(flows: Flows, decision: str, result: str, counted: str) -> None:
    """Each in exactly one of the four counts."""
    asked(decision, result=result)
    counts = {"allow": 0, "block": 0, "pending": 0, "denied": 0} | {counted: 1}
    assert look(flows).counts == counts


def test_long_lists_are_counted_up_to_a_bound(flows: Flows, held: HeldClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Older ones are still listed, part by part; the part says that the counts are not of all."""
    monkeypatch.setattr("shared.governance.executions.MOST_COUNTED", 3)
    made = []
    for _ in range(5):
        made.append(asked().execution_id)
        held.advance(1)
    part = look(flows, 4)
    assert (ids_of(part), part.total, part.complete, part.more) == (made[:0:-1], 3, False, True)
    assert ids_of(look(flows, 4, ids_of(part)[-1])) == made[:1]


# One execution


def reported(execution_id: str, event_type: str, **details: Any) -> None:
    now, event_id = clock.now_ms(), ids.uuid4()
    Tracked(
        tracked_pk(ORG, event_id), "tracked", org_id=ORG, key_id="k", workflow_id=WORKFLOW, event_type=event_type,
        digest="d", details=json.dumps(details), created_ms=now, **listing(ORG, execution_id, now, event_id),
    ).save()  # fmt: skip


def test_an_operation_is_told_with_what_happened_in_it(flows: Flows, held: HeldClock) -> None:
    """Entries of the audit trail about it and what its client reported, in order; never what was said."""
    before = happened()
    row = asked()
    Audit().append(ORG, [before, row, asked()])
    held.advance(1)
    reported(row.execution_id, "span_start", span_id="s", fn_name="refund")
    held.advance(1)
    reported(row.execution_id.upper(), "llm_call", model="gpt-4o", tokens=5, amount=2_500_000, label="private")
    reported(asked().execution_id, "llm_call", model="other")
    held.advance(1)
    reported(
        row.execution_id, "tool_call", tool_name="db", span_id="t", parent_span_id="s", latency_ms=400, failed=True
    )
    held.advance(1)
    reported(row.execution_id, "span_end", span_id="s", fn_name="refund", latency_ms=100)
    detail = Executions(flows).get(ADA, row.execution_id)
    assert [event.type for event in detail.events] == ["gate.allow", "span_start", "llm_call", "tool_call", "span_end"]
    assert detail.events[2].details == {"model": "gpt-4o", "tokens": 5, "cost_cents": 3}
    assert [(span.name, span.type, span.status) for span in detail.spans] == [
        ("refund", "span", "completed"),
        ("gpt-4o", "llm_call", "completed"),
        ("db", "tool_call", "failed"),
    ]
    first, _, last = detail.spans
    assert (first.started_ms, first.ended_ms) == (START + 1000, START + 4000)
    assert (last.started_ms, last.ended_ms, last.parent_span_id) == (START + 2600, START + 3000, "s")


@pytest.mark.parametrize("order", [("span_start", "span_end"), ("span_end", "span_start")])
def test_a_span_is_named_at_its_start(flows: Flows, held: HeldClock, order: tuple[str, str]) -> None:
    """The SDK names a span only where it begins; what is told of its start and its end may come in either order."""
    row = asked()
    names: dict[str, dict[str, Any]] = {"span_start": {"fn_name": "refund"}, "span_end": {}}
    for kind in order:
        reported(row.execution_id, kind, span_id="s", **names[kind])
        held.advance(1)
    [span] = Executions(flows).get(ADA, row.execution_id).spans
    assert (span.name, span.type, span.status, span.started_ms) == ("refund", "span", "completed", START)


def test_a_span_that_goes_on(flows: Flows) -> None:
    """It has no end yet."""
    row = asked()
    reported(row.execution_id, "span_start", span_id="s", fn_name="refund")
    [span] = Executions(flows).get(ADA, row.execution_id).spans
    assert (span.name, span.status, span.ended_ms) == ("refund", "running", None)


def test_the_trail_is_read_from_where_the_execution_began(flows: Flows, held: HeldClock) -> None:
    """Entries long after its end are not looked at."""
    row = asked(completed_ms=START)
    Audit().append(ORG, [row])
    held.advance(24 * 3600)
    Audit().append(ORG, [happened("late", execution_id=row.execution_id)])
    assert [event.type for event in Executions(flows).get(ADA, row.execution_id).events] == ["gate.allow"]
    Operation(row.pk, "operation").update([Operation.completed_ms.set(clock.now_ms() - RELAYED_MS)])
    events = Executions(flows).get(ADA, row.execution_id).events
    assert [event.type for event in events] == ["gate.allow", "late"]


def test_an_execution_of_a_definition_is_told(flows: Flows) -> None:
    """With what its journal says."""
    detail = Executions(flows).get(ADA, flows.ran())
    assert [event.type for event in detail.events] == ["started"]
    assert [span.name for span in detail.spans] == ["a"]


@pytest.mark.parametrize("unknown", ["", "x", "a#b", "x" * 5000, "0198c0de-7a10-7c2e-9d3a-2f9c41aa01f7"])
def test_an_unknown_execution_is_not_found(flows: Flows, unknown: str) -> None:
    """Of whatever form; so is another org's."""
    with pytest.raises(NotFound):
        Executions(flows).get(ADA, unknown)
    mine = asked().execution_id
    with pytest.raises(NotFound):
        Executions(flows).get(EVE, mine)
