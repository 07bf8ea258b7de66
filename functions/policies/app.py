"""Policies and their templates. Source: NullRun docs, HTTP API, Policies; docs/rulings.md#policies."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from functions.policies.schemas import (
    MadePolicy,
    NewPolicy,
    PolicyChanges,
    PolicyList,
    PolicySwitch,
    PolicyTarget,
    PolicyToggle,
    TemplateList,
    made_row,
    policy_row,
    template_row,
)
from shared.composition import services
from shared.identity.principal import Principal
from shared.web.answers import answer
from shared.web.apis import Api
from shared.web.app import family_app, lambda_handler
from shared.web.idempotency import idempotency_id
from shared.web.keys import OrgPrincipal
from shared.web.nullrun import CURSORS, part_answer, read_form, window_of
from shared.web.operation import operation
from shared.web.principals import CurrentPrincipal
from shared.web.requests import RequestBody, RequestQuery, judged_first

router = APIRouter(tags=["policies"])

_POLICIES = "/api/v1/orgs/{org_id}/policies"
_POLICY = "/api/v1/orgs/{org_id}/policies/{policy_id}"
_TEMPLATES = "/api/v1/orgs/{org_id}/policies/templates"


@router.post(
    _POLICIES,
    **operation(
        "Make a policy",
        request=NewPolicy,
        answers={201: MadePolicy},
        errors=(400, 413, 422, 503),
        api=Api.NULLRUN,
    ),
)
def create_policy(request: Request, principal: OrgPrincipal, body: RequestBody) -> Response:
    """What the gate judges calls by: a budget, a limit of calls, or blocked tools. The next call obeys it.

    Needs the role operator.
    """
    principal.require_role("operator")
    sent = read_form(body, NewPolicy).model_dump(exclude_none=True)
    made = services().governance.policies.create(principal, sent, policy_id=idempotency_id(request))
    return answer(made_row(made), 201)


@router.get(
    _POLICIES,
    **operation(
        "List policies",
        answers={200: PolicyList},
        errors=(400,),
        parameters=CURSORS,
        security="any",
        api=Api.NULLRUN,
    ),
)
def list_policies(principal: OrgPrincipal, query: RequestQuery) -> Response:
    """Policies of the organisation, oldest first. They are walked by priority, then by age."""
    window = window_of(query)
    part = services().governance.policies.list(principal, limit=window.limit, cursor=window.cursor)
    return part_answer("policies", part, policy_row)


@router.patch(
    _POLICY,
    **operation(
        "Change a policy",
        request=PolicyChanges,
        answers={200: MadePolicy},
        errors=(400, 404, 413, 422, 503),
        api=Api.NULLRUN,
    ),
)
def update_policy(policy_id: str, principal: OrgPrincipal, body: RequestBody) -> Response:
    """The next call obeys the change. Needs the role operator."""
    principal.require_role("operator")
    policies = services().governance.policies
    with judged_first(lambda: policies.require(principal, policy_id)):
        sent = read_form(body, PolicyChanges).model_dump(exclude_none=True)
    return answer(made_row(policies.update(principal, policy_id, sent)))


@router.delete(
    _POLICY,
    **operation("Delete a policy", answers={204: "It counts no more."}, errors=(404, 503), api=Api.NULLRUN),
)
def delete_policy(policy_id: str, principal: OrgPrincipal) -> Response:
    """Needs the role operator."""
    services().governance.policies.delete(principal, policy_id)
    return Response(status_code=204)


@router.post(
    "/api/v1/orgs/{org_id}/policies/{policy_id}/toggle",
    **operation(
        "Switch a policy on or off",
        request=PolicySwitch,
        optional_body=True,
        answers={200: MadePolicy},
        errors=(400, 404, 413, 422, 503),
        api=Api.NULLRUN,
    ),
)
def switch_policy(policy_id: str, principal: OrgPrincipal, body: RequestBody) -> Response:
    """Without a value it is turned over. Needs the role operator."""
    principal.require_role("operator")
    with judged_first(lambda: services().governance.policies.require(principal, policy_id)):
        sent = read_form(body, PolicySwitch, optional=True)
    return _switched(principal, policy_id, sent)


@router.post(
    "/api/v1/policies/toggle",
    **operation(
        "Switch a policy of the acting organisation on or off",
        request=PolicyToggle,
        answers={200: MadePolicy},
        errors=(400, 404, 413, 422, 503),
        api=Api.NULLRUN,
    ),
)
def toggle_policy(principal: CurrentPrincipal, body: RequestBody) -> Response:
    """Without a value it is turned over. Needs the role operator."""
    principal.require_role("operator")
    sent = read_form(body, PolicyToggle)
    return _switched(principal, sent.policy_id, sent)


def _switched(principal: Principal, policy_id: str, sent: PolicySwitch) -> Response:
    return answer(made_row(services().governance.policies.toggle(principal, policy_id, sent.model_dump())))


@router.get(
    _TEMPLATES,
    **operation("List policy templates", answers={200: TemplateList}, security="any", api=Api.NULLRUN),
)
def list_templates(principal: OrgPrincipal) -> Response:
    """Policies to begin with, and which of them are enabled."""
    rows = services().governance.policies.templates(principal)
    return answer({"templates": [template_row(template, policy) for template, policy in rows]})


@router.post(
    "/api/v1/orgs/{org_id}/policies/templates/{template_id}/enable",
    **operation(
        "Enable a policy template",
        request=PolicyTarget,
        optional_body=True,
        answers={200: MadePolicy, 201: MadePolicy},
        errors=(400, 404, 413, 422, 503),
        api=Api.NULLRUN,
    ),
)
def enable_template(template_id: str, principal: OrgPrincipal, body: RequestBody) -> Response:
    """Make the template's policy; 200 with the policy there is, if it was enabled before. Needs the role operator."""
    principal.require_role("operator")
    policies = services().governance.policies
    with judged_first(lambda: policies.require_template(template_id)):
        sent = read_form(body, PolicyTarget, optional=True).model_dump(exclude_none=True)
    policy, is_new = policies.enable(principal, template_id, sent)
    return answer(made_row(policy), 201 if is_new else 200)


@router.delete(
    "/api/v1/orgs/{org_id}/policies/templates/{template_id}",
    **operation(
        "Disable a policy template",
        answers={204: "There is no policy of the template any more."},
        errors=(404, 503),
        api=Api.NULLRUN,
    ),
)
def disable_template(template_id: str, principal: OrgPrincipal) -> Response:
    """Delete the template's policy. Needs the role operator."""
    services().governance.policies.disable(principal, template_id)
    return Response(status_code=204)


app = family_app("policies", router)
handler = lambda_handler(app)
