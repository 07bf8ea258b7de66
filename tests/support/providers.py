"""GitHub and Google as far as signing in needs them, on a loopback port."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from shared.kit import clock, json
from tests.support.standin import Received, Reply, StandIn

CLIENT, SECRET, CODE = "client-id", "client-secret", "right-code"
KEY_ID = "key-1"


@cache
def signing_key() -> rsa.RSAPrivateKey:
    """The key Google signs with."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass
class Providers:
    """What the stand-in answers; tests change it."""

    user: Any = field(default_factory=lambda: {"id": 42, "login": "octo", "name": "Octo Cat"})
    emails: Any = field(default_factory=lambda: [address("octo@example.com")])
    claims: dict[str, Any] = field(default_factory=dict)
    token: Any = None
    down: bool = False
    replies: dict[str, Reply] = field(default_factory=dict)
    url: str = ""
    redirect_uris: list[str] = field(default_factory=list)

    def __call__(self, request: Received) -> Reply:
        """Answer one request."""
        if self.down:
            return Reply({"message": "we are sorry"}, 500)
        if request.path in self.replies:
            return self.replies[request.path]
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        if request.path == "/login/oauth/access_token":
            return self._github_token(form)
        if request.path in ("/api/user", "/api/user/emails"):
            if request.headers.get("authorization") != "Bearer github-token":
                return Reply({"message": "Bad credentials"}, 401)
            return Reply(self.user if request.path == "/api/user" else self.emails)
        if request.path == "/token":
            return self._google_token(form)
        if request.path == "/certs":
            public = json.loads(RSAAlgorithm.to_jwk(signing_key().public_key()))
            return Reply({"keys": [{**public, "kid": KEY_ID, "alg": "RS256", "use": "sig"}]})
        return Reply({}, 404)

    def _github_token(self, form: dict[str, str]) -> Reply:
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT, SECRET):
            return Reply({"error": "incorrect_client_credentials"})
        if form.get("code") != CODE:
            return Reply({"error": "bad_verification_code", "error_description": "expired"})
        self.redirect_uris.append(form["redirect_uri"])
        return Reply({"access_token": "github-token", "token_type": "bearer", "scope": "user:email"})

    def _google_token(self, form: dict[str, str]) -> Reply:
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT, SECRET):
            return Reply({"error": "invalid_client"}, 401)
        if form.get("code") != CODE or form.get("grant_type") != "authorization_code":
            return Reply({"error": "invalid_grant"}, 400)
        self.redirect_uris.append(form["redirect_uri"])
        return Reply({"id_token": self.id_token(), "access_token": "x"})

    def id_token(self, *, key: Any = None, kid: str | None = KEY_ID, algorithm: str = "RS256", **claims: Any) -> str:
        """An ID token of somebody; claims of None are left out."""
        now = clock.now_ms() // 1000
        made = {
            "iss": self.url, "aud": CLIENT, "sub": "1001", "iat": now, "exp": now + 3600,
            "email": "goo@example.com", "email_verified": True, "name": "Goo Gle",
        } | self.claims | claims  # fmt: skip
        kept = {name: value for name, value in made.items() if value is not None}
        headers = {} if kid is None else {"kid": kid}
        return jwt.encode(kept, signing_key() if key is None else key, algorithm=algorithm, headers=headers)

    def settings(self) -> dict[str, str]:
        """Settings of a deployment that signs in with this stand-in."""
        return {
            "github_url": self.url, "github_api_url": f"{self.url}/api", "github_client_id": CLIENT,
            "github_client_secret": SECRET, "google_url": self.url, "google_accounts_url": self.url,
            "google_keys_url": f"{self.url}/certs", "google_client_id": CLIENT, "google_client_secret": SECRET,
        }  # fmt: skip


def address(email: str, *, primary: bool = True, verified: bool = True) -> dict[str, Any]:
    """An address as GitHub lists it."""
    return {"email": email, "primary": primary, "verified": verified, "visibility": None}


@contextmanager
def providers() -> Iterator[Providers]:
    """The stand-in, serving."""
    made = Providers()
    with StandIn(made).serving() as serving:
        made.url = serving.url
        yield made
