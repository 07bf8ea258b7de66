"""Alerts: what an org's people should know of, derived from what happened.

An alert's id follows from what it is about, so the same record, told twice or by two processes, makes one alert.

    event or refused operation ──▶ alert (put if absent) ──▶ its deliveries (put if absent) ──▶ announced

Source: NullRun docs, HTTP API, Alerts; docs/rulings.md#alerts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from shared.governance.events import Actor, Fact, add_event
from shared.governance.incidents import alert_of, notice_of
from shared.identity.principal import Principal
from shared.kit import clock, ids
from shared.kit.errors import InvalidRequest, NotFound
from shared.store.base import Record
from shared.store.models.alerts import Alert, alerts_pk
from shared.store.models.governance import Event, Operation, Workflow, workflows_pk
from shared.store.transaction import ConditionFailed, Transaction, put_if_absent, read, read_each, update_if

CATEGORIES = ("prevented", "system")
SEVERITIES = ("critical", "warning", "info")
STATUSES = ("active", "dismissed", "all")

NEWEST = 5_000
"""Alerts that are looked at for a list; older ones of their 30 days are kept, and not shown."""

_MOST_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class AlertView:
    """An alert, and what its workflow is called now."""

    alert: Alert
    workflow_name: str | None


@dataclass(frozen=True, slots=True)
class AlertPage:
    """Alerts, newest first. The counts are of all that fit the filters; ``next_cursor`` tells where they go on."""

    items: Sequence[AlertView]
    total: int
    critical: int
    warning: int
    info: int
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """Which alerts; None is any. ``status`` is active, dismissed or all."""

    category: str | None = None
    severity: str | None = None
    status: str = "active"

    def keeps(self, alert: Alert) -> bool:
        """Whether an alert fits."""
        return (
            self.category in (None, alert.category.lower())
            and self.severity in (None, alert.severity.lower())
            and self.status in ("all", "dismissed" if alert.dismissed else "active")
        )


@dataclass(slots=True)
class _Names:
    """Names of workflows, each read once."""

    org_id: str
    known: dict[str, str] = field(default_factory=dict)

    def __call__(self, workflow_id: str) -> str:
        if workflow_id not in self.known:
            record = read(Workflow, workflows_pk(self.org_id), workflow_id)
            self.known[workflow_id] = "A workflow" if record is None else record.name
        return self.known[workflow_id]


class Alerts:
    """The alerts of orgs. ``announce`` sends a new one to whoever is to hear of it; it may be asked twice.

    ``notify`` mails what is no alert to members who want to hear of it, and may be asked twice as well.
    """

    def __init__(self, announce: Callable[[Alert], None], notify: Callable[[Alert], None]) -> None:
        self._announce = announce
        self._notify = notify

    # What happened

    def follow(self, org_id: str, items: Iterable[Record]) -> None:
        """Make the alerts that these events and operations of the org give cause for. Twice is harmless."""
        names, seen = _Names(org_id), set()
        for item in items:
            alert = alert_of(org_id, item, names) if isinstance(item, Event | Operation) else None
            if alert is not None and alert.alert_id not in seen:
                seen.add(alert.alert_id)
                self._raise(alert)
            notice = notice_of(org_id, item, names) if isinstance(item, Event) else None
            if notice is not None:
                self._notify(notice)

    def _raise(self, alert: Alert) -> None:
        known = read(Alert, alert.pk, alert.sk)
        if known is None and not put_if_absent(alert):
            known = read(Alert, alert.pk, alert.sk)
        current = known or alert
        if not current.announced:
            # Whoever was interrupted here left it unannounced, and the record comes again.
            self._announce(current)
            update_if(current, [Alert.announced.set(True)], Alert.pk.exists())

    # Looking

    def list(self, principal: Principal, wanted: AlertFilter, *, limit: int, cursor: str | None = None) -> AlertPage:
        """Alerts of the org that fit, newest first. Raises InvalidRequest for a cursor that is none."""
        before = None if cursor is None else _place_at(cursor)
        rows = sorted((row for row in newest_alerts(principal.org_id) if wanted.keeps(row)), key=_place, reverse=True)
        rest = [row for row in rows if before is None or _place(row) < before]
        shown = rest[:limit]
        names = _workflow_names(principal.org_id, shown)
        critical, warning, info = (sum(row.severity.lower() == severity for row in rows) for severity in SEVERITIES)
        following = f"{int(shown[-1].created_ms)}.{shown[-1].alert_id}" if len(rest) > limit else None
        views = [AlertView(row, names.get(row.workflow_id or "")) for row in shown]
        return AlertPage(views, len(rows), critical, warning, info, following)

    def dismiss(self, principal: Principal, alert_id: str) -> AlertView:
        """Take an alert off the list of active ones; again is no change. Raises Forbidden, NotFound."""
        principal.require_role("operator")
        record = read(Alert, alerts_pk(principal.org_id), alert_id.lower()) if ids.is_uuid(alert_id) else None
        if record is None:
            raise NotFound("There is no such alert")
        if not record.dismissed:
            self._dismiss(principal, record)
        record.dismissed = True
        return AlertView(record, _workflow_names(principal.org_id, [record]).get(record.workflow_id or ""))

    def _dismiss(self, principal: Principal, record: Alert) -> None:
        tx = Transaction().update(record, [Alert.dismissed.set(True)], Alert.dismissed == False, label="alert")  # noqa: E712
        fact = Fact("alert.dismissed", ("alert", record.alert_id), workflow_id=record.workflow_id)
        add_event(tx, principal.org_id, Actor.of(principal), fact)
        try:
            tx.commit()
        except ConditionFailed as failed:
            # Somebody else has dismissed it meanwhile.
            if failed.failures.get("alert") is None:
                raise NotFound("There is no such alert") from None


def newest_alerts(org_id: str) -> Sequence[Alert]:
    """The newest alerts of an org, up to :data:`NEWEST`, dismissed ones included."""
    now = clock.now_ms()
    found = Alert.query(alerts_pk(org_id), scan_index_forward=False, limit=NEWEST, consistent_read=True)
    return [row for row in found if not row.is_expired(now)]


def _workflow_names(org_id: str, alerts: Sequence[Alert]) -> dict[str, str]:
    wanted = sorted({row.workflow_id for row in alerts if row.workflow_id})
    names: dict[str, str] = {}
    for start in range(0, len(wanted), _MOST_AT_ONCE):
        some = wanted[start : start + _MOST_AT_ONCE]
        found = read_each(*((Workflow, workflows_pk(org_id), workflow_id) for workflow_id in some))
        names |= {row.workflow_id: row.name for row in found if isinstance(row, Workflow)}
    return names


def _place(alert: Alert) -> tuple[int, str]:
    return int(alert.created_ms), alert.alert_id


def _place_at(cursor: str) -> tuple[int, str]:
    moment, _, alert_id = cursor.partition(".")
    if not moment.isdecimal() or len(moment) > 15 or not ids.is_uuid(alert_id):
        raise InvalidRequest.field("cursor", "Cursor must be the next_cursor of an earlier answer")
    return int(moment), alert_id
