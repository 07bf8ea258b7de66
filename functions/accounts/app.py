"""Accounts. Source: FlowRunner API Reference, Account Management."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from functions.accounts.schemas import (
    AccountDeleted,
    AccountList,
    AccountRow,
    CreateAccount,
    NewAccount,
    SignUp,
    UpdateAccount,
    account_row,
)
from shared.composition import services
from shared.identity import ACCOUNT_ROLES, Account, Changes, Principal
from shared.kit.errors import SignalboxError, Unauthorized
from shared.web.answers import answer, done, page_answer
from shared.web.app import family_app, lambda_handler
from shared.web.idempotency import idempotency_id
from shared.web.operation import PAGING, header, operation, query
from shared.web.principals import CurrentPrincipal, OptionalPrincipal
from shared.web.requests import Body, RequestBody, RequestQuery
from shared.web.sessions import SessionAnswer, session_row

router = APIRouter(tags=["accounts"])

_ROLE = query("role", description="Only accounts of this role.", enum=list(ACCOUNT_ROLES))
_BOOTSTRAP = header("X-Signalbox-Bootstrap", "The one-time token of the first sign-up, where the deployment has one.")


@router.get(
    "/api/v1/accounts",
    **operation("List accounts", answers={200: AccountList}, errors=(400, 403), parameters=(_ROLE, *PAGING)),
)
def list_accounts(principal: CurrentPrincipal, query: RequestQuery) -> Response:
    """Every account of the deployment, for administrators."""
    principal.require_deployment_admin()
    role, paging = query.text("role"), query.paging()
    page = services().identity.accounts.list(principal, role=role, limit=paging.limit, offset=paging.offset)
    return page_answer("accounts", page, account_row)


@router.post(
    "/api/v1/accounts",
    **operation(
        "Make an account",
        request=NewAccount,
        answers={201: AccountRow},
        errors=(400, 403, 409, 413, 422, 503),
        parameters=(_BOOTSTRAP,),
        security="optional",
    ),
)
def create_account(request: Request, principal: OptionalPrincipal, body: RequestBody) -> Response:
    """An administrator makes an account with name, email, password and role.

    Without credentials it is a sign-up with username and password; the deployment's first becomes its administrator.
    """
    made = _sign_up(request, body) if principal.is_anonymous else _create(principal, request, body)
    return answer(account_row(made), 201, {"Location": f"/api/v1/accounts/{made.id}"})


def _create(principal: Principal, request: Request, body: Body) -> Account:
    principal.require_deployment_admin()
    form = body.read(CreateAccount)
    return services().identity.accounts.create(
        principal, name=form.name, email=form.email, password=form.password, role=form.role,
        account_id=idempotency_id(request),
    )  # fmt: skip


def _sign_up(request: Request, body: Body) -> Account:
    """A body with an e-mail address is the documented call, which needs credentials; so does whatever is no object."""
    try:
        sent = body.object()
    except SignalboxError:
        raise Unauthorized("Authentication is required") from None
    if "email" in sent:
        raise Unauthorized("Authentication is required")
    accounts = services().identity.accounts
    token = request.headers.get("x-signalbox-bootstrap")
    accounts.require_sign_up(token)
    form = body.read(SignUp)
    return accounts.sign_up(
        username=form.username, password=form.password, bootstrap_token=token, account_id=idempotency_id(request)
    )


@router.get("/api/v1/accounts/me", **operation("Show my account", answers={200: AccountRow}))
def get_my_account(principal: CurrentPrincipal) -> Response:
    """The account that is signed in."""
    return answer(account_row(services().identity.accounts.get(principal, principal.account_id)))


@router.post(
    "/api/v1/accounts/refresh-token",
    **operation("Refresh a session from the command line client", answers={200: SessionAnswer}),
)
def refresh_token(principal: CurrentPrincipal) -> Response:
    """As `/api/v1/auth/refresh`; the new token's answers are those the command line client reads."""
    return answer(session_row(services().identity.sessions.refresh(principal, dialect="legacy")))


@router.get(
    "/api/v1/accounts/{account_id}", **operation("Show an account", answers={200: AccountRow}, errors=(403, 404))
)
def get_account(account_id: str, principal: CurrentPrincipal) -> Response:
    """One account, asked by itself or by an administrator."""
    return answer(account_row(services().identity.accounts.get(principal, account_id)))


@router.put(
    "/api/v1/accounts/{account_id}",
    **operation(
        "Change an account",
        request=UpdateAccount,
        answers={200: AccountRow},
        errors=(400, 403, 404, 409, 413, 422, 503),
    ),
)
def update_account(account_id: str, principal: CurrentPrincipal, body: RequestBody) -> Response:
    """By itself or by an administrator; `role` only by an administrator. A new password ends the other sessions."""
    accounts = services().identity.accounts
    accounts.get(principal, account_id)
    form = body.read(UpdateAccount)
    changes = Changes(name=form.name, email=form.email, role=form.role, password=form.password)
    return answer(account_row(accounts.update(principal, account_id, changes)))


@router.delete(
    "/api/v1/accounts/{account_id}",
    **operation(
        "Delete an account",
        answers={200: AccountDeleted, 204: "Deleted; answered to the command line client."},
        errors=(403, 404, 409, 503),
    ),
)
def delete_account(account_id: str, principal: CurrentPrincipal) -> Response:
    """Remove the account and everything that is only its own: sessions, secrets, flows, schedules, stored values."""
    services().identity.accounts.delete(principal, account_id)
    return done(principal, "Account deleted successfully")


app = family_app("accounts", router)
handler = lambda_handler(app)
