"""What callers see of a workflow. Source: docs/rulings.md#workflow-states."""

from __future__ import annotations

import re
from dataclasses import dataclass

from shared.governance.money import cents, period_of
from shared.governance.purses import is_over
from shared.kit import clock
from shared.kit.errors import NotFound
from shared.store.models.governance import Purse, Workflow, workflows_pk
from shared.store.transaction import read

_ID = re.compile(r"[0-9A-Za-z-]{1,64}")


@dataclass(frozen=True, slots=True)
class WorkflowView:
    """A workflow. Times are epoch milliseconds; money is in whole cents and of the current period.

    ``version`` counts changes of the state, ``key_count`` keys that were not revoked. ``active_ms`` is the minute of
    its last gate call.
    """

    id: str
    org_id: str
    name: str
    external_id: str | None
    description: str | None
    state: str
    version: int
    reason: str | None
    budget_cents: int | None
    spent_cents: int
    period_start_ms: int
    period_end_ms: int
    human_approvals_enabled: bool
    key_count: int
    active_ms: int | None
    created_ms: int
    updated_ms: int


def is_id(text: str) -> bool:
    """Whether something can have this id: no other text is looked up."""
    return _ID.fullmatch(text) is not None


def workflow_record(org_id: str, workflow_id: str) -> Workflow:
    """The record of a workflow that was not deleted. Raises NotFound."""
    record = read(Workflow, workflows_pk(org_id), workflow_id) if is_id(workflow_id) else None
    if record is None or record.deleted:
        raise NotFound("There is no such workflow")
    return record


def view_of(record: Workflow, purse: Purse) -> WorkflowView:
    """A workflow from its two records. Of a period that is over nothing is shown, even if no call has ended it yet."""
    over = is_over(purse)
    span = period_of(int(purse.anchor_ms), clock.now_ms())
    return WorkflowView(
        id=record.workflow_id, org_id=purse.org_id, name=record.name, external_id=record.external_id,
        description=record.description, state=purse.state, version=int(purse.state_version),
        reason=purse.state_reason,
        budget_cents=None if record.budget_cents is None else int(record.budget_cents),
        spent_cents=0 if over else cents(int(purse.spent)),
        period_start_ms=span.start_ms if over else int(purse.period_start_ms),
        period_end_ms=span.end_ms if over else int(purse.period_end_ms),
        human_approvals_enabled=bool(record.human_approvals_enabled),
        key_count=len(purse.key_versions.attribute_values), active_ms=int(purse.minute) * 60_000 or None,
        created_ms=int(record.created_ms), updated_ms=max(int(record.updated_ms), int(purse.state_ms)),
    )  # fmt: skip
