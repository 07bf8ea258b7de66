"""Approvals over HTTP, with the gate before and after. Source: NullRun docs, Approvals; docs/rulings.md#approvals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from functions.approvals.app import handler
from functions.gate.app import handler as gate
from functions.workflows.app import handler as workflows
from shared.composition import Services
from shared.governance.approvals import MOST_PENDING
from shared.kit import clock, ids
from tests.support.apigw import Answer, call
from tests.support.deployment import Person
from tests.support.governance import Governed, govern
from tests.support.orgs import ok, org_path
from tests.support.time import HeldClock
from tests.unit.functions.approvals.conftest import LARGEST, asked, refund, send

FIELDS = {
    "id", "approval_id", "organization_id", "workflow_id", "execution_id", "rule_id", "status", "tool", "action_label",
    "risk_level", "action_digest", "business_impact", "projected_cost_cents", "note", "decided_by", "decided_at",
    "consumed_at", "flow_execution_id", "created_at", "expires_at",
}  # fmt: skip
UNKNOWN = "0198c0e2-11a0-7f02-9b7e-51a0c3d7e812"


def approvals(who: Person, rest: str = "") -> str:
    return org_path(who, f"/approvals{rest}")


def decide(who: Person, waiting: dict[str, Any], outcome: str, body: Any = None, **more: Any) -> Answer:
    return send("POST", approvals(who, f"/{waiting['approval_id']}/{outcome}"), who, body, **more)


def consume(bot: Governed, approval_id: str, body: Any = None) -> Answer:
    return bot.post(handler, f"/api/v1/approvals/{approval_id}/consume", {} if body is None else body)


def execute(bot: Governed, waiting: dict[str, Any], **more: Any) -> Answer:
    body = {"organization_id": bot.org_id, "execution_id": waiting["execution_id"], "tool": "refund"} | refund() | more
    return bot.post(gate, "/api/v1/execute", body)


# The whole way


def test_approved(ada: Person, bot: Governed, waiting: dict[str, Any]) -> None:
    """Asked, approved, consumed, and then it may happen: once."""
    assert execute(bot, waiting).body["error_code"] == "APPROVAL_NOT_YET_APPROVED"
    assert ok(decide(ada, waiting, "approve"))["status"] == "APPROVED"
    body = {"organization_id": bot.org_id, "execution_id": waiting["execution_id"]}
    assert consume(bot, waiting["approval_id"], body).body == {
        "approval_id": waiting["approval_id"],
        "status": "consumed",
    }
    answer = execute(bot, waiting)
    assert (answer.status, answer.body["decision"]) == (200, "allow"), answer
    assert answer.body["reservation_id"] == waiting["reservation_id"]
    again = execute(bot, waiting)
    assert (again.status, again.body["error_code"]) == (403, "APPROVAL_REPLAY_REJECTED")


def test_human_approvals_of_a_workflow(ada: Person, vic: Person, bot: Governed) -> None:
    """Switched on over HTTP, the next call of a tool waits, without any rule; people see and decide it as others."""
    workflow = org_path(ada, f"/workflows/{bot.workflow_id}")
    assert ok(bot.gate(gate, **refund()))["decision"] == "allow"
    ok(call(workflows, "PATCH", workflow, headers=ada.headers, json={"human_approvals_enabled": True}))
    waiting = asked(bot)
    (row,) = ok(send("GET", approvals(ada), vic))["approvals"]
    assert (row["id"], row["rule_id"], row["tool"], row["risk_level"]) == (
        waiting["approval_id"], None, "refund", "MEDIUM",
    )  # fmt: skip
    assert ok(decide(ada, waiting, "approve"))["status"] == "APPROVED"
    assert execute(bot, waiting).status == 200


def test_denied(ada: Person, bot: Governed, waiting: dict[str, Any]) -> None:
    """The reason reaches whoever asked."""
    decide(ada, waiting, "deny", {"note": "too much"})
    answer = execute(bot, waiting)
    assert (answer.status, answer.body["error_code"], answer.body["category"]) == (403, "APPROVAL_DENIED", "denied")
    assert "too much" in answer.body["message"]
    assert consume(bot, waiting["approval_id"]).body["status"] == "not_approved"


def test_what_was_approved_is_what_may_happen(ada: Person, bot: Governed, waiting: dict[str, Any]) -> None:
    """Other parameters have another digest."""
    decide(ada, waiting, "approve")
    answer = execute(bot, waiting, **refund("901"))
    assert (answer.status, answer.body["error_code"]) == (403, "APPROVAL_DIGEST_MISMATCH")


def test_the_gate_refuses_more_than_fifty(ada: Person, bot: Governed, waiting: dict[str, Any]) -> None:
    """429, until somebody decides."""
    for _ in range(MOST_PENDING - 1):
        asked(bot)
    answer = bot.gate(gate, operation_id=ids.uuid4(), **refund())
    assert (answer.status, answer.body["error_code"]) == (429, "TOO_MANY_PENDING_APPROVALS")
    decide(ada, waiting, "deny")
    asked(bot)


def test_the_sweep_ends_what_nobody_decides(
    held: HeldClock, services: Services, ada: Person, waiting: dict[str, Any]
) -> None:
    """And tells decisions again as long as nobody has heard them."""
    second = asked_again(services, ada)
    decide(ada, second, "approve")
    held.advance(0.5)
    assert services.governance.sweep.run() == 1
    held.advance(300)
    services.governance.sweep.run()
    rows = ok(send("GET", approvals(ada), ada))["approvals"]
    assert [row["status"] for row in rows] == ["REVOKED", "EXPIRED"]
    assert services.governance.approvals.pending(ada.org_id) == 0


def asked_again(services: Services, ada: Person) -> dict[str, Any]:
    return asked(govern(services, org_id=ada.org_id, name="second"))


# Looking


def test_get_200(ada: Person, vic: Person, bot: Governed, rule: dict[str, Any], waiting: dict[str, Any]) -> None:
    """The documented fields: what it is about, and until when it can be decided."""
    path = approvals(ada, f"/{waiting['approval_id']}")
    row = ok(send("GET", path, vic))
    assert row.keys() == FIELDS
    assert (row["id"], row["organization_id"], row["workflow_id"]) == (row["approval_id"], ada.org_id, bot.workflow_id)
    assert (row["execution_id"], row["rule_id"]) == (waiting["execution_id"], rule["id"])
    assert (row["status"], row["tool"], row["action_label"], row["risk_level"]) == (
        "PENDING",
        "refund",
        "Refund",
        "HIGH",
    )
    assert row["business_impact"] == refund()["business_impact"]
    assert row["action_digest"] == refund()["action_digest"]
    lasts_ms = clock.parse_rfc3339(row["expires_at"]) - clock.parse_rfc3339(row["created_at"])
    assert lasts_ms == waiting["approval_timeout_seconds"] * 1000 == 300_000
    assert send("GET", path, {"x-api-key": bot.key}).body == row


def test_list_200(ada: Person, vic: Person, bot: Governed, waiting: dict[str, Any]) -> None:
    """Newest first, by status and by whether they wait still, in parts."""
    second = asked(bot)
    decide(ada, waiting, "approve")

    def found(query: str = "", who: Person | dict[str, str] = vic) -> list[str]:
        body = ok(send("GET", approvals(ada, query), who))
        assert body["total"] == len(body["approvals"])
        return [row["id"] for row in body["approvals"]]

    first_id, second_id = waiting["approval_id"], second["approval_id"]
    assert found() == found(who={"x-api-key": bot.key}) == [second_id, first_id]
    assert found("?status=PENDING") == found("?status=pending") == found("?history=false") == [second_id]
    assert found("?status=APPROVED") == found("?history=true") == found("?history=1") == [first_id]
    assert found("?status=DENIED") == []
    part = send("GET", approvals(ada, "?limit=1"), ada).body
    assert ([row["id"] for row in part["approvals"]], part["total"]) == ([second_id], 2)
    rest = send("GET", approvals(ada, f"?limit=1&cursor={part['next_cursor']}"), ada).body
    assert [row["id"] for row in rest["approvals"]] == [first_id]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize("query", ["limit=0", "cursor=%20", "status=NEW", "history=maybe"])
def test_list_400(ada: Person, query: str) -> None:
    """Bad paging and unknown filters."""
    answer = send("GET", approvals(ada, f"?{query}"), ada)
    assert (answer.status, answer.body["error"]) == (400, "bad_request")


# Deciding


@pytest.mark.parametrize(("outcome", "status"), [("approve", "APPROVED"), ("deny", "DENIED")])
def test_decide_200(ada: Person, olga: Person, waiting: dict[str, Any], outcome: str, status: str) -> None:
    """An operator decides, with a note if there is something to say."""
    answer = send(
        "POST", approvals(ada, f"/{waiting['approval_id']}/{outcome}"), olga, {"note": "gut so", "unknown": 1}
    )
    row = ok(answer)
    assert (row["status"], row["note"], row["decided_by"]) == (status, "gut so", olga.id)
    assert row["decided_at"] is not None
    assert send("GET", approvals(ada, f"/{waiting['approval_id']}"), ada).body == row


def test_decide_409(ada: Person, waiting: dict[str, Any]) -> None:
    """What is decided stays so; denying twice is taken."""
    before = ok(decide(ada, waiting, "deny"))
    assert ok(decide(ada, waiting, "deny", {"note": "again"})) == before
    answer = decide(ada, waiting, "approve")
    assert (answer.status, answer.body["error"]) == (409, "approval_already_decided")
    assert answer.body["error_code"] == "APPROVAL_ALREADY_DECIDED"
    assert answer.body["details"] == {"status": "DENIED"}


@pytest.mark.parametrize("outcome", ["approve", "deny"])
@pytest.mark.parametrize("raw", [b"{", b"[]", b"null", b'{"note": "\\udc00"}'])
def test_decide_400(ada: Person, waiting: dict[str, Any], outcome: str, raw: bytes) -> None:
    """A body that is no object decides nothing."""
    answer = decide(ada, waiting, outcome, raw=raw)
    assert (answer.status, answer.body["error"]) == (400, "invalid_json")
    assert send("GET", approvals(ada, f"/{waiting['approval_id']}"), ada).body["status"] == "PENDING"


@pytest.mark.parametrize("outcome", ["approve", "deny"])
@pytest.mark.parametrize("note", [5, "x" * 2001, "a\0b"])
def test_decide_422(ada: Person, waiting: dict[str, Any], outcome: str, note: Any) -> None:
    """Nor does a bad note."""
    answer = decide(ada, waiting, outcome, {"note": note})
    assert (answer.status, answer.body["details"]["field"]) == (422, "note")
    assert send("GET", approvals(ada, f"/{waiting['approval_id']}"), ada).body["status"] == "PENDING"


@pytest.mark.parametrize("outcome", ["approve", "deny"])
def test_decide_413(ada: Person, waiting: dict[str, Any], outcome: str) -> None:
    """A body beyond what anybody may send."""
    assert decide(ada, waiting, outcome, raw=b" " * (LARGEST + 1)).status == 413


@pytest.mark.parametrize("outcome", ["approve", "deny"])
def test_decide_503(ada: Person, waiting: dict[str, Any], outcome: str, unwritable: Callable[[], None]) -> None:
    """When the store takes nothing."""
    unwritable()
    assert decide(ada, waiting, outcome).status == 503


@pytest.mark.parametrize("approval_id", ["x", UNKNOWN, "%00", "a" * 3000])
def test_404(ada: Person, bot: Governed, approval_id: str) -> None:
    """No such approval, before the body is looked at."""
    for method, rest in (("GET", ""), ("POST", "/approve"), ("POST", "/deny")):
        answer = send(method, approvals(ada, f"/{approval_id}{rest}"), ada, raw=b"{" if rest else None)
        assert (answer.status, answer.body["error"]) == (404, "not_found")
    assert consume(bot, approval_id).status == 404


def test_404_for_another_orgs_approval(bob: Person, services: Services, waiting: dict[str, Any]) -> None:
    """In one's own org it is not there, for people and for keys."""
    path = approvals(bob, f"/{waiting['approval_id']}")
    for method, rest in (("GET", ""), ("POST", "/approve"), ("POST", "/deny")):
        assert send(method, path + rest, bob).status == 404
    stranger = govern(services, org_id=bob.org_id)
    assert consume(stranger, waiting["approval_id"]).status == 404


