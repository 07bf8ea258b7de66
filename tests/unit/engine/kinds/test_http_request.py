"""http.request: what it sends, what it makes of answers, and which edges it offers."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from shared.engine.kinds import registry
from shared.engine.kinds.base import Done, KindServices, NodeFailed
from shared.engine.kinds.http_request import HttpRequest
from shared.outbound import OutboundError, OutboundRefused
from tests.support.standin import Received, Reply, StandIn
from tests.unit.engine.kinds.conftest import CallFactory, Serve

Params = dict[str, Any]
Run = Callable[..., Any]


@pytest.fixture
def run(call: CallFactory) -> Run:
    """``run(url=…, …)``: the node's outcome."""
    return lambda **params: HttpRequest().run(call(params))


@pytest.fixture
def echo(serve: Serve) -> StandIn:
    """A server that answers every request with ``{"ok": true}``."""
    return serve(lambda received: Reply({"ok": True}))


def answering(serve: Serve, *args: Any, **kwargs: Any) -> StandIn:
    return serve(lambda received: Reply(*args, **kwargs))


def sent(run: Run, server: StandIn, **params: Any) -> Received:
    run(url=f"{server.url}/a", **params)
    return server.received[-1]


# What is sent


def test_the_plainest_request(run: Run, echo: StandIn) -> None:
    """A GET without a body, with the visit's key and the attempt."""
    received = sent(run, echo)
    assert (received.method, received.path, received.query, received.body) == ("GET", "/a", "", b"")
    assert (received.headers["idempotency-key"], received.headers["x-signalbox-attempt"]) == ("k", "1")
    assert "content-type" not in received.headers


@pytest.mark.parametrize(
    ("params", "body", "content_type"),
    [
        ({"body": {"a": [1, "ü"]}}, '{"a":[1,"ü"]}'.encode(), "application/json"),
        ({"body": [1, 2]}, b"[1,2]", "application/json"),
        ({"body": []}, b"[]", "application/json"),
        ({"body": 0}, b"0", "application/json"),
        ({"body": False}, b"false", "application/json"),
        ({"body": '{"a": 1}'}, b'{"a": 1}', "application/json"),
        ({"body": "[1, 2 "}, b"[1, 2 ", "application/json"),
        ({"body": '\n {"a": 1}'}, b'\n {"a": 1}', "application/json"),
        ({"body": "plain"}, b"plain", "text/plain"),
        ({"body": "grün"}, "grün".encode(), "text/plain; charset=utf-8"),
        ({"body": "<a/>", "headers": {"content-type": "application/xml"}}, b"<a/>", "application/xml"),
        ({"body": {"a": 1}, "headers": {"Content-Type": "application/vnd.api+json"}}, b'{"a":1}',
         "application/vnd.api+json"),
        ({"body": {"a": 1}, "headers": {"Content-Type": "application/x-www-form-urlencoded"}}, b"a=1",
         "application/x-www-form-urlencoded"),
        ({"form_data": {"a": "x y&z", "b": [1, True], "c": None, "ü": "ö"}}, b"a=x+y%26z&b=1&b=true&%C3%BC=%C3%B6",
         "application/x-www-form-urlencoded"),
        ({"body": None}, b"", None),
        ({"body": ""}, b"", None),
    ],
)  # fmt: skip
def test_bodies(run: Run, echo: StandIn, params: Params, body: bytes, content_type: str | None) -> None:
    """Objects and lists are JSON, text is sent as it is, and an explicit content type wins."""
    received = sent(run, echo, method="POST", **params)
    assert (received.body, received.headers.get("content-type")) == (body, content_type)


@pytest.mark.parametrize("method", ["GET", "post", "Put", "PATCH", "DELETE"])
def test_methods(run: Run, echo: StandIn, method: str) -> None:
    """In any case of letters, each with a body if the author gives one."""
    received = sent(run, echo, method=method, body={"a": 1})
    assert (received.method, received.json) == (method.upper(), {"a": 1})


