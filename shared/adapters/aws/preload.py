"""What each function imports when it starts, beside its handler.

A snapshot (or the start of a function, when the processor is free of charge) holds what was imported by then; what is
imported later, its first caller waits for. Nothing is connected, read or drawn by chance here: only modules are loaded.
"""

from __future__ import annotations

from importlib import import_module

_KEYS = "shared.adapters.aws.keys"
_BLOBS = "shared.adapters.aws.blobs"
_DRIVER = "shared.adapters.aws.stepfunctions"
_SOCKETS = "shared.adapters.aws.websockets"
_SEAL = "cryptography.hazmat.primitives.ciphers.aead"
_RELAYED = (
    _SEAL, "shared.adapters.aws.streams", "shared.dialects.flowrunner.readers", "shared.engine.wakeups",
    "shared.governance.control",
)  # fmt: skip
_RUNNING = (
    "shared.adapters.embedded.workers", "shared.catalog", "shared.dialects.flowrunner", "shared.engine.advance",
    "shared.engine.expressions.javascript", "shared.engine.expressions.pool", "shared.outbound", "shared.vault",
)  # fmt: skip
_AGENTS = (_KEYS, "shared.assembly")
_PEOPLE = (*_AGENTS, "jwt", "shared.identity.service")


def _governing(*modules: str) -> tuple[str, ...]:
    return tuple(f"shared.governance.{module}" for module in ("services", *modules))


_FOLLOWED = _governing(
    "alerts", "approvals", "audit", "deliveries", "exports", "flowcommands", "notifications", "outbox", "senders"
)

MODULES: dict[str, tuple[str, ...]] = {
    "accounts": _PEOPLE,
    "alerts": (
        *_PEOPLE, "shared.vault",
        *_governing("alerts", "channels", "dashboard", "deliveries", "notifications", "quota", "senders", "status"),
    ),
    "approvals": (*_PEOPLE, *_governing("approvals", "flowcommands", "ruleservice")),
    "audit": (
        *_PEOPLE, _BLOBS, "shared.engine.service", *_governing("audit", "executions", "exports", "flowruns"),
    ),
    "auth": _PEOPLE,
    "channels": (*_PEOPLE, _BLOBS, _DRIVER, _SOCKETS, _SEAL, "shared.engine.service", *_governing("control")),
    "engine": (*_AGENTS, _BLOBS, _DRIVER, *_RUNNING, *_governing("approvals", "flowgate", "gate", "tracking")),
    "executions": (*_PEOPLE, _BLOBS, _DRIVER, "shared.engine.service"),
    "flows": (*_PEOPLE, _BLOBS, "shared.dialects.flowrunner"),
    "gate": (
        *_AGENTS,
        *_governing("aliases", "approvals", "chains", "executing", "gate", "reservations", "spend", "touches"),
    ),
    "orgs": (*_PEOPLE, *_governing("invites", "members", "orgs", "registration")),
    "policies": (*_PEOPLE, *_governing("policies")),
    "relay": (*_AGENTS, _BLOBS, _DRIVER, _SOCKETS, *_RELAYED, *_FOLLOWED),
    "secrets": (*_PEOPLE, "shared.vault"),
    "signup": (*_PEOPLE, *_governing("oauth", "providers.github", "providers.google", "registration")),
    "sweep": (
        *_PEOPLE, _BLOBS, _DRIVER, _SOCKETS, *_RUNNING, "shared.engine.sweep",
        *_governing("control", "propagation", "sweep"), *_FOLLOWED,
    ),
    "system": (_KEYS,),
    "tracking": (*_AGENTS, *_governing("aliases", "batches", "touches", "tracking")),
    "workflows": (*_PEOPLE, *_governing("bindings", "keys", "workflows")),
}  # fmt: skip


def preload(family: str) -> None:
    """Import what the first event of a family needs."""
    for module in MODULES.get(family, ()):
        import_module(module)
    if family == "engine":
        from shared.engine.kinds import registry

        registry()
