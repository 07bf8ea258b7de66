"""Exports of the audit chain: JSON lines in the blob store, oldest entry first.

    pending ──▶ processing ──▶ completed: the file is there
                    └────────▶ failed: the message says why

The job and the event that asks for it are one write. The event is due until the job has ended, so a job whose worker
died is done again from the beginning and the file replaced whole.
Source: NullRun docs, Audit log, Export; docs/rulings.md#audit-export.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from pynamodb.expressions.update import Action

from shared.governance.audit import told
from shared.governance.chain import canonical
from shared.governance.events import Actor, Fact, add_event
from shared.governance.verification import first_since
from shared.identity.principal import Principal
from shared.kit import clock, crypto, ids
from shared.kit.errors import Forbidden, NotFound, SignalboxError, TooManyRequests, Unavailable, Unprocessable
from shared.store.blobs import Blobs, LinkedBlobs
from shared.store.models.audit import AuditEntry, AuditHead, ExportJob, audit_pk, entry_sk, exports_pk
from shared.store.transaction import ConditionFailed, Transaction, read, update_if

REQUESTED = "audit.export_requested"
"""The action of the event that asks for an export."""

WINDOW_MS = 30 * 24 * 3600 * 1000
"""How far back an export goes where nobody says."""

MOST_ENTRIES = 50_000
"""Entries a file holds; of a time with more, the newest."""

MOST_BYTES = 64 * 1024 * 1024
"""Bytes a file has; of more, the newest entries."""

MOST_UNENDED = 20
"""Jobs of an org that wait or are under way at once."""

MOST_KEPT = 100
"""Jobs of an org that are kept with their files, the newest."""

LATE_MS = 3600 * 1000
"""How long after it happened an entry is looked for where there are too many to look at all."""

MOST_AT_ONCE = 5_000
"""Entries that are written at once by whoever follows the change stream; more wait for the sweep."""

LINK_S = 900
"""How long a link to a file works."""

SHOWN = 10
"""Jobs in the list."""

_UNENDED = ("pending", "processing")
_JOB = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class ExportView:
    """A job. ``file_url`` is there once it is completed, and works for 15 minutes. Times in epoch milliseconds."""

    id: str
    status: str
    record_count: int
    truncated: bool
    created_ms: int
    completed_ms: int | None
    error_message: str | None
    file_url: str | None


class Exports:
    """The exports of all orgs. Links carry a token of their own, derived from ``root``; ``base`` is the public URL."""

    def __init__(self, root: bytes, blobs: Blobs, base: str) -> None:
        self._links = crypto.derive(root, "audit export links")
        self._blobs = blobs
        self._base = base.rstrip("/")

    # Asking

    def create(
        self, principal: Principal, since_ms: int | None = None, until_ms: int | None = None, *,
        job_id: str | None = None,
    ) -> ExportView:  # fmt: skip
        """Ask for an export of what happened in a time, by default in the last 30 days.

        A given ``job_id`` that exists is answered as it is. Raises Unprocessable, and TooManyRequests where too many
        others have not ended.
        """
        now = clock.now_ms()
        # What happened in this millisecond belongs to it.
        until = now + 1 if until_ms is None else until_ms
        since = until - WINDOW_MS if since_ms is None else since_ms
        if since >= until:
            raise Unprocessable.field("since", "Since must be before until")
        job_id = job_id or ids.uuid7()
        unended = [row.job_id for row in _newest(principal.org_id) if row.status in _UNENDED]
        if len(unended) >= MOST_UNENDED and job_id not in unended:
            raise TooManyRequests(f"{MOST_UNENDED} exports have not ended yet; wait for them", retry_after=60)
        job = ExportJob(
            exports_pk(principal.org_id), job_id, job_id=job_id, status="pending", since_ms=since, until_ms=until,
            created_ms=now,
        )  # fmt: skip
        period = {"since": clock.rfc3339(since), "until": clock.rfc3339(until)}
        tx = Transaction().put(job, ExportJob.pk.does_not_exist(), label="job")
        add_event(tx, principal.org_id, Actor.of(principal), Fact(REQUESTED, ("audit_export", job_id), details=period))
        try:
            tx.commit()
        except ConditionFailed:
            return self.get(principal, job_id)
        return self._view(principal.org_id, job)

    def list(self, principal: Principal) -> list[ExportView]:
        """The newest jobs, newest first."""
        return [self._view(principal.org_id, job) for job in islice(_newest(principal.org_id), SHOWN)]

    def get(self, principal: Principal, job_id: str) -> ExportView:
        """One job. Raises NotFound."""
        return self._view(principal.org_id, _job(principal.org_id, job_id))

    def _view(self, org_id: str, job: ExportJob) -> ExportView:
        ended = None if job.completed_ms is None else int(job.completed_ms)
        link = self._link(org_id, job.job_id) if job.status == "completed" else None
        return ExportView(
            job.job_id, job.status, int(job.record_count), bool(job.truncated), int(job.created_ms), ended,
            job.error_message, link,
        )  # fmt: skip

    # Files

    def _link(self, org_id: str, job_id: str) -> str:
        expires = clock.now_ms() // 1000 + LINK_S
        token = crypto.digest(self._links, org_id, job_id, str(expires))
        return f"{self._base}/api/v1/orgs/{org_id}/audit-log/export/{job_id}/file?expires={expires}&token={token}"

    def prove_link(self, org_id: str, job_id: str, expires: str, token: str) -> None:
        """Raise Forbidden unless the token is the one of a link that still works."""
        expected = crypto.digest(self._links, org_id, job_id, expires)
        if not hmac.compare_digest(expected.encode(), token.encode("utf-8", "surrogatepass")):
            raise Forbidden("The link is not valid; ask for the status of the export again")
        if int(expires) <= clock.now_ms() // 1000:
            raise Forbidden("The link has expired; ask for the status of the export again")

    def file(self, org_id: str, job_id: str) -> bytes | str:
        """The file, or a URL of the blob store that answers it for a while. Raises NotFound."""
        job = _job(org_id, job_id)
        if job.status != "completed" or job.blob is None:
            raise NotFound("The export has no file yet")
        if isinstance(self._blobs, LinkedBlobs):
            return self._blobs.link(job.blob, LINK_S)
        return self._blobs.get(job.blob)

    # Working

    def run(self, org_id: str, job_id: str, *, most: int | None = None) -> bool:
        """Do the job unless it would look at more than ``most`` entries; whether it has ended.

        Twice is harmless. Raises Unavailable, to be called again.
        """
        job = read(ExportJob, exports_pk(org_id), job_id)
        if job is None or job.status in ("completed", "failed"):
            return True
        head = read(AuditHead, audit_pk(org_id), "head")
        last = 0 if head is None else int(head.length)
        first = first_since(org_id, last, int(job.since_ms))
        if last - first >= MOST_ENTRIES:
            # What was appended long after its time cannot be of it, and would be in the way of what is.
            last = first_since(org_id, last, int(job.until_ms) + LATE_MS) - 1
        if most is not None and last - first >= most:
            return False
        unended = ExportJob.status.is_in(*_UNENDED)
        update_if(job, [ExportJob.status.set("processing")], unended)
        try:
            actions = [ExportJob.status.set("completed"), *self._write(org_id, job, first, last)]
        except Unavailable:
            raise
        except SignalboxError as error:
            actions = [ExportJob.status.set("failed"), ExportJob.error_message.set(error.message)]
        update_if(job, [*actions, ExportJob.completed_ms.set(clock.now_ms())], unended)
        self._forget_old(org_id)
        return True

    def _write(self, org_id: str, job: ExportJob, first: int, last: int) -> Sequence[Action]:
        """Write the file; what the job is to say of it."""
        lines: list[bytes] = []
        size, truncated = 0, False
        numbers = AuditEntry.sk.between(entry_sk(first), entry_sk(last))
        found = AuditEntry.query(audit_pk(org_id), numbers, scan_index_forward=False, consistent_read=True)
        # The newest first, because it is the oldest that are left out.
        for entry in found if first <= last else ():
            shown = told(entry)
            if not int(job.since_ms) <= clock.parse_rfc3339(shown["timestamp"]) < int(job.until_ms):
                continue
            line = canonical(shown).encode("utf-8", "surrogatepass") + b"\n"
            size += len(line)
            if len(lines) == MOST_ENTRIES or size > MOST_BYTES:
                truncated = True
                break
            lines.append(line)
        blob = f"exports/{org_id}/{job.job_id}.jsonl"
        self._blobs.put(blob, b"".join(reversed(lines)))
        return [
            ExportJob.record_count.set(len(lines)), ExportJob.truncated.set(truncated), ExportJob.blob.set(blob),
        ]  # fmt: skip

    def _forget_old(self, org_id: str) -> None:
        """Remove jobs beyond those that are kept, and first their files."""
        for job in islice(_newest(org_id), MOST_KEPT, None):
            if job.blob is not None:
                self._blobs.delete(job.blob)
            Transaction().delete(job).commit()


def _newest(org_id: str) -> Iterator[ExportJob]:
    return iter(ExportJob.query(exports_pk(org_id), scan_index_forward=False, consistent_read=True))


def _job(org_id: str, job_id: str) -> ExportJob:
    job = read(ExportJob, exports_pk(org_id), job_id) if _JOB.fullmatch(job_id) else None
    if job is None:
        raise NotFound("There is no such export")
    return job
