"""Whatever comes in, the gate answers with a decision or a refusal, and reports with an error of their own."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from typing import Any

import pytest

from functions.gate.app import handler
from functions.tracking.app import handler as tracking
from shared.composition import Services
from shared.governance.gate import Gate
from shared.governance.money import MICRO
from shared.kit import ids, json
from shared.store.embedded import Fault
from tests.support.apigw import Answer, LambdaContext, call, event
from tests.support.governance import Governed, govern
from tests.support.time import HeldClock

_GATE = ("organization_id", "execution_id", "operation_id", "idempotency_key", "trace_id", "check_type", "mode",
         "model", "estimated_tokens", "max_output_tokens", "stream", "tool", "tools", "input", "action_digest",
         "business_impact", "chain_id", "chain_op", "parent_execution_id", "tool_class", "mcp_annotations",
         "approval_id")  # fmt: skip
_TRACK = ("reservation_id", "execution_id", "workflow_id", "tokens", "input_tokens", "output_tokens",
          "cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "model", "provider", "cost_cents",
          "latency_ms", "idempotency_key", "event_id", "span_id", "type", "error", "fn_name")  # fmt: skip
_FIELDS = {
    "/api/v1/gate": _GATE, "/api/v1/check": _GATE, "/api/v1/execute": _GATE, "/api/v1/track": _TRACK,
    "/api/v1/track/batch": ("events",), "/api/v1/cancel": ("execution_id", "reason"),
    "/api/v1/heartbeat": ("chain_id",),
}  # fmt: skip
_REFUSING = ("/api/v1/gate", "/api/v1/check", "/api/v1/execute")


def _deep(depth: int) -> str:
    return "[" * depth + "]" * depth


_ODD = [
    "null", "true", "false", "0", "-1", "-0.0", "1.5", "1e308", "-1e308", "1e-320", "9" * 40, "-" + "9" * 40,
    "9" * 4000, "9" * 5000, "1e999", "NaN", "Infinity",
    '""', '" "', '"a"', '"\\u0000"', '"\\ud800"', '"\\udfff\\ud800"', '"é"',
    '"' + "x" * 200 + '"', '"' + "x" * 5000 + '"', '"0198f2c0-de7a-7c2e-9d3a-2f9c41aa01f7"',
    '"{0198f2c0-de7a-7c2e-9d3a-2f9c41aa01f7}"', '"urn:uuid:0198f2c0-de7a-7c2e-9d3a-2f9c41aa01f7"',
    '"0198F2C0-DE7A-7C2E-9D3A-2F9C41AA01F7"', '"../../../etc/passwd"', '"a#b#c"', '"definition:x"', "[]", "[[]]",
    "[null]", '[""]', '["a",7]', '["\\ud800"]', "{}", '{"kind":7}', '{"kind":"none"}', '{"a":{"b":{"c":[1,2,{}]}}}',
    '{"\\ud800":1}', '{"kind":"money","direction":"outflow","amount_minor":-1,"currency":"USD"}',
    '{"kind":"tool_call","tool_name":"x","params":{"args":[1.5],"kwargs":{}}}', _deep(30), _deep(40), _deep(200),
    _deep(900), _deep(990), _deep(3000), '{"a":' * 300 + "1" + "}" * 300, '{"a":' * 950 + "1" + "}" * 950,
]  # fmt: skip


@pytest.fixture
def bot(services: Services) -> Governed:
    """A workflow with a dollar."""
    return govern(services, budget_cents=100)


def _handler(path: str) -> Any:
    return tracking if path.startswith("/api/v1/track") else handler


def _judge(path: str, answer: Answer) -> None:
    assert answer.status < 500, (answer.status, answer.body)
    assert isinstance(answer.body, dict)
    if answer.status == 200:
        return
    assert answer.body["error_code"] and answer.body["message"], answer.body
    assert "Traceback" not in answer.body["message"] and "sys." not in answer.body["message"], answer.body
    if path in _REFUSING and answer.status not in (401, 403):
        assert answer.body["decision"] == "block" and answer.body["category"], answer.body


def _bodies(path: str) -> Iterator[str]:
    """One odd value in one field each, and many odd ones at once."""
    fields, chance = _FIELDS[path], random.Random(path)
    for field in fields:
        for value in chance.sample(_ODD, 12):
            yield f'{{"{field}":{value}}}'
    for _ in range(40):
        some = chance.sample(fields, min(len(fields), chance.randint(1, 5)))
        yield "{" + ",".join(f'"{field}":{chance.choice(_ODD)}' for field in some) + "}"
    for value in _ODD:
        yield f'{{"organization_id":"local","input":{value}}}' if path in _REFUSING else f'{{"metadata":{value}}}'


@pytest.mark.parametrize("path", _FIELDS)
def test_no_body_is_a_fault_of_ours(bot: Governed, path: str) -> None:
    """Wrong types, huge numbers, deep nesting, half characters: a 4xx in the API's form, or an answer."""
    for body in _bodies(path):
        _judge(path, bot.post(_handler(path), path, body.encode()))
    purse = bot.purse
    assert purse.available == purse.cap - purse.spent - purse.reserved


