"""Projections: the parts of an item that were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shared.store.embedded.expressions.operands import resolve
from shared.store.embedded.expressions.scope import Path
from shared.store.embedded.values import Item, Value, kind_of

_Tree = dict[Any, Any]


def project(item: Item, paths: Sequence[Path]) -> Item:
    """The item cut down to ``paths``; list elements keep their order and close ranks."""
    if all(len(path) == 1 for path in paths):
        return {str(path[0]): item[str(path[0])] for path in paths if path[0] in item}
    tree: _Tree = {}
    for path in paths:
        if resolve(item, path) is None:
            continue
        node = tree
        for part in path:
            node = node.setdefault(part, {})
    return {str(name): _cut(item[str(name)], branch) for name, branch in tree.items()}


def _cut(value: Value, branch: _Tree) -> Value:
    if not branch:
        return value
    if kind_of(value) == "L":
        return {"L": [_cut(value["L"][index], branch[index]) for index in sorted(branch)]}
    return {"M": {name: _cut(value["M"][name], rest) for name, rest in branch.items()}}
