"""Governance stands before every effect: it allows, refuses or holds, and hears what was used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from shared.engine.interpreter import Limits
from shared.engine.kinds.base import Call, Done, NodeFailed, Outcome, Wait
from shared.engine.ports import Decision, Effect
from shared.engine.program import Batch, Retry
from shared.kit.errors import Conflict
from tests.support.engine import ORG, RUNNER, World, node


class Ruling:
    """Decides as told by node or by the number of an element, and keeps what it was asked and told."""

    def __init__(self, **verdicts: Any) -> None:
        self.verdicts = verdicts
        self.asked: list[str] = []
        self.keys: list[str] = []
        self.told: list[tuple[str, Any, bool]] = []
        self.until_ms: int | None = None
        self.reason = ""
        self.alone = False

    def before(self, effect: Effect) -> Decision:
        self.asked.append(effect.node.name)
        self.keys.append(effect.key)
        element = effect.key.split(":")[3:-1]
        verdict = self.verdicts.get(effect.node.name + "".join(element), self.verdicts.get(effect.node.name, "allow"))
        reason = "no money" if verdict == "refuse" else self.reason
        return Decision(verdict, reason, self.until_ms, "paused", alone=self.alone)

    def after(self, effect: Effect, usage: Any, *, failed: bool) -> None:
        self.told.append((effect.key, usage, failed))


def test_governance_stands_before_every_effect(world: World) -> None:
    """Nodes without effects are not asked about; a refusal is a failure with its reason, on the error edge too."""
    world.governance = ruling = Ruling(b="refuse")
    flow = [node("a", "effect", {"default": "p"}), node("p", next={"default": "b"}), node("b", "effect")]
    view = world.run(*flow)
    assert (view.status, view.error, view.error_node, ruling.asked) == ("failed", "no money", "b", ["a", "b"])
    assert world.nodes(view.id) == ["a", "p"]
    handled = world.run(node("b", "effect", {"error": "h"}), node("h"))
    assert handled.result["message"] == "no money"


def test_a_refused_batch(world: World) -> None:
    """The first element fails it, none runs."""
    world.governance = Ruling(a="refuse")
    view = world.run(node("a", "effect", batch=Batch(8)), input={"items": [1, 2, 3]})
    assert (view.status, view.error, world.ran) == ("failed", "no money", [])


def test_a_held_effect_waits_for_a_wake(world: World) -> None:
    """The execution parks as paused and asks again when it is woken."""
    world.governance = ruling = Ruling(a="hold")
    execution_id = world.start(node("a", "effect", batch=Batch(2)), input={"items": [1, 2, 3]})
    world.settle()
    assert (world.control(execution_id).status, world.ran) == ("paused", [])
    ruling.verdicts = {}
    world.engine.resume(RUNNER, execution_id)
    world.settle()
    assert world.view(execution_id).status == "completed" and len(world.ran) == 3


def test_a_held_effect_is_asked_about_again_in_time(world: World) -> None:
    """What is held until a moment goes on by itself then, under the key it was asked about with."""
    world.governance = ruling = Ruling(a="hold")
    ruling.until_ms = world.clock.now_ms() + 60_000
    execution_id = world.start(node("p", next={"default": "a"}), node("a", "effect"))
    world.settle()
    assert world.control(execution_id).status == "paused"
    ruling.verdicts = {}
    world.clock.advance(60)
    assert world.advance(execution_id).status == "completed"
    assert len(set(ruling.keys)) == 1 and len(ruling.keys) > 1


def test_governance_is_told_what_an_effect_used(world: World) -> None:
    """Once for each attempt, under the key it was asked about with; a retried attempt has another key.

    What a failed attempt used counts, and so does what one used that is to go on in another.
    """
    world.governance = ruling = Ruling()
    outcomes: Iterator[Any] = iter([NodeFailed("busy"), Wait(world.clock.now_ms() + 500), Done(1)])

    def run(call: Call, answer: Any = None) -> Outcome:
        outcome = next(outcomes)
        call.used({"total_tokens": 7})
        if isinstance(outcome, NodeFailed):
            raise outcome
        call.used({"total_tokens": 8})
        found: Outcome = outcome
        return found

    world.kind("model", run, run, effectful=True)
    world.run(node("a", "model", retry=Retry(1)))
    world.settle(60)
    both = [{"total_tokens": 7}, {"total_tokens": 8}]
    told = [(usage, failed) for _, usage, failed in ruling.told]
    assert told == [([{"total_tokens": 7}], True), (both, False), (both, False)]
    assert [key for key, _, _ in ruling.told] == ruling.keys and len(set(ruling.keys)) == 3


def test_an_element_is_refused_behind_one_that_is_allowed(world: World) -> None:
    """The batch fails with the reason; what was allowed has begun, and is told about."""
    world.governance = ruling = Ruling(a1="refuse")
    view = world.run(node("a", "effect", {"error": "h"}, batch=Batch(8)), node("h"), input={"items": [1, 2, 3]})
    assert (view.status, view.result["message"]) == ("completed", "no money")
    started = [fact["item"] for fact in world.facts(view.id, "node_started") if "item" in fact]
    assert started == [0, 1] and len(ruling.asked) == 2


def test_what_is_held_holds_no_other_branch(world: World) -> None:
    """Only elements of the same batch wait for one another."""
    world.governance = ruling = Ruling(a="hold")
    fork = node("f", next={"x": "a", "y": "b"}, routing="fork")
    execution_id = world.start(fork, node("a", "effect"), node("b", "effect", {"default": "c"}), node("c", "effect"))
    world.settle()
    assert world.nodes(execution_id, "node_finished") == ["b", "c"]
    assert ruling.asked.count("a") == 1
    ruling.verdicts = {}
    world.engine.nudge(RUNNER, execution_id)
    world.settle()
    assert world.view(execution_id).status == "completed"


def test_what_is_held_takes_no_room(world: World) -> None:
    """Others start although as many are held as may run at once."""
    world.limits = Limits(max_inflight=1)
    world.governance = Ruling(a="hold", d="hold")
    fork = node("f", next={"w": "a", "x": "b", "y": "c", "z": "d"}, routing="fork")
    execution_id = world.start(fork, *(node(name, "effect") for name in "abcd"))
    world.settle()
    assert world.nodes(execution_id, "node_finished") == ["b", "c"]


def test_elements_that_are_held_alone_are_asked_about_together(world: World) -> None:
    """They still start in order: one that may start waits for those before it."""
    world.governance = ruling = Ruling(a0="hold", a1="hold")
    ruling.alone = True
    execution_id = world.start(node("a", "effect", batch=Batch(3)), input={"items": [1, 2, 3, 4]})
    world.settle()
    assert (len(set(ruling.keys)), world.ran) == (3, [])
    ruling.verdicts = {"a1": "hold"}
    world.engine.nudge(RUNNER, execution_id)
    world.settle()
    assert [int(key.split(":")[-1]) for key in world.ran] == [0]
    ruling.verdicts = {}
    world.engine.nudge(RUNNER, execution_id)
    world.settle()
    assert world.view(execution_id).status == "completed" and len(world.ran) == 4


def test_why_an_effect_is_held_is_logged_once(world: World) -> None:
    """However often it is looked at, also from another process; another reason is another row."""
    world.governance = ruling = Ruling(a="hold")
    ruling.reason = "RATE: try again in 3 s"
    execution_id = world.start(node("a", "effect"))
    world.settle()
    for reason in ("RATE: try again in 2 s", "RATE: try again in 1 s", "ASKED: wait", ""):
        ruling.reason = reason
        world.engine.nudge(RUNNER, execution_id)
        world.settle()
    rows = [(fact["level"], fact["message"], fact["node"]) for fact in world.facts(execution_id, "log")]
    assert rows == [("info", "RATE: try again in 3 s", "a"), ("info", "ASKED: wait", "a")]


# Holds of whoever governs


def test_a_hold_is_a_pause_that_only_its_own_end_or_the_user_lifts(world: World) -> None:
    """Shown as paused; what governs ends it, or the user does, who can pause in its place."""
    execution_id = world.start(node("a", "effect"))
    world.engine.hold(RUNNER, execution_id)
    world.engine.hold(RUNNER, execution_id)
    world.settle()
    assert (world.view(execution_id).status, world.ran) == ("paused", [])
    world.engine.pause(RUNNER, execution_id)
    world.engine.release(RUNNER, execution_id)
    world.settle()
    assert (world.view(execution_id).status, world.ran) == ("paused", [])
    world.engine.resume(RUNNER, execution_id)
    world.settle()
    assert world.view(execution_id).status == "completed"


def test_a_release_ends_a_hold(world: World) -> None:
    """And nothing else: where there is none, what is held is asked about again."""
    world.governance = ruling = Ruling(b="hold")
    execution_id = world.start(node("a", next={"default": "b"}), node("b", "effect"))
    world.engine.hold(RUNNER, execution_id)
    world.settle()
    assert world.nodes(execution_id) == []
    world.engine.release(RUNNER, execution_id)
    world.settle()
    assert world.nodes(execution_id) == ["a"]
    ruling.verdicts = {}
    world.engine.release(RUNNER, execution_id)
    world.settle()
    assert world.view(execution_id).status == "completed"
    for tell in (world.engine.hold, world.engine.release, world.engine.nudge):
        with pytest.raises(Conflict):
            tell(RUNNER, execution_id)


def test_a_hold_reaches_children_and_spares_a_pause(world: World) -> None:
    """A held parent's children rest; a pause that came first stays after the release."""
    world.limits = Limits(max_inflight=2)
    execution_id = world.start(node("a", "effect", batch=Batch(8)), input={"items": list(range(8))})
    world.advance(execution_id)
    children = world.repository.open_children(f"{ORG}#{execution_id}")
    world.engine.hold(RUNNER, execution_id)
    assert children and {world.control(child).command for child in children} == {"hold"}
    world.settle()
    assert world.ran == []
    world.engine.release(RUNNER, execution_id)
    world.settle()
    assert world.view(execution_id).status == "completed" and len(world.ran) == 8
    paused = world.start(node("a", "effect"))
    world.engine.pause(RUNNER, paused)
    world.engine.hold(RUNNER, paused)
    world.engine.release(RUNNER, paused)
    world.settle()
    assert world.control(paused).command == "pause"
