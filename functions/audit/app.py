"""What ran under governance, and the audit trail: its entries, its verification, its exports.

Members of the organisation and its API keys may read all of it, and ask for exports.
Source: NullRun docs, HTTP API, Executions and Audit log; docs/rulings.md#governed-executions, #audit-chain.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from functions.audit.schemas import (
    EXPORT_LINE,
    AuditLog,
    AuditVerification,
    ExportList,
    ExportStarted,
    ExportStatus,
    GovernedExecutionDetail,
    GovernedExecutionList,
    NewExport,
    execution_detail,
    execution_row,
    export_row,
    verification_row,
)
from shared.composition import services
from shared.governance.audit import AuditFilter
from shared.governance.executions import DECISIONS, ExecutionFilter
from shared.governance.orgsettings import org_settings
from shared.governance.plans import PlanFeatureMissing, plan
from shared.governance.verification import verify, waiting
from shared.identity.principal import Principal
from shared.kit import clock
from shared.kit.errors import InvalidRequest, SignalboxError, Unprocessable
from shared.kit.settings import settings
from shared.web.answers import answer, fitting
from shared.web.apis import Api
from shared.web.app import family_app, lambda_handler
from shared.web.idempotency import idempotency_id
from shared.web.keys import OrgPrincipal, org_principal
from shared.web.nullrun import CURSORS, read_form, window_of
from shared.web.operation import operation, query
from shared.web.requests import Query, RequestBody, RequestQuery

router = APIRouter(tags=["audit"])

_EXECUTIONS = "/api/v1/orgs/{org_id}/executions"
_LOG = "/api/v1/orgs/{org_id}/audit-log"
_EXPORT = "/api/v1/orgs/{org_id}/audit-log/export"
_JOB = "/api/v1/orgs/{org_id}/audit-log/export/{job_id}"
_LOG_LIMIT, _LONGEST_LOG = 100, 1000
_UNESCAPED_PLUS = re.compile(r" (?=\d\d:?\d\d$)")

_SINCE = query("since", description="Only what happened then or later; RFC 3339.", format="date-time")
_UNTIL = query("until", description="Only what happened before; RFC 3339.", format="date-time")
_NAMES = ("action", "event_type", "actor", "resource_type", "resource_id", "decision", "policy_id", "execution_id")


def _moment_of(text: str | None, name: str, refuse: Callable[[str, str], SignalboxError]) -> int | None:
    """Epoch milliseconds of an RFC 3339 text; None where there is none."""
    if not text:
        return None
    try:
        # A plus sign that was not escaped in a query arrives as a space.
        return max(clock.parse_rfc3339(_UNESCAPED_PLUS.sub("+", text)), 0)
    except (ValueError, OverflowError):
        raise refuse(name, f"{name.capitalize()} must be an RFC 3339 time like 2026-10-01T12:00:00Z") from None


def _require_trail(principal: Principal) -> None:
    """Raise PlanFeatureMissing where plans are enforced and the organisation's has no audit trail."""
    if settings().plan_enforcement:
        chosen = plan(org_settings(principal.org_id).plan)
        if not chosen.has("audit_log"):
            raise PlanFeatureMissing(chosen, "audit_log")


def _times(asked: Query) -> tuple[int | None, int | None]:
    since, until = (_moment_of(asked.text(name), name, InvalidRequest.field) for name in ("since", "until"))
    return since, until


# Executions


@router.get(
    _EXECUTIONS,
    **operation(
        "List executions under governance",
        answers={200: GovernedExecutionList},
        errors=(400,),
        parameters=(
            query("workflow_id", description="Only executions of this workflow."),
            query("decision", description="Only executions that were decided so.", enum=list(DECISIONS)),
            _SINCE,
            _UNTIL,
            *CURSORS,
        ),
        security="any",
        api=Api.NULLRUN,
    ),
)
def list_governed_executions(principal: OrgPrincipal, query: RequestQuery) -> Response:
    """Operations of the gate, refused ones too, and executions of definitions, newest first."""
    window, (since, until) = window_of(query), _times(query)
    wanted = ExecutionFilter(query.text("workflow_id") or None, query.choice("decision", DECISIONS), since, until)
    part = services().governance.executions.list(principal, wanted, limit=window.limit, cursor=window.cursor)
    rows = fitting(execution_row(row) for row in part.items)
    goes_on = part.more or len(rows) < len(part.items)
    return answer(
        {
            "executions": rows, "counts": part.counts, "total": part.total, "complete": part.complete,
            "next_cursor": rows[-1]["id"] if goes_on and rows else None,
        }
    )  # fmt: skip


@router.get(
    _EXECUTIONS + "/{execution_id}",
    **operation(
        "Show an execution under governance",
        answers={200: GovernedExecutionDetail},
        errors=(404,),
        security="any",
        api=Api.NULLRUN,
    ),
)
def get_governed_execution(execution_id: str, principal: OrgPrincipal) -> Response:
    """One execution with its events and spans; never with inputs and outputs."""
    return answer(execution_detail(services().governance.executions.get(principal, execution_id)))


