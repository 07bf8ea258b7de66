"""Flows under a workflow, in a whole deployment: budget, policies, approvals, pause and kill.

Source: docs/rulings.md#governed-definitions.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from functions.flows.app import handler as flows
from functions.workflows.app import handler as workflows
from shared.governance.money import MICRO
from shared.identity import Departure
from shared.store.models.governance import Operation
from shared.store.models.policies import Binding, bindings_pk
from tests.support.deployment import deployment, principal_of, sign_up
from tests.support.flows import GovernedFlows, Node, stepped
from tests.support.models import KEY, OpenAIApi, openai_answer
from tests.support.standin import Reply, StandIn
from tests.support.time import HeldClock


class Died(BaseException):
    """The process is gone."""


@pytest.fixture
def world(tmp_path: Path, held: HeldClock) -> Iterator[GovernedFlows]:
    """Ada, and a workflow of hers with ten cents; an effect is projected to cost one."""
    with deployment(tmp_path, allow_hosts=["127.0.0.1"]) as services:
        driver = stepped(services)
        made = GovernedFlows(services, driver, held, sign_up("ada"))
        made.govern(10)
        yield made


def keep(name: str = "n", **more: object) -> Node:
    """A node that reaches outside, and no further than the store."""
    return {"type": "store", "params": {"operation": "set", "key": name, "value": 1}, **more}


def kept(world: GovernedFlows) -> list[str]:
    """Keys of what such nodes have stored."""
    return list(world.services.keyvalues.keys(world.who.id))


def batch(most: int) -> Node:
    return keep(batch={"strategy": "parallel", "max_parallel": most})


def model(server: StandIn, **more: object) -> Node:
    """A node that asks a model of the price list."""
    params = {"provider": "openai", "api_key": KEY, "model": "gpt-4o-mini", "prompt": "Hi", "max_tokens": 10}
    return {"type": "llm", "params": {**params, "options": {"base_url": f"{server.url}/v1"}}, **more}


@pytest.fixture
def server() -> Iterator[StandIn]:
    """Answers every question: 1000 tokens in, 500 out."""
    usage = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
    with StandIn(OpenAIApi(*(openai_answer(usage=usage) for _ in range(9)))).serving() as made:
        yield made


PRICE = 1000 * 15 + 500 * 60
"""Micro-cents of such an answer: gpt-4o-mini costs 15 cents per million tokens in and 60 out."""


# Money


def test_a_flow_spends_what_its_models_used(world: GovernedFlows, server: StandIn) -> None:
    """At the catalogue's price; what was set aside is given back, and all of it is listed."""
    flow = world.flow(a=keep(next={"default": "b"}), b=model(server, next={"default": "c"}), c={"type": "base"})
    execution_id = world.run(flow)
    assert world.view(execution_id)["status"] == "completed"
    assert (world.purse.spent, world.purse.reserved) == (PRICE, 0)
    rows = {row["kind"]: row for row in world.listed()}
    assert rows["flow"]["id"] == execution_id and rows["flow"]["workflow_id"] == world.workflow_id
    operations = [row for row in world.listed() if row["kind"] == "operation"]
    assert sorted((row["tool"] or "", row["model"], row["tokens"], row["result"]) for row in operations) == [
        ("", "gpt-4o-mini", 1500, "completed"), ("store", None, 0, "completed"),
    ]  # fmt: skip


def test_no_money_fails_the_node(world: GovernedFlows) -> None:
    """With the code, which the error edge gets; an unhandled one fails the execution and is logged."""
    handled = keep("x", next={"error": "h"})
    flow = world.flow(a=handled, h={"type": "base"})
    world.send(workflows, "PATCH", world.org(f"/workflows/{world.workflow_id}"), {"budget_cents": 1})
    two = world.flow(a=batch(2))
    view = world.view(world.run(two, items=[1, 2, 3]))
    assert view["status"] == "failed" and view["error"].startswith("BUDGET_WORKFLOW_BLOCKED")
    world.policy("BudgetLimit", budget_cents=0)
    execution_id = world.run(flow)
    view = world.view(execution_id)
    assert view["status"] == "completed"
    assert view["result"]["message"].startswith("BUDGET_")
    assert any(message.startswith("BUDGET_") for message in world.log(execution_id))
    assert "budget_blocked" in {alert["incident_type"] for alert in world.alerts()}