def test_no_event_of_a_batch_is_a_fault_of_ours(bot: Governed) -> None:
    """Each event of odd fields is accepted or rejected; none takes the batch with it."""
    chance = random.Random(7)
    sound = [value for value in _ODD if value not in ("NaN", "Infinity", "1e999", "9" * 5000) and "\\ud" not in value]
    sound = [value for value in sound if len(value) < 300 or value[0] == '"']
    for _ in range(12):
        events = []
        for _ in range(8):
            some = chance.sample(_TRACK, chance.randint(1, 6))
            fields = {"event_id": f'"{ids.uuid4()}"', "type": chance.choice(('"llm_call"', '"span_end"', '"x"', "7"))}
            fields |= {field: chance.choice(sound) for field in some}
            events.append("{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}")
        answer = bot.post(tracking, "/api/v1/track/batch", f'{{"events":[{",".join(events)}]}}'.encode())
        assert answer.status == 200, answer.body
        found = answer.body
        assert found["accepted"] + found["duplicates"] + len(found["rejection_details"]) == 8


@pytest.mark.parametrize(
    "raw",
    [b"\xff\xfe", b'{"tool":"\xff"}', b'{"a":"\xed\xa0\x80"}', '{"a":1}'.encode("utf-16"), b"{}{}", b'{"a":1,}'],
    ids=repr,
)
@pytest.mark.parametrize("path", _FIELDS)
def test_bytes_that_are_no_json(bot: Governed, path: str, raw: bytes) -> None:
    """400, and a decision where one is waited for."""
    answer = bot.post(_handler(path), path, raw)
    assert answer.status == 400, answer
    _judge(path, answer)


_HEADERS = [
    {"x-nullrun-protocol": value}
    for value in ("", " ", "4,4", "-4", "4.0", "٤", "9" * 30, "four", "\x00", "1", "5", "0x4")
] + [
    {"x-signature": value, "x-signature-timestamp": "1"} for value in ("", "é" * 64, "0" * 64, "A" * 64, "x" * 9000)
] + [
    {"x-signature": "0" * 64, "x-signature-timestamp": value} for value in ("", "٣", "-1", "1e9", "9" * 15, "9" * 99)
] + [
    {"x-api-key": value} for value in ("", " ", "nr_live_", "nr_live_" + "é" * 32, "nr_live_" + "a" * 33, "a,b")
]  # fmt: skip


@pytest.mark.parametrize("headers", _HEADERS, ids=str)
@pytest.mark.parametrize("path", ["/api/v1/gate", "/api/v1/track", "/api/v1/cancel"])
def test_no_header_is_a_fault_of_ours(bot: Governed, path: str, headers: dict[str, str]) -> None:
    """400 or 401, whatever a header says."""
    sent = {"content-type": "application/json"} | {"x-api-key": bot.key} | headers
    answer = call(_handler(path), "POST", path, headers=sent, raw=b"{}")
    assert answer.status in (400, 401), (answer.status, answer.body)
    assert bot.key not in str(answer.body)


def test_repeated_headers_do_not_add_up(bot: Governed) -> None:
    """What API Gateway joins with commas is no key and no signature."""
    raw = b'{"organization_id":"local"}'
    signed = bot.signed(raw)
    for name in ("x-api-key", "x-signature", "x-signature-timestamp"):
        doubled = signed | {name: f"{signed[name]},{signed[name]}"}
        assert call(handler, "POST", "/api/v1/gate", headers=doubled, raw=raw).status == 401
    assert bot.purse.reserved == 0


def test_a_body_of_another_encoding_of_the_event(bot: Governed) -> None:
    """The signature is over the decoded bytes, which a plain body of the event gives as well."""
    raw = '{"organization_id":"local","model":"é"}'
    sent = event("POST", "/api/v1/gate", bot.signed(raw.encode()))
    for body, is_base64 in ((raw, False), (base64.b64encode(raw.encode()).decode(), True)):
        assert handler(sent | {"body": body, "isBase64Encoded": is_base64}, LambdaContext())["statusCode"] == 200


def test_texts_that_cannot_be_stored_are_refused(bot: Governed) -> None:
    """A list of tools that no record could hold is 422, not an error of the store."""
    answer = bot.gate(handler, tools=[f"{number:03d}" + "x" * 4000 for number in range(250)])
    assert (answer.status, answer.body["error_code"], answer.body["decision"]) == (422, "INVALID_FIELD", "block")


class _Gone:
    """A store out of reach."""

    def before(self, operation: str, request: dict[str, Any]) -> Fault | None:
        return Fault.FAILED


@pytest.mark.parametrize("path", _REFUSING)
def test_a_store_out_of_reach_refuses(held: HeldClock, services: Services, path: str) -> None:
    """Also a process that does not know the key yet: 402 with a decision, for the SDK takes a bare 503 for leave."""
    bot = govern(services)
    assert services.store is not None
    services.store.faults = _Gone()
    answer = bot.post(handler, path, {"organization_id": "local", "execution_id": ids.uuid7()})
    assert (answer.status, answer.body["error_code"], answer.body["category"], answer.body["decision"]) == (
        402, "BUDGET_REDIS_UNAVAILABLE", "infra", "block",
    )  # fmt: skip


def test_a_fault_of_ours_lets_nothing_pass(bot: Governed, monkeypatch: pytest.MonkeyPatch) -> None:
    """500 with a decision: the SDK goes on without one after three more tries."""

    def broken(*arguments: Any) -> dict[str, Any]:
        raise RuntimeError(f"a secret such as {bot.secret}")

    monkeypatch.setattr(Gate, "decide", broken)
    answer = bot.gate(handler)
    assert (answer.status, answer.body["error_code"], answer.body["decision"]) == (500, "INTERNAL_ERROR", "block")
    assert bot.secret not in json.dumps(answer.body)
    assert bot.purse.reserved == 0 * MICRO
