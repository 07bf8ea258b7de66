"""What becomes of a running program when its key changes."""

from __future__ import annotations

import pytest

from tests.support.agents import Agent, Raised, Team
from tests.support.server import Server

pytestmark = pytest.mark.slow

FUNCTION = """
@nullrun.protect
def answer(question):
    runtime.track_llm(40_000, 0, model="gpt-4o")
    return question.upper()
answer("yes")
"""


def test_rotation(server: Server, team: Team, agent: Agent) -> None:
    """A program that runs goes on with the secret it has; one that starts learns the new one."""
    assert agent.run(FUNCTION) == "YES"
    rotated = team.post(f"/api-keys/{team.key_id}/rotate")
    assert rotated["key"] is None or rotated["key"] == team.key
    assert agent.run('[answer("on"), runtime.secret_key]') == ["ON", team.secret]
    assert team.workflow["spent_cents"] == 20
    agent.start(server.url, team.key)
    assert agent.run('[answer("new"), runtime.secret_key]') == ["NEW", rotated["secret_key"]]
    assert team.workflow["spent_cents"] == 30


def test_revocation(server: Server, team: Team, agent_of_worker: Agent) -> None:
    """From the next call on NR-A003, and the body does not run; nor does the key initialise anything any more."""
    agent_of_worker.start(server.url, team.key)
    assert agent_of_worker.run(FUNCTION) == "YES"
    team.call("DELETE", f"/api-keys/{team.key_id}")
    raised = agent_of_worker.refused('answer("no")')
    assert (raised.kind, raised.code) == ("NullRunAuthError", "NR-A003")
    assert team.workflow["spent_cents"] == 10
    with pytest.raises(Raised) as refused:
        agent_of_worker.start(server.url, team.key)
    assert refused.value.code == "NR-A003"


def test_its_use_is_noted(team: Team, agent: Agent) -> None:
    """A key that was used shows when."""
    (before,) = team.get("/api-keys")["api_keys"]
    agent.run(FUNCTION)
    (after,) = team.get("/api-keys")["api_keys"]
    assert (before["last_used_at"] is None, after["last_used_at"] is None) == (True, False)
