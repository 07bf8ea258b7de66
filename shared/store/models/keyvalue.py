"""What flows keep beyond their executions.

<scope>#values / <key>            a value in an account's store
<scope>#changes / <digest>        a change that counts once, with its answer, under the digest of its id
<org>#results / <digest>          the result of an operation, under the digest of the author's idempotency key
"""

from __future__ import annotations

from pynamodb.attributes import NumberAttribute, UnicodeAttribute

from shared.store.base import Record, TableMeta


def values_pk(scope: str) -> str:
    """Partition key of an account's values."""
    return f"{scope}#values"


def changes_pk(scope: str) -> str:
    """Partition key of the changes of an account's values that must count once."""
    return f"{scope}#changes"


def results_pk(org_id: str) -> str:
    """Partition key of an org's results of named operations."""
    return f"{org_id}#results"


class KeyValue(Record):
    """A value as JSON text. ``revision`` is new with every change; at ``expires_ms`` (epoch) it is gone."""

    class Meta(TableMeta):
        table = "keyvalue"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    value = UnicodeAttribute()
    revision = UnicodeAttribute()
    expires_ms = NumberAttribute(null=True)


class Change(Record):
    """A change that was made; ``answer`` is what its caller was told, as JSON text."""

    class Meta(TableMeta):
        table = "keyvalue"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    answer = UnicodeAttribute()


class OperationResult(Record):
    """The result of an operation until ``expires_ms`` (epoch): JSON text, or the key of the blob that holds it."""

    class Meta(TableMeta):
        table = "keyvalue"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    value = UnicodeAttribute(null=True)
    blob = UnicodeAttribute(null=True)
    expires_ms = NumberAttribute()


KEYVALUE_MODELS = (KeyValue, Change, OperationResult)
"""Every model of the table, for whoever creates it."""
