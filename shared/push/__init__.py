"""WebSocket channels: who listens, and how what happened reaches them."""

from shared.push.connections import Connections
from shared.push.ports import POLICY_VIOLATION, Busy, Gone, Memo, Reader, Sender, Step
from shared.push.relay import Handler, Relay, execution_channel
from shared.store.models.channels import Connection, Listener

__all__ = [
    "POLICY_VIOLATION", "Busy", "Connection", "Connections", "Gone", "Handler", "Listener", "Memo", "Reader", "Relay",
    "Sender", "Step", "execution_channel",
]  # fmt: skip
