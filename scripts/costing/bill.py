"""What one thing consumes, counted; no clock is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from scripts.costing.prices import PRICES
from shared.store.embedded import StoreRequest


@dataclass(slots=True)
class Bill:
    """Counts of everything that has a price; ``requests`` are the store's, by operation."""

    requests: Counter[str] = field(default_factory=Counter)
    http: int = 0
    frames: int = 0
    invocations: int = 0
    express_runs: int = 0
    transitions: int = 0
    read_units: float = 0.0
    write_units: float = 0.0
    blob_puts: int = 0
    blob_gets: int = 0
    key_requests: int = 0

    def add(self, other: Bill) -> None:
        """Count what another bill has as well."""
        self.requests += other.requests
        for name in PRICES:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def dollars(self) -> float:
        """Of a million times this, rounded to a tenth of a cent."""
        spent: float = sum(getattr(self, name) * price.per_million for name, price in PRICES.items())
        return round(spent, 3)

    def to_json(self) -> dict[str, Any]:
        """Counts that are not zero, and the dollars of a million."""
        counts = {name: value for name in PRICES if (value := getattr(self, name))}
        requests = dict(sorted(self.requests.items()))
        return {"store_requests": requests, **counts, "dollars_per_million": self.dollars}


class Meter:
    """Writes what happens on the bill that is open."""

    def __init__(self) -> None:
        self.bill = Bill()

    @contextmanager
    def on(self, bill: Bill) -> Iterator[Bill]:
        """Write on ``bill`` inside the block."""
        before, self.bill = self.bill, bill
        try:
            yield bill
        finally:
            self.bill = before

    def store(self, request: StoreRequest) -> None:
        """A request of the store: a listener of the embedded engine's hook."""
        self.bill.requests[request.operation] += 1
        self.bill.read_units += request.read_units
        self.bill.write_units += request.write_units
