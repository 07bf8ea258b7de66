"""Reading a request's body and query at the moment a handler wants them.

Bodies are read after the caller, the path and the resource were judged, so that nobody learns from a 400 what a 401,
403 or 404 should have hidden: handlers take :data:`RequestBody` and :data:`RequestQuery` and ask them when it is time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict, ValidationError

from shared.kit import json
from shared.kit.errors import InvalidRequest, SignalboxError

DEFAULT_LIMIT = 10
MAX_LIMIT = 100

M = TypeVar("M", bound=BaseModel)

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


@contextmanager
def judged_first(resource: Callable[[], object]) -> Iterator[None]:
    """Read a request inside the block; when it is wrong, ``resource`` may raise what is to be told before that.

    Whoever asks rightly does not pay for the look at the resource, which the service takes anyway.
    """
    try:
        yield
    except SignalboxError:
        resource()
        raise


class WireModel(BaseModel):
    """Base of request models: types are taken as they are, unknown fields are ignored.

    Its validator is built when it is first used: a function that starts loads the models of all its routes.
    """

    model_config = ConfigDict(strict=True, extra="ignore", populate_by_name=True, defer_build=True)


class WireAnswer(BaseModel):
    """Base of models that describe answers in the OpenAPI document, and are built when that is made."""

    model_config = ConfigDict(defer_build=True)


class Body:
    """The raw body and ways to read it."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    def json(self) -> Any:
        """The body as JSON. Raises InvalidRequest."""
        try:
            value = json.loads(self.raw)
            # Half of a surrogate pair is valid JSON but no Unicode text, and nothing can store or send it.
            usable = _SURROGATE.search(self.raw) is None or json.is_unicode(value)
        except (ValueError, RecursionError):
            usable = False
        if not usable:
            raise InvalidRequest("The body is not valid JSON")
        return value

    def object(self, *, optional: bool = False) -> dict[str, Any]:
        """The body as a JSON object; ``optional`` lets an empty one stand for ``{}``. Raises InvalidRequest."""
        if optional and not self.raw.strip():
            return {}
        value = self.json()
        if not isinstance(value, dict):
            raise InvalidRequest("The body must be a JSON object")
        return value

    def read(self, model: type[M], *, optional: bool = False) -> M:
        """The body as ``model``. Raises InvalidRequest naming the first bad field."""
        try:
            return model.model_validate(self.object(optional=optional))
        except ValidationError as error:
            raise _bad_field(error) from None


def _bad_field(error: ValidationError) -> InvalidRequest:
    first = error.errors(include_url=False, include_context=True, include_input=False)[0]
    name = ".".join(str(part) for part in first["loc"])
    label = name[:1].upper() + name[1:].replace("_", " ")
    kind, context = first["type"], first.get("ctx", {})
    reasons = {
        "missing": "is required",
        "string_type": "must be a string",
        "bool_type": "must be true or false",
        "int_type": "must be a whole number",
        "float_type": "must be a number",
        "dict_type": "must be an object",
        "model_type": "must be an object",
        "list_type": "must be a list",
        "string_too_short": "is required"
        if context.get("min_length") == 1
        else f"must have {context.get('min_length')} characters or more",
        "string_too_long": f"must have {context.get('max_length')} characters at most",
        "too_long": f"must have {context.get('max_length')} entries at most",
        "greater_than_equal": f"must be {context.get('ge')} or more",
        "less_than_equal": f"must be {context.get('le')} or less",
        "literal_error": f"must be {context.get('expected')}",
    }
    if kind == "value_error":
        return InvalidRequest.field(name, str(context["error"]))
    return InvalidRequest.field(name, f"{label} {reasons.get(kind, 'is not valid')}")


@dataclass(frozen=True, slots=True)
class Paging:
    """Which part of a list: ``limit`` rows from ``offset``."""

    limit: int
    offset: int


class Query:
    """The query parameters and ways to read them. Unknown parameters are ignored; of a repeated one the last counts."""

    def __init__(self, request: Request) -> None:
        self._values = request.query_params

    def text(self, name: str) -> str | None:
        """The parameter as it came; None if absent."""
        return self._values.get(name)

    def integer(self, name: str, default: int, *, least: int) -> int:
        """The parameter as an integer of at least ``least``. Raises InvalidRequest."""
        text = self._values.get(name)
        if text is None:
            return default
        value = int(text) if _INTEGER.fullmatch(text) else None
        if value is None or value < least:
            raise InvalidRequest.field(name, f"{name.capitalize()} must be a whole number of {least} or more")
        return value

    def choice(self, name: str, choices: Sequence[str]) -> str | None:
        """The parameter if it is one of ``choices``; None if absent. Raises InvalidRequest."""
        value = self._values.get(name)
        if value is not None and value not in choices:
            raise InvalidRequest.field(name, f"{name.capitalize()} must be one of {', '.join(choices)}")
        return value

    def paging(self) -> Paging:
        """``limit`` (1 or more, at most 100 are given) and ``offset`` (0 or more). Raises InvalidRequest."""
        limit = self.integer("limit", DEFAULT_LIMIT, least=1)
        return Paging(min(limit, MAX_LIMIT), self.integer("offset", 0, least=0))


async def _body(request: Request) -> Body:
    return Body(await request.body())


RequestBody = Annotated[Body, Depends(_body)]
"""The request's body, not parsed yet."""

RequestQuery = Annotated[Query, Depends(Query)]
"""The request's query parameters, not checked yet."""
