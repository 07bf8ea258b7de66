"""The books of an org, read beneath the models, and what must be true of them after every single write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shared.governance.money import MICRO
from shared.governance.operations import BOUND_MS
from shared.kit import clock, json
from shared.store.embedded import EmbeddedEngine
from shared.store.embedded.codec import decode

Row = Mapping[str, Any]


def rows_of(engine: EmbeddedEngine) -> Sequence[Row]:
    """Every item as plain values."""
    found = engine._storage.read(lambda sql: sql.execute("SELECT body, binary FROM items").fetchall())
    return [{name: _plain(value) for name, value in decode(*row).items()} for row in found]


def _plain(value: Mapping[str, Any]) -> Any:
    kind, inner = next(iter(value.items()))
    return int(inner) if kind == "N" else inner


class Books:
    """What the store says about an org's money at one moment."""

    def __init__(self, engine: EmbeddedEngine, org_id: str) -> None:
        rows = [row for row in rows_of(engine) if row.get("org_id") == org_id]
        self.org_id = org_id
        self.purses = {row["scope_id"]: row for row in rows if row["sk"] == "purse"}
        self.periods = [row for row in rows if row["sk"].startswith("period#")]
        self.reports = [row for row in rows if row["sk"] == "tracked"]
        self.operations = {
            row["execution_id"]: row for row in rows if row["sk"] == "operation" and row["status"] != "refused"
        }

    def check(self) -> None:
        """The invariants of every purse."""
        for scope_id, purse in self.purses.items():
            assert purse["available"] == purse["cap"] - purse["spent"] - purse["reserved"], scope_id
            assert min(purse[name] for name in ("spent", "reserved", "overrun", "overdraft")) >= 0, scope_id
            if scope_id == "overdraft":
                lent = [row["overdraft"] for row in self._of_period(purse)]
                assert purse["overdraft"] == sum(lent)
                continue
            held = [row for row in self.operations.values() if self._pays(purse, row)]
            assert purse["reserved"] == sum(row["reserved"] for row in held), scope_id
            if purse["scope"] == "workflow":
                self._check_spent(purse)

    def _of_period(self, purse: Row) -> list[Row]:
        return [row for row in self.operations.values() if row["period_start_ms"] == purse["period_start_ms"]]

    def _pays(self, purse: Row, operation: Row) -> bool:
        if purse["scope"] == "workflow":
            return bool(operation["workflow_id"] == purse["scope_id"])
        joined = operation["policy_version"] >= purse["since_version"]
        return joined and purse["scope_id"] in json.loads(operation["funds"])

    def _check_spent(self, purse: Row) -> None:
        """Every report is in the period of its call, or of its own time where it has no call."""
        spent = {purse["period_start_ms"]: 0}
        ends = {purse["period_start_ms"]: purse["period_end_ms"]}
        for period in self.periods:
            if period["pk"] == purse["pk"]:
                spent[period["period_start_ms"]], ends[period["period_start_ms"]] = 0, period["period_end_ms"]
        paid: dict[str, int] = {}
        for report in self.reports:
            if report["workflow_id"] != purse["scope_id"]:
                continue
            amount = json.loads(report["details"])["amount"]
            operation = self.operations.get(report.get("execution_id", ""))
            known = operation is not None and operation["workflow_id"] == purse["scope_id"]
            if operation is not None and known and report["created_ms"] - operation["created_ms"] < BOUND_MS:
                spent[operation["period_start_ms"]] += amount
                paid[operation["execution_id"]] = paid.get(operation["execution_id"], 0) + amount
            else:
                spent[next(start for start in sorted(ends) if report["created_ms"] < ends[start])] += amount
        told = spent.pop(purse["period_start_ms"])
        assert purse["spent"] == told, purse["scope_id"]
        for period in self.periods:
            if period["pk"] == purse["pk"]:
                assert period["spent"] == spent[period["period_start_ms"]]
        for operation in self.operations.values():
            if operation["workflow_id"] == purse["scope_id"]:
                assert operation["spent"] == paid.get(operation["execution_id"], 0)

    def check_admission(self, execution_id: str) -> None:
        """What has just been let in fits below every cap, or, where it was lent, below what may be lent."""
        operation = self.operations[execution_id]
        for scope_id in json.loads(operation["funds"]):
            assert self.purses[scope_id]["available"] >= 0, scope_id
        purse = self.purses[operation["workflow_id"]]
        assert purse["period_start_ms"] == operation["period_start_ms"]
        assert purse["state"] == "Normal"
        if operation["decision"] == "soft_pass":
            most = json.loads(operation["answer"])["max_overdraft_cents"] * MICRO
            assert -purse["available"] <= most and self.purses["overdraft"]["overdraft"] <= most
        else:
            assert purse["available"] >= 0
        ceiling = self.purses.get(self.org_id)
        if ceiling is not None and purse["policy_version"] >= ceiling["since_version"]:
            assert self.org_id in json.loads(operation["funds"])
            assert self._held_under(ceiling) <= ceiling["cap"]

    def _held_under(self, ceiling: Row) -> int:
        """What the workflows that have joined a ceiling hold of its period, counted from below."""
        joined = [
            row for row in self.purses.values()
            if row["scope"] == "workflow" and row["policy_version"] >= ceiling["since_version"]
        ]  # fmt: skip
        spent = [row["spent"] for row in joined if row["period_start_ms"] == ceiling["period_start_ms"]]
        names = {row["scope_id"] for row in joined}
        held = [row["reserved"] for row in self._of_period(ceiling) if row["workflow_id"] in names]
        return int(sum(spent) + sum(held))

    def due(self) -> list[Row]:
        """Operations whose time is over and that still hold money."""
        return [row for row in self.operations.values() if row["reserved"] and row["expires_ms"] <= clock.now_ms()]
