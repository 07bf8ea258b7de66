"""idempotency_key and idempotency_ttl over the real store of results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from shared.engine.expressions.base import Scope
from shared.engine.kinds.base import Call, Done, ExecutionFacts, KindServices, NodeFailed
from shared.engine.kinds.http_request import HttpRequest
from shared.engine.kinds.once import once
from shared.engine.kinds.webhook import Webhook
from shared.engine.operations import StoredResults
from shared.engine.program import Node
from shared.engine.scope import LazySecrets
from shared.store.blobs import FolderBlobs
from shared.store.embedded import EmbeddedEngine
from tests.support.standin import Reply
from tests.support.time import HeldClock
from tests.unit.engine.kinds.conftest import CallFactory, Serve

Make = Callable[..., Call]


@pytest.fixture
def make(call: CallFactory, tmp_path: Path, held: HeldClock, store: EmbeddedEngine) -> Make:
    """``make(params, node=…, execution=…, scope=…)``: a call whose results are stored."""
    results = StoredResults(FolderBlobs(tmp_path))

    def made(params: dict[str, Any], **others: Any) -> Call:
        base = call(params)
        services = SimpleNamespace(http=base.services.http, operations=results, wall_clock_limit_s=600.0)
        return replace(base, services=cast(KindServices, services), **others)

    return made


class Work:
    """Counts how often it is done."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> Done:
        self.times += 1
        return Done({"times": self.times}, ("success", "default"))


def test_without_a_key_everything_is_done(make: Make) -> None:
    """As often as it is asked."""
    work = Work()
    for times in (1, 2):
        assert once(make({}), work).output == {"times": times}


def test_with_a_key_it_is_done_once(make: Make, rows: list[Any]) -> None:
    """Later calls, also of other executions, get the first result and its edges; only a debug row tells."""
    work = Work()
    first = once(make({"idempotency_key": "a"}), work)
    later = make({"idempotency_key": "a"}, execution=ExecutionFacts("e2", "o", "a", "d"))
    assert once(later, work) == first == Done({"times": 1}, ("success", "default"))
    assert work.times == 1
    assert rows == [("debug", "Stored result used", None)]


@pytest.mark.parametrize(
    ("params", "others"),
    [
        ({"idempotency_key": "b"}, {}),
        ({"idempotency_key": "a"}, {"node": Node("other", "any", {})}),
        ({"idempotency_key": "a"}, {"execution": ExecutionFacts("e", "o", "a", "other")}),
        ({"idempotency_key": "a"}, {"execution": ExecutionFacts("e", "o", "other", "d")}),
        ({"idempotency_key": "a"}, {"execution": ExecutionFacts("e", "other", "a", "d")}),
    ],
)
def test_what_makes_another_operation(make: Make, params: dict[str, Any], others: dict[str, Any]) -> None:
    """Another key, node, flow, account or org."""
    work = Work()
    once(make({"idempotency_key": "a"}), work)
    assert once(make(params, **others), work).output == {"times": 2}


@pytest.mark.parametrize(("ttl", "seconds"), [(None, 24 * 3600), ("", 24 * 3600), ("90m", 5400), (60, 60), ("0s", 0)])
def test_results_are_kept_for_their_time(make: Make, held: HeldClock, ttl: Any, seconds: float) -> None:
    """A day unless the author says otherwise; a second later the work is done again."""
    work = Work()
    params = {"idempotency_key": "a"} | ({} if ttl is None else {"idempotency_ttl": ttl})
    once(make(params), work)
    held.advance(max(seconds - 1, 0))
    assert once(make(params), work).output == {"times": 1 if seconds else 2}
    held.advance(2)
    assert once(make(params), work).output == {"times": 2 if seconds else 3}


def test_failures_are_not_kept(make: Make) -> None:
    """What failed was not done, and is tried again."""

    def fail() -> Done:
        raise NodeFailed("no")

    with pytest.raises(NodeFailed, match="no"):
        once(make({"idempotency_key": "a"}), fail)
    assert once(make({"idempotency_key": "a"}), Work()).output == {"times": 1}


@pytest.mark.parametrize("key", [None, "", [], {}, ["a"], True])
def test_a_key_that_names_nothing(make: Make, key: Any) -> None:
    """An expression that came out empty must not silently lift the protection, nor make all calls one."""
    work = Work()
    with pytest.raises(NodeFailed, match="idempotency_key must be text") as failed:
        once(make({"idempotency_key": key}), work)
    assert not failed.value.retryable
    assert work.times == 0


@pytest.mark.parametrize("ttl", ["soon", -1, "400000h", True])
def test_a_time_that_is_none_is_told_before_anything_is_done(make: Make, ttl: Any) -> None:
    """The work is not done first and then called a failure."""
    work = Work()
    with pytest.raises(NodeFailed, match="idempotency_ttl must be"):
        once(make({"idempotency_key": "a", "idempotency_ttl": ttl}), work)
    assert work.times == 0


@pytest.mark.parametrize("lazy", [True, False])
def test_secrets_are_not_stored(make: Make, lazy: bool) -> None:
    """What the flow read from the vault is replaced in the stored result, as it is in the journal."""
    values = {"TOKEN": "hunter2hunter2"}
    secrets: Any = LazySecrets(lambda: values) if lazy else values
    assert secrets["TOKEN"]
    call = make({"idempotency_key": "a"}, scope=Scope(secrets=secrets))
    assert once(call, lambda: Done({"url": "http://a.test/?t=hunter2hunter2"})).output["url"].endswith("hunter2hunter2")
    assert once(call, Work()).output == {"url": "http://a.test/?t=[redacted]"}


@pytest.mark.parametrize("kind", [HttpRequest(), Webhook()])
def test_requests_are_sent_once(make: Make, serve: Serve, kind: HttpRequest | Webhook) -> None:
    """The second call sends nothing; the first carried a key that a repetition by another execution would carry too."""
    server = serve(lambda received: Reply({"number": len(server.received)}))
    params = {"url": server.url, "idempotency_key": "order-1"}
    first = kind.run(make(params))
    assert kind.run(make(params, execution=ExecutionFacts("e2", "o", "a", "d"), idempotency_key="k2")) == first
    assert len(server.received) == 1
    kind.run(make(params | {"idempotency_ttl": "0s"}, node=Node("other", "any", {})))
    kind.run(make(params | {"idempotency_ttl": "0s"}, node=Node("other", "any", {}), idempotency_key="k3"))
    keys = [received.headers["idempotency-key"] for received in server.received]
    assert keys[0] != keys[1] == keys[2] != "k3"
