"""Appends: what they hold, how they are divided, and what stops them."""

from __future__ import annotations

from typing import Any

import pytest

from shared.engine.journal import Journal, LeaseLost, expire_wait, open_wait
from shared.engine.kinds.base import Answer, Call, Wait
from shared.engine.repository import Refused
from shared.engine.state import State
from shared.kit import clock, json
from shared.kit.errors import Conflict, Unavailable
from shared.store.embedded import Fault
from shared.store.models.executions import InboxEntry, JournalEntry, Summary, WaitRecord
from tests.support.engine import FLOW, ORG, RUNNER, World, node


def opened(world: World) -> tuple[str, Journal]:
    """An execution whose lease we hold."""
    execution_id = world.start(node("a"))
    control = world.repository.acquire(ORG, execution_id, 0)
    assert not isinstance(control, Refused)
    state, facts = world.repository.load_state(control)
    for fact in facts:
        state.apply(fact, world.programs[FLOW])
    return execution_id, Journal(world.repository, control, world.programs[FLOW], state)


def entries(execution_id: str) -> list[JournalEntry]:
    return list(JournalEntry.query(f"{ORG}#{execution_id}", JournalEntry.sk.startswith("journal#")))


def sizes(world: World) -> list[int]:
    """Actions of every transaction from now on."""
    found: list[int] = []

    def hook(operation: str, request: dict[str, Any]) -> None:
        if operation == "TransactWriteItems":
            found.append(len(request["TransactItems"]))

    world.faults.hook = hook
    return found


def test_facts_of_one_append_have_consecutive_indices(world: World) -> None:
    """In one item, in the order they were noted."""
    execution_id, journal = opened(world)
    for number in range(3):
        journal.note("log", level="info", message=str(number))
    assert (journal.pending, journal.commit(), journal.pending) == (3, True, 0)
    assert [(int(entry.first), int(entry.length)) for entry in entries(execution_id)] == [(0, 1), (1, 3)]
    assert [fact["message"] for fact in world.facts(execution_id, "log")] == ["0", "1", "2"]
    assert journal.commit() is True


def test_a_lease_is_renewed_once_half_of_it_is_gone(world: World) -> None:
    """Until then an append moves nothing that an index holds; a renewal that news overtook is made good."""
    execution_id, journal = opened(world)

    def appended_after(seconds: float) -> tuple[int, int]:
        world.clock.advance(seconds)
        journal.note("log", level="info", message="x")
        journal.commit()
        control = world.control(execution_id)
        return int(control.lease_until or 0) - world.clock.now_ms(), int(control.due_ms or 0) - world.clock.now_ms()

    assert appended_after(14) == (16_000, 16_000)
    assert appended_after(1) == (30_000, 30_000)
    world.clock.advance(16)
    world.engine.pause(RUNNER, execution_id)
    journal.note("log", level="info", message="y")
    assert not journal.commit()
    assert appended_after(0)[0] == 30_000


def test_a_large_append_is_divided(world: World) -> None:
    """No item over 400 KB, no transaction over 4 MB; indices go on, and reading from any index finds the rest."""
    execution_id, journal = opened(world)
    for number in range(120):
        journal.note("log", level="info", message="é" * 40_000, n=number)
        journal.mark()
    transactions = sizes(world)
    assert journal.commit()
    assert len(transactions) > 4
    kept = entries(execution_id)
    assert max(len(entry.facts.encode()) for entry in kept) < 400_000
    assert [int(entry.first) for entry in kept[1:]] == [int(before.first + before.length) for before in kept[:-1]]
    for after in (-1, 0, 1, 50, 119, 120):
        numbered = world.repository.numbered_facts(f"{ORG}#{execution_id}", after)
        assert [index for index, _ in numbered] == list(range(after + 1, 121))


def test_facts_that_belong_together_are_not_divided(world: World) -> None:
    """A large append ends only where one could go on from it."""
    _, journal = opened(world)
    for number in range(30):
        journal.note("log", level="info", message="x" * 90_000, n=number)
        journal.note("log", level="info", message="x" * 90_000, n=number)
        journal.mark()
    cut: list[int] = []

    def hook(operation: str, request: dict[str, Any]) -> Fault | None:
        if operation == "TransactWriteItems":
            facts = [put["Put"]["Item"]["facts"]["S"] for put in request["TransactItems"] if "Put" in put]
            cut.append(sum(len(json.loads(text)) for text in facts))
        return None

    world.faults.hook = hook
    assert journal.commit()
    assert len(cut) > 2 and sum(cut) == 60 and all(count % 2 == 0 for count in cut)


