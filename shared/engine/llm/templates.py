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

_FIELD = re.compile(r"\$?(?:\.(?P<path>[^\W\d]\w*(?:\.[^\W\d]\w*)*)?)")
_COMMENT = re.compile(r"/\*.*\*/", re.DOTALL)
_SPACE = re.compile(r"\s*")


def render(template: str, names: Mapping[str, Any]) -> str:
    """``template`` with its fields filled in. Raises NodeFailed for any other action."""
    pieces: list[str] = []
    position = 0
    while (start := template.find("{{", position)) >= 0:
        end = template.find("}}", start)
        if end < 0:
            raise NodeFailed("a template has {{ without }}", retryable=False)
        before, action = template[position:start], template[start + 2 : end]
        position = end + 2
        # A hyphen beside a space trims the text on its side.
        if action[:1] == "-" and action[1:2].isspace():
            before, action = before.rstrip(), action[1:]
        if action[-1:] == "-" and action[-2:-1].isspace():
            action = action[:-1]
            space = _SPACE.match(template, position)
            position = space.end() if space else position
        pieces += [before, _value(action.strip(), names)]
    return "".join((*pieces, template[position:]))


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
