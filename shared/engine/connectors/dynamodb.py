"""DynamoDB's JSON protocol with an author's own access key, through the outbound guard.

Source: Amazon DynamoDB API Reference.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from shared.engine.connectors.numbers import exact
from shared.engine.connectors.sigv4 import Credentials, signed
from shared.engine.kinds.base import Call, NodeFailed
from shared.engine.kinds.outward import reaching
from shared.engine.kinds.scripting import seconds, text_of
from shared.kit import clock, json

DEFAULT_TIMEOUT_S = 30.0
MOST_ITEMS = 10_000
LARGEST_RESULT = 5 * 1024 * 1024
LARGEST_ANSWER = 16 * 1024 * 1024
BATCH = 25
"""Items one BatchWriteItem takes."""

_ALIASES = {
    "access_key_id": ("access_key_id", "aws_access_key_id", "access_key"),
    "secret_access_key": ("secret_access_key", "aws_secret_access_key", "secret_key"),
    "session_token": ("session_token", "aws_session_token"),
    "region": ("region", "aws_region"),
    "endpoint": ("endpoint", "endpoint_url"),
}
_REGION = re.compile(r"[a-z0-9-]{1,40}")
_VISIBLE = re.compile(r"[!-~]+")
_PASSING = ("Throttling", "ProvisionedThroughputExceeded", "RequestLimitExceeded", "InternalServer", "LimitExceeded")


class DynamoFailed(NodeFailed):
    """DynamoDB refused; ``kind`` is its exception's name."""

    def __init__(self, kind: str, message: str, *, retryable: bool) -> None:
        super().__init__(f"DynamoDB: {kind}: {message}" if message else f"DynamoDB: {kind}", retryable=retryable)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Account:
    """Whose tables: an author's connection data. ``endpoint`` is a base URL without a path."""

    credentials: Credentials
    region: str
    endpoint: str
    host: str
    seconds: float

    @classmethod
    def of(cls, call: Call) -> Account:
        """The connection data of a node's parameters; nothing else is ever used."""
        given = {name: _first(call.params, names) for name, names in _ALIASES.items()}
        region = given["region"] or ("us-east-1" if given["endpoint"] else "")
        if not (given["access_key_id"] and given["secret_access_key"] and region):
            raise NodeFailed(
                "dynamodb is not configured: give access_key_id, secret_access_key and region of your own AWS account",
                retryable=False,
            )
        if not _REGION.fullmatch(region):
            raise NodeFailed("region must be a name such as eu-central-1", retryable=False)
        words = (given["access_key_id"], given["secret_access_key"], given["session_token"] or "-")
        if not all(_VISIBLE.fullmatch(word) for word in words):
            raise NodeFailed("access keys and session_token must be ASCII without spaces", retryable=False)
        suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        endpoint, host = _endpoint(given["endpoint"] or f"https://dynamodb.{region}.{suffix}")
        wanted = seconds(call.params.get("timeout") or DEFAULT_TIMEOUT_S, "timeout")
        credentials = Credentials(given["access_key_id"], given["secret_access_key"], given["session_token"])
        return cls(credentials, region, endpoint, host, min(wanted, call.services.wall_clock_limit_s))