def test_usage_is_settled_once_although_the_process_dies(world: GovernedFlows, server: StandIn) -> None:
    """Between settling and the journal: the answer is asked for again, and both calls were made and are paid."""
    flow = world.flow(a=model(server))
    settle = world.services.governance.flow_gate.after
    deaths = iter([True, False])

    def after(*args: object, **more: object) -> None:
        settle(*args, **more)  # type: ignore[arg-type]
        settle(*args, **more)  # type: ignore[arg-type]
        if next(deaths):
            raise Died

    world.services.governance.flow_gate.after = after  # type: ignore[method-assign]
    with pytest.raises(Died):
        world.run(flow)
    assert (world.purse.spent, world.purse.reserved) == (PRICE, 0)
    world.clock.advance(60)
    [control] = list(world.services.sweep.live())
    world.driver.start(control.org_id, control.execution_id, int(control.generation))
    world.settle()
    assert world.view(control.execution_id)["status"] == "completed"
    assert len(server.received) == 2
    assert (world.purse.spent, world.purse.reserved) == (2 * PRICE, 0)


def test_every_call_of_an_agent_counts(world: GovernedFlows, tmp_path: Path) -> None:
    """Also those of an agent that fails in the end."""
    usage = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
    ask = openai_answer(None, ("1", "get_current_time", "{}"), usage=usage)
    broken = Reply({"error": {"message": "no"}}, 400)
    with StandIn(OpenAIApi(ask, openai_answer(usage=usage), ask, broken)).serving() as server:
        agent = model(server) | {"type": "agent"}
        flow = world.flow(a=agent)
        assert world.view(world.run(flow))["status"] == "completed"
        assert (world.purse.spent, world.purse.reserved) == (2 * PRICE, 0)
        assert world.view(world.run(flow))["status"] == "failed"
    assert (world.purse.spent, world.purse.reserved) == (3 * PRICE, 0)
    operations = [row for row in world.listed() if row["kind"] == "operation"]
    told = {(row["llm_calls"], row["result"]) for row in operations}
    assert (len(operations), told) == (2, {(2, "completed"), (1, "failed")})


# Policies


@pytest.mark.parametrize("pattern", ["store", "Guarded", "st*", "mcp://127.0.0.1/weather"])
def test_a_tool_is_blocked_by_type_and_by_name(world: GovernedFlows, pattern: str) -> None:
    """A refusal is listed, chained with the definition as its actor, and alerted of."""
    world.policy("ToolBlock", tool_pattern=[pattern])
    node = keep()
    if pattern.startswith("mcp"):
        params = {"connectionType": "http", "operation": "executeTool", "url": "http://127.0.0.1:9/mcp"}
        node = {"type": "mcp", "params": {**params, "toolName": "weather"}}
    flow = world.flow(guarded=node)
    view = world.view(world.run(flow))
    assert view["status"] == "failed" and view["error"].startswith("TOOL_BLOCKED")
    [row] = [row for row in world.listed() if row["kind"] == "operation"]
    assert (row["decision"], row["error_code"]) == ("block", "TOOL_BLOCKED")
    [entry] = [entry for entry in world.entries() if entry["action"] == "gate.block"]
    assert (entry["actor_type"], entry["actor_id"], entry["reason_code"]) == ("definition", flow, "TOOL_BLOCKED")
    assert [alert["incident_type"] for alert in world.alerts()] == ["tool_blocked"]


def test_a_rate_limit_delays(world: GovernedFlows) -> None:
    """Nothing fails: what is over the minute's calls waits for the next minute, and the log says so once."""
    world.policy("RateLimit", max_calls_per_minute=2)
    flow = world.flow(a=batch(2))
    execution_id = world.run(flow, items=[1, 2, 3, 4, 5])
    assert world.control(execution_id).status == "waiting"
    assert [message[:19] for message in world.log(execution_id)[1:]] == ["RATE_LIMIT_EXCEEDED"]
    world.settle(61)
    assert world.view(execution_id)["status"] == "running"
    world.settle(60)
    assert world.view(execution_id)["status"] == "completed"


# Approvals


def test_approved_it_goes_on_at_once(world: GovernedFlows) -> None:
    """The question names the execution; nothing has run before the answer, which is used."""
    world.rule("store", expires_in_seconds=600)
    flow = world.flow(a=keep("k", next={"default": "b"}), b={"type": "base"})
    execution_id = world.run(flow)
    assert world.control(execution_id).status == "waiting"
    [approval] = world.waiting()
    assert (approval["flow_execution_id"], approval["tool"]) == (execution_id, "store")
    assert approval["business_impact"]["params"]["kwargs"] == {"operation": "set", "key": "***", "value": "1"}
    assert approval["approval_id"] in world.log(execution_id)[-1]
    assert kept(world) == []
    world.settle(120)
    assert world.control(execution_id).status == "waiting" and len(world.waiting()) == 1
    now = world.clock.now_ms()
    world.decide(approval, "approve")
    world.settle()
    assert (world.view(execution_id)["status"], world.clock.now_ms()) == ("completed", now)
    found = world.services.governance.approvals.list(principal_of(world.services, world.who), limit=10).items
    assert [record.status for record in found] == ["CONSUMED"]
    entries = [entry for entry in world.entries() if entry["event_type"] == "approval_decision"]
    chained = [(entry["action"], entry["actor_type"]) for entry in entries]
    assert chained == [
        ("approval.requested", "definition"), ("approval.approved", "user"), ("approval.consumed", "definition"),
    ]  # fmt: skip
    assert world.purse.reserved == 0


