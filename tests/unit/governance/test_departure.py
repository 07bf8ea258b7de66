from __future__ import annotations

import pytest

from shared.composition import Services
from shared.governance.workflows import records_of
from shared.identity import Departure
from shared.kit import json
from shared.kit.errors import Gone, Unauthorized
from shared.store.models.governance import Event, Purse, events_pk, purse_pk
from shared.store.transaction import read
from tests.support.orgs import join, register


def test_keys_workflows_and_invites_end(services: Services) -> None:
    """At once and for good; doing it twice does no harm; what was recorded stays."""
    governance = services.governance
    register("ada@example.com")
    made = governance.registration.register(email="bo@example.com", password="correct horse 42", name="Bo")
    org_id = made.session.account.home_org
    boss = services.identity.authenticator.authenticate(f"Bearer {made.session.token}")
    invited = governance.invites.create(boss, "dan@example.com", "viewer")
    for _ in range(2):
        governance.forget(Departure("", (org_id,)))
    with pytest.raises(Unauthorized, match="revoked"):
        governance.authenticator.authenticate(made.minted.key, fresh=True)
    with pytest.raises(Gone):
        governance.invites.find(invited.token)
    assert records_of(org_id) == []
    purse = read(Purse, purse_pk(org_id, made.workflow_id), "purse")
    assert purse is not None
    assert purse.state == "Killed"
    told = {event.action for event in Event.query(events_pk(org_id))}
    assert {"api_key.revoked", "workflow.killed", "team.invite_revoked"} <= told


def test_other_orgs_go_on(services: Services) -> None:
    """Only what goes is ended."""
    made = services.governance.registration.register(email="a@example.com", password="correct horse 42", name="A")
    services.governance.forget(Departure("", ("another",)))
    services.governance.authenticator.authenticate(made.minted.key, fresh=True)


def test_an_account_that_goes_takes_its_orgs_keys_along(services: Services) -> None:
    """Deleting the owner of an org is the org's end as well."""
    register("ada@example.com")
    made = services.governance.registration.register(email="bo@example.com", password="correct horse 42", name="Bo")
    bo = services.identity.authenticator.authenticate(f"Bearer {made.session.token}")
    services.identity.accounts.delete(bo, bo.account_id)
    with pytest.raises(Unauthorized, match="revoked"):
        services.governance.authenticator.authenticate(made.minted.key, fresh=True)


def test_an_account_that_goes_leaves_its_other_orgs(services: Services) -> None:
    """They are told as of any member who is removed: in the trail, and so that its sockets are closed; once."""
    ada, bob = register("ada@example.com"), register("bob@example.com")
    join(ada.org_id, bob, "admin")
    departure = Departure(bob.id, (bob.org_id,))
    for _ in range(2):
        services.governance.forget(departure)
    services.identity.accounts.delete(services.identity.authenticator.authenticate(f"Bearer {bob.token}"), bob.id)
    (told,) = [event for event in Event.query(events_pk(ada.org_id)) if event.action == "member.removed"]
    assert json.loads(told.details) == {"email": "bob@example.com", "role": "admin", "left": True}
    assert json.loads(told.control) == [{"type": "member_removed", "account_id": bob.id}]
    assert [event for event in Event.query(events_pk(bob.org_id)) if event.action == "member.removed"] == []
