"""What the engine keeps beyond executions, put together as in a deployment: it works, and goes with its owner."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.composition import Services
from shared.engine.kinds.base import ExecutionFacts
from shared.identity import memberships, role_in
from shared.identity.orgs import add_member, get_org, move_version
from shared.identity.principal import Role
from shared.store.models.keyvalue import KeyValue
from shared.store.models.schedules import Schedule
from shared.store.transaction import Transaction
from tests.support.deployment import Person, deployment, principal_of, sign_up
from tests.support.time import HeldClock

FLOW = """
metadata: {name: hello, version: 1.0.0}
nodes:
  start: {type: transform, params: {script: "return input"}}
"""


@pytest.fixture
def services(tmp_path: Path, held: HeldClock) -> Iterator[Services]:
    with deployment(tmp_path) as made:
        yield made


def join(org_id: str, person: Person, role: Role) -> None:
    """Make a person a member."""
    org = get_org(org_id)
    assert org is not None
    tx = Transaction()
    move_version(tx, org, "org")
    add_member(tx, org_id, person.id, role)
    tx.commit()


def schedule(services: Services, person: Person, org_id: str) -> dict[str, Any]:
    """A flow in the org, and a job that runs it every minute for the person."""
    principal = principal_of(services, person)
    flow = services.catalog.create(principal, "flow", "hello", FLOW, description="", tags=[])
    facts = ExecutionFacts("e", org_id, person.id, flow.id)
    spec = {"id": "job", "schedule": "* * * * *", "timezone": "UTC", "flow_id": flow.id, "node_id": "n", "payload": {}}
    return services.schedules.create(facts, spec)


def stored(services: Services, model: Any) -> str:
    """Everything in a table, as text."""
    assert services.store is not None
    return str(services.store._make_api_call("Scan", {"TableName": model.Meta.table_name}))


def test_the_sweep_fires_schedules(services: Services, held: HeldClock) -> None:
    """From the due index through the catalog to an execution of the flow."""
    ada = sign_up("ada")
    job = schedule(services, ada, ada.org_id)
    held.advance(60)
    assert services.sweep.run() == 1
    (run,) = services.engine.list(principal_of(services, ada), limit=10, offset=0).items
    assert (run.definition_id, run.account_id) == (job["flow_id"], ada.id)


def test_everything_goes_with_its_account(services: Services) -> None:
    """Values, results and jobs of a deleted account and its org are gone; those of others stay."""
    people = [sign_up(name) for name in ("ada", "bob")]
    for person in people:
        services.keyvalues.set(person.id, "k", 1)
        services.operations.put(person.org_id, "op", 1, 60)
        schedule(services, person, person.org_id)
    ada, bob = people
    services.identity.accounts.delete(principal_of(services, ada), bob.id)
    for left in (stored(services, KeyValue), stored(services, Schedule)):
        assert bob.id not in left
        assert bob.org_id not in left
    assert services.operations.get(bob.org_id, "op") is None
    assert services.operations.get(ada.org_id, "op") == 1
    assert services.keyvalues.get(ada.id, "k") == 1
    assert len(services.schedules.list(ExecutionFacts("e", ada.org_id, ada.id, "f"))) == 1


def test_roles(services: Services) -> None:
    """The role a member has; none for strangers, for who is being deleted, and in orgs that are."""
    ada, bob = sign_up("ada"), sign_up("bob")
    assert role_in(ada.org_id, ada.id) == "owner"
    assert role_in(ada.org_id, bob.id) is None
    join(ada.org_id, bob, "viewer")
    assert role_in(ada.org_id, bob.id) == "viewer"
    assert {member.org_id for member in memberships(bob.id)} == {ada.org_id, bob.org_id}
    services.identity.deletion.hooks.clear()
    services.identity.accounts.delete(principal_of(services, ada), bob.id)
    assert role_in(ada.org_id, bob.id) is None
    assert role_in(bob.org_id, bob.id) is None
