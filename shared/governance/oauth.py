"""Sign-in with other providers: where a person is sent, the state that comes back, and who the person is.

A state is signed and lives for ten minutes; it is good for one provider and one redirect address only.
Source: RFC 6749, 4.1 and 10.12; NullRun docs, HTTP API, Auth; docs/rulings.md#external-sign-in.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shared.governance.providers import Provider
from shared.identity import External
from shared.kit import clock, crypto, ids, json
from shared.kit.errors import NotFound, NotOffered, Unauthorized, Unprocessable

if TYPE_CHECKING:
    from shared.kit.settings import Settings
    from shared.outbound import OutboundClient

STATE_MS = 10 * 60 * 1000
"""How long somebody may take at the provider."""

PROVIDERS = ("github", "google")

_MAX_URL = 2000
_MAX_STATE = 8000


class OAuth:
    """The providers that the settings name."""

    def __init__(self, root_secret: bytes, settings: Settings) -> None:
        self._key = crypto.derive(root_secret, "oauth state")
        self._settings = settings

    def start(self, provider: str, redirect_uri: str) -> tuple[str, str]:
        """Where to send a person, and the state that will come back.

        Raises NotFound for an unknown provider, NotOffered, Unprocessable for a bad address.
        """
        if provider not in PROVIDERS:
            raise NotFound(f"There is no provider of this name; there are {', '.join(PROVIDERS)}")
        chosen, redirect_uri = self._provider(provider), _checked_url(redirect_uri)
        claims = {"p": provider, "r": redirect_uri, "e": clock.now_ms() + STATE_MS, "n": ids.token(16)}
        text = base64.urlsafe_b64encode(json.dumpb(claims)).decode().rstrip("=")
        state = f"{text}.{self._signature(text)}"
        return chosen.authorization_url(redirect_uri, state), state

    def by_code(self, provider: str, *, code: str, redirect_uri: str, state: str) -> External:
        """Who brings a code from a provider.

        Raises Unauthorized for a wrong state or code, Unavailable when the provider does not answer,
        NotOffered, Unprocessable.
        """
        chosen, redirect_uri = self._provider(provider), _checked_url(redirect_uri)
        self._check_state(state, provider, redirect_uri)
        with closing(self._client(chosen)) as client:
            return chosen.exchange(client, code, redirect_uri)

    def by_id_token(self, provider: str, id_token: str) -> External:
        """Who an ID token is of. Raises as :meth:`by_code`, and Unprocessable where the provider has none."""
        chosen = self._provider(provider)
        with closing(self._client(chosen)) as client:
            return chosen.verify(client, id_token)

    def _provider(self, name: str) -> Provider:
        settings = self._settings
        if name == "github":
            from shared.governance.providers.github import GitHub

            made: Provider = GitHub(
                settings.github_url, settings.github_api_url, settings.github_client_id, settings.github_client_secret
            )
        else:
            from shared.governance.providers.google import Google

            made = Google(
                settings.google_url, settings.google_accounts_url, settings.google_keys_url,
                settings.google_client_id, settings.google_client_secret,
            )  # fmt: skip
        if not made.is_configured:
            raise NotOffered(f"This deployment has no sign-in with {made.name}; register with a password")
        return made

    def _client(self, provider: Provider) -> OutboundClient:
        """A way out to this provider, which the operator may keep in a private network; flows do not share it."""
        from shared.outbound import OutboundClient, OutboundPolicy

        return OutboundClient(OutboundPolicy([_place(url) for url in provider.urls], (self._settings.port,)))

    def _signature(self, text: str) -> str:
        return crypto.digest(self._key, text)

    def _check_state(self, state: str, provider: str, redirect_uri: str) -> None:
        text, _, signature = state.partition(".")
        expected = self._signature(text)
        if len(state) > _MAX_STATE or not hmac.compare_digest(expected.encode(), signature.encode()):
            raise Unauthorized("The state is not one of ours; start again")
        try:
            claims = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        except (binascii.Error, ValueError):
            raise Unauthorized("The state is not one of ours; start again") from None
        if claims["e"] <= clock.now_ms():
            raise Unauthorized("The state is older than ten minutes; start again")
        if (claims["p"], claims["r"]) != (provider, redirect_uri):
            raise Unauthorized("The state belongs to another provider or redirect_uri; start again")


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable or len(url) > _MAX_URL or any(ord(character) <= 32 for character in url):
        raise Unprocessable.field("redirect_uri", "Redirect_uri must be an http or https address")
    return url


def _place(url: str) -> str:
    """Host and port of a configured address, as the outbound policy names them."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
