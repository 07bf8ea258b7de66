"""Providers that people may sign in with: one module each. They share how a code is redeemed and an answer read."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlencode

from shared.kit import json
from shared.kit.errors import Unauthorized, Unavailable
from shared.kit.logging import logger

if TYPE_CHECKING:
    from pydantic import SecretStr

    from shared.identity import External
    from shared.outbound import OutboundClient

TIMEOUT_S = 10.0
ANSWER_BYTES = 1024 * 1024

log = logger("oauth")


class Provider(Protocol):
    """Somebody else who knows who a person is."""

    name: str

    @property
    def is_configured(self) -> bool:
        """Whether the deployment is known to the provider."""
        ...

    @property
    def urls(self) -> Sequence[str]:
        """Every address that is called."""
        ...

    def authorization_url(self, redirect_uri: str, state: str) -> str:
        """Where the person is asked."""
        ...

    def exchange(self, client: OutboundClient, code: str, redirect_uri: str) -> External:
        """Who a code stands for. Raises Unauthorized, Unavailable."""
        ...

    def verify(self, client: OutboundClient, id_token: str) -> External:
        """Who an ID token is of. Raises Unauthorized, Unavailable, Unprocessable."""
        ...


class OAuthClient:
    """A deployment as a provider knows it: by a client id and its secret.

    ``ours`` are errors of the provider that are not the person's doing.
    """

    name: str
    ours: Collection[str]

    def __init__(self, client_id: str, client_secret: SecretStr | None) -> None:
        self._client_id = client_id
        self._client_secret = "" if client_secret is None else client_secret.get_secret_value()

    @property
    def is_configured(self) -> bool:
        """Whether there are a client id and its secret."""
        return bool(self._client_id and self._client_secret)

    def _redeem(self, client: OutboundClient, url: str, code: str, redirect_uri: str, named: str, **more: str) -> str:
        """The token, so ``named`` in the answer, that a code is good for. Raises Unauthorized, Unavailable."""
        form = {
            "client_id": self._client_id, "client_secret": self._client_secret, "code": code,
            "redirect_uri": redirect_uri, **more,
        }  # fmt: skip
        status, answer = call(client, self.name, "POST", url, form=form)
        error = text_of(answer, "error")
        if error in self.ours:
            log.error("a provider refuses this deployment", extra={"provider": self.name, "reason": error})
            raise Unavailable(f"{self.name} does not accept this deployment's sign-in right now")
        token = text_of(answer, named)
        # One provider refuses with 200 and an error, which has no token.
        if status != 200 or not token:
            raise self._not_accepted()
        return token

    def _not_accepted(self) -> Unauthorized:
        return Unauthorized(f"{self.name} does not accept the code; start again")


def call(
    client: OutboundClient, name: str, method: str, url: str, *, form: Mapping[str, str] | None = None,
    token: str | None = None,
) -> tuple[int, Any]:  # fmt: skip
    """The status and the JSON that a provider answers. Raises Unavailable when it answers neither."""
    from shared.outbound import OutboundError

    headers = {"Accept": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    body = None if form is None else urlencode(form).encode()
    if body is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    try:
        response = client.request(
            method, url, headers=headers, body=body, timeout_s=TIMEOUT_S, follow_redirects=False, max_bytes=ANSWER_BYTES
        )
    except OutboundError as error:
        log.warning("provider out of reach", extra={"provider": name, "reason": error.message})
        raise Unavailable(f"{name} cannot be reached right now; try again") from None
    try:
        answer = json.loads(response.body)
    except (ValueError, RecursionError):
        answer = None
    if answer is None or response.status >= 500:
        log.warning("provider answered badly", extra={"provider": name, "status": response.status})
        raise Unavailable(f"{name} does not answer as it should right now; try again")
    return response.status, answer


def text_of(answer: Any, name: str) -> str:
    """A text of an answer; empty where there is none."""
    value = answer.get(name) if isinstance(answer, dict) else None
    return value if isinstance(value, str) and json.is_unicode(value) else ""
