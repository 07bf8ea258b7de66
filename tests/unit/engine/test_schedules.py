"""Cron jobs: made, shown, run once for each moment, and ended with what they belong to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from shared.engine import schedules
from shared.engine.cron import Cron
from shared.engine.kinds.base import ExecutionFacts
from shared.engine.ports import DefinitionRef
from shared.engine.program import Node, Program
from shared.engine.repository import ExecutionRepository
from shared.engine.schedules import CronSchedules, forget_schedules
from shared.engine.service import Engine
from shared.engine.views import ExecutionView
from shared.identity import Departure, Principal, Role, system_principal
from shared.kit import clock
from shared.kit.errors import Conflict, InvalidRequest, NotFound, PayloadTooLarge, Unavailable, Unprocessable
from shared.store.blobs import FolderBlobs
from shared.store.embedded import EmbeddedEngine, Fault
from shared.store.models.executions import Control
from shared.store.models.schedules import Schedule
from tests.support.time import HeldClock

ORG, ADA, FLOW = "org", "ada", "flow-1"
NEW_YEAR = "2026-01-01T00:00:00.000Z"


@dataclass
class Flow:
    """A definition as the catalog answers it."""

    id: str
    revision: int


class World:
    """A catalog, an engine that starts for real but runs nothing, and roles."""

    def __init__(self, folder: Path) -> None:
        self.flows = {(ORG, FLOW): Flow(FLOW, 1), ("other", "theirs"): Flow("theirs", 1)}
        self.roles: dict[tuple[str, str], Role] = {(ORG, ADA): "operator", (ORG, "bob"): "owner"}
        self.before_start: Callable[[], None] = lambda: None
        self.after_start: Callable[[], None] = lambda: None
        self.engine = Engine(ExecutionRepository(FolderBlobs(folder)), self, self)
        self.schedules = CronSchedules(self, self, lambda org_id, account_id: self.roles.get((org_id, account_id)))

    # The catalog

    def get(self, principal: Principal, kind: str, definition_id: str) -> Flow:
        found = self.flows.get((principal.org_id, definition_id)) if kind == "flow" else None
        if found is None:
            raise NotFound("There is no such flow")
        return found

    def program(self, ref: DefinitionRef) -> Program:
        return Program("flowrunner", "javascript", ref.id, str(ref.version), "a", {"a": Node("a", "base")})

    # The driver

    def wake(self, org_id: str, execution_id: str, generation: int, task_token: str | None) -> None:
        raise AssertionError("a schedule wakes nothing")

    # The engine and the driver, both called start

    def start(self, *given: Any, **more: Any) -> Any:
        if not isinstance(given[0], Principal):
            return None
        self.before_start()
        view = self.engine.start(*given, **more)
        self.after_start()
        return view

    # What a test asks

    def create(self, account: str = ADA, org: str = ORG, **spec: Any) -> dict[str, Any]:
        given = {
            "id": "job",
            "schedule": "*/5 * * * *",
            "timezone": "UTC",
            "flow_id": FLOW,
            "node_id": "n",
            "payload": {},
        }
        return self.schedules.create(ExecutionFacts("e", org, account, FLOW), given | spec)

    def job(self, job_id: str = "job", account: str = ADA) -> dict[str, Any] | None:
        return self.schedules.get(ExecutionFacts("e", ORG, account, FLOW), job_id)

    def shown(self, job_id: str = "job") -> dict[str, Any]:
        found = self.job(job_id)
        assert found is not None
        return found

    def sweep(self) -> int:
        """Fire what is due, as the sweep does; how many runs began."""
        rows = [row for shard in range(8) for row in Control.due.query(str(shard), Control.due_ms <= clock.now_ms())]
        return sum(self.schedules.fire(row.pk, row.sk) for row in rows if row.sk != "control")

    def runs(self, org: str = ORG) -> list[ExecutionView]:
        return list(self.engine.list(system_principal(org, ADA), limit=1000, offset=0).items)

    def input_of(self, run: ExecutionView) -> Any:
        return self.engine.get(system_principal(ORG, ADA), run.id).input


@pytest.fixture
def world(held: HeldClock, store: EmbeddedEngine, tmp_path: Path) -> World:
    return World(tmp_path)


def facts(account: str = ADA, org: str = ORG) -> ExecutionFacts:
    return ExecutionFacts("e", org, account, FLOW)


# Made and shown


def test_a_job_is_shown(world: World) -> None:
    """Its row says what was asked, when it runs next and that it did not run yet."""
    made = world.create(payload={"a": [1]}, timezone="Europe/Berlin")
    assert made["next_run_time"] == "2026-01-01T00:05:00.000Z"
    assert isinstance(made["entry_id"], int)
    row = {name: made[name] for name in made}
    assert row == {
        "id": "job", "entry_id": made["entry_id"], "schedule": "*/5 * * * *", "flow_id": FLOW, "node_id": "n",
        "next_run_time": "2026-01-01T00:05:00.000Z", "last_run_time": None, "created_at": NEW_YEAR,
    }  # fmt: skip
    assert world.schedules.list(facts()) == [row]
    more: dict[str, Any] = {"payload": {"a": [1]}, "timezone": "Europe/Berlin", "executions": [], "error": None}
    assert world.job() == row | more


def test_jobs_belong_to_an_account_in_an_org(world: World) -> None:
    """Another account, or the same one in another org, has jobs of its own under the same ids."""
    world.create()
    world.create(account="bob", schedule="0 0 * * *")
    world.flows["other", FLOW] = Flow(FLOW, 1)
    world.create(org="other", schedule="0 1 * * *")
    assert [row["schedule"] for row in world.schedules.list(facts())] == ["*/5 * * * *"]
    assert [row["schedule"] for row in world.schedules.list(facts("bob"))] == ["0 0 * * *"]
    assert [row["schedule"] for row in world.schedules.list(facts(org="other"))] == ["0 1 * * *"]
    assert world.schedules.delete(facts("bob"), "job") is True
    assert world.schedules.delete(facts("bob"), "job") is False
    assert world.job() is not None


def test_another_flow_of_the_org_and_no_other(world: World) -> None:
    """A flow that is not in the org, though it exists elsewhere, is not found."""
    world.flows[ORG, "second"] = Flow("second", 3)
    assert world.create(flow_id="second")["flow_id"] == "second"
    with pytest.raises(NotFound, match="there is no flow theirs in this organisation to schedule"):
        world.create(flow_id="theirs")


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ({"schedule": "every day"}, InvalidRequest, "schedule is no cron expression"),
        ({"timezone": "Mars/Olympus"}, InvalidRequest, "there is no time zone Mars/Olympus"),
        ({"payload": [1]}, InvalidRequest, "payload must be an object"),
        ({"payload": {"x": "x" * 300_000}}, PayloadTooLarge, "262,144 is the limit"),
        ({"id": ""}, InvalidRequest, "id must be"),
        ({"id": "x" * 257}, InvalidRequest, "id must be"),
        ({"id": "\ud800"}, InvalidRequest, "id must be"),
    ],
)
def test_what_is_refused(world: World, spec: dict[str, Any], error: type[Exception], message: str) -> None:
    """A clear message, and no job."""
    with pytest.raises(error, match=message):
        world.create(**spec)
    assert world.schedules.list(facts()) == []


def test_a_job_that_would_never_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An expression without a moment in fifty years is refused."""
    monkeypatch.setattr(Cron, "after", lambda self, moment_ms: None)
    with pytest.raises(InvalidRequest, match="is never due"):
        world.create()


