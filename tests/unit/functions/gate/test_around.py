"""What the SDK asks around its calls: verify, capabilities, check, cancel, heartbeat, status, approximate spend."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from functions.gate.app import handler
from shared.composition import Services
from shared.governance import plans
from shared.governance.money import MICRO
from shared.governance.plans import PLANS
from shared.governance.policies import Policies
from shared.kit import clock, ids
from shared.store.models.governance import Operation
from tests.support.apigw import Answer, bearer, call
from tests.support.deployment import deployment, sign_up
from tests.support.governance import Governed, govern, owner
from tests.support.time import HeldClock

_CHAIN = "2f1f9c59-7c0b-4f3c-9b62-0c6a0d3ee0c5"


@pytest.fixture
def bot(services: Services) -> Governed:
    """A workflow with ten cents."""
    return govern(services, budget_cents=10)


def _get(path: str, **headers: str) -> Answer:
    return call(handler, "GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})


# verify


@pytest.mark.parametrize("where", ["header", "body"])
def test_a_key_learns_what_it_is(bot: Governed, where: str) -> None:
    """Org, workflow, plan and the very secret it was minted with; no signature needed."""
    headers = {"x-api-key": bot.key} if where == "header" else {}
    body = {"api_key": bot.key} if where == "body" else None
    status, _, found = call(handler, "POST", "/api/v1/auth/verify", headers=headers, json=body)
    assert status == 200
    assert (found["valid"], found["organization_id"], found["workflow_id"]) == (True, bot.org_id, bot.workflow_id)
    assert (found["secret_key"], found["key_version"], found["role"], found["plan"]) == (bot.secret, 1, None, "growth")
    assert found["limits"]["workflows"] == 50 and found["features"]["approvals"] is True


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "API_KEY_MISSING"),
        ({"x-api-key": "sk_live_1"}, "API_KEY_MALFORMED"),
        ({"x-api-key": "nr_live_" + "a" * 32}, "API_KEY_INVALID"),
    ],
)
def test_what_is_no_key_is_refused(bot: Governed, headers: dict[str, str], code: str) -> None:
    """401 with valid false and the reason's code."""
    answer = call(handler, "POST", "/api/v1/auth/verify", headers=headers)
    assert (answer.status, answer.body["error_code"], answer.body["valid"]) == (401, code, False)


def test_an_expired_key_is_refused(held: HeldClock, services: Services, bot: Governed) -> None:
    """401 API_KEY_EXPIRED from its last moment on."""
    from shared.governance.key_forms import NewKey

    wanted = NewKey(name="brief", workflow_id=bot.workflow_id, expires_ms=held.now_ms() + 60_000)
    minted = services.governance.keys.mint(owner(), wanted)
    brief = Governed(bot.org_id, bot.workflow_id, minted.view.id, minted.key, minted.secret)
    assert brief.gate(handler).status == 200
    held.advance(60)
    assert brief.gate(handler).body["error_code"] == "API_KEY_EXPIRED"


@pytest.mark.parametrize(("path", "scope"), [("/api/v1/gate", "gate"), ("/api/v1/execute", "execute")])
def test_a_key_needs_the_scope(services: Services, path: str, scope: str) -> None:
    """403 missing_scope names it; check and cancel ask for none."""
    bot = govern(services, scopes=("track",))
    answer = bot.post(handler, path, {"organization_id": "local"})
    assert (answer.status, answer.body["error"], answer.body["details"]["scope"]) == (403, "missing_scope", scope)
    assert bot.post(handler, "/api/v1/check", {"organization_id": "local"}).status == 200
    assert call(handler, "POST", "/api/v1/auth/verify", headers={"x-api-key": bot.key}).status == 403


def test_signatures_may_be_demanded(tmp_path: Path) -> None:
    """With hmac_required an unsigned call is 401; verify stays callable, for there the secret is learnt."""
    with deployment(tmp_path, hmac_required=True) as services:
        bot = govern(services)
        headers = {"x-api-key": bot.key}
        bare = call(handler, "POST", "/api/v1/gate", headers=headers, json={"organization_id": "local"})
        assert (bare.status, bare.body["error_code"]) == (401, "HMAC_MISMATCH")
        assert call(handler, "POST", "/api/v1/auth/verify", headers=headers).status == 200
        assert bot.gate(handler).status == 200


