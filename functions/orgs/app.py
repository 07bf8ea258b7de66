"""Organisations, members, invites and plans. Source: NullRun docs, HTTP API, Org management."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from functions.orgs.schemas import (
    InviteAcceptance,
    InviteAccepted,
    InviteDeclined,
    InviteInfo,
    InviteList,
    InviteMade,
    InviteRequest,
    MemberList,
    MemberRow,
    OrganizationChanges,
    OrganizationList,
    OrganizationRow,
    PlanList,
    RoleChange,
    invite_accepted,
    invite_info,
    invite_made,
    invite_row,
    member_row,
    org_role_row,
    org_row,
    plan_row,
)
from shared.composition import services
from shared.governance.forms import role_named
from shared.governance.plans import PLANS
from shared.web.addresses import LIMITED_BY_ADDRESS
from shared.web.answers import answer
from shared.web.apis import Api
from shared.web.app import family_app, lambda_handler
from shared.web.idempotency import idempotency_id
from shared.web.keys import OrgPrincipal
from shared.web.nullrun import CURSORS, part_answer, read_form, window_of
from shared.web.operation import operation
from shared.web.principals import CurrentPrincipal, OptionalPrincipal
from shared.web.requests import RequestBody, RequestQuery

router = APIRouter(tags=["organizations"])

_ORG = "/api/v1/orgs/{org_id}"


@router.get("/api/v1/plans", **operation("List plans", answers={200: PlanList}, security="none", api=Api.NULLRUN))
def list_plans() -> Response:
    """What an organisation may have of everything; -1 is no limit."""
    rows = [plan_row(plan) for plan in PLANS.values()]
    return answer({"plans": rows, "total": len(rows), "next_cursor": None})


# Organisations


@router.get("/api/v1/orgs", **operation("List my organisations", answers={200: OrganizationList}, api=Api.NULLRUN))
def list_orgs(principal: CurrentPrincipal) -> Response:
    """Every organisation the caller is a member of, with the caller's role."""
    rows = [org_role_row(org) for org in services().governance.orgs.list(principal)]
    return answer({"organizations": rows, "total": len(rows), "next_cursor": None})


@router.get(_ORG, **operation("Show an organisation", answers={200: OrganizationRow}, errors=(404,), api=Api.NULLRUN))
def get_org(principal: OrgPrincipal) -> Response:
    """For its members."""
    return answer(org_row(services().governance.orgs.get(principal)))


@router.patch(
    _ORG,
    **operation(
        "Change an organisation", request=OrganizationChanges, answers={200: OrganizationRow},
        errors=(400, 404, 413, 422), api=Api.NULLRUN,
    ),
)  # fmt: skip
def update_org(principal: OrgPrincipal, body: RequestBody) -> Response:
    """Its name, or whom to write to. For owners."""
    principal.require_role("owner")
    form = read_form(body, OrganizationChanges)
    changed = services().governance.orgs.update(principal, name=form.name, contact_email=form.contact_email)
    return answer(org_row(changed))


@router.delete(
    _ORG,
    **operation(
        "Delete an organisation", answers={204: "Deleted."}, errors=(404, 409, 503), api=Api.NULLRUN
    ),
)  # fmt: skip
def delete_org(principal: OrgPrincipal) -> Response:
    """For its owner, once nobody else is a member. Keys are revoked, workflows killed, flows removed.

    Whose home it was gets another one. The default organisation stays.
    """
    services().governance.orgs.delete(principal)
    return Response(status_code=204)


# Members


@router.get(
    f"{_ORG}/members",
    **operation("List members", answers={200: MemberList}, errors=(400,), parameters=CURSORS, api=Api.NULLRUN),
)
def list_members(principal: OrgPrincipal, query: RequestQuery) -> Response:
    """Everybody in the organisation, for its members."""
    principal.require_account()
    window = window_of(query)
    part = services().governance.members.list(principal, limit=window.limit, cursor=window.cursor)
    return part_answer("members", part, member_row)


@router.patch(
    f"{_ORG}/members/{{member_id}}",
    **operation(
        "Change a member's role", request=RoleChange, answers={200: MemberRow},
        errors=(400, 404, 409, 413, 422, 503), api=Api.NULLRUN,
    ),
)  # fmt: skip
def update_member(member_id: str, principal: OrgPrincipal, body: RequestBody) -> Response:
    """For admins; only an owner makes and unmakes owners, and the last one stays one."""
    principal.require_role("admin")
    role = role_named(read_form(body, RoleChange).role)
    return answer(member_row(services().governance.members.change_role(principal, member_id, role)))


