"""One history: a seed, a world made of it, what happened, and what was wrong with it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from random import Random

from shared.composition import use_services
from shared.engine.interpreter import Limits
from shared.engine.kinds.base import ExecutionFacts
from shared.engine.ports import AllowEverything
from shared.engine.repository import ExecutionRepository
from shared.identity import Identity
from shared.identity.passwords import Passwords
from shared.identity.principal import ANONYMOUS
from shared.kit import clock, ids
from shared.kit.errors import Conflict, NotFound
from shared.store.embedded import EmbeddedEngine, installed
from shared.store.embedded.storage import Storage
from shared.store.models import every_model
from tests.simulation.callers import Caller, Door, Promises, Tenant
from tests.simulation.ledger import Book, Ledger, next_moment
from tests.simulation.programs import Author, Library, kinds, signal_keys
from tests.simulation.scheduler import Scheduler
from tests.simulation.system import Cloud, Ground, MemoryBlobs, OneMachine, Sockets
from tests.simulation.verdict import final_check, moments
from tests.simulation.wardens import Warden
from tests.simulation.weather import CALM, Climate, SimulatedStore, Weather

SECRET_OF_TOKENS = b"the token secret of the simulation"
QUIET_MS = 10 * 60 * 1000
ROUNDS = 40


@dataclass(slots=True)
class Outcome:
    """What came of a history. ``failure`` is None when every invariant held."""

    seed: int
    failure: str | None
    steps: int
    digest: int
    executions: int
    facts: int
    effects: int
    ends: dict[str, int] = field(default_factory=dict)
    trace: list[str] = field(default_factory=list)


@cache
def _identity() -> Identity:
    return Identity.build(SECRET_OF_TOKENS, passwords=Passwords(passes=1, memory_kib=8))


@cache
def _foundation() -> tuple[bytes, tuple[Tenant, ...]]:
    """A store with its tables and two accounts, as bytes, and the accounts."""
    store = EmbeddedEngine.open()
    try:
        with installed(store), clock.use(Scheduler(0)), ids.use(ids.SeededSource(0)):
            store.create_tables(*every_model())
            identity = _identity()
            identity.prepare()
            tenants = [_tenant(identity, name) for name in ("admin", "anna", "bert")]
        return store._storage._connection().serialize(), tuple(tenants[1:])
    finally:
        store.close()


def _tenant(identity: Identity, name: str) -> Tenant:
    identity.accounts.sign_up(username=name, password="correct horse 42")
    session = identity.sessions.login(name, "correct horse 42")
    principal = identity.authenticator.authenticate(f"Bearer {session.token}")
    assert principal != ANONYMOUS
    return Tenant(principal.org_id, principal.account_id, session.token)


@contextmanager
def _silence() -> Iterator[None]:
    """Failures of the weather are not news."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(disabled)


