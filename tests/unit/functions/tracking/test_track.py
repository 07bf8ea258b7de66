"""POST /api/v1/track through its Lambda handler."""

from __future__ import annotations

from typing import Any

import pytest

from functions.gate.app import handler as gate
from functions.tracking.app import handler
from shared.composition import Services
from shared.governance.money import MICRO
from shared.governance.operations import BOUND_MS, find_operation
from shared.kit import ids, json
from shared.store.embedded import Fault
from shared.store.models.governance import Operation, Purse, Workflow, workflows_pk
from shared.store.models.tracked import Tracked
from tests.support.apigw import Answer, call
from tests.support.governance import Governed, govern, owner
from tests.support.time import HeldClock
from tests.support.workflows import at_once

_CHAIN = "8f1d7b1e-5c0a-4d3e-9a53-0d8b8f1d7b1e"
TEN_CENTS = {"model": "gpt-4o", "input_tokens": 40_000, "output_tokens": 0}
"""40,000 tokens at 250 cents a million."""


@pytest.fixture
def bot(services: Services) -> Governed:
    """A workflow with a budget of a hundred cents."""
    return govern(services, budget_cents=100)


def _reserve(bot: Governed, **fields: Any) -> str:
    answer = bot.gate(gate, **fields)
    assert answer.status == 200, answer
    reservation: str = answer.body["reservation_id"]
    return reservation


def _track(bot: Governed, **fields: Any) -> Answer:
    return bot.post(handler, "/api/v1/track", fields)


def _operation(bot: Governed, execution_id: str) -> Operation:
    found = find_operation(bot.org_id, execution_id)
    assert found is not None
    return found


def _money(purse: Purse) -> tuple[int, int, int]:
    """Spent, reserved and available; they add up to the cap."""
    assert purse.available == purse.cap - purse.spent - purse.reserved
    return int(purse.spent), int(purse.reserved), int(purse.available)


def test_a_call_is_priced_and_spent(bot: Governed) -> None:
    """200: the tokens at the list's price leave the budget, the reservation is used up, the operation knows."""
    execution = _reserve(bot)
    status, _, body = _track(bot, reservation_id=execution, workflow_id=bot.workflow_id, tokens=40_000, **TEN_CENTS)
    assert status == 200
    assert body["snapshot"] == {"spent_cents": 10, "budget_cents": 100, "remaining_cents": 90}
    assert (body["cost_source"], body["confidence"], body["idempotent_replay"]) == ("catalog", "high", False)
    assert (body["cost_cents"], body["actions_taken"], body["processing_mode"]) == (10, [], "sync")
    assert _money(bot.purse) == (10 * MICRO, 0, 90 * MICRO)
    operation = _operation(bot, execution)
    assert (operation.spent, operation.reserved, operation.tokens) == (10 * MICRO, 0, 40_000)
    assert (operation.llm_calls, operation.status, operation.model) == (1, "settled", "gpt-4o")


def test_several_calls_share_a_reservation(bot: Governed) -> None:
    """Each is added; the second is no error although nothing is reserved any more."""
    execution = _reserve(bot)
    answers = [_track(bot, reservation_id=execution, idempotency_key=f"k-{n}", **TEN_CENTS) for n in range(3)]
    assert [answer.status for answer in answers] == [200] * 3
    assert _money(bot.purse) == (30 * MICRO, 0, 70 * MICRO)
    assert (_operation(bot, execution).spent, _operation(bot, execution).llm_calls) == (30 * MICRO, 3)


def test_what_a_call_leaves_of_its_reservation_stays_reserved(bot: Governed) -> None:
    """A call cheaper than the reservation frees what it spends; the rest is still its execution's."""
    execution = _reserve(bot)
    _track(bot, reservation_id=execution, model="gpt-4o", input_tokens=1000)
    assert _money(bot.purse) == (250_000, 750_000, 99 * MICRO)
    assert _operation(bot, execution).status == "open"


def test_the_same_report_is_counted_once(bot: Governed) -> None:
    """A byte-identical repetition gets the first answer, marked as a replay."""
    execution = _reserve(bot)
    fields = {"reservation_id": execution, "idempotency_key": "op:span", **TEN_CENTS}
    first, again = _track(bot, **fields), _track(bot, **fields)
    assert again.body == first.body | {"idempotent_replay": True}
    assert bot.purse.spent == 10 * MICRO


