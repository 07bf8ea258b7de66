"""The engine over a DynamoDB that is not ours."""

from __future__ import annotations

from typing import Any

from functions.executions.app import handler
from shared.composition import Services
from tests.support.apigw import Answer, call
from tests.support.deployment import Person, sign_up
from tests.unit.functions.executions.test_executions import ASKING, FLOWS, PASSING, PATH, make

LONG = "metadata: {name: long}\nnodes:\n  each: {type: base, batch: {strategy: parallel, max_parallel: 20}}\n"


def ask(who: Person, method: str, path: str, **sent: Any) -> Answer:
    return call(handler, method, path, headers=who.headers, **sent)


def test_a_life_of_executions(elsewhere: Services) -> None:
    """Run, wait, signal, cancel, pause, resume, list, log: the same as over our own store."""
    ada = sign_up("ada")

    def started(text: str, given: Any) -> str:
        answer = ask(ada, "POST", f"{FLOWS}/{make(ada, text)}/run", json={"input": given})
        assert answer.status == 201
        return str(answer.body["execution_id"])

    def advance(execution_id: str) -> str:
        return elsewhere.advancer.advance(ada.org_id, execution_id, 0).word

    asking, passing, cancelled = started(ASKING, {}), started(PASSING, {"k": "x" * 200_000}), started(ASKING, {})
    assert [advance(found) for found in (asking, passing, cancelled)] == ["park", "end", "park"]
    assert elsewhere.advancer.register_park(ada.org_id, asking, 0, 0, "token")
    assert ask(ada, "POST", f"{PATH}/{asking}/pause").status == 200
    assert ask(ada, "POST", f"{PATH}/{asking}/signal/paid", json={"sum": 5}).status == 200
    assert advance(asking) == "park"
    assert ask(ada, "POST", f"{PATH}/{asking}/resume").status == 200
    assert advance(asking) == "end"
    assert ask(ada, "DELETE", f"{PATH}/{cancelled}").status == 200
    assert advance(cancelled) == "end"
    shown = [ask(ada, "GET", f"{PATH}/{found}").body for found in (asking, passing, cancelled)]
    assert [row["status"] for row in shown] == ["completed", "completed", "canceled"]
    assert (shown[0]["result"], shown[1]["result"]) == ({"sum": 5}, {"k": "x" * 200_000})
    listed = ask(ada, "GET", f"{PATH}?status=completed").body["executions"]
    assert [row["id"] for row in listed] == [asking, passing]
    assert ask(ada, "GET", f"{PATH}/{asking}/logs?level=info").body["total"] == 2


def test_a_long_list(elsewhere: Services) -> None:
    """Its appends are within the limits of DynamoDB's transactions."""
    ada = sign_up("ada")
    items = [{"n": number, "pad": "é" * 500} for number in range(600)]
    flow_id = make(ada, LONG)
    answer = ask(ada, "POST", f"{FLOWS}/{flow_id}/run", json={"input": {"items": items}})
    execution_id = answer.body["execution_id"]
    assert elsewhere.advancer.advance(ada.org_id, execution_id, 0).word == "end"
    assert ask(ada, "GET", f"{PATH}/{execution_id}").body["result"] == {"result": items}
