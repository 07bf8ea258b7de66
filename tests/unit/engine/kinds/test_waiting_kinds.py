"""delay, wait and human.approval: what they ask for, and what they make of the answer."""

from collections.abc import Iterator
from typing import Any

import pytest

from shared.engine.kinds.approval import HumanApproval
from shared.engine.kinds.base import Answer, Done, NodeFailed, NodeKind, Wait
from shared.engine.kinds.delay import Delay
from shared.engine.kinds.wait import WaitNode
from shared.kit import clock
from tests.unit.engine.kinds.conftest import CallFactory

NOW = 1_700_000_000_000


class Stopped:
    """A clock that stands still."""

    def now_ms(self) -> int:
        return NOW

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        raise AssertionError(f"a kind slept for {seconds} s")


@pytest.fixture(autouse=True)
def stopped_clock() -> Iterator[None]:
    with clock.use(Stopped()):
        yield


@pytest.mark.parametrize(
    ("duration", "milliseconds"), [("500ms", 500), ("1h30m", 5_400_000), (2, 2000), ("1.5s", 1500)]
)
def test_delay_is_a_timer(call: CallFactory, duration: Any, milliseconds: int) -> None:
    """The input goes on when the time has come."""
    made = call({"duration": duration}, {"a": 1})
    assert Delay().run(made) == Wait(until_ms=NOW + milliseconds)
    assert Delay().resume(made, Answer(timed_out=True)) == Done({"a": 1})


def test_no_delay_at_all(call: CallFactory) -> None:
    """Zero does not wait."""
    assert Delay().run(call({"duration": "0s"}, 1)) == Done(1)


BAD_DURATIONS = ["soon", "-1s", -1, True, [1], "9000000h", 1e300, float("inf")]


@pytest.mark.parametrize("kind", [Delay(), WaitNode()])
@pytest.mark.parametrize("duration", BAD_DURATIONS)
def test_bad_durations(call: CallFactory, kind: NodeKind, duration: Any) -> None:
    """A duration that is none, negative or beyond a year fails the node for good."""
    with pytest.raises(NodeFailed, match="duration must be") as caught:
        kind.run(call({"duration": duration}))
    assert caught.value.retryable is False
    with pytest.raises(NodeFailed, match="duration parameter is required"):
        kind.run(call({}))


def resumed(kind: NodeKind, made: Any, outcome: Any, value: Any = None, *, timed_out: bool = True) -> Any:
    assert isinstance(outcome, Wait)
    return kind.resume(made, Answer(timed_out=timed_out, value=value, state=outcome.state))


@pytest.mark.parametrize(("written", "shown"), [("100ms", "100ms"), (2, "2s")])
def test_wait_for_a_duration(call: CallFactory, written: Any, shown: str) -> None:
    """The output says how long."""
    made = call({"duration": written})
    outcome = WaitNode().run(made)
    assert resumed(WaitNode(), made, outcome) == Done({"waited_for": shown, "type": "duration"})


def test_wait_until_a_time(call: CallFactory) -> None:
    """A future time is a timer, a past one ends at once, anything else is refused."""
    future, past = clock.rfc3339(NOW + 1000), clock.rfc3339(NOW - 1000)
    made = call({"type": "until_time", "time": future})
    outcome = WaitNode().run(made)
    assert isinstance(outcome, Wait) and outcome.until_ms == NOW + 1000
    assert resumed(WaitNode(), made, outcome) == Done({"waited_until": future, "type": "until_time"})
    assert WaitNode().run(call({"type": "until_time", "time": past})) == Done(
        {"waited_until": past, "type": "until_time"}
    )
    for bad in ("tomorrow", 5, "2030-01-01T00:00:00"):
        with pytest.raises(NodeFailed, match="time must be an RFC 3339 time"):
            WaitNode().run(call({"type": "until_time", "time": bad}))


def test_wait_for_a_signal(call: CallFactory) -> None:
    """The signalled value is the output; when the time is over the node fails with the key in its message."""
    made = call({"key": "paid", "timeout": "1m"})
    outcome = WaitNode().run(made)
    assert outcome == Wait(until_ms=NOW + 60_000, key="paid")
    assert resumed(WaitNode(), made, outcome, {"sum": 5}, timed_out=False) == Done({"sum": 5})
    with pytest.raises(NodeFailed, match="no signal paid within 1m"):
        resumed(WaitNode(), made, outcome)
    assert WaitNode().run(call({"key": "paid"})) == Wait(until_ms=None, key="paid")
    with pytest.raises(NodeFailed, match="key parameter is required"):
        WaitNode().run(call({"type": "external"}))


