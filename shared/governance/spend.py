"""What an org's workflows have spent in their current period, read from their purses.

Source: NullRun docs, Status; docs/rulings.md#status.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.governance.money import Span, cents, period_of
from shared.governance.orgsettings import org_settings
from shared.governance.purses import has_cap, is_over
from shared.kit import clock
from shared.kit.errors import Unavailable
from shared.store.models.governance import OrgSettings, Purse, Workflow, purse_pk, workflows_pk
from shared.store.transaction import read, read_each

_AT_ONCE = 100


class BudgetDataUnavailable(Unavailable):
    """There is no purse to tell a spend from; a made-up 0 would look like an untouched budget."""

    code = "budget_data_unavailable"
    retry_after = 5


@dataclass(frozen=True, slots=True)
class WorkflowSpend:
    """A workflow and its purse, which has nothing spent of a period that is over."""

    record: Workflow
    purse: Purse

    @property
    def spent(self) -> int:
        """Micro-cents of the current period."""
        return 0 if is_over(self.purse) else int(self.purse.spent)

    @property
    def calls(self) -> Mapping[str, int]:
        """Gate calls of each key in this minute."""
        if int(self.purse.minute) != clock.now_ms() // 60_000:
            return {}
        return {key_id: int(count) for key_id, count in self.purse.calls.attribute_values.items()}


@dataclass(frozen=True, slots=True)
class OrgSpend:
    """An org's money. ``workflows`` has deleted ones, too: what they spent is spent. ``ceiling`` is the org's purse."""

    settings: OrgSettings
    workflows: Sequence[WorkflowSpend]
    ceiling: Purse | None

    @property
    def period(self) -> Span:
        """The current budget period of the org."""
        return period_of(int(self.settings.anchor_ms), clock.now_ms())

    @property
    def live(self) -> Sequence[WorkflowSpend]:
        """The workflows that were not deleted."""
        return [workflow for workflow in self.workflows if not workflow.record.deleted]

    @property
    def spent(self) -> int:
        """Micro-cents that all workflows have spent."""
        return sum(workflow.spent for workflow in self.workflows)

    @property
    def budget(self) -> int | None:
        """Micro-cents: the ceiling of the org, else the sum of its workflows' budgets; None without any."""
        if self.ceiling is not None and has_cap(self.ceiling):
            return int(self.ceiling.cap)
        caps = [int(workflow.purse.cap) for workflow in self.live if has_cap(workflow.purse)]
        return sum(caps) if caps else None

    @property
    def spent_of_budget(self) -> int:
        """Micro-cents spent of :attr:`budget`: where it is a sum, by the workflows that are in it."""
        if self.ceiling is not None and has_cap(self.ceiling):
            return 0 if is_over(self.ceiling) else int(self.ceiling.spent)
        return sum(workflow.spent for workflow in self.live if has_cap(workflow.purse))

    @property
    def calls(self) -> Mapping[str, int]:
        """Gate calls of each key of the org in this minute."""
        return {key_id: count for workflow in self.live for key_id, count in workflow.calls.items()}


class Spend:
    """Reads purses."""

    def of_org(self, org_id: str) -> OrgSpend:
        """Everything about an org's money as it is now."""
        ceiling = read(Purse, purse_pk(org_id, org_id), "purse")
        return OrgSpend(org_settings(org_id), list(_workflows(org_id)), ceiling)

    def approximate(self, org_id: str, workflow_id: str | None) -> dict[str, Any]:
        """What a workflow, or without one the org, has spent, as a quick answer. Raises BudgetDataUnavailable."""
        if workflow_id is None:
            spent = [workflow.spent for workflow in _workflows(org_id)]
        else:
            purse = read(Purse, purse_pk(org_id, workflow_id), "purse")
            spent = [] if purse is None else [0 if is_over(purse) else int(purse.spent)]
        if not spent:
            raise BudgetDataUnavailable("There is no budget data yet; try again in a few seconds")
        return {
            "current_spend_cents_estimate": cents(sum(spent)),
            "is_approximate": True,
            "source": "primary",
            "confidence": "High",
            "last_updated_at": clock.rfc3339(clock.now_ms()),
        }


def _workflows(org_id: str) -> Iterator[WorkflowSpend]:
    records = list(Workflow.query(workflows_pk(org_id), consistent_read=True))
    for start in range(0, len(records), _AT_ONCE):
        some = records[start : start + _AT_ONCE]
        purses = read_each(*((Purse, purse_pk(org_id, record.workflow_id), "purse") for record in some))
        for record, purse in zip(some, purses, strict=True):
            if isinstance(purse, Purse):
                yield WorkflowSpend(record, purse)
