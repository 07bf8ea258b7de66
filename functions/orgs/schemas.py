"""Wire models of organisations, members, invites and plans. Source: NullRun docs, HTTP API, Org management."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from shared.governance.invite_records import InviteView
from shared.governance.invites import NewInvite, OpenInvite
from shared.governance.members import Member
from shared.governance.orgs import Org
from shared.governance.plans import FEATURES, Plan
from shared.governance.registration import Joined
from shared.identity import OrgRole
from shared.kit import clock
from shared.web.requests import WireAnswer, WireModel

_ORG_ID = "8d0c3c1e-5a6d-4f0e-9b7a-1f2e3d4c5b6a"
_ACCOUNT_ID = "0198c0de-7a10-7c2e-9d3a-2f9c41aa01f7"
_TOKEN = "inv_8x3Jm1c0Q2s4T6v8X0z2B4d6F8h0J2k4M6n8P0r2S4u"  # noqa: S105
_ORG: JsonDict = {
    "id": _ORG_ID,
    "name": "Acme",
    "slug": "acme",
    "plan": "growth",
    "contact_email": "ops@example.com",
    "owner_user_id": _ACCOUNT_ID,
    "member_count": 2,
    "created_at": "2026-01-01T12:00:00.000Z",
}
_ORG_ROLE: JsonDict = {"id": _ORG_ID, "name": "Acme", "role": "owner", "created_at": "2026-01-01T12:00:00.000Z"}
_MEMBER: JsonDict = {
    "id": _ACCOUNT_ID,
    "user_id": _ACCOUNT_ID,
    "email": "ada@example.com",
    "name": "Ada",
    "role": "owner",
    "joined_at": "2026-01-01T12:00:00.000Z",
}
_INVITE: JsonDict = {
    "id": "0198c0de-9b20-7d3f-8e4b-3a0d52bb12e8",
    "email": "bo@example.com",
    "role": "operator",
    "status": "pending",
    "expires_at": "2026-01-08T12:00:00.000Z",
    "created_at": "2026-01-01T12:00:00.000Z",
    "last_send_status": "delivered",
}
_MADE: JsonDict = {
    **_INVITE,
    "last_send_status": "pending",
    "token": _TOKEN,
    "invite_url": f"https://signalbox.example.com/invite?token={_TOKEN}",
}
_PLAN: JsonDict = {
    "id": "growth",
    "name": "Growth",
    "limits": {
        "workflows": 50,
        "api_keys": 100,
        "seats": 10,
        "policies": 25,
        "approval_rules": 20,
        "executions": 750_000,
        "tokens_per_hour": 300_000,
        "requests_per_second": 50,
        "history_days": 30,
    },
    "features": {"tool_block": True, "approvals": True, "audit_log": True, "alerts": True, "team": True},
}


class OrganizationChanges(WireModel):
    """What to change; what is left out stays. An empty `contact_email` removes it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "Acme Rail", "contact_email": "ops@example.com"}]}
    )

    name: str | None = Field(None, description="1 to 100 characters.")
    contact_email: str | None = None


class OrganizationRow(WireAnswer):
    """An organisation. `slug` is made from the name and is not unique."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ORG]})

    id: str
    name: str
    slug: str
    plan: str
    contact_email: str | None
    owner_user_id: str | None
    member_count: int
    created_at: str


class OrganizationRoleRow(WireAnswer):
    """An organisation of the caller, and the caller's role there."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ORG_ROLE]})

    id: str
    name: str
    role: str
    created_at: str


class OrganizationList(WireAnswer):
    """The caller's organisations, oldest first."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"organizations": [_ORG_ROLE], "total": 1, "next_cursor": None}]}
    )

    organizations: list[OrganizationRoleRow]
    total: int
    next_cursor: str | None


class RoleChange(WireModel):
    """The new role."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"role": "admin"}]})

    role: str = Field(min_length=1, description="owner, admin, operator (or member), viewer.")


class MemberRow(WireAnswer):
    """A member; `id` and `user_id` are the account's."""

    model_config = ConfigDict(json_schema_extra={"examples": [_MEMBER]})

    id: str
    user_id: str
    email: str
    name: str
    role: str
    joined_at: str


class MemberList(WireAnswer):
    """A part of the members, oldest account first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"members": [_MEMBER], "total": 1, "next_cursor": None}]})

    members: list[MemberRow]
    total: int
    next_cursor: str | None


class InviteRequest(WireModel):
    """Whom to invite, and as what."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"email": "bo@example.com", "role": "operator"}]})

    email: str = Field(min_length=1)
    role: str = Field("operator", min_length=1, description="owner, admin, operator (or member), viewer.")


