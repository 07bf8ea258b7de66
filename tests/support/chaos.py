"""Flows of a real server under ``kill -9``, and many flows at once: what must hold, and the command ``scripts/chaos``.

The server is a process of its own; the HTTP service its flows call counts every request by the idempotency key and the
attempt that came with it.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import perf_counter
from typing import Any

import requests

from shared.composition import STORE
from shared.engine.state import Fact
from shared.kit import json
from shared.store.embedded import EmbeddedEngine, installed
from shared.store.models.executions import JournalEntry, Summary
from tests.support.server import PATIENCE_S, Client, Server, serving

EFFECTS = ("book", "pay", "ship")
CALLERS = 8

ORDER = """
metadata: {name: Order}
nodes:
  book:
    type: http.request
    params: {url: "${shared.base}/book", method: POST, body: {order: "${shared.n}"}}
    retry: {max_retries: 5, wait: 100ms}
    next: {success: price}
  price:
    type: transform
    params: {script: "return {price: shared.n * 2};"}
    next: {default: pay}
  pay:
    type: http.request
    params: {url: "${shared.base}/pay", method: POST, body: "${input}"}
    retry: {max_retries: 5, wait: 100ms}
    next: {success: rest}
  rest:
    type: delay
    params: {duration: 300ms}
    next: {default: ship}
  ship:
    type: webhook
    params: {url: "${shared.base}/ship", body: {order: "${shared.n}"}}
    retry: {max_retries: 5, wait: 100ms}
    next: {default: last}
  last:
    type: transform
    params: {script: "return {order: shared.n, price: results.price.price};"}
"""


def chain(length: int) -> str:
    """A flow of transforms, each adding one."""
    lines = ["metadata: {name: Chain}", "nodes:"]
    for number in range(length):
        following = f", next: {{default: n{number + 1}}}" if number + 1 < length else ""
        lines.append(f"  n{number}: {{type: transform, params: {{script: 'return {{n: input.n + 1}};'}}{following}}}")
    return "\n".join(lines) + "\n"


class CountingTarget:
    """Counts requests by (idempotency key, attempt); every seventh is refused, so that flows retry."""

    def __init__(self) -> None:
        self.calls: Counter[tuple[str, str]] = Counter()
        self.total = 0
        self._changed = threading.Condition()
        target = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                key, attempt = self.headers.get("Idempotency-Key"), self.headers.get("X-Signalbox-Attempt")
                refused = target.count(str(key), str(attempt)) % 7 == 0
                body = json.dumpb({"done": self.path})
                self.send_response(503 if refused else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                # Whoever asked may have been killed meanwhile.
                with _ignored(ConnectionError):
                    self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False
        self._thread = threading.Thread(target=self._server.serve_forever, name="target")
        self._thread.start()

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def count(self, key: str, attempt: str) -> int:
        """Note a request; how many there have been."""
        with self._changed:
            self.calls[key, attempt] += 1
            self.total += 1
            self._changed.notify_all()
            return self.total

    def wait_for(self, total: int) -> None:
        """Until so many requests have come."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.total >= total, PATIENCE_S), f"{self.total} of {total} calls"

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def _ignored(*errors: type[BaseException]) -> Iterator[None]:
    try:
        yield
    except errors:
        return


@dataclass(slots=True)
class Report:
    """What happened: counts for people to read, findings that must not be."""

    figures: dict[str, Any] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)


class Door:
    """The way to a server that comes and goes: a request is repeated until somebody answers."""

    def __init__(self) -> None:
        self._open = threading.Condition()
        self._client: Client | None = None

    def open(self, client: Client) -> None:
        """The server is there."""
        with self._open:
            self._client = client
            self._open.notify_all()

    def close(self) -> None:
        """The server is about to go."""
        with self._open:
            self._client = None

    def client(self) -> Client:
        """Wait for the server."""
        with self._open:
            assert self._open.wait_for(lambda: self._client is not None, PATIENCE_S)
            assert self._client is not None
            return self._client

    def start(self, flow_id: str, number: int, base: str) -> str:
        """Start an order; the acknowledged execution's id. One whose answer was lost may run as well."""
        while True:
            client = self.client()
            with _ignored(requests.ConnectionError):
                return client.run(flow_id, {"n": number, "base": base})


def kills(data: Path, *, flows: int, deaths: int, seed: int) -> Report:
    """Run ``flows`` orders and kill the server ``deaths`` times at random moments; then look at everything."""
    target, door, report, started = CountingTarget(), Door(), Report(), perf_counter()
    flags = ("--allow-host", target.address)
    server = Server(data, *flags).ready()
    try:
        client = server.join("ada")
        flow_id = client.create(ORDER, "Order")
        door.open(client)
        with ThreadPoolExecutor(CALLERS) as pool:
            asked = [pool.submit(door.start, flow_id, n, f"http://{target.address}") for n in range(flows)]
            for moment in _moments(flows, deaths, seed):
                target.wait_for(moment)
                door.close()
                server.kill()
                server = Server(data, *flags).ready()
                client = Client(server.url, client.token)
                door.open(client)
            numbers = {future.result(): number for number, future in enumerate(asked)}
            ids = _every_execution(client)
            shown = list(pool.map(client.finished, ids))
    finally:
        server.stop()
        target.close()
    if len(numbers) != flows or not numbers.keys() <= set(ids):
        report.findings.append(f"{len(numbers)} of {flows} acknowledged, {len(numbers.keys() - set(ids))} missing")
    for execution_id, execution in zip(ids, shown, strict=True):
        number = int(numbers.get(execution_id, execution["input"]["n"]))
        if execution["status"] != "completed" or execution["result"] != {"order": number, "price": 2 * number}:
            report.findings.append(f"order {number}: {execution}")
    report.findings += _effects(target, ids)
    report.findings += _journals(data, ids)
    report.figures = {
        "flows": flows,
        "kills": deaths,
        "calls": target.total,
        "repeated": target.total - len(target.calls),
    }
    report.figures["seconds"] = round(perf_counter() - started, 1)
    return report


