"""YAML as a tree that still knows its lines and how scalars were written.

The parser's events are read one by one, so that depth, size and aliases are bounded before anything grows, and nothing
recurses on the author's nesting. docs/rulings.md#flow-yaml says what is taken as what.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeAlias

import yaml
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceStartEvent,
)

from shared.dialects.flowrunner.scalars import resolve
from shared.kit.errors import Unprocessable

MAX_BYTES = 1024 * 1024
"""Largest definition."""

MAX_DEPTH = 100
"""Deepest nesting, aliases followed."""

MAX_VALUES = 100_000
"""Keys and values of a definition, each alias counted as what it stands for."""

MAX_CHARACTERS = 2 * MAX_BYTES
"""Length of all scalars together, aliases followed."""

_MOST_DIRECTIVES = 8
_DIRECTIVE = re.compile("(?:^|[\\r\\n\\x85\\u2028\\u2029])%")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STANDARD = "tag:yaml.org,2002:"
_SCALAR_TAGS = {f"{_STANDARD}{name}": name for name in ("str", "int", "float", "bool", "null")} | {"!": "str"}
_COLLECTION_TAGS = {None, "!", f"{_STANDARD}map", f"{_STANDARD}seq"}
_MERGE = "<<"


@dataclass(slots=True)
class Scalar:
    """A single value: its ``text`` as written and the ``value`` YAML gives it."""

    text: str
    value: Any
    line: int
    plain: bool = True
    height: int = 1
    size: int = 1
    length: int = 0


@dataclass(slots=True)
class Sequence:
    """A list."""

    line: int
    items: list[Tree] = field(default_factory=list)
    height: int = 1
    size: int = 1
    length: int = 0


@dataclass(slots=True)
class Mapping:
    """Values by key; every key is text as written."""

    line: int
    pairs: dict[str, Tree] = field(default_factory=dict)
    height: int = 1
    size: int = 1
    length: int = 0


Tree: TypeAlias = Scalar | Sequence | Mapping


def refusal(reason: str, line: int | None = None) -> Unprocessable:
    """The error for a definition that cannot be taken."""
    return Unprocessable.field("definition", reason if line is None else f"{reason} (line {line})")


def is_null(tree: Tree | None) -> bool:
    """Whether nothing stands there: the key is missing, or its value is empty or null."""
    return tree is None or (isinstance(tree, Scalar) and tree.value is None)


def parse(text: str) -> Tree:
    """The only document in ``text``. Raises Unprocessable."""
    _check_text(text)
    try:
        return _Builder().build(yaml.parse(text, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        raise _not_yaml(error, text) from None
    except yaml.YAMLError as error:
        reason = getattr(error, "reason", "it cannot be read")
        raise refusal(f"The definition is not valid YAML: {reason}") from None


def _check_text(text: str) -> None:
    too_large = refusal(f"The definition must have {MAX_BYTES} bytes at most")
    if len(text) > MAX_BYTES:
        raise too_large
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise refusal("The definition contains half of a surrogate pair, which is no Unicode text") from None
    if size > MAX_BYTES:
        raise too_large
    # A parser compares every directive with all before it, so a text of nothing else would take minutes.
    if len(_DIRECTIVE.findall(text)) > _MOST_DIRECTIVES:
        raise refusal("The definition has too many YAML directives (lines that begin with %)")


def _not_yaml(error: yaml.MarkedYAMLError, text: str) -> Unprocessable:
    mark = error.problem_mark or error.context_mark
    line = mark.line if mark is not None else None
    problem = error.problem or error.context or "it cannot be read"
    if line is not None:
        written = next(islice(text.split("\n"), line, None), "")
        if "\t" in written[: len(written) - len(written.lstrip())]:
            problem = "the line is indented with a tab, YAML wants spaces"
    return refusal(f"The definition is not valid YAML: {problem}", None if line is None else line + 1)


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come. ``key`` is the mapping key whose value is next."""

    tree: Sequence | Mapping
    anchor: str | None
    key: Scalar | None = None
    merged: list[Mapping] = field(default_factory=list)


