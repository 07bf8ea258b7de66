"""The part of Go's text/template that prompts use: ``{{.name}}`` and ``{{.a.b}}``.

Source: FlowRunner docs, LLM node; Go package text/template, Actions and Text and spaces.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from shared.engine.kinds.base import NodeFailed
from shared.kit import json

NO_VALUE = "<no value>"
"""What Go prints for a name that is not there."""

_ACTION = re.compile(r"\{\{(?P<left>-(?=\s))?(?P<body>.*?)(?P<right>(?<=\s)-)?\}\}", re.DOTALL)
_FIELD = re.compile(r"\$?(?:\.(?P<path>[^\W\d]\w*(?:\.[^\W\d]\w*)*)?)")
_COMMENT = re.compile(r"/\*.*\*/", re.DOTALL)


def render(template: str, names: Mapping[str, Any]) -> str:
    """``template`` with its fields filled in. Raises NodeFailed for any other action."""
    pieces: list[str] = []
    position, trim = 0, False
    for action in _ACTION.finditer(template):
        before = template[position : action.start()]
        before = before.lstrip() if trim else before
        pieces += [before.rstrip() if action["left"] else before, _value(action["body"].strip(), names)]
        position, trim = action.end(), bool(action["right"])
    rest = template[position:]
    return "".join((*pieces, rest.lstrip() if trim else rest))


def _value(action: str, names: Mapping[str, Any]) -> str:
    if _COMMENT.fullmatch(action):
        return ""
    field = _FIELD.fullmatch(action)
    if field is None:
        message = (
            f"a template uses {{{{{action[:60]}}}}}; only fields such as {{{{.name}}}} and {{{{.a.b}}}} are available"
        )
        raise NodeFailed(message, retryable=False)
    value: Any = names
    for name in field["path"].split(".") if field["path"] else ():
        value = value.get(name) if isinstance(value, Mapping) else None
    return NO_VALUE if value is None else value if isinstance(value, str) else json.dumps(value)
