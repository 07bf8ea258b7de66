from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.governance.channels import MOST_CHANNELS, ChannelChanges, ChannelView, channels, secret_bytes
from shared.kit import ids, json
from shared.kit.errors import Conflict, Forbidden, Internal, NotFound, Unprocessable
from shared.store.embedded import EmbeddedEngine
from shared.store.models.governance import Event, events_pk
from tests.support.alerts import ORG, System, key_principal, member

ADMIN = member("admin")
URL = "https://hooks.example.com/services/T0/B0?token=abc"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def system(store: EmbeddedEngine, tmp_path: Path) -> Iterator[System]:
    made = System(tmp_path, "10.0.0.0/8")
    yield made
    made.outbound.close()


def create(system: System, channel_type: str = "webhook", **config: Any) -> ChannelView:
    return system.channels.create(ADMIN, name="ops", channel_type=channel_type, config=config)


def stored(system: System, channel_id: str) -> dict[str, str]:
    return dict(system.channels.config(system.channels.get(ADMIN, channel_id)))


@pytest.mark.parametrize(
    ("channel_type", "config", "whole", "masked"),
    [
        ("webhook", {"url": URL, "secret": SECRET}, {"url": URL, "secret": SECRET},
         {"url": "https://hooks.example.com/…", "secret": "***"}),
        ("webhook", {"url": URL}, {"url": URL}, {"url": "https://hooks.example.com/…"}),
        ("webhook", {"url": URL, "secret": "***"}, {"url": URL}, {"url": "https://hooks.example.com/…"}),
        ("slack", {"webhook_url": URL, "secret": "x"}, {"url": URL}, {"url": "https://hooks.example.com/…"}),
        ("webhook", {"url": "http://10.1.2.3:81/x"}, {"url": "http://10.1.2.3:81/x"}, {"url": "http://10.1.2.3:81/…"}),
        ("email", {"email": " ops@example.com "}, {"email": "ops@example.com"}, {"email": "ops@example.com"}),
        ("email", {"to": "ops@example.com"}, {"email": "ops@example.com"}, {"email": "ops@example.com"}),
    ],
)  # fmt: skip
def test_what_is_kept_and_what_is_shown(
    system: System, channel_type: str, config: dict[str, str], whole: dict[str, str], masked: dict[str, str]
) -> None:
    """The whole configuration is sealed; of a URL its host is shown, of a secret that there is one."""
    made = create(system, channel_type, **config)
    assert (made.config, stored(system, made.id)) == (masked, whole)
    item = json.dumps(
        {name: str(value) for name, value in system.channels.get(ADMIN, made.id).attribute_values.items()}
    )
    assert not any(part in item for part in (SECRET, "services/T0", "token=abc"))


@pytest.mark.parametrize(
    ("channel_type", "config", "reason"),
    [
        ("pager", {"url": URL}, "webhook, slack, email"),
        ("webhook", {}, "config.url is required"),
        ("webhook", {"url": 5}, "config.url is required"),
        ("webhook", {"url": "http://hooks.example.com/x"}, "https://"),
        ("webhook", {"url": "https://127.0.0.1/x"}, "allow_hosts"),
        ("webhook", {"url": "https://169.254.169.254/x"}, "metadata"),
        ("webhook", {"url": "https://user:word@hooks.example.com/"}, "user name"),
        ("webhook", {"url": "https://hooks.example.com/" + "x" * 3000}, "2048"),
        ("webhook", {"url": "https://hooks.example.com/\nx"}, "control character"),
        ("slack", {"url": "ftp://hooks.example.com/x"}, "only http"),
        ("webhook", {"url": URL, "secret": ""}, "1 to 256"),
        ("webhook", {"url": URL, "secret": 7}, "1 to 256"),
        ("webhook", {"url": URL, "secret": "x" * 257}, "1 to 256"),
        ("webhook", {"url": URL, "secret": "whsec_not base64"}, "Base64"),
        ("webhook", {"url": URL, "secret": "whsec_"}, "Base64"),
        ("email", {}, "config.email is required"),
        ("email", {"email": "ops"}, "not an e-mail"),
        ("email", {"email": "ops@example.com\nBcc: x@example.com"}, "not an e-mail"),
        ("email", {"email": ["ops@example.com"]}, "config.email is required"),
    ],
)
def test_what_is_wrong_is_said(system: System, channel_type: str, config: dict[str, Any], reason: str) -> None:
    """422 with what to do; nothing is stored."""
    with pytest.raises(Unprocessable, match=reason):
        create(system, channel_type, **config)
    assert list(channels(ORG)) == []


