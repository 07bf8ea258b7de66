"""``base``: does nothing, which is useful where edges meet."""

from __future__ import annotations

from typing import ClassVar

from shared.engine.kinds.base import Call, Done, NodeKind, Outcome


class Base(NodeKind):
    """The output is the input."""

    name: ClassVar[str] = "base"
    description: ClassVar[str] = "Pass the input on."

    def run(self, call: Call) -> Outcome:
        return Done(call.input)
