"""The stores under test, each behind one call: an operation's name, its request."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import boto3
from botocore.config import Config
from moto import mock_aws

from shared.store.embedded import EmbeddedEngine

DYNOXIDE = os.environ.get("SIGNALBOX_DYNOXIDE", "")
MINISTACK = os.environ.get("SIGNALBOX_MINISTACK", "")


class Store(Protocol):
    """What botocore's clients and the embedded engine have in common."""

    def _make_api_call(self, operation: str, request: dict[str, Any], /) -> dict[str, Any]: ...


@contextmanager
def opened(name: str, folder: Path) -> Iterator[Store]:
    """Start or open the store called ``name``."""
    if name in ("memory", "file"):
        engine = EmbeddedEngine.open(":memory:" if name == "memory" else folder / "store.db")
        try:
            yield engine
        finally:
            engine.close()
    elif name == "moto":
        with mock_aws():
            yield _client(None)
    elif name == "dynoxide":
        port = _free_port()
        with _process([DYNOXIDE, "--port", str(port)], port, {}):
            yield _client(port)
    else:
        port = _free_port()
        with _process([MINISTACK], port, {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port)}):
            yield _client(port)


def available(name: str) -> bool:
    """Whether the machine has what the store needs."""
    return {"dynoxide": bool(DYNOXIDE), "ministack": bool(MINISTACK)}.get(name, True)


def _client(port: int | None) -> Any:
    return boto3.client(
        "dynamodb",
        region_name="us-east-1",
        endpoint_url=f"http://127.0.0.1:{port}" if port else None,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        # The store's own validation is what is compared, not the client's.
        config=Config(parameter_validation=False, retries={"max_attempts": 0}),
    )


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _process(command: list[str], port: int, environment: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not _listening(port):
            if process.poll() is not None:
                raise RuntimeError(f"{command[0]} ended with {process.returncode}")
        yield
    finally:
        process.terminate()
        process.wait(10)


def _listening(port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0