def test_a_key_of_the_sdk_may_have_several_reports(bot: Governed) -> None:
    """Under a key with a colon another body is another call, so no model call after the first is lost."""
    execution = _reserve(bot)
    for tokens in (1000, 2000):
        answer = _track(bot, reservation_id=execution, idempotency_key="op:span", model="gpt-4o", input_tokens=tokens)
        assert answer.status == 200
    assert bot.purse.spent == 750_000


def test_a_key_that_the_sdk_made_is_never_a_repetition(bot: Governed) -> None:
    """Calls of one function with equal tokens are the same bytes; as the SDK sends nothing twice, each is counted."""
    execution = _reserve(bot)
    span = "0123456789abcdef"
    key = f"{ids.uuid4()}:{span}"
    fields = {"reservation_id": execution, "idempotency_key": key, **TEN_CENTS}
    answers = [_track(bot, span_id=f"{span}0000", **fields).body for _ in range(3)]
    assert [answer["idempotent_replay"] for answer in answers] == [False] * 3
    assert bot.purse.spent == 30 * MICRO
    assert [_track(bot, **fields).body["idempotent_replay"] for _ in range(2)] == [False, True]


@pytest.mark.parametrize("name", ["idempotency_key", "event_id"])
def test_another_report_under_a_plain_key_is_refused(bot: Governed, name: str) -> None:
    """409 IDEMPOTENCY_KEY_MISMATCH; the second is not counted."""
    assert _track(bot, **{name: "mine"}, **TEN_CENTS).status == 200
    status, _, body = _track(bot, **{name: "mine"}, model="gpt-4o", input_tokens=1)
    assert (status, body["error_code"]) == (409, "IDEMPOTENCY_KEY_MISMATCH")
    assert bot.purse.spent == 10 * MICRO


def test_reports_without_any_key_are_all_counted(bot: Governed) -> None:
    """Nothing says that they are the same."""
    for _ in range(2):
        assert _track(bot, **TEN_CENTS).status == 200
    assert bot.purse.spent == 20 * MICRO


def test_an_event_id_is_echoed(bot: Governed) -> None:
    """The client's own id names the event; without one the server's does."""
    given = ids.uuid4()
    assert _track(bot, event_id=given).body["event_id"] == given
    assert ids.is_uuid(_track(bot).body["event_id"])


@pytest.mark.parametrize("reservation", [None, "0198f2c0-de7a-7c2e-9d3a-2f9c41aa01f7", "no id at all"])
def test_spending_nobody_reserved_is_never_lost(bot: Governed, reservation: str | None) -> None:
    """Without a known reservation the key's workflow is charged."""
    assert _track(bot, reservation_id=reservation, **TEN_CENTS).status == 200
    assert _money(bot.purse) == (10 * MICRO, 0, 90 * MICRO)


def test_a_reservation_of_another_workflow_stays_its_own(services: Services, bot: Governed) -> None:
    """Spending reported with it is charged to the reporting key's workflow."""
    other = govern(services, name="other", budget_cents=100)
    execution = _reserve(other)
    assert _track(bot, reservation_id=execution, **TEN_CENTS).status == 200
    assert (bot.purse.spent, other.purse.spent, other.purse.reserved) == (10 * MICRO, 0, MICRO)


def test_a_text_for_the_workflow_is_kept(bot: Governed) -> None:
    """A workflow_id that is not the key's is a label of the operation and an alias of the workflow, never an error."""
    execution = _reserve(bot)
    assert _track(bot, reservation_id=execution, workflow_id="nightly", **TEN_CENTS).status == 200
    assert _operation(bot, execution).label == "nightly"
    assert "nightly" in json.loads(Workflow.get(workflows_pk(bot.org_id), bot.workflow_id).aliases)


def test_the_id_of_another_workflow_becomes_no_alias(bot: Governed) -> None:
    """Else a kill of this one would be told of the other."""
    assert _track(bot, workflow_id=ids.uuid4(), **TEN_CENTS).status == 200
    assert json.loads(Workflow.get(workflows_pk(bot.org_id), bot.workflow_id).aliases) == []


def test_an_unknown_model_has_a_price(bot: Governed) -> None:
    """The default price, told as such; a cost that the client claims is used instead."""
    body = _track(bot, model="house-model", input_tokens=1000, output_tokens=100).body
    assert (body["cost_source"], body["confidence"], body["cost_cents"]) == ("default", "low", 2.25)
    body = _track(bot, model="house-model", input_tokens=1000, cost_cents=3).body
    assert (body["cost_source"], body["confidence"], body["cost_cents"]) == ("client", "low", 3)


