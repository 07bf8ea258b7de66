from __future__ import annotations

from typing import Any

import pytest

from functions.accounts.app import handler as accounts
from shared.composition import Services
from shared.engine.departure import cancel_executions, forget_executions
from shared.engine.ports import DefinitionRef
from shared.engine.views import ExecutionView, Page
from shared.identity.deletion import Departure
from shared.identity.principal import Principal
from shared.kit.errors import Conflict, NotFound
from tests.support.apigw import call
from tests.support.deployment import Person, principal_of, sign_up

WAITING = "metadata: {name: n}\nnodes: {a: {type: delay, params: {duration: 1h}}}"


class Engine:
    """Lists executions of two orgs and notes what is cancelled; cancelled ones stay listed."""

    def __init__(self, **running: int) -> None:
        self.running = {org: [f"{org}-{number}" for number in range(count)] for org, count in running.items()}
        self.cancelled: list[str] = []

    def list(self, principal: Principal, *, statuses: Any = None, limit: int, offset: int) -> Page[ExecutionView]:
        assert "running" in statuses
        rows = self.running.get(principal.org_id, [])
        views = [ExecutionView(row, 1, "flow", "d", 1, "a", "running", 0) for row in rows[offset : offset + limit]]
        return Page(views, len(rows), limit, offset)

    def cancel(self, principal: Principal, execution_id: str) -> None:
        if execution_id in self.cancelled or execution_id.endswith("-5"):
            raise Conflict("The execution has ended")
        self.cancelled.append(execution_id)


def test_everything_live_in_the_org_is_cancelled_and_nothing_else() -> None:
    """Over many pages; one that ended meanwhile is no error; other orgs go on; again is harmless."""
    engine = Engine(gone=250, stays=3)
    for _ in range(2):
        cancel_executions(engine, Departure("ada", ("gone",)))
    assert sorted(engine.cancelled) == sorted(row for row in engine.running["gone"] if not row.endswith("-5"))


def waiting(services: Services, who: Person) -> str:
    """An execution that waits, with an input and a snapshot too large for the store's records."""
    principal = principal_of(services, who)
    flow = services.catalog.create(principal, "flow", "n", WAITING)
    view = services.engine.start(principal, DefinitionRef(who.org_id, flow.id, 1), {"large": "x" * 300_000})
    assert services.advancer.advance(who.org_id, view.id, 0).word == "park"
    return view.id


def stored(services: Services, org_id: str) -> tuple[list[str], list[str]]:
    """Keys of items and names of blobs that begin with the org's id."""
    assert services.store is not None
    names = [name.removeprefix("signalbox-") for name in services.store._make_api_call("ListTables", {})["TableNames"]]
    pages = [services.store._make_api_call("Scan", {"TableName": f"signalbox-{name}"})["Items"] for name in names]
    keys = [f"{item['pk']['S']} {item['sk']['S']}" for page in pages for item in page]
    folder = services.settings.data / "blobs" / org_id
    return [key for key in keys if key.startswith(org_id)], [path.name for path in folder.rglob("*") if path.is_file()]


def test_executions_of_an_org_are_removed_and_nobody_elses(services: Services) -> None:
    """Items, aliases and blobs of all of them; a driver that still knows one finds nothing to do; again is harmless."""
    ada, bob = sign_up("ada"), sign_up("bob")
    kept, gone = waiting(services, ada), waiting(services, bob)
    before = stored(services, ada.org_id)
    assert len(stored(services, bob.org_id)[1]) == 2
    number = services.engine.get(principal_of(services, bob), gone).number
    for _ in range(2):
        forget_executions(services.blobs, Departure(bob.id, (bob.org_id,)))
    keys, blobs = stored(services, bob.org_id)
    assert all("#flow" in key or "version#" in key or "text#" in key or "program#" in key for key in keys)
    assert blobs == []
    assert stored(services, ada.org_id) == before
    assert services.engine.get(principal_of(services, ada), kept).status == "running"
    for unknown in (gone, str(number)):
        with pytest.raises(NotFound):
            services.engine.get(principal_of(services, bob), unknown)
    assert services.advancer.advance(bob.org_id, gone, 0).word == "end"


@pytest.mark.parametrize("leaving", ["bob", "ada"])
def test_an_account_leaves_with_everything_of_its_org(services: Services, leaving: str) -> None:
    """What runs is stopped and no record or blob is left, also of the default org, which stays and is only emptied."""
    people = {name: sign_up(name) for name in ("ada", "bob")}
    role = call(
        accounts, "PUT", f"/api/v1/accounts/{people['bob'].id}", headers=people["ada"].headers, json={"role": "admin"}
    )
    assert role.status == 200
    who = people.pop(leaving)
    (other,) = people.values()
    gone, kept = waiting(services, who), waiting(services, other)
    assert call(accounts, "DELETE", f"/api/v1/accounts/{who.id}", headers=other.headers).status == 200
    assert stored(services, who.org_id) == ([], [])
    assert services.advancer.advance(who.org_id, gone, 0).word == "end"
    assert services.engine.get(principal_of(services, other), kept).status == "running"
