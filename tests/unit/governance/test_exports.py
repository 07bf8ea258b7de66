"""Exports: a file that can be verified, written in the background, whoever dies in between."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from shared.governance.audit import Audit, AuditFilter
from shared.governance.chain import canonical
from shared.governance.exports import LATE_MS, LINK_S, SHOWN, WINDOW_MS, Exports
from shared.governance.outbox import Outbox
from shared.identity.principal import Principal
from shared.kit import clock, ids
from shared.kit.errors import Forbidden, NotFound, PayloadTooLarge, TooManyRequests, Unavailable, Unprocessable
from shared.store.blobs import FolderBlobs
from shared.store.embedded import EmbeddedEngine
from shared.store.models.audit import ExportJob, exports_pk
from shared.store.models.governance import Event, events_pk
from tests.support.audit import ORG, OTHER_ORG, event_of, happened
from tests.support.time import HeldClock

BASE = "https://signalbox.example.com"
ADA = Principal(kind="session", org_id=ORG, account_id="acc-1", username="ada", role="viewer")
EVE = Principal(kind="session", org_id=OTHER_ORG, account_id="acc-2", username="eve", role="owner")


class FailingBlobs(FolderBlobs):
    """Fails with the errors of ``errors``, one after the other."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.errors: list[Exception] = []

    def put(self, key: str, data: bytes) -> None:
        if self.errors:
            raise self.errors.pop(0)
        super().put(key, data)


@pytest.fixture
def blobs(tmp_path: Path) -> FailingBlobs:
    return FailingBlobs(tmp_path)


@pytest.fixture
def exports(store: EmbeddedEngine, held: HeldClock, blobs: FailingBlobs) -> Exports:
    return Exports(b"r" * 32, blobs, BASE + "/")


def chain(*actions: str) -> None:
    Audit().append(ORG, [happened(action) for action in actions])


def request_event() -> Event:
    """The event that asks for the newest export."""
    return [row for row in Event.query(events_pk(ORG)) if row.action == "audit.export_requested"][-1]


def test_a_job_is_pending_then_completed(exports: Exports) -> None:
    """The request is one write with the event that asks for it; the file has the chain as it is told, line by line."""
    chain("a", "b")
    job = exports.create(ADA)
    assert (job.status, job.file_url, job.completed_ms) == ("pending", None, None)
    event = request_event()
    assert (event.resource_type, event.resource_id, event.actor_id) == ("audit_export", job.id, "acc-1")
    assert exports.run(ORG, job.id)
    done = exports.get(ADA, job.id)
    assert (done.status, done.record_count, done.truncated, done.error_message) == ("completed", 2, False, None)
    assert done.completed_ms == clock.now_ms()
    content = exports.file(ORG, job.id)
    assert isinstance(content, bytes)
    told = Audit().list(ORG, AuditFilter(), 10).entries[::-1]
    assert [json.loads(line) for line in content.splitlines()] == told
    assert content.decode() == "".join(canonical(entry) + "\n" for entry in told)


def test_a_job_of_an_empty_chain(exports: Exports) -> None:
    """An empty file."""
    job = exports.create(ADA)
    assert exports.run(ORG, job.id)
    assert (exports.get(ADA, job.id).record_count, exports.file(ORG, job.id)) == (0, b"")


def test_a_job_has_the_entries_of_its_time(exports: Exports, held: HeldClock) -> None:
    """The last 30 days by default, or what was asked for; the end excluded."""
    chain("old")
    held.advance(WINDOW_MS / 1000 + 1)
    chain("a")
    start = clock.now_ms()
    held.advance(10)
    chain("b")
    middle = clock.now_ms()
    held.advance(10)
    chain("c")
    held.advance(1)

    def actions(since_ms: int | None = None, until_ms: int | None = None) -> list[str]:
        job = exports.create(ADA, since_ms, until_ms)
        exports.run(ORG, job.id)
        content = exports.file(ORG, job.id)
        assert isinstance(content, bytes)
        return [json.loads(line)["action"] for line in content.splitlines()]

    assert actions() == ["a", "b", "c"]
    assert actions(0) == ["old", "a", "b", "c"]
    assert actions(start, middle) == ["a"]
    assert actions(middle) == ["b", "c"]
    with pytest.raises(Unprocessable):
        exports.create(ADA, middle, middle)


