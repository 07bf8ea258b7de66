"""What else NullRun's SDK asks a server: chains, the audit trail, the rough budget, and older ways to report."""

from __future__ import annotations

import pytest
import requests

from tests.support.agents import Agent, Team, undelivered
from tests.support.server import Server

pytestmark = pytest.mark.slow

FUNCTION = """
@nullrun.protect
def act(name):
    runtime.track_llm(40_000, 0, model="gpt-4o")
    return name
"""

CHAIN = """
import uuid
chain_id = str(uuid.uuid4())
with nullrun.chain(chain_id):
    done = [act("a"), act("b")]
    beat = runtime.heartbeat(chain_id)
"""

TRAIL = """
from dataclasses import asdict
from nullrun.audit import AuditQuery

def decisions():
    page = runtime.audit.list(AuditQuery(event_type="authorization_decision", limit=50))
    return [[entry.decision, entry.tool_name, entry.reason_code] for entry in page.entries]
"""


def test_chains(team: Team, agent: Agent) -> None:
    """Calls of a chain share what the SDK keeps of the gate's answer, and each still counts; it is kept alive and
    ended."""
    agent.run(FUNCTION)
    agent.run(CHAIN)
    assert agent.run("done") == ["a", "b"]
    assert agent.run("beat['status'], beat['chain_id'] == chain_id") == ["ok", True]
    assert team.workflow["spent_cents"] == 20
    assert agent.run("runtime.chain_end(chain_id)")["decision"] == "allow"
    raised = agent.refused("runtime.heartbeat(chain_id)")
    assert raised.kind == "NullRunBackendError" and "CHAIN_NOT_EXTENDABLE" in raised.text


def test_the_rough_budget(agent: Agent) -> None:
    """What the SDK shows of the spending."""
    agent.run(FUNCTION + 'act("a")')
    shown = agent.run("runtime.approximate_budget()")
    assert (shown["current_spend_cents_estimate"], shown["is_approximate"]) == (10, True)


def test_the_audit_trail(server: Server, team: Team, agent: Agent) -> None:
    """The SDK reads its org's decisions with its key, verifies the chain, and has it exported."""
    agent.run(FUNCTION + TRAIL + 'act("a")')
    team.post("/policies", name="No acts", policy_type="ToolBlock", config={"tool_pattern": ["act"]})
    assert agent.refused('act("b")').code == "NR-T001"
    # What happened is chained just after its answer.
    found = agent.run("until(lambda: (d := decisions()) and d[0][0] == 'deny' and d)")
    assert found[0] == ["deny", "act", "TOOL_BLOCKED"]
    assert ["allow", "act", None] in found
    verified = agent.run("asdict(runtime.audit.verify())")
    assert (verified["verified"], verified["chain_valid"], verified["first_failure_reason"]) == (True, True, None)
    agent.run("job = runtime.audit.create_export()['job_id']")
    state = agent.run(
        "until(lambda: (s := runtime.audit.export_status(job)).status in ('completed', 'failed') and asdict(s))"
    )
    assert (state["status"], state["error_message"]) == ("completed", None)
    assert agent.run("[row.id == job for row in runtime.audit.list_exports()]") == [True]
    file = requests.get(state["file_url"], timeout=30)
    assert file.status_code == 200 and "policy.created" in file.text


def test_model_calls_in_batches(server: Server, team: Team, agent_of_worker: Agent) -> None:
    """With NULLRUN_V3_TRACK_DISABLE=1 model calls come with the other events, and are spent just so."""
    kept = agent_of_worker.start(server.url, team.key, V3_TRACK_DISABLE="1")
    agent_of_worker.run(FUNCTION + '[act("a"), act("b")]')
    assert team.workflow["spent_cents"] == 0
    agent_of_worker.stop()
    assert team.workflow["spent_cents"] == 20
    assert undelivered(kept) == []
