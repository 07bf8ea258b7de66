"""The same handler over a DynamoDB that is not ours."""

from __future__ import annotations

from functions.flows.app import handler
from shared.composition import Services
from shared.engine.ports import DefinitionRef
from tests.support.apigw import call
from tests.support.deployment import sign_up
from tests.unit.functions.flows.test_flows import PATH, YAML


def test_a_life_of_a_flow(elsewhere: Services) -> None:
    """Create with a key, list, change, search, delete; the programs of both versions stay."""
    ada = sign_up("ada")
    keyed = ada.headers | {"Idempotency-Key": "k"}
    body = {"name": "n", "definition": YAML + "# " + "x" * 200_000, "tags": ["a"]}
    row, again = (call(handler, "POST", PATH, headers=keyed, json=body).body for _ in range(2))
    assert row == again
    path = f"{PATH}/{row['id']}"
    assert call(handler, "GET", f"{PATH}?tag=a", headers=ada.headers).body["flows"] == [row]
    assert call(handler, "GET", path, headers=ada.headers).body["definition"] == body["definition"]
    changed = call(handler, "PUT", path, headers=ada.headers, json={"definition": YAML.replace("1.10", "2")})
    assert (changed.status, changed.body["version"]) == (200, "2")
    assert call(handler, "PATCH", f"{path}/metadata", headers=ada.headers, json={"custom": {"x": 1}}).status == 204
    (found,) = call(handler, "POST", f"{PATH}/search", headers=ada.headers, json={"name_contains": "N"}).body
    assert found["custom"] == {"x": 1}
    versions = call(handler, "GET", f"{path}/versions", headers=ada.headers).body["versions"]
    assert [version["version"] for version in versions] == ["1.10", "2"]
    assert [call(handler, "DELETE", path, headers=ada.headers).status for _ in range(2)] == [200, 404]
    for revision in (1, 2):
        assert elsewhere.catalog.program(DefinitionRef(ada.org_id, row["id"], revision)).start == "start"
