"""The tenancy lint finds keys that could leave their tenant, and the project has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.lint_tenancy import check, check_builders, check_calls

ROOT = Path(__file__).resolve().parents[3]
IMPORT = "from shared.store.models.executions import Control, Summary, execution_pk\n"


def test_the_project_is_clean() -> None:
    """Every key function begins with the org and every store call uses one."""
    assert [str(finding) for finding in check(ROOT)] == []


@pytest.mark.parametrize(
    "source",
    [
        "def thing_pk(name: str) -> str:\n    return name",
        "def thing_pk(name: str, org_id: str) -> str:\n    return f'{org_id}#{name}'",
        "def thing_pk(org_id: str, name: str) -> str:\n    return f'{name}#{org_id}'",
        "def thing_pk(org_id: str, name: str) -> str:\n    return f'x#{org_id}'",
        "def thing_pk(org_id: str, name: str) -> str:\n    return name",
        "def thing_pk() -> str:\n    return 'all'",
    ],
)
def test_bad_key_functions(source: str) -> None:
    """A key function without the org at its beginning is found."""
    assert len(check_builders(source, "things", "things.py")) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("things", "def thing_pk(org_id: str, name: str) -> str:\n    return f'{org_id}#{name}'"),
        ("things", "def thing_pk(org_id: str) -> str:\n    return org_id"),
        ("things", "def thing_pk(org_id: str) -> str:\n    return other_pk(org_id, 'x')"),
        ("things", "def thing_sk(name: str) -> str:\n    return f'thing#{name}'"),
        ("identity", "def account_pk(account_id: str) -> str:\n    return f'account#{account_id}'"),
    ],
)
def test_good_key_functions(module: str, source: str) -> None:
    """Key functions that begin with the org pass, and those of records beyond orgs."""
    assert check_builders(source, module, f"{module}.py") == []


@pytest.mark.parametrize(
    "statement",
    [
        "Control.get(f'{org}#{name}', 'control')",
        "Control.get('all', 'control')",
        "Control.query(org + '#' + name)",
        "Control.query('%s#%s' % (org, name))",
        "Control.query('{}#{}'.format(org, name))",
        "Control(f'{org}#{name}', 'control')",
        "Control(pk=f'{org}#{name}', sk='control')",
        "Summary.by_org.query('#'.join(parts))",
        "transaction.check(Control, f'{org}#1', 'control', condition)",
        "read_together((Control, f'{org}#1', 'control'))",
        "pk = f'{org}#{name}'\n    Control.get(pk, 'control')",
        "list(Control.scan())",
    ],
)
def test_bad_calls(statement: str) -> None:
    """A partition key made on the spot is found in every form of call, and so is a scan."""
    source = f"{IMPORT}def work(org, name, parts, transaction, condition):\n    {statement}\n"
    assert len(check_calls(source, "shared/some.py")) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "Control.get(execution_pk(org, name), 'control')",
        "Control(execution_pk(org, name), 'control')",
        "pk = execution_pk(org, name)\n    Control.query(pk, Control.sk.startswith(f'wait#{name}'))",
        "Summary.by_org.query(org)",
        "parts.get(f'{org}#{name}')",
        "transaction.check(Control, execution_pk(org, name), f'child#{name}', condition)",
        "read_together((Control, execution_pk(org, name), f'child#{name}'))",
    ],
)
def test_good_calls(statement: str) -> None:
    """Keys from key functions pass, and sort keys may be made on the spot."""
    source = f"{IMPORT}def work(org, name, parts, transaction, condition):\n    {statement}\n"
    assert check_calls(source, "shared/some.py") == []
