"""Starts the one-process system and stops it in order.

lock the data folder ─▶ bind the port ─▶ store, engine, relay, sweep ─▶ HTTP
stop: no new requests ─▶ sockets told to come back (1001) ─▶ answers finish ─▶ engine, relay, scripts, store
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import resource
import socket as sockets_module
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import uvicorn
from pydantic import ValidationError
from pydantic_settings import SettingsError

from functions.local.folder import FolderInUse, FolderLock
from functions.local.protocols import BoundedHttp, BoundedWebSocket
from shared.adapters.embedded.sockets import Sockets
from shared.kit.errors import SignalboxError
from shared.kit.settings import Settings, use_settings

CLOSING_SECONDS = 2.0
"""How long WebSocket clients may take to answer the closing handshake."""

if TYPE_CHECKING:
    from functions.local.demo import Demo
    from shared.composition import Services

GRACE_SECONDS = 10
"""How long answers under way may take after the server was told to stop."""

SWITCH_SECONDS = 0.0005
"""How long a thread that computes may keep the others waiting: requests come before what follows them."""

LARGEST_MESSAGE = 64 * 1024
PING_SECONDS = 30.0

MOST_FILES = 65_536
"""File descriptors asked for: every WebSocket needs one, and systems give a process 256 to 1,024 unless it asks."""


class CannotServe(Exception):
    """The server cannot start; the message says why and what to do."""


def serve(given: dict[str, Any], *, demo: bool = False) -> None:
    """Serve until SIGINT or SIGTERM. Raises CannotServe."""
    chosen = _settings(given)
    if chosen.adapter != "embedded":
        raise CannotServe("this server is the embedded system; unset SIGNALBOX_ADAPTER, or deploy with scripts/deploy")
    _check_allow_hosts(chosen)
    try:
        lock = FolderLock(chosen.data)
    except FolderInUse as problem:
        raise CannotServe(
            f"the data folder {chosen.data} is in use by {problem}; stop it or choose another folder with --data"
        ) from None
    except OSError as problem:
        raise CannotServe(f"the data folder {chosen.data} cannot be used: {problem.strerror}") from None
    try:
        with _bound(chosen) as listener:
            port = listener.getsockname()[1]
            chosen = _with_address(chosen, port)
            lock.describe(chosen.public_url)
            _run(chosen, listener, demo=demo)
    finally:
        lock.release()


def allow_files() -> None:
    """Raise the soft limit of open files as far as the system lets this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # Some systems have a further limit of their own; the one there is has to do then.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _settings(given: dict[str, Any]) -> Settings:
    try:
        return Settings(**given)
    except ValidationError as problem:
        lines = [f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}" for error in problem.errors()]
        raise CannotServe("settings are not valid: " + "; ".join(lines)) from None
    except SettingsError:
        # Only lists are parsed before they are validated, and there is one setting that is a list.
        example = """SIGNALBOX_ALLOW_HOSTS='["10.0.0.0/8"]'"""
        raise CannotServe(f"settings are not valid: allow_hosts must be a list in JSON, such as {example}") from None


def _check_allow_hosts(chosen: Settings) -> None:
    from shared.outbound import OutboundPolicy

    try:
        OutboundPolicy(chosen.allow_hosts)
    except ValueError as problem:
        raise CannotServe(f"settings are not valid: {problem}") from None


def _bound(chosen: Settings) -> sockets_module.socket:
    family = sockets_module.AF_INET6 if ":" in chosen.host else sockets_module.AF_INET
    listener = sockets_module.socket(family, sockets_module.SOCK_STREAM)
    listener.setsockopt(sockets_module.SOL_SOCKET, sockets_module.SO_REUSEADDR, 1)
    try:
        listener.bind((chosen.host, chosen.port))
        listener.listen(1024)
    except OSError as problem:
        listener.close()
        if problem.errno == errno.EADDRINUSE:
            reason = f"port {chosen.port} is in use on {chosen.host}; choose another with --port, or 0 for a free one"
        else:
            reason = f"cannot listen on {chosen.host}:{chosen.port}: {problem.strerror or problem}"
        raise CannotServe(reason) from None
    return listener


def _with_address(chosen: Settings, port: int) -> Settings:
    """The settings with the port that was bound, and a base URL callers can use if none was given."""
    chosen = chosen.model_copy(update={"port": port})
    return chosen.model_copy(update={"public_url": chosen.public_url or local_url(chosen)})


def local_url(chosen: Settings) -> str:
    """The base URL on this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(chosen.host, chosen.host)  # noqa: S104
    return f"http://[{host}]:{chosen.port}" if ":" in host else f"http://{host}:{chosen.port}"


def _run(chosen: Settings, listener: sockets_module.socket, *, demo: bool) -> None:
    allow_files()
    sys.setswitchinterval(SWITCH_SECONDS)
    use_settings(chosen)
    from functions.local.app import build
    from functions.local.banner import banner
    from shared.composition import Services, use_services

    shown = _demo(chosen) if demo else None
    if shown is not None:
        chosen = chosen.model_copy(update={"allow_hosts": [*chosen.allow_hosts, shown.allowed]})
        use_settings(chosen)

    def ready() -> None:
        print(banner(chosen), flush=True)  # noqa: T201
        if shown is not None:
            threading.Thread(target=shown.show, args=(local_url(chosen),), name="demo", daemon=True).start()

    services = Services(chosen)
    use_services(services)
    try:
        _start(services, chosen)
        Server(build(services.sockets), services.sockets, ready).run(sockets=[listener])
    finally:
        services.close()
        use_services(None)
        use_settings(None)


def _start(services: Services, chosen: Settings) -> None:
    """Begin to work. Raises CannotServe when the store or the master key cannot be used."""
    try:
        _ = services.root_secret
    except (OSError, ValueError) as problem:
        raise CannotServe(f"the master key cannot be used: {problem}") from problem
    try:
        services.start()
    except SignalboxError as problem:
        raise CannotServe(f"the data folder {chosen.data} cannot be used: {problem}") from problem


def _demo(chosen: Settings) -> Demo:
    from functions.local.demo import Demo

    return Demo(chosen.data)


class Server(uvicorn.Server):
    """Uvicorn that says when it serves and closes WebSockets with 1001 before it stops."""

    def __init__(self, app: Any, open_sockets: Sockets, ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="uvloop",
                http=BoundedHttp,
                ws=BoundedWebSocket,
                lifespan="off",
                log_config=None,
                # What clients do wrong is in the access log; only faults are worth more.
                log_level="error",
                access_log=False,
                server_header=False,
                ws_max_size=LARGEST_MESSAGE,
                ws_ping_interval=PING_SECONDS,
                ws_ping_timeout=PING_SECONDS,
                # A compressor for each of a thousand sockets takes hundreds of megabytes; API Gateway has none either.
                ws_per_message_deflate=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
        self._open_sockets = open_sockets
        self._ready = ready

    async def startup(self, sockets: list[sockets_module.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[sockets_module.socket] | None = None) -> None:
        self._open_sockets.close_all()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._open_sockets.all_closed(), CLOSING_SECONDS)
        await super().shutdown(sockets)
        # Uvicorn would raise the signal again and so end the process before the engine and the store are closed.
        self._captured_signals.clear()
