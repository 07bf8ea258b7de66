"""Changes of policies, and how they reach the purses.

    change: one transaction {record, settings.policy_version + 1 and due, event}
       │
       ▼        ┌──────────────── somebody changed the policies meanwhile: begin again ───────────────┐
    propagate ──┴▶ the org's purse ──▶ purses of keys ──▶ purses of workflows ──▶ settings are not due ┘──▶ acknowledged

The gate proves with every call that the workflow's purse carries no later version than the policies it judged by. So a
change bites at the next call once the purses carry its version, and only then is it acknowledged. Each step is one
conditional write that also proves that the policies are still those it was made from: whoever is late writes nothing,
and whatever interrupts this, propagating again finishes it.

The org's purse counts a workflow from the moment at which the workflow's purse takes the version since which the org's
counts: in that transaction what the workflow has spent and reserved so far is added. See docs/rulings.md#org-ceiling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from pynamodb.expressions.condition import Condition

from shared.governance.events import Actor, Fact, add_event
from shared.governance.orgsettings import org_settings
from shared.governance.policyset import Active, active, key_budgets, org_ceiling, read_policies, workflow_cap
from shared.governance.purses import capped, is_over, move, new_purse, purse_key, read_purse
from shared.kit import clock, ids
from shared.store.models.governance import (
    ApiKey,
    OrgSettings,
    Purse,
    Workflow,
    due_shard,
    keys_pk,
    purse_pk,
    settings_pk,
    workflows_pk,
)
from shared.store.retry import Contention
from shared.store.transaction import ConditionFailed, Transaction, read, read_each, update_if

PROPAGATED_MS = 30_000
"""How long whoever changed the policies has before the sweep propagates in their place."""

_ATTEMPTS = 64
_TOGETHER = 100

Step: TypeAlias = Callable[[Transaction, OrgSettings], Fact | None]
"""Puts a change into a transaction, given the settings as they are; None when there is nothing to change."""


def change_policies(org_id: str, actor: Actor, step: Step) -> None:
    """Change policies or rules, and return once every purse knows.

    ``step`` reads what it changes itself: it is called again when others were faster, and what it reads is then what
    the change is made to. Raises what it raises, and Contention.
    """
    for attempt in range(_ATTEMPTS):
        _pause(attempt)
        tx, settings = Transaction(), org_settings(org_id)
        fact = step(tx, settings)
        if fact is not None:
            move_policy_version(tx, settings)
            add_event(tx, org_id, actor, fact)
            try:
                tx.commit()
            except ConditionFailed:
                continue
        if fact is not None or settings.due_ms is not None:
            propagate(org_id)
        return
    raise Contention("Too many requests change the policies of the organisation at once; try again")


def next_version(settings: OrgSettings) -> int:
    """The version that a change of these policies makes."""
    return int(settings.policy_version) + 1


def propagate(org_id: str) -> int:
    """Bring every purse of the org up to its policies; the version they carry then. Harmless to repeat.

    Raises Contention when others keep changing the same.
    """
    for attempt in range(_ATTEMPTS):
        _pause(attempt)
        work = _Propagation(org_id)
        try:
            work.run()
        except _Overtaken:
            continue
        return work.version
    raise Contention("Too many requests change the policies of the organisation at once; try again")


class _Overtaken(Exception):
    """Something this was made from has changed."""


@dataclass(frozen=True)
class _Propagation:
    """One attempt, made from the policies as they are when they are first asked for."""

    org_id: str

    @cached_property
    def settings(self) -> OrgSettings:
        return org_settings(self.org_id)

    @cached_property
    def version(self) -> int:
        return int(self.settings.policy_version)

    @cached_property
    def policies(self) -> Sequence[Active]:
        return active(read_policies(self.org_id))

    def run(self) -> None:
        # The version is read before the policies, and the workflows after both: one that is not among them yet
        # is made under these policies or later ones.
        _ = self.version, self.policies
        org = self._shared("org", self.org_id, org_ceiling(self.policies)[0], read_purse(self.org_id, self.org_id))
        budgets = key_budgets(self.policies)
        for key_id, purse in self._purses(
            [str(key.sk) for key in ApiKey.query(keys_pk(self.org_id), consistent_read=True)]
        ):
            cap = budgets[key_id][0] if key_id in budgets else None
            self._shared("key", key_id, cap, purse)
        workflows = {record.workflow_id: record for record in self._workflows()}
        for workflow_id, purse in self._purses(list(workflows)):
            if purse is not None:
                self._workflow(workflows[workflow_id], purse, org)
        self._finish()

    # Purses of an org and of keys

    def _shared(self, scope: str, scope_id: str, cap: int | None, purse: Purse | None) -> Purse | None:
        """Let there be a purse with this cap, or none if it is None; the purse as it is then."""
        if cap is None:
            if purse is not None:
                self._commit(Transaction().delete(purse, Purse.policy_version <= self.version))
            return None
        if purse is None:
            fresh = new_purse(
                self.org_id, scope, scope_id, cap=cap, anchor_ms=int(self.settings.anchor_ms),
                policy_version=self.version,
            )  # fmt: skip
            fresh.since_version = self.version
            self._commit(Transaction().put(fresh, Purse.pk.does_not_exist()))
            return fresh
        if int(purse.policy_version) < self.version or int(purse.cap) != cap:
            self._commit(_carried(Transaction(), purse, cap, self.version, _same(purse)))
        return purse

    # Purses of workflows

    def _workflow(self, record: Workflow, purse: Purse, org: Purse | None) -> None:
        for attempt in range(1, _ATTEMPTS):
            joins = org is not None and int(purse.policy_version) < int(org.since_version)
            if record.deleted and not joins:
                return
            if int(purse.policy_version) > self.version:
                raise _Overtaken
            cap, _ = workflow_cap(self.policies, record.workflow_id, record.budget_cents)
            if int(purse.policy_version) == self.version and int(purse.cap) == cap:
                return
            tx, unchanged = Transaction(), _same(purse)
            tx.check(Workflow, record.pk, record.sk, Workflow.revision == record.revision, "workflow")
            if org is not None and joins:
                _join(tx, purse, org)
                unchanged &= _untouched(purse)
            if self._tried(_carried(tx, purse, cap, self.version, unchanged)):
                return
            _pause(attempt)
            record, purse = self._again(record)
        raise Contention("Too many calls change the same budget at once; try again")

    def _again(self, record: Workflow) -> tuple[Workflow, Purse]:
        found, purse = read(Workflow, record.pk, record.sk), read_purse(self.org_id, record.workflow_id)
        if found is None or purse is None:
            raise _Overtaken
        return found, purse

    def _workflows(self) -> Iterator[Workflow]:
        return iter(Workflow.query(workflows_pk(self.org_id), consistent_read=True))

    # Writing

    def _purses(self, scope_ids: Sequence[str]) -> Iterator[tuple[str, Purse | None]]:
        """The purses of these scopes; those whose period is over are rolled over first."""
        for start in range(0, len(scope_ids), _TOGETHER):
            part = scope_ids[start : start + _TOGETHER]
            found = read_each(*((Purse, purse_pk(self.org_id, scope_id), "purse") for scope_id in part))
            for scope_id, purse in zip(part, found, strict=True):
                known = purse if isinstance(purse, Purse) else None
                over = known is not None and is_over(known)
                yield scope_id, read_purse(self.org_id, scope_id) if over else known

    def _tried(self, tx: Transaction) -> bool:
        """Whether it was written. Raises _Overtaken when the policies or the org's purse are not those it rests on."""
        unchanged = OrgSettings.policy_version == self.version
        tx.check(OrgSettings, settings_pk(self.org_id), "settings", unchanged, "settings")
        try:
            tx.commit()
        except ConditionFailed as failed:
            if failed.failures.keys() & {"settings", "org"}:
                raise _Overtaken from None
            return False
        return True

    def _commit(self, tx: Transaction) -> None:
        if not self._tried(tx):
            raise _Overtaken

    def _finish(self) -> None:
        """The sweep need not look any more."""
        if self.settings.due_ms is not None:
            ended = [OrgSettings.due_shard.remove(), OrgSettings.due_ms.remove()]
            update_if(self.settings, ended, OrgSettings.policy_version == self.version)


