"""What functions without HTTP consume: WebSocket events, the relay with a listener, the sweep with nothing to do."""

from __future__ import annotations

import json
from typing import Any

from scripts import samples
from scripts.costing.bill import Bill
from scripts.costing.endpoints import Scene


def measure(scene: Scene) -> dict[str, Bill]:
    """Bills by what happened, in the order in which it did."""
    bills: dict[str, Bill] = {"sweep, nothing due": Bill()}
    with scene.world.meter.on(bills["sweep, nothing due"]):
        scene.world.invoke("sweep", _sample("sweep", "scheduled"))
    _channels(scene, "connect", bills, "WebSocket opened on an execution that ended")
    replay = bills["its messages and close"] = Bill()
    scene.world.settle(Bill(), replay)
    _channels(scene, "message", bills, "WebSocket message received")
    _channels(scene, "disconnect", bills, "WebSocket closed by the client")
    return bills


def _channels(scene: Scene, name: str, bills: dict[str, Bill], title: str) -> None:
    event = _sample("channels", name)
    if name == "connect":
        event["headers"]["Authorization"] = f"Bearer {scene.token}"
        event["queryStringParameters"] = {"signalbox-path": f"/ws/executions/{scene.places['execution_id']}"}
    bills[title] = Bill(frames=1 if name == "message" else 0)
    with scene.world.meter.on(bills[title]):
        scene.world.invoke("channels", event)


def _sample(family: str, name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((samples.FOLDER / family / f"{name}.json").read_text(encoding="utf-8"))
    return event
