"""The processes a benchmark needs beside its own: an HTTP target, DBOS, a server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from scripts.template import ROOT

READY = "Signalbox is ready at "
_TARGET = "from functions.local.target import Target; target = Target(); print(target.address, flush=True); input()"


@contextmanager
def _process(command: list[str]) -> Iterator[tuple[IO[str], IO[str]]]:
    """A process (its input, its output) that ends when its input does, or is terminated."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the process has no pipes")
    try:
        yield process.stdin, process.stdout
    finally:
        process.terminate()
        process.communicate()


@contextmanager
def target() -> Iterator[str]:
    """Host and port of an HTTP service on loopback."""
    with _process([sys.executable, "-P", "-c", _TARGET]) as (_, output):
        yield output.readline().strip()


@contextmanager
def server(data: Path, *flags: str) -> Iterator[str]:
    """The base URL of a server."""
    command = [sys.executable, "-P", "-m", "functions.local", "--port", "0", "--data", str(data), *flags]
    with _process(command) as (_, output):
        for line in output:
            if READY in line:
                yield line.partition(READY)[2].strip()
                return
        raise RuntimeError("the server did not start")


class Dbos:
    """DBOS, in a process and an environment of its own."""

    def __init__(self, given: IO[str], answers: IO[str]) -> None:
        self._given = given
        self._answers = answers

    def run(self, flow: str, runs: int, url: str) -> list[float]:
        """Seconds of each run."""
        self._given.write(json.dumps({"flow": flow, "runs": runs, "url": url}) + "\n")
        self._given.flush()
        times: list[Any] = json.loads(self._answers.readline())
        return [float(seconds) for seconds in times]


@contextmanager
def dbos(folder: Path) -> Iterator[Dbos]:
    """DBOS over a SQLite file in the folder."""
    python = ROOT / ".venv-bench" / "bin" / "python"
    worker = ROOT / "scripts" / "benching" / "dbos_worker.py"
    with _process([str(python), str(worker), str(folder / "dbos.sqlite")]) as (given, answers):
        for line in answers:
            if line.strip() == "ready":
                break
        yield Dbos(given, answers)
