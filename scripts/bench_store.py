"""How long store operations take: ``python scripts/bench_store.py [--operations N] [--folder DIR]``.

Prints p50 and p99 in microseconds through PynamoDB, in memory and on a file, and how many puts a second 1 to 32 threads
reach together. Figures depend on the disk: a put on a file waits for the disk's flush.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex

from shared.store.base import STREAM_IMAGES, Record, TableMeta
from shared.store.embedded import EmbeddedEngine, installed
from shared.store.transaction import Transaction, put_if_absent


class _ByRank(GlobalSecondaryIndex["Sample"]):
    class Meta:
        index_name = "by_rank"
        projection = AllProjection()

    group = UnicodeAttribute(hash_key=True)
    rank = NumberAttribute(range_key=True)


class Sample(Record):
    """What is written and read."""

    class Meta(TableMeta):
        table = "samples"
        stream_view_type = STREAM_IMAGES

    amount = NumberAttribute(null=True)
    group = UnicodeAttribute(null=True)
    rank = NumberAttribute(null=True)
    by_rank = _ByRank()


def _quantiles(times: list[float]) -> str:
    times.sort()
    return f"{times[len(times) // 2] * 1e6:7.0f} {times[int(len(times) * 0.99)] * 1e6:7.0f}"


def _timed(operations: int, action: Callable[[int], object]) -> list[float]:
    times = []
    for number in range(operations):
        start = time.perf_counter()
        action(number)
        times.append(time.perf_counter() - start)
    return times


def _transact(number: int) -> None:
    update = [Sample.amount.set(3)]
    Transaction().put(Sample("t", f"{number}")).update(Sample("p", f"{number}"), update, Sample.amount == 2).commit()


OPERATIONS: dict[str, Callable[[int], object]] = {
    "put": lambda number: Sample("p", f"{number}", amount=1).save(),
    "put, indexed": lambda number: Sample("i", f"{number}", group="g", rank=number).save(),
    "get": lambda number: Sample.get("p", f"{number}"),
    "conditional update": lambda number: Sample("p", f"{number}").update(
        [Sample.amount.set(Sample.amount + 1)], condition=Sample.amount == 1
    ),
    "query 10": lambda number: list(Sample.query("p", limit=10)),
    "transaction of 2": _transact,
    "put if absent": lambda number: put_if_absent(Sample("a", f"{number}")),
}


def _together(threads: int, operations: int) -> float:
    """Puts a second of several threads."""

    def work(thread: int) -> None:
        for number in range(operations):
            Sample(f"w{threads}-{thread}", f"{number}").save()

    workers = [threading.Thread(target=work, args=(thread,)) for thread in range(threads)]
    start = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return threads * operations / (time.perf_counter() - start)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure the embedded store.")
    parser.add_argument("--operations", type=int, default=1000)
    parser.add_argument("--folder", help="where the file goes; a temporary folder when not given")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for name, path in (("memory", ":memory:"), ("file", f"{folder}/bench.db")):
            engine = EmbeddedEngine.open(path)
            engine.create_tables(Sample)
            with installed(engine):
                print(f"{name:<22}{'p50':>7} {'p99':>7}  µs")
                for operation, action in OPERATIONS.items():
                    print(f"  {operation:<20}{_quantiles(_timed(arguments.operations, action))}")
                for threads in (1, 8, 32):
                    print(
                        f"  {threads:>2} threads          {_together(threads, arguments.operations // 10):8.0f} puts/s"
                    )
            engine.close()


if __name__ == "__main__":
    main()
