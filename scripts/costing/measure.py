"""Counts everything, each thing in a deployment of its own."""

from __future__ import annotations

from typing import Any

from scripts import samples
from scripts.costing import endpoints, flows, gate, governed, triggers
from scripts.costing.world import world
from shared.engine.expressions.pool import WorkerPool

Table = dict[str, dict[str, dict[str, Any]]]


def table() -> Table:
    """Bills by name, in four groups: flows, gate, endpoints, triggers."""
    scripts = WorkerPool(1)
    try:
        return {
            "flows": _flows(scripts), "gate": _gate(scripts), "endpoints": _endpoints(scripts),
            "triggers": _triggers(scripts),
        }  # fmt: skip
    finally:
        scripts.close()


def _flows(scripts: WorkerPool) -> dict[str, dict[str, Any]]:
    found = {}
    for flow in flows.FLOWS:
        with world(scripts) as made:
            found[flow.name] = flows.run(made, flow, endpoints.scene(made).token).to_json()
    return found


def _gate(scripts: WorkerPool) -> dict[str, dict[str, Any]]:
    with world(scripts) as made:
        return {name: bill.to_json() for name, bill in gate.measure(governed.governed(made)).items()}


def _endpoints(scripts: WorkerPool) -> dict[str, dict[str, Any]]:
    found = {}
    for method, path, operation in samples.operations():
        with world(scripts) as made:
            if operation["x-signalbox-api"] == "nullrun":
                bill = governed.measure(governed.governed(made), method, path, operation)
            else:
                bill = endpoints.measure(endpoints.scene(made), method, path, operation)
            found[f"{method} {path}"] = bill.to_json()
    return dict(sorted(found.items(), key=lambda row: row[0].split(" ", 1)[::-1]))


def _triggers(scripts: WorkerPool) -> dict[str, dict[str, Any]]:
    with world(scripts) as made:
        return {name: bill.to_json() for name, bill in triggers.measure(endpoints.scene(made)).items()}
