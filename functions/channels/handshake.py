"""What a client asks for when it connects, and what it is granted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from shared.composition import services
from shared.identity.principal import Principal
from shared.push import Connection


@dataclass(frozen=True, slots=True)
class Handshake:
    """What a client asks for. Names of headers are in lower case."""

    connection_id: str
    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str]

    @property
    def authorization(self) -> str | None:
        """The credentials; browsers, which cannot set the header, put a session's token into the query."""
        token = self.query.get("token")
        return self.headers.get("authorization") or (f"Bearer {token}" if token else None)

    def person(self, org: str | None) -> Principal:
        """The person behind it, acting in ``org`` (else at home). Raises Unauthorized, Forbidden."""
        return services().identity.authenticator.authenticate(self.authorization, org=org)


@dataclass(frozen=True, slots=True)
class Admission:
    """A handshake that was granted.

    ``channel`` is what the connection hears from the start. ``confirm`` judges the credentials once more, after the
    connection was stored. ``stays``: its client would not come back, so that a message the store cannot take must not
    end it.
    """

    connection: Connection
    channel: str | None = None
    confirm: Callable[[], object] | None = None
    stays: bool = False
