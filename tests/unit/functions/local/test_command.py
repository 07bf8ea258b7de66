"""The command line of ``scripts/serve``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from functions.local import command, serve
from functions.local.serve import CannotServe


def test_flags_become_settings() -> None:
    """Every named flag is a setting; what is not given is left to the environment."""
    chosen = command.parse(
        ["--host", "0.0.0.0", "--port", "0", "--data", "here", "--allow-host", "a", "--allow-host", "10.0.0.0/8"]
    )
    assert command.overrides(chosen) == {
        "host": "0.0.0.0",
        "port": 0,
        "data": Path("here"),
        "allow_hosts": ["a", "10.0.0.0/8"],
    }
    assert command.overrides(command.parse([])) == {}


@pytest.mark.parametrize("port", ["-1", "65536", "http", "8080.5", "٨"])
def test_a_port_that_is_none_is_explained(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong flag ends with code 2 and says what a port is."""
    with pytest.raises(SystemExit) as stopped:
        command.parse([f"--port={port}"])
    assert stopped.value.code == 2 and "0 to 65535" in capsys.readouterr().err


def test_a_server_that_cannot_start_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No stack trace: one line and exit code 1."""

    def refuse(given: object, *, demo: bool) -> None:
        raise CannotServe("the port is taken")

    monkeypatch.setattr(serve, "serve", refuse)
    assert command.main([]) == 1
    assert capsys.readouterr().err == "signalbox: the port is taken\n"


def test_the_command_line_loads_nothing_before_it_is_understood() -> None:
    """``--help`` and wrong flags answer at once: the command module imports no framework."""
    heavy = {"fastapi", "pynamodb", "boto3", "uvicorn"}
    import subprocess

    script = "import sys, functions.local.command; print(' '.join(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not heavy & set(shown.stdout.split())
