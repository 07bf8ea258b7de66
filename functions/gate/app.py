"""What NullRun's SDK asks before and around a call. Source: NullRun docs, HTTP API, SDK endpoints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from functions.gate.schemas import (
    ApproximateSpend,
    Canceled,
    CancelRequest,
    Capabilities,
    ExecuteRequest,
    GateAnswer,
    GateRequest,
    Heartbeat,
    HeartbeatRequest,
    Verified,
    VerifyRequest,
    WorkflowStatus,
)
from shared.composition import services
from shared.governance.authentication import KnownKey, principal_of
from shared.governance.calls import Call, read_call
from shared.governance.introspection import capabilities as spoken
from shared.governance.introspection import verified, workflow_status
from shared.governance.refusals import Refused
from shared.identity.principal import Principal
from shared.kit.errors import InvalidRequest, SignalboxError, Unavailable, Unprocessable
from shared.kit.ids import is_uuid
from shared.kit.logging import logger
from shared.kit.version import VERSION
from shared.web.answers import answer
from shared.web.apis import Api
from shared.web.app import family_app, lambda_handler
from shared.web.errors import unexpected
from shared.web.keys import api_key_of, has_session, key_of
from shared.web.nullrun import PROTOCOL, require_protocol
from shared.web.operation import operation
from shared.web.principals import current_principal
from shared.web.requests import Body, RequestBody

router = APIRouter(tags=["gate"])
log = logger("gate")

_Decide = Callable[[str, KnownKey, Call], dict[str, Any]]
_REFUSALS = (400, 402, 404, 409, 413, 422, 429, 503)


@router.post(
    "/api/v1/auth/verify",
    **operation(
        "Show what an API key is", request=VerifyRequest, optional_body=True, answers={200: Verified},
        errors=(400, 413, 503), security="key", api=Api.NULLRUN,
    ),
)  # fmt: skip
async def verify(request: Request, body: RequestBody) -> Response:
    """The org, workflow, plan and signing secret of the key in `X-API-Key` or in the body. Needs no signature."""
    return await run_in_threadpool(_verify, request, body)


def _verify(request: Request, body: Body) -> Response:
    if api_key_of(request) is None:
        given = body.object(optional=True).get("api_key")
        given = given if isinstance(given, str) else None
        key = services().governance.authenticator.check(given, scope="verify", fresh=True)
        return answer(verified(key))
    return answer(verified(key_of(request, body.raw, scope="verify", must_sign=False, fresh=True)))


@router.get(
    "/api/v1/capabilities",
    **operation("What the server speaks", answers={200: Capabilities}, security="none", api=Api.NULLRUN),
)
async def capabilities() -> Response:
    """Protocol versions and features."""
    return answer(spoken(VERSION))


@router.post(
    "/api/v1/gate",
    **operation(
        "Ask whether something may be done", request=GateRequest, answers={200: GateAnswer}, errors=_REFUSALS,
        parameters=(PROTOCOL,), security="key", api=Api.NULLRUN,
    ),
)  # fmt: skip
async def gate(request: Request, body: RequestBody) -> Response:
    """Policies, approval rules, rate limits and budgets; sets the money aside.

    A repeated `operation_id` is answered again. A refusal has `decision` "block", a `category` and an `error_code`.
    """
    return await run_in_threadpool(_decided, request, body, "gate")


@router.post(
    "/api/v1/execute",
    **operation(
        "Ask whether a tool may run now", request=ExecuteRequest, answers={200: GateAnswer}, errors=_REFUSALS,
        parameters=(PROTOCOL,), security="key", api=Api.NULLRUN,
    ),
)  # fmt: skip
async def execute(request: Request, body: RequestBody) -> Response:
    """Everything but money and rates is judged again, with the tool and its parameters known."""
    return await run_in_threadpool(_decided, request, body, "execute")


@router.post(
    "/api/v1/check",
    **operation(
        "Ask without reserving", request=GateRequest, answers={200: GateAnswer}, errors=_REFUSALS,
        parameters=(PROTOCOL,), security="key", api=Api.NULLRUN,
    ),
)  # fmt: skip
async def check(request: Request, body: RequestBody) -> Response:
    """What the gate would answer. Reserves and records nothing, needs no scope; kept for older clients."""
    return await run_in_threadpool(_decided, request, body, "check")


def _decided(request: Request, body: Body, question: str) -> Response:
    """The answer, or a refusal: whatever else went wrong, too, for the SDK takes an error without one for leave."""
    require_protocol(request)
    try:
        return _judged(request, body, question)
    except InvalidRequest as error:
        raise Refused("INVALID_JSON", error.message, at_gate=True) from None
    except Unavailable as error:
        raise Refused("BUDGET_REDIS_UNAVAILABLE", error.message, at_gate=True) from error
    except SignalboxError as error:
        if error.status < 500:
            raise
        log.exception("call not judged", extra={"question": question})
        raise Refused("INTERNAL_ERROR", error.message, at_gate=True) from error
    except Exception as error:
        log.exception("call not judged", extra={"question": question})
        raise Refused("INTERNAL_ERROR", unexpected().message, at_gate=True) from error


def _judged(request: Request, body: Body, question: str) -> Response:
    key = key_of(request, body.raw, scope=None if question == "check" else question)
    governance = services().governance
    decide: _Decide = {
        "gate": governance.gate.decide, "execute": governance.executing.decide, "check": governance.gate.check,
    }[question]  # fmt: skip
    try:
        call = read_call(body.json(), key.org_id, at_gate=question != "execute")
        if question == "gate":
            _require_allowance(api_key_of(request) or "", key, call)
        answered = answer(decide(api_key_of(request) or "", key, call))
    except Refused:
        governance.touches.touch(key.org_id, key.key_id)
        raise
    governance.touches.touch(key.org_id, key.key_id)
    return answered


def _require_allowance(api_key: str, key: KnownKey, call: Call) -> None:
    """Count a call of the org. Refused, it leaves a row as any refusal does, unless it was no call to begin with."""
    governance = services().governance
    try:
        governance.allowances.require(key.org_id)
    except Refused as refused:
        governance.gate.prove(api_key, key, call)
        refused.about(call.operation_id)
        governance.gate.recorder.refused(key, call, refused)
        raise


@router.post(
    "/api/v1/cancel",
    **operation(
        "Give up an execution", request=CancelRequest, answers={200: Canceled}, errors=(400, 404, 413, 422, 503),
        parameters=(PROTOCOL,), security="key", api=Api.NULLRUN,
    ),
)  # fmt: skip
async def cancel(request: Request, body: RequestBody) -> Response:
    """Release what is left of its reservation. A second call releases nothing."""
    return await run_in_threadpool(_cancel, request, body)


def _cancel(request: Request, body: Body) -> Response:
    require_protocol(request)
    principal = principal_of(key_of(request, body.raw, scope=None, fresh=True))
    execution_id = _text(body, "execution_id")
    reason = body.object().get("reason")
    return answer(
        services().governance.reservations.cancel(principal, execution_id, reason if isinstance(reason, str) else "")
    )


@router.post(
    "/api/v1/heartbeat",
    **operation(
        "Keep a chain alive", request=HeartbeatRequest, answers={200: Heartbeat}, errors=(400, 404, 409, 413, 422, 503),
        parameters=(PROTOCOL,), security="key", api=Api.NULLRUN,
    ),
)  # fmt: skip
async def heartbeat(request: Request, body: RequestBody) -> Response:
    """The chain may be idle for another five minutes."""
    return await run_in_threadpool(_heartbeat, request, body)


def _heartbeat(request: Request, body: Body) -> Response:
    require_protocol(request)
    principal = principal_of(key_of(request, body.raw, scope=None, fresh=True))
    return answer(services().governance.chains.heartbeat(principal, _text(body, "chain_id")))


def _text(body: Body, name: str) -> str:
    value = body.object().get(name)
    if not isinstance(value, str) or not is_uuid(value):
        raise Unprocessable.field(name, f"{name} must be a UUID")
    return value


@router.get(
    "/api/v1/status/{workflow_id}",
    **operation(
        "Poll the state of a workflow", answers={200: WorkflowStatus}, errors=(404, 503), security="any",
        api=Api.NULLRUN,
    ),
)  # fmt: skip
async def status(request: Request) -> Response:
    """To an API key always that of its own workflow, by whatever text it calls it."""
    # A parameter of the function would have FastAPI load the first version of pydantic beside the second.
    return await run_in_threadpool(_status, request, request.path_params["workflow_id"])


def _status(request: Request, workflow_id: str) -> Response:
    principal = _reader(request)
    if principal.kind != "key":
        return answer(workflow_status(principal.org_id, workflow_id, workflow_id))
    services().governance.aliases.add(principal.org_id, principal.workflow_id, workflow_id)
    return answer(workflow_status(principal.org_id, principal.workflow_id, workflow_id))


@router.get(
    "/api/v1/budget/approximate",
    **operation(
        "Roughly what has been spent", answers={200: ApproximateSpend}, errors=(503,), security="any", api=Api.NULLRUN
    ),
)
async def approximate(request: Request) -> Response:
    """Spend of the key's workflow in its period; of the whole org to a session."""
    return await run_in_threadpool(_approximate, request)


def _approximate(request: Request) -> Response:
    principal = _reader(request)
    return answer(services().governance.spend.approximate(principal.org_id, principal.workflow_id or None))


def _reader(request: Request) -> Principal:
    """A key, or a person's session in the acting org."""
    if has_session(request) or api_key_of(request) is None:
        return current_principal(request)
    return principal_of(key_of(request, b"", scope=None, must_sign=False, fresh=True))


app = family_app("gate", router)
handler = lambda_handler(app)
