"""Running flows and looking at executions. Source: FlowRunner API Reference, Flow Execution."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fastapi import APIRouter, Request
from starlette.responses import Response

from functions.executions.rows import take
from functions.executions.schemas import (
    Acknowledged,
    ExecutionDetail,
    ExecutionList,
    LogList,
    RunRequest,
    Signal,
    StartedExecution,
)
from shared.composition import services
from shared.dialects.flowrunner import projection
from shared.engine.ports import DefinitionRef
from shared.identity.principal import Principal
from shared.kit.clock import rfc3339
from shared.kit.errors import InvalidRequest, NotFound
from shared.web.answers import ANSWER_BYTES, answer, done, list_answer
from shared.web.app import family_app, lambda_handler
from shared.web.idempotency import idempotency_id
from shared.web.operation import PAGING, operation, query
from shared.web.paging import list_paging
from shared.web.principals import CurrentPrincipal
from shared.web.requests import Body, RequestBody, RequestQuery, judged_first

router = APIRouter(tags=["executions"])

_STATUS = query(
    "status", description="Only executions of this status.", enum=["running", "completed", "failed", "canceled"]
)
LEGACY = "Cancelled; answered to the command line client."
_FLOW = query("flow_id", description="Only executions of this flow.")
_LEVEL = query("level", description="Only rows of exactly this level.", enum=list(projection.LEVELS))


@router.post(
    "/api/v1/flows/{flow_id}/run",
    **operation(
        "Run a flow",
        request=RunRequest,
        optional_body=True,
        answers={201: StartedExecution},
        errors=(400, 403, 404, 413, 503),
    ),
)
def run_flow(flow_id: str, principal: CurrentPrincipal, body: RequestBody, request: Request) -> Response:
    """Execute a flow. Answers at once; the flow runs in the background."""
    principal.require_role("operator")
    flow = services().catalog.get(principal, "flow", flow_id)
    reference = DefinitionRef(principal.org_id, flow.id, flow.revision)
    view = services().engine.start(principal, reference, _input(body), execution_id=idempotency_id(request))
    request.state.execution_id = view.id
    row = {"execution_id": view.id, "flow_id": flow.id, "status": "running", "created_at": rfc3339(view.started_ms)}
    return answer(row, 201)


def _input(body: Body) -> dict[str, object]:
    given = body.object(optional=True)
    value = given.get("input", given.get("shared"))
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidRequest.field("input", "Input must be an object")
    return value


@router.get(
    "/api/v1/executions",
    **operation("List executions", answers={200: ExecutionList}, errors=(400,), parameters=(_FLOW, _STATUS, *PAGING)),
)
def list_executions(principal: CurrentPrincipal, asked: RequestQuery) -> Response:
    """Executions of the organisation, oldest first."""
    paging = list_paging(principal, asked)
    statuses = _statuses(asked.text("status"))
    found = services().engine.list(
        principal, definition_id=asked.text("flow_id"), statuses=statuses, limit=paging.limit, offset=paging.offset
    )
    return list_answer(principal, "executions", found, lambda view: projection.execution_row(view, full=False))


def _statuses(word: str | None) -> frozenset[str] | None:
    if word is None:
        return None
    statuses = projection.statuses_of(word)
    if statuses is None:
        raise InvalidRequest.field("status", "Status must be one of running, completed, failed, canceled")
    return statuses


@router.get(
    "/api/v1/executions/{execution_id}",
    **operation("Get an execution", answers={200: ExecutionDetail}, errors=(404,)),
)
def get_execution(execution_id: str, principal: CurrentPrincipal) -> Response:
    """One execution with its input, and its result once completed."""
    row = projection.execution_row(services().engine.get(principal, execution_id), full=True)
    return answer(projection.cut(row, ANSWER_BYTES))


@router.delete(
    "/api/v1/executions/{execution_id}",
    **operation("Cancel an execution", answers={200: Acknowledged, 204: LEGACY}, errors=(403, 404, 409)),
)
def cancel_execution(execution_id: str, principal: CurrentPrincipal) -> Response:
    """Cancel a running execution: no node starts afterwards."""
    principal.require_role("operator")
    services().engine.cancel(principal, execution_id)
    return done(principal, "Execution cancelled successfully")


@router.get(
    "/api/v1/executions/{execution_id}/logs",
    **operation("Get an execution's log", answers={200: LogList}, errors=(400, 404), parameters=(_LEVEL, *PAGING)),
)
def get_logs(execution_id: str, principal: CurrentPrincipal, asked: RequestQuery) -> Response:
    """Log rows of an execution in the order of time; ``level`` keeps exactly that level."""
    try:
        rows = _log_rows(principal, execution_id)
    except NotFound:
        if principal.dialect != "legacy":
            raise
        rows = iter(())
    paging = list_paging(principal, asked)
    level = asked.choice("level", projection.LEVELS)
    kept = (make for found, make in rows if level in (None, found))
    return list_answer(principal, "logs", take(kept, paging), lambda row: row)


def _log_rows(principal: Principal, execution_id: str) -> Iterator[tuple[str, Callable[[], projection.Row]]]:
    """(level, how to make the row) of every log row; large values are loaded only for rows that are made."""
    engine = services().engine
    numbered = engine.follow(principal, execution_id)

    def rows() -> Iterator[tuple[str, Callable[[], projection.Row]]]:
        before: projection.Fact | None = None
        for _, fact in numbered:
            # Whether the end has a row of its own depends on its text.
            whole = engine.loaded(fact) if projection.is_final(fact) else fact
            for row in projection.log_rows(whole, before):
                yield row["level"], _maker(whole, before)
            before = fact

    def _maker(fact: projection.Fact, before: projection.Fact | None) -> Callable[[], projection.Row]:
        return lambda: projection.log_rows(engine.loaded(fact), before)[0]

    return rows()


@router.post(
    "/api/v1/executions/{execution_id}/signal/{key}",
    **operation(
        "Answer a waiting node",
        request=Signal,
        optional_body=True,
        answers={200: Acknowledged},
        errors=(400, 403, 404, 409, 413),
    ),
)
def signal_execution(execution_id: str, key: str, principal: CurrentPrincipal, body: RequestBody) -> Response:
    """Answer what an execution waits for: an approval node by its name, a wait node by its key."""
    principal.require_role("operator")
    with judged_first(lambda: services().engine.get(principal, execution_id)):
        value = body.object(optional=True)
    services().engine.signal(principal, execution_id, key, value)
    return answer({"message": "Signal delivered successfully", "execution_id": execution_id, "key": key})


@router.post(
    "/api/v1/executions/{execution_id}/pause",
    **operation("Pause an execution", answers={200: Acknowledged}, errors=(403, 404, 409)),
)
def pause_execution(execution_id: str, principal: CurrentPrincipal) -> Response:
    """Let running nodes finish and start no other until resumed."""
    principal.require_role("operator")
    services().engine.pause(principal, execution_id)
    return answer({"message": "Execution paused successfully"})


@router.post(
    "/api/v1/executions/{execution_id}/resume",
    **operation("Resume an execution", answers={200: Acknowledged}, errors=(403, 404, 409)),
)
def resume_execution(execution_id: str, principal: CurrentPrincipal) -> Response:
    """Go on after a pause."""
    principal.require_role("operator")
    services().engine.resume(principal, execution_id)
    return answer({"message": "Execution resumed successfully"})


app = family_app("executions", router)
handler = lambda_handler(app)
