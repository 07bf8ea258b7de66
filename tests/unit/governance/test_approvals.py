"""Approvals: asked once, decided once, used once. Source: docs/rulings.md#approvals."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from shared.governance.approvals import MOST_PENDING, PUSHED, ApprovalAlreadyDecided, Approvals, Outcome
from shared.governance.digests import action_digest
from shared.governance.events import Actor
from shared.governance.grants import GRANT_MS, next_push
from shared.governance.refusals import Refused
from shared.governance.rules import ApprovalRule
from shared.identity import Principal
from shared.kit import clock, ids, json
from shared.kit.errors import Forbidden, NotFound, Unprocessable
from shared.store.embedded import EmbeddedEngine
from shared.store.models.governance import Event, Operation, events_pk, operation_pk
from shared.store.models.policies import Approval, approvals_pk
from shared.store.transaction import ConditionFailed, Transaction, read
from tests.support.governance import owner
from tests.support.time import HeldClock

ORG = owner().org_id
KEY = Actor("api_key", "k", "prod")
RULE = ApprovalRule("rule", "Refunds", 10, 1, expires_in_s=300, risk_level="HIGH", action_label="Refund")
IMPACT = {"kind": "tool_call", "tool_name": "refund", "params": {"args": [], "kwargs": {"amount": "900"}}}
DIGEST = action_digest(IMPACT)


@pytest.fixture
def approvals(store: EmbeddedEngine, held: HeldClock) -> Approvals:
    """Approvals of orgs in an empty store, at a time that stands still."""
    return Approvals()


def operation(**values: Any) -> Operation:
    """An operation that asks for an approval."""
    execution_id = ids.uuid7()
    fields: dict[str, Any] = {
        "org_id": ORG,
        "execution_id": execution_id,
        "operation_id": "o",
        "workflow_id": "w",
        "key_id": "k",
        "fingerprint": "f",
        "decision": "require_approval",
        "status": "open",
        "result": "pending",
        "tool": "refund",
        "action_digest": DIGEST,
        "approval_id": ids.uuid7(),
        "projected": 1_500_000,
        "created_ms": clock.now_ms(),
        "org_listing": ORG,
        "listed_at": execution_id,
    } | values
    return Operation(operation_pk(fields["org_id"], execution_id), "operation", **fields)


def ask(approvals: Approvals, asking: Operation | None = None, rule: ApprovalRule = RULE) -> tuple[Operation, str]:
    """Put a question; the operation and the approval's id."""
    asking = asking or operation()
    tx = Transaction().put(asking, Operation.pk.does_not_exist(), "operation")
    approvals.request(tx, KEY, rule, asking, IMPACT)
    tx.commit()
    assert asking.approval_id is not None
    return asking, asking.approval_id


def stored(approval_id: str) -> Approval:
    found = read(Approval, approvals_pk(ORG), approval_id)
    assert found is not None
    return found


def events(action: str | None = None) -> list[Event]:
    rows = Event.query(events_pk(ORG), consistent_read=True)
    return [row for row in rows if action in (None, row.action)]


def refusal(approvals: Approvals, asking: Operation, approval_id: str, digest: str | None = DIGEST, *tools: str) -> str:
    """The code a check is refused with; empty if it is not."""
    try:
        approvals.check(asking, approval_id, digest, tools)
    except Refused as refused:
        return refused.reason
    return ""


# Asking


def test_a_question_is_written_with_what_people_need(approvals: Approvals, held: HeldClock) -> None:
    """What it is about, how risky it is, and until when it can be decided; the event says so, too."""
    asking, approval_id = ask(approvals)
    record = approvals.get(owner(), approval_id)
    assert (record.status, record.tool, record.risk_level, record.action_label) == (
        "PENDING",
        "refund",
        "HIGH",
        "Refund",
    )
    assert (record.execution_id, record.workflow_id, record.rule_id) == (asking.execution_id, "w", "rule")
    assert (record.action_digest, json.loads(record.impact or "")) == (DIGEST, IMPACT)
    assert record.projected_cents == 2
    assert record.expires_ms == record.due_ms == held.now_ms() + 300_000
    (event,) = events("approval.requested")
    assert (event.event_type, event.decision, event.resource_id) == (
        "approval_decision",
        "require_approval",
        approval_id,
    )
    assert (event.actor_type, event.actor_id, event.actor_label) == ("api_key", "k", "prod")
    assert event.control is None
    assert approvals.pending(ORG) == 1


