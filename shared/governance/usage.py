"""What a client says a call used, taken from its event. Unknown fields are ignored.

Source: NullRun docs, HTTP API, Track; docs/rulings.md#track-fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.governance.money import LARGEST_CENTS, micro
from shared.governance.prices import MOST_TOKENS, Confidence, Usage, cost, price
from shared.kit import ids, json
from shared.kit.errors import Unprocessable

LONGEST_KEY = 512
LONGEST_NAME = 256
LONGEST_LATENCY_MS = 10**10

_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")


class InvalidField(Unprocessable):
    """A field of an event is wrong."""

    code = "invalid_field"

    def __init__(self, name: str, reason: str) -> None:
        fields = [{"field": name, "reason": reason}]
        super().__init__(f"{name} {reason}", details={"error_code": "INVALID_FIELD", "field": name, "fields": fields})


@dataclass(frozen=True, slots=True)
class Spending:
    """What one call came to: ``amount`` micro-cents. ``source`` says whose price it is: catalog, client or default."""

    amount: int
    tokens: int
    source: str
    confidence: Confidence
    model: str | None


@dataclass(frozen=True, slots=True)
class Report:
    """An event about money. ``label`` is the text its client calls the workflow by."""

    spending: Spending
    execution_id: str | None
    label: str | None
    event_id: str | None
    idempotency_key: str | None
    latency_ms: int | None
    span_id: str | None = None

    @property
    def is_never_repeated(self) -> bool:
        """Whether its key is the SDK's own: that of the gate call, and the beginning of the span's id."""
        operation, _, span = (self.idempotency_key or "").partition(":")
        return bool(span) and ids.is_uuid(operation) and span == (self.span_id or "")[:16]


def read_report(event: Mapping[str, Any]) -> Report:
    """The report of an event. Raises InvalidField."""
    return Report(
        spending=_spending(event),
        execution_id=text_of(event, "reservation_id") or text_of(event, "execution_id"),
        label=text_of(event, "workflow_id", LONGEST_KEY),
        event_id=text_of(event, "event_id", LONGEST_KEY),
        idempotency_key=text_of(event, "idempotency_key", LONGEST_KEY),
        latency_ms=latency_of(event),
        span_id=text_of(event, "span_id"),
    )


def text_of(event: Mapping[str, Any], name: str, longest: int = LONGEST_NAME) -> str | None:
    """A text of the event; None where it is absent, null or empty. Raises InvalidField."""
    value = event.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > longest or not json.is_unicode(value):
        raise InvalidField(name, f"must be a text of at most {longest} characters")
    return value


def latency_of(event: Mapping[str, Any]) -> int | None:
    """The event's duration in whole milliseconds. Raises InvalidField."""
    value = _number(event, "latency_ms", LONGEST_LATENCY_MS)
    return None if value is None else round(value)


def _spending(event: Mapping[str, Any]) -> Spending:
    counted = {name: _count(event, name) for name in _TOKENS}
    total, model = _count(event, "tokens"), text_of(event, "model")
    claimed = _number(event, "cost_cents", LARGEST_CENTS)
    parts = {name: count or 0 for name, count in counted.items()}
    if total and counted["input_tokens"] is None and counted["output_tokens"] is None:
        # Nobody knows what the tokens were, so they are taken for the dearer kind.
        parts["output_tokens"] = total
    usage = Usage(
        parts["input_tokens"], parts["output_tokens"], parts["cache_read_tokens"], parts["cache_write_tokens"],
        parts["reasoning_tokens"],
    )  # fmt: skip
    tokens = total if total is not None else usage.input + usage.output
    priced = price(model)
    if priced.listed or claimed is None:
        amount = cost(priced, usage, text_of(event, "provider"))
        return Spending(amount, tokens, "catalog" if priced.listed else "default", priced.confidence, model)
    return Spending(micro(claimed), tokens, "client", "low", model)


def _count(event: Mapping[str, Any], name: str) -> int | None:
    value = event.get(name)
    if value is None:
        return None
    # A number such as 12.0 is whole in JSON, which has but one kind of numbers.
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    if type(whole) is not int or not 0 <= whole <= MOST_TOKENS:
        raise InvalidField(name, f"must be a whole number from 0 to {MOST_TOKENS}")
    return whole


def _number(event: Mapping[str, Any], name: str, most: int) -> int | float | None:
    value = event.get(name)
    if value is None:
        return None
    # The comparison is false for NaN, too.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise InvalidField(name, f"must be a number from 0 to {most}")
    return value
