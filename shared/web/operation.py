"""What a route says about itself in the OpenAPI document.

``@router.post("/x", **operation("Make an x", request=XRequest, answers={201: XRow}, errors=(401, 409)))``
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel

from shared.web.apis import Api

MODELS: dict[str, type[BaseModel]] = {}
"""Every model named by a route; the document defines each once."""

Security = Literal["required", "optional", "none", "key", "any"]
"""Who may call: people, people or nobody, anybody, API keys, people and API keys."""


def schema_of(model: type[BaseModel]) -> dict[str, str]:
    """A reference to the model's definition in the document."""
    known = MODELS.setdefault(model.__name__, model)
    if known is not model:
        raise ValueError(f"two request or answer models are called {model.__name__}")
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def array_of(model: type[BaseModel]) -> dict[str, Any]:
    """The answer that is a bare array of the model, with the model's example as its only row."""
    examples = model.model_json_schema().get("examples", [])[:1]
    return {"application/json": {"schema": {"type": "array", "items": schema_of(model)}, "example": examples}}


def query(name: str, kind: str = "string", description: str = "", **schema: Any) -> dict[str, Any]:
    """An optional query parameter."""
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "schema": {"type": kind, **schema},
    }


def header(name: str, description: str, **schema: Any) -> dict[str, Any]:
    """An optional request header."""
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": {"type": "string", **schema},
    }


PAGING = (
    query("limit", "integer", "Rows at most; more than 100 count as 100.", minimum=1, default=10),
    query("offset", "integer", "Rows to leave out at the beginning.", minimum=0, default=0),
)
"""The parameters of every list."""

IDEMPOTENCY_KEY = header(
    "Idempotency-Key", "Makes repetitions of the request harmless for 24 hours.", minLength=1, maxLength=255
)

ACTING_ORG = header("X-Signalbox-Org", "The organisation to act in, if not the caller's home organisation.")

SIGNATURE = header(
    "X-Signature",
    "HMAC-SHA256 with the key's secret over `{timestamp}:{api_key}:{SHA-256 of the body in hex}`, in lower-case hex.",
    pattern="^[0-9a-f]{64}$",
)
SIGNED_AT = header("X-Signature-Timestamp", "The timestamp that was signed, in Unix seconds.", pattern="^[0-9]{1,15}$")


def operation(
    summary: str,
    *,
    request: type[BaseModel] | None = None,
    optional_body: bool = False,
    answers: Mapping[int, type[BaseModel] | dict[str, Any] | str],
    errors: Iterable[int] = (),
    parameters: Iterable[dict[str, Any]] = (),
    security: Security = "required",
    api: Api = Api.FLOWRUNNER,
) -> dict[str, Any]:
    """Keyword arguments for a route decorator.

    An answer is a model, whole media type objects (``{"application/yaml": …}``), or the description of an empty one.
    """
    responses = {str(status): _answer(status, shape) for status, shape in answers.items()}
    # Whoever signs in may name an organisation that is not theirs, and a key may lack a scope.
    refused = {*errors, 401, 403} if security != "none" else set(errors)
    responses |= {str(status): {"$ref": f"#/components/responses/{api}-{status}"} for status in sorted(refused | {500})}
    extra: dict[str, Any] = {"responses": responses, "x-signalbox-api": str(api), "x-signalbox-security": security}
    extra["security"] = _SCHEMES[security]
    if request is not None:
        content = {"application/json": {"schema": schema_of(request)}}
        extra["requestBody"] = {"required": not optional_body, "content": content}
    listed = list(parameters)
    if listed:
        extra["parameters"] = listed
    return {"summary": summary, "openapi_extra": extra}


_BEARER: dict[str, list[str]] = {"bearer": []}
_BASIC: dict[str, list[str]] = {"basic": []}
_KEY: dict[str, list[str]] = {"apiKey": []}
_SCHEMES: Mapping[Security, list[dict[str, list[str]]]] = {
    "required": [_BEARER, _BASIC],
    "optional": [_BEARER, _BASIC, {}],
    "none": [],
    "key": [_KEY],
    "any": [_BEARER, _BASIC, _KEY],
}


def _answer(status: int, shape: type[BaseModel] | dict[str, Any] | str) -> dict[str, Any]:
    if isinstance(shape, str):
        return {"description": shape}
    phrase = HTTPStatus(status).phrase
    if isinstance(shape, dict):
        return {"description": phrase, "content": shape}
    return {"description": phrase, "content": {"application/json": {"schema": schema_of(shape)}}}
