from __future__ import annotations

import re
from typing import Any

import pytest

from functions.accounts.app import handler as accounts
from functions.flows.app import handler
from shared.composition import Services
from shared.engine.ports import DefinitionRef
from shared.identity.principal import Role
from shared.kit import clock
from tests.support.apigw import Answer, basic, call
from tests.support.deployment import PASSWORD, Person, sign_up
from tests.support.orgs import join

PATH = "/api/v1/flows"
YAML = """# A comment, and a line end of another system.\r
metadata:
  name: "Inside"
  description: Said inside
  version: 1.10
nodes:
  start: {type: transform, params: {script: "return 'käse';"}}
"""
CANARY = "canary-in-the-flow"
ROW = {"id", "name", "description", "version", "created_at", "updated_at", "tags"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def make(who: Person, **fields: Any) -> Answer:
    body = {"name": "My Flow", "definition": YAML} | fields
    return call(handler, "POST", PATH, headers=who.headers, json={k: v for k, v in body.items() if v is not ...})


def made(who: Person, **fields: Any) -> dict[str, Any]:
    answer = make(who, **fields)
    assert answer.status == 201, answer
    body: dict[str, Any] = answer.body
    return body


def get(who: Person, path: str, **headers: str) -> Answer:
    return call(handler, "GET", path, headers=who.headers | headers)


def legacy(who: Person) -> dict[str, str]:
    return basic(who.username, PASSWORD)


def joined(owner: Person, who: Person, role: Role) -> dict[str, str]:
    """Headers of ``who`` acting in the owner's org with this role."""
    join(owner.org_id, who, role)
    return who.headers | {"x-signalbox-org": owner.org_id}


def test_create_201(bob: Person) -> None:
    """The documented row, without the definition, and where to find it."""
    answer = make(bob, description="Mine", tags=["production", "a"])
    row = answer.body
    assert (answer.status, row.keys()) == (201, ROW)
    assert (row["name"], row["description"], row["version"], row["tags"]) == (
        "My Flow",
        "Mine",
        "1.10",
        ["production", "a"],
    )
    assert TIME.fullmatch(row["created_at"])
    assert row["created_at"] == row["updated_at"]
    assert answer.headers["location"] == f"{PATH}/{row['id']}"
    assert re.fullmatch(r"[A-Za-z0-9_-]+", row["id"])
    assert get(bob, answer.headers["location"]).status == 200


def test_create_201_takes_the_description_inside(bob: Person) -> None:
    """Unless the request has one, be it empty; tags are a list even when there are none."""
    assert made(bob)["description"] == "Said inside"
    assert made(bob, description="")["description"] == ""
    assert made(bob, description=None, tags=None)["tags"] == []


@pytest.mark.parametrize("alias", ["content", "yaml"])
def test_create_201_with_other_names_of_the_definition(bob: Person, alias: str) -> None:
    """What other clients call it."""
    row = made(bob, definition=..., **{alias: YAML})
    assert get(bob, f"{PATH}/{row['id']}").body["definition"] == YAML


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"name": ...}, "name", "Name is required"),
        ({"name": ""}, "name", "Name is required"),
        ({"name": "  "}, "name", "Name is required"),
        ({"name": 5}, "name", "Name must be a string"),
        ({"name": "n" * 201}, "name", "Name must have 200 characters at most"),
        ({"definition": ...}, "definition", "Definition is required"),
        ({"definition": ""}, "definition", "Definition is required"),
        ({"definition": {"nodes": {}}}, "definition", "Definition must be a string"),
        ({"description": 5}, "description", "Description must be a string"),
        ({"tags": "a"}, "tags", "Tags must be a list"),
        ({"tags": [5]}, "tags.0", "Tags.0 must be a string"),
        ({"tags": ["a"] * 51}, "tags", "Tags must have 50 entries at most"),
        ({"tags": ["a" * 101]}, "tags.0", "Tags.0 must have 100 characters at most"),
    ],
)
def test_create_400(bob: Person, fields: dict[str, Any], field: str, reason: str) -> None:
    """The field is named and the reason is the documented one; nothing is made."""
    answer = make(bob, **fields)
    assert (answer.status, answer.body["error"]["code"]) == (400, "invalid_request")
    assert answer.body["error"]["details"] == {"field": field, "reason": reason}
    assert get(bob, PATH).body["total"] == 0


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'"text"', b"null", b'{"name": "\\ud800", "definition": "x"}'])
def test_create_400_for_no_object(bob: Person, raw: bytes) -> None:
    """A body that is not JSON, or no object."""
    answer = call(handler, "POST", PATH, headers=bob.headers, raw=raw)
    assert (answer.status, answer.body["error"]["code"]) == (400, "invalid_request")


