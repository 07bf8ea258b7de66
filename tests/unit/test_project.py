"""The files around the code: documents, locks, scripts, and the rules of the tests themselves."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest

from scripts import settings, sizes
from shared.kit.version import VERSION

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("runtime", "lambda", "dev", "sam", "emulator", "bench")
REGISTRIES = ("pypi" + ".org", "python" + "hosted.org", "npm" + "js.org", "npmjs" + ".com")


@cache
def committed() -> tuple[Path, ...]:
    """Every file under version control; every file, where there is no repository."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        return tuple(path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file())
    return tuple(
        path for path in ROOT.rglob("*") if path.is_file() and not path.relative_to(ROOT).parts[0].startswith(".")
    )


def text(path: Path) -> str:
    """A file's text; what is not UTF-8 is replaced."""
    return path.read_text(encoding="utf-8", errors="replace")


def test_settings_are_documented() -> None:
    """docs/settings.md is what the settings model says."""
    assert settings.FILE.read_text(encoding="utf-8") == settings.page()


def test_one_version() -> None:
    """The project and its API document name the same version."""
    assert tomllib.loads(text(ROOT / "pyproject.toml"))["project"]["version"] == VERSION


def test_nothing_is_too_long(tmp_path: Path) -> None:
    """The size check finds a module of 401 lines and a function of 51, and nothing in what is just short enough."""
    module = tmp_path / "long.py"
    module.write_text("def f():\n" + "    x = 1\n" * 50 + "\n" * 350)
    assert len(list(sizes.findings(module))) == 2
    module.write_text("def f():\n" + "    x = 1\n" * 49 + "\n" * 350)
    assert list(sizes.findings(module)) == []


def test_no_file_names_a_package_registry() -> None:
    """Where packages come from is the business of whoever installs them."""
    found = [str(path) for path in committed() if any(host in text(path) for host in REGISTRIES)]
    assert found == []


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_is_complete(name: str) -> None:
    """Every package of a lock has a version and a hash, and every one that was asked for is in it."""
    lock = text(ROOT / "requirements" / f"{name}.txt")
    pinned = dict(re.findall(r"^([a-z0-9_.-]+)==(\S+) \\\n    --hash=sha256:[0-9a-f]{64}", lock, re.MULTILINE))
    lines = [line for line in lock.splitlines() if line and not line.startswith((" ", "#"))]
    assert len(lines) == len(pinned)
    asked = re.findall(r"^([A-Za-z0-9_.-]+)", text(ROOT / "requirements" / f"{name}.in"), re.MULTILINE)
    normal = {re.sub(r"[-_.]+", "-", word).lower() for word in asked if not word.startswith("-")}
    assert normal - set(pinned) <= ({"boto3", "botocore"} if name == "lambda" else set())


def test_locks_agree() -> None:
    """Tests and functions run on the versions that the server runs on."""

    def versions(name: str) -> dict[str, str]:
        return dict(re.findall(r"^([a-z0-9_.-]+)==(\S+)", text(ROOT / "requirements" / f"{name}.txt"), re.MULTILINE))

    runtime = versions("runtime")
    for name in ("lambda", "dev"):
        other = versions(name)
        assert {word: other[word] for word in runtime.keys() & other.keys()} == {
            word: runtime[word] for word in runtime.keys() & other.keys()
        }


@pytest.mark.parametrize(
    "script", ["bench", "chaos", "conformance", "costs", "deploy", "invoke", "lock", "serve", "simulate", "test"]
)
def test_a_script_is_one(script: str) -> None:
    """Every command can be called by its path, and bash takes it."""
    path = ROOT / "scripts" / script
    assert path.stat().st_mode & 0o111
    assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0


def test_every_link_leads_somewhere() -> None:
    """Documents point only at files and headings that exist."""
    broken = []
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)\s]+)\)", text(path)):
            if not target.startswith("http"):
                name, _, anchor = target.partition("#")
                file = (path.parent / name) if name else path
                headings = {
                    re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-")
                    for line in (text(file).splitlines() if file.is_file() else ())
                    if line.startswith("#")
                }
                if not file.exists() or (anchor and anchor not in headings):
                    broken.append(f"{path.name}: {target}")
    assert broken == []


def test_every_ruling_that_is_cited_exists() -> None:
    """Code and tests cite rulings by an anchor that is there."""
    anchors = set(re.findall(r"^## (\S+)$", text(ROOT / "docs" / "rulings.md"), re.MULTILINE))
    cited = {
        (path.relative_to(ROOT).as_posix(), anchor)
        for path in committed()
        if path.suffix == ".py"
        for anchor in re.findall(r"docs/rulings\.md#([a-z0-9-]+)", text(path))
    }
    assert sorted(place for place in cited if place[1] not in anchors) == []


def test_every_test_states_its_guarantee() -> None:
    """Each test function has a docstring."""
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for node in ast.walk(ast.parse(text(path)))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if node.name.startswith("test_") and ast.get_docstring(node) is None
    ]
    assert silent == []
