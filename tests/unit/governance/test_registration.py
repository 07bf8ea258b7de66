from __future__ import annotations

import threading

from shared.composition import Services
from shared.governance.registration import Registered
from shared.identity import DEFAULT_ORG_ID, External, Session, members
from shared.kit import json
from shared.kit.errors import Conflict, SignalboxError
from shared.store.models.governance import Event, events_pk
from tests.support.deployment import PASSWORD
from tests.support.orgs import register

OCTO = External("https://github.com", "42", "octo@example.com", "Octo")


def test_one_account_however_many_sign_in_at_once(services: Services) -> None:
    """Of many first sign-ins with one identity one makes the account, the others are sessions of it."""
    register("ada@example.com")
    found: list[Registered | Session] = []
    registration = services.governance.registration
    threads = [threading.Thread(target=lambda: found.append(registration.register_external(OCTO))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = [one for one in found if isinstance(one, Registered)]
    sessions = [one for one in found if isinstance(one, Session)]
    assert (len(made), len(sessions)) == (1, 4)
    assert {one.account.id for one in sessions} == {made[0].session.account.id}


def test_one_account_for_one_address(services: Services) -> None:
    """Of many sign-ups with one address one succeeds; the others are conflicts."""
    register("ada@example.com")
    outcomes: list[str] = []

    def sign_up() -> None:
        try:
            services.governance.registration.register(email="bo@example.com", password=PASSWORD, name="Bo")
        except SignalboxError as error:
            outcomes.append(error.code)
        else:
            outcomes.append("done")

    threads = [threading.Thread(target=sign_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [Conflict.code] * 3 + ["done"]


def test_the_first_two_at_once_are_one_administrator(services: Services) -> None:
    """Whoever comes first gets the default org; the other one an org of its own."""
    found: list[Registered] = []

    def sign_up(name: str) -> None:
        made = services.governance.registration.register(email=f"{name}@example.com", password=PASSWORD, name=name)
        found.append(made)

    threads = [threading.Thread(target=sign_up, args=(name,)) for name in ("ada", "bo")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made.session.account.administrator for made in found) == [False, True]
    assert sum(made.session.account.home_org == DEFAULT_ORG_ID for made in found) == 1
    assert len(members(DEFAULT_ORG_ID)) == 1


def test_the_audit_trail_begins_with_the_account(services: Services) -> None:
    """Its joining is told in the org, in the transaction that made it."""
    person = register("ada@example.com")
    first = next(iter(Event.query(events_pk(person.org_id))))
    assert (first.action, first.actor_id, first.resource_id) == ("member.joined", person.id, person.id)
    assert json.loads(first.details) == {"email": "ada@example.com", "role": "owner"}
