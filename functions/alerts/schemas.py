"""Wire models of alerts, their channels, and of status, quota and dashboard.

Source: NullRun docs, HTTP API, Alerts and Executions, audit, observability.
"""

from __future__ import annotations

from typing import Any

from pydantic import AliasChoices, ConfigDict, Field
from pydantic.config import JsonDict

from shared.governance.alerts import AlertPage, AlertView
from shared.governance.channels import ChannelView
from shared.governance.deliveries import DeliveryView
from shared.kit import clock
from shared.web.requests import WireAnswer, WireModel

_WORKFLOW_ID = "0198c0de-7a10-7c2e-9d3a-2f9c41aa01f7"
_CHANNEL_ID = "0198c0e3-5d20-7e11-8f42-0c7a19b3d644"
_MOMENT = "2026-01-01T12:00:00.000Z"
_ALERT: JsonDict = {
    "id": "0198c0e2-91b7-7d03-a1c5-6b2f8e40d917",
    "severity": "Warning",
    "category": "System",
    "incident_type": "budget_threshold",
    "title": "80% of budget used",
    "message": "support bot has used $40.10 of $50.00.",
    "workflow_id": _WORKFLOW_ID,
    "workflow_name": "support bot",
    "current_cents": 4010,
    "threshold_cents": 4000,
    "dismissed": False,
    "snoozed_until": None,
    "created_at": _MOMENT,
}
_META: JsonDict = {"total": 1, "critical_count": 0, "warning_count": 1, "info_count": 0, "next_cursor": None}
_CHANNEL: JsonDict = {
    "id": _CHANNEL_ID,
    "name": "ops",
    "channel_type": "webhook",
    "config": {"url": "https://hooks.example.com/…", "secret": "***"},
    "enabled": True,
    "last_sent_at": None,
    "last_error": None,
    "created_at": _MOMENT,
}
_DELIVERY: JsonDict = {
    "id": "0198c0e4-0a35-7b19-9c60-3d5e7f8a1b2c",
    "channel_id": _CHANNEL_ID,
    "alert_id": _ALERT["id"],
    "status": "delivered",
    "attempts": 1,
    "last_error": None,
    "next_attempt_at": None,
    "created_at": _MOMENT,
}
_CONFIG = (
    "webhook: `url` and an optional `secret` that messages are signed with. slack: `url`. email: `email`. A mask, as "
    "answered, stands for what is kept."
)


class AlertRow(WireAnswer):
    """An alert. `severity` is Critical, Warning or Info, `category` Prevented or System."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ALERT]})

    id: str
    severity: str
    category: str
    incident_type: str
    title: str
    message: str
    workflow_id: str | None
    workflow_name: str | None
    current_cents: int | None
    threshold_cents: int | None
    dismissed: bool
    snoozed_until: str | None
    created_at: str


class AlertCounts(WireAnswer):
    """How many alerts fit, by severity, and where the list goes on."""

    model_config = ConfigDict(json_schema_extra={"examples": [_META]})

    total: int
    critical_count: int
    warning_count: int
    info_count: int
    next_cursor: str | None


class AlertList(WireAnswer):
    """A part of the alerts, newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"data": [_ALERT], "meta": _META}]})

    data: list[AlertRow]
    meta: AlertCounts


class NewAlertChannel(WireModel):
    """Where alerts are to be sent."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "ops",
                    "channel_type": "webhook",
                    "config": {"url": "https://hooks.example.com/x", "secret": "correct horse"},
                }
            ]
        }
    )

    name: str = Field(min_length=1, description="1 to 80 characters.")
    channel_type: str = Field(
        validation_alias=AliasChoices("channel_type", "type"), description="webhook, slack or email."
    )
    config: dict[str, Any] = Field(description=_CONFIG)
    enabled: bool = True


class AlertChannelChanges(WireModel):
    """What to change; what is left out stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "operations", "enabled": False}]})

    name: str | None = Field(None, min_length=1, description="1 to 80 characters.")
    config: dict[str, Any] | None = Field(None, description=_CONFIG)
    enabled: bool | None = None


class AlertChannelRow(WireAnswer):
    """A channel; what is secret of it is masked."""

    model_config = ConfigDict(json_schema_extra={"examples": [_CHANNEL]})

    id: str
    name: str
    channel_type: str
    config: dict[str, str]
    enabled: bool
    last_sent_at: str | None
    last_error: str | None
    created_at: str


