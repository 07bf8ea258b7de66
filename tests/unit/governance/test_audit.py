"""The audit chain: what its entries say, that each is there once, and that nobody can change it unseen."""

from __future__ import annotations

import hashlib
import json as plain_json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from shared.governance.audit import BATCH, Audit, AuditFilter
from shared.governance.chain import BEFORE_FIRST, MOST_METADATA, canonical, outline
from shared.governance.verification import first_since, verify, waiting
from shared.kit import clock
from shared.kit.errors import Unavailable
from shared.store.embedded import EmbeddedEngine, Fault
from shared.store.models.audit import AuditEntry, AuditHead, audit_pk, entry_sk
from shared.store.models.governance import ApiKey, Event, keys_pk
from shared.store.transaction import read
from tests.support.audit import ORG, OTHER_ORG, WORKFLOW, asked, event_of, happened, operation_of
from tests.support.store import memory_store
from tests.support.time import HeldClock


def entries(org_id: str = ORG) -> list[dict[str, Any]]:
    """The chain, oldest first."""
    return Audit().list(org_id, AuditFilter(), 1000).entries[::-1]


def chain_of(count: int) -> None:
    """A chain of so many entries."""
    Audit().append(ORG, [happened(f"thing.{number}") for number in range(1, count + 1)])


# What is told


def test_an_entry_can_be_verified_by_hand(store: EmbeddedEngine, held: HeldClock) -> None:
    """The hash of an entry is SHA-256 of the hash before it and the sorted, compact JSON of the entry without it."""
    Audit().append(ORG, [happened("policy.created", details={"b": 1, "a": {"d": "ü", "c": None}}), asked()])
    previous = "0" * 64
    for entry in entries():
        current = entry.pop("current_event_hash")
        text = plain_json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert entry["previous_event_hash"] == previous
        assert hashlib.sha256((previous + text).encode()).hexdigest() == current
        previous = current


def test_an_entry_of_an_event_says_what_the_event_says(store: EmbeddedEngine, held: HeldClock) -> None:
    """Actor, resource, outcome, reason, time; the details become the metadata and the governance fields."""
    details = {"policy_id": "p-1", "policy_version": 7, "matched_rule": "db.*", "tool_name": "db.drop", "note": "n"}
    event = happened(
        "approval.denied", resource=("approval", "a-1"), event_type="approval_decision", outcome="denied",
        decision="denied", reason_code="R", execution_id="e-1", details=details,
    )  # fmt: skip
    Audit().append(ORG, [event])
    [entry] = entries()
    expected = {
        "id": event.event_id, "action": "approval.denied", "event_type": "approval_decision", "actor": "user:acc-1",
        "actor_label": "ada", "actor_type": "user", "actor_id": "acc-1", "resource_type": "approval",
        "resource_id": "a-1", "outcome": "denied", "timestamp": "2026-01-01T00:00:00.000Z", "metadata": details,
        "previous_event_hash": BEFORE_FIRST, "agent_id": None, "principal_id": None, "decision": "denied",
        "policy_id": "p-1", "policy_version": 7, "policy_hash": None, "matched_rule": "db.*", "reason_code": "R",
        "execution_id": "e-1", "action_digest": None, "tool_name": "db.drop", "tool_version": None,
        "tool_digest": None,
    }  # fmt: skip
    assert {name: value for name, value in entry.items() if name != "current_event_hash"} == expected


