"""DynamoDB Streams as Lambda delivers them, for the relay."""

from __future__ import annotations

from typing import Any

from shared.push.relay import Relay
from shared.store.stream import ChangeRecord


def handle_batch(relay: Relay, event: dict[str, Any]) -> dict[str, Any]:
    """Relay a batch; names the records that failed, in the form of ReportBatchItemFailures.

    Lambda tries again from the lowest of them; what came after it is handled twice, which is harmless: the cursors of
    the listeners have moved (AWS Lambda Developer Guide, Using DynamoDB, Reporting batch item failures).
    """
    numbers: dict[int, str] = {}
    records: list[ChangeRecord] = []
    for raw in event.get("Records", []):
        record = ChangeRecord.from_event(raw)
        numbers[record.sequence] = raw["dynamodb"]["SequenceNumber"]
        records.append(record)
    failed = relay.handle(records)
    return {"batchItemFailures": [{"itemIdentifier": numbers[sequence]} for sequence in failed]}
