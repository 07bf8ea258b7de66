"""Checks that no store call can leave its tenant: ``python scripts/lint_tenancy.py [ROOT]``.

Two rules. A function of ``shared/store/models`` that builds a partition key (its name ends in ``_pk``) takes the
organisation (``org_id``), or the ``scope`` of an organisation or person, first and begins the key with it. Everywhere
else a partition key comes from such a function: it is never text made on the spot, and no table is scanned.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MODELS = "shared/store/models"
CHECKED = ("shared", "functions")
UNCHECKED = ("shared/store", "shared/kit")
BEYOND_ORGS = {
    "invites.token_pk": "a token is known before the org that it invites into",
    "identity": "accounts, sessions and orgs themselves exist before and beyond any org",
    "governance.fingerprint_pk": "an API key tells its org only once it is found",
    "channels.connection_pk": "a connection is known by its id alone until its row tells the org",
    "channels.beat_pk": "the sweep keeps every connection alive, whosever it is, and sends none of an org's data",
}
"""Modules and functions of ``shared/store/models`` whose keys do not begin with an org, and why."""
TENANTS = ("org_id", "scope")
READS = ("get", "query", "count", "batch_get")


@dataclass(frozen=True, slots=True)
class Finding:
    """A line that breaks a rule."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


def check(root: Path) -> list[Finding]:
    """Every finding below a checkout."""
    findings: list[Finding] = []
    for path in sorted((root / MODELS).glob("*.py")):
        findings += check_builders(path.read_text(), path.stem, str(path.relative_to(root)))
    for top in CHECKED:
        for path in sorted((root / top).rglob("*.py")):
            name = path.relative_to(root).as_posix()
            if not name.startswith(UNCHECKED):
                findings += check_calls(path.read_text(), name)
    return findings


def check_builders(source: str, module: str, path: str) -> list[Finding]:
    """Key functions of a models module that do not begin with the org."""
    findings = []
    if module in BEYOND_ORGS:
        return []
    for node in ast.parse(source).body:
        if not isinstance(node, ast.FunctionDef) or not node.name.endswith("_pk"):
            continue
        if f"{module}.{node.name}" in BEYOND_ORGS:
            continue
        if not node.args.args or node.args.args[0].arg not in TENANTS:
            findings.append(Finding(path, node.lineno, f"{node.name} must take org_id (or scope) first"))
        elif not all(_begins_with_tenant(statement.value) for statement in _returns(node)):
            findings.append(Finding(path, node.lineno, f"{node.name} must begin its key with org_id (or scope)"))
    return findings


def _returns(function: ast.FunctionDef) -> Iterator[ast.Return]:
    return (node for node in ast.walk(function) if isinstance(node, ast.Return))


def _begins_with_tenant(value: ast.expr | None) -> bool:
    if isinstance(value, ast.JoinedStr):
        first = value.values[0] if value.values else None
        return isinstance(first, ast.FormattedValue) and _begins_with_tenant(first.value)
    if isinstance(value, ast.Call):
        return bool(value.args) and _begins_with_tenant(value.args[0])
    return isinstance(value, ast.Name) and value.id in TENANTS


def check_calls(source: str, path: str) -> list[Finding]:
    """Store calls of a module whose partition key is text made on the spot, and scans."""
    tree = ast.parse(source)
    models = _imported_models(tree)
    if not models:
        return []
    findings = []
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.FunctionDef)):
        made = _texts(function)
        for node in _own(function):
            if _is_scan(node, models):
                findings.append(Finding(path, node.lineno, "a scan crosses tenants"))
            for key in _partition_keys(node, models):
                if _is_text(key) or (isinstance(key, ast.Name) and key.id in made):
                    message = "partition keys come from the functions of shared.store.models, not from text"
                    findings.append(Finding(path, key.lineno, message))
    return sorted(set(findings), key=lambda finding: finding.line)


def _imported_models(tree: ast.Module) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("shared.store.models"):
            names |= {alias.asname or alias.name for alias in node.names if alias.name[:1].isupper()}
    return {name for name in names if not name.isupper()}


def _own(function: ast.AST) -> Iterator[ast.expr]:
    """The expressions of a function, without those of functions inside it."""
    for child in ast.iter_child_nodes(function):
        if isinstance(child, ast.FunctionDef):
            continue
        if isinstance(child, ast.expr):
            yield child
        yield from _own(child)


def _texts(function: ast.AST) -> set[str]:
    """Names that a function binds to text made on the spot."""
    names = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and _is_text(node.value):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


def _is_text(value: ast.expr) -> bool:
    if isinstance(value, ast.Constant):
        return isinstance(value.value, str)
    if isinstance(value, ast.BinOp):
        return _is_text(value.left) or _is_text(value.right)
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
        return value.func.attr in ("format", "join")
    return isinstance(value, ast.JoinedStr)


def _root(value: ast.expr) -> str | None:
    while isinstance(value, ast.Attribute):
        value = value.value
    return value.id if isinstance(value, ast.Name) else None


def _is_scan(node: ast.expr, models: set[str]) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and (
        node.func.attr == "scan" and _root(node.func) in models
    )  # fmt: skip


def _partition_keys(node: ast.expr, models: set[str]) -> Iterator[ast.expr]:
    """The expressions a store call takes its partition key from: made records, reads, and (Model, pk, …) lists."""
    if isinstance(node, ast.Tuple):
        yield from _after_model(node.elts, models)
    if not isinstance(node, ast.Call):
        return
    called = isinstance(node.func, ast.Name) and node.func.id in models
    read = isinstance(node.func, ast.Attribute) and node.func.attr in READS and _root(node.func) in models
    if called or read:
        yield from node.args[:1]
        yield from (keyword.value for keyword in node.keywords if keyword.arg in ("pk", "hash_key"))
    yield from _after_model(node.args, models)


def _after_model(values: list[ast.expr], models: set[str]) -> Iterator[ast.expr]:
    if len(values) > 1 and isinstance(values[0], ast.Name) and values[0].id in models:
        yield values[1]


def main() -> int:
    """Print the findings; 1 when there are any."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    findings = check(root)
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
