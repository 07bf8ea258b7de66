"""What every stored record has in common.

Several models share a table; all tables are keyed by ``pk`` and ``sk``. Keys are built in ``shared.store.models`` by
functions that take the organisation first, so that no key of one tenant can name another's record.
"""

from __future__ import annotations

import os
from typing import Any

from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.connection import TableConnection
from pynamodb.constants import PAY_PER_REQUEST_BILLING_MODE
from pynamodb.models import Model

from shared.store.retry import PatientTable

STREAM_IMAGES = "NEW_AND_OLD_IMAGES"


def table_name(table: str) -> str:
    """The full name of a table: ``<prefix>-<table>``; the prefix is SIGNALBOX_TABLE_PREFIX, else ``signalbox``."""
    return f"{os.environ.get('SIGNALBOX_TABLE_PREFIX') or 'signalbox'}-{table}"


class _Names(type):
    """Computes a table's name and region when asked, because the environment is complete only after import."""

    table: str

    @property
    def table_name(cls) -> str:
        return table_name(cls.table)

    @property
    def region(cls) -> str | None:
        return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")

    @property
    def host(cls) -> str | None:
        return os.environ.get("AWS_ENDPOINT_URL_DYNAMODB") or os.environ.get("AWS_ENDPOINT_URL")


class TableMeta(metaclass=_Names):
    """Base of every model's ``Meta``: set ``table``; ``stream_view_type`` to give the table a change stream."""

    table: str
    billing_mode = PAY_PER_REQUEST_BILLING_MODE
    # A store that does not answer soon is asked again; PynamoDB's own limits outlast the caller's patience.
    connect_timeout_seconds = 2
    read_timeout_seconds = 5
    ttl_attribute: str | None = "ttl"


class Record(Model):
    """An item of a table keyed by ``pk`` and ``sk``. ``ttl`` is the second (epoch) after which it no longer exists."""

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    ttl = NumberAttribute(null=True)

    @classmethod
    def _get_connection(cls) -> TableConnection:
        connection = super()._get_connection()
        # PynamoDB makes the connection itself and asks nobody of which class.
        connection.__class__ = PatientTable
        return connection

    def is_expired(self, now_ms: int) -> bool:
        """Whether its time is over. DynamoDB removes late, so every reader asks."""
        return self.ttl is not None and self.ttl * 1000 <= now_ms


def table_definitions(*models: type[Record]) -> list[tuple[dict[str, Any], str | None]]:
    """CreateTable requests for the models, one per table, each with its TTL attribute.

    The order of the models does not matter; a change of a request is a change of the table.
    """
    tables: dict[str, tuple[dict[str, Any], str | None]] = {}
    for model in models:
        meta: Any = model.Meta
        schema: Any = model._get_schema()
        request, _ = tables.setdefault(
            meta.table_name,
            (
                {
                    "TableName": meta.table_name,
                    "BillingMode": PAY_PER_REQUEST_BILLING_MODE,
                    "AttributeDefinitions": [],
                    "KeySchema": sorted(schema["key_schema"], key=lambda entry: str(entry["KeyType"])),
                },
                meta.ttl_attribute,
            ),
        )
        _merge(request, schema)
        view = getattr(meta, "stream_view_type", None)
        if view is not None:
            request["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": view}
    for request, _ in tables.values():
        request["AttributeDefinitions"].sort(key=lambda entry: str(entry["AttributeName"]))
        request.get("GlobalSecondaryIndexes", []).sort(key=lambda entry: str(entry["IndexName"]))
    return list(tables.values())


def _merge(request: dict[str, Any], schema: Any) -> None:
    defined = request["AttributeDefinitions"]
    for attribute in schema["attribute_definitions"]:
        if attribute not in defined:
            defined.append(attribute)
    for index in schema["global_secondary_indexes"]:
        indexes = request.setdefault("GlobalSecondaryIndexes", [])
        entry = {
            "IndexName": index["index_name"],
            "KeySchema": sorted(index["key_schema"], key=lambda key: str(key["KeyType"])),
            "Projection": index["projection"],
        }
        if entry not in indexes:
            indexes.append(entry)
