"""Orgs: what they are called, and how they end. Source: NullRun docs, HTTP API, Organisations."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from shared.governance.events import Actor, Fact, add_event
from shared.governance.forms import email_of, org_name_of
from shared.governance.orgsettings import org_settings
from shared.identity import (
    DEFAULT_ORG_ID,
    Identity,
    OrgRole,
    Principal,
    account_record,
    get_org,
    members,
    org_roles,
    rename_org,
)
from shared.kit.errors import Conflict, NotFound, Unavailable, Unprocessable
from shared.store.models.governance import OrgSettings
from shared.store.models.identity import OrgRecord
from shared.store.transaction import ConditionFailed, Transaction

_ATTEMPTS = 64
_APART = re.compile(r"[^a-z0-9]+")


class OrgHasMembers(Conflict):
    """Others are members of the org."""

    code = "ORG_HAS_MEMBERS"


@dataclass(frozen=True, slots=True)
class Org:
    """An org. ``owner_id`` is the account of its longest-standing owner."""

    id: str
    name: str
    plan: str
    contact_email: str | None
    owner_id: str | None
    member_count: int
    created_ms: int

    @property
    def slug(self) -> str:
        """The name as part of an address; not unique."""
        plain = unicodedata.normalize("NFKD", self.name).encode("ascii", "ignore").decode().lower()
        return _APART.sub("-", plain).strip("-") or self.id[:8]


class Orgs:
    """Orgs of people. ``identity`` removes what an org that goes leaves behind."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    def list(self, principal: Principal) -> Sequence[OrgRole]:
        """Every org the caller is a member of, oldest first. Raises Unauthorized, Forbidden for an API key."""
        principal.require_account()
        return org_roles(principal.account_id)

    def get(self, principal: Principal) -> Org:
        """The org acted in. Raises Forbidden for an API key, NotFound."""
        principal.require_account()
        return _view(_require(principal.org_id))

    def update(self, principal: Principal, *, name: str | None, contact_email: str | None) -> Org:
        """Rename the org, or change who is to be written to; an empty address is none. For owners.

        Raises Forbidden, NotFound, Unprocessable.
        """
        principal.require_role("owner")
        if name is None and contact_email is None:
            raise Unprocessable.field("name", "Name or contact_email is required")
        name = None if name is None else org_name_of(name)
        contact = None if contact_email is None else contact_email.strip() and email_of(contact_email, "contact_email")
        org, chosen, tx = _require(principal.org_id), org_settings(principal.org_id), Transaction()
        if name is not None:
            rename_org(tx, org, name)
        if contact is not None:
            action = OrgSettings.contact_email.set(contact) if contact else OrgSettings.contact_email.remove()
            tx.update(chosen, [action], OrgSettings.pk.exists(), "settings")
        changed = {key: value for key, value in (("name", name), ("contact_email", contact)) if value is not None}
        fact = Fact("org.updated", ("organization", org.org_id), details=changed)
        add_event(tx, org.org_id, Actor.of(principal), fact)
        try:
            tx.commit()
        except ConditionFailed:
            # The org is being deleted.
            raise NotFound("There is no such organisation") from None
        return _view(_require(principal.org_id))

    def delete(self, principal: Principal) -> None:
        """Delete the org; its last member and owner does. Its keys, workflows and data end with it.

        Raises NotFound for everybody but owners, Conflict for the default org, OrgHasMembers.
        """
        principal.require_account()
        if principal.role != "owner":
            raise NotFound("There is no such organisation of yours")
        if principal.org_id == DEFAULT_ORG_ID:
            raise Conflict("The default organisation cannot be deleted")
        for _ in range(_ATTEMPTS):
            org, owner = _require(principal.org_id), account_record(principal.account_id)
            if owner is None:
                raise NotFound("There is no such organisation")
            if any(member.account_id != owner.account_id for member in members(org.org_id)):
                raise OrgHasMembers("The organisation has other members; remove them first")
            tx = Transaction()
            going = self._identity.deletion.begin_org(tx, org, owner)
            fact = Fact("org.deleted", ("organization", org.org_id), details={"name": org.name})
            add_event(tx, org.org_id, Actor.of(principal), fact)
            try:
                tx.commit()
            except ConditionFailed:
                continue
            self._identity.deletion.finish(going)
            return
        raise Unavailable("The organisation is being changed by others; try again")


def _require(org_id: str) -> OrgRecord:
    org = get_org(org_id)
    if org is None:
        raise NotFound("There is no such organisation")
    return org


def _view(org: OrgRecord) -> Org:
    chosen = org_settings(org.org_id)
    rows = members(org.org_id)
    owners = sorted((row for row in rows if row.role == "owner"), key=lambda row: (int(row.since_ms), row.account_id))
    return Org(
        org.org_id, org.name, chosen.plan, chosen.contact_email, owners[0].account_id if owners else None, len(rows),
        int(org.created_ms),
    )  # fmt: skip