@dataclass(slots=True)
class Dynamo:
    """Asks DynamoDB; all questions together take no longer than the account's time."""

    call: Call
    account: Account
    _until: float = field(init=False)

    def __post_init__(self) -> None:
        self._until = clock.monotonic() + self.account.seconds

    def ask(self, action: str, **question: Any) -> dict[str, Any]:
        """One request. Raises DynamoFailed, and NodeFailed where there is no answer."""
        body = json.dumpb(question)
        headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"DynamoDB_20120810.{action}"}
        account = self.account
        head = signed(
            account.credentials, region=account.region, service="dynamodb", host=account.host, headers=headers,
            body=body, now_ms=clock.now_ms(),
        )  # fmt: skip
        with reaching():
            answer = self.call.services.http.request(
                "POST", f"{account.endpoint}/", headers=head, body=body, timeout_s=self.left(),
                follow_redirects=False, max_bytes=LARGEST_ANSWER,
            )  # fmt: skip
        said = _object(answer.body)
        if answer.status == 200 and said is not None:
            return said
        said = said or {}
        kind = str(said.get("__type", f"status {answer.status}")).rpartition("#")[2]
        message = str(said.get("message") or said.get("Message") or "")
        if account.credentials.session_token:
            # A refused signature is explained with all it should have covered.
            message = message.replace(account.credentials.session_token, "[redacted]")
        raise DynamoFailed(kind, message, retryable=answer.status >= 500 or kind.startswith(_PASSING))

    def left(self) -> float:
        """Seconds that are left. Raises NodeFailed when there are none."""
        left = self._until - clock.monotonic()
        if left <= 0:
            raise NodeFailed(f"DynamoDB: no end within {self.account.seconds:g} s")
        return left

    def pause(self, attempt: int) -> None:
        """Wait a little longer each time, as long as there is time."""
        clock.sleep(min(0.05 * 2**attempt, 2.0, self.left()))

    def scan(self, table: str, attributes: tuple[str, ...]) -> Iterator[dict[str, Any]]:
        """Every item, with only these attributes. Raises NodeFailed when that is too much."""
        names = {f"#{number}": name for number, name in enumerate(attributes)}
        question = {
            "TableName": table, "ConsistentRead": True, "ProjectionExpression": ", ".join(names),
            "ExpressionAttributeNames": names,
        }  # fmt: skip
        count, size = 0, 0
        while True:
            page = self.ask("Scan", **question)
            for item in page.get("Items", []):
                found = from_attributes(item)
                count, size = count + 1, size + json.size(found)
                if count > MOST_ITEMS or size > LARGEST_RESULT:
                    message = f"the table {table} has more than {MOST_ITEMS} items or 5 MB, too much to search"
                    raise NodeFailed(message, retryable=False)
                yield found
            if not page.get("LastEvaluatedKey"):
                return
            question["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def write(self, table: str, items: list[dict[str, Any]]) -> int:
        """Put items, in batches; what DynamoDB puts off is sent again. Answers how many."""
        for start in range(0, len(items), BATCH):
            left = {table: [{"PutRequest": {"Item": to_attributes(item)}} for item in items[start : start + BATCH]]}
            attempt = 0
            while left:
                left = self.ask("BatchWriteItem", RequestItems=left).get("UnprocessedItems") or {}
                if left:
                    self.pause(attempt)
                    attempt += 1
        return len(items)


def to_attributes(item: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object as an item."""
    try:
        return {name: _to_attribute(value) for name, value in item.items()}
    except RecursionError:
        raise NodeFailed("an item is nested deeper than DynamoDB allows", retryable=False) from None


def from_attributes(item: Mapping[str, Any]) -> dict[str, Any]:
    """An item as a JSON object: sets as lists, binary values in Base64."""
    try:
        return {name: _from_attribute(value) for name, value in item.items()}
    except (ValueError, TypeError, AttributeError, ArithmeticError, RecursionError):
        raise NodeFailed("the endpoint answers what is no DynamoDB", retryable=False) from None


def _to_attribute(value: Any) -> dict[str, Any]:
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case int() | float():
            return {"N": json.dumps(value)}
        case str():
            return {"S": value}
        case list():
            return {"L": [_to_attribute(one) for one in value]}
    return {"M": to_attributes(value)}


def _from_attribute(attribute: Mapping[str, Any]) -> Any:
    (kind, value), *_ = attribute.items()
    match kind:
        case "NULL":
            return None
        case "N":
            return exact(value)
        case "NS":
            return [exact(one) for one in value]
        case "L":
            return [_from_attribute(one) for one in value]
        case "M":
            return from_attributes(value)
    return value


def seconds_from_now(ttl_s: float) -> int:
    """When a value expires, in whole seconds since 1970, which is what DynamoDB's own expiry needs."""
    return math.ceil(clock.now_ms() / 1000 + ttl_s)


def _first(params: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((text_of(params[name]) for name in names if params.get(name)), "")


def _endpoint(written: str) -> tuple[str, str]:
    """The base URL, and the host as HTTP sends it."""
    try:
        parts = urlsplit(written)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or "@" in parts.netloc
        or parts.path not in ("", "/")
    ):
        raise NodeFailed("endpoint must be a URL such as https://dynamodb.eu-central-1.amazonaws.com", retryable=False)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    default = 443 if parts.scheme == "https" else 80
    shown = host if port in (None, default) else f"{host}:{port}"
    return f"{parts.scheme}://{shown}", shown


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
