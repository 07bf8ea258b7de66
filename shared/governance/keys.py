"""API keys: minted, listed, rotated, revoked. Source: NullRun docs, HTTP API, Authentication.

A key's text is shown once and never stored: it is found by a keyed digest of itself. Its secret is derived from the
deployment's root and a random salt for each version. The purse of the key's workflow carries the version of every live
key, written in the transaction of the key's own record: whatever changes is true for the very next gate call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pynamodb.expressions.condition import size

from shared.governance.authentication import SCOPES
from shared.governance.events import Actor, Fact, add_event
from shared.governance.frames import key_revoked, key_rotated
from shared.governance.key_forms import NewKey, checked_key
from shared.governance.limits import claim
from shared.governance.orgsettings import org_settings
from shared.governance.pages import Part, part_of
from shared.governance.purses import purse_key
from shared.governance.signatures import PREFIX_CHARACTERS, fingerprint, new_key, new_salt, secret_of
from shared.governance.states import KILLED
from shared.governance.workflow_views import is_id, workflow_record
from shared.kit import clock, ids, json
from shared.kit.errors import Conflict, NotFound, Unavailable, Unprocessable
from shared.store.models.governance import (
    ApiKey,
    KeyPointer,
    Purse,
    Workflow,
    fingerprint_pk,
    keys_pk,
    workflows_pk,
)
from shared.store.transaction import ConditionFailed, Transaction, read, read_each

if TYPE_CHECKING:
    from shared.identity.principal import Principal
    from shared.kit.settings import Settings

MOST_KEYS = 500
"""Keys of a workflow that were not revoked, whatever its plan: its purse, which every gate call moves, has them all."""

_ATTEMPTS = 64
_AT_ONCE = 100
_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class KeyView:
    """A key without anything secret. ``status`` is active, revoked or expired; times are epoch milliseconds."""

    id: str
    name: str
    prefix: str
    workflow_id: str
    workflow_name: str | None
    scopes: Sequence[str]
    status: str
    version: int
    last_used_ms: int | None
    expires_ms: int | None
    created_ms: int


@dataclass(frozen=True, slots=True)
class MintedKey:
    """A fresh key with what is shown only now: the key and its secret."""

    view: KeyView
    key: str
    secret: str


@dataclass(frozen=True, slots=True)
class RotatedKey:
    """A key with its new secret. The secret before verifies until ``previous_until_ms``."""

    view: KeyView
    secret: str
    previous_until_ms: int


class TooManyKeys(Unprocessable):
    """The workflow has as many keys as anybody may have."""

    code = "plan_limit_exceeded"

    def __init__(self) -> None:
        super().__init__(
            f"A workflow may have {MOST_KEYS} API keys; revoke some, expired ones too",
            details={"resource": "api_keys", "current": MOST_KEYS, "limit": MOST_KEYS},
        )


class ApiKeys:
    """The API keys of an org. Every call acts in the principal's org and needs a person; changes an operator."""

    def __init__(self, root: bytes, settings: Settings) -> None:
        self._root = root
        self._settings = settings

    # Looking

    def list(
        self, principal: Principal, *, workflow_id: str | None = None, limit: int, cursor: str | None = None
    ) -> Part[KeyView]:
        """Keys of the org, or of one workflow, oldest first. Raises Forbidden, NotFound."""
        principal.require_account()
        if workflow_id is not None:
            workflow_record(principal.org_id, workflow_id)
        found = [key for key in keys_of(principal.org_id) if workflow_id in (None, key.workflow_id)]
        part = part_of(found, limit, cursor, lambda record: record.key_id)
        names = self._names(principal.org_id, {record.workflow_id for record in part.items})
        return part.of([_view(record, names.get(record.workflow_id)) for record in part.items])

    def _names(self, org_id: str, workflow_ids: set[str]) -> Mapping[str, str]:
        wanted = sorted(workflow_ids)
        found = read_each(*((Workflow, workflows_pk(org_id), workflow_id) for workflow_id in wanted))
        return {record.workflow_id: record.name for record in found if isinstance(record, Workflow)}

    # Changing

    def mint(self, principal: Principal, wanted: NewKey) -> MintedKey:
        """Make a key of a workflow.

        Raises Forbidden, InvalidRequest (no workflow, unknown scope), NotFound, Unprocessable (another bad field, or
        one key more than the plan, or anybody, may have), Conflict where the workflow was killed.
        """
        principal.require_role("operator")
        checked, org_id = checked_key(wanted), principal.org_id
        workflow = workflow_record(org_id, checked.workflow_id)
        for _ in range(_ATTEMPTS):
            text, salt, tx = new_key(live=checked.live), new_salt(), Transaction()
            record = self._new(principal, checked, text, salt)
            self._count(tx, org_id)
            tx.put(record, ApiKey.pk.does_not_exist(), "key")
            pointer = KeyPointer(fingerprint_pk(record.fingerprint), "key", org_id=org_id, key_id=record.key_id)
            tx.put(pointer, KeyPointer.pk.does_not_exist(), "pointer")
            _carry(tx, record, 1, (Purse.state != KILLED) & (size(Purse.key_versions) < MOST_KEYS))
            add_event(tx, org_id, Actor.of(principal), _fact("api_key.created", record, _told(record)))
            try:
                tx.commit()
            except ConditionFailed as failed:
                if "purse" in failed.failures:
                    purse = failed.failures["purse"]
                    if isinstance(purse, Purse) and purse.state != KILLED:
                        raise TooManyKeys from None
                    raise Conflict("The workflow has been killed; make a new workflow for the key") from None
                continue
            return MintedKey(_view(record, workflow.name), text, secret_of(self._root, record.key_id, 1, salt))
        raise Unavailable("Keys or workflows of the organisation are being changed by others; try again")

    def _new(self, principal: Principal, wanted: NewKey, text: str, salt: str) -> ApiKey:
        key_id = ids.uuid7()
        return ApiKey(
            keys_pk(principal.org_id), key_id, key_id=key_id, org_id=principal.org_id, workflow_id=wanted.workflow_id,
            name=wanted.name, prefix=text[:PREFIX_CHARACTERS], fingerprint=fingerprint(self._root, text),
            scopes=json.dumps(list(wanted.scopes)), version=1,
            salts=json.dumps({"1": {"salt": salt, "expires_ms": None}}), expires_ms=wanted.expires_ms,
            created_by=principal.account_id or principal.kind, created_ms=clock.now_ms(),
        )  # fmt: skip

    def _count(self, tx: Transaction, org_id: str) -> None:
        if self._settings.plan_enforcement:
            chosen = org_settings(org_id)
            claim(tx, chosen, "api_keys", sum(status_of(record) == "active" for record in keys_of(org_id)))

    def rotate(self, principal: Principal, key_id: str) -> RotatedKey:
        """Give a key a new secret; the one before goes on verifying for a while, older ones end.

        Raises Forbidden, NotFound, Conflict for a key that is revoked or expired, and where another request rotated it
        at the same time: obeying both would end the secret that clients still use.
        """
        principal.require_role("operator")
        record = self._read(principal.org_id, key_id)
        status = status_of(record)
        if status != "active":
            raise Conflict(f"The key is {status}; mint a new one")
        version, salt, tx = int(record.version) + 1, new_salt(), Transaction()
        until_ms = clock.now_ms() + round(self._settings.hmac_grace_hours * _HOUR_MS)
        former = json.loads(record.salts)[str(version - 1)] | {"expires_ms": until_ms}
        salts = json.dumps({str(version - 1): former, str(version): {"salt": salt, "expires_ms": None}})
        unchanged = (ApiKey.version == record.version) & ApiKey.revoked_ms.does_not_exist()
        tx.update(record, [ApiKey.version.set(version), ApiKey.salts.set(salts)], unchanged, "key")
        _carry(tx, record, version, Purse.pk.exists())
        frame = key_rotated(record.org_id, key_id, version)
        details = {**_told(record), "new_version": version, "previous_until_ms": until_ms}
        add_event(tx, record.org_id, Actor.of(principal), _fact("api_key.rotated", record, details, frame))
        try:
            tx.commit()
        except ConditionFailed as failed:
            now = failed.failures.get("key")
            if isinstance(now, ApiKey) and now.revoked_ms is not None:
                raise Conflict("The key is revoked; mint a new one") from None
            raise Conflict("Another request rotated the key at the same time; use the secret it was given") from None
        record.version = version
        names = self._names(record.org_id, {record.workflow_id})
        view = _view(record, names.get(record.workflow_id))
        return RotatedKey(view, secret_of(self._root, key_id, version, salt), until_ms)

    def revoke(self, principal: Principal, key_id: str) -> None:
        """End a key now; one that is revoked stays so. Raises Forbidden, NotFound."""
        principal.require_role("operator")
        self._revoke(principal, self._read(principal.org_id, key_id))

    def revoke_all_of_workflow(self, principal: Principal, workflow_id: str) -> None:
        """End every key of a workflow. Raises Forbidden."""
        principal.require_role("operator")
        for record in keys_of(principal.org_id):
            if record.workflow_id == workflow_id:
                self._revoke(principal, record)

    def revoke_all_of_org(self, principal: Principal) -> None:
        """End every key of the org. Raises Forbidden."""
        principal.require_role("operator")
        for record in keys_of(principal.org_id):
            self._revoke(principal, record)

    def _revoke(self, principal: Principal, record: ApiKey) -> None:
        if record.revoked_ms is not None:
            return
        tx = Transaction()
        tx.update(record, [ApiKey.revoked_ms.set(clock.now_ms())], ApiKey.revoked_ms.does_not_exist(), "key")
        purse = purse_key(record.org_id, record.workflow_id)
        tx.update(purse, [Purse.key_versions[record.key_id].remove()], Purse.pk.exists(), "purse")
        fact = _fact("api_key.revoked", record, _told(record), key_revoked(record.key_id))
        add_event(tx, record.org_id, Actor.of(principal), fact)
        try:
            tx.commit()
        except ConditionFailed as failed:
            if "key" not in failed.failures:
                raise

    def _read(self, org_id: str, key_id: str) -> ApiKey:
        record = read(ApiKey, keys_pk(org_id), key_id) if is_id(key_id) else None
        if record is None:
            raise NotFound("There is no such API key")
        return record


