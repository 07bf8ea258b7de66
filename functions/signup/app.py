"""Signing up, signing in with other providers, and ending a session. Source: NullRun docs, HTTP API, Auth."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from functions.signup.schemas import (
    OAuthRegisterRequest,
    OAuthSessionAnswer,
    OAuthStartAnswer,
    RegisterAnswer,
    RegisterRequest,
    registered_row,
    signed_in_row,
)
from shared.composition import services
from shared.governance.registration import Registered
from shared.identity import External
from shared.kit.errors import Unprocessable
from shared.web.addresses import LIMITED_BY_ADDRESS
from shared.web.answers import answer
from shared.web.apis import Api
from shared.web.app import family_app, lambda_handler
from shared.web.idempotency import idempotency_id
from shared.web.nullrun import read_form
from shared.web.operation import header, operation, query
from shared.web.principals import CurrentPrincipal
from shared.web.requests import RequestBody, RequestQuery

router = APIRouter(tags=["auth"])

_BOOTSTRAP = "x-signalbox-bootstrap"
_BOOTSTRAP_HEADER = header(
    "X-Signalbox-Bootstrap", "The one-time token of the first sign-up, where the deployment has one."
)
_REDIRECT_URI = query("redirect_uri", description="Where the provider sends the person back to.")


@router.post(
    "/api/v1/auth/register",
    dependencies=LIMITED_BY_ADDRESS,
    **operation(
        "Sign up", request=RegisterRequest, answers={201: RegisterAnswer}, errors=(400, 401, 409, 413, 422, 429, 503),
        parameters=(_BOOTSTRAP_HEADER,), security="none", api=Api.NULLRUN,
    ),
)  # fmt: skip
def register(request: Request, body: RequestBody) -> Response:
    """Make an account with an organisation, a first workflow and a first API key, and sign in.

    The deployment's first account administers it. Key and secret are shown only now.
    """
    token = request.headers.get(_BOOTSTRAP)
    services().identity.accounts.require_sign_up(token)
    form = read_form(body, RegisterRequest)
    made = services().governance.registration.register(
        email=form.email, password=form.password, name=form.name, bootstrap_token=token,
        account_id=idempotency_id(request),
    )  # fmt: skip
    return answer(registered_row(made), 201)


@router.get(
    "/api/v1/auth/oauth/{provider}/start",
    dependencies=LIMITED_BY_ADDRESS,
    **operation(
        "Begin to sign in with a provider", answers={200: OAuthStartAnswer}, errors=(404, 422, 429, 501, 503),
        parameters=(_REDIRECT_URI,), security="none", api=Api.NULLRUN,
    ),
)  # fmt: skip
def start_oauth(provider: str, query: RequestQuery) -> Response:
    """Where to send a person to sign in with `github` or `google`."""
    url, state = services().governance.oauth.start(provider, query.text("redirect_uri") or "")
    return answer({"authorization_url": url, "state": state})


@router.post(
    "/api/v1/auth/oauth/register",
    dependencies=LIMITED_BY_ADDRESS,
    **operation(
        "Sign up or in with a provider", request=OAuthRegisterRequest,
        answers={200: OAuthSessionAnswer, 201: RegisterAnswer},
        errors=(400, 401, 403, 409, 413, 422, 429, 501, 503), parameters=(_BOOTSTRAP_HEADER,), security="none",
        api=Api.NULLRUN,
    ),
)  # fmt: skip
def register_oauth(request: Request, body: RequestBody) -> Response:
    """Whoever has an account signs in (200, no key); whoever has none gets one, as by `/api/v1/auth/register` (201).

    An account that exists is found by its e-mail address if the provider says that the address is verified.
    """
    external = _external(read_form(body, OAuthRegisterRequest))
    made = services().governance.registration.register_external(
        external, bootstrap_token=request.headers.get(_BOOTSTRAP), account_id=idempotency_id(request)
    )
    return answer(registered_row(made), 201) if isinstance(made, Registered) else answer(signed_in_row(made))


def _external(form: OAuthRegisterRequest) -> External:
    oauth = services().governance.oauth
    if (form.code is None) == (form.id_token is None):
        raise Unprocessable.field("code", "Send code, with redirect_uri and state, or id_token")
    if form.id_token is not None:
        return oauth.by_id_token(form.provider, form.id_token)
    missing = next((name for name in ("redirect_uri", "state") if not getattr(form, name)), None)
    if missing is not None:
        raise Unprocessable.field(missing, f"{missing.capitalize()} is required with code")
    return oauth.by_code(
        form.provider, code=form.code or "", redirect_uri=form.redirect_uri or "", state=form.state or ""
    )


@router.delete("/api/v1/auth/session", **operation("End my session", answers={204: "Signed out."}, api=Api.NULLRUN))
def end_session(principal: CurrentPrincipal) -> Response:
    """As `/api/v1/auth/logout`: this session and no other."""
    services().identity.sessions.logout(principal)
    return Response(status_code=204)


app = family_app("signup", router)
handler = lambda_handler(app)
