"""What a process remembers of a workflow between gate calls: its policies, and its purse as last seen.

Nothing here is believed without proof: the gate's transaction demands that the purse's policy version is the one that
was seen, that the minute and period are those it counts in, and that the money is there.
Source: docs/rulings.md#gate.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from shared.governance.policyset import PolicySet, load_policy_set
from shared.governance.purses import has_cap, read_purse
from shared.kit import clock
from shared.kit.errors import NotFound
from shared.store.models.governance import Purse

_REMEMBERED = 1024


def this_minute() -> int:
    """Now, in minutes since the epoch."""
    return clock.now_ms() // 60_000


@dataclass(slots=True)
class Standing:
    """A workflow as this process knows it. Money is in micro-cents; ``available`` counts our own gates since.

    ``carried`` is the policy version of the purse: below that of ``policies`` while a change is on its way.
    """

    org_id: str
    workflow_id: str
    policies: PolicySet
    carried: int = 0
    minute: int = 0
    available: int = 0
    capped: bool = False
    period_start_ms: int = 0
    period_end_ms: int = 0
    seen_ms: int = 0

    def see(self, purse: Purse) -> None:
        """Take over what a purse shows."""
        self.minute, self.available, self.capped = int(purse.minute), int(purse.available), has_cap(purse)
        self.period_start_ms, self.period_end_ms = int(purse.period_start_ms), int(purse.period_end_ms)
        self.seen_ms, self.carried = clock.now_ms(), int(purse.policy_version)

    def count(self, reserved: int, minute: int) -> None:
        """Take over what a gate call of ours has just written."""
        self.available -= reserved
        self.minute = max(self.minute, minute)

    @property
    def is_current(self) -> bool:
        """Whether a transaction built on it may well succeed: same minute, same period."""
        return self.minute >= this_minute() and self.period_end_ms > clock.now_ms()


class Standings:
    """The standings of a process."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], Standing] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, org_id: str, workflow_id: str) -> Standing:
        """The standing to build on: remembered while it is current, else read. Raises NotFound without a purse."""
        with self._lock:
            known = self._known.get((org_id, workflow_id))
        return known if known is not None and known.is_current else self.look(org_id, workflow_id)

    def look(self, org_id: str, workflow_id: str) -> Standing:
        """Read the purse, and the policies if they have changed."""
        purse = read_purse(org_id, workflow_id)
        if purse is None:
            raise NotFound("There is no such workflow")
        return self.saw(purse)

    def saw(self, purse: Purse) -> Standing:
        """The standing of a purse that was just read."""
        place = purse.org_id, purse.scope_id
        with self._lock:
            known = self._known.get(place)
        if known is None or purse.policy_version > known.policies.version:
            known = Standing(*place, load_policy_set(*place))
        known.see(purse)
        with self._lock:
            self._known[place] = known
            self._known.move_to_end(place)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return known
