"""YAML as far as JSON can carry it. In a module of its own, because few flows need the parser."""

from __future__ import annotations

from typing import Any

import yaml

from shared.kit import json

LONGEST_YAML = 64 * 1024
"""Characters; the parser takes seconds for more. JSON may be longer."""

_JSON_TAGS = ("bool", "int", "float", "null", "map", "seq", "str")


class _Loader(yaml.SafeLoader):
    """Dates stay text; aliases, with which few bytes make a giant, are refused."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise ValueError("YAML aliases are not supported")
        return super().compose_node(parent, index)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] in _JSON_TAGS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def loads(text: str) -> Any:
    """The value in ``text``. Raises ValueError with the parser's reason."""
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
