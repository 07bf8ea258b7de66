"""Flows of 0 and 10 steps: the engine in process, the whole system over HTTP, and DBOS, in turns within one run.

All are durable on SQLite as they are set up by default. A round of each follows a round of the other, so that whatever
else the machine does hits both.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import requests

from scripts.benching import processes
from scripts.benching.table import median, ms, print_table, quantile
from scripts.costing.flows import TRANSFORM, chain, http_step
from shared.composition import Services, use_services
from shared.engine.interpreter import Verdict
from shared.engine.ports import DefinitionRef
from shared.kit.settings import Settings, use_settings
from shared.store.embedded import StoreRequest

STEPS = {"empty": 0, "transform": 10, "http": 10}
PATIENCE_S = 60.0
NAME, PASSWORD = "bench", "correct horse 42"

Run = Callable[[str], float]
"""Runs a flow and answers the seconds from the call to its end."""


def texts(target: str) -> dict[str, str]:
    """The flows' definitions. Signalbox's smallest flow has one node, which does nothing."""
    return {
        "empty": chain(1, "type: base"),
        "transform": chain(10, TRANSFORM),
        "http": chain(10, http_step(f"http://{target}/orders")),
    }


class InProcess:
    """The engine with its embedded driver, over a file, in this process."""

    def __init__(self, folder: Path, target: str) -> None:
        settings = Settings(data=folder, allow_hosts=[target])
        use_settings(settings)
        self.services = Services(settings)
        use_services(self.services)
        self._ended: dict[str, threading.Event] = {}
        self.services.__dict__["advancer"] = _Watched(self.services.advancer, self._end)
        self.services.start()
        self.services.identity.accounts.sign_up(username=NAME, password=PASSWORD)
        session = self.services.identity.sessions.login(NAME, PASSWORD)
        self._principal = self.services.identity.authenticator.authenticate(f"Bearer {session.token}")
        self._flows = {
            name: self.services.catalog.create(self._principal, "flow", name, text)
            for name, text in texts(target).items()
        }

    def run(self, name: str) -> float:
        """Seconds from the start of an execution to its last durable word."""
        flow = self._flows[name]
        reference = DefinitionRef(self._principal.org_id, flow.id, flow.revision)
        begun = time.perf_counter()
        view = self.services.engine.start(self._principal, reference, {"key": "value"})
        self._ended.setdefault(view.id, threading.Event()).wait(PATIENCE_S)
        return time.perf_counter() - begun

    def _end(self, execution_id: str) -> None:
        self._ended.setdefault(execution_id, threading.Event()).set()

    def requests_of(self, name: str) -> int:
        """Store requests of one run, from its start to its end; other threads' are not counted."""
        made: list[StoreRequest] = []
        store = self.services.store
        if store is None:
            raise RuntimeError("the engine in process has an embedded store")

        def listen(request: StoreRequest) -> None:
            if threading.current_thread().name.startswith(("MainThread", "driver", "attempt")):
                made.append(request)

        unsubscribe = store.requests.subscribe(listen)
        self.run(name)
        unsubscribe()
        return len(made)

    def close(self) -> None:
        """Stop the engine."""
        self.services.close()
        use_services(None)
        use_settings(None)


class _Watched:
    """The advancer, telling of every end."""

    def __init__(self, advancer: Any, ended: Callable[[str], None]) -> None:
        self._advancer = advancer
        self._ended = ended

    def __getattr__(self, name: str) -> Any:
        return getattr(self._advancer, name)

    def advance(self, org_id: str, execution_id: str, generation: int) -> Verdict:
        verdict: Verdict = self._advancer.advance(org_id, execution_id, generation)
        if verdict.word == "end":
            self._ended(execution_id)
        return verdict


class OverHttp:
    """A server process, asked as any client asks it: run, then look until it has ended."""

    def __init__(self, url: str, target: str) -> None:
        self._url = url
        self._session = requests.Session()
        form = {"username": NAME, "password": PASSWORD}
        self._post("/api/v1/accounts", form)
        self._session.headers["Authorization"] = f"Bearer {self._post('/api/v1/auth/login', form)['token']}"
        self._flows = {
            name: self._post("/api/v1/flows", {"name": name, "definition": text})["id"]
            for name, text in texts(target).items()
        }

    def _post(self, path: str, body: Any) -> Any:
        answer = self._session.post(f"{self._url}{path}", json=body, timeout=PATIENCE_S)
        answer.raise_for_status()
        return answer.json()

    def run(self, name: str) -> float:
        """Seconds from the request that runs a flow to the answer that shows its result."""
        begun = time.perf_counter()
        execution = self._post(f"/api/v1/flows/{self._flows[name]}/run", {"input": {"key": "value"}})["execution_id"]
        while (
            self._session.get(f"{self._url}/api/v1/executions/{execution}", timeout=PATIENCE_S).json()["status"]
            == "running"
        ):
            time.sleep(0.001)
        return time.perf_counter() - begun


def main() -> None:
    """Measure in rounds, then print medians, 95th percentiles and ratios."""
    parser = argparse.ArgumentParser(prog="scripts/bench flow", description=main.__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--runs", type=int, default=10, help="runs of each flow in a round")
    chosen = parser.parse_args()
    logging.disable(logging.INFO)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="signalbox-bench-")))
        target = stack.enter_context(processes.target())
        dbos = stack.enter_context(processes.dbos(folder))
        url = stack.enter_context(processes.server(folder / "server", "--allow-host", target))
        engine = InProcess(folder / "engine", target)
        stack.callback(engine.close)
        over_http = OverHttp(url, target)
        times: dict[tuple[str, str], list[float]] = {}
        for number in range(chosen.rounds + 1):
            for name in STEPS:
                rounds = {
                    "engine": [engine.run(name) for _ in range(chosen.runs)],
                    "dbos": dbos.run(name, chosen.runs, f"http://{target}/orders"),
                    "http": [over_http.run(name) for _ in range(chosen.runs)],
                }
                # The first round warms everything up.
                for subject, found in rounds.items() if number else ():
                    times.setdefault((subject, name), []).extend(found)
        requests_made = {name: engine.requests_of(name) for name in STEPS}
    _print(times, requests_made)


def per_step(times: dict[tuple[str, str], list[float]], subject: str, name: str) -> float:
    """Seconds a step adds to an empty flow. Signalbox's empty flow has one node already."""
    steps = STEPS[name] - (subject != "dbos")
    return max(median(times[subject, name]) - median(times[subject, "empty"]), 0.0) / steps


def _print(times: dict[tuple[str, str], list[float]], requests_made: dict[str, int]) -> None:
    header = ("", "median ms", "p95 ms", "ms a step", "of DBOS's run", "of DBOS's step", "store requests")
    rows: list[tuple[object, ...]] = []
    titles = {"engine": "Signalbox, in process", "http": "Signalbox, over HTTP", "dbos": "DBOS, in process"}
    for name, steps in STEPS.items():
        for subject, title in titles.items():
            found = times[subject, name]
            step = per_step(times, subject, name) if steps else 0.0
            theirs = per_step(times, "dbos", name) if steps else 0.0
            rows.append((
                f"{name}: {title}", ms(median(found)), ms(quantile(found, 0.95)), ms(step) if steps else "",
                f"{median(found) / median(times['dbos', name]):.2f}", f"{step / theirs:.2f}" if theirs else "",
                requests_made[name] if subject == "engine" else "",
            ))  # fmt: skip
    print_table(header, rows)


if __name__ == "__main__":
    main()
