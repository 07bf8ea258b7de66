"""POST /api/v1/gate through its Lambda handler."""

from __future__ import annotations

import pytest

from functions.gate.app import handler
from shared.composition import Services
from shared.governance.money import MICRO
from shared.governance.operations import find_operation
from shared.kit import ids
from shared.store.models.governance import Operation
from tests.support.apigw import call
from tests.support.governance import Governed, govern, owner
from tests.support.time import HeldClock


@pytest.fixture
def bot(services: Services) -> Governed:
    """A workflow with a budget of ten cents."""
    return govern(services, budget_cents=10)


def _operation(bot: Governed, execution_id: str) -> Operation:
    found = find_operation(bot.org_id, execution_id)
    assert found is not None
    return found


def test_an_allowed_call_reserves(bot: Governed) -> None:
    """200 with a server-minted reservation; its money is set aside and nothing else moves."""
    status, _, body = bot.gate(handler, operation_id="op-1", tools=["search"])
    assert status == 200
    assert (body["decision"], body["decision_source"], body["operation_id"]) == ("allow", "gateway", "op-1")
    assert body["remaining_budget_cents"] == 9
    purse, operation = bot.purse, _operation(bot, body["reservation_id"])
    assert (purse.available, purse.reserved, purse.spent) == (9 * MICRO, MICRO, 0)
    assert (operation.status, operation.reserved, operation.key_id) == ("open", MICRO, bot.key_id)


def test_a_repeated_operation_is_answered_again(bot: Governed) -> None:
    """The same operation_id gives the same reservation and reserves once."""
    first = bot.gate(handler, operation_id="op-1").body
    again = bot.gate(handler, operation_id="op-1", trace_id=ids.uuid4()).body
    assert again == first | {"idempotent_replay": True}
    assert bot.purse.reserved == MICRO


def test_another_call_under_a_used_operation_is_refused(bot: Governed) -> None:
    """409 IDEMPOTENCY_KEY_MISMATCH; nothing is reserved for it."""
    bot.gate(handler, operation_id="op-1")
    status, _, body = bot.gate(handler, operation_id="op-1", model="gpt-4o")
    assert (status, body["error_code"], body["category"]) == (409, "IDEMPOTENCY_KEY_MISMATCH", "infra")
    assert bot.purse.reserved == MICRO


def test_the_budget_is_a_hard_limit(bot: Governed) -> None:
    """402 when the next cent is not there; exactly ten calls of a cent fit in ten cents."""
    statuses = [bot.gate(handler).status for _ in range(12)]
    assert statuses == [200] * 10 + [402] * 2
    body = bot.gate(handler).body
    assert (body["error_code"], body["category"], body["decision"]) == ("BUDGET_WORKFLOW_BLOCKED", "budget", "block")
    assert body["details"] | {"budget_cents": 10, "projected_cents": 1} == body["details"]
    assert (bot.purse.available, bot.purse.reserved) == (0, 10 * MICRO)


def test_expired_reservations_make_room(held: HeldClock, bot: Governed) -> None:
    """A call for which there is no money gets what was reserved and never heard of."""
    for _ in range(10):
        assert bot.gate(handler).status == 200
    held.advance(301)
    assert bot.gate(handler).status == 200
    assert bot.purse.available + bot.purse.reserved == 10 * MICRO


@pytest.mark.parametrize(
    ("change", "status", "code", "detail"),
    [("pause", 403, "WORKFLOW_PAUSED", "WORKFLOW_PAUSED"), ("kill", 403, "WORKFLOW_INACTIVE", "WORKFLOW_KILLED")],
)
def test_a_halted_workflow_admits_nothing(
    services: Services, bot: Governed, change: str, status: int, code: str, detail: str
) -> None:
    """Pause and kill bite on the very next call, although this process has remembered the workflow as working."""
    assert bot.gate(handler).status == 200
    services.governance.workflows.change_state(owner(), bot.workflow_id, change, "runaway")  # type: ignore[arg-type]
    answer = bot.gate(handler)
    assert (answer.status, answer.body["error_code"], answer.body["category"]) == (status, code, "halt")
    assert answer.body["details"]["error_code"] == detail
    assert "runaway" in answer.body["explanation"]
    assert bot.purse.reserved == MICRO


