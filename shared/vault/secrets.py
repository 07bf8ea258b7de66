"""An account's secrets. Source: FlowRunner API Reference, Secrets Management."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.kit import clock
from shared.kit.errors import Forbidden, InvalidRequest, NotFound
from shared.store.models.vault import SecretRecord, account_scope, secret_pk
from shared.store.transaction import ConditionFailed, Transaction, put_if_absent, read
from shared.vault.envelope import Envelope

if TYPE_CHECKING:
    from shared.identity import Departure, Principal

KIND = "secrets"
MAX_KEY = 256
MAX_VALUE_BYTES = 64 * 1024
_KEY = re.compile(r"[A-Za-z0-9._@-]+")
_RESERVED = "keys"
_DOTS = (".", "..")


@dataclass(frozen=True, slots=True)
class SecretRow:
    """A secret without its value. Times are epoch milliseconds."""

    key: str
    created_ms: int
    updated_ms: int


class Secrets:
    """Secrets of accounts: nobody but the account itself comes near them, administrators included."""

    def __init__(self, envelope: Envelope) -> None:
        self._envelope = envelope

    def require_own(self, principal: Principal, account_id: str) -> None:
        """Raise Forbidden unless the caller asks for its own secrets."""
        principal.require_account()
        if principal.account_id != account_id:
            raise Forbidden("Secrets are seen by their own account only")

    def list(self, principal: Principal, account_id: str) -> Sequence[SecretRow]:
        """Every secret of the account without its value, by key. Raises Forbidden."""
        self.require_own(principal, account_id)
        return [_row(record) for record in self._records(account_id)]

    def get(self, principal: Principal, account_id: str, key: str) -> str:
        """The value in clear. Raises Forbidden, NotFound."""
        self.require_own(principal, account_id)
        record = self._read(account_id, key)
        return self._open(account_id, record)

    def put(self, principal: Principal, account_id: str, key: str, value: str) -> SecretRow:
        """Store a secret, in the place of an older one if there is. Raises Forbidden, InvalidRequest."""
        self.require_own(principal, account_id)
        record = self._sealed(account_id, _checked_key(key), _checked_value(value))
        while True:
            known = read(SecretRecord, record.pk, record.sk)
            if known is None:
                if put_if_absent(record):
                    return _row(record)
            elif self._replace(record, known):
                return _row(record)

    def replace(self, principal: Principal, account_id: str, key: str, value: str) -> SecretRow:
        """Change a secret that exists. Raises Forbidden, NotFound, InvalidRequest."""
        self.require_own(principal, account_id)
        record = self._sealed(account_id, key, _checked_value(value))
        while not self._replace(record, self._read(account_id, key)):
            continue
        return _row(record)

    def require(self, principal: Principal, account_id: str, key: str) -> None:
        """Raise Forbidden or NotFound unless the secret is there and the caller's."""
        self.require_own(principal, account_id)
        self._read(account_id, key)

    def delete(self, principal: Principal, account_id: str, key: str) -> None:
        """Remove a secret. Raises Forbidden, NotFound."""
        self.require_own(principal, account_id)
        record = self._read(account_id, key)
        try:
            Transaction().delete(record, SecretRecord.pk.exists()).commit()
        except ConditionFailed:
            raise NotFound("There is no such secret") from None

    def values(self, account_id: str) -> Mapping[str, str]:
        """Key and value of every secret of the account, for its own executions."""
        return {record.sk: self._open(account_id, record) for record in self._records(account_id)}

    def forget(self, departure: Departure) -> None:
        """Remove everything of an account that goes: first the key that opens it."""
        self._envelope.destroy(account_scope(departure.account_id))
        for record in self._records(departure.account_id):
            Transaction().delete(record).commit()

    def _records(self, account_id: str) -> Sequence[SecretRecord]:
        return list(SecretRecord.query(secret_pk(account_scope(account_id), KIND), consistent_read=True))

    def _read(self, account_id: str, key: str) -> SecretRecord:
        known = bool(key) and len(key) <= MAX_KEY
        record = read(SecretRecord, secret_pk(account_scope(account_id), KIND), key) if known else None
        if record is None:
            raise NotFound("There is no such secret")
        return record

    def _sealed(self, account_id: str, key: str, value: str) -> SecretRecord:
        scope, now = account_scope(account_id), clock.now_ms()
        sealed = self._envelope.seal(scope, KIND, key, value.encode())
        return SecretRecord(secret_pk(scope, KIND), key, sealed=sealed, created_ms=now, updated_ms=now)

    def _replace(self, record: SecretRecord, known: SecretRecord) -> bool:
        record.created_ms = known.created_ms
        record.updated_ms = max(clock.now_ms(), int(known.updated_ms) + 1)
        same = (SecretRecord.updated_ms == known.updated_ms) & (SecretRecord.created_ms == known.created_ms)
        try:
            Transaction().put(record, same).commit()
        except ConditionFailed:
            return False
        return True

    def _open(self, account_id: str, record: SecretRecord) -> str:
        return self._envelope.open(account_scope(account_id), KIND, record.sk, record.sealed).decode()


class AccountSecrets:
    """The vault as the engine asks it: a FlowRunner secret belongs to the account, whichever org it acts in."""

    def __init__(self, vault: Secrets) -> None:
        self._vault = vault

    def values(self, org_id: str, account_id: str) -> Mapping[str, str]:
        """Every secret of the account in clear, by key."""
        return self._vault.values(account_id)


def _row(record: SecretRecord) -> SecretRow:
    return SecretRow(record.sk, int(record.created_ms), int(record.updated_ms))


def _checked_key(key: str) -> str:
    if not key:
        raise InvalidRequest.field("key", "Key is required")
    if len(key) > MAX_KEY or not _KEY.fullmatch(key):
        raise InvalidRequest.field("key", f"Key must be 1 to {MAX_KEY} letters, digits, dots, @, - or _")
    if key == _RESERVED:
        raise InvalidRequest.field("key", f"{_RESERVED} is the list of keys and cannot be the name of one")
    if key in _DOTS:
        raise InvalidRequest.field("key", f"{key} cannot be a name: clients take it out of the path")
    return key


def _checked_value(value: str) -> str:
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise InvalidRequest.field("value", "Value must be valid Unicode text") from None
    if size > MAX_VALUE_BYTES:
        raise InvalidRequest.field("value", f"Value must have {MAX_VALUE_BYTES} bytes at most")
    return value
