"""Cron jobs: items of the due index that start executions.

                create            fire: start the run, whose id follows from job and moment, then move on
    (nothing) ─────────▶ waiting ──────────────────────────────────────────────────────────▶ waiting for the next moment
                           ▲ │ fire: several moments missed                                      or never due again
                           └─┘ move to the latest one, then run that

Every move is one conditional write on the job's revision. A run that was started before its move was lost is started
again under the same id, which changes nothing: twice due is once run.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from shared.engine.cron import Cron
from shared.engine.kinds.base import ExecutionFacts
from shared.engine.ports import DefinitionRef
from shared.engine.views import ExecutionView
from shared.identity import Departure, Principal, Role, system_principal
from shared.kit import clock, ids, json
from shared.kit.errors import Conflict, InvalidRequest, NotFound, PayloadTooLarge, SignalboxError
from shared.kit.logging import logger
from shared.store.models.executions import due_shard
from shared.store.models.schedules import Schedule, schedule_sk, schedules_pk
from shared.store.retry import Contention
from shared.store.transaction import ConditionFailed, Transaction, read, update_if

MAX_JOB_ID = 256
MAX_JOBS = 1_000
"""Jobs of one account in one org."""

MAX_PAYLOAD_BYTES = 256 * 1024
RUNS_SHOWN = 10
RETRY_MS = 60_000
"""When a run that could not be started for reasons of ours is tried again."""

KIND = "flow"
_ATTEMPTS = 16

log = logger("schedules")


class Definition(Protocol):
    """What is asked of a definition."""

    @property
    def id(self) -> str: ...

    @property
    def revision(self) -> int: ...


class Definitions(Protocol):
    """The catalog."""

    def get(self, principal: Principal, kind: str, definition_id: str) -> Definition:
        """A definition of the principal's org; raises NotFound."""


class Starter(Protocol):
    """The part of the engine that is needed."""

    def start(
        self,
        principal: Principal,
        definition: DefinitionRef,
        input: dict[str, Any],
        *,
        kind: str = "flow",
        execution_id: str | None = None,
    ) -> ExecutionView: ...


