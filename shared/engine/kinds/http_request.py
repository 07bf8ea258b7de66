"""``http.request``: call an HTTP API."""

from __future__ import annotations

from typing import Any, ClassVar

from shared.engine.kinds.base import Call, Done, NodeFailed, NodeKind, Outcome
from shared.engine.kinds.http_message import MESSAGE_PARAMETERS, message, output, send
from shared.engine.kinds.once import once


class HttpRequest(NodeKind):
    """The next edge depends on the status; an error status without an edge for it fails the execution."""

    name: ClassVar[str] = "http.request"
    effectful: ClassVar[bool] = True
    description: ClassVar[str] = "Call an HTTP API and go on by the status it answers."
    parameters: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": MESSAGE_PARAMETERS | {"method": {"type": "string", "default": "GET"}},
        "required": ["url"],
    }

    def run(self, call: Call) -> Outcome:
        return once(call, lambda: _call(call))


def _call(call: Call) -> Done:
    request = message(call, method="GET")
    response = send(call, request)
    result = output(request, response)
    status = response.status
    if status >= 400:
        raise NodeFailed(
            f"HTTP request failed with status {status}",
            retryable=status >= 500,
            actions=("server_error" if status >= 500 else "client_error", "error"),
            output=result,
        )
    if status >= 300:
        return Done(result, ("default", "success"))
    call.log("info", "HTTP request successful", {"status_code": status, "url": request.url})
    return Done(result, ("success", "default"))