@pytest.mark.parametrize("name", ["", " ", "x" * 81, "a\nb"])
def test_names_are_judged(system: System, name: str) -> None:
    """1 to 80 printable characters."""
    with pytest.raises(Unprocessable, match="Name"):
        system.channels.create(ADMIN, name=name, channel_type="email", config={"email": "ops@example.com"})


@pytest.mark.parametrize(
    ("config", "whole"),
    [
        ({"url": "https://hooks.example.com/…", "secret": "***"}, {"url": URL, "secret": SECRET}),
        ({}, {"url": URL, "secret": SECRET}),
        ({"url": "https://other.example.com/y"}, {"url": "https://other.example.com/y", "secret": SECRET}),
        ({"secret": "new"}, {"url": URL, "secret": "new"}),
        ({"secret": None}, {"url": URL}),
    ],
)
def test_a_mask_keeps_what_it_hides(system: System, config: dict[str, Any], whole: dict[str, str]) -> None:
    """What comes back as it was shown, or not at all, stays; an explicit null removes the secret."""
    made = create(system, url=URL, secret=SECRET)
    system.channels.update(ADMIN, made.id, ChannelChanges(config=config))
    assert stored(system, made.id) == whole


def test_changes_change_what_they_name(system: System) -> None:
    """Name and switch, each alone; the type and everything else stay."""
    made = create(system, url=URL)
    renamed = system.channels.update(ADMIN, made.id, ChannelChanges(name="night"))
    assert (renamed.name, renamed.enabled, renamed.config) == ("night", True, made.config)
    switched = system.channels.update(ADMIN, made.id, ChannelChanges(enabled=False))
    assert (switched.name, switched.enabled) == ("night", False)
    assert system.channels.update(ADMIN, made.id, ChannelChanges()) == switched
    with pytest.raises(Unprocessable, match="https://"):
        system.channels.update(ADMIN, made.id, ChannelChanges(config={"url": "http://hooks.example.com/"}))