def test_401_and_403(ada: Person, bob: Person, vic: Person, bot: Governed, waiting: dict[str, Any]) -> None:
    """Nobody without credentials; strangers not at all; viewers and keys only look."""
    one = approvals(ada, f"/{waiting['approval_id']}")
    for method, path in (("GET", approvals(ada)), ("GET", one), ("POST", f"{one}/approve"), ("POST", f"{one}/deny")):
        assert send(method, path).status == 401
        assert send(method, path, bob).status == 403
    for rest in ("/approve", "/deny"):
        for who in (vic, {"x-api-key": bot.key}):
            answer = send("POST", one + rest, who, raw=b"{")
            assert (answer.status, answer.body["error"]) == (403, "forbidden")
    assert send("GET", one, ada).body["status"] == "PENDING"


# Consuming


def test_consume_200(ada: Person, bot: Governed, waiting: dict[str, Any]) -> None:
    """Always answered; only what is approved is consumed, and once."""
    approval_id = waiting["approval_id"]
    assert consume(bot, approval_id).body == {"approval_id": approval_id, "status": "not_approved"}
    decide(ada, waiting, "approve")
    for body, status in (({"organization_id": "local", "execution_id": "x"}, "consumed"), ({}, "already_consumed")):
        answer = consume(bot, approval_id, body)
        assert (answer.status, answer.body["status"]) == (200, status)
    row = send("GET", approvals(ada, f"/{approval_id}"), ada).body
    assert row["status"] == "CONSUMED"
    assert row["consumed_at"] is not None


