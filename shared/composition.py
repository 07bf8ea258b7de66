"""The parts of the system, wired by the settings. Each is built when first asked for: a function loads only its own."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from shared.kit import clock, ids
from shared.kit.settings import Settings, settings

if TYPE_CHECKING:
    from shared.adapters.embedded.driver import EmbeddedDriver
    from shared.adapters.embedded.keyfile import MasterKeyFile
    from shared.adapters.embedded.relay import RelayThread
    from shared.adapters.embedded.sockets import Sockets
    from shared.adapters.embedded.ticker import Ticker
    from shared.adapters.embedded.workers import HeartbeatThread, WorkerThreads
    from shared.catalog import Catalog
    from shared.engine.advance import Advancer
    from shared.engine.expressions.pool import WorkerPool
    from shared.engine.keyvalues import StoredValues
    from shared.engine.kinds.base import KindServices, Registry
    from shared.engine.operations import StoredResults
    from shared.engine.ports import Driver
    from shared.engine.repository import ExecutionRepository
    from shared.engine.schedules import CronSchedules
    from shared.engine.service import Engine
    from shared.engine.sweep import Sweep
    from shared.governance.control import ControlPlane
    from shared.governance.ports import MailSender
    from shared.governance.services import Governance
    from shared.identity import Identity
    from shared.outbound import OutboundClient
    from shared.push import Connections, Relay, Sender
    from shared.store.blobs import Blobs
    from shared.store.embedded import EmbeddedEngine
    from shared.vault import Envelope, KeyRing, Secrets

MASTER_KEY = "master.key"
STORE = "store.db"
BLOBS = "blobs"

PURGE_SECONDS = 60.0
SWEEP_SECONDS = 1.0
BEAT_SECONDS = 60.0


class Services:
    """Everything a request may need."""

    def __init__(self, values: Settings) -> None:
        self.settings = values

    # Store and keys

    @cached_property
    def store(self) -> EmbeddedEngine | None:
        """The embedded engine, installed beneath PynamoDB; None on AWS. Parts that read state ask for it first."""
        if self.settings.adapter != "embedded":
            return None
        from shared.store.embedded import EmbeddedEngine, install
        from shared.store.models import every_model

        self.settings.data.mkdir(parents=True, exist_ok=True)
        engine = EmbeddedEngine.open(self.settings.data / STORE)
        install(engine)
        engine.create_tables(*every_model())
        return engine

    @cached_property
    def _key_file(self) -> MasterKeyFile:
        from shared.adapters.embedded.keyfile import MasterKeyFile

        return MasterKeyFile(self.settings.data / MASTER_KEY)

    @cached_property
    def root_secret(self) -> bytes:
        """Where every signing secret is derived from: the setting, else (embedded) the master key."""
        if self.settings.token_secret is not None:
            return self.settings.token_secret.get_secret_value().encode()
        if self.settings.adapter != "embedded":
            from shared.adapters.aws.keys import secret_text

            return secret_text(self.settings.token_secret_id).encode()
        return self._key_file.derive("tokens")

    @cached_property
    def keyring(self) -> KeyRing:
        """Wraps the data keys of secrets."""
        if self.settings.adapter == "embedded":
            return self._key_file
        from shared.adapters.aws.keys import KmsKeyRing

        return KmsKeyRing(self.settings.kms_key)

    # Domains

    @cached_property
    def identity(self) -> Identity:
        """Accounts, sessions and who is calling."""
        from shared.assembly import identity_of

        _ = self.store
        return identity_of(self)

    @cached_property
    def governance(self) -> Governance:
        """Governing agents: keys, gate, budgets, policies."""
        from shared.assembly import governance_of

        _ = self.store
        return governance_of(self)

    @cached_property
    def secrets(self) -> Secrets:
        """Accounts' secrets."""
        from shared.vault import Secrets

        return Secrets(self.envelope)

    @cached_property
    def envelope(self) -> Envelope:
        """Seals what is secret of accounts and organisations."""
        from shared.vault import Envelope

        _ = self.store
        return Envelope(self.keyring)

    @cached_property
    def blobs(self) -> Blobs:
        """Large values."""
        if self.settings.adapter == "embedded":
            from shared.store.blobs import FolderBlobs

            return FolderBlobs(self.settings.data / BLOBS)
        from shared.adapters.aws.blobs import S3Blobs

        return S3Blobs(self.settings.blob_bucket)

    @cached_property
    def catalog(self) -> Catalog:
        """Definitions and their compiled programs."""
        from shared.catalog import Catalog
        from shared.dialects.flowrunner import FlowRunnerDialect

        _ = self.store
        return Catalog(self.blobs, {"flow": FlowRunnerDialect(self.kinds)})

    # What nodes reach

    @cached_property
    def outbound(self) -> OutboundClient:
        """The one way out to other hosts."""
        from shared.outbound import OutboundClient, OutboundPolicy

        return OutboundClient(OutboundPolicy(self.settings.allow_hosts, refused_ports=(self.settings.port,)))

    @cached_property
    def scripts(self) -> WorkerPool:
        """Processes that evaluate authors' code."""
        from shared.engine.expressions.pool import WorkerPool

        return WorkerPool(self.settings.script_workers)

    @cached_property
    def kinds(self) -> Registry:
        """Every node kind."""
        from shared.engine.kinds import registry

        return registry()

    @cached_property
    def kind_services(self) -> KindServices:
        """The ports node kinds may use."""
        from shared.engine.expressions.javascript import JavaScript
        from shared.engine.kinds.base import KindServices

        language = JavaScript(self.scripts)
        return KindServices(language, self.outbound, self.keyvalues, self.schedules, self.operations)

    @cached_property
    def keyvalues(self) -> StoredValues:
        """What flows keep per account."""
        from shared.engine.keyvalues import StoredValues

        _ = self.store
        return StoredValues()

    @cached_property
    def operations(self) -> StoredResults:
        """Results of operations that authors named."""
        from shared.engine.operations import StoredResults

        _ = self.store
        return StoredResults(self.blobs)

    @cached_property
    def schedules(self) -> CronSchedules:
        """Flows that run by the clock."""
        from shared.engine.schedules import CronSchedules
        from shared.identity import role_in

        return CronSchedules(self.catalog, self.engine, role_in)

    @cached_property
    def mail(self) -> MailSender:
        """The way to people's mailboxes: a mail server where one is set, else SES, or a folder."""
        from shared.adapters.mail import mail_sender

        return mail_sender(self.settings)

    # Executions

    @cached_property
    def repository(self) -> ExecutionRepository:
        """The items of executions; embedded leases carry this process's boot id and are void after it."""
        from shared.engine.repository import ExecutionRepository

        _ = self.store
        boot = ids.uuid4() if self.settings.adapter == "embedded" else ""
        return ExecutionRepository(self.blobs, boot)

    @cached_property
    def driver(self) -> Driver:
        """Whatever calls ``advance``."""
        if self.settings.adapter == "embedded":
            return self.embedded_driver
        from shared.adapters.aws.stepfunctions import StepFunctionsDriver

        return StepFunctionsDriver(self.settings.driver_arn, self.settings.first_driver_arn)

    @cached_property
    def embedded_driver(self) -> EmbeddedDriver:
        """The worker loop of this process."""
        from shared.adapters.embedded.driver import EmbeddedDriver

        return EmbeddedDriver(self.settings.workers, poke=lambda execution_id: self.workers.poke(execution_id))

    @cached_property
    def workers(self) -> WorkerThreads:
        """Threads that run attempts."""
        from shared.adapters.embedded.workers import WorkerThreads

        return WorkerThreads()

    @cached_property
    def messengers(self) -> WorkerThreads:
        """Threads that send messages, four at once for one organisation."""
        from shared.adapters.embedded.workers import WorkerThreads

        return WorkerThreads(4)

    @cached_property
    def heart(self) -> HeartbeatThread:
        """Keeps leases alive while effects run."""
        from shared.adapters.embedded.workers import HeartbeatThread

        return HeartbeatThread()

    @cached_property
    def advancer(self) -> Advancer:
        """Runs executions, one lease at a time."""
        from shared.assembly import advancer_of

        return advancer_of(self)

    @cached_property
    def engine(self) -> Engine:
        """Start, look at, stop and answer executions; loads nothing of what runs them."""
        from shared.engine.service import Engine

        time_limit_ms = int(self.settings.execution_days * 24 * 3600 * 1000)
        return Engine(self.repository, self.catalog, self.driver, time_limit_ms)

    @cached_property
    def sweep(self) -> Sweep:
        """Takes up what is overdue."""
        from shared.engine.sweep import Sweep

        return Sweep(self.advancer, self.schedules.fire)

    # Channels

    @cached_property
    def connections(self) -> Connections:
        """Who listens to what."""
        from shared.push import Connections

        _ = self.store
        return Connections()

    @cached_property
    def sockets(self) -> Sockets:
        """The open WebSockets of this process."""
        from shared.adapters.embedded.sockets import Sockets

        return Sockets()

    @cached_property
    def sender(self) -> Sender:
        """The way to open WebSockets."""
        if self.settings.adapter == "embedded":
            return self.sockets
        from shared.adapters.aws.websockets import ApiGatewaySender

        return ApiGatewaySender(self.settings.websocket_url)

    @cached_property
    def control(self) -> ControlPlane:
        """The WebSockets of agents and dashboards."""
        from shared.governance.control import ControlPlane

        return ControlPlane(self.root_secret, self.connections, self.sender, young_ms=self._young_ms)

    @property
    def _young_ms(self) -> int:
        if self.settings.adapter == "embedded":
            return 0
        from shared.adapters.aws.websockets import YOUNG_MS

        return YOUNG_MS

    @cached_property
    def relay(self) -> Relay:
        """From the change stream to listeners, to who follows governance and, on AWS, to executions that must wake."""
        from shared.assembly import relay_of

        return relay_of(self)

    # The one-machine system

    @cached_property
    def relay_thread(self) -> RelayThread:
        """Reads the embedded store's change stream."""
        from shared.adapters.embedded.relay import RelayThread

        if self.store is None:
            raise ValueError("only the embedded system reads its own change stream")
        thread = RelayThread(self.store.stream, self.relay)
        self.sockets.drained = thread.room
        return thread

    @cached_property
    def ticker(self) -> Ticker:
        """The periodic duties of the embedded system."""
        from shared.adapters.embedded.ticker import Duty, Ticker

        store = self.store
        duties = [
            Duty("sweep", SWEEP_SECONDS, self.sweep.run),
            Duty("governance", SWEEP_SECONDS, self.governance.sweep.run, apart=True),
            Duty("deletions", PURGE_SECONDS, self.identity.resume_deletions),
            Duty("connections", BEAT_SECONDS, lambda: self.control.keep_alive(clock.now_ms())),
        ]
        if store is not None:
            duties.append(Duty("expiry", PURGE_SECONDS, lambda: store.purge_expired(clock.now_ms())))
        return Ticker(duties)

    def start(self) -> None:
        """Begin to work in this process (embedded): take up every live execution, then relay and tick."""
        self.identity.prepare()
        self.embedded_driver.run(self.advancer.advance)
        for control in self.sweep.live():
            self.embedded_driver.start(control.org_id, control.execution_id, int(control.generation))
        self.relay_thread.run()
        self.ticker.run()

    def close(self) -> None:
        """Stop what was started, in an order in which nothing needs what is gone already.

        The store goes before the scripts and calls that are cut off, so that nobody records their end as a failure.
        """
        first = ("ticker", "embedded_driver", "workers", "heart", "relay_thread", "messengers")
        for name in (*first, "store", "outbound", "scripts"):
            part = self.__dict__.get(name)
            if part is not None:
                part.close()


_services: Services | None = None


def services() -> Services:
    """The services of this process."""
    global _services
    if _services is None:
        _services = Services(settings())
    return _services


def use_services(value: Services | None) -> None:
    """Replace the services of this process; None builds them from the settings again."""
    global _services
    _services = value
