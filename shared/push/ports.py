"""What the relay needs from outside: a way to send, and the readers of each kind of channel."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from shared.kit.errors import SignalboxError
from shared.store.models.channels import Listener

NORMAL, POLICY_VIOLATION = 1000, 1008
"""Close codes (RFC 6455, 7.4.1)."""


Memo: TypeAlias = dict[Hashable, Any]
"""What readers remember while a batch of records is handled: nothing of it was read before they were written."""


class Gone(SignalboxError):
    """The connection no longer exists."""

    status, code = 410, "gone"


class Busy(SignalboxError):
    """Someone else sends to this listener, or its handshake is not over; the record is to be handled again."""

    status, code = 503, "unavailable"


class Sender(Protocol):
    """Open WebSockets: those of this process, or API Gateway's."""

    lanes: int
    """How many messages may be under way at once to different connections: 1 where sending takes no time."""

    @property
    def in_use(self) -> bool:
        """False when nobody can possibly be connected, so that nothing need be looked up."""

    def accepts(self, connection_id: str) -> bool:
        """Whether more may be sent now. After False, the relay is told when there is room again. Raises Gone."""

    def send(self, connection_id: str, text: str) -> None:
        """Send one message. Raises Gone."""

    def close(self, connection_id: str, code: int = NORMAL) -> None:
        """End the connection after what was sent, with this code where one can be chosen. One that is gone is done."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one fact means to a listener: the texts to send, the cursor after them, and whether nothing follows."""

    texts: tuple[str, ...]
    cursor: int
    final: bool = False


class Reader(Protocol):
    """Turns what happened in a channel into messages."""

    closes: bool
    """Whether the connection ends with the channel's last message."""

    def steps(self, listener: Listener, memo: Memo) -> Iterator[Step]:
        """Steps from the listener's cursor on, in order. Raises NotFound when the channel is no more."""
