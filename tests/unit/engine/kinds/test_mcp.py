"""mcp: the handshake, both transports, every operation, and what goes wrong."""

from __future__ import annotations

from dataclasses import replace
from threading import Event
from typing import Any

import pytest

from shared.engine.kinds.base import Call, Done, NodeFailed
from shared.engine.kinds.mcp import ModelContextProtocol
from shared.engine.mcp.events import Event as ServerSentEvent
from shared.engine.mcp.events import events
from shared.engine.mcp.stateless import encoded, parameter_headers
from tests.support.mcp import SseServer, StatelessServer, StreamableServer
from tests.support.standin import Received, Reply
from tests.unit.engine.kinds.conftest import CallFactory, Serve

TEXT = {"content": [{"type": "text", "text": "rain"}], "isError": False}
TOOL = {"connectionType": "http", "operation": "executeTool", "toolName": "weather"}
PING = {"jsonrpc": "2.0", "id": "p", "method": "ping"}
SAMPLING = {"jsonrpc": "2.0", "id": 9, "method": "sampling/createMessage", "params": {}}
NOTE = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}}


def run(call: Call) -> Any:
    outcome = ModelContextProtocol().run(call)
    assert isinstance(outcome, Done)
    return outcome.output


def echo(params: Any) -> dict[str, Any]:
    return {"result": {"content": [], "got": params}}


# Operations


@pytest.mark.parametrize(
    ("given", "value", "method", "params"),
    [
        ({"operation": "readResource", "resourceUri": "file:///a"}, None, "resources/read", {"uri": "file:///a"}),
        (
            {"operation": "executeTool", "toolName": "t", "toolParameters": '{"a":1}'}, None,
            "tools/call", {"name": "t", "arguments": {"a": 1}},
        ),
        (
            {"operation": "executeTool", "toolName": "t", "toolParameters": {"a": 1}}, {"b": 2},
            "tools/call", {"name": "t", "arguments": {"a": 1}},
        ),
        ({"operation": "executeTool", "toolName": "t"}, {"b": 2}, "tools/call", {"name": "t", "arguments": {"b": 2}}),
        ({"operation": "executeTool", "toolName": "t"}, [1], "tools/call", {"name": "t", "arguments": {}}),
        ({"operation": "getPrompt", "promptName": "p"}, None, "prompts/get", {"name": "p", "arguments": {}}),
        (
            {"operation": "getPrompt", "promptName": "p", "promptArguments": {"n": 1}}, None,
            "prompts/get", {"name": "p", "arguments": {"n": "1"}},
        ),
    ],
)  # fmt: skip
def test_operations(
    call: CallFactory, serve: Serve, given: dict[str, Any], value: Any, method: str, params: dict[str, Any]
) -> None:
    """Each operation is one request after the handshake; its result is the output."""
    mcp = StreamableServer({method: echo})
    server = serve(mcp)
    output = run(call({"connectionType": "http", "url": f"{server.url}/mcp"} | given, value))
    assert output == {"result": {"content": [], "got": params}}
    assert mcp.methods == ["initialize", "notifications/initialized", method]


@pytest.mark.parametrize(
    ("operation", "method", "name"),
    [
        ("listTools", "tools/list", "tools"),
        ("listResources", "resources/list", "resources"),
        ("listResourceTemplates", "resources/templates/list", "resourceTemplates"),
        ("listPrompts", "prompts/list", "prompts"),
    ],
)
def test_lists_are_read_to_their_end(call: CallFactory, serve: Serve, operation: str, method: str, name: str) -> None:
    """All pages become one list."""

    def page(params: Any) -> dict[str, Any]:
        second = params.get("cursor") == "c"
        return {"result": {name: [{"name": "b"}]} if second else {name: [{"name": "a"}], "nextCursor": "c"}}

    server = serve(StreamableServer({method: page}))
    output = run(call({"connectionType": "http", "url": f"{server.url}/mcp", "operation": operation}))
    assert output == {"result": {name: [{"name": "a"}, {"name": "b"}]}}


def test_a_list_without_end_is_given_up(call: CallFactory, serve: Serve) -> None:
    """A server that always names a next page cannot hold the node."""
    mcp = StreamableServer({"tools/list": {"result": {"tools": [], "nextCursor": "c"}}})
    with pytest.raises(NodeFailed, match="more than 100 pages of tools"):
        run(call({"connectionType": "http", "url": f"{serve(mcp).url}/mcp", "operation": "listTools"}))


