"""Chains: gate calls that belong together. Only inside a live one may a soft budget be overdrawn.

                 gate                    heartbeat or gate
    (nothing) ─────────▶ live ◀──────────────┘
                          │  end · 300 s idle · longest duration
                          ▼
                         over            the next gate of the same id begins it anew, except while its longest
                                         duration is over and it has not been idle

Source: NullRun docs, Budgets, Chains; docs/rulings.md#chains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared.governance.refusals import Refused
from shared.identity.principal import Principal
from shared.kit import clock
from shared.kit.errors import Conflict, NotFound, Unavailable
from shared.store.models.governance import Chain, chain_pk
from shared.store.transaction import Transaction, read, update_if

IDLE_MS = 300_000
"""A chain that was not heard of for so long is over."""

LONGEST_S = 3600
"""How long a chain may last where no policy says."""

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


@dataclass(frozen=True, slots=True)
class Link:
    """What a gate call does to its chain: begin it, or go on with it. ``since_ms`` is when it began."""

    org_id: str
    chain_id: str
    begins: bool
    since_ms: int
    longest_s: int

    def add(self, tx: Transaction) -> None:
        """Touch the chain in the gate's transaction; fails under the label ``chain`` when it has changed."""
        now = clock.now_ms()
        chain = Chain(chain_pk(self.org_id, self.chain_id), "chain")
        if not self.begins:
            tx.update(chain, _touched(now), _is_live(now) & (Chain.started_ms == self.since_ms), label="chain")
            return
        chain.org_id, chain.chain_id, chain.started_ms, chain.active_ms = self.org_id, self.chain_id, now, now
        chain.longest_s, chain.ended, chain.ttl = self.longest_s, False, now // 1000 + KEPT_S
        over = (Chain.active_ms <= now - IDLE_MS) | (Chain.ended == True)  # noqa: E712 - a condition, not a comparison.
        tx.put(chain, Chain.pk.does_not_exist() | over, label="chain")


def link(org_id: str, chain_id: str, longest_s: int = LONGEST_S) -> Link:
    """What a gate call has to do to its chain. Raises Refused (CHAIN_MAX_DURATION_EXCEEDED)."""
    found = read(Chain, chain_pk(org_id, chain_id), "chain")
    now = clock.now_ms()
    if found is None or _is_over(found, now):
        return Link(org_id, chain_id, True, now, longest_s)
    if _is_too_old(found, now, longest_s):
        message = f"The chain has lasted longer than {longest_s} s; begin another one"
        raise Refused("CHAIN_MAX_DURATION_EXCEEDED", message, at_gate=True)
    return Link(org_id, chain_id, False, int(found.started_ms), longest_s)


def live(org_id: str, chain_id: str, longest_s: int = LONGEST_S) -> bool:
    """Whether the org's chain goes on."""
    found, now = read(Chain, chain_pk(org_id, chain_id), "chain"), clock.now_ms()
    return found is not None and not _is_over(found, now) and not _is_too_old(found, now, longest_s)


def end(org_id: str, chain_id: str) -> bool:
    """End a chain; whether it was this call that did. One that is unknown or over stays so."""
    now = clock.now_ms()
    return update_if(Chain(chain_pk(org_id, chain_id), "chain"), [Chain.ended.set(True)], _is_live(now))


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
            if _is_over(found, now) or _is_too_old(found, now, int(found.longest_s)):
                raise ChainOver("The chain is over; begin another one")
            if now - int(found.active_ms) < HEARTBEAT_MS - SKEW_MS:
                return _alive(chain_id, int(found.active_ms))
            if update_if(found, _touched(now), _is_live(now)):
                return _alive(chain_id, now)
        raise Unavailable("Too many calls change the chain at once; try again")


def _alive(chain_id: str, active_ms: int) -> dict[str, Any]:
    return {"status": "ok", "chain_id": chain_id, "last_active": active_ms // 1000}


def _touched(now: int) -> list[Any]:
    return [Chain.active_ms.set(now), Chain.ttl.set(now // 1000 + KEPT_S)]


def _is_live(now: int) -> Any:
    return (Chain.active_ms > now - IDLE_MS) & (Chain.ended == False)  # noqa: E712 - a condition, not a comparison.


def _is_over(chain: Chain, now: int) -> bool:
    return bool(chain.ended) or int(chain.active_ms) <= now - IDLE_MS


def _is_too_old(chain: Chain, now: int, longest_s: int) -> bool:
    return int(chain.started_ms) + longest_s * 1000 <= now
