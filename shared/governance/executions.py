"""What ran under governance: operations of the gate and executions of definitions, as one list.

Both are listed by UUIDv7, so their order is that of their beginning and a list goes on before the last id it showed.
Source: NullRun docs, HTTP API, Executions; docs/rulings.md#governed-executions.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

from shared.governance.chain import tool_of
from shared.governance.operations import find_operation
from shared.governance.trail import Happening, Span, happenings_of
from shared.identity.principal import Principal
from shared.kit import ids
from shared.store.models.governance import Operation, Workflow, workflows_pk
from shared.store.models.policies import Binding, bindings_pk
from shared.store.transaction import read_each

DECISIONS = ("allow", "block", "require_approval", "soft_pass")

MOST_COUNTED = 2_000
"""The counts are of so many executions, the newest."""

MOST_LOOKED_AT = 10_000
"""How many executions are looked through for one part of a list."""

_PAGE = 100
_RESULTS = {"completed": "completed", "failed": "failed", "expired": "failed", "canceled": "canceled"}


@dataclass(frozen=True, slots=True)
class FlowRun:
    """An execution of a definition as the engine knows it; ``status`` is the engine's own word."""

    id: str
    kind: str
    definition_id: str
    status: str
    started_ms: int
    ended_ms: int | None


class FlowRuns(Protocol):
    """The engine's executions of the principal's org."""

    def newest(self, principal: Principal, before: str | None) -> Iterator[FlowRun]:
        """Those whose ids lie before one, newest first, read as they are asked for."""
        ...

    def get(self, principal: Principal, execution_id: str) -> FlowRun:
        """One of them. Raises NotFound."""
        ...

    def happenings(self, principal: Principal, execution_id: str) -> tuple[Sequence[Happening], Sequence[Span]]:
        """What its journal says, without values."""
        ...


@dataclass(frozen=True, slots=True)
class ExecutionRow:
    """An execution as it is listed. Money in micro-cents, times in epoch milliseconds.

    ``decision``: allow, soft_pass, require_approval, block. ``result``: pending, completed, failed, blocked, canceled.
    ``kind`` is ``operation`` or what kind of definition ran.
    """

    id: str
    kind: str
    decision: str
    result: str
    created_ms: int
    completed_ms: int | None
    workflow_id: str | None = None
    workflow_name: str | None = None
    definition_id: str | None = None
    trace_id: str | None = None
    tool: str | None = None
    model: str | None = None
    error_code: str | None = None
    explanation: str | None = None
    policy_id: str | None = None
    projected: int = 0
    spent: int = 0
    tokens: int = 0
    llm_calls: int = 0
    latency_ms: int = 0


@dataclass(frozen=True, slots=True)
class ExecutionFilter:
    """Which executions; None is any. Times in epoch milliseconds of the beginning, ``until_ms`` excluded."""

    workflow_id: str | None = None
    decision: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    def keeps(self, row: ExecutionRow) -> bool:
        """Whether an execution fits; its time was looked at already."""
        return self.workflow_id in (None, row.workflow_id) and self.decision in (None, row.decision)


@dataclass(frozen=True, slots=True)
class ExecutionPart:
    """Executions, newest first. ``counts`` and ``total`` are of all that fit among the newest ones that are counted,
    which are all there are if ``complete``."""

    items: Sequence[ExecutionRow]
    more: bool
    counts: Mapping[str, int]
    total: int
    complete: bool


@dataclass(frozen=True, slots=True)
class ExecutionDetail:
    """An execution and what happened in it, oldest first."""

    row: ExecutionRow
    events: Sequence[Happening]
    spans: Sequence[Span]


