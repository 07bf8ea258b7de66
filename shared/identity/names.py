"""What user names, e-mail addresses and passwords may look like."""

from __future__ import annotations

import re
import unicodedata

from shared.kit.errors import InvalidRequest

LOCAL_DOMAIN = "local"
"""Of the made-up addresses of accounts that gave none."""

MAX_NAME = 200
MAX_LOGIN = 254
MAX_FOLDED_BYTES = 1024
MIN_PASSWORD = 8
MAX_PASSWORD = 256

_EMAIL = re.compile(r"[^@\s:,;<>()\[\]\\\"]+@[^@\s:,;<>()\[\]\\\"]+")
"""One address, and nothing that a mail system reads as a list, a name or a comment (RFC 5322, 3.2.3)."""

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def fold(name: str) -> str:
    """The form in which login names are compared: without case and compatibility variants."""
    return unicodedata.normalize("NFKC", name).casefold().strip()


def is_same_address(one: str, other: str) -> bool:
    """Whether two e-mail addresses are one person's: the case of ASCII letters does not count, everything else does.

    Names that fold alike may be mailboxes of two people (Unicode TR 36, 2.10.1), and an address proves who somebody is.
    """
    return one == other or (one.isascii() and other.isascii() and one.lower() == other.lower())


def checked_email(email: str) -> str:
    """The address without blanks around it. Raises InvalidRequest. It is a user name as well, so without a colon."""
    address = _login_name("email", email)
    if not _EMAIL.fullmatch(address):
        raise InvalidRequest.field("email", "Email is not an e-mail address")
    return address


def checked_username(username: str) -> str:
    """The user name without blanks around it. Raises InvalidRequest. A colon would break HTTP Basic."""
    name = _login_name("username", username)
    if ":" in name:
        raise InvalidRequest.field("username", "Username must not contain a colon")
    return name


def checked_name(name: str) -> str:
    """A display name. Raises InvalidRequest."""
    return _line("name", name, MAX_NAME)


def checked_password(password: str) -> str:
    """The password if it has 8 to 256 characters. Raises InvalidRequest."""
    if not password:
        raise InvalidRequest.field("password", "Password is required")
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise InvalidRequest.field("password", f"Password must have {MIN_PASSWORD} to {MAX_PASSWORD} characters")
    if any(0xD800 <= ord(character) <= 0xDFFF for character in password):
        raise InvalidRequest.field("password", "Password must be valid Unicode text")
    return password


def _login_name(field: str, text: str) -> str:
    name = _line(field, text, MAX_LOGIN)
    if not is_login_name(name):
        raise InvalidRequest.field(field, f"{field.capitalize()} is too long")
    return name


def is_login_name(name: str) -> bool:
    """Whether somebody could be called so: what it folds to is something and fits a key of the store."""
    # Folding may write one character as eighteen.
    return 0 < len(fold(name).encode("utf-8", "surrogatepass")) <= MAX_FOLDED_BYTES


def _line(field: str, text: str, longest: int) -> str:
    stripped = text.strip()
    label = field.capitalize()
    if not stripped:
        raise InvalidRequest.field(field, f"{label} is required")
    if len(stripped) > longest:
        raise InvalidRequest.field(field, f"{label} must have {longest} characters at most")
    if _UNPRINTABLE.search(stripped):
        raise InvalidRequest.field(field, f"{label} must not contain control characters")
    return stripped