@pytest.mark.parametrize(
    ("decision", "told", "outcome"),
    [
        ("allow", "allow", "success"),
        ("soft_pass", "allow", "degraded"),
        ("require_approval", "require_approval", "success"),
        ("block", "deny", "blocked"),
    ],
)
def test_an_entry_of_an_operation(store: EmbeddedEngine, decision: str, told: str, outcome: str) -> None:
    """A decision of the gate names its key by what people call it, its workflow, its rule, and never what was sent."""
    ApiKey(
        keys_pk(ORG), "k-1", key_id="k-1", org_id=ORG, workflow_id=WORKFLOW, name="prod key", prefix="nr_live_ab12",
        fingerprint="f", scopes="[]", version=1, salts="{}", created_by="x", created_ms=1,
    ).save()  # fmt: skip
    row = asked(
        decision, tool="db.drop", policy_id="p-1", policy_version=3, matched_rule="db.*", error_code="TOOL_BLOCKED",
        action_digest="d", answer='{"input":"secret prompt"}',
    )  # fmt: skip
    Audit().append(ORG, [row])
    [entry] = entries()
    assert (entry["decision"], entry["outcome"], entry["action"]) == (told, outcome, f"gate.{decision}")
    assert (entry["actor"], entry["actor_label"]) == ("api_key:k-1", "prod key (nr_live_ab12)")
    assert (entry["resource_type"], entry["resource_id"]) == ("workflow", WORKFLOW)
    assert entry["event_type"] == "authorization_decision"
    names = ("tool_name", "policy_id", "policy_version", "matched_rule", "reason_code", "action_digest")
    assert [entry[name] for name in names] == ["db.drop", "p-1", 3, "db.*", "TOOL_BLOCKED", "d"]
    assert entry["id"] == entry["execution_id"] == row.execution_id
    assert "secret prompt" not in canonical(entry)


@pytest.mark.parametrize(
    ("tool", "tools", "told"),
    [("a", '["b"]', "a"), (None, '["b"]', "b"), (None, '["b","c"]', None), (None, "[]", None), (None, None, None)],
)
def test_the_tool_of_an_operation(store: EmbeddedEngine, tool: str | None, tools: str | None, told: str | None) -> None:
    """The tool that was named, else the only one that was listed."""
    assert outline(asked(tool=tool, tools=tools), {})["tool_name"] == told


def test_large_metadata_is_named_by_its_digest(store: EmbeddedEngine) -> None:
    """An entry stays small whatever an event says."""
    Audit().append(ORG, [happened(details={"x": "y" * MOST_METADATA})])
    [entry] = entries()
    assert entry["metadata"].keys() == {"left_out_bytes", "sha256"}
    assert verify(ORG).failure is None


# Appending


def test_what_is_repeated_is_chained_once(store: EmbeddedEngine) -> None:
    """However often and in whatever company a source comes, it has one entry; its place is noted with it."""
    audit = Audit()
    event, operation = happened(), asked()
    audit.append(ORG, [event, event])
    audit.append(ORG, [operation, event])
    audit.append(ORG, [event_of(event.event_id), operation_of(operation)])
    assert [entry["id"] for entry in entries()] == [event.event_id, operation.execution_id]
    assert (event_of(event.event_id).chained, operation_of(operation).chained) == (1, 2)


def test_a_chained_event_is_due_no_more(store: EmbeddedEngine) -> None:
    """Unless somebody still has to hear of it."""
    one, other = happened(), happened()
    Audit().append(ORG, [one, other], stay_due={other.event_id})
    assert event_of(one.event_id).due_ms is None
    assert event_of(one.event_id).due_shard is None
    assert event_of(other.event_id).due_ms is not None
    assert event_of(other.event_id).chained == 2


def test_more_than_fits_into_a_transaction(store: EmbeddedEngine) -> None:
    """Any number is chained, in the order it came."""
    events = [happened(f"thing.{number}") for number in range(2 * BATCH + 3)]
    Audit().append(ORG, events)
    assert [entry["action"] for entry in entries()] == [event.action for event in events]
    assert verify(ORG).failure is None


def test_a_source_that_is_gone_holds_up_no_other(store: EmbeddedEngine) -> None:
    """A source that was removed after it was read is left out."""
    gone, there = happened(), happened()
    gone.delete()
    Audit().append(ORG, [gone, there])
    assert [entry["id"] for entry in entries()] == [there.event_id]


def test_an_event_that_is_not_for_the_chain_is_left_out(store: EmbeddedEngine) -> None:
    """A place of 0 says so."""
    event = happened()
    event.update([Event.chained.set(0)])
    Audit().append(ORG, [event_of(event.event_id)])
    assert entries() == []


def test_orgs_have_chains_of_their_own(store: EmbeddedEngine) -> None:
    """Each begins with its own first entry."""
    audit = Audit()
    audit.append(ORG, [happened()])
    audit.append(OTHER_ORG, [happened(org_id=OTHER_ORG)])
    assert entries()[0]["previous_event_hash"] == entries(OTHER_ORG)[0]["previous_event_hash"] == BEFORE_FIRST
    assert (verify(ORG).count, verify(OTHER_ORG).count) == (1, 1)


