"""Workflows over HTTP. Source: NullRun docs, HTTP API, Workflows."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.deployment import Person
from tests.support.orgs import made, ok, org_path
from tests.unit.functions.workflows.conftest import send

FIELDS = {
    "id", "workflow_id", "organization_id", "name", "external_id", "description", "state", "status", "version",
    "reason", "budget_cents", "spent_cents", "period_start", "period_end", "human_approvals_enabled", "api_key_count",
    "last_activity_at", "created_at", "updated_at",
}  # fmt: skip
FULL = {
    "name": "support bot",
    "external_id": "support-bot",
    "description": "Antwortet ☎",
    "budget_cents": 5000,
    "human_approvals_enabled": True,
}
WRONG: list[dict[str, Any]] = [
    {"name": None},
    {"name": ""},
    {"name": 5},
    {"name": "x" * 256},
    {"external_id": "a b"},
    {"external_id": "x" * 65},
    {"external_id": 5},
    {"description": "x" * 2001},
    {"description": []},
    {"budget_cents": -1},
    {"budget_cents": 10**10 + 1},
    {"budget_cents": 10**400},
    {"budget_cents": 1.5},
    {"budget_cents": 5000.0},
    {"budget_cents": "5000"},
    {"budget_cents": True},
    {"human_approvals_enabled": "true"},
]


def test_create_201(olga: Person, ada: Person) -> None:
    """An operator makes a workflow: the documented fields, where to find it, and what was asked for."""
    answer = send("POST", org_path(ada, "/workflows"), olga, FULL | {"unknown": 1, "state": "Killed"})
    row = made(answer)
    assert row.keys() == FIELDS
    assert row | FULL == row
    assert (row["state"], row["status"], row["version"], row["spent_cents"]) == ("Normal", "active", 1, 0)
    assert (row["workflow_id"], row["organization_id"]) == (row["id"], ada.org_id)
    assert answer.headers["location"] == org_path(ada, f"/workflows/{row['id']}")
    assert send("GET", answer.headers["location"], olga).body == row


def test_422(ada: Person, workflow: str) -> None:
    """A bad field is named, at making and at changing, and nothing changes."""
    path = org_path(ada, f"/workflows/{workflow}")
    before = send("GET", path, ada).body
    for wrong in WRONG:
        for answer in (
            send("POST", org_path(ada, "/workflows"), ada, {"name": "x"} | wrong),
            send("PATCH", path, ada, wrong),
        ):
            told = answer.status, answer.body["error"], answer.body["code"]
            assert told == (422, "validation_error", "INVALID_FIELD"), wrong
            assert answer.body["details"]["fields"].keys() == wrong.keys()
            assert answer.body["error_message"] == answer.body["message"]
    assert send("GET", path, ada).body == before
    assert send("GET", org_path(ada, "/workflows"), ada).body["total"] == 1


def test_create_422_without_a_name(ada: Person) -> None:
    """A workflow has a name."""
    answer = send("POST", org_path(ada, "/workflows"), ada, {})
    assert (answer.status, answer.body["details"]["field"]) == (422, "name")


def test_409_external_id(ada: Person, workflow: str) -> None:
    """An external id is one workflow's."""
    made(send("POST", org_path(ada, "/workflows"), ada, FULL))
    for answer in (
        send("POST", org_path(ada, "/workflows"), ada, FULL),
        send("PATCH", org_path(ada, f"/workflows/{workflow}"), ada, {"external_id": "support-bot"}),
    ):
        assert (answer.status, answer.body["error"]) == (409, "conflict")
        assert "support-bot" in answer.body["message"]