def test_wait_for_a_condition(call: CallFactory) -> None:
    """Each poll is a timer; the output counts them."""
    made = call(
        {"type": "condition", "condition_script": "shared.seen = attempt; return attempt > 2", "interval": "2s"}
    )
    first = WaitNode().run(made)
    assert isinstance(first, Wait) and (first.until_ms, first.key) == (NOW + 2000, None)
    second = resumed(WaitNode(), made, first)
    third = resumed(WaitNode(), made, second)
    assert third == Done({"attempts": 3, "interval": "2s", "type": "condition", "completed": True}, shared={"seen": 3})


def test_a_condition_that_never_holds(call: CallFactory) -> None:
    """The last attempt ends the wait without success; an exceeded timeout fails the node."""
    made = call({"type": "condition", "condition_script": "return false", "max_attempts": 2})
    outcome = resumed(WaitNode(), made, WaitNode().run(made))
    assert outcome == Done({"attempts": 2, "interval": "1s", "type": "condition", "completed": False})
    with pytest.raises(NodeFailed, match="the condition did not hold within 500ms"):
        WaitNode().run(call({"type": "condition", "condition_script": "return 0", "timeout": "500ms"}))


def test_a_condition_without_a_script_holds(call: CallFactory) -> None:
    """Nothing to poll means nothing to wait for (docs/rulings.md#wait-without-a-condition)."""
    outcome = WaitNode().run(call({"type": "condition"}))
    assert outcome == Done({"attempts": 1, "interval": "1s", "type": "condition", "completed": True})


@pytest.mark.parametrize(
    "params", [{"type": "moon"}, {"type": "condition", "max_attempts": 0}, {"type": "condition", "max_attempts": "9"}]
)
def test_bad_waits(call: CallFactory, params: dict[str, Any]) -> None:
    """Unknown types and senseless counts are refused with the allowed ones."""
    with pytest.raises(NodeFailed, match=r"type must be|max_attempts must be between"):
        WaitNode().run(call(params))


def test_approval_asks_with_the_nodes_name(call: CallFactory, rows: list[Any]) -> None:
    """The signal is called like the node; the question is on the log."""
    outcome = HumanApproval().run(call({"timeout": "1h", "message": "Ship it?"}))
    assert outcome == Wait(until_ms=NOW + 3_600_000, key="step", state={"until": NOW + 3_600_000})
    assert rows == [("info", "Ship it?", {"signal": "step"})]


@pytest.mark.parametrize(
    ("value", "outcome"),
    [
        ({"approved": True, "by": "ada"}, Done({"approved": True, "by": "ada"}, ("approved", "default", "success"))),
        ({"approved": False}, Done({"approved": False}, ("rejected",))),
        (True, Done({"approved": True}, ("approved", "default", "success"))),
        ({}, Wait(until_ms=5, key="step", state={"until": 5})),
        ({"approved": "yes"}, Wait(until_ms=5, key="step", state={"until": 5})),
        ({"approved": 1}, Wait(until_ms=5, key="step", state={"until": 5})),
        ("yes", Wait(until_ms=5, key="step", state={"until": 5})),
    ],
)
def test_what_a_person_may_answer(call: CallFactory, value: Any, outcome: Any) -> None:
    """Only true approves, a rejection never takes the default edge, anything else keeps the question open."""
    answer = Answer(timed_out=False, value=value, state={"until": 5})
    assert HumanApproval().resume(call({"timeout": "1h"}), answer) == outcome


def test_nobody_answers(call: CallFactory) -> None:
    """Time over means rejected where there is such an edge, else a failure that takes the error edge."""
    answer = Answer(timed_out=True, state={"until": 5})
    rejected = HumanApproval().resume(call(edges=("approved", "rejected")), answer)
    assert rejected == Done({"approved": False, "timed_out": True}, ("rejected",))
    with pytest.raises(NodeFailed, match="nobody approved in time") as caught:
        HumanApproval().resume(call(edges=("approved", "error")), answer)
    assert (caught.value.actions, caught.value.retryable) == (("error",), False)