def test_a_workflow_without_a_budget_counts_all_the_same(services: Services) -> None:
    """The snapshot says what was spent, and null for what there is none of."""
    free = govern(services, name="free")
    snapshot = _track(free, **TEN_CENTS).body["snapshot"]
    assert snapshot == {"spent_cents": 10, "budget_cents": None, "remaining_cents": None}


def test_spending_beyond_the_budget_is_booked_and_told(bot: Governed) -> None:
    """422 CONSUME_OVERBUDGET with what was allowed; the spending counts and what had no room is overrun."""
    execution = _reserve(bot)
    fields = {"reservation_id": execution, "idempotency_key": "k", "model": "gpt-4o", "input_tokens": 440_000}
    status, _, body = _track(bot, **fields)
    assert (status, body["error_code"], body["error"]) == (422, "CONSUME_OVERBUDGET", "consume_overbudget")
    assert body["details"] | {
        "execution_id": execution, "reserved_millicents": 1000, "max_allowed_millicents": 100_000,
        "actual_cost_cents": 110, "soft_pass": False, "reservation_recorded": True,
    } == body["details"]  # fmt: skip
    assert _money(bot.purse) == (110 * MICRO, 0, -10 * MICRO)
    assert bot.purse.overrun == 10 * MICRO
    again = _track(bot, **fields)
    assert (again.status, again.body) == (422, body | {"idempotent_replay": True})
    assert bot.purse.spent == 110 * MICRO
    assert bot.gate(gate).status == 402


@pytest.mark.parametrize(("tokens", "status"), [(4_000, 200), (8_000, 200), (8_004, 422)])
def test_strict_settlement_allows_the_reservation_and_a_cent(
    tmp_path_factory: pytest.TempPathFactory, tokens: int, status: int
) -> None:
    """Up to the reserved cent and the tolerated one 200, above 422 although budget is left; all of it is counted."""
    from tests.support.deployment import deployment

    with deployment(tmp_path_factory.mktemp("strict"), settle_mode="strict") as services:
        bot = govern(services, budget_cents=100)
        answer = _track(bot, reservation_id=_reserve(bot), model="gpt-4o", input_tokens=tokens)
        assert answer.status == status
        assert _money(bot.purse) == (tokens * 250, 0, 100 * MICRO - tokens * 250)
        assert bot.purse.overrun == 0


def test_a_reservation_that_has_expired_is_charged_late(held: HeldClock, bot: Governed, services: Services) -> None:
    """The spending counts and the operation shows it as late."""
    execution = _reserve(bot)
    held.advance(301)
    services.governance.sweep.run()
    assert _track(bot, reservation_id=execution, **TEN_CENTS).status == 200
    operation = _operation(bot, execution)
    assert (operation.status, operation.spent, operation.late) == ("expired", 10 * MICRO, 10 * MICRO)
    assert _money(bot.purse) == (10 * MICRO, 0, 90 * MICRO)


def test_a_cancelled_reservation_is_charged_late(bot: Governed) -> None:
    """The spending counts and the operation shows it as late."""
    execution = _reserve(bot)
    assert bot.post(gate, "/api/v1/cancel", {"execution_id": execution}).status == 200
    assert _track(bot, reservation_id=execution, **TEN_CENTS).status == 200
    assert (_operation(bot, execution).late, bot.purse.spent) == (10 * MICRO, 10 * MICRO)


def test_after_a_day_the_reservation_is_unknown(held: HeldClock, bot: Governed) -> None:
    """The spending counts, the operation is left as it was."""
    execution = _reserve(bot)
    held.advance(BOUND_MS / 1000)
    assert _track(bot, reservation_id=execution, **TEN_CENTS).status == 200
    assert (_operation(bot, execution).spent, bot.purse.spent) == (0, 10 * MICRO)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tokens", -1), ("tokens", 1.5), ("tokens", "many"), ("tokens", True), ("tokens", 10**9 + 1),
        ("input_tokens", 10**40), ("output_tokens", -0.5), ("cache_read_tokens", []), ("cache_write_tokens", {}),
        ("reasoning_tokens", -1), ("cost_cents", -0.01), ("cost_cents", "1"), ("cost_cents", 10**11),
        ("cost_cents", True), ("latency_ms", -1), ("model", 7), ("model", "m" * 300), ("provider", []),
        ("reservation_id", 5), ("workflow_id", {"a": 1}), ("idempotency_key", "k" * 600), ("event_id", 1),
    ],
)  # fmt: skip
def test_a_field_that_is_wrong_is_named(bot: Governed, field: str, value: Any) -> None:
    """422 INVALID_FIELD naming the field; nothing is counted."""
    status, _, body = _track(bot, **(TEN_CENTS | {field: value}))
    assert (status, body["error_code"], body["details"]["field"]) == (422, "INVALID_FIELD", field)
    assert bot.purse.spent == 0


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
def test_numbers_that_cannot_be_are_refused(bot: Governed, number: bytes) -> None:
    """422 INVALID_FIELD, although JSON has no such numbers: clients in Python send them."""
    status, _, body = bot.post(handler, "/api/v1/track", b'{"tokens":' + number + b"}")
    assert (status, body["error_code"]) == (422, "INVALID_FIELD")
    assert bot.purse.spent == 0


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"7", b'{"model":"\\ud800"}', b"[" * 100_000, b"\xff"])
def test_a_body_that_is_no_object_is_refused(bot: Governed, raw: bytes) -> None:
    """400 INVALID_JSON."""
    status, _, body = bot.post(handler, "/api/v1/track", raw)
    assert (status, body["error_code"]) == (400, "INVALID_JSON")


