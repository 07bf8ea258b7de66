"""dynamodb against the embedded engine behind the JSON protocol; signatures against botocore."""

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from botocore.exceptions import ClientError

from shared.engine.connectors import dynamodb as connector
from shared.engine.connectors.dynamodb import Account, from_attributes, to_attributes
from shared.engine.connectors.sigv4 import Credentials, signed
from shared.engine.kinds.base import Done, NodeFailed
from shared.engine.kinds.dynamodb import DynamoDb
from shared.kit import clock, json
from shared.store.embedded import EmbeddedEngine
from tests.support.standin import Handler, Received, Reply
from tests.unit.engine.kinds.conftest import CallFactory, Serve

Run = Callable[..., Any]
KEYS = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
NOW = 1_700_000_000_000


class Held:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.ms = NOW

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000

    def sleep(self, seconds: float) -> None:
        self.ms += round(seconds * 1000)


@pytest.fixture
def run(call: CallFactory, serve: Serve) -> Iterator[Run]:
    """Runs a node against a DynamoDB of its own: the embedded engine behind the JSON protocol; the output."""
    engine = EmbeddedEngine.open()

    def answer(received: Received) -> Reply:
        try:
            answered = engine._make_api_call(received.headers["x-amz-target"].partition(".")[2], received.json)
        except ClientError as error:
            said = error.response["Error"]
            return Reply({"__type": f"com.amazonaws#{said['Code']}", "message": said["Message"]}, 400)
        return Reply({name: value for name, value in answered.items() if name != "ResponseMetadata"})

    server = serve(answer)

    def execute(**params: Any) -> Any:
        outcome = DynamoDb().run(call(KEYS | {"region": "eu-central-1", "endpoint": server.url} | params))
        assert isinstance(outcome, Done)
        assert json.loads(json.dumps(outcome.output)) == outcome.output
        return outcome.output

    yield execute
    engine.close()


def test_keys_and_values(run: Run) -> None:
    """The operations of the store node, in a table that is made when something is first written."""
    assert run(operation="list") == [] and run(operation="query") == []
    assert run(operation="delete", key="a") == {"deleted": False, "key": "a"}
    with pytest.raises(NodeFailed, match="key not found: a"):
        run(operation="get", key="a")
    assert run(operation="set", key="b", value={"n": 1, "s": "x"}) == {"n": 1, "s": "x"}
    assert run(operation="set", key="a", value=[1, None]) == [1, None]
    run(operation="set", key="B", value={"n": 2.5})
    assert run(operation="get", key="a") == [1, None]
    assert run(operation="list") == ["B", "a", "b"]
    assert run(operation="query", filter={"n": {"$gte": 1}}, sort="-n", limit=1) == [{"n": 2.5, "_key": "B"}]
    assert run(operation="delete", key="a") == {"deleted": True, "key": "a"}
    assert run(operation="delete", key="a") == {"deleted": False, "key": "a"}
    with pytest.raises(NodeFailed, match="key not found: a") as caught:
        run(operation="get", key="a")
    assert caught.value.retryable is False


def test_values_expire(run: Run) -> None:
    """An expired value is gone for every operation before DynamoDB removes it; a new one lives on."""
    with clock.use(held := Held()):
        run(operation="set", key="gone", value={"a": 1}, ttl="1s")
        run(operation="set", key="back", value=1, ttl=1)
        held.ms += 2_000
        run(operation="set", key="back", value={"a": 2}, ttl="0s")
        run(operation="set", key="kept", value={"a": 3}, ttl="1h")
        assert run(operation="list") == ["back", "kept"]
        assert [one["_key"] for one in run(operation="query")] == ["back", "kept"]
        with pytest.raises(NodeFailed, match="key not found: gone"):
            run(operation="get", key="gone")
        assert run(operation="delete", key="gone") == {"deleted": False, "key": "gone"}
    later = Held()
    later.ms += 3_603_000
    with clock.use(later):
        assert run(operation="list") == ["back"]


def test_batch_write(run: Run) -> None:
    """Pairs are written as set does, more than fit into one request and a key twice included."""
    items = [{"key": str(number), "value": number} for number in range(60)] + [{"key": "7", "value": "last"}]
    assert run(operation="batch_write", items=items) == {"written": 60}
    assert run(operation="get", key="7") == "last" and len(run(operation="list")) == 60


