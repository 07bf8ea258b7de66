"""How much an execution may hold at once."""

from __future__ import annotations

import functools

import pytest

from shared.engine.program import Batch
from shared.engine.settling import TOO_HEAVY
from shared.engine.state import Group, State, Token
from shared.engine.weight import Weight
from tests.support.engine import World, node


def text(letter: str) -> str:
    """A hundred bytes as JSON."""
    return letter * 98


def test_the_limit_is_what_is_held_not_what_was_made() -> None:
    """Values that were replaced make room; the same one in several places counts once."""
    state = State(shared={"a": text("a")})
    weight = Weight(state, most=350, small=0)
    for letter in "bcdefgh":
        assert weight.bears(text(letter), None)
        state.outputs["loop"] = state.shared["result"] = text(letter)
    state.shared["more"] = text("m")
    assert not weight.bears(text("n"))
    del state.shared["more"]
    assert weight.bears(text("n"))


def test_little_is_taken_beyond_the_limit() -> None:
    """Up to twice as much, so that what handles the failure can run."""
    weight = Weight(State(shared={"a": text("a")}), most=150, small=100)
    assert not weight.bears(text("b") + "b")
    assert weight.bears(text("b")) and weight.bears(text("c"))
    assert not Weight(State(shared={"a": text("a") * 3}), most=150, small=100).bears(text("b"))


def test_everything_an_author_can_still_see_counts() -> None:
    """Inputs and outputs of tokens, elements of batches and the shared scope."""
    state = State(shared={"a": text("a")}, outputs={"b": text("b")})
    state.tokens[1] = Token(1, "n", input=text("c"), previous_input=text("d"), output=text("e"))
    state.groups[1] = Group(1, 1, 1, batch=True, outputs={"0": text("f")})
    assert Weight(state, most=700, small=0).bears(text("g"))
    assert not Weight(state, most=699, small=0).bears(text("g"))


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """Executions may hold a thousand bytes."""
    monkeypatch.setattr("shared.engine.settling.Weight", functools.partial(Weight, most=1000, small=10))


@pytest.mark.usefixtures("light")
def test_a_batch_cannot_pile_up_results(world: World) -> None:
    """It fails once they are too many, and says why."""
    heavy = node("heavy", "script", batch=Batch(), params={"script": "value = 'x' * 200 + str(len(shared))"})
    view = world.run(heavy, input={"items": list(range(20))})
    assert (view.status, view.error) == ("failed", TOO_HEAVY)


@pytest.mark.usefixtures("light")
def test_a_loop_cannot_pile_up_shared_values(world: World) -> None:
    """It takes its error edge instead."""
    script = "n = len(shared); shared[str(n)] = chr(97 + n) * 98; value = n"
    grow = node("grow", "script", {"default": "grow", "error": "end"}, params={"script": script})
    view = world.run(
        node("start", next={"default": "grow"}), grow, node("end", "script", params={"script": "value = 1"})
    )
    assert (view.status, view.result) == ("completed", 1)
    assert world.nodes(view.id).count("grow") == 10