@router.delete(
    f"{_ORG}/members/{{member_id}}",
    **operation("Remove a member", answers={204: "Removed."}, errors=(404, 409, 503), api=Api.NULLRUN),
)
def remove_member(member_id: str, principal: OrgPrincipal) -> Response:
    """For admins, and for the member itself. The member loses the organisation at once."""
    services().governance.members.remove(principal, member_id)
    return Response(status_code=204)


# Invites


@router.get(
    f"{_ORG}/invites",
    **operation("List invites", answers={200: InviteList}, errors=(400,), parameters=CURSORS, api=Api.NULLRUN),
)
def list_invites(principal: OrgPrincipal, query: RequestQuery) -> Response:
    """Those of the last 90 days, without their tokens. For admins."""
    principal.require_role("admin")
    window = window_of(query)
    part = services().governance.invites.list(principal, limit=window.limit, cursor=window.cursor)
    return part_answer("invites", part, invite_row)


@router.post(
    f"{_ORG}/invites",
    **operation(
        "Invite somebody", request=InviteRequest, answers={201: InviteMade},
        errors=(400, 409, 413, 422, 429, 503), api=Api.NULLRUN,
    ),
)  # fmt: skip
def create_invite(principal: OrgPrincipal, body: RequestBody) -> Response:
    """For admins; only an owner invites owners. The invite is mailed, and good for seven days."""
    principal.require_role("admin")
    form = read_form(body, InviteRequest)
    made = services().governance.invites.create(principal, form.email, role_named(form.role))
    return answer(invite_made(made), 201)


@router.delete(
    f"{_ORG}/invites/{{invite_id}}",
    **operation("Revoke an invite", answers={204: "Revoked."}, errors=(404, 410, 503), api=Api.NULLRUN),
)
def revoke_invite(invite_id: str, principal: OrgPrincipal) -> Response:
    """For admins."""
    services().governance.invites.revoke(principal, invite_id)
    return Response(status_code=204)


@router.post(
    f"{_ORG}/invites/{{invite_id}}/resend",
    **operation(
        "Resend an invite", answers={200: InviteMade}, errors=(404, 409, 410, 429, 503), api=Api.NULLRUN
    ),
)  # fmt: skip
def resend_invite(invite_id: str, principal: OrgPrincipal) -> Response:
    """Mail it again with a new token and seven new days; the old token is void. For admins."""
    return answer(invite_made(services().governance.invites.resend(principal, invite_id)))


@router.get(
    "/api/v1/invites/{token}",
    dependencies=LIMITED_BY_ADDRESS,
    **operation(
        "Show an invite", answers={200: InviteInfo}, errors=(404, 410, 429, 503), security="none", api=Api.NULLRUN
    ),
)
def get_invite(token: str) -> Response:
    """For whoever holds its token."""
    return answer(invite_info(services().governance.invites.find(token)))


@router.post(
    "/api/v1/invites/{token}/accept",
    dependencies=LIMITED_BY_ADDRESS,
    **operation(
        "Accept an invite", request=InviteAcceptance, optional_body=True, answers={200: InviteAccepted},
        errors=(400, 404, 409, 410, 413, 422, 429, 503), security="optional", api=Api.NULLRUN,
    ),
)  # fmt: skip
def accept_invite(token: str, request: Request, principal: OptionalPrincipal, body: RequestBody) -> Response:
    """With a session of the invited address; or with a name and a password, which make an account with it."""
    registration = services().governance.registration
    if not principal.is_anonymous:
        return answer(invite_accepted(registration.accept(principal, token)))
    services().governance.invites.find(token)
    form = read_form(body, InviteAcceptance, optional=True)
    joined = registration.accept_new(
        token, name=form.name, password=form.password, account_id=idempotency_id(request)
    )  # fmt: skip
    return answer(invite_accepted(joined))


@router.post(
    "/api/v1/invites/{token}/decline",
    dependencies=LIMITED_BY_ADDRESS,
    **operation(
        "Decline an invite",
        answers={200: InviteDeclined},
        errors=(404, 410, 429, 503),
        security="none",
        api=Api.NULLRUN,
    ),
)
def decline_invite(token: str) -> Response:
    """For whoever holds its token."""
    services().governance.invites.decline(token)
    return answer({"status": "declined"})


app = family_app("orgs", router)
handler = lambda_handler(app)
