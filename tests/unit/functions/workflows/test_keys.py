"""API keys over HTTP. Source: NullRun docs, HTTP API, Org management."""

from __future__ import annotations

from typing import Any

import pytest

from shared.composition import Services
from shared.governance.signatures import is_key
from shared.kit import clock
from tests.support.deployment import Person
from tests.support.orgs import made, ok, org_path
from tests.unit.functions.workflows.conftest import send

ROW = {
    "id", "name", "key_prefix", "workflow_id", "workflow_name", "scopes", "status", "key_version", "last_used_at",
    "expires_at", "created_at",
}  # fmt: skip
WRONG: list[tuple[dict[str, Any], int, str]] = [
    ({"workflow_id": None}, 400, "workflow_id"),
    ({"workflow_id": ""}, 400, "workflow_id"),
    ({"scopes": []}, 400, "scopes"),
    ({"scopes": ["admin"]}, 400, "scopes"),
    ({"workflow_id": 7}, 422, "workflow_id"),
    ({"scopes": "gate"}, 422, "scopes"),
    ({"scopes": [1]}, 422, "scopes.0"),
    ({"name": ""}, 422, "name"),
    ({"name": None}, 422, "name"),
    ({"name": "x" * 81}, 422, "name"),
    ({"expires_at": "2020-01-01T00:00:00Z"}, 422, "expires_at"),
    ({"expires_at": "2099-01-01T00:00:00"}, 422, "expires_at"),
    ({"expires_at": "tomorrow"}, 422, "expires_at"),
    ({"expires_at": ""}, 422, "expires_at"),
    ({"expires_at": "9999-12-31T23:59:59-23:00"}, 422, "expires_at"),
    ({"expires_at": "0001-01-01T00:00:00+23:00"}, 422, "expires_at"),
    ({"expires_at": 1790000000}, 422, "expires_at"),
    ({"environment": "prod"}, 422, "environment"),
]


def reads(key: str, who: Person) -> int:
    """The status a key gets when it looks at its org."""
    return send("GET", org_path(who, "/workflows"), {"x-api-key": key}).status


def test_mint_201(olga: Person, ada: Person, workflow: str) -> None:
    """An operator mints a key: the documented fields, the key and its secret this once; it opens the door at once."""
    expires = clock.rfc3339(clock.now_ms() + 3_600_000)
    sent = {"name": "prod", "workflow_id": workflow, "scopes": ["gate", "track"], "expires_at": expires, "unknown": 1}
    row = made(send("POST", org_path(ada, "/api-keys"), olga, sent))
    assert row.keys() == ROW | {"key", "api_key", "secret_key"}
    assert is_key(row["key"])
    assert row["api_key"] == row["key"]
    assert len(row["secret_key"]) == 64
    assert (row["scopes"], row["key_version"], row["expires_at"]) == (["gate", "track"], 1, expires)
    assert reads(row["key"], ada) == 200


def test_mint_201_of_the_path(ada: Person, workflow: str) -> None:
    """The path names the workflow; naming it in the body too is no harm."""
    path = org_path(ada, f"/workflows/{workflow}/api-keys")
    for sent in ({"name": "a"}, {"name": "b", "workflow_id": workflow}):
        row = made(send("POST", path, ada, sent))
        assert (row["workflow_id"], row["scopes"]) == (workflow, ["*"])
    answer = send("POST", path, ada, {"name": "c", "workflow_id": "other"})
    assert (answer.status, answer.body["details"]["field"]) == (400, "workflow_id")


def test_mint_201_for_tests(ada: Person, workflow: str) -> None:
    """A key for tests says so in its prefix."""
    sent = {"name": "ci", "workflow_id": workflow, "environment": "test"}
    assert made(send("POST", org_path(ada, "/api-keys"), ada, sent))["key_prefix"].startswith("nr_test_")


def test_mint_400_and_422(ada: Person, workflow: str) -> None:
    """A bad field is named, and no key is made."""
    for wrong, status, field in WRONG:
        answer = send("POST", org_path(ada, "/api-keys"), ada, {"name": "prod", "workflow_id": workflow} | wrong)
        assert (answer.status, answer.body["details"]["field"]) == (status, field), wrong
    assert send("GET", org_path(ada, "/api-keys"), ada).body["total"] == 0


def test_mint_404(ada: Person, bob: Person) -> None:
    """A workflow that is not there, or is another org's."""
    theirs = made(send("POST", org_path(bob, "/workflows"), bob, {"name": "bot"}))["id"]
    for workflow in ("nope", theirs):
        sent = {"name": "prod", "workflow_id": workflow}
        assert send("POST", org_path(ada, "/api-keys"), ada, sent).status == 404


def test_mint_409(ada: Person, workflow: str) -> None:
    """A killed workflow gets no key, by either path."""
    send("POST", org_path(ada, f"/workflows/{workflow}/kill"), ada)
    sent = {"name": "prod", "workflow_id": workflow}
    assert send("POST", org_path(ada, "/api-keys"), ada, sent).status == 409
    assert send("POST", org_path(ada, f"/workflows/{workflow}/api-keys"), ada, sent).status == 409