def test_items_of_another_table(run: Run) -> None:
    """With table, items have any shape, and keys are objects; a table that is missing is not made."""
    run(operation="set", key="x", value=1, table_name="shop")
    item = {"key": "order 5", "total": 12.5, "lines": [{"sku": "a", "n": 2}], "note": None, "paid": True}
    assert run(operation="put", table="shop", item=item) == item
    assert run(operation="get", table="shop", key={"key": "order 5"}) == item
    assert run(operation="batch_write", table="shop", items=[{"key": "6", "a": 1}]) == {"written": 1}
    assert run(operation="delete", table="shop", key={"key": "6"}) == {"deleted": True, "key": {"key": "6"}}
    with pytest.raises(NodeFailed, match=r'key not found: \{"key":"6"\}'):
        run(operation="get", table="shop", key={"key": "6"})
    for params in ({"operation": "put", "item": item}, {"operation": "batch_write", "items": [item]}):
        with pytest.raises(NodeFailed, match="DynamoDB: ResourceNotFoundException"):
            run(table="missing", **params)


def test_a_refusal_is_explained(run: Run) -> None:
    """DynamoDB's own words, not to be tried again."""
    run(operation="set", key="x", value=1, table_name="refusing")
    with pytest.raises(NodeFailed, match="DynamoDB: ValidationException: ") as caught:
        run(operation="put", table="refusing", item={"no": "key"})
    assert caught.value.retryable is False


def answering(*replies: Reply) -> Handler:
    left = list(replies)
    return lambda received: left.pop(0) if len(left) > 1 else left[0]


def test_what_is_sent_is_signed(call: CallFactory, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS would find the same signature over the headers and the body that arrive, the host's included."""
    stand_in = serve(answering(Reply({"Item": {"key": {"S": "a"}, "value": {"N": "1"}}})))
    params = KEYS | {
        "operation": "get",
        "key": "a",
        "region": "eu-west-1",
        "endpoint": stand_in.url,
        "session_token": "FwoGZ+/==",
    }
    with clock.use(Held()):
        outcome = DynamoDb().run(call(params))
    assert outcome == Done(1)
    (request,) = stand_in.received
    expected = by_botocore(
        monkeypatch, urlsplit(stand_in.url).netloc, request.headers, request.body, "FwoGZ+/==", "eu-west-1"
    )
    assert request.headers["authorization"] == expected
    assert (request.method, request.path, request.headers["host"]) == ("POST", "/", urlsplit(stand_in.url).netloc)


def by_botocore(
    monkeypatch: pytest.MonkeyPatch, host: str, headers: dict[str, str], body: bytes, token: str, region: str
) -> Any:
    """The Authorization header that botocore makes of the signed ones among ``headers``."""
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: dt.datetime.fromtimestamp(NOW / 1000, dt.UTC))
    names = ("content-type", "x-amz-target")
    request = AWSRequest("POST", f"http://{host}/", {name: headers[name] for name in names}, body)
    credentials = BotoCredentials(KEYS["access_key_id"], KEYS["secret_access_key"], token or None)
    botocore.auth.SigV4Auth(credentials, "dynamodb", region).add_auth(request)
    return request.headers["Authorization"]


@pytest.mark.parametrize("host", ["dynamodb.eu-west-1.amazonaws.com", "localhost:8000", "[::1]:8000"])
@pytest.mark.parametrize("token", ["", "token"])
@pytest.mark.parametrize("body", [b"", b'{"a":"\xc3\xa4"}'])
def test_signatures_are_botocores(monkeypatch: pytest.MonkeyPatch, host: str, token: str, body: bytes) -> None:
    """Our signature is the SDK's."""
    headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": "DynamoDB_20120810.GetItem"}
    credentials = Credentials(KEYS["access_key_id"], KEYS["secret_access_key"], token)
    ours = signed(
        credentials, region="eu-west-1", service="dynamodb", host=host, headers=headers, body=body, now_ms=NOW
    )
    assert ours["authorization"] == by_botocore(monkeypatch, host, headers, body, token, "eu-west-1")


