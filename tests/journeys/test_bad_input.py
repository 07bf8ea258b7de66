"""Hostile callers and hostile authors against a real server.

Each gets a clear answer, or a failed node with its reason, and everybody else goes on: no 500, no trace, no secret.
"""

from __future__ import annotations

import json
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import jwt
import pytest
import requests
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.support.server import PATIENCE_S, Client, Server, serving

pytestmark = pytest.mark.slow

SECRET = "s3cret-of-the-journey"
HEALTHY = """
metadata: {name: Healthy}
nodes:
  first: {type: transform, params: {script: "return {n: 1}"}, next: {default: last}}
  last: {type: transform, params: {script: "return {n: input.n + 1}"}}
"""
MARK = {"type": "notification", "params": {"channel": "c", "message": "a node after the cancellation"}}


def flow(kind: str, params: Any = None, **more: Any) -> str:
    """A definition of one node (JSON is YAML), and of what follows it."""
    following = more.pop("nodes", {})
    return json.dumps(
        {"metadata": {"name": "x"}, "nodes": {"s": {"type": kind, "params": params or {}, **more}, **following}}
    )


def script(source: str, timeout: str = "5s", **more: Any) -> str:
    return flow("transform", {"script": source, "timeout": timeout}, **more)


@pytest.fixture(scope="module")
def silent() -> Iterator[str]:
    """A host that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile") / "data"


@pytest.fixture(scope="module")
def server(data: Path, silent: str) -> Iterator[Server]:
    """The server of this module; at the end it must have lived through everything without a fault of its own."""
    with serving(data, "--allow-host", silent) as started:
        started.join("first")
        yield started
        assert requests.get(f"{started.url}/health", timeout=30).status_code == 200
        assert started.stop() == 0
    assert "Traceback" not in started.output and '"level":"ERROR"' not in started.output
    assert SECRET not in started.output


@pytest.fixture(scope="module")
def eve(server: Server) -> Client:
    """A hostile caller."""
    return server.join("eve")


@pytest.fixture
def mallory(server: Server) -> Client:
    """A hostile author; a new one each time, whose endless scripts are in nobody else's way."""
    return server.join(f"mallory-{uuid4().hex}")


@pytest.fixture
def bob(server: Server) -> Client:
    """Somebody else."""
    return server.join(f"bob-{uuid4().hex}")


def account_of(client: Client) -> str:
    return str(client.call("GET", "/api/v1/accounts/me").json()["id"])


def refused(answer: requests.Response, *statuses: int) -> None:
    """An error in the envelope, with one of these statuses."""
    assert answer.status_code in (statuses or range(400, 500)), (answer.request.path_url, answer.text)
    error = answer.json()["error"]
    assert error["code"] and error["message"] and "Traceback" not in answer.text


BODIES: list[bytes] = [
    b"null", b"5", b'"text"', b"[]", b"{", b"\xff\xfe", b"{}{}", b'{"a":NaN}', b"[" * 50_000,
    b'{"username":1,"password":[],"email":{},"name":5,"definition":7,"key":8,"value":9,"input":10,"tags":"t","page":0}',
    b'{"input":{"a":1e999},"name":"\\ud800","username":"\\ud800","password":"x","key":"\\u0000","value":1e999}',
]  # fmt: skip


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:12]))
def test_wrong_bodies_are_the_callers_fault(eve: Client, body: bytes) -> None:
    """On every route that reads one, whatever the body is."""
    account, flow_id = account_of(eve), eve.create(HEALTHY)
    routes = [
        ("POST", "auth/login"), ("POST", "login"), ("PUT", f"accounts/{account}"), ("POST", "flows"),
        ("PUT", f"flows/{flow_id}"), ("PATCH", f"flows/{flow_id}/metadata"), ("POST", "flows/search"),
        ("POST", f"flows/{flow_id}/run"), ("POST", f"accounts/{account}/secrets"),
        ("PUT", f"accounts/{account}/secrets/missing"), ("POST", f"accounts/{account}/secrets/some"),
    ]  # fmt: skip
    for method, path in routes:
        headers = eve.headers | {"Content-Type": "text/plain"}
        refused(requests.request(method, f"{eve.url}/api/v1/{path}", data=body, headers=headers, timeout=60))


