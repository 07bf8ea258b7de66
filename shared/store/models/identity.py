"""Accounts, organisations, memberships and what signing in needs.

deployment / deployment            the counter of account numbers and administrators; orders every first-come decision
account#<id> / account             the person
account#<id> / org#<org>           that the person is a member there, and as what
account#<id> / revoked#<jti>       a session that was logged out; lives as long as the token would have
accounts / <id>                    the list of accounts, oldest first (ids are UUIDv7)
deletions / <id>                   an account whose data are still being removed
account#<id> / external#<digest>   that the person also signs in elsewhere, and where
login#<name> / login               a user name or e-mail address and whose it is
external#<digest> / external       somebody known to another provider, and whose account that is
failures#<digest> / failures       failed log-ins of a name, known or not
address#<digest> / minute#<n>      requests of an address in a minute
org#<id> / org                     the organisation; its version moves with every change of its members
org#<id> / member#<account>        a member, as the organisation sees it
"""

from __future__ import annotations

from pynamodb.attributes import BooleanAttribute, NumberAttribute, UnicodeAttribute

from shared.store.base import Record, TableMeta

DEPLOYMENT_KEY = "deployment"
ACCOUNTS_PK = "accounts"
DELETIONS_PK = "deletions"


def account_pk(account_id: str) -> str:
    """Partition key of everything about one person."""
    return f"account#{account_id}"


def org_pk(org_id: str) -> str:
    """Partition key of an organisation and its members."""
    return f"org#{org_id}"


def login_pk(name: str) -> str:
    """Partition key of a folded user name or e-mail address."""
    return f"login#{name}"


def external_pk(digest: str) -> str:
    """Partition key of somebody at another provider; ``digest`` is of the provider and its name for the person."""
    return f"external#{digest}"


def external_sk(digest: str) -> str:
    """Sort key of the same under the account."""
    return f"external#{digest}"


def failures_pk(digest: str) -> str:
    """Partition key of a name's failed log-ins."""
    return f"failures#{digest}"


def address_pk(digest: str) -> str:
    """Partition key of the requests of an address."""
    return f"address#{digest}"


def revoked_sk(token_id: str) -> str:
    """Sort key of a logged-out session under its account."""
    return f"revoked#{token_id}"


def membership_sk(org_id: str) -> str:
    """Sort key of a membership under its account."""
    return f"org#{org_id}"


def member_sk(account_id: str) -> str:
    """Sort key of a member under its organisation."""
    return f"member#{account_id}"


class Deployment(Record):
    """What exists once: the last account number given out, and how many administrators there are."""

    class Meta(TableMeta):
        table = "identity"

    pk = UnicodeAttribute(hash_key=True, default=DEPLOYMENT_KEY)
    sk = UnicodeAttribute(range_key=True, default=DEPLOYMENT_KEY)
    last_user_id = NumberAttribute()
    administrators = NumberAttribute()


class AccountRecord(Record):
    """A person. ``epoch`` moves with the password; sessions of an older one are over, but for ``kept_session``.

    ``email_verified`` is whether another provider has vouched for the address the account has now.
    """

    class Meta(TableMeta):
        table = "identity"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True, default="account")
    account_id = UnicodeAttribute()
    user_id = NumberAttribute()
    username = UnicodeAttribute()
    name = UnicodeAttribute()
    email = UnicodeAttribute()
    email_verified = BooleanAttribute(default=False)
    password_hash = UnicodeAttribute(null=True)
    home_org = UnicodeAttribute()
    administrator = BooleanAttribute()
    deleting = BooleanAttribute(default=False)
    version = NumberAttribute()
    epoch = NumberAttribute()
    kept_session = UnicodeAttribute(null=True)
    created_ms = NumberAttribute()
    updated_ms = NumberAttribute()


class AccountListing(Record):
    """A row of the list of accounts; ``administrator`` is a copy, written with the account."""

    class Meta(TableMeta):
        table = "identity"

    pk = UnicodeAttribute(hash_key=True, default=ACCOUNTS_PK)
    sk = UnicodeAttribute(range_key=True)
    administrator = BooleanAttribute()


class DeletionRecord(Record):
    """An account on its way out; ``org_ids`` are the organisations whose data go with it, a blank between them."""

    class Meta(TableMeta):
        table = "identity"

    pk = UnicodeAttribute(hash_key=True, default=DELETIONS_PK)
    sk = UnicodeAttribute(range_key=True)
    org_ids = UnicodeAttribute()
    since_ms = NumberAttribute()


class LoginName(Record):
    """Who signs in under a name. User names and e-mail addresses share a namespace: neither can pose as the other."""

    class Meta(TableMeta):
        table = "identity"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True, default="login")
    account_id = UnicodeAttribute()


class ExternalIdentity(Record):
    """Whose account somebody at another provider is. ``issuer`` is the provider, ``subject`` its id of the person."""

    class Meta(TableMeta):
        table = "identity"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True, default="external")
    account_id = UnicodeAttribute()
    issuer = UnicodeAttribute()
    subject = UnicodeAttribute()


class ExternalLink(Record):
    """The same link, under the account; both are written together."""

    class Meta(TableMeta):
        table = "identity"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    digest = UnicodeAttribute()
    issuer = UnicodeAttribute()


class LoginFailures(Record):
    """Failed log-ins in a row. ``locked_until_ms`` is 0 while the name is not locked."""

    class Meta(TableMeta):
        table = "identity"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True, default="failures")
    failures = NumberAttribute()
    locked_until_ms = NumberAttribute()


class AddressCount(Record):
    """Requests of an address in one minute."""

    class Meta(TableMeta):
        table = "identity"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    requests = NumberAttribute()


class RevokedSession(Record):
    """A logged-out session; gone when its token would have expired."""

    class Meta(TableMeta):
        table = "identity"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)


class OrgRecord(Record):
    """A tenant. ``deleting`` bars new members while its data are removed."""

    class Meta(TableMeta):
        table = "identity"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True, default="org")
    org_id = UnicodeAttribute()
    name = UnicodeAttribute()
    personal = BooleanAttribute()
    deleting = BooleanAttribute(default=False)
    version = NumberAttribute()
    created_ms = NumberAttribute()


class OrgMember(Record):
    """A member, under its organisation."""

    class Meta(TableMeta):
        table = "identity"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    account_id = UnicodeAttribute()
    role = UnicodeAttribute()
    since_ms = NumberAttribute()


class Membership(Record):
    """The same membership, under its account; both are written together."""

    class Meta(TableMeta):
        table = "identity"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    org_id = UnicodeAttribute()
    role = UnicodeAttribute()
