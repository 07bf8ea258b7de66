"""``split`` and ``join``: the interpreter runs the branches; these only shape data."""

from __future__ import annotations

from typing import Any, ClassVar

from shared.engine.kinds.base import Call, Done, NodeFailed, NodeKind, Outcome


class Split(NodeKind):
    """Starts a branch for every edge but ``default``. It has no work of its own."""

    name: ClassVar[str] = "split"
    aliases: ClassVar[tuple[str, ...]] = ("split.async",)
    description: ClassVar[str] = "Run several branches side by side and go on once all have ended."

    def run(self, call: Call) -> Outcome:
        return Done(call.input)


class Join(NodeKind):
    """Gathers what the branches brought (FlowRunner language, split and join)."""

    name: ClassVar[str] = "join"
    description: ClassVar[str] = "Gather the outputs of the branches as an array, an object or a map."
    parameters: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {"format": {"enum": ["array", "object", "map"], "default": "array"}},
    }

    def run(self, call: Call) -> Outcome:
        outputs = call.scope.shared.get("mapper_results") or []
        # Scripts may write to shared what they like.
        if not isinstance(outputs, list):
            raise NodeFailed("shared.mapper_results must be a list", retryable=False)
        match call.params.get("format", "array"):
            case "array":
                return Done(outputs)
            case "object":
                return Done({f"result_{index}": output for index, output in enumerate(outputs)})
            case "map":
                return Done({_branch(output, index): output for index, output in enumerate(outputs)})
            case other:
                raise NodeFailed(f"format must be array, object or map, not {other}", retryable=False)


def _branch(output: Any, index: int) -> str:
    name = output.get("branch") if isinstance(output, dict) else None
    return name if isinstance(name, str) else f"branch_{index}"
