"""``condition``: choose the next edge; the data goes through."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from shared.engine.expressions.base import ScriptError
from shared.engine.kinds.base import Call, Done, NodeFailed, NodeKind, Outcome
from shared.engine.kinds.scripting import DURATION, SCRIPT, actions_of, limits, run_script, text_of, truthy

_STATEMENT = re.compile(r"\s*return\b")


class Condition(NodeKind):
    """Decides by ``condition_script``, or by the first true entry of ``conditions``."""

    name: ClassVar[str] = "condition"
    description: ClassVar[str] = "Choose the next edge by a script or by the first condition that holds."
    parameters: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "condition_script": SCRIPT,
            "conditions": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "condition": {"type": ["string", "boolean"], "description": "A JavaScript expression."},
                        "action": {"type": "string"},
                    },
                    "required": ["condition", "action"],
                },
            },
            "default_action": {"type": "string", "description": "Taken when no condition holds."},
            "timeout": DURATION,
        },
        "anyOf": [{"required": ["condition_script"]}, {"required": ["conditions"]}],
    }

    def run(self, call: Call) -> Outcome:
        if "conditions" in call.params and not call.params.get("condition_script"):
            return Done(call.input, actions_of(_first_true(call)))
        return decide(call, call.require("condition_script"))


def decide(call: Call, source: Any) -> Done:
    """Run a deciding script: an object it returns is the output, otherwise the input goes on."""
    evaluated = run_script(call, source)
    value = evaluated.value
    output = value if isinstance(value, dict) else call.input
    return Done(output, actions_of(value), shared=evaluated.shared)


def _first_true(call: Call) -> str:
    conditions = call.params["conditions"]
    if not isinstance(conditions, list) or not all(isinstance(one, dict) for one in conditions):
        raise NodeFailed("conditions must be a list of {condition, action}", retryable=False)
    sources = [_source(one.get("condition")) for one in conditions]
    answers = call.services.language.evaluate(sources, call.scope, limits=limits(call))
    for number, (condition, answer) in enumerate(zip(conditions, answers, strict=True), start=1):
        for level, message in answer.logs:
            call.log(level, message)
        if isinstance(answer, ScriptError):
            raise NodeFailed(f"condition {number}: {answer.message}")
        if truthy(answer.value):
            return text_of(condition.get("action", "default"))
    return text_of(call.params.get("default_action") or "default")


def _source(condition: Any) -> str:
    if isinstance(condition, str) and _STATEMENT.match(condition):
        return f"(() => {{ {condition}\n }})()"
    return text_of(condition)
