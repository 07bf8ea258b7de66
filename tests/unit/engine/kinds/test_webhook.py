"""webhook: an event to another system."""

from __future__ import annotations

from typing import Any

import pytest

from shared.engine.kinds import registry
from shared.engine.kinds.base import Done, NodeFailed
from shared.engine.kinds.webhook import Webhook
from shared.kit import clock
from tests.support.standin import Received, Reply, StandIn
from tests.support.time import HeldClock
from tests.unit.engine.kinds.conftest import CallFactory, Serve


@pytest.fixture
def target(serve: Serve) -> StandIn:
    return serve(lambda received: Reply({"taken": True}))


def deliver(call: CallFactory, target: StandIn, value: Any = None, **params: Any) -> tuple[Any, Received]:
    outcome = Webhook().run(call({"url": f"{target.url}/hook"} | params, value))
    return outcome, target.received[-1]


@pytest.mark.parametrize("value", [{"a": 1}, [1], "x", None])
def test_without_a_body_the_input_is_sent_as_an_event(call: CallFactory, target: StandIn, value: Any) -> None:
    """POST, JSON, with the execution it is about; nothing is logged at info."""
    with clock.use(HeldClock(1_767_225_600_123)):
        _, received = deliver(call, target, value)
    assert (received.method, received.path, received.headers["content-type"]) == ("POST", "/hook", "application/json")
    assert received.json == {
        "type": "node.completed", "execution_id": "e", "flow_id": "d", "node_id": "step",
        "timestamp": "2026-01-01T00:00:00.123Z", "data": value,
    }  # fmt: skip
    assert (received.headers["idempotency-key"], received.headers["x-signalbox-attempt"]) == ("k", "1")


@pytest.mark.parametrize(
    ("params", "method", "body"),
    [
        ({"body": {"b": 2}}, "POST", b'{"b":2}'),
        ({"body": "text"}, "POST", b"text"),
        ({"body": ""}, "POST", b""),
        ({"form_data": {"a": 1}}, "POST", b"a=1"),
        ({"method": "PUT", "body": {}}, "PUT", b"{}"),
        ({"method": "GET"}, "GET", b""),
    ],
)
def test_what_the_author_gives_is_sent(
    call: CallFactory, target: StandIn, params: dict[str, Any], method: str, body: bytes
) -> None:
    """His method, his body; a GET has no event."""
    _, received = deliver(call, target, {"a": 1}, **params)
    assert (received.method, received.body) == (method, body)


def test_headers_and_credentials(call: CallFactory, target: StandIn) -> None:
    """The same parameters as http.request."""
    _, received = deliver(call, target, headers={"X-A": 1}, auth={"token": "t"}, query_params={"q": 1})
    assert (received.headers["x-a"], received.headers["authorization"], received.query) == ("1", "Bearer t", "q=1")


def test_the_output(call: CallFactory, target: StandIn, rows: list[Any]) -> None:
    """The answer's fields plus status sent, on the generic edges, without a row of its own."""
    done, _ = deliver(call, target)
    assert isinstance(done, Done)
    assert done.actions == ("default", "success")
    assert (done.output["status"], done.output["status_code"], done.output["body"]) == ("sent", 200, {"taken": True})
    assert rows == []


@pytest.mark.parametrize(("status", "retryable"), [(400, False), (410, False), (500, True), (503, True)])
def test_error_statuses_fail(call: CallFactory, serve: Serve, status: int, retryable: bool) -> None:
    """With the status in the message and the answer for the error edge."""
    target = serve(lambda received: Reply({"why": 1}, status=status))
    with pytest.raises(NodeFailed, match=f"webhook failed with status {status}") as failed:
        deliver(call, target)
    assert (failed.value.retryable, failed.value.actions) == (retryable, ("error",))
    assert (failed.value.output["status_code"], failed.value.output["body"]) == (status, {"why": 1})


@pytest.mark.parametrize(
    ("params", "message"), [({}, "url parameter is required"), ({"url": "http://10.0.0.1/"}, "private address")]
)
def test_what_cannot_be_called(call: CallFactory, params: dict[str, Any], message: str) -> None:
    """Fails for good."""
    with pytest.raises(NodeFailed, match=message) as failed:
        Webhook().run(call(params))
    assert not failed.value.retryable


def test_the_kind_reaches_outside() -> None:
    """Its start is journaled before it acts."""
    kind = registry().get("webhook")
    assert kind is not None
    assert kind.effectful
    assert kind.parameters["required"] == ["url"]
