"""Starting the one-process host: what stops it is told in one line."""

from __future__ import annotations

import errno
import os
import resource
import socket
from pathlib import Path

import pytest

from functions.local.folder import FolderInUse, FolderLock
from functions.local.serve import MOST_FILES, CannotServe, _with_address, allow_files, serve
from shared.kit.settings import Settings


def test_a_port_in_use_is_explained(tmp_path: Path) -> None:
    """The message names the port and the way out."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CannotServe, match=f"port {port} is in use on 127.0.0.1; choose another with --port"):
            serve({"data": tmp_path, "port": port})


def test_an_address_of_another_machine_is_explained(tmp_path: Path) -> None:
    """A host that is not ours is told as such."""
    with pytest.raises(CannotServe, match=r"cannot listen on 192\.0\.2\.1:0"):
        serve({"data": tmp_path, "host": "192.0.2.1", "port": 0})


@pytest.mark.parametrize(("name", "value"), [("workers", "none"), ("log_level", "loud"), ("allow_hosts", "localhost")])
def test_bad_settings_are_explained(name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong environment variable is named."""
    monkeypatch.setenv(f"SIGNALBOX_{name.upper()}", value)
    with pytest.raises(CannotServe, match=name):
        serve({"data": tmp_path})


def test_the_adapters_of_aws_are_not_for_this_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a system on each side would be none."""
    monkeypatch.setenv("SIGNALBOX_ADAPTER", "aws")
    with pytest.raises(CannotServe, match="unset SIGNALBOX_ADAPTER"):
        serve({"data": tmp_path, "port": 0})


def test_a_host_pattern_that_is_none_is_explained(tmp_path: Path) -> None:
    """What cannot be allowed is named before anything is started."""
    with pytest.raises(CannotServe, match="settings are not valid: allow_hosts: 'not a host/99'"):
        serve({"data": tmp_path, "port": 0, "allow_hosts": ["not a host/99"]})


def test_a_data_folder_that_is_a_file_is_explained(tmp_path: Path) -> None:
    """The folder's problem is told, not traced."""
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(CannotServe, match="cannot be used"):
        serve({"data": path})


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("store.db", "the data folder .* cannot be used: The database .* cannot be opened: file is not a database"),
        ("master.key", "the master key cannot be used: .* does not hold a master key; restore it from a backup"),
    ],
)
def test_a_broken_file_is_explained(name: str, problem: str, tmp_path: Path) -> None:
    """A store or key that cannot be read is named, and the folder is free again."""
    (tmp_path / name).write_bytes(b"something else entirely" * 100)
    with pytest.raises(CannotServe, match=problem):
        serve({"data": tmp_path, "port": 0})
    FolderLock(tmp_path).release()


def test_two_servers_never_share_a_folder(tmp_path: Path) -> None:
    """The second one is told who holds it; once released the folder is free."""
    first = FolderLock(tmp_path)
    first.describe("http://127.0.0.1:1")
    with pytest.raises(CannotServe, match=r"in use by process \d+, http://127.0.0.1:1; stop it or choose another"):
        serve({"data": tmp_path, "port": 0})
    first.release()
    FolderLock(tmp_path).release()


def test_a_full_disk_leaves_the_holder_anonymous(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not being able to say who holds the folder is no reason not to serve."""

    def full(*given: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    held = FolderLock(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        held.describe("http://127.0.0.1:1")
    with pytest.raises(FolderInUse, match="another process"):
        FolderLock(tmp_path)
    held.release()


def test_a_lock_whose_holder_said_nothing_is_still_a_lock(tmp_path: Path) -> None:
    """Between locking and describing itself the holder is anonymous."""
    held = FolderLock(tmp_path)
    with pytest.raises(FolderInUse, match="another process"):
        FolderLock(tmp_path)
    held.release()


@pytest.mark.parametrize(
    ("host", "public_url", "expected"),
    [
        ("127.0.0.1", "", "http://127.0.0.1:81"),
        ("0.0.0.0", "", "http://127.0.0.1:81"),
        ("::", "", "http://[::1]:81"),
        ("fd00::1", "", "http://[fd00::1]:81"),
        ("0.0.0.0", "https://box.example", "https://box.example"),
    ],
)
def test_the_base_url_is_one_callers_can_use(host: str, public_url: str, expected: str) -> None:
    """The printed address works from this machine; a given one wins."""
    assert _with_address(Settings(host=host, public_url=public_url), 81).public_url == expected


@pytest.mark.parametrize(
    ("soft", "hard", "wanted"),
    [
        (1024, 4096, 4096),
        (256, resource.RLIM_INFINITY, MOST_FILES),
        (1024, 1_000_000, MOST_FILES),
        (4096, 4096, None),
        (100_000, 1_000_000, None),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, None),
    ],
)
@pytest.mark.parametrize("refused", [False, True])
def test_a_thousand_sockets_need_files(
    soft: int, hard: int, wanted: int | None, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is raised as far as may be and never lowered; a system that refuses is served with what there is."""
    asked: list[tuple[int, int]] = []

    def set_limit(kind: int, limits: tuple[int, int]) -> None:
        asked.append(limits)
        if refused:
            raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda kind: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", set_limit)
    allow_files()
    assert asked == ([] if wanted is None else [(wanted, hard)])
