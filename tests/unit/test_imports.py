"""Which modules each function loads before its first event: what a cold start pays for, without a clock."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache

import pytest

from scripts.template import ROOT, functions
from shared.adapters.aws import preload

FAMILIES = sorted(function.family for function in functions().values())
API = sorted(set(FAMILIES) - {"engine", "relay", "sweep"})

DOMAINS = {
    "accounts": {"identity"},
    "alerts": {"governance", "identity", "vault"},
    "approvals": {"governance", "identity"},
    "audit": {"engine", "governance", "identity"},
    "auth": {"identity"},
    "channels": {"catalog", "dialects", "engine", "governance", "identity", "push"},
    "engine": {"catalog", "dialects", "engine", "governance", "identity", "outbound", "vault"},
    "executions": {"catalog", "dialects", "engine", "identity"},
    "flows": {"catalog", "dialects", "engine", "identity"},
    "gate": {"governance", "identity"},
    "orgs": {"governance", "identity"},
    "policies": {"governance", "identity"},
    "relay": {"catalog", "dialects", "engine", "governance", "identity", "push"},
    "secrets": {"identity", "vault"},
    "signup": {"governance", "identity"},
    "sweep": {"catalog", "dialects", "engine", "governance", "identity", "outbound", "push", "vault"},
    "system": {"identity"},
    "tracking": {"governance", "identity"},
    "workflows": {"governance", "identity"},
}
"""The domains that a family loads when it starts; the others wait in ``shared.composition`` until they are needed."""

NEVER = (
    "cronsim", "fastapi_offline", "httpx", "psycopg", "quickjs", "requests", "uvicorn", "websockets", "yaml",
    "shared.adapters.embedded", "shared.store.embedded", "shared.outbound",
)  # fmt: skip
"""What no function that answers people loads when it starts."""

RUNNING = (
    "shared.engine.advance", "shared.engine.attempt", "shared.engine.interpreter", "shared.engine.journal",
    "shared.engine.expressions.javascript", "shared.engine.expressions.pool",
)  # fmt: skip
"""What only runs executions."""

AGENTS = ("gate", "tracking")
"""The families that agents wait for with every call they make."""

NEVER_FOR_AGENTS = (
    "argon2",
    "cryptography",
    "graphql",
    "jinja2",
    "jwt",
    "shared.engine",
    "shared.catalog",
    "shared.vault",
)
"""What those do not load either: nothing of people's sign-in, of flows, of secrets."""

# Forks one process per family, so that the frameworks are imported once. Answers {family: [module, …]}.
PROGRAM = """
import fastapi, importlib, json, mangum, os, pynamodb.models, sys
loaded = {}
for family in sys.argv[1:]:
    read, write = os.pipe()
    if os.fork() == 0:
        importlib.import_module(f"functions.{family}.app")
        import boto3
        assert boto3.DEFAULT_SESSION is None, "a client was made"
        with os.fdopen(write, "w") as pipe:
            json.dump(sorted(sys.modules), pipe)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        loaded[family] = json.load(pipe)
    os.wait()
print(json.dumps(loaded))
"""


@cache
def loaded() -> dict[str, frozenset[str]]:
    """Modules by family, as on AWS."""
    command = [sys.executable, "-c", PROGRAM, *FAMILIES]
    variables = {
        "SIGNALBOX_ADAPTER": "aws", "SIGNALBOX_HMAC_REQUIRED": "true",
        "AWS_LAMBDA_FUNCTION_NAME": "signalbox", "LAMBDA_TASK_ROOT": str(ROOT),
    }  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {family: frozenset(modules) for family, modules in json.loads(done.stdout).items()}


def below(family: str, *names: str) -> set[str]:
    """Loaded modules that are one of ``names`` or lie below one."""
    return {module for module in loaded()[family] for name in names if f"{module}.".startswith(f"{name}.")}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_function_loads_the_domains_it_serves(family: str) -> None:
    """No family pays for the domains of another."""
    found = {module.split(".")[1] for module in below(family, "shared") if "." in module}
    assert found - {"adapters", "assembly", "composition", "kit", "store", "web"} == DOMAINS[family]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_function_loads_no_other_function(family: str) -> None:
    """A handler brings its own package only."""
    assert below(family, "functions") - below(family, f"functions.{family}") == {"functions"}


@pytest.mark.parametrize("family", API)
def test_an_api_function_cannot_run_flows(family: str) -> None:
    """Interpreter, node kinds, script engines, database drivers and HTTP clients stay out of what answers people."""
    assert below(family, *NEVER, *RUNNING) == set()
    assert below(family, "shared.engine.kinds") <= {"shared.engine.kinds", "shared.engine.kinds.base"}


@pytest.mark.parametrize("family", AGENTS)
def test_what_agents_wait_for_is_light(family: str) -> None:
    """The gate and tracking load what judges calls and keeps money, and of identity no more than what a caller is."""
    assert below(family, *NEVER_FOR_AGENTS, *NEVER) == set()
    assert below(family, "shared.identity") == {"shared.identity", "shared.identity.principal"}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_function_starts_with_what_its_first_event_needs(family: str) -> None:
    """What the composition would import for the first caller is there before, AWS's client library included."""
    assert set(preload.MODULES[family]) | {"boto3", "pynamodb"} <= loaded()[family]


def test_the_engine_starts_with_every_node_kind() -> None:
    """No execution waits for the import of a node kind."""
    kinds = {f"shared.engine.kinds.{path.stem}" for path in (ROOT / "shared" / "engine" / "kinds").glob("[a-z]*.py")}
    assert kinds <= loaded()["engine"]


@pytest.mark.parametrize("family", ["engine", "relay", "sweep"])
def test_a_function_without_http_loads_no_http_framework(family: str) -> None:
    """What machines call is no web application: without FastAPI in the process, its handler loads none."""
    program = (
        f"import sys, functions.{family}.app; "
        "print([name for name in ('fastapi', 'mangum', 'starlette', 'shared.web') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
