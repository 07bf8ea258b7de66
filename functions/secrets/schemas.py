"""Wire models of secrets. Source: FlowRunner API Reference, Secrets Management."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from shared.kit import clock
from shared.vault import SecretRow
from shared.web.requests import WireAnswer, WireModel

_ROW: JsonDict = {"key": "API_KEY", "created_at": "2026-01-01T12:00:00.000Z", "updated_at": "2026-01-01T12:00:00.000Z"}


class CreateSecret(WireModel):
    """A secret and its name."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"key": "API_KEY", "value": "your-api-key"}]})

    key: str = Field(min_length=1, max_length=256, description="Letters, digits, dots, @, - and _.")
    value: str = Field(min_length=1)


class SecretValue(WireModel):
    """The value of a secret; here it may be empty."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"value": "your-api-key"}]})

    value: str


class SecretShown(WireAnswer):
    """A secret without its value."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ROW]})

    key: str
    created_at: str
    updated_at: str


class SecretList(WireAnswer):
    """Every secret of the account."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"secrets": [_ROW], "total": 1}]})

    secrets: list[SecretShown]
    total: int


class SecretKeys(WireAnswer):
    """The names of the account's secrets."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"keys": ["API_KEY"], "total": 1}]})

    keys: list[str]
    total: int


class SecretInClear(WireAnswer):
    """A secret with its value."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"key": "API_KEY", "value": "your-api-key"}]})

    key: str
    value: str


class SecretDeleted(WireAnswer):
    """The secret is gone."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"message": "Secret deleted successfully"}]})

    message: str


def secret_row(secret: SecretRow) -> dict[str, Any]:
    """A secret as it is answered."""
    created, updated = clock.rfc3339(secret.created_ms), clock.rfc3339(secret.updated_ms)
    return {"key": secret.key, "created_at": created, "updated_at": updated}
