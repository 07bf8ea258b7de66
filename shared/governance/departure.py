"""Ending what an org that goes has given out: keys, workflows, invites. Its audit trail and what it spent stay.

An org that an account leaves by going is told so, as of any member who is removed.
"""

from __future__ import annotations

import contextlib

from shared.governance.events import SYSTEM, Fact, add_event
from shared.governance.frames import member_removed
from shared.governance.invites import Invites
from shared.governance.keys import ApiKeys
from shared.governance.workflows import Workflows, records_of
from shared.identity import Departure, get_org, memberships, people, system_principal
from shared.kit import ids
from shared.kit.errors import NotFound
from shared.store.transaction import ConditionFailed, Transaction


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


def tell_left(departure: Departure) -> None:
    """Tell every org that stays of the member who goes, whose sockets there are closed by it. Told once."""
    account = people([departure.account_id]).get(departure.account_id) if departure.account_id else None
    if account is None:
        return
    for membership in memberships(account.id):
        org_id = membership.org_id
        if org_id in departure.org_ids or get_org(org_id) is None:
            continue
        details = {"email": account.email, "role": membership.role, "left": True}
        gone = member_removed(account.id)
        fact = Fact("member.removed", ("member", account.id), details=details, control=[gone])
        tx, event_id = Transaction(), ids.uuid7_of(account.created_ms, "account deleted", org_id, account.id)
        add_event(tx, org_id, SYSTEM, fact, event_id=event_id)
        # Somebody who was interrupted here has told it.
        with contextlib.suppress(ConditionFailed):
            tx.commit()
