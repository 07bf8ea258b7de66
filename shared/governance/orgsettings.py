"""The settings of an org, made when they are first asked for. Source: docs/rulings.md#money."""

from __future__ import annotations

from shared.kit import clock
from shared.kit.settings import settings
from shared.store.models.governance import OrgSettings, settings_pk
from shared.store.transaction import put_if_absent, read


def org_settings(org_id: str) -> OrgSettings:
    """The settings of an org that exists, read consistently. Budget periods begin with the first look at them."""
    while True:
        found = read(OrgSettings, settings_pk(org_id), "settings")
        if found is not None:
            return found
        fresh = OrgSettings(
            settings_pk(org_id), "settings", org_id=org_id, plan=settings().default_plan, policy_version=1,
            anchor_ms=clock.now_ms(),
        )  # fmt: skip
        if put_if_absent(fresh):
            return fresh