def test_another_tenant_s_things_are_not_there(eve: Client, bob: Client) -> None:
    """Nor is anything at ids and paths that are spelt to confuse."""
    flow_id = bob.create(HEALTHY)
    execution_id, account = bob.run(flow_id), account_of(bob)
    for spelt in (flow_id, execution_id, "..%2f..", "%00", "%2e%2e", "%ED%A0%80", "9" * 40, "a" * 3000, "%F0%9F%98%80"):
        for method, path in (
            ("GET", "flows/{}"), ("PUT", "flows/{}"), ("DELETE", "flows/{}"), ("POST", "flows/{}/run"),
            ("GET", "executions/{}"), ("DELETE", "executions/{}"), ("GET", "executions/{}/logs"),
            ("POST", "executions/{}/signal/k"), ("POST", "executions/{}/pause"), ("GET", "nothing/{}"),
        ):  # fmt: skip
            refused(eve.call(method, f"/api/v1/{path.format(spelt)}"), 404)
    for method, path in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("GET", "/secrets"), ("GET", "/secrets/k")):
        refused(eve.call(method, f"/api/v1/accounts/{account}{path}"), 403)
    assert bob.execution(execution_id)["flow_id"] == flow_id


def test_forged_tokens_open_nothing(eve: Client, bob: Client) -> None:
    """Without a signature, with another key or algorithm, for another kind of caller, or taken apart."""
    claims = jwt.decode(bob.token, options={"verify_signature": False})
    head, payload, signature = bob.token.split(".")
    forged = [
        jwt.encode(claims, "", algorithm="none"),
        jwt.encode(claims, "x" * 64, algorithm="HS256"),
        jwt.encode(claims, "x" * 64, algorithm="HS512"),
        jwt.encode(claims, "x" * 64, algorithm="HS256", headers={"kid": "../../dev/null"}),
        f"{head}.{payload}.", f"{head}.{payload}", f"{head}.{eve.token.split('.')[1]}.{signature}",
        "nr_live_key", "hub_key", "a" * 10_000, "....", "",
    ]  # fmt: skip
    for token in forged:
        refused(Client(eve.url, token).call("GET", "/api/v1/accounts/me"), 401)


@pytest.mark.parametrize("query", ["limit=0", "limit=1e3", "limit=99999999999999999999", "offset=-1", "limit=%00"])
def test_numbers_of_lists_are_checked(eve: Client, query: str) -> None:
    """On every list; what is merely far beyond the end is an empty page."""
    for path in ("flows", "executions"):
        refused(eve.call("GET", f"/api/v1/{path}?{query}"), 400)
        beyond = eve.call("GET", f"/api/v1/{path}?offset=999999999999999&limit=999999999999")
        assert beyond.status_code == 200 and beyond.json()[path] == []


