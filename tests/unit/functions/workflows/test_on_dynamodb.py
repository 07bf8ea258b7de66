"""The same handlers over a DynamoDB that is not ours."""

from __future__ import annotations

import pytest

from tests.support.deployment import sign_up
from tests.support.orgs import made, ok, org_path
from tests.unit.functions.workflows.conftest import send


@pytest.mark.usefixtures("elsewhere")
def test_a_life_of_a_workflow() -> None:
    """Made, changed, given keys which are rotated and revoked, paused, and deleted with the rest of them."""
    ada = sign_up("ada")
    row = made(send("POST", org_path(ada, "/workflows"), ada, {"name": "bot", "external_id": "b", "budget_cents": 1}))
    path = org_path(ada, f"/workflows/{row['id']}")
    assert send("POST", org_path(ada, "/workflows"), ada, {"name": "bot", "external_id": "b"}).status == 409
    keys = [made(send("POST", f"{path}/api-keys", ada, {"name": "prod"})) for _ in range(3)]
    assert send("POST", org_path(ada, f"/api-keys/{keys[0]['id']}/rotate"), ada).body["key_version"] == 2
    assert send("DELETE", org_path(ada, f"/api-keys/{keys[1]['id']}"), ada).status == 204
    changed = ok(send("PATCH", path, ada, {"budget_cents": 700, "external_id": None}))
    assert (changed["budget_cents"], changed["external_id"], changed["api_key_count"]) == (700, None, 2)
    assert send("POST", f"{path}/pause", ada, {"reason": "lunch"}).body["state"] == "Paused"
    assert send("GET", path, {"x-api-key": keys[2]["key"]}).body["reason"] == "lunch"
    assert send("POST", f"{path}/resume", ada).body["reason"] is None
    assert send("DELETE", path, ada).status == 204
    listed = send("GET", org_path(ada, "/api-keys"), ada).body["api_keys"]
    assert [one["status"] for one in listed] == ["revoked"] * 3
    assert send("GET", org_path(ada, "/workflows"), ada).body["total"] == 0
