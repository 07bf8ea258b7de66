"""The system of a history: the real parts, put together as on one machine or as on AWS, for one life of a process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from shared.adapters.embedded.relay import RelayThread
from shared.adapters.embedded.ticker import Duty, Ticker
from shared.composition import Services, use_services
from shared.engine.advance import Advancer
from shared.engine.attempt import Attempts
from shared.engine.interpreter import Limits
from shared.engine.ports import Driver, Governance
from shared.engine.repository import ExecutionRepository
from shared.engine.schedules import CronSchedules
from shared.engine.service import Engine
from shared.engine.sweep import Sweep
from shared.engine.wakeups import WakeUps
from shared.identity import role_in
from shared.identity.principal import system_principal
from shared.kit import ids
from shared.kit.errors import NotFound
from shared.push import Connections, Gone, Listener, Memo, Relay, Step
from shared.store.stream import ChangeRecord
from tests.simulation.callers import PROJECTION, Door, Promises
from tests.simulation.ledger import Ledger
from tests.simulation.machines import Heart, Machines, Mailboxes, embedded_driver
from tests.simulation.programs import SECRET, Library, services
from tests.simulation.scheduler import Died, Scheduler, Stop
from tests.simulation.weather import SimulatedStore, Weather

SWEEP_SECONDS = 30.0
STREAM_BATCH = 8


class MemoryBlobs:
    """Large values in memory."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}

    def put(self, key: str, data: bytes) -> None:
        self._values[key] = data

    def get(self, key: str) -> bytes:
        if key not in self._values:
            raise NotFound("The stored value is gone")
        return self._values[key]

    def delete(self, key: str) -> None:
        self._values.pop(key, None)


class AccountSecrets:
    """One secret for each account."""

    def values(self, org_id: str, account_id: str) -> Mapping[str, str]:
        return {"token": SECRET + account_id}


class Journals:
    """Reads a channel as the numbers of its facts (``shared.push.Reader``)."""

    closes = True

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def steps(self, listener: Listener, memo: Memo) -> Iterator[Step]:
        execution_id = listener.channel.removeprefix("execution#")
        principal = system_principal(listener.org_id, listener.account_id)
        for index, fact in self._engine.follow(principal, execution_id, after=max(int(listener.cursor), 0) - 1):
            yield Step((str(index),), index + 1, fact["type"] == "ended")


class Sockets:
    """The open WebSockets (``shared.push.Sender``), and what was sent to each."""

    lanes = 1

    def __init__(self, scheduler: Scheduler, weather: Weather, promises: Promises) -> None:
        self.sent: dict[str, list[int]] = {}
        self.closed: set[str] = set()
        self.process = ""
        self.drained: Callable[[str], None] | None = None
        self._scheduler = scheduler
        self._weather = weather
        self._promises = promises

    @property
    def in_use(self) -> bool:
        return self._promises.connections > 0

    def accepts(self, connection_id: str) -> bool:
        if not self._is_open(connection_id):
            raise Gone("gone")
        if self.drained is None or not self._scheduler.chance(self._weather.climate.full):
            return True
        room, process = self.drained, self.process
        self._scheduler.spawn("drain", lambda: room(connection_id), process=process, delay_ms=300)
        return False

    def send(self, connection_id: str, text: str) -> None:
        self._scheduler.step()
        if not self._is_open(connection_id):
            raise Gone("gone")
        sent, index = self.sent.setdefault(connection_id, []), int(text)
        self._scheduler.note(f"  sends {text} to {connection_id}")
        if index > max(sent, default=-1) + 1:
            self._scheduler.fail(f"message {index} came to {connection_id} after {sent}")
        if index in sent and self._weather.was_safe:
            self._scheduler.fail(f"message {index} came to {connection_id} twice")
        sent.append(index)

    def close(self, connection_id: str, code: int = 1000) -> None:
        self.closed.add(connection_id)

    def _is_open(self, connection_id: str) -> bool:
        return connection_id not in self.closed and connection_id.endswith(f"@{self.process}")


