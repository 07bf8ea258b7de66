"""Every endpoint family of the system, found by its place: ``functions/<family>/app.py`` with a ``router``."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules

from fastapi import APIRouter
from starlette.routing import BaseRoute

_PACKAGE = "functions"
_HOST = "local"


@cache
def family_names() -> tuple[str, ...]:
    """The families' names, sorted; the one-process host is none."""
    package = import_module(_PACKAGE)
    names = (module.name for module in iter_modules(package.__path__) if module.ispkg and module.name != _HOST)
    return tuple(sorted(name for name in names if find_spec(f"{_PACKAGE}.{name}.app") is not None))


@cache
def family_routers() -> dict[str, APIRouter]:
    """Router by family name; families that answer no HTTP have none."""
    found: dict[str, APIRouter] = {}
    for name in family_names():
        router = getattr(import_module(f"{_PACKAGE}.{name}.app"), "router", None)
        if isinstance(router, APIRouter):
            found[name] = router
    return found


def every_route() -> list[BaseRoute]:
    """The routes of all families."""
    return [route for router in family_routers().values() for route in router.routes]
