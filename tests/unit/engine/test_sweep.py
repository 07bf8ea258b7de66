"""The sweep over the due index: everything due is taken up, once, whatever else is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from shared.engine.advance import Advancer
from shared.engine.sweep import Sweep
from shared.kit import clock
from shared.kit.errors import Unavailable
from shared.store.embedded import EmbeddedEngine
from shared.store.models.executions import DUE_SHARDS, Control, DueIndex, execution_pk
from shared.store.models.schedules import Schedule
from tests.support.time import HeldClock


class Driver:
    """Notes what is begun; a broken one cannot be reached for some executions."""

    def __init__(self) -> None:
        self.started: list[tuple[str, int]] = []
        self.broken: set[str] = set()

    def start(self, org_id: str, execution_id: str, generation: int) -> None:
        if execution_id in self.broken:
            raise Unavailable("the driver is away")
        self.started.append((execution_id, generation))

    def wake(self, org_id: str, execution_id: str, generation: int, task_token: str | None) -> None:
        raise AssertionError("the sweep begins generations, it wakes none")


class Jobs:
    """Fires schedules; notes which."""

    def __init__(self) -> None:
        self.fired: list[tuple[str, str]] = []
        self.broken: set[str] = set()

    def fire(self, pk: str, sk: str) -> bool:
        if sk in self.broken:
            raise RuntimeError("a bad row")
        self.fired.append((pk, sk))
        return True


@pytest.fixture
def driver() -> Driver:
    return Driver()


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


@pytest.fixture
def sweep(held: HeldClock, store: EmbeddedEngine, driver: Driver, jobs: Jobs) -> Sweep:
    """A sweep with the real restart and nothing that would run an execution."""
    nothing: Any = None
    advancer = Advancer(nothing, nothing, nothing, nothing, nothing, driver, nothing, nothing)
    return Sweep(advancer, jobs.fire)


def execution(name: str, due_ms: int, *, shard: int = 0) -> None:
    """A control item that must be looked at from ``due_ms`` on."""
    Control(
        execution_pk("org", name), "control", org_id="org", execution_id=name, account_id="ada", number=1, kind="flow",
        definition_id="d", definition_version=1, live=True, status="running", generation=0, segment=0, wake=0,
        absorbed=0, command="", next_index=1, started_ms=0, due_shard=str(shard), due_ms=due_ms,
    ).save()  # fmt: skip


def control(name: str) -> Control:
    """The key of an execution's control item."""
    return Control(execution_pk("org", name), "control")


def schedule(name: str, due_ms: int, *, shard: int = 0) -> None:
    Schedule(
        "org#schedules", name, org_id="org", account_id="ada", job_id=name, kind="flow", definition_id="d",
        node_id="n", expression="* * * * *", timezone="UTC", payload="{}", created_ms=0, revision="1",
        scheduled_ms=due_ms, runs="[]", due_shard=str(shard), due_ms=due_ms,
    ).save()  # fmt: skip


def test_what_is_due_and_nothing_else(sweep: Sweep, driver: Driver, jobs: Jobs) -> None:
    """Executions begin their next generation, schedules are fired; the future waits."""
    now = clock.now_ms()
    for shard in range(DUE_SHARDS):
        execution(f"late-{shard}", now - 1, shard=shard)
        execution(f"now-{shard}", now, shard=shard)
        execution(f"later-{shard}", now + 1, shard=shard)
        schedule(f"job-{shard}", now, shard=shard)
        schedule(f"later-job-{shard}", now + 1, shard=shard)
    assert sweep.run() == 3 * DUE_SHARDS
    assert sorted(driver.started) == sorted(
        (f"{word}-{shard}", 1) for word in ("late", "now") for shard in range(DUE_SHARDS)
    )
    assert sorted(jobs.fired) == [("org#schedules", f"job-{shard}") for shard in range(DUE_SHARDS)]


