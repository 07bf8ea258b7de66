"""Pause, resume and kill, as a program under NullRun's SDK meets them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.agents import Agent, Team
from tests.support.server import Server

pytestmark = pytest.mark.slow

FUNCTIONS = """
ran = []

@nullrun.protect
def act(name):
    ran.append(name)
    return name

@nullrun.protect
async def act_later(name):
    ran.append(name)
    return name

@nullrun.protect
def act_slowly(name):
    import httpx
    tell("inside")
    until(lambda: has_heard("killed"))
    httpx.get(runtime.api_url + "/health")
    return name

def named(function, *arguments):
    with nullrun.workflow("nightly run"):
        return function(*arguments)

def has_heard(state, workflow_id=None):
    return runtime._remote_states.get(workflow_id or runtime.workflow_id, {}).get("state", "").lower() == state
"""


@pytest.fixture
def program(server: Server, team: Team, agent_of_worker: Agent) -> Iterator[Agent]:
    """The process with FUNCTIONS, listening on its WebSocket."""
    agent_of_worker.start(server.url, team.key)
    agent_of_worker.follow()
    agent_of_worker.run(FUNCTIONS)
    yield agent_of_worker
    agent_of_worker.stop()


def move(team: Team, verb: str) -> None:
    """What an operator does."""
    team.post(f"/workflows/{team.workflow_id}/{verb}", reason="so be it")


def heard(program: Agent, state: str, workflow_id: str | None = None) -> None:
    """Wait until the SDK has been told."""
    program.run(f"until(lambda: has_heard({state!r}, {workflow_id!r}))")


def test_pause_and_resume_are_pushed(team: Team, program: Agent) -> None:
    """A paused program's calls raise NR-W003 without asking; resumed, they run again."""
    assert program.run('act("a")') == "a"
    move(team, "pause")
    heard(program, "paused")
    raised = program.refused('act("b")')
    assert (raised.kind, raised.code) == ("NullRunBlockedException", "NR-W003")
    assert "so be it" in raised.text
    late = program.refused('act_later("c")')
    assert (late.kind, late.code) == ("WorkflowPausedException", "NR-W003")
    move(team, "resume")
    heard(program, "normal")
    assert [program.run('act("d")'), program.run('act_later("e")')] == ["d", "e"]
    assert program.run("ran") == ["a", "d", "e"]


def test_a_kill_is_pushed(team: Team, program: Agent) -> None:
    """Calls raise NR-W002 for good, to asynchronous programs as the interrupt it is."""
    move(team, "kill")
    heard(program, "killed")
    raised = program.refused('act("a")')
    assert (raised.kind, raised.code) == ("NullRunBlockedException", "NR-W002")
    late = program.refused('act_later("b")')
    assert (late.kind, late.code) == ("NullRunWorkflowKilledError", "NR-W002")
    assert program.run("ran") == []


def test_a_kill_stops_what_runs(team: Team, program: Agent) -> None:
    """A function under way cannot reach out any more."""
    program.begin('act_slowly("a")')
    assert program.told() == "inside"
    move(team, "kill")
    assert program.refused_in_the_end().code == "NR-W002"


def test_a_named_workflow_is_stopped_too(team: Team, program: Agent) -> None:
    """Inside ``with workflow("name")`` a pause, a resume and a kill are heard under that name, and nothing hangs."""
    assert program.run('named(act, "a")') == "a"
    for verb, state, code in (("pause", "paused", "NR-W003"), ("kill", "killed", "NR-W002")):
        move(team, verb)
        heard(program, state, "nightly run")
        heard(program, state)
        assert program.refused('named(act, "b")').code == code
        if verb == "pause":
            move(team, "resume")
            heard(program, "normal", "nightly run")
            heard(program, "normal")
            assert program.run('named(act, "c")') == "c"
    assert program.run("ran") == ["a", "c"]


def test_polling_sees_everything(server: Server, team: Team, agent_of_worker: Agent) -> None:
    """With NULLRUN_TRANSPORT=http, pause, resume and kill are seen by the poll, also inside a named workflow."""
    agent = agent_of_worker
    agent.start(server.url, team.key, TRANSPORT="http")
    agent.run(FUNCTIONS)
    assert agent.run('[act("a"), named(act, "b")]') == ["a", "b"]
    move(team, "pause")
    for text in (None, "nightly run"):
        heard(agent, "paused", text)
    assert [agent.refused(call).code for call in ('act("c")', 'named(act, "c")')] == ["NR-W003"] * 2
    move(team, "resume")
    for text in (None, "nightly run"):
        heard(agent, "normal", text)
    assert agent.run('[act("d"), named(act, "e")]') == ["d", "e"]
    move(team, "kill")
    for text in (None, "nightly run"):
        heard(agent, "killed", text)
    assert [agent.refused(call).code for call in ('act("f")', 'named(act, "f")')] == ["NR-W002"] * 2
    assert agent.run("ran") == ["a", "b", "d", "e"]
    agent.stop()


def test_the_gate_needs_no_push(server: Server, team: Team, agent_of_worker: Agent) -> None:
    """A program that hears nothing, neither pushed nor polled, is stopped by its next call all the same."""
    agent = agent_of_worker
    agent.start(server.url, team.key)
    agent.follow()
    agent.run(FUNCTIONS)
    agent.run("asyncio.run_coroutine_threadsafe(runtime._ws_connection.close(), runtime._ws_loop).result()")
    for verb, code in (("pause", "WORKFLOW_PAUSED"), ("kill", "WORKFLOW_KILLED")):
        move(team, verb)
        raised = agent.refused('act("a")')
        assert (raised.kind, raised.code) == ("NullRunBlockedException", code)
        if verb == "pause":
            move(team, "resume")
            assert agent.run('act("b")') == "b"
    assert agent.run("ran") == ["b"]
    agent.stop()
