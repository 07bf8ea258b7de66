from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from functions.accounts.app import handler as accounts
from functions.auth.app import handler as auth
from functions.signup.app import handler
from shared.composition import Services
from shared.identity import account_record
from shared.kit import clock
from shared.store.models.identity import AccountRecord
from shared.store.transaction import Transaction
from tests.support.apigw import Answer, call
from tests.support.deployment import PASSWORD, deployment
from tests.support.orgs import register
from tests.support.providers import CLIENT, CODE, KEY_ID, Providers, address, providers
from tests.support.standin import Reply
from tests.support.time import HeldClock

BACK = "https://app.example.com/callback"
PATH = "/api/v1/auth/oauth/register"
BOTH = pytest.mark.parametrize("provider", ["github", "google"])


@pytest.fixture(scope="module")
def serving() -> Iterator[Providers]:
    """One stand-in for the module."""
    with providers() as made:
        yield made


@pytest.fixture
def outside(serving: Providers) -> Providers:
    """The stand-in with its first answers."""
    fresh = Providers(url=serving.url)
    vars(serving).update(vars(fresh))
    return serving


@pytest.fixture
def here(outside: Providers, tmp_path: Path) -> Iterator[Services]:
    """A deployment that signs in with the stand-in."""
    with deployment(tmp_path, **outside.settings()) as made:
        yield made


def start(provider: str, redirect_uri: str = BACK) -> Answer:
    return call(handler, "GET", f"/api/v1/auth/oauth/{provider}/start?redirect_uri={redirect_uri}")


def enter(through: str, **changed: Any) -> Answer:
    sent = {"provider": through, "code": CODE, "redirect_uri": BACK}
    if "state" not in changed:
        sent["state"] = start(through).body["state"]
    return call(handler, "POST", PATH, json=sent | changed)


def by_token(token: Any) -> Answer:
    return call(handler, "POST", PATH, json={"provider": "google", "id_token": token})


# Beginning


@pytest.mark.parametrize(
    ("provider", "path", "scope"),
    [
        ("github", "/login/oauth/authorize", "read:user user:email"),
        ("google", "/o/oauth2/v2/auth", "openid email profile"),
    ],
)
def test_start_200(here: Services, outside: Providers, provider: str, path: str, scope: str) -> None:
    """Where to send the person, with everything the provider asks for."""
    body = start(provider).body
    parts = urlsplit(body["authorization_url"])
    asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
    assert (f"{parts.scheme}://{parts.netloc}", parts.path) == (outside.url, path)
    assert (asked["client_id"], asked["redirect_uri"], asked["scope"]) == (CLIENT, BACK, scope)
    assert asked["state"] == body["state"] != start(provider).body["state"]


def test_start_404_for_an_unknown_provider(here: Services) -> None:
    """The message names those there are."""
    assert start("gitlab").status == 404


@pytest.mark.parametrize(
    "uri",
    ["", "x", "ftp://example.com", "https://", "javascript:alert(1)", "https://[", "https://e.com/%0a" + "x" * 2000],
)
def test_422_for_a_bad_redirect(here: Services, uri: str) -> None:
    """At both ends."""
    assert (start("github", uri).status, start("github", uri).body["details"]["field"]) == (422, "redirect_uri")
    if uri:
        assert enter("github", redirect_uri=uri).body["details"]["field"] == "redirect_uri"


@BOTH
def test_501_without_a_client_id(services: Services, provider: str) -> None:
    """What the deployment has not been set up for."""
    for answer in (start(provider), enter(provider, state="s")):
        assert (answer.status, answer.body["error"], answer.body["error_code"]) == (
            501,
            "not_implemented",
            "NOT_IMPLEMENTED",
        )


# By code


