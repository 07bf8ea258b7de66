"""From a flow file to a program. Source: FlowRunner documentation, Flow Creation Guide.

Every rule here is checked when a flow is stored. Parameters are not: they may be templates, and a node checks its own
when it runs.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from shared.catalog import Metadata
from shared.dialects.flowrunner import tree as yaml
from shared.dialects.flowrunner.modifiers import batch_of, hooks_of, retry_of
from shared.dialects.flowrunner.tree import Mapping, Tree, is_null, refusal, shown
from shared.dialects.flowrunner.values import mapping, milliseconds, plain, text
from shared.engine.kinds.base import NodeKind, Registry
from shared.engine.program import BY_ACTION, END, Edge, Node, Program, Routing
from shared.kit import clock

DIALECT = "flowrunner"
LANGUAGE = "javascript"

MAX_NODES = 5_000
LONGEST_DESCRIPTION = 4_000

_RESERVED = {END, BY_ACTION}
_TOLD_BY = (("url", "http"), ("smtp_host", "email"), ("model", "llm"), ("operation", "store"))
_FORK, _JOIN = "split", "join"


def compile_flow(source: str, kinds: Registry) -> tuple[Metadata, Program]:
    """What the flow says of itself, and its program. Raises Unprocessable naming ``definition`` and the reason."""
    root = yaml.parse(source)
    if not isinstance(root, Mapping):
        raise refusal("The definition must be a mapping with metadata and nodes", root.line)
    metadata = _metadata(root.pairs.get("metadata"))
    nodes = _nodes(root.pairs.get("nodes"), kinds)
    program = Program(DIALECT, LANGUAGE, metadata.name, metadata.version, _start(nodes), nodes)
    return metadata, program


def _metadata(tree: Tree | None) -> Metadata:
    given = mapping(tree, "metadata")
    name = text(given.pairs.get("name"), "metadata.name")
    if not name.strip():
        raise refusal("metadata.name is required", given.line or None)
    description = text(given.pairs.get("description"), "metadata.description", longest=LONGEST_DESCRIPTION)
    version = text(given.pairs.get("version"), "metadata.version")
    return Metadata(name, description, version or f"v{clock.now_ms() * 1_000_000}")


def _nodes(tree: Tree | None, kinds: Registry) -> dict[str, Node]:
    given = mapping(tree, "nodes")
    if not given.pairs:
        raise refusal("The flow has no nodes", given.line or None)
    if len(given.pairs) > MAX_NODES:
        raise refusal(f"The flow has more than {MAX_NODES} nodes", given.line)
    nodes = {name: _node(name, node, kinds) for name, node in given.pairs.items()}
    for name, node in nodes.items():
        for edge in node.edges:
            if edge.target not in nodes and edge.target not in _RESERVED:
                line = _line_of_edge(given.pairs[name], edge.action)
                raise refusal(
                    f"Node {shown(name)}: next.{shown(edge.action)} leads to {shown(edge.target)}, which is no node"
                    f"{_suggestion(edge.target, nodes)}",
                    line,
                )
    return nodes


def _line_of_edge(tree: Tree, action: str) -> int:
    edges = tree.pairs["next"] if isinstance(tree, Mapping) else tree
    return edges.pairs[action].line if isinstance(edges, Mapping) else edges.line


def _node(name: str, tree: Tree, kinds: Registry) -> Node:
    where = f"Node {shown(name)}"
    if not name.strip() or len(name) > 200 or name in _RESERVED:
        raise refusal(f"{where}: a node's name is 1 to 200 characters, and not {END} or {BY_ACTION}", tree.line)
    given = mapping(tree, where)
    written = text(given.pairs.get("type"), f"{where}: type")
    if not written:
        raise refusal(f"{where}: type is required", tree.line)
    kind = kinds.get(written)
    if kind is None:
        reason = f"{where}: there is no node type {shown(written)}{_suggestion(written, _names(kinds))}"
        raise refusal(reason, given.pairs["type"].line)
    params = plain(mapping(given.pairs.get("params"), f"{where}: params"), kind.parameters)
    return Node(
        name=name,
        kind=written,
        params=params,
        edges=_edges(given.pairs.get("next"), where),
        routing=_routing(kind),
        join=kind.name == _JOIN,
        retry=retry_of(given.pairs.get("retry"), where),
        batch=batch_of(given.pairs.get("batch"), where),
        hooks=hooks_of(given.pairs.get("hooks"), where),
        result_keys=result_keys(params),
        timeout_ms=_timeout(given.pairs.get("timeout"), where),
    )


def _routing(kind: NodeKind) -> Routing:
    return "fork" if kind.name == _FORK else "exclusive"


def _names(kinds: Registry) -> list[str]:
    return [name for kind in kinds.all() for name in (kind.name, *kind.aliases)]


def _suggestion(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word[:100], list(known)[:1000], n=1)
    return f"; is {shown(close[0])} meant?" if close else ""


def _edges(tree: Tree | None, where: str) -> tuple[Edge, ...]:
    if tree is not None and not is_null(tree) and not isinstance(tree, Mapping):
        raise refusal(f"{where}: next must be a mapping of action to node, such as {{default: end}}", tree.line)
    given = mapping(tree, f"{where}: next")
    found = []
    for action, target in given.pairs.items():
        # As written, so that a node may be called yes or 1.
        if not isinstance(target, yaml.Scalar) or not target.text.strip():
            raise refusal(f"{where}: next.{shown(action)} must name a node, {END} or {BY_ACTION}", target.line)
        found.append(Edge(action, target.text))
    return tuple(found)


def _timeout(tree: Tree | None, where: str) -> int | None:
    return None if tree is None or is_null(tree) else milliseconds(tree, f"{where}: timeout")


def result_keys(params: dict[str, Any]) -> tuple[str, ...]:
    """Names in ``shared`` under which the output lands beside the node's own: ``result`` and ``<kind>_result``."""
    told = params.get("type")
    if not isinstance(told, str) or not told or "${" in told:
        told = next((word for parameter, word in _TOLD_BY if parameter in params), None)
    return ("result",) if told is None else ("result", f"{told}_result")


def _start(nodes: dict[str, Node]) -> str:
    """The only node that no ``next`` leads to."""
    targets = {
        edge.action if edge.target == BY_ACTION else edge.target for node in nodes.values() for edge in node.edges
    }
    starts = [name for name in nodes if name not in targets]
    if not starts:
        raise refusal(
            "The flow has no start node: a next leads to every node. "
            "The start must not be part of a loop; put a node of type base before it"
        )
    if len(starts) > 1:
        named = ", ".join(shown(name) for name in starts[:5]) + (", …" if len(starts) > 5 else "")
        raise refusal(f"The flow has more than one start node: no next leads to {named}")
    return starts[0]
