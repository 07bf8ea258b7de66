"""What people write about themselves and their orgs, refused as NullRun refuses it: 422 with the field's name.

Source: docs/rulings.md#sign-up.
"""

from __future__ import annotations

from collections.abc import Callable

from shared.identity import ROLES, Role, checked_email, checked_name, checked_password
from shared.kit.errors import InvalidRequest, Unprocessable

MIN_PASSWORD = 12
"""Characters a password has at least, where NullRun's API sets it."""

MAX_ORG_NAME = 100

_OTHER_NAMES: dict[str, Role] = {"member": "operator"}


def email_of(text: str, field: str = "email") -> str:
    """An e-mail address. Raises Unprocessable."""
    return _judged(checked_email, text, field)


def name_of(text: str) -> str:
    """A person's name. Raises Unprocessable."""
    return _judged(checked_name, text, "name")


def org_name_of(text: str) -> str:
    """An org's name, of up to 100 characters. Raises Unprocessable."""
    name = _judged(checked_name, text, "name")
    if len(name) > MAX_ORG_NAME:
        raise Unprocessable.field("name", f"Name must have {MAX_ORG_NAME} characters at most")
    return name


def password_of(text: str) -> str:
    """A new password, of 12 to 256 characters. Raises Unprocessable."""
    if len(text) < MIN_PASSWORD:
        raise Unprocessable.field("password", f"Password must have {MIN_PASSWORD} characters or more")
    return _judged(checked_password, text, "password")


def role_named(text: str) -> Role:
    """A role; ``member`` is an operator. Raises Unprocessable."""
    found = next((role for role in ROLES if role == text), _OTHER_NAMES.get(text))
    if found is None:
        raise Unprocessable.field("role", f"Role must be one of {', '.join(reversed(ROLES))}")
    return found


def _judged(check: Callable[[str], str], text: str, field: str) -> str:
    try:
        return check(text)
    except InvalidRequest as error:
        raise Unprocessable.field(field, error.message) from None