def test_unsigned_calls_pass_where_nothing_is_demanded(bot: Governed) -> None:
    """The default of one machine; a wrong signature is refused all the same, in whatever case it is written."""
    headers = {"x-api-key": bot.key}
    assert call(handler, "POST", "/api/v1/gate", headers=headers, json={"organization_id": "local"}).status == 200
    raw = b'{"organization_id":"local"}'
    signed = bot.signed(raw)
    for wrong in (signed["x-signature"].upper(), signed["x-signature"][:-1], "", "f" * 64):
        answer = call(handler, "POST", "/api/v1/gate", headers=signed | {"x-signature": wrong}, raw=raw)
        assert (answer.status, answer.body["error_code"]) == (401, "HMAC_MISMATCH")


def test_a_bearer_key_posts_nothing(bot: Governed) -> None:
    """A key in the place of a session is read on GETs alone."""
    answer = call(handler, "POST", "/api/v1/gate", headers=bearer(bot.key), json={"organization_id": "local"})
    assert (answer.status, answer.body["error_code"]) == (401, "API_KEY_MISSING")
    assert call(handler, "GET", f"/api/v1/status/{bot.workflow_id}", headers=bearer(bot.key)).status == 200


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ("1", "PROTOCOL_TOO_OLD"),
        ("5", "PROTOCOL_TOO_NEW"),
        ("new", "PROTOCOL_HEADER_INVALID"),
        ("-1", "PROTOCOL_HEADER_INVALID"),
    ],
)
@pytest.mark.parametrize("path", ["gate", "execute", "check", "cancel", "heartbeat"])
def test_protocols(bot: Governed, path: str, sent: str, code: str) -> None:
    """400 outside 2 to 4; absent counts as 4."""
    answer = bot.post(handler, f"/api/v1/{path}", {"organization_id": "local"}, X_NULLRUN_PROTOCOL=sent)
    assert (answer.status, answer.body["error_code"]) == (400, code)


@pytest.mark.parametrize("sent", ["2", "3", "4"])
def test_protocols_that_are_spoken(bot: Governed, sent: str) -> None:
    """All of those that are announced."""
    assert bot.post(handler, "/api/v1/gate", {"organization_id": "local"}, X_NULLRUN_PROTOCOL=sent).status == 200


def test_capabilities_need_no_key(services: Services) -> None:
    """The three flags that the SDK demands are on."""
    status, _, body = _get("/api/v1/capabilities")
    flags = body["capabilities"]
    assert (status, body["min_protocol_version"], body["max_protocol_version"]) == (200, 2, 4)
    assert flags["server_minted_execution_id"] and flags["per_execution_reservations"] and flags["heartbeat_time_based"]


# check


def test_check_reserves_nothing(bot: Governed) -> None:
    """The gate's answer without a reservation, and its refusal when there is no money."""
    status, _, body = bot.post(handler, "/api/v1/check", {"organization_id": "local"})
    assert (status, body["decision"], body["reservation_id"]) == (200, "allow", None)
    assert bot.purse.reserved == 0
    for _ in range(10):
        bot.gate(handler)
    assert bot.post(handler, "/api/v1/check", {"organization_id": "local"}).status == 402


# cancel and heartbeat


def test_a_cancel_releases_once(bot: Governed) -> None:
    """The second one answers that it had been done."""
    execution_id = bot.gate(handler).body["reservation_id"]
    assert bot.purse.reserved == MICRO
    first = bot.post(handler, "/api/v1/cancel", {"execution_id": execution_id, "reason": "tool_exception"})
    again = bot.post(handler, "/api/v1/cancel", {"execution_id": execution_id, "reason": "tool_exception"})
    assert (first.status, first.body["reservation_released_cents"], first.body["already_canceled"]) == (200, 1, False)
    assert (again.status, again.body["reservation_released_cents"], again.body["already_canceled"]) == (200, 0, True)
    assert bot.purse.reserved == 0


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("cancel", {"execution_id": ids.uuid7()}, 404),
        ("cancel", {"execution_id": 5}, 422),
        ("cancel", {}, 422),
        ("cancel", [], 400),
        ("heartbeat", {"chain_id": _CHAIN}, 404),
        ("heartbeat", {"chain_id": "x"}, 422),
        ("heartbeat", [], 400),
    ],
)
def test_cancel_and_heartbeat_of_nothing(bot: Governed, path: str, body: Any, status: int) -> None:
    """Unknown is 404, malformed 422, no object 400."""
    assert bot.post(handler, f"/api/v1/{path}", body).status == status


