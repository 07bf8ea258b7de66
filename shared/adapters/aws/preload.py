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

MODULES: dict[str, tuple[str, ...]] = {
    "accounts": (_KEYS,),
    "auth": (_KEYS,),
    "channels": (_KEYS, _BLOBS, _DRIVER, _SOCKETS, _SEAL, "shared.engine.service", "shared.governance.services"),
    "engine": (_KEYS, _BLOBS, _DRIVER, *_RUNNING),
    "executions": (_KEYS, _BLOBS, _DRIVER, "shared.engine.service"),
    "flows": (_KEYS, _BLOBS, "shared.dialects.flowrunner"),
    "relay": (_KEYS, _BLOBS, _DRIVER, _SOCKETS, *_RELAYED),
    "secrets": (_KEYS, "shared.vault"),
    "sweep": (_KEYS, _BLOBS, _DRIVER, *_RUNNING, "shared.engine.sweep", "shared.identity"),
    "system": (_KEYS,),
}


def preload(family: str) -> None:
    """Import what the first event of a family needs."""
    for module in MODULES.get(family, ()):
        import_module(module)
    if family == "engine":
        from shared.engine.kinds import registry

        registry()
