"""Refusals leave a row: they are listed, audited and may raise an alert. A refused flood leaves one row a minute.

Source: docs/rulings.md#refusals.
"""

from __future__ import annotations

import threading

from shared.governance.authentication import KnownKey
from shared.governance.calls import Call
from shared.governance.operations import KEPT_S, operation_tail, pk_of
from shared.governance.refusals import CODES, Refused
from shared.kit import clock, ids, json
from shared.kit.errors import SignalboxError
from shared.kit.logging import logger
from shared.store.models.governance import Operation
from shared.store.transaction import put_if_absent

log = logger("gate")

_REMEMBERED = 4096
_FLOODS = ("RATE_LIMIT_EXCEEDED", "EXECUTION_QUOTA_EXCEEDED")
"""What clients that do not give up are refused for again and again."""


class Recorder:
    """Writes rows of refusals. A row that cannot be written never turns a refusal into something else."""

    def __init__(self) -> None:
        self._told: set[tuple[str, str, int]] = set()
        self._lock = threading.Lock()

    def refused(self, key: KnownKey, call: Call, refusal: Refused, projected: int = 0, *, source: str = "gate") -> None:
        """Record that a call was refused; what is wrong with the request itself is nobody's decision and is not."""
        if CODES[refusal.reason].category == "infra" or not self._is_news(key.key_id, refusal.reason):
            return
        try:
            put_if_absent(_row(key, call, refusal, projected, source))
        except SignalboxError as error:
            log.warning("refusal not recorded", extra={"reason": str(error), "key_id": key.key_id})

    def _is_news(self, key_id: str, code: str) -> bool:
        if code not in _FLOODS:
            return True
        told = key_id, code, clock.now_ms() // 60_000
        with self._lock:
            if told in self._told:
                return False
            if len(self._told) >= _REMEMBERED:
                self._told.clear()
            self._told.add(told)
        return True


def _row(key: KnownKey, call: Call, refusal: Refused, projected: int, source: str) -> Operation:
    now = clock.now_ms()
    # A refusal is no answer to its operation id: asked again, the call is judged again.
    tail = operation_tail(key.key_id, ids.uuid4())
    execution_id = ids.uuid7_with(now, tail)
    policy_version = (refusal.body or {}).get("policy_version")
    return Operation(
        pk_of(key.org_id, tail), "operation", org_id=key.org_id, execution_id=execution_id,
        operation_id=call.operation_id, workflow_id=key.workflow_id, key_id=key.key_id, fingerprint=call.fingerprint,
        source=source, decision="block", status="refused", result="blocked", projected=projected, model=call.model,
        tool=call.tool, tools=None if call.tools is None else json.dumps(list(call.tools)), chain_id=call.chain_id,
        trace_id=call.trace_id, action_digest=call.action_digest, error_code=refusal.reason,
        policy_id=refusal.policy_id, policy_version=policy_version or 0, matched_rule=refusal.matched_rule,
        explanation=refusal.message, created_ms=now, completed_ms=now, ttl=now // 1000 + KEPT_S,
        flow_execution_id=call.flow_execution_id, org_listing=key.org_id, listed_at=execution_id,
    )  # fmt: skip
