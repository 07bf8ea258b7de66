"""From an API key and its signature to a principal.

A key's record is remembered; that it is still the current one is proven by whoever writes, by a condition on the purse
of the key's workflow, which carries the version of each live key. Callers that only read ask for a fresh record.
Source: NullRun docs, HTTP API, Authentication; docs/rulings.md#hmac-secrets.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace

from shared.governance.signatures import fingerprint, is_key, secret_of, verifies
from shared.identity.principal import Principal
from shared.kit import clock, json
from shared.kit.errors import Forbidden, Unauthorized
from shared.store.models.governance import ApiKey, KeyPointer, fingerprint_pk, keys_pk
from shared.store.transaction import read

SCOPES = ("gate", "execute", "track", "verify")
"""What a key may be allowed; ``*`` is all of it."""

_REMEMBERED = 4096
_TIMESTAMP = re.compile(r"[0-9]{1,15}")


class KeyRefused(Unauthorized):
    """A key, or its signature, is not accepted. ``error_code`` is NullRun's."""

    def __init__(self, error_code: str, message: str) -> None:
        super().__init__(message)
        self.body = {
            "error": "unauthorized", "code": error_code, "error_code": error_code, "message": message,
            "error_message": message, "category": "infra", "valid": False, "details": {"error_code": error_code},
            "retry_after_ms": None,
        }  # fmt: skip


class MissingScope(Forbidden):
    """The key may not do this."""

    code = "missing_scope"

    def __init__(self, scope: str) -> None:
        message = f"The API key lacks the scope {scope}"
        super().__init__(message)
        self.body = {
            "error": "missing_scope", "code": "MISSING_SCOPE", "error_code": "API_KEY_MISSING_SCOPE",
            "message": message, "error_message": message, "category": "infra",
            "details": {"error_code": "API_KEY_MISSING_SCOPE", "scope": scope}, "retry_after_ms": None,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Signature:
    """What a request was signed with; ``body`` are the bytes as they came."""

    value: str
    timestamp: str
    body: bytes


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key as it was read. ``secrets`` maps each version to its secret and when it ends (None: not yet set).

    ``signature`` is what its request was signed with: whoever finds that the key has changed since checks that again.
    """

    org_id: str
    key_id: str
    workflow_id: str
    label: str
    version: int
    scopes: frozenset[str]
    secrets: tuple[tuple[int, str, int | None], ...]
    expires_ms: int | None
    revoked: bool
    signature: Signature | None = None

    def live_secrets(self, now_ms: int) -> list[str]:
        """Secrets that verify now, newest first."""
        return [secret for _, secret, ends_ms in self.secrets if ends_ms is None or ends_ms > now_ms]

    @property
    def secret(self) -> str:
        """The current secret."""
        return self.secrets[0][1]


class KeyAuthenticator:
    """Checks keys and signatures. ``max_age_s`` bounds the distance of a signature's time from now, both ways."""

    def __init__(self, root: bytes, *, max_age_s: int = 300) -> None:
        self._root = root
        self._max_age_s = max_age_s
        self._known: OrderedDict[str, KnownKey] = OrderedDict()
        self._lock = threading.Lock()

    def authenticate(
        self, api_key: str | None, signature: Signature | None = None, *, scope: str | None = None, fresh: bool = False
    ) -> Principal:
        """The principal of a key. ``fresh`` reads the key's record instead of believing the remembered one.

        Raises KeyRefused (401) and MissingScope (403).
        """
        return principal_of(self.check(api_key, signature, scope=scope, fresh=fresh))

    def check(
        self, api_key: str | None, signature: Signature | None = None, *, scope: str | None = None, fresh: bool = False
    ) -> KnownKey:
        """As :meth:`authenticate`, for callers that need the secret, too."""
        if not api_key:
            raise KeyRefused("API_KEY_MISSING", "Send the API key in X-API-Key")
        if not is_key(api_key):
            raise KeyRefused("API_KEY_MALFORMED", "The API key is malformed: it begins with nr_live_ or nr_test_")
        known, was_read = self._look_up(api_key, fresh=fresh)
        if signature is not None and not self._is_signed(known, api_key, signature) and not was_read:
            # It may have been rotated since the record was read.
            known, was_read = self._look_up(api_key, fresh=True)
        self._refuse_unusable(known)
        if signature is not None and not self._is_signed(known, api_key, signature):
            raise KeyRefused("HMAC_MISMATCH", "The signature does not match the key's secret and the body")
        if scope is not None and not known.scopes & {scope, "*"}:
            raise MissingScope(scope)
        return known if signature is None else replace(known, signature=signature)

    def forget(self, api_key: str) -> None:
        """Read the record again at the next call: what was remembered has turned out to be old."""
        with self._lock:
            self._known.pop(api_key, None)

    def _is_signed(self, known: KnownKey, api_key: str, signature: Signature) -> bool:
        self._refuse_skewed(signature.timestamp)
        secrets = known.live_secrets(clock.now_ms())
        found = [verifies(signature.value, secret, signature.timestamp, api_key, signature.body) for secret in secrets]
        return any(found)

    def _refuse_skewed(self, timestamp: str) -> None:
        distance = (
            abs(int(timestamp) - clock.now_ms() // 1000) if _TIMESTAMP.fullmatch(timestamp) else self._max_age_s + 1
        )
        if distance > self._max_age_s:
            raise KeyRefused(
                "HMAC_TIMESTAMP_SKEW",
                f"X-Signature-Timestamp must be Unix seconds within {self._max_age_s} s of the server's clock",
            )

    def _refuse_unusable(self, known: KnownKey) -> None:
        if known.revoked:
            raise KeyRefused("API_KEY_REVOKED", "The API key has been revoked")
        if known.expires_ms is not None and known.expires_ms <= clock.now_ms():
            raise KeyRefused("API_KEY_EXPIRED", "The API key has expired")

    def _look_up(self, api_key: str, *, fresh: bool) -> tuple[KnownKey, bool]:
        with self._lock:
            known = None if fresh else self._known.get(api_key)
        if known is not None:
            return known, False
        pointer = read(KeyPointer, fingerprint_pk(fingerprint(self._root, api_key)), "key")
        record = None if pointer is None else read(ApiKey, keys_pk(pointer.org_id), pointer.key_id)
        if record is None:
            self.forget(api_key)
            raise KeyRefused("API_KEY_INVALID", "There is no such API key")
        known = known_key(self._root, record)
        with self._lock:
            self._known[api_key] = known
            self._known.move_to_end(api_key)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return known, True


def known_key(root: bytes, record: ApiKey) -> KnownKey:
    """A stored key with its secrets."""
    salts = json.loads(record.salts)
    secrets = [
        (int(version), secret_of(root, record.key_id, int(version), salt["salt"]), salt["expires_ms"])
        for version, salt in sorted(salts.items(), key=lambda row: -int(row[0]))
    ]
    return KnownKey(
        org_id=record.org_id, key_id=record.key_id, workflow_id=record.workflow_id,
        label=f"{record.name} ({record.prefix})", version=int(record.version),
        scopes=frozenset(json.loads(record.scopes)), secrets=tuple(secrets),
        expires_ms=None if record.expires_ms is None else int(record.expires_ms), revoked=record.revoked_ms is not None,
    )  # fmt: skip


def principal_of(known: KnownKey) -> Principal:
    """The principal a key's requests have: it reads its org as a viewer does."""
    return Principal(
        kind="key", org_id=known.org_id, account_id="", username=known.label, role="viewer", key_id=known.key_id,
        key_version=known.version, workflow_id=known.workflow_id, scopes=known.scopes,
    )  # fmt: skip
