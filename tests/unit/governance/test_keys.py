"""API keys. Source: NullRun docs, HTTP API, Authentication."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shared.governance import keys as module
from shared.governance.authentication import KeyAuthenticator, KeyRefused, Signature
from shared.governance.keys import ApiKeys, KeyView, MintedKey, NewKey, RotatedKey, keys_of
from shared.governance.signatures import is_key, sign
from shared.governance.touches import Touches
from shared.governance.workflow_forms import Draft
from shared.kit import json
from shared.kit.errors import Conflict, Forbidden, InvalidRequest, NotFound, Unprocessable
from shared.store.embedded import EmbeddedEngine
from shared.store.models.governance import ApiKey, keys_pk
from shared.store.transaction import Transaction, read
from tests.support.time import HeldClock
from tests.support.workflows import (
    ORG,
    OTHER_ORG,
    ROOT,
    at_once,
    events_of,
    frames_of,
    key_principal,
    member,
    on_plan,
    purse_of,
    the_keys,
    the_workflows,
)

OPERATOR = member()
HOUR_MS = 3_600_000


@pytest.fixture
def keys(store: EmbeddedEngine) -> ApiKeys:
    return the_keys()


@pytest.fixture
def workflow(store: EmbeddedEngine) -> str:
    return the_workflows().create(OPERATOR, Draft("bot")).id


def mint(keys: ApiKeys, workflow_id: str, **fields: Any) -> MintedKey:
    return keys.mint(OPERATOR, NewKey(**{"name": "prod", "workflow_id": workflow_id, **fields}))


def versions(workflow_id: str) -> dict[str, int]:
    return {key: int(version) for key, version in purse_of(workflow_id).key_versions.attribute_values.items()}


def accepted(key: str, secret: str, now_ms: int) -> bool:
    """Whether a request signed with the secret is let in."""
    stamp = str(now_ms // 1000)
    try:
        KeyAuthenticator(ROOT).check(key, Signature(sign(secret, stamp, key, b"{}"), stamp, b"{}"))
    except KeyRefused:
        return False
    return True


def listed(keys: ApiKeys, **more: Any) -> list[KeyView]:
    return list(keys.list(OPERATOR, limit=100, **more).items)


# Minting


def test_mint(keys: ApiKeys, workflow: str, held: HeldClock) -> None:
    """A key that opens the door with its secret, known to the purse, told once and without anything secret."""
    made = mint(keys, workflow)
    assert is_key(made.key)
    assert made.key.startswith("nr_live_")
    assert made.key.startswith(made.view.prefix)
    assert len(made.view.prefix) == 12
    assert (made.view.scopes, made.view.status, made.view.version) == (["*"], "active", 1)
    assert (made.view.workflow_id, made.view.workflow_name) == (workflow, "bot")
    assert accepted(made.key, made.secret, held.now_ms())
    assert versions(workflow) == {made.view.id: 1}
    (event,) = events_of(prefix="api_key")
    assert (event.action, event.resource_id, event.workflow_id) == ("api_key.created", made.view.id, workflow)


def test_nothing_secret_is_stored(keys: ApiKeys, workflow: str) -> None:
    """Neither the key nor its secret is in its record or its event."""
    made = mint(keys, workflow)
    (record,) = keys_of(ORG)
    stored = json.dumps([record.to_dynamodb_dict(), *(event.to_dynamodb_dict() for event in events_of())])
    assert made.view.prefix in stored
    assert made.key not in stored
    assert made.secret not in stored


def test_test_keys(keys: ApiKeys, workflow: str) -> None:
    """Keys for tests begin differently."""
    assert mint(keys, workflow, live=False).key.startswith("nr_test_")


def test_scopes(keys: ApiKeys, workflow: str) -> None:
    """Each scope once, in the order they were given."""
    assert mint(keys, workflow, scopes=["track", "gate", "track"]).view.scopes == ["track", "gate"]


@pytest.mark.parametrize(
    ("fields", "error", "field"),
    [
        ({"workflow_id": ""}, InvalidRequest, "workflow_id"),
        ({"scopes": []}, InvalidRequest, "scopes"),
        ({"scopes": ["gate", "admin"]}, InvalidRequest, "scopes"),
        ({"scopes": ["GATE"]}, InvalidRequest, "scopes"),
        ({"name": ""}, Unprocessable, "name"),
        ({"name": " "}, Unprocessable, "name"),
        ({"name": "prod\r\n"}, Unprocessable, "name"),
        ({"name": "x" * 81}, Unprocessable, "name"),
        ({"expires_ms": 0}, Unprocessable, "expires_at"),
        ({"expires_ms": 1_767_225_600_000}, Unprocessable, "expires_at"),
        ({"expires_ms": 253_402_300_800_000}, Unprocessable, "expires_at"),
    ],
)
def test_bad_fields(
    keys: ApiKeys, workflow: str, held: HeldClock, fields: dict[str, Any], error: type[Exception], field: str
) -> None:
    """A bad field is named, and no key is made."""
    with pytest.raises(error) as refused:
        keys.mint(OPERATOR, NewKey(**{"name": "prod", "workflow_id": workflow, **fields}))
    assert getattr(refused.value, "details", {})["field"] == field
    assert keys_of(ORG) == []


@pytest.mark.parametrize("workflow_id", ["nope", "x" * 3000, "a#b"])
def test_mint_for_an_unknown_workflow(keys: ApiKeys, workflow_id: str) -> None:
    """There is no key without its workflow."""
    with pytest.raises(NotFound):
        mint(keys, workflow_id)


def test_mint_for_others_workflows(keys: ApiKeys, workflow: str) -> None:
    """A workflow of another org does not exist here."""
    with pytest.raises(NotFound):
        keys.mint(member(org_id=OTHER_ORG), NewKey("prod", workflow))
    assert versions(workflow) == {}


def test_mint_for_a_killed_workflow(keys: ApiKeys, workflow: str) -> None:
    """Nothing begins in what has ended; a paused workflow may get a key."""
    workflows = the_workflows()
    workflows.change_state(OPERATOR, workflow, "pause")
    mint(keys, workflow)
    workflows.change_state(OPERATOR, workflow, "kill")
    with pytest.raises(Conflict):
        mint(keys, workflow)
    assert len(keys_of(ORG)) == 1


def test_changes_need_an_operator(keys: ApiKeys, workflow: str) -> None:
    """Viewers see keys and change none; a key sees not even the others."""
    known = mint(keys, workflow).view
    for weak in (member("viewer"), key_principal()):
        for call in (
            lambda who: keys.mint(who, NewKey("x", workflow)),
            lambda who: keys.rotate(who, known.id),
            lambda who: keys.revoke(who, known.id),
            lambda who: keys.revoke_all_of_org(who),
            lambda who: keys.revoke_all_of_workflow(who, workflow),
        ):
            with pytest.raises(Forbidden):
                call(weak)
    assert keys.list(member("viewer"), limit=10).items == [known]
    with pytest.raises(Forbidden):
        keys.list(key_principal(), limit=10)


def test_the_plan_limits_keys(store: EmbeddedEngine, workflow: str) -> None:
    """With plans enforced one key too many is refused, under races too; a revoked one makes room."""
    keys = the_keys(plan_enforcement=True)
    on_plan("lite")
    for _ in range(8):
        mint(keys, workflow)
    results = at_once(*(lambda: mint(keys, workflow) for _ in range(5)))
    assert [type(result) for result in results].count(MintedKey) == 2
    with pytest.raises(Unprocessable) as refused:
        mint(keys, workflow)
    assert refused.value.code == "plan_limit_exceeded"
    assert refused.value.details == {"resource": "api_keys", "current": 10, "limit": 10}
    keys.revoke(OPERATOR, keys_of(ORG)[0].key_id)
    mint(keys, workflow)


def test_a_workflow_has_so_many_keys(keys: ApiKeys, workflow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the plan: expired ones count, revoked ones do not."""
    monkeypatch.setattr(module, "MOST_KEYS", 2)
    first, _ = (mint(keys, workflow) for _ in range(2))
    with pytest.raises(Unprocessable) as raised:
        mint(keys, workflow)
    assert (raised.value.code, raised.value.details) == (
        "plan_limit_exceeded", {"resource": "api_keys", "current": 2, "limit": 2},
    )  # fmt: skip
    keys.revoke(OPERATOR, first.view.id)
    mint(keys, workflow)


