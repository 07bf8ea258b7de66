"""What agents report: the cost of each model call, and what happened. Source: NullRun docs, HTTP API, Track."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from functions.tracking.schemas import BatchAnswer, BatchRequest, TrackAnswer, TrackRequest
from shared.composition import services
from shared.governance.authentication import principal_of
from shared.governance.tracking import KeyChanged
from shared.governance.usage import InvalidField
from shared.identity.principal import Principal
from shared.kit import json
from shared.kit.errors import InvalidRequest
from shared.web.answers import answer
from shared.web.apis import Api
from shared.web.app import family_app, lambda_handler
from shared.web.keys import key_of
from shared.web.nullrun import PROTOCOL, InvalidJson, require_protocol
from shared.web.operation import operation
from shared.web.requests import Body, RequestBody

router = APIRouter(tags=["tracking"])

_LONGEST_TOLD = 80
_Count = Callable[[Principal, Mapping[str, Any]], dict[str, Any]]


@router.post(
    "/api/v1/track",
    **operation(
        "Report a model call", request=TrackRequest, answers={200: TrackAnswer}, errors=(400, 409, 413, 422, 503),
        parameters=(PROTOCOL,), security="key", api=Api.NULLRUN,
    ),
)  # fmt: skip
async def track(request: Request, body: RequestBody) -> Response:
    """Its tokens are priced and spent from its reservation, and from the budget where that is too small.

    A repeated `idempotency_key` (or `event_id`) is answered again and not counted. What no budget was left for is
    counted, too, and answered with 422 `CONSUME_OVERBUDGET`.
    """
    tracking = services().governance.tracking
    return await run_in_threadpool(_counted, request, body, lambda who, event: tracking.track(who, event, body.raw))


@router.post(
    "/api/v1/track/batch",
    **operation(
        "Report events", request=BatchRequest, answers={200: BatchAnswer}, errors=(400, 413, 422, 503),
        parameters=(PROTOCOL,), security="key", api=Api.NULLRUN,
    ),
)  # fmt: skip
async def track_batch(request: Request, body: RequestBody) -> Response:
    """Up to 100 events. Each is accepted, known already (accepted as well), or rejected by its `event_id`."""
    return await run_in_threadpool(_counted, request, body, services().governance.batches.track)


def _counted(request: Request, body: Body, count: _Count) -> Response:
    require_protocol(request)
    principal = principal_of(key_of(request, body.raw, scope="track"))
    event = _object(body)
    try:
        answered = answer(count(principal, event))
    except KeyChanged:
        # It was rotated or revoked since this process read it.
        answered = answer(count(principal_of(key_of(request, body.raw, scope="track", fresh=True)), event))
    services().governance.touches.touch(principal.org_id, principal.key_id)
    return answered


def _object(body: Body) -> dict[str, Any]:
    """The body. Raises InvalidField for numbers JSON does not have, such as NaN, which some clients send."""
    try:
        return body.object()
    except InvalidRequest as error:
        impossible = _impossible_number(body.raw)
        if impossible is not None:
            raise InvalidField("body", f"must have finite numbers only: {impossible}") from None
        raise InvalidJson(error.message) from None


def _impossible_number(raw: bytes) -> str | None:
    try:
        json.loads(raw)
    except ValueError as error:
        # A syntax error is a kind of ValueError of its own; a number that cannot be is a plain one.
        if type(error) is not ValueError:
            return None
        # Python's own is about whole numbers, and tells how to configure it.
        told = str(error)
        return told[:_LONGEST_TOLD] if told.startswith(("JSON", "the number")) else "a whole number has too many digits"
    except RecursionError:
        return None
    return None


app = family_app("tracking", router)
handler = lambda_handler(app)
