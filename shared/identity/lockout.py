"""Guessing passwords is slow: after a number of failures a name is locked for a while.

Failures are counted per name as typed, whether or not an account has it, so the lock says nothing about who exists.

    (no record) ──failure──▶ count 1 … n-1 ──failure──▶ locked until t ──after t──▶ as if there were no record
         ▲                        │
         └────────success─────────┘
"""

from __future__ import annotations

from shared.identity.names import fold
from shared.kit import clock, crypto
from shared.kit.errors import TooManyRequests
from shared.store.models.identity import LoginFailures, failures_pk
from shared.store.transaction import ConditionFailed, Transaction, put_if_absent, read, update_if


class Lockout:
    """Counts failures in the store, conditionally: parallel guesses are all counted, and a restart forgets nothing."""

    def __init__(self, key: bytes, *, failures: int, seconds: int) -> None:
        self._key = crypto.derive(key, "lockout")
        self._failures = failures
        self._ms = seconds * 1000

    def _pk(self, name: str) -> str:
        return failures_pk(crypto.digest(self._key, fold(name)))

    def refuse_locked(self, name: str) -> bool:
        """Raise TooManyRequests while the name is locked; answers whether failures are recorded.

        Asked before a password is checked, to save the work, and again after it was right: a guess counts only if fewer
        failures than the limit were recorded by then, however many guesses ran side by side.
        """
        record = read(LoginFailures, self._pk(name), "failures")
        if record is not None and record.locked_until_ms > clock.now_ms():
            raise self._locked(int(record.locked_until_ms))
        return record is not None

    def _locked(self, until_ms: int) -> TooManyRequests:
        seconds = max(1, -(-(until_ms - clock.now_ms()) // 1000))
        return TooManyRequests("Too many failed sign-ins; try again later", retry_after=seconds)

    def failed(self, name: str) -> None:
        """Count one failure."""
        pk = self._pk(name)
        while True:
            now = clock.now_ms()
            record = read(LoginFailures, pk, "failures")
            if record is not None and record.locked_until_ms > now:
                return
            lapsed = record is None or bool(record.locked_until_ms)
            count = 1 if record is None or lapsed else int(record.failures) + 1
            until = now + self._ms if count >= self._failures else 0
            fresh = LoginFailures(
                pk, "failures", failures=count, locked_until_ms=until, ttl=(now + self._ms) // 1000 + 1
            )
            if record is None:
                if put_if_absent(fresh) or self._replace_expired(fresh, now):
                    return
                continue
            actions = [
                LoginFailures.failures.set(count),
                LoginFailures.locked_until_ms.set(until),
                LoginFailures.ttl.set(fresh.ttl),
            ]
            unchanged = (LoginFailures.failures == record.failures) & (
                LoginFailures.locked_until_ms == record.locked_until_ms
            )
            if update_if(fresh, actions, unchanged):
                return

    def _replace_expired(self, fresh: LoginFailures, now: int) -> bool:
        """Take the place of a record whose time to live is over but which is still there."""
        try:
            Transaction().put(fresh, LoginFailures.ttl <= now // 1000).commit()
        except ConditionFailed:
            return False
        return True

    def succeeded(self, name: str) -> None:
        """Forget the failures of a name that is not locked; for a name that :meth:`refuse_locked` found some of."""
        pk = self._pk(name)
        try:
            Transaction().delete(LoginFailures(pk, "failures"), LoginFailures.locked_until_ms == 0).commit()
        except ConditionFailed:
            # The name was locked or forgotten meanwhile; both stand.
            return
