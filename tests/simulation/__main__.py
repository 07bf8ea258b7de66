"""The command ``scripts/simulate``."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from time import perf_counter

from tests.simulation.history import Outcome, run

CHUNK = 25


def main(arguments: Sequence[str] | None = None) -> int:
    """Run histories; the exit code is 1 when one found something."""
    chosen = _parser().parse_args(arguments)
    if chosen.seed is not None:
        return _replay(chosen.seed, trace=chosen.trace, governed=chosen.governed)
    started, ends, total, failures = perf_counter(), Counter[str](), Counter[str](), 0
    seeds = range(chosen.first, chosen.first + chosen.histories)
    for outcome in _outcomes(seeds, chosen.jobs, governed=chosen.governed):
        ends.update(outcome.ends)
        total.update(executions=outcome.executions, facts=outcome.facts, effects=outcome.effects, steps=outcome.steps)
        if outcome.failure is not None:
            failures += 1
            print(replay(outcome, governed=chosen.governed), flush=True)
    seconds = perf_counter() - started
    print(f"{len(seeds)} histories, {failures} with a violation, in {seconds:.0f} s")
    print(", ".join(f"{count} {name}" for name, count in (*total.items(), *sorted(ends.items()))))
    return 1 if failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/simulate", description="Runs seeded histories of the whole system.")
    parser.add_argument("--histories", type=int, default=300, help="how many histories (300)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (1)")
    parser.add_argument("--seed", type=int, help="replay this one history")
    parser.add_argument("--trace", action="store_true", help="with --seed: print the event log")
    parser.add_argument("--governed", action="store_true", help="a warden allows, refuses and holds effects")
    return parser


def replay(outcome: Outcome, *, governed: bool = False) -> str:
    """The one line that tells what was found and how to see it again."""
    reason = " ".join((outcome.failure or "nothing").split())
    return f"scripts/simulate {'--governed ' if governed else ''}--seed {outcome.seed}  # {reason[:300]}"


def _replay(seed: int, *, trace: bool, governed: bool) -> int:
    outcome = run(seed, trace=trace, governed=governed)
    if trace:
        print("\n".join(outcome.trace))
    held = f"seed {seed}: every invariant held {outcome.ends}"
    print(held if outcome.failure is None else replay(outcome, governed=governed))
    return 1 if outcome.failure is not None else 0


def _outcomes(seeds: range, jobs: int, *, governed: bool) -> Iterator[Outcome]:
    history = partial(run, governed=governed)
    if jobs == 1:
        yield from map(history, seeds)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(history, seeds, chunksize=CHUNK)


if __name__ == "__main__":
    sys.exit(main())