class InviteRow(WireAnswer):
    """An invite. `status`: pending, accepted, declined, revoked, expired; `last_send_status` is its mail's."""

    model_config = ConfigDict(json_schema_extra={"examples": [_INVITE]})

    id: str
    email: str
    role: str
    status: str
    expires_at: str
    created_at: str
    last_send_status: str


class InviteMade(InviteRow):
    """An invite with its token, which is shown only now."""

    model_config = ConfigDict(json_schema_extra={"examples": [_MADE]})

    token: str
    invite_url: str


class InviteList(WireAnswer):
    """A part of the invites, oldest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"invites": [_INVITE], "total": 1, "next_cursor": None}]})

    invites: list[InviteRow]
    total: int
    next_cursor: str | None


class InviteInfo(WireAnswer):
    """What the holder of a token may know."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "organization_name": "Acme",
                    "email": "bo@example.com",
                    "role": "operator",
                    "status": "pending",
                    "expires_at": "2026-01-08T12:00:00.000Z",
                }
            ]
        }
    )

    organization_name: str
    email: str
    role: str
    status: str
    expires_at: str


class InviteAcceptance(WireModel):
    """Who has no account yet gives a name and a password; who has one sends a session and no body."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Bo", "password": "another long one 7"}]})

    name: str = Field(min_length=1)
    password: str = Field(min_length=1, description="12 to 256 characters.")


class InviteAccepted(WireAnswer):
    """The organisation joined, and a session of the new member."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "organization_id": _ORG_ID,
                    "role": "operator",
                    "user_id": _ACCOUNT_ID,
                    "session_token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.c2ln",
                    "expires_at": "2026-01-02T12:00:00.000Z",
                }
            ]
        }
    )

    organization_id: str
    role: str
    user_id: str
    session_token: str
    expires_at: str


class InviteDeclined(WireAnswer):
    """The invite is over."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "declined"}]})

    status: str


class PlanRow(WireAnswer):
    """A plan; a limit of -1 is none."""

    model_config = ConfigDict(json_schema_extra={"examples": [_PLAN]})

    id: str
    name: str
    limits: dict[str, int]
    features: dict[str, bool]


class PlanList(WireAnswer):
    """Every plan, smallest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"plans": [_PLAN], "total": 1, "next_cursor": None}]})

    plans: list[PlanRow]
    total: int
    next_cursor: str | None


def org_row(org: Org) -> dict[str, Any]:
    """An organisation as it is answered."""
    return {
        "id": org.id,
        "name": org.name,
        "slug": org.slug,
        "plan": org.plan,
        "contact_email": org.contact_email,
        "owner_user_id": org.owner_id,
        "member_count": org.member_count,
        "created_at": clock.rfc3339(org.created_ms),
    }


def org_role_row(org: OrgRole) -> dict[str, Any]:
    """An organisation of the caller as it is answered."""
    return {"id": org.id, "name": org.name, "role": org.role, "created_at": clock.rfc3339(org.created_ms)}


def member_row(member: Member) -> dict[str, Any]:
    """A member as it is answered."""
    return {
        "id": member.id,
        "user_id": member.id,
        "email": member.email,
        "name": member.name,
        "role": member.role,
        "joined_at": clock.rfc3339(member.joined_ms),
    }


def invite_row(invite: InviteView) -> dict[str, Any]:
    """An invite as it is answered."""
    return {
        "id": invite.id,
        "email": invite.email,
        "role": invite.role,
        "status": invite.status,
        "expires_at": clock.rfc3339(invite.expires_ms),
        "created_at": clock.rfc3339(invite.created_ms),
        "last_send_status": invite.send_status,
    }


def invite_made(made: NewInvite) -> dict[str, Any]:
    """An invite as its maker is answered."""
    return invite_row(made.invite) | {"token": made.token, "invite_url": made.url}


def invite_info(found: OpenInvite) -> dict[str, Any]:
    """An invite as the holder of its token is answered."""
    return {
        "organization_name": found.org.name,
        "email": found.record.email,
        "role": found.record.role,
        "status": "pending",
        "expires_at": clock.rfc3339(int(found.record.expires_ms)),
    }


def invite_accepted(joined: Joined) -> dict[str, Any]:
    """A joining as it is answered."""
    return {
        "organization_id": joined.org_id,
        "role": joined.role,
        "user_id": joined.session.account.id,
        "session_token": joined.session.token,
        "expires_at": clock.rfc3339(joined.session.expires_ms),
    }


def plan_row(plan: Plan) -> dict[str, Any]:
    """A plan as it is answered."""
    features = {feature: plan.has(feature) for feature in FEATURES}
    return {"id": plan.id, "name": plan.name, "limits": dict(plan.limits), "features": features}