def test_list_200(ada: Person, bob: Person) -> None:
    """Page by page, oldest first, `total` counting all of them; an empty org has an empty list."""
    ids = [made(send("POST", org_path(ada, "/workflows"), ada, {"name": "bot"}))["id"] for _ in range(3)]
    first = send("GET", org_path(ada, "/workflows?limit=2"), ada).body
    assert ([row["id"] for row in first["workflows"]], first["total"]) == (ids[:2], 3)
    rest = send("GET", org_path(ada, f"/workflows?limit=2&cursor={first['next_cursor']}"), ada).body
    assert ([row["id"] for row in rest["workflows"]], rest["next_cursor"]) == (ids[2:], None)
    assert send("GET", org_path(ada, "/workflows?limit=999999999"), ada).body["total"] == 3
    theirs = send("GET", org_path(bob, "/workflows"), bob).body
    assert theirs == {"workflows": [], "total": 0, "next_cursor": None}


def test_update_200(ada: Person, workflow: str) -> None:
    """What is sent changes, null removes what may be absent, a state is ignored."""
    path = org_path(ada, f"/workflows/{workflow}")
    assert ok(send("PATCH", path, ada, FULL)) | FULL == send("GET", path, ada).body
    changed = ok(send("PATCH", path, ada, {"budget_cents": None, "external_id": None, "state": "Killed"}))
    assert (changed["budget_cents"], changed["external_id"], changed["state"]) == (None, None, "Normal")
    assert (changed["name"], changed["description"]) == (FULL["name"], FULL["description"])
    assert ok(send("PATCH", path, ada, {})) == changed


def test_pause_resume_kill_200(ada: Person, workflow: str) -> None:
    """The state, its version and its reason, with or without a body; doing it again changes nothing."""
    path = org_path(ada, f"/workflows/{workflow}")

    def state(change: str, body: Any = None) -> tuple[str, str, int, str | None]:
        row = ok(send("POST", f"{path}/{change}", ada, body))
        assert row == send("GET", path, ada).body
        return row["state"], row["status"], row["version"], row["reason"]

    assert state("resume") == ("Normal", "active", 1, None)
    assert state("pause", {"reason": "lunch"}) == ("Paused", "paused", 2, "lunch")
    assert state("pause", {"reason": "again"}) == ("Paused", "paused", 2, "lunch")
    assert state("resume", {"reason": None}) == ("Normal", "active", 3, None)
    assert state("kill", {"reason": "runaway"}) == ("Killed", "killed", 4, "runaway")
    assert state("kill") == ("Killed", "killed", 4, "runaway")


@pytest.mark.parametrize("change", ["pause", "resume"])
def test_409_killed(ada: Person, workflow: str, change: str) -> None:
    """Nothing revives a killed workflow."""
    path = org_path(ada, f"/workflows/{workflow}")
    send("POST", f"{path}/kill", ada)
    answer = send("POST", f"{path}/{change}", ada)
    assert (answer.status, answer.body["error"]) == (409, "conflict")
    assert send("GET", path, ada).body["state"] == "Killed"


@pytest.mark.parametrize("change", ["pause", "resume", "kill"])
def test_422_reason(ada: Person, workflow: str, change: str) -> None:
    """A reason is a text of 500 characters at most; a bad one stops nothing and changes nothing."""
    path = org_path(ada, f"/workflows/{workflow}")
    for reason in ("x" * 501, 5, ["x"], {"a": 1}):
        answer = send("POST", f"{path}/{change}", ada, {"reason": reason})
        assert (answer.status, answer.body["details"]["field"]) == (422, "reason"), reason
    assert send("GET", path, ada).body["version"] == 1


def test_delete_204(ada: Person, workflow: str) -> None:
    """It is gone from every list; asking again finds nothing."""
    path = org_path(ada, f"/workflows/{workflow}")
    answer = send("DELETE", path, ada)
    assert (answer.status, answer.raw) == (204, b"")
    assert send("GET", path, ada).status == 404
    assert send("DELETE", path, ada).status == 404
    assert send("POST", f"{path}/kill", ada).status == 404
    assert send("GET", org_path(ada, "/workflows"), ada).body["total"] == 0


def test_405(ada: Person, workflow: str) -> None:
    """A method the path does not know, in NullRun's form, with those it does."""
    answer = send("PUT", org_path(ada, f"/workflows/{workflow}"), ada, {})
    assert (answer.status, answer.body["error"]) == (405, "method_not_allowed")
    assert "PATCH" in answer.headers["allow"]
