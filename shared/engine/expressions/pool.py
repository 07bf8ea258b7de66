"""Warm worker processes: started when first needed, one request at a time each, killed when one takes too long."""

from __future__ import annotations

import functools
import importlib.util
import os
import select
import struct
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.engine.expressions.base import ScriptError, ScriptLimit, ScriptTimeout
from shared.kit import json
from shared.kit.fairness import FairQueue

WORKER = Path(__file__).with_name("worker.py")
HEADER = struct.Struct(">I")
INTERPRETER_MEMORY = 256 * 1024 * 1024
"""Address space the interpreter and its libraries take before any script runs."""

LARGEST_ANSWER = 256 * 1024 * 1024
PIECE = 1024 * 1024
START_S = 30.0
GRACE_S = 1.0
"""A script's own limit counts processor time; a worker that is silent this much longer than that is killed."""


class WorkerGone(Exception):
    """The process ended or broke the protocol."""


class WorkerSilent(Exception):
    """The process did not answer in time."""


class Worker:
    """One process and its two pipes. Only the caller that borrowed it may use the pipes; anybody may stop it."""

    def __init__(self, address_space: int) -> None:
        # An isolated interpreter without site packages, in a process group of its own, with no variable but the path of
        # the linker: the interpreter of the Lambda runtime finds its own library only through that.
        command = [sys.executable, "-I", "-S", "-B", str(WORKER), _engine_path(), str(address_space)]
        environment = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=environment, cwd="/", close_fds=True, start_new_session=True, bufsize=0,
        )  # fmt: skip
        pipes = self._process.stdin, self._process.stdout
        self._pipes = [pipe for pipe in pipes if pipe is not None]
        self._into, self._out = (pipe.fileno() for pipe in self._pipes)
        for pipe in (self._into, self._out):
            os.set_blocking(pipe, False)
        self.calls = 0

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def greet(self) -> None:
        """Await the frame that says the process is ready. Raises WorkerGone, WorkerSilent."""
        self._receive(HEADER.size, time.monotonic() + START_S)

    def ask(self, request: bytes, wall_s: float) -> bytes:
        """Send one frame, await one. Raises WorkerGone, WorkerSilent; after either the worker is of no more use."""
        self.calls += 1
        deadline = time.monotonic() + wall_s
        self._send(memoryview(HEADER.pack(len(request)) + request), deadline)
        size = HEADER.unpack(self._receive(HEADER.size, deadline))[0]
        if size > LARGEST_ANSWER:
            raise WorkerGone
        return self._receive(size, deadline)

    def _send(self, data: memoryview, deadline: float) -> None:
        while data:
            _await(self._into, select.POLLOUT, deadline)
            try:
                data = data[os.write(self._into, data[:PIECE]) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise WorkerGone from error

    def _receive(self, size: int, deadline: float) -> bytes:
        parts = []
        while size:
            _await(self._out, select.POLLIN, deadline)
            part = os.read(self._out, min(size, PIECE))
            if not part:
                raise WorkerGone
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def stop(self) -> None:
        """Kill and reap the process; whoever waits for its answer gets WorkerGone."""
        self._process.kill()
        self._process.wait()

    def discard(self) -> None:
        """Stop, and close the pipes."""
        self.stop()
        for pipe in self._pipes:
            pipe.close()


class WorkerPool:
    """``size`` processes for one owner of scripts, up to twice as many in all, so that nobody's endless scripts keep
    others waiting. Each is replaced after ``recycle_after`` calls; a script may ask for ``memory`` bytes.

    Safe to share between threads; a caller waits ``patience_s`` seconds at most for a free worker.
    """

    def __init__(
        self, size: int = 4, *, memory: int = 64 * 1024 * 1024, recycle_after: int = 1000, patience_s: float = 60.0
    ) -> None:
        self.memory = memory
        self._address_space = INTERPRETER_MEMORY + 2 * memory
        self._recycle_after = recycle_after
        self._patience_s = patience_s
        self._line: FairQueue[object] = FairQueue(size)
        self._turn = threading.Condition()
        self._called: set[object] = set()
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        self._busy: set[Worker] = set()
        self._closed = False
        # Also runs when the interpreter ends, so that neither a worker nor a warning about one is left behind.
        self._finalizer = weakref.finalize(self, _stop_all, self._idle, self._busy, self._lock)

    def request(self, kind: str, payload: Mapping[str, Any], *, time_s: float, owner: str = "") -> bytes:
        """The answer of a worker to one request of ``owner``, as JSON, within ``time_s`` of processor time.

        Raises ScriptTimeout when it had to be killed, ScriptLimit when it died, ScriptError when the pool is closed.
        """
        # The worker's own alarm only matters when nobody is left to kill it, so it rings a little later.
        frame = json.dumpb({"kind": kind, "wall_s": time_s + 2 * GRACE_S, "time_s": time_s, **payload})
        worker = self._borrow(owner)
        healthy = False
        try:
            answer = worker.ask(frame, time_s + GRACE_S)
            healthy = True
        except WorkerSilent:
            raise ScriptTimeout(timeout_message(time_s)) from None
        except WorkerGone:
            self._refuse_when_closed()
            raise ScriptLimit("the script broke its engine, most likely by asking for too much memory") from None
        finally:
            self._give_back(worker, healthy)
            self._free(owner)
        return answer

    def close(self) -> None:
        """Stop every worker, busy ones too; their callers get a ScriptError."""
        self._closed = True
        _stop_all(self._idle, self._busy, self._lock)

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise ScriptError("the script workers are shut down")

    def _await_turn(self, owner: str) -> None:
        ticket = object()
        with self._turn:
            self._line.put(owner, ticket)
            self._call()
            if not self._turn.wait_for(lambda: ticket in self._called, self._patience_s):
                self._line.leave(owner, ticket)
                raise ScriptTimeout("no script worker became free in time")
            self._called.discard(ticket)

    def _call(self) -> None:
        while (taken := self._line.take()) is not None:
            self._called.add(taken[1])
            self._turn.notify_all()

    def _free(self, owner: str) -> None:
        with self._turn:
            self._line.done(owner)
            self._call()

    def _borrow(self, owner: str) -> Worker:
        self._await_turn(owner)
        try:
            worker = self._idle_worker() or self._new_worker()
            with self._lock:
                self._busy.add(worker)
            # A pool closed while this worker started has not seen it.
            if self._closed:
                self._give_back(worker, healthy=False)
            self._refuse_when_closed()
        except BaseException:
            self._free(owner)
            raise
        return worker

    def _idle_worker(self) -> Worker | None:
        while True:
            with self._lock:
                if not self._idle:
                    return None
                worker = self._idle.pop()
            if worker.alive:
                return worker
            worker.discard()

    def _new_worker(self) -> Worker:
        self._refuse_when_closed()
        worker = Worker(self._address_space)
        try:
            worker.greet()
        except (WorkerGone, WorkerSilent):
            worker.discard()
            raise ScriptError("the script engine did not start") from None
        return worker

    def _give_back(self, worker: Worker, healthy: bool) -> None:
        with self._lock:
            self._busy.discard(worker)
            keep = healthy and not self._closed and worker.calls < self._recycle_after
            if keep:
                self._idle.append(worker)
        if not keep:
            worker.discard()


def timeout_message(time_s: float) -> str:
    """What an author reads when the time is over."""
    return f"the script took longer than {time_s:g} s"


def _stop_all(idle: list[Worker], busy: set[Worker], lock: threading.Lock) -> None:
    with lock:
        for worker in idle:
            worker.discard()
        idle.clear()
        # The pipes of a busy worker belong to its caller, who closes them.
        for worker in busy:
            worker.stop()


def _await(descriptor: int, event: int, deadline: float) -> None:
    poll = select.poll()
    poll.register(descriptor, event)
    left = deadline - time.monotonic()
    if left <= 0 or not poll.poll(left * 1000):
        raise WorkerSilent


@functools.cache
def _engine_path() -> str:
    found = importlib.util.find_spec("_quickjs")
    if found is None or found.origin is None:
        raise RuntimeError("the package quickjs-ng is not installed")
    return found.origin
