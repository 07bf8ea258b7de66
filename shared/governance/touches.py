"""When a key was last used, to the minute. Source: docs/rulings.md#api-keys."""

from __future__ import annotations

import threading
from collections import OrderedDict

from shared.kit import clock
from shared.kit.errors import SignalboxError
from shared.kit.logging import logger
from shared.store.models.governance import ApiKey, keys_pk
from shared.store.transaction import update_if

log = logger("keys")

_MINUTE_MS = 60_000
_REMEMBERED = 4096


class Touches:
    """Writes the last use of keys, each at most once a minute, however many processes see it used."""

    def __init__(self) -> None:
        self._touched: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._lock = threading.Lock()

    def touch(self, org_id: str, key_id: str) -> None:
        """Note that a key is being used. Never fails."""
        now = clock.now_ms()
        if not self._claim((org_id, key_id), now):
            return
        record = ApiKey(keys_pk(org_id), key_id)
        long_ago = ApiKey.last_used_ms.does_not_exist() | (ApiKey.last_used_ms <= now - _MINUTE_MS)
        try:
            update_if(record, [ApiKey.last_used_ms.set(now)], ApiKey.pk.exists() & long_ago)
        except SignalboxError as error:
            log.warning("last use of a key not stored", extra={"key_id": key_id, "reason": error.message})

    def _claim(self, key: tuple[str, str], now: int) -> bool:
        """Whether this call is the one of its minute that writes."""
        with self._lock:
            if self._touched.get(key, -_MINUTE_MS) > now - _MINUTE_MS:
                return False
            self._touched[key] = now
            self._touched.move_to_end(key)
            while len(self._touched) > _REMEMBERED:
                self._touched.popitem(last=False)
            return True
