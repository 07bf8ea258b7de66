"""What members want to hear of by mail. Source: NullRun docs, HTTP API, Notification settings."""

from __future__ import annotations

from collections.abc import Mapping

from shared.identity import mail_addresses
from shared.identity.principal import Principal, Role
from shared.kit import json
from shared.kit.errors import Unprocessable
from shared.store.models.alerts import NotificationSettings, notifications_pk
from shared.store.transaction import put_if_absent, read, read_each, update_if

CHOICES = (
    "notify_on_workflow_killed",
    "notify_on_workflow_paused",
    "notify_on_workflow_resumed",
    "notify_on_workflow_created",
    "notify_on_approval_required",
    "notify_on_approval_decided",
    "notify_on_policy_changed",
    "notify_on_key_created",
    "notify_on_key_revoked",
    "notify_on_budget_threshold",
    "notify_on_member_invited",
    "notify_on_member_joined",
    "notify_on_member_removed",
    "weekly_digest",
    "monthly_quota_report",
)
"""What a member may choose; each is on until it is switched off."""

_TOLD: tuple[Role, ...] = ("owner", "admin")
_MOST_AT_ONCE = 100


class Notifications:
    """The choices of members, each seen and changed by its own member alone."""

    def get(self, principal: Principal) -> Mapping[str, bool]:
        """Every choice of the caller. Raises Forbidden for a key."""
        principal.require_account()
        return _choices(read(NotificationSettings, notifications_pk(principal.org_id), principal.account_id))

    def change(self, principal: Principal, wanted: Mapping[str, object]) -> Mapping[str, bool]:
        """Switch some of the choices; the others stay. Raises Forbidden, Unprocessable for an unknown name or value."""
        principal.require_account()
        changes = _checked(wanted)
        pk, sk = notifications_pk(principal.org_id), principal.account_id
        while True:
            known = read(NotificationSettings, pk, sk)
            chosen = {**_choices(known), **changes}
            text = json.dumps(chosen)
            if known is None:
                done = put_if_absent(NotificationSettings(pk, sk, choices=text))
            else:
                unchanged = NotificationSettings.choices == known.choices
                done = update_if(known, [NotificationSettings.choices.set(text)], unchanged)
            if done:
                return chosen

    def addresses(self, org_id: str, choice: str) -> Mapping[str, str]:
        """Account id and address of every owner and admin of the org who wants to hear of this."""
        told = mail_addresses(org_id, _TOLD)
        accounts, refusing = list(told), set()
        for start in range(0, len(accounts), _MOST_AT_ONCE):
            some = accounts[start : start + _MOST_AT_ONCE]
            found = read_each(*((NotificationSettings, notifications_pk(org_id), account) for account in some))
            for account, record in zip(some, found, strict=True):
                if isinstance(record, NotificationSettings) and not _choices(record)[choice]:
                    refusing.add(account)
        return {account: address for account, address in told.items() if account not in refusing}


def _choices(record: NotificationSettings | None) -> dict[str, bool]:
    stored = {} if record is None else json.loads(record.choices)
    return {name: bool(stored.get(name, True)) for name in CHOICES}


def _checked(wanted: Mapping[str, object]) -> dict[str, bool]:
    checked: dict[str, bool] = {}
    for name, value in wanted.items():
        if name not in CHOICES:
            raise Unprocessable.field(name, f"{name} is no notification setting; they are {', '.join(CHOICES)}")
        if not isinstance(value, bool):
            raise Unprocessable.field(name, f"{name} must be true or false")
        checked[name] = value
    return checked
