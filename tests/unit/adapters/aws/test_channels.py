"""API Gateway's WebSockets and DynamoDB's streams behind the relay's ports."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from shared.adapters.aws.streams import handle_batch
from shared.adapters.aws.websockets import ApiGatewaySender
from shared.kit.errors import Unavailable
from shared.push import Connections, Gone, Relay
from shared.store.embedded import EmbeddedEngine
from tests.support.push import CHANNEL, RecordingSender, ScriptedReader, connect, journal_grows


class Api:
    """The management API's client, answering as told."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def post_to_connection(self, **request: Any) -> None:
        self.calls.append(("post", request))
        if self.error:
            raise self.error

    def delete_connection(self, **request: Any) -> None:
        self.calls.append(("delete", request))
        if self.error:
            raise self.error


def sender(error: Exception | None = None) -> tuple[ApiGatewaySender, Api]:
    made, api = ApiGatewaySender("https://stage.example"), Api(error)
    made.__dict__["_client"] = api
    return made, api


def refusal(code: str, status: int) -> ClientError:
    answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "PostToConnection")


def test_a_message_is_posted_and_a_close_disconnects() -> None:
    """Both name the connection; texts go out as UTF-8."""
    made, api = sender()
    assert made.in_use and made.accepts("c")
    made.send("c", "é")
    made.close("c", 1008)
    assert api.calls == [("post", {"ConnectionId": "c", "Data": "é".encode()}), ("delete", {"ConnectionId": "c"})]


def test_410_is_gone() -> None:
    """A post to a closed connection is Gone; disconnecting it again counts as done."""
    made, _ = sender(refusal("GoneException", 410))
    with pytest.raises(Gone):
        made.send("c", "x")
    made.close("c")


@pytest.mark.parametrize(
    "error", [refusal("LimitExceededException", 429), refusal("x", 500), EndpointConnectionError(endpoint_url="u")]
)
def test_other_failures_are_tried_again(error: Exception) -> None:
    """Throttling and broken networks say nothing about the connection."""
    made, _ = sender(error)
    with pytest.raises(Unavailable):
        made.send("c", "x")


def test_a_batch_names_the_records_that_failed(store: EmbeddedEngine) -> None:
    """The answer has the form of ReportBatchItemFailures, with the sequence numbers as they came."""
    connections, target, reader = Connections(), RecordingSender(), ScriptedReader()
    relay = Relay(connections, target, {"scripted": reader})
    connections.listen(connect(connections, "c1"), CHANNEL, "scripted")
    reader.facts.append("a")
    journal_grows(0)
    records = [record.as_event() for record in store.stream.read(0)]
    for record in records:
        record["dynamodb"]["SequenceNumber"] = record["dynamodb"]["SequenceNumber"].zfill(21)
    target.broken = 1
    failed = handle_batch(relay, {"Records": records})
    assert failed["batchItemFailures"] and all(
        len(item["itemIdentifier"]) == 21 for item in failed["batchItemFailures"]
    )
    assert handle_batch(relay, {"Records": records}) == {"batchItemFailures": []}
    assert target.to("c1") == ["a"]
