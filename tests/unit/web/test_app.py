from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, Request
from starlette.responses import Response

from shared.kit.errors import NotFound, Unavailable
from shared.web.answers import answer
from shared.web.app import family_app, lambda_handler
from shared.web.requests import RequestBody, RequestQuery
from tests.support.apigw import Handler, call
from tests.support.deployment import deployment

router = APIRouter()
FLOWRUNNER, HUB, NULLRUN, NOETL = "/api/v1/things", "/api/gateway/things", "/api/v1/gate", "/api/things"


@router.get("/api/v1/things/{name}")
def get_thing(name: str) -> Response:
    if name == "broken":
        raise RuntimeError("secret detail of the fault")
    if name == "missing":
        raise NotFound("There is no such thing")
    if name == "away":
        raise Unavailable("The store cannot be reached; try again")
    return answer({"name": name})


@router.delete("/api/v1/things/{name}")
def delete_thing(name: str) -> Response:
    return Response(status_code=204)


@router.get("/api/v1/things/special")
def get_special() -> Response:
    return answer({"special": True}, headers={"Cache-Control": "max-age=5"})


@router.post("/api/v1/things")
def create_thing(body: RequestBody, query: RequestQuery) -> Response:
    return answer({"got": body.object(), "limit": query.paging().limit}, 201)


@router.get("/api/v1/runs/{execution_id}")
def run(execution_id: str) -> Response:
    """An execution."""
    return Response()


@router.get("/api/v1/begin")
def begin(request: Request) -> Response:
    """Begins an execution."""
    request.state.execution_id = "e-1"
    return Response()


@router.get("/api/v1/numbers/{number}")
def get_number(number: int) -> Response:
    return answer(number)


@pytest.fixture
def handler(tmp_path: Path) -> Any:
    with deployment(tmp_path, max_body_bytes=2048):
        yield lambda_handler(family_app("things", router))


def test_literal_paths_win_over_parameters(handler: Handler) -> None:
    """Whatever order they were declared in; methods the literal path lacks fall through to the parameter."""
    assert call(handler, "GET", "/api/v1/things/special").body == {"special": True}
    assert call(handler, "DELETE", "/api/v1/things/special").status == 204


def test_every_answer_carries_an_id_and_is_not_kept(handler: Handler) -> None:
    """A request id of the caller's is taken over, a strange one replaced; no cache keeps an answer by default."""
    given = call(handler, "GET", "/api/v1/things/a", headers={"X-Request-Id": "my-id.1"})
    assert given.headers["x-request-id"] == "my-id.1"
    assert given.headers["cache-control"] == "no-store"
    assert given.headers["x-content-type-options"] == "nosniff"
    strange = call(handler, "GET", "/nope", headers={"X-Request-Id": "a b\u00e9"})
    assert strange.headers["x-request-id"] not in ("", "a b\u00e9")
    assert strange.headers["cache-control"] == "no-store"
    assert call(handler, "GET", "/api/v1/things/special").headers["cache-control"] == "max-age=5"


def test_a_fault_shows_nothing_of_itself(handler: Handler) -> None:
    """500 in the envelope, with the request id to find it by; detail goes to the log alone."""
    result = call(handler, "GET", "/api/v1/things/broken", headers={"X-Request-Id": "find-me"})
    assert (result.status, result.body["error"]["code"]) == (500, "internal_error")
    assert b"secret detail" not in result.raw
    assert b"Traceback" not in result.raw
    assert result.headers["x-request-id"] == "find-me"
    assert result.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    ("path", "field"),
    [("/nope", "error"), (HUB, "type"), (NULLRUN, "error_code"), (NOETL, "detail"), ("/api/v1/nope", "error")],
)
def test_unknown_paths_answer_in_the_form_of_their_api(handler: Handler, path: str, field: str) -> None:
    """404 everywhere, with the fields clients of that API read."""
    result = call(handler, "GET", path)
    assert result.status == 404
    assert field in result.body


def test_wrong_methods_name_the_right_ones(handler: Handler) -> None:
    """405 lists every method that some route answers on the path."""
    result = call(handler, "PATCH", "/api/v1/things/a")
    assert result.status == 405
    assert result.headers["allow"] == "DELETE, GET, HEAD, OPTIONS"
    assert call(handler, "PUT", "/api/v1/things/special").headers["allow"] == "DELETE, GET, HEAD, OPTIONS"


def test_head_is_get_without_a_body(handler: Handler) -> None:
    """Same status and headers, no content."""
    result = call(handler, "HEAD", "/api/v1/things/a")
    assert (result.status, result.raw) == (200, b"")
    assert result.headers["content-length"] == "12"


@pytest.mark.parametrize("path", ["/api/v1/things", "/api/v1/things/a", "/nope", "/api/gateway"])
def test_options_needs_no_credentials(handler: Handler, path: str) -> None:
    """200 and empty on every path."""
    result = call(handler, "OPTIONS", path)
    assert (result.status, result.raw) == (200, b"")


def test_any_origin_may_call_flowrunner_and_no_other(handler: Handler) -> None:
    """On errors too, without credentials."""
    for path in ("/api/v1/things/a", "/api/v1/things/missing", "/nope"):
        headers = call(handler, "GET", path, headers={"Origin": "https://example.com"}).headers
        assert headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in headers
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            assert method in headers["access-control-allow-methods"]
        for name in ("Content-Type", "Authorization", "Idempotency-Key"):
            assert name in headers["access-control-allow-headers"]
    for path in (HUB, NULLRUN, NOETL):
        assert "access-control-allow-origin" not in call(handler, "GET", path).headers


