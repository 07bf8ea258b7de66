"""Workflows: made, looked at, changed, removed, and halted. Source: NullRun docs, HTTP API, Workflows.

A workflow is two records: what people call it, and its purse, which has its money and its state and which every gate
proves. A change of its state is one conditional write of the purse; that alone stops the next call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shared.governance.aliases import Aliases, with_aliases
from shared.governance.events import Actor, Fact, add_event
from shared.governance.frames import Frame, policy_invalidated, state_change
from shared.governance.limits import claim, same_policies
from shared.governance.orgsettings import org_settings
from shared.governance.pages import Part, part_of
from shared.governance.policyset import active, read_policies, workflow_cap
from shared.governance.propagation import move_policy_version, next_version, propagate
from shared.governance.purses import capped, new_purse, purse_key
from shared.governance.states import EVENTS, Change, next_state
from shared.governance.workflow_forms import Draft, checked_changes, checked_draft, checked_reason
from shared.governance.workflow_views import WorkflowView, is_id, view_of, workflow_record
from shared.identity.principal import Principal, system_principal
from shared.kit import clock, ids
from shared.kit.errors import Conflict, NotFound, Unavailable
from shared.store.models.governance import (
    ExternalId,
    OrgSettings,
    Purse,
    Workflow,
    external_ids_pk,
    purse_pk,
    workflows_pk,
)
from shared.store.transaction import ConditionFailed, Transaction, read_each

if TYPE_CHECKING:
    from shared.governance.bindings import Bindings
    from shared.governance.keys import ApiKeys
    from shared.kit.settings import Settings

_ATTEMPTS = 64
_AT_ONCE = 100
FIRST_NAME = "default"
"""What the first workflow of an org is called."""


class Workflows:
    """The workflows of an org. Every call acts in the principal's org; changes need the role operator."""

    def __init__(self, settings: Settings, keys: ApiKeys, bindings: Bindings) -> None:
        self._settings = settings
        self._keys = keys
        self._bindings = bindings
        self._aliases = Aliases()

    # Looking

    def list(self, principal: Principal, *, limit: int, cursor: str | None = None) -> Part[WorkflowView]:
        """Workflows that were not deleted, oldest first."""
        part = part_of(records_of(principal.org_id), limit, cursor, lambda record: record.workflow_id)
        return part.of(self._views(principal.org_id, part.items))

    def get(self, principal: Principal, workflow_id: str) -> WorkflowView:
        """One workflow. Raises NotFound."""
        return view_of(*self._both(principal.org_id, workflow_id))

    def require(self, principal: Principal, workflow_id: str) -> None:
        """Raise NotFound unless there is such a workflow."""
        workflow_record(principal.org_id, workflow_id)

    def _views(self, org_id: str, records: Sequence[Workflow]) -> Sequence[WorkflowView]:
        views = []
        for begin in range(0, len(records), _AT_ONCE):
            some = records[begin : begin + _AT_ONCE]
            purses = read_each(*((Purse, purse_pk(org_id, record.workflow_id), "purse") for record in some))
            views += [
                view_of(record, purse) for record, purse in zip(some, purses, strict=True) if isinstance(purse, Purse)
            ]
        return views

    def _both(self, org_id: str, workflow_id: str) -> tuple[Workflow, Purse]:
        if not is_id(workflow_id):
            raise NotFound("There is no such workflow")
        record, purse = read_each(
            (Workflow, workflows_pk(org_id), workflow_id), (Purse, purse_pk(org_id, workflow_id), "purse")
        )
        if not isinstance(record, Workflow) or not isinstance(purse, Purse) or record.deleted:
            raise NotFound("There is no such workflow")
        return record, purse

    # Making

    def create(self, principal: Principal, draft: Draft, *, workflow_id: str | None = None) -> WorkflowView:
        """Make a workflow. One that has the given id already is answered as it is.

        Raises Forbidden, Unprocessable (a bad field, or one more than the plan allows), Conflict for a taken
        ``external_id``.
        """
        principal.require_role("operator")
        draft = checked_draft(draft)
        for _ in range(_ATTEMPTS):
            record, purse, tx = self._new(principal, draft, workflow_id or ids.uuid7())
            try:
                tx.commit()
            except ConditionFailed as failed:
                if "workflow" in failed.failures:
                    if workflow_id is not None:
                        return self.get(principal, workflow_id)
                elif "external_id" in failed.failures:
                    raise _taken(draft.external_id) from None
                continue
            return view_of(record, purse)
        raise Unavailable("Policies or workflows of the organisation are being changed by others; try again")

    def ensure_first(self, org_id: str) -> WorkflowView:
        """The org's oldest workflow; one called ``default`` is made where there is none. Repetitions make no second."""
        system = system_principal(org_id, "")
        found = self.list(system, limit=1).items
        if found:
            return found[0]
        anchor_ms = int(org_settings(org_id).anchor_ms)
        return self.create(system, Draft(FIRST_NAME), workflow_id=ids.uuid7_of(anchor_ms, org_id, "first workflow"))

    def _new(self, principal: Principal, draft: Draft, workflow_id: str) -> tuple[Workflow, Purse, Transaction]:
        org_id, now = principal.org_id, clock.now_ms()
        chosen, tx = org_settings(org_id), Transaction()
        record = Workflow(
            workflows_pk(org_id), workflow_id, workflow_id=workflow_id, name=draft.name, external_id=draft.external_id,
            description=draft.description, budget_cents=draft.budget_cents,
            human_approvals_enabled=draft.human_approvals_enabled, created_ms=now, updated_ms=now,
        )  # fmt: skip
        purse = new_purse(
            org_id, "workflow", workflow_id, cap=cap_of(org_id, workflow_id, draft.budget_cents),
            anchor_ms=int(chosen.anchor_ms), policy_version=int(chosen.policy_version),
        )  # fmt: skip
        tx.put(record, Workflow.pk.does_not_exist(), "workflow").put(purse, Purse.pk.does_not_exist(), "workflow purse")
        self._count(tx, chosen)
        if draft.external_id is not None:
            _take(tx, org_id, draft.external_id, workflow_id)
        details = {"name": draft.name, "external_id": draft.external_id, "budget_cents": draft.budget_cents}
        add_event(tx, org_id, Actor.of(principal), _fact("workflow.created", workflow_id, details))
        return record, purse, tx

    def _count(self, tx: Transaction, chosen: OrgSettings) -> None:
        if self._settings.plan_enforcement:
            claim(tx, chosen, "workflows", len(records_of(chosen.org_id)))
        else:
            same_policies(tx, chosen)

    # Changing

    def update(self, principal: Principal, workflow_id: str, changes: Mapping[str, Any]) -> WorkflowView:
        """Change fields of a :class:`Draft`; other names are ignored. What changes counts from the next gate call on.

        Raises Forbidden, NotFound, Unprocessable, Conflict for a taken ``external_id``.
        """
        principal.require_role("operator")
        wanted = checked_changes(changes)
        for _ in range(_ATTEMPTS):
            record, purse = self._both(principal.org_id, workflow_id)
            changed = {name: value for name, value in wanted.items() if getattr(record, name) != value}
            try:
                if changed:
                    self._change(principal, record, purse, changed).commit()
            except ConditionFailed as failed:
                if "external_id" in failed.failures:
                    raise _taken(changed["external_id"]) from None
                continue
            if "human_approvals_enabled" in wanted and org_settings(principal.org_id).due_ms is not None:
                # Also where an earlier request changed it and was cut short before the gate knew.
                propagate(principal.org_id)
            return self.get(principal, workflow_id) if changed else view_of(record, purse)
        raise Unavailable("The workflow is being changed by others; try again")

    def _change(self, principal: Principal, record: Workflow, purse: Purse, changed: Mapping[str, Any]) -> Transaction:
        org_id, workflow_id, tx = principal.org_id, record.workflow_id, Transaction()
        moved = max(clock.now_ms(), int(record.updated_ms) + 1)
        actions = [Workflow.revision.set(record.revision + 1), Workflow.updated_ms.set(moved)]
        for name, value in changed.items():
            attribute = getattr(Workflow, name)
            actions.append(attribute.remove() if value is None else attribute.set(value))
        former = [getattr(record, name) for name in ("name", "external_id") if name in changed]
        if any(former):
            actions.append(Workflow.aliases.set(with_aliases(record, former)))
        tx.update(record, actions, _unchanged(record), "workflow")
        if "external_id" in changed:
            if record.external_id is not None:
                tx.delete(ExternalId(external_ids_pk(org_id), record.external_id))
            if changed["external_id"] is not None:
                _take(tx, org_id, changed["external_id"], workflow_id)
        frames = list[Frame]()
        if "human_approvals_enabled" in changed:
            # It is a rule as others are; a new cap goes to the purse together with the version.
            chosen = org_settings(org_id)
            move_policy_version(tx, chosen)
            frames = [policy_invalidated(org_id, workflow_id, next_version(chosen))]
        elif "budget_cents" in changed:
            _recap(tx, purse, org_settings(org_id), cap_of(org_id, workflow_id, changed["budget_cents"]))
        before = {name: getattr(record, name) for name in changed}
        details = {"changed": sorted(changed), "before": before, "after": dict(changed)}
        add_event(tx, org_id, Actor.of(principal), _fact("workflow.updated", workflow_id, details, *frames))
        return tx

    # Halting

    def change_state(
        self, principal: Principal, workflow_id: str, change: Change, reason: str | None = None
    ) -> WorkflowView:
        """Pause, resume or kill. What is so already is answered and changes nothing.

        Raises Forbidden, NotFound, Unprocessable for a bad reason, Conflict where the workflow was killed.
        """
        principal.require_role("operator")
        reason = checked_reason(reason)
        for _ in range(_ATTEMPTS):
            record, purse = self._both(principal.org_id, workflow_id)
            state = next_state(change, purse.state)
            if state is None:
                return view_of(record, purse)
            tx, now, version = Transaction(), clock.now_ms(), int(purse.state_version) + 1
            told = Purse.state_reason.remove() if reason is None else Purse.state_reason.set(reason)
            tx.update(
                purse_key(principal.org_id, workflow_id),
                [Purse.state.set(state), Purse.state_version.set(version), told, Purse.state_ms.set(now)],
                (Purse.state == purse.state) & (Purse.state_version == purse.state_version),
                "purse",
            )
            frame = state_change(workflow_id, state, version, reason, now)
            details = {"name": record.name, "from": purse.state, "to": state, "reason": reason, "version": version}
            add_event(tx, principal.org_id, Actor.of(principal), _fact(EVENTS[change], workflow_id, details, frame))
            try:
                tx.commit()
            except ConditionFailed:
                continue
            purse.state, purse.state_version, purse.state_reason, purse.state_ms = state, version, reason, now
            return view_of(record, purse)
        raise Unavailable("The state of the workflow is being changed by others; try again")

    def delete(self, principal: Principal, workflow_id: str) -> None:
        """Kill the workflow, revoke its keys, free its definitions, and list it no more.

        Killed, it gets no new key and no new definition; so whatever interrupts this, asking again finishes it. What it
        spent and did stays on record. Raises Forbidden, NotFound.
        """
        principal.require_role("operator")
        self.change_state(principal, workflow_id, "kill", "deleted")
        self._keys.revoke_all_of_workflow(principal, workflow_id)
        self._bindings.remove_all_of_workflow(principal, workflow_id)
        for _ in range(_ATTEMPTS):
            record, _purse = self._both(principal.org_id, workflow_id)
            tx, now = Transaction(), max(clock.now_ms(), int(record.updated_ms) + 1)
            marks = [Workflow.deleted.set(True), Workflow.updated_ms.set(now)]
            tx.update(record, [*marks, Workflow.revision.set(record.revision + 1)], _unchanged(record), "workflow")
            if record.external_id is not None:
                tx.delete(ExternalId(external_ids_pk(principal.org_id), record.external_id))
            fact = _fact("workflow.deleted", workflow_id, {"name": record.name})
            add_event(tx, principal.org_id, Actor.of(principal), fact)
            try:
                tx.commit()
            except ConditionFailed:
                continue
            return
        raise Unavailable("The workflow is being changed by others; try again")

    # Aliases

    def add_alias(self, org_id: str, workflow_id: str, text: str) -> None:
        """Remember a text that a client uses for the workflow. Never fails the caller."""
        self._aliases.add(org_id, workflow_id, text)