def test_header_values_become_text(run: Run, echo: StandIn) -> None:
    """Numbers, booleans and objects as JSON, lists with commas; null is left out."""
    headers = {"A": 1, "B": True, "C": {"d": 1}, "E": ["x", 2], "F": None, "G": "g"}
    received = sent(run, echo, headers=headers)
    found = {name: received.headers.get(name.lower()) for name in headers}
    assert found == {"A": "1", "B": "true", "C": '{"d":1}', "E": "x, 2", "F": None, "G": "g"}


@pytest.mark.parametrize(
    ("params", "headers"),
    [
        ({"auth": {"username": "ü", "password": "p:w"}}, {"authorization": "Basic w7w6cDp3"}),
        ({"auth": {"username": "u"}}, {"authorization": "Basic dTo="}),
        ({"auth": {"token": "t"}}, {"authorization": "Bearer t"}),
        ({"auth": {"api_key": "s"}}, {"x-api-key": "s"}),
        ({"auth": {"api_key": "s", "key_name": "X-Mine"}}, {"x-mine": "s"}),
        ({"auth": {"type": "bearer", "token": "t", "api_key": "s"}}, {"authorization": "Bearer t", "x-api-key": "s"}),
        ({"bearer_token": "t"}, {"authorization": "Bearer t"}),
        ({"api_key": 12, "key_name": "X-Mine"}, {"x-mine": "12"}),
        ({"username": "u", "password": "p"}, {"authorization": "Basic dTpw"}),
        ({"bearer_token": "t", "headers": {"AUTHORIZATION": "Mine x"}}, {"authorization": "Mine x"}),
        ({"headers": {"idempotency-key": "mine"}}, {"idempotency-key": "mine", "x-signalbox-attempt": "1"}),
    ],
)  # fmt: skip
def test_credentials(run: Run, echo: StandIn, params: Params, headers: dict[str, str]) -> None:
    """Basic, Bearer and API key, under auth or flat; a header the author sets himself wins."""
    received = sent(run, echo, **params)
    assert {name: received.headers.get(name) for name in headers} == headers


@pytest.mark.parametrize(
    ("path", "fields", "query"),
    [
        ("/a", {"q": "x y", "n": 1, "b": True, "l": ["a", "b"], "none": None}, "q=x+y&n=1&b=true&l=a&l=b"),
        ("/a?x=1", {"y": "&"}, "x=1&y=%26"),
        ("/a?", {"y": 1}, "y=1"),
        ("/a#part", {"y": 1}, "y=1"),
        ("/a?x=1", {}, "x=1"),
        ("/a?x=1", "", "x=1"),
    ],
)
def test_query_parameters_are_appended(run: Run, echo: StandIn, path: str, fields: Any, query: str) -> None:
    """To whatever query the URL has, before its fragment."""
    run(url=echo.url + path, query_params=fields)
    assert echo.received[0].query == query


def test_the_attempt_is_told(call: CallFactory, echo: StandIn) -> None:
    """Every attempt has the same key and its own number."""
    HttpRequest().run(replace(call({"url": echo.url}), attempt=3))
    assert (echo.received[0].headers["idempotency-key"], echo.received[0].headers["x-signalbox-attempt"]) == ("k", "3")


@pytest.mark.parametrize(
    "params", [{"follow_redirect": False}, {"follow_redirects": False}, {"follow_redirects": "false"}]
)
def test_redirects_may_be_off(run: Run, serve: Serve, params: Params) -> None:
    """Then the redirect is the answer, whose edges begin with default."""
    server = answering(serve, status=302, headers={"Location": "/b"})
    done = run(url=server.url, **params)
    assert (done.output["status_code"], done.output["success"], done.actions) == (302, False, ("default", "success"))
    assert len(server.received) == 1