class CronSchedules:
    """Implements :class:`shared.engine.kinds.base.Schedules`.

    ``role_in`` tells which role in an org (first) an account (second) has by now.
    """

    def __init__(self, definitions: Definitions, engine: Starter, role_in: Callable[[str, str], Role | None]) -> None:
        self._definitions = definitions
        self._engine = engine
        self._role_in = role_in

    # The cron node

    def create(self, execution: ExecutionFacts, spec: Mapping[str, Any]) -> dict[str, Any]:
        job_id, cron = _checked_id(spec["id"]), Cron.parse(spec["schedule"], spec["timezone"])
        principal = system_principal(execution.org_id, execution.account_id)
        try:
            definition = self._definitions.get(principal, KIND, spec["flow_id"])
        except NotFound:
            raise NotFound(f"there is no flow {spec['flow_id']} in this organisation to schedule") from None
        payload = _payload(spec["payload"])
        pk, sk = schedules_pk(execution.org_id), schedule_sk(execution.account_id, job_id)
        for _ in range(_ATTEMPTS):
            known = read(Schedule, pk, sk)
            if known is None:
                self._require_room(execution)
            scheduled_ms = _first_run(cron, spec, known)
            record = Schedule(
                pk, sk, org_id=execution.org_id, account_id=execution.account_id, job_id=job_id, kind=KIND,
                definition_id=definition.id, node_id=spec["node_id"], expression=spec["schedule"],
                timezone=spec["timezone"], payload=payload, created_ms=clock.now_ms(), revision=ids.uuid4(),
                scheduled_ms=scheduled_ms, runs="[]", due_shard=due_shard(sk), due_ms=scheduled_ms,
            )  # fmt: skip
            if known is not None:
                record.created_ms, record.last_run_ms, record.runs = known.created_ms, known.last_run_ms, known.runs
            unchanged = Schedule.pk.does_not_exist() if known is None else Schedule.revision == known.revision
            with contextlib.suppress(ConditionFailed):
                Transaction().put(record, unchanged).commit()
                return _row(record)
        raise Contention(f"Too many executions change the job {job_id} at once; try again")

    def list(self, execution: ExecutionFacts) -> list[dict[str, Any]]:
        return [_row(record) for record in _of(execution.org_id, execution.account_id)]

    def get(self, execution: ExecutionFacts, job_id: str) -> dict[str, Any] | None:
        known = _is_id(job_id)
        record = (
            read(Schedule, schedules_pk(execution.org_id), schedule_sk(execution.account_id, job_id)) if known else None
        )
        if record is None:
            return None
        more = {
            "timezone": record.timezone,
            "payload": json.loads(record.payload),
            "executions": json.loads(record.runs),
        }
        return _row(record) | more | {"error": record.error}

    def delete(self, execution: ExecutionFacts, job_id: str) -> bool:
        if not _is_id(job_id):
            return False
        record = Schedule(schedules_pk(execution.org_id), schedule_sk(execution.account_id, job_id))
        try:
            Transaction().delete(record, Schedule.pk.exists()).commit()
        except ConditionFailed:
            return False
        return True

    def _require_room(self, execution: ExecutionFacts) -> None:
        prefix = Schedule.sk.startswith(schedule_sk(execution.account_id, ""))
        if Schedule.count(schedules_pk(execution.org_id), prefix, consistent_read=True) >= MAX_JOBS:
            raise Conflict(f"The account has {MAX_JOBS:,} jobs in this organisation already; delete some of them first")

    # The sweep

    def fire(self, pk: str, sk: str) -> bool:
        """Start the run that is due, given the job's key; whether this call did. Twice or late is harmless."""
        job, now = read(Schedule, pk, sk), clock.now_ms()
        if job is None or job.due_ms is None or job.due_ms > now:
            return False
        try:
            return self._run(job, now)
        except SignalboxError as error:
            if error.status >= 500:
                _try_later(job, now)
                raise
            # The run cannot be started as it is, now or later; the next one may.
            log.warning(
                "a scheduled run was refused", extra={"org_id": job.org_id, "job_id": job.job_id, "reason": str(error)}
            )
            _settle(job, now, [Schedule.error.set(str(error))])
            return False
        except Exception:
            _try_later(job, now)
            raise

    def _run(self, job: Schedule, now: int) -> bool:
        cron = Cron.parse(job.expression, job.timezone)
        latest = max(cron.latest(now) or 0, int(job.scheduled_ms))
        if latest > job.scheduled_ms and not _skip_to(job, latest):
            return False
        principal = system_principal(job.org_id, job.account_id)
        try:
            if self._role_in(job.org_id, job.account_id) not in ("owner", "admin", "operator"):
                raise NotFound("The account may no longer run flows in this organisation")
            definition = self._definitions.get(principal, job.kind, job.definition_id)
        except NotFound as error:
            log.info("a schedule ended", extra={"org_id": job.org_id, "job_id": job.job_id, "reason": str(error)})
            with contextlib.suppress(ConditionFailed):
                Transaction().delete(job, Schedule.revision == job.revision).commit()
            return False
        execution_id = ids.uuid7_of(latest, job.org_id, job.account_id, job.job_id, job.definition_id)
        reference = DefinitionRef(job.org_id, definition.id, definition.revision)
        view = self._engine.start(
            principal, reference, json.loads(job.payload), kind=job.kind, execution_id=execution_id
        )
        run = {"id": view.id, "scheduled_time": clock.rfc3339(latest), "started_at": clock.rfc3339(view.started_ms)}
        runs = json.dumps([run, *json.loads(job.runs)][:RUNS_SHOWN])
        _settle(job, now, [Schedule.last_run_ms.set(view.started_ms), Schedule.runs.set(runs), Schedule.error.remove()])
        return True


def forget_schedules(departure: Departure, org_ids: Iterable[str]) -> None:
    """Remove the jobs of orgs that go, and those of the account in ``org_ids``, where it is a member."""
    gone = [job for org_id in departure.org_ids for job in _of(org_id)]
    for job in [*gone, *(job for org_id in org_ids for job in _of(org_id, departure.account_id))]:
        Transaction().delete(job).commit()


