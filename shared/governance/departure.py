"""Ending what an org that goes has given out: keys, workflows, invites. Its audit trail and what it spent stay.

Source: docs/rulings.md#organisations.
"""

from __future__ import annotations

import contextlib

from shared.governance.invites import Invites
from shared.governance.keys import ApiKeys
from shared.governance.workflows import Workflows, records_of
from shared.identity import Departure, system_principal
from shared.kit.errors import NotFound


def end_governed(departure: Departure, keys: ApiKeys, workflows: Workflows, invites: Invites) -> None:
    """Revoke every key, kill and remove every workflow, and revoke every pending invite. Harmless when repeated."""
    for org_id in departure.org_ids:
        principal = system_principal(org_id, departure.account_id)
        keys.revoke_all_of_org(principal)
        for record in records_of(org_id):
            # Somebody may have removed it meanwhile.
            with contextlib.suppress(NotFound):
                workflows.delete(principal, record.workflow_id)
        invites.revoke_all(principal)
