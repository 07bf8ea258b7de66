from __future__ import annotations

import re
from typing import Any

import pytest

from functions.executions.app import handler
from functions.flows.app import handler as flows
from shared.composition import Services
from shared.identity.orgs import add_member, get_org, move_version
from shared.identity.principal import Role
from shared.kit import ids
from shared.store.transaction import Transaction
from tests.support.apigw import Answer, basic, call
from tests.support.deployment import PASSWORD, Person

FLOWS = "/api/v1/flows"
PATH = "/api/v1/executions"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
CANARY = "canary-of-the-execution"

PASSING = "metadata: {name: passing}\nnodes:\n  start: {type: base, next: {default: end}}\n  end: {type: base}\n"
ASKING = "metadata: {name: asking}\nnodes:\n  ask: {type: wait, params: {key: paid, type: external}}\n"
APPROVAL = (
    "metadata: {name: approval}\nnodes:\n"
    "  approve: {type: human.approval, next: {approved: yes, rejected: no}}\n"
    "  'yes': {type: base}\n  'no': {type: base}\n"
)
FAILING = "metadata: {name: failing}\nnodes:\n  late: {type: delay, params: {duration: never}}\n"


def make(who: Person, text: str = PASSING) -> str:
    answer = call(flows, "POST", FLOWS, headers=who.headers, json={"name": "A flow", "definition": text})
    assert answer.status == 201, answer
    return str(answer.body["id"])


def run(who: Person, flow_id: str, **sent: Any) -> Answer:
    return call(handler, "POST", f"{FLOWS}/{flow_id}/run", headers=sent.pop("headers", who.headers), **sent)


def started(services: Services, who: Person, text: str = PASSING, **sent: Any) -> str:
    """An execution that has gone on as far as it can."""
    answer = run(who, make(who, text), **sent)
    assert answer.status == 201, answer
    advance(services, who, answer.body["execution_id"])
    return str(answer.body["execution_id"])


def advance(services: Services, who: Person, execution_id: str) -> None:
    services.advancer.advance(who.org_id, execution_id, 0)


def get(who: Person, execution_id: str = "", **sent: Any) -> Answer:
    path = f"{PATH}/{execution_id}" if execution_id else PATH
    return call(handler, "GET", path, headers=sent.pop("headers", who.headers), **sent)


def viewer(who: Person, owner: Person) -> dict[str, str]:
    """Headers of somebody who may only look at the owner's org."""
    org = get_org(owner.org_id)
    assert org is not None
    tx = Transaction()
    move_version(tx, org, "org")
    role: Role = "viewer"
    add_member(tx, owner.org_id, who.id, role)
    tx.commit()
    return who.headers | {"x-signalbox-org": owner.org_id}


# Run


def test_run_201(services: Services, bob: Person) -> None:
    """The four documented fields, at once and always running."""
    flow_id = make(bob)
    answer = run(bob, flow_id, json={"input": {"key": "value"}})
    assert (answer.status, answer.body.keys()) == (201, {"execution_id", "flow_id", "status", "created_at"})
    assert (answer.body["flow_id"], answer.body["status"]) == (flow_id, "running")
    assert UUID.fullmatch(answer.body["execution_id"]) and TIME.fullmatch(answer.body["created_at"])
    assert get(bob, answer.body["execution_id"]).body["input"] == {"key": "value"}


@pytest.mark.parametrize(
    ("sent", "given"),
    [
        ({}, {}),
        ({"raw": b""}, {}),
        ({"json": {}}, {}),
        ({"json": {"input": None}}, {}),
        ({"json": {"shared": {"a": 1}}}, {"a": 1}),
        ({"json": {"input": {"a": 2}, "shared": {"a": 1}}}, {"a": 2}),
    ],
)
def test_run_takes_input_or_nothing(services: Services, bob: Person, sent: Any, given: Any) -> None:
    """An empty body is an empty input; shared is another name of it."""
    answer = run(bob, make(bob), **sent)
    assert (answer.status, get(bob, answer.body["execution_id"]).body["input"]) == (201, given)


