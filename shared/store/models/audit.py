"""The audit trail of an org: a chain of entries, each holding the hash of the one before.

<org>#audit / head           how long the chain is, and the hash of its last entry
<org>#audit / entry#<n>      entry n, from 1
<org>#exports / <job>        an export that was asked for
"""

from __future__ import annotations

from pynamodb.attributes import BooleanAttribute, NumberAttribute, UnicodeAttribute

from shared.store.base import Record, TableMeta


def audit_pk(org_id: str) -> str:
    """Partition key of the org's chain."""
    return f"{org_id}#audit"


def exports_pk(org_id: str) -> str:
    """Partition key of the org's exports."""
    return f"{org_id}#exports"


def entry_sk(number: int) -> str:
    """Sort key of the entry of this number."""
    return f"entry#{number:012d}"


class AuditHead(Record):
    """The end of the chain; moved by compare-and-set. ``at_ms`` is when its last entry was appended."""

    class Meta(TableMeta):
        table = "audit"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True, default="head")
    length = NumberAttribute()
    hash = UnicodeAttribute()
    at_ms = NumberAttribute(default=0)


class AuditEntry(Record):
    """One entry. ``body`` is its canonical JSON text without the hash, as it was hashed.

    ``at_ms`` is when it was appended: never before what it tells of, and never before the entry before it.
    """

    class Meta(TableMeta):
        table = "audit"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    number = NumberAttribute()
    previous = UnicodeAttribute()
    hash = UnicodeAttribute()
    at_ms = NumberAttribute()
    action = UnicodeAttribute()
    body = UnicodeAttribute()


class ExportJob(Record):
    """An export of the chain. ``blob`` names the file once it is written.

    It has the entries of what happened from ``since_ms`` on, before ``until_ms``; ``truncated`` is whether older ones
    of that time were left out.
    """

    class Meta(TableMeta):
        table = "audit"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    job_id = UnicodeAttribute()
    status = UnicodeAttribute()
    since_ms = NumberAttribute()
    until_ms = NumberAttribute()
    record_count = NumberAttribute(default=0)
    truncated = BooleanAttribute(default=False)
    blob = UnicodeAttribute(null=True)
    error_message = UnicodeAttribute(null=True)
    created_ms = NumberAttribute()
    completed_ms = NumberAttribute(null=True)