def test_processes_append_at_the_same_time(store: EmbeddedEngine) -> None:
    """Writers that know nothing of each other, some with the same sources, make one whole chain of all of them."""
    shared = [happened(f"shared.{number}") for number in range(3)]
    own = [[asked() for _ in range(3)] for _ in range(6)]
    batches = [[*shared, *mine] for mine in own]

    barrier = Barrier(len(batches))

    def append(batch: list[Any]) -> None:
        barrier.wait(10)
        Audit().append(ORG, batch)

    with ThreadPoolExecutor(len(batches)) as pool:
        list(pool.map(append, batches, timeout=60))
    told = [entry["id"] for entry in entries()]
    expected = {event.event_id for event in shared} | {row.execution_id for batch in own for row in batch}
    assert len(told) == len(expected) == 21
    assert set(told) == expected
    assert verify(ORG).failure is None


class Breaks:
    """A fault for every transaction numbered in ``at``, counted from when it is armed."""

    def __init__(self, fault: Fault, *at: int) -> None:
        self.fault = fault
        self.at: set[int] | None = set(at) or None
        self.armed = False
        self.count = 0

    def before(self, operation: str, request: dict[str, Any]) -> Fault | None:
        if operation != "TransactWriteItems" or not self.armed:
            return None
        self.count += 1
        return self.fault if self.at is None or self.count in self.at else None


@pytest.mark.parametrize("fault", [Fault.ANSWER_LOST, Fault.REPEATED, Fault.FAILED, Fault.THROTTLED, Fault.CONFLICT])
def test_a_fault_of_the_store_chains_nothing_twice(held: HeldClock, fault: Fault) -> None:
    """A lost or repeated answer, a broken connection, a throttle, a conflict: each source has one entry."""
    faults = Breaks(fault, 1, 3)
    with memory_store(faults=faults):
        events = [happened() for _ in range(BATCH + 5)]
        faults.armed = True
        Audit().append(ORG, events)
        faults.armed = False
        assert [entry["id"] for entry in entries()] == [event.event_id for event in events]
        assert verify(ORG).failure is None


def test_a_writer_that_dies_after_the_write_is_made_good_by_the_next(held: HeldClock) -> None:
    """The transaction was committed but nobody heard of it; the same batch again changes nothing."""
    faults = Breaks(Fault.ANSWER_LOST)
    with memory_store(faults=faults):
        events = [happened(), happened()]
        faults.armed = True
        with pytest.raises(Unavailable):
            Audit().append(ORG, events)
        faults.armed = False
        Audit().append(ORG, events)
        assert [entry["id"] for entry in entries()] == [event.event_id for event in events]
        assert verify(ORG).failure is None


# Verifying


def entry_at(number: int) -> AuditEntry:
    found = read(AuditEntry, audit_pk(ORG), entry_sk(number))
    assert found is not None
    return found


def changed_body() -> None:
    entry = entry_at(3)
    entry.update([AuditEntry.body.set(entry.body.replace("thing.3", "thing.x"))])


def changed_body_and_hash() -> None:
    entry = entry_at(3)
    body = entry.body.replace("thing.3", "thing.x")
    current = hashlib.sha256((entry.previous + body).encode()).hexdigest()
    entry.update([AuditEntry.body.set(body), AuditEntry.hash.set(current)])


def changed_hash() -> None:
    entry_at(3).update([AuditEntry.hash.set("f" * 64)])


def changed_previous() -> None:
    entry_at(3).update([AuditEntry.previous.set("f" * 64)])


def unreadable_body() -> None:
    entry_at(3).update([AuditEntry.body.set("{")])


def removed() -> None:
    entry_at(3).delete()


def removed_first() -> None:
    entry_at(1).delete()


def removed_and_closed_up() -> None:
    """The entries behind it move up, and the head with them."""
    rows = [entry_at(number) for number in (4, 5, 6)]
    for number, row in zip((3, 4, 5), rows, strict=True):
        AuditEntry(
            row.pk, entry_sk(number), number=number, previous=row.previous, hash=row.hash, at_ms=row.at_ms,
            action=row.action, body=row.body,
        ).save()  # fmt: skip
    entry_at(6).delete()
    AuditHead(audit_pk(ORG), "head").update([AuditHead.length.set(5)])


