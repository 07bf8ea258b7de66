"""Which workflow governs which definition. Source: docs/rulings.md#bindings."""

from __future__ import annotations

import pytest

from shared.governance.bindings import Bindings
from shared.governance.workflow_forms import Draft
from shared.governance.workflows import Workflows
from shared.kit.errors import Conflict, Forbidden, NotFound
from shared.store.embedded import EmbeddedEngine
from shared.store.models.policies import Binding
from tests.support.workflows import OTHER_ORG, at_once, events_of, key_principal, member, the_workflows

OPERATOR = member()
FLOW = "flow-1"


@pytest.fixture
def workflows(store: EmbeddedEngine) -> Workflows:
    return the_workflows()


@pytest.fixture
def workflow(workflows: Workflows) -> str:
    return workflows.create(OPERATOR, Draft("bot")).id


def test_bind_and_unbind(workflow: str) -> None:
    """A definition is governed once it is bound and until it is not; repetitions change and tell nothing."""
    bindings = Bindings()
    made = bindings.put(OPERATOR, workflow, FLOW)
    assert bindings.put(OPERATOR, workflow, FLOW).created_ms == made.created_ms
    assert [one.definition_id for one in bindings.list(key_principal(), workflow)] == [FLOW]
    assert bindings.get(OPERATOR, workflow, FLOW).workflow_id == workflow
    bindings.remove(OPERATOR, workflow, FLOW)
    assert bindings.list(OPERATOR, workflow) == []
    with pytest.raises(NotFound):
        bindings.remove(OPERATOR, workflow, FLOW)
    assert [event.action for event in events_of()][1:] == ["workflow.bound", "workflow.unbound"]


def test_one_workflow_at_most(workflows: Workflows, workflow: str) -> None:
    """Another workflow gets the definition only after the first gave it up, and cannot take it from it."""
    bindings, other = Bindings(), workflows.create(OPERATOR, Draft("other")).id
    bindings.put(OPERATOR, workflow, FLOW)
    with pytest.raises(Conflict):
        bindings.put(OPERATOR, other, FLOW)
    with pytest.raises(NotFound):
        bindings.remove(OPERATOR, other, FLOW)
    assert bindings.list(OPERATOR, other) == []
    bindings.remove(OPERATOR, workflow, FLOW)
    assert bindings.put(OPERATOR, other, FLOW).workflow_id == other


def test_bindings_at_once(workflows: Workflows) -> None:
    """Of several workflows that ask for a definition one gets it."""
    made = [workflows.create(OPERATOR, Draft("bot")).id for _ in range(4)]
    results = at_once(*(lambda one=one: Bindings().put(OPERATOR, one, FLOW) for one in made))
    assert sorted(type(result).__name__ for result in results) == ["Binding", "Conflict", "Conflict", "Conflict"]
    winner = next(result for result in results if isinstance(result, Binding))
    assert [one.definition_id for one in Bindings().list(OPERATOR, winner.workflow_id)] == [FLOW]


def test_a_killed_workflow_governs_nothing_new(workflows: Workflows, workflow: str) -> None:
    """What it governs it goes on governing, so that its executions stay stopped."""
    bindings = Bindings()
    bindings.put(OPERATOR, workflow, FLOW)
    workflows.change_state(OPERATOR, workflow, "kill")
    with pytest.raises(Conflict):
        bindings.put(OPERATOR, workflow, "flow-2")
    assert [one.definition_id for one in bindings.list(OPERATOR, workflow)] == [FLOW]


def test_a_deleted_workflow_frees_its_definitions(workflows: Workflows, workflow: str) -> None:
    """They may be bound to another one, and what others govern stays bound."""
    bindings, other = Bindings(), workflows.create(OPERATOR, Draft("other")).id
    bindings.put(OPERATOR, workflow, FLOW)
    bindings.put(OPERATOR, other, "flow-2")
    workflows.delete(OPERATOR, workflow)
    assert bindings.put(OPERATOR, other, FLOW).workflow_id == other
    assert len(bindings.list(OPERATOR, other)) == 2
    with pytest.raises(NotFound):
        bindings.list(OPERATOR, workflow)


@pytest.mark.parametrize("definition_id", ["nope", "", "x" * 3000, "a/b"])
def test_unknown_definitions(workflow: str, definition_id: str) -> None:
    """What is not bound is not found."""
    with pytest.raises(NotFound):
        Bindings().get(OPERATOR, workflow, definition_id)


def test_other_orgs_and_weak_roles(workflow: str) -> None:
    """A workflow of another org does not exist; viewers and keys bind nothing."""
    bindings = Bindings()
    with pytest.raises(NotFound):
        bindings.put(member(org_id=OTHER_ORG), workflow, FLOW)
    with pytest.raises(NotFound):
        bindings.list(member(org_id=OTHER_ORG), workflow)
    for weak in (member("viewer"), key_principal()):
        with pytest.raises(Forbidden):
            bindings.put(weak, workflow, FLOW)
        with pytest.raises(Forbidden):
            bindings.remove(weak, workflow, FLOW)
    assert bindings.list(OPERATOR, workflow) == []
