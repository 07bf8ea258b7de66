"""How the two WebSocket channels of FlowRunner read an execution's journal."""

from __future__ import annotations

from collections.abc import Iterator

from shared.dialects.flowrunner import projection
from shared.engine.service import Engine
from shared.identity.principal import Principal, system_principal
from shared.kit import json
from shared.push.ports import Memo, Step
from shared.push.relay import execution_channel
from shared.store.models.channels import Listener

PAGE = "flowrunner.page"
"""Projection of ``/ws/executions/{id}``: everything from the start, closed after the last message."""

SUBSCRIPTION = "flowrunner.subscription"
"""Projection of ``/api/v1/ws``: the status at once, then log rows, then the status again."""


class PageReader:
    """The messages of the API reference's channel (FlowRunner API Reference, Execution Updates)."""

    closes = True

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def steps(self, listener: Listener, memo: Memo) -> Iterator[Step]:
        """Every fact from the cursor on; raises NotFound."""
        principal, execution_id = system_principal(listener.org_id, listener.account_id), _execution_of(listener)
        for index, fact, before in _facts(self._engine, principal, execution_id, max(int(listener.cursor), 0)):
            found = projection.messages(execution_id, fact, before)
            yield Step(tuple(json.dumps(message) for message in found), index + 1, projection.is_final(fact))


class SubscriptionReader:
    """The messages of the reference server's subscription channel: the status at first, then what follows."""

    closes = False

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def steps(self, listener: Listener, memo: Memo) -> Iterator[Step]:
        """The status first (cursor -1), then every fact from the cursor on; raises NotFound."""
        principal, execution_id = system_principal(listener.org_id, listener.account_id), _execution_of(listener)
        cursor = int(listener.cursor)
        if cursor < 0:
            cursor, ended = 0, False
            for index, fact in self._engine.follow(principal, execution_id):
                cursor, ended = index + 1, projection.is_final(fact)
            status = projection.status_message(execution_id, self._engine.get(principal, execution_id))
            yield Step((json.dumps(status),), cursor, ended)
            if ended:
                return
        for index, fact, before in _facts(self._engine, principal, execution_id, cursor):
            found = projection.update_messages(
                execution_id, fact, before, lambda: self._engine.get(principal, execution_id)
            )
            yield Step(tuple(json.dumps(message) for message in found), index + 1, projection.is_final(fact))


def _facts(
    engine: Engine, principal: Principal, execution_id: str, start: int
) -> Iterator[tuple[int, projection.Fact, projection.Fact | None]]:
    """(index, fact, the fact before it) from ``start`` on."""
    before: projection.Fact | None = None
    for index, outlined in engine.follow(principal, execution_id, after=start - 2):
        fact = engine.loaded(outlined)
        if index >= start:
            yield index, fact, before
        before = fact


def _execution_of(listener: Listener) -> str:
    return listener.channel.removeprefix(execution_channel(""))
