"""One process with the SDK for all journeys of a worker, and someone new with an org for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.agents import Agent, Team, undelivered
from tests.support.server import Server


@pytest.fixture(scope="session")
def agents() -> Iterator[list[Agent]]:
    """The process, once there is one."""
    made: list[Agent] = []
    yield made
    for agent in made:
        agent.close()


@pytest.fixture
def agent_of_worker(tmp_path_factory: pytest.TempPathFactory, agents: list[Agent]) -> Agent:
    """The process; it forgets its org when it starts with the key of another. One that hangs is replaced."""
    if not agents or agents[-1].is_busy:
        agents.append(Agent(tmp_path_factory.mktemp("agent")))
    return agents[-1]


@pytest.fixture
def team(server: Server) -> Team:
    """Someone new, with an org, a workflow and a key."""
    return Team.register(server.url)


@pytest.fixture
def agent(server: Server, team: Team, agent_of_worker: Agent) -> Iterator[Agent]:
    """The process, working for the team; at the end nothing it reported may be left on its disk."""
    kept = agent_of_worker.start(server.url, team.key)
    yield agent_of_worker
    agent_of_worker.stop()
    assert undelivered(kept) == []