def test_create_401(bob: Person) -> None:
    """Nobody without credentials, whatever the body."""
    answer = call(handler, "POST", PATH, raw=b"{")
    assert (answer.status, answer.body["error"]["code"]) == (401, "unauthorized")


def test_create_403(bob: Person, ada: Person) -> None:
    """A viewer of the org may look only; an org that is not one's own is closed."""
    viewer = joined(bob, sign_up("viewer"), "viewer")
    body = {"name": "n", "definition": YAML}
    answer = call(handler, "POST", PATH, headers=viewer, json=body)
    assert (answer.status, answer.body["error"]["code"]) == (403, "forbidden")
    assert call(handler, "GET", PATH, headers=viewer).status == 200
    stranger = ada.headers | {"x-signalbox-org": bob.org_id}
    assert call(handler, "POST", PATH, headers=stranger, json=body).status == 403


def test_create_413(bob: Person) -> None:
    """Beyond the size of any request."""
    answer = call(handler, "POST", PATH, headers=bob.headers, raw=b'{"name": "' + b"x" * (5 * 1024 * 1024) + b'"}')
    assert answer.status == 413
    assert get(bob, PATH).body["total"] == 0


@pytest.mark.parametrize(
    ("definition", "reason"),
    [
        ("nodes: [", "not valid YAML"),
        ("metadata: {name: n}\nnodes: {a: {type: loop}}", "Node a: there is no node type loop"),
        ("metadata: {name: n}\nnodes: {a: {type: base}, b: {type: base}}", "more than one start node"),
        ("metadata: {name: n}\nnodes: {a: {type: base, next: {default: b}}}", "leads to b, which is no node"),
        ("a: " + "x" * 1024 * 1024, "1048576 bytes at most"),
    ],
)
def test_create_422(bob: Person, definition: str, reason: str) -> None:
    """A definition that breaks a rule: which one, and in which field; nothing is made."""
    answer = make(bob, definition=definition)
    assert (answer.status, answer.body["error"]["code"]) == (422, "validation_error")
    assert answer.body["error"]["details"]["field"] == "definition"
    assert reason in answer.body["error"]["details"]["reason"]
    assert get(bob, PATH).body["total"] == 0


def test_create_is_done_once_per_key(bob: Person) -> None:
    """The same key makes one flow and gives one answer; without one, or with another, flows may be alike."""
    body = {"name": "n", "definition": YAML}
    first, again = (
        call(handler, "POST", PATH, headers=bob.headers | {"Idempotency-Key": "k"}, json=body) for _ in range(2)
    )
    assert (again.status, again.raw) == (201, first.raw)
    assert again.headers["idempotency-replayed"] == "true"
    made(bob)
    assert get(bob, PATH).body["total"] == 2
    other = call(handler, "POST", PATH, headers=bob.headers | {"Idempotency-Key": "k"}, json=body | {"name": "m"})
    assert other.status == 422


def test_create_for_the_command_line_client(bob: Person) -> None:
    """Its answer has texts only, for it reads them into a map of texts."""
    body = {"name": "n", "content": YAML, "tags": ["a"]}
    answer = call(handler, "POST", PATH, headers=legacy(bob), json=body)
    assert answer.status == 201
    assert all(isinstance(value, str) for value in answer.body.values())
    assert get(bob, f"{PATH}/{answer.body['id']}").body["tags"] == ["a"]


def test_list_200(bob: Person, ada: Person) -> None:
    """Own flows, oldest first, page by page, with exact totals; a flow made a moment ago is there."""
    rows = [
        made(bob, name=f"flow {number}", tags=["even"] if number % 2 == 0 else ["odd", "x"]) for number in range(12)
    ]
    made(ada)
    assert get(bob, PATH).body == {"flows": rows[:10], "total": 12, "limit": 10, "offset": 0}
    assert get(bob, f"{PATH}?limit=5&offset=10").body == {"flows": rows[10:], "total": 12, "limit": 5, "offset": 10}
    assert get(bob, f"{PATH}?tag=odd&limit=2&offset=1").body == {
        "flows": rows[3:6:2],
        "total": 6,
        "limit": 2,
        "offset": 1,
    }
    assert get(bob, f"{PATH}?tag=od").body["total"] == 0
    assert get(bob, f"{PATH}?offset=99").body == {"flows": [], "total": 12, "limit": 10, "offset": 99}
    assert get(bob, f"{PATH}?limit=1000&unknown=1").body["limit"] == 100


