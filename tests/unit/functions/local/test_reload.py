"""Hot reload: a changed source file starts the server again."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from functions.local import reload


def test_a_changed_file_changes_the_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """New, changed and removed sources are seen; other files are not."""
    monkeypatch.setattr(reload, "ROOT", tmp_path)
    (tmp_path / "shared").mkdir()
    source = tmp_path / "shared" / "a.py"
    source.write_text("1")
    before = reload.fingerprint()
    (tmp_path / "shared" / "notes.txt").write_text("no source")
    assert reload.fingerprint() == before
    os.utime(source, ns=(1, 1))
    changed = reload.fingerprint()
    assert changed != before
    source.unlink()
    assert reload.fingerprint() == {}


def test_a_file_that_vanishes_between_two_looks_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Editors replace files: one that was listed may be gone when it is looked at."""
    (tmp_path / "b.py").write_text("1")
    monkeypatch.setattr(reload, "_files", lambda: iter([tmp_path / "a.py", tmp_path / "b.py"]))
    assert list(reload.fingerprint()) == [tmp_path / "b.py"]


class Child:
    """A server that ends when interrupted, or has to be killed."""

    def __init__(self, *, stubborn: bool = False) -> None:
        self.stubborn = stubborn
        self.signals: list[int] = []
        self.killed = False

    def send_signal(self, number: int) -> None:
        self.signals.append(number)

    def wait(self, timeout: float | None = None) -> int:
        if self.stubborn and not self.killed:
            raise subprocess.TimeoutExpired("server", timeout or 0)
        return 0

    def kill(self) -> None:
        self.killed = True


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_child_is_ended_before_the_next(stubborn: bool) -> None:
    """It is asked first and killed only when it does not end."""
    child = Child(stubborn=stubborn)
    assert reload._end(child) == 0  # type: ignore[arg-type]
    assert child.signals and child.killed is stubborn
