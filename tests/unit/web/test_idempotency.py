from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, Request
from starlette.responses import Response

from shared.composition import Services
from shared.kit import clock
from shared.kit.errors import Conflict, NotFound, TooManyRequests, Unavailable
from shared.store.embedded import EmbeddedEngine
from shared.web.answers import answer
from shared.web.app import family_app, lambda_handler
from shared.web.idempotency import idempotency_id
from shared.web.principals import CurrentPrincipal, OptionalPrincipal
from shared.web.requests import RequestBody
from shared.web.stored_answers import StoredAnswers
from tests.support.apigw import Handler, call
from tests.support.deployment import Person, deployment, sign_in, sign_up
from tests.support.time import HeldClock


class Desk:
    """Counts what was really done."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.ids: list[str | None] = []
        self.failures: list[Exception] = []
        self.wait: threading.Event | None = None
        self.entered = threading.Event()
        self.large = 0


desk = Desk()
router = APIRouter()


@router.post("/api/v1/things")
def make_thing(principal: CurrentPrincipal, body: RequestBody, request: Request) -> Response:
    desk.ids.append(idempotency_id(request))
    desk.entered.set()
    if desk.wait is not None:
        desk.wait.wait(10)
    if desk.failures:
        raise desk.failures.pop()
    desk.done.append(body.object())
    made = {"number": len(desk.done), "filling": "x" * desk.large, "text": "é"}
    return answer(made, 201, {"Location": f"/api/v1/things/{len(desk.done)}"})


@router.post("/api/v1/open")
def make_open(principal: OptionalPrincipal, body: RequestBody) -> Response:
    desk.done.append(body.object())
    return answer({"number": len(desk.done), "token": "token-canary"})


@router.put("/api/v1/things")
def put_thing(principal: CurrentPrincipal) -> Response:
    desk.done.append({})
    return answer({"number": len(desk.done)})


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    desk.__init__()  # type: ignore[misc]
    with deployment(tmp_path) as made:
        yield made


@pytest.fixture
def handler(services: Services) -> Handler:
    return lambda_handler(family_app("things", router))


@pytest.fixture
def ada(services: Services) -> Person:
    return sign_up("ada")


def post(handler: Handler, who: Person, key: str, body: Any = None, path: str = "/api/v1/things") -> Any:
    return call(handler, "POST", path, headers=who.headers | {"Idempotency-Key": key}, json=body or {"a": 1})


def test_a_repetition_gets_the_first_answer(handler: Handler, ada: Person) -> None:
    """Done once; status, body and headers are the same, and the repetition says that it is one."""
    first, second = post(handler, ada, "key-1"), post(handler, ada, "key-1")
    assert len(desk.done) == 1
    assert (first.status, first.raw) == (second.status, second.raw) == (201, first.raw)
    assert second.headers["location"] == first.headers["location"]
    assert second.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert second.headers["x-request-id"] != first.headers["x-request-id"]


def test_without_a_key_nothing_is_kept(handler: Handler, ada: Person) -> None:
    """Two requests without the header are two; the header means nothing on other methods."""
    for _ in range(2):
        call(handler, "POST", "/api/v1/things", headers=ada.headers, json={})
        call(handler, "PUT", "/api/v1/things", headers=ada.headers | {"Idempotency-Key": "k"}, json={})
    assert len(desk.done) == 4


@pytest.mark.parametrize(
    ("body", "path"), [({"a": 2}, "/api/v1/things"), ({"a": 1}, "/api/v1/open"), ({"a": 1}, "/api/v1/things?x=1")]
)
def test_a_key_is_for_one_request(handler: Handler, ada: Person, body: Any, path: str) -> None:
    """The same key with another body, path or query is 422 and nothing is done."""
    post(handler, ada, "key-1")
    result = post(handler, ada, "key-1", body, path)
    assert (result.status, result.body["error"]["code"]) == (422, "validation_error")
    assert len(desk.done) == 1


def test_keys_belong_to_their_caller(handler: Handler, ada: Person) -> None:
    """Somebody else's key of the same name is another key."""
    bob = sign_up("bob")
    assert post(handler, ada, "key-1").body["number"] == 1
    assert post(handler, bob, "key-1").body["number"] == 2


def test_after_a_day_a_key_is_forgotten(handler: Handler, ada: Person) -> None:
    """Answers are repeated for 24 hours; after them the same request is carried out again."""
    held = HeldClock(clock.now_ms())
    with clock.use(held):
        who = sign_in("ada")
        post(handler, who, "key-1")
        held.advance(23 * 3600)
        assert post(handler, who, "key-1").headers["idempotency-replayed"] == "true"
        held.advance(3600 + 1)
        assert "idempotency-replayed" not in post(handler, sign_in("ada"), "key-1").headers
    assert len(desk.done) == 2


def test_while_it_is_answered_a_repetition_is_409(handler: Handler, ada: Person) -> None:
    """Two at once are never both carried out."""
    desk.wait = threading.Event()
    results: list[Any] = []
    worker = threading.Thread(target=lambda: results.append(post(handler, ada, "key-1")))
    worker.start()
    assert desk.entered.wait(10)
    second = post(handler, ada, "key-1")
    desk.wait.set()
    worker.join()
    assert (second.status, results[0].status, len(desk.done)) == (409, 201, 1)