@pytest.mark.parametrize("query", ["limit=0", "limit=-1", "limit=x", "offset=-1", "offset=1.5", "limit="])
def test_list_400(bob: Person, query: str) -> None:
    """Numbers that are none; the parameter is named."""
    answer = get(bob, f"{PATH}?{query}")
    assert (answer.status, answer.body["error"]["code"]) == (400, "invalid_request")
    assert answer.body["error"]["details"]["field"] == query.partition("=")[0]


def test_list_401(services: Services) -> None:
    """Nobody without credentials."""
    assert call(handler, "GET", PATH).status == 401


def test_list_for_the_command_line_client(bob: Person) -> None:
    """The bare rows, all of them unless it asks for less."""
    rows = [made(bob, name=str(number)) for number in range(11)]
    assert call(handler, "GET", PATH, headers=legacy(bob)).body == rows
    assert call(handler, "GET", f"{PATH}?limit=2", headers=legacy(bob)).body == rows[:2]


def test_get_200(bob: Person) -> None:
    """The row and the definition, byte for byte."""
    row = made(bob)
    assert get(bob, f"{PATH}/{row['id']}").body == row | {"definition": YAML}


@pytest.mark.parametrize("size", [120 * 1024, 500 * 1024])
def test_get_200_of_a_large_definition(bob: Person, size: int) -> None:
    """Larger than a record of the store may be."""
    text = YAML + "# " + "ü" * (size // 2) + "\n"
    row = made(bob, definition=text)
    assert get(bob, f"{PATH}/{row['id']}").body["definition"] == text


def test_get_200_as_yaml(bob: Person) -> None:
    """For the command line client and for who accepts it: the text alone."""
    path = f"{PATH}/{made(bob)['id']}"
    for answer in (call(handler, "GET", path, headers=legacy(bob)), get(bob, path, accept="application/yaml")):
        assert (answer.status, answer.raw) == (200, YAML.encode())
        assert answer.headers["content-type"].startswith("application/yaml")


def test_404_for_what_is_not_there_or_not_ones_own(bob: Person, ada: Person) -> None:
    """Whatever the body says; an administrator sees no more than others, and nothing tells that it exists."""
    path = f"{PATH}/{made(bob, name=CANARY)['id']}"
    calls = [("GET", ""), ("PUT", ""), ("DELETE", ""), ("GET", "/versions"), ("PATCH", "/metadata")]
    for method, more in calls:
        refused = call(handler, method, f"{path}{more}", headers=ada.headers, raw=b"{")
        missing = call(handler, method, f"{PATH}/missing{more}", headers=ada.headers, raw=b"{")
        assert (refused.status, refused.body["error"]["code"]) == (404, "not_found"), (method, more)
        assert refused.body["error"] == missing.body["error"]
    assert get(bob, path).body["name"] == CANARY


def test_401_on_a_flow(bob: Person) -> None:
    """Nobody without credentials, on any path."""
    flow_id = made(bob)["id"]
    calls = [
        ("GET", f"/api/v1/flows/{flow_id}"),
        ("PUT", f"/api/v1/flows/{flow_id}"),
        ("DELETE", f"/api/v1/flows/{flow_id}"),
        ("GET", f"/api/v1/flows/{flow_id}/versions"),
        ("PATCH", f"/api/v1/flows/{flow_id}/metadata"),
        ("POST", "/api/v1/flows/search"),
    ]
    for method, path in calls:
        assert call(handler, method, path, raw=b"{").status == 401, (method, path)


def test_403_on_a_flow(bob: Person, ada: Person) -> None:
    """A viewer changes nothing; an operator does."""
    path = f"{PATH}/{made(bob)['id']}"
    viewer, operator = joined(bob, sign_up("viewer"), "viewer"), joined(bob, ada, "operator")
    for method, where in (("PUT", path), ("DELETE", path), ("PATCH", f"{path}/metadata")):
        answer = call(handler, method, where, headers=viewer, json={})
        assert (answer.status, answer.body["error"]["code"]) == (403, "forbidden"), (method, where)
    assert call(handler, "GET", path, headers=viewer).status == 200
    assert call(handler, "PUT", path, headers=operator, json={"name": "theirs"}).body["name"] == "theirs"


def test_update_200(bob: Person) -> None:
    """What is left out stays, the time of the change moves, and the version follows the definition."""
    row = made(bob, description="d", tags=["a"])
    path = f"{PATH}/{row['id']}"
    renamed = call(handler, "PUT", path, headers=bob.headers, json={"name": "Other"}).body
    assert renamed == row | {"name": "Other", "updated_at": renamed["updated_at"]}
    assert clock.parse_rfc3339(renamed["updated_at"]) > clock.parse_rfc3339(row["updated_at"])
    text = YAML.replace("1.10", "2")
    changed = call(
        handler, "PUT", path, headers=bob.headers, json={"definition": text, "description": "", "tags": []}
    ).body
    assert (changed["version"], changed["description"], changed["tags"], changed["name"]) == ("2", "", [], "Other")
    assert changed["created_at"] == row["created_at"]
    assert get(bob, path).body == changed | {"definition": text}


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"name": ""}, 400, "name"),
        ({"definition": ""}, 400, "definition"),
        ({"tags": "a"}, 400, "tags"),
        ({"content": "nodes: ["}, 422, "definition"),
    ],
)
def test_update_400_and_422(bob: Person, body: dict[str, Any], status: int, field: str) -> None:
    """The field is named, and nothing changes."""
    row = made(bob)
    answer = call(handler, "PUT", f"{PATH}/{row['id']}", headers=bob.headers, json=body)
    assert (answer.status, answer.body["error"]["details"]["field"]) == (status, field)
    assert get(bob, f"{PATH}/{row['id']}").body == row | {"definition": YAML}


