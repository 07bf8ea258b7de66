"""Records that give cause for alerts, and a whole way from them to receivers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from shared.adapters.embedded.keyfile import MasterKeyFile
from shared.governance.alerts import Alerts
from shared.governance.channels import AlertChannels
from shared.governance.deliveries import Deliveries
from shared.governance.notifications import Notifications
from shared.governance.ports import MailFailed
from shared.governance.senders import Senders
from shared.identity import DEFAULT_ORG_ID, Principal, Role
from shared.kit import clock, ids, json
from shared.outbound import OutboundClient, OutboundPolicy
from shared.store.models.alerts import Alert, Delivery, alerts_pk, deliveries_pk
from shared.store.models.governance import Event, Operation, Workflow, events_pk, operation_pk, workflows_pk
from shared.store.models.identity import AccountRecord, OrgMember, account_pk, member_sk, org_pk
from shared.vault import Envelope

ORG = DEFAULT_ORG_ID


@dataclass
class Mails:
    """A mail sender that remembers; while ``broken`` it takes nothing."""

    sent: list[tuple[str, str, str]] = field(default_factory=list)
    broken: bool = False

    def send(self, to: str, subject: str, text: str) -> None:
        if self.broken:
            raise MailFailed("the mail server is away")
        self.sent.append((to, subject, text))


class System:
    """Alerts, channels and deliveries over the installed store."""

    def __init__(self, folder: Path, *allow_hosts: str) -> None:
        self.outbound = OutboundClient(OutboundPolicy(allow_hosts))
        self.mails = Mails()
        envelope = Envelope(MasterKeyFile(folder / "master.key"))
        self.channels = AlertChannels(lambda: envelope, lambda: self.outbound)
        self.notifications = Notifications()
        senders = Senders(lambda: self.outbound, lambda: self.mails)
        self.deliveries = Deliveries(self.channels, self.notifications, senders)
        self.alerts = Alerts(self.deliveries.announce, self.deliveries.notify)

    def deliver_all(self, org_id: str = ORG) -> int:
        """What relay and sweep do: try everything that is due; how many were."""
        return sum(self.deliveries.deliver(org_id, row.delivery_id) for row in stored_deliveries(org_id))


def stored_alerts(org_id: str = ORG) -> list[Alert]:
    """Every stored alert."""
    return list(Alert.query(alerts_pk(org_id), consistent_read=True))


def stored_deliveries(org_id: str = ORG) -> list[Delivery]:
    """Every stored delivery."""
    return list(Delivery.query(deliveries_pk(org_id), consistent_read=True))


def event(action: str, *, org_id: str = ORG, workflow_id: str | None = None, **details: Any) -> Event:
    """An event that has just happened, not stored."""
    event_id, now = ids.uuid7(), clock.now_ms()
    return Event(
        events_pk(org_id), event_id, org_id=org_id, event_id=event_id, action=action, event_type=action,
        actor_type="user", actor_id="a1", actor_label="ada", resource_type="thing", resource_id="r1",
        workflow_id=workflow_id, outcome="success", details=json.dumps(details), created_ms=now,
    )  # fmt: skip


def crossing(threshold: int, *, scope: str = "workflow", scope_id: str = "w1", period_start_ms: int = 5_000) -> Event:
    """A budget of $50 of which so many percent are used."""
    return event(
        "budget.threshold_crossed", scope=scope, scope_id=scope_id, period_start_ms=period_start_ms,
        threshold=threshold, spent=50_000_000 * threshold + 10_000_000, cap=5_000_000_000,
    )  # fmt: skip


def refused(error_code: str, *, workflow_id: str = "w1", org_id: str = ORG, decision: str = "block") -> Operation:
    """A gate call that was refused just now, not stored."""
    execution_id, now = ids.uuid7(), clock.now_ms()
    return Operation(
        operation_pk(org_id, execution_id), "operation", org_id=org_id, execution_id=execution_id,
        operation_id=execution_id, workflow_id=workflow_id, key_id="k1", fingerprint="f", decision=decision,
        status="refused", result="blocked", error_code=error_code, explanation="It may not.", created_ms=now,
        org_listing=org_id, listed_at=execution_id,
    )  # fmt: skip


def join(role: str, account_id: str, email: str, *, org_id: str = ORG, deleting: bool = False) -> Principal:
    """Store a member; the principal of its session."""
    now = clock.now_ms()
    AccountRecord(
        account_pk(account_id), account_id=account_id, user_id=1, username=account_id, name=account_id, email=email,
        home_org=org_id, administrator=False, deleting=deleting, version=1, epoch=1, created_ms=now, updated_ms=now,
    ).save()  # fmt: skip
    OrgMember(org_pk(org_id), member_sk(account_id), account_id=account_id, role=role, since_ms=now).save()
    return member(role, account_id, org_id=org_id)


def member(role: str, account_id: str = "ada", *, org_id: str = ORG) -> Principal:
    """The principal of a session."""
    return Principal(kind="session", org_id=org_id, account_id=account_id, username=account_id, role=cast("Role", role))


def key_principal(*, org_id: str = ORG, key_id: str = "k1", workflow_id: str = "w1") -> Principal:
    """The principal of an API key."""
    return Principal(
        kind="key", org_id=org_id, account_id="", username="prod", role="viewer", key_id=key_id,
        workflow_id=workflow_id,
    )  # fmt: skip


def workflow(name: str, workflow_id: str, *, org_id: str = ORG, **values: Any) -> Workflow:
    """Store a workflow without a purse."""
    now = clock.now_ms()
    record = Workflow(
        workflows_pk(org_id), workflow_id, workflow_id=workflow_id, name=name, created_ms=now, updated_ms=now, **values
    )
    record.save()
    return record


def operation(at_ms: int, *, org_id: str = ORG, **values: Any) -> Operation:
    """Store an operation of this moment."""
    execution_id = ids.uuid7_with(at_ms, int.from_bytes(ids.random_bytes(9)))
    facts: dict[str, Any] = {"decision": "allow", "key_id": "k1", "spent": 0, "tokens": 0} | values
    record = Operation(
        operation_pk(org_id, execution_id), "operation", org_id=org_id, execution_id=execution_id,
        operation_id=execution_id, workflow_id="w1", fingerprint="f", status="settled", result="completed",
        created_ms=at_ms, org_listing=org_id, listed_at=execution_id, **facts,
    )  # fmt: skip
    record.save()
    return record
