"""Wire models of signing in. Source: FlowRunner API Reference, Authentication."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from shared.web.requests import WireAnswer, WireModel


class LoginRequest(WireModel):
    """A user name or e-mail address under ``username``, or an e-mail address under ``email``; and the password."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"username": "user@example.com", "password": "correct horse 42"}]}
    )

    username: str | None = None
    email: str | None = None
    password: str = Field(min_length=1)


class LegacyLoginRequest(WireModel):
    """What the command line client sends."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"username": "ada", "password": "correct horse 42"}]})

    username: str = Field(min_length=1)
    password: str = Field(min_length=1)


class MessageAnswer(WireAnswer):
    """What was done."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"message": "Logged out successfully"}]})

    message: str
