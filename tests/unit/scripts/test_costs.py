"""The committed costs are those of the code."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from typing import Any

import pytest

from scripts import samples
from scripts.costing import page
from scripts.costing.bill import Bill
from scripts.costing.measure import Table, table

READ_BY_ANYBODY = ("/health/ready", "/health/startup", "/api/v1/invites/{token}")
"""What needs the store, open to all."""


@cache
def counted() -> Table:
    """What everything costs now."""
    return table()


def requests(bill: dict[str, Any]) -> int:
    """Store requests of a bill."""
    return sum(bill["store_requests"].values())


def test_the_committed_costs_are_up_to_date() -> None:
    """docs/costs.json and docs/costs.md say what the code does; ``scripts/costs --write`` writes them anew."""
    assert json.loads(page.TABLE.read_text(encoding="utf-8")) == counted()
    assert page.PAGE.read_text(encoding="utf-8") == page.text(counted())


def test_every_operation_is_counted() -> None:
    """The table has a row for each operation of the document and no other."""
    assert set(counted()["endpoints"]) == {f"{method} {path}" for method, path, _ in samples.operations()}


@pytest.mark.parametrize(("method", "path", "operation"), list(samples.operations()))
def test_a_caller_costs_one_read(method: str, path: str, operation: dict[str, Any]) -> None:
    """Whoever needs a session is looked up in one request; reading what is open to all asks nothing."""
    bill = counted()["endpoints"][f"{method} {path}"]
    security = operation["x-signalbox-security"]
    if security == "required":
        assert bill["store_requests"]["BatchGetItem"] >= 1
        assert "TransactGetItems" not in bill["store_requests"]
    elif security == "none" and method == "GET" and path not in READ_BY_ANYBODY:
        assert requests(bill) == 0


def test_a_gate_call_is_one_store_request() -> None:
    """In a function that is warm, within a minute: one transaction, whatever the policies, chains and ceilings."""
    gate = counted()["gate"]
    for name in ("gate, allowed", "gate, the same call again", "gate, in a chain", "gate, under the org's ceiling"):
        assert gate[name]["store_requests"] == {"TransactWriteItems": 1}
    assert counted()["endpoints"]["POST /api/v1/gate"]["store_requests"] == {"TransactWriteItems": 1}


def test_what_follows_a_gate_call_is_one_read_and_one_write() -> None:
    """Execute and track read the purse and the operation together, and write together."""
    for name in ("execute", "track"):
        assert counted()["gate"][name]["store_requests"] == {"BatchGetItem": 1, "TransactWriteItems": 1}


def test_a_minute_begins_with_one_read() -> None:
    """The first gate call of a minute looks at the purse, and writes when its key was last used."""
    first = counted()["gate"]["gate, first call of a minute"]["store_requests"]
    assert first == {"GetItem": 1, "TransactWriteItems": 2}


def test_pure_nodes_are_one_append() -> None:
    """Ten transforms make as many store requests as an empty flow, and neither takes a transition."""
    flows = counted()["flows"]
    empty, ten = flows["empty flow"], flows["10 transforms"]
    assert ten["engine"]["store_requests"] == empty["engine"]["store_requests"]
    assert "transitions" not in ten["total"] and "transitions" not in empty["total"]


def test_an_effect_is_one_append() -> None:
    """Each HTTP request adds the one append that must come before it; the first asks whether the flow is governed."""
    flows = counted()["flows"]
    added = Counter(flows["10 HTTP requests"]["engine"]["store_requests"])
    added.subtract(flows["empty flow"]["engine"]["store_requests"])
    assert +added == {"GetItem": 1, "TransactWriteItems": 10}
    assert "transitions" not in flows["10 HTTP requests"]["total"]


def test_a_wait_is_seven_transitions() -> None:
    """Four of the driver that is started for it, three of the wait, however long it lasts."""
    flows = counted()["flows"]
    for name in ("one delay of an hour", "one approval"):
        assert flows[name]["engine"]["transitions"] == 7


def test_a_bill_adds_up() -> None:
    """Dollars are counts times prices."""
    whole = Bill(requests=Counter(Query=1), http=1, read_units=8)
    whole.add(Bill(requests=Counter(Query=1, GetItem=2), transitions=4, write_units=2))
    assert whole.requests == Counter(Query=2, GetItem=2)
    assert whole.dollars == round(1.00 + 8 * 0.125 + 4 * 25 + 2 * 0.625, 3)
