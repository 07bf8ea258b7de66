"""Answers kept for requests that carry an Idempotency-Key."""

from __future__ import annotations

from pynamodb.attributes import BinaryAttribute, NumberAttribute, UnicodeAttribute

from shared.store.base import Record, TableMeta


def idempotency_pk(org_id: str, account_id: str) -> str:
    """Partition key of one caller's keys in one organisation; both are empty for a caller without credentials."""
    return f"{org_id}#{account_id}"


class IdempotencyRecord(Record):
    """A request being answered (``status`` 0, until ``lapses_ms``) or answered. ``sealed`` is the encrypted answer.

    ``result_id`` is the id of what the request makes, the same for every attempt.
    """

    class Meta(TableMeta):
        table = "idempotency"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    fingerprint = UnicodeAttribute()
    attempt = UnicodeAttribute()
    result_id = UnicodeAttribute()
    status = NumberAttribute()
    lapses_ms = NumberAttribute()
    sealed = BinaryAttribute(legacy_encoding=False, null=True)


IDEMPOTENCY_MODELS = (IdempotencyRecord,)
"""Every model of the table, for whoever creates it."""
