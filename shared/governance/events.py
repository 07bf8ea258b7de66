"""What happened, written in the transaction of the change itself: the outbox of audit, alerts and control frames.

Source: docs/rulings.md#audit-chain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from shared.identity.principal import Principal
from shared.kit import clock, ids, json
from shared.store.models.governance import Event, due_shard, events_pk
from shared.store.transaction import Transaction

Outcome: TypeAlias = Literal["success", "failure", "blocked", "degraded", "denied"]

RELAYED_MS = 60_000
"""How long the relay has before the sweep looks after an event."""

KEPT_S = 90 * 24 * 3600
"""How long events are kept; the audit chain keeps what they said."""


DEFINITION = "definition:"
"""What the id of a key begins with that stands for a definition."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it: ``user`` (an account), ``api_key``, ``definition`` or ``system``. ``label`` is for people."""

    type: str
    id: str
    label: str

    @classmethod
    def of(cls, principal: Principal) -> Actor:
        """The actor behind a request."""
        if principal.kind == "key":
            return cls("api_key", principal.key_id, principal.username)
        if principal.kind == "system":
            return SYSTEM
        return cls("user", principal.account_id, principal.username)

    @classmethod
    def of_key(cls, key_id: str, label: str) -> Actor:
        """The actor behind a key: a definition, whose executions ask under a key of this form, or an API key."""
        if key_id.startswith(DEFINITION):
            definition_id = key_id.removeprefix(DEFINITION)
            return cls("definition", definition_id, f"definition {definition_id}")
        return cls("api_key", key_id, label)


SYSTEM = Actor("system", "signalbox", "Signalbox")
"""The deployment itself: expiries, thresholds, rollovers."""


@dataclass(frozen=True, slots=True)
class Fact:
    """What happened to what. ``action`` is dotted (``workflow.killed``); ``resource`` is its type and id.

    ``event_type`` is ``authorization_decision``, ``approval_decision``, ``execution_lifecycle`` or the action itself.
    ``control`` are frames for the org's control plane, without signature and message id.
    """

    action: str
    resource: tuple[str, str]
    outcome: Outcome = "success"
    event_type: str = ""
    workflow_id: str | None = None
    decision: str | None = None
    reason_code: str | None = None
    execution_id: str | None = None
    details: Mapping[str, Any] | None = None
    control: Sequence[Mapping[str, Any]] = ()


def add_event(tx: Transaction, org_id: str, actor: Actor, fact: Fact, *, event_id: str = "") -> str:
    """Put the event into the transaction of the change it tells of; its id (a UUIDv7).

    A given ``event_id`` makes the event one of its kind: the transaction fails under the label ``event`` if it exists.
    """
    now = clock.now_ms()
    unique = bool(event_id)
    event_id = event_id or ids.uuid7()
    record = Event(
        events_pk(org_id), event_id, org_id=org_id, event_id=event_id, action=fact.action,
        event_type=fact.event_type or fact.action, actor_type=actor.type, actor_id=actor.id, actor_label=actor.label,
        resource_type=fact.resource[0], resource_id=fact.resource[1], workflow_id=fact.workflow_id,
        outcome=fact.outcome, decision=fact.decision, reason_code=fact.reason_code, execution_id=fact.execution_id,
        details=json.dumps(dict(fact.details or {})),
        control=json.dumps([dict(frame) for frame in fact.control]) if fact.control else None,
        created_ms=now, due_shard=due_shard(org_id), due_ms=now + RELAYED_MS, ttl=now // 1000 + KEPT_S,
    )  # fmt: skip
    tx.put(record, Event.pk.does_not_exist() if unique else None, label="event")
    return event_id
