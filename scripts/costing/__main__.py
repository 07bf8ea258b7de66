"""Counts what everything costs: ``scripts/costs [--write | --check]``."""

from __future__ import annotations

import argparse
import logging
import sys

from scripts.costing import page
from scripts.costing.measure import table


def main() -> int:
    """Print the page; with ``--write`` keep it, with ``--check`` fail when the kept one differs."""
    parser = argparse.ArgumentParser(prog="scripts/costs", description=main.__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/costs.md and docs/costs.json")
    parser.add_argument("--check", action="store_true", help="fail when they are out of date")
    chosen = parser.parse_args()
    logging.disable(logging.INFO)
    counted = table()
    files = {page.PAGE: page.text(counted), page.TABLE: page.data(counted)}
    if chosen.write:
        for path, text in files.items():
            path.write_text(text, encoding="utf-8")
        return 0
    if chosen.check:
        stale = [path for path, text in files.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
        for path in stale:
            print(f"{path.name} is out of date; write it with: scripts/costs --write")
        return 1 if stale else 0
    print(files[page.PAGE], end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
