"""One question to a provider over the guarded HTTP client, and what its refusals mean to the node."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from shared.engine.kinds.base import Call, NodeFailed
from shared.engine.kinds.scripting import seconds
from shared.engine.llm.anthropic import Anthropic
from shared.engine.llm.base import ChatRequest, Completion, WireFormat, counts
from shared.engine.llm.openai import OpenAI
from shared.kit import json
from shared.outbound import HttpResponse, OutboundError, OutboundRefused

DEFAULT_TIMEOUT_S = 300.0
LONGEST_REASON = 500
"""Characters of a provider's message that go into ours."""

REDACTED = "[redacted]"
SHORTEST_REDACTED = 4
"""As everywhere, shorter keys are left alone (docs/rulings.md#secrets-redaction)."""

_FORMATS: dict[str, WireFormat] = {"openai": OpenAI(), "generic": OpenAI(), "anthropic": Anthropic()}
_RETRYABLE = frozenset({408, 409, 425, 429})


def timeout_s(call: Call) -> float:
    """Seconds one answer may take: the ``timeout`` parameter, within the limit of one effect."""
    given = call.params.get("timeout")
    wanted = DEFAULT_TIMEOUT_S if given in (None, "") else seconds(given, "timeout")
    if wanted <= 0:
        raise NodeFailed("timeout must be more than 0", retryable=False)
    return min(wanted, call.services.wall_clock_limit_s)


def complete(call: Call, request: ChatRequest, idempotency_key: str) -> Completion:
    """Ask the model. Raises NodeFailed; time-outs, 429 and 5xx are retryable, other refusals are not."""
    response = _send(call, request, idempotency_key)
    if _refuses_our_temperature(response, request):
        # The author did not choose the temperature, so a model that takes none gets none (docs/rulings.md#llm).
        request = replace(request, temperature=None)
        response = _send(call, request, f"{idempotency_key}:plain")
    answer = _json(response)
    if response.status >= 300 or not isinstance(answer, dict) or answer.get("error"):
        raise _refusal(response, answer, request)
    try:
        completion = _FORMATS[request.provider].completion(answer)
    except ValueError as error:
        raise NodeFailed(f"LLM request failed: {error}") from None
    call.used({"provider": request.provider, "model": completion.model or request.model, **counts(completion.usage)})
    return completion


def _send(call: Call, request: ChatRequest, idempotency_key: str) -> HttpResponse:
    wire = _FORMATS[request.provider]
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json",
        "Idempotency-Key": idempotency_key,
        "X-Signalbox-Attempt": str(call.attempt),
        **wire.headers(request),
    }
    taken = {name.lower() for name in request.headers}
    headers = {name: value for name, value in headers.items() if name.lower() not in taken} | dict(request.headers)
    try:
        return call.services.http.request(
            "POST",
            wire.url(request.base_url or wire.default_url),
            headers=headers,
            body=json.dumpb(wire.body(request)),
            timeout_s=timeout_s(call),
            # A redirect would carry the key to a host the author did not name.
            follow_redirects=False,
        )
    except OutboundError as error:
        message = f"LLM request failed: {_without_key(error.message, request)}"
        raise NodeFailed(message, retryable=not isinstance(error, OutboundRefused)) from None


def _json(response: HttpResponse) -> Any:
    try:
        return json.loads(response.body)
    except (ValueError, RecursionError):
        return None


def _refuses_our_temperature(response: HttpResponse, request: ChatRequest) -> bool:
    if response.status != 400 or not request.temperature_is_default or request.temperature is None:
        return False
    return "temperature" in _reason(response, _json(response))


def _refusal(response: HttpResponse, answer: Any, request: ChatRequest) -> NodeFailed:
    status = response.status
    if 300 <= status < 400:
        message = f"LLM request failed: the server redirects (HTTP {status}); set base_url to where the API is"
        return NodeFailed(message, retryable=False)
    if status < 300 and not (isinstance(answer, dict) and answer.get("error")):
        return NodeFailed("LLM request failed: the answer is no JSON object; check base_url")
    reason = _without_key(_reason(response, answer), request)
    # Some gateways report an error of the model behind them with status 200.
    retryable = status >= 500 or status in _RETRYABLE or status < 300
    return NodeFailed(f"LLM API error: {reason} (HTTP {status})", retryable=retryable)


def _reason(response: HttpResponse, answer: Any) -> str:
    """The provider's own words, whichever of the usual places they are in."""
    found: Any = answer
    for name in ("error", "message"):
        if isinstance(found, dict):
            found = found.get(name) or found.get("message") or found.get("detail")
    if not isinstance(found, str) or not found.strip():
        found = response.body[: 4 * LONGEST_REASON].decode("utf-8", "replace")
    words = " ".join(found.split())
    return words[:LONGEST_REASON] or "no reason given"


def _without_key(message: str, request: ChatRequest) -> str:
    """Providers like to repeat the key they refuse."""
    return message.replace(request.api_key, REDACTED) if len(request.api_key) >= SHORTEST_REDACTED else message
