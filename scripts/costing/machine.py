"""Plays Step Functions: walks ``shared/engine/*.asl.json`` for every execution and counts runs and steps."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.costing.bill import Meter
from scripts.template import ROOT
from shared.kit import clock

FIRST = ROOT / "shared" / "engine" / "first.asl.json"
DRIVER = ROOT / "shared" / "engine" / "driver.asl.json"

TOKEN_LENGTH = 640
"""About as long as task tokens are; the store keeps them."""

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]
Walk = Generator[str, bool, None]
"""Yields the token of each park; is sent whether the deadline, rather than a signal, ended it."""


@dataclass(frozen=True, slots=True)
class Parked:
    """A machine that sleeps until its token is completed or the moment comes."""

    walk: Walk
    until_ms: int


class Machines:
    """The state machine's executions. A driver of the engine: ``start`` and ``wake`` only queue, :meth:`run` walks."""

    def __init__(self, engine: Handler, meter: Meter) -> None:
        self._engine = engine
        self._meter = meter
        self._names: set[str] = set()
        self._ready: deque[tuple[Walk, bool | None]] = deque()
        self._parked: dict[str, Parked] = {}
        self._completed: set[str] = set()
        self._deadline_ms = 0

    def start(self, org_id: str, execution_id: str, generation: int) -> None:
        """Start the machine of a generation: the first one on the Express machine, whose names need not be new."""
        given = {"execution": f"{org_id}/{execution_id}", "generation": generation}
        if generation == 0:
            self._meter.bill.express_runs += 1
            self._ready.append((self._walk(FIRST, given), None))
        else:
            self._start_driver(given)

    def _start_driver(self, given: dict[str, Any]) -> None:
        """Start a driver; one that exists already counts as done."""
        name = f"{given['execution']}-{given['generation']}"
        if name not in self._names:
            self._names.add(name)
            self._ready.append((self._walk(DRIVER, given), None))

    def wake(self, org_id: str, execution_id: str, generation: int, task_token: str | None) -> None:
        """Complete the token of a park; one that is over counts as done. Without one, start the driver if it is not."""
        parked = self._parked.pop(task_token or "", None)
        if parked is not None:
            self._ready.append((parked.walk, False))
        elif task_token is not None:
            self._completed.add(task_token)
        else:
            self._start_driver({"execution": f"{org_id}/{execution_id}", "generation": generation})

    def run(self) -> bool:
        """Walk every machine as far as it goes without time passing; whether any walked."""
        walked = bool(self._ready)
        while self._ready:
            walk, timed_out = self._ready.popleft()
            try:
                token = next(walk) if timed_out is None else walk.send(timed_out)
            except StopIteration:
                continue
            if token in self._completed:
                self._ready.append((walk, False))
            else:
                self._parked[token] = Parked(walk, self._deadline_ms)
        return walked

    def let_time_pass(self) -> None:
        """Move the clock to the first deadline of a park. Raises KeyError when none sleeps."""
        token = min(self._parked, key=lambda name: self._parked[name].until_ms)
        parked = self._parked.pop(token)
        clock.sleep(max(parked.until_ms - clock.now_ms(), 0) / 1000)
        self._ready.append((parked.walk, True))

    def _walk(self, machine: Path, given: dict[str, Any]) -> Walk:
        definition = json.loads(machine.read_text(encoding="utf-8"))
        # Leaving the start counts as well (AWS Step Functions pricing, first example); Express machines pay per run.
        step = int(machine == DRIVER)
        self._meter.bill.transitions += step
        name, verdict = definition["StartAt"], dict[str, Any]()
        while True:
            self._meter.bill.transitions += step
            state = definition["States"][name]
            if state["Type"] in ("Succeed", "Fail"):
                return
            if state["Type"] == "Choice":
                name = _chosen(state, verdict)
                continue
            if state["Type"] == "Wait":
                clock.sleep(state.get("Seconds", verdict["seconds"]))
            elif state["Resource"].endswith(".waitForTaskToken"):
                token = f"{given['execution']}#{verdict['wake']}#{clock.now_ms()}".ljust(TOKEN_LENGTH, "A")
                self._deadline_ms = clock.now_ms() + verdict["seconds"] * 1000
                self._invoke({"op": "park", **given, "wake": verdict["wake"], "task_token": token})
                timed_out = yield token
                name = state["Catch"][0]["Next"] if timed_out else state["Next"]
                continue
            elif state["Resource"].endswith("states:startExecution"):
                # The driver hands over to the generation of the verdict, the first machine to its own.
                self._start_driver(given | ({"generation": verdict["generation"]} if machine == DRIVER else {}))
            else:
                verdict = self._invoke({"op": "advance", **given})
            name = state["Next"]

    def _invoke(self, payload: dict[str, Any]) -> dict[str, Any]:
        self._meter.bill.invocations += 1
        return self._engine(payload, None)


def _chosen(state: dict[str, Any], verdict: dict[str, Any]) -> str:
    """Where a choice over the verdict leads."""

    def holds(rule: dict[str, Any]) -> bool:
        if "And" in rule:
            return all(map(holds, rule["And"]))
        return bool(verdict[rule["Variable"].rpartition(".")[2]] == rule["StringEquals"])

    return str(next((rule["Next"] for rule in state["Choices"] if holds(rule)), state["Default"]))
