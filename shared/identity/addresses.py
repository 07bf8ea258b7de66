"""Requests of one address per minute on routes that anybody may call: sign-up, sign-in, invites.

Counted in the store, so that all processes count together, under a keyed digest, so that no address is kept.
Off unless the setting ``address_requests_per_minute`` says how many.
"""

from __future__ import annotations

from shared.kit import clock, crypto
from shared.kit.errors import TooManyRequests
from shared.store.models.identity import AddressCount, address_pk
from shared.store.transaction import update_if


class Addresses:
    """Counts requests by address; ``per_minute`` 0 counts nothing."""

    def __init__(self, key: bytes, per_minute: int) -> None:
        self._key = crypto.derive(key, "addresses")
        self._per_minute = per_minute

    def admit(self, address: str) -> None:
        """Count one request. Raises TooManyRequests beyond the limit of the minute."""
        if not self._per_minute:
            return
        now = clock.now_ms()
        minute = now // 60_000
        record = AddressCount(address_pk(crypto.digest(self._key, address)), f"minute#{minute}")
        counted = [AddressCount.requests.set((AddressCount.requests | 0) + 1), AddressCount.ttl.set(now // 1000 + 120)]
        few = AddressCount.requests.does_not_exist() | (AddressCount.requests < self._per_minute)
        if not update_if(record, counted, few):
            wait_s = 60 - now // 1000 % 60
            raise TooManyRequests("Too many requests from this address; try again later", retry_after=wait_s)
