"""Signing in and out. Source: FlowRunner API Reference, Authentication."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from functions.auth.schemas import LegacyLoginRequest, LoginRequest, MessageAnswer
from shared.composition import services
from shared.kit.errors import InvalidRequest
from shared.web.addresses import LIMITED_BY_ADDRESS
from shared.web.answers import answer
from shared.web.apis import Api
from shared.web.app import family_app, lambda_handler
from shared.web.operation import operation
from shared.web.principals import CurrentPrincipal
from shared.web.requests import Body, RequestBody
from shared.web.sessions import SessionAnswer, session_row

router = APIRouter(tags=["auth"])


@router.post(
    "/api/v1/auth/login",
    dependencies=LIMITED_BY_ADDRESS,
    **operation(
        "Sign in", request=LoginRequest, answers={200: SessionAnswer}, errors=(400, 401, 413, 429, 503), security="none"
    ),
)
def login(request: Request, body: RequestBody) -> Response:
    """Sign in with `username` (a user name or e-mail address) or with `email`, and `password`.

    After some failures in a row (five, unless the deployment says otherwise) the name is locked for a while (five
    minutes), whether or not an account has it.
    """
    name, password = _login_name(request, body)
    return answer(session_row(services().identity.sessions.login(name, password)))


def _login_name(request: Request, body: Body) -> tuple[str, str]:
    """The name and the password; what decides between the APIs that share the path is which name is there."""
    sent = body.object()
    if ("username" in sent) == ("email" in sent):
        reason = "Username is required" if "username" not in sent else "Send username or email, not both"
        raise InvalidRequest.field("username", reason)
    field = "username" if "username" in sent else "email"
    if field == "email":
        request.scope["state"]["api"] = Api.NULLRUN
    form = body.read(LoginRequest)
    name = form.username if field == "username" else form.email
    if not name:
        raise InvalidRequest.field(field, f"{field.capitalize()} is required")
    return name, form.password


@router.post(
    "/api/v1/login",
    dependencies=LIMITED_BY_ADDRESS,
    **operation(
        "Sign in from the command line client",
        request=LegacyLoginRequest,
        answers={200: SessionAnswer},
        errors=(400, 401, 413, 429, 503),
        security="none",
    ),
)
def login_legacy(body: RequestBody) -> Response:
    """As `/api/v1/auth/login`; the token's answers are those the command line client reads."""
    form = body.read(LegacyLoginRequest)
    return answer(session_row(services().identity.sessions.login(form.username, form.password, dialect="legacy")))


@router.post("/api/v1/auth/refresh", **operation("Refresh a session", answers={200: SessionAnswer}))
def refresh(principal: CurrentPrincipal) -> Response:
    """A new token of the same account. The old one goes on until it expires or is logged out."""
    return answer(session_row(services().identity.sessions.refresh(principal)))


@router.post("/api/v1/auth/logout", **operation("Sign out", answers={200: MessageAnswer}))
def logout(principal: CurrentPrincipal) -> Response:
    """End the session of this token and no other. With HTTP Basic there is none and nothing happens."""
    services().identity.sessions.logout(principal)
    return answer({"message": "Logged out successfully"})


app = family_app("auth", router)
handler = lambda_handler(app)