@pytest.mark.parametrize(
    ("provider", "email", "name"),
    [("github", "octo@example.com", "Octo Cat"), ("google", "goo@example.com", "Goo Gle")],
)
def test_201_then_200(here: Services, outside: Providers, provider: str, email: str, name: str) -> None:
    """A new person gets account, org, workflow and key; a known one a session and no key."""
    register("ada@example.com")
    made = enter(provider)
    assert made.status == 201
    assert made.body["user"] == {"id": made.body["user_id"], "email": email, "name": name}
    assert made.body["organization_name"] == f"{name}'s workspace"
    here.governance.authenticator.check(made.body["api_key"])
    assert outside.redirect_uris == [BACK]
    again = enter(provider)
    assert (again.status, again.body["user_id"]) == (200, made.body["user_id"])
    assert again.body["organizations"][0]["id"] == made.body["organization_id"]
    assert not {"api_key", "key", "secret_key"} & again.body.keys()
    assert again.body["session_token"] != made.body["session_token"]


def test_the_account_has_no_password(here: Services) -> None:
    """Nobody signs in by one until it is set."""
    made = enter("github").body
    login = call(auth, "POST", "/api/v1/auth/login", json={"email": "octo@example.com", "password": PASSWORD})
    assert login.status == 401
    assert made["user"]["email"] == "octo@example.com"


@BOTH
def test_200_links_an_account_with_the_verified_address(here: Services, outside: Providers, provider: str) -> None:
    """Once linked it is known by the provider's id, whatever happens to the address."""
    ada = register("ada@example.com")
    outside.emails = [address("ADA@example.com")]
    outside.claims = {"email": "ADA@example.com"}
    first = enter(provider)
    assert (first.status, first.body["user_id"]) == (200, ada.id)
    outside.emails = [address("other@example.com")]
    outside.claims = {"email": "other@example.com"}
    second = enter(provider)
    assert (second.status, second.body["user_id"]) == (200, ada.id)


@BOTH
def test_who_registered_an_address_of_others_is_out(here: Services, outside: Providers, provider: str) -> None:
    """Their password and session end when the provider vouches for its owner, who may set another password."""
    early = register("ada@example.com")
    outside.emails, outside.claims = [address("ada@example.com")], {"email": "ada@example.com"}
    owner = enter(provider).body
    login = {"email": "ada@example.com", "password": PASSWORD}
    assert call(auth, "POST", "/api/v1/auth/login", json=login).status == 401
    path = f"/api/v1/accounts/{early.id}"
    assert call(accounts, "GET", path, headers=early.headers).status == 401
    mine = {"Authorization": f"Bearer {owner['session_token']}"}
    assert call(accounts, "PUT", path, headers=mine, json={"password": "another long one 7"}).status == 200
    login["password"] = "another long one 7"
    assert call(auth, "POST", "/api/v1/auth/login", json=login).status == 200
    assert enter(provider).status == 200
    assert call(auth, "POST", "/api/v1/auth/login", json=login).status == 200


@BOTH
def test_403_without_a_verified_address(here: Services, outside: Providers, provider: str) -> None:
    """An unverified one links nothing and makes nothing."""
    register("ada@example.com")
    outside.emails = [address("ada@example.com", verified=False)]
    outside.claims = {"email": "ada@example.com", "email_verified": False}
    result = enter(provider)
    assert (result.status, result.body["error"]) == (403, "forbidden")


@pytest.mark.parametrize("emails", [[], {"message": "no"}, [5], [address("octo@example.com", primary=False)]])
def test_403_when_github_tells_no_primary_address(here: Services, outside: Providers, emails: Any) -> None:
    """Whatever it tells instead."""
    outside.emails = emails
    assert enter("github").status == 403


@BOTH
def test_401_for_a_wrong_code(here: Services, provider: str) -> None:
    """In NullRun's form, without the provider's words."""
    result = enter(provider, code="wrong")
    assert (result.status, result.body["error"]) == (401, "unauthorized")


@pytest.mark.parametrize("state", ["x", "x.y", "..", "é.é", "x" * 9000])
def test_401_for_a_strange_state(here: Services, state: str) -> None:
    """Not one of ours."""
    assert enter("github", state=state).status == 401


