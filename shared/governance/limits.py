"""Limits of plans, exact under races: whoever makes something that is limited claims the org's next count.

Source: NullRun docs, Plans and limits; docs/rulings.md#plans.
"""

from __future__ import annotations

from shared.governance.plans import PlanLimitExceeded, Resource, plan
from shared.store.models.governance import OrgSettings
from shared.store.transaction import Transaction

SETTINGS = "settings"
"""Under this label a transaction fails when policies were changed, or something limited was made, meanwhile."""


class WorkflowLimitReached(PlanLimitExceeded):
    """The plan allows no further workflow."""

    code = "workflow_limit_reached"


def same_policies(tx: Transaction, chosen: OrgSettings) -> None:
    """Demand that the org's policies are still those of ``chosen``."""
    unchanged = OrgSettings.policy_version == chosen.policy_version
    tx.check(OrgSettings, chosen.pk, chosen.sk, unchanged, SETTINGS)


def claim(tx: Transaction, chosen: OrgSettings, resource: Resource, current: int) -> None:
    """Have one more of a resource than the ``current`` ones, counted after ``chosen`` was read.

    Demands the same policies, too. Raises PlanLimitExceeded.
    """
    allowed = plan(chosen.plan)
    if not allowed.allows(resource, current + 1):
        raised = WorkflowLimitReached if resource == "workflows" else PlanLimitExceeded
        raise raised(allowed, resource, current)
    unchanged = (OrgSettings.policy_version == chosen.policy_version) & (OrgSettings.claims == chosen.claims)
    tx.update(chosen, [OrgSettings.claims.set(chosen.claims + 1)], unchanged, SETTINGS)
