"""Alert channels: where alerts are sent. What is secret of one is sealed, and shown as a mask.

Source: NullRun docs, HTTP API, Alert channels; docs/rulings.md#alert-channels.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

from pynamodb.expressions.update import Action

from shared.governance.events import Actor, Fact, add_event
from shared.governance.orgsettings import org_settings
from shared.governance.pages import Part, part_of
from shared.governance.plans import PlanFeatureMissing, plan
from shared.identity import checked_email
from shared.identity.principal import Principal
from shared.kit import clock, ids, json
from shared.kit.errors import Conflict, InvalidRequest, NotFound, Unprocessable
from shared.store.models.alerts import AlertChannel, alert_channels_pk
from shared.store.models.governance import OrgSettings
from shared.store.models.vault import org_scope
from shared.store.transaction import ConditionFailed, Transaction, read

if TYPE_CHECKING:
    from shared.outbound import OutboundClient
    from shared.vault import Envelope

TYPES = ("webhook", "slack", "email")
MOST_CHANNELS = 50
"""Channels of one org: each alert is sent to all of them."""

MAX_NAME = 80
MAX_URL = 2048
MAX_SECRET = 256
MASK = "***"
STANDARD_SECRET = "whsec_"  # noqa: S105 - the prefix of every such secret, no secret itself.
"""Standard Webhooks: after this prefix a secret is Base64 of its bytes."""

Actions: TypeAlias = list[Action]

_KIND = "alert-channels"
_CUT = "/…"
_ADDRESS_NAMES = ("email", "to", "address")


@dataclass(frozen=True, slots=True)
class ChannelView:
    """A channel as it is shown. Times in epoch milliseconds."""

    id: str
    name: str
    channel_type: str
    config: Mapping[str, str]
    enabled: bool
    last_sent_ms: int | None
    last_error: str | None
    created_ms: int

    @classmethod
    def of(cls, record: AlertChannel) -> ChannelView:
        """The view of a stored channel."""
        sent = record.last_sent_ms
        return cls(
            record.channel_id, record.name, record.channel_type, json.loads(record.config), record.enabled,
            None if sent is None else int(sent), record.last_error, int(record.created_ms),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ChannelChanges:
    """What to change of a channel; None leaves it. Of a ``config`` what is left out, or still a mask, stays."""

    name: str | None = None
    enabled: bool | None = None
    config: Mapping[str, Any] | None = None


class AlertChannels:
    """The alert channels of orgs. ``outbound`` judges addresses; it calls none of them here.

    ``enforce_plans`` keeps channels from orgs whose plan has no alerts.
    """

    def __init__(
        self, envelope: Callable[[], Envelope], outbound: Callable[[], OutboundClient], *, enforce_plans: bool = False
    ) -> None:
        self._envelope = envelope
        self._outbound = outbound
        self._enforce_plans = enforce_plans

    def list(self, principal: Principal, *, limit: int, cursor: str | None = None) -> Part[ChannelView]:
        """Channels of the org, oldest first."""
        part = part_of(channels(principal.org_id), limit, cursor, lambda record: record.channel_id)
        return part.of([ChannelView.of(record) for record in part.items])

    def create(
        self, principal: Principal, *, name: str, channel_type: str, config: Mapping[str, Any], enabled: bool = True,
        channel_id: str | None = None,
    ) -> ChannelView:  # fmt: skip
        """A new channel. Raises Forbidden, PlanFeatureMissing, Unprocessable, Conflict when there are too many.

        A given ``channel_id`` that exists already is answered as it is.
        """
        principal.require_role("admin")
        org_id, channel_id = principal.org_id, channel_id or ids.uuid7()
        if self._enforce_plans:
            _require_alerts(org_id)
        whole = self._checked(channel_type, config, {})
        record = AlertChannel(
            alert_channels_pk(org_id), channel_id, org_id=org_id, channel_id=channel_id, name=_checked_name(name),
            channel_type=channel_type, config=json.dumps(shown(channel_type, whole)),
            sealed=self._sealed(org_id, channel_id, whole), enabled=enabled, created_ms=clock.now_ms(),
        )  # fmt: skip
        while True:
            chosen, others = org_settings(org_id), channels(org_id)
            same = next((row for row in others if row.channel_id == channel_id), None)
            if same is not None:
                return ChannelView.of(same)
            if len(others) >= MOST_CHANNELS:
                raise Conflict(
                    f"The organisation has {MOST_CHANNELS} alert channels already; delete some of them first"
                )
            tx = Transaction().put(record, AlertChannel.pk.does_not_exist(), label="channel")
            # Whoever makes one claims the next count, so that no two of them see room for the same last one.
            claim = [OrgSettings.claims.set(chosen.claims + 1)]
            tx.update(chosen, claim, OrgSettings.claims == chosen.claims, label="settings")
            add_event(tx, org_id, Actor.of(principal), _fact("created", record))
            with contextlib.suppress(ConditionFailed):
                tx.commit()
                return ChannelView.of(record)

    def get(self, principal: Principal, channel_id: str) -> AlertChannel:
        """A channel of the org. Raises NotFound."""
        key = channel_id.lower()
        known = read(AlertChannel, alert_channels_pk(principal.org_id), key) if ids.is_uuid(key) else None
        if known is None:
            raise NotFound("There is no such alert channel")
        return known

    def update(self, principal: Principal, channel_id: str, changes: ChannelChanges) -> ChannelView:
        """Change a channel. Raises Forbidden, NotFound, Unprocessable."""
        principal.require_role("admin")
        while True:
            known = self.get(principal, channel_id)
            actions = self._actions(known, changes)
            if not actions:
                return ChannelView.of(known)
            tx = Transaction()
            actions.append(AlertChannel.revision.set(known.revision + 1))
            tx.update(known, actions, AlertChannel.revision == known.revision, label="channel")
            add_event(tx, principal.org_id, Actor.of(principal), _fact("updated", known))
            try:
                tx.commit()
            except ConditionFailed:
                continue
            return ChannelView.of(self.get(principal, channel_id))

    def _actions(self, known: AlertChannel, changes: ChannelChanges) -> Actions:
        actions: Actions = []
        if changes.name is not None:
            actions.append(AlertChannel.name.set(_checked_name(changes.name)))
        if changes.enabled is not None:
            actions.append(AlertChannel.enabled.set(changes.enabled))
        if changes.config is not None:
            whole = self._checked(known.channel_type, changes.config, self.config(known))
            actions.append(AlertChannel.config.set(json.dumps(shown(known.channel_type, whole))))
            actions.append(AlertChannel.sealed.set(self._sealed(known.org_id, known.channel_id, whole)))
        return actions

    def delete(self, principal: Principal, channel_id: str) -> None:
        """Remove a channel; what is on its way to it is not sent. Raises Forbidden, NotFound."""
        principal.require_role("admin")
        known = self.get(principal, channel_id)
        tx = Transaction().delete(known, AlertChannel.pk.exists(), label="channel")
        add_event(tx, principal.org_id, Actor.of(principal), _fact("deleted", known))
        try:
            tx.commit()
        except ConditionFailed:
            raise NotFound("There is no such alert channel") from None

    def forget(self, org_id: str) -> None:
        """Remove every channel of an org that goes, and first the key that opens them. Harmless when repeated."""
        self._envelope().destroy(org_scope(org_id))
        for record in channels(org_id):
            Transaction().delete(record).commit()

    def config(self, record: AlertChannel) -> Mapping[str, str]:
        """A channel's whole configuration, secrets included."""
        opened = self._envelope().open(org_scope(record.org_id), _KIND, record.channel_id, record.sealed)
        config: dict[str, str] = json.loads(opened)
        return config

    def _sealed(self, org_id: str, channel_id: str, whole: Mapping[str, str]) -> bytes:
        return self._envelope().seal(org_scope(org_id), _KIND, channel_id, json.dumpb(whole))

    # Checking

    def _checked(self, channel_type: str, given: Mapping[str, Any], known: Mapping[str, str]) -> dict[str, str]:
        if channel_type not in TYPES:
            raise Unprocessable.field("channel_type", f"Channel type must be one of {', '.join(TYPES)}")
        if channel_type == "email":
            address = next((given[name] for name in _ADDRESS_NAMES if given.get(name)), known.get("email"))
            return {"email": _checked_address(address)}
        masks = shown(channel_type, known) if known else {}
        named = given.get("url") or given.get("webhook_url")
        url = known["url"] if known and named in (None, masks["url"]) else self._checked_url(named)
        if channel_type == "slack":
            return {"url": url}
        secret = given.get("secret", MASK)
        if secret == MASK:
            # A mask that was never a secret's stands for none.
            secret = known.get("secret")
        return {"url": url} if secret is None else {"url": url, "secret": _checked_secret(secret)}

    def _checked_url(self, url: Any) -> str:
        if not isinstance(url, str) or not url:
            raise Unprocessable.field("config.url", "config.url is required: the https URL that alerts are sent to")
        if len(url) > MAX_URL:
            raise Unprocessable.field("config.url", f"config.url must have {MAX_URL} characters at most")
        # Most requests concern no URL, and the client is much to load.
        from shared.outbound import OutboundRefused

        try:
            return self._outbound().checked_url(url, secure=True)
        except OutboundRefused as refused:
            raise Unprocessable.field("config.url", f"config.url cannot be called: {refused.message}") from None


