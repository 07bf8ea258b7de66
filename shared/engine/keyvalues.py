"""The values flows keep per account: what the ``store`` node reads and writes.

A change that depends on the old value (increment, append) is one transaction: the new value on condition that the old
one is still there, and a record of the change on condition that there is none. Whoever tries again, after a lost answer
or as a new attempt of the same node, finds the record and answers what it says.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from typing import Any, Final

from shared.identity import Departure
from shared.kit import clock, ids, json
from shared.kit.errors import InvalidRequest, PayloadTooLarge
from shared.store.base import Record
from shared.store.models.keyvalue import Change, KeyValue, changes_pk, values_pk
from shared.store.models.vault import account_scope
from shared.store.retry import Contention
from shared.store.transaction import ConditionFailed, Transaction, read_together

MAX_KEY_BYTES = 1024
MAX_VALUE_BYTES = 350 * 1024
"""Of a value's JSON text; a record of the store holds 400 KB with its key."""

CHANGES_KEPT_S = 30 * 24 * 3600
"""How long a change is remembered: longer than any node waits for its next attempt."""

_ATTEMPTS = 64
_LONGEST_PAUSE_S = 0.25
_BATCH = 25
_ABSENT: Final = object()


class StoredValues:
    """Implements :class:`shared.engine.kinds.base.KeyValues` over the key-value table."""

    def get(self, account_id: str, key: str) -> Any:
        record = _read(account_id, key)[1] if _is_key(key) else None
        if record is None or _is_over(record):
            raise KeyError(key)
        return json.loads(record.value)

    def set(self, account_id: str, key: str, value: Any, ttl_s: float | None = None) -> None:
        expires_ms = clock.now_ms() + math.ceil(ttl_s * 1000) if ttl_s else None
        Transaction().put(_record(account_id, key, value, expires_ms)).commit()

    def delete(self, account_id: str, key: str) -> bool:
        if not _is_key(key):
            return False
        live = KeyValue.expires_ms.does_not_exist() | (KeyValue.expires_ms > clock.now_ms())
        try:
            Transaction().delete(KeyValue(_pk(account_id), key), KeyValue.pk.exists() & live).commit()
        except ConditionFailed:
            return False
        return True

    def keys(self, account_id: str) -> Iterator[str]:
        found = KeyValue.query(_pk(account_id), consistent_read=True, attributes_to_get=["pk", "sk", "expires_ms"])
        return (record.sk for record in found if not _is_over(record))

    def items(self, account_id: str) -> Iterator[tuple[str, Any]]:
        found = KeyValue.query(_pk(account_id), consistent_read=True)
        return ((record.sk, json.loads(record.value)) for record in found if not _is_over(record))

    def increment(self, account_id: str, key: str, amount: int | float, operation_id: str) -> int | float:
        def add(old: Any) -> tuple[Any, Any]:
            if old is _ABSENT:
                old = 0
            if isinstance(old, bool) or not isinstance(old, int | float):
                raise TypeError(f"{key} holds no number, so it cannot be incremented")
            total = _sum(old, amount)
            return total, total

        answer: int | float = self._change(account_id, key, operation_id, add)
        return answer

    def append(self, account_id: str, key: str, value: Any, operation_id: str) -> None:
        def extend(old: Any) -> tuple[Any, Any]:
            if old is _ABSENT:
                old = []
            if not isinstance(old, list):
                raise TypeError(f"{key} holds no list, so nothing can be appended to it")
            return [*old, value], None

        self._change(account_id, key, operation_id, extend)

    def clear(self, account_id: str) -> int:
        live = sum(1 for _ in self.keys(account_id))
        _empty(KeyValue, _pk(account_id))
        return live

    def forget(self, departure: Departure) -> None:
        """Remove everything of an account that goes."""
        scope = account_scope(departure.account_id)
        _empty(KeyValue, values_pk(scope))
        _empty(Change, changes_pk(scope))

    def _change(self, account_id: str, key: str, operation_id: str, change: Callable[[Any], tuple[Any, Any]]) -> Any:
        """Replace a value by what ``change`` makes of it, once per ``operation_id``; the answer it made with it."""
        _check_key(key)
        for attempt in range(_ATTEMPTS):
            if attempt:
                clock.sleep(ids.uniform() * min(_LONGEST_PAUSE_S, 0.002 * 2**attempt))
            done, known = _read(account_id, key, operation_id)
            if done is not None:
                return json.loads(done.answer)
            live = known if known is not None and not _is_over(known) else None
            value, answer = change(json.loads(live.value) if live is not None else _ABSENT)
            # A change keeps the time its value has left; one that is over starts anew.
            record = _record(account_id, key, value, int(live.expires_ms) if live and live.expires_ms else None)
            unchanged = KeyValue.pk.does_not_exist() if known is None else KeyValue.revision == known.revision
            tx = Transaction().put(record, unchanged, "value")
            tx.put(_done(account_id, operation_id, answer), Change.pk.does_not_exist(), "change")
            try:
                tx.commit()
            except ConditionFailed:
                continue
            return answer
        raise Contention(f"Too many executions change {key} at once; try again")


