"""What a program under NullRun's SDK does all day: protected functions, model calls, reports."""

from __future__ import annotations

import pytest

from shared.governance.money import cents
from shared.governance.prices import Usage, cost, price
from tests.support.agents import Agent, Raised, Team, undelivered
from tests.support.server import Server

pytestmark = pytest.mark.slow

FUNCTIONS = """
def ask(tokens, model="gpt-4o"):
    runtime.track_llm(tokens, tokens, model=model)

@nullrun.protect
def answer(question, times=1):
    for _ in range(times):
        ask(100_000)
    return question.upper()

@nullrun.protect
async def answer_later(question):
    await asyncio.sleep(0)
    ask(100_000)
    return question.upper()

@nullrun.protect
def fail(message):
    raise LookupError(message)

@nullrun.protect
def orchestrate(question):
    first = answer(question)
    ask(100_000)
    return first + fast(question)

@nullrun.protect
def fast(question):
    ask(100_000, "gpt-4o-mini")
    return question.lower()
"""


def dear(times: int = 1, model: str = "gpt-4o") -> int:
    """Micro-cents of the calls of FUNCTIONS, by the price list."""
    return times * cost(price(model), Usage(input=100_000, output=100_000))


@pytest.fixture
def program(agent: Agent) -> Agent:
    """The process with FUNCTIONS."""
    agent.run(FUNCTIONS)
    return agent


def results(team: Team) -> dict[str, str]:
    """How the executions of the org ended, by the tool."""
    return {row["tool"]: row["result"] for row in team.get("/executions")["executions"]}


def test_it_knows_itself_by_the_key_alone(server: Server, team: Team, agent_of_worker: Agent) -> None:
    """init() on plain loopback HTTP learns org, workflow and secret from the key, and finds no version amiss."""
    agent, before = agent_of_worker, len(agent_of_worker.log)
    agent.start(server.url, team.key)
    agent.follow()
    known = agent.run("[runtime.organization_id, runtime.workflow_id, runtime.secret_key, runtime.status().state]")
    assert known == [team.org_id, team.workflow_id, team.secret, "ok"]
    assert "nullrun.init: " not in agent.log[before:]
    agent.stop()


def test_both_documented_variables(server: Server, team: Team, agent_of_worker: Agent) -> None:
    """NULLRUN_API_KEY with NULLRUN_SECRET_KEY, as the page names them: signed from the first call on; even a secret
    that is none of the key's does no harm, for the server's replaces it."""
    for secret in (team.secret, "0" * 64):
        agent_of_worker.start(server.url, team.key, SECRET_KEY=secret)
        agent_of_worker.run(FUNCTIONS)
        assert agent_of_worker.run('[answer("yes"), runtime.secret_key]') == ["YES", team.secret]
        agent_of_worker.stop()


def test_a_key_that_is_none(server: Server, agent_of_worker: Agent) -> None:
    """init() fails with the documented code."""
    for key in ("nr_live_" + "x" * 32, "hello"):
        with pytest.raises(Raised) as refused:
            agent_of_worker.start(server.url, key)
        assert (refused.value.kind, refused.value.code) == ("NullRunAuthenticationError", "NR-A003")


def test_protected_functions_run(team: Team, program: Agent) -> None:
    """Synchronous and asynchronous ones return what they return, and each call is an execution that completed."""
    assert program.run('answer("yes")') == "YES"
    assert program.run('answer_later("later")') == "LATER"
    program.stop()
    assert results(team) == {"answer": "completed", "answer_later": "completed"}


def test_every_model_call_counts(team: Team, program: Agent) -> None:
    """All calls reported by one function, though the SDK gives them one key, are spent at the price list's price."""
    program.run('answer("yes", times=3)')
    assert team.workflow["spent_cents"] == cents(dear(3))
    (execution,) = team.get("/executions")["executions"]
    assert (execution["llm_calls"], execution["tokens"], execution["model"]) == (3, 600_000, "gpt-4o")
    assert execution["cost_cents"] == cents(dear(3))


def test_nested_calls(team: Team, program: Agent) -> None:
    """Each protected call is asked for and counted, a model call after an inner function included; the outer one
    completes, too."""
    assert program.run('orchestrate("Yes")') == "YESyes"
    assert team.workflow["spent_cents"] == cents(dear(2) + dear(1, "gpt-4o-mini"))
    program.stop()
    assert results(team) == {"orchestrate": "completed", "answer": "completed", "fast": "completed"}


def test_reports_arrive(team: Team, program: Agent) -> None:
    """Spans and tool calls, sent as a batch, are all accepted and shown with their execution."""
    program.run('answer("yes")')
    program.stop()
    (execution,) = team.get("/executions")["executions"]
    shown = team.get(f"/executions/{execution['id']}")
    kinds = {event["type"] for event in shown["events"]}
    assert kinds >= {"span_start", "span_end", "llm_call", "tool_call"}
    assert {span["name"]: span["status"] for span in shown["spans"]}["answer"] == "completed"


def test_more_reports_than_a_batch_takes(server: Server, team: Team, agent_of_worker: Agent) -> None:
    """A backlog that the SDK sends at once is refused as too large, sent again in halves, and arrives as a whole."""
    kept = agent_of_worker.start(server.url, team.key, BATCH_SIZE="500", FLUSH_INTERVAL_MS="600000")
    agent_of_worker.run(FUNCTIONS + 'answer("yes")')
    agent_of_worker.run("for number in range(230): runtime.track_event('note', note=number)")
    agent_of_worker.stop()
    assert undelivered(kept) == []
    (execution,) = team.get("/executions")["executions"]
    events = team.get(f"/executions/{execution['id']}")["events"]
    assert [event["type"] for event in events].count("note") == 230


def test_an_exception_gives_the_money_back(team: Team, program: Agent) -> None:
    """It reaches the caller as it is, and what was set aside for the call is free at once."""
    team.call("PATCH", f"/workflows/{team.workflow_id}", {"budget_cents": 1})
    for _ in range(3):
        raised = program.refused('fail("nowhere")')
        assert (raised.kind, raised.text) == ("LookupError", "nowhere")
    assert {row["result"] for row in team.get("/executions")["executions"]} == {"canceled"}
    assert team.workflow["spent_cents"] == 0
