"""Texts that mean a workflow. Source: docs/rulings.md#workflow-aliases."""

from __future__ import annotations

import pytest

from shared.governance.aliases import MAX_ALIAS, MAX_ALIASES, aliases_of
from shared.governance.workflow_forms import Draft
from shared.governance.workflows import Workflows
from shared.kit.errors import Conflict
from shared.store.embedded import EmbeddedEngine
from shared.store.models.governance import Workflow, workflows_pk
from shared.store.transaction import Transaction, read
from tests.support.workflows import ORG, at_once, member, the_workflows

OPERATOR = member()


@pytest.fixture
def workflows(store: EmbeddedEngine) -> Workflows:
    return the_workflows()


@pytest.fixture
def workflow(workflows: Workflows) -> str:
    return workflows.create(OPERATOR, Draft("bot", "bot-1")).id


def known(workflow_id: str) -> list[str]:
    record = read(Workflow, workflows_pk(ORG), workflow_id)
    assert record is not None
    return aliases_of(record)


def test_name_external_id_and_what_clients_use(workflows: Workflows, workflow: str) -> None:
    """Each text once; what means the workflow already adds nothing."""
    for text in ("helper", "bot", "bot-1", workflow, "helper", "büro ☎"):
        workflows.add_alias(ORG, workflow, text)
    assert known(workflow) == ["bot", "bot-1", "helper", "büro ☎"]


@pytest.mark.parametrize("text", ["", "x" * (MAX_ALIAS + 1), "\ud800"])
def test_what_is_no_alias(workflows: Workflows, workflow: str, text: str) -> None:
    """Texts that are too long, or none, are let pass and not kept."""
    workflows.add_alias(ORG, workflow, text)
    assert known(workflow) == ["bot", "bot-1"]


def test_there_is_room_for_fifty(workflows: Workflows, workflow: str) -> None:
    """The first fifty stay, the rest is let pass."""
    for number in range(MAX_ALIASES + 3):
        workflows.add_alias(ORG, workflow, f"name {number}")
    assert known(workflow) == ["bot", "bot-1", *(f"name {number}" for number in range(MAX_ALIASES))]


def test_aliases_at_once(workflows: Workflows, workflow: str) -> None:
    """None is lost to another."""
    texts = [f"name {number}" for number in range(4)]
    at_once(*(lambda text=text: workflows.add_alias(ORG, workflow, text) for text in texts))
    assert set(known(workflow)) == {"bot", "bot-1", *texts}


def test_former_names_stay(workflows: Workflows, workflow: str) -> None:
    """A client that still uses the name of before is told under it."""
    workflows.add_alias(ORG, workflow, "bot")
    workflows.update(OPERATOR, workflow, {"name": "new", "external_id": None})
    assert known(workflow) == ["new", "bot", "bot-1"]


def test_unknown_workflows_and_a_failing_store(
    workflows: Workflows, workflow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller, whose request is about something else, never notices; a failed one is tried again next time."""
    workflows.add_alias(ORG, "nope", "helper")
    assert read(Workflow, workflows_pk(ORG), "nope") is None

    def failing(_: Transaction) -> None:
        raise Conflict("no")

    with monkeypatch.context() as patched:
        patched.setattr(Transaction, "commit", failing)
        workflows.add_alias(ORG, workflow, "helper")
    assert "helper" not in known(workflow)
    workflows.add_alias(ORG, workflow, "helper")
    assert "helper" in known(workflow)
