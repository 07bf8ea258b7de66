"""Wire models of the system family."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict

from shared.web.requests import WireAnswer


class Dependency(WireAnswer):
    """Something the system needs, and how long it took to answer."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "ok", "latency_ms": 3.2}]})

    status: Literal["ok", "unavailable"]
    latency_ms: float


class Health(WireAnswer):
    """Whether the system answers; ``dependencies`` is filled by the checks of readiness and start-up only."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"status": "ok", "time": "2026-01-01T12:00:00.000Z", "version": "0.1.0", "dependencies": {}}]
        }
    )

    status: Literal["ok", "unavailable"]
    time: str
    version: str
    dependencies: dict[str, Dependency]


class Plugin(WireAnswer):
    """A node type of the flow language; ``parameters`` is the JSON Schema of its ``params``."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "delay",
                    "description": "Waits and passes its input on.",
                    "version": "0.1.0",
                    "author": "Signalbox",
                    "parameters": {"type": "object", "properties": {"duration": {"type": "string"}}},
                }
            ]
        }
    )

    name: str
    description: str
    version: str
    author: str
    parameters: dict[str, Any]
