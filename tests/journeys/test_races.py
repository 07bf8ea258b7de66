"""Several processes at one budget: the short form of ``scripts/races``."""

from __future__ import annotations

from tests.support.races import kill_in_the_middle, race, raced


def test_processes_never_admit_beyond_a_cap() -> None:
    """Exactly the cap is admitted, each round, and nothing that began after a kill was acknowledged."""
    with raced("file", 3) as (services, racers):
        for _ in range(2):
            found = race(services, racers, calls=8, cap=10)
            assert (found.refused, found.others) == (14, ())
        killed, _ = kill_in_the_middle(services, racers, calls=24)
        assert killed.admitted + killed.refused == 24