def _pk(account_id: str) -> str:
    return values_pk(account_scope(account_id))


def _digest(operation_id: str) -> str:
    return hashlib.sha256(operation_id.encode("utf-8", "surrogatepass")).hexdigest()


def _done(account_id: str, operation_id: str, answer: Any = None) -> Change:
    ttl = clock.now_ms() // 1000 + CHANGES_KEPT_S
    return Change(changes_pk(account_scope(account_id)), _digest(operation_id), answer=json.dumps(answer), ttl=ttl)


def _read(account_id: str, key: str, operation_id: str | None = None) -> tuple[Change | None, KeyValue | None]:
    """The record of the change if it was made, and the value's record, whether or not its time is over."""
    scope = account_scope(account_id)
    keys: list[tuple[type[Record], str, str]] = [(KeyValue, values_pk(scope), key)]
    if operation_id is not None:
        keys.append((Change, changes_pk(scope), _digest(operation_id)))
    found = read_together(*keys)
    done = next((record for record in found if isinstance(record, Change)), None)
    return done, next((record for record in found if isinstance(record, KeyValue)), None)


def _record(account_id: str, key: str, value: Any, expires_ms: int | None) -> KeyValue:
    _check_key(key)
    # A lone surrogate is kept as its escape, which the store takes and JSON reads back.
    text = json.dumpb(value)
    if len(text) > MAX_VALUE_BYTES:
        raise PayloadTooLarge(
            f"The value of {key} would have {len(text):,} bytes; {MAX_VALUE_BYTES:,} is the limit. "
            "Spread it over several keys"
        )
    ttl = None if expires_ms is None else math.ceil(expires_ms / 1000)
    return KeyValue(_pk(account_id), key, value=text.decode(), revision=ids.uuid4(), expires_ms=expires_ms, ttl=ttl)


def _is_key(key: str) -> bool:
    try:
        return 0 < len(key.encode()) <= MAX_KEY_BYTES
    except UnicodeEncodeError:
        return False


def _check_key(key: str) -> None:
    if not _is_key(key):
        raise InvalidRequest.field("key", f"key must be Unicode text of 1 to {MAX_KEY_BYTES} bytes")


def _is_over(record: KeyValue) -> bool:
    return record.expires_ms is not None and record.expires_ms <= clock.now_ms()


def _sum(old: int | float, amount: int | float) -> int | float:
    try:
        total = old + amount
    except OverflowError:
        total = math.inf
    if isinstance(total, float) and not math.isfinite(total):
        raise TypeError("the sum is larger than a number can be")
    return total


def _empty(model: type[Record], pk: str) -> None:
    keys = [record.sk for record in model.query(pk, consistent_read=True, attributes_to_get=["pk", "sk"])]
    for first in range(0, len(keys), _BATCH):
        tx = Transaction()
        for sk in keys[first : first + _BATCH]:
            tx.delete(model(pk, sk))
        tx.commit()
