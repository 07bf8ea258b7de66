"""The cron node: what it asks of the schedules, and what it makes of their answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from shared.engine.expressions.base import Scope
from shared.engine.kinds.base import Done, ExecutionFacts, KindServices, NodeFailed
from shared.engine.kinds.cron import CronNode
from shared.kit.errors import InvalidRequest, NotFound, SignalboxError, Unavailable
from tests.unit.engine.kinds.conftest import CallFactory

ROW = {
    "id": "nightly", "entry_id": 7, "schedule": "0 3 * * *", "flow_id": "f", "node_id": "step",
    "next_run_time": "2026-01-01T03:00:00.000Z", "last_run_time": None, "created_at": "2026-01-01T00:00:00.000Z",
}  # fmt: skip


class Jobs:
    """Schedules that note what they were asked, or fail."""

    def __init__(self, error: SignalboxError | None = None) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.error = error

    def create(self, execution: ExecutionFacts, spec: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(("create", spec))
        if self.error is not None:
            raise self.error
        return ROW | {"id": spec["id"], "schedule": spec["schedule"]}

    def list(self, execution: ExecutionFacts) -> list[dict[str, Any]]:
        return [ROW]

    def get(self, execution: ExecutionFacts, job_id: str) -> dict[str, Any] | None:
        return ROW | {"payload": {}, "executions": []} if job_id == "nightly" else None

    def delete(self, execution: ExecutionFacts, job_id: str) -> bool:
        return job_id == "nightly"


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


Run = Callable[..., Any]


@pytest.fixture
def run(call: CallFactory, jobs: Jobs) -> Run:
    """``run(params, **changes of the call)``: the node's output."""

    def make(params: dict[str, Any], **changes: Any) -> Any:
        made = replace(call(params), services=cast(KindServices, SimpleNamespace(schedules=jobs)), **changes)
        outcome = CronNode().run(made)
        assert isinstance(outcome, Done)
        return outcome.output

    return make


def test_schedule_with_everything(run: Run, jobs: Jobs) -> None:
    """Every parameter is handed on; the answer names the job and its next run."""
    params = {
        "operation": "schedule", "schedule": "0 3 * * *", "timezone": "Europe/Berlin", "flow_id": "other",
        "node_id": "begin", "payload": {"a": 1}, "id": "nightly",
    }  # fmt: skip
    assert run(params) == {
        "job_id": "nightly", "entry_id": 7, "schedule": "0 3 * * *", "next_run_time": "2026-01-01T03:00:00.000Z",
    }  # fmt: skip
    del params["operation"]
    assert jobs.asked == [("create", params)]


def test_schedule_with_the_least(run: Run, jobs: Jobs) -> None:
    """This flow, this node, UTC and an empty payload."""
    run({"schedule": "0 3 * * *"})
    ((_, spec),) = jobs.asked
    assert spec.pop("id").startswith("cron-")
    assert spec == {"schedule": "0 3 * * *", "timezone": "UTC", "flow_id": "d", "node_id": "step", "payload": {}}


def test_one_node_is_one_job(run: Run, jobs: Jobs) -> None:
    """Without an id every visit names the same job; another node, flow or element of a batch another one."""
    facts = ExecutionFacts("e2", "o", "a", "d")
    run({"schedule": "0 3 * * *"})
    run({"schedule": "0 4 * * *"}, execution=facts)
    run({"schedule": "0 3 * * *"}, execution=ExecutionFacts("e", "o", "a", "another flow"))
    for index in range(2):
        run({"schedule": "0 3 * * *"}, scope=Scope(item=1, index=index, has_item=True))
    names = [spec["id"] for _, spec in jobs.asked]
    assert names[0] == names[1]
    assert len(set(names)) == 4


def test_list_get_delete(run: Run) -> None:
    """Rows as the contract shows them; deleting what is not there is no failure."""
    row = {name: value for name, value in ROW.items() if name != "entry_id"}
    assert run({"operation": "list"}) == {"jobs": [row]}
    assert run({"operation": "get", "id": "nightly"}) == row | {"payload": {}, "executions": []}
    assert run({"operation": "delete", "id": "nightly"}) == {"deleted": True, "id": "nightly"}
    assert run({"operation": "delete", "id": "gone"}) == {"deleted": False, "id": "gone"}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "schedule parameter is required"),
        ({"operation": "start"}, "operation must be schedule, list, get or delete, not start"),
        ({"operation": "get"}, "id parameter is required"),
        ({"operation": "get", "id": "gone"}, "there is no job gone"),
        ({"operation": "delete"}, "id parameter is required"),
        ({"schedule": ["* * * * *"]}, "schedule must be text"),
        ({"schedule": "* * * * *", "timezone": {"name": "UTC"}}, "timezone must be text"),
        ({"schedule": "* * * * *", "flow_id": True}, "flow_id must be text"),
        ({"schedule": "* * * * *", "id": 1.5}, "id must be text"),
    ],
)
def test_what_is_refused(run: Run, params: dict[str, Any], message: str) -> None:
    """The author reads what to do; another attempt would not help."""
    with pytest.raises(NodeFailed, match=message) as caught:
        run(params)
    assert caught.value.retryable is False


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        (InvalidRequest.field("schedule", "schedule is no cron expression"), False),
        (NotFound("there is no flow x in this organisation to schedule"), False),
        (Unavailable("The store cannot be reached; try again"), True),
    ],
)
def test_what_the_schedules_refuse(run: Run, jobs: Jobs, error: SignalboxError, retryable: bool) -> None:
    """Their message is the node's; only a store that is away is worth another attempt."""
    jobs.error = error
    with pytest.raises(NodeFailed) as caught:
        run({"schedule": "x"})
    assert (caught.value.message, caught.value.retryable) == (error.message, retryable)


def test_a_job_holds_no_secret(run: Run, jobs: Jobs) -> None:
    """The job and the input of its runs are shown, so the node fails for good and says what to do instead."""
    scope = Scope(secrets={"KEY": "hunter22"})
    with pytest.raises(NodeFailed, match=r"must not contain a secret, .* let the scheduled flow read it") as caught:
        run({"schedule": "0 3 * * *", "payload": {"headers": ["Bearer hunter22"]}}, scope=scope)
    assert caught.value.retryable is False and jobs.asked == []
    run({"schedule": "0 3 * * *", "payload": {"headers": ["Bearer other"]}}, scope=scope)
    assert len(jobs.asked) == 1
