"""What a key is told about itself: whose it is, what it may, its secret; and the state of its workflow.

Source: NullRun docs, HTTP API, SDK endpoints; docs/rulings.md#poll-states.
"""

from __future__ import annotations

from typing import Any

from shared.governance.authentication import KnownKey
from shared.governance.money import cents
from shared.governance.orgsettings import org_settings
from shared.governance.plans import plan
from shared.governance.purses import read_purse
from shared.governance.standing import this_minute
from shared.kit.errors import NotFound
from shared.store.models.governance import Purse
from shared.store.models.identity import OrgRecord, org_pk
from shared.store.transaction import read

MIN_PROTOCOL, MAX_PROTOCOL = 2, 4
SDK_MIN_VERSION = "0.15.0"
HEARTBEAT_S = 30
CHAIN_IDLE_S = 300

_POLLED = {"Paused": "paused"}
"""The SDK takes ``Paused`` for an order to stop its own polling, too; in lower case it polls on and sees the resume."""


def verified(key: KnownKey) -> dict[str, Any]:
    """The answer to a key that asks who it is."""
    org, chosen = read(OrgRecord, org_pk(key.org_id), "org"), org_settings(key.org_id)
    allowed = plan(chosen.plan)
    limits = {name: allowed.limit(name) for name in ("workflows", "api_keys", "seats", "policies", "approval_rules")}
    return {
        "valid": True,
        "organization_id": key.org_id,
        "organization_name": "" if org is None else org.name,
        "plan": chosen.plan,
        "role": None,
        "workflow_id": key.workflow_id,
        "secret_key": key.secret,
        "key_version": key.version,
        "features": {
            "alerts": allowed.has("alerts"), "approvals": allowed.has("approvals"),
            "audit_log": allowed.has("audit_log"), "custom_policies": True, "rbac": True, "sso": False,
            "team": allowed.has("team"), "replay": False, "history_days": allowed.limit("history_days"),
        },
        "limits": limits | {
            "max_executions_per_month": allowed.limit("executions"),
            "max_tokens_per_hour": allowed.limit("tokens_per_hour"),
            "max_rps": allowed.limit("requests_per_second"),
        },
    }  # fmt: skip


def capabilities(version: str) -> dict[str, Any]:
    """What the server speaks."""
    return {
        "min_protocol_version": MIN_PROTOCOL,
        "max_protocol_version": MAX_PROTOCOL,
        "protocol_version": MAX_PROTOCOL,
        "sdk_min_version": SDK_MIN_VERSION,
        "server_version": version,
        "lua_script_version": "n/a",
        "endpoints": {},
        "capabilities": {
            "server_minted_execution_id": True, "per_execution_reservations": True, "heartbeat_time_based": True,
            "heartbeat_interval_seconds": HEARTBEAT_S, "heartbeat_skew_tolerance_seconds": 5,
            "chain_idle_ttl_seconds": CHAIN_IDLE_S, "enforcement_modes_soft": True, "idempotency_keys": True,
            "decision_log": True, "outbox_async_drain": True, "execution_graph": False, "wire_evidence_echo": True,
            "rate_limit_fail_scope": {"aggregate": "closed", "per_key": "closed"},
        },
    }  # fmt: skip


def workflow_status(org_id: str, workflow_id: str, asked: str) -> dict[str, Any]:
    """A workflow's state under the text it was asked by, for clients that poll. Raises NotFound."""
    purse = _purse(org_id, workflow_id)
    current = int(purse.minute) == this_minute()
    return {
        "workflow_id": asked,
        "state": _POLLED.get(purse.state, purse.state),
        "version": int(purse.state_version),
        "reason": purse.state_reason,
        "updated_at": int(purse.state_ms) // 1000,
        "current_cost": cents(int(purse.spent)) / 100,
        "rate_per_minute": sum(map(int, purse.calls.attribute_values.values())) if current else 0,
    }


def _purse(org_id: str, workflow_id: str) -> Purse:
    purse = read_purse(org_id, workflow_id)
    # Other scopes have purses as well, under ids that somebody may ask for.
    if purse is None or purse.scope != "workflow":
        raise NotFound("There is no such workflow")
    return purse
