"""A workflow of Ada's org with a key, and a flow."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from functions.flows.app import handler as flows
from functions.workflows.app import handler
from tests.support.apigw import call
from tests.support.deployment import Person
from tests.support.orgs import made, org_path, send_to

send = partial(send_to, handler)
"""One request to the family: method, path, who, body."""


@pytest.fixture
def workflow(ada: Person) -> str:
    """A workflow of Ada's org."""
    return str(made(send("POST", org_path(ada, "/workflows"), ada, {"name": "bot", "budget_cents": 5000}))["id"])


@pytest.fixture
def key(ada: Person, workflow: str) -> dict[str, Any]:
    """A key of that workflow, as it was minted."""
    return made(send("POST", org_path(ada, "/api-keys"), ada, {"name": "prod", "workflow_id": workflow}))


@pytest.fixture
def flow(ada: Person) -> str:
    """A flow of Ada's org."""
    text = "metadata: {name: a flow}\nnodes: {start: {type: transform, params: {script: 'return 1;'}}}"
    sent = {"name": "a flow", "definition": text}
    return str(made(call(flows, "POST", "/api/v1/flows", headers=ada.headers, json=sent))["id"])