def test_401_for_a_state_that_is_late_or_of_another_sign_in(here: Services) -> None:
    """Ten minutes, one provider, one redirect address; nothing of it can be changed."""
    state = start("github").body["state"]
    assert enter("google", state=state).status == 401
    assert enter("github", state=state, redirect_uri=f"{BACK}/other").status == 401
    text, _, signature = state.partition(".")
    assert enter("github", state=f"{text[:-1]}.{signature}").status == 401
    with clock.use(HeldClock(clock.now_ms() + 10 * 60 * 1000)):
        assert enter("github", state=state).status == 401
    assert enter("github", state=state).status == 201


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"provider": "gitlab"}, "provider"),
        ({"provider": None}, "provider"),
        ({"code": None}, "code"),
        ({"code": 5}, "code"),
        ({"id_token": "x"}, "code"),
        ({"redirect_uri": None}, "redirect_uri"),
        ({"state": None}, "state"),
        ({"state": ""}, "state"),
    ],
)
def test_422(here: Services, changed: dict[str, Any], field: str) -> None:
    """A code needs its redirect address and its state, and is sent alone."""
    result = enter("github", **changed)
    assert (result.status, result.body["details"]["field"]) == (422, field)


def test_400_for_what_is_no_object(here: Services) -> None:
    """Invalid JSON."""
    assert call(handler, "POST", PATH, raw=b"[]").status == 400


def test_413(here: Services) -> None:
    """The body limit."""
    assert enter("github", code="x" * 5_000_000, state="s").status == 413


@BOTH
def test_503_when_the_provider_is_down(here: Services, outside: Providers, provider: str) -> None:
    """Nothing is made; the caller may try again."""
    outside.down = True
    result = enter(provider)
    assert (result.status, result.body["error"]) == (503, "internal_error")
    outside.down = False
    assert enter(provider).status == 201


def test_503_when_nobody_listens(outside: Providers, tmp_path: Path) -> None:
    """A refused connection, told without its address."""
    settings = outside.settings() | {"github_url": "http://127.0.0.1:9"}
    with deployment(tmp_path, **settings):
        result = enter("github")
    assert result.status == 503
    assert "127.0.0.1" not in result.body["message"]


@pytest.mark.parametrize(
    ("provider", "path", "reply"),
    [
        ("github", "/login/oauth/access_token", Reply(b"<html>")),
        ("github", "/login/oauth/access_token", Reply({"error": "incorrect_client_credentials"})),
        ("github", "/api/user", Reply({"id": "42"})),
        ("github", "/api/user", Reply([])),
        ("google", "/token", Reply(b"")),
        ("google", "/token", Reply({"error": "invalid_client"}, 401)),
    ],
)
def test_503_when_the_provider_answers_badly(
    here: Services, outside: Providers, provider: str, path: str, reply: Reply
) -> None:
    """Nonsense, and refusals of the deployment itself, are not the caller's doing."""
    outside.replies = {path: reply}
    assert enter(provider).status == 503


@pytest.mark.parametrize(
    ("provider", "path", "reply"),
    [
        ("github", "/login/oauth/access_token", Reply({})),
        ("github", "/api/user", Reply({"message": "Bad credentials"}, 401)),
        ("google", "/token", Reply({"error": "invalid_grant"}, 400)),
        ("google", "/token", Reply({"access_token": "x"})),
        ("google", "/token", Reply({"id_token": "nonsense"})),
    ],
)
def test_401_when_the_provider_vouches_for_nobody(
    here: Services, outside: Providers, provider: str, path: str, reply: Reply
) -> None:
    """No token, or none that says anything."""
    outside.replies = {path: reply}
    assert enter(provider).status == 401


def test_401_where_sign_up_is_closed(outside: Providers, tmp_path: Path) -> None:
    """A new person stays outside; one who is known comes in."""
    with deployment(tmp_path, **outside.settings()) as parts:
        made = enter("github")
        service = parts.identity.accounts
        service._options = type(service._options)(open_signup=False)
        assert enter("google").status == 401
        assert (enter("github").status, made.status) == (200, 201)


