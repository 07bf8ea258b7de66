"""From the command to a server that answers, on a new and on a used data folder, beside its frameworks alone."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import requests

from scripts.benching.processes import server
from scripts.benching.table import print_beside_frameworks

FRAMEWORKS = "fastapi, pynamodb.models, uvicorn"


def _start(data: Path) -> float:
    """Seconds until ``/healthz`` answers."""
    begun = time.perf_counter()
    with server(data) as url:
        requests.get(f"{url}/healthz", timeout=30).raise_for_status()
        return time.perf_counter() - begun


def _frameworks() -> float:
    """Seconds an interpreter takes that only imports what any such server is made of."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {FRAMEWORKS}"], check=True)
    return time.perf_counter() - begun


def main() -> None:
    """Start several servers one after the other."""
    parser = argparse.ArgumentParser(prog="scripts/bench start", description=main.__doc__)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    times: dict[str, list[float]] = {"frameworks": [], "new data folder": [], "used data folder": []}
    with tempfile.TemporaryDirectory(prefix="signalbox-bench-") as folder:
        _start(Path(folder, "used"))
        for number in range(runs):
            times["frameworks"].append(_frameworks())
            times["new data folder"].append(_start(Path(folder, f"new-{number}")))
            times["used data folder"].append(_start(Path(folder, "used")))
    print_beside_frameworks(times)


if __name__ == "__main__":
    main()