def test_a_resumed_workflow_admits_again(services: Services, bot: Governed) -> None:
    """Resume needs no new key and no restart."""
    change = services.governance.workflows.change_state
    change(owner(), bot.workflow_id, "pause", None)
    assert bot.gate(handler).status == 403
    change(owner(), bot.workflow_id, "resume", None)
    assert bot.gate(handler).status == 200


def test_a_revoked_key_is_refused_at_once(services: Services, bot: Governed) -> None:
    """401 API_KEY_REVOKED on the next call, although this process has remembered the key."""
    assert bot.gate(handler).status == 200
    services.governance.keys.revoke(owner(), bot.key_id)
    answer = bot.gate(handler)
    assert (answer.status, answer.body["error_code"]) == (401, "API_KEY_REVOKED")
    assert bot.purse.reserved == MICRO


def test_a_rotated_secret_goes_on_for_its_grace(held: HeldClock, services: Services, bot: Governed) -> None:
    """The former secret verifies for a day and is then a mismatch; the new one verifies at once."""
    assert bot.gate(handler).status == 200
    fresh = services.governance.keys.rotate(owner(), bot.key_id).secret
    assert bot.gate(handler).status == 200
    held.advance(24 * 3600 + 1)
    assert bot.gate(handler).body["error_code"] == "HMAC_MISMATCH"
    renewed = Governed(bot.org_id, bot.workflow_id, bot.key_id, bot.key, fresh)
    assert renewed.gate(handler).status == 200


def test_a_raised_budget_bites_at_once(services: Services, bot: Governed) -> None:
    """Refusals are not remembered: the same operation is admitted once there is money."""
    for _ in range(10):
        bot.gate(handler)
    assert bot.gate(handler, operation_id="late").status == 402
    services.governance.workflows.update(owner(), bot.workflow_id, {"budget_cents": 20})
    assert bot.gate(handler, operation_id="late").status == 200


def test_a_lowered_budget_bites_at_once(services: Services, bot: Governed) -> None:
    """What was reserved stays; the next call is refused."""
    assert [bot.gate(handler).status for _ in range(5)] == [200] * 5
    services.governance.workflows.update(owner(), bot.workflow_id, {"budget_cents": 5})
    assert bot.gate(handler).status == 402


def test_a_new_period_has_its_own_money(held: HeldClock, bot: Governed) -> None:
    """The month after, the budget is there again but for what is still reserved."""
    held.advance(31 * 24 * 3600 - 60)
    for _ in range(10):
        assert bot.gate(handler).status == 200
    before = bot.purse.period_start_ms
    held.advance(120)
    assert bot.gate(handler).status == 402
    held.advance(300)
    assert bot.gate(handler).status == 200
    assert (bot.purse.spent, bot.purse.period_start_ms > before) == (0, True)


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"organization_id": ids.uuid4()}, 403, "ORG_MISMATCH"),
        ({"organization_id": 7}, 422, "INVALID_FIELD"),
        ({"estimated_tokens": -1}, 422, "INVALID_FIELD"),
        ({"estimated_tokens": 10**12}, 422, "INVALID_FIELD"),
        ({"estimated_tokens": 1.5}, 422, "INVALID_FIELD"),
        ({"estimated_tokens": True}, 422, "INVALID_FIELD"),
        ({"operation_id": "x" * 201}, 422, "INVALID_FIELD"),
        ({"tools": "search"}, 422, "INVALID_FIELD"),
        ({"tools": ["a\nb"]}, 422, "VALIDATION_FAILED"),
        ({"tool": "a\x00"}, 422, "VALIDATION_FAILED"),
        ({"chain_id": "mine"}, 422, "CHAIN_ID_INVALID"),
        ({"chain_op": "pause"}, 422, "INVALID_FIELD"),
        ({"tool_class": "spooky"}, 422, "INVALID_FIELD"),
        ({"business_impact": []}, 422, "INVALID_FIELD"),
        ({"business_impact": {"kind": "tool_call"}}, 422, "BUSINESS_IMPACT_INVALID"),
        ({"parent_execution_id": "nobody"}, 404, "PARENT_EXECUTION_NOT_FOUND"),
    ],
)
def test_bad_fields_are_refused(bot: Governed, fields: dict[str, object], status: int, code: str) -> None:
    """In the gate's own form, with a category, and nothing is reserved."""
    answer = bot.gate(handler, **fields)
    assert (answer.status, answer.body["error_code"]) == (status, code), answer.body
    assert answer.body["category"] in ("infra", "denied")
    assert answer.body["decision"] == "block"
    assert bot.purse.reserved == 0


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b'{"estimated_tokens": NaN}', b'"\\ud800"', b"[" * 5000])
def test_bodies_that_are_no_objects(bot: Governed, raw: bytes) -> None:
    """400 INVALID_JSON with a decision, never a 500."""
    answer = bot.post(handler, "/api/v1/gate", raw)
    assert (answer.status, answer.body["error_code"], answer.body["decision"]) == (400, "INVALID_JSON", "block")


