"""What can go wrong outside.

Messages are for the author of a flow: they name the host, never a path, a query or a credential.
"""

from __future__ import annotations

from shared.kit.errors import SignalboxError


class OutboundError(SignalboxError):
    """The other host could not be reached, did not answer in time or broke off; another attempt may succeed."""

    status, code = 502, "outbound_error"


class OutboundRefused(OutboundError):
    """The call itself is not allowed or possible (address, URL, header, size); another attempt ends the same way."""

    code = "outbound_refused"
