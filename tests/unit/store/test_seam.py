"""The seam beneath PynamoDB: what the embedded engine relies on in the pinned version."""

from __future__ import annotations

import inspect
from importlib.metadata import version

import pytest
from pynamodb.connection import Connection, TableConnection
from pynamodb.connection.base import Connection as BaseConnection
from pynamodb.exceptions import TableDoesNotExist, UpdateError
from pynamodb.transactions import TransactWrite

from shared.store.embedded import EmbeddedEngine, install, installed, uninstall
from tests.unit.store.conftest import Thing


def test_pynamodb_is_the_version_the_seam_was_made_for() -> None:
    """A new PynamoDB must be looked at before it is used."""
    assert version("pynamodb") == "6.1.0"


def test_client_is_a_property_of_the_one_connection_class() -> None:
    """Every request passes ``Connection.client``, whoever made the connection."""
    assert Connection is BaseConnection
    assert isinstance(inspect.getattr_static(Connection, "client"), property)
    assert isinstance(TableConnection("some-table").connection, Connection)


def test_client_is_called_with_operation_and_request() -> None:
    """The engine's only entry is called as ``_make_api_call(operation, request)``."""
    assert list(inspect.signature(Connection._make_api_call).parameters) == [
        "self",
        "operation_name",
        "operation_kwargs",
    ]
    assert "self.client._make_api_call(operation_name, operation_kwargs)" in inspect.getsource(
        Connection._make_api_call
    )
    assert list(inspect.signature(EmbeddedEngine._make_api_call).parameters) == ["self", "operation", "request"]


def test_transactions_are_sent_in_the_order_we_map_reasons_back_from() -> None:
    """Checks, deletes, puts, updates: the order of the lists PynamoDB sends."""
    parameters = list(inspect.signature(Connection.transact_write_items).parameters)
    assert parameters[1:5] == ["condition_check_items", "delete_items", "put_items", "update_items"]
    source = inspect.getsource(Connection.transact_write_items)
    places = [source.index(word) for word in ("CONDITION_CHECK: item", "DELETE: item", "PUT: item", "UPDATE: item")]
    assert places == sorted(places)
    assert hasattr(TransactWrite, "_commit")


def test_a_connection_of_ones_own_reaches_the_engine(engine: EmbeddedEngine) -> None:
    """Connections not made by a model use the engine too."""
    connection = Connection(region="us-east-1")
    assert connection.list_tables()["TableNames"] == ["signalbox-things"]
    assert "embedded://store" in repr(connection)


def test_errors_are_mapped_by_pynamodb(engine: EmbeddedEngine) -> None:
    """PynamoDB turns the engine's refusals into its own exceptions."""
    with pytest.raises(UpdateError) as caught:
        Thing("a", "1").update([Thing.amount.set(1)], condition=Thing.amount == 1)
    assert caught.value.cause_response_code == "ConditionalCheckFailedException"
    with pytest.raises(TableDoesNotExist):
        Connection().describe_table("nowhere")


def test_install_and_uninstall() -> None:
    """Installing replaces the client of all connections, uninstalling brings botocore's back."""
    original = inspect.getattr_static(Connection, "client")
    first, second = EmbeddedEngine.open(), EmbeddedEngine.open()
    install(first)
    with installed(second):
        assert Connection().client is second
    assert Connection().client is first
    uninstall()
    assert inspect.getattr_static(Connection, "client") is original
    first.close()
    second.close()