class Stream:
    """The store's outbox, waited for on the simulated clock (``shared.store.stream.ChangeStream``)."""

    def __init__(self, scheduler: Scheduler, store: SimulatedStore, ledger: Ledger) -> None:
        self._scheduler = scheduler
        self._outbox = store.stream
        self._ledger = ledger

    def read(self, after: int, limit: int = 100) -> list[ChangeRecord]:
        return self._outbox.read(after, limit)

    def wait(self, after: int, timeout: float) -> bool:
        if self._outbox.last() > after:
            return True
        seen = self._ledger.writes
        self._scheduler.wait(lambda: self._ledger.writes != seen, int(timeout * 1000) * 10)
        return self._outbox.last() > after

    def trim(self, upto: int) -> None:
        self._outbox.trim(upto)


@dataclass(frozen=True, slots=True)
class Ground:
    """What outlives a process."""

    scheduler: Scheduler
    weather: Weather
    store: SimulatedStore
    ledger: Ledger
    library: Library
    blobs: MemoryBlobs
    door: Door
    sockets: Sockets
    time_limit_ms: int | None
    governance: Governance


class System:
    """Base: the parts both deployments have. ``boot`` names the process in leases, where there is only one."""

    def __init__(
        self, ground: Ground, process: str, boot: str, driver: Driver, mailboxes: Mailboxes, limits: Limits
    ) -> None:
        self.ground = ground
        self.process = process
        self.repository = ExecutionRepository(ground.blobs, boot)
        self.driver = driver
        self.engine = Engine(self.repository, ground.library, driver, ground.time_limit_ms)
        self.advancer = Advancer(
            repository=self.repository, programs=ground.library, secrets=AccountSecrets(),
            attempts=Attempts(ground.ledger.kinds, services(ground.scheduler.chance)),
            governance=ground.governance, driver=driver,
            heart=Heart(ground.scheduler, process), limits=limits,
            workers=lambda org_id, execution_id: mailboxes.open(execution_id),
        )  # fmt: skip
        self.schedules = CronSchedules(ground.library, self.engine, role_in)
        self.sweep = Sweep(self.advancer, self.schedules.fire)
        self.connections = Connections()
        ground.sockets.process = process

    def relay(self, *others: Callable[[ChangeRecord], None]) -> Relay:
        """The real relay over the recording sockets."""
        readers = {PROJECTION: Journals(self.engine)}
        return Relay(self.connections, self.ground.sockets, readers, others=others)

    def sweep_through(self) -> None:
        """Sweep, most times only if it finds something: looking in vain costs a history its time and tells nothing."""
        if self.ground.ledger.is_due() or self.ground.scheduler.chance(0.05):
            self.sweep.run()

    def open_door(self) -> None:
        """Let callers in."""
        door = self.ground.door
        door.engine, door.connections, door.process = self.engine, self.connections, self.process
        door.schedules = self.schedules


