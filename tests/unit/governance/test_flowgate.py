"""Executions of a definition that a workflow governs."""

from __future__ import annotations

from typing import Any

import pytest

from shared.composition import Services
from shared.engine.kinds.base import ExecutionFacts
from shared.engine.ports import Decision, Effect
from shared.engine.program import Node
from shared.governance.flowgate import BELIEVED_MS
from shared.governance.money import MICRO
from shared.governance.operations import operation_tail, pk_of
from shared.governance.prices import Usage, cost, price
from shared.governance.rule_forms import RuleDraft
from shared.identity import DEFAULT_ORG_ID
from shared.kit import clock, ids, json
from shared.store.models.governance import Operation
from shared.store.models.policies import Approval, Binding, approvals_pk, bindings_pk
from shared.store.transaction import Transaction, read
from tests.support.governance import Governed, govern, owner
from tests.support.time import HeldClock

FLOW = "0198c0de-7a10-7c2e-9d3a-2f9c41aa0f10"


def _bind(bot: Governed) -> None:
    record = Binding(
        bindings_pk(bot.org_id), FLOW, org_id=bot.org_id, definition_id=FLOW, workflow_id=bot.workflow_id,
        created_ms=clock.now_ms(),
    )  # fmt: skip
    Transaction().put(record).commit()


@pytest.fixture
def bot(held: HeldClock, services: Services) -> Governed:
    """A workflow with ten cents that governs the flow."""
    made = govern(services, budget_cents=10)
    _bind(made)
    return made


def _effect(kind: str = "http.request", key: str = "e:1:0:0", **params: Any) -> Effect:
    facts = ExecutionFacts(ids.uuid7(), DEFAULT_ORG_ID, ids.uuid4(), FLOW)
    return Effect(facts, Node("call", kind, params), key)


def _operation(bot: Governed, key: str = "e:1:0:0") -> Operation:
    found = read(Operation, pk_of(bot.org_id, operation_tail(f"definition:{FLOW}", key)), "operation")
    assert found is not None
    return found


def test_what_nobody_governs_passes(services: Services) -> None:
    """No binding: allowed, and nothing is written."""
    assert services.governance.flow_gate.before(_effect()) == Decision()
    services.governance.flow_gate.after(_effect(), [{"total_tokens": 5}], failed=False)


def test_an_effect_reserves_once_and_gives_back(services: Services, bot: Governed) -> None:
    """A second look at the same attempt finds the first one's reservation; a tool that used no model costs nothing."""
    gate, effect = services.governance.flow_gate, _effect()
    assert gate.before(effect) == gate.before(effect) == Decision()
    assert bot.purse.reserved == MICRO
    gate.after(effect, [], failed=False)
    assert (bot.purse.reserved, bot.purse.spent, bot.purse.available) == (0, 0, 10 * MICRO)
    operation = _operation(bot)
    assert (operation.result, operation.tool, operation.flow_execution_id) == (
        "completed", "http.request", effect.execution.id,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "verdict"), [("http.request", "hold"), ("agent", "hold"), ("ai.agent", "hold"), ("llm", "allow")]
)
def test_human_approvals_are_about_nodes_that_do_something(
    services: Services, bot: Governed, kind: str, verdict: str
) -> None:
    """An agent runs tools, too; asking a model alone needs nobody. See docs/rulings.md#human-approvals."""
    services.governance.workflows.update(owner(), bot.workflow_id, {"human_approvals_enabled": True})
    assert services.governance.flow_gate.before(_effect(kind)).verdict == verdict


def test_what_a_model_used_is_settled_once(services: Services, bot: Governed) -> None:
    """Real usage at the catalogue's price; telling it again charges nothing more."""
    gate, effect = services.governance.flow_gate, _effect("llm", model="gpt-4o-mini")
    assert gate.before(effect).verdict == "allow"
    usage = {"provider": "openai", "model": "gpt-4o-mini", "prompt_tokens": 1000, "completion_tokens": 500}
    for _ in range(2):
        gate.after(effect, [usage | {"total_tokens": 1500}], failed=False)
    purse = bot.purse
    assert purse.spent > 0 and purse.reserved == 0
    assert purse.available + purse.spent == 10 * MICRO
    assert _operation(bot).llm_calls == 1


