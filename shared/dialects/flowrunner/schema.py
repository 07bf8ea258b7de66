"""JSON Schema of flow files, for editors and for whoever wants to check a file without a server.

Made from the registered node kinds, so it never lags behind them. What only the whole graph can tell (start node,
targets) is checked when a flow is stored.
"""

from __future__ import annotations

from typing import Any

from shared.dialects.flowrunner.modifiers import BACKOFFS, HOOKS, MAX_PARALLEL, MAX_RETRIES, STRATEGIES
from shared.engine.kinds.base import NodeKind, Registry
from shared.engine.program import BY_ACTION, END

Schema = dict[str, Any]

DURATION_PATTERN = r"^\+?(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))+)$"

_TEMPLATE = {"$ref": "#/$defs/template"}
_DURATION = {"$ref": "#/$defs/duration"}
_SCALAR = ["string", "number", "boolean"]
_DEMANDS = ("required", "anyOf", "oneOf", "allOf", "not", "if", "then", "else", "dependentRequired", "minProperties")
"""Keywords by which a kind demands parameters. A prep hook may supply them, and an exec hook needs none."""

_CHILDREN = ("properties", "patternProperties", "$defs", "dependentSchemas")
_CHILD = ("items", "additionalProperties", "contains")
_VARIANTS = ("anyOf", "oneOf", "allOf", "prefixItems")


def flow_schema(kinds: Registry) -> Schema:
    """JSON Schema 2020-12 of a flow file, read as YAML with every key as text."""
    node = {"allOf": [{"$ref": "#/$defs/node"}, *(rule for kind in kinds.all() for rule in _rules(kind))]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "FlowRunner flow",
        "description": "A graph of nodes; the only node that no next leads to is the start.",
        "type": "object",
        "required": ["metadata", "nodes"],
        "properties": {
            "metadata": _METADATA,
            "nodes": {"type": "object", "minProperties": 1, "additionalProperties": node},
        },
        "$defs": {
            "template": {
                "type": "string",
                "pattern": r"\$\{",
                "description": "Text with JavaScript expressions: ${input.body.id}.",
            },
            "duration": {
                "description": "Go notation such as 500ms, 1.5s or 1h30m; a number is seconds.",
                "anyOf": [{"type": "string", "pattern": DURATION_PATTERN}, {"type": "number", "minimum": 0}],
            },
            "node": _node([name for kind in kinds.all() for name in _names(kind)]),
        }
        | {_definition(kind): _shape(kind) for kind in kinds.all()},
    }


_METADATA: Schema = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": _SCALAR},
        "description": {"type": [*_SCALAR, "null"]},
        "version": {"type": [*_SCALAR, "null"], "description": "Taken as written: 1.10 stays 1.10."},
    },
}


def _node(types: list[str]) -> Schema:
    count = {"type": "integer", "minimum": 0, "maximum": MAX_RETRIES}
    retry = {
        "max_retries": count | {"description": "Further attempts after the first."},
        "attempts": count | {"description": "Another name of max_retries."},
        "wait": _DURATION,
        "delay": _DURATION,
        "backoff": {"enum": [word for word in BACKOFFS if word]},
        "max_delay": _DURATION,
    }
    batch = {
        "strategy": {"enum": list(STRATEGIES)},
        "max_parallel": {"type": "integer", "minimum": 1, "maximum": MAX_PARALLEL},
    }
    script = {"type": "string", "description": "Body of a JavaScript function (ES2020)."}
    return {
        "type": "object",
        "required": ["type"],
        "properties": {
            "type": {"enum": types},
            "description": {},
            "params": {"type": ["object", "null"]},
            "next": {
                "type": ["object", "null"],
                "description": f"The node that follows each action; {END} ends, {BY_ACTION} is the node named like it.",
                "additionalProperties": {"type": _SCALAR},
            },
            "retry": {"type": ["object", "null"], "properties": retry},
            "batch": {"type": ["object", "null"], "properties": batch},
            "hooks": {"type": ["object", "null"], "properties": dict.fromkeys(HOOKS, script)},
            "timeout": _DURATION,
        },
    }


def _rules(kind: NodeKind) -> list[Schema]:
    """What a node must be because of its type: the shape of its parameters, and those it demands."""
    is_kind = {"properties": {"type": {"enum": _names(kind)}}, "required": ["type"]}
    shaped = {"properties": {"params": {"anyOf": [{"type": "null"}, {"$ref": f"#/$defs/{_definition(kind)}"}]}}}
    rules: list[Schema] = [{"if": is_kind, "then": shaped}]
    demands = {name: value for name, value in kind.parameters.items() if name in _DEMANDS}
    if demands:
        hooked = [{"required": ["hooks"], "properties": {"hooks": {"required": [name]}}} for name in ("prep", "exec")]
        plain = {"allOf": [is_kind, {"not": {"anyOf": hooked}}]}
        params = {"type": "object"} | with_templates(demands)
        rules.append({"if": plain, "then": {"required": ["params"], "properties": {"params": params}}})
    return rules


def _names(kind: NodeKind) -> list[str]:
    return [kind.name, *kind.aliases]


def _definition(kind: NodeKind) -> str:
    return f"params.{kind.name}"


def _shape(kind: NodeKind) -> Schema:
    described = {"description": kind.description} if kind.description else {}
    shape = {name: value for name, value in kind.parameters.items() if name not in _DEMANDS}
    return described | {"type": "object"} | _within(shape)


def with_templates(schema: Any) -> Any:
    """The schema, satisfied by a template wherever it is not an object of parameters itself."""
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "string":
        # An unquoted number or word is text where text is wanted.
        schema = schema | {"type": _SCALAR}
    return _or_template(schema) if _narrow(schema) else _within(schema)


def _narrow(schema: Schema) -> bool:
    """Whether a template could be refused here: the schema says something of the value and does not take any text."""
    said = schema.keys() & {"type", "enum", "const", "format", "pattern", "minLength", "maxLength", "$ref", *_VARIANTS}
    types = schema.get("type")
    takes_text = isinstance(types, list) and "string" in types
    return bool(said) and not (takes_text and said == {"type"})


def _or_template(schema: Schema) -> Schema:
    kept = {name: schema[name] for name in ("title", "description", "default") if name in schema}
    return kept | {"anyOf": [_TEMPLATE, _within(schema)]}


def _within(schema: Schema) -> Schema:
    """The schema with templates allowed in everything below it."""
    found = dict(schema)
    for name in _CHILDREN:
        if isinstance(found.get(name), dict):
            found[name] = {key: with_templates(value) for key, value in found[name].items()}
    for name in _CHILD:
        if name in found:
            found[name] = with_templates(found[name])
    for name in _VARIANTS:
        if isinstance(found.get(name), list):
            found[name] = [_within(value) if isinstance(value, dict) else value for value in found[name]]
    return found