def test_an_attempt_that_died_is_taken_over(handler: Handler, ada: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that never finished holds the key for a minute; the next attempt makes the thing under the same id."""
    held = HeldClock(clock.now_ms())
    with clock.use(held):
        with monkeypatch.context() as dying:
            for ending in ("finish", "release", "lapse"):
                dying.setattr(StoredAnswers, ending, lambda self, *rest: None)
            post(handler, ada, "key-1")
        assert post(handler, ada, "key-1").status == 409
        held.advance(60)
        assert post(handler, ada, "key-1").status == 201
    assert desk.ids[0] is not None
    assert desk.ids[0] == desk.ids[1]


@pytest.mark.parametrize("failure", [Unavailable("no"), RuntimeError("no")])
def test_an_attempt_that_failed_goes_on_under_the_same_id(handler: Handler, ada: Person, failure: Exception) -> None:
    """It may have done a part before it failed: the next attempt, which need not wait, makes the same thing."""
    desk.failures = [failure]
    first, second = post(handler, ada, "key-1"), post(handler, ada, "key-1")
    assert (first.status >= 500, second.status) == (True, 201)
    assert desk.ids[0] is not None
    assert desk.ids[0] == desk.ids[1]


def test_what_the_request_makes_may_use_its_id(handler: Handler, ada: Person) -> None:
    """Each key has an id of its own; without a key there is none."""
    post(handler, ada, "key-1")
    post(handler, ada, "key-2")
    call(handler, "POST", "/api/v1/things", headers=ada.headers, json={})
    assert desk.ids[0] != desk.ids[1]
    assert desk.ids[2] is None


@pytest.mark.parametrize(
    ("failure", "kept"),
    [
        (NotFound("no"), True),
        (Conflict("no"), True),
        (TooManyRequests("no"), False),
        (Unavailable("no"), False),
        (RuntimeError("no"), False),
    ],
)
def test_which_failures_are_answers(handler: Handler, ada: Person, failure: Exception, kept: bool) -> None:
    """What the caller did wrong is the answer and is repeated; what may pass by is not kept, so trying again helps."""
    desk.failures = [failure]
    first, second = post(handler, ada, "key-1"), post(handler, ada, "key-1")
    assert first.status >= 400
    assert second.status == (first.status if kept else 201)


def test_a_huge_answer_is_not_kept(handler: Handler, ada: Person) -> None:
    """It goes out whole, and the key is free again."""
    desk.large = 310 * 1024
    assert len(post(handler, ada, "key-1").body["filling"]) == desk.large
    assert post(handler, ada, "key-1").body["number"] == 2


@pytest.mark.parametrize("key", ["", '""', "x" * 256, "a\x01b", "\u00e9"])
def test_a_strange_key_is_400(handler: Handler, ada: Person, key: str) -> None:
    """Nothing is done."""
    result = post(handler, ada, key)
    assert result.status == 400
    assert result.body["error"]["details"]["field"] == "Idempotency-Key"
    assert desk.done == []


def test_quotes_around_a_key_are_no_part_of_it(handler: Handler, ada: Person) -> None:
    """The draft writes keys as quoted strings, most clients do not: both are the same key."""
    post(handler, ada, '"key-1"')
    assert post(handler, ada, "key-1").headers["idempotency-replayed"] == "true"


def test_without_credentials_the_whole_request_is_the_key(handler: Handler, ada: Person) -> None:
    """Strangers with the same key do not meet, and none can fetch another's answer."""
    headers = {"Idempotency-Key": "key-1"}
    first = call(handler, "POST", "/api/v1/open", headers=headers, json={"a": 1})
    other = call(handler, "POST", "/api/v1/open", headers=headers, json={"a": 2})
    again = call(handler, "POST", "/api/v1/open", headers=headers, json={"a": 1})
    assert (first.body["number"], other.body["number"], again.body["number"]) == (1, 2, 1)


def test_a_refused_caller_is_refused_each_time(handler: Handler, ada: Person) -> None:
    """401 is never kept: signing in and trying again with the same key works."""
    for _ in range(2):
        result = call(handler, "POST", "/api/v1/things", headers={"Idempotency-Key": "k"}, json={"a": 1})
        assert result.status == 401
    forged = call(
        handler, "POST", "/api/v1/things", headers={"Idempotency-Key": "k", "Authorization": "Bearer x"}, json={"a": 1}
    )
    assert forged.status == 401
    assert post(handler, ada, "k").status == 201


def test_a_replay_needs_living_credentials(handler: Handler, ada: Person, services: Services) -> None:
    """After logging out the kept answer is out of reach with the old token."""
    post(handler, ada, "key-1")
    principal = services.identity.authenticator.authenticate(f"Bearer {ada.token}")
    services.identity.sessions.logout(principal)
    assert post(handler, ada, "key-1").status == 401


def test_kept_answers_are_unreadable_at_rest(handler: Handler, ada: Person, services: Services) -> None:
    """They may hold tokens."""
    call(handler, "POST", "/api/v1/open", headers=ada.headers | {"Idempotency-Key": "k"}, json={"a": 1})
    engine = services.store
    assert isinstance(engine, EmbeddedEngine)
    stored = engine._make_api_call("Scan", {"TableName": "signalbox-idempotency"})
    assert stored["Count"] == 1
    assert "token-canary" not in str(stored)


def test_calls_with_an_api_key_are_always_made(handler: Handler) -> None:
    """Another client's answer, or one from before the key was revoked, is never given to a client."""
    headers = {"idempotency-key": "k", "x-api-key": "nr_live_first"}
    numbers = [
        call(handler, "POST", "/api/v1/open", headers=headers | more, json={}).body["number"]
        for more in ({}, {}, {"x-api-key": "nr_live_other"})
    ]
    assert numbers == [1, 2, 3]


def test_a_session_beside_an_api_key_counts(handler: Handler, ada: Person) -> None:
    """Whoever signed in repeats requests as ever."""
    headers = ada.headers | {"idempotency-key": "k", "x-api-key": "nr_live_first"}
    for _ in range(2):
        assert call(handler, "POST", "/api/v1/things", headers=headers, json={}).body["number"] == 1