def test_a_list_is_no_larger_than_an_answer(call: CallFactory, serve: Serve) -> None:
    """Pages that each fit into an answer do not add up to more than a process holds."""
    entry = {"name": "x" * 2_000_000}
    mcp = StreamableServer({"tools/list": {"result": {"tools": [entry], "nextCursor": "c"}}})
    with pytest.raises(NodeFailed, match="more than 5 MB of tools") as caught:
        run(call({"connectionType": "http", "url": f"{serve(mcp).url}/mcp", "operation": "listTools"}))
    assert caught.value.retryable is False


# Streamable HTTP


@pytest.mark.parametrize("mode", ["json", "events", "resumed"])
@pytest.mark.parametrize("version", ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"])
def test_streamable_http(call: CallFactory, serve: Serve, mode: str, version: str) -> None:
    """JSON, a stream, and a stream that is cut and taken up again give the same; the session is ended."""
    mcp = StreamableServer({"tools/call": {"result": TEXT}}, mode=mode, version=version)
    server = serve(mcp)
    given = TOOL | {"url": f"{server.url}/mcp", "headers": {"Authorization": "Bearer t", "Accept": "text/html", "n": 1}}
    assert run(call(given)) == {"result": TEXT}
    assert mcp.closed
    assert {request.headers["authorization"] for request in server.received} == {"Bearer t"}
    assert {request.headers["n"] for request in server.received} == {"1"}


def test_requests_of_the_server_are_answered(call: CallFactory, serve: Serve) -> None:
    """A ping is; what was not offered is refused; notifications pass."""
    mcp = StreamableServer({"tools/call": {"result": TEXT}}, mode="events", extra=(NOTE, PING, [SAMPLING]))
    assert run(call(TOOL | {"url": f"{serve(mcp).url}/mcp"})) == {"result": TEXT}
    pong, refusal = mcp.replies
    assert pong == {"jsonrpc": "2.0", "id": "p", "result": {}}
    assert (refusal["id"], refusal["error"]["code"]) == (9, -32601)


def test_each_request_has_its_own_key(call: CallFactory, serve: Serve) -> None:
    """A gateway that honours the key cannot answer the tool call with the handshake."""
    server = serve(StreamableServer({"tools/call": {"result": TEXT}}))
    run(replace(call(TOOL | {"url": f"{server.url}/mcp"}), idempotency_key="key", attempt=2))
    keys = [request.headers.get("idempotency-key") for request in server.received]
    assert keys == ["key:1", None, "key:2", None]
    assert {request.headers["x-signalbox-attempt"] for request in server.received} == {"2"}


# HTTP with SSE


@pytest.mark.parametrize(
    ("announced", "chosen"),
    [
        ("/messages?s=1", None),
        ("http://127.0.0.1:{port}/messages?s=1", None),
        ("/behind/the/proxy?s=1", "/messages"),
        ("https://elsewhere.example/x?s=1", "/messages?s=1"),
    ],
)
def test_http_with_sse(call: CallFactory, serve: Serve, announced: str, chosen: str | None) -> None:
    """Messages go where the server says, or where the author does with the session the server named."""
    mcp = SseServer({"tools/call": {"result": TEXT}, "tools/list": {"result": {"tools": []}}})
    server = serve(mcp)
    mcp.endpoint = announced.format(port=server.url.rpartition(":")[2])
    given = TOOL | {"connectionType": "sse", "url": f"{server.url}/sse", "messagesPostEndpoint": chosen}
    assert run(call(given)) == {"result": TEXT}
    assert mcp.methods == ["initialize", "notifications/initialized", "tools/call"]


def test_credentials_stay_with_the_authors_host(call: CallFactory, serve: Serve) -> None:
    """A server cannot have the author's headers sent to another host."""
    server = serve(SseServer({}, endpoint="http://127.0.0.1:1/messages"))
    with pytest.raises(NodeFailed, match="to another host; name it in messagesPostEndpoint") as failed:
        run(call(TOOL | {"connectionType": "sse", "url": f"{server.url}/sse"}))
    assert not failed.value.retryable


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply({"ok": True}), "does not answer with a stream of events"),
        (Reply({}, 404), "MCP server answered HTTP 404"),
        (Reply(headers={"Content-Type": "text/event-stream"}, pieces=[b": x\n\n"]), "did not say where messages go"),
    ],
)
def test_no_stream_of_events(call: CallFactory, serve: Serve, reply: Reply, message: str) -> None:
    """An address that is no SSE endpoint fails with a sentence."""
    server = serve(lambda request: reply)
    with pytest.raises(NodeFailed, match=message):
        run(call(TOOL | {"connectionType": "sse", "url": server.url}))


def test_a_stream_that_ends_early(call: CallFactory, serve: Serve) -> None:
    """The response never comes; the next attempt may see it."""
    stream = [b"event: endpoint\ndata: /m\n\n"]

    def handler(request: Received) -> Reply:
        headers = {"Content-Type": "text/event-stream"}
        return Reply(status=202) if request.method == "POST" else Reply(headers=headers, pieces=stream)

    with pytest.raises(NodeFailed, match="closed the stream before its response") as failed:
        run(call(TOOL | {"connectionType": "sse", "url": serve(handler).url}))
    assert failed.value.retryable


