from __future__ import annotations

import pytest

from shared.identity.names import checked_email, checked_name, checked_password, checked_username, fold, is_same_address
from shared.kit.errors import InvalidRequest


@pytest.mark.parametrize(
    ("one", "other"),
    [("Ada@Example.COM", "ada@example.com"), ("\uff41\uff44\uff41", "ada"), ("STRASSE", "straße"), (" ada ", "ada")],
)
def test_names_that_look_alike_are_one(one: str, other: str) -> None:
    """Case, compatibility forms and blanks around do not make another login name."""
    assert fold(one) == fold(other)


@pytest.mark.parametrize("password", ["12345678", "x" * 256, "ünïcödé-pass", "        "])
def test_a_password_of_8_to_256_characters_is_taken(password: str) -> None:
    """Length is the only demand on a password; it is taken as it is."""
    assert checked_password(password) == password


@pytest.mark.parametrize("password", ["", "1234567", "x" * 257, "lone\ud800surrogate"])
def test_other_passwords_are_refused(password: str) -> None:
    """Too short, too long and unencodable passwords name the field."""
    with pytest.raises(InvalidRequest) as caught:
        checked_password(password)
    assert caught.value.details is not None
    assert caught.value.details["field"] == "password"


@pytest.mark.parametrize(
    "email",
    [
        "",
        "ada",
        "@example.com",
        "ada@",
        "a b@example.com",
        "a@b@c",
        "a\n@b.c",
        "a:b@c.d",
        "x" * 254 + "@b",
        "a,b@c.d",
        "a@b.c,d",
        "a;b@c.d",
        "<a@b.c>",
        "a(b)@c.d",
        '"a"@b.c',
        "a@[127.0.0.1]",
        "a\\b@c.d",
    ],
)
def test_what_is_no_address_is_refused(email: str) -> None:
    """One @ with something on both sides, at most 254 characters, no blanks; no colon, for the sake of HTTP Basic."""
    with pytest.raises(InvalidRequest):
        checked_email(email)


@pytest.mark.parametrize("username", ["", "  ", "a:b", "x" * 255, "a\x00b", "a\x7fb", "\ufdfa" * 200])
def test_what_is_no_user_name_is_refused(username: str) -> None:
    """A user name is a line without a colon, which HTTP Basic could not carry."""
    with pytest.raises(InvalidRequest):
        checked_username(username)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("ada@example.com", "Ada@EXAMPLE.com", True),
        ("zoë@example.com", "zoë@example.com", True),
        ("zoë@example.com", "zoË@example.com", False),
        ("ada@example.com", "\uff41da@example.com", False),
        ("ask@example.com", "as\u212a@example.com", False),
        ("ada@example.com", "ada@example.org", False),
    ],
)
def test_addresses_of_one_person(one: str, other: str, same: bool) -> None:
    """Nothing but the case of ASCII letters is overlooked."""
    assert is_same_address(one, other) is is_same_address(other, one) is same


def test_blanks_around_are_dropped() -> None:
    """Names are stored without the blanks around them."""
    assert (checked_username(" ada "), checked_email(" a@b.c "), checked_name(" Ada L. ")) == ("ada", "a@b.c", "Ada L.")
