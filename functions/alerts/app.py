"""Alerts, where they are sent, and how an organisation stands.

Source: NullRun docs, HTTP API, Alerts and Executions, audit, observability.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from functions.alerts.numbers import OrgDashboard, OrgQuota, OrgStatus, dashboard_row, quota_row, status_row
from functions.alerts.schemas import (
    AlertChannelChanges,
    AlertChannelList,
    AlertChannelRow,
    AlertList,
    AlertRow,
    DeliveryList,
    DeliveryRow,
    NewAlertChannel,
    NotificationChanges,
    NotificationChoices,
    alert_list,
    alert_row,
    channel_row,
    delivery_row,
)
from shared.composition import services
from shared.governance.alerts import CATEGORIES, SEVERITIES, STATUSES, AlertFilter
from shared.governance.channels import ChannelChanges
from shared.kit.errors import InvalidRequest
from shared.web.answers import answer
from shared.web.apis import Api
from shared.web.app import family_app, lambda_handler
from shared.web.idempotency import idempotency_id
from shared.web.keys import OrgPrincipal
from shared.web.nullrun import CURSOR_LIMIT, CURSORS, part_answer, read_form, window_of
from shared.web.operation import operation, query
from shared.web.requests import MAX_LIMIT, Query, RequestBody, RequestQuery, judged_first

router = APIRouter(tags=["alerts"])

_ALERTS = "/api/v1/orgs/{org_id}/alerts"
_CHANNELS = "/api/v1/orgs/{org_id}/alert-channels"
_CHANNEL = "/api/v1/orgs/{org_id}/alert-channels/{channel_id}"
_SETTINGS = "/api/v1/orgs/{org_id}/notification-settings"

_FILTERS = (
    query("category", description="Only alerts of this category.", enum=list(CATEGORIES)),
    query("severity", description="Only alerts of this severity.", enum=list(SEVERITIES)),
    query("status", description="Alerts that were not dismissed, those that were, or both.", enum=list(STATUSES)),
)


# Alerts


@router.get(
    _ALERTS,
    **operation(
        "List alerts",
        answers={200: AlertList},
        errors=(400,),
        parameters=(*_FILTERS, *CURSORS),
        security="any",
        api=Api.NULLRUN,
    ),
)
def list_alerts(principal: OrgPrincipal, query: RequestQuery) -> Response:
    """Active alerts of the organisation, newest first, unless `status` asks for others."""
    wanted = AlertFilter(
        _word(query, "category", CATEGORIES), _word(query, "severity", SEVERITIES),
        _word(query, "status", STATUSES) or "active",
    )  # fmt: skip
    window = window_of(query)
    page = services().governance.alerts.list(principal, wanted, limit=window.limit, cursor=window.cursor)
    return answer(alert_list(page))


def _word(query: Query, name: str, words: tuple[str, ...]) -> str | None:
    """A word of a list, in any case; None if absent."""
    given = query.text(name)
    if given is None:
        return None
    if given.lower() not in words:
        raise InvalidRequest.field(name, f"{name.capitalize()} must be one of {', '.join(words)}")
    return given.lower()


@router.post(
    "/api/v1/orgs/{org_id}/alerts/{alert_id}/dismiss",
    **operation("Dismiss an alert", answers={200: AlertRow}, errors=(404, 503), api=Api.NULLRUN),
)
def dismiss_alert(alert_id: str, principal: OrgPrincipal) -> Response:
    """Take it off the list of active alerts; again is no change. Needs the role operator."""
    return answer(alert_row(services().governance.alerts.dismiss(principal, alert_id)))


# Channels


@router.get(
    _CHANNELS,
    **operation(
        "List alert channels",
        answers={200: AlertChannelList},
        errors=(400,),
        parameters=CURSORS,
        security="any",
        api=Api.NULLRUN,
    ),
)
def list_alert_channels(principal: OrgPrincipal, query: RequestQuery) -> Response:
    """Where alerts are sent, oldest first. Of a URL only the host is shown, of a secret nothing."""
    window = window_of(query)
    part = services().governance.alert_channels.list(principal, limit=window.limit, cursor=window.cursor)
    return part_answer("alert_channels", part, channel_row)


@router.post(
    _CHANNELS,
    **operation(
        "Make an alert channel",
        request=NewAlertChannel,
        answers={201: AlertChannelRow},
        errors=(400, 409, 413, 422, 503),
        api=Api.NULLRUN,
    ),
)
def create_alert_channel(request: Request, principal: OrgPrincipal, body: RequestBody) -> Response:
    """Alerts are sent to it from now on. Needs the role admin."""
    principal.require_role("admin")
    form = read_form(body, NewAlertChannel)
    made = services().governance.alert_channels.create(
        principal, name=form.name, channel_type=form.channel_type, config=form.config, enabled=form.enabled,
        channel_id=idempotency_id(request),
    )  # fmt: skip
    return answer(channel_row(made), 201)


@router.patch(
    _CHANNEL,
    **operation(
        "Change an alert channel",
        request=AlertChannelChanges,
        answers={200: AlertChannelRow},
        errors=(400, 404, 413, 422, 503),
        api=Api.NULLRUN,
    ),
)
def update_alert_channel(channel_id: str, principal: OrgPrincipal, body: RequestBody) -> Response:
    """What is left out, or sent as the mask it is shown as, stays. Needs the role admin."""
    principal.require_role("admin")
    channels = services().governance.alert_channels
    with judged_first(lambda: channels.get(principal, channel_id)):
        form = read_form(body, AlertChannelChanges)
    changes = ChannelChanges(form.name, form.enabled, form.config)
    return answer(channel_row(channels.update(principal, channel_id, changes)))


@router.delete(
    _CHANNEL,
    **operation(
        "Delete an alert channel", answers={204: "Nothing is sent to it any more."}, errors=(404, 503), api=Api.NULLRUN
    ),
)
def delete_alert_channel(channel_id: str, principal: OrgPrincipal) -> Response:
    """What is on its way to it is not sent. Needs the role admin."""
    services().governance.alert_channels.delete(principal, channel_id)
    return Response(status_code=204)


@router.post(
    "/api/v1/orgs/{org_id}/alert-channels/{channel_id}/test",
    **operation("Test an alert channel", answers={200: DeliveryRow}, errors=(404, 503), api=Api.NULLRUN),
)
def test_alert_channel(channel_id: str, principal: OrgPrincipal) -> Response:
    """Send it a message now, once, and answer how that went. Needs the role admin."""
    return answer(delivery_row(services().governance.deliveries.test(principal, channel_id)))


@router.get(
    "/api/v1/orgs/{org_id}/alert-channels/{channel_id}/deliveries",
    **operation(
        "List deliveries of an alert channel",
        answers={200: DeliveryList},
        errors=(400, 404),
        parameters=(CURSORS[0],),
        security="any",
        api=Api.NULLRUN,
    ),
)
def list_alert_deliveries(channel_id: str, principal: OrgPrincipal, query: RequestQuery) -> Response:
    """What was sent to it of late, newest first, and how each went."""
    deliveries = services().governance.deliveries
    with judged_first(lambda: services().governance.alert_channels.get(principal, channel_id)):
        limit = min(query.integer("limit", CURSOR_LIMIT, least=1), MAX_LIMIT)
    rows = [delivery_row(row) for row in deliveries.of_channel(principal, channel_id, limit=limit)]
    return answer({"deliveries": rows, "total": len(rows)})


# Notification settings


@router.get(
    _SETTINGS, **operation("Show my notification settings", answers={200: NotificationChoices}, api=Api.NULLRUN)
)
def get_notification_settings(principal: OrgPrincipal) -> Response:
    """What the caller hears of by mail as a member of this organisation."""
    return answer(dict(services().governance.notifications.get(principal)))


@router.patch(
    _SETTINGS,
    **operation(
        "Change my notification settings",
        request=NotificationChanges,
        answers={200: NotificationChoices},
        errors=(400, 413, 422, 503),
        api=Api.NULLRUN,
    ),
)
def update_notification_settings(principal: OrgPrincipal, body: RequestBody) -> Response:
    """Switch some; the others stay."""
    principal.require_account()
    form = read_form(body, NotificationChanges)
    return answer(dict(services().governance.notifications.change(principal, form.model_dump(exclude_unset=True))))


# Numbers


@router.get(
    "/api/v1/orgs/{org_id}/status",
    **operation("Show how the organisation stands", answers={200: OrgStatus}, security="any", api=Api.NULLRUN),
)
def get_org_status(principal: OrgPrincipal) -> Response:
    """Budget, rate, limits of the plan and the time until the budget is used up, in one call."""
    return answer(status_row(services().governance.statuses.get(principal)))


@router.get(
    "/api/v1/orgs/{org_id}/quota",
    **operation("Show what is used of the plan", answers={200: OrgQuota}, security="any", api=Api.NULLRUN),
)
def get_org_quota(principal: OrgPrincipal) -> Response:
    """What the organisation, and each of its API keys, has used in the current period."""
    return answer(quota_row(services().governance.quotas.get(principal)))


@router.get(
    "/api/v1/orgs/{org_id}/usage",
    **operation("Show what is used", answers={200: OrgQuota}, security="any", api=Api.NULLRUN),
)
def get_org_usage(principal: OrgPrincipal) -> Response:
    """Another name of the quota."""
    return answer(quota_row(services().governance.quotas.get(principal)))


@router.get(
    "/api/v1/orgs/{org_id}/dashboard",
    **operation("Show the dashboard", answers={200: OrgDashboard}, security="any", api=Api.NULLRUN),
)
def get_org_dashboard(principal: OrgPrincipal) -> Response:
    """Spend, executions, workflows, alerts and approvals of the current period."""
    return answer(dashboard_row(services().governance.dashboard.get(principal)))


app = family_app("alerts", router)
handler = lambda_handler(app)
