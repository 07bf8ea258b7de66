"""Definitions of every dialect: their versions, texts and compiled programs."""

from shared.catalog.ports import Dialect, Metadata
from shared.catalog.service import Catalog
from shared.catalog.views import Definition, Page, Version

__all__ = ["Catalog", "Definition", "Dialect", "Metadata", "Page", "Version"]