class OneMachine(System):
    """One process with the real driver, ticker, heartbeat and relay thread; when it dies, all of it dies."""

    def __init__(self, ground: Ground, life: int, limits: Limits) -> None:
        scheduler = ground.scheduler
        process = f"life-{life}"
        mailboxes = Mailboxes(scheduler, process)
        driver = embedded_driver(scheduler, 3, mailboxes.poke)
        super().__init__(ground, process, ids.uuid4(), driver, mailboxes, limits)
        self._driver = driver
        self._life = life
        self._limits = limits
        self._crashed = False

    def start(self) -> None:
        """As ``shared.composition.Services.start``."""
        ground, loops = self.ground, cast(Any, self._driver)
        for number in range(3):
            ground.scheduler.spawn(
                f"driver {number}", lambda: loops._work(self.advancer.advance), process=self.process, mortal=True
            )
        ground.weather.on_death = self.crash
        ground.scheduler.spawn("start", self._begin_again, process=self.process)

    def _begin_again(self) -> None:
        ground = self.ground
        while True:
            try:
                for control in list(self.sweep.live()):
                    self.driver.start(control.org_id, control.execution_id, int(control.generation))
                break
            except Exception as error:  # noqa: BLE001
                # A process that cannot start is started again by whoever runs it.
                ground.scheduler.note(f"start failed: {error!r}")
                ground.scheduler.sleep(1)
        relay = RelayThread(Stream(ground.scheduler, ground.store, ground.ledger), self.relay())
        ground.sockets.drained = relay.room
        duties = [Duty("sweep", SWEEP_SECONDS, self.sweep_through)]
        ticker = Ticker(duties)
        for name, part, given in (("relay", cast(Any, relay), ()), ("ticker", cast(Any, ticker), (duties,))):
            part._stop = Stop(ground.scheduler)
            ground.scheduler.spawn(name, partial(part._run, *given), process=self.process, mortal=True)
        self.open_door()

    def crash(self) -> None:
        """``kill -9``, and a new life soon after."""
        if self._crashed:
            return
        self._crashed = True
        ground = self.ground
        ground.scheduler.note(f"{self.process} crashes")
        ground.door.slam()
        ground.scheduler.kill(self.process)
        following = OneMachine(ground, self._life + 1, self._limits)
        ground.scheduler.spawn(
            "restart", following.start, delay_ms=ground.scheduler.random.choice((500, 20_000, 60_000))
        )


class Cloud(System):
    """Many processes: functions called by state machines, a stream and a rule."""

    def __init__(self, ground: Ground, limits: Limits) -> None:
        mailboxes = Mailboxes(ground.scheduler, "cloud")
        super().__init__(ground, "cloud", "", Machines(ground.scheduler, ground.weather), mailboxes, limits)
        self._relay = self.relay(WakeUps(self.repository, self.driver))

    def start(self) -> None:
        """Everything that runs by itself."""
        use_services(cast(Services, self))
        scheduler = self.ground.scheduler
        scheduler.spawn("stream", self._stream)
        scheduler.spawn("rule", self._rule)
        self.open_door()

    def _rule(self) -> None:
        """The sweep of every minute; at times two of them overlap."""
        scheduler, climate = self.ground.scheduler, self.ground.weather
        while True:
            scheduler.sleep(60)
            for _ in range(2 if scheduler.chance(climate.climate.double_call) else 1):
                scheduler.spawn("sweep", self._sweep, mortal=True)

    def _sweep(self) -> None:
        try:
            self.sweep_through()
        except Exception as error:  # noqa: BLE001
            self.ground.scheduler.note(f"the sweep failed: {error!r}")

    def _stream(self) -> None:
        """Batches of change records go to functions that may run at once, in any order, more than once."""
        scheduler = self.ground.scheduler
        stream, after = Stream(scheduler, self.ground.store, self.ground.ledger), 0
        while True:
            if not stream.wait(after, 60):
                continue
            records = stream.read(after, STREAM_BATCH)
            after = records[-1].sequence
            stream.trim(after)
            climate = self.ground.weather.climate
            if scheduler.chance(climate.reorder):
                scheduler.random.shuffle(records)
            scheduler.spawn("relay", lambda batch=records: self._handle(batch), mortal=True)  # type: ignore[misc]
            if scheduler.chance(climate.double_record):
                late = scheduler.random.choice((0, 2_000, 40_000))
                scheduler.spawn("relay again", lambda batch=records: self._handle(batch), mortal=True, delay_ms=late)  # type: ignore[misc]

    def _handle(self, records: list[ChangeRecord]) -> None:
        """One delivery; what failed, or all when the function died, comes again."""
        scheduler = self.ground.scheduler
        while records:
            try:
                failed = set(self._relay.handle(records))
            except Died:
                if scheduler.current.doomed or scheduler.over:
                    raise
                scheduler.current.dying = False
                continue
            records = [record for record in records if record.sequence in failed]
            if records:
                scheduler.sleep(0.5)
