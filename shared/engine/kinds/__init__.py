"""Node kinds. Every module beside this one that defines :class:`NodeKind` subclasses adds them to the registry."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from shared.engine.kinds.base import NodeKind, Registry


@functools.cache
def registry() -> Registry:
    """Every kind there is, by name and alias."""
    found = Registry()
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
        loaded = importlib.import_module(f"{__name__}.{module.name}")
        for value in vars(loaded).values():
            is_kind = isinstance(value, type) and issubclass(value, NodeKind) and value is not NodeKind
            if is_kind and value.__module__ == loaded.__name__:
                found.register(value())
    return found