def test_the_first_of_several_tools_is_the_one_that_is_asked_about(approvals: Approvals) -> None:
    """Where the call names none of them in particular."""
    _, approval_id = ask(approvals, operation(tool=None, tools='["refund", "read"]'))
    assert approvals.get(owner(), approval_id).tool == "refund"


def test_a_question_is_put_once(approvals: Approvals) -> None:
    """The same approval again fails the transaction, and counts nothing."""
    asking, _ = ask(approvals)
    tx = Transaction()
    approvals.request(tx, KEY, RULE, asking, IMPACT)
    with pytest.raises(ConditionFailed) as failed:
        tx.commit()
    assert "approval" in failed.value.failures
    assert approvals.pending(ORG) == 1


def test_fifty_wait_at_most(approvals: Approvals) -> None:
    """The next is refused with the documented code; deciding one makes room for one."""
    made = [ask(approvals)[1] for _ in range(MOST_PENDING)]
    with pytest.raises(Refused) as refused:
        ask(approvals)
    assert (refused.value.reason, refused.value.status) == ("TOO_MANY_PENDING_APPROVALS", 429)
    approvals.decide(owner(), made[0], "denied")
    ask(approvals)
    with pytest.raises(Refused):
        ask(approvals)
    assert approvals.pending(ORG) == MOST_PENDING


def test_the_limit_holds_when_two_ask_at_once(approvals: Approvals) -> None:
    """Both saw room for one; the transaction lets one of them in."""
    for _ in range(MOST_PENDING - 1):
        ask(approvals)
    first, second = Transaction(), Transaction()
    for tx in (first, second):
        approvals.request(tx, KEY, RULE, operation(), IMPACT)
    first.commit()
    with pytest.raises(ConditionFailed) as failed:
        second.commit()
    assert "approval" in failed.value.failures


def test_what_has_expired_is_not_in_the_way(approvals: Approvals, held: HeldClock) -> None:
    """Even before the sweep comes by."""
    for _ in range(MOST_PENDING):
        ask(approvals)
    held.advance(300)
    ask(approvals)
    assert approvals.pending(ORG) == 1
    assert len(events("approval.expired")) == MOST_PENDING


def test_an_operation_that_has_asked_is_not_refused_for_want_of_room(approvals: Approvals) -> None:
    """Its transaction fails instead, so that it gets the answer it got before."""
    made = [ask(approvals) for _ in range(MOST_PENDING)]
    asking, _ = made[0]
    tx = Transaction().put(asking, Operation.pk.does_not_exist(), "operation")
    approvals.request(tx, KEY, RULE, asking, IMPACT)
    with pytest.raises(ConditionFailed) as failed:
        tx.commit()
    assert isinstance(failed.value.failures["operation"], Operation)


def test_orgs_do_not_share_the_limit(approvals: Approvals) -> None:
    """Nor do they see one another's approvals."""
    for _ in range(MOST_PENDING):
        ask(approvals)
    asking, approval_id = ask(approvals, operation(org_id="other"))
    assert approvals.get(owner("other"), approval_id).execution_id == asking.execution_id
    with pytest.raises(NotFound):
        approvals.get(owner(), approval_id)


# Deciding


@pytest.mark.parametrize(
    ("outcome", "status", "decision", "told"),
    [("approved", "APPROVED", "allow", "success"), ("denied", "DENIED", "deny", "denied")],
)
def test_a_decision(
    approvals: Approvals, held: HeldClock, outcome: Outcome, status: str, decision: str, told: str
) -> None:
    """It is written with who, when and why, and the frame for the waiting client goes with it."""
    asking, approval_id = ask(approvals)
    held.advance(7)
    record = approvals.decide(owner(), approval_id, outcome, "because")
    assert (record.status, record.note, record.decided_by) == (status, "because", owner().account_id)
    assert record.decided_ms == held.now_ms()
    (event,) = events(f"approval.{outcome}")
    assert (event.event_type, event.decision, event.outcome) == ("approval_decision", decision, told)
    assert (event.actor_type, event.actor_id) == ("user", owner().account_id)
    assert json.loads(event.control or "") == [
        {
            "type": "approval_resolved",
            "approval_id": approval_id,
            "workflow_id": "w",
            "execution_id": asking.execution_id,
            "outcome": outcome,
            "note": "because",
            "resolved_at": held.now_ms() // 1000,
        }
    ]
    assert approvals.pending(ORG) == 0


