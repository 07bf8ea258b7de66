"""Server-sent events (HTML Standard, Interpreting an event stream)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """One event. ``id`` is the last one the stream named so far; ``retry_ms`` is set when this event said it."""

    name: str
    data: str
    id: str | None = None
    retry_ms: int | None = None


def events(lines: Iterable[str]) -> Iterator[Event]:
    """The events in ``lines``, those without data included; one that the stream's end cuts off is dropped."""
    name, seen = "", False
    data: list[str] = []
    last_id: str | None = None
    retry_ms: int | None = None
    for line in lines:
        if not line:
            if seen:
                yield Event(name or "message", "\n".join(data), last_id, retry_ms)
            name, data, retry_ms, seen = "", [], None, False
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        seen = seen or bool(field)
        match field:
            case "event":
                name = value
            case "data":
                data.append(value)
            case "id" if "\0" not in value:
                last_id = value
            case "retry" if value.isascii() and value.isdecimal():
                retry_ms = int(value)