class _Builder:
    """Puts one document together."""

    def __init__(self) -> None:
        self._stack: list[_Open] = []
        self._anchors: dict[str, Tree | None] = {}
        self._root: Tree | None = None
        self._documents = 0
        self._values = 0
        self._characters = 0

    def build(self, events: Iterator[Event]) -> Tree:
        for event in events:
            line = event.start_mark.line + 1 if event.start_mark is not None else 0
            if isinstance(event, NodeEvent):
                self._node(event, line)
            elif isinstance(event, CollectionEndEvent):
                self._close()
            elif isinstance(event, DocumentStartEvent):
                self._documents += 1
                if self._documents > 1:
                    raise refusal("The definition must be one YAML document, not several", line)
        if self._root is None:
            raise refusal("The definition is empty")
        return self._root

    def _node(self, event: NodeEvent, line: int) -> None:
        match event:
            case AliasEvent():
                self._alias(event, line)
            case ScalarEvent():
                made = _scalar(event, line)
                self._spend(1, made.length, line)
                if event.anchor is not None:
                    self._anchors[event.anchor] = made
                self._add(made, line)
            case MappingStartEvent():
                self._open(Mapping(line), event, line)
            case SequenceStartEvent():
                self._open(Sequence(line), event, line)

    def _open(self, tree: Sequence | Mapping, event: Any, line: int) -> None:
        if event.tag not in _COLLECTION_TAGS:
            raise _unknown_tag(event.tag, line)
        self._spend(1, 0, line)
        if len(self._stack) >= MAX_DEPTH:
            raise _too_deep(line)
        if self._stack and isinstance(self._stack[-1].tree, Mapping) and self._stack[-1].key is None:
            raise refusal("A key must be text, not a list or a mapping", line)
        if event.anchor is not None:
            # Known but not complete: an alias to it from within would never end.
            self._anchors[event.anchor] = None
        self._stack.append(_Open(tree, event.anchor))

    def _alias(self, event: AliasEvent, line: int) -> None:
        name = event.anchor or ""
        if name not in self._anchors:
            raise refusal(f"The alias *{shown(name)} has no anchor before it", line)
        target = self._anchors[name]
        if target is None:
            raise refusal(f"The alias *{shown(name)} stands inside what it refers to", line)
        self._spend(target.size, target.length, line)
        self._add(target, line)

    def _add(self, tree: Tree, line: int) -> None:
        """Put a complete node where it belongs."""
        if not self._stack:
            self._root = tree
            return
        top = self._stack[-1]
        if len(self._stack) + tree.height > MAX_DEPTH:
            raise _too_deep(line)
        if isinstance(top.tree, Sequence):
            top.tree.items.append(tree)
        elif top.key is None:
            if not isinstance(tree, Scalar):
                raise refusal("A key must be text, not a list or a mapping", line)
            top.key = tree
            top.tree.size += 1
            top.tree.length += tree.length
            return
        elif top.key.plain and top.key.text == _MERGE:
            top.merged += _merged(tree, line)
            top.key = None
            return
        else:
            if top.key.text in top.tree.pairs:
                raise refusal(f"The key {shown(top.key.text)} is there twice", top.key.line)
            top.tree.pairs[top.key.text] = tree
            top.key = None
        _grow(top.tree, tree)

    def _close(self) -> None:
        done = self._stack.pop()
        tree = done.tree
        if isinstance(tree, Mapping) and done.merged:
            self._merge(tree, done.merged)
        if done.anchor is not None:
            self._anchors[done.anchor] = tree
        self._add(tree, tree.line)

    def _merge(self, tree: Mapping, sources: list[Mapping]) -> None:
        """Take in the keys of other mappings; own keys and earlier mappings win. Merged keys come first."""
        own = tree.pairs
        found: dict[str, Tree] = {}
        for source in sources:
            self._spend(source.size, source.length, tree.line)
            for key, value in source.pairs.items():
                if key not in own and key not in found:
                    found[key] = value
                    tree.size += 1
                    tree.length += len(key)
                    _grow(tree, value)
        tree.pairs = found | own

    def _spend(self, values: int, characters: int, line: int) -> None:
        self._values += values
        self._characters += characters
        if self._values > MAX_VALUES:
            raise refusal(f"The definition has more than {MAX_VALUES} values, aliases followed", line)
        if self._characters > MAX_CHARACTERS:
            raise refusal(f"The definition has more than {MAX_CHARACTERS} characters, aliases followed", line)


def _grow(parent: Sequence | Mapping, child: Tree) -> None:
    parent.size += child.size
    parent.length += child.length
    parent.height = max(parent.height, child.height + 1)


def _merged(tree: Tree, line: int) -> list[Mapping]:
    found = tree.items if isinstance(tree, Sequence) else [tree]
    mappings = [one for one in found if isinstance(one, Mapping)]
    if len(mappings) < len(found):
        raise refusal("A merge key (<<) takes a mapping, or a list of mappings", line)
    return mappings


def _scalar(event: ScalarEvent, line: int) -> Scalar:
    text = event.value
    plain = event.tag is None and event.implicit[0]
    if event.tag is not None:
        return Scalar(text, _tagged(text, event.tag, line), line, plain, length=len(text))
    return Scalar(text, resolve(text) if plain else text, line, plain, length=len(text))


def _tagged(text: str, tag: str, line: int) -> Any:
    name = _SCALAR_TAGS.get(tag)
    if name is None:
        raise _unknown_tag(tag, line)
    if name == "str":
        return text
    value: Any = resolve(text)
    kinds: dict[str, type | tuple[type, ...]] = {"int": int, "float": (int, float), "bool": bool, "null": type(None)}
    if not isinstance(value, kinds[name]) or (isinstance(value, bool) and name != "bool"):
        raise refusal(f"{shown(text)} is not what its tag !!{name} says", line)
    return float(text.replace("_", "")) if name == "float" else value


def _unknown_tag(tag: str, line: int) -> Unprocessable:
    short = f"!!{tag.removeprefix(_STANDARD)}" if tag.startswith(_STANDARD) else tag
    return refusal(f"The tag {shown(short)} is not allowed", line)


def _too_deep(line: int) -> Unprocessable:
    return refusal(f"The definition is nested more than {MAX_DEPTH} levels deep", line)


def shown(text: str) -> str:
    """An author's word in a message: on one line and not too long."""
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"{line[:77]}..."