REFUSED = [
    (
        Reply({"__type": "com.amazon.coral#ThrottlingException", "message": "slow"}, 400),
        "ThrottlingException: slow",
        True,
    ),
    (Reply({"__type": "x#ProvisionedThroughputExceededException"}, 400), "ProvisionedThroughputExceeded", True),
    (Reply({"__type": "x#InvalidSignatureException", "message": "not FwoGZ"}, 403), r"not \[redacted\]", False),
    (Reply({}, 500), "DynamoDB: status 500", True),
    (Reply(b"<html>", 404), "DynamoDB: status 404", False),
    (Reply(b"", 200), "DynamoDB: status 200", False),
    (Reply({"Item": {"key": {"S": "a"}, "value": "odd"}}), "answers what is no DynamoDB", False),
    (Reply({"Item": {"key": {"S": "a"}, "value": {"N": "odd"}}}), "answers what is no DynamoDB", False),
    (Reply(b'{"Item":' + b'{"v":{"M":' * 450 + b"{}" + b"}}" * 450 + b"}"), "answers what is no DynamoDB", False),
    (Reply(b"", 302, {"Location": "http://127.0.0.1:9/"}), "DynamoDB: status 302", False),
]


def nested(levels: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(levels):
        found = [found]
    return found


@pytest.mark.parametrize(("reply", "message", "retryable"), REFUSED)
def test_refusals(call: CallFactory, serve: Serve, reply: Reply, message: str, retryable: bool) -> None:
    """What may pass is retryable, redirects are not followed, and no secret is repeated."""
    stand_in = serve(answering(reply))
    params = KEYS | {"operation": "get", "key": "a", "endpoint": stand_in.url, "session_token": "FwoGZ"}
    with pytest.raises(NodeFailed, match=message) as caught:
        DynamoDb().run(call(params))
    assert caught.value.retryable is retryable


def test_what_is_put_off_is_sent_again(call: CallFactory, serve: Serve) -> None:
    """Unprocessed items are written later, and the time is limited."""
    left = {"flowrunner_store": [{"PutRequest": {"Item": {"key": {"S": "b"}, "value": {"N": "2"}}}}]}
    stand_in = serve(answering(Reply({"UnprocessedItems": left}), Reply({"UnprocessedItems": {}})))
    items = [{"key": "a", "value": 1}, {"key": "b", "value": 2}]
    params = KEYS | {"operation": "batch_write", "items": items, "endpoint": stand_in.url}
    with clock.use(Held()):
        assert DynamoDb().run(call(params)) == Done({"written": 2})
    assert [len(one.json["RequestItems"]["flowrunner_store"]) for one in stand_in.received] == [2, 1]
    assert stand_in.received[1].json["RequestItems"] == left
    stand_in = serve(answering(Reply({"UnprocessedItems": left})))
    with clock.use(Held()), pytest.raises(NodeFailed, match="DynamoDB: no end within 5 s"):
        DynamoDb().run(call(params | {"endpoint": stand_in.url, "timeout": "5s"}))


def test_pages_are_followed_to_a_limit(call: CallFactory, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list takes every page, and a table that is too large fails instead of being cut."""
    first = Reply({"Items": [{"key": {"S": "b"}}], "LastEvaluatedKey": {"key": {"S": "b"}}})
    second = Reply({"Items": [{"key": {"S": "a"}}, {"key": {"N": "5"}}]})
    stand_in = serve(answering(first, second))
    params = KEYS | {"operation": "list", "endpoint": stand_in.url}
    assert DynamoDb().run(call(params)) == Done(["a", "b"])
    assert stand_in.received[1].json["ExclusiveStartKey"] == {"key": {"S": "b"}}
    monkeypatch.setattr(connector, "MOST_ITEMS", 2)
    stand_in = serve(answering(first, second))
    with pytest.raises(NodeFailed, match="too much to search"):
        DynamoDb().run(call(params | {"endpoint": stand_in.url}))


def test_it_waits_for_its_table(call: CallFactory, serve: Serve) -> None:
    """A table another node is making at the same time is used when it is there."""
    missing = Reply({"__type": "x#ResourceNotFoundException"}, 400)
    taken = Reply({"__type": "x#ResourceInUseException"}, 400)
    creating, active = ({"Table": {"TableStatus": status}} for status in ("CREATING", "ACTIVE"))
    stand_in = serve(answering(missing, taken, Reply(creating), Reply(active), Reply({})))
    with clock.use(Held()):
        params = KEYS | {"operation": "set", "key": "a", "value": 1, "endpoint": stand_in.url}
        assert DynamoDb().run(call(params)) == Done(1)
    actions = [one.headers["x-amz-target"].partition(".")[2] for one in stand_in.received]
    assert actions == ["BatchWriteItem", "CreateTable", "DescribeTable", "DescribeTable", "BatchWriteItem"]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"operation": None}, "operation parameter is required"),
        ({"operation": "drop"}, "operation must be one of get, set"),
        ({"access_key_id": ""}, "dynamodb is not configured: give access_key_id, secret_access_key and region"),
        ({"secret_access_key": None}, "dynamodb is not configured"),
        ({"region": None}, "dynamodb is not configured"),
        ({"region": "evil.test/"}, "region must be a name"),
        ({"session_token": "a\nb"}, "must be ASCII without spaces"),
        ({"endpoint": "ftp://x"}, "endpoint must be a URL"),
        ({"endpoint": "http://a@b"}, "endpoint must be a URL"),
        ({"endpoint": "http://x/path"}, "endpoint must be a URL"),
        ({"endpoint": "http://x:99999"}, "endpoint must be a URL"),
        ({"operation": "get", "key": ""}, "key parameter is required"),
        ({"operation": "set", "key": {"a": 1}, "value": 1}, "key must be text"),
        ({"operation": "set", "key": "a"}, "value parameter is required"),
        ({"operation": "put"}, "item parameter is required"),
        ({"operation": "put", "item": 5}, "item must be an object"),
        ({"operation": "put", "item": {"a": nested(500)}}, "nested deeper than DynamoDB allows"),
        ({"operation": "batch_write", "items": [5]}, "items must be a list of at most 10000 objects"),
        ({"operation": "batch_write", "items": [{"a": 1}]}, "item 1 must be {key, value}"),
        ({"table_name": 5}, "table_name must be text"),
    ],
)
def test_bad_parameters_are_named(call: CallFactory, params: Any, message: str) -> None:
    """Said before anything is sent."""
    with pytest.raises(NodeFailed, match=message) as caught:
        DynamoDb().run(call(KEYS | {"operation": "list", "region": "eu-west-1"} | params))
    assert caught.value.retryable is False


def test_the_environment_is_not_used(call: CallFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's own access is nobody's default."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ours")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "ours")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    with pytest.raises(NodeFailed, match="dynamodb is not configured"):
        DynamoDb().run(call({"operation": "list"}))


def test_endpoints_pass_the_guard(call: CallFactory) -> None:
    """An endpoint is no way around it."""
    for endpoint in ("http://169.254.169.254", "http://10.0.0.1:8000"):
        with pytest.raises(NodeFailed, match="cannot be called") as caught:
            DynamoDb().run(call(KEYS | {"operation": "list", "endpoint": endpoint}))
        assert caught.value.retryable is False


@pytest.mark.parametrize(
    ("region", "host"),
    [("eu-west-1", "dynamodb.eu-west-1.amazonaws.com"), ("cn-north-1", "dynamodb.cn-north-1.amazonaws.com.cn")],
)
def test_endpoints_of_regions(call: CallFactory, region: str, host: str) -> None:
    """Without an endpoint it is AWS's, in TLS."""
    account = Account.of(call(KEYS | {"region": region}))
    assert (account.endpoint, account.host) == (f"https://{host}", host)
    assert KEYS["secret_access_key"] not in repr(account)


def test_other_names_of_the_parameters(call: CallFactory) -> None:
    """The names AWS's own tools use are understood."""
    given = {
        "aws_access_key_id": "a",
        "aws_secret_access_key": "b",
        "aws_session_token": "c",
        "aws_region": "eu-west-1",
    }
    assert Account.of(call(given)).credentials == Credentials("a", "b", "c")
    assert replace(Account.of(call(given)), seconds=1.0).region == "eu-west-1"


def test_values_survive() -> None:
    """Every JSON value comes back as it was; what only DynamoDB knows becomes JSON."""
    value: dict[str, Any] = {"a": [None, True, 1, -1.5, 12345678901234567890, "", "ä", {"b": []}]}
    assert from_attributes(to_attributes(value)) == value
    foreign = {"s": {"SS": ["x"]}, "n": {"NS": ["1", "2.5"]}, "b": {"B": "AA=="}, "bs": {"BS": ["AA=="]}}
    assert from_attributes(foreign) == {"s": ["x"], "n": [1, 2.5], "b": "AA==", "bs": ["AA=="]}
