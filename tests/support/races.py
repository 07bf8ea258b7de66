"""Real processes at one purse: what must hold, and the command ``scripts/races``.

Each process is a deployment of its own over the shared store, and calls the gate's Lambda handler. They start a round
together when the parent says so. Times are of the machine's monotonic clock, which all processes share.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.composition import STORE, Services, use_services
from shared.governance.money import MICRO
from shared.kit import json
from shared.kit.settings import Settings, use_settings
from shared.store.base import table_definitions
from shared.store.embedded import EmbeddedEngine, installed
from shared.store.models import every_model
from tests.conformance import stores
from tests.support.governance import Governed, govern, owner

ROOT = Path(__file__).resolve().parents[2]
SHARED = ("dynoxide", "ministack")
"""Stores beside our own whose transactions are atomic between processes; moto's are not, not even between threads."""

_SECRET = "r" * 64
_KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}


@dataclass(frozen=True)
class Place:
    """Where a deployment's state is: a folder, and the endpoint of a store that is not in it."""

    folder: Path
    endpoint: str | None = None

    @contextmanager
    def deployed(self) -> Iterator[Services]:
        """A deployment of this process over the shared state."""
        # Nothing of it reaches AWS: only the store is another one.
        chosen = Settings(data=self.folder, token_secret=_SECRET, log_level="ERROR")
        made = Services(chosen)
        with ExitStack() as stack:
            if self.endpoint is not None:
                os.environ.update(_KEYS | {"AWS_ENDPOINT_URL_DYNAMODB": self.endpoint})
                made.__dict__["store"] = None
            else:
                engine = stack.enter_context(closing(EmbeddedEngine.open(self.folder / STORE)))
                engine.create_tables(*every_model())
                stack.enter_context(installed(engine))
                made.__dict__["store"] = engine
            use_settings(chosen)
            use_services(made)
            try:
                yield made
            finally:
                use_services(None)
                use_settings(None)
                made.close()


class Racer:
    """One process that calls the gate when it is told to."""

    def __init__(self, place: Place) -> None:
        command = [sys.executable, "-m", "tests.support.races", "--work", str(place.folder), place.endpoint or ""]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def tell(self, **order: Any) -> None:
        """Begin a round; what came of it is read by :meth:`heard`."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def heard(self) -> list[tuple[float, int]]:
        """Each call's beginning and status. Raises RuntimeError when the process has ended."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("a racing process ended")
        return [(float(began), int(status)) for began, status in json.loads(line)]

    def close(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait(30)


def work(place: Place) -> None:
    """What a racing process does: a round for each line it reads."""
    from functions.gate.app import handler

    # The access log would go where the answers go.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    with place.deployed():
        for line in sys.stdin:
            order = json.loads(line)
            bot = Governed(**order["bot"])
            while time.monotonic() < order["at"]:
                # Everybody begins at the same moment; a sleep would overshoot it.
                continue
            found = []
            for _ in range(order["calls"]):
                began = time.monotonic()
                found.append((began, bot.gate(handler).status))
            answers.write(json.dumps(found) + "\n")


@dataclass(frozen=True)
class Round:
    """What came of a round: how many calls were admitted, refused for money or halt, and anything else."""

    admitted: int
    refused: int
    others: tuple[int, ...]
    seconds: float


def _bot(services: Services, cents: int) -> tuple[Governed, dict[str, str]]:
    made = govern(services, name=f"race {time.monotonic_ns()}", budget_cents=cents)
    fields = ("org_id", "workflow_id", "key_id", "key", "secret")
    return made, {name: getattr(made, name) for name in fields}


def race(services: Services, racers: Sequence[Racer], *, calls: int, cap: int) -> Round:
    """Let every process make ``calls`` calls of a cent at once on a budget of ``cap`` cents.

    Raises AssertionError unless exactly ``cap`` were admitted and the purse says the same.
    """
    bot, told = _bot(services, cap)
    began = time.monotonic()
    for racer in racers:
        racer.tell(bot=told, calls=calls, at=began + 0.05)
    statuses = [status for racer in racers for _, status in racer.heard()]
    admitted, refused = statuses.count(200), statuses.count(402)
    others = tuple(status for status in statuses if status not in (200, 402))
    purse = bot.purse
    assert (admitted, int(purse.available)) == (min(cap, len(statuses)), max(0, cap - len(statuses)) * MICRO), statuses
    assert int(purse.reserved) == admitted * MICRO
    return Round(admitted, refused, others, time.monotonic() - began)


def kill_in_the_middle(services: Services, racers: Sequence[Racer], *, calls: int) -> tuple[Round, int]:
    """Kill a workflow while ``calls`` calls are made of it; how many of them began after the kill was acknowledged.

    Raises AssertionError when one of those was admitted.
    """
    bot, told = _bot(services, 10**6)
    each = -(-calls // len(racers))
    began = time.monotonic()
    for racer in racers:
        racer.tell(bot=told, calls=each, at=began + 0.05)
    while int(bot.purse.reserved) < calls // 4 * MICRO:
        # A quarter has been admitted before the kill.
        continue
    services.governance.workflows.change_state(owner(), bot.workflow_id, "kill", "race")
    killed = time.monotonic()
    found = [row for racer in racers for row in racer.heard()]
    late = [status for start, status in found if start > killed]
    assert 200 not in late, f"{late.count(200)} admitted after the kill"
    statuses = [status for _, status in found]
    admitted = statuses.count(200)
    assert int(bot.purse.reserved) == admitted * MICRO
    others = tuple(status for status in statuses if status not in (200, 403))
    return Round(admitted, statuses.count(403), others, time.monotonic() - began), len(late)


@contextmanager
def raced(store: str, processes: int) -> Iterator[tuple[Services, list[Racer]]]:
    """A deployment over a store and the processes that race at it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        endpoint = None
        if store != "file":
            client = stack.enter_context(stores.opened(store, folder))
            for definition, _ in table_definitions(*every_model()):
                client._make_api_call("CreateTable", definition)
            endpoint = client.meta.endpoint_url  # type: ignore[attr-defined]
        place = Place(folder, endpoint)
        services = stack.enter_context(place.deployed())
        services.identity.prepare()
        racers = [stack.enter_context(closing(Racer(place))) for _ in range(processes)]
        yield services, racers


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="scripts/races")
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--cap", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--kill-calls", type=int, default=1000)
    parser.add_argument("--store", action="append", choices=["file", *SHARED])
    chosen = parser.parse_args()
    for store in chosen.store or ["file", *(name for name in SHARED if stores.available(name))]:
        with raced(store, chosen.processes) as (services, racers):
            rounds = [race(services, racers, calls=chosen.calls, cap=chosen.cap) for _ in range(chosen.rounds)]
            tried = chosen.processes * chosen.calls
            print(f"{store}: {len(rounds)} rounds of {tried} calls, {chosen.cap} admitted in each")
            seconds = sum(found.seconds for found in rounds)
            others = sorted({status for found in rounds for status in found.others})
            print(f"  {tried * len(rounds) / seconds:.0f} calls/s, other answers: {others or 'none'}")
            killed, late = kill_in_the_middle(services, racers, calls=chosen.kill_calls)
            print(
                f"  kill: {killed.admitted} admitted, {killed.refused} refused; of {late} begun after it none admitted"
            )
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(Place(Path(sys.argv[2]), sys.argv[3] or None))
        sys.exit(0)
    sys.exit(main())
