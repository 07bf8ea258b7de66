"""Reading a model's answer as data: YAML, of which JSON is a part, in a code fence or not."""

from __future__ import annotations

import re
from typing import Any

from shared.kit import json

_OPENING = re.compile(r"\s*(?P<fence>`{3,}|~{3,})[^`]*")


def structured(answer: str) -> Any:
    """The data in ``answer``: its first fenced block, else all of it. Raises ValueError when it is none."""
    text = _unfenced(answer).strip()
    if not text:
        raise ValueError("it is empty")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        from shared.engine.llm import json_yaml

        return json_yaml.loads(text)


def _unfenced(answer: str) -> str:
    lines = answer.split("\n")
    for number, line in enumerate(lines, start=1):
        opening = _OPENING.fullmatch(line)
        if opening is not None:
            # A block that is not closed reaches to the end, as in Markdown.
            ends = (end for end in range(number, len(lines)) if lines[end].strip() == opening["fence"])
            return "\n".join(lines[number : next(ends, len(lines))])
    return answer
