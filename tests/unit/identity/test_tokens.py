from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest

from shared.identity.tokens import SESSION, Tokens
from shared.kit.errors import Unauthorized
from tests.support.time import HeldClock

ISSUER = "flowrunner"


@pytest.fixture
def tokens() -> Tokens:
    return Tokens(b"s" * 32)


def claims(held: HeldClock, **changed: Any) -> dict[str, Any]:
    now = held.now_ms() // 1000
    return {"iss": ISSUER, "sub": "a", "iat": now, "nbf": now, "exp": now + 60, "jti": "j"} | changed


def test_a_token_reads_back(tokens: Tokens, held: HeldClock) -> None:
    """What was signed is read, with the algorithm HS256."""
    token = tokens.sign(SESSION, claims(held))
    assert tokens.read(SESSION, token, issuer=ISSUER) == claims(held)
    assert jwt.get_unverified_header(token)["alg"] == "HS256"


def test_it_ends_on_the_second(tokens: Tokens, held: HeldClock) -> None:
    """A token is good until its exp and not from it on."""
    token = tokens.sign(SESSION, claims(held))
    held.advance(59.9)
    tokens.read(SESSION, token, issuer=ISSUER)
    held.advance(0.1)
    with pytest.raises(Unauthorized, match="expired"):
        tokens.read(SESSION, token, issuer=ISSUER)


def test_each_kind_has_a_secret_of_its_own(tokens: Tokens, held: HeldClock) -> None:
    """A token of one kind is nothing to the readers of another."""
    token = tokens.sign("execution", claims(held))
    with pytest.raises(Unauthorized):
        tokens.read(SESSION, token, issuer=ISSUER)


def test_another_deployment_is_another_secret(tokens: Tokens, held: HeldClock) -> None:
    """Tokens of another root secret are refused."""
    with pytest.raises(Unauthorized):
        tokens.read(SESSION, Tokens(b"o" * 32).sign(SESSION, claims(held)), issuer=ISSUER)


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "else"}, {"exp": "soon"}, {"exp": None}, {"exp": True}, {"exp": 1e400}, {"nbf": 99999999999},
        {"iat": "x"},
        {"sub": None}, {"jti": None}, {"sub": 5},
    ],
)  # fmt: skip
def test_claims_that_are_not_ours_are_refused(tokens: Tokens, held: HeldClock, changed: dict[str, Any]) -> None:
    """Missing, mistyped and foreign claims are 401, however well they are signed."""
    content = {name: value for name, value in claims(held, **changed).items() if value is not None}
    token = jwt.api_jws.encode(json.dumps(content).encode(), tokens._key(SESSION), algorithm="HS256")
    with pytest.raises(Unauthorized):
        tokens.read(SESSION, token, issuer=ISSUER)


def _part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_forgeries_are_refused(tokens: Tokens, held: HeldClock) -> None:
    """No algorithm but ours counts, and no changed or cut token."""
    body = _part(claims(held))
    good = tokens.sign(SESSION, claims(held))
    forged = [
        f"{_part({'alg': 'none', 'typ': 'JWT'})}.{body}.",
        f"{_part({'alg': 'NONE', 'typ': 'JWT'})}.{body}.x",
        jwt.encode(claims(held), tokens._key(SESSION) + b"x" * 32, algorithm="HS512"),
        jwt.encode(claims(held), tokens._key(SESSION) * 2, algorithm="HS512"),
        good[:-2],
        good + "x",
        good.replace(".", "..", 1),
        "",
        ".",
        "a.b.c",
        "é" * 20,
        "x" * 100_000,
    ]
    for token in forged:
        with pytest.raises(Unauthorized):
            tokens.read(SESSION, token, issuer=ISSUER)


def test_a_short_root_secret_is_refused() -> None:
    """A guessable signing secret does not start."""
    with pytest.raises(ValueError, match="32 bytes"):
        Tokens(b"short")
