"""What all routes of the family have in common: who may call them, and what is said to whoever may not."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from shared.composition import Services
from tests.support.deployment import Person
from tests.support.orgs import org_path
from tests.unit.functions.workflows.conftest import send

WORKFLOW = "/workflows/{workflow}"
CHANGES = [
    ("POST", "/workflows"),
    ("PATCH", WORKFLOW),
    ("DELETE", WORKFLOW),
    ("POST", f"{WORKFLOW}/pause"),
    ("POST", f"{WORKFLOW}/resume"),
    ("POST", f"{WORKFLOW}/kill"),
    ("POST", "/api-keys"),
    ("DELETE", "/api-keys/{key}"),
    ("POST", "/api-keys/{key}/revoke"),
    ("POST", "/api-keys/{key}/rotate"),
    ("POST", f"{WORKFLOW}/api-keys"),
    ("PUT", f"{WORKFLOW}/definitions/{{flow}}"),
    ("DELETE", f"{WORKFLOW}/definitions/{{flow}}"),
]
SHOWN_TO_KEYS = ["/workflows", WORKFLOW, f"{WORKFLOW}/definitions"]
SHOWN_TO_PEOPLE = ["/api-keys", f"{WORKFLOW}/api-keys"]
SHOWN = [("GET", path) for path in (*SHOWN_TO_KEYS, *SHOWN_TO_PEOPLE, f"{WORKFLOW}/definitions/{{flow}}")]
EVERY = [*CHANGES, *SHOWN]
WITH_ID = [(method, path) for method, path in EVERY if "{" in path]
WITH_BODY = [
    ("POST", "/workflows"),
    ("PATCH", WORKFLOW),
    ("POST", f"{WORKFLOW}/pause"),
    ("POST", f"{WORKFLOW}/resume"),
    ("POST", f"{WORKFLOW}/kill"),
    ("POST", "/api-keys"),
    ("POST", f"{WORKFLOW}/api-keys"),
]
LISTS = ["/workflows", "/api-keys", f"{WORKFLOW}/api-keys"]


def bodies(path: str, workflow: str) -> dict[str, Any]:
    """A good body of a route that takes one."""
    return {"name": "x", "workflow_id": workflow} if "api-keys" in path else {"name": "x"}


@pytest.fixture
def at(ada: Person, workflow: str, key: dict[str, Any]) -> Callable[[str], str]:
    """A path of the table with the ids of what is there."""
    return lambda path: org_path(ada, path.format(workflow=workflow, key=key["id"], flow="flow-1"))


def test_401(at: Callable[[str], str]) -> None:
    """Nobody, a wrong session and a wrong key are refused before anything else is looked at, in NullRun's form."""
    wrong: list[dict[str, str]] = [
        {},
        {"authorization": "Bearer nope"},
        {"x-api-key": "nr_live_" + "x" * 32},
        {"x-api-key": "nope"},
    ]
    for (method, path), headers in product(EVERY, wrong):
        answer = send(method, at(path), headers, raw=b"{")
        assert (answer.status, answer.body["error"]) == (401, "unauthorized"), (method, path, headers)
        assert answer.body["error_code"]


def test_403_strangers(bob: Person, at: Callable[[str], str]) -> None:
    """An org is closed to whoever is no member, to its ids as to anything else."""
    for method, path in EVERY:
        answer = send(method, at(path), bob, raw=b"{")
        assert (answer.status, answer.body["error"], answer.body["error_code"]) == (403, "forbidden", "FORBIDDEN"), path


def test_403_keys_of_other_orgs(ada: Person, bob: Person, at: Callable[[str], str], key: dict[str, Any]) -> None:
    """A key reads its own org and no other."""
    for method, path in EVERY:
        target = at(path).replace(ada.org_id, bob.org_id)
        answer = send(method, target, {"x-api-key": key["key"]}, raw=b"{")
        assert (answer.status, answer.body["error"]) == (403, "forbidden"), (method, path)


def test_403_viewers_and_keys(vic: Person, at: Callable[[str], str], key: dict[str, Any]) -> None:
    """Neither changes anything; they are told so before their body is read or an id is looked up."""
    weak: list[Person | dict[str, str]] = [vic, {"x-api-key": key["key"]}]
    for (method, path), who in product(CHANGES, weak):
        for target in (at(path), at(path).replace(key["id"], "nope")):
            assert send(method, target, who, raw=b"{").status == 403, (method, path)


def test_who_reads(vic: Person, at: Callable[[str], str], key: dict[str, Any]) -> None:
    """A viewer sees everything; a key, in either header, what clients ask for, but no keys."""
    as_key = ({"x-api-key": key["key"]}, {"authorization": f"Bearer {key['key']}"})
    for path in (*SHOWN_TO_KEYS, *SHOWN_TO_PEOPLE):
        assert send("GET", at(path), vic).status == 200, path
        for headers in as_key:
            assert send("GET", at(path), headers).status == (200 if path in SHOWN_TO_KEYS else 403), path