def test_a_chain_lives_by_heartbeats(held: HeldClock, bot: Governed) -> None:
    """Begun by a gate call, kept by heartbeats, over after five idle minutes."""
    assert bot.gate(handler, chain_id=_CHAIN, chain_op="start").status == 200
    for _ in range(3):
        held.advance(200)
        alive = bot.post(handler, "/api/v1/heartbeat", {"chain_id": _CHAIN})
        assert (alive.status, alive.body["last_active"]) == (200, held.now_ms() // 1000)
    held.advance(301)
    assert bot.post(handler, "/api/v1/heartbeat", {"chain_id": _CHAIN}).status == 409


def test_a_chain_has_a_longest_duration(held: HeldClock, bot: Governed) -> None:
    """402 after an hour; the code at the gate is one that the SDK can raise."""
    bot.gate(handler, chain_id=_CHAIN)
    for _ in range(18):
        held.advance(200)
        bot.post(handler, "/api/v1/heartbeat", {"chain_id": _CHAIN})
    answer = bot.gate(handler, chain_id=_CHAIN)
    assert (answer.status, answer.body["error_code"]) == (402, "CHAIN_MAX_DURATION_EXCEEDED")
    assert answer.body["details"]["error_code"] == "CHAIN_EXPIRED"


def test_a_soft_budget_is_overdrawn_inside_a_chain(services: Services, bot: Governed) -> None:
    """soft_pass up to the overdraft, then hard; outside a chain it is hard at once."""
    policies: Policies = services.governance.policies
    config = {"budget_cents": 2, "max_overdraft_cents": 2, "max_overdraft_percent": 100}
    body = {"name": "Soft", "policy_type": "BudgetLimit", "scope": "Workflow", "workflow_id": bot.workflow_id}
    policies.create(owner(), body | {"enforcement_mode": "Soft", "config": config})
    decisions = [bot.gate(handler, chain_id=_CHAIN).body for _ in range(5)]
    assert [row["decision"] for row in decisions] == ["allow", "allow", "soft_pass", "soft_pass", "block"]
    assert decisions[2]["remaining_overdraft_cents"] == 1
    assert decisions[4]["error_code"] == "BUDGET_OVERDRAFT_EXCEEDED"
    assert bot.gate(handler).body["error_code"] == "BUDGET_WORKFLOW_BLOCKED"


# status and approximate spend


def test_a_poll_sees_the_state(services: Services, bot: Governed) -> None:
    """Paused is in lower case there, or the SDK would never see the resume; any text means the key's workflow."""
    change = services.governance.workflows.change_state
    states = []
    for step in ("pause", "resume", "kill"):
        change(owner(), bot.workflow_id, step, "why")
        found = _get("/api/v1/status/my%20bot", x_api_key=bot.key).body
        states.append((found["state"], found["version"], found["workflow_id"]))
    assert states == [("paused", 2, "my bot"), ("Normal", 3, "my bot"), ("Killed", 4, "my bot")]


def test_a_person_polls_their_own(services: Services) -> None:
    """By id, in the acting org; another's workflow does not exist."""
    ada, bob = sign_up("ada"), sign_up("bob")
    bot = govern(services, org_id=ada.org_id)
    assert call(handler, "GET", f"/api/v1/status/{bot.workflow_id}", headers=ada.headers).status == 200
    assert call(handler, "GET", f"/api/v1/status/{bot.workflow_id}", headers=bob.headers).status == 404
    assert _get(f"/api/v1/status/{bot.workflow_id}").status == 401


def test_approximate_spend(bot: Governed) -> None:
    """What the workflow has spent, never made up."""
    status, _, body = _get("/api/v1/budget/approximate", x_api_key=bot.key)
    assert (status, body["current_spend_cents_estimate"], body["is_approximate"]) == (200, 0, True)


def test_rates_are_limited_by_key(held: HeldClock, services: Services, bot: Governed) -> None:
    """429 with Retry-After in header and body; the next minute is free again; other keys are not concerned."""
    from shared.governance.key_forms import NewKey

    body = {"name": "Slow", "policy_type": "RateLimit", "scope": "Org", "config": {"max_calls_per_minute": 2}}
    services.governance.policies.create(owner(), body)
    assert [bot.gate(handler).status for _ in range(3)] == [200, 200, 429]
    status, headers, refused = bot.gate(handler)
    assert (status, refused["error_code"]) == (429, "RATE_LIMIT_EXCEEDED")
    assert int(headers["retry-after"]) * 1000 == refused["retry_after_ms"]
    assert refused["details"]["limit_per_minute"] == refused["details"]["current_count"] == 2
    minted = services.governance.keys.mint(owner(), NewKey(name="other", workflow_id=bot.workflow_id))
    other = Governed(bot.org_id, bot.workflow_id, minted.view.id, minted.key, minted.secret)
    assert other.gate(handler).status == 200
    held.advance(int(headers["retry-after"]))
    assert bot.gate(handler).status == 200


def test_an_org_has_one_ceiling(services: Services, bot: Governed) -> None:
    """Two workflows share it; the code says that it is the org's."""
    other = govern(services, name="other", budget_cents=10)
    body = {"name": "Ceiling", "policy_type": "BudgetLimit", "scope": "Org", "config": {"budget_cents": 3}}
    services.governance.policies.create(owner(), body)
    assert [bot.gate(handler).status, other.gate(handler).status, bot.gate(handler).status] == [200] * 3
    for refused in (bot.gate(handler), other.gate(handler)):
        assert (refused.status, refused.body["error_code"]) == (402, "BUDGET_ORG_CEILING_BLOCKED")


def test_a_key_has_a_budget_of_its_own(services: Services, bot: Governed) -> None:
    """402 for that key only."""
    from shared.governance.key_forms import NewKey

    body = {"name": "Key", "policy_type": "BudgetLimit", "scope": "ApiKey", "api_key_id": bot.key_id}
    services.governance.policies.create(owner(), body | {"config": {"budget_cents": 1}})
    minted = services.governance.keys.mint(owner(), NewKey(name="other", workflow_id=bot.workflow_id))
    other = Governed(bot.org_id, bot.workflow_id, minted.view.id, minted.key, minted.secret)
    assert [bot.gate(handler).status, bot.gate(handler).status, other.gate(handler).status] == [200, 402, 200]


def _refusals(bot: Governed) -> list[str]:
    """The codes of the refusals that were written down."""
    return [row.error_code for row in Operation.by_org.query(bot.org_id) if row.error_code is not None]


def test_an_org_may_be_limited(tmp_path: Path) -> None:
    """429 for the whole organisation where the deployment says so, listed once a minute; checks are not counted."""
    with deployment(tmp_path, org_requests_per_second=1) as services, clock.use(HeldClock()):
        bot = govern(services)
        assert bot.post(handler, "/api/v1/check", {"organization_id": "local"}).status == 200
        assert bot.gate(handler).status == 200
        refused = bot.gate(handler)
        assert (refused.status, refused.body["details"]["scope"]) == (429, "organization")
        assert bot.gate(handler).status == 429
        assert _refusals(bot) == ["RATE_LIMIT_EXCEEDED"]


def test_a_plan_may_be_enforced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls within the plan pass, counted from what was asked of the gate; the others are refused, listed once."""
    small = replace(PLANS["lite"], limits={**PLANS["lite"].limits, "executions": 1})
    monkeypatch.setattr(plans, "PLANS", {"lite": small})
    held = HeldClock()
    with deployment(tmp_path, plan_enforcement=True, default_plan="lite") as services, clock.use(held):
        bot = govern(services)
        assert bot.gate(handler).status == 200
        held.advance(60)
        refused = bot.gate(handler)
        assert (refused.status, refused.body["error_code"]) == (403, "EXECUTION_QUOTA_EXCEEDED")
        assert bot.gate(handler).status == 403
        assert _refusals(bot) == ["EXECUTION_QUOTA_EXCEEDED"]
