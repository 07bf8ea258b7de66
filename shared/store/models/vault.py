"""Secrets at rest. A scope is ``account#<id>`` or ``org#<id>``: whose the secret is, and who can ever name it.

<scope>#keys / current          the scope's data key, wrapped by the deployment's key ring
<scope>#<kind> / <name>         one secret
"""

from __future__ import annotations

from pynamodb.attributes import BinaryAttribute, NumberAttribute, UnicodeAttribute

from shared.store.base import Record, TableMeta


def account_scope(account_id: str) -> str:
    """The scope of what belongs to a person."""
    return f"account#{account_id}"


def org_scope(org_id: str) -> str:
    """The scope of what belongs to an organisation."""
    return f"org#{org_id}"


def data_key_pk(scope: str) -> str:
    """Partition key of a scope's data key."""
    return f"{scope}#keys"


def secret_pk(scope: str, kind: str) -> str:
    """Partition key of a scope's secrets of one kind."""
    return f"{scope}#{kind}"


class DataKey(Record):
    """A wrapped AES-256 key; ``key_ring`` names the ring that can unwrap it."""

    class Meta(TableMeta):
        table = "vault"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True, default="current")
    wrapped = BinaryAttribute(legacy_encoding=False)
    key_ring = UnicodeAttribute()
    created_ms = NumberAttribute()


class SecretRecord(Record):
    """One secret. ``sealed`` is nonce and AES-GCM ciphertext of its JSON text."""

    class Meta(TableMeta):
        table = "vault"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    sealed = BinaryAttribute(legacy_encoding=False)
    created_ms = NumberAttribute()
    updated_ms = NumberAttribute()


VAULT_MODELS = (DataKey, SecretRecord)
"""Every model of the table, for whoever creates it."""
