"""The minute's sweep."""

from __future__ import annotations

from pathlib import Path

from functions.sweep.app import handler
from tests.support.deployment import deployment


class Sweep:
    def run(self) -> int:
        return 4


def test_the_rule_sweeps_executions_and_deletions(tmp_path: Path) -> None:
    """One event takes up overdue executions and finishes deletions, and says how many."""
    with deployment(tmp_path) as services:
        services.__dict__["sweep"] = Sweep()
        done = {"executions": 4, "governance": 0, "deletions": 0, "connections": 0}
        assert handler({"source": "aws.events"}, None) == done
