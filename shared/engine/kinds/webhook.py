"""``webhook``: tell another system what happened."""

from __future__ import annotations

from typing import Any, ClassVar

from shared.engine.kinds.base import Call, Done, NodeFailed, NodeKind, Outcome
from shared.engine.kinds.http_message import MESSAGE_PARAMETERS, message, output, send
from shared.engine.kinds.once import once
from shared.kit import clock


class Webhook(NodeKind):
    """Sends the body, or an event with the node's input; an error status fails the node."""

    name: ClassVar[str] = "webhook"
    effectful: ClassVar[bool] = True
    description: ClassVar[str] = "Send data to another system's webhook."
    parameters: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": MESSAGE_PARAMETERS | {"method": {"type": "string", "default": "POST"}},
        "required": ["url"],
    }

    def run(self, call: Call) -> Outcome:
        return once(call, lambda: _call(call))


def _call(call: Call) -> Done:
    request = message(call, method="POST", body=_event(call))
    response = send(call, request)
    result = output(request, response)
    if response.status >= 400:
        failure = f"webhook failed with status {response.status}"
        raise NodeFailed(failure, retryable=response.status >= 500, output=result)
    return Done(result | {"status": "sent"})


def _event(call: Call) -> dict[str, Any]:
    """What is sent when the author gave no body (FlowRunner, webhook event)."""
    return {
        "type": "node.completed",
        "execution_id": call.execution.id,
        "flow_id": call.execution.definition_id,
        "node_id": call.node.name,
        "timestamp": clock.rfc3339(clock.now_ms()),
        "data": call.input,
    }
