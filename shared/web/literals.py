"""Routes without parameters, found by their path at once instead of one after the other."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send


class Literals(BaseRoute):
    """Stands before all routes and hands each request that a literal path answers to its route.

    With another method, or another path, it is no match, and the routes behind it are looked through as ever.
    """

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self._by_path: dict[str, list[Route]] = {}
        for route in routes:
            if isinstance(route, Route) and not route.param_convertors:
                self._by_path.setdefault(route.path, []).append(route)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As the route of the path, if it answers the method."""
        if scope["type"] == "http":
            for route in self._by_path.get(scope["path"], ()):
                match, found = route.matches(scope)
                if match is Match.FULL:
                    return match, {**found, "route": route}
        return Match.NONE, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request that has just been matched."""
        await scope["route"].handle(scope, receive, send)