def test_many_signals_and_waits_fit(world: World) -> None:
    """Three hundred signals are absorbed and their inbox emptied, never with more than 100 actions at once."""
    execution_id, journal = opened(world)
    pk = f"{ORG}#{execution_id}"
    for number in range(300):
        fact = {"type": "wait_ended", "at": 0, "wait": f"w{number}", "token": 99, "timed_out": False, "value": number}
        InboxEntry(pk, f"inbox#{number:05d}", fact=json.dumps(fact)).save()
    world.engine.pause(RUNNER, execution_id)
    transactions = sizes(world)
    journal.look()
    for number in range(300):
        record = WaitRecord(
            pk, f"wait#k#{number}", wait=f"k#{number}", key="k", node="a", visit=1, token=1, status="open"
        )  # fmt: skip
        journal.take({"type": "log", "at": 0, "level": "info", "message": ""}, open_wait(record))
        journal.mark()
    assert journal.commit()
    assert max(transactions) <= 100
    assert [fact["value"] for fact in world.facts(execution_id, "wait_ended")] == list(range(300))
    assert (world.repository.inbox(pk), len(world.waits(execution_id))) == ([], 300)


@pytest.mark.parametrize("fault", [Fault.FAILED, Fault.ANSWER_LOST, Fault.THROTTLED, Fault.CONFLICT, Fault.REPEATED])
def test_an_append_survives_a_fault(world: World, fault: Fault) -> None:
    """Once, whatever becomes of the first answer."""
    execution_id, journal = opened(world)
    journal.note("log", level="info", message="once")
    left = [fault]

    def hook(operation: str, request: dict[str, Any]) -> Fault | None:
        return left.pop() if operation == "TransactWriteItems" and left else None

    world.faults.hook = hook
    assert journal.commit() and not left
    assert [fact["message"] for fact in world.facts(execution_id, "log")] == ["once"]


def test_an_append_whose_answers_are_all_lost_is_found(world: World) -> None:
    """Then its mark in the control item says that it is in."""
    execution_id, journal = opened(world)
    journal.note("log", level="info", message="once")
    world.faults.hook = lambda operation, request: Fault.ANSWER_LOST if operation == "TransactWriteItems" else None
    assert journal.commit()
    world.faults.hook = None
    journal.note("log", level="info", message="twice")
    assert journal.commit()
    assert [fact["message"] for fact in world.facts(execution_id, "log")] == ["once", "twice"]


def test_a_store_out_of_reach(world: World) -> None:
    """The append fails for now; nothing is lost or doubled when it is tried again."""
    execution_id, journal = opened(world)
    journal.note("log", level="info", message="once")
    world.faults.hook = lambda operation, request: Fault.FAILED if operation == "TransactWriteItems" else None
    with pytest.raises(Unavailable):
        journal.commit()
    world.faults.hook = None
    assert journal.commit()
    assert len(world.facts(execution_id, "log")) == 1


def test_news_stop_an_append_and_come_in(world: World) -> None:
    """The decision does not happen, what was pending stays pending after what came; then both are appended."""
    execution_id, journal = opened(world)
    journal.note("log", level="info", message="before")
    world.engine.pause(RUNNER, execution_id)
    assert journal.commit([{"type": "log", "at": 0, "level": "info", "message": "decided"}]) is False
    assert (journal.command, journal.pending) == ("pause", 2)
    assert journal.commit()
    assert [fact["type"] for fact in world.facts(execution_id)] == ["started", "log", "command"]


@pytest.mark.parametrize("append", ["commit", "park", "release", "finish"])
def test_only_the_lease_holder_appends(world: World, append: str) -> None:
    """Whoever lost the lease learns it from every kind of append, and from looking."""
    execution_id, journal = opened(world)
    world.clock.advance(31)
    assert not isinstance(world.repository.acquire(ORG, execution_id, 0), Refused)
    journal.note("log", level="info", message="void")
    calls: dict[str, Any] = {"park": lambda: journal.park(None, "waiting"), "finish": lambda: journal.finish("failed")}
    with pytest.raises(LeaseLost):
        calls.get(append, getattr(journal, append))()
    with pytest.raises(LeaseLost):
        journal.look()
    assert world.facts(execution_id, "log") == [] and world.control(execution_id).live


def test_cancel_first_then_finish(world: World) -> None:
    """The end that was on its way does not overwrite the cancellation, nor its time."""
    execution_id, journal = opened(world)
    world.engine.cancel(RUNNER, execution_id)
    cancelled = world.view(execution_id)
    world.clock.advance(5)
    assert journal.finish("completed", result=1) is False
    assert (journal.command, world.view(execution_id).status) == ("cancel", "canceled")
    assert journal.finish("canceled", error="canceled")
    view = world.view(execution_id)
    assert (view.status, view.ended_ms, view.result) == ("canceled", cancelled.ended_ms, None)


def test_finish_first_then_cancel(world: World) -> None:
    """A cancellation that comes too late is refused and changes nothing."""
    execution_id, journal = opened(world)
    assert journal.finish("completed", result=1)
    for act in (world.engine.cancel, world.engine.pause, world.engine.resume):
        with pytest.raises(Conflict, match="the execution has already ended"):
            act(RUNNER, execution_id)
    assert (world.view(execution_id).status, world.view(execution_id).result) == ("completed", 1)
    control = world.control(execution_id)
    assert not control.live and not (control.lease or control.due_ms or control.due_shard)


