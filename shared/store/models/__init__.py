"""The records of every table, one module per domain."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from shared.store.base import Record


def every_model() -> tuple[type[Record], ...]:
    """All models of this package, for whoever creates the tables."""
    found: dict[str, type[Record]] = {}
    for module in iter_modules(__path__, f"{__name__}."):
        for name, value in vars(import_module(module.name)).items():
            if isinstance(value, type) and issubclass(value, Record) and value is not Record:
                found[f"{value.__module__}.{name}"] = value
    return tuple(dict.fromkeys(found.values()))
