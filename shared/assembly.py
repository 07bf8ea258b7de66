"""How the parts that need many others are put together; each is loaded by :mod:`shared.composition` when asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from shared.kit.errors import Unavailable

if TYPE_CHECKING:
    from shared.composition import Services
    from shared.engine.advance import Advancer
    from shared.governance.executions import FlowRuns
    from shared.governance.services import Governance
    from shared.identity import Departure, Identity
    from shared.push import Reader, Relay


def identity_of(parts: Services) -> Identity:
    """Identity, which tells the other domains when an account leaves."""
    from shared.identity import Identity, IdentityOptions

    chosen = parts.settings
    options = IdentityOptions(
        open_signup=chosen.open_signup,
        bootstrap_token=lambda: _bootstrap_token(parts),
        token_hours=chosen.token_hours,
        lockout_failures=chosen.lockout_failures,
        lockout_seconds=chosen.lockout_seconds,
        address_requests_per_minute=chosen.address_requests_per_minute,
    )
    identity = Identity.build(parts.root_secret, options)
    # In this order: nothing is allowed, then nothing starts any more, then nothing runs, then what it ran with may go.
    identity.add_cleanup(lambda departure: parts.governance.forget(departure))
    identity.add_cleanup(lambda departure: _forget_executions(parts, departure))
    identity.add_cleanup(lambda departure: parts.catalog.forget(departure))
    identity.add_cleanup(lambda departure: parts.secrets.forget(departure))
    identity.add_cleanup(lambda departure: parts.keyvalues.forget(departure))
    identity.add_cleanup(lambda departure: parts.operations.forget(departure))
    return identity


def _forget_executions(parts: Services, departure: Departure) -> None:
    from shared.engine import departure as leaving
    from shared.engine.schedules import forget_schedules
    from shared.identity import memberships

    forget_schedules(departure, [member.org_id for member in memberships(departure.account_id)])
    leaving.cancel_executions(parts.engine, departure)
    leaving.forget_executions(parts.blobs, departure)


def _bootstrap_token(parts: Services) -> str | None:
    """What the first sign-up must bring; None where nothing is asked for."""
    if not parts.settings.bootstrap_secret:
        return None
    from shared.adapters.aws.keys import secret_text

    return secret_text(parts.settings.bootstrap_secret)


def governance_of(parts: Services) -> Governance:
    """Governance, with the ways it acts on the outside."""
    from shared.governance.services import Governance, Outlets

    outlets = Outlets(
        envelope=lambda: parts.envelope,
        outbound=lambda: parts.outbound,
        mail=lambda: parts.mail,
        blobs=lambda: parts.blobs,
        control=lambda: parts.control,
        flows=lambda: _flow_runs(parts),
        identity=lambda: parts.identity,
        runs=lambda: parts.engine,
        background=lambda: parts.messengers.submit if parts.settings.adapter == "embedded" else None,
    )
    return Governance(parts.root_secret, parts.settings, outlets)


def _flow_runs(parts: Services) -> FlowRuns:
    from shared.governance.flowruns import EngineFlowRuns

    return EngineFlowRuns(parts.engine)


def advancer_of(parts: Services) -> Advancer:
    """What runs executions, with everything it runs them with."""
    from shared.engine.advance import Advancer
    from shared.engine.attempt import Attempts
    from shared.engine.interpreter import Limits
    from shared.vault import AccountSecrets

    chosen = parts.settings
    stopping = (lambda: parts.embedded_driver.stopping) if chosen.adapter == "embedded" else (lambda: False)
    return Advancer(
        repository=parts.repository,
        programs=parts.catalog,
        secrets=AccountSecrets(parts.secrets),
        attempts=Attempts(parts.kinds, parts.kind_services, stopping),
        governance=parts.governance.flow_gate,
        driver=parts.driver,
        heart=parts.heart,
        workers=parts.workers.mailbox,
        limits=Limits(slice_s=chosen.slice_seconds, max_visits=chosen.max_visits),
    )


def relay_of(parts: Services) -> Relay:
    """From the change stream to listeners, to who follows governance and, on AWS, to executions that must wake."""
    from shared.dialects.flowrunner.readers import PAGE, SUBSCRIPTION, PageReader, SubscriptionReader
    from shared.governance.control import CONTROL, ControlReader
    from shared.push import Relay

    readers: dict[str, Reader] = {
        PAGE: PageReader(parts.engine), SUBSCRIPTION: SubscriptionReader(parts.engine), CONTROL: ControlReader()
    }  # fmt: skip
    followers = [parts.governance.outbox]
    if parts.settings.adapter == "embedded":
        # A wake-up that a crash swallowed is found by the restart, which begins every live execution again.
        return Relay(parts.connections, parts.sender, readers, followers=followers)
    from shared.adapters.aws.websockets import YOUNG_MS
    from shared.engine.wakeups import WakeUps

    wake_ups = WakeUps(parts.repository, parts.driver)
    return Relay(
        parts.connections, parts.sender, readers, young_ms=YOUNG_MS, others=[wake_ups], followers=followers
    )  # fmt: skip


def checks_of(parts: Services) -> Mapping[str, Callable[[], None]]:
    """What the system needs in order to work, by name; a check raises Unavailable.

    The change stream is checked where this process reads it itself.
    """

    def store() -> None:
        parts.connections.get("readiness")

    def events() -> None:
        if not parts.relay_thread.is_alive:
            raise Unavailable("The change stream is not read")

    # A function on AWS, and a process that is not the server, leave the stream to others.
    reads = "relay_thread" in parts.__dict__
    return {"store": store, "events": events} if reads else {"store": store}
