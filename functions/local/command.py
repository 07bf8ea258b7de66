"""The command line of the one-process host. Imports nothing heavy before the arguments are understood."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

DESCRIPTION = "Run Signalbox on this machine: API, engine, WebSockets and data in one process."
EPILOG = "Every other setting is an environment variable, SIGNALBOX_<NAME>; docs/settings.md lists them."


def main(arguments: Sequence[str]) -> int:
    """Serve until stopped; the exit code."""
    chosen = parse(arguments)
    if chosen.reload:
        from functions.local.reload import supervise

        return supervise([argument for argument in arguments if argument != "--reload"])
    # One line per request is for operators of a service; at a terminal only what is wrong is worth a line.
    os.environ.setdefault("SIGNALBOX_LOG_LEVEL", "WARNING")
    from functions.local.serve import CannotServe, serve

    try:
        serve(overrides(chosen), demo=chosen.demo)
    except CannotServe as problem:
        print(f"signalbox: {problem}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The flags; argparse itself answers wrong ones with a usage line and exit code 2."""
    parser = argparse.ArgumentParser(prog="scripts/serve", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=_port, help="port to listen on (default 8080; 0 picks a free one)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of everything stored (default ./data)")
    parser.add_argument(
        "--allow-host", action="append", metavar="PATTERN", dest="allow_hosts",
        help="host, host:port or network that flows may call although it is private; repeatable",
    )  # fmt: skip
    parser.add_argument("--reload", action="store_true", help="restart when a source file changes")
    parser.add_argument("--demo", action="store_true", help="run an example flow and govern an agent, live")
    return parser.parse_args(arguments)


def _port(text: str) -> int:
    port = int(text) if text.isascii() and text.isdecimal() else -1
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; ports go from 0 to 65535")
    return port


def overrides(chosen: argparse.Namespace) -> dict[str, Any]:
    """The settings given as flags; the others come from the environment."""
    given = {name: getattr(chosen, name) for name in ("host", "port", "data", "allow_hosts")}
    return {name: value for name, value in given.items() if value is not None}
