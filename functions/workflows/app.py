"""Workflows, their API keys and the definitions they govern.

Source: NullRun docs, HTTP API, Workflows and Org management; docs/rulings.md#bindings.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from functions.workflows import keys
from functions.workflows.schemas import (
    BindingList,
    BindingRow,
    NewWorkflow,
    StateReason,
    WorkflowChanges,
    WorkflowList,
    WorkflowRow,
    binding_row,
    workflow_row,
)
from shared.composition import services
from shared.governance.states import Change
from shared.governance.workflow_forms import Draft
from shared.identity.principal import Principal
from shared.web.answers import answer
from shared.web.apis import Api
from shared.web.app import family_app, lambda_handler
from shared.web.idempotency import idempotency_id
from shared.web.keys import OrgPrincipal
from shared.web.nullrun import CURSORS, part_answer, read_form, window_of
from shared.web.operation import operation
from shared.web.requests import Body, RequestBody, RequestQuery, judged_first

router = APIRouter(tags=["workflows"])

_WORKFLOWS = "/api/v1/orgs/{org_id}/workflows"
_WORKFLOW = "/api/v1/orgs/{org_id}/workflows/{workflow_id}"
_DEFINITION = "/api/v1/orgs/{org_id}/workflows/{workflow_id}/definitions/{definition_id}"
_KIND = "flow"


# Workflows


@router.post(
    _WORKFLOWS,
    **operation(
        "Make a workflow",
        request=NewWorkflow,
        answers={201: WorkflowRow},
        errors=(400, 409, 413, 422, 503),
        api=Api.NULLRUN,
    ),
)
def create_workflow(request: Request, principal: OrgPrincipal, body: RequestBody) -> Response:
    """A governed unit: it has a budget, policies and keys, and can be paused and killed. Needs the role operator."""
    principal.require_role("operator")
    form = read_form(body, NewWorkflow)
    draft = Draft(form.name, form.external_id, form.description, form.budget_cents, form.human_approvals_enabled)
    made = services().governance.workflows.create(principal, draft, workflow_id=idempotency_id(request))
    return answer(workflow_row(made), 201, {"Location": f"/api/v1/orgs/{principal.org_id}/workflows/{made.id}"})


@router.get(
    _WORKFLOWS,
    **operation(
        "List workflows",
        answers={200: WorkflowList},
        errors=(400,),
        parameters=CURSORS,
        security="any",
        api=Api.NULLRUN,
    ),
)
def list_workflows(principal: OrgPrincipal, query: RequestQuery) -> Response:
    """Workflows of the organisation, oldest first."""
    window = window_of(query)
    part = services().governance.workflows.list(principal, limit=window.limit, cursor=window.cursor)
    return part_answer("workflows", part, workflow_row)


@router.get(
    _WORKFLOW,
    **operation("Show a workflow", answers={200: WorkflowRow}, errors=(404,), security="any", api=Api.NULLRUN),
)
def get_workflow(workflow_id: str, principal: OrgPrincipal) -> Response:
    """One workflow, with what it has spent in the current period."""
    return answer(workflow_row(services().governance.workflows.get(principal, workflow_id)))


@router.patch(
    _WORKFLOW,
    **operation(
        "Change a workflow",
        request=WorkflowChanges,
        answers={200: WorkflowRow},
        errors=(400, 404, 409, 413, 422, 503),
        api=Api.NULLRUN,
    ),
)
def update_workflow(workflow_id: str, principal: OrgPrincipal, body: RequestBody) -> Response:
    """A new budget counts from the next gate call on. Needs the role operator."""
    principal.require_role("operator")
    workflows = services().governance.workflows
    with judged_first(lambda: workflows.require(principal, workflow_id)):
        form = read_form(body, WorkflowChanges)
    return answer(workflow_row(workflows.update(principal, workflow_id, form.sent())))


@router.delete(
    _WORKFLOW,
    **operation(
        "Delete a workflow",
        answers={204: "Killed, its keys revoked, and listed no more."},
        errors=(404, 503),
        api=Api.NULLRUN,
    ),
)
def delete_workflow(workflow_id: str, principal: OrgPrincipal) -> Response:
    """For good; what it did stays in the audit log. Needs the role operator."""
    services().governance.workflows.delete(principal, workflow_id)
    return Response(status_code=204)


def _changed(principal: Principal, workflow_id: str, change: Change, body: Body) -> Response:
    principal.require_role("operator")
    workflows = services().governance.workflows
    with judged_first(lambda: workflows.require(principal, workflow_id)):
        reason = read_form(body, StateReason, optional=True).reason
    return answer(workflow_row(workflows.change_state(principal, workflow_id, change, reason)))


@router.post(
    f"{_WORKFLOW}/pause",
    **operation(
        "Pause a workflow",
        request=StateReason,
        optional_body=True,
        answers={200: WorkflowRow},
        errors=(400, 404, 409, 413, 422, 503),
        api=Api.NULLRUN,
    ),
)
def pause_workflow(workflow_id: str, principal: OrgPrincipal, body: RequestBody) -> Response:
    """The next gate call is refused, until the workflow is resumed. Needs the role operator."""
    return _changed(principal, workflow_id, "pause", body)


@router.post(
    f"{_WORKFLOW}/resume",
    **operation(
        "Resume a workflow",
        request=StateReason,
        optional_body=True,
        answers={200: WorkflowRow},
        errors=(400, 404, 409, 413, 422, 503),
        api=Api.NULLRUN,
    ),
)
def resume_workflow(workflow_id: str, principal: OrgPrincipal, body: RequestBody) -> Response:
    """End a pause. Needs the role operator."""
    return _changed(principal, workflow_id, "resume", body)


@router.post(
    f"{_WORKFLOW}/kill",
    **operation(
        "Kill a workflow",
        request=StateReason,
        optional_body=True,
        answers={200: WorkflowRow},
        errors=(400, 404, 413, 422, 503),
        api=Api.NULLRUN,
    ),
)
def kill_workflow(workflow_id: str, principal: OrgPrincipal, body: RequestBody) -> Response:
    """The next gate call is refused, and every one after it. Needs the role operator."""
    return _changed(principal, workflow_id, "kill", body)


# Definitions


@router.get(
    f"{_WORKFLOW}/definitions",
    **operation(
        "List the definitions a workflow governs",
        answers={200: BindingList},
        errors=(404,),
        security="any",
        api=Api.NULLRUN,
    ),
)
def list_governed_definitions(workflow_id: str, principal: OrgPrincipal) -> Response:
    """Their executions obey the workflow's budget and policies, its pause and its kill."""
    rows = [binding_row(binding) for binding in services().governance.bindings.list(principal, workflow_id)]
    return answer({"definitions": rows, "total": len(rows)})


