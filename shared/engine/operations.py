"""Results of operations that an author named with ``idempotency_key``: acted once, answered many times."""

from __future__ import annotations

import hashlib
import math
from typing import Any

from shared.identity import Departure
from shared.kit import clock, ids, json
from shared.kit.errors import NotFound
from shared.store.blobs import Blobs
from shared.store.models.keyvalue import OperationResult, results_pk
from shared.store.transaction import ConditionFailed, Transaction, read_together

LARGE_VALUE = 100 * 1024
"""Results whose JSON text has more bytes are kept in the blob store."""


class StoredResults:
    """Implements :class:`shared.engine.kinds.base.OperationResults` over the key-value table; a first result stays."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    def get(self, org_id: str, key: str) -> Any | None:
        record = _read(org_id, key)
        if record is None or record.expires_ms <= clock.now_ms():
            return None
        if record.blob is None:
            return json.loads(record.value or "null")
        try:
            return json.loads(self._blobs.get(record.blob))
        except NotFound:
            return None

    def put(self, org_id: str, key: str, value: Any, ttl_s: float) -> None:
        now = clock.now_ms()
        known = _read(org_id, key)
        if known is not None and known.expires_ms > now:
            return
        text = json.dumpb(value)
        blob = f"{org_id}/results/{ids.uuid7()}" if len(text) > LARGE_VALUE else None
        if blob is not None:
            self._blobs.put(blob, text)
        expires_ms = now + math.ceil(ttl_s * 1000)
        record = OperationResult(
            results_pk(org_id), _digest(key), value=None if blob else text.decode(), blob=blob, expires_ms=expires_ms,
            ttl=math.ceil(expires_ms / 1000),
        )  # fmt: skip
        absent = OperationResult.pk.does_not_exist()
        same = absent if known is None else OperationResult.expires_ms == known.expires_ms
        try:
            Transaction().put(record, same).commit()
        except ConditionFailed:
            # Another execution was faster; its result is the one that counts.
            self._discard(blob)
        else:
            self._discard(known.blob if known is not None else None)

    def forget(self, departure: Departure) -> None:
        """Remove the results of orgs that go."""
        for org_id in departure.org_ids:
            for record in list(OperationResult.query(results_pk(org_id), consistent_read=True)):
                self._discard(record.blob)
                Transaction().delete(record).commit()

    def _discard(self, blob: str | None) -> None:
        if blob is not None:
            self._blobs.delete(blob)


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _read(org_id: str, key: str) -> OperationResult | None:
    """The record, whether or not its time is over."""
    found = read_together((OperationResult, results_pk(org_id), _digest(key)))[0]
    return found if isinstance(found, OperationResult) else None
