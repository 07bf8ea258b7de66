"""A person decides, and a program under NullRun's SDK waits for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.agents import Agent, Team, undelivered
from tests.support.server import Server

pytestmark = pytest.mark.slow

FUNCTIONS = """
ran = []

@nullrun.protect
def refund(amount, customer):
    ran.append(amount)
    runtime.track_llm(40_000, 0, model="gpt-4o")
    return amount

@nullrun.protect
async def refund_later(amount):
    ran.append(amount)
    return amount
"""


@pytest.fixture
def program(server: Server, team: Team, agent_of_worker: Agent) -> Iterator[Agent]:
    """The process with FUNCTIONS, listening on its WebSocket."""
    kept = agent_of_worker.start(server.url, team.key)
    agent_of_worker.follow()
    agent_of_worker.run(FUNCTIONS)
    yield agent_of_worker
    agent_of_worker.stop()
    assert undelivered(kept) == []


def ask_for(team: Team, **fields: Any) -> None:
    """Have refunds wait for a person."""
    team.post("/approval-rules", name="Refunds", tool_patterns=["refund*"], **fields)


def asked(team: Team) -> Any:
    """The question, once it is there. The gate has stored it before the program begins to wait."""
    while True:
        found = team.get("/approvals?status=PENDING")["approvals"]
        if found:
            (question,) = found
            return question


def test_approved(team: Team, program: Agent) -> None:
    """The call waits, shows what it is about, and goes on once a person has approved it; the next one asks anew."""
    ask_for(team, action_label="Pay money back", risk_level="HIGH")
    for number in (1, 2):
        program.begin(f"refund({number}, customer='c-1')")
        question = asked(team)
        assert (question["tool"], question["risk_level"]) == ("refund", "HIGH")
        team.post(f"/approvals/{question['id']}/approve", note="fine")
        assert program.end() == number
    assert program.run("ran") == [1, 2]
    assert team.workflow["spent_cents"] == 20
    assert {row["status"] for row in team.get("/approvals?history=true")["approvals"]} == {"CONSUMED"}


def test_approved_asynchronously(team: Team, program: Agent) -> None:
    """An asynchronous function waits just so."""
    ask_for(team)
    program.begin("refund_later(3)")
    team.post(f"/approvals/{asked(team)['id']}/approve")
    assert program.end() == 3


def test_denied(team: Team, program: Agent) -> None:
    """NR-A011 with the person's note; the body does not run, and what was reserved is free again."""
    ask_for(team)
    team.call("PATCH", f"/workflows/{team.workflow_id}", {"budget_cents": 1})
    for _ in range(2):
        program.begin("refund(1, customer='c-1')")
        team.post(f"/approvals/{asked(team)['id']}/deny", note="too much")
        raised = program.refused_in_the_end()
        assert (raised.kind, raised.code) == ("NullRunApprovalDeniedError", "NR-A011")
        assert raised.fields["denial_note"] == "too much"
    assert program.run("ran") == []


def test_nobody_decides(team: Team, program: Agent) -> None:
    """NR-A012 when the time is over; the question is then closed."""
    ask_for(team, expires_in_seconds=1)
    raised = program.refused("refund(1, customer='c-1')")
    assert (raised.kind, raised.code) == ("NullRunApprovalExpiredError", "NR-A012")
    (question,) = team.get("/approvals?history=true")["approvals"]
    answer = team.person.call("POST", f"/api/v1/orgs/{team.org_id}/approvals/{question['id']}/approve", {})
    assert answer.status_code == 409
    assert program.run("ran") == []


def test_only_what_a_rule_is_about(team: Team, program: Agent) -> None:
    """A rule about parameters lets other calls of the tool pass."""
    condition = {"param_name": "amount", "matcher": {"kind": "numeric_range", "min": 100}}
    ask_for(
        team, action_predicate={"kind": "tool_parameters", "trigger_logic": "all", "conditions": [condition]}
    )  # fmt: skip
    assert program.run("refund(amount=99, customer='c-1')") == 99
    program.begin("refund(amount=100, customer='c-1')")
    team.post(f"/approvals/{asked(team)['id']}/approve")
    assert program.end() == 100
