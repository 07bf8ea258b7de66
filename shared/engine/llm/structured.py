"""Reading a model's answer as data: YAML, of which JSON is a part, in a code fence or not."""

from __future__ import annotations

import re
from typing import Any

import yaml

from shared.kit import json

_FENCE = re.compile(
    r"^[ \t]*(?P<fence>`{3,}|~{3,})[^\n`]*\n(?P<body>.*?)\n?^[ \t]*(?P=fence)[ \t]*$", re.DOTALL | re.MULTILINE
)
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
    fenced = _FENCE.search(answer)
    text = (fenced["body"] if fenced else answer).strip()
    if not text:
        raise ValueError("it is empty")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _yaml(text)


def _yaml(text: str) -> Any:
    try:
        # The loader is a SafeLoader that accepts less.
        value = yaml.load(text, Loader=_Loader)  # noqa: S506
        return json.loads(json.dumps(value))
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"{error.problem or 'it is no YAML'}{line}") from None
    except (yaml.YAMLError, TypeError, RecursionError):
        raise ValueError("it is no YAML that JSON can carry") from None
