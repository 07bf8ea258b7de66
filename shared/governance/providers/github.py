"""GitHub. Source: GitHub Docs, Authorizing OAuth apps; REST API, Users and Emails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from shared.governance.providers import OAuthClient, call, text_of
from shared.identity import External
from shared.kit.errors import Unavailable, Unprocessable

if TYPE_CHECKING:
    from pydantic import SecretStr

    from shared.outbound import OutboundClient

_SCOPE = "read:user user:email"


class GitHub(OAuthClient):
    """``url`` is the base of its sign-in, ``api_url`` of its API: both differ where a company has its own GitHub."""

    name = "GitHub"
    ours = ("incorrect_client_credentials", "unauthorized_client", "application_suspended")

    def __init__(self, url: str, api_url: str, client_id: str, client_secret: SecretStr | None) -> None:
        super().__init__(client_id, client_secret)
        self._url, self._api_url = url.rstrip("/"), api_url.rstrip("/")

    @property
    def urls(self) -> Sequence[str]:
        """Every address that is called."""
        return self._url, self._api_url

    def authorization_url(self, redirect_uri: str, state: str) -> str:
        """Where the person is asked."""
        asked = {"client_id": self._client_id, "redirect_uri": redirect_uri, "scope": _SCOPE, "state": state}
        return f"{self._url}/login/oauth/authorize?{urlencode(asked)}"

    def exchange(self, client: OutboundClient, code: str, redirect_uri: str) -> External:
        """Who a code stands for. Raises Unauthorized, Unavailable."""
        url = f"{self._url}/login/oauth/access_token"
        token = self._redeem(client, url, code, redirect_uri, "access_token")
        user = self._get(client, "/user", token)
        subject = user.get("id") if isinstance(user, dict) else None
        if type(subject) is not int:
            raise Unavailable("GitHub does not answer as it should right now; try again")
        email = _verified(self._get(client, "/user/emails", token))
        return External(self._url, str(subject), email, text_of(user, "name") or text_of(user, "login"))

    def _get(self, client: OutboundClient, path: str, token: str) -> Any:
        status, answer = call(client, self.name, "GET", f"{self._api_url}{path}", token=token)
        if status == 401:
            raise self._not_accepted()
        # Whoever did not allow the address to be read has none that we know.
        return answer if status == 200 else []

    def verify(self, client: OutboundClient, id_token: str) -> External:
        """GitHub makes no ID tokens. Raises Unprocessable."""
        raise Unprocessable.field("id_token", "GitHub has no id_token; send code, redirect_uri and state")


def _verified(rows: Any) -> str:
    """The primary address if it is verified; empty otherwise."""
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict) and row.get("primary") is True and row.get("verified") is True:
            return text_of(row, "email")
    return ""
