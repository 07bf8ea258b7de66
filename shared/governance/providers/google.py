"""Google. Source: Google Identity, OpenID Connect; OpenID Connect Core 1.0, 3.1.3.7."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from shared.governance.providers import OAuthClient, call, text_of
from shared.identity import External
from shared.kit import clock
from shared.kit.errors import Unauthorized, Unavailable

if TYPE_CHECKING:
    from pydantic import SecretStr

    from shared.outbound import OutboundClient

_ALGORITHM = "RS256"
_MAX_TOKEN = 8192
_LEEWAY_S = 60


class Google(OAuthClient):
    """``url`` is the base of the token endpoint, ``accounts_url`` the issuer, ``keys_url`` where its keys are."""

    name = "Google"
    ours = ("invalid_client", "unauthorized_client", "org_internal", "deleted_client")

    def __init__(
        self, url: str, accounts_url: str, keys_url: str, client_id: str, client_secret: SecretStr | None
    ) -> None:
        super().__init__(client_id, client_secret)
        self._url, self._accounts_url, self._keys_url = url.rstrip("/"), accounts_url.rstrip("/"), keys_url

    @property
    def urls(self) -> Sequence[str]:
        """Every address that is called."""
        return self._url, self._keys_url

    def authorization_url(self, redirect_uri: str, state: str) -> str:
        """Where the person is asked."""
        asked = {
            "client_id": self._client_id, "redirect_uri": redirect_uri, "response_type": "code",
            "scope": "openid email profile", "state": state,
        }  # fmt: skip
        return f"{self._accounts_url}/o/oauth2/v2/auth?{urlencode(asked)}"

    def exchange(self, client: OutboundClient, code: str, redirect_uri: str) -> External:
        """Who a code stands for. Raises Unauthorized, Unavailable."""
        url, grant = f"{self._url}/token", "authorization_code"
        token = self._redeem(client, url, code, redirect_uri, "id_token", grant_type=grant)
        # It came from the issuer itself: OpenID Connect Core, 3.1.3.7, item 6.
        return self._person(_claims(token, None, self._client_id))

    def verify(self, client: OutboundClient, id_token: str) -> External:
        """Who an ID token is of that somebody else brings. Raises Unauthorized, Unavailable."""
        _, answer = call(client, self.name, "GET", self._keys_url)
        return self._person(_claims(id_token, _key(id_token, answer), self._client_id))

    def _person(self, claims: dict[str, Any]) -> External:
        issuer = self._accounts_url
        # Google leaves out the scheme in some tokens.
        if text_of(claims, "iss") not in (issuer, issuer.partition("://")[2]):
            raise _refused("is of another issuer")
        expires = claims.get("exp")
        if not isinstance(expires, int | float) or expires + _LEEWAY_S <= clock.now_ms() / 1000:
            raise _refused("has expired")
        subject = text_of(claims, "sub")
        if not subject:
            raise _refused("names nobody")
        verified = claims.get("email_verified") in (True, "true")
        return External(issuer, subject, text_of(claims, "email") if verified else "", text_of(claims, "name"))


def _key(token: str, keys: Any) -> Any:
    """The key that a token says it is signed with. Raises Unauthorized, Unavailable."""
    import jwt

    try:
        known = jwt.PyJWKSet.from_dict(keys)
    except (jwt.PyJWTError, AttributeError, TypeError, ValueError):
        raise Unavailable("Google does not answer as it should right now; try again") from None
    try:
        kid = jwt.get_unverified_header(token).get("kid")
    except (jwt.PyJWTError, ValueError):
        raise _refused("is malformed") from None
    found = next((key for key in known.keys if key.key_id == kid), None)
    if found is None:
        raise _refused("is signed with a key that is not Google's")
    return found


def _claims(token: str, key: Any, audience: str) -> dict[str, Any]:
    """The claims of a token; without a key its signature is not looked at. Raises Unauthorized."""
    import jwt

    if len(token) > _MAX_TOKEN:
        raise _refused("is malformed")
    # Times are compared by the caller, with the clock everything else here uses.
    options: Any = {"verify_signature": key is not None, "verify_aud": True, "require": ["iss", "sub", "aud", "exp"]}
    options |= {f"verify_{name}": False for name in ("exp", "nbf", "iat")}
    try:
        return dict(jwt.decode(token, key, algorithms=[_ALGORITHM], audience=audience, options=options))
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise _refused("is not valid for this deployment") from None


def _refused(why: str) -> Unauthorized:
    return Unauthorized(f"The ID token {why}")
