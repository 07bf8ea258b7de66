"""Change records: what the relay reads, wherever they come from."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Event = Literal["INSERT", "MODIFY", "REMOVE"]
Image = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class ChangeRecord:
    """One committed change of one item, in DynamoDB's attribute value form.

    ``old`` and ``new`` are None when the event or the table's stream view type leaves them out. ``expired`` tells that
    time to live removed the item. ``sequence`` grows in commit order.
    """

    sequence: int
    table: str
    event: Event
    keys: Image
    old: Image | None
    new: Image | None
    at_ms: int
    view: str
    expired: bool = False

    def as_event(self) -> dict[str, Any]:
        """The record as Lambda receives it from DynamoDB Streams (AWS Lambda Developer Guide, Using DynamoDB)."""
        change: dict[str, Any] = {
            "ApproximateCreationDateTime": self.at_ms // 1000,
            "Keys": _json_image(self.keys),
            "SequenceNumber": str(self.sequence),
            "StreamViewType": self.view,
        }
        for name, image in (("OldImage", self.old), ("NewImage", self.new)):
            if image is not None:
                change[name] = _json_image(image)
        record: dict[str, Any] = {
            "eventID": str(self.sequence),
            "eventName": self.event,
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": "local",
            "eventSourceARN": f"arn:aws:dynamodb:local:000000000000:table/{self.table}/stream/embedded",
            "dynamodb": change,
        }
        if self.expired:
            record["userIdentity"] = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
        return record

    @classmethod
    def from_event(cls, record: dict[str, Any]) -> ChangeRecord:
        """The reverse: a record of a Lambda event."""
        change = record["dynamodb"]
        return cls(
            sequence=int(change["SequenceNumber"]),
            table=record["eventSourceARN"].split("table/", 1)[1].split("/", 1)[0],
            event=record["eventName"],
            keys=_raw_image(change["Keys"]) or {},
            old=_raw_image(change.get("OldImage")),
            new=_raw_image(change.get("NewImage")),
            at_ms=int(float(change["ApproximateCreationDateTime"]) * 1000),
            view=change["StreamViewType"],
            expired=(record.get("userIdentity") or {}).get("principalId") == "dynamodb.amazonaws.com",
        )


class ChangeStream(Protocol):
    """An outbox of change records with one reader, which trims what it has dealt with."""

    def read(self, after: int, limit: int = 100) -> list[ChangeRecord]: ...

    def wait(self, after: int, timeout: float) -> bool: ...

    def trim(self, upto: int) -> None: ...


def _json_image(image: Image) -> Image:
    return {name: _map_binary(value, lambda data: base64.b64encode(data).decode()) for name, value in image.items()}


def _raw_image(image: Image | None) -> Image | None:
    return None if image is None else {name: _map_binary(value, base64.b64decode) for name, value in image.items()}


def _map_binary(value: dict[str, Any], convert: Any) -> dict[str, Any]:
    ((kind, inner),) = value.items()
    if kind == "B":
        return {"B": convert(inner)}
    if kind == "BS":
        return {"BS": [convert(member) for member in inner]}
    if kind == "M":
        return {"M": {name: _map_binary(child, convert) for name, child in inner.items()}}
    if kind == "L":
        return {"L": [_map_binary(child, convert) for child in inner]}
    return value