def test_409_when_the_address_is_somebodys_user_name(here: Services, outside: Providers) -> None:
    """A user name may look like an address without being the account's own: no link, and no second owner."""
    ada = register("ada@example.com")
    record = account_record(ada.id)
    assert record is not None
    Transaction().update(record, [AccountRecord.email.set("elsewhere@example.com")]).commit()
    outside.emails = [address("ada@example.com")]
    assert enter("github").status == 409


def test_a_linked_account_that_goes_leaves_nothing(here: Services) -> None:
    """Who was deleted may come again, as somebody new."""
    register("ada@example.com")
    made = enter("github").body
    headers = {"authorization": f"Bearer {made['session_token']}"}
    gone = call(accounts, "DELETE", f"/api/v1/accounts/{made['user_id']}", headers=headers)
    assert gone.status == 200
    assert here.store is not None
    assert made["user_id"] not in str(here.store._make_api_call("Scan", {"TableName": "signalbox-identity"}))
    again = enter("github")
    assert (again.status, again.body["user_id"] != made["user_id"]) == (201, True)


# By ID token


def test_id_token_201_then_200(here: Services, outside: Providers) -> None:
    """Signed by Google for this deployment; the issuer may lack its scheme."""
    made = by_token(outside.id_token())
    assert (made.status, made.body["user"]["email"]) == (201, "goo@example.com")
    again = by_token(outside.id_token(iss=outside.url.partition("://")[2], email_verified="true"))
    assert (again.status, again.body["user_id"]) == (200, made.body["user_id"])
    # The same person by code.
    assert enter("google").body["user_id"] == made.body["user_id"]


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "another"}, {"aud": None}, {"iss": "https://evil.example.com"}, {"iss": None}, {"sub": None},
        {"sub": ""}, {"exp": 1}, {"exp": None}, {"exp": "soon"}, {"kid": "key-2"}, {"kid": None},
    ],
)  # fmt: skip
def test_id_token_401(here: Services, outside: Providers, claims: dict[str, Any]) -> None:
    """Of another audience, issuer or key, late, or of nobody."""
    result = by_token(outside.id_token(**claims))
    assert (result.status, result.body["error"]) == (401, "unauthorized")


@pytest.mark.parametrize(
    "claims",
    [{"aud": "another"}, {"iss": "https://evil.example.com"}, {"exp": 1}, {"sub": None}],
)
def test_a_token_from_google_itself_is_judged_as_well(
    here: Services, outside: Providers, claims: dict[str, Any]
) -> None:
    """Only its signature needs no proof."""
    outside.claims = claims
    assert enter("google").status == 401


def test_id_token_401_for_forgeries(here: Services, outside: Providers) -> None:
    """Signed by somebody else, with the public key as a secret, or not at all."""
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    unsigned = outside.id_token(key="", algorithm="none", kid=KEY_ID)
    shared = outside.id_token(key="x" * 64, algorithm="HS256", kid=KEY_ID)
    for token in (outside.id_token(key=other), unsigned, shared, "x", "a.b.c", "x" * 10_000):
        assert by_token(token).status == 401


@pytest.mark.parametrize("reply", [Reply({"keys": "none"}), Reply({}), Reply([]), Reply(b"x"), Reply({}, 500)])
def test_id_token_503_without_googles_keys(here: Services, outside: Providers, reply: Reply) -> None:
    """Nothing is believed unproven."""
    outside.replies = {"/certs": reply}
    assert by_token(outside.id_token()).status == 503


def test_github_has_no_id_tokens(here: Services) -> None:
    """422 tells what to send instead."""
    result = call(handler, "POST", PATH, json={"provider": "github", "id_token": "x"})
    assert (result.status, result.body["details"]["field"]) == (422, "id_token")


@pytest.mark.parametrize("name", [None, "", "  ", "x" * 500, 5, "a\nb"])
def test_strange_names_do_no_harm(here: Services, outside: Providers, name: Any) -> None:
    """A person without a usable name is called by the address."""
    outside.user = {"id": 42, "login": "octo", "name": name}
    outside.claims = {"name": name}
    assert enter("google").status == 201
    assert enter("github").status == 201
