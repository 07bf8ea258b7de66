"""What FlowRunner shows of a journal (FlowRunner API Reference, Flow Execution and WebSocket API)."""

from __future__ import annotations

from typing import Any

import pytest

from shared.dialects.flowrunner import projection
from shared.engine.views import ExecutionView
from shared.kit import json

AT = 1_672_574_400_000
TIME = "2023-01-01T12:00:00.000Z"
START = {"node": "start", "kind": "http.request", "token": 1, "visit": 1}
END = {"node": "end", "kind": "webhook", "token": 1, "visit": 2}


def fact(name: str, /, **fields: Any) -> dict[str, Any]:
    return {"type": name, "at": AT, **fields}


def page_journal() -> list[dict[str, Any]]:
    """The journal of the API reference's example flow: an HTTP request followed by a webhook."""
    http = {"status_code": 200, "body": {"key": "value"}}
    return [
        fact("started", definition_id="f", version="1.0.0", input={"key": "value"}, node="start", kind="http.request"),
        fact("node_started", **START, attempt=1),
        fact(
            "log",
            level="info",
            message="HTTP request successful",
            node="start",
            kind="http.request",
            data={"status_code": 200, "url": "u"},
        ),
        fact("node_finished", **START, output=http, actions=["success"]),
        fact("edge_taken", token=1, node="start", visit=1, action="default", target="end"),
        fact("node_started", **END, attempt=1),
        fact("node_finished", **END, output={"status": "sent"}, actions=["default"]),
        fact("branch_ended", token=1, node="end"),
        fact("ended", status="completed", result={"status": "sent"}, node="end", kind="webhook"),
    ]


def project(journal: list[dict[str, Any]], of: Any) -> list[dict[str, Any]]:
    return [row for index, one in enumerate(journal) for row in of(one, journal[index - 1] if index else None)]