def test_twice_is_once(sweep: Sweep, driver: Driver, held: HeldClock) -> None:
    """What was restarted is left alone until its lease could have ended; then it is restarted again."""
    execution("e", clock.now_ms())
    assert (sweep.run(), sweep.run()) == (1, 0)
    held.advance(31)
    assert sweep.run() == 1
    assert driver.started == [("e", 1), ("e", 2)]


def test_a_bad_row_stops_nothing(sweep: Sweep, driver: Driver, jobs: Jobs) -> None:
    """A schedule that breaks and a driver that is away for one execution hold up no other row of their shard."""
    now = clock.now_ms()
    for number in range(3):
        execution(f"e{number}", now - 10 + number)
        schedule(f"j{number}", now - 20 + number)
    driver.broken, jobs.broken = {"e0"}, {"j0"}
    assert sweep.run() == 4
    assert driver.started == [("e1", 1), ("e2", 1)]
    assert [sk for _, sk in jobs.fired] == ["j1", "j2"]


def test_an_execution_the_driver_did_not_get_is_begun_later(sweep: Sweep, driver: Driver, held: HeldClock) -> None:
    """A wake-up that was lost after the generation was written comes again with the next generation."""
    execution("e", clock.now_ms())
    driver.broken = {"e"}
    assert sweep.run() == 0
    driver.broken = set()
    held.advance(31)
    assert sweep.run() == 1
    assert driver.started == [("e", 2)]


def test_many_pages(sweep: Sweep, driver: Driver) -> None:
    """Everything due is found, also beyond a page of the index (1 MB)."""
    now = clock.now_ms()
    for number in range(12):
        execution(f"e{number:02}", now - 1)
        control(f"e{number:02}").update([Control.task_token.set("x" * 200_000)])
    assert sweep.run() == 12
    assert len(driver.started) == 12


def test_a_crowded_shard_does_not_keep_the_others_waiting(sweep: Sweep, driver: Driver, held: HeldClock) -> None:
    """Shards take turns, so that a sweep whose time runs out has served each of them; the rest comes next time."""
    now = clock.now_ms()
    for number in range(50):
        execution(f"crowd-{number:02}", now - 1000 + number, shard=0)
    for shard in range(1, DUE_SHARDS):
        execution(f"single-{shard}", now - 1, shard=shard)
    slow = driver.start

    def start(org_id: str, execution_id: str, generation: int) -> None:
        held.advance(5)
        slow(org_id, execution_id, generation)

    driver.start = start  # type: ignore[method-assign]
    first = sweep.run()
    assert first == len(driver.started) < 57
    assert {f"single-{shard}" for shard in range(1, DUE_SHARDS)} <= {name for name, _ in driver.started}
    driver.start = slow  # type: ignore[method-assign]
    sweep.run()
    assert {name for name, _ in driver.started} >= {f"crowd-{number:02}" for number in range(50)}


def test_an_index_that_lags_behind_is_harmless(
    sweep: Sweep, driver: Driver, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of the index that are no longer true (renewed, restarted, ended, removed) restart nothing."""
    now = clock.now_ms()
    for name in ("renewed", "restarted", "ended", "removed", "overdue"):
        execution(name, now - 1)
    rows = list(Control.due.query("0"))
    control("renewed").update([Control.due_ms.set(now + 30_000)])
    control("restarted").update([Control.generation.set(1)])
    control("ended").update([Control.live.set(False), Control.due_ms.remove()])
    control("removed").delete()
    monkeypatch.setattr(DueIndex, "query", lambda self, shard, *rest: iter(rows if shard == "0" else []))
    assert sweep.run() == 1
    assert driver.started == [("overdue", 1)]


def test_what_lives_is_executions(sweep: Sweep) -> None:
    """A driver that begins is told of every live execution, due or not, and of no schedule."""
    now = clock.now_ms()
    execution("past", now - 5)
    execution("future", now + 10**9, shard=3)
    schedule("job", now - 5)
    assert sorted(row.execution_id for row in sweep.live()) == ["future", "past"]
    assert sweep.run() == 2
