"""Writes docs/settings.md from the settings model: ``python -m scripts.settings``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from shared.kit.settings import Settings

FILE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
FLAGS = {"host": "--host", "port": "--port", "data": "--data", "allow_hosts": "--allow-host"}
HEAD = """# Settings

Every setting is a variable of the environment; four are flags of `scripts/serve` as well. This page is written from
`shared/kit/settings.py` by `python -m scripts.settings`; a test compares the two.

Lists are JSON: `SIGNALBOX_ALLOW_HOSTS='["10.0.0.0/8", "internal.example.com:8443"]'`.

| variable | flag | kind | default | meaning |
|---|---|---|---|---|
"""


def page() -> str:
    """The whole page."""
    return HEAD + "".join(_row(name, field) for name, field in Settings.model_fields.items())


def _row(name: str, field: FieldInfo) -> str:
    flag = f"`{FLAGS[name]}`" if name in FLAGS else ""
    cells = (f"`SIGNALBOX_{name.upper()}`", flag, _kind(field.annotation), _default(field), str(field.description))
    return f"| {' | '.join(cells)} |\n"


def _kind(annotation: Any) -> str:
    """A word for a type: text, number, folder, one of some words, a list, …"""
    words = {
        str: "text",
        int: "whole number",
        float: "number",
        bool: "true or false",
        Path: "folder",
        SecretStr: "secret",
    }
    if annotation in words:
        return words[annotation]
    inner = [argument for argument in get_args(annotation) if argument is not type(None)]
    if get_origin(annotation) is list:
        return f"list of {_kind(inner[0])}"
    if all(isinstance(argument, str) for argument in inner):
        return " or ".join(f"`{argument}`" for argument in inner)
    return _kind(inner[0])


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined or field.default in (None, ""):
        return ""
    if isinstance(field.default, bool):
        return f"`{str(field.default).lower()}`"
    return f"`{field.default}`"


if __name__ == "__main__":
    FILE.write_text(page(), encoding="utf-8")
