"""``idempotency_key``, ``idempotency_ttl``: what was done under a key is answered again instead of being done again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from shared.engine.kinds.base import Call, Done, NodeFailed
from shared.engine.kinds.scripting import DURATION, seconds, text_of
from shared.engine.kinds.secrecy import without_secrets
from shared.kit import json

DEFAULT_TTL_S = 24 * 3600.0
ONCE_PARAMETERS: dict[str, Any] = {
    "idempotency_key": {
        "type": ["string", "number"],
        "description": "Names the operation: while its result is kept, it is answered instead of acting again.",
    },
    "idempotency_ttl": DURATION | {"description": "How long the result is kept; 24h unless given."},
}


def once(call: Call, work: Callable[[], Done]) -> Done:
    """Do ``work``, unless its result is stored under the author's key; a failure is not stored.

    A key is the node's own: the same key in another node, flow or account is another operation.
    """
    key = operation(call)
    if key is None:
        return work()
    ttl_s = _ttl(call)
    stored = call.services.operations.get(call.execution.org_id, key)
    if stored is not None:
        call.log("debug", "Stored result used")
        return Done(stored["output"], tuple(stored["actions"]))
    done = work()
    if ttl_s > 0:
        result = {"output": without_secrets(call, done.output), "actions": list(done.actions)}
        call.services.operations.put(call.execution.org_id, key, result, ttl_s)
    return done


def operation(call: Call) -> str | None:
    """The name of the operation among all of the org's, in hex; None when the author gave no key."""
    if "idempotency_key" not in call.params:
        return None
    given = call.params["idempotency_key"]
    if given is None or given == "" or isinstance(given, (bool, list, dict)):
        raise NodeFailed("idempotency_key must be text that is not empty", retryable=False)
    facts = call.execution
    parts = [facts.account_id, facts.definition_id, call.node.name, text_of(given)]
    return hashlib.sha256(json.dumpb(parts)).hexdigest()


def _ttl(call: Call) -> float:
    given = call.params.get("idempotency_ttl")
    return DEFAULT_TTL_S if given is None or given == "" else seconds(given, "idempotency_ttl")