def _of(org_id: str, account_id: str | None = None) -> list[Schedule]:
    mine = Schedule.sk.startswith(schedule_sk(account_id, "")) if account_id is not None else None
    return list(Schedule.query(schedules_pk(org_id), mine, consistent_read=True))


def _first_run(cron: Cron, spec: Mapping[str, Any], known: Schedule | None) -> int:
    # A flow that schedules itself replaces its own job in every run; the moment that is due meanwhile must not be lost.
    if (
        known is not None
        and known.due_ms is not None
        and (known.expression, known.timezone) == (spec["schedule"], spec["timezone"])
    ):
        return int(known.scheduled_ms)
    first = cron.after(clock.now_ms())
    if first is None:
        raise InvalidRequest.field("schedule", f"schedule {spec['schedule']} is never due")
    return first


def _skip_to(job: Schedule, moment_ms: int) -> bool:
    """Leave out the moments before this one; False when someone else changed the job."""
    job.scheduled_ms = moment_ms
    return _update(job, [Schedule.scheduled_ms.set(moment_ms), Schedule.due_ms.set(moment_ms)])


def _settle(job: Schedule, now: int, actions: Sequence[Any]) -> None:
    """Go on to the next moment after ``now``, or be never due again."""
    moment, current = job.scheduled_ms, job
    # A run that begins by scheduling itself replaces its job before this; the moment is done all the same.
    while not _move(current, now, actions):
        found = read(Schedule, job.pk, job.sk)
        if found is None or found.scheduled_ms != moment:
            return
        current = found


def _move(job: Schedule, now: int, actions: Sequence[Any]) -> bool:
    following = _following(job, now)
    if following is None:
        return _update(job, [*actions, Schedule.due_ms.remove()])
    return _update(job, [*actions, Schedule.scheduled_ms.set(following), Schedule.due_ms.set(following)])


def _following(job: Schedule, now: int) -> int | None:
    try:
        return Cron.parse(job.expression, job.timezone).after(now)
    except InvalidRequest:
        # Its zone was one when the job was made, and is none on this machine.
        return None


def _try_later(job: Schedule, now: int) -> None:
    with contextlib.suppress(SignalboxError):
        _update(job, [Schedule.due_ms.set(now + RETRY_MS)])


def _update(job: Schedule, actions: Sequence[Any]) -> bool:
    seen, job.revision = job.revision, ids.uuid4()
    return update_if(job, [*actions, Schedule.revision.set(job.revision)], Schedule.revision == seen)


def _row(record: Schedule) -> dict[str, Any]:
    now, following = clock.now_ms(), None
    if record.due_ms is not None:
        due_now = record.scheduled_ms <= now
        following = _following(record, now) if due_now else int(record.scheduled_ms)
    return {
        "id": record.job_id,
        "entry_id": _entry_id(record.job_id),
        "schedule": record.expression,
        "flow_id": record.definition_id,
        "node_id": record.node_id,
        "next_run_time": clock.rfc3339(following) if following is not None else None,
        "last_run_time": clock.rfc3339(int(record.last_run_ms)) if record.last_run_ms is not None else None,
        "created_at": clock.rfc3339(int(record.created_ms)),
    }


def _entry_id(job_id: str) -> int:
    """A number for clients that know a job by one; nothing takes it back."""
    return int.from_bytes(hashlib.sha256(job_id.encode()).digest()[:4]) >> 1


def _payload(payload: Any) -> str:
    if not isinstance(payload, dict):
        raise InvalidRequest.field("payload", "payload must be an object; it is the input of the scheduled flow")
    text = json.dumpb(payload)
    if len(text) > MAX_PAYLOAD_BYTES:
        raise PayloadTooLarge(f"payload has {len(text):,} bytes; {MAX_PAYLOAD_BYTES:,} is the limit")
    return text.decode()


def _is_id(job_id: str) -> bool:
    try:
        return 0 < len(job_id.encode()) <= MAX_JOB_ID
    except UnicodeEncodeError:
        return False


def _checked_id(job_id: str) -> str:
    if not _is_id(job_id):
        raise InvalidRequest.field("id", f"id must be Unicode text of 1 to {MAX_JOB_ID} bytes")
    return job_id
