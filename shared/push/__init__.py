"""WebSocket channels: who listens, and how what happened reaches them."""

from shared.push.connections import Connections
from shared.push.ports import Busy, Gone, Reader, Sender, Step
from shared.push.relay import Handler, Relay, execution_channel
from shared.store.models.channels import Connection

__all__ = [
    "Busy", "Connection", "Connections", "Gone", "Handler", "Reader", "Relay", "Sender", "Step", "execution_channel",
]  # fmt: skip