def test_list_200(ada: Person, workflow: str, key: dict[str, Any]) -> None:
    """Without anything secret; of the org, of the workflow, and of the workflow alone, the same rows."""
    other = made(send("POST", org_path(ada, "/workflows"), ada, {"name": "other"}))["id"]
    made(send("POST", org_path(ada, f"/workflows/{other}/api-keys"), ada, {"name": "second"}))
    answer = send("GET", org_path(ada, "/api-keys"), ada)
    assert [(row["name"], row["workflow_name"]) for row in answer.body["api_keys"]] == [
        ("prod", "bot"),
        ("second", "other"),
    ]
    assert (answer.body["total"], answer.body["next_cursor"]) == (2, None)
    for row in answer.body["api_keys"]:
        assert row.keys() == ROW
    assert key["key"].encode() not in answer.raw
    assert key["secret_key"].encode() not in answer.raw
    for path in (org_path(ada, f"/workflows/{workflow}/api-keys"), f"/api/v1/workflows/{workflow}/api-keys"):
        assert send("GET", path, ada).body["api_keys"] == answer.body["api_keys"][:1]
    part = send("GET", org_path(ada, "/api-keys?limit=1"), ada).body
    assert (len(part["api_keys"]), part["total"], part["next_cursor"]) == (1, 2, key["id"])


def test_list_of_a_workflow_in_the_acting_org(ada: Person, bob: Person, vic: Person, workflow: str) -> None:
    """Where no org is in the path it is the home org, or the one the header names; keys and strangers see nothing."""
    path = f"/api/v1/workflows/{workflow}/api-keys"
    assert send("GET", path, vic).status == 404
    assert send("GET", path, vic.headers | {"x-signalbox-org": ada.org_id}).status == 200
    assert send("GET", path, bob).status == 404
    assert send("GET", path, bob.headers | {"x-signalbox-org": ada.org_id}).status == 403
    assert send("GET", path).status == 401
    assert send("GET", f"{path}?limit=0", ada).status == 400
    assert send("GET", "/api/v1/workflows/nope/api-keys", ada).status == 404


def test_list_of_a_workflow_401_with_a_key(ada: Person, workflow: str, key: dict[str, Any]) -> None:
    """This list is for people."""
    path = f"/api/v1/workflows/{workflow}/api-keys"
    assert send("GET", path, {"x-api-key": key["key"]}).status == 401
    assert send("GET", path, {"authorization": f"Bearer {key['key']}"}).status == 401


@pytest.mark.parametrize(("method", "rest"), [("DELETE", ""), ("POST", "/revoke")])
def test_revoke_204(ada: Person, key: dict[str, Any], method: str, rest: str) -> None:
    """The very next request of the key is refused; revoking it again is no error."""
    assert reads(key["key"], ada) == 200
    for _ in range(2):
        answer = send(method, org_path(ada, f"/api-keys/{key['id']}{rest}"), ada)
        assert (answer.status, answer.raw) == (204, b"")
    refused = send("GET", org_path(ada, "/workflows"), {"x-api-key": key["key"]})
    assert (refused.status, refused.body["error_code"]) == (401, "API_KEY_REVOKED")
    assert send("GET", org_path(ada, "/api-keys"), ada).body["api_keys"][0]["status"] == "revoked"
    assert send("GET", org_path(ada, f"/workflows/{key['workflow_id']}"), ada).body["api_key_count"] == 0


def test_rotate_200(ada: Person, key: dict[str, Any]) -> None:
    """A new secret for the same key, which is not stored and so not shown; the old secret has a day."""
    row = ok(send("POST", org_path(ada, f"/api-keys/{key['id']}/rotate"), ada))
    assert row.keys() == {
        "id", "key", "secret_key", "key_version", "key_prefix", "previous_secret_expires_at",
    }  # fmt: skip
    assert (row["id"], row["key"], row["key_version"], row["key_prefix"]) == (key["id"], None, 2, key["key_prefix"])
    assert row["secret_key"] != key["secret_key"]
    remaining_ms = clock.parse_rfc3339(row["previous_secret_expires_at"]) - clock.now_ms()
    assert 23 * 3_600_000 < remaining_ms <= 24 * 3_600_000
    assert reads(key["key"], ada) == 200


def test_rotate_409(ada: Person, key: dict[str, Any]) -> None:
    """A revoked key gets no new secret."""
    send("DELETE", org_path(ada, f"/api-keys/{key['id']}"), ada)
    answer = send("POST", org_path(ada, f"/api-keys/{key['id']}/rotate"), ada)
    assert (answer.status, answer.body["error"]) == (409, "conflict")


def test_last_use(services: Services, ada: Person, key: dict[str, Any]) -> None:
    """It is shown once the key was used."""
    services.governance.touches.touch(ada.org_id, key["id"])
    assert send("GET", org_path(ada, "/api-keys"), ada).body["api_keys"][0]["last_used_at"] is not None