def _every_execution(client: Client) -> list[str]:
    """The id of every execution the server knows, acknowledged or not."""
    found: list[str] = []
    while True:
        answer = client.call("GET", f"/api/v1/executions?limit=100&offset={len(found)}")
        assert answer.status_code == 200, answer.text
        page = [str(row["id"]) for row in answer.json()["executions"]]
        if not page:
            return found
        found += page


def _moments(flows: int, deaths: int, seed: int) -> list[int]:
    """After how many calls of the target to kill: at random, the last well before the end."""
    chosen = random.Random(seed).sample(range(1, flows * len(EFFECTS) * 9 // 10), deaths)
    return sorted(chosen)


def _effects(target: CountingTarget, ids: Sequence[str]) -> Iterator[str]:
    """An effect happens once per attempt, and every effect of every flow happens."""
    yield from (
        f"{key} attempt {attempt}: {count} calls" for (key, attempt), count in target.calls.items() if count > 1
    )
    happened = {key.rsplit(":", 1)[0] for key, _ in target.calls}
    expected = {f"{execution_id}:{node}" for execution_id in ids for node in EFFECTS}
    yield from (f"{key}: never called" for key in expected - happened)
    yield from (f"{key}: nobody asked for it" for key in happened - expected)


def _journals(data: Path, ids: Sequence[str]) -> Iterator[str]:
    """Indices are consecutive, no node finished twice, and there are no other executions."""
    with installed(EmbeddedEngine.open(data / STORE)) as store:
        try:
            found = {row.execution_id: row.pk for row in Summary.scan(Summary.sk == "summary")}
            if set(found) != set(ids):
                yield f"the store holds {len(found)} executions, the list shows {len(ids)}"
            for pk in found.values():
                yield from _journal(pk)
        finally:
            store.close()


def _journal(pk: str) -> Iterator[str]:
    facts: list[Fact] = []
    for entry in JournalEntry.query(pk, JournalEntry.sk.startswith("journal#"), consistent_read=True):
        if entry.first != len(facts):
            yield f"{pk}: {entry.sk} follows index {len(facts) - 1}"
        facts += json.loads(entry.facts)
    finished = Counter((fact["node"], fact["visit"]) for fact in facts if fact["type"] == "node_finished")
    started = Counter(
        (fact["node"], fact["visit"], fact["attempt"]) for fact in facts if fact["type"] == "node_started"
    )
    yield from (
        f"{pk}: {what} is {count} times in the journal" for what, count in (finished + started).items() if count > 1
    )
    if [fact["type"] for fact in facts].count("ended") != 1 or len(finished) != 6:
        yield f"{pk}: {len(finished)} nodes finished, last {facts[-1]['type']}"


def crowd(client: Client, *, flows: int, length: int = 10) -> Report:
    """Start many flows at once; each has to end with its own result."""
    report = Report()
    flow_id = client.create(chain(length), "Chain")
    started = perf_counter()
    with ThreadPoolExecutor(2 * CALLERS) as pool:
        ids = list(pool.map(lambda n: client.run(flow_id, {"n": n}), range(flows)))
        shown = list(pool.map(client.finished, ids))
    report.figures = {"flows": flows, "nodes": length, "seconds": round(perf_counter() - started, 1)}
    for number, execution in enumerate(shown):
        if execution["status"] != "completed" or execution["result"] != {"n": number + length}:
            report.findings.append(f"flow {number}: {execution}")
    return report


def _crowd(data: Path, flows: int) -> Report:
    with serving(data) as server:
        return crowd(server.join("ada"), flows=flows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both in full; the exit code is 1 when something is wrong."""
    parser = argparse.ArgumentParser(prog="scripts/chaos", description="Kills a real server while its flows run.")
    parser.add_argument("--flows", type=int, default=100, help="orders under kill -9 (100)")
    parser.add_argument("--kills", type=int, default=5, help="how often the server is killed (5)")
    parser.add_argument("--crowd", type=int, default=200, help="flows of ten nodes started at once (200)")
    parser.add_argument("--seed", type=int, default=0, help="when to kill (0)")
    chosen = parser.parse_args(arguments)
    runs: dict[str, Callable[[Path], Report]] = {
        "kill -9": lambda data: kills(data, flows=chosen.flows, deaths=chosen.kills, seed=chosen.seed),
        "crowd": lambda data: _crowd(data, chosen.crowd),
    }
    failed = False
    for name, run in runs.items():
        with tempfile.TemporaryDirectory() as folder:
            report = run(Path(folder) / "data")
        failed = failed or bool(report.findings)
        print(f"{name}: {', '.join(f'{value} {word}' for word, value in report.figures.items())}")
        print("\n".join(report.findings) or "  everything completed, nothing twice")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
