"""What an org's gate calls come to in a period: by day, by decision, by key.

Operations are counted from their listing. A day whose operations can no longer change is counted once and kept, so that
a look costs the last two days' operations and one item for each day before.
Source: NullRun docs, Quota; docs/rulings.md#usage.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from shared.governance.operations import BOUND_MS, KEPT_S
from shared.kit import clock, ids, json
from shared.store.models.governance import Operation
from shared.store.models.usage import UsageSpan, usage_pk, usage_sk
from shared.store.transaction import put_if_absent

DAY_MS = 24 * 3600 * 1000

SETTLED_MS = BOUND_MS + 600_000
"""How long after its end a day may still change: as long as its last operation may be settled, and a little."""

MOST_READ = 50_000
"""Operations of one day that are counted; of a busier day the numbers are the least it can be."""

SPANS_KEPT_S = 400 * 24 * 3600

_LAST_TAIL = (1 << ids.TAIL_BITS) - 1
_READ = ("pk", "sk", "key_id", "decision", "spent", "tokens", "ttl", "listed_at")


@dataclass(slots=True)
class KeyUsage:
    """What one key's calls came to. ``spent`` in micro-cents."""

    executions: int = 0
    tokens: int = 0
    spent: int = 0


@dataclass(slots=True)
class Usage:
    """What calls came to. ``decisions`` counts them by how the gate decided; ``spent`` is in micro-cents."""

    decisions: dict[str, int] = field(default_factory=dict)
    keys: dict[str, KeyUsage] = field(default_factory=dict)

    @property
    def executions(self) -> int:
        """Every call, refused ones included."""
        return sum(self.decisions.values())

    @property
    def spent(self) -> int:
        """What the calls cost."""
        return sum(key.spent for key in self.keys.values())

    @property
    def tokens(self) -> int:
        """What the calls used of models."""
        return sum(key.tokens for key in self.keys.values())

    def add(self, operation: Operation) -> None:
        """Count an operation."""
        self.decisions[operation.decision] = self.decisions.get(operation.decision, 0) + 1
        key = self.keys.setdefault(operation.key_id, KeyUsage())
        key.executions += 1
        key.tokens += int(operation.tokens or 0)
        key.spent += int(operation.spent or 0)

    def merge(self, other: Usage) -> None:
        """Count what another one counted."""
        for decision, count in other.decisions.items():
            self.decisions[decision] = self.decisions.get(decision, 0) + count
        for key_id, more in other.keys.items():
            key = self.keys.setdefault(key_id, KeyUsage())
            key.executions += more.executions
            key.tokens += more.tokens
            key.spent += more.spent

    def text(self) -> str:
        """Its JSON form."""
        keys = {key_id: [key.executions, key.tokens, key.spent] for key_id, key in self.keys.items()}
        return json.dumps({"decisions": self.decisions, "keys": keys})

    @classmethod
    def parse(cls, text: str) -> Usage:
        """The reverse of :meth:`text`."""
        found: Mapping[str, Any] = json.loads(text)
        return cls(dict(found["decisions"]), {key_id: KeyUsage(*row) for key_id, row in found["keys"].items()})


def usage_by_day(org_id: str, start_ms: int, end_ms: int) -> list[tuple[int, Usage]]:
    """What each day (UTC) of a period that has begun came to, with the moment its part of the period begins at."""
    now = clock.now_ms()
    known = _known(org_id, start_ms, end_ms)
    found: list[tuple[int, Usage]] = []
    for begin, end in _days(start_ms, min(end_ms, now + 1)):
        usage = known.get((begin, end))
        if usage is None:
            usage = usage_between(org_id, begin, end)
            if _is_settled(begin, end, now):
                ttl = now // 1000 + SPANS_KEPT_S
                put_if_absent(UsageSpan(usage_pk(org_id), usage_sk(begin, end), counts=usage.text(), ttl=ttl))
        found.append((begin, usage))
    return found


def usage_between(org_id: str, start_ms: int, end_ms: int) -> Usage:
    """What the operations from ``start_ms`` until before ``end_ms`` came to, counted now."""
    usage = Usage()
    for operation in islice(operations_between(org_id, start_ms, end_ms), MOST_READ):
        usage.add(operation)
    return usage


def operations_between(org_id: str, start_ms: int, end_ms: int) -> Iterator[Operation]:
    """The operations of a stretch of time, oldest first, with the little that is counted."""
    now = clock.now_ms()
    # An operation is listed under its execution id, which begins with its moment.
    moments = Operation.listed_at.between(ids.uuid7_with(start_ms, 0), ids.uuid7_with(end_ms - 1, _LAST_TAIL))
    found: Iterable[Operation] = Operation.by_org.query(org_id, moments, attributes_to_get=list(_READ))
    return (operation for operation in found if not operation.is_expired(now))


def total(parts: Iterable[Usage]) -> Usage:
    """All of it together."""
    whole = Usage()
    for part in parts:
        whole.merge(part)
    return whole


def _known(org_id: str, start_ms: int, end_ms: int) -> dict[tuple[int, int], Usage]:
    span = UsageSpan.sk.between(usage_sk(start_ms, 0), usage_sk(end_ms, 0))
    found: dict[tuple[int, int], Usage] = {}
    for record in UsageSpan.query(usage_pk(org_id), span, consistent_read=True):
        _, begin, end = record.sk.split("#")
        found[int(begin), int(end)] = Usage.parse(record.counts)
    return found


def _days(start_ms: int, end_ms: int) -> Iterator[tuple[int, int]]:
    """The days from ``start_ms`` until before ``end_ms``; the first and the last may be parts."""
    while start_ms < end_ms:
        following = min((start_ms // DAY_MS + 1) * DAY_MS, end_ms)
        yield start_ms, following
        start_ms = following


def _is_settled(begin_ms: int, end_ms: int, now: int) -> bool:
    """Whether nothing in it changes any more, and nothing of it is gone yet."""
    return end_ms + SETTLED_MS <= now < begin_ms + KEPT_S * 1000
