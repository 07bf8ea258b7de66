"""Runs workflows of DBOS on order, in DBOS's own environment: reads lines of JSON, answers each with the times it took.

{"flow": "transform", "runs": 20, "url": ""} ─▶ [0.0123, …]   seconds, from the call to the result
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import requests
from dbos import DBOS

STEPS = 10


@DBOS.step()
def count(value: dict[str, Any]) -> dict[str, Any]:
    """What a transform node does."""
    return {"count": value.get("count", 0) + 1}


@DBOS.step()
def fetch(url: str) -> dict[str, Any]:
    """What an HTTP node does."""
    answer = requests.get(url, timeout=30)
    return {"status_code": answer.status_code, "body": answer.json()}


@DBOS.workflow()
def empty(url: str) -> dict[str, Any]:
    """No step at all."""
    return {}


@DBOS.workflow()
def transform(url: str) -> dict[str, Any]:
    """Ten steps that only compute."""
    value: dict[str, Any] = {}
    for _ in range(STEPS):
        value = count(value)
    return value


@DBOS.workflow()
def http(url: str) -> dict[str, Any]:
    """Ten steps that each make a request."""
    value: dict[str, Any] = {}
    for _ in range(STEPS):
        value = fetch(url)
    return value


WORKFLOWS = {"empty": empty, "transform": transform, "http": http}


def main() -> None:
    """Serve orders until standard input ends."""
    DBOS(config={"name": "bench", "system_database_url": f"sqlite:///{sys.argv[1]}", "log_level": "ERROR"})
    DBOS.launch()
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        workflow, times = WORKFLOWS[order["flow"]], []
        for _ in range(order["runs"]):
            start = time.perf_counter()
            workflow(order["url"])
            times.append(time.perf_counter() - start)
        print(json.dumps(times), flush=True)
    DBOS.destroy()


if __name__ == "__main__":
    main()
