"""``docs/flows.md`` and the README: what they show compiles, and the guide leaves nothing out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from shared.dialects.flowrunner import FlowRunnerDialect
from shared.engine.kinds.base import Registry

ROOT = Path(__file__).resolve().parents[4]
GUIDE, README = ((ROOT / name).read_text(encoding="utf-8") for name in ("docs/flows.md", "README.md"))
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", README + GUIDE, re.MULTILINE | re.DOTALL)
SECTIONS = re.findall(r"^### ([^\n]*)\n(.*?)(?=^##|\Z)", GUIDE, re.MULTILINE | re.DOTALL)


def whole(block: str) -> str:
    """A flow of the block: what only shows nodes gets a name, and the nodes its edges lead to."""
    shown = yaml.safe_load(block)
    if "nodes" in shown:
        return block
    targets = {target for node in shown.values() for target in node.get("next", {}).values()}
    missing = {name: {"type": "base"} for name in targets - shown.keys() - {"END"}}
    return yaml.safe_dump({"metadata": {"name": "shown"}, "nodes": shown | missing})


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split(":")[0])
def test_every_example_compiles(block: str, kinds: Registry) -> None:
    """No reader copies something the server refuses."""
    _, program = FlowRunnerDialect(kinds).compile(whole(block))
    assert program.start in program.nodes


def listed(section: str, name: str, alone: bool) -> list[str]:
    """Parameters the section lists for a node type; required ones end in an asterisk."""
    head = "Parameters" if alone else f"Parameters of `{name}`"
    line = re.search(rf"^{re.escape(head)}: (.*?)(?=^Parameters|\n\n|\Z)", section, re.MULTILINE | re.DOTALL)
    return [found + star.lstrip("\\") for found, star in re.findall(r"`(\w+)`((?:\\\*)?)", line[1])] if line else []


def test_every_type_is_shown_with_all_its_parameters(kinds: Registry) -> None:
    """Each node type has its place, and the parameters listed there are those of its schema."""
    shown = {
        name: (section, len(names) == 1)
        for title, section in SECTIONS
        for names in [re.findall(r"`([\w.]+)`", title)]
        for name in names
    }
    assert shown.keys() == {kind.name for kind in kinds.all()}
    for kind in kinds.all():
        if kind.name == "webhook":
            assert "Parameters: as `http.request`" in shown[kind.name][0]
            continue
        schema = kind.parameters
        required = schema.get("required", [])
        wanted = {f"{name}*" if name in required else name for name in schema.get("properties", {})}
        assert set(listed(shown[kind.name][0], kind.name, shown[kind.name][1])) == wanted, kind.name