@pytest.mark.parametrize("wrong", ["nope", "x" * 4000, "%20", "%ff", "..%2f..", "%F0%9F%92%A9"])
def test_404(ada: Person, workflow: str, wrong: str) -> None:
    """An id that is none, whatever it looks like."""
    for method, path in WITH_ID:
        target = org_path(ada, path.format(workflow=wrong, key=wrong, flow=wrong))
        answer = send(method, target, ada, bodies(path, wrong))
        assert (answer.status, answer.body["error"]) == (404, "not_found"), (method, path)
    assert send("GET", org_path(ada, f"/workflows/{workflow}"), ada).status == 200


def test_404_of_another_org(ada: Person, bob: Person, at: Callable[[str], str]) -> None:
    """An id of another org is unknown in one's own."""
    for method, path in WITH_ID:
        target = at(path).replace(ada.org_id, bob.org_id)
        assert send(method, target, bob, bodies(path, "nope")).status == 404, (method, path)


def test_404_before_400(ada: Person) -> None:
    """Whoever asks for what is not there learns that, and nothing of what is wrong with the rest."""
    for method, path in WITH_BODY:
        if "{workflow}" in path:
            assert send(method, org_path(ada, path.format(workflow="nope")), ada, raw=b"{").status == 404, (
                method,
                path,
            )


@pytest.mark.parametrize("raw", [b"{", b"[]", b"7", b'"x"', b"null", b'{"name":"\\ud800"}', b'{"a":NaN}', b"\xff"])
def test_400_no_json_object(ada: Person, at: Callable[[str], str], raw: bytes) -> None:
    """What is no JSON object."""
    for method, path in WITH_BODY:
        answer = send(method, at(path), ada, raw=raw)
        told = answer.status, answer.body["error"], answer.body["code"]
        assert told == (400, "invalid_json", "INVALID_JSON"), (method, path)


def test_413(ada: Person, at: Callable[[str], str]) -> None:
    """A body over 4 MB."""
    large = b'{"name":"' + b"x" * (5 * 1024 * 1024) + b'"}'
    for method, path in WITH_BODY:
        assert send(method, at(path), ada, raw=large).status == 413, (method, path)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=-1", "limit=x", "limit=1.5", "cursor=a%20b", "cursor=" + "x" * 201]
)
def test_400_paging(ada: Person, at: Callable[[str], str], query: str) -> None:
    """A bad limit or cursor is named."""
    for path in LISTS:
        answer = send("GET", f"{at(path)}?{query}", ada)
        assert (answer.status, answer.body["error"]) == (400, "bad_request"), path
        assert answer.body["details"]["field"] == query.partition("=")[0]


def test_503(ada: Person, at: Callable[[str], str], workflow: str, flow: str, unwritable: Callable[[], None]) -> None:
    """A store that takes nothing at the moment."""
    send("PUT", at(f"{WORKFLOW}/definitions/{flow}"), ada)
    unwritable()
    for method, path in CHANGES:
        if (method, path) != ("POST", f"{WORKFLOW}/resume"):
            target = at(path).replace("flow-1", flow)
            answer = send(method, target, ada, bodies(path, workflow) | {"external_id": "e"})
            assert (answer.status, answer.body["error"]) == (503, "internal_error"), (method, path)


def test_503_resume(ada: Person, at: Callable[[str], str], unwritable: Callable[[], None]) -> None:
    """As the others, for a workflow that is paused."""
    send("POST", at(f"{WORKFLOW}/pause"), ada)
    unwritable()
    assert send("POST", at(f"{WORKFLOW}/resume"), ada).status == 503


def test_repetitions_with_a_key(ada: Person, bob: Person, services: Services) -> None:
    """A repeated request makes one workflow, in the org of the path; a stranger's key changes nothing about that."""
    headers = ada.headers | {"idempotency-key": "k"}
    first = send("POST", org_path(ada, "/workflows"), headers, {"name": "bot"})
    again = send("POST", org_path(ada, "/workflows"), headers, {"name": "bot"})
    assert (first.status, again.status, again.raw) == (201, 201, first.raw)
    assert send("GET", org_path(ada, "/workflows"), ada).body["total"] == 1
    stranger = bob.headers | {"idempotency-key": "k"}
    assert send("POST", org_path(ada, "/workflows"), stranger, {"name": "bot"}).status == 403


def test_an_org_of_spaces_is_nobodys(ada: Person) -> None:
    """A path that names no org does not mean the caller's own."""
    assert send("GET", "/api/v1/orgs/%20/workflows", ada).status == 403
