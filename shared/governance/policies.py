"""Policies: made, looked at, changed, removed. A change is acknowledged once the gate judges by it.

Source: NullRun docs, HTTP API, Policies; docs/rulings.md#policies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, cast

from shared.governance.events import Actor, Fact
from shared.governance.frames import policy_invalidated
from shared.governance.pages import Part, part_of
from shared.governance.plans import PlanFeatureMissing, PlanLimitExceeded, plan
from shared.governance.policy_forms import PolicyForm, Sent, changed_form, enabled_of, new_form
from shared.governance.policyset import PolicyScope, PolicyType, read_policies
from shared.governance.propagation import change_policies, next_version
from shared.governance.templates import TEMPLATES, Template
from shared.identity.principal import Principal
from shared.kit import clock, ids, json
from shared.kit.errors import NotFound, Unprocessable
from shared.kit.settings import Settings
from shared.store.models.governance import ApiKey, OrgSettings, Workflow, keys_pk, workflows_pk
from shared.store.models.policies import Policy, policies_pk
from shared.store.transaction import Transaction, read

MAX_POLICIES = 1000
"""Policies of an org at most, whatever its plan: every gate call may have to walk them."""


@dataclass(frozen=True, slots=True)
class PolicyView:
    """A policy. Times are epoch milliseconds; ``version`` counts its own changes."""

    id: str
    org_id: str
    form: PolicyForm
    template_id: str | None
    version: int
    created_ms: int
    updated_ms: int


class Policies:
    """The policies of an org. Every call acts in the principal's org; changes need the role operator."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def list(self, principal: Principal, *, limit: int, cursor: str | None = None) -> Part[PolicyView]:
        """A part of the policies, oldest first."""
        part = part_of(read_policies(principal.org_id), limit, cursor, lambda record: record.policy_id)
        return part.of([view_of(record) for record in part.items])

    def require(self, principal: Principal, policy_id: str) -> None:
        """Raise NotFound unless the policy is one of the org's."""
        _require(principal.org_id, policy_id)

    def create(self, principal: Principal, sent: Sent, *, policy_id: str | None = None) -> PolicyView:
        """Make a policy. One that has the given id already is answered as it is.

        Raises Forbidden, Unprocessable, the 400s of patterns, PlanFeatureMissing and PlanLimitExceeded.
        """
        principal.require_role("operator")
        form = new_form(principal.org_id, sent)
        return self._make(principal, form, policy_id or ids.uuid7(), lambda record: record.policy_id == policy_id)[0]

    def update(self, principal: Principal, policy_id: str, sent: Sent) -> PolicyView:
        """Change what was said; ``config`` is replaced as a whole. Raises as :meth:`create`, and NotFound."""
        return self._change(principal, policy_id, lambda form: changed_form(principal.org_id, form, sent))

    def toggle(self, principal: Principal, policy_id: str, sent: Sent) -> PolicyView:
        """Enable or disable it as was said; turn it over where nothing was. Raises Forbidden, NotFound."""

        def turned(form: PolicyForm) -> PolicyForm:
            return _with(form, enabled=enabled_of(sent, default=not form.enabled))

        return self._change(principal, policy_id, turned)

    def delete(self, principal: Principal, policy_id: str) -> None:
        """Remove a policy. Raises Forbidden, NotFound."""
        principal.require_role("operator")

        def step(tx: Transaction, settings: OrgSettings) -> Fact:
            record = _require(principal.org_id, policy_id)
            return _removed(tx, settings, record)

        change_policies(principal.org_id, Actor.of(principal), step)

    # Templates

    def templates(self, principal: Principal) -> Sequence[tuple[Template, PolicyView | None]]:
        """Every template, and the policy that was made from it."""
        made = {record.template_id: record for record in reversed(read_policies(principal.org_id))}
        return [
            (template, view_of(made[template.id]) if template.id in made else None) for template in TEMPLATES.values()
        ]

    def require_template(self, template_id: str) -> None:
        """Raise NotFound unless there is such a template."""
        _template(template_id)

    def enable(self, principal: Principal, template_id: str, sent: Sent) -> tuple[PolicyView, bool]:
        """The policy of a template and whether it was made now; ``sent`` may name another scope than the org.

        Raises as :meth:`create`, and NotFound.
        """
        principal.require_role("operator")
        template = _template(template_id)
        chosen = {name: sent.get(name) for name in ("scope", "scope_id", "workflow_id", "api_key_id")}
        stated = {"name": template.name, "policy_type": template.policy_type, "config": dict(template.config)}
        form = new_form(principal.org_id, chosen | stated)
        return self._make(principal, form, ids.uuid7(), lambda record: record.template_id == template_id, template_id)

    def disable(self, principal: Principal, template_id: str) -> None:
        """Remove the policy of a template; there need not be one. Raises Forbidden, NotFound."""
        principal.require_role("operator")
        _template(template_id)

        def step(tx: Transaction, settings: OrgSettings) -> Fact | None:
            made = (record for record in read_policies(principal.org_id) if record.template_id == template_id)
            record = next(made, None)
            return None if record is None else _removed(tx, settings, record)

        change_policies(principal.org_id, Actor.of(principal), step)

    # Writing

    def _make(
        self,
        principal: Principal,
        form: PolicyForm,
        policy_id: str,
        is_it: Callable[[Policy], bool],
        template_id: str | None = None,
    ) -> tuple[PolicyView, bool]:
        """The policy and whether it was made now: one that ``is_it`` already is not made again."""
        org_id, made = principal.org_id, list[tuple[Policy, bool]]()
        _require_target(org_id, form)

        def step(tx: Transaction, settings: OrgSettings) -> Fact | None:
            known = read_policies(org_id)
            made[:] = [(record, False) for record in known if is_it(record)][:1]
            if made:
                return None
            self._require_room(settings, form, len(known))
            record = Policy(
                policies_pk(org_id), policy_id, policy_id=policy_id, org_id=org_id, template_id=template_id,
                revision=1, created_ms=clock.now_ms(), updated_ms=clock.now_ms(), **_stored(form),
            )  # fmt: skip
            made.append((record, True))
            tx.put(record, Policy.pk.does_not_exist(), "policy")
            return _fact("policy.created", record, next_version(settings))

        change_policies(org_id, Actor.of(principal), step)
        record, is_new = made[0]
        return view_of(record), is_new

    def _change(self, principal: Principal, policy_id: str, change: Callable[[PolicyForm], PolicyForm]) -> PolicyView:
        principal.require_role("operator")
        org_id, now = principal.org_id, list[Policy]()

        def step(tx: Transaction, settings: OrgSettings) -> Fact | None:
            record = _require(org_id, policy_id)
            before, revision = form_of(record), record.revision
            after = change(before)
            now[:] = [record]
            changed = [
                field.name for field in fields(after) if getattr(after, field.name) != getattr(before, field.name)
            ]
            if not changed:
                return None
            if {"scope", "scope_id"} & set(changed):
                _require_target(org_id, after)
            for name, value in _stored(after).items():
                setattr(record, name, value)
            record.revision = revision + 1
            record.updated_ms = max(clock.now_ms(), int(record.updated_ms) + 1)
            tx.put(record, Policy.revision == revision, "policy")
            return _fact("policy.updated", record, next_version(settings), changed=changed)

        change_policies(org_id, Actor.of(principal), step)
        return view_of(now[0])

    def _require_room(self, settings: OrgSettings, form: PolicyForm, count: int) -> None:
        if count >= MAX_POLICIES:
            raise Unprocessable(f"An organisation has {MAX_POLICIES} policies at most; delete some")
        if not self._settings.plan_enforcement:
            return
        chosen = plan(settings.plan)
        if form.policy_type == "ToolBlock" and not chosen.has("tool_block"):
            raise PlanFeatureMissing(chosen, "tool_block")
        if not chosen.allows("policies", count + 1):
            raise PlanLimitExceeded(chosen, "policies", count)


