"""Approval rules of an org: made, looked at, changed and removed. The next gate call judges by the change.

Source: NullRun docs, Human approval; docs/rulings.md#approval-rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.governance.events import Actor, Fact
from shared.governance.frames import policy_invalidated
from shared.governance.pages import Part, part_of
from shared.governance.plans import PlanLimitExceeded, plan
from shared.governance.propagation import change_policies, next_version
from shared.governance.rule_forms import RuleDraft, checked_changes, checked_draft
from shared.identity.principal import Principal
from shared.kit import clock, ids, json
from shared.kit.errors import NotFound, Unprocessable
from shared.kit.settings import Settings
from shared.store.models.governance import OrgSettings, Workflow, workflows_pk
from shared.store.models.policies import Rule, rules_pk
from shared.store.transaction import Transaction, read

MOST_RULES = 500
"""Rules of an org, whatever its plan: every gate call may have to look at all of them."""

_COLUMNS = {
    "per_call_threshold_cents": "threshold_cents",
    "action_predicate": "predicate",
    "expires_in_seconds": "expires_in_s",
}
"""Fields of a draft that a record has under another name."""

_AS_JSON = ("tool_patterns", "action_predicate")


class TooManyRules(Unprocessable):
    """The org has as many rules as anybody may have."""

    code = "plan_limit_exceeded"


class ApprovalRules:
    """The rules of an org. Every call acts in the principal's org; changes need the role operator."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def list(self, principal: Principal, *, limit: int, cursor: str | None = None) -> Part[Rule]:
        """Rules, oldest first."""
        return part_of(_rules_of(principal.org_id), limit, cursor, lambda record: str(record.sk))

    def get(self, principal: Principal, rule_id: str) -> Rule:
        """One rule. Raises NotFound."""
        found = read(Rule, rules_pk(principal.org_id), rule_id.lower()) if ids.is_uuid(rule_id) else None
        if found is None:
            raise NotFound("There is no such approval rule")
        return found

    def create(self, principal: Principal, draft: RuleDraft, *, rule_id: str | None = None) -> Rule:
        """Make a rule. One that has the given id already is answered as it is.

        Raises Forbidden, Unprocessable (a bad field, or one more than the plan allows), InvalidRequest for a pattern.
        """
        principal.require_role("operator")
        draft, org_id = checked_draft(draft), principal.org_id
        _require_workflow(org_id, draft.workflow_id)
        now, rule_id = clock.now_ms(), rule_id or ids.uuid7()
        values = {name: getattr(draft, name) for name in RuleDraft.__dataclass_fields__}
        record = Rule(
            rules_pk(org_id), rule_id, rule_id=rule_id, org_id=org_id, revision=1, created_ms=now, updated_ms=now,
            **_stored(values),
        )  # fmt: skip

        def step(tx: Transaction, settings: OrgSettings) -> Fact | None:
            rules = _rules_of(org_id)
            if any(rule.sk == rule_id for rule in rules):
                return None
            self._require_room(settings, len(rules))
            tx.put(record, Rule.pk.does_not_exist(), "rule")
            return _fact("created", record, settings, {"after": values})

        change_policies(org_id, Actor.of(principal), step)
        return self.get(principal, rule_id)

    def update(self, principal: Principal, rule_id: str, changes: Mapping[str, Any]) -> Rule:
        """Change fields of a :class:`RuleDraft`; other names are ignored. Raises as ``create``, and NotFound."""
        principal.require_role("operator")
        wanted = checked_changes(changes)
        _require_workflow(principal.org_id, wanted.get("workflow_id"))
        columns = _stored(wanted)

        def step(tx: Transaction, settings: OrgSettings) -> Fact | None:
            record = self.get(principal, rule_id)
            changed = {name: value for name, value in columns.items() if getattr(record, name) != value}
            if not changed:
                return None
            before = {name: _plain(getattr(record, name)) for name in changed}
            moved = max(clock.now_ms(), int(record.updated_ms) + 1)
            actions = [Rule.revision.set(record.revision + 1), Rule.updated_ms.set(moved)]
            for name, value in changed.items():
                attribute = getattr(Rule, name)
                actions.append(attribute.remove() if value is None else attribute.set(value))
            tx.update(record, actions, Rule.revision == record.revision, "rule")
            return _fact("updated", record, settings, {"before": before, "after": changed})

        change_policies(principal.org_id, Actor.of(principal), step)
        return self.get(principal, rule_id)

    def delete(self, principal: Principal, rule_id: str) -> None:
        """Remove a rule; what it asked for already is still to be decided. Raises Forbidden and NotFound."""
        principal.require_role("operator")

        def step(tx: Transaction, settings: OrgSettings) -> Fact | None:
            record = self.get(principal, rule_id)
            tx.delete(record, Rule.pk.exists(), "rule")
            return _fact("deleted", record, settings, {})

        change_policies(principal.org_id, Actor.of(principal), step)

    def _require_room(self, settings: OrgSettings, current: int) -> None:
        chosen = plan(settings.plan)
        if self._settings.plan_enforcement and not chosen.allows("approval_rules", current + 1):
            raise PlanLimitExceeded(chosen, "approval_rules", current)
        if current >= MOST_RULES:
            details = {"resource": "approval_rules", "current": current, "limit": MOST_RULES}
            raise TooManyRules(f"An organisation may have {MOST_RULES} approval rules; remove some", details=details)


def _rules_of(org_id: str) -> list[Rule]:
    return list(Rule.query(rules_pk(org_id), consistent_read=True))


def _require_workflow(org_id: str, workflow_id: str | None) -> None:
    if workflow_id is None:
        return
    found = read(Workflow, workflows_pk(org_id), workflow_id)
    if found is None or found.deleted:
        raise Unprocessable.field("workflow_id", "Workflow_id names no workflow of the organisation")


def _stored(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a draft as a record has them."""
    return {
        _COLUMNS.get(name, name): json.dumps(value) if name in _AS_JSON and value is not None else value
        for name, value in values.items()
    }


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, float) else value


def _fact(change: str, record: Rule, settings: OrgSettings, details: Mapping[str, Any]) -> Fact:
    frame = policy_invalidated(record.org_id, record.rule_id, next_version(settings))
    return Fact(
        f"approval_rule.{change}", ("approval_rule", record.rule_id), workflow_id=record.workflow_id,
        details={"name": record.name, "policy_version": next_version(settings), **details}, control=[frame],
    )  # fmt: skip