@pytest.mark.parametrize("job_id", ["", "x" * 300, "\ud800", "missing"])
def test_jobs_that_are_not_there(world: World, job_id: str) -> None:
    """Neither shown nor deleted."""
    assert world.job(job_id) is None
    assert world.schedules.delete(facts(), job_id) is False


def test_there_is_a_limit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A further job is refused, replacing one of them is not."""
    monkeypatch.setattr(schedules, "MAX_JOBS", 2)
    world.create(id="a")
    world.create(id="b")
    with pytest.raises(Conflict, match="2 jobs in this organisation already"):
        world.create(id="c")
    world.create(id="b", schedule="0 0 * * *")
    world.create(id="c", account="bob")


def test_the_same_id_replaces(world: World, held: HeldClock) -> None:
    """The new expression, flow and payload count; what is known of earlier runs stays."""
    world.flows[ORG, "second"] = Flow("second", 1)
    world.create(payload={"n": 1})
    held.advance(300)
    assert world.sweep() == 1
    held.advance(1)
    world.create(schedule="0 12 * * *", flow_id="second", payload={"n": 2})
    job = world.shown()
    assert (job["schedule"], job["flow_id"], job["payload"]) == ("0 12 * * *", "second", {"n": 2})
    assert (job["created_at"], job["next_run_time"]) == (NEW_YEAR, "2026-01-01T12:00:00.000Z")
    assert job["last_run_time"] == "2026-01-01T00:05:00.000Z"
    held.advance(12 * 3600 - 301)
    assert world.sweep() == 1
    assert [(run.definition_id, world.input_of(run)) for run in world.runs()] == [
        (FLOW, {"n": 1}),
        ("second", {"n": 2}),
    ]


# Run


def test_a_due_job_runs_its_flow(world: World, held: HeldClock) -> None:
    """Not before its time, then once with the payload as input, in its org and account, in the newest version."""
    world.create(payload={"hello": "world"})
    held.advance(299.999)
    assert world.sweep() == 0
    held.advance(0.001)
    world.flows[ORG, FLOW].revision = 7
    assert world.sweep() == 1
    (run,) = world.runs()
    assert (run.kind, run.definition_id, run.definition_version, run.account_id) == ("flow", FLOW, 7, ADA)
    assert world.input_of(run) == {"hello": "world"}
    job = world.shown()
    assert job["executions"] == [
        {"id": run.id, "scheduled_time": "2026-01-01T00:05:00.000Z", "started_at": "2026-01-01T00:05:00.000Z"}
    ]
    assert (job["last_run_time"], job["next_run_time"]) == ("2026-01-01T00:05:00.000Z", "2026-01-01T00:10:00.000Z")


def test_every_moment_once(world: World, held: HeldClock) -> None:
    """Swept every twenty seconds for half an hour, a job of every five minutes runs six times."""
    world.create()
    for _ in range(90):
        held.advance(20)
        world.sweep()
    assert len(world.runs()) == 6


def test_seconds(world: World, held: HeldClock) -> None:
    """Six fields are due by the second; a sweep that comes by the minute runs the latest of them."""
    world.create(schedule="*/10 * * * * *")
    for _ in range(12):
        held.advance(5)
        world.sweep()
    assert len(world.runs()) == 6
    held.advance(60)
    assert (world.sweep(), world.sweep()) == (1, 0)
    assert world.shown()["executions"][0]["scheduled_time"] == "2026-01-01T00:02:00.000Z"


def test_missed_moments_run_once(world: World, held: HeldClock) -> None:
    """After three days off, one run for the latest missed moment (docs/rulings.md#cron-missed-runs)."""
    world.create()
    held.advance(3 * 24 * 3600 + 123)
    assert (world.sweep(), world.sweep()) == (1, 0)
    (run,) = world.runs()
    job = world.shown()
    assert job["executions"][0]["scheduled_time"] == "2026-01-04T00:00:00.000Z"
    assert job["next_run_time"] == "2026-01-04T00:05:00.000Z"
    assert job["last_run_time"] == clock.rfc3339(run.started_ms) == "2026-01-04T00:02:03.000Z"


def test_a_job_without_a_further_moment_rests(world: World, held: HeldClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays to be looked at, and is due no more."""
    world.create()
    held.advance(300)
    monkeypatch.setattr(Cron, "after", lambda self, moment_ms: None)
    assert world.sweep() == 1
    assert world.shown()["next_run_time"] is None
    held.advance(10**8)
    assert world.sweep() == 0


def test_the_last_runs_are_shown(world: World, held: HeldClock) -> None:
    """The ten newest, newest first."""
    world.create()
    for _ in range(12):
        held.advance(300)
        world.sweep()
    shown = world.shown()["executions"]
    assert [run["id"] for run in shown] == [run.id for run in reversed(world.runs())][:10]


def test_twice_due_is_once_run(world: World, store: EmbeddedEngine, held: HeldClock) -> None:
    """Sweeps side by side start one execution."""
    world.create()
    held.advance(300)
    (row,) = Schedule.query("org#schedules")
    barrier = threading.Barrier(4)

    def fire() -> None:
        barrier.wait()
        world.schedules.fire(row.pk, row.sk)

    threads = [threading.Thread(target=fire) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (run,) = world.runs()
    assert [one["id"] for one in world.shown()["executions"]] == [run.id]


def test_a_crash_between_start_and_move(world: World, held: HeldClock) -> None:
    """The next sweep finds the run by its id, notes it, and goes on."""
    world.create()
    held.advance(300)

    def crash() -> None:
        raise KeyboardInterrupt

    world.after_start = crash
    with pytest.raises(KeyboardInterrupt):
        world.sweep()
    world.after_start = lambda: None
    held.advance(30)
    assert (world.sweep(), world.sweep()) == (1, 0)
    (run,) = world.runs()
    assert world.shown()["executions"] == [
        {"id": run.id, "scheduled_time": "2026-01-01T00:05:00.000Z", "started_at": "2026-01-01T00:05:00.000Z"}
    ]


class Script:
    """Faults for the next transactions, one each; None lets one through."""

    def __init__(self, *faults: Fault | None) -> None:
        self.faults = list(faults)

    def before(self, operation: str, request: dict[str, Any]) -> Fault | None:
        return self.faults.pop(0) if operation == "TransactWriteItems" and self.faults else None


@pytest.mark.parametrize("fault", [Fault.FAILED, Fault.THROTTLED, Fault.ANSWER_LOST, Fault.REPEATED, Fault.CONFLICT])
def test_faults_of_the_store(world: World, store: EmbeddedEngine, held: HeldClock, fault: Fault) -> None:
    """Whatever happens to the requests of making, skipping, starting and moving: one run."""
    store.faults = Script(fault)
    world.create()
    held.advance(900)
    store.faults = Script(fault, None, fault, None, fault)
    world.sweep()
    store.faults = None
    world.sweep()
    assert len(world.runs()) == 1
    assert len(world.shown()["executions"]) == 1


def test_a_run_that_schedules_itself_again(world: World, held: HeldClock) -> None:
    """A flow whose cron node runs while its job is being moved makes no second run, and loses none."""
    world.create()

    def again() -> None:
        assert world.create(payload={"again": True})["next_run_time"] > clock.rfc3339(clock.now_ms())

    world.after_start = again
    for _ in range(3):
        held.advance(300)
        assert (world.sweep(), world.sweep()) == (1, 0)
    assert len(world.runs()) == 3
    assert len(world.schedules.list(facts())) == 1
    assert len(world.shown()["executions"]) == 3


def test_scheduling_again_when_it_is_due_loses_no_run(world: World, held: HeldClock) -> None:
    """The same expression keeps the moment that is due; another one starts from now."""
    world.create()
    held.advance(300)
    world.create()
    assert world.sweep() == 1
    held.advance(300)
    world.create(schedule="0 0 * * *")
    assert world.sweep() == 0


# Failures


def test_a_start_that_fails_is_tried_again_in_a_minute(world: World, held: HeldClock) -> None:
    """For reasons of ours: the sweep is told, the job comes again, and its moment is not lost."""
    world.create(schedule="0 * * * *")
    held.advance(3600)

    def away() -> None:
        raise Unavailable("the store is away")

    world.before_start = away
    with pytest.raises(Unavailable):
        world.sweep()
    assert world.sweep() == 0
    world.before_start = lambda: None
    held.advance(60)
    assert world.sweep() == 1
    assert world.shown()["executions"][0]["scheduled_time"] == "2026-01-01T01:00:00.000Z"
    assert world.shown()["next_run_time"] == "2026-01-01T02:00:00.000Z"


def test_a_bug_is_tried_again_in_a_minute(world: World, held: HeldClock) -> None:
    """An error nobody expected does not fill the log every second."""
    world.create()
    held.advance(300)

    def bug() -> None:
        raise ZeroDivisionError

    world.before_start = bug
    with pytest.raises(ZeroDivisionError):
        world.sweep()
    assert world.sweep() == 0
    world.before_start = lambda: None
    held.advance(60)
    assert world.sweep() == 1


def test_a_run_that_is_refused_is_left_out(world: World, held: HeldClock) -> None:
    """The job shows why, and goes on; a run that starts takes the error away."""
    world.create()
    held.advance(300)

    def refuse() -> None:
        raise Unprocessable("the flow cannot be run")

    world.before_start = refuse
    assert (world.sweep(), world.sweep()) == (0, 0)
    assert world.shown()["error"] == "the flow cannot be run"
    assert world.shown()["next_run_time"] == "2026-01-01T00:10:00.000Z"
    world.before_start = lambda: None
    held.advance(300)
    assert world.sweep() == 1
    assert world.shown()["error"] is None


# Ends


def test_a_deleted_job_runs_no_more(world: World, held: HeldClock) -> None:
    """Also when the index still shows it."""
    world.create()
    held.advance(300)
    (row,) = Schedule.query("org#schedules")
    world.schedules.delete(facts(), "job")
    assert world.schedules.fire(row.pk, row.sk) is False
    assert world.runs() == []


def test_a_deleted_job_is_not_made_again_by_its_run(world: World, held: HeldClock) -> None:
    """A deletion that comes while the run is being started stays one."""
    world.create()
    held.advance(300)

    def delete() -> None:
        assert world.schedules.delete(facts(), "job")

    world.after_start = delete
    world.sweep()
    assert world.job() is None


def test_a_deleted_flow_ends_its_jobs(world: World, held: HeldClock) -> None:
    """The job is gone at its next moment, without a run."""
    world.create()
    del world.flows[ORG, FLOW]
    held.advance(300)
    assert world.sweep() == 0
    assert world.job() is None
    assert world.runs() == []


@pytest.mark.parametrize(("role", "runs"), [("owner", 1), ("admin", 1), ("operator", 1), ("viewer", 0), (None, 0)])
def test_only_who_may_run_flows(world: World, held: HeldClock, role: Role | None, runs: int) -> None:
    """An account that lost the right, the membership or itself has no more runs, and its job is gone."""
    world.create()
    world.roles.pop((ORG, ADA))
    if role is not None:
        world.roles[ORG, ADA] = role
    held.advance(300)
    assert world.sweep() == len(world.runs()) == runs
    assert (world.job() is not None) is bool(runs)


def test_an_account_that_goes_takes_its_jobs(world: World) -> None:
    """Wherever it is a member, and everybody's in the orgs that go with it; others keep theirs. Twice is harmless."""
    for org in ("gone", "shared"):
        world.flows[org, FLOW] = Flow(FLOW, 1)
        for account in (ADA, "bob"):
            world.create(account=account, org=org)
    for _ in range(2):
        forget_schedules(Departure(ADA, ("gone",)), ["gone", "shared"])
    assert [len(list(Schedule.query(f"{org}#schedules"))) for org in ("gone", "shared")] == [0, 1]
    assert len(world.schedules.list(facts("bob", "shared"))) == 1


def test_a_zone_that_is_gone(world: World, held: HeldClock) -> None:
    """A job whose zone the machine no longer knows shows why it is not due again, and keeps nobody else waiting."""
    world.create(timezone="Europe/Berlin")
    (row,) = Schedule.query("org#schedules")
    row.timezone = "Mars/Base"
    row.save()
    held.advance(300)
    assert world.sweep() == 0
    job = world.shown()
    assert "there is no time zone Mars/Base" in job["error"]
    assert job["next_run_time"] is None