# Looking


def test_list(keys: ApiKeys, workflow: str, held: HeldClock) -> None:
    """Every key with its status and its workflow's name, oldest first; of one workflow those of that one."""
    other = the_workflows().create(OPERATOR, Draft("other")).id
    lasting = mint(keys, workflow).view.id
    brief = mint(keys, other, expires_ms=held.now_ms() + 1000).view.id
    ended = mint(keys, workflow).view.id
    keys.revoke(OPERATOR, ended)
    held.advance(1)
    rows = [(view.id, view.status, view.workflow_name) for view in listed(keys)]
    assert rows == [(lasting, "active", "bot"), (brief, "expired", "other"), (ended, "revoked", "bot")]
    assert [view.id for view in listed(keys, workflow_id=workflow)] == [lasting, ended]
    part = keys.list(OPERATOR, limit=1, cursor=lasting)
    assert ([view.id for view in part.items], part.total, part.more) == ([brief], 3, True)


def test_list_of_an_unknown_workflow(keys: ApiKeys, workflow: str) -> None:
    """Of no workflow there are no keys, not even an empty list of them."""
    with pytest.raises(NotFound):
        listed(keys, workflow_id="nope")
    with pytest.raises(NotFound):
        keys.list(member(org_id=OTHER_ORG), workflow_id=workflow, limit=10)