def test_consume_without_a_body(ada: Person, bot: Governed, waiting: dict[str, Any]) -> None:
    """The key and the path say it all."""
    decide(ada, waiting, "approve")
    answer = bot.post(handler, f"/api/v1/approvals/{waiting['approval_id']}/consume", b"")
    assert (answer.status, answer.body["status"]) == (200, "consumed")


def test_consume_401_for_a_revoked_key(services: Services, ada: Person, bot: Governed, waiting: dict[str, Any]) -> None:
    """Also where the key is remembered as good: nothing is consumed by it any more."""
    decide(ada, waiting, "approve")
    assert consume(bot, UNKNOWN).status == 404
    owner = services.identity.authenticator.authenticate(ada.headers["authorization"], org=bot.org_id)
    services.governance.keys.revoke_all_of_org(owner)
    answer = consume(bot, waiting["approval_id"])
    assert (answer.status, answer.body["error_code"]) == (401, "API_KEY_REVOKED")


def test_consume_404_for_another_org(ada: Person, bob: Person, bot: Governed, waiting: dict[str, Any]) -> None:
    """A body that names another org than the key's; nothing is consumed."""
    decide(ada, waiting, "approve")
    assert consume(bot, waiting["approval_id"], {"organization_id": bob.org_id}).status == 404
    assert send("GET", approvals(ada, f"/{waiting['approval_id']}"), ada).body["status"] == "APPROVED"


