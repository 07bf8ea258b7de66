"""POST /api/v1/track/batch through its Lambda handler."""

from __future__ import annotations

from typing import Any

import pytest

from functions.gate.app import handler as gate
from functions.tracking.app import handler
from shared.composition import Services
from shared.governance.money import MICRO
from shared.governance.operations import find_operation
from shared.kit import ids
from shared.store.embedded import Fault
from shared.store.models.governance import Operation
from shared.store.models.tracked import Tracked
from tests.support.apigw import Answer
from tests.support.governance import Governed, govern
from tests.support.time import HeldClock


@pytest.fixture
def bot(services: Services) -> Governed:
    """A workflow with a budget of a hundred cents."""
    return govern(services, budget_cents=100)


def _batch(bot: Governed, *events: Any) -> Answer:
    return bot.post(handler, "/api/v1/track/batch", {"events": list(events)})


def _event(kind: str = "span_start", **fields: Any) -> dict[str, Any]:
    return {"event_id": ids.uuid4(), "type": kind, "tokens": 0} | fields


def _call(**fields: Any) -> dict[str, Any]:
    return _event("llm_call", model="gpt-4o", input_tokens=40_000) | fields


def _reserve(bot: Governed) -> str:
    reservation: str = bot.gate(gate).body["reservation_id"]
    return reservation


def _operation(bot: Governed, execution_id: str) -> Operation:
    found = find_operation(bot.org_id, execution_id)
    assert found is not None
    return found


def _ids(answer: Answer) -> set[str]:
    assert answer.status == 200, answer
    return set(answer.body["accepted_event_ids"])


def test_events_are_accepted_by_id(bot: Governed) -> None:
    """200: each id is listed, rows are kept, and nothing is charged for what is no model call."""
    events = [_event(), _event("span_end"), _event("tool_call"), _event("my_event", tokens=7, metadata={"a": "b"})]
    answer = _batch(bot, *events)
    assert _ids(answer) == {event["event_id"] for event in events}
    rest = {name: answer.body[name] for name in ("accepted", "duplicates", "rejection_details", "actions", "messages")}
    assert rest == {"accepted": 4, "duplicates": 0, "rejection_details": [], "actions": [], "messages": []}
    assert sorted(row.event_type for row in Tracked.scan() if row.sk == "tracked") == sorted(
        event["type"] for event in events
    )
    assert bot.purse.spent == 0


def test_a_model_call_settles_its_reservation(bot: Governed) -> None:
    """As /track does it, by execution_id."""
    execution = _reserve(bot)
    call = _call(execution_id=execution)
    assert _ids(_batch(bot, call)) == {call["event_id"]}
    assert (bot.purse.spent, bot.purse.reserved) == (10 * MICRO, 0)
    assert _operation(bot, execution).spent == 10 * MICRO


def test_a_model_call_without_a_reservation_is_charged(bot: Governed) -> None:
    """Unreserved spend of the key's workflow."""
    call = _call()
    assert _ids(_batch(bot, call)) == {call["event_id"]}
    assert bot.purse.spent == 10 * MICRO


def test_a_tool_that_names_its_cost_is_charged(bot: Governed) -> None:
    """A span that sums up costs is not: its calls have told them."""
    _batch(bot, _event("tool_call", cost_cents=2), _event("span_end", cost_cents=2, model="gpt-4o"))
    assert bot.purse.spent == 2 * MICRO


def test_a_repeated_batch_is_accepted_and_not_counted(bot: Governed) -> None:
    """Every known id is listed again, whatever attempt its event says it is."""
    execution = _reserve(bot)
    events = [_call(execution_id=execution), _event(), _event("span_end", execution_id=execution)]
    first = _batch(bot, *events)
    again = _batch(bot, *({**event, "is_retry": True, "attempt_index": 1} for event in events))
    assert _ids(again) == _ids(first)
    assert (again.body["accepted"], again.body["duplicates"]) == (0, 3)
    assert (bot.purse.spent, _operation(bot, execution).llm_calls) == (10 * MICRO, 1)


def test_an_event_twice_in_a_batch_is_counted_once(bot: Governed) -> None:
    """The second is a duplicate."""
    call = _call()
    answer = _batch(bot, call, call)
    assert answer.body["accepted_event_ids"] == [call["event_id"]] * 2
    assert (answer.body["accepted"], answer.body["duplicates"], bot.purse.spent) == (1, 1, 10 * MICRO)