@pytest.mark.parametrize(
    ("value", "status", "code"),
    [
        ("4", 200, None), ("2", 200, None), ("1", 400, "PROTOCOL_TOO_OLD"), ("5", 400, "PROTOCOL_TOO_NEW"),
        ("four", 400, "PROTOCOL_HEADER_INVALID"), ("", 400, "PROTOCOL_HEADER_INVALID"),
    ],
)  # fmt: skip
def test_protocols(bot: Governed, value: str, status: int, code: str | None) -> None:
    """2 to 4 are spoken, others refused with a code of their own."""
    answer = bot.post(handler, "/api/v1/track", {}, x_nullrun_protocol=value)
    assert (answer.status, answer.body.get("error_code")) == (status, code)


def test_without_a_key_nothing_is_counted(bot: Governed) -> None:
    """401 without a key, with one nobody has, and with a signature that is wrong."""
    assert call(handler, "POST", "/api/v1/track", json={}).body["error_code"] == "API_KEY_MISSING"
    stranger = call(handler, "POST", "/api/v1/track", json={}, headers={"x-api-key": "nr_live_" + "a" * 32})
    assert (stranger.status, stranger.body["error_code"]) == (401, "API_KEY_INVALID")
    forged = bot.post(handler, "/api/v1/track", TEN_CENTS, x_signature="0" * 64)
    assert (forged.status, forged.body["error_code"]) == (401, "HMAC_MISMATCH")
    assert bot.purse.spent == 0


def test_the_scope_track_is_needed(services: Services) -> None:
    """403 for a key that may only ask the gate."""
    bot = govern(services, budget_cents=100, scopes=("gate",))
    status, _, body = _track(bot, **TEN_CENTS)
    assert (status, body["error"]) == (403, "missing_scope")
    assert bot.purse.spent == 0


@pytest.mark.parametrize("path", ["/api/v1/track", "/api/v1/track/batch"])
def test_a_revoked_key_counts_no_more(services: Services, bot: Governed, path: str) -> None:
    """401 on the next call, in a process that knows the key from before."""
    authenticator = services.governance.authenticator
    known = authenticator.check(bot.key)
    services.governance.keys.revoke(owner(), bot.key_id)
    authenticator._known[bot.key] = known
    status, _, body = bot.post(handler, path, TEN_CENTS | {"events": []})
    assert (status, body["error_code"]) == (401, "API_KEY_REVOKED")
    assert bot.purse.spent == 0


def test_a_rotated_key_goes_on(services: Services, bot: Governed) -> None:
    """The former secret still signs, and the key is read again without the caller's doing."""
    authenticator = services.governance.authenticator
    known = authenticator.check(bot.key)
    services.governance.keys.rotate(owner(), bot.key_id)
    authenticator._known[bot.key] = known
    assert _track(bot, **TEN_CENTS).status == 200
    assert bot.purse.spent == 10 * MICRO


def test_a_body_too_large_is_refused(bot: Governed) -> None:
    """413 in NullRun's form."""
    status, _, body = bot.post(handler, "/api/v1/track", b" " * (4 * 1024 * 1024 + 1))
    assert (status, body["error_code"]) == (413, "PAYLOAD_TOO_LARGE")


class _Broken:
    """A store out of reach for transactions."""

    def before(self, operation: str, request: dict[str, Any]) -> Fault | None:
        return Fault.FAILED if operation == "TransactWriteItems" else None


