"""What an author's expressions see, and that secrets leave nothing behind."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from shared.engine.kinds.base import Call, Done, ExecutionFacts, NodeFailed
from shared.engine.scope import LazySecrets, ScopeFactory
from shared.engine.state import Group, State, Token
from tests.support.engine import World, node

EXECUTION = ExecutionFacts("e-1", "org-1", "account-1", "flow-1")


def no_secrets() -> LazySecrets:
    return LazySecrets(dict)


def test_a_nodes_scope() -> None:
    """Input, the input before it, the error that led here, outputs, and who runs; copies the fold cannot change."""
    state = State(shared={"a": 1}, outputs={"first": 2})
    token = Token(1, "n", {"in": 1}, previous_input={"before": 1}, error={"message": "m"})
    scope, _ = ScopeFactory(EXECUTION, no_secrets()).scope(state, token)
    state.shared["a"], state.outputs["second"] = 9, 9
    assert (scope.input, scope.previous_input, scope.error) == ({"in": 1}, {"before": 1}, {"message": "m"})
    assert (scope.shared, scope.results, scope.has_item) == ({"a": 1}, {"first": 2}, False)
    assert scope.execution == {"id": "e-1", "flow_id": "flow-1", "account_id": "account-1"}


def test_an_elements_scope() -> None:
    """Its owner's input, its own item and index."""
    owner = Token(1, "n", {"items": ["x", "y"]}, error={"message": "m"})
    state = State(tokens={1: owner}, groups={1: Group(1, 1, 2, batch=True)})
    token = Token(3, "n", None, group=1, branch=1, is_item=True)
    scope, _ = ScopeFactory(EXECUTION, no_secrets()).scope(state, token)
    assert (scope.input, scope.item, scope.index, scope.has_item) == ({"items": ["x", "y"]}, "y", 1, True)
    assert scope.error == {"message": "m"}


def test_secrets_are_read_when_asked_for() -> None:
    """Once, and not at all by who does not ask."""
    loads: list[int] = []

    def load() -> Mapping[str, str]:
        loads.append(1)
        return {"KEY": "hunter22"}

    secrets = LazySecrets(load)
    factory = ScopeFactory(EXECUTION, secrets)
    assert (factory.redact("hunter22"), secrets.loaded, loads) == ("hunter22", {}, [])
    assert (secrets["KEY"], len(secrets), list(secrets), loads) == ("hunter22", 1, ["KEY"], [1])
    assert factory.redact({"hunter22": ["x hunter22 y"]}) == {"[redacted]": ["x [redacted] y"]}


@pytest.mark.parametrize("where", ["output", "shared", "log", "data", "failure", "failed output", "action", "key"])
def test_no_secret_in_the_journal(world: World, where: str) -> None:
    """Wherever a node puts one, in clear or in a form it travels in."""
    world.secret_values = {"KEY": 'hun"ter22'}

    def leak(call: Call) -> Done:
        secret = call.scope.secrets["KEY"]
        match where:
            case "output":
                return Done({"text": f"Bearer {secret}", "json": 'x hun\\"ter22'})
            case "shared":
                return Done(1, shared={"a": secret})
            case "log":
                call.log("info", f"key {secret}")
            case "data":
                call.log("info", "row", {"key": secret})
            case "failure":
                raise NodeFailed(f"refused {secret}")
            case "failed output":
                raise NodeFailed("refused", output={"sent": secret})
            case "action":
                return Done(1, (secret, "default"))
            case "key":
                return Done({secret: 1})
        return Done(1)

    world.kind("leak", leak)
    view = world.run(node("a", "leak", {"default": "b", "error": "b"}), node("b"))
    assert view.status == "completed"
    written = str(world.facts(view.id)) + str(view)
    assert "ter22" not in written
    assert "[redacted]" in written or where == "shared"
