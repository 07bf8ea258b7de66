"""A session as it is answered, whichever path opened it."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict
from pydantic.config import JsonDict

from shared.identity import Session
from shared.kit import clock
from shared.web.requests import WireAnswer

_USER: JsonDict = {"id": "0198c0de-7a10-7c2e-9d3a-2f9c41aa01f7", "email": "ada@example.com", "name": "Ada"}
_ORGANIZATION: JsonDict = {"id": "6f1d2a0e-9c55-5b0e-8a57-0d5ba7e2c001", "name": "Default", "role": "owner"}

SESSION_EXAMPLE: JsonDict = {
    "token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.c2ln",
    "expires_at": "2026-01-02T12:00:00.000Z",
    "account_id": _USER["id"],
    "username": "ada",
    "session_token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.c2ln",
    "user": _USER,
    "organization_id": _ORGANIZATION["id"],
    "role": "owner",
    "organizations": [_ORGANIZATION],
}


class SessionUser(WireAnswer):
    """Who signed in."""

    model_config = ConfigDict(json_schema_extra={"examples": [_USER]})

    id: str
    email: str
    name: str


class SessionOrganization(WireAnswer):
    """An organisation of whoever signed in."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ORGANIZATION]})

    id: str
    name: str
    role: str


class SessionAnswer(WireAnswer):
    """A session. ``token`` and ``session_token`` are the same one, under the names the APIs use."""

    model_config = ConfigDict(json_schema_extra={"examples": [SESSION_EXAMPLE]})

    token: str
    expires_at: str
    account_id: str
    username: str
    session_token: str
    user: SessionUser
    organization_id: str
    role: str
    organizations: list[SessionOrganization]


def session_row(session: Session) -> dict[str, Any]:
    """A session as it is answered."""
    account = session.account
    return {
        "token": session.token,
        "expires_at": clock.rfc3339(session.expires_ms),
        "account_id": account.id,
        "username": account.username,
        "session_token": session.token,
        "user": {"id": account.id, "email": account.email, "name": account.name},
        "organization_id": account.home_org,
        "role": session.role,
        "organizations": [{"id": org.id, "name": org.name, "role": org.role} for org in session.orgs],
    }
