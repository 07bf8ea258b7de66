"""Wire models of accounts. Source: FlowRunner API Reference, Account Management."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from shared.identity import Account
from shared.kit import clock
from shared.web.requests import WireAnswer, WireModel

_ROW: JsonDict = {
    "id": "0198c0de-7a10-7c2e-9d3a-2f9c41aa01f7",
    "name": "Ada",
    "email": "ada@example.com",
    "role": "user",
    "created_at": "2026-01-01T12:00:00.000Z",
    "updated_at": "2026-01-01T12:00:00.000Z",
    "username": "ada",
    "user_id": 2,
}


class CreateAccount(WireModel):
    """A new account, made by an administrator."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "Ada", "email": "ada@example.com", "password": "correct horse 42", "role": "user"}]
        }
    )

    name: str = Field(min_length=1)
    email: str = Field(min_length=1)
    password: str = Field(min_length=1, description="8 to 256 characters.")
    role: str = Field("user", description="admin or user.")


class SignUp(WireModel):
    """A new account, made by its owner without credentials."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"username": "ada", "password": "correct horse 42"}]})

    username: str = Field(min_length=1)
    password: str = Field(min_length=1, description="8 to 256 characters.")


class NewAccount(WireModel):
    """With credentials of an administrator: name, email, password, role. Without any: username, password."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "Ada", "email": "ada@example.com", "password": "correct horse 42", "role": "user"},
                {"username": "ada", "password": "correct horse 42"},
            ]
        }
    )

    username: str | None = None
    name: str | None = None
    email: str | None = None
    password: str = Field(min_length=1, description="8 to 256 characters.")
    role: str = Field("user", description="admin or user.")


class UpdateAccount(WireModel):
    """What to change; what is left out stays."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "Ada L.", "email": "ada.l@example.com", "role": "admin"}]}
    )

    name: str | None = Field(None, min_length=1)
    email: str | None = Field(None, min_length=1)
    role: str | None = None
    password: str | None = Field(None, min_length=1, description="8 to 256 characters.")


class AccountRow(WireAnswer):
    """An account."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ROW]})

    id: str
    name: str
    email: str
    role: str
    created_at: str
    updated_at: str
    username: str
    user_id: int


class AccountList(WireAnswer):
    """A part of the accounts, oldest first."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"accounts": [_ROW], "total": 1, "limit": 10, "offset": 0}]}
    )

    accounts: list[AccountRow]
    total: int
    limit: int
    offset: int


class AccountDeleted(WireAnswer):
    """The account is gone."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"message": "Account deleted successfully"}]})

    message: str


def account_row(account: Account) -> dict[str, Any]:
    """An account as it is answered."""
    return {
        "id": account.id,
        "name": account.name,
        "email": account.email,
        "role": account.role,
        "created_at": clock.rfc3339(account.created_ms),
        "updated_at": clock.rfc3339(account.updated_ms),
        "username": account.username,
        "user_id": account.user_id,
    }
