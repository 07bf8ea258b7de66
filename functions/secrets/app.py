"""Secrets of accounts, for the account itself. Source: FlowRunner API Reference, Secrets Management."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from functions.secrets.schemas import (
    CreateSecret,
    SecretDeleted,
    SecretInClear,
    SecretKeys,
    SecretList,
    SecretShown,
    SecretValue,
    secret_row,
)
from shared.composition import services
from shared.web.answers import answer, done
from shared.web.app import family_app, lambda_handler
from shared.web.operation import operation
from shared.web.principals import CurrentPrincipal
from shared.web.requests import RequestBody, judged_first

router = APIRouter(prefix="/api/v1/accounts/{account_id}/secrets", tags=["secrets"])


@router.get("", **operation("List secrets", answers={200: SecretList}, errors=(403,)))
def list_secrets(account_id: str, principal: CurrentPrincipal) -> Response:
    """Every secret of the account, without the values."""
    rows = services().secrets.list(principal, account_id)
    return answer({"secrets": [secret_row(row) for row in rows], "total": len(rows)})


@router.post(
    "",
    **operation("Store a secret", request=CreateSecret, answers={201: SecretShown}, errors=(400, 403, 413)),
)
def create_secret(account_id: str, principal: CurrentPrincipal, body: RequestBody) -> Response:
    """Store a value under a name; one that is there already is replaced and keeps its time of creation."""
    vault = services().secrets
    vault.require_own(principal, account_id)
    form = body.read(CreateSecret)
    return answer(secret_row(vault.put(principal, account_id, form.key, form.value)), 201)


@router.get("/keys", **operation("List the names of secrets", answers={200: SecretKeys}, errors=(403,)))
def list_secret_keys(account_id: str, principal: CurrentPrincipal) -> Response:
    """The names alone."""
    keys = [row.key for row in services().secrets.list(principal, account_id)]
    return answer({"keys": keys, "total": len(keys)})


@router.get("/{key}", **operation("Show a secret", answers={200: SecretInClear}, errors=(403, 404)))
def get_secret(account_id: str, key: str, principal: CurrentPrincipal) -> Response:
    """One secret with its value in clear."""
    return answer({"key": key, "value": services().secrets.get(principal, account_id, key)})


@router.post(
    "/{key}",
    **operation("Store a secret by its name", request=SecretValue, answers={201: SecretShown}, errors=(400, 403, 413)),
)
def put_secret(account_id: str, key: str, principal: CurrentPrincipal, body: RequestBody) -> Response:
    """Store a value, which may be empty; one that is there already is replaced."""
    vault = services().secrets
    vault.require_own(principal, account_id)
    return answer(secret_row(vault.put(principal, account_id, key, body.read(SecretValue).value)), 201)


@router.put(
    "/{key}",
    **operation("Change a secret", request=SecretValue, answers={200: SecretShown}, errors=(400, 403, 404, 413)),
)
def update_secret(account_id: str, key: str, principal: CurrentPrincipal, body: RequestBody) -> Response:
    """Replace the value of a secret that exists."""
    vault = services().secrets
    vault.require_own(principal, account_id)
    with judged_first(lambda: vault.require(principal, account_id, key)):
        value = body.read(SecretValue).value
    return answer(secret_row(vault.replace(principal, account_id, key, value)))


@router.delete(
    "/{key}",
    **operation(
        "Delete a secret",
        answers={200: SecretDeleted, 204: "Deleted; answered to the command line client."},
        errors=(403, 404),
    ),
)
def delete_secret(account_id: str, key: str, principal: CurrentPrincipal) -> Response:
    """Remove a secret."""
    services().secrets.delete(principal, account_id, key)
    return done(principal, "Secret deleted successfully")


app = family_app("secrets", router)
handler = lambda_handler(app)