@pytest.mark.parametrize(
    ("first", "second", "allowed"),
    [
        ("approved", "approved", False),
        ("approved", "denied", False),
        ("denied", "approved", False),
        ("denied", "denied", True),
    ],
)
def test_what_is_decided_stays_so(approvals: Approvals, first: Outcome, second: Outcome, allowed: bool) -> None:
    """Only denying twice is taken, and changes nothing."""
    _, approval_id = ask(approvals)
    before = approvals.decide(owner(), approval_id, first, "first")
    if allowed:
        assert approvals.decide(owner(), approval_id, second, "second").note == "first"
    else:
        with pytest.raises(ApprovalAlreadyDecided) as refused:
            approvals.decide(owner(), approval_id, second, "second")
        assert (refused.value.status, refused.value.details) == (409, {"status": before.status})
    assert stored(approval_id).serialize() == before.serialize()
    assert len(events(f"approval.{first}")) == 1


def together(*works: Callable[[], str]) -> list[str]:
    """What they answer when they begin at the same time, sorted."""
    start, answers = threading.Barrier(len(works)), list[str]()

    def run(work: Callable[[], str]) -> None:
        start.wait()
        answers.append(work())

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(answers)


@pytest.mark.parametrize("round_", range(5))
def test_of_two_deciders_one_wins(store: EmbeddedEngine, round_: int) -> None:
    """Whatever they do at the same time: one decision, one event, one frame, one less that waits."""
    approvals = Approvals()
    _, approval_id = ask(approvals)

    def decide(outcome: Outcome) -> str:
        try:
            return approvals.decide(owner(), approval_id, outcome).status
        except ApprovalAlreadyDecided:
            return "late"

    assert together(lambda: decide("approved"), lambda: decide("denied")) in (["APPROVED", "late"], ["DENIED", "late"])
    assert len([event for event in events() if event.control is not None]) == 1
    assert approvals.pending(ORG) == 0


def test_nobody_decides_what_has_expired(approvals: Approvals, held: HeldClock) -> None:
    """Even before the sweep comes by."""
    _, approval_id = ask(approvals)
    held.advance(300)
    with pytest.raises(ApprovalAlreadyDecided, match="expired"):
        approvals.decide(owner(), approval_id, "approved")
    assert stored(approval_id).status == "PENDING"


@pytest.mark.parametrize("role", ["viewer", "key"])
def test_deciding_needs_an_operator(approvals: Approvals, role: str) -> None:
    """A viewer and an API key may look and not decide."""
    _, approval_id = ask(approvals)
    looking = replace(owner(), role="viewer")
    principal: Principal = replace(looking, kind="key", account_id="") if role == "key" else looking
    with pytest.raises(Forbidden):
        approvals.decide(principal, approval_id, "approved")
    assert approvals.get(principal, approval_id).status == "PENDING"


@pytest.mark.parametrize("approval_id", ["", "x", "0198c0e2-11a0-7f02-9b7e-51a0c3d7e812", "\ud800"])
def test_unknown_approvals_are_not_found(approvals: Approvals, approval_id: str) -> None:
    """Whatever the id looks like."""
    for call in (
        lambda: approvals.get(owner(), approval_id),
        lambda: approvals.decide(owner(), approval_id, "approved"),
        lambda: approvals.consume(ORG, approval_id, None, KEY),
    ):
        with pytest.raises(NotFound):
            call()
    assert refusal(approvals, operation(), approval_id) == "APPROVAL_NOT_FOUND"


@pytest.mark.parametrize("note", ["x" * 2001, "a\0b", "a\x1bb", "a\x7fb"])
def test_bad_notes_are_refused(approvals: Approvals, note: str) -> None:
    """And nothing is decided."""
    _, approval_id = ask(approvals)
    with pytest.raises(Unprocessable):
        approvals.decide(owner(), approval_id, "approved", note)
    assert stored(approval_id).status == "PENDING"


def test_a_note_of_spaces_is_none(approvals: Approvals) -> None:
    """Lines and tabs are kept."""
    _, first = ask(approvals)
    _, second = ask(approvals)
    assert approvals.decide(owner(), first, "denied", "  ").note is None
    assert approvals.decide(owner(), second, "denied", "a\n\tb").note == "a\n\tb"


# Using


def decided(approvals: Approvals, outcome: Outcome | None) -> tuple[Operation, str]:
    asking, approval_id = ask(approvals)
    if outcome is not None:
        approvals.decide(owner(), approval_id, outcome, "no")
    return asking, approval_id


