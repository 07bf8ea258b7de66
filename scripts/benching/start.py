"""From the command to a server that answers, on a new and on a used data folder; each beside a bare interpreter."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import requests

from scripts.benching.processes import server
from scripts.benching.table import median, ms, print_table, quantile


def _start(data: Path) -> float:
    """Seconds until ``/healthz`` answers."""
    begun = time.perf_counter()
    with server(data) as url:
        requests.get(f"{url}/healthz", timeout=30).raise_for_status()
        return time.perf_counter() - begun


def _bare() -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - begun


def main() -> None:
    """Start several servers one after the other."""
    parser = argparse.ArgumentParser(prog="scripts/bench start", description=main.__doc__)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    times: dict[str, list[float]] = {"bare interpreter": [], "new data folder": [], "used data folder": []}
    with tempfile.TemporaryDirectory(prefix="signalbox-bench-") as folder:
        _start(Path(folder, "used"))
        for number in range(runs):
            times["bare interpreter"].append(_bare())
            times["new data folder"].append(_start(Path(folder, f"new-{number}")))
            times["used data folder"].append(_start(Path(folder, "used")))
    bare = median(times["bare interpreter"])
    rows = [
        (name, ms(median(found)), ms(quantile(found, 0.95)), f"{median(found) / bare:.1f}")
        for name, found in times.items()
    ]
    print_table(("", "median ms", "p95 ms", "of bare"), rows)


if __name__ == "__main__":
    main()