@pytest.mark.parametrize(
    "sent", [{"json": {"input": [1]}}, {"json": {"input": "x"}}, {"json": {"input": 5}}, {"raw": b"{"}, {"json": [1]}]
)
def test_run_400(services: Services, bob: Person, sent: Any) -> None:
    """Anything but an object; nothing is started."""
    answer = run(bob, make(bob), **sent)
    assert (answer.status, answer.body["error"]["code"]) == (400, "invalid_request")
    assert get(bob).body["total"] == 0


def test_run_403_for_a_viewer(services: Services, ada: Person, bob: Person) -> None:
    """Looking is allowed, running is not."""
    flow_id = make(ada)
    assert run(bob, flow_id, headers=viewer(bob, ada)).status == 403


def test_run_404(services: Services, ada: Person, bob: Person) -> None:
    """Unknown, and another tenant's."""
    for flow_id in ("nothing", ids.uuid7(), make(ada)):
        answer = run(bob, flow_id)
        assert (answer.status, answer.body["error"]["code"]) == (404, "not_found")


def test_run_413(services: Services, bob: Person) -> None:
    """Over the largest body."""
    answer = run(bob, make(bob), json={"input": {"a": "x" * (4 * 1024 * 1024)}})
    assert (answer.status, get(bob).body["total"]) == (413, 0)


def test_a_repeated_run_is_one_execution(services: Services, bob: Person) -> None:
    """The same Idempotency-Key answers the same execution."""
    flow_id = make(bob)
    headers = bob.headers | {"idempotency-key": "once-1"}
    first, again = (run(bob, flow_id, headers=headers, json={"input": {}}) for _ in range(2))
    assert first.body["execution_id"] == again.body["execution_id"]
    assert get(bob).body["total"] == 1


# Look


def test_get_200_completed(services: Services, bob: Person) -> None:
    """Result, times and duration of a finished execution, with the fields of the reference server."""
    execution_id = started(services, bob, json={"input": {"key": "value"}})
    body = get(bob, execution_id).body
    assert (body["id"], body["status"], body["input"]) == (execution_id, "completed", {"key": "value"})
    assert (body["result"], body["results"]) == ({"key": "value"}, {"key": "value", "action": "default"})
    assert (body["progress"], body["current_node"]) == (100, "end")
    assert all(TIME.fullmatch(body[name]) for name in ("started_at", "completed_at", "start_time", "end_time"))
    assert isinstance(body["duration"], int) and "error" not in body


def test_get_200_running(services: Services, bob: Person) -> None:
    """Nothing that only the end brings."""
    body = get(bob, started(services, bob, ASKING)).body
    assert (body["status"], body["progress"]) == ("running", 0)
    assert not {"result", "results", "error", "completed_at", "duration"} & body.keys()


def test_get_200_failed(services: Services, bob: Person) -> None:
    """The error's text; no result."""
    body = get(bob, started(services, bob, FAILING)).body
    assert (body["status"], body["current_node"]) == ("failed", "late")
    assert body["error"] == "duration must be a duration such as 500ms, 1.5s or 1h30m"
    assert "result" not in body and TIME.fullmatch(body["completed_at"])


def test_get_by_number(services: Services, bob: Person) -> None:
    """The 63-bit number is another name of the same execution."""
    execution_id = started(services, bob)
    principal = services.identity.authenticator.authenticate(f"Bearer {bob.token}")
    number = services.engine.get(principal, execution_id).number
    assert get(bob, str(number)).body["id"] == execution_id


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_404_of_one_execution(services: Services, ada: Person, bob: Person, method: str) -> None:
    """Unknown, malformed and another tenant's, without a word of it."""
    theirs = started(services, ada, ASKING, json={"input": {"secret": CANARY}})
    for execution_id in (ids.uuid7(), "x", "1", theirs, theirs.upper(), "a%2Fb"):
        answer = call(handler, method, f"{PATH}/{execution_id}", headers=bob.headers)
        assert (answer.status, answer.body["error"]["code"]) == (404, "not_found")
        assert CANARY.encode() not in answer.raw
    assert get(ada, theirs).body["status"] == "running"