# Without a handshake


@pytest.mark.parametrize(
    ("operation", "methods"),
    [
        (TOOL, ["initialize", "tools/call"]),
        ({"connectionType": "http", "operation": "listTools"}, ["initialize", "tools/list"]),
        (
            {"connectionType": "http", "operation": "readResource", "resourceUri": "file:///a"},
            ["initialize", "resources/read"],
        ),
    ],
)
def test_a_server_without_handshake(
    call: CallFactory, serve: Serve, operation: dict[str, Any], methods: list[str]
) -> None:
    """A server of 2026-07-28 refuses the handshake; every request then says everything itself, and no session ends."""
    result = TEXT | {"resultType": "complete", "tools": []}
    mcp = StatelessServer({method: {"result": result} for method in ("tools/call", "tools/list", "resources/read")})
    server = serve(mcp)
    run(call(operation | {"url": f"{server.url}/mcp"}))
    assert mcp.methods == methods


def test_marked_arguments_are_repeated_in_the_head(call: CallFactory, serve: Serve) -> None:
    """A tool that wants that refuses the first request; its schema says which argument goes where."""
    schema = {"type": "object", "properties": {"city": {"type": "string", "x-mcp-header": "City"}}}
    tools = {"result": {"tools": [{"name": "other"}, {"name": "weather", "inputSchema": schema}]}}
    mcp = StatelessServer({"tools/call": {"result": TEXT}, "tools/list": tools}, marked="mcp-param-city")
    server = serve(mcp)
    assert run(call(TOOL | {"url": server.url, "toolParameters": {"city": "Delft"}})) == {"result": TEXT}
    assert mcp.methods == ["initialize", "tools/call", "tools/list", "tools/call"]
    assert server.received[-1].headers["mcp-param-city"] == "Delft"


def test_a_server_that_asks_back(call: CallFactory, serve: Serve) -> None:
    """A flow cannot answer a server's questions."""
    server = serve(StatelessServer({"tools/call": {"result": {"resultType": "input_required"}}}))
    with pytest.raises(NodeFailed, match="asks for input that a flow cannot give") as failed:
        run(call(TOOL | {"url": server.url}))
    assert not failed.value.retryable


@pytest.mark.parametrize(
    ("value", "header"),
    [
        ("us-west1", "us-west1"),
        ("two words", "two words"),
        (-7, "-7"),
        (True, "true"),
        ("", "=?base64??="),
        (" padded ", "=?base64?IHBhZGRlZCA=?="),
        ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
        ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
        ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
    ],
)
def test_header_values(value: Any, header: str) -> None:
    """What a header cannot carry, and what would be mistaken for the encoding, goes as Base64."""
    assert encoded(value) == header


def test_marks_are_found_by_their_path() -> None:
    """Nested ones too; what is missing, null or no scalar has no header."""
    inner = {"type": "object", "properties": {"a": {"x-mcp-header": "A"}, "b": {"x-mcp-header": "B"}}}
    properties = {"in": inner, "n": {"x-mcp-header": "N"}, "l": {"x-mcp-header": "L"}, "bad": {"x-mcp-header": "a b"}}
    arguments = {"in": {"a": "x"}, "n": None, "l": [1], "bad": "y"}
    assert parameter_headers({"properties": properties}, arguments) == {"Mcp-Param-A": "x"}
    assert parameter_headers(None, arguments) == {}


# Refusals and mistakes


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"connectionType": None}, "connectionType parameter is required"),
        ({"connectionType": "cmd", "command": "ls"}, "connectionType cmd would start a program on this server"),
        ({"connectionType": "ftp"}, "connectionType must be http or sse"),
        ({"operation": ""}, "operation parameter is required"),
        ({"operation": "dance"}, "operation must be one of readResource, executeTool, getPrompt, listTools"),
        ({"toolName": None}, "toolName parameter is required"),
        ({"operation": "readResource"}, "resourceUri parameter is required"),
        ({"operation": "getPrompt"}, "promptName parameter is required"),
        ({"toolParameters": "[1]"}, "toolParameters must be an object, or its JSON text"),
        ({"toolParameters": "{"}, "toolParameters must be an object, or its JSON text"),
        ({"headers": [1]}, "headers must be an object"),
        ({"timeout": "soon"}, "timeout must be a duration"),
        ({"timeout": 0}, "timeout must be more than 0"),
        ({"timeout": "9" * 5_000}, "timeout must be between"),
        ({"url": ""}, "url parameter is required"),
    ],
)
def test_mistakes_of_the_author(call: CallFactory, serve: Serve, given: dict[str, Any], message: str) -> None:
    """A parameter that makes no sense fails the node for good, before anything is sent."""
    server = serve(StreamableServer({}))
    with pytest.raises(NodeFailed, match=message) as failed:
        run(call(TOOL | {"url": f"{server.url}/mcp"} | given))
    assert not failed.value.retryable
    assert server.received == []


