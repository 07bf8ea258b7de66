"""What the catalog needs of a dialect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from shared.engine.program import Program


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a definition says of itself. ``version`` is text as its author wrote it, never empty."""

    name: str
    description: str
    version: str


class Dialect(Protocol):
    """A language definitions are written in."""

    def compile(self, text: str) -> tuple[Metadata, Program]:
        """What ``text`` says of itself, and its program. Raises Unprocessable."""