def test_list_200(services: Services, ada: Person, bob: Person) -> None:
    """Rows without input and result, oldest first, by flow and status, paged; the org's own only."""
    started(services, ada)
    done = [started(services, bob, json={"input": {"secret": CANARY}}) for _ in range(3)]
    asking = started(services, bob, ASKING)
    failed = started(services, bob, FAILING)
    listed = get(bob)
    assert ([row["id"] for row in listed.body["executions"]], listed.body["total"]) == ([*done, asking, failed], 5)
    assert CANARY.encode() not in listed.raw
    flow_id = listed.body["executions"][3]["flow_id"]
    for asked, found in {
        "status=running": [asking], "status=completed": done, "status=failed": [failed], "status=canceled": [],
        "status=cancelled": [], f"flow_id={flow_id}": [asking], f"flow_id={flow_id}&status=completed": [],
        "flow_id=nothing": [], "limit=2": done[:2], "limit=2&offset=2": [done[2], asking], "offset=9": [],
    }.items():  # fmt: skip
        answer = call(handler, "GET", f"{PATH}?{asked}", headers=bob.headers)
        assert [row["id"] for row in answer.body["executions"]] == found, asked
    paged = call(handler, "GET", f"{PATH}?limit=2&offset=2", headers=bob.headers).body
    assert (paged["total"], paged["limit"], paged["offset"]) == (5, 2, 2)


@pytest.mark.parametrize("asked", ["status=sleeping", "status=", "limit=0", "limit=x", "offset=-1"])
def test_list_400(services: Services, bob: Person, asked: str) -> None:
    """Unknown states and senseless pages."""
    answer = call(handler, "GET", f"{PATH}?{asked}", headers=bob.headers)
    assert (answer.status, answer.body["error"]["code"]) == (400, "invalid_request")


def test_list_for_the_command_line_client(services: Services, bob: Person) -> None:
    """The bare rows."""
    execution_id = started(services, bob)
    answer = call(handler, "GET", PATH, headers=basic("bob@example.com", PASSWORD))
    assert [row["id"] for row in answer.body] == [execution_id]


# Cancel


def test_cancel_200(services: Services, bob: Person) -> None:
    """The documented message; canceled with its time, and it stays so."""
    execution_id = started(services, bob, ASKING)
    answer = call(handler, "DELETE", f"{PATH}/{execution_id}", headers=bob.headers)
    assert (answer.status, answer.body) == (200, {"message": "Execution cancelled successfully"})
    body = get(bob, execution_id).body
    assert (body["status"], body["error"]) == ("canceled", "canceled") and TIME.fullmatch(body["completed_at"])
    advance(services, bob, execution_id)
    assert get(bob, execution_id).body == body
    listed = call(handler, "GET", f"{PATH}?status=cancelled", headers=bob.headers).body
    assert [row["id"] for row in listed["executions"]] == [execution_id]


def test_cancel_204_for_the_command_line_client(services: Services, bob: Person) -> None:
    """Nothing in the body."""
    execution_id = started(services, bob, ASKING)
    answer = call(handler, "DELETE", f"{PATH}/{execution_id}", headers=basic("bob@example.com", PASSWORD))
    assert (answer.status, answer.raw) == (204, b"")


@pytest.mark.parametrize("action", ["cancel", "pause", "resume", "signal"])
def test_409_after_the_end(services: Services, bob: Person, action: str) -> None:
    """Completed, failed and cancelled executions are what they are."""
    cancelled = started(services, bob, ASKING)
    assert call(handler, "DELETE", f"{PATH}/{cancelled}", headers=bob.headers).status == 200
    for execution_id in (started(services, bob), started(services, bob, FAILING), cancelled):
        before = get(bob, execution_id).body
        answer = act(action, execution_id, bob.headers)
        assert (answer.status, answer.body["error"]["code"]) == (409, "conflict")
        assert answer.body["error"]["message"] == "the execution has already ended"
        assert get(bob, execution_id).body == before


