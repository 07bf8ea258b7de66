"""Time to live: readers filter, the sweep removes."""

from __future__ import annotations

from shared.store.embedded import EmbeddedEngine
from tests.unit.store.conftest import Thing

NOW_MS = 1_800_000_000_000


def test_purge_removes_what_is_over(engine: EmbeddedEngine) -> None:
    """Exactly the items whose time has ended are removed, with their index entries, marked as expired in the stream."""
    Thing("o", "over", ttl=NOW_MS // 1000 - 1, group="g", rank=1).save()
    Thing("o", "now", ttl=NOW_MS // 1000).save()
    Thing("o", "later", ttl=NOW_MS // 1000 + 1).save()
    Thing("o", "never").save()
    seen = engine.stream.last()
    assert engine.purge_expired(NOW_MS) == 1
    assert [thing.sk for thing in Thing.query("o")] == ["later", "never", "now"]
    assert list(Thing.by_rank.query("g")) == []
    (record,) = engine.stream.read(seen)
    assert (record.event, record.expired, record.keys["sk"]["S"]) == ("REMOVE", True, "over")
    assert engine.purge_expired(NOW_MS) == 0


def test_purge_works_in_portions(engine: EmbeddedEngine) -> None:
    """A limit bounds one purge; the oldest go first."""
    for number in range(5):
        Thing("o", f"{number}", ttl=NOW_MS // 1000 - 10 + number).save()
    assert engine.purge_expired(NOW_MS, limit=3) == 3
    assert [thing.sk for thing in Thing.query("o")] == ["3", "4"]


def test_a_changed_time_to_live_counts(engine: EmbeddedEngine) -> None:
    """Extending or removing the time keeps the item; setting it later removes the item after all."""
    Thing("o", "extended", ttl=1).save()
    Thing("o", "kept", ttl=1).save()
    Thing("o", "extended").update([Thing.ttl.set(NOW_MS // 1000 + 60)])
    Thing("o", "kept").update([Thing.ttl.remove()])
    Thing("o", "shortened").save()
    Thing("o", "shortened").update([Thing.ttl.set(1)])
    assert engine.purge_expired(NOW_MS) == 1
    assert [thing.sk for thing in Thing.query("o")] == ["extended", "kept"]


def test_readers_can_tell(engine: EmbeddedEngine) -> None:
    """An expired record that is still there says so."""
    assert Thing("o", "1", ttl=NOW_MS // 1000).is_expired(NOW_MS)
    assert not Thing("o", "1", ttl=NOW_MS // 1000 + 1).is_expired(NOW_MS)
    assert not Thing("o", "1").is_expired(NOW_MS)