def rows(journal: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return project(journal, projection.log_rows)


def frames(journal: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return project(journal, lambda one, before: projection.messages("exec-1", one, before))


def view(**fields: Any) -> ExecutionView:
    given: dict[str, Any] = {
        "id": "e", "number": 1, "kind": "flow", "definition_id": "f", "definition_version": 1, "account_id": "a",
        "status": "running", "started_ms": AT,
    }  # fmt: skip
    return ExecutionView(**{**given, **fields})


def test_the_pages_flow_has_exactly_its_three_rows() -> None:
    """At info and above the example flow logs what the page prints, field by field."""
    shown = [row for row in rows(page_journal()) if row["level"] != "debug"]
    head, data = {"timestamp": TIME, "level": "info"}, {"status_code": 200, "url": "u"}
    assert shown == [
        {**head, "message": "Execution started", "node_id": "start", "node_type": "http.request"},
        {**head, "message": "HTTP request successful", "node_id": "start", "node_type": "http.request", "data": data},
        {**head, "message": "Execution completed", "node_id": "end", "node_type": "webhook"},
    ]


def test_debug_rows_tell_which_nodes_ran() -> None:
    """One ``Node completed`` row per executed node."""
    told = [row["node_id"] for row in rows(page_journal()) if row["message"] == "Node completed"]
    assert told == ["start", "end"]


def test_the_pages_flow_sends_its_messages_in_order() -> None:
    """The channel shows updates, logs and results in the order of execution, the end last."""
    assert [(frame["type"], frame.get("node_id"), frame.get("message")) for frame in frames(page_journal())] == [
        ("log", "start", "Execution started"),
        ("execution_update", "start", None),
        ("log", "start", "HTTP request successful"),
        ("node_completed", "start", None),
        ("execution_update", "end", None),
        ("node_completed", "end", None),
        ("log", "end", "Execution completed"),
        ("execution_completed", None, None),
    ]


def test_messages_have_the_pages_fields() -> None:
    """Each type carries exactly the fields of its example."""
    by_type = {frame["type"]: frame for frame in frames(page_journal())}
    head = {"execution_id": "exec-1", "timestamp": TIME}
    assert by_type["execution_update"] == {
        "type": "execution_update",
        **head,
        "status": "running",
        "node_id": "end",
        "node_type": "webhook",
    }
    assert by_type["node_completed"] == {
        "type": "node_completed",
        **head,
        "node_id": "end",
        "node_type": "webhook",
        "result": {"status": "sent"},
    }
    assert by_type["execution_completed"] == {
        "type": "execution_completed",
        **head,
        "status": "completed",
        "result": {"status": "sent"},
    }
    assert by_type["log"] == {
        "type": "log",
        **head,
        "level": "info",
        "message": "Execution completed",
        "node_id": "end",
        "node_type": "webhook",
    }


def failed_journal() -> list[dict[str, Any]]:
    message = "HTTP request failed with status 500"
    return [
        fact("node_failed", **START, attempt=1, message=message, retry_at=AT + 1000, handled=True),
        fact("node_failed", **START, attempt=2, message=message, retry_at=None, handled=False),
        fact("ended", status="failed", error=message, node="start", kind="http.request"),
    ]


def test_a_failure_is_one_error_row_with_the_executions_error() -> None:
    """Retried attempts warn; the last failure is told once, with the node and the text of ``execution.error``."""
    first, second = rows(failed_journal())
    assert first["level"] == "warn" and first["data"] == {"attempt": 1, "retry_at": "2023-01-01T12:00:01.000Z"}
    assert second == {
        "timestamp": TIME, "level": "error", "message": "HTTP request failed with status 500",
        "node_id": "start", "node_type": "http.request",
    }  # fmt: skip


def test_the_failure_message_names_the_node() -> None:
    """``execution_failed`` has status, error, node_id and node_type, and comes last."""
    assert frames(failed_journal())[-1] == {
        "type": "execution_failed", "execution_id": "exec-1", "timestamp": TIME, "status": "failed",
        "error": "HTTP request failed with status 500", "node_id": "start", "node_type": "http.request",
    }  # fmt: skip


def test_a_failure_without_a_failing_node_is_told_too() -> None:
    """An endless loop or an expiry ends without a failed node; its row comes from the end itself."""
    journal = [
        fact("node_finished", **START, output=1, actions=[]),
        fact("ended", status="failed", error="too many visits", node="start"),
    ]
    assert [row["message"] for row in rows(journal) if row["level"] == "error"] == ["too many visits"]
    expired = fact("ended", status="expired", error="the execution exceeded its time limit")
    assert frames([expired])[-1]["status"] == "failed"


def test_a_handled_failure_is_an_error_row() -> None:
    """Taking an error edge does not hide the failure."""
    handled = fact("node_failed", **START, attempt=1, message="boom", retry_at=None, handled=True)
    assert [(row["level"], row["message"]) for row in rows([handled])] == [("error", "boom")]


def test_elements_of_a_batch_are_part_of_their_node() -> None:
    """Items send no update or completion of their own and fail through their node; their retries are told."""
    item = {**START, "item": 3}
    journal = [
        fact("node_started", **item, attempt=1),
        fact("node_finished", **item, output=1, actions=[]),
        fact("node_failed", **item, attempt=1, message="boom", retry_at=None, handled=False),
    ]
    assert rows(journal) == [] and frames(journal) == []
    retried = fact("node_failed", **item, attempt=1, message="boom", retry_at=AT, handled=True)
    assert rows([retried])[0]["data"]["item"] == 3


def test_cancellation_is_told_last() -> None:
    """A cancelled execution sends ``execution_cancelled`` with status ``canceled``."""
    sent = frames([fact("ended", status="canceled", error="canceled")])
    assert [frame["type"] for frame in sent] == ["log", "execution_cancelled"] and sent[-1]["status"] == "canceled"


def test_a_second_attempt_is_no_second_start() -> None:
    """A node starts once for its watchers, however often it is attempted."""
    assert frames([fact("node_started", **START, attempt=2)]) == []


@pytest.mark.parametrize(
    ("given", "level", "message"),
    [
        (fact("wait_opened", **END, wait="w", key="go", until=None), "debug", "Node waits"),
        (fact("wait_ended", **END, wait="w", timed_out=True), "debug", "Wait ended"),
        (fact("command", command="pause"), "debug", "Execution paused"),
        (fact("command", command="resume"), "debug", "Execution resumed"),
        (fact("log", level="warn", message="careful", node="n", kind="k"), "warn", "careful"),
    ],
)
def test_other_facts_have_rows(given: dict[str, Any], level: str, message: str) -> None:
    """Waits and commands are debug rows; what scripts and kinds say keeps its level."""
    assert [(row["level"], row["message"]) for row in rows([given])] == [(level, message)]


def test_facts_about_the_walk_have_no_rows() -> None:
    """Edges, forks and ends of branches are the engine's own business."""
    assert (
        rows(
            [
                fact(kind, token=1, node="n")
                for kind in ("edge_taken", "forked", "branch_ended", "batch_opened", "node_started")
            ]
        )
        == []
    )


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ("pending", "running"), ("running", "running"), ("waiting", "running"), ("paused", "running"),
        ("completed", "completed"), ("failed", "failed"), ("expired", "failed"), ("canceled", "canceled"),
    ],
)  # fmt: skip
def test_status_words(status: str, word: str) -> None:
    """Live states are running, an expired execution failed; the filter is the reverse of the word."""
    assert projection.status_word(status) == word
    assert status in (projection.statuses_of(word) or ())