@pytest.mark.parametrize(
    ("answer", "message", "retryable"),
    [
        ({"error": {"code": -32602, "message": "Unknown tool: weather"}}, r"MCP error: Unknown tool: weather", False),
        ({"error": {"code": -32603, "message": "Oops"}}, r"MCP error: Oops \(-32603\)", True),
        ({"error": "odd"}, "MCP error: no reason given", True),
        ({"error": {"code": [1], "message": "m"}}, "MCP error: m", True),
        ({"result": [1]}, "sent a response without a result", True),
        ({"result": TEXT | {"isError": True}}, "MCP tool weather failed: rain", True),
    ],
)
def test_errors_of_the_server(
    call: CallFactory, serve: Serve, answer: dict[str, Any], message: str, retryable: bool
) -> None:
    """They fail the node with the server's words; mistakes in the request are not repeated."""
    server = serve(StreamableServer({"tools/call": answer}))
    with pytest.raises(NodeFailed, match=message) as failed:
        run(call(TOOL | {"url": f"{server.url}/mcp"}))
    assert failed.value.retryable is retryable


@pytest.mark.parametrize(
    ("reply", "message", "retryable"),
    [
        (Reply(b"", 401), "HTTP 401; set headers.Authorization", False),
        (Reply(b"", 405), "HTTP 405; check url and connectionType", False),
        (Reply({"error": {"message": "Bad version"}}, 400), "HTTP 400: Bad version", False),
        (Reply(b"", 404), "HTTP 404; check url", True),
        (Reply(b"", 503), "HTTP 503", True),
        (Reply(b"<html>"), "something that is no JSON", True),
        (Reply({"jsonrpc": "2.0", "id": 77, "result": {}}), "answered something else than the request", True),
        (Reply(headers={"Content-Type": "text/event-stream"}, pieces=[b"data: {}\n\n"]), "closed the stream", True),
    ],
)
def test_odd_answers(call: CallFactory, serve: Serve, reply: Reply, message: str, retryable: bool) -> None:
    """Whatever comes back, the node fails with a sentence."""
    with pytest.raises(NodeFailed, match=message) as failed:
        run(call(TOOL | {"url": serve(lambda request: reply).url}))
    assert failed.value.retryable is retryable


def test_no_common_version(call: CallFactory, serve: Serve) -> None:
    """A server of an unknown version is left alone."""
    with pytest.raises(NodeFailed, match="speaks version 1999-01-01 of the protocol, not 2025-11-25") as failed:
        run(call(TOOL | {"url": f"{serve(StreamableServer({}, version='1999-01-01')).url}/mcp"}))
    assert not failed.value.retryable


@pytest.mark.parametrize("timeout", [50, "50", "50ms"])
def test_timeout_is_in_milliseconds(call: CallFactory, serve: Serve, timeout: Any) -> None:
    """A number is milliseconds, text may have a unit; a silent server is given up."""
    over = Event()

    def silent(request: Received) -> Reply:
        over.wait(10)
        return Reply()

    server = serve(silent)
    with pytest.raises(NodeFailed, match=r"MCP request failed: .* did not answer in time") as failed:
        run(call(TOOL | {"url": server.url, "timeout": timeout}))
    over.set()
    assert failed.value.retryable


@pytest.mark.parametrize("connection", ["http", "sse"])
def test_private_addresses_are_refused(call: CallFactory, connection: str) -> None:
    """The client's guard stands before every server."""
    with pytest.raises(NodeFailed, match=r"MCP request failed: .*127\.0\.0\.2") as failed:
        run(call(TOOL | {"connectionType": connection, "url": "http://127.0.0.2:9/mcp"}))
    assert not failed.value.retryable


# Events


def test_event_streams() -> None:
    """Comments, unknown fields and cut off events are dropped; data of several lines is joined; ids last."""
    lines = [
        ": hi", "", "id: 1", "retry: 20", "data:", "", "event: a", "data: x", "data:y", "what: ever", "",
        "retry: soon", "data: z", "", "data: cut",
    ]  # fmt: skip
    assert list(events(lines)) == [
        ServerSentEvent("message", "", "1", 20),
        ServerSentEvent("a", "x\ny", "1"),
        ServerSentEvent("message", "z", "1"),
    ]
