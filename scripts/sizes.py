"""Fails when a module is longer than 400 lines or a function longer than 50; tests are not counted."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

MODULE_LINES = 400
FUNCTION_LINES = 50
FOLDERS = ("functions", "scripts", "shared")


def findings(path: Path) -> Iterator[str]:
    """One sentence for each thing in the file that is too long."""
    text = path.read_text(encoding="utf-8")
    lines = len(text.splitlines())
    if lines > MODULE_LINES:
        yield f"{path}: {lines} lines; a module has {MODULE_LINES} at most"
    for node in ast.walk(ast.parse(text, str(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES:
                yield f"{path}:{node.lineno}: {node.name} has {length} lines; a function has {FUNCTION_LINES} at most"


def main(root: Path) -> int:
    """Check every module below ``root``; the number of findings is the exit code's truth."""
    found = [line for folder in FOLDERS for path in sorted((root / folder).rglob("*.py")) for line in findings(path)]
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent.parent))