@pytest.mark.parametrize(
    ("outcome", "later_s", "code"),
    [
        (None, 0, "APPROVAL_NOT_YET_APPROVED"),
        (None, 300, "APPROVAL_EXPIRED"),
        ("denied", 0, "APPROVAL_DENIED"),
        ("denied", 4000, "APPROVAL_DENIED"),
        ("approved", 0, ""),
        ("approved", 299, ""),
        ("approved", 300, "APPROVAL_EXPIRED"),
    ],
)
def test_what_a_decision_allows(
    approvals: Approvals, held: HeldClock, outcome: Outcome | None, later_s: float, code: str
) -> None:
    """Only what was approved, and only for five minutes."""
    asking, approval_id = decided(approvals, outcome)
    held.advance(later_s)
    assert refusal(approvals, asking, approval_id) == code


@pytest.mark.parametrize(
    ("digest", "tools", "code"),
    [
        (DIGEST, (), ""),
        (DIGEST.upper(), ("refund",), ""),
        (DIGEST, ("read", "refund"), ""),
        (DIGEST, ("charge",), "APPROVAL_TOOL_DIGEST_MISMATCH"),
        (action_digest({"kind": "none"}), ("refund",), "APPROVAL_DIGEST_MISMATCH"),
        ("", ("refund",), "APPROVAL_DIGEST_MISMATCH"),
        (None, ("refund",), "APPROVAL_DIGEST_MISMATCH"),
    ],
)
def test_an_approval_is_for_exactly_one_action(
    approvals: Approvals, digest: str | None, tools: tuple[str, ...], code: str
) -> None:
    """Another digest or tool is not what was approved."""
    asking, approval_id = decided(approvals, "approved")
    assert refusal(approvals, asking, approval_id, digest, *tools) == code


def test_an_approval_is_for_one_execution(approvals: Approvals) -> None:
    """Another execution of the same action cannot use it."""
    _, approval_id = decided(approvals, "approved")
    assert refusal(approvals, operation(), approval_id) == "APPROVAL_REPLAY_REJECTED"


def use(approvals: Approvals, asking: Operation, approval_id: str) -> None:
    tx = Transaction()
    approvals.use(tx, approvals.check(asking, approval_id, DIGEST))
    tx.commit()


@pytest.mark.parametrize("consumed_first", [True, False])
def test_an_approval_is_used_once(approvals: Approvals, consumed_first: bool) -> None:
    """Whether the client said before that it goes on, or not."""
    asking, approval_id = decided(approvals, "approved")
    if consumed_first:
        assert approvals.consume(ORG, approval_id, asking.execution_id, KEY) == "consumed"
    stale = approvals.check(asking, approval_id, DIGEST)
    use(approvals, asking, approval_id)
    assert refusal(approvals, asking, approval_id) == "APPROVAL_REPLAY_REJECTED"
    tx = Transaction()
    approvals.use(tx, stale)
    with pytest.raises(ConditionFailed):
        tx.commit()
    assert approvals.consume(ORG, approval_id, None, KEY) == "already_consumed"
    assert stored(approval_id).due_ms is None


def test_a_consumed_approval_can_be_used_for_five_minutes(approvals: Approvals, held: HeldClock) -> None:
    """Counted from when the client went on."""
    asking, approval_id = decided(approvals, "approved")
    held.advance(200)
    approvals.consume(ORG, approval_id, None, KEY)
    held.advance(299)
    assert refusal(approvals, asking, approval_id) == ""
    held.advance(1)
    assert refusal(approvals, asking, approval_id) == "APPROVAL_EXPIRED"


@pytest.mark.parametrize(
    ("outcome", "later_s", "first", "second", "status"),
    [
        ("approved", 0, "consumed", "already_consumed", "CONSUMED"),
        ("approved", 300, "not_approved", "not_approved", "APPROVED"),
        ("denied", 0, "not_approved", "not_approved", "DENIED"),
        (None, 0, "not_approved", "not_approved", "PENDING"),
        (None, 300, "not_approved", "not_approved", "PENDING"),
    ],
)
def test_consume(
    approvals: Approvals, held: HeldClock, outcome: Outcome | None, later_s: float, first: str, second: str, status: str
) -> None:
    """Always answered; what was not approved is not consumed."""
    asking, approval_id = decided(approvals, outcome)
    held.advance(later_s)
    answers = [approvals.consume(ORG, approval_id, asking.execution_id, KEY) for _ in range(2)]
    assert answers == [first, second]
    assert stored(approval_id).status == status
    assert len(events("approval.consumed")) == (first == "consumed")