class AlertChannelList(WireAnswer):
    """A part of the channels, oldest first."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"alert_channels": [_CHANNEL], "total": 1, "next_cursor": None}]}
    )

    alert_channels: list[AlertChannelRow]
    total: int
    next_cursor: str | None


class DeliveryRow(WireAnswer):
    """One message on its way to a channel. `status` is pending, delivered or failed."""

    model_config = ConfigDict(json_schema_extra={"examples": [_DELIVERY]})

    id: str
    channel_id: str | None
    alert_id: str | None
    status: str
    attempts: int
    last_error: str | None
    next_attempt_at: str | None
    created_at: str


class DeliveryList(WireAnswer):
    """The newest deliveries of a channel."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"deliveries": [_DELIVERY], "total": 1}]})

    deliveries: list[DeliveryRow]
    total: int


class NotificationChoices(WireAnswer):
    """What a member hears of by mail."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "notify_on_workflow_killed": True,
                    "notify_on_workflow_paused": True,
                    "notify_on_workflow_resumed": True,
                    "notify_on_workflow_created": True,
                    "notify_on_approval_required": True,
                    "notify_on_approval_decided": True,
                    "notify_on_policy_changed": True,
                    "notify_on_key_created": True,
                    "notify_on_key_revoked": True,
                    "notify_on_budget_threshold": True,
                    "notify_on_member_invited": True,
                    "notify_on_member_joined": True,
                    "notify_on_member_removed": True,
                    "weekly_digest": True,
                    "monthly_quota_report": True,
                }
            ]
        }
    )

    notify_on_workflow_killed: bool = True
    notify_on_workflow_paused: bool = True
    notify_on_workflow_resumed: bool = True
    notify_on_workflow_created: bool = True
    notify_on_approval_required: bool = True
    notify_on_approval_decided: bool = True
    notify_on_policy_changed: bool = True
    notify_on_key_created: bool = True
    notify_on_key_revoked: bool = True
    notify_on_budget_threshold: bool = True
    notify_on_member_invited: bool = True
    notify_on_member_joined: bool = True
    notify_on_member_removed: bool = True
    weekly_digest: bool = True
    monthly_quota_report: bool = True


class NotificationChanges(NotificationChoices):
    """What to switch; what is left out stays."""

    model_config = ConfigDict(
        strict=True, extra="allow", json_schema_extra={"examples": [{"notify_on_key_created": False}]}
    )


def alert_row(view: AlertView) -> dict[str, Any]:
    """An alert as it is answered. Nothing snoozes alerts; the field is there for clients that read it."""
    alert = view.alert
    return {
        "id": alert.alert_id,
        "severity": alert.severity,
        "category": alert.category,
        "incident_type": alert.incident_type,
        "title": alert.title,
        "message": alert.message,
        "workflow_id": alert.workflow_id,
        "workflow_name": view.workflow_name,
        "current_cents": _whole(alert.current_cents),
        "threshold_cents": _whole(alert.threshold_cents),
        "dismissed": alert.dismissed,
        "snoozed_until": None,
        "created_at": clock.rfc3339(int(alert.created_ms)),
    }


def alert_list(page: AlertPage) -> dict[str, Any]:
    """Alerts as they are answered."""
    return {
        "data": [alert_row(view) for view in page.items],
        "meta": {
            "total": page.total,
            "critical_count": page.critical,
            "warning_count": page.warning,
            "info_count": page.info,
            "next_cursor": page.next_cursor,
        },
    }


def channel_row(channel: ChannelView) -> dict[str, Any]:
    """A channel as it is answered."""
    return {
        "id": channel.id,
        "name": channel.name,
        "channel_type": channel.channel_type,
        "config": channel.config,
        "enabled": channel.enabled,
        "last_sent_at": _moment(channel.last_sent_ms),
        "last_error": channel.last_error,
        "created_at": clock.rfc3339(channel.created_ms),
    }


def delivery_row(delivery: DeliveryView) -> dict[str, Any]:
    """A delivery as it is answered."""
    return {
        "id": delivery.id,
        "channel_id": delivery.channel_id,
        "alert_id": delivery.alert_id,
        "status": delivery.status,
        "attempts": delivery.attempts,
        "last_error": delivery.last_error,
        "next_attempt_at": _moment(delivery.next_attempt_ms),
        "created_at": clock.rfc3339(delivery.created_ms),
    }


def _moment(ms: int | None) -> str | None:
    return None if ms is None else clock.rfc3339(ms)


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)
