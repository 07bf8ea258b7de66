"""Calls of node kinds with the real expression language and a client that may call this machine."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, cast

import pytest

from shared.engine.expressions.base import Scope
from shared.engine.expressions.javascript import JavaScript
from shared.engine.expressions.pool import WorkerPool
from shared.engine.kinds.base import Call, ExecutionFacts, KindServices
from shared.engine.program import Edge, Node
from shared.outbound import OutboundClient, OutboundPolicy
from tests.support.standin import Handler, StandIn

CallFactory = Callable[..., Call]
Serve = Callable[[Handler], StandIn]


@pytest.fixture(scope="session")
def js() -> Iterator[JavaScript]:
    pool = WorkerPool(1)
    yield JavaScript(pool)
    pool.close()


@pytest.fixture
def http() -> Iterator[OutboundClient]:
    client = OutboundClient(OutboundPolicy(allow_hosts=("127.0.0.1",)))
    yield client
    client.close()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """``serve(handler)``: a server on loopback that answers as the handler says."""
    with ExitStack() as servers:
        yield lambda handler: servers.enter_context(StandIn(handler).serving())


@pytest.fixture
def rows() -> list[tuple[str, str, Any]]:
    """What the node logged."""
    return []


@pytest.fixture
def call(js: JavaScript, http: OutboundClient, rows: list[tuple[str, str, Any]]) -> CallFactory:
    """``call(params, input, shared=…, edges=…)``: one attempt of a node called ``step``."""

    def make(
        params: dict[str, Any] | None = None, value: Any = None, *, shared: dict[str, Any] | None = None,
        edges: tuple[str, ...] = (),
    ) -> Call:  # fmt: skip
        def log(level: str, message: str, data: dict[str, Any] | None = None) -> None:
            rows.append((level, message, data))

        return Call(
            node=Node("step", "any", params or {}, edges=tuple(Edge(action, "END") for action in edges)),
            params=params or {},
            input=value,
            scope=Scope(input=value, shared=shared or {}),
            execution=ExecutionFacts("e", "o", "a", "d"),
            attempt=1,
            idempotency_key="k",
            services=cast(KindServices, SimpleNamespace(language=js, http=http, wall_clock_limit_s=600.0)),
            log=log,
        )

    return make