def test_bodies_that_are_too_large_are_cut(eve: Client) -> None:
    """Whether their length is declared or they come in chunks without end."""
    refused(eve.call("POST", "/api/v1/flows", {"name": "x", "definition": "#" * 5_000_000}), 413)
    address = urlsplit(eve.url)
    with socket.create_connection((address.hostname, address.port), timeout=PATIENCE_S) as caller:
        caller.sendall(b"POST /api/v1/flows HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"80000\r\n" + b"#" * 0x80000 + b"\r\n"
        caller.sendall(chunk * 8 + chunk[:100])
        assert caller.recv(4096).startswith(b"HTTP/1.1 413")


FAILING: dict[str, tuple[str, str]] = {
    "endless": (script("for (;;);"), "took longer than 5 s"),
    "memory": (script("const a = []; for (;;) a.push(new ArrayBuffer(1e7))"), "64 MB of memory"),
    "recursion": (script("function f() { return f() + 1 } return f()"), "call stack"),
    "huge": (script("return 'x'.repeat(5e6)"), "larger than 1048576 bytes"),
    "deep": (script("let a = []; for (let i = 0; i < 1e5; i++) a = [a]; return a"), "levels deep"),
    "cyclic": (script("const a = {}; a.a = a; return a"), "circular"),
    "host objects": (script("return this.constructor.constructor('return process')()"), "process is not defined"),
    "shared": (script("shared.x = 'x'.repeat(3e6)"), "wrote to shared"),
    "piling up": (
        flow("transform", {"script": "return 'x'.repeat(1e6)"}, batch={"strategy": "parallel", "max_parallel": 4}),
        "exceed 32 MB",
    ),
    "template": (flow("base", {"x": "${'x'.repeat(9e6)}"}), "larger than 1048576 bytes"),
    "prep": (flow("base", hooks={"prep": "throw new Error('in prep')"}), "in prep"),
    "post": (flow("base", hooks={"post": "throw new Error('in post')"}), "in post"),
    "forks in forks": (
        flow("base", next={"default": "a"}, nodes={"a": {"type": "split", "next": {"x": "a"}}}),
        "nested more than 64 deep",
    ),
    "metadata address": (flow("http.request", {"url": "http://169.254.169.254/latest"}), "metadata service"),
    "this server": (flow("http.request", {"url": "http://[::ffff:127.0.0.1]:{port}/health"}), "port of this server"),
    "odd address": (flow("http.request", {"url": "http://0x7f.1/"}), "four decimal numbers"),
    "another scheme": (flow("webhook", {"url": "file:///etc/passwd"}), "only http and https"),
    "header": (flow("http.request", {"url": "http://{silent}/", "headers": {"X": "a\r\nY: b"}}), "line break"),
    "silence": (flow("http.request", {"url": "http://{silent}/", "timeout": "500ms"}), "did not answer in time"),
    "wait": (flow("wait", {"key": "k" * 5000}), "1 to 256 bytes"),
    "program": (flow("mcp", {"connectionType": "cmd", "operation": "listTools", "command": "id"}), "not allowed"),
}


def test_hostile_flows_fail_with_a_reason(server: Server, mallory: Client, bob: Client, silent: str) -> None:
    """All at once; while they run another tenant's flow completes."""
    port = str(urlsplit(server.url).port)
    inputs = {"items": list(range(40))}

    def run(text: str) -> str:
        return mallory.run(mallory.create(text.replace("{port}", port).replace("{silent}", silent)), inputs)

    with ThreadPoolExecutor(8) as callers:
        started = dict(zip(FAILING, callers.map(run, [text for text, _ in FAILING.values()]), strict=True))
        assert bob.finished(bob.run(bob.create(HEALTHY)))["result"] == {"n": 2}
        ended = dict(zip(FAILING, callers.map(mallory.finished, started.values()), strict=True))
    for name, (_, reason) in FAILING.items():
        assert (ended[name]["status"], reason in ended[name]["error"]) == ("failed", True), (name, ended[name])


def test_endless_work_of_one_tenant_does_not_stop_the_others(mallory: Client, bob: Client, silent: str) -> None:
    """Eight endless scripts and twenty slow calls are still running when another tenant's flow is done."""
    endless = mallory.create(script("for (;;);", timeout="1s", retry={"max_retries": 500, "wait": "0s"}))
    slow = mallory.create(flow("http.request", {"url": f"http://{silent}/", "timeout": "5m"}))
    with ThreadPoolExecutor(8) as callers:
        running = list(callers.map(mallory.run, [endless] * 8 + [slow] * 20))
        assert bob.finished(bob.run(bob.create(HEALTHY)))["result"] == {"n": 2}
        assert {mallory.execution(execution_id)["status"] for execution_id in running} == {"running"}
        for execution_id in running:
            assert mallory.call("DELETE", f"/api/v1/executions/{execution_id}").status_code == 200
        assert {row["status"] for row in callers.map(mallory.execution, running)} == {"canceled"}


def test_cancelling_in_the_middle_of_anything(mallory: Client, silent: str) -> None:
    """Of a call, a script, a batch, a wait, a delay or a fork, paused or not: canceled, once, and nothing follows."""
    nodes = {"mark": MARK}
    then = {"next": {"default": "mark", "error": "mark"}, "nodes": nodes}
    call = {"url": f"http://{silent}/", "timeout": "1m"}
    texts = [
        flow("http.request", call, **then),
        script("for (;;);", timeout="2s", **then),
        flow("http.request", call, batch={"strategy": "parallel", "max_parallel": 4}, **then),
        flow("wait", {"key": "k", "timeout": "10m"}, **then),
        flow("delay", {"duration": "1h"}, **then),
        flow("split", next={"a": "a", "b": "b", "default": "mark"}, nodes={
            **nodes, "a": {"type": "http.request", "params": call}, "b": {"type": "wait", "params": {"key": "k"}},
        }),
    ]  # fmt: skip

    def cancel(number: int) -> dict[str, Any]:
        execution_id = mallory.run(mallory.create(texts[number % len(texts)]), {"items": [1, 2, 3, 4, 5, 6]})
        path = f"/api/v1/executions/{execution_id}"
        with connect(
            mallory.websocket_url(f"/ws/executions/{execution_id}"), additional_headers=mallory.headers
        ) as channel:
            channel.recv(timeout=PATIENCE_S)
        if number >= len(texts):
            assert mallory.call("POST", f"{path}/pause").status_code == 200
        assert Counter(mallory.call("DELETE", path).status_code for _ in range(2)) == {200: 1, 409: 1}
        messages = mallory.watch(execution_id)
        assert messages[-1]["type"] == "execution_cancelled"
        assert "mark" not in [message.get("node_id") for message in messages]
        return mallory.execution(execution_id)

    with ThreadPoolExecutor(6) as callers:
        rows = list(callers.map(cancel, range(2 * len(texts))))
    assert all(row["status"] == "canceled" and row["completed_at"] for row in rows)


def test_secrets_stay_secret(mallory: Client, server: Server, data: Path) -> None:
    """In results, errors, keys, logs, messages, and in what lies on the disk."""
    account = account_of(mallory)
    assert mallory.call("POST", f"/api/v1/accounts/{account}/secrets", {"key": "K", "value": SECRET}).status_code == 201
    texts = [
        script("console.log(secrets.K, secrets); shared[secrets.K] = {[secrets.K]: secrets.K}; return secrets.K"),
        script("throw new Error(secrets.K)"),
        script("return {[secrets.K]: JSON.stringify(secrets)}"),
        flow("base", {"x": "${(() => { throw new Error(secrets.K) })()}"}),
        flow("condition", {"condition_script": "return secrets.K"}),
        flow("http.request", {"url": "http://${secrets.K}.invalid/${secrets.K}?q=${secrets.K}"}),
        flow("http.request", {"url": "http://127.0.0.1:1/", "headers": {"${secrets.K}": "${secrets.K}\n"}}),
        flow("store", {"operation": "get", "key": "${secrets.K}"}),
        flow("delay", {"duration": "${secrets.K}"}),
        flow("notification", {"channel": "${secrets.K}", "message": "${secrets.K}"}),
        flow("wait", {"key": "k", "timeout": "${secrets.K}"}),
        flow("wait", {"key": "${secrets.K}", "timeout": "1m"}),
    ]
    with ThreadPoolExecutor(4) as callers:
        ids = list(callers.map(mallory.run, map(mallory.create, texts)))
        shown = [json.dumps(messages) for messages in callers.map(mallory.watch, ids)]
    for execution_id in ids:
        shown += [
            mallory.call("GET", f"/api/v1/executions/{execution_id}{path}").text for path in ("", "/logs?limit=100")
        ]
    assert not [text for text in shown if SECRET in text]
    files = [path for path in data.rglob("*") if path.is_file()]
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


def frame(head: bytes, payload: bytes = b"") -> bytes:
    """A client's frame: first byte and length as given, masked with zeros."""
    return head + b"\0\0\0\0" + payload


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"\x81\x01x", 1002),
        (frame(b"\xf1\x81", b"x"), 1002),
        (frame(b"\x83\x80"), 1002),
        (frame(b"\x81\x81", b"\xff"), 1007),
        (frame(b"\x81\xff" + struct.pack("!Q", 2**62)), 1009),
        (frame(b"\x81\xff" + struct.pack("!Q", 100_000), b"x" * 100_000), 1009),
        (frame(b"\x80\x80"), 1002),
        (frame(b"\x88\x81", b"x"), 1002),
    ],
    ids=["unmasked", "reserved bits", "opcode", "no UTF-8", "endless", "too long", "continuation", "close"],
)
def test_bad_frames_end_their_connection(eve: Client, sent: bytes, code: int) -> None:
    """With the code that says why, and no other."""
    with connect(eve.websocket_url("/api/v1/ws"), additional_headers=eve.headers) as channel:
        channel.socket.sendall(sent)
        with pytest.raises(ConnectionClosed) as closed:
            channel.recv(timeout=PATIENCE_S)
    assert closed.value.rcvd is not None and closed.value.rcvd.code == code


