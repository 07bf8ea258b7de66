"""The demonstration where the server refuses it."""

from __future__ import annotations

from pathlib import Path

from functions.local.demo import Demo
from tests.support.standin import Reply, StandIn

CLOSED = {"error": {"code": "unauthorized", "message": "Sign-up is closed; ask an administrator for an account"}}


def test_a_refusal_is_told_in_its_own_words(tmp_path: Path) -> None:
    """Where sign-up is closed the demonstration says so, in one line."""
    shown: list[str] = []
    with StandIn(lambda request: Reply(CLOSED, 401)).serving() as server:
        demo = Demo(tmp_path, shown.append)
        try:
            demo.show(server.url)
        finally:
            demo.close()
    (line,) = shown
    assert "Sign-up is closed; ask an administrator" in line
    assert "the server goes on" in line