@router.get(
    _DEFINITION,
    **operation(
        "Show whether a workflow governs a definition",
        answers={200: BindingRow},
        errors=(404,),
        security="any",
        api=Api.NULLRUN,
    ),
)
def get_governed_definition(workflow_id: str, definition_id: str, principal: OrgPrincipal) -> Response:
    """One binding."""
    return answer(binding_row(services().governance.bindings.get(principal, workflow_id, definition_id)))


@router.put(
    _DEFINITION,
    **operation(
        "Have a workflow govern a definition",
        answers={200: BindingRow},
        errors=(404, 409, 503),
        api=Api.NULLRUN,
    ),
)
def bind_definition(workflow_id: str, definition_id: str, principal: OrgPrincipal) -> Response:
    """A definition is governed by one workflow at most. Needs the role operator."""
    principal.require_role("operator")
    parts = services()
    parts.governance.workflows.require(principal, workflow_id)
    parts.catalog.get(principal, _KIND, definition_id)
    return answer(binding_row(parts.governance.bindings.put(principal, workflow_id, definition_id)))


@router.delete(
    _DEFINITION,
    **operation(
        "Have a workflow govern a definition no more",
        answers={204: "Its executions are free of the workflow."},
        errors=(404, 503),
        api=Api.NULLRUN,
    ),
)
def unbind_definition(workflow_id: str, definition_id: str, principal: OrgPrincipal) -> Response:
    """Needs the role operator."""
    services().governance.bindings.remove(principal, workflow_id, definition_id)
    return Response(status_code=204)


router.routes.extend(keys.router.routes)

app = family_app("workflows", router)
handler = lambda_handler(app)
