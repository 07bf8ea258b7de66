"""How long each function's handler takes to import in a fresh interpreter, beside its frameworks alone.

The frameworks are ``fastapi, mangum, boto3, pynamodb``: what any such function imports before its own first line.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from scripts.benching.table import print_beside_frameworks
from scripts.template import ROOT, functions

FRAMEWORKS = "fastapi, mangum, boto3, pynamodb"
_TIMED = "import time; begun = time.perf_counter(); import {what}; print(time.perf_counter() - begun)"


def _seconds(what: str) -> float:
    """Seconds an import takes in an interpreter of its own."""
    command = [sys.executable, "-P", "-c", _TIMED.format(what=what)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    """Import everything in turns, several times."""
    parser = argparse.ArgumentParser(prog="scripts/bench imports", description=main.__doc__)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    modules = {"frameworks": FRAMEWORKS} | {
        function.family: function.handler.removesuffix(".handler") for function in functions().values()
    }
    for what in modules.values():
        _seconds(what)
    times: dict[str, list[float]] = {}
    for _ in range(runs):
        for name, what in modules.items():
            times.setdefault(name, []).append(_seconds(what))
    print_beside_frameworks(times)


if __name__ == "__main__":
    main()
