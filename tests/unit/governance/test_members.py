from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from shared.composition import Services
from shared.identity import Principal, Role, member_of, members
from shared.identity.orgs import memberships
from shared.kit.errors import Conflict, Forbidden, NotFound
from tests.support.deployment import Person, sign_in
from tests.support.orgs import join, register
from tests.support.workflows import raced


@pytest.fixture
def bob(services: Services) -> Person:
    """The owner of an org that is not the default one."""
    register("ada@example.com")
    return register("bob@example.com")


def acting(services: Services, person: Person, org: Person) -> Principal:
    return services.identity.authenticator.authenticate(f"Bearer {person.token}", org=org.org_id)


def owners(org: Person) -> set[str]:
    return {row.account_id for row in members(org.org_id) if row.role == "owner"}


@pytest.mark.parametrize("step", ["leave", "step down", "each the other"])
def test_of_two_owners_who_go_at_once_one_stays(services: Services, bob: Person, step: str) -> None:
    """However they race: by leaving, by stepping down, by removing each other."""
    cyd, service = register("cyd@example.com"), services.governance.members
    for _ in range(5):
        both = (bob, cyd)
        for person in both:
            if member_of(bob.org_id, person.id) is None:
                join(bob.org_id, person, "owner")
            elif person.id not in owners(bob):
                (other,) = owners(bob)
                boss = acting(services, bob if other == bob.id else cyd, bob)
                service.change_role(boss, person.id, "owner")
        one, two = (acting(services, person, bob) for person in both)
        tasks: dict[str, tuple[Callable[[], object], ...]] = {
            "leave": (partial(service.remove, one, bob.id), partial(service.remove, two, cyd.id)),
            "step down": (
                partial(service.change_role, one, bob.id, "viewer"),
                partial(service.change_role, two, cyd.id, "viewer"),
            ),
            "each the other": (partial(service.remove, one, cyd.id), partial(service.remove, two, bob.id)),
        }
        outcomes = raced(*tasks[step])
        # Whoever was removed meanwhile is no owner any more.
        lost = ("conflict", "forbidden") if step == "each the other" else ("conflict",)
        assert outcomes in [{"done": 1, how: 1} for how in lost]
        assert len(owners(bob)) == 1
        # Whoever was removed from home was signed out.
        bob, cyd = (replace(person, token=sign_in(person.username).token) for person in (bob, cyd))


@pytest.mark.parametrize("then", ["viewer", "admin", None])
def test_who_has_lost_a_role_meanwhile_does_not_use_it(services: Services, bob: Person, then: Role | None) -> None:
    """A request that was judged before its author was demoted, or removed, changes nothing."""
    cyd, dan = register("cyd@example.com"), register("dan@example.com")
    join(bob.org_id, cyd, "owner")
    join(bob.org_id, dan, "owner")
    late, members_, invites = acting(services, cyd, bob), services.governance.members, services.governance.invites
    pending = invites.create(late, "eve@example.com", "owner").invite
    boss = acting(services, bob, bob)
    if then is None:
        members_.remove(boss, cyd.id)
    else:
        members_.change_role(boss, cyd.id, then)
    tries: list[Callable[[], object]] = [
        lambda: members_.change_role(late, dan.id, "viewer"),
        lambda: members_.remove(late, dan.id),
        lambda: invites.create(late, "fay@example.com", "owner"),
        lambda: invites.resend(late, pending.id),
    ]
    for attempt in tries:
        with pytest.raises(Forbidden):
            attempt()
    assert dan.id in owners(bob)


def test_two_removals_of_one_member_are_one(services: Services, bob: Person) -> None:
    """The second finds nobody."""
    cyd = register("cyd@example.com")
    join(bob.org_id, cyd, "viewer")
    boss, self_ = acting(services, bob, bob), acting(services, cyd, bob)
    remove = services.governance.members.remove
    assert raced(lambda: remove(boss, cyd.id), lambda: remove(self_, cyd.id)) == {"done": 1, "not_found": 1}


def test_an_account_removed_everywhere_at_once_has_a_home(services: Services, bob: Person) -> None:
    """Its home moves to an org it still belongs to, whichever removal comes first."""
    cyd, dan = register("cyd@example.com"), register("dan@example.com")
    service = services.governance.members
    for _ in range(5):
        for org in (bob, cyd):
            if member_of(org.org_id, dan.id) is None:
                join(org.org_id, dan, "owner" if org is dan else "viewer")
        outcomes = raced(
            lambda: service.remove(acting(services, bob, bob), dan.id),
            lambda: service.remove(acting(services, cyd, cyd), dan.id),
        )
        assert outcomes == {"done": 2}
        home = services.identity.sessions.begin(dan.id).account.home_org
        assert home in {row.org_id for row in memberships(dan.id)}


def test_a_home_is_left_for_an_org_that_is_left_as_well(services: Services, bob: Person) -> None:
    """An account whose home and only other org go side by side gets an org of its own."""
    cyd, dan = register("cyd@example.com"), register("dan@example.com")
    join(dan.org_id, cyd, "owner")
    join(bob.org_id, dan, "viewer")
    service = services.governance.members
    boss = acting(services, cyd, dan)
    outcomes = raced(lambda: service.remove(boss, dan.id), lambda: service.remove(acting(services, bob, bob), dan.id))
    assert outcomes == {"done": 2}
    (only,) = memberships(dan.id)
    account = services.identity.sessions.begin(dan.id).account
    assert (account.home_org, only.role) == (only.org_id, "owner")
    assert only.org_id not in (bob.org_id, dan.org_id)


def test_the_rules_hold_without_the_web(services: Services, bob: Person) -> None:
    """The service itself refuses keys, weak roles, strangers and the last owner."""
    cyd, service = register("cyd@example.com"), services.governance.members
    join(bob.org_id, cyd, "viewer")
    viewer, owner = acting(services, cyd, bob), acting(services, bob, bob)
    key = Principal(kind="key", org_id=bob.org_id, account_id="", username="k", role="viewer")
    with pytest.raises(Forbidden):
        service.list(key, limit=10)
    with pytest.raises(Forbidden):
        service.remove(key, cyd.id)
    with pytest.raises(Forbidden):
        service.change_role(viewer, cyd.id, "admin")
    with pytest.raises(NotFound):
        service.remove(owner, "nobody")
    with pytest.raises(Conflict):
        service.remove(owner, bob.id)