# Rotating


def test_rotate(keys: ApiKeys, workflow: str, held: HeldClock) -> None:
    """The key stays; its new secret works at once, the one before until its time is over."""
    made = mint(keys, workflow)
    rotated = keys.rotate(OPERATOR, made.view.id)
    assert (rotated.view.version, rotated.view.prefix) == (2, made.view.prefix)
    assert rotated.secret != made.secret
    assert rotated.previous_until_ms == held.now_ms() + 24 * HOUR_MS
    assert versions(workflow) == {made.view.id: 2}
    assert accepted(made.key, rotated.secret, held.now_ms())
    assert accepted(made.key, made.secret, held.now_ms())
    held.advance(24 * 3600)
    assert accepted(made.key, rotated.secret, held.now_ms())
    assert not accepted(made.key, made.secret, held.now_ms())


def test_rotate_tells_the_clients(keys: ApiKeys, workflow: str) -> None:
    """One event with one frame; the secret is in neither."""
    made = mint(keys, workflow)
    rotated = keys.rotate(OPERATOR, made.view.id)
    (event,) = events_of(prefix="api_key.rotated")
    assert frames_of(event) == [
        {"type": "key_rotated", "organization_id": ORG, "key_id": made.view.id, "new_version": 2}
    ]
    assert rotated.secret not in json.dumps(event.to_dynamodb_dict())


def test_two_secrets_live_at_most(keys: ApiKeys, workflow: str, held: HeldClock) -> None:
    """A second rotation ends the first secret, however long it would have lived."""
    made = mint(keys, workflow)
    second, third = keys.rotate(OPERATOR, made.view.id), keys.rotate(OPERATOR, made.view.id)
    secrets = [made.secret, second.secret, third.secret]
    assert [accepted(made.key, secret, held.now_ms()) for secret in secrets] == [False, True, True]
    assert versions(workflow) == {made.view.id: 3}


def test_rotation_without_grace(store: EmbeddedEngine, workflow: str, held: HeldClock) -> None:
    """A deployment that grants no time ends the secret at once."""
    keys = the_keys(hmac_grace_hours=0)
    made = mint(keys, workflow)
    rotated = keys.rotate(OPERATOR, made.view.id)
    assert rotated.previous_until_ms == held.now_ms()
    assert not accepted(made.key, made.secret, held.now_ms())
    assert accepted(made.key, rotated.secret, held.now_ms())


def test_rotations_at_once(keys: ApiKeys, workflow: str, held: HeldClock) -> None:
    """Whoever rotates gets a secret that is one, or a conflict; purse and record agree in the end."""
    made = mint(keys, workflow)
    results = at_once(*(lambda: keys.rotate(OPERATOR, made.view.id) for _ in range(5)))
    done = [result for result in results if isinstance(result, RotatedKey)]
    assert done
    assert {type(result) for result in results} <= {RotatedKey, Conflict}
    assert sorted(result.view.version for result in done) == list(range(2, 2 + len(done)))
    assert versions(workflow) == {made.view.id: 1 + len(done)}
    newest = max(done, key=lambda result: result.view.version)
    assert accepted(made.key, newest.secret, held.now_ms())