def test_the_signature_is_checked_over_the_bytes(bot: Governed) -> None:
    """A body that means the same but was written differently does not verify."""
    raw = b'{"organization_id":"local","estimated_tokens":1}'
    headers = bot.signed(raw) | {"content-type": "application/json"}
    assert call(handler, "POST", "/api/v1/gate", headers=headers, raw=raw).status == 200
    answer = call(handler, "POST", "/api/v1/gate", headers=headers, raw=raw.replace(b":", b": "))
    assert (answer.status, answer.body["error_code"]) == (401, "HMAC_MISMATCH")


def test_a_repeated_signature_is_accepted(bot: Governed) -> None:
    """The SDK repeats them within a second; double effects are stopped by the operation id."""
    raw = b'{"organization_id":"local","operation_id":"same"}'
    assert [bot.post(handler, "/api/v1/gate", raw).status for _ in range(2)] == [200, 200]
    assert bot.purse.reserved == MICRO


@pytest.mark.parametrize("distance", [-301, 301, -(10**6)])
def test_a_stale_signature_is_refused(held: HeldClock, bot: Governed, distance: int) -> None:
    """401 HMAC_TIMESTAMP_SKEW beyond five minutes, before or after."""
    raw = b'{"organization_id":"local"}'
    headers = bot.signed(raw, at_s=held.now_ms() // 1000 + distance)
    answer = call(handler, "POST", "/api/v1/gate", headers=headers, raw=raw)
    assert (answer.status, answer.body["error_code"]) == (401, "HMAC_TIMESTAMP_SKEW")


def test_chains_may_end_that_never_began(bot: Governed) -> None:
    """chain_op end answers 200 and reserves nothing, whatever the chain."""
    answer = bot.gate(handler, chain_op="end", chain_id=ids.uuid4())
    assert (answer.status, answer.body["decision"], answer.body["reservation_id"]) == (200, "allow", None)
    assert bot.purse.reserved == 0


def test_nesting_has_an_end(bot: Governed) -> None:
    """Eight levels below the first are the deepest; the code is one that the SDK can raise."""
    parent = bot.gate(handler).body["reservation_id"]
    for _ in range(8):
        parent = bot.gate(handler, parent_execution_id=parent).body["reservation_id"]
    answer = bot.gate(handler, parent_execution_id=parent)
    assert (answer.status, answer.body["error_code"]) == (422, "WORKFLOW_DEPTH_EXCEEDED")
    assert answer.body["details"]["error_code"] == "WORKFLOW_TOO_DEEP"


def test_the_use_of_a_key_is_noted(held: HeldClock, services: Services) -> None:
    """Whatever the answer was; once a minute, so that most calls write nothing more."""
    bot = govern(services, budget_cents=0)
    bot.gate(handler, organization_id="other")
    begun = held.now_ms()
    assert bot.last_used_ms == begun
    held.advance(59)
    assert bot.gate(handler).status == 200
    assert bot.last_used_ms == begun
    held.advance(1)
    assert bot.gate(handler).status == 200
    assert bot.last_used_ms == begun + 60_000