def test_a_file_has_so_many_entries_at_most(exports: Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest, and the job says that it is not everything."""
    monkeypatch.setattr("shared.governance.exports.MOST_ENTRIES", 2)
    chain("a", "b", "c")
    job = exports.create(ADA)
    exports.run(ORG, job.id)
    assert (exports.get(ADA, job.id).record_count, exports.get(ADA, job.id).truncated) == (2, True)


def test_a_time_long_ago_is_not_empty_for_what_came_after(
    exports: Exports, held: HeldClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much did: the file has the newest entries of its time, also those that were appended late."""
    monkeypatch.setattr("shared.governance.exports.MOST_ENTRIES", 3)
    start = clock.now_ms()
    chain("a", "b", "c")
    late = happened("late")
    held.advance(60)
    until = clock.now_ms()
    Audit().append(ORG, [late])
    held.advance(LATE_MS / 1000 + 120)
    chain(*"defghi")

    def written(since_ms: int) -> tuple[list[str], bool]:
        job = exports.create(ADA, since_ms, until)
        # Only what may be of the time is looked at, so that it is done at once.
        assert exports.run(ORG, job.id, most=4)
        content = exports.file(ORG, job.id)
        assert isinstance(content, bytes)
        return [json.loads(line)["action"] for line in content.splitlines()], exports.get(ADA, job.id).truncated

    assert written(start) == (["b", "c", "late"], True)
    monkeypatch.setattr("shared.governance.exports.MOST_ENTRIES", 4)
    assert written(start) == (["a", "b", "c", "late"], False)


def test_a_file_has_so_many_bytes_at_most(
    exports: Exports, blobs: FailingBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest entries that fit, oldest first."""
    chain("a", "b", "c")
    whole = exports.create(ADA)
    exports.run(ORG, whole.id)
    lines = blobs.get(f"exports/{ORG}/{whole.id}.jsonl").splitlines(keepends=True)
    monkeypatch.setattr("shared.governance.exports.MOST_BYTES", len(lines[1]) + len(lines[2]))
    job = exports.create(ADA)
    exports.run(ORG, job.id)
    assert blobs.get(f"exports/{ORG}/{job.id}.jsonl").splitlines(keepends=True) == lines[1:]
    assert (exports.get(ADA, job.id).record_count, exports.get(ADA, job.id).truncated) == (2, True)


def test_so_many_exports_are_under_way_at_most(exports: Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks again and again waits; a repeated request is still answered, and other orgs are."""
    monkeypatch.setattr("shared.governance.exports.MOST_UNENDED", 2)
    first, second = exports.create(ADA), exports.create(ADA)
    with pytest.raises(TooManyRequests):
        exports.create(ADA)
    assert exports.create(ADA, job_id=second.id) == second
    exports.create(EVE)
    exports.run(ORG, first.id)
    exports.create(ADA)


def test_old_exports_go_with_their_files(
    exports: Exports, blobs: FailingBlobs, held: HeldClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files do not pile up."""
    monkeypatch.setattr("shared.governance.exports.MOST_KEPT", 2)
    made = []
    for _ in range(3):
        made.append(exports.create(ADA).id)
        exports.run(ORG, made[-1])
        held.advance(1)
    assert [job.id for job in exports.list(ADA)] == made[:0:-1]
    with pytest.raises(NotFound):
        exports.get(ADA, made[0])
    with pytest.raises(NotFound):
        blobs.get(f"exports/{ORG}/{made[0]}.jsonl")
    blobs.get(f"exports/{ORG}/{made[1]}.jsonl")


def test_a_given_job_is_made_once(exports: Exports) -> None:
    """A repeated request finds the job it made."""
    job_id = ids.uuid7()
    assert exports.create(ADA, job_id=job_id) == exports.create(ADA, job_id=job_id)
    assert len(exports.list(ADA)) == 1


def test_the_newest_jobs_are_listed(exports: Exports) -> None:
    """Newest first, ten of them, those of the org."""
    made = [exports.create(ADA).id for _ in range(SHOWN + 1)]
    assert [job.id for job in exports.list(ADA)] == made[:0:-1]
    assert exports.list(EVE) == []


@pytest.mark.parametrize("job_id", ["", "x", "0198c0de-7a10-7c2e-9d3a-2f9c41aa01f7", "a#b", "x" * 5000])
def test_an_unknown_job_is_not_found(exports: Exports, job_id: str) -> None:
    """So is another org's."""
    for look in (lambda: exports.get(ADA, job_id), lambda: exports.file(ORG, job_id)):
        with pytest.raises(NotFound):
            look()
    mine = exports.create(ADA)
    with pytest.raises(NotFound):
        exports.get(EVE, mine.id)
    with pytest.raises(NotFound):
        exports.file(ORG, mine.id)


# Links


def link_of(exports: Exports) -> tuple[str, str, str]:
    job = exports.create(ADA)
    exports.run(ORG, job.id)
    link = exports.get(ADA, job.id).file_url
    assert link is not None
    parts = urlsplit(link)
    assert link.startswith(f"{BASE}/api/v1/orgs/{ORG}/audit-log/export/{job.id}/file?")
    values = parse_qs(parts.query)
    return job.id, values["expires"][0], values["token"][0]


def test_a_link_works_for_a_while(exports: Exports, held: HeldClock) -> None:
    """Its token stands for credentials until it expires."""
    job_id, expires, token = link_of(exports)
    exports.prove_link(ORG, job_id, expires, token)
    held.advance(LINK_S)
    with pytest.raises(Forbidden, match="expired"):
        exports.prove_link(ORG, job_id, expires, token)


@pytest.mark.parametrize("change", ["org", "job", "expires", "token", "odd", "other root"])
def test_a_link_is_for_its_file_only(exports: Exports, change: str) -> None:
    """Nothing in it can be changed."""
    job_id, expires, token = link_of(exports)
    asked = {
        "org": (OTHER_ORG, job_id, expires, token),
        "job": (ORG, ids.uuid7(), expires, token),
        "expires": (ORG, job_id, str(int(expires) + 1), token),
        "token": (ORG, job_id, expires, token[:-1]),
        "odd": (ORG, job_id, "x", "\u00e9"),
        "other root": (ORG, job_id, expires, token),
    }[change]
    judge = Exports(b"s" * 32, exports._blobs, BASE) if change == "other root" else exports
    with pytest.raises(Forbidden, match="not valid"):
        judge.prove_link(*asked)


# What goes wrong


def test_a_worker_that_cannot_write_is_called_again(exports: Exports, blobs: FailingBlobs) -> None:
    """While the blob store does not answer the job goes on being processed; then it is completed once."""
    chain("a")
    job = exports.create(ADA)
    blobs.errors = [Unavailable("not now")]
    with pytest.raises(Unavailable):
        exports.run(ORG, job.id)
    assert exports.get(ADA, job.id).status == "processing"
    assert exports.run(ORG, job.id)
    assert exports.get(ADA, job.id).status == "completed"
    completed = exports.get(ADA, job.id)
    chain("b")
    assert exports.run(ORG, job.id)
    assert exports.get(ADA, job.id).record_count == completed.record_count


def test_a_job_that_can_never_be_done_says_why(exports: Exports, blobs: FailingBlobs) -> None:
    """It has failed, with the reason."""
    job = exports.create(ADA)
    blobs.errors = [PayloadTooLarge("The file is too large")]
    assert exports.run(ORG, job.id)
    failed = exports.get(ADA, job.id)
    assert (failed.status, failed.error_message, failed.file_url) == ("failed", "The file is too large", None)
    with pytest.raises(NotFound):
        exports.file(ORG, job.id)


def test_a_job_of_no_record_is_done(exports: Exports) -> None:
    """Nothing is left to do for one that is gone."""
    assert exports.run(ORG, ids.uuid7())


def outbox(exports: Exports) -> Outbox:
    return Outbox(Audit(), exports)


def test_a_job_is_done_by_whoever_follows_events(exports: Exports, store: EmbeddedEngine) -> None:
    """The event that asks for it makes it done, and is in the chain itself."""
    job = exports.create(ADA)
    assert outbox(exports).handle(store.stream.read(0, 100)) == []
    assert exports.get(ADA, job.id).status == "completed"
    assert Audit().list(ORG, AuditFilter(), 10).entries[0]["action"] == "audit.export_requested"
    assert request_event().due_ms is None


def test_a_large_job_is_left_to_the_sweep(
    exports: Exports, store: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The relay keeps nobody waiting: the event is chained and stays due, and the sweep does the job."""
    monkeypatch.setattr("shared.governance.outbox.MOST_AT_ONCE", 2)
    chain("a", "b", "c")
    job = exports.create(ADA)
    assert outbox(exports).handle(store.stream.read(0, 100)) == []
    assert exports.get(ADA, job.id).status == "pending"
    event = request_event()
    assert (event.due_ms is None, event.chained) == (False, 4)
    assert outbox(exports).handle_due("event", ORG, event.pk, event.sk)
    assert exports.get(ADA, job.id).status == "completed"
    assert event_of(event.event_id).due_ms is None


def test_a_job_that_failed_for_now_stays_due(
    exports: Exports, store: EmbeddedEngine, blobs: FailingBlobs, held: HeldClock
) -> None:
    """A relay that died or gave up leaves the job to the sweep."""
    job = exports.create(ADA)
    blobs.errors = [Unavailable("not now")]
    records = store.stream.read(0, 100)
    assert outbox(exports).handle(records) != []
    event = request_event()
    assert event.due_ms is not None
    assert outbox(exports).handle_due("event", ORG, event.pk, event.sk)
    assert exports.get(ADA, job.id).status == "completed"
    assert request_event().due_ms is None


def test_a_finished_job_is_not_begun_again(exports: Exports) -> None:
    """A late worker that finds it completed writes nothing."""
    job = exports.create(ADA)
    exports.run(ORG, job.id)
    record = ExportJob.get(exports_pk(ORG), job.id)
    record.update([ExportJob.record_count.set(77)])
    assert exports.run(ORG, job.id)
    assert exports.get(ADA, job.id).record_count == 77
