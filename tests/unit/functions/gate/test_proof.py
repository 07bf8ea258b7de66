"""What the gate proves before it answers, although its process remembers otherwise: keys, states, money, replays."""

from __future__ import annotations

from typing import Any

import pytest

from functions.gate.app import handler
from functions.tracking.app import handler as tracking
from shared.composition import Services
from shared.governance.allowances import Allowances
from shared.governance.key_forms import NewKey
from shared.governance.money import MICRO
from shared.governance.operations import find_operation
from shared.governance.purses import capped
from shared.governance.refusals import Refused
from shared.governance.rule_forms import RuleDraft
from shared.kit import ids
from shared.store.models.governance import Operation, Purse, purse_pk
from shared.store.transaction import Transaction, read
from tests.support.apigw import Answer, call
from tests.support.governance import NONE_DIGEST, Governed, govern, owner
from tests.support.time import HeldClock

_CHAIN = "2f1f9c59-7c0b-4f3c-9b62-0c6a0d3ee0c5"
_DAY_S = 24 * 3600


@pytest.fixture
def bot(services: Services) -> Governed:
    """A workflow with a budget of ten cents, which this process knows."""
    made = govern(services, budget_cents=10)
    assert made.gate(handler, operation_id="warm").status == 200
    return made


def _block(services: Services, bot: Governed) -> None:
    body = {"name": "No drops", "policy_type": "ToolBlock", "config": {"tool_pattern": ["db.*"]}}
    services.governance.policies.create(owner(), body)


def _asking(bot: Governed, name: str) -> Answer:
    """One question of each kind, all of which a live key would have answered otherwise."""
    body: dict[str, Any] = {"organization_id": "local", "action_digest": NONE_DIGEST}
    questions: dict[str, tuple[str, dict[str, Any]]] = {
        "new": ("/api/v1/gate", {}),
        "again": ("/api/v1/gate", {"operation_id": "warm", "check_type": "llm", "estimated_tokens": 1}),
        "blocked": ("/api/v1/gate", {"tools": ["db.drop"]}),
        "orphan": ("/api/v1/gate", {"parent_execution_id": ids.uuid7()}),
        "dear": ("/api/v1/gate", {"estimated_tokens": 10**8}),
        "check": ("/api/v1/check", {}),
        "end": ("/api/v1/gate", {"chain_id": _CHAIN, "chain_op": "end"}),
        "execute": ("/api/v1/execute", {"execution_id": ids.uuid7(), "tools": []}),
    }
    path, fields = questions[name]
    if name == "again":
        del body["action_digest"]
    return bot.post(handler, path, body | fields)


_QUESTIONS = ("new", "again", "blocked", "orphan", "dear", "check", "end", "execute")


@pytest.mark.parametrize("question", _QUESTIONS)
def test_a_revoked_key_is_told_so_whatever_it_asks(services: Services, bot: Governed, question: str) -> None:
    """401 API_KEY_REVOKED comes before every other refusal, and before a stored answer."""
    _block(services, bot)
    services.governance.keys.revoke(owner(), bot.key_id)
    answer = _asking(bot, question)
    assert (answer.status, answer.body["error_code"]) == (401, "API_KEY_REVOKED"), answer.body


@pytest.mark.parametrize("question", [name for name in _QUESTIONS if name != "end"])
@pytest.mark.parametrize(("change", "code"), [("pause", "WORKFLOW_PAUSED"), ("kill", "WORKFLOW_INACTIVE")])
def test_a_halted_workflow_is_told_so_whatever_is_asked(
    services: Services, bot: Governed, question: str, change: Any, code: str
) -> None:
    """The state is judged first, and a stored answer lets nothing go on."""
    _block(services, bot)
    services.governance.workflows.change_state(owner(), bot.workflow_id, change)
    answer = _asking(bot, question)
    assert (answer.status, answer.body["error_code"], answer.body["category"]) == (403, code, "halt"), answer.body


def test_too_many_questions_do_not_hide_that_a_workflow_is_paused(services: Services, bot: Governed) -> None:
    """A workflow that must not ask learns nothing of the questions that wait."""
    services.governance.approval_rules.create(owner(), RuleDraft(name="All"))
    for number in range(50):
        assert bot.gate(handler, operation_id=f"q{number % 9}-{number}", tools=["x"], action_digest=NONE_DIGEST)
    services.governance.workflows.change_state(owner(), bot.workflow_id, "pause")
    assert bot.gate(handler, tools=["x"], action_digest=NONE_DIGEST).body["error_code"] == "WORKFLOW_PAUSED"


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [("pause", 403, "WORKFLOW_PAUSED"), ("revoke", 401, "API_KEY_REVOKED"), (None, 429, "RATE_LIMIT_EXCEEDED")],
)
def test_an_organisations_limits_hide_nothing(
    services: Services, bot: Governed, monkeypatch: pytest.MonkeyPatch, change: Any, status: int, code: str
) -> None:
    """Whoever must not ask is told that, and not to come back in a second."""

    def exceeded(self: Allowances, org_id: str) -> None:
        raise Refused("RATE_LIMIT_EXCEEDED", "Too many", at_gate=True, retry_after=1)

    monkeypatch.setattr(Allowances, "require", exceeded)
    if change == "revoke":
        services.governance.keys.revoke(owner(), bot.key_id)
    elif change is not None:
        services.governance.workflows.change_state(owner(), bot.workflow_id, change)
    answer = bot.gate(handler, operation_id="mine")
    assert (answer.status, answer.body["error_code"]) == (status, code)
    assert answer.body.get("operation_id", "mine") == "mine"