def swapped() -> None:
    one, other = entry_at(3), entry_at(4)
    one.sk, other.sk = other.sk, one.sk
    one.save()
    other.save()


def swapped_with_numbers() -> None:
    one, other = entry_at(3), entry_at(4)
    one.sk, other.sk, one.number, other.number = other.sk, one.sk, other.number, one.number
    one.save()
    other.save()


def inserted() -> None:
    entry = entry_at(3)
    entry.sk += "a"
    entry.save()


def inserted_behind_the_end() -> None:
    entry = entry_at(6)
    entry.sk, entry.number = entry_sk(7), 7
    entry.save()


def truncated() -> None:
    entry_at(6).delete()


def truncated_with_the_head() -> None:
    entry_at(6).delete()
    AuditHead(audit_pk(ORG), "head").update([AuditHead.length.set(5)])


def truncated_whole() -> None:
    for number in range(1, 7):
        entry_at(number).delete()


def removed_head() -> None:
    AuditHead(audit_pk(ORG), "head").delete()


def changed_head() -> None:
    AuditHead(audit_pk(ORG), "head").update([AuditHead.hash.set("f" * 64)])


TAMPERINGS = [
    (changed_body, "content_hash_mismatch", 3),
    (changed_body_and_hash, "previous_hash_mismatch", 4),
    (changed_hash, "content_hash_mismatch", 3),
    (changed_previous, "content_hash_mismatch", 3),
    (unreadable_body, "content_hash_mismatch", 3),
    (removed, "missing_entry", 3),
    (removed_first, "missing_entry", 1),
    (removed_and_closed_up, "previous_hash_mismatch", 3),
    (swapped, "previous_hash_mismatch", 3),
    (swapped_with_numbers, "previous_hash_mismatch", 3),
    (inserted, "unexpected_entry", 4),
    (inserted_behind_the_end, "unexpected_entry", 7),
    (truncated, "missing_entry", 6),
    (truncated_with_the_head, "head_mismatch", 5),
    (truncated_whole, "missing_entry", 1),
    (removed_head, "head_mismatch", 6),
    (changed_head, "head_mismatch", 6),
]


@pytest.mark.parametrize(("tamper", "reason", "number"), TAMPERINGS)
def test_a_change_of_the_chain_is_seen(
    store: EmbeddedEngine, tamper: Callable[[], None], reason: str, number: int
) -> None:
    """Whatever one changes, removes, swaps, inserts or cuts off, verification names it and where."""
    chain_of(6)
    assert verify(ORG).failure is None
    tamper()
    found = verify(ORG)
    assert (found.failure, found.failed_at) == (reason, number)


@pytest.mark.parametrize("tamper", [tamper for tamper, _, number in TAMPERINGS if number > 2])
def test_a_change_is_seen_by_whoever_begins_later(
    store: EmbeddedEngine, held: HeldClock, tamper: Callable[[], None]
) -> None:
    """A verification from a time on sees every change behind it."""
    chain_of(1)
    held.advance(3600)
    since = clock.now_ms()
    Audit().append(ORG, [happened(f"thing.{number}") for number in range(2, 7)])
    assert (verify(ORG, since).failure, verify(ORG, since).count) == (None, 5)
    tamper()
    assert verify(ORG, since).failure is not None


def test_a_verification_begins_at_a_time(store: EmbeddedEngine, held: HeldClock) -> None:
    """Older entries are not looked at, but for the link of the first; a time after the end finds none."""
    for number in range(5):
        Audit().append(ORG, [happened(f"thing.{number}")])
        held.advance(3600)
    times = [int(entry_at(number).at_ms) for number in range(1, 6)]
    assert [first_since(ORG, 5, moment) for moment in times] == [1, 2, 3, 4, 5]
    assert [verify(ORG, moment).count for moment in times] == [5, 4, 3, 2, 1]
    assert (verify(ORG, clock.now_ms()).count, verify(ORG, clock.now_ms()).failure) == (0, None)
    entry_at(1).delete()
    assert verify(ORG, times[2]).failure is None


def test_a_verification_says_from_where_to_where(store: EmbeddedEngine) -> None:
    """Count, first and last hash; of an empty chain none, and nothing is wrong with it."""
    nothing = verify(ORG)
    assert (nothing.failure, nothing.count, nothing.first_hash, nothing.last_hash) == (None, 0, None, None)
    chain_of(3)
    found = verify(ORG)
    assert (found.count, found.first_hash, found.last_hash) == (3, entry_at(1).hash, entry_at(3).hash)