def test_of_two_consumers_one_consumes(store: EmbeddedEngine) -> None:
    """The other hears that it is done."""
    approvals = Approvals()
    _, approval_id = decided(approvals, "approved")
    answers = together(*[lambda: approvals.consume(ORG, approval_id, None, KEY)] * 2)
    assert answers == ["already_consumed", "consumed"]


# What time does


def test_pending_approvals_expire(approvals: Approvals, held: HeldClock) -> None:
    """Once, when their time is over and not before; the client hears nothing, the audit log does."""
    _, approval_id = ask(approvals)
    held.advance(299)
    assert not approvals.due(ORG, approval_id)
    assert not approvals.expire(stored(approval_id))
    held.advance(1)
    assert approvals.due(ORG, approval_id)
    assert not approvals.due(ORG, approval_id)
    record = stored(approval_id)
    assert record.status == "EXPIRED"
    assert record.due_ms is None
    assert record.due_shard is None
    (event,) = events("approval.expired")
    assert (event.decision, event.outcome, event.reason_code) == ("deny", "denied", "APPROVAL_EXPIRED")
    assert event.control is None
    assert event.actor_type == "system"
    assert approvals.pending(ORG) == 0


def test_a_decision_comes_before_an_expiry_that_was_late(approvals: Approvals, held: HeldClock) -> None:
    """What the sweep saw as pending is decided by now."""
    _, approval_id = ask(approvals)
    seen = stored(approval_id)
    approvals.decide(owner(), approval_id, "approved")
    held.advance(300)
    assert not approvals.expire(seen)
    assert stored(approval_id).status == "APPROVED"
    assert approvals.pending(ORG) == 0


def test_the_schedule_of_pushes() -> None:
    """0.5, 1.5 and 5 s after the decision, then every 10 s, to the end."""
    now, moments = 0, list[int]()
    while now < GRANT_MS:
        now = next_push(0, now)
        moments.append(now)
    assert moments[:5] == [500, 1_500, 5_000, 15_000, 25_000]
    assert moments[-2:] == [295_000, GRANT_MS]
    assert next_push(1_000, 1_700) == 2_500
    assert next_push(0, 61_234) == 65_000


def swept(approvals: Approvals, held: HeldClock, approval_id: str, seconds: float) -> int:
    """Let time pass with a sweep every half second; how many frames were sent again."""
    before = len(events(PUSHED))
    for _ in range(int(seconds * 2)):
        held.advance(0.5)
        approvals.due(ORG, approval_id)
    return len(events(PUSHED)) - before


@pytest.mark.parametrize("outcome", ["approved", "denied"])
def test_a_decision_is_told_again_until_it_was_heard(approvals: Approvals, held: HeldClock, outcome: Outcome) -> None:
    """The same frame as the first; no audit, no due event. Consuming ends it, also after a denial."""
    asking, approval_id = decided(approvals, outcome)
    (first,) = events(f"approval.{outcome}")
    assert swept(approvals, held, approval_id, 25) == 5
    for event in events(PUSHED):
        assert (event.control, event.chained) == (first.control, 0)
        assert event.due_ms is None
        assert event.due_shard is None
        assert (event.resource_id, event.execution_id) == (approval_id, asking.execution_id)
    approvals.consume(ORG, approval_id, None, KEY)
    assert swept(approvals, held, approval_id, 60) == 0
    assert stored(approval_id).due_ms is None