class Executions:
    """Looks at executions; changes nothing."""

    def __init__(self, flows: FlowRuns) -> None:
        self._flows = flows

    def list(
        self, principal: Principal, wanted: ExecutionFilter, *, limit: int, cursor: str | None = None
    ) -> ExecutionPart:
        """Up to ``limit`` executions that fit, those before the id ``cursor``, newest first."""
        upper = None if wanted.until_ms is None else ids.uuid7_with(wanted.until_ms, 0)
        bound = {binding.definition_id: binding.workflow_id for binding in Binding.query(bindings_pk(principal.org_id))}
        looked_at = list(islice(self._newest(principal, wanted, upper, bound), MOST_COUNTED + 1))
        counted = [row for row in looked_at[:MOST_COUNTED] if wanted.keeps(row)]
        before = upper if cursor is None else min(cursor, upper or cursor)
        rows: Iterable[ExecutionRow] = counted
        if cursor is not None or len(looked_at) > MOST_COUNTED:
            all_rows = islice(self._newest(principal, wanted, before, bound), MOST_LOOKED_AT)
            rows = filter(wanted.keeps, all_rows)
        shown = list(islice(rows, limit + 1))
        return ExecutionPart(
            _named(principal.org_id, shown[:limit]), len(shown) > limit, _counts(counted), len(counted),
            complete=len(looked_at) <= MOST_COUNTED,
        )  # fmt: skip

    def get(self, principal: Principal, execution_id: str) -> ExecutionDetail:
        """One execution, by its id or, where it has one, its number. Raises NotFound."""
        org_id = principal.org_id
        operation = find_operation(org_id, execution_id)
        if operation is not None:
            row = _row_of(operation)
            events, spans = happenings_of(org_id, row.id, row.created_ms, row.completed_ms)
            return ExecutionDetail(_named(org_id, [row])[0], events, spans)
        flow = self._flows.get(principal, execution_id.lower())
        binding = next(iter(read_each((Binding, bindings_pk(org_id), flow.definition_id))), None)
        bound = {flow.definition_id: binding.workflow_id} if isinstance(binding, Binding) else {}
        events, spans = self._flows.happenings(principal, flow.id)
        return ExecutionDetail(_named(org_id, [_row_of_flow(flow, bound)])[0], events, spans)

    def _newest(
        self, principal: Principal, wanted: ExecutionFilter, before: str | None, bound: Mapping[str, str]
    ) -> Iterator[ExecutionRow]:
        """Executions of both kinds that began in time, newest first."""
        older = None if before is None else Operation.listed_at < before
        found = Operation.by_org.query(principal.org_id, older, scan_index_forward=False, page_size=_PAGE)
        operations = (_row_of(row) for row in found)
        flows = (_row_of_flow(flow, bound) for flow in self._flows.newest(principal, before))
        for row in heapq.merge(operations, flows, key=lambda row: row.id, reverse=True):
            if wanted.since_ms is not None and row.created_ms < wanted.since_ms:
                return
            yield row


def _row_of(row: Operation) -> ExecutionRow:
    return ExecutionRow(
        id=row.execution_id, kind="operation", decision=row.decision, result=row.result,
        created_ms=int(row.created_ms), completed_ms=None if row.completed_ms is None else int(row.completed_ms),
        workflow_id=row.workflow_id, trace_id=row.trace_id, tool=tool_of(row), model=row.model,
        error_code=row.error_code, explanation=row.explanation, policy_id=row.policy_id,
        projected=int(row.projected), spent=int(row.spent),
        tokens=int(row.tokens), llm_calls=int(row.llm_calls), latency_ms=int(row.latency_ms),
    )  # fmt: skip


def _row_of_flow(flow: FlowRun, bound: Mapping[str, str]) -> ExecutionRow:
    return ExecutionRow(
        id=flow.id, kind=flow.kind, decision="allow", result=_RESULTS.get(flow.status, "pending"),
        created_ms=flow.started_ms, completed_ms=flow.ended_ms, workflow_id=bound.get(flow.definition_id),
        definition_id=flow.definition_id,
        latency_ms=0 if flow.ended_ms is None else max(flow.ended_ms - flow.started_ms, 0),
    )  # fmt: skip


def _named(org_id: str, rows: Sequence[ExecutionRow]) -> Sequence[ExecutionRow]:
    """The rows with the names of their workflows."""
    wanted = sorted({row.workflow_id for row in rows if row.workflow_id})
    found = read_each(*((Workflow, workflows_pk(org_id), workflow_id) for workflow_id in wanted))
    names = {record.workflow_id: record.name for record in found if isinstance(record, Workflow)}
    return [replace(row, workflow_name=names.get(row.workflow_id or "")) for row in rows]


def _counts(rows: Sequence[ExecutionRow]) -> Mapping[str, int]:
    """How many ran, were blocked, wait for a person, were denied by one."""
    counts = dict.fromkeys(("allow", "block", "pending", "denied"), 0)
    for row in rows:
        if row.decision != "require_approval":
            counts["block" if row.decision == "block" else "allow"] += 1
        elif row.result in ("pending", "completed"):
            counts["pending" if row.result == "pending" else "allow"] += 1
        else:
            counts["denied"] += 1
    return counts