def test_every_call_of_a_model_is_priced_by_itself(services: Services, bot: Governed) -> None:
    """By its own model; what Anthropic read from its cache is not paid as fresh input, and a name too long is none."""
    gate, effect = services.governance.flow_gate, _effect("agent")
    assert gate.before(effect).verdict == "allow"
    cached = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100, "cached_tokens": 900}
    plain = {"prompt_tokens": 100, "completion_tokens": 100, "total_tokens": 200}
    rows = [
        {"provider": "anthropic", "model": "claude-sonnet-4-5", **cached},
        {"provider": "openai", "model": "gpt-4o-mini", **plain},
        {"provider": "generic", "model": "m" * 300, **plain},
    ]
    gate.after(effect, rows, failed=True)
    sonnet, mini, unknown = price("claude-sonnet-4-5"), price("gpt-4o-mini"), price(None)
    expected = [
        cost(sonnet, Usage(input=100, output=100, cache_read=900), "anthropic"),
        cost(mini, Usage(input=100, output=100)), cost(unknown, Usage(input=100, output=100)),
    ]  # fmt: skip
    operation = _operation(bot)
    assert (bot.purse.spent, bot.purse.reserved) == (sum(expected), 0)
    assert (operation.llm_calls, operation.tokens, operation.result) == (3, 1500, "failed")


def test_what_began_under_a_workflow_is_settled_although_it_was_freed(services: Services, bot: Governed) -> None:
    """The binding goes while the node runs: its usage counts for the workflow it was allowed by."""
    gate, effect = services.governance.flow_gate, _effect("llm", model="gpt-4o-mini")
    assert gate.before(effect).verdict == "allow"
    services.governance.bindings.remove(owner(), bot.workflow_id, FLOW)
    clock.sleep(BELIEVED_MS / 1000 + 1)
    gate.after(effect, [{"provider": "openai", "model": "gpt-4o-mini", "prompt_tokens": 10}], failed=False)
    assert bot.purse.spent > 0 and bot.purse.reserved == 0
    assert gate.before(_effect(key="e:2")) == Decision()


def test_a_template_is_no_model_and_no_tool(services: Services, bot: Governed) -> None:
    """What only the run knows is not taken for a name; an MCP server's tool has two names where they are plain."""
    gate = services.governance.flow_gate
    gate.before(_effect("llm", key="e:1", model="${secrets.MODEL}"))
    assert _operation(bot, "e:1").model is None
    url = "https://tools.example.com/mcp"
    gate.before(_effect("mcp", key="e:2", url=url, toolName="weather"))
    gate.before(_effect("mcp", key="e:3", url="${input.url}", toolName="weather"))
    gate.before(_effect("mcp", key="e:4", url=url, toolName="${input.tool}"))
    gate.before(_effect("mcp", key="e:5", url="https://[bad", toolName="weather"))
    names = [json.loads(_operation(bot, f"e:{number}").tools or "")[2:] for number in (2, 3, 4, 5)]
    assert names == [["weather", "mcp://tools.example.com/weather"], ["weather"], [], ["weather"]]


def test_people_see_no_secret_of_a_node(services: Services, bot: Governed) -> None:
    """Parameters that are named like secrets, or have a password in an address, are hidden; long ones are left out."""
    services.governance.approval_rules.create(owner(), RuleDraft(name="all"))
    params: dict[str, Any] = {
        "url": "https://ada:pw@example.com/x",
        "api_key": "sk-1",
        "to": "ada",
        "n": 3,
        "body": "x" * 500,
    }
    params |= {f"p{number}": "v" for number in range(40)}
    held = services.governance.flow_gate.before(_effect(**params))
    assert held.verdict == "hold" and held.alone and held.reason.startswith("waiting for approval ")
    [record] = Approval.query(approvals_pk(bot.org_id))
    kwargs = json.loads(record.impact)["params"]["kwargs"]
    assert {name: kwargs[name] for name in list(kwargs)[:4]} == {"url": "***", "api_key": "***", "to": "ada", "n": "3"}
    assert "body" not in kwargs and len(kwargs) == 16


def test_no_money_fails_the_node(services: Services, bot: Governed) -> None:
    """The reason has the code that an agent would get."""
    gate = services.governance.flow_gate
    for number in range(10):
        assert gate.before(_effect(key=f"e:{number}")).verdict == "allow"
    refused = gate.before(_effect(key="e:10"))
    assert refused.verdict == "refuse" and refused.reason.startswith("BUDGET_WORKFLOW_BLOCKED")


def test_pause_holds_and_kill_refuses(services: Services, bot: Governed) -> None:
    """At once, from the purse: nothing waits for the relay."""
    gate, change = services.governance.flow_gate, services.governance.workflows.change_state
    change(owner(), bot.workflow_id, "pause", None)
    held = gate.before(_effect())
    assert (held.verdict, held.status) == ("hold", "paused") and held.until_ms is not None
    change(owner(), bot.workflow_id, "resume", None)
    assert gate.before(_effect()).verdict == "allow"
    change(owner(), bot.workflow_id, "kill", None)
    assert gate.before(_effect(key="e:2")).verdict == "refuse"
