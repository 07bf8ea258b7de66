"""The short form of ``scripts/simulate``, and proof that it finds what it should."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.__main__ import main, replay
from tests.simulation.history import run
from tests.simulation.plants import PLANTS

HISTORIES = 150
GOVERNED = 48
CHUNKS = 12
PLANTED_WITHIN = 60


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_history_breaks_an_invariant(chunk: int) -> None:
    """Whatever the order of events, faults and crashes: the journal, the promises and the effects hold."""
    outcomes = [run(seed) for seed in range(chunk, HISTORIES, CHUNKS)]
    assert [replay(outcome) for outcome in outcomes if outcome.failure is not None] == []
    assert sum(outcome.executions for outcome in outcomes) > len(outcomes)


@pytest.mark.parametrize("chunk", range(4))
def test_no_governed_history_breaks_an_invariant(chunk: int) -> None:
    """What governance refuses never happens, and what it holds goes on after the decision, without another look."""
    outcomes = [run(seed, governed=True) for seed in range(chunk, GOVERNED, 4)]
    assert [replay(outcome, governed=True) for outcome in outcomes if outcome.failure is not None] == []


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_bug_is_found(name: str) -> None:
    """The invariants are strong enough to notice that the engine lacks one of its safeguards."""
    assert PLANTS[name].found_by(range(PLANTED_WITHIN)) is not None


def test_a_seed_is_a_history() -> None:
    """The same seed gives the same events in another process with other hash values: a failure can be replayed."""
    here = run(3)
    program = "from tests.simulation.history import run; outcome = run(3); print(outcome.digest, outcome.steps)"
    there = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert there.stdout.split() == [str(here.digest), str(here.steps)]
    assert run(4).digest != here.digest


def test_a_failing_seed_prints_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is printed of a violation replays it, whatever the message holds."""
    plant = PLANTS["secrets that are not redacted"]
    with plant.growing():
        found = next(seed for seed in range(PLANTED_WITHIN) if run(seed).failure is not None)
        assert main(["--first", str(found), "--histories", "1"]) == 1
        line = capsys.readouterr().out.splitlines()[0]
        assert line.startswith(f"scripts/simulate --seed {found} ")
        assert main(["--seed", str(found), "--trace"]) == 1
    assert "VIOLATION" in capsys.readouterr().out
    assert main(["--seed", str(found)]) == 0
