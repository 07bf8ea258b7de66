"""``transform``: a script, or a mapping, makes the output."""

from __future__ import annotations

from typing import Any, ClassVar

from shared.engine.kinds import jsonpath
from shared.engine.kinds.base import Call, Done, NodeFailed, NodeKind, Outcome
from shared.engine.kinds.scripting import DURATION, SCRIPT, run_script


class Transform(NodeKind):
    """The value of ``script``; or the fields of ``mapping``, each a JSONPath into the input or a template."""

    name: ClassVar[str] = "transform"
    description: ClassVar[str] = "Make new data from the input with JavaScript, or with a mapping of fields."
    parameters: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "script": SCRIPT,
            "mapping": {"type": "object", "description": "New field: a JSONPath such as $.user.name, or any value."},
            "timeout": DURATION,
        },
        "anyOf": [{"required": ["script"]}, {"required": ["mapping"]}],
    }

    def run(self, call: Call) -> Outcome:
        mapping = call.params.get("mapping")
        if isinstance(mapping, dict) and not call.params.get("script"):
            return Done(_mapped(call, mapping))
        evaluated = run_script(call, call.require("script"))
        return Done(evaluated.value, shared=evaluated.shared)


def _mapped(call: Call, mapping: dict[str, Any]) -> dict[str, Any]:
    written = call.node.params.get("mapping")
    fields: dict[str, Any] = {}
    for field, value in mapping.items():
        # Only what the author wrote can be a path; data that a template brought in stays data.
        is_path = jsonpath.is_path(value) and isinstance(written, dict) and written.get(field) == value
        try:
            fields[field] = jsonpath.read(value, call.input) if is_path else value
        except ValueError as error:
            raise NodeFailed(f"mapping of {field}: {error}", retryable=False) from None
    return fields
