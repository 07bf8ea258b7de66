"""Reads template.yaml: the functions, and which of them a request reaches."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "template.yaml"


class _Loader(yaml.SafeLoader):
    """Safe YAML, with CloudFormation's short tags read as the functions they stand for."""


def _function(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    elif isinstance(node, yaml.MappingNode):
        value = loader.construct_mapping(node, deep=True)
    else:
        raise TypeError(f"{suffix} stands before something that is no value")
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _function)


@dataclass(frozen=True, slots=True)
class Function:
    """A Lambda function. ``environment`` holds the variables whose values the template itself tells."""

    name: str
    family: str
    handler: str
    memory: int
    timeout: int
    environment: dict[str, str]


@dataclass(frozen=True, slots=True)
class Route:
    """A route of the HTTP API: ``key`` is ``ANY /path`` or ``$default``; ``function`` the function behind it."""

    key: str
    function: str

    @property
    def rank(self) -> tuple[int, int]:
        """Lower wins: full paths, then greedy ones (the longest first), then ``$default``."""
        if self.key == "$default":
            return 2, 0
        return ("{proxy+}" in self.key, -len(self.key.split("/")))

    def matches(self, method: str, path: str) -> bool:
        """Whether API Gateway may choose this route for the request."""
        if self.key == "$default":
            return True
        allowed, _, pattern = self.key.partition(" ")
        words = re.split(r"(\{\w+\+?\})", pattern)
        parts = (
            r".+" if word.endswith("+}") else r"[^/]+" if word.startswith("{") else re.escape(word) for word in words
        )
        return allowed in ("ANY", method) and re.fullmatch("".join(parts), path) is not None


@cache
def template() -> dict[str, Any]:
    """The whole template, short tags in their long form."""
    # The loader is a safe one; the tags it adds make plain mappings.
    loaded: dict[str, Any] = yaml.load(FILE.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506
    return loaded


def resources(kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(logical id, properties) of every resource of a type."""
    for name, resource in template()["Resources"].items():
        if resource["Type"] == kind:
            yield name, resource.get("Properties", {})


def functions() -> dict[str, Function]:
    """Every function by logical id."""
    shared = template()["Globals"]["Function"]
    found: dict[str, Function] = {}
    for name, properties in resources("AWS::Serverless::Function"):
        variables = shared["Environment"]["Variables"] | properties.get("Environment", {}).get("Variables", {})
        found[name] = Function(
            name=name,
            family=properties["Handler"].split(".")[1],
            handler=properties["Handler"],
            memory=properties.get("MemorySize", shared["MemorySize"]),
            timeout=properties.get("Timeout", shared["Timeout"]),
            environment={key: text for key, value in variables.items() if (text := _literal(value)) is not None},
        )
    return found


def _literal(value: Any) -> str | None:
    """The text of a literal or of a parameter's default; None for what only a deployment knows."""
    if isinstance(value, dict):
        parameter = template()["Parameters"].get(value.get("Ref", ""))
        return None if parameter is None else str(parameter["Default"])
    return str(value)


def routes() -> list[Route]:
    """Every route of the HTTP API, in the order in which API Gateway prefers them."""
    integrations = dict(resources("AWS::ApiGatewayV2::Integration"))
    found: list[Route] = []
    for _, properties in resources("AWS::ApiGatewayV2::Route"):
        if properties["ApiId"] == {"Ref": "HttpApi"}:
            integration = properties["Target"]["Fn::Sub"].removeprefix("integrations/").strip("${}")
            function = integrations[integration]["IntegrationUri"]["Ref"].removesuffix(".Alias")
            found.append(Route(properties["RouteKey"], function))
    return sorted(found, key=lambda route: route.rank)


def route_of(method: str, path: str) -> Route:
    """The route API Gateway chooses for a request."""
    return next(route for route in routes() if route.matches(method, path))