def test_update_413(bob: Person) -> None:
    """Beyond the size of any request."""
    path = f"{PATH}/{made(bob)['id']}"
    assert call(handler, "PUT", path, headers=bob.headers, raw=b'"' + b"x" * (5 * 1024 * 1024)).status == 413


def test_update_204_for_the_command_line_client(bob: Person) -> None:
    """Nothing in the body; its name of the definition is taken."""
    path = f"{PATH}/{made(bob)['id']}"
    answer = call(handler, "PUT", path, headers=legacy(bob), json={"content": YAML.replace("1.10", "2")})
    assert (answer.status, answer.raw) == (204, b"")
    assert get(bob, path).body["version"] == "2"


def test_delete_200_then_404(bob: Person, services: Services) -> None:
    """The documented message; gone from every list at once; what runs on it goes on."""
    row = made(bob)
    path = f"{PATH}/{row['id']}"
    answer = call(handler, "DELETE", path, headers=bob.headers)
    assert (answer.status, answer.body) == (200, {"message": "Flow deleted successfully"})
    assert get(bob, path).status == call(handler, "DELETE", path, headers=bob.headers).status == 404
    assert get(bob, PATH).body["total"] == 0
    assert services.catalog.program(DefinitionRef(bob.org_id, row["id"], 1)).start == "start"


def test_delete_204_for_the_command_line_client(bob: Person) -> None:
    """Nothing in the body."""
    answer = call(handler, "DELETE", f"{PATH}/{made(bob)['id']}", headers=legacy(bob))
    assert (answer.status, answer.raw) == (204, b"")


def test_versions_200(bob: Person) -> None:
    """Oldest first, with the author's words; the command line client gets the bare rows."""
    row = made(bob)
    path = f"{PATH}/{row['id']}"
    for word in ("2", "three"):
        call(handler, "PUT", path, headers=bob.headers, json={"definition": YAML.replace("1.10", word)})
    body = get(bob, f"{path}/versions").body
    assert (body["total"], body["limit"], body["offset"]) == (3, 10, 0)
    assert [(one["revision"], one["version"]) for one in body["versions"]] == [(1, "1.10"), (2, "2"), (3, "three")]
    assert body["versions"][0]["created_at"] == row["created_at"]
    assert get(bob, f"{path}/versions?limit=1&offset=2").body["versions"] == body["versions"][2:]
    assert call(handler, "GET", f"{path}/versions", headers=legacy(bob)).body == body["versions"]


def test_versions_400(bob: Person) -> None:
    """Numbers that are none."""
    assert get(bob, f"{PATH}/{made(bob)['id']}/versions?limit=0").status == 400


