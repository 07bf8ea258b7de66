"""One process with the SDK for all journeys of a worker, and someone new with an org for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.agents import Agent, Team, agent_process
from tests.support.server import Server


@pytest.fixture(scope="session")
def agent_of_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """The process; it forgets its org when it starts with the key of another."""
    with agent_process(tmp_path_factory.mktemp("agent")) as started:
        yield started


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
    assert team.undelivered(kept) == []