@pytest.mark.parametrize(
    "params", [{}, {"follow_redirects": True}, {"follow_redirect": "TRUE"}, {"follow_redirects": None}]
)
def test_redirects_are_followed(run: Run, serve: Serve, params: Params) -> None:
    """Unless the author says otherwise; the output shows what was asked for."""

    def handler(received: Received) -> Reply:
        return Reply({"end": True}) if received.path == "/b" else Reply(status=302, headers={"Location": "/b"})

    server = serve(handler)
    done = run(url=f"{server.url}/a", **params)
    assert (done.output["body"], done.output["metadata"]["request_url"]) == ({"end": True}, f"{server.url}/a")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "url parameter is required"),
        ({"url": ""}, "url parameter is required"),
        ({"url": {"a": 1}}, "url must be text"),
        ({"url": "example.com"}, "must begin with http"),
        ({"url": "http://10.0.0.1/"}, "private address"),
        ({"url": "http://169.254.169.254/"}, "metadata"),
        ({"method": "GE T"}, "the method must be"),
        ({"headers": "X: y"}, "headers must be an object"),
        ({"headers": {"X": "a\nb"}}, "the header X contains a line break"),
        ({"query_params": [1]}, "query_params must be an object"),
        ({"form_data": "a=b"}, "form_data must be an object"),
        ({"form_data": {"a": 1}, "body": "x"}, "either body or form_data"),
        ({"auth": "token"}, "auth must be an object"),
        ({"auth": {"type": "basic"}}, "auth needs username and password, token, or api_key"),
        ({"auth": {"token": None}}, "the credential token is empty; is the secret it names set?"),
        ({"bearer_token": ""}, "the credential token is empty"),
        ({"api_key": None}, "the credential api_key is empty"),
        ({"timeout": "soon"}, "timeout must be a duration"),
        ({"timeout": 0}, "timeout must be more than 0"),
        ({"timeout": -1}, "timeout must be between"),
        ({"follow_redirects": "maybe"}, "follow_redirects must be true or false"),
    ],
)
def test_parameters_that_make_no_sense(run: Run, params: Params, message: str) -> None:
    """Fail for good with what to do about it: another attempt would end the same way."""
    given = params if not params or "url" in params else {"url": "http://127.0.0.1:9/"} | params
    with pytest.raises(NodeFailed, match=message) as failed:
        run(**given)
    assert (failed.value.retryable, failed.value.actions) == (False, ("error",))


# What comes back


def test_the_output(run: Run, serve: Serve, rows: list[Any]) -> None:
    """Every documented field, header names as Go writes them, and one info row."""
    server = answering(serve, {"a": 1}, status=201, headers={"x-request-id": "r", "ETag": "e"})
    done = run(url=f"{server.url}/p?q=1", method="POST", body={})
    assert isinstance(done, Done)
    output = done.output
    assert done.actions == ("success", "default")
    assert (output["status_code"], output["success"], output["body"], output["raw_body"]) == (
        201,
        True,
        {"a": 1},
        '{"a":1}',
    )
    assert (output["headers"]["X-Request-Id"], output["headers"]["Etag"]) == (["r"], ["e"])
    metadata = output["metadata"]
    assert metadata["timing_ms"] == output["timing_ms"] >= 0
    assert metadata == {
        "content_type": "application/json", "content_length": 7, "request_url": f"{server.url}/p?q=1",
        "request_method": "POST", "timing": f"{output['timing_ms']}ms", "timing_ms": output["timing_ms"],
    }  # fmt: skip
    assert "encoding" not in output
    assert rows == [("info", "HTTP request successful", {"status_code": 201, "url": f"{server.url}/p?q=1"})]


@pytest.mark.parametrize(
    ("content_type", "content", "body"),
    [
        ("application/json", b'{"a": 1}', {"a": 1}),
        ("application/problem+json; charset=utf-8", '["ü"]'.encode(), ["ü"]),
        ("text/json", b"12345678901234567890", 12345678901234567890),
        ("application/json", b"\xef\xbb\xbf[1]", [1]),
        ("application/json", b"null", None),
        ("application/json", b"{broken", "{broken"),
        ("application/json", b"", ""),
        ("application/json", b"1e999", "1e999"),
        ("application/json", b"[NaN]", "[NaN]"),
        ("application/json", b"[" * 100_000, "[" * 100_000),
        ("text/plain", b'{"a": 1}', '{"a": 1}'),
        ("text/html; charset=iso-8859-1", "ü".encode("latin-1"), "ü"),
        ("text/html; charset=nonsense", "ü".encode(), "ü"),
        ("", "ü".encode(), "ü"),
    ],
)
def test_bodies_that_are_text(run: Run, serve: Serve, content_type: str, content: bytes, body: Any) -> None:
    """JSON by content type is parsed if it can be, all else is text in the charset the answer names."""
    server = answering(serve, content, headers={"Content-Type": content_type} if content_type else {})
    output = run(url=server.url).output
    assert output["body"] == body
    assert "encoding" not in output