def test_what_waits_is_counted(store: EmbeddedEngine) -> None:
    """Events and operations without an entry, of this org only."""
    happened(org_id=OTHER_ORG)
    event, operation = happened(), asked()
    assert waiting(ORG) == 2
    Audit().append(ORG, [event, operation])
    assert waiting(ORG) == 0


# Listing

_WANTED = [
    ({}, ["gate.block", "workflow.killed", "gate.allow", "policy.created"]),
    ({"action": "workflow.killed"}, ["workflow.killed"]),
    ({"action": "authorization_decision"}, ["gate.block", "gate.allow"]),
    ({"event_type": "authorization_decision"}, ["gate.block", "gate.allow"]),
    ({"event_type": "policy.created", "action": "workflow.killed"}, ["policy.created"]),
    ({"actor": "user:acc-1"}, ["workflow.killed", "policy.created"]),
    ({"actor": "k-1"}, ["gate.block", "gate.allow"]),
    ({"resource_type": "policy"}, ["policy.created"]),
    ({"resource_id": WORKFLOW}, ["gate.block", "workflow.killed", "gate.allow"]),
    ({"decision": "deny"}, ["gate.block"]),
    ({"policy_id": "p-1"}, ["gate.block", "policy.created"]),
    ({"decision": "deny", "policy_id": "p-2"}, []),
    ({"since_ms": 1_767_225_600_000 + 2000}, ["gate.block", "workflow.killed"]),
    ({"until_ms": 1_767_225_600_000 + 2000}, ["gate.allow", "policy.created"]),
    ({"since_ms": 1_767_225_600_000 + 1000, "until_ms": 1_767_225_600_000 + 3000}, ["workflow.killed", "gate.allow"]),
    ({"since_ms": 1_767_225_600_000 + 9000}, []),
]


@pytest.mark.parametrize(("wanted", "told"), _WANTED)
def test_a_list_is_filtered(store: EmbeddedEngine, held: HeldClock, wanted: dict[str, Any], told: list[str]) -> None:
    """All filters that are given must fit; the newest come first; the total counts what fits."""
    sources: list[Any] = [happened("policy.created", resource=("policy", "p-1"))]
    held.advance(1)
    sources.append(asked())
    held.advance(1)
    sources.append(happened("workflow.killed"))
    held.advance(1)
    sources.append(asked("block", policy_id="p-1"))
    Audit().append(ORG, sources)
    part = Audit().list(ORG, AuditFilter(**wanted), 10)
    assert [entry["action"] for entry in part.entries] == told
    assert (part.total, part.complete) == (len(told), True)
    first = Audit().list(ORG, AuditFilter(**wanted), 1)
    assert [entry["action"] for entry in first.entries] == told[:1]
    assert first.total == len(told)


def test_a_list_by_execution(store: EmbeddedEngine) -> None:
    """The entries of one execution."""
    one = asked()
    Audit().append(ORG, [one, asked(), happened("execution.canceled", execution_id=one.execution_id)])
    found = Audit().list(ORG, AuditFilter(execution_id=one.execution_id), 10).entries
    assert [entry["action"] for entry in found] == ["execution.canceled", "gate.allow"]


def test_a_list_tells_when_it_stopped_looking(store: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter that fits little looks through so many entries and no more, and says so."""
    monkeypatch.setattr("shared.governance.audit.MOST_LOOKED_AT", 2)
    chain_of(3)
    part = Audit().list(ORG, AuditFilter(actor="acc-1"), 10)
    assert (len(part.entries), part.total, part.complete) == (2, 2, False)


# What reaches DynamoDB as text that is no Unicode must not break the chain.


def test_odd_texts_are_chained(store: EmbeddedEngine) -> None:
    """Any JSON an event may hold can be hashed, told and verified."""
    Audit().append(ORG, [happened(details={"x": ["ü", "\u2028", 1.5, 10**30, {"b": True, "a": None}], "": 0})])
    assert verify(ORG).failure is None
    assert entries()[0]["metadata"] == {"x": ["ü", "\u2028", 1.5, 10**30, {"b": True, "a": None}], "": 0}