def act(action: str, execution_id: str, headers: dict[str, str]) -> Answer:
    if action == "cancel":
        return call(handler, "DELETE", f"{PATH}/{execution_id}", headers=headers)
    key = "/paid" if action == "signal" else ""
    return call(handler, "POST", f"{PATH}/{execution_id}/{action}{key}", headers=headers)


@pytest.mark.parametrize("action", ["cancel", "pause", "resume", "signal"])
def test_403_for_a_viewer(services: Services, ada: Person, bob: Person, action: str) -> None:
    """Who may only look changes nothing, but sees everything."""
    execution_id = started(services, ada, ASKING)
    headers = viewer(bob, ada)
    assert act(action, execution_id, headers).status == 403
    assert get(bob, execution_id, headers=headers).body["status"] == "running"


@pytest.mark.parametrize("action", ["pause", "resume", "signal"])
def test_404_of_commands(services: Services, ada: Person, bob: Person, action: str) -> None:
    """Unknown and another tenant's."""
    theirs = started(services, ada, ASKING)
    for execution_id in (ids.uuid7(), theirs):
        assert act(action, execution_id, bob.headers).status == 404
    assert get(ada, theirs).body["status"] == "running"


# Pause, resume, signal


def test_pause_and_resume_200(services: Services, bob: Person) -> None:
    """Still running to the outside; nothing starts until it is resumed, and both may be said twice."""
    execution_id = run(bob, make(bob)).body["execution_id"]
    for _ in range(2):
        answer = act("pause", execution_id, bob.headers)
        assert (answer.status, answer.body) == (200, {"message": "Execution paused successfully"})
    advance(services, bob, execution_id)
    assert get(bob, execution_id).body["status"] == "running"
    for _ in range(2):
        answer = act("resume", execution_id, bob.headers)
        assert (answer.status, answer.body) == (200, {"message": "Execution resumed successfully"})
    advance(services, bob, execution_id)
    assert get(bob, execution_id).body["status"] == "completed"


def signal(who: Person, execution_id: str, key: str, **sent: Any) -> Answer:
    return call(handler, "POST", f"{PATH}/{execution_id}/signal/{key}", headers=who.headers, **sent)


@pytest.mark.parametrize("sent", [{"json": {"sum": 5}}, {"json": {}}, {}])
def test_signal_200(services: Services, bob: Person, sent: Any) -> None:
    """The object becomes what the wait answers; an empty body is an empty one."""
    execution_id = started(services, bob, ASKING)
    answer = signal(bob, execution_id, "paid", **sent)
    assert (answer.status, answer.body["execution_id"], answer.body["key"]) == (200, execution_id, "paid")
    again = signal(bob, execution_id, "paid", **sent)
    assert (again.status, again.body["error"]["code"]) == (409, "conflict")
    advance(services, bob, execution_id)
    assert get(bob, execution_id).body["result"] == sent.get("json", {})


@pytest.mark.parametrize(("approved", "node"), [(True, "yes"), (False, "no")])
def test_signal_decides_an_approval(services: Services, bob: Person, approved: bool, node: str) -> None:
    """By the node's name."""
    execution_id = started(services, bob, APPROVAL)
    assert signal(bob, execution_id, "approve", json={"approved": approved}).status == 200
    advance(services, bob, execution_id)
    body = get(bob, execution_id).body
    assert (body["status"], body["current_node"]) == ("completed", node)


def test_signal_400(services: Services, bob: Person) -> None:
    """Anything but an object; the question stays open."""
    execution_id = started(services, bob, ASKING)
    for sent in ({"json": [1]}, {"json": "x"}, {"raw": b"{"}):
        answer = signal(bob, execution_id, "paid", **sent)
        assert (answer.status, answer.body["error"]["code"]) == (400, "invalid_request")
    assert signal(bob, execution_id, "paid", json={}).status == 200


def test_signal_404_for_what_nobody_waits_for(services: Services, bob: Person) -> None:
    """The key is named."""
    answer = signal(bob, started(services, bob, ASKING), "other", json={})
    assert (answer.status, answer.body["error"]["message"]) == (404, "the execution does not wait for other")


