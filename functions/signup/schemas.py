"""Wire models of signing up. Source: NullRun docs, HTTP API, Auth."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from shared.governance.registration import Registered
from shared.identity import Session
from shared.kit import clock
from shared.web.requests import WireAnswer, WireModel
from shared.web.sessions import SESSION_EXAMPLE, SessionAnswer, session_row

_SIGNED_UP: JsonDict = {
    "user_id": "0198c0de-7a10-7c2e-9d3a-2f9c41aa01f7",
    "organization_id": "8d0c3c1e-5a6d-4f0e-9b7a-1f2e3d4c5b6a",
    "organization_name": "Ada's workspace",
    "session_token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.c2ln",
    "expires_at": "2026-01-02T12:00:00.000Z",
    "workflow_id": "0198c0de-51b2-7d3f-8e4b-3a0d52bb12e8",
    "key_id": "0198c0de-7c1e-7d3f-8e4b-3a0d52bb12e8",
    "api_key": "nr_live_EXAMPLEexampleEXAMPLEexample0000",
    "key": "nr_live_EXAMPLEexampleEXAMPLEexample0000",
    "secret_key": "5e0a" * 16,
    "key_prefix": "nr_live_EXAM",
    "role": "owner",
    "user": {"id": "0198c0de-7a10-7c2e-9d3a-2f9c41aa01f7", "email": "ada@example.com", "name": "Ada"},
}


class RegisterRequest(WireModel):
    """Who signs up."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"email": "ada@example.com", "password": "correct horse 42", "name": "Ada"}]}
    )

    email: str = Field(min_length=1)
    password: str = Field(min_length=1, description="12 to 256 characters.")
    name: str = Field(min_length=1)


class OAuthRegisterRequest(WireModel):
    """What came back from the provider: `code` with `redirect_uri` and `state`, or (Google) an `id_token`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "provider": "github",
                    "code": "c0de",
                    "redirect_uri": "https://app.example.com/callback",
                    "state": "eyJwIjoiZ2l0aHViIn0.5e0a",
                }
            ]
        }
    )

    provider: Literal["github", "google"]
    code: str | None = None
    redirect_uri: str | None = None
    state: str | None = Field(None, description="As `/start` answered it.")
    id_token: str | None = None


class RegisterAnswer(WireAnswer):
    """A new account, signed in, with its organisation, first workflow and first key; key and secret are shown once.

    `api_key` and `key` are the same.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_SIGNED_UP]})

    user_id: str
    organization_id: str
    organization_name: str
    session_token: str
    expires_at: str
    workflow_id: str
    key_id: str
    api_key: str
    key: str
    secret_key: str
    key_prefix: str
    role: str
    user: dict[str, str]


class OAuthStartAnswer(WireAnswer):
    """Where to send the person, and the state that comes back; both are good for ten minutes."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "authorization_url": "https://github.com/login/oauth/authorize?client_id=abc&state=e30.5e0a",
                    "state": "eyJwIjoiZ2l0aHViIn0.5e0a",
                }
            ]
        }
    )

    authorization_url: str
    state: str


def registered_row(made: Registered) -> dict[str, Any]:
    """A sign-up as it is answered."""
    account = made.session.account
    return {
        "user_id": account.id,
        "organization_id": account.home_org,
        "organization_name": made.org_name,
        "session_token": made.session.token,
        "expires_at": clock.rfc3339(made.session.expires_ms),
        "workflow_id": made.workflow_id,
        "key_id": made.minted.view.id,
        "api_key": made.minted.key,
        "key": made.minted.key,
        "secret_key": made.minted.secret,
        "key_prefix": made.minted.view.prefix,
        "role": made.session.role,
        "user": {"id": account.id, "email": account.email, "name": account.name},
    }


class OAuthSessionAnswer(SessionAnswer):
    """A sign-in of somebody who has an account; there is no new key."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [SESSION_EXAMPLE | {"user_id": SESSION_EXAMPLE["account_id"]}]}
    )

    user_id: str


def signed_in_row(session: Session) -> dict[str, Any]:
    """A sign-in as it is answered."""
    return session_row(session) | {"user_id": session.account.id}