def test_approved_under_a_pause_it_waits(world: GovernedFlows) -> None:
    """Neither the approval nor a user's resume is a way around the pause."""
    world.rule("store")
    execution_id = world.run(world.flow(a=keep()))
    world.change("pause")
    world.settle()
    world.decide(world.waiting()[0], "approve")
    world.settle()
    world.tell(execution_id, "resume")
    world.settle()
    assert (world.control(execution_id).status, kept(world)) == ("paused", [])
    world.change("resume")
    world.settle()
    assert (world.view(execution_id)["status"], kept(world)) == ("completed", ["n"])


def test_denied_the_node_fails(world: GovernedFlows) -> None:
    """At once, with the code on its error edge; what was set aside for it comes back."""
    world.rule("store")
    execution_id = world.run(world.flow(a=keep(next={"error": "h"}), h={"type": "base"}))
    world.decide(world.waiting()[0], "deny")
    world.settle()
    assert world.view(execution_id)["result"]["message"].startswith("APPROVAL_DENIED")
    assert world.purse.reserved == 0
    assert [row["result"] for row in world.listed() if row["kind"] == "operation"] == ["failed"]


def test_an_answer_that_does_not_come_fails_the_node(world: GovernedFlows) -> None:
    """When its time is over."""
    world.rule("store", expires_in_seconds=30)
    execution_id = world.run(world.flow(a=keep()))
    world.settle(29)
    assert world.view(execution_id)["status"] == "running"
    world.settle(32)
    view = world.view(execution_id)
    assert view["status"] == "failed" and view["error"].startswith("APPROVAL_EXPIRED")
    assert world.waiting() == []


def test_elements_are_asked_about_together(world: GovernedFlows) -> None:
    """As many as run at once; each is asked about once, and another branch goes on meanwhile."""
    world.rule("store")
    flow = world.flow(a=batch(3))
    execution_id = world.run(flow, items=[1, 2, 3, 4])
    asked = world.waiting()
    assert len(asked) == 3
    for approval in asked:
        world.decide(approval, "approve")
    world.settle()
    [last] = world.waiting()
    world.decide(last, "approve")
    world.settle()
    assert world.view(execution_id)["status"] == "completed"
    assert len([row for row in world.listed() if row["kind"] == "operation"]) == 4


# Halts


def test_pause_and_resume(world: GovernedFlows) -> None:
    """Shown as paused, and on it goes at once after the resume."""
    flow = world.flow(a=keep(next={"default": "b"}), b=keep("m"))
    paused: list[bool] = []

    def while_running() -> None:
        if not paused:
            paused.append(True)
            world.change("pause")
            world.relay()

    world.before = while_running
    execution_id = world.run(flow)
    assert world.control(execution_id).status == "paused"
    assert kept(world) == ["n"]
    world.settle(300)
    assert kept(world) == ["n"]
    now = world.clock.now_ms()
    world.change("resume")
    world.settle()
    assert (world.view(execution_id)["status"], world.clock.now_ms()) == ("completed", now)


def test_a_flow_that_starts_under_a_pause_waits(world: GovernedFlows) -> None:
    """Before its first effect, as paused; the log says why, and the resume starts it."""
    flow = world.flow(a=keep())
    world.change("pause")
    world.settle()
    execution_id = world.run(flow)
    assert world.control(execution_id).status == "paused"
    assert world.log(execution_id)[-1] == "WORKFLOW_PAUSED: The workflow is paused: a test"
    world.settle(300)
    assert len(world.log(execution_id)) == 2
    world.change("resume")
    world.settle()
    assert world.view(execution_id)["status"] == "completed"


def test_a_users_resume_is_no_way_around_a_pause(world: GovernedFlows) -> None:
    """The gate holds the next effect all the same."""
    flow = world.flow(a={"type": "delay", "params": {"duration": "10s"}, "next": {"default": "b"}}, b=keep())
    execution_id = world.run(flow)
    world.change("pause")
    world.settle()
    world.tell(execution_id, "resume")
    world.settle(30)
    assert world.control(execution_id).status == "paused"
    assert kept(world) == []
    world.change("resume")
    world.settle()
    assert world.view(execution_id)["status"] == "completed"


def test_a_workflows_resume_leaves_a_users_pause(world: GovernedFlows) -> None:
    """Whichever of the two pauses came first."""
    flow = world.flow(a={"type": "delay", "params": {"duration": "10s"}, "next": {"default": "b"}}, b=keep())
    first, second = world.run(flow), world.run(flow)
    world.tell(first, "pause")
    world.change("pause")
    world.settle()
    world.tell(second, "pause")
    world.change("resume")
    world.settle(60)
    assert [world.control(one).status for one in (first, second)] == ["paused", "paused"]
    for one in (first, second):
        world.tell(one, "resume")
    world.settle()
    assert [world.view(one)["status"] for one in (first, second)] == ["completed", "completed"]


