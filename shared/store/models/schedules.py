"""Cron jobs. They live in the executions table, because its due index is the clock of everything."""

from __future__ import annotations

from pynamodb.attributes import NumberAttribute, UnicodeAttribute

from shared.store.base import Record, TableMeta
from shared.store.models.executions import DueIndex


def schedules_pk(org_id: str) -> str:
    """Partition key of an org's schedules."""
    return f"{org_id}#schedules"


def schedule_sk(account_id: str, job_id: str) -> str:
    """Sort key of an account's schedule; with an empty ``job_id`` what all of the account's begin with."""
    return f"{account_id}#{job_id}"


class Schedule(Record):
    """A cron job that starts executions of a definition with ``payload`` (JSON text) as input.

    ``scheduled_ms`` is the moment of the next run and ``due_ms`` when somebody must look: later while a run that failed
    to start waits to be tried again, never without it. ``runs`` is the JSON of the last runs. ``revision`` is new with
    every change.
    """

    class Meta(TableMeta):
        table = "executions"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    org_id = UnicodeAttribute()
    account_id = UnicodeAttribute()
    job_id = UnicodeAttribute()
    kind = UnicodeAttribute()
    definition_id = UnicodeAttribute()
    node_id = UnicodeAttribute()
    expression = UnicodeAttribute()
    timezone = UnicodeAttribute()
    payload = UnicodeAttribute()
    created_ms = NumberAttribute()
    revision = UnicodeAttribute()
    scheduled_ms = NumberAttribute()
    last_run_ms = NumberAttribute(null=True)
    runs = UnicodeAttribute()
    error = UnicodeAttribute(null=True)
    due_shard = UnicodeAttribute()
    due_ms = NumberAttribute(null=True)
    due = DueIndex()


SCHEDULE_MODELS = (Schedule,)
"""Every model of this module, for whoever creates its table."""
