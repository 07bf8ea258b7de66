"""What a program under NullRun's SDK is refused, and that a change counts from its very next call."""

from __future__ import annotations

import pytest

from tests.support.agents import Agent, Team
from tests.support.server import Server

pytestmark = pytest.mark.slow

FUNCTIONS = """
ran = []

@nullrun.protect
def drop(table):
    ran.append(table)
    runtime.track_llm(40_000, 0, model="gpt-4o")
    return table

@nullrun.protect
async def drop_later(table):
    ran.append(table)
    return table
"""

CHAINED = """
import os, uuid
os.environ["NULLRUN_GATE_CACHE_DISABLE"] = "1"
ended = []

with nullrun.chain(str(uuid.uuid4())):
    try:
        for name in 'cde':
            drop(name)
    except nullrun.NullRunBudgetError as error:
        ended.append(error.error_code)
"""


@pytest.fixture
def program(agent: Agent) -> Agent:
    """The process with FUNCTIONS; a run of ``drop`` costs ten cents."""
    agent.run(FUNCTIONS)
    return agent


def block_drop(team: Team) -> str:
    """Forbid the tool; the policy's id."""
    made = team.post("/policies", name="No drops", policy_type="ToolBlock", config={"tool_pattern": ["drop*"]})
    return str(made["id"])


def test_a_blocked_tool(team: Team, program: Agent) -> None:
    """From the next call on the body does not run, and the exception is the typed one; without the policy it runs."""
    assert program.run('drop("a")') == "a"
    policy_id = block_drop(team)
    for call in ('drop("b")', 'drop_later("c")'):
        raised = program.refused(call)
        assert (raised.kind, raised.code) == ("NullRunToolBlockedError", "NR-T001")
        assert "drop" in raised.text
    team.call("PATCH", f"/policies/{policy_id}", {"enabled": False})
    assert program.run('drop("d")') == "d"
    assert program.run("ran") == ["a", "d"]


def test_a_denial_for_the_model(server: Server, team: Team, agent_of_worker: Agent) -> None:
    """With on_denied="message" a denied call raises what may be shown to a model; a budget refusal stays one."""
    agent_of_worker.start(server.url, team.key, arguments='on_denied="message"')
    agent_of_worker.run(FUNCTIONS)
    policy_id = block_drop(team)
    raised = agent_of_worker.refused('drop("a")')
    assert (raised.kind, raised.code) == ("NullRunDeniedError", "NR-D001")
    assert "drop" in raised.fields["agent_message"]
    team.call("DELETE", f"/policies/{policy_id}")
    team.post("/policies", name="Nothing", policy_type="BudgetLimit", config={"budget_cents": 0})
    assert agent_of_worker.refused('drop("a")').code == "NR-B004"
    agent_of_worker.stop()


def test_a_rate_limit(team: Team, program: Agent) -> None:
    """The call beyond it raises RateLimitError, which says how long to wait."""
    policy = team.post("/policies", name="Slowly", policy_type="RateLimit", config={"max_calls_per_minute": 1})
    # The minute of the first call may be over before the second.
    raised = program.refused('[drop("a"), drop("b"), drop("c")]')
    assert (raised.kind, raised.code) == ("RateLimitError", "NR-R001")
    assert 0 < raised.fields["retry_after"] <= 60
    team.call("DELETE", f"/policies/{policy['id']}")
    assert program.run('drop("d")') == "d"


def test_a_budget_that_is_used_up(team: Team, program: Agent) -> None:
    """The call that no money is left for raises NR-B004; what ran before is spent; a raised budget counts at once."""
    path = f"/workflows/{team.workflow_id}"
    team.call("PATCH", path, {"budget_cents": 20})
    assert program.run('[drop("a"), drop("b")]') == ["a", "b"]
    raised = program.refused('drop("c")')
    assert (raised.kind, raised.code) == ("NullRunBudgetError", "NR-B004")
    assert team.workflow["spent_cents"] == 20
    team.call("PATCH", path, {"budget_cents": 30})
    assert program.run('drop("d")') == "d"
    assert program.refused('drop("e")').code == "NR-B004"
    assert program.run("ran") == ["a", "b", "d"]


def test_a_model_call_beyond_the_budget(team: Team, program: Agent) -> None:
    """The report of a call that cost more than was left raises NR-O001 in the function; the spending is counted."""
    team.call("PATCH", f"/workflows/{team.workflow_id}", {"budget_cents": 5})
    raised = program.refused('drop("a")')
    assert (raised.kind, raised.code) == ("NullRunConsumeOverbudgetError", "NR-O001")
    assert team.workflow["spent_cents"] == 10


def test_the_budget_of_the_org(team: Team, program: Agent) -> None:
    """It is one counter for all its workflows, and refuses as a budget does."""
    team.post("/policies", name="All of us", policy_type="BudgetLimit", config={"budget_cents": 10})
    assert program.run('drop("a")') == "a"
    assert program.refused('drop("b")').code == "NR-B004"


def test_a_soft_budget_in_a_chain(team: Team, program: Agent) -> None:
    """A chain may overdraw a soft budget as far as that allows, and no further; without a chain nobody may."""
    config = {"budget_cents": 10, "max_overdraft_cents": 20}
    team.post(
        "/policies", name="Soft", policy_type="BudgetLimit", scope="Workflow", workflow_id=team.workflow_id,
        enforcement_mode="Soft", config=config,
    )  # fmt: skip
    assert program.run('drop("a")') == "a"
    assert program.refused('drop("b")').code == "NR-B004"
    program.run(CHAINED)
    assert program.run("ended") == ["NR-B004"]
    assert program.run("ran") == ["a", "c", "d"]
    assert team.workflow["spent_cents"] == 30