# The trail


@router.get(
    _LOG,
    **operation(
        "List the audit trail",
        answers={200: AuditLog},
        errors=(400,),
        parameters=(
            *(query(name, description="Only entries in which this is so.") for name in _NAMES),
            _SINCE,
            _UNTIL,
            query("limit", "integer", "Entries at most; more than 1000 count as 1000.", minimum=1, default=_LOG_LIMIT),
        ),
        security="any",
        api=Api.NULLRUN,
    ),
)
def list_audit_log(principal: OrgPrincipal, query: RequestQuery) -> Response:
    """Who did what, and what the gate decided, newest first."""
    _require_trail(principal)
    limit = min(query.integer("limit", _LOG_LIMIT, least=1), _LONGEST_LOG)
    since, until = _times(query)
    fields: dict[str, Any] = {name: query.text(name) or None for name in _NAMES}
    wanted = AuditFilter(**fields, since_ms=since, until_ms=until)
    part = services().governance.audit.list(principal.org_id, wanted, limit)
    rows = fitting(part.entries)
    meta = {
        "total_returned": len(rows), "total_matching": part.total, "filtered": wanted.is_any, "limit": limit,
        "complete": part.complete,
    }  # fmt: skip
    return answer({"data": rows, "meta": meta})


@router.get(
    _LOG + "/verify",
    **operation(
        "Verify the audit trail",
        answers={200: AuditVerification},
        errors=(400,),
        parameters=(_SINCE,),
        security="any",
        api=Api.NULLRUN,
    ),
)
def verify_audit_log(principal: OrgPrincipal, query: RequestQuery) -> Response:
    """Every hash and link up to the newest entry, from the first one on or from a time on."""
    _require_trail(principal)
    since, _ = _times(query)
    _ = services().governance
    return answer(verification_row(verify(principal.org_id, since), waiting(principal.org_id)))


# Exports


@router.get(
    _EXPORT, **operation("List exports of the audit trail", answers={200: ExportList}, security="any", api=Api.NULLRUN)
)
def list_exports(principal: OrgPrincipal) -> Response:
    """The newest ten jobs, newest first."""
    return answer({"exports": [export_row(job) for job in services().governance.exports.list(principal)]})


@router.post(
    _EXPORT,
    **operation(
        "Export the audit trail",
        request=NewExport,
        optional_body=True,
        answers={200: ExportStarted},
        errors=(400, 413, 422, 429, 503),
        security="any",
        api=Api.NULLRUN,
    ),
)
def create_export(request: Request, principal: OrgPrincipal, body: RequestBody) -> Response:
    """Begin to write a file of the entries of the last 30 days, or of another time; one JSON object a line."""
    _require_trail(principal)
    form = read_form(body, NewExport, optional=True)
    since = _moment_of(form.since, "since", Unprocessable.field)
    until = _moment_of(form.until, "until", Unprocessable.field)
    job = services().governance.exports.create(principal, since, until, job_id=idempotency_id(request))
    return answer({"job_id": job.id, "id": job.id, "status": job.status})


@router.get(
    _JOB + "/status",
    **operation(
        "Show an export of the audit trail",
        answers={200: ExportStatus},
        errors=(404,),
        security="any",
        api=Api.NULLRUN,
    ),
)
def get_export(job_id: str, principal: OrgPrincipal) -> Response:
    """Whether the file is there, and where."""
    return answer(export_row(services().governance.exports.get(principal, job_id)))


@router.get(
    _JOB + "/file",
    **operation(
        "Download an export of the audit trail",
        answers={
            200: {"application/x-ndjson": {"schema": {"type": "string"}, "example": EXPORT_LINE}},
            307: "The file is at the address in Location for a while.",
        },
        errors=(404,),
        parameters=(
            query("expires", description="As in the `file_url` of the export."),
            query("token", description="As in the `file_url` of the export."),
        ),
        security="any",
        api=Api.NULLRUN,
    ),
)
async def get_export_file(request: Request, org_id: str, job_id: str, query: RequestQuery) -> Response:
    """The file. The token of a `file_url` stands for credentials."""
    exports = services().governance.exports
    token = query.text("token")
    if token is not None:
        exports.prove_link(org_id, job_id, query.text("expires") or "", token)
    else:
        org_id = (await org_principal(request, org_id)).org_id
    found = await run_in_threadpool(exports.file, org_id, job_id)
    if isinstance(found, str):
        return RedirectResponse(found)
    named = {"Content-Disposition": f'attachment; filename="audit-{job_id}.jsonl"'}
    return Response(found, headers=named, media_type="application/x-ndjson")


app = family_app("audit", router)
handler = lambda_handler(app)
