"""What all routes of policies have in common: who may call them, and what is said to whoever may not."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest

from tests.support.deployment import Person
from tests.support.governance import Governed
from tests.support.orgs import made, org_path
from tests.unit.functions.policies.conftest import send

POLICY = "/policies/{policy}"
TEMPLATE = "/policies/templates/{template}"
LIMIT = {"name": "limit", "policy_type": "RateLimit", "config": {"max_calls_per_minute": 60}}
CHANGES = [
    ("POST", "/policies"),
    ("PATCH", POLICY),
    ("DELETE", POLICY),
    ("POST", f"{POLICY}/toggle"),
    ("POST", f"{TEMPLATE}/enable"),
    ("DELETE", TEMPLATE),
]
SHOWN = ["/policies", "/policies/templates"]
EVERY = [*CHANGES, *(("GET", path) for path in SHOWN)]
WITH_ID = [(method, path) for method, path in EVERY if "{" in path]
WITH_BODY = [(method, path) for method, path in CHANGES if method != "DELETE"]
TOGGLE = "/api/v1/policies/toggle"


@pytest.fixture
def policy(ada: Person) -> str:
    """A policy of Ada's org."""
    return str(made(send("POST", org_path(ada, "/policies"), ada, LIMIT))["id"])


@pytest.fixture
def at(ada: Person, policy: str) -> Callable[[str], str]:
    """A path of the table with the ids of what is there."""
    return lambda path: org_path(ada, path.format(policy=policy, template="block-shell"))


def test_401(at: Callable[[str], str]) -> None:
    """Nobody, a wrong session and a wrong key are refused before anything else is looked at, in NullRun's form."""
    wrong: tuple[dict[str, str], ...] = (
        {},
        {"authorization": "Bearer nope"},
        {"x-api-key": "nr_live_" + "x" * 32},
        {"x-api-key": "nope"},
    )
    for (method, path), headers in product([*((method, at(path)) for method, path in EVERY), ("POST", TOGGLE)], wrong):
        answer = send(method, path, headers, raw=b"{")
        assert (answer.status, answer.body["error"]) == (401, "unauthorized"), (method, path, headers)
        assert answer.body["error_code"]


def test_403_strangers(bob: Person, at: Callable[[str], str]) -> None:
    """An org is closed to whoever is no member, to its ids as to anything else."""
    for method, path in EVERY:
        answer = send(method, at(path), bob, raw=b"{")
        assert (answer.status, answer.body["error"], answer.body["error_code"]) == (403, "forbidden", "FORBIDDEN"), path


def test_403_keys_of_other_orgs(ada: Person, bob: Person, at: Callable[[str], str], bot: Governed) -> None:
    """A key reads its own org and no other."""
    for method, path in EVERY:
        answer = send(method, at(path).replace(ada.org_id, bob.org_id), {"x-api-key": bot.key}, raw=b"{")
        assert (answer.status, answer.body["error"]) == (403, "forbidden"), (method, path)


def test_403_viewers_and_keys(vic: Person, at: Callable[[str], str], policy: str, bot: Governed) -> None:
    """Neither changes anything; they are told so before their body is read or an id is looked up."""
    whoever: tuple[Person | dict[str, str], ...] = (vic, {"x-api-key": bot.key})
    for (method, path), who in product(CHANGES, whoever):
        for target in (at(path), at(path).replace(policy, "nope").replace("block-shell", "nope")):
            assert send(method, target, who, raw=b"{").status == 403, (method, path)


def test_403_toggle(ada: Person, bob: Person, vic: Person, policy: str) -> None:
    """A viewer of the acting org, and whoever names an org of others, switch nothing."""
    for who in (vic, bob):
        headers = who.headers | {"x-signalbox-org": ada.org_id}
        answer = send("POST", TOGGLE, headers, {"policy_id": policy})
        assert (answer.status, answer.body["error"]) == (403, "forbidden")


