"""What an author's expressions see, and that secrets leave nothing behind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from shared.engine.kinds.base import Answer, Call, Done, ExecutionFacts, NodeFailed, Wait
from shared.engine.scope import LazySecrets, ScopeFactory
from shared.engine.state import Group, State, Token
from shared.kit.errors import Unavailable
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


def test_the_key_of_a_wait_is_no_secret(world: World) -> None:
    """Whoever answers has to know the key, so it cannot be hidden; the node fails instead."""
    world.secret_values = {"KEY": "hunter22"}
    world.kind("ask", lambda call: Wait(None, key=f"for {call.scope.secrets['KEY']}"))
    execution_id = world.start(node("a", "ask"))
    world.settle()
    assert "must not contain a secret" in str(world.view(execution_id).error)
    assert "hunter22" not in str(world.facts(execution_id))


def test_what_a_wait_keeps_holds_no_secret(world: World) -> None:
    """The state of a node that waits is stored like its output."""
    world.secret_values = {"KEY": "hunter22"}
    states: list[Any] = []

    def nap(call: Call) -> Wait:
        return Wait(world.clock.now_ms() + 60_000, state={"said": [f"it is {call.scope.secrets['KEY']}"], "step": 1})

    def wake(call: Call, answer: Answer) -> Done:
        states.append(answer.state)
        return Done(None)

    world.kind("nap", nap, wake)
    execution_id = world.start(node("n", "nap"))
    world.settle()
    assert "hunter22" not in str(world.facts(execution_id))
    world.settle(61)
    assert states == [{"said": ["it is [redacted]"], "step": 1}]


def test_a_secret_that_comes_back_later(world: World) -> None:
    """Once an execution has read its secrets they are searched for after a wait too; before, the vault rests."""
    world.secret_values = {"KEY": "hunter22"}
    world.kind("use", lambda call: Done(len(call.scope.secrets["KEY"])))
    world.kind("nap", lambda call: Wait(world.clock.now_ms() + 60_000), lambda call, answer: Done(call.input))
    world.kind("echo", lambda call: Done({"sent": "hunter22"}))
    flow = [node("a", "use", {"default": "n"}), node("n", "nap", {"default": "e"}), node("e", "echo")]
    execution_id = world.start(*flow)
    world.settle(61)
    assert world.view(execution_id).result == {"sent": "[redacted]"}
    assert len(world.facts(execution_id, "secrets_read")) == 1
    assert world.run(node("e", "echo")).result == {"sent": "hunter22"}


def test_a_vault_out_of_reach_does_not_fail_an_execution(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The advance fails and is tried again."""
    world.secret_values = {"KEY": "hunter22"}
    world.kind("use", lambda call: Done(len(call.scope.secrets["KEY"])))
    world.kind("nap", lambda call: Wait(world.clock.now_ms() + 60_000), lambda call, answer: Done("slept"))
    execution_id = world.start(node("a", "use", {"default": "n"}), node("n", "nap"))
    world.settle()
    world.clock.advance(61)

    def away(org_id: str, account_id: str) -> Mapping[str, str]:
        raise Unavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(world, "values", away)
        with pytest.raises(Unavailable):
            world.advance(execution_id)
    world.clock.advance(31)
    assert (world.advance(execution_id).word, world.view(execution_id).result) == ("end", "slept")
