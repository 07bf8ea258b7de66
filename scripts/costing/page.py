"""docs/costs.md and docs/costs.json."""

from __future__ import annotations

import json
from typing import Any

from scripts.costing import prices
from scripts.template import ROOT

PAGE = ROOT / "docs" / "costs.md"
TABLE = ROOT / "docs" / "costs.json"

Rows = dict[str, dict[str, Any]]

INTRODUCTION = f"""# What it costs on AWS

Written by `scripts/costs --write`; a test fails when a change of the code changes a number, so a change of this page is
a reviewed change. Everything is counted, nothing is timed: the real handlers run over the embedded store, with a clock
that only store requests move, and each of those is billed as DynamoDB bills it.

- Dollars are for **a million** of what a row names, at the list prices of {prices.REGION} in {prices.AS_OF}; there
  are no free tiers in them.
- Not in it, because it needs a clock or depends on use: computing time (of Lambda, and a tenth of a dollar for Express
  runs), storage, data transfer, CloudFront, logs and traces.
- Functions are warm: programs and keys are remembered. A cold one adds a read or two.
- The people and flows of each row are the smallest that work; larger records cost more units.
- The relay gets all changes up to each rest of a flow as one batch. AWS makes smaller ones when a flow is slow and
  larger ones when many run, so its share is a guide; the others are exact.
"""

GATE = """A gate call that may go on is one transaction of two items: the workflow's purse and the operation. What was
remembered is proven by its conditions, so it is read only where something has changed, and once a minute. The share of
the relay is that of a batch with nothing else in it; agents that call much share it.
"""


def text(table: dict[str, Rows]) -> str:
    """The page of a table."""
    parts = [INTRODUCTION, "## Flows", "", *_flows(table["flows"]), "", "### Who of it does what", ""]
    parts += [*_parts(table["flows"]), "", "## Governed agents", "", GATE, *_rows(table["gate"], "what"), ""]
    parts += ["## Endpoints", "", *_rows(table["endpoints"], "operation"), ""]
    parts += ["## Everything without HTTP", "", *_rows(table["triggers"], "what"), "", "## Prices", ""]
    parts += ["| of a million | dollars | source |", "|---|--:|---|"]
    parts += [f"| {price.of} | {price.per_million:.3f} | {price.source} |" for price in prices.PRICES.values()]
    return "\n".join(parts) + "\n"


def data(table: dict[str, Rows]) -> str:
    """The machine-readable form."""
    return json.dumps(table, indent=2) + "\n"


def _flows(flows: Rows) -> list[str]:
    lines = ["| a run of | store requests | read units | write units | invocations | Express | transitions | dollars |"]
    lines.append("|---|--:|--:|--:|--:|--:|--:|--:|")
    for name, parts in flows.items():
        whole = parts["total"]
        cells = [
            sum(whole["store_requests"].values()), whole.get("read_units", 0), whole.get("write_units", 0),
            whole["invocations"], whole.get("express_runs", 0), whole.get("transitions", 0),
            f"{whole['dollars_per_million']:.2f}",
        ]  # fmt: skip
        lines.append(f"| {name} | {' | '.join(map(_cell, cells))} |")
    return lines


def _parts(flows: Rows) -> list[str]:
    lines = ["| a run of | part | store requests | read units | write units | dollars |", "|---|---|---|--:|--:|--:|"]
    lines += [
        f"| {name} | {part} | {_requests(parts[part])} | {_costs(parts[part])} |"
        for name, parts in flows.items()
        for part in ("api", "engine", "relay")
    ]
    return lines


def _rows(bills: Rows, title: str) -> list[str]:
    lines = [f"| {title} | store requests | read units | write units | dollars |", "|---|---|--:|--:|--:|"]
    lines += [f"| {name} | {_requests(bill)}{_others(bill)} | {_costs(bill)} |" for name, bill in bills.items()]
    return lines


def _requests(bill: dict[str, Any]) -> str:
    return ", ".join(f"{count} {name}" for name, count in bill["store_requests"].items()) or "none"


def _others(bill: dict[str, Any]) -> str:
    words = {"blob_puts": "S3 PUT", "blob_gets": "S3 GET", "key_requests": "KMS", "frames": "messages"}
    return "".join(f", {bill[name]} {word}" for name, word in words.items() if name in bill)


def _costs(bill: dict[str, Any]) -> str:
    cells = (bill.get("read_units", 0), bill.get("write_units", 0), f"{bill['dollars_per_million']:.2f}")
    return " | ".join(map(_cell, cells))


def _cell(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