@pytest.mark.parametrize("where", ["header", "body"])
def test_verify_hands_out_no_secret_of_a_revoked_key(services: Services, bot: Governed, where: str) -> None:
    """However the key is sent, and although the process remembers it."""
    headers = {"x-api-key": bot.key} if where == "header" else {}
    body = {"api_key": bot.key} if where == "body" else {}
    assert call(handler, "POST", "/api/v1/auth/verify", headers=headers, json=body).status == 200
    services.governance.keys.revoke(owner(), bot.key_id)
    answer = call(handler, "POST", "/api/v1/auth/verify", headers=headers, json=body)
    assert (answer.status, answer.body["error_code"]) == (401, "API_KEY_REVOKED")


def test_verify_hands_out_the_secret_of_today(services: Services, bot: Governed) -> None:
    """After a rotation elsewhere a key sent in the body learns the new secret."""
    assert call(handler, "POST", "/api/v1/auth/verify", json={"api_key": bot.key}).body["secret_key"] == bot.secret
    fresh = services.governance.keys.rotate(owner(), bot.key_id).secret
    assert call(handler, "POST", "/api/v1/auth/verify", json={"api_key": bot.key}).body["secret_key"] == fresh


@pytest.mark.parametrize("question", ["new", "again", "blocked", "dear", "check", "end", "execute"])
def test_a_secret_that_has_ended_opens_nothing(
    held: HeldClock, services: Services, bot: Governed, question: str
) -> None:
    """A process that remembers the key from before its rotation does not accept the former secret for ever."""
    _block(services, bot)
    services.governance.keys.rotate(owner(), bot.key_id)
    held.advance(_DAY_S + 1)
    answer = _asking(bot, question)
    assert (answer.status, answer.body["error_code"]) == (401, "HMAC_MISMATCH"), answer.body


# Replays


def test_a_replay_needs_no_money(bot: Governed) -> None:
    """An answer that was given stays given when the budget is used up since."""
    for number in range(9):
        assert bot.gate(handler, operation_id=f"op-{number}").status == 200
    again = bot.gate(handler, operation_id="warm")
    assert (again.status, again.body["idempotent_replay"]) == (200, True)
    assert bot.purse.reserved == 10 * MICRO


def test_an_operation_of_another_day_keeps_no_money(held: HeldClock, bot: Governed) -> None:
    """Its id may be used again, and what nobody swept of its reservation comes back."""
    first = bot.gate(handler, operation_id="daily").body["reservation_id"]
    held.advance(_DAY_S)
    second = bot.gate(handler, operation_id="daily").body
    assert second["idempotent_replay"] is False and second["reservation_id"] != first
    held.advance(301)
    services_sweep()
    assert (bot.purse.reserved, bot.purse.available) == (0, 10 * MICRO)


def services_sweep() -> None:
    """What is due is handled."""
    from shared.governance.sweep import GovernanceSweep

    GovernanceSweep({}).run()


# The overdraft


def _soften(services: Services, bot: Governed, budget_cents: int = 2, **config: int) -> None:
    body = {"name": "Soft", "policy_type": "BudgetLimit", "scope": "Workflow", "workflow_id": bot.workflow_id}
    services.governance.policies.create(
        owner(), body | {"enforcement_mode": "Soft", "config": {"budget_cents": budget_cents, **config}}
    )


def _decisions(bot: Governed, count: int, **fields: Any) -> list[str]:
    return [bot.gate(handler, chain_id=_CHAIN, **fields).body["decision"] for _ in range(count)]