def test_the_status_filter_takes_both_spellings() -> None:
    """``cancelled`` filters like ``canceled``; no other word is a status."""
    assert projection.statuses_of("cancelled") == frozenset({"canceled"})
    assert projection.statuses_of("sleeping") is None


def test_a_completed_execution_has_the_pages_fields() -> None:
    """Input, result, times in RFC 3339 and the duration in whole milliseconds; an error only after a failure."""
    row = projection.execution_row(
        view(status="completed", ended_ms=AT + 5000, input={"key": "value"}, result=7), full=True
    )
    page = {
        name: row[name]
        for name in ("id", "flow_id", "status", "input", "result", "started_at", "completed_at", "duration")
    }
    assert page == {
        "id": "e", "flow_id": "f", "status": "completed", "input": {"key": "value"}, "result": {"result": 7},
        "started_at": TIME, "completed_at": "2023-01-01T12:00:05.000Z", "duration": 5000,
    }  # fmt: skip
    assert "error" not in row
    assert row["results"] == {"result": 7, "action": "default"} and row["progress"] == 100
    assert (row["start_time"], row["end_time"]) == (row["started_at"], row["completed_at"])


def test_a_running_execution_has_no_end() -> None:
    """While it runs there is neither completed_at, duration, result nor error."""
    row = projection.execution_row(view(status="waiting", input={}, current_node="n"), full=True)
    assert row["status"] == "running" and row["progress"] == 0 and row["current_node"] == "n"
    assert not {"completed_at", "duration", "result", "error", "end_time"} & row.keys()


@pytest.mark.parametrize("status", ["failed", "canceled", "expired"])
def test_an_unsuccessful_execution_has_an_error(status: str) -> None:
    """The error is a text, and there is no result."""
    row = projection.execution_row(view(status=status, ended_ms=AT, error="why"), full=True)
    assert row["error"] == "why" and "result" not in row


def test_list_rows_are_without_input_and_result() -> None:
    """Lists show neither."""
    row = projection.execution_row(view(status="completed", ended_ms=AT, input={}, result={}), full=False)
    assert not {"input", "result", "results"} & row.keys()


def test_a_result_over_the_frame_limit_is_cut() -> None:
    """A large result goes out as its size; the message still fits a frame."""
    big = fact("node_finished", **START, output={"text": "x" * 100_000}, actions=[])
    (frame,) = [frame for frame in frames([big]) if frame["type"] == "node_completed"]
    assert frame["result"] == {"truncated": True, "size": json.size({"text": "x" * 100_000})}


def test_a_result_just_below_the_limit_is_whole() -> None:
    """Nothing is cut that fits."""
    message = {"type": "t", "result": {"text": ""}}
    room = projection.FRAME_BYTES - json.size(message)
    message["result"] = {"text": "x" * room}
    assert projection.cut(message) is message


@pytest.mark.parametrize("text", ["x" * 200_000, "\x01" * 200_000, "é" * 100_000])
def test_any_message_fits_a_frame(text: str) -> None:
    """Long log texts are shortened whatever characters they hold; the shared row is left whole."""
    row = fact("log", level="info", message=text, node="n", kind="k", data={"text": text})
    assert all(json.size(frame) <= projection.FRAME_BYTES for frame in frames([row]))
    sent = projection.update_messages("e", row, None, lambda: view())
    assert all(json.size(frame) <= projection.FRAME_BYTES for frame in sent)
    assert row["message"] == text


def test_subscribers_get_log_rows_then_status_and_completion() -> None:
    """The subscription channel wraps each row and ends with another status and ``complete``."""
    done = view(status="completed", ended_ms=AT, input={}, result={"a": 1})
    sent = project(page_journal(), lambda one, before: projection.update_messages("exec-1", one, before, lambda: done))
    assert [frame["type"] for frame in sent] == ["log"] * 5 + ["status", "complete"]
    assert sent[0]["message"] == "Execution started" == sent[0]["log"]["message"]
    assert sent[-1]["message"] == "Execution completed with status: completed" and sent[-1]["status"]["result"] == {
        "a": 1
    }
