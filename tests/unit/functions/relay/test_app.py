"""The stream's Lambda."""

from __future__ import annotations

from pathlib import Path

from functions.relay.app import handler
from shared.push import Connections, Relay
from tests.support.deployment import deployment
from tests.support.push import CHANNEL, RecordingSender, ScriptedReader, connect, journal_grows


def test_a_batch_reaches_the_listeners(tmp_path: Path) -> None:
    """Stream records make the relay send, and nothing is reported as failed."""
    with deployment(tmp_path) as services:
        sender, reader = RecordingSender(), ScriptedReader()
        services.__dict__["relay"] = Relay(Connections(), sender, {"scripted": reader})
        connections = Connections()
        connections.listen(connect(connections, "c1"), CHANNEL, "scripted")
        reader.facts.append("a")
        journal_grows(0)
        assert services.store is not None
        records = [record.as_event() for record in services.store.stream.read(0)]
        assert handler({"Records": records}, None) == {"batchItemFailures": []}
        assert sender.to("c1") == ["a"]