def test_bad_events_are_rejected_alone(bot: Governed) -> None:
    """The good ones of the batch are accepted; each bad one is named with its reason."""
    good = _event()
    bad = [
        7, {"type": "span_start"}, {"event_id": 5, "type": "x"}, {"event_id": "no-type"}, _call(tokens=-1),
        _call(input_tokens=1.5), _event("span_end", latency_ms=-1), _event() | {"type": 7}, _event(workflow_id=[1]),
        {"event_id": "", "type": "x"}, _event("span_end", fn_name={}),
    ]  # fmt: skip
    answer = _batch(bot, *bad, good)
    assert _ids(answer) == {good["event_id"]}
    told = answer.body["rejection_details"]
    given = [event.get("event_id") if isinstance(event, dict) else None for event in bad]
    assert sorted(str(row["event_id"]) for row in told) == sorted(
        str(event_id) if isinstance(event_id, str) and event_id else "None" for event_id in given
    )
    assert {row["reason"] for row in told} == {"invalid_event", "invalid_field"}
    assert all(row["message"] and row["retry_after_ms"] is None for row in told)
    assert bot.purse.spent == 0


def test_spending_beyond_the_budget_is_accepted(bot: Governed) -> None:
    """It is booked, so the client must not send it again."""
    call = _call(input_tokens=500_000)
    assert _ids(_batch(bot, call)) == {call["event_id"]}
    assert (bot.purse.spent, bot.purse.overrun) == (125 * MICRO, 25 * MICRO)


@pytest.mark.parametrize(("error", "result"), [(None, "completed"), ("ValueError", "failed")])
def test_an_end_completes_its_execution(bot: Governed, error: str | None, result: str) -> None:
    """The result and the time it took; what is left of the reservation goes back."""
    execution = _reserve(bot)
    _batch(bot, _event("span_end", execution_id=execution, error=error, latency_ms=840.4))
    operation = _operation(bot, execution)
    assert (operation.result, operation.status, operation.latency_ms) == (result, "settled", 840)
    assert operation.completed_ms is not None
    assert (bot.purse.reserved, bot.purse.available) == (0, 100 * MICRO)


def test_of_several_ends_the_failure_counts(bot: Governed) -> None:
    """A tool that failed makes the execution a failed one, in whatever order it is told."""
    for events in (["ValueError", None], [None, "ValueError"]):
        execution = _reserve(bot)
        _batch(bot, *(_event("tool_call", execution_id=execution, error=error) for error in events))
        assert _operation(bot, execution).result == "failed"


@pytest.mark.parametrize("execution", ["no id", "0198f2c0-de7a-7c2e-9d3a-2f9c41aa01f7"])
def test_an_end_of_nothing_known_is_accepted(bot: Governed, execution: str) -> None:
    """The row is kept, nothing is marked."""
    event = _event("span_end", execution_id=execution)
    assert _ids(_batch(bot, event)) == {event["event_id"]}


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "in batches of their own"])
def test_an_outer_function_ends_its_own_execution(bot: Governed, together: bool) -> None:
    """The SDK names the inner execution at the end of the outer function; the span tells whose end it is."""
    outer, inner = _reserve(bot), _reserve(bot)
    events = [
        _event("span_start", execution_id=outer, span_id="outer"),
        _event("span_start", execution_id=inner, span_id="inner"),
        _event("tool_call", execution_id=ids.uuid7(), span_id="inner"),
        _event("span_end", execution_id=inner, span_id="inner"),
        _event("tool_call", execution_id=ids.uuid7(), span_id="outer"),
        _event("span_end", execution_id=inner, span_id="outer", error="boom"),
    ]
    for batch in [events] if together else [[event] for event in events]:
        assert _ids(_batch(bot, *batch)) == {event["event_id"] for event in batch}
    assert (_operation(bot, outer).result, _operation(bot, inner).result) == ("failed", "completed")
    assert (bot.purse.reserved, bot.purse.spent) == (0, 0)


