"""API keys. Source: NullRun docs, HTTP API, Org management."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from functions.workflows.schemas import (
    ApiKeyList,
    MintedApiKey,
    NewApiKey,
    RotatedApiKey,
    key_row,
    minted_row,
    rotated_row,
)
from shared.composition import services
from shared.governance.key_forms import EVERYTHING, NewKey, expiry_of
from shared.identity.principal import Principal
from shared.kit.errors import InvalidRequest
from shared.web.answers import answer
from shared.web.apis import Api
from shared.web.keys import OrgPrincipal
from shared.web.nullrun import CURSORS, part_answer, read_form, window_of
from shared.web.operation import operation
from shared.web.principals import CurrentPrincipal
from shared.web.requests import RequestBody, RequestQuery, judged_first

router = APIRouter(tags=["api-keys"])

_KEYS = "/api/v1/orgs/{org_id}/api-keys"
_OF_WORKFLOW = "/api/v1/orgs/{org_id}/workflows/{workflow_id}/api-keys"


@router.get(
    _KEYS,
    **operation("List API keys", answers={200: ApiKeyList}, errors=(400,), parameters=CURSORS, api=Api.NULLRUN),
)
def list_api_keys(principal: OrgPrincipal, query: RequestQuery) -> Response:
    """Every key of the organisation, revoked ones too, oldest first."""
    return _listed(principal, None, query)


@router.post(
    _KEYS,
    **operation(
        "Mint an API key",
        request=NewApiKey,
        answers={201: MintedApiKey},
        errors=(400, 404, 409, 413, 422, 503),
        api=Api.NULLRUN,
    ),
)
def mint_api_key(principal: OrgPrincipal, body: RequestBody) -> Response:
    """The key and its secret are shown this once. Needs the role operator."""
    principal.require_role("operator")
    return _minted(principal, read_form(body, NewApiKey), None)


@router.delete(
    f"{_KEYS}/{{key_id}}",
    **operation("Revoke an API key", answers={204: "It is refused from now on."}, errors=(404, 503), api=Api.NULLRUN),
)
def delete_api_key(key_id: str, principal: OrgPrincipal) -> Response:
    """At once and for good; a revoked key may be revoked again. Needs the role operator."""
    services().governance.keys.revoke(principal, key_id)
    return Response(status_code=204)


@router.post(
    f"{_KEYS}/{{key_id}}/revoke",
    **operation(
        "Revoke an API key by POST",
        answers={204: "It is refused from now on."},
        errors=(404, 503),
        api=Api.NULLRUN,
    ),
)
def revoke_api_key(key_id: str, principal: OrgPrincipal) -> Response:
    """As DELETE does."""
    return delete_api_key(key_id, principal)


@router.post(
    f"{_KEYS}/{{key_id}}/rotate",
    **operation(
        "Rotate the secret of an API key",
        answers={200: RotatedApiKey},
        errors=(404, 409, 503),
        api=Api.NULLRUN,
    ),
)
def rotate_api_key(key_id: str, principal: OrgPrincipal) -> Response:
    """The key stays, its secret is replaced; the secret before verifies for a while. Needs the role operator."""
    return answer(rotated_row(services().governance.keys.rotate(principal, key_id)))


@router.get(
    "/api/v1/workflows/{workflow_id}/api-keys",
    **operation(
        "List API keys of a workflow",
        answers={200: ApiKeyList},
        errors=(400, 404),
        parameters=CURSORS,
        api=Api.NULLRUN,
    ),
)
def list_api_keys_of_workflow(workflow_id: str, principal: CurrentPrincipal, query: RequestQuery) -> Response:
    """In the organisation the caller acts in."""
    return _listed(principal, workflow_id, query)


@router.get(
    _OF_WORKFLOW,
    **operation(
        "List API keys of a workflow of an organisation",
        answers={200: ApiKeyList},
        errors=(400, 404),
        parameters=CURSORS,
        api=Api.NULLRUN,
    ),
)
def list_workflow_api_keys(workflow_id: str, principal: OrgPrincipal, query: RequestQuery) -> Response:
    """Every key of the workflow, revoked ones too, oldest first."""
    return _listed(principal, workflow_id, query)


@router.post(
    _OF_WORKFLOW,
    **operation(
        "Mint an API key of a workflow",
        request=NewApiKey,
        answers={201: MintedApiKey},
        errors=(400, 404, 409, 413, 422, 503),
        api=Api.NULLRUN,
    ),
)
def mint_workflow_api_key(workflow_id: str, principal: OrgPrincipal, body: RequestBody) -> Response:
    """As minting a key of the organisation; the path names the workflow."""
    principal.require_role("operator")
    with judged_first(lambda: services().governance.workflows.require(principal, workflow_id)):
        form = read_form(body, NewApiKey)
        if form.workflow_id not in (None, workflow_id):
            raise InvalidRequest.field("workflow_id", "Workflow_id is not the one of the path; leave it out")
    return _minted(principal, form, workflow_id)


def _listed(principal: Principal, workflow_id: str | None, query: RequestQuery) -> Response:
    principal.require_account()
    keys = services().governance.keys
    window = window_of(query)
    part = keys.list(principal, workflow_id=workflow_id, limit=window.limit, cursor=window.cursor)
    return part_answer("api_keys", part, key_row)


def _minted(principal: Principal, form: NewApiKey, workflow_id: str | None) -> Response:
    wanted = NewKey(
        form.name, workflow_id or form.workflow_id or "", (EVERYTHING,) if form.scopes is None else form.scopes,
        expiry_of(form.expires_at), live=form.environment == "live",
    )  # fmt: skip
    return answer(minted_row(services().governance.keys.mint(principal, wanted)), 201)
