"""Reading a model's answer as data: YAML, of which JSON is a part, in a code fence or not."""

from __future__ import annotations

import re
from typing import Any

import yaml

from shared.kit import json

_OPENING = re.compile(r"\s*(?P<fence>`{3,}|~{3,})[^`]*")
LONGEST_YAML = 64 * 1024
"""Characters; the parser takes seconds for more. JSON may be longer."""

_JSON_TAGS = ("bool", "int", "float", "null", "map", "seq", "str")


class _Loader(yaml.SafeLoader):
    """YAML as far as JSON can carry it: dates stay text; aliases, with which few bytes make a giant, are refused."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise ValueError("YAML aliases are not supported")
        return super().compose_node(parent, index)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] in _JSON_TAGS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def structured(answer: str) -> Any:
    """The data in ``answer``: its first fenced block, else all of it. Raises ValueError when it is none."""
    text = _unfenced(answer).strip()
    if not text:
        raise ValueError("it is empty")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _yaml(text)


def _unfenced(answer: str) -> str:
    lines = answer.splitlines()
    for number, line in enumerate(lines, start=1):
        opening = _OPENING.fullmatch(line)
        if opening is not None:
            # A block that is not closed reaches to the end, as in Markdown.
            ends = (end for end in range(number, len(lines)) if lines[end].strip() == opening["fence"])
            return "\n".join(lines[number : next(ends, len(lines))])
    return answer


def _yaml(text: str) -> Any:
    if len(text) > LONGEST_YAML:
        raise ValueError(f"it is longer than {LONGEST_YAML} characters")
    try:
        # The loader is a SafeLoader that accepts less.
        value = yaml.load(text, Loader=_Loader)  # noqa: S506
        return json.loads(json.dumps(value))
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"{error.problem or 'it is no YAML'}{line}") from None
    except (yaml.YAMLError, TypeError, RecursionError):
        raise ValueError("it is no YAML that JSON can carry") from None
