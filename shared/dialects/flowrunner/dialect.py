"""The FlowRunner dialect as the catalog uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.catalog import Metadata

if TYPE_CHECKING:
    from shared.engine.kinds.base import Registry
    from shared.engine.program import Program


class FlowRunnerDialect:
    """Compiles flow files. ``kinds`` are the node types a flow may use."""

    def __init__(self, kinds: Registry) -> None:
        self._kinds = kinds

    def compile(self, text: str) -> tuple[Metadata, Program]:
        """What the flow says of itself, and its program. Raises Unprocessable naming ``definition`` and the reason."""
        # Functions that only run flows never load the YAML parser.
        from shared.dialects.flowrunner.compiler import compile_flow

        return compile_flow(text, self._kinds)
