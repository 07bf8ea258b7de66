"""The pool of worker processes: isolation, death, close, threads."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.engine.expressions.base import Limits, Scope, ScriptError, ScriptLimit, ScriptTimeout
from shared.engine.expressions.javascript import JavaScript
from shared.engine.expressions.pool import WorkerPool

HANGS = "return Array.prototype.indexOf.call({length: 2 ** 53 - 1}, 1)"


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    made = WorkerPool(1)
    yield made
    made.close()


def pids(pool: WorkerPool) -> list[int]:
    return [worker.pid for worker in [*pool._idle, *pool._busy]]


def until(condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_workers_start_when_first_needed_and_stay(pool: WorkerPool) -> None:
    """No process before the first call; the same one serves the next."""
    js = JavaScript(pool)
    assert pids(pool) == []
    js.call("return 1", Scope())
    first = pids(pool)
    js.call("return 1", Scope())
    assert pids(pool) == first and len(first) == 1


def test_workers_are_replaced_after_so_many_calls() -> None:
    """A worker does not live for ever."""
    pool = WorkerPool(1, recycle_after=2)
    js = JavaScript(pool)
    seen = set()
    for _ in range(4):
        js.call("return 1", Scope())
        seen.update(pids(pool))
    pool.close()
    assert len(seen) == 2


def test_a_silent_worker_is_killed(pool: WorkerPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its own limit does not stop, the wall clock does; the next call gets a new process."""
    js = JavaScript(pool)
    js.call("return 1", Scope())
    (pid,) = pids(pool)
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(ScriptTimeout, match=r"took longer than 0\.1 s"):
        js.call("return 1", Scope(), limits=Limits(time_s=0.1))
    assert js.call("return 2", Scope()).value == 2
    assert pids(pool) != [pid]


def test_death_in_the_middle_is_one_clean_error(pool: WorkerPool) -> None:
    """A worker killed while it works is an error of that call only."""
    js = JavaScript(pool)
    js.call("return 1", Scope())
    (pid,) = pids(pool)
    killer = threading.Timer(0.1, os.kill, (pid, signal.SIGKILL))
    killer.start()
    with pytest.raises(ScriptLimit, match="broke its engine"):
        js.call("for (;;);", Scope(), limits=Limits(time_s=10))
    killer.join()
    assert js.call("return 2", Scope()).value == 2


def test_death_between_calls_goes_unnoticed(pool: WorkerPool) -> None:
    """An idle worker that died is replaced before anybody sees it."""
    js = JavaScript(pool)
    js.call("return 1", Scope())
    os.kill(pids(pool)[0], signal.SIGKILL)
    until(lambda: not pool._idle[0].alive)
    assert js.call("return 2", Scope()).value == 2


def test_close_ends_busy_workers_too() -> None:
    """Closing frees waiting callers with an error, leaves no process and refuses further calls."""
    pool = WorkerPool(1)
    js = JavaScript(pool)
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(js.call, "for (;;);", Scope(), limits=Limits(time_s=30))
        until(lambda: pool._busy)
        (pid,) = pids(pool)
        pool.close()
        with pytest.raises(ScriptError, match="shut down"):
            running.result()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(ScriptError, match="shut down"):
        js.call("return 1", Scope())
    pool.close()


def test_many_threads_share_few_workers() -> None:
    """Answers never get mixed up, and no more processes run than allowed."""
    pool = WorkerPool(2)
    js = JavaScript(pool)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda n: js.call("return item * 2", Scope(item=n, has_item=True)).value, range(200)))
    assert found == [n * 2 for n in range(200)]
    assert len(pids(pool)) <= 2
    pool.close()


def test_waiting_for_a_worker_has_an_end() -> None:
    """A caller that finds every worker busy gives up after its patience."""
    pool = WorkerPool(1, patience_s=0.05)
    js = JavaScript(pool)
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(js.call, "for (;;);", Scope(), limits=Limits(time_s=0.5))
        until(lambda: pool._busy)
        with pytest.raises(ScriptTimeout, match="no script worker became free"):
            js.call("return 1", Scope())
        with pytest.raises(ScriptTimeout):
            running.result()
    pool.close()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc")
def test_a_worker_inherits_nothing(pool: WorkerPool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither variables nor open files of the parent are in the worker, and its memory is bounded."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with (tmp_path / "open").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        JavaScript(pool).call("return 1", Scope())
        (pid,) = pids(pool)
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        assert {name.partition(b"=")[0] for name in environment.split(b"\0") if name} <= {b"LD_LIBRARY_PATH"}
        assert sorted(entry.name for entry in Path(f"/proc/{pid}/fd").iterdir()) == ["0", "1", "2"]
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert "Max address space         402653184" in limits
        assert "Max open files            3 " in limits


def test_a_worker_dies_with_its_parent(tmp_path: Path) -> None:
    """A killed parent leaves no worker behind, not even one inside an endless native loop."""
    program = (
        "import sys, threading, time\n"
        "from shared.engine.expressions.pool import WorkerPool\n"
        "from shared.engine.expressions.javascript import JavaScript\n"
        "from shared.engine.expressions.base import Limits, Scope\n"
        "pool = WorkerPool(1); js = JavaScript(pool); js.call('return 1', Scope())\n"
        "print(pool._idle[0].pid, flush=True)\n"
        f"js.call({HANGS!r}, Scope(), limits=Limits(time_s=0.5))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until(lambda: not alive(pid))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_process_around_the_pool_ends_quietly() -> None:
    """A program that never closes its pool ends without hanging and without a warning."""
    program = (
        "from shared.engine.expressions.pool import WorkerPool\n"
        "from shared.engine.expressions.javascript import JavaScript\n"
        "from shared.engine.expressions.base import Scope\n"
        "pool = WorkerPool(1); print(JavaScript(pool).call('return 5', Scope()).value)\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "5\n", "")


def test_a_scope_of_many_megabytes_passes(pool: WorkerPool) -> None:
    """Frames far beyond what a pipe holds go through in both directions."""
    big = ["x" * 1000] * 5000
    found = JavaScript(pool).call(
        "return input.length + json.length", Scope(input=big), extra={"json": json.dumps(big)[:1000]}
    )
    assert found.value == 6000


def test_endless_scripts_of_one_account_keep_no_other_waiting() -> None:
    """However many of them are in line, another account's script is answered while they still run."""
    pool = WorkerPool(1)
    js = JavaScript(pool)
    hog, other = Scope(execution={"account_id": "hog"}), Scope(execution={"account_id": "other"})
    with ThreadPoolExecutor(4) as threads:
        endless = [threads.submit(js.call, "for (;;);", hog, limits=Limits(time_s=30)) for _ in range(4)]
        until(lambda: pool._busy)
        assert js.call("return 7", other).value == 7
        assert not any(one.done() for one in endless)
        pool.close()
        assert all(isinstance(one.exception(), ScriptError) for one in endless)