def test_signal_413(services: Services, bob: Person) -> None:
    """Over the largest body."""
    execution_id = started(services, bob, ASKING)
    assert signal(bob, execution_id, "paid", json={"a": "x" * (4 * 1024 * 1024)}).status == 413


# Logs


def logs(who: Person, execution_id: str, asked: str = "", **sent: Any) -> Answer:
    headers = sent.pop("headers", who.headers)
    return call(handler, "GET", f"{PATH}/{execution_id}/logs{asked}", headers=headers)


def test_logs_200(services: Services, bob: Person) -> None:
    """Rows in the order of time with their node; the level is exact; paging counts what the level keeps."""
    execution_id = started(services, bob)
    rows = logs(bob, execution_id).body["logs"]
    assert [(row["level"], row["message"], row["node_id"]) for row in rows] == [
        ("info", "Execution started", "start"), ("debug", "Node completed", "start"),
        ("debug", "Node completed", "end"), ("info", "Execution completed", "end"),
    ]  # fmt: skip
    assert all(TIME.fullmatch(row["timestamp"]) and row["node_type"] == "base" for row in rows)
    info = logs(bob, execution_id, "?level=info&limit=1&offset=1").body
    assert ([row["message"] for row in info["logs"]], info["total"]) == (["Execution completed"], 2)
    assert logs(bob, execution_id, "?level=warn").body["logs"] == []


def test_logs_of_a_failure(services: Services, bob: Person) -> None:
    """One error row, with the text that is the execution's error."""
    execution_id = started(services, bob, FAILING)
    rows = logs(bob, execution_id, "?level=error").body["logs"]
    assert [(row["message"], row["node_id"]) for row in rows] == [(get(bob, execution_id).body["error"], "late")]


@pytest.mark.parametrize("asked", ["?level=loud", "?level=INFO", "?limit=0", "?offset=x"])
def test_logs_400(services: Services, bob: Person, asked: str) -> None:
    """Unknown levels and senseless pages."""
    answer = logs(bob, started(services, bob), asked)
    assert (answer.status, answer.body["error"]["code"]) == (400, "invalid_request")


def test_logs_404(services: Services, ada: Person, bob: Person) -> None:
    """Unknown and another tenant's; the command line client gets an empty list."""
    theirs = started(services, ada, json={"input": {"secret": CANARY}})
    for execution_id in (ids.uuid7(), theirs):
        assert logs(bob, execution_id).status == 404
        legacy = logs(bob, execution_id, headers=basic("bob@example.com", PASSWORD))
        assert (legacy.status, legacy.body) == (200, [])


# Everybody


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"{FLOWS}/x/run"),
        ("GET", PATH),
        ("GET", f"{PATH}/x"),
        ("DELETE", f"{PATH}/x"),
        ("GET", f"{PATH}/x/logs"),
        ("POST", f"{PATH}/x/signal/k"),
        ("POST", f"{PATH}/x/pause"),
        ("POST", f"{PATH}/x/resume"),
    ],
)
def test_401(services: Services, bob: Person, method: str, path: str) -> None:
    """Without credentials and with wrong ones, before the body is looked at."""
    for headers in ({}, {"authorization": "Bearer nonsense"}):
        answer = call(handler, method, path, headers=headers, raw=b"{")
        assert (answer.status, answer.body["error"]["code"]) == (401, "unauthorized")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        (PATH, "GET, HEAD, OPTIONS"),
        (f"{PATH}/x", "DELETE, GET, HEAD, OPTIONS"),
        (f"{PATH}/x/logs", "GET, HEAD, OPTIONS"),
        (f"{PATH}/x/pause", "OPTIONS, POST"),
        (f"{PATH}/x/signal/k", "OPTIONS, POST"),
        (f"{FLOWS}/x/run", "OPTIONS, POST"),
    ],
)
def test_405(services: Services, bob: Person, path: str, allowed: str) -> None:
    """Each path says what it answers."""
    answer = call(handler, "PUT", path, headers=bob.headers)
    assert (answer.status, answer.headers["allow"]) == (405, allowed)