def meanwhile(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Have something happen right after the service has read a key for the first time."""
    pending = [happens]

    def called(*args: Any) -> Any:
        found = read(*args)
        if pending:
            pending.pop()()
        return found

    monkeypatch.setattr(module, "read", called)


def test_a_rotation_that_meets_another(
    keys: ApiKeys, workflow: str, held: HeldClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The later one is refused: it would end the secret that clients still use."""
    made = mint(keys, workflow)
    meanwhile(monkeypatch, lambda: keys.rotate(OPERATOR, made.view.id))
    with pytest.raises(Conflict):
        keys.rotate(OPERATOR, made.view.id)
    assert versions(workflow) == {made.view.id: 2}
    assert accepted(made.key, made.secret, held.now_ms())


def test_a_rotation_that_meets_a_revocation(keys: ApiKeys, workflow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not bring the key back."""
    made = mint(keys, workflow)
    meanwhile(monkeypatch, lambda: keys.revoke(OPERATOR, made.view.id))
    with pytest.raises(Conflict):
        keys.rotate(OPERATOR, made.view.id)
    assert versions(workflow) == {}


def test_rotate_of_what_has_ended(keys: ApiKeys, workflow: str, held: HeldClock) -> None:
    """A revoked or expired key gets no new secret."""
    revoked, expired = mint(keys, workflow).view.id, mint(keys, workflow, expires_ms=held.now_ms() + 1).view.id
    keys.revoke(OPERATOR, revoked)
    held.advance(1)
    for key_id in (revoked, expired):
        with pytest.raises(Conflict):
            keys.rotate(OPERATOR, key_id)


# Revoking


def test_revoke(keys: ApiKeys, workflow: str, held: HeldClock) -> None:
    """The key opens nothing from now on, its purse knows it no more; doing it again is done and not told twice."""
    made, other = mint(keys, workflow), mint(keys, workflow)
    keys.revoke(OPERATOR, made.view.id)
    keys.revoke(OPERATOR, made.view.id)
    assert not accepted(made.key, made.secret, held.now_ms())
    assert accepted(other.key, other.secret, held.now_ms())
    assert versions(workflow) == {other.view.id: 1}
    assert [event.resource_id for event in events_of(prefix="api_key.revoked")] == [made.view.id]


def test_revocations_at_once(keys: ApiKeys, workflow: str) -> None:
    """All of them are done, one of them is told."""
    made = mint(keys, workflow)
    results = at_once(*(lambda: keys.revoke(OPERATOR, made.view.id) for _ in range(4)))
    assert results == [None] * 4
    assert len(events_of(prefix="api_key.revoked")) == 1


@pytest.mark.parametrize("key_id", ["nope", "", "x" * 3000, "a/b"])
def test_unknown_ids(keys: ApiKeys, key_id: str) -> None:
    """What is no key of the org is not found."""
    with pytest.raises(NotFound):
        keys.revoke(OPERATOR, key_id)
    with pytest.raises(NotFound):
        keys.rotate(OPERATOR, key_id)


def test_other_orgs_keys(keys: ApiKeys, workflow: str) -> None:
    """A key of another org does not exist here."""
    made = mint(keys, workflow)
    for call in (keys.revoke, keys.rotate):
        with pytest.raises(NotFound):
            call(member(org_id=OTHER_ORG), made.view.id)
    assert versions(workflow) == {made.view.id: 1}


def test_revoke_all(keys: ApiKeys, workflow: str) -> None:
    """Of a workflow those of that one; of an org all."""
    other = the_workflows().create(OPERATOR, Draft("other")).id
    for workflow_id in (workflow, workflow, other):
        mint(keys, workflow_id)
    keys.revoke_all_of_workflow(OPERATOR, workflow)
    assert [view.status for view in listed(keys)] == ["revoked", "revoked", "active"]
    keys.revoke_all_of_org(OPERATOR)
    assert (versions(workflow), versions(other)) == ({}, {})


def test_deleting_a_workflow_revokes_its_keys(keys: ApiKeys, workflow: str) -> None:
    """They stay listed, with the name of the workflow that is gone."""
    mint(keys, workflow)
    the_workflows().delete(OPERATOR, workflow)
    assert [(view.status, view.workflow_name) for view in listed(keys)] == [("revoked", "bot")]


# Using


def used_ms(key_id: str) -> int | None:
    record = read(ApiKey, keys_pk(ORG), key_id)
    assert record is not None
    return None if record.last_used_ms is None else int(record.last_used_ms)


def test_touch(keys: ApiKeys, workflow: str, held: HeldClock) -> None:
    """The last use is kept to the minute, whichever process sees it."""
    key_id, begun, here, elsewhere = mint(keys, workflow).view.id, held.now_ms(), Touches(), Touches()
    assert used_ms(key_id) is None
    here.touch(ORG, key_id)
    assert used_ms(key_id) == begun
    held.advance(59)
    here.touch(ORG, key_id)
    elsewhere.touch(ORG, key_id)
    assert used_ms(key_id) == begun
    held.advance(1)
    here.touch(ORG, key_id)
    assert used_ms(key_id) == begun + 60_000
    assert listed(keys)[0].last_used_ms == begun + 60_000


def test_touch_never_fails(keys: ApiKeys, workflow: str, held: HeldClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is not there is not made by being used, and a store that fails is only logged."""
    Touches().touch(ORG, "nope")
    assert keys_of(ORG) == []
    made = mint(keys, workflow).view.id

    def failing(_: Transaction) -> None:
        raise Conflict("no")

    with monkeypatch.context() as patched:
        patched.setattr(Transaction, "commit", failing)
        Touches().touch(ORG, made)
    assert used_ms(made) is None
