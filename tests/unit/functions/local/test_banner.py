from __future__ import annotations

from pathlib import Path

import pytest

from functions.local.banner import banner
from shared.kit.settings import UNSIGNED, Settings

LOOPBACK = ("127.0.0.1", "127.8.9.1", "::1", "localhost")
REACHABLE = ("0.0.0.0", "::", "192.0.2.1", "2001:db8::1", "signalbox.example.com")


def lines(folder: Path, host: str, *, required: bool) -> list[str]:
    return banner(Settings(data=folder, host=host, hmac_required=required)).splitlines()


@pytest.mark.parametrize("host", REACHABLE)
def test_unsigned_requests_from_elsewhere_are_warned_of(host: str, tmp_path: Path) -> None:
    """Others can reach the server and need not sign: the last line says so."""
    assert lines(tmp_path, host, required=False)[-1] == f"WARNING: {UNSIGNED}"


@pytest.mark.parametrize(
    ("host", "required"), [*((host, False) for host in LOOPBACK), *((host, True) for host in REACHABLE)]
)
def test_there_is_nothing_to_warn_of(host: str, required: bool, tmp_path: Path) -> None:
    """On this machine only, or with signatures."""
    assert not any("WARNING" in line for line in lines(tmp_path, host, required=required))
