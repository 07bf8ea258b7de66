"""The processes a benchmark needs beside its own: servers, an HTTP target, DBOS, LiteLLM's proxy, a client."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import requests

from scripts.template import ROOT

READY = "Signalbox is ready at "
_TARGET = "from functions.local.target import Target; target = Target(); print(target.address, flush=True); input()"


MASTER_KEY, MODEL = "sk-bench", "mocked"
_PROXY = f"""
model_list:
  - model_name: {MODEL}
    litellm_params: {{model: openai/gpt-4o-mini, api_key: none, mock_response: hello}}
general_settings: {{master_key: {MASTER_KEY}}}
litellm_settings: {{telemetry: false, set_verbose: false}}
"""
_PATIENCE_S = 180.0


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


class Worker:
    """A process that is given lines of JSON and answers each."""

    def __init__(self, given: IO[str], answers: IO[str]) -> None:
        self._given = given
        self._answers = answers

    def ask(self, order: Mapping[str, Any]) -> Any:
        """The answer to an order. Raises RuntimeError when the process is gone; it has said why."""
        self._given.write(json.dumps(order) + "\n")
        self._given.flush()
        line = self._answers.readline()
        if not line:
            raise RuntimeError("the process has ended")
        return json.loads(line)


class Dbos:
    """DBOS, in a process and an environment of its own."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def run(self, flow: str, runs: int, url: str) -> list[float]:
        """Seconds of each run."""
        return [float(seconds) for seconds in self._worker.ask({"flow": flow, "runs": runs, "url": url})]


@contextmanager
def dbos(folder: Path) -> Iterator[Dbos]:
    """DBOS over a SQLite file in the folder."""
    python = ROOT / ".venv-bench" / "bin" / "python"
    worker = ROOT / "scripts" / "benching" / "dbos_worker.py"
    with _process([str(python), str(worker), str(folder / "dbos.sqlite")]) as (given, answers):
        for line in answers:
            if line.strip() == "ready":
                break
        yield Dbos(Worker(given, answers))


@contextmanager
def client() -> Iterator[Worker]:
    """What sends requests and times them."""
    with _process([sys.executable, "-P", "-m", "scripts.benching.load"]) as (given, answers):
        yield Worker(given, answers)


@contextmanager
def hello() -> Iterator[str]:
    """The base URL of a server that does nothing."""
    with _process([sys.executable, "-P", "-m", "scripts.benching.hello"]) as (_, output):
        yield output.readline().strip()


@contextmanager
def litellm(folder: Path) -> Iterator[str]:
    """The base URL of LiteLLM's proxy, in an environment of its own, with a model that is not asked."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = folder / "litellm.yaml"
    settings.write_text(_PROXY, encoding="utf-8")
    command = [str(ROOT / ".venv-litellm" / "bin" / "litellm"), "--config", str(settings), "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1"], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=os.environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "PYTHONPATH": ""},
    )  # fmt: skip
    try:
        _await(f"{url}/health/liveliness", process)
        yield url
    finally:
        process.terminate()
        process.wait()


def _await(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until a server answers. Raises RuntimeError when it ends or takes too long."""
    deadline = time.monotonic() + _PATIENCE_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if requests.get(url, timeout=5).ok:
                return
        except requests.RequestException:
            time.sleep(0.1)
    raise RuntimeError(f"{process.args!r} did not start")