def test_metadata_204(bob: Person) -> None:
    """Given fields replace, custom is merged key by key; searches show them."""
    path = f"{PATH}/{made(bob, tags=['a'])['id']}"
    first = {"category": "reports", "status": "live", "custom": {"owner": "ada", "n": 1}}
    for body in (first, {"tags": ["b"], "custom": {"n": {"deep": [2]}}}, {}):
        answer = call(handler, "PATCH", f"{path}/metadata", headers=bob.headers, json=body)
        assert (answer.status, answer.raw) == (204, b"")
    (found,) = call(handler, "POST", f"{PATH}/search", headers=bob.headers, json={}).body
    assert found.keys() == ROW | {"account_id", "category", "status", "custom"}
    assert (found["account_id"], found["category"], found["status"], found["tags"]) == (
        bob.id,
        "reports",
        "live",
        ["b"],
    )
    assert found["custom"] == {"owner": "ada", "n": {"deep": [2]}}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"tags": "a"}, "tags"),
        ({"category": 5}, "category"),
        ({"status": []}, "status"),
        ({"custom": []}, "custom"),
        ({"custom": {"a": "x" * 40_000}}, "custom"),
    ],
)
def test_metadata_400(bob: Person, body: dict[str, Any], field: str) -> None:
    """The field is named."""
    answer = call(handler, "PATCH", f"{PATH}/{made(bob)['id']}/metadata", headers=bob.headers, json=body)
    assert (answer.status, answer.body["error"]["details"]["field"]) == (400, field)


def test_metadata_413(bob: Person) -> None:
    """Beyond the size of any request."""
    path = f"{PATH}/{made(bob)['id']}/metadata"
    assert call(handler, "PATCH", path, headers=bob.headers, raw=b'"' + b"x" * (5 * 1024 * 1024)).status == 413


def test_search_200(bob: Person, ada: Person) -> None:
    """A bare list of own flows, page by page; without a body, all of them."""
    rows = [made(bob, name=f"Report {number}", tags=[f"t{number}"], description="") for number in range(12)]
    made(ada, name="Report of another")

    def search(body: Any = None) -> list[Any]:
        found = call(handler, "POST", f"{PATH}/search", headers=bob.headers, json=body)
        assert found.status == 200
        return [row["id"] for row in found.body]

    ids = [row["id"] for row in rows]
    assert search() == search({}) == ids[:10]
    assert search({"page": 2, "page_size": 5}) == ids[5:10]
    assert search({"page": 3, "page_size": 5}) == ids[10:]
    assert search({"page": 9}) == []
    assert search({"name_contains": "report 1"}) == [ids[1], *ids[10:]]
    assert search({"tags": ["t3", "t5", "none"]}) == [ids[3], ids[5]]
    assert search({"created_after": rows[11]["created_at"]})[-1] == ids[11]
    assert search({"created_before": "2020-01-01T00:00:00Z"}) == []
    assert search({"updated_after": "2020-01-01T00:00:00+02:00", "updated_before": rows[0]["updated_at"]})[0] == ids[0]


_MOMENT = "The time must be RFC 3339, for example 2026-01-01T12:00:00Z"


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        ({"page": 0}, "page", "Page must be 1 or more"),
        ({"page_size": 101}, "page_size", "Page size must be 100 or less"),
        ({"page": "1"}, "page", "Page must be a whole number"),
        ({"created_after": "yesterday"}, "created_after", _MOMENT),
        ({"created_after": "2026-01-01T00:00:00"}, "created_after", _MOMENT),
        ({"tags": [1]}, "tags.0", "Tags.0 must be a string"),
        ({"name_contains": 5}, "name_contains", "Name contains must be a string"),
    ],
)
def test_search_400(bob: Person, body: dict[str, Any], field: str, reason: str) -> None:
    """The field is named, and what it must be."""
    answer = call(handler, "POST", f"{PATH}/search", headers=bob.headers, json=body)
    assert answer.status == 400
    assert answer.body["error"]["details"] == {"field": field, "reason": reason}


def test_search_413(bob: Person) -> None:
    """Beyond the size of any request."""
    body = b'"' + b"x" * (5 * 1024 * 1024)
    assert call(handler, "POST", f"{PATH}/search", headers=bob.headers, raw=body).status == 413


def test_405_on_flows(bob: Person) -> None:
    """Each path says what it answers."""
    assert call(handler, "DELETE", PATH, headers=bob.headers).headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert call(handler, "PATCH", f"{PATH}/x", headers=bob.headers).status == 405


def test_flows_go_with_their_org(bob: Person, ada: Person, services: Services) -> None:
    """Deleting an account that alone owns an org leaves none of its flows, deleted ones included."""
    kept = made(ada)
    row, gone = made(bob), made(bob)
    call(handler, "DELETE", f"{PATH}/{gone['id']}", headers=bob.headers)
    assert call(accounts, "DELETE", f"/api/v1/accounts/{bob.id}", headers=bob.headers).status == 200
    assert services.store is not None
    left = repr(services.store._make_api_call("Scan", {"TableName": "signalbox-catalog"})["Items"])
    assert row["id"] not in left
    assert gone["id"] not in left
    assert get(ada, f"{PATH}/{kept['id']}").status == 200
