"""A client of the Model Context Protocol, over Streamable HTTP or the older HTTP with SSE."""

from shared.engine.mcp.legacy import HttpWithSse
from shared.engine.mcp.session import Deadline, Session, Transport
from shared.engine.mcp.streamable import StreamableHttp
from shared.engine.mcp.wire import Headers

__all__ = ["Deadline", "Headers", "HttpWithSse", "Session", "StreamableHttp", "Transport"]
