"""Limits of orgs at the gate beside their policies."""

from __future__ import annotations

import pytest

from shared.governance.allowances import Allowances
from shared.governance.orgsettings import org_settings
from shared.governance.refusals import Refused
from shared.store.embedded import EmbeddedEngine
from shared.store.models.governance import OrgSettings
from shared.store.transaction import update_if
from tests.support.time import HeldClock

ORG = "8d0c2a7e-51c4-4f0e-9d3a-2f9c41aa01f7"


def _refused(allowances: Allowances) -> Refused:
    with pytest.raises(Refused) as refused:
        allowances.require(ORG)
    return refused.value


def test_an_org_has_so_many_calls_a_second(held: HeldClock, store: EmbeddedEngine) -> None:
    """429 that names the organisation, until the next second; other orgs are not concerned."""
    allowances = Allowances(2, enforced=False, count=lambda org_id: 0)
    allowances.require(ORG)
    allowances.require(ORG)
    refused = _refused(allowances)
    assert (refused.status, refused.reason, refused.retry_after) == (429, "RATE_LIMIT_EXCEEDED", 1)
    assert refused.details is not None and refused.details["scope"] == "organization"
    allowances.require("another")
    held.advance(1)
    allowances.require(ORG)


def test_without_limits_nothing_is_looked_up(store: EmbeddedEngine) -> None:
    """The default costs no store request."""
    with store.requests.recorded() as seen:
        Allowances(0, enforced=False, count=lambda org_id: 10**9).require(ORG)
    assert seen == []


def test_a_plan_has_an_end(held: HeldClock, store: EmbeddedEngine) -> None:
    """403 EXECUTION_QUOTA_EXCEEDED once its executions are used up, seen within a minute; unlimited plans have none."""
    used = [74_999]
    allowances = Allowances(0, enforced=True, count=lambda org_id: used[0])
    settings = org_settings(ORG)
    assert update_if(settings, [OrgSettings.plan.set("lite")], OrgSettings.plan == settings.plan)
    allowances.require(ORG)
    used[0] = 75_000
    held.advance(60)
    refused = _refused(allowances)
    assert (refused.status, refused.reason) == (403, "EXECUTION_QUOTA_EXCEEDED")
    assert refused.details is not None and refused.details["limit"] == 75_000


def test_a_plan_has_calls_a_second(held: HeldClock, store: EmbeddedEngine) -> None:
    """The smaller of the plan's and the deployment's limit counts."""
    assert org_settings(ORG).plan == "growth"
    allowances = Allowances(60, enforced=True, count=lambda org_id: 0)
    for _ in range(50):
        allowances.require(ORG)
    assert _refused(allowances).details["limit_per_second"] == 50  # type: ignore[index]
