"""The one way out to other hosts: HTTP, HTTPS and TCP to checked addresses, within limits of time and size."""

from shared.outbound.client import OutboundClient
from shared.outbound.errors import OutboundError, OutboundRefused
from shared.outbound.messages import HttpResponse, HttpStream
from shared.outbound.policy import OutboundPolicy
from shared.outbound.sockets import tls_context

__all__ = [
    "HttpResponse",
    "HttpStream",
    "OutboundClient",
    "OutboundError",
    "OutboundPolicy",
    "OutboundRefused",
    "tls_context",
]
