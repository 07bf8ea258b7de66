"""From the request that kills a workflow to the frames of everybody who listens to its org, over a real server.

Every socket has an API key of one of a few workflows, as agents have, and hears of every workflow of the org. Sockets
and requests share this machine with the server, so part of what is measured is the clients' own work.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from websockets.asyncio.client import ClientConnection, connect

from scripts.benching import processes
from scripts.benching.table import median, ms, print_table, quantile

NAME, PASSWORD = "bench", "correct horse 42"
KEYS = 10
AT_ONCE = 50
PATIENCE_S = 120.0


class Org:
    """An org of its own, asked as any client asks."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = requests.Session()
        form = {"username": NAME, "password": PASSWORD}
        self._post("/api/v1/accounts", form)
        session = self._post("/api/v1/auth/login", form)
        self._session.headers["Authorization"] = f"Bearer {session['token']}"
        self.id = str(session["organization_id"])
        self._org = f"/api/v1/orgs/{self.id}"
        self.control = f"{url.replace('http', 'ws', 1)}/ws/control/{self.id}"

    def _post(self, path: str, body: Any) -> Any:
        answer = self._session.post(f"{self._url}{path}", json=body, timeout=PATIENCE_S)
        answer.raise_for_status()
        return answer.json()

    def workflow(self, name: str, **fields: Any) -> str:
        """A new workflow; its id."""
        return str(self._post(f"{self._org}/workflows", {"name": name, **fields})["id"])

    def key(self, workflow_id: str) -> str:
        """A new key of a workflow."""
        return self.signing_key(workflow_id)[0]

    def signing_key(self, workflow_id: str) -> tuple[str, str]:
        """A new key of a workflow, and its secret."""
        made = self._post(f"{self._org}/api-keys", {"name": "bench", "workflow_id": workflow_id})
        return str(made["key"]), str(made["secret_key"])

    def kill(self, workflow_id: str) -> tuple[float, float]:
        """Kill a workflow: when it was asked for, and when it was answered."""
        begun = time.perf_counter()
        self._post(f"{self._org}/workflows/{workflow_id}/kill", {"reason": "bench"})
        return begun, time.perf_counter()


@dataclass
class Kill:
    """What became of one kill: when each socket heard of it."""

    heard: list[float] = field(default_factory=list)
    everybody: asyncio.Event = field(default_factory=asyncio.Event)


class Listeners:
    """The open sockets. A frame is looked at no closer than it must be, because that would be measured, too."""

    def __init__(self, count: int, kills: dict[str, Kill]) -> None:
        self._count = count
        self._kills = kills
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self, url: str, keys: Sequence[str]) -> None:
        """Connect everybody and wait until each has been told the states."""
        sockets = await asyncio.gather(*(self._connect(url, keys[number % len(keys)]) for number in range(self._count)))
        self._tasks = [asyncio.create_task(self._listen(socket)) for socket in sockets]

    async def _connect(self, url: str, key: str) -> ClientConnection:
        async with self._gate:
            socket = await connect(
                url, additional_headers={"X-API-Key": key}, ping_interval=None, open_timeout=PATIENCE_S
            )  # fmt: skip
            await asyncio.wait_for(socket.recv(), PATIENCE_S)
            return socket

    async def _listen(self, socket: ClientConnection) -> None:
        async for message in socket:
            now, text = time.perf_counter(), str(message)
            if text.startswith('{"type":"state_change"'):
                kill = self._kills[text.split('"', 8)[7]]
                kill.heard.append(now)
                if len(kill.heard) == self._count:
                    kill.everybody.set()

    async def close(self) -> None:
        """Stop listening."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def measure(url: str, sockets: int, samples: int) -> dict[str, list[float]]:
    """Seconds of every kill: until its answer, until each frame, until the last frame; and of a connection."""
    org = Org(url)
    keys = [org.key(org.workflow(f"agent {number}")) for number in range(KEYS)]
    # The first kill warms everything up.
    kills = {org.workflow(f"victim {number}"): Kill() for number in range(samples + 1)}
    listeners = Listeners(sockets, kills)
    begun = time.perf_counter()
    await listeners.open(org.control, keys)
    times: dict[str, list[float]] = {"a connection": [(time.perf_counter() - begun) / sockets]}
    for number, (workflow_id, kill) in enumerate(kills.items()):
        asked, answered = await asyncio.to_thread(org.kill, workflow_id)
        await asyncio.wait_for(kill.everybody.wait(), PATIENCE_S)
        if number:
            times.setdefault("kill to its answer", []).append(answered - asked)
            times.setdefault("kill to a frame", []).extend(moment - asked for moment in kill.heard)
            times.setdefault("kill to the last frame", []).append(kill.heard[-1] - asked)
    await listeners.close()
    return times


def main() -> None:
    """Open the sockets, kill workflows one after the other, print the figures."""
    parser = argparse.ArgumentParser(prog="scripts/bench control", description=main.__doc__)
    parser.add_argument("--sockets", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=20, help="workflows that are killed")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="signalbox-bench-") as folder, processes.server(Path(folder)) as url:
        times = asyncio.run(measure(url, chosen.sockets, chosen.samples))
    rows = [
        (name, ms(median(found)), ms(quantile(found, 0.99)), ms(max(found)), len(found))
        for name, found in times.items()
    ]  # fmt: skip
    print_table((f"{chosen.sockets} sockets", "p50 ms", "p99 ms", "max ms", "samples"), rows)


if __name__ == "__main__":
    main()