def test_an_expiry_loses_against_an_answer(world: World) -> None:
    """The wait is closed by compare-and-set, whatever the counters say."""
    execution_id, journal = opened(world)
    pk = f"{ORG}#{execution_id}"
    record = WaitRecord(pk, "wait#k#1", wait="k#1", key="k", node="a", visit=1, token=1, status="open")
    journal.take({"type": "log", "at": 0, "level": "info", "message": ""}, open_wait(record))
    assert journal.commit()
    world.engine.signal(RUNNER, execution_id, "k", 1)
    expired = {"type": "wait_ended", "at": 0, "wait": "k#1", "token": 1, "timed_out": True}
    assert journal.commit([expired], expire_wait(pk, "k#1")) is False
    assert journal.commit()
    assert [fact["timed_out"] for fact in world.facts(execution_id, "wait_ended")] == [False]
    assert world.waits(execution_id) == {"k#1": "answered"}


def test_a_park_holds_only_if_nothing_came(world: World) -> None:
    """The park is committed on condition of the wake counter."""
    execution_id, journal = opened(world)
    world.engine.pause(RUNNER, execution_id)
    assert journal.park(None, "waiting") is False
    assert journal.park(None, "paused") is True
    control = world.control(execution_id)
    assert (control.status, int(control.absorbed)) == ("paused", int(control.wake)) and control.lease is None
    assert int(control.snapshot_index or 0) == int(control.next_index) == 2


def test_a_park_sees_a_signal(world: World) -> None:
    """One that came after the last look keeps the holder from parking, though no command was given."""
    execution_id, journal = opened(world)
    record = WaitRecord(journal.pk, "wait#k#1", wait="k#1", key="k", node="a", visit=1, token=1, status="open")
    journal.take({"type": "log", "at": 0, "level": "info", "message": ""}, open_wait(record))
    assert journal.commit()
    world.engine.signal(RUNNER, execution_id, "k", 1)
    assert journal.park(None, "waiting") is False
    assert journal.park(None, "waiting") is True
    assert [fact["value"] for fact in world.facts(execution_id, "wait_ended")] == [1]
    control = world.control(execution_id)
    assert int(control.absorbed) == int(control.wake) == 1


def test_long_errors_and_odd_letters(world: World) -> None:
    """The summary keeps the beginning; half a surrogate pair does not stop the end."""
    execution_id, journal = opened(world)
    assert journal.finish("failed", error="\ud83d" + "x" * 10_000)
    row = Summary.get(f"{ORG}#{execution_id}", "summary")
    assert row.error is not None and len(row.error) == 4000


def test_a_snapshot_is_where_the_journal_is(world: World) -> None:
    """Loading starts at it: nothing is folded twice or left out."""
    execution_id, journal = opened(world)
    journal.note("log", level="info", message="a")
    assert journal.release()
    state, facts = world.repository.load_state(world.control(execution_id))
    assert facts == [] and isinstance(state, State) and list(state.tokens) == [1]


def test_a_replaced_snapshot_leaves_no_litter(world: World) -> None:
    """Only the last one of a large state is kept, and a park does not fail because the old one cannot be removed."""
    world.kind("poll", lambda call: Wait(world.clock.now_ms() + 60_000), again)
    execution_id = world.start(node("a", "poll"), input={"text": "x" * 200_000})
    world.settle(300)
    kept = [key for key in world.blobs if b'"tokens"' in world.blobs[key]]
    assert len(kept) == 1 and len(world.facts(execution_id, "wait_opened")) == 6

    def broken(key: str) -> None:
        raise OSError("away")

    world.blobs.delete = broken  # type: ignore[method-assign]
    world.settle(60)
    assert len(world.facts(execution_id, "wait_opened")) == 7


def again(call: Call, answer: Answer) -> Wait:
    return Wait(clock.now_ms() + 60_000)


def test_a_cancellation_forgets_starts_but_nothing_that_was_sent(world: World) -> None:
    """An answer that came together with it is in the journal and no longer in the inbox."""
    execution_id, journal = opened(world)
    pk = f"{ORG}#{execution_id}"
    journal.note("node_started", token=1, node="a", kind="pass", visit=1, attempt=1)
    fact = {"type": "wait_ended", "at": 0, "wait": "w", "token": 99, "timed_out": False, "value": 7}
    InboxEntry(pk, "inbox#1", fact=json.dumps(fact)).save()
    world.engine.cancel(RUNNER, execution_id)
    assert journal.commit() is False
    assert journal.finish("canceled", error="canceled")
    assert [row["type"] for row in world.facts(execution_id)] == ["started", "wait_ended", "ended"]
    assert world.repository.inbox(pk) == []
