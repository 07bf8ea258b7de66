"""The least an API can do: a FastAPI application with one route, on the same server as Signalbox."""

from __future__ import annotations

import socket

from fastapi import FastAPI

from functions.local.serve import Server
from shared.adapters.embedded.sockets import Sockets
from shared.kit.settings import Settings, use_settings

app = FastAPI()


@app.post("/hello")
async def hello() -> dict[str, bool]:
    """Nothing to it."""
    return {"ok": True}


def main() -> None:
    """Serve on a free port until told to stop; the first line of output is the address."""
    use_settings(Settings())
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    Server(app, Sockets(), lambda: print(f"http://127.0.0.1:{port}", flush=True)).run(sockets=[listener])


if __name__ == "__main__":
    main()