def test_two_sweeps_send_one_frame(approvals: Approvals, held: HeldClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two that saw the same record, one tells."""
    _, approval_id = decided(approvals, "approved")
    held.advance(0.5)
    seen = stored(approval_id)
    assert approvals.due(ORG, approval_id)
    monkeypatch.setattr("shared.governance.approvals.read", lambda *key: seen)
    assert not approvals.due(ORG, approval_id)
    assert len(events(PUSHED)) == 1


@pytest.mark.parametrize(("outcome", "status"), [("approved", "REVOKED"), ("denied", "DENIED")])
def test_after_five_minutes_nothing_is_told_any_more(
    approvals: Approvals, held: HeldClock, outcome: Outcome, status: str
) -> None:
    """An approval nobody used is revoked, with an event; a denial stays one."""
    asking, approval_id = decided(approvals, outcome)
    swept(approvals, held, approval_id, 300)
    record = stored(approval_id)
    assert record.status == status
    assert record.due_ms is None
    assert len(events("approval.revoked")) == (outcome == "approved")
    assert refusal(approvals, asking, approval_id) == (
        "APPROVAL_EXPIRED" if outcome == "approved" else "APPROVAL_DENIED"
    )
    assert swept(approvals, held, approval_id, 30) == 0


def test_what_is_not_there_or_not_due_is_passed_over(approvals: Approvals, held: HeldClock) -> None:
    """The due index is a hint."""
    asking, approval_id = decided(approvals, "approved")
    use(approvals, asking, approval_id)
    record = stored(approval_id)
    record.due_ms = held.now_ms()
    record.save()
    assert not approvals.due(ORG, approval_id)
    assert not approvals.due(ORG, ids.uuid7())


# Flows


@pytest.fixture
def woken(store: EmbeddedEngine, held: HeldClock) -> Callable[[], list[str]]:
    """Statuses of approvals as flows heard of them, from the events so far."""
    heard = list[str]()
    approvals = Approvals(lambda approval: heard.append(approval.status))

    def look() -> list[str]:
        heard.clear()
        for event in events():
            approvals.resolve(event)
        return heard

    return look


def test_a_flow_hears_of_its_decision(approvals: Approvals, held: HeldClock, woken: Callable[[], list[str]]) -> None:
    """And of an expiry; no frame is sent again, and it has as long as it runs."""
    first, approved = ask(approvals, operation(flow_execution_id="e"))
    _, expired = ask(approvals, operation(flow_execution_id="e"))
    ask(approvals)
    assert woken() == []
    approvals.decide(owner(), approved, "approved")
    assert stored(approved).due_ms is None
    assert woken() == ["APPROVED"]
    held.advance(4000)
    approvals.due(ORG, expired)
    assert sorted(woken()) == ["APPROVED", "EXPIRED"]
    assert refusal(approvals, first, approved) == ""


def test_clients_calls_wake_no_flow(approvals: Approvals, woken: Callable[[], list[str]]) -> None:
    """Nor does an event about something else."""
    decided(approvals, "denied")
    assert woken() == []


# Listing


def test_lists_are_newest_first_and_go_on_at_a_cursor(approvals: Approvals) -> None:
    """`total` counts all of them, wherever the part begins."""
    made = [ask(approvals)[1] for _ in range(5)]
    first = approvals.list(owner(), limit=2)
    assert ([row.approval_id for row in first.items], first.total, first.more) == (made[:2:-1], 5, True)
    rest = approvals.list(owner(), limit=3, cursor=first.keys[-1])
    assert ([row.approval_id for row in rest.items], rest.total, rest.more) == (made[2::-1], 5, False)


def test_a_list_looks_at_so_many_only(approvals: Approvals, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long history costs no more than a short one, and all of it is reached from cursor to cursor."""
    monkeypatch.setattr("shared.governance.approvals.MOST_LOOKED_AT", 3)
    made = [ask(approvals)[1] for _ in range(5)]
    first = approvals.list(owner(), limit=2)
    assert (first.total, first.more) == (3, True)
    rest = approvals.list(owner(), limit=3, cursor=first.keys[-1])
    assert ([row.approval_id for row in rest.items], rest.total) == (made[2::-1], 3)


def test_lists_by_status(approvals: Approvals, held: HeldClock) -> None:
    """By what an approval is now, written or not."""
    _, approved = decided(approvals, "approved")
    _, denied = decided(approvals, "denied")
    _, consumed = decided(approvals, "approved")
    approvals.consume(ORG, consumed, None, KEY)
    _, waiting = decided(approvals, None)

    def found(**wanted: Any) -> set[str]:
        return {row.approval_id for row in approvals.list(owner(), limit=100, **wanted).items}

    assert found() == {approved, denied, consumed, waiting}
    assert found(status="APPROVED") == {approved}
    assert found(status="PENDING") == found(history=False) == {waiting}
    assert found(history=True) == {approved, denied, consumed}
    assert found(status="PENDING", history=True) == set()
    held.advance(300)
    assert (found(status="EXPIRED"), found(status="REVOKED")) == ({waiting}, {approved})
    assert found(history=False) == set()
    held.advance(91 * 24 * 3600)
    assert found() == set()
