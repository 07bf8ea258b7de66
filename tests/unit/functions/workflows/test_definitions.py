"""Definitions that a workflow governs, over HTTP. Source: docs/rulings.md#bindings."""

from __future__ import annotations

from typing import Any

from tests.support.deployment import Person
from tests.support.orgs import made, ok, org_path
from tests.unit.functions.workflows.conftest import send


def definitions(who: Person, workflow: str, rest: str = "") -> str:
    return org_path(who, f"/workflows/{workflow}/definitions{rest}")


def test_bind_200(olga: Person, ada: Person, workflow: str, flow: str, key: dict[str, Any]) -> None:
    """Bound once however often it is asked for; shown to people and keys."""
    path = definitions(ada, workflow, f"/{flow}")
    row = ok(send("PUT", path, olga))
    assert row.keys() == {"definition_id", "workflow_id", "created_at"}
    assert (row["definition_id"], row["workflow_id"]) == (flow, workflow)
    assert send("PUT", path, olga).body == row
    assert send("GET", path, {"x-api-key": key["key"]}).body == row
    assert send("GET", definitions(ada, workflow), ada).body == {"definitions": [row], "total": 1}


def test_bind_404(ada: Person, bob: Person, workflow: str, flow: str) -> None:
    """A definition that is not there, and one of another org, which is just as unknown."""
    theirs = made(send("POST", org_path(bob, "/workflows"), bob, {"name": "bot"}))["id"]
    answer = send("PUT", definitions(ada, workflow, "/nope"), ada)
    assert (answer.status, answer.body["error"]) == (404, "not_found")
    assert send("PUT", definitions(bob, theirs, f"/{flow}"), bob).status == 404


def test_bind_409(ada: Person, workflow: str, flow: str) -> None:
    """A definition of another workflow, and a workflow that was killed."""
    other = made(send("POST", org_path(ada, "/workflows"), ada, {"name": "other"}))["id"]
    send("PUT", definitions(ada, workflow, f"/{flow}"), ada)
    answer = send("PUT", definitions(ada, other, f"/{flow}"), ada)
    assert (answer.status, answer.body["error"]) == (409, "conflict")
    assert workflow in answer.body["message"]
    send("DELETE", definitions(ada, workflow, f"/{flow}"), ada)
    send("POST", org_path(ada, f"/workflows/{other}/kill"), ada)
    assert send("PUT", definitions(ada, other, f"/{flow}"), ada).status == 409


def test_unbind_204(ada: Person, workflow: str, flow: str) -> None:
    """It is free again, and a second time not found."""
    path = definitions(ada, workflow, f"/{flow}")
    send("PUT", path, ada)
    answer = send("DELETE", path, ada)
    assert (answer.status, answer.raw) == (204, b"")
    assert send("DELETE", path, ada).status == 404
    assert send("GET", path, ada).status == 404
    assert send("GET", definitions(ada, workflow), ada).body == {"definitions": [], "total": 0}
