"""Flows: YAML definitions and their versions. Source: FlowRunner API Reference, Flow Management."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from functions.flows.schemas import (
    EXAMPLE_YAML,
    CreateFlow,
    FlowDeleted,
    FlowDetail,
    FlowFound,
    FlowList,
    FlowMetadata,
    FlowRow,
    FlowSearch,
    FlowVersions,
    UpdateFlow,
)
from shared.catalog import Definition
from shared.composition import services
from shared.identity.principal import Principal
from shared.kit.clock import parse_rfc3339, rfc3339
from shared.web.answers import answer, done, fitting, list_answer
from shared.web.app import family_app, lambda_handler
from shared.web.idempotency import idempotency_id
from shared.web.operation import PAGING, array_of, operation, query, schema_of
from shared.web.paging import list_paging
from shared.web.principals import CurrentPrincipal
from shared.web.requests import RequestBody, RequestQuery, judged_first

KIND = "flow"
LEGACY = "Done; answered to the command line client."

router = APIRouter(tags=["flows"])

_TAG = query("tag", description="Only flows that have exactly this tag.")
_DETAIL = {
    "application/json": {"schema": schema_of(FlowDetail)},
    "application/yaml": {"schema": {"type": "string"}, "example": EXAMPLE_YAML},
}


def flow_row(flow: Definition) -> dict[str, Any]:
    """A flow as lists show it."""
    return {
        "id": flow.id,
        "name": flow.name,
        "description": flow.description,
        "version": flow.version,
        "created_at": rfc3339(flow.created_ms),
        "updated_at": rfc3339(flow.updated_ms),
        "tags": list(flow.tags),
    }


@router.get(
    "/api/v1/flows",
    **operation("List flows", answers={200: FlowList}, errors=(400,), parameters=(_TAG, *PAGING)),
)
def list_flows(principal: CurrentPrincipal, asked: RequestQuery) -> Response:
    """Flows of the organisation, oldest first."""
    paging = list_paging(principal, asked)
    found = services().catalog.list(principal, KIND, tag=asked.text("tag"), limit=paging.limit, offset=paging.offset)
    return list_answer(principal, "flows", found, flow_row)


@router.post(
    "/api/v1/flows",
    **operation("Create a flow", request=CreateFlow, answers={201: FlowRow}, errors=(400, 403, 413, 422, 503)),
)
def create_flow(principal: CurrentPrincipal, request: Request, body: RequestBody) -> Response:
    """Create a new flow."""
    principal.require_role("operator")
    given = body.read(CreateFlow)
    flow = services().catalog.create(
        principal,
        KIND,
        given.name,
        given.definition,
        description=given.description,
        tags=given.tags or [],
        definition_id=idempotency_id(request),
    )
    return answer(_created(principal, flow), 201, {"Location": f"/api/v1/flows/{flow.id}"})


def _created(principal: Principal, flow: Definition) -> dict[str, Any]:
    row = flow_row(flow)
    if principal.dialect == "legacy":
        # The command line client reads the answer into a map of texts.
        return {name: value for name, value in row.items() if isinstance(value, str)}
    return row


@router.get(
    "/api/v1/flows/{flow_id}",
    **operation("Get a flow", answers={200: _DETAIL}, errors=(404,)),
)
def get_flow(flow_id: str, principal: CurrentPrincipal, request: Request) -> Response:
    """One flow with its definition, byte for byte; as YAML for the command line client and for who accepts it."""
    flow = services().catalog.get(principal, KIND, flow_id)
    wants_yaml = "yaml" in request.headers.get("accept", "").lower()
    if principal.dialect == "legacy" or wants_yaml:
        return Response(flow.text.encode(), media_type="application/yaml")
    return answer(flow_row(flow) | {"definition": flow.text})


@router.put(
    "/api/v1/flows/{flow_id}",
    **operation(
        "Update a flow", request=UpdateFlow, answers={200: FlowRow, 204: LEGACY}, errors=(400, 403, 404, 413, 422, 503)
    ),
)
def update_flow(flow_id: str, principal: CurrentPrincipal, body: RequestBody) -> Response:
    """Change a flow; a new definition is a new version, and running executions keep theirs."""
    principal.require_role("operator")
    with judged_first(lambda: services().catalog.get(principal, KIND, flow_id)):
        given = body.read(UpdateFlow)
    flow = services().catalog.update(
        principal, KIND, flow_id, name=given.name, text=given.definition, description=given.description, tags=given.tags
    )
    return Response(status_code=204) if principal.dialect == "legacy" else answer(flow_row(flow))


@router.delete(
    "/api/v1/flows/{flow_id}",
    **operation("Delete a flow", answers={200: FlowDeleted, 204: LEGACY}, errors=(403, 404)),
)
def delete_flow(flow_id: str, principal: CurrentPrincipal) -> Response:
    """Delete a flow; its executions stay readable, and no workflow governs it any more."""
    principal.require_role("operator")
    services().catalog.delete(principal, KIND, flow_id)
    services().governance.bindings.forget_definition(principal, flow_id)
    return done(principal, "Flow deleted successfully")


@router.get(
    "/api/v1/flows/{flow_id}/versions",
    **operation("List a flow's versions", answers={200: FlowVersions}, errors=(400, 404), parameters=PAGING),
)
def list_versions(flow_id: str, principal: CurrentPrincipal, asked: RequestQuery) -> Response:
    """Every version of a flow, oldest first."""
    with judged_first(lambda: services().catalog.get(principal, KIND, flow_id)):
        paging = list_paging(principal, asked)
    found = services().catalog.versions(principal, KIND, flow_id, limit=paging.limit, offset=paging.offset)
    return list_answer(
        principal,
        "versions",
        found,
        lambda version: {
            "revision": version.revision,
            "version": version.version,
            "created_at": rfc3339(version.created_ms),
        },
    )


@router.patch(
    "/api/v1/flows/{flow_id}/metadata",
    **operation(
        "Change a flow's metadata",
        request=FlowMetadata,
        answers={204: "The metadata were changed"},
        errors=(400, 403, 404, 413),
    ),
)
def patch_metadata(flow_id: str, principal: CurrentPrincipal, body: RequestBody) -> Response:
    """Change what is known about a flow besides its definition."""
    principal.require_role("operator")
    with judged_first(lambda: services().catalog.get(principal, KIND, flow_id)):
        given = body.read(FlowMetadata)
    services().catalog.metadata(
        principal, KIND, flow_id, tags=given.tags, category=given.category, status=given.status, custom=given.custom
    )
    return Response(status_code=204)


@router.post(
    "/api/v1/flows/search",
    **operation(
        "Search flows", request=FlowSearch, optional_body=True, answers={200: array_of(FlowFound)}, errors=(400, 413)
    ),
)
def search_flows(principal: CurrentPrincipal, body: RequestBody) -> Response:
    """Flows that have everything asked for; a bare list, page by page."""
    given = body.read(FlowSearch, optional=True)
    limits = {
        name: parse_rfc3339(value)
        for name in ("created_after", "created_before", "updated_after", "updated_before")
        if (value := getattr(given, name)) is not None
    }
    found = services().catalog.search(
        principal,
        KIND,
        name_contains=given.name_contains,
        description_contains=given.description_contains,
        tags=given.tags,
        category=given.category,
        status=given.status,
        limit=given.page_size,
        offset=(given.page - 1) * given.page_size,
        **limits,
    )
    return answer(fitting(_search_row(flow) for flow in found.items))


def _search_row(flow: Definition) -> dict[str, Any]:
    more = {"account_id": flow.account_id, "category": flow.category, "status": flow.status, "custom": flow.custom}
    return flow_row(flow) | more


app = family_app("flows", router)
handler = lambda_handler(app)
