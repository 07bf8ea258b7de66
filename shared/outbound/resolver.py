"""Host names to addresses, within a limit of time."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from shared.outbound.errors import OutboundError

Resolver = Callable[[str, int], Sequence[str]]
"""Takes a host name and a port, answers every address as text, best first. Raises OSError."""

LOOKUPS = 32
"""How many names may be looked up at once; a dead name server must not pile up threads."""


def system_resolver(name: str, port: int) -> list[str]:
    """What the operating system answers."""
    return [str(answer[4][0]) for answer in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)]


class BoundedResolver:
    """Asks a resolver in a thread of its own, because a system call for a name cannot be stopped."""

    def __init__(self, resolve: Resolver) -> None:
        self._resolve = resolve
        self._places = threading.BoundedSemaphore(LOOKUPS)

    def addresses(self, name: str, port: int, timeout_s: float) -> Sequence[str]:
        """Every address of ``name``. Raises OutboundError if there is none or it takes longer than ``timeout_s``."""
        if not self._places.acquire(timeout=max(timeout_s, 0)):
            raise OutboundError(f"the host name {name} could not be looked up in time")
        found: Future[Sequence[str]] = Future()
        threading.Thread(target=self._look_up, args=(name, port, found), name="outbound-lookup", daemon=True).start()
        try:
            return found.result(max(timeout_s, 0))
        except TimeoutError:
            raise OutboundError(f"the host name {name} could not be looked up in time") from None
        except (OSError, UnicodeError):
            raise OutboundError(f"the host name {name} cannot be resolved") from None

    def _look_up(self, name: str, port: int, found: Future[Sequence[str]]) -> None:
        try:
            found.set_result(self._resolve(name, port))
        except Exception as error:  # noqa: BLE001  The asking thread raises it.
            found.set_exception(error)
        finally:
            self._places.release()