@pytest.mark.parametrize("content_type", ["image/png", "application/octet-stream", "application/json", ""])
def test_bodies_that_are_no_text(run: Run, serve: Serve, content_type: str) -> None:
    """Are Base64 and say so."""
    content = b"\x89PNG\xff\x00"
    output = run(url=answering(serve, content, headers={"Content-Type": content_type}).url).output
    assert output["encoding"] == "base64"
    assert output["body"] == output["raw_body"]
    assert base64.b64decode(output["body"]) == content


@pytest.mark.parametrize(
    ("status", "retryable", "actions"),
    [
        (400, False, ("client_error", "error")),
        (404, False, ("client_error", "error")),
        (429, False, ("client_error", "error")),
        (500, True, ("server_error", "error")),
        (503, True, ("server_error", "error")),
        (599, True, ("server_error", "error")),
    ],
)
def test_error_statuses(
    run: Run, serve: Serve, rows: list[Any], status: int, retryable: bool, actions: tuple[str, ...]
) -> None:
    """4xx is final, 5xx may be tried again; the edge after it sees the answer; nothing is logged as a success."""
    server = answering(serve, {"why": "so"}, status=status)
    with pytest.raises(NodeFailed, match=f"HTTP request failed with status {status}") as failed:
        run(url=server.url)
    failure = failed.value
    assert (failure.retryable, failure.actions) == (retryable, actions)
    assert (failure.output["status_code"], failure.output["body"], failure.output["success"]) == (
        status,
        {"why": "so"},
        False,
    )
    assert rows == []


def test_answers_that_are_too_large(run: Run, serve: Serve) -> None:
    """Fail for good: they will be as large the next time."""
    server = answering(serve, bytes(5 * 1024 * 1024 + 1))
    with pytest.raises(NodeFailed, match="larger than") as failed:
        run(url=server.url)
    assert not failed.value.retryable


def test_hosts_that_cannot_be_reached(run: Run, serve: Serve) -> None:
    """May be tried again, and only the generic error edge is offered."""
    server = serve(lambda received: Reply(status=-1))
    with pytest.raises(NodeFailed) as failed:
        run(url=server.url)
    assert (failed.value.retryable, failed.value.actions, failed.value.output) == (True, ("error",), None)


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [(None, 30.0), ("", 30.0), (5, 5.0), ("500ms", 0.5), ("1m30s", 90.0), ("2h", 600.0)],
)
def test_the_time_limit(call: CallFactory, timeout: Any, seconds: float) -> None:
    """Go notation or seconds, 30 s without one, and never more than one effect may take."""
    asked: list[float] = []

    def request(method: str, url: str, *, timeout_s: float, **others: Any) -> None:
        asked.append(timeout_s)
        raise OutboundError("dead")

    made = call({"url": "http://a.test/"} | ({} if timeout is None else {"timeout": timeout}))
    services = SimpleNamespace(http=SimpleNamespace(request=request), wall_clock_limit_s=600.0)
    with pytest.raises(NodeFailed, match="dead"):
        HttpRequest().run(replace(made, services=cast(KindServices, services)))
    assert asked == [seconds]


@pytest.mark.parametrize(("error", "retryable"), [(OutboundError("dead"), True), (OutboundRefused("no"), False)])
def test_only_what_may_change_is_tried_again(call: CallFactory, error: OutboundError, retryable: bool) -> None:
    """A refused address stays refused; a dead host may come back."""

    def request(*args: Any, **kwargs: Any) -> None:
        raise error

    services = SimpleNamespace(http=SimpleNamespace(request=request), wall_clock_limit_s=600.0)
    with pytest.raises(NodeFailed, match=error.message) as failed:
        HttpRequest().run(replace(call({"url": "http://a.test/"}), services=cast(KindServices, services)))
    assert failed.value.retryable is retryable


def test_the_kind_reaches_outside() -> None:
    """Its start is journaled before it acts."""
    kind = registry().get("http.request")
    assert kind is not None
    assert kind.effectful
    assert kind.parameters["required"] == ["url"]