def channels(org_id: str) -> Sequence[AlertChannel]:
    """Every channel of an org, oldest first."""
    return list(AlertChannel.query(alert_channels_pk(org_id), consistent_read=True))


def shown(channel_type: str, whole: Mapping[str, str]) -> dict[str, str]:
    """What everybody in the org may see of a configuration: of a URL its host, of a secret that there is one."""
    if channel_type == "email":
        return {"email": whole["email"]}
    parts = urlsplit(whole["url"])
    masked = {"url": f"{parts.scheme}://{parts.netloc}{_CUT}"}
    return masked | {"secret": MASK} if "secret" in whole else masked


def secret_bytes(secret: str) -> bytes:
    """The key that a webhook's secret stands for in Standard Webhooks. Raises ValueError."""
    if secret.startswith(STANDARD_SECRET):
        decoded = base64.b64decode(secret.removeprefix(STANDARD_SECRET), validate=True)
        if not decoded:
            raise ValueError("the secret is empty")
        return decoded
    return secret.encode()


def _require_alerts(org_id: str) -> None:
    chosen = plan(org_settings(org_id).plan)
    if not chosen.has("alerts"):
        raise PlanFeatureMissing(chosen, "alerts")


def _checked_name(name: str) -> str:
    stripped = name.strip()
    if not 1 <= len(stripped) <= MAX_NAME or not stripped.isprintable():
        raise Unprocessable.field("name", f"Name must have 1 to {MAX_NAME} printable characters")
    return stripped


def _checked_address(address: Any) -> str:
    if not isinstance(address, str):
        raise Unprocessable.field("config.email", "config.email is required: the address that alerts are sent to")
    try:
        return checked_email(address)
    except InvalidRequest:
        raise Unprocessable.field("config.email", "config.email is not an e-mail address") from None


def _checked_secret(secret: Any) -> str:
    if not isinstance(secret, str) or not 1 <= len(secret) <= MAX_SECRET:
        raise Unprocessable.field("config.secret", f"config.secret must have 1 to {MAX_SECRET} characters")
    try:
        secret_bytes(secret)
    except ValueError:
        reason = f"config.secret must be Base64 after {STANDARD_SECRET}"
        raise Unprocessable.field("config.secret", reason) from None
    return secret


def _fact(what: str, record: AlertChannel) -> Fact:
    details = {"name": record.name, "channel_type": record.channel_type}
    return Fact(f"alert_channel.{what}", ("alert_channel", record.channel_id), details=details)