@pytest.mark.parametrize(
    ("config", "passes"),
    [
        ({"max_overdraft_percent": 50}, 1),
        ({"max_overdraft_percent": 100}, 2),
        ({"max_overdraft_percent": 0}, 0),
        ({"max_overdraft_cents": 3, "max_overdraft_percent": 50}, 1),
        ({"max_overdraft_cents": 1, "max_overdraft_percent": 1000}, 1),
        ({"max_overdraft_cents": 3}, 3),
        ({}, 0),
    ],
)
def test_the_lower_bound_of_an_overdraft_counts(services: Services, config: dict[str, int], passes: int) -> None:
    """A share of the cap is a bound also where no amount is given."""
    bot = govern(services)
    _soften(services, bot, **config)
    assert _decisions(bot, passes + 3) == ["allow"] * 2 + ["soft_pass"] * passes + ["block"]


def test_a_hard_zero_has_the_overdraft_of_its_amount(services: Services) -> None:
    """A share of nothing is nothing; an amount is what it says."""
    bot = govern(services)
    _soften(services, bot, budget_cents=0, max_overdraft_cents=1)
    assert _decisions(bot, 2) == ["soft_pass", "block"]


def test_what_settlements_overran_is_part_of_the_overdraft(services: Services) -> None:
    """A soft budget is not exceeded further once its calls have cost more than what may be lent."""
    bot = govern(services)
    _soften(services, bot, max_overdraft_cents=5)
    first = bot.gate(handler, chain_id=_CHAIN).body["reservation_id"]
    report = {"reservation_id": first, "model": "nobody-knows", "cost_cents": 0, "tokens": 0, "input_tokens": 0}
    cost = {"model": "gpt-4o", "input_tokens": 100_000, "output_tokens": 0}
    bot.post(tracking, "/api/v1/track", report | cost)
    assert bot.purse.available < -5 * MICRO
    answer = bot.gate(handler, chain_id=_CHAIN)
    assert (answer.status, answer.body["error_code"]) == (402, "BUDGET_OVERDRAFT_EXCEEDED")


def test_a_workflows_own_budget_is_hard(services: Services) -> None:
    """No policy says that it may be exceeded; the soft one above it is about its own number."""
    bot = govern(services, budget_cents=1)
    _soften(services, bot, budget_cents=5, max_overdraft_cents=5)
    answers = [bot.gate(handler, chain_id=_CHAIN).body for _ in range(2)]
    assert [row["decision"] for row in answers] == ["allow", "block"]
    assert answers[1]["error_code"] == "BUDGET_WORKFLOW_BLOCKED"


def test_asking_for_advice_stores_nothing(services: Services) -> None:
    """Check of an overdrawn budget leaves no purse behind."""
    bot = govern(services)
    _soften(services, bot, budget_cents=0, max_overdraft_cents=5)
    body = {"organization_id": "local", "chain_id": _CHAIN}
    assert bot.post(handler, "/api/v1/check", body).body["decision"] == "soft_pass"
    assert read(Purse, purse_pk(bot.org_id, "overdraft"), "purse") is None


# The form of refusals


def test_a_refusal_names_its_call(services: Services, bot: Governed) -> None:
    """Each one that is about a call echoes its operation_id."""
    services.governance.workflows.change_state(owner(), bot.workflow_id, "pause")
    assert bot.gate(handler, operation_id="mine").body["operation_id"] == "mine"


def test_another_key_learns_nothing_of_an_execution(services: Services, bot: Governed) -> None:
    """Executions of another organisation are unknown, whatever the field."""
    stranger = govern(services, org_id=ids.uuid4(), name="other")
    mine = bot.gate(handler).body["reservation_id"]
    assert stranger.gate(handler, parent_execution_id=mine).body["error_code"] == "PARENT_EXECUTION_NOT_FOUND"
    body = {"organization_id": "local", "execution_id": mine, "tools": []}
    assert stranger.post(handler, "/api/v1/execute", body).body["error_code"] == "EXECUTION_NOT_FOUND"
    assert stranger.post(handler, "/api/v1/cancel", {"execution_id": mine}).status == 404
    found = find_operation(bot.org_id, mine)
    assert found is not None and found.status == "open"


def test_a_cap_that_moves_while_money_is_short(services: Services, bot: Governed) -> None:
    """What is refused rests on the purse of the failed transaction, so a cap raised elsewhere counts at once."""
    for number in range(9):
        bot.gate(handler, operation_id=f"op-{number}")
    assert bot.gate(handler).status == 402
    Transaction().update(bot.purse, capped(bot.purse, 20 * MICRO)).commit()
    assert bot.gate(handler).status == 200


def test_a_key_of_another_workflow_of_the_org_is_another(services: Services, bot: Governed) -> None:
    """An operation_id belongs to the key that used it."""
    other = services.governance.keys.mint(owner(), NewKey(name="two", workflow_id=bot.workflow_id))
    second = Governed(bot.org_id, bot.workflow_id, other.view.id, other.key, other.secret)
    assert second.gate(handler, operation_id="warm").body["idempotent_replay"] is False
    assert len([row for row in Operation.scan(consistent_read=True) if row.sk == "operation"]) == 2
