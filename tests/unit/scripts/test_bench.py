"""The figures that benchmarks print."""

from __future__ import annotations

import pytest

from scripts.benching.flow import STEPS, per_step
from scripts.benching.table import median, ms, print_table, quantile


@pytest.mark.parametrize(
    ("times", "middle", "late"),
    [([1.0], 1.0, 1.0), ([3.0, 1.0, 2.0], 2.0, 3.0), ([float(n) for n in range(100)], 50, 95)],
)
def test_quantiles(times: list[float], middle: float, late: float) -> None:
    """Median and 95th percentile of times in any order."""
    assert (median(times), quantile(times, 0.95)) == (middle, late)


def test_a_step_is_what_it_adds_to_an_empty_flow() -> None:
    """Our empty flow has one node, DBOS's none."""
    times = {(subject, "empty"): [1.0] for subject in ("engine", "dbos")}
    times |= {("engine", "transform"): [10.0], ("dbos", "transform"): [11.0]}
    assert STEPS["transform"] == 10
    assert per_step(times, "engine", "transform") == per_step(times, "dbos", "transform") == 1.0


def test_a_table_is_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    """The first column to the left, figures to the right."""
    print_table(("", "ms"), [("one", ms(0.00123)), ("eleven", ms(11))])
    assert capsys.readouterr().out.splitlines() == [
        "              ms",
        "one         1.23",
        "eleven  11000.00",
    ]
