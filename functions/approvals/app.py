"""Approvals and the rules that ask for them. Source: NullRun docs, Human approval and Approvals."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from functions.approvals.schemas import (
    ApprovalList,
    ApprovalRow,
    ApprovalRuleChanges,
    ApprovalRuleList,
    ApprovalRuleRow,
    Consumed,
    ConsumeRequest,
    Decision,
    NewApprovalRule,
    approval_row,
    rule_row,
)
from shared.composition import services
from shared.governance.approvals import Outcome
from shared.governance.authentication import principal_of
from shared.governance.events import Actor
from shared.governance.grants import STATUSES
from shared.governance.rule_forms import RuleDraft
from shared.identity.principal import Principal
from shared.kit.errors import InvalidRequest, NotFound
from shared.web.answers import answer
from shared.web.apis import Api
from shared.web.app import family_app, lambda_handler
from shared.web.idempotency import idempotency_id
from shared.web.keys import OrgPrincipal, key_of
from shared.web.nullrun import CURSORS, PROTOCOL, part_answer, read_form, require_protocol, window_of
from shared.web.operation import operation, query
from shared.web.requests import Body, Query, RequestBody, RequestQuery, judged_first

router = APIRouter(tags=["approvals"])

_RULES = "/api/v1/orgs/{org_id}/approval-rules"
_RULE = "/api/v1/orgs/{org_id}/approval-rules/{rule_id}"
_APPROVALS = "/api/v1/orgs/{org_id}/approvals"
_APPROVAL = "/api/v1/orgs/{org_id}/approvals/{approval_id}"

_STATUS = query("status", description="Only approvals of this status.", enum=list(STATUSES))
_HISTORY = query("history", "boolean", "true: those that wait no more; false: those that wait; without it, all.")
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}


# Rules


@router.post(
    _RULES,
    **operation(
        "Make an approval rule",
        request=NewApprovalRule,
        answers={201: ApprovalRuleRow},
        errors=(400, 413, 422, 503),
        api=Api.NULLRUN,
    ),
)
def create_approval_rule(request: Request, principal: OrgPrincipal, body: RequestBody) -> Response:
    """Calls it is about wait for a person, from the next one on. Needs the role operator."""
    principal.require_role("operator")
    draft = RuleDraft(**read_form(body, NewApprovalRule).model_dump())
    made = services().governance.approval_rules.create(principal, draft, rule_id=idempotency_id(request))
    where = f"/api/v1/orgs/{principal.org_id}/approval-rules/{made.rule_id}"
    return answer(rule_row(made), 201, {"Location": where})


@router.get(
    _RULES,
    **operation(
        "List approval rules",
        answers={200: ApprovalRuleList},
        errors=(400,),
        parameters=CURSORS,
        security="any",
        api=Api.NULLRUN,
    ),
)
def list_approval_rules(principal: OrgPrincipal, query: RequestQuery) -> Response:
    """Rules of the organisation, oldest first."""
    window = window_of(query)
    part = services().governance.approval_rules.list(principal, limit=window.limit, cursor=window.cursor)
    return part_answer("approval_rules", part, rule_row)


@router.get(
    _RULE,
    **operation(
        "Show an approval rule", answers={200: ApprovalRuleRow}, errors=(404,), security="any", api=Api.NULLRUN
    ),
)
def get_approval_rule(rule_id: str, principal: OrgPrincipal) -> Response:
    """One rule."""
    return answer(rule_row(services().governance.approval_rules.get(principal, rule_id)))


@router.patch(
    _RULE,
    **operation(
        "Change an approval rule",
        request=ApprovalRuleChanges,
        answers={200: ApprovalRuleRow},
        errors=(400, 404, 413, 422, 503),
        api=Api.NULLRUN,
    ),
)
def update_approval_rule(rule_id: str, principal: OrgPrincipal, body: RequestBody) -> Response:
    """What waits already still waits. Needs the role operator."""
    principal.require_role("operator")
    rules = services().governance.approval_rules
    with judged_first(lambda: rules.get(principal, rule_id)):
        form = read_form(body, ApprovalRuleChanges)
    return answer(rule_row(rules.update(principal, rule_id, form.sent())))


@router.delete(
    _RULE,
    **operation(
        "Delete an approval rule",
        answers={204: "It asks for nothing more."},
        errors=(404, 503),
        api=Api.NULLRUN,
    ),
)
def delete_approval_rule(rule_id: str, principal: OrgPrincipal) -> Response:
    """What waits already still waits. Needs the role operator."""
    services().governance.approval_rules.delete(principal, rule_id)
    return Response(status_code=204)


# Approvals


@router.get(
    _APPROVALS,
    **operation(
        "List approvals",
        answers={200: ApprovalList},
        errors=(400,),
        parameters=(_STATUS, _HISTORY, *CURSORS),
        security="any",
        api=Api.NULLRUN,
    ),
)
def list_approvals(principal: OrgPrincipal, query: RequestQuery) -> Response:
    """Approvals of the organisation, newest first; kept for 90 days."""
    window, wanted = window_of(query), query.text("status") or None
    status = next((known for known in STATUSES if wanted is not None and known == wanted.upper()), None)
    if wanted is not None and status is None:
        raise InvalidRequest.field("status", f"Status must be one of {', '.join(STATUSES)}")
    part = services().governance.approvals.list(
        principal, status=status, history=_history(query), limit=window.limit, cursor=window.cursor
    )
    return part_answer("approvals", part, approval_row)


def _history(query: Query) -> bool | None:
    text = query.text("history") or None
    if text is not None and text.lower() not in _TRUTHS:
        raise InvalidRequest.field("history", "History must be true or false")
    return None if text is None else _TRUTHS[text.lower()]


@router.get(
    _APPROVAL,
    **operation("Show an approval", answers={200: ApprovalRow}, errors=(404,), security="any", api=Api.NULLRUN),
)
def get_approval(approval_id: str, principal: OrgPrincipal) -> Response:
    """One approval, with what it is about."""
    return answer(approval_row(services().governance.approvals.get(principal, approval_id)))


def _decided(principal: Principal, approval_id: str, outcome: Outcome, body: Body) -> Response:
    principal.require_role("operator")
    approvals = services().governance.approvals
    with judged_first(lambda: approvals.get(principal, approval_id)):
        note = read_form(body, Decision, optional=True).note
    return answer(approval_row(approvals.decide(principal, approval_id, outcome, note)))


@router.post(
    f"{_APPROVAL}/approve",
    **operation(
        "Approve",
        request=Decision,
        optional_body=True,
        answers={200: ApprovalRow},
        errors=(400, 404, 409, 413, 422, 503),
        api=Api.NULLRUN,
    ),
)
def approve(approval_id: str, principal: OrgPrincipal, body: RequestBody) -> Response:
    """Let the action happen, once, within five minutes. Needs the role operator."""
    return _decided(principal, approval_id, "approved", body)


@router.post(
    f"{_APPROVAL}/deny",
    **operation(
        "Deny",
        request=Decision,
        optional_body=True,
        answers={200: ApprovalRow},
        errors=(400, 404, 409, 413, 422, 503),
        api=Api.NULLRUN,
    ),
)
def deny(approval_id: str, principal: OrgPrincipal, body: RequestBody) -> Response:
    """Refuse the action. Denying twice changes nothing. Needs the role operator."""
    return _decided(principal, approval_id, "denied", body)


@router.post(
    "/api/v1/approvals/{approval_id}/consume",
    **operation(
        "Say that the decision was heard",
        request=ConsumeRequest,
        optional_body=True,
        answers={200: Consumed},
        errors=(400, 404, 413, 422, 503),
        parameters=(PROTOCOL,),
        security="key",
        api=Api.NULLRUN,
    ),
)
async def consume(approval_id: str, request: Request, body: RequestBody) -> Response:
    """The client goes on with what was approved, or gives up; the decision is not told again."""
    return await run_in_threadpool(_consume, approval_id, request, body)


def _consume(approval_id: str, request: Request, body: Body) -> Response:
    require_protocol(request)
    principal = principal_of(key_of(request, body.raw, scope=None, fresh=True))
    form = read_form(body, ConsumeRequest, optional=True)
    if form.organization_id not in (None, "local", principal.org_id):
        raise NotFound("There is no such approval in the organisation")
    status = services().governance.approvals.consume(
        principal.org_id, approval_id, form.execution_id, Actor.of(principal)
    )
    return answer({"approval_id": approval_id, "status": status})


app = family_app("approvals", router)
handler = lambda_handler(app)
