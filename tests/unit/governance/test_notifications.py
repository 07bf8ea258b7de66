from __future__ import annotations

import threading
from typing import Any

import pytest

from shared.governance.notifications import CHOICES, Notifications
from shared.kit.errors import Forbidden, Unprocessable
from shared.store.embedded import EmbeddedEngine
from tests.support.alerts import ORG, join, key_principal, member


@pytest.fixture
def notifications(store: EmbeddedEngine) -> Notifications:
    return Notifications()


def test_everything_is_on(notifications: Notifications) -> None:
    """Until somebody switches it off."""
    assert notifications.get(member("viewer")) == dict.fromkeys(CHOICES, True)


def test_a_change_is_the_members_own(notifications: Notifications) -> None:
    """What is left out stays; other members, and the same person in another org, keep theirs."""
    assert not notifications.change(member("viewer"), {"weekly_digest": False})["weekly_digest"]
    changed = notifications.change(member("viewer"), {"notify_on_key_created": False})
    off = {name for name, chosen in changed.items() if not chosen}
    assert off == {"weekly_digest", "notify_on_key_created"}
    assert notifications.get(member("viewer")) == changed
    for other in (member("viewer", "bob"), member("viewer", org_id="org-b")):
        assert all(notifications.get(other).values())
    assert notifications.change(member("viewer"), {"weekly_digest": True})["weekly_digest"]


@pytest.mark.parametrize(
    "wanted", [{"notify_on_everything": True}, {"weekly_digest": "yes"}, {"weekly_digest": None}, {"weekly_digest": 1}]
)
def test_what_is_wrong_is_said(notifications: Notifications, wanted: dict[str, Any]) -> None:
    """An unknown name or another value than true or false is 422, and nothing is changed."""
    with pytest.raises(Unprocessable, match=next(iter(wanted))):
        notifications.change(member("viewer"), {"notify_on_key_created": False} | wanted)
    assert all(notifications.get(member("viewer")).values())


def test_a_key_has_none(notifications: Notifications) -> None:
    """Only people read mail."""
    with pytest.raises(Forbidden):
        notifications.get(key_principal())
    with pytest.raises(Forbidden):
        notifications.change(key_principal(), {"weekly_digest": False})


def test_changes_at_once_are_all_kept(notifications: Notifications) -> None:
    """Each switches its own."""
    names, barrier = CHOICES[:6], threading.Barrier(6)

    def change(name: str) -> None:
        barrier.wait()
        notifications.change(member("viewer"), {name: False})

    threads = [threading.Thread(target=change, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name for name, chosen in notifications.get(member("viewer")).items() if not chosen} == set(names)


def test_many_members_are_all_asked(notifications: Notifications) -> None:
    """More than fit one request of the store."""
    people = [join("admin", f"a{n:03d}", f"a{n:03d}@example.com") for n in range(120)]
    notifications.change(people[110], {"weekly_digest": False})
    told = notifications.addresses(ORG, "weekly_digest")
    assert len(told) == 119 and "a110" not in told
    assert told["a000"] == "a000@example.com"