def move_policy_version(tx: Transaction, settings: OrgSettings) -> None:
    """Make the policies others than those of ``settings``; whoever does propagates once it is written.

    Fails under the label ``settings`` when others were faster.
    """
    due = [
        OrgSettings.kind.set("settings"),
        OrgSettings.due_shard.set(due_shard(settings.org_id)),
        OrgSettings.due_ms.set(clock.now_ms() + PROPAGATED_MS),
    ]
    unchanged = OrgSettings.policy_version == settings.policy_version
    tx.update(settings, [OrgSettings.policy_version.set(next_version(settings)), *due], unchanged, "settings")


def _carried(tx: Transaction, purse: Purse, cap: int, version: int, condition: Condition) -> Transaction:
    actions = [Purse.policy_version.set(version), *capped(purse, cap)]
    return tx.update(purse, actions, condition, "purse")


def _join(tx: Transaction, purse: Purse, org: Purse) -> None:
    """Count in the org's purse what a workflow's holds. Reservations made so far never come back to the org: spent."""
    held = int(purse.spent) + int(purse.reserved)
    same = (Purse.since_version == org.since_version) & (Purse.period_start_ms == purse.period_start_ms)
    key = purse_key(org.org_id, org.scope_id)
    actions = move(spent=held)
    if actions:
        tx.update(key, actions, same, "org")
    else:
        tx.check(Purse, key.pk, key.sk, same, "org")


def _same(purse: Purse) -> Condition:
    condition: Condition = (Purse.policy_version == purse.policy_version) & (Purse.cap == purse.cap)
    return condition


def _untouched(purse: Purse) -> Condition:
    condition: Condition = (
        (Purse.spent == purse.spent)
        & (Purse.reserved == purse.reserved)
        & (Purse.period_start_ms == purse.period_start_ms)
    )
    return condition


def _pause(attempt: int) -> None:
    if attempt:
        clock.sleep(min(0.2, 0.005 * 2**attempt) * (0.5 + ids.uniform() / 2))
