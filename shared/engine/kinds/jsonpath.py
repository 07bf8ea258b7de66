"""The part of JSONPath that reads: ``$``, ``.name``, ``['name']``, ``[0]``, ``[-1]``, ``.*`` and ``[*]`` (RFC 9535)."""

from __future__ import annotations

import re
from typing import Any

_STEP = re.compile(
    r"""\.(?P<name>[\w$-]+)"""
    r"""|\[\s*(?P<index>-?\d{1,9})\s*\]"""
    r"""|\[\s*(?P<quoted>'[^']*'|"[^"]*")\s*\]"""
    r"""|(?P<all>\.\*|\[\*\])"""
)


def is_path(text: Any) -> bool:
    """Whether ``text`` is meant as a path: ``$`` alone or followed by a step."""
    return isinstance(text, str) and (text == "$" or text.startswith(("$.", "$[")))


def read(path: str, value: Any) -> Any:
    """What ``path`` finds in ``value``: one value or None; a list after a wildcard. Raises ValueError."""
    found, many, position = [value], False, 1
    while position < len(path):
        step = _STEP.match(path, position)
        if step is None:
            raise ValueError(f"cannot read the path {path!r} from position {position}")
        position = step.end()
        many = many or step["all"] is not None
        found = [child for one in found for child in _children(one, step)]
    return found if many else (found[0] if found else None)


def _children(value: Any, step: re.Match[str]) -> list[Any]:
    if step["all"] is not None:
        return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    if step["index"] is not None:
        index = int(step["index"])
        return [value[index]] if isinstance(value, list) and -len(value) <= index < len(value) else []
    name = step["name"] if step["name"] is not None else step["quoted"][1:-1]
    return [value[name]] if isinstance(value, dict) and name in value else []