def test_a_body_over_the_limit_is_413(handler: Handler) -> None:
    """By its announced length or by its real one."""
    fits = call(handler, "POST", "/api/v1/things", raw=json.dumps({"a": "x" * 2000}).encode())
    assert fits.status == 201
    large = b"x" * 2049
    assert call(handler, "POST", "/api/v1/things", raw=large).status == 413
    assert call(handler, "POST", "/api/v1/things", raw=large, headers={"content-length": "5"}).status == 413
    assert call(handler, "POST", NOETL, raw=large).body["status"] == 413


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"null",
        b"5",
        b"{} x",
        b"NaN",
        b"\xff",
        b"[" * 2000,
        b'{"a":"\\ud800"}',
        b'{"\\uDFFF":1}',
    ],
)
def test_what_is_no_json_object_is_400(handler: Handler, raw: bytes) -> None:
    """Malformed, cut, of another type, or nested to death: 400, never 500."""
    result = call(handler, "POST", "/api/v1/things", raw=raw)
    assert (result.status, result.body["error"]["code"]) == (400, "invalid_request")


def test_whole_surrogate_pairs_are_text(handler: Handler) -> None:
    """Escaped as JSON writers do it."""
    assert call(handler, "POST", "/api/v1/things", raw=rb'{"a":"\ud83d\ude00"}').body["got"] == {"a": "\U0001f600"}


def test_a_client_that_goes_away_changes_nothing(handler: Handler) -> None:
    """Half a body is no request: no route sees it."""
    app = family_app("things", router)
    messages = iter([{"type": "http.request", "body": b"{}", "more_body": True}, {"type": "http.disconnect"}])
    sent: list[Any] = []

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/api/v1/things", "headers": [], "query_string": b""}
    asyncio.run(app(scope, receive, send))
    assert sent == []


def test_a_request_the_server_waits_for_no_longer_is_503() -> None:
    """A stopping server ends what has not arrived with an answer in the API's form instead of a trace in the log."""
    sent: list[Any] = []

    async def scene() -> None:
        waiting = asyncio.Event()

        async def receive() -> Any:
            waiting.set()
            await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/api/v1/things", "headers": [], "query_string": b""}
        task = asyncio.create_task(family_app("things", router)(scope, receive, send))
        await waiting.wait()
        task.cancel()
        await task

    asyncio.run(scene())
    assert sent[0]["status"] == 503
    assert "stopping" in json.loads(sent[1]["body"])["error"]["message"]


def test_errors_of_services_keep_their_words(handler: Handler) -> None:
    """What a service refuses is what the caller reads, in the status the error stands for."""
    assert call(handler, "GET", "/api/v1/things/missing").body["error"]["message"] == "There is no such thing"
    assert call(handler, "GET", "/api/v1/things/away").status == 503


def test_a_mistyped_path_parameter_is_400(handler: Handler) -> None:
    """In the envelope, naming the parameter."""
    result = call(handler, "GET", "/api/v1/numbers/x")
    assert (result.status, result.body["error"]["details"]["field"]) == (400, "number")


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=-1", "limit=x", "limit=", "limit=1.5", "offset=-1", "offset=x", "limit=१"]
)
def test_bad_paging_is_400(handler: Handler, query: str) -> None:
    """The field is named."""
    result = call(handler, "POST", f"/api/v1/things?{query}", json={})
    assert result.status == 400
    assert result.body["error"]["details"]["field"] == query.split("=")[0]


@pytest.mark.parametrize(("query", "limit"), [("", 10), ("limit=7", 7), ("limit=100000", 100), ("limit=1&limit=3", 3)])
def test_paging_has_a_default_and_a_cap(handler: Handler, query: str, limit: int) -> None:
    """10 unless asked, at most 100, the last of repeated ones."""
    assert call(handler, "POST", f"/api/v1/things?{query}", json={}).body["limit"] == limit


class _Log:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def info(self, message: str, *, extra: dict[str, Any]) -> None:
        self.lines.append((message, extra))

    exception = info


def test_each_request_is_one_line_in_the_log(handler: Handler, monkeypatch: pytest.MonkeyPatch) -> None:
    """Method, path, status, duration and id; the query, which may hold a token, is not in it."""
    log = _Log()
    monkeypatch.setattr("shared.web.edge.logger", lambda name: log)
    call(handler, "GET", "/api/v1/things/a?token=canary", headers={"X-Request-Id": "log-me"})
    ((message, fields),) = log.lines
    assert (message, fields["request_id"], fields["method"], fields["status"]) == ("request", "log-me", "GET", 200)
    assert fields["path"] == "/api/v1/things/a"
    assert fields["duration_ms"] >= 0
    assert "canary" not in str(log.lines)


@pytest.mark.parametrize("secret", ["inv_", "nr_live_", "nr_test_"])
def test_tokens_in_paths_are_not_in_the_log(handler: Handler, monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    """Who reads the log can neither accept somebody's invite nor use a key that was put into an address."""
    log = _Log()
    monkeypatch.setattr("shared.web.edge.logger", lambda name: log)
    call(handler, "GET", f"/api/v1/invites/{secret}canary-1_x/accept")
    ((_, fields),) = log.lines
    assert fields["path"] == f"/api/v1/invites/{secret}***/accept"


@pytest.mark.parametrize("path", ["/api/v1/runs/e-1", "/api/v1/begin"])
def test_the_log_names_the_execution(path: str, handler: Handler, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one the path names, and the one the request began."""
    log = _Log()
    monkeypatch.setattr("shared.web.edge.logger", lambda name: log)
    call(handler, "GET", path)
    ((_, fields),) = log.lines
    assert fields["execution_id"] == "e-1"