def test_a_tool_in_a_span_ends_nothing(bot: Governed) -> None:
    """The function it was called in goes on, with what is reserved for it."""
    execution = _reserve(bot)
    _batch(bot, _event("span_start", execution_id=execution, span_id="s"))
    _batch(bot, _event("tool_call", execution_id=execution, span_id="s"))
    assert (_operation(bot, execution).result, bot.purse.reserved) == ("pending", MICRO)


def test_a_span_is_its_keys_own(services: Services, bot: Governed) -> None:
    """The span of another key, by the same id, is another span."""
    execution = _reserve(bot)
    _batch(bot, _event("span_start", execution_id=execution, span_id="s"))
    other = govern(services)
    _batch(other, _event("span_end", execution_id=ids.uuid7(), span_id="s"))
    assert _operation(bot, execution).result == "pending"


def test_a_cancelled_execution_stays_so(bot: Governed) -> None:
    """The span that ends after the cancellation changes nothing."""
    execution = _reserve(bot)
    bot.post(gate, "/api/v1/cancel", {"execution_id": execution})
    _batch(bot, _event("span_end", execution_id=execution))
    assert _operation(bot, execution).result == "canceled"


def test_a_hundred_events_fit(services: Services, bot: Governed) -> None:
    """100 in few store requests; 101 are 413 BATCH_TOO_LARGE, and none of them is stored."""
    events = [_event() for _ in range(101)]
    answer = _batch(bot, *events)
    assert (answer.status, answer.body["error_code"]) == (413, "BATCH_TOO_LARGE")
    assert not [row for row in Tracked.scan() if row.sk == "tracked"]
    assert len(_ids(_batch(bot, *events[:100]))) == 100


@pytest.mark.parametrize("body", [{}, {"events": None}, {"events": {}}, {"events": "x"}])
def test_a_batch_without_events_is_refused(bot: Governed, body: dict[str, Any]) -> None:
    """422 INVALID_FIELD naming events."""
    status, _, answer = bot.post(handler, "/api/v1/track/batch", body)
    assert (status, answer["error_code"], answer["details"]["field"]) == (422, "INVALID_FIELD", "events")


def test_an_empty_batch_is_fine(bot: Governed) -> None:
    """Nothing to do."""
    assert _ids(_batch(bot)) == set()


def test_a_body_that_is_no_object_is_refused(bot: Governed) -> None:
    """400 INVALID_JSON."""
    status, _, body = bot.post(handler, "/api/v1/track/batch", b"[]")
    assert (status, body["error_code"]) == (400, "INVALID_JSON")


def test_a_number_that_cannot_be_is_refused(bot: Governed) -> None:
    """422; the client then finds the event by halving its batch."""
    status, _, body = bot.post(handler, "/api/v1/track/batch", b'{"events":[{"tokens":NaN}]}')
    assert (status, body["error_code"]) == (422, "INVALID_FIELD")


def test_the_scope_track_is_needed(services: Services) -> None:
    """403 for a key that may only ask the gate."""
    bot = govern(services, scopes=("gate",))
    assert _batch(bot).status == 403


class _Broken:
    """A store out of reach for transactions."""

    def before(self, operation: str, request: dict[str, Any]) -> Fault | None:
        return Fault.FAILED if operation == "TransactWriteItems" else None


def test_events_that_cannot_be_stored_are_to_come_again(held: HeldClock, services: Services, bot: Governed) -> None:
    """Each is told with the time after which to send it again; then it is counted once."""
    assert services.store is not None
    events = [_call(), _event()]
    services.store.faults = _Broken()
    answer = _batch(bot, *events)
    assert _ids(answer) == set()
    told = {row["event_id"]: (row["reason"], row["retry_after_ms"]) for row in answer.body["rejection_details"]}
    assert told == {event["event_id"]: ("unavailable", 5000) for event in events}
    services.store.faults = None
    assert _ids(_batch(bot, *events)) == {event["event_id"] for event in events}
    assert bot.purse.spent == 10 * MICRO


class _Gone:
    """A store out of reach."""

    def before(self, operation: str, request: dict[str, Any]) -> Fault | None:
        return Fault.FAILED


def test_a_store_out_of_reach_is_told(held: HeldClock, services: Services, bot: Governed) -> None:
    """503 for the whole batch when not even the key can be proven."""
    assert services.store is not None
    services.store.faults = _Gone()
    assert _batch(bot, _event()).status == 503
    services.store.faults = None