def test_changes_at_once_are_all_kept(system: System) -> None:
    """A change of the name and one of the configuration do not undo each other."""
    made = create(system, url=URL, secret=SECRET)
    wanted = [ChannelChanges(name="night"), ChannelChanges(enabled=False), ChannelChanges(config={"secret": "new"})]
    barrier = threading.Barrier(len(wanted))

    def change(changes: ChannelChanges) -> None:
        barrier.wait()
        system.channels.update(ADMIN, made.id, changes)

    threads = [threading.Thread(target=change, args=(changes,)) for changes in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    record = system.channels.get(ADMIN, made.id)
    assert (record.name, record.enabled, record.revision) == ("night", False, 4)
    assert stored(system, made.id) == {"url": URL, "secret": "new"}


def test_a_repeated_creation_is_one(system: System) -> None:
    """The same id is answered as it is, and nothing of it is changed."""
    channel_id = ids.uuid7()
    config = {"email": "ops@example.com"}
    first, again = (
        system.channels.create(ADMIN, name=name, channel_type="email", config=config, channel_id=channel_id)
        for name in ("ops", "other")
    )
    assert first == again
    assert len(channels(ORG)) == 1


def test_there_are_so_many_and_no_more(system: System) -> None:
    """The next one is a conflict that says what to do."""
    for _ in range(MOST_CHANNELS):
        create(system, "email", email="ops@example.com")
    with pytest.raises(Conflict, match="delete some"):
        create(system, "email", email="ops@example.com")


def test_the_last_one_is_made_once(system: System) -> None:
    """However many are made at the same time, there are never more than there may be."""
    for _ in range(MOST_CHANNELS - 2):
        create(system, "email", email="ops@example.com")
    outcomes, barrier = [], threading.Barrier(6)

    def make() -> None:
        barrier.wait()
        try:
            outcomes.append(create(system, "email", email="ops@example.com").id)
        except Conflict:
            outcomes.append("")

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(channels(ORG)) == MOST_CHANNELS
    assert sorted(map(bool, outcomes)) == [False] * 4 + [True] * 2


def test_a_deleted_channel_is_gone(system: System) -> None:
    """It is in no list, and deleting it again is 404."""
    made = create(system, url=URL)
    system.channels.delete(ADMIN, made.id)
    assert system.channels.list(ADMIN, limit=10).items == []
    for act in (
        lambda: system.channels.delete(ADMIN, made.id),
        lambda: system.channels.update(ADMIN, made.id, ChannelChanges(name="x")),
    ):
        with pytest.raises(NotFound):
            act()


def test_an_org_that_goes_leaves_no_channel(system: System) -> None:
    """Neither records nor the key that opens them, old copies included; other orgs keep theirs; twice is harmless."""
    made = create(system, url=URL)
    other = member("owner", org_id="org-b")
    system.channels.create(other, name="b", channel_type="webhook", config={"url": URL})
    record = system.channels.get(ADMIN, made.id)
    for _ in range(2):
        system.channels.forget(ORG)
    assert list(channels(ORG)) == []
    with pytest.raises(Internal):
        system.channels.config(record)
    (kept,) = channels("org-b")
    assert system.channels.config(kept) == {"url": URL}


def test_every_change_is_an_event(system: System) -> None:
    """Made, changed and deleted, with the name and type and nothing secret."""
    made = create(system, url=URL, secret=SECRET)
    system.channels.update(ADMIN, made.id, ChannelChanges(config={"secret": "other-secret"}))
    system.channels.delete(ADMIN, made.id)
    told = list(Event.query(events_pk(ORG)))
    assert [row.action for row in told] == ["alert_channel.created", "alert_channel.updated", "alert_channel.deleted"]
    for row in told:
        assert json.loads(row.details) == {"name": "ops", "channel_type": "webhook"}
        assert (row.resource_id, row.actor_id) == (made.id, "ada")


@pytest.mark.parametrize("principal", [member("viewer"), member("operator"), key_principal()])
def test_changes_need_an_admin(system: System, principal: Any) -> None:
    """Others may look, and nothing else."""
    made = create(system, url=URL)
    assert [row.id for row in system.channels.list(principal, limit=10).items] == [made.id]
    for act in (
        lambda: system.channels.create(principal, name="x", channel_type="webhook", config={"url": URL}),
        lambda: system.channels.update(principal, made.id, ChannelChanges(name="x")),
        lambda: system.channels.delete(principal, made.id),
    ):
        with pytest.raises(Forbidden):
            act()
    assert [(row.id, row.name) for row in system.channels.list(principal, limit=10).items] == [(made.id, "ops")]


def test_channels_belong_to_their_org(system: System) -> None:
    """Another org neither lists nor finds it; and what is sealed opens under no other org's name."""
    made = create(system, url=URL)
    stranger = member("owner", "bob", org_id="org-b")
    assert system.channels.list(stranger, limit=10).total == 0
    for name in (made.id, "nonsense", "\ud800"):
        with pytest.raises(NotFound):
            system.channels.get(stranger, name)


def test_a_list_has_parts(system: System) -> None:
    """Oldest first; each part goes on after the one before."""
    made = [create(system, "email", email=f"{n}@example.com").id for n in range(3)]
    first = system.channels.list(ADMIN, limit=2)
    second = system.channels.list(ADMIN, limit=2, cursor=first.keys[-1])
    assert [row.id for row in (*first.items, *second.items)] == made
    assert (first.total, first.more, second.more) == (3, True, False)


def test_secrets_of_standard_webhooks_are_base64() -> None:
    """After the prefix the secret is Base64 of the key; any other text is the key itself."""
    assert secret_bytes("whsec_AAEC") == b"\x00\x01\x02"
    assert secret_bytes("s3crét") == "s3crét".encode()
