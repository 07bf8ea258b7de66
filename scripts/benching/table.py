"""Figures of many runs, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def quantile(times: Sequence[float], share: float) -> float:
    """The value below which ``share`` of the times lie."""
    ordered = sorted(times)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def median(times: Sequence[float]) -> float:
    """The middle of the times."""
    return quantile(times, 0.5)


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under a header: the first column to the left, the others to the right."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    for row in cells:
        first, *others = row
        print(
            "  ".join(
                [first.ljust(widths[0]), *(text.rjust(width) for text, width in zip(others, widths[1:], strict=True))]
            )
        )


def ms(seconds: float) -> str:
    """``0.01234`` → ``12.34``."""
    return f"{seconds * 1000:.2f}"


def print_beside_frameworks(times: Mapping[str, Sequence[float]]) -> None:
    """Seconds by what was measured, each beside those of ``frameworks`` alone."""
    alone = median(times["frameworks"])
    rows = [
        (name, ms(median(found)), ms(quantile(found, 0.95)), f"{median(found) / alone:.2f}")
        for name, found in times.items()
    ]
    print_table(("", "median ms", "p95 ms", "of frameworks"), rows)