def test_consume_401(ada: Person, bot: Governed, waiting: dict[str, Any]) -> None:
    """A key is needed; a session is none, and a wrong signature is refused."""
    path = f"/api/v1/approvals/{waiting['approval_id']}/consume"
    for headers in ({}, ada.headers, {"x-api-key": "nr_live_" + "x" * 32}):
        assert send("POST", path, headers).status == 401
    answer = bot.post(handler, path, {}, x_signature="0" * 64)
    assert (answer.status, answer.body["error_code"]) == (401, "HMAC_MISMATCH")


@pytest.mark.parametrize(("protocol", "code"), [("1", "PROTOCOL_TOO_OLD"), ("x", "PROTOCOL_HEADER_INVALID")])
def test_consume_400_for_the_protocol(bot: Governed, waiting: dict[str, Any], protocol: str, code: str) -> None:
    """A protocol that is not spoken."""
    answer = bot.post(handler, f"/api/v1/approvals/{waiting['approval_id']}/consume", {}, x_nullrun_protocol=protocol)
    assert (answer.status, answer.body["error_code"]) == (400, code)


@pytest.mark.parametrize("body", [b"{", b"[]"])
def test_consume_400(bot: Governed, waiting: dict[str, Any], body: bytes) -> None:
    """A body that is no object."""
    assert consume(bot, waiting["approval_id"], body).status == 400


@pytest.mark.parametrize("field", ["organization_id", "execution_id"])
def test_consume_422(bot: Governed, waiting: dict[str, Any], field: str) -> None:
    """Fields of another type."""
    answer = consume(bot, waiting["approval_id"], {field: 5})
    assert (answer.status, answer.body["details"]["field"]) == (422, field)


def test_consume_413(bot: Governed, waiting: dict[str, Any]) -> None:
    """A body beyond what anybody may send."""
    assert consume(bot, waiting["approval_id"], b" " * (LARGEST + 1)).status == 413


def test_consume_503(ada: Person, bot: Governed, waiting: dict[str, Any], unwritable: Callable[[], None]) -> None:
    """When the store takes nothing."""
    decide(ada, waiting, "approve")
    unwritable()
    assert consume(bot, waiting["approval_id"]).status == 503


def test_keys_of_any_scope_may_consume(services: Services, ada: Person, waiting: dict[str, Any]) -> None:
    """Whoever asked may also say that it was heard."""
    decide(ada, waiting, "approve")
    other = govern(services, org_id=ada.org_id, name="other", scopes=("track",))
    assert consume(other, waiting["approval_id"]).body["status"] == "consumed"