class History:
    """The world of one seed. A ``governed`` one has a warden before every effect."""

    def __init__(
        self, seed: int, *, trace: bool = False, climate: Climate | None = None, governed: bool = False
    ) -> None:
        self.seed = seed
        self.scheduler = Scheduler(seed, keep_trace=trace)
        self.random = Random(seed + 1)
        drawn = Climate.drawn(self.random)
        self.weather = Weather(self.scheduler, climate or drawn, self.random.choice((0.2, 0.5, 1.0)))
        image, self.tenants = _foundation()
        self.store = SimulatedStore(Storage(":memory:"), self.weather)
        self.store._storage._connection().deserialize(image)
        self.library = Library()
        self.promises, self.door = Promises(), Door()
        self.warden = Warden(self.scheduler, self.door, seed) if governed else None
        self.ledger = Ledger(self.scheduler, self.library, self.store.peek)
        self.ledger.kinds = kinds(seed, self.ledger.effect)
        self.weather.takeovers = lambda: self.ledger.takeovers
        self.store.observer, self.store.weather = self.ledger.after, self.weather

    def run(self) -> Outcome:
        """Let it happen."""
        with _silence(), clock.use(self.scheduler), ids.use(ids.SeededSource(self.seed)), installed(self.store):
            try:
                self._begin()
                self.scheduler.run()
                if self.scheduler.failure is None:
                    self.scheduler.failure = final_check(self.ledger, self.promises, self.sockets)
            finally:
                use_services(None)
                self.store.close()
        return self._outcome()

    def _begin(self) -> None:
        random = self.random
        for tenant in self.tenants:
            for number in range(random.randint(1, 3)):
                self.library.programs[tenant.org_id, f"flow-{number}"] = Author(random).write(f"flow-{number}")
        self.sockets = Sockets(self.scheduler, self.weather, self.promises)
        blobs = MemoryBlobs()
        self.ledger.inlined = ExecutionRepository(blobs).inlined
        ground = Ground(
            self.scheduler, self.weather, self.store, self.ledger, self.library, blobs, self.door, self.sockets,
            random.choice((None, None, None, 60_000)), self.warden or AllowEverything(),
        )  # fmt: skip
        limits = Limits(
            slice_s=random.choice((0.5, 10.0, 60.0)),
            max_inflight=random.choice((1, 1, 2, 3, 64)),
            inline_wait_ms=random.choice((0, 1_000)),
        )
        system = Cloud(ground, limits) if random.random() < 0.5 else OneMachine(ground, 0, limits)
        system.start()
        callers = [
            self._caller(tenant, number) for number in range(random.choice((1, 1, 2))) for tenant in self.tenants
        ]
        self.scheduler.spawn("director", lambda: self._direct(callers))

    def _caller(self, tenant: Tenant, number: int) -> list[bool]:
        caller = Caller(
            self.scheduler, Random(self.random.random()), tenant, _identity(), self.door, self.library, self.ledger,
            self.promises,
        )  # fmt: skip
        done: list[bool] = []
        count = self.random.randint(2, 5)

        def act() -> None:
            caller.act(count)
            done.append(True)

        self.scheduler.spawn(f"caller {tenant.org_id[-4:]}.{number}", act, mortal=True)
        return done

    # The end

    def _direct(self, callers: list[list[bool]]) -> None:
        """Wait for the callers, calm the weather, let everything come to rest, then answer whatever still asks."""
        self.scheduler.wait(lambda: all(callers), None)
        self.scheduler.note("the weather calms down")
        self.weather.calm()
        self._end_schedules()
        self.scheduler.sleep(QUIET_MS / 1000)
        for book in self.ledger.books.values():
            self._demand_rest(book)
        for _ in range(ROUNDS):
            live = [book for book in self.ledger.books.values() if book.state.ended is None]
            if not live:
                break
            for book in live:
                self._help(book)
            self.scheduler.wait(
                lambda: all(book.state.ended is not None for book in self.ledger.books.values()), 120_000
            )
        live = [book for book in self.ledger.books.values() if book.state.ended is None]
        if live:
            self.scheduler.fail(f"{live[0].execution_id}: never ends: {_tokens(live[0])}")
        self.scheduler.sleep(120)
        self.scheduler.end()

    def _end_schedules(self) -> None:
        """Let the jobs run a few minutes more, then delete them: everything is to come to an end."""
        jobs = self.promises.jobs
        if not jobs:
            return
        self.scheduler.sleep(200)
        latest = self.scheduler.now_ms() - 130_000
        for job_id, tenant in jobs.items():
            schedules = self.door.schedules
            about = ExecutionFacts("none", tenant.org_id, tenant.account_id, "none")
            existed = schedules is not None and schedules.delete(about, job_id)
            if existed and max(moments(self.ledger, job_id), default=0) < latest:
                self.scheduler.fail(f"{job_id}: its flow did not run")
        self.ledger.has_schedules = False

    def _demand_rest(self, book: Book) -> None:
        """An execution that has not ended rests for a reason: a pause, an open question, or a time to come."""
        if book.state.ended is not None:
            return
        now, state, control = self.scheduler.now_ms(), book.state, book.control
        moment = next_moment(state)
        open_question = any(token.status == "waiting" and token.wait_key is not None for token in state.tokens.values())
        if "lease" in control and control["lease_until"] >= now:
            # It works, or its timers are short.
            return
        read = control["wake"] == control["absorbed"]
        children = self.ledger.children(book.pk)
        answers = [
            child for child in children if child.control["parent_slot"] in {token.wait for token in state.children()}
        ]
        open_question |= any(child.state.ended is None for child in answers)
        open_question |= self.warden is not None and self.warden.holds(book.execution_id)
        parent = self.ledger.books.get(f"{book.org_id}#{book.parent}")
        if parent is not None and parent.state.ended is not None:
            self.scheduler.fail(f"{book.execution_id}: lives on after its parent ended")
        reason = state.paused or (moment is not None and moment > now) or (moment is None and open_question)
        if not (read and reason and control["command"] != "cancel"):
            self.scheduler.fail(f"{book.execution_id}: rests without a reason: {_tokens(book)}, {control}")

    def _help(self, book: Book) -> None:
        """Resume what is paused and answer every question."""
        engine = self.door.engine
        if engine is None:
            return
        tenant = next(tenant for tenant in self.tenants if tenant.org_id == book.org_id)
        principal = _identity().authenticator.authenticate(f"Bearer {tenant.token}")
        try:
            if book.control["command"] == "pause":
                engine.resume(principal, book.execution_id)
            for key in signal_keys(book.program):
                value = ids.uuid4()
                try:
                    engine.signal(principal, book.execution_id, key, value)
                except (Conflict, NotFound):
                    continue
                self.promises.signaled.append((book.pk, value))
        except Conflict:
            return

    def _outcome(self) -> Outcome:
        books = list(self.ledger.books.values())
        ends: dict[str, int] = {}
        for book in books:
            status = book.state.ended["status"] if book.state.ended else "live"
            ends[status] = ends.get(status, 0) + 1
        scheduler = self.scheduler
        return Outcome(
            self.seed, scheduler.failure, scheduler.steps, scheduler.digest, len(books),
            sum(len(book.facts) for book in books), len(self.ledger.effects), ends, scheduler.trace,
        )  # fmt: skip


def _tokens(book: Book) -> str:
    return "; ".join(
        f"{token.node} {token.status} due={token.due_ms} wait={token.wait}" for token in book.state.tokens.values()
    )


def run(seed: int, *, trace: bool = False, governed: bool = False) -> Outcome:
    """The history of a seed."""
    return History(seed, trace=trace, governed=governed).run()


__all__ = ["CALM", "History", "Outcome", "run"]