def test_kill_ends_executions(world: GovernedFlows) -> None:
    """What waits is cancelled; what starts later fails at its first effect, until the definition is free."""
    world.rule("store")
    flow = world.flow(a=keep())
    execution_id = world.run(flow)
    world.change("kill")
    world.settle()
    assert world.view(execution_id)["status"] == "canceled"
    view = world.view(world.run(flow))
    assert view["status"] == "failed" and view["error"].startswith("WORKFLOW_INACTIVE")
    world.bind(flow, "DELETE")
    world.clock.advance(6)
    assert world.view(world.run(flow))["status"] == "completed"
    assert "workflow_killed" in {alert["incident_type"] for alert in world.alerts()}


def test_unbinding_frees_what_is_held(world: GovernedFlows) -> None:
    """At once, also in a process that still believes in the binding; binding to a paused workflow holds again."""
    held, timed = keep(), {"type": "delay", "params": {"duration": "1h"}}
    flow, other = world.flow(a=held), world.flow(a=timed)
    world.change("pause")
    world.settle()
    execution_id = world.run(flow)
    assert world.control(execution_id).status == "paused"
    world.bind(flow, "DELETE")
    world.settle()
    assert world.view(execution_id)["status"] == "completed"
    world.bind(other, "DELETE")
    execution_id = world.run(other)
    assert world.control(execution_id).status == "waiting"
    world.bind(other)
    world.settle()
    assert world.control(execution_id).status == "paused"


def test_a_deleted_workflow_ends_what_it_governed(world: GovernedFlows) -> None:
    """Also if it is bound to nothing any more when that is told; what starts then is free."""
    world.rule("store")
    flow = world.flow(a=keep())
    execution_id = world.run(flow)
    world.send(workflows, "DELETE", world.org(f"/workflows/{world.workflow_id}"), status=204)
    world.settle()
    assert world.view(execution_id)["status"] == "canceled"
    world.clock.advance(6)
    assert world.view(world.run(flow))["status"] == "completed"


def test_a_deleted_flow_is_governed_no_more(world: GovernedFlows) -> None:
    """Its binding goes with it."""
    flow = world.flow(a=keep())
    world.send(flows, "DELETE", f"/flows/{flow}")
    assert list(Binding.query(bindings_pk(world.who.org_id))) == []
    path = world.org(f"/workflows/{world.workflow_id}/definitions")
    assert world.send(workflows, "GET", path) == {"definitions": [], "total": 0}


def test_an_org_that_goes_takes_its_bindings_along(world: GovernedFlows) -> None:
    """What its workflows governed ends."""
    world.rule("store")
    execution_id = world.run(world.flow(a=keep()))
    world.services.governance.forget(Departure("", (world.who.org_id,)))
    world.settle()
    assert list(Binding.query(bindings_pk(world.who.org_id))) == []
    assert world.view(execution_id)["status"] == "canceled"


# Children


def test_every_element_of_a_large_batch_asks_once(world: GovernedFlows) -> None:
    """More than one advance runs at once: children ask for their own, under the same workflow."""
    world.send(workflows, "PATCH", world.org(f"/workflows/{world.workflow_id}"), {"budget_cents": 1000})
    execution_id = world.run(world.flow(a=batch(65)), items=list(range(66)))
    assert world.view(execution_id)["status"] == "completed"
    operations = list(Operation.by_org.query(world.who.org_id))
    assert len(operations) == 66 and {row.result for row in operations} == {"completed"}
    assert {row.flow_execution_id for row in operations} == {execution_id}
    assert (world.purse.spent, world.purse.reserved, world.purse.available) == (0, 0, 1000 * MICRO)


def test_children_are_held_and_go_on(world: GovernedFlows) -> None:
    """A pause reaches them, and an approval of one of their elements wakes it."""
    world.inflight = 2
    flow = world.flow(a=batch(4))
    world.change("pause")
    world.settle()
    execution_id = world.run(flow, items=list(range(5)))
    assert kept(world) == []
    world.change("resume")
    world.settle()
    assert world.view(execution_id)["status"] == "completed"
    world.rule("store")
    execution_id = world.run(flow, items=list(range(5)))
    asked = 0
    while world.waiting():
        asked += len(world.waiting())
        assert {approval["flow_execution_id"] for approval in world.waiting()} == {execution_id}
        for approval in world.waiting():
            world.decide(approval, "approve")
        world.settle()
    assert asked == 5
    assert world.view(execution_id)["status"] == "completed"