def test_a_flood_of_messages_is_answered(mallory: Client) -> None:
    """Odd ones with an error each, one subscription too many with the limit; the connection lives on."""
    execution_id = mallory.run(mallory.create(flow("wait", {"key": "k"})))
    with connect(mallory.websocket_url("/api/v1/ws"), additional_headers=mallory.headers) as channel:
        for odd in ("", "[]", b"\x00\xff", '{"type": "subscribe", "execution_id": "\\ud800"}', "[" * 9999):
            channel.send(odd)
            assert json.loads(channel.recv(timeout=PATIENCE_S))["type"] == "error"
        for _ in range(60):
            channel.send(json.dumps({"type": "subscribe", "execution_id": execution_id}))
        channel.send('{"type": "ping"}')
        while json.loads(channel.recv(timeout=PATIENCE_S))["type"] != "pong":
            continue
    assert mallory.call("DELETE", f"/api/v1/executions/{execution_id}").status_code == 200


def test_duplicates_at_once_are_one(mallory: Client) -> None:
    """The same key starts one execution, the same name one account, the same wait takes one answer."""
    flow_id = mallory.create(flow("wait", {"key": "go"}))
    body, name = {"input": {"n": 1}}, f"twin-{uuid4().hex}"
    key = {"Idempotency-Key": uuid4().hex}
    with ThreadPoolExecutor(8) as callers:
        runs = list(callers.map(lambda _: mallory.call("POST", f"/api/v1/flows/{flow_id}/run", body, **key), range(8)))
        twins = {"username": name, "password": "long enough 1"}
        url = f"{mallory.url}/api/v1/accounts"
        made = callers.map(lambda _: requests.post(url, json=twins, timeout=60).status_code, range(8))
        assert Counter(made) == {201: 1, 409: 7}
        assert {answer.status_code for answer in runs} <= {201, 409}
        (execution_id,) = {answer.json()["execution_id"] for answer in runs if answer.status_code == 201}
        refused(mallory.call("POST", f"/api/v1/flows/{flow_id}/run", {"input": {"n": 2}}, **key), 422)
        signal = f"/api/v1/executions/{execution_id}/signal/go"
        while mallory.call("GET", f"/api/v1/executions/{execution_id}/logs?level=debug").json()["total"] == 0:
            continue
        answered = Counter(callers.map(lambda n: mallory.call("POST", signal, {"n": n}).status_code, range(8)))
    assert answered[200] == 1 and answered.keys() <= {200, 409}


def test_what_is_deleted_while_it_runs(bob: Client, silent: str) -> None:
    """A flow's executions go on; an account's end with it."""
    flow_id = bob.create(flow("wait", {"key": "go", "timeout": "10m"}, next={"default": "e"}, nodes={"e": MARK}))
    execution_id = bob.run(flow_id)
    bob.run(bob.create(flow("http.request", {"url": f"http://{silent}/", "timeout": "5m"})))
    assert bob.call("DELETE", f"/api/v1/flows/{flow_id}").status_code == 200
    refused(bob.call("POST", f"/api/v1/flows/{flow_id}/run"), 404)
    while bob.call("POST", f"/api/v1/executions/{execution_id}/signal/go", {}).status_code == 404:
        continue
    assert bob.finished(execution_id)["status"] == "completed"
    assert bob.call("DELETE", f"/api/v1/accounts/{account_of(bob)}").status_code == 200
    refused(bob.call("GET", f"/api/v1/executions/{execution_id}"), 401)
