"""``parallel_batch``: one script over the whole input."""

from __future__ import annotations

from typing import Any, ClassVar

from shared.engine.kinds.base import Call, Done, NodeKind, Outcome
from shared.engine.kinds.scripting import DURATION, SCRIPT, run_script


class ParallelBatch(NodeKind):
    """The value of ``processor_script``."""

    name: ClassVar[str] = "parallel_batch"
    description: ClassVar[str] = "Process the input with a script."
    parameters: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {"processor_script": SCRIPT, "timeout": DURATION},
        "required": ["processor_script"],
    }

    def run(self, call: Call) -> Outcome:
        evaluated = run_script(call, call.require("processor_script"))
        return Done(evaluated.value, shared=evaluated.shared)
