"""The process that evaluates authors' code. Run by path, alone: it imports nothing of ours and is killed from outside.

Frames on standard input and output: four bytes of length, then JSON; an empty frame says that it is ready. A request is
``{"kind", "wall_s", …}``; the handler of its kind answers the JSON text to send. Another language is another handler.
``argv``: the path of the JavaScript engine's extension module, the address space in bytes.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import struct
import sys
import time
from collections.abc import Callable
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from typing import Any

STACK_BYTES = 1024 * 1024
HEADER = struct.Struct(">I")


def read_exactly(size: int) -> bytes:
    """The next ``size`` bytes; leaves the process when the other side is gone."""
    parts = []
    while size:
        part = os.read(0, min(size, 1 << 20))
        if not part:
            sys.exit(0)
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def write_all(data: bytes) -> None:
    """Write a whole frame; a pipe takes what it has room for."""
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def confine(address_space: int) -> None:
    """Give up files, processes, core dumps and memory beyond the limit, as far as the system lets a process do so."""
    limits = {
        resource.RLIMIT_AS: address_space,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: 3,
    }
    for name, value in limits.items():
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(name, (value, value))


class JavaScriptEngine:
    """A fresh context per request; the next one is made while the process would otherwise be idle."""

    def __init__(self, module_path: str, harness_path: str) -> None:
        loader = ExtensionFileLoader("_quickjs", module_path)
        module: Any = loader.create_module(ModuleSpec("_quickjs", loader, origin=module_path))
        loader.exec_module(module)
        self._module = module
        with open(harness_path, encoding="utf-8") as file:  # noqa: PTH123
            self._harness = file.read()
        self._ready: tuple[Any, Any] | None = None

    def prepare(self) -> None:
        """Make the context of the next request."""
        if self._ready is None:
            context = self._module.Context()
            context.set_max_stack_size(STACK_BYTES)
            self._ready = context, context.eval(self._harness)

    def handle(self, request: dict[str, Any]) -> str:
        """Evaluate ``jobs`` (pairs of mode and source) in one context with ``scope``."""
        self.prepare()
        assert self._ready is not None  # noqa: S101
        (context, harness), self._ready = self._ready, None
        context.set_memory_limit(request["memory"])
        context.set_time_limit(request["time_s"])
        answers: list[str] = []
        stopped = ""
        try:
            harness("setup", request["scope"])
            deadline = time.process_time() + request["time_s"]
            for mode, source in request["jobs"]:
                answers.append(self._evaluate(context, harness, mode, source, deadline))
        except self._module.JSException as error:
            reason = str(error).partition("\n")[0]
            stopped = f',"stopped":{json.dumps(reason)},"logs":{json.dumps(self._logs(context, harness))}'
        return '{"answers":[' + ",".join(answers) + "]" + stopped + "}"

    def _evaluate(self, context: Any, harness: Any, mode: str, source: str, deadline: float) -> str:
        context.set_time_limit(max(deadline - time.process_time(), 0.001))
        answer = harness("evaluate", mode, source)
        if answer:
            return str(answer)
        while context.execute_pending_job():
            if time.process_time() > deadline:
                raise self._module.JSException("InternalError: interrupted")
        return str(harness("conclude"))

    def _logs(self, context: Any, harness: Any) -> list[Any]:
        context.set_memory_limit(-1)
        context.set_time_limit(1.0)
        try:
            logs: list[Any] = json.loads(harness("logs"))["logs"]
        except (self._module.JSException, ValueError):
            return []
        return logs


def main() -> None:
    """Serve requests until the other side closes the pipe."""
    engine = JavaScriptEngine(sys.argv[1], os.path.join(os.path.dirname(__file__), "harness.js"))  # noqa: PTH118, PTH120
    confine(int(sys.argv[2]))
    handlers: dict[str, Callable[[dict[str, Any]], str]] = {"javascript": engine.handle}
    engine.prepare()
    write_all(HEADER.pack(0))
    while True:
        engine.prepare()
        request = json.loads(read_exactly(HEADER.unpack(read_exactly(HEADER.size))[0]))
        # The default action ends the process, so that no loop outlives a parent that was killed.
        signal.setitimer(signal.ITIMER_REAL, request["wall_s"])
        try:
            answer = handlers[request["kind"]](request).encode()
        except MemoryError:
            answer = b'{"answers":[],"stopped":"InternalError: out of memory","logs":[]}'
        signal.setitimer(signal.ITIMER_REAL, 0)
        write_all(HEADER.pack(len(answer)) + answer)


if __name__ == "__main__":
    main()
