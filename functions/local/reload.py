"""``--reload``: runs the server as a child process and starts it again when a source file changes."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WATCHED = ("shared", "functions", "docs/examples")
SUFFIXES = {".py", ".json", ".yaml", ".html", ".css", ".js"}
INTERVAL_S = 0.5
PATIENCE_S = 15.0


def supervise(arguments: Sequence[str]) -> int:
    """Run the server until told to stop; the exit code of the last child."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())
    seen = fingerprint()
    child = _start(arguments)
    while not stop.wait(INTERVAL_S):
        now = fingerprint()
        if now != seen:
            seen = now
            print("signalbox: sources changed, restarting", flush=True)  # noqa: T201
            _end(child)
            child = _start(arguments)
    return _end(child)


def fingerprint() -> dict[Path, int]:
    """Every watched file with the time of its last change."""
    found: dict[Path, int] = {}
    for path in _files():
        # Editors save by replacing: a file that was listed may be gone for a moment.
        with contextlib.suppress(FileNotFoundError):
            found[path] = path.stat().st_mtime_ns
    return found


def _files() -> Iterator[Path]:
    for folder in WATCHED:
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in SUFFIXES:
                yield path


def _start(arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-P", "-m", "functions.local", *arguments])


def _end(child: subprocess.Popen[bytes]) -> int:
    child.send_signal(signal.SIGINT)
    try:
        return child.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()