def form_of(record: Policy) -> PolicyForm:
    """What a stored policy says."""
    return PolicyForm(
        record.name, cast("PolicyType", record.policy_type), cast("PolicyScope", record.scope), record.scope_id,
        bool(record.enabled), int(record.priority), record.enforcement_mode, json.loads(record.config),
    )  # fmt: skip


def view_of(record: Policy) -> PolicyView:
    """A stored policy as callers see it."""
    return PolicyView(
        record.policy_id, record.org_id, form_of(record), record.template_id, int(record.revision),
        int(record.created_ms), int(record.updated_ms),
    )  # fmt: skip


def _stored(form: PolicyForm) -> dict[str, Any]:
    values = {field.name: getattr(form, field.name) for field in fields(form)}
    return values | {"config": json.dumps(dict(form.config))}


def _with(form: PolicyForm, **values: Any) -> PolicyForm:
    return PolicyForm(**{field.name: getattr(form, field.name) for field in fields(form)} | values)


def _require(org_id: str, policy_id: str) -> Policy:
    record = read(Policy, policies_pk(org_id), policy_id) if ids.is_uuid(policy_id) else None
    if record is None:
        raise NotFound("There is no such policy")
    return record


def _template(template_id: str) -> Template:
    found = TEMPLATES.get(template_id)
    if found is None:
        raise NotFound("There is no such template")
    return found


def _require_target(org_id: str, form: PolicyForm) -> None:
    """Raise Unprocessable unless the workflow or key that the policy is about is one of the org's."""
    target = form.scope_id
    if target is None:
        return
    found: Workflow | ApiKey | None = None
    if ids.is_uuid(target):
        found = (
            read(Workflow, workflows_pk(org_id), target)
            if form.scope == "workflow"
            else read(ApiKey, keys_pk(org_id), target)
        )
    gone = found is None or (found.deleted if isinstance(found, Workflow) else found.revoked_ms is not None)
    if gone:
        what = "workflow" if form.scope == "workflow" else "API key"
        raise Unprocessable.field("scope_id", f"There is no such {what} in this organisation")


def _removed(tx: Transaction, settings: OrgSettings, record: Policy) -> Fact:
    tx.delete(record, Policy.pk.exists(), "policy")
    return _fact("policy.deleted", record, next_version(settings))


def _fact(action: str, record: Policy, version: int, **more: Any) -> Fact:
    details: Mapping[str, Any] = {
        "name": record.name, "policy_type": record.policy_type, "scope": record.scope, "scope_id": record.scope_id,
        "enabled": bool(record.enabled), "template_id": record.template_id, "policy_id": record.policy_id,
        "policy_version": version, **more,
    }  # fmt: skip
    frame = policy_invalidated(record.org_id, record.policy_id, version)
    workflow_id = record.scope_id if record.scope == "workflow" else None
    return Fact(action, ("policy", record.policy_id), workflow_id=workflow_id, details=details, control=[frame])