def keys_of(org_id: str) -> list[ApiKey]:
    """Every key the org ever had, oldest first, read consistently."""
    return list(ApiKey.query(keys_pk(org_id), consistent_read=True))


def status_of(record: ApiKey) -> str:
    """``active``, ``revoked`` or ``expired``."""
    if record.revoked_ms is not None:
        return "revoked"
    return "expired" if record.expires_ms is not None and record.expires_ms <= clock.now_ms() else "active"


def _view(record: ApiKey, workflow_name: str | None) -> KeyView:
    return KeyView(
        id=record.key_id, name=record.name, prefix=record.prefix, workflow_id=record.workflow_id,
        workflow_name=workflow_name, scopes=json.loads(record.scopes), status=status_of(record),
        version=int(record.version), last_used_ms=_whole(record.last_used_ms), expires_ms=_whole(record.expires_ms),
        created_ms=int(record.created_ms),
    )  # fmt: skip


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)


def _carry(tx: Transaction, record: ApiKey, version: int, condition: Any) -> None:
    """Have the purse of the key's workflow demand this version of the key."""
    purse = purse_key(record.org_id, record.workflow_id)
    tx.update(purse, [Purse.key_versions[record.key_id].set(version)], condition, "purse")


def _told(record: ApiKey) -> dict[str, Any]:
    return {"name": record.name, "key_prefix": record.prefix, "scopes": json.loads(record.scopes)}


def _fact(action: str, record: ApiKey, details: Mapping[str, Any], *control: Mapping[str, Any]) -> Fact:
    resource = ("api_key", record.key_id)
    return Fact(action, resource, workflow_id=record.workflow_id, details=details, control=control)


__all__ = ["SCOPES", "ApiKeys", "KeyView", "MintedKey", "NewKey", "RotatedKey", "keys_of", "status_of"]