def test_who_reads(vic: Person, at: Callable[[str], str], bot: Governed) -> None:
    """A viewer, and a key in either header."""
    for path in SHOWN:
        for who in (vic, {"x-api-key": bot.key}, {"authorization": f"Bearer {bot.key}"}):
            assert send("GET", at(path), who).status == 200, path


@pytest.mark.parametrize("wrong", ["nope", "x" * 4000, "%20", "%ff", "..%2f..", "%F0%9F%92%A9"])
def test_404(ada: Person, wrong: str) -> None:
    """An id that is none, whatever it looks like."""
    for method, path in WITH_ID:
        answer = send(method, org_path(ada, path.format(policy=wrong, template=wrong)), ada, {})
        assert (answer.status, answer.body["error"]) == (404, "not_found"), (method, path)
    answer = send("POST", TOGGLE, ada, {"policy_id": wrong})
    assert (answer.status, answer.body["error"]) == (404, "not_found")


def test_404_of_another_org(ada: Person, bob: Person, at: Callable[[str], str], policy: str) -> None:
    """An id of another org is unknown in one's own."""
    for method, path in WITH_ID:
        if "{policy}" in path:
            assert send(method, at(path).replace(ada.org_id, bob.org_id), bob, {}).status == 404, (method, path)
    assert send("POST", TOGGLE, bob, {"policy_id": policy}).status == 404
    assert send("GET", org_path(ada, "/policies"), ada).body["total"] == 1


def test_404_before_400(ada: Person) -> None:
    """Whoever asks for what is not there learns that, and nothing of what is wrong with the rest."""
    for method, path in WITH_BODY:
        if "{" in path:
            target = org_path(ada, path.format(policy="nope", template="nope"))
            assert send(method, target, ada, raw=b"{").status == 404, (method, path)


@pytest.mark.parametrize("raw", [b"{", b"[]", b"7", b'"x"', b"null", b'{"name":"\\ud800"}', b'{"a":NaN}', b"\xff"])
def test_400_no_json_object(ada: Person, at: Callable[[str], str], raw: bytes) -> None:
    """What is no JSON object."""
    for method, path in [*((method, at(path)) for method, path in WITH_BODY), ("POST", TOGGLE)]:
        answer = send(method, path, ada, raw=raw)
        told = answer.status, answer.body["error"], answer.body["code"]
        assert told == (400, "invalid_json", "INVALID_JSON"), (method, path)


def test_413(ada: Person, at: Callable[[str], str]) -> None:
    """A body over 4 MB."""
    large = b'{"name":"' + b"x" * (5 * 1024 * 1024) + b'"}'
    for method, path in [*((method, at(path)) for method, path in WITH_BODY), ("POST", TOGGLE)]:
        assert send(method, path, ada, raw=large).status == 413, (method, path)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=-1", "limit=x", "limit=1.5", "cursor=a%20b", "cursor=" + "x" * 201]
)
def test_400_paging(ada: Person, query: str) -> None:
    """A bad limit or cursor is named."""
    answer = send("GET", f"{org_path(ada, '/policies')}?{query}", ada)
    assert (answer.status, answer.body["error"]) == (400, "bad_request")
    assert answer.body["details"]["field"] == query.partition("=")[0]


def test_503(ada: Person, at: Callable[[str], str], policy: str, unwritable: Callable[[], None]) -> None:
    """A store that takes nothing at the moment."""
    made(send("POST", org_path(ada, "/policies/templates/block-outbound-messages/enable"), ada))
    unwritable()
    for method, path in [*((method, at(path)) for method, path in CHANGES if method != "DELETE"), ("POST", TOGGLE)]:
        body = LIMIT | {"name": "other"} if "templates" not in path else {}
        answer = send(method, path, ada, body | {"policy_id": policy})
        assert (answer.status, answer.body["error"]) == (503, "internal_error"), (method, path)
    for path in (POLICY, "/policies/templates/block-outbound-messages"):
        assert send("DELETE", at(path), ada).status == 503
