"""Chains: gate calls that belong together. Only inside a live one may a soft budget be overdrawn.

                 gate                    gate, heartbeat
    (nothing) ─────────▶ live ◀─────────────────┐
        ▲                 │                      │
        │                 ├── end · 300 s idle ──┼──▶ over: the next gate of that id begins a new one
        │                 └── longest duration ──┴──▶ refused until it has been idle or was ended

Source: NullRun docs, Budgets, Chains; docs/rulings.md#chains.
"""

from __future__ import annotations

from typing import Any

from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from shared.governance.refusals import Refused
from shared.identity.principal import Principal
from shared.kit import clock
from shared.kit.errors import Conflict, NotFound, Unavailable
from shared.store.models.governance import Chain, chain_pk
from shared.store.transaction import Transaction, read, update_if

IDLE_MS = 300_000
"""A chain that was not heard of for so long is over."""

HEARTBEAT_MS = 30_000
"""More frequent heartbeats change nothing."""

SKEW_MS = 5_000
"""How much early a heartbeat may come and still count."""

KEPT_S = 24 * 3600
"""How long a chain that is over is remembered."""

_ATTEMPTS = 8


class ChainNotFound(NotFound):
    """The org has no such chain."""

    code = "chain_not_found"


class ChainOver(Conflict):
    """The chain cannot be extended any more."""

    code = "chain_not_extendable"


def touch(tx: Transaction, org_id: str, chain_id: str, now_ms: int, longest_ms: int) -> None:
    """Begin a chain or go on with it, in the gate's transaction: it fails under ``chain`` if that is over."""
    born = [
        Chain.org_id.set(org_id), Chain.chain_id.set(chain_id), Chain.started_ms.set(Chain.started_ms | now_ms),
        Chain.ended.set(False), Chain.longest_ms.set(longest_ms),
    ]  # fmt: skip
    goes_on = _is_live(now_ms) & (Chain.started_ms > now_ms - longest_ms)
    actions = [*born, *_touched(now_ms)]
    tx.update(_key(org_id, chain_id), actions, Chain.pk.does_not_exist() | goes_on, label="chain")


def refusal(chain: Chain | None) -> Refused | None:
    """Why a gate call's chain was not there to go on; None when it may be tried again: one that is over began anew."""
    if chain is None:
        return None
    now = clock.now_ms()
    if is_over(chain, now):
        unchanged = (Chain.active_ms == chain.active_ms) & (Chain.ended == chain.ended)
        fresh = [Chain.started_ms.set(now), Chain.ended.set(False), *_touched(now)]
        update_if(chain, fresh, unchanged)
        return None
    seconds = int(chain.longest_ms) // 1000
    message = f"The chain has lasted longer than {seconds} s; end it, or begin another one"
    return Refused("CHAIN_MAX_DURATION_EXCEEDED", message, at_gate=True)


def live(org_id: str, chain_id: str, now_ms: int, longest_ms: int) -> bool:
    """Whether the org's chain goes on."""
    found = read(Chain, chain_pk(org_id, chain_id), "chain")
    return found is not None and not is_over(found, now_ms) and not _is_too_old(found, now_ms, longest_ms)


def end(org_id: str, chain_id: str) -> bool:
    """End a chain; whether it was this call that did. One that is unknown or over stays so."""
    return update_if(_key(org_id, chain_id), [Chain.ended.set(True)], _is_live(clock.now_ms()))


def is_over(chain: Chain, now_ms: int) -> bool:
    """Whether a chain was ended or has been idle for too long."""
    return bool(chain.ended) or int(chain.active_ms) <= now_ms - IDLE_MS


class Chains:
    """What keys do to chains beside the gate."""

    def heartbeat(self, principal: Principal, chain_id: str) -> dict[str, Any]:
        """Keep a chain from going idle. Raises ChainNotFound (404) and ChainOver (409)."""
        chain_id = chain_id.lower()
        for _ in range(_ATTEMPTS):
            now = clock.now_ms()
            found = read(Chain, chain_pk(principal.org_id, chain_id), "chain")
            if found is None:
                raise ChainNotFound("There is no such chain; a chain begins with a gate call that names it")
            if is_over(found, now) or _is_too_old(found, now, int(found.longest_ms)):
                raise ChainOver("The chain is over; begin another one")
            if now - int(found.active_ms) < HEARTBEAT_MS - SKEW_MS:
                return _alive(chain_id, int(found.active_ms))
            if update_if(found, _touched(now), _is_live(now)):
                return _alive(chain_id, now)
        raise Unavailable("Too many calls change the chain at once; try again")


def _key(org_id: str, chain_id: str) -> Chain:
    return Chain(chain_pk(org_id, chain_id), "chain")


def _alive(chain_id: str, active_ms: int) -> dict[str, Any]:
    return {"status": "ok", "chain_id": chain_id, "last_active": active_ms // 1000}


def _touched(now_ms: int) -> list[Action]:
    return [Chain.active_ms.set(now_ms), Chain.ttl.set(now_ms // 1000 + KEPT_S)]


def _is_live(now_ms: int) -> Condition:
    unended = Chain.ended == False  # noqa: E712 - a condition, not a comparison.
    condition: Condition = (Chain.active_ms > now_ms - IDLE_MS) & unended
    return condition


def _is_too_old(chain: Chain, now_ms: int, longest_ms: int) -> bool:
    return int(chain.started_ms) + longest_ms <= now_ms
