"""How much an execution may hold at once, so that none fills the memory of all."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from shared.engine.state import State
from shared.kit import json

MOST_BYTES = 32 * 1024 * 1024
"""Bytes as JSON of everything that scripts of the execution can still see."""

SMALL_BYTES = 4096
"""What adds no more than this is taken up to twice the limit, so that an error edge still leads somewhere."""


class Weight:
    """Counts the values of a state. What is replaced or dropped is only subtracted once the limit seems reached."""

    def __init__(self, state: State, most: int = MOST_BYTES, small: int = SMALL_BYTES) -> None:
        self._state = state
        self._most = most
        self._small = small
        self._counted: int | None = None

    def bears(self, *values: Any) -> bool:
        """Whether the state can take these values as well; it does when it can."""
        more = sum(json.size(value) for value in values if value is not None)
        limit = self._most if more > self._small else 2 * self._most
        if self._counted is None or self._counted + more > limit:
            self._counted = sum(json.size(value) for value in self._held())
        if self._counted + more > limit:
            return False
        self._counted += more
        return True

    def _held(self) -> Collection[Any]:
        """Every value the state keeps, those that are kept in several places once."""
        state = self._state
        kept = [*state.shared.values(), *state.outputs.values()]
        for group in state.groups.values():
            kept += group.outputs.values()
        for token in state.tokens.values():
            kept += (token.input, token.previous_input, token.output)
        return {id(value): value for value in kept}.values()