def test_a_store_out_of_reach_is_told(held: HeldClock, services: Services, bot: Governed) -> None:
    """503; the client may send the same again."""
    assert services.store is not None
    services.store.faults = _Broken()
    assert _track(bot, idempotency_key="k", **TEN_CENTS).status == 503
    services.store.faults = None
    assert _track(bot, idempotency_key="k", **TEN_CENTS).status == 200
    assert bot.purse.spent == 10 * MICRO


def test_a_report_is_kept_for_thirty_days(held: HeldClock, bot: Governed) -> None:
    """Then its key is free again, whether or not the store has removed it yet."""
    assert _track(bot, idempotency_key="k", **TEN_CENTS).status == 200
    held.advance(30 * 24 * 3600)
    assert _track(bot, idempotency_key="k", model="gpt-4o", input_tokens=4).status == 200


def test_nothing_that_was_said_is_stored(bot: Governed) -> None:
    """Of a report only numbers and names are kept."""
    assert _track(bot, metadata={"prompt": "my secret"}, input="my secret", **TEN_CENTS).status == 200
    rows = [row for row in Tracked.scan() if row.sk == "tracked"]
    assert len(rows) == 1
    assert "my secret" not in (rows[0].details + (rows[0].answer or ""))


def test_gates_reports_and_cancels_at_once_keep_the_books(bot: Governed) -> None:
    """Agents on one budget: no gate is admitted beyond it, and in the end what is gone is what was reported."""

    def agent() -> list[int]:
        spent = []
        for turn in range(4):
            answer = bot.gate(gate, model="gpt-4o", estimated_tokens=20_000)
            assert answer.status in (200, 402)
            if answer.status == 402:
                continue
            execution = answer.body["reservation_id"]
            assert bot.purse.available >= 0
            tokens = 10_000 + 1000 * turn
            assert _track(bot, reservation_id=execution, model="gpt-4o", input_tokens=tokens).status == 200
            spent.append(tokens * 250)
            if turn % 2:
                assert bot.post(gate, "/api/v1/cancel", {"execution_id": execution}).status == 200
        return spent

    reported = [amount for spent in at_once(*[agent] * 6) if isinstance(spent, list) for amount in spent]
    purse = bot.purse
    assert _money(purse)[0] == sum(reported)
    assert purse.overrun == 0
    held = [row.reserved for row in Operation.scan() if row.sk == "operation"]
    assert sum(held) == purse.reserved


def test_the_use_of_a_key_is_noted(held: HeldClock, bot: Governed) -> None:
    """A key that only reports is in use, too."""
    assert bot.last_used_ms is None
    assert _track(bot, **TEN_CENTS).status == 200
    assert bot.last_used_ms == held.now_ms()


@pytest.mark.parametrize(("chain_id", "statuses"), [(_CHAIN, [200, 200, 422, 422]), (None, [200, 422, 422, 422])])
def test_a_soft_budget_has_room_for_dear_calls(services: Services, chain_id: str | None, statuses: list[int]) -> None:
    """Inside a chain a report is 200 as long as the workflow is over its budget by no more than the overdraft; what
    exceeded the budget is counted as such, whichever the answer."""
    bot = govern(services)
    form = {"name": "Soft", "policy_type": "BudgetLimit", "scope": "Workflow", "workflow_id": bot.workflow_id}
    config = {"budget_cents": 15, "max_overdraft_cents": 10}
    services.governance.policies.create(owner(), form | {"enforcement_mode": "Soft", "config": config})
    execution = str(bot.gate(gate, chain_id=chain_id).body["reservation_id"])
    found = [_track(bot, reservation_id=execution, idempotency_key=f"k-{n}", **TEN_CENTS).status for n in range(4)]
    assert found == statuses
    assert (bot.purse.spent, bot.purse.overrun) == (40 * MICRO, 25 * MICRO)


def test_an_overdraft_is_not_the_orgs(services: Services) -> None:
    """The ceiling of the org stays hard for a chain that may overdraw its workflow's budget."""
    bot = govern(services)
    form = {"policy_type": "BudgetLimit", "enforcement_mode": "Soft", "name": "Soft"}
    config = {"budget_cents": 5, "max_overdraft_cents": 100}
    policies = services.governance.policies
    for scope in ({"scope": "Org"}, {"scope": "Workflow", "workflow_id": bot.workflow_id}):
        policies.create(owner(), form | scope | {"config": config})
    execution = bot.gate(gate, chain_id=_CHAIN).body["reservation_id"]
    assert _track(bot, reservation_id=execution, **TEN_CENTS).status == 422
