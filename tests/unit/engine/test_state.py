"""The fold: live and replayed states are the same, at every index, through JSON."""

from __future__ import annotations

import pytest

from shared.engine.kinds.base import Done, Wait
from shared.engine.program import Batch, Node, Program, Retry
from shared.engine.state import Group, State, Token, batch_items
from shared.kit import json
from tests.support.engine import FLOW, World, node


def flows(world: World) -> dict[str, list[Node]]:
    left = [2]

    def flaky(call: object) -> Done:
        if left and left[0]:
            left[0] -= 1
            raise ValueError("it broke")
        return Done("mended")

    world.kind("flaky", flaky)
    world.kind(
        "nap", lambda call: Wait(world.clock.now_ms() + 60_000, None, {"n": 1}), lambda call, _: Done(call.input)
    )
    script = {"script": "shared['n'] = index; value = item"}
    return {
        "line": [node("a", next={"default": "b"}, result_keys=("result",)), node("b")],
        "wait": [node("a", "nap", {"default": "b"}, hooks={"prep": "context['x'] = 1; shared['p'] = 1"}), node("b")],
        "retry": [node("a", "flaky", retry=Retry(3, 5_000))],
        "error": [node("a", "flaky", {"error": "b"}), node("b")],
        "batch": [node("a", "script", params=script, batch=Batch(2))],
        "fork": [
            node("s", next={"x": "a", "y": "n", "default": "d"}, routing="fork"),
            node("a", "script", params=script, batch=Batch(2)), node("n", "nap"), node("d"),
        ],
    }  # fmt: skip


@pytest.mark.parametrize("name", ["line", "wait", "retry", "error", "batch", "fork"])
def test_replay_from_any_snapshot(world: World, name: str) -> None:
    """A state written at any index and read back folds the rest of the journal to the same end."""
    execution_id = world.start(*flows(world)[name], input={"items": [1, 2, 3]})
    world.settle(600)
    assert world.view(execution_id).status == "completed"
    program, facts = world.programs[FLOW], world.facts(execution_id)
    end = folded(State(), facts, program)
    for index in range(len(facts)):
        saved = json.dumps(folded(State(), facts[:index], program).to_json())
        again = folded(State.from_json(json.loads(saved)), facts[index:], program)
        assert again.to_json() == end.to_json()


def folded(state: State, facts: list[dict[str, object]], program: Program) -> State:
    for fact in facts:
        state.apply(fact, program)
    return state


@pytest.mark.parametrize(
    ("value", "items"),
    [([1], [1]), ({"items": [1]}, [1]), ({"items": "ab"}, None), ({}, None), ("ab", None), (None, None), ([], [])],
)
def test_what_is_a_list(value: object, items: object) -> None:
    """A list, or the list under items."""
    assert batch_items(value) == items


def test_dropping_a_group_drops_everything_in_it() -> None:
    """Groups inside groups too, and nothing beside them."""
    state = State()
    for number, group in ((1, None), (2, 1), (3, 1), (4, 2), (5, None), (6, 3)):
        state.tokens[number] = Token(number, "n", None, group=group)
    for number, owner in ((1, 1), (2, 2), (3, 5)):
        state.groups[number] = Group(number, owner, 1, batch=False)
    state.drop_below(state.tokens[1])
    assert (sorted(state.tokens), sorted(state.groups)) == ([1, 5, 6], [3])


def test_facts_it_does_not_know_change_nothing() -> None:
    """Rows of the log, and what later versions may add."""
    state = State()
    before = state.to_json()
    state.apply({"type": "log", "at": 1}, Program("", "", "", "", "", {}))
    assert state.to_json() == before


def test_an_answer_nobody_waits_for_changes_nothing() -> None:
    """The token is gone, or waits for something else."""
    state = State(tokens={1: Token(1, "n", None, status="waiting", wait="b#2")})
    nothing = Program("", "", "", "", "", {})
    for token in (1, 2):
        state.apply({"type": "wait_ended", "wait": "b#1", "token": token, "timed_out": False}, nothing)
    assert (state.tokens[1].status, state.tokens[1].answer) == ("waiting", None)
