"""Gate calls, signed as NullRun's SDK signs them, over a real server: beside a FastAPI route that does nothing on the
same server, and beside LiteLLM's proxy, which also stands before every model call and answers here without a model.

Each gate call is durable when it is answered. LiteLLM keeps budgets in a database of its own; it runs without, so it
only checks its master key. All are asked by the same client in turns, so that whatever else the machine does hits all.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from scripts.benching import processes
from scripts.benching.control import Org
from scripts.benching.table import median, ms, print_table, quantile
from shared.governance.signatures import sign

BUDGET_CENTS = 1_000_000_000
CONNECTIONS = (1, 16)
DIGEST = "0049d93a36f0710269a6deb733ca78d57a770ef640a2698d0fddaa9653b7c3de"
SYNCS = 200

Make = Callable[[], str]
"""Makes the text of a request, which differs from all others where the server would otherwise answer from memory."""


@dataclass
class Subject:
    """What is measured: where it listens, its requests, and by number of connections what they took."""

    title: str
    port: int
    make: Make
    times: dict[int, list[float]] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)

    def ask(self, client: processes.Worker, connections: int, count: int, *, keep: bool) -> None:
        """Send so many requests, and note what they took unless that was only to warm up."""
        requests = [self.make() for _ in range(count)]
        took = client.ask({"port": self.port, "connections": connections, "requests": requests})
        if keep:
            self.times.setdefault(connections, []).extend(took["times"])
            self.seconds[connections] = self.seconds.get(connections, 0.0) + took["seconds"]


def request(path: str, body: Mapping[str, Any] | str, headers: Mapping[str, str]) -> str:
    """The text of a POST."""
    text = body if isinstance(body, str) else json.dumps(body)
    lines = [f"POST {path} HTTP/1.1", "host: 127.0.0.1", "content-type: application/json", "user-agent: bench"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, f"content-length: {len(text)}", "", text])


def gate_calls(org_id: str, key: str, secret: str) -> Make:
    """Signed gate calls of one key, each under an id of its own."""

    def make() -> str:
        body = json.dumps({
            "operation_id": str(uuid.uuid4()), "organization_id": org_id, "trace_id": str(uuid.uuid4()),
            "check_type": "llm", "model": "gpt-4o-mini", "estimated_tokens": 500, "tools": ["search"],
            "action_digest": DIGEST,
        })  # fmt: skip
        stamp = int(time.time())
        signature = sign(secret, stamp, key, body.encode())
        signed = {"x-api-key": key, "x-signature": signature, "x-signature-timestamp": str(stamp)}
        return request("/api/v1/gate", body, signed | {"x-protocol-version": "3"})

    return make


def _gate(url: str) -> Subject:
    org = Org(url)
    key, secret = org.signing_key(org.workflow("bench", budget_cents=BUDGET_CENTS))
    return Subject("gate", _port(url), gate_calls(org.id, key, secret))


def _hello(url: str) -> Subject:
    text = request("/hello", {"ask": "nothing"}, {})
    return Subject("hello", _port(url), lambda: text)


def _litellm(url: str) -> Subject:
    body = {"model": processes.MODEL, "messages": [{"role": "user", "content": "hello"}]}
    text = request("/chat/completions", body, {"authorization": f"Bearer {processes.MASTER_KEY}"})
    return Subject("LiteLLM proxy", _port(url), lambda: text)


def _port(url: str) -> int:
    return urlsplit(url).port or 80


def sync_times(folder: Path) -> Iterator[float]:
    """Seconds the disk takes to make a page durable: no durable answer is faster."""
    file = os.open(folder / "sync", os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        for number in range(SYNCS):
            os.pwrite(file, bytes(4096), number * 4096)
            begun = time.perf_counter()
            os.fsync(file)
            yield time.perf_counter() - begun
    finally:
        os.close(file)


def main() -> None:
    """Ask everybody in rounds, then print medians, 99th percentiles, requests a second and ratios."""
    parser = argparse.ArgumentParser(prog="scripts/bench gate", description=main.__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--requests", type=int, default=300, help="requests of each in a round, at 1 connection")
    parser.add_argument("--no-litellm", action="store_true", help="leave LiteLLM's proxy out")
    chosen = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="signalbox-bench-")))
        subjects = [
            _hello(stack.enter_context(processes.hello())),
            _gate(stack.enter_context(processes.server(folder / "server"))),
        ]
        if not chosen.no_litellm:
            subjects.append(_litellm(stack.enter_context(processes.litellm(folder))))
        client = stack.enter_context(processes.client())
        syncs: list[float] = []
        for number in range(chosen.rounds + 1):
            for connections in CONNECTIONS:
                for subject in subjects:
                    count = chosen.requests * (1 if connections == 1 else 4)
                    # The first round warms everything up.
                    subject.ask(client, connections, count, keep=number > 0)
            syncs += sync_times(folder)
    _print(subjects, syncs)


def _print(subjects: Sequence[Subject], syncs: Sequence[float]) -> None:
    hello = subjects[0]
    rows: list[tuple[object, ...]] = []
    for connections in CONNECTIONS:
        for subject in subjects:
            found = subject.times[connections]
            ratio = median(found) / median(hello.times[connections])
            rate = len(found) / subject.seconds[connections]
            name = f"{subject.title}, {connections} connection{'s' * (connections > 1)}"
            rows.append((name, ms(median(found)), ms(quantile(found, 0.99)), f"{rate:.0f}", f"{ratio:.2f}"))
    rows.append(("the disk's own sync of a page", ms(median(syncs)), ms(quantile(syncs, 0.99)), "", ""))
    print_table(("", "p50 ms", "p99 ms", "requests/s", "of hello's p50"), rows)
    if len(subjects) > 2:
        gate, other = (median(subject.times[1]) for subject in subjects[1:3])
        print(f"gate's p50 is {gate / other:.2f} of the proxy's, at 1 connection")


if __name__ == "__main__":
    main()