def records_of(org_id: str) -> list[Workflow]:
    """Every workflow of the org that was not deleted, oldest first, read consistently."""
    found = Workflow.query(workflows_pk(org_id), consistent_read=True)
    return [record for record in found if not record.deleted]


def cap_of(org_id: str, workflow_id: str, budget_cents: int | None) -> int:
    """What a workflow of this budget may spend in a period under the org's policies of now, in micro-cents."""
    return workflow_cap(active(read_policies(org_id)), workflow_id, budget_cents)[0]


def _recap(tx: Transaction, purse: Purse, chosen: OrgSettings, cap: int) -> None:
    """Give the purse its new cap on condition of the policies it was computed from.

    Their version is left to the propagation: with it the purse would count for an org's ceiling that it never joined.
    """
    same_policies(tx, chosen)
    actions = capped(purse, cap) or [Purse.cap.set(purse.cap)]
    tx.update(purse_key(purse.org_id, purse.scope_id), actions, Purse.cap == purse.cap, "purse")


def _take(tx: Transaction, org_id: str, external_id: str, workflow_id: str) -> None:
    taken = ExternalId(external_ids_pk(org_id), external_id, workflow_id=workflow_id)
    tx.put(taken, ExternalId.pk.does_not_exist(), "external_id")


def _taken(external_id: Any) -> Conflict:
    return Conflict.field("external_id", f"Another workflow has the external_id {external_id}")


def _unchanged(record: Workflow) -> Any:
    return (Workflow.revision == record.revision) & (Workflow.deleted == False)  # noqa: E712


def _fact(action: str, workflow_id: str, details: Mapping[str, Any], *control: Mapping[str, Any]) -> Fact:
    return Fact(action, ("workflow", workflow_id), workflow_id=workflow_id, details=details, control=control)
