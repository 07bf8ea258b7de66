"""People of two orgs who start, watch, answer, pause and cancel executions, and hold the system to its answers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from shared.engine.kinds.base import ExecutionFacts
from shared.engine.ports import DefinitionRef
from shared.engine.schedules import CronSchedules
from shared.engine.service import Engine
from shared.engine.views import LIVE
from shared.identity import Identity
from shared.identity.principal import Principal
from shared.kit import clock, ids
from shared.kit.errors import Conflict, NotFound, SignalboxError, Unavailable
from shared.push import Connection, Connections, execution_channel
from shared.store.models.channels import connection_pk
from tests.simulation.ledger import Book, Ledger
from tests.simulation.programs import Library, signal_keys
from tests.simulation.scheduler import Actor, Died, Scheduler

PROJECTION = "simulation"


@dataclass(frozen=True, slots=True)
class Tenant:
    """An org with one account and its session."""

    org_id: str
    account_id: str
    token: str


@dataclass(slots=True)
class Promises:
    """What callers were told and the system has to keep."""

    started: dict[str, tuple[Tenant, dict[str, Any]]] = field(default_factory=dict)
    canceled: set[str] = field(default_factory=set)
    meddled: set[str] = field(default_factory=set)
    signaled: list[tuple[str, str]] = field(default_factory=list)
    ended: dict[str, str] = field(default_factory=dict)
    watched: dict[str, str] = field(default_factory=dict)
    connections: int = 0
    jobs: dict[str, Tenant] = field(default_factory=dict)


@dataclass(slots=True)
class Door:
    """How a caller gets in; it is closed while the process is down."""

    engine: Engine | None = None
    connections: Connections | None = None
    schedules: CronSchedules | None = None
    process: str = ""
    inside: set[Actor] = field(default_factory=set)

    def slam(self) -> None:
        """The process is gone: nobody gets in, and whoever is inside gets no answer."""
        self.engine = self.connections = self.schedules = None
        for actor in self.inside:
            actor.dying = True


class Caller:
    """One person who does one thing after the other."""

    def __init__(
        self, scheduler: Scheduler, random: Random, tenant: Tenant, identity: Identity, door: Door, library: Library,
        ledger: Ledger, promises: Promises,
    ) -> None:  # fmt: skip
        self._scheduler = scheduler
        self._random = random
        self._tenant = tenant
        self._identity = identity
        self._door = door
        self._library = library
        self._ledger = ledger
        self._promises = promises

    def act(self, count: int) -> None:
        """Do ``count`` things at random, with pauses between them."""
        deeds = (
            self.start,
            self.get,
            self.list_all,
            self.signal,
            self.signal,
            self.signal,
            self.cancel,
            self.pause,
            self.resume,
            self.watch,
            self.schedule,
        )
        weights = (4, 3, 1, 3, 3, 3, 1.5, 2, 2, 2, 0.4)
        for number in range(count):
            deed = self.start if number == 0 else self._random.choices(deeds, weights)[0]
            self._scheduler.note(deed.__name__)
            self._try(deed)
            self._scheduler.sleep(self._random.choice((0.05, 0.05, 0.5, 3, 15)))

    def _try(self, deed: Callable[[Engine, Principal], None]) -> None:
        engine = self._door.engine
        if engine is None:
            return
        actor = self._scheduler.current
        self._door.inside.add(actor)
        try:
            principal = self._identity.authenticator.authenticate(f"Bearer {self._tenant.token}")
            self._demand(principal.org_id == self._tenant.org_id, "a session opened another org")
            deed(engine, principal)
        except Unavailable as error:
            # The caller does not know whether it happened. The store tells: both are right.
            self._scheduler.note(f"unavailable: {error}")
        except SignalboxError as error:
            self._scheduler.fail(f"a caller was refused: {error!r}")
        except Died:
            if actor.doomed or self._scheduler.over:
                raise
            actor.dying = False
            self._scheduler.note("no answer")
        finally:
            self._door.inside.discard(actor)

    # Deeds

    def start(self, engine: Engine, principal: Principal) -> None:
        definition = self._random.choice([key for key in self._library.programs if key[0] == principal.org_id])[1]
        given = {"asked": ids.uuid4()}
        known = ids.uuid7() if self._random.random() < 0.3 else None
        view = engine.start(principal, DefinitionRef(principal.org_id, definition, 1), given, execution_id=known)
        self._demand(known in (None, view.id), "an execution has another id than it was given")
        self._promises.started[view.id] = (self._tenant, given)
        if known is not None and self._random.random() < 0.5:
            again = engine.start(
                principal, DefinitionRef(principal.org_id, definition, 1), {"asked": "again"}, execution_id=known
            )
            self._demand(again.id == known and again.input == given, "a repeated start made something else")

    def get(self, engine: Engine, principal: Principal) -> None:
        for execution_id in self._some(engine, principal):
            canceled = execution_id in self._promises.canceled
            ended = self._promises.ended.get(execution_id)
            view = engine.get(principal, execution_id)
            _, given = self._promises.started[execution_id]
            self._demand(
                view.id == execution_id and view.account_id == self._tenant.account_id, "get showed another execution"
            )
            self._demand(view.input == given, "get showed another input")
            self._demand(
                not canceled or view.status == "canceled", f"{execution_id} is {view.status} after it was cancelled"
            )
            self._demand(ended in (None, view.status), f"{execution_id} ended as {ended} and is {view.status}")
            if view.status not in LIVE:
                self._promises.ended[execution_id] = view.status

    def list_all(self, engine: Engine, principal: Principal) -> None:
        before = [key for key, (tenant, _) in self._promises.started.items() if tenant is self._tenant]
        page = engine.list(principal, limit=100, offset=0)
        found = [view.id for view in page.items]
        self._demand(set(before) <= set(found), "a started execution is missing in the list")
        mine = [view for view in page.items if view.account_id == self._tenant.account_id]
        self._demand(len(mine) == len(found), "the list shows another tenant's executions")
        self._demand(page.total >= len(before), "the list counts too few")

    def signal(self, engine: Engine, principal: Principal) -> None:
        for execution_id in self._some(engine, principal):
            if self._random.random() < 0.5:
                rival = functools.partial(self._try, functools.partial(self._answer, execution_id=execution_id))
                self._scheduler.spawn("rival", rival, mortal=True)
            self._answer(engine, principal, execution_id)

    def _answer(self, engine: Engine, principal: Principal, execution_id: str) -> None:
        book = self._ledger.books[f"{principal.org_id}#{execution_id}"]
        for key in signal_keys(book.program):
            value = ids.uuid4()
            try:
                engine.signal(principal, execution_id, key, value)
            except (Conflict, NotFound):
                continue
            self._promises.signaled.append((book.pk, value))

    def cancel(self, engine: Engine, principal: Principal) -> None:
        for execution_id in self._some(engine, principal, children=True):
            book = self._ledger.books[f"{principal.org_id}#{execution_id}"]
            try:
                engine.cancel(principal, execution_id)
            except Conflict:
                over = book.state.ended is not None or book.control["command"] == "cancel"
                self._demand(over, "a live execution could not be cancelled")
                continue
            self._promises.canceled.add(execution_id)
            deaf = [child for child in self._live_children(book) if child.control["command"] != "cancel"]
            self._demand(not deaf, "a cancellation did not reach a child before it was acknowledged")

    def pause(self, engine: Engine, principal: Principal) -> None:
        self._command(engine.pause, principal, engine)

    def resume(self, engine: Engine, principal: Principal) -> None:
        self._command(engine.resume, principal, engine)

    def _command(self, call: Callable[[Principal, str], None], principal: Principal, engine: Engine) -> None:
        for execution_id in self._some(engine, principal, children=True):
            book = self._ledger.books[f"{principal.org_id}#{execution_id}"]
            before = book.commands
            if book.parent is not None:
                self._promises.meddled.add(execution_id)
            try:
                call(principal, execution_id)
            except Conflict:
                over = book.state.ended is not None or book.control["command"] == "cancel"
                self._demand(over, "a live execution refused a command")
                continue
            if call == engine.pause and book.control["command"] == "pause" and book.commands <= before + 1:
                children = [child for child in self._live_children(book) if not child.control["command"]]
                deaf = {child.execution_id for child in children} - self._promises.meddled
                self._demand(not deaf, "a pause did not reach a child before it was acknowledged")

    def _live_children(self, book: Book) -> list[Book]:
        return [child for child in self._ledger.children(book.pk) if child.state.ended is None]

    def watch(self, engine: Engine, principal: Principal) -> None:
        """Open a WebSocket on an execution."""
        connections = self._door.connections
        for execution_id in self._some(engine, principal):
            if connections is None:
                return
            self._promises.connections += 1
            name = f"c{self._promises.connections}@{self._door.process}"
            connection = Connection(
                connection_pk(name), "connection", connection_id=name, org_id=principal.org_id,
                account_id=principal.account_id, protocol="page", connected_ms=clock.now_ms(),
            )  # fmt: skip
            connections.open(connection)
            if connections.listen(connection, execution_channel(execution_id), PROJECTION):
                self._promises.watched[name] = f"{principal.org_id}#{execution_id}"

    def schedule(self, engine: Engine, principal: Principal) -> None:
        """Have a flow run every minute."""
        if self._door.schedules is None:
            return
        definition = self._random.choice([key for key in self._library.programs if key[0] == principal.org_id])[1]
        job_id = f"job-{len(self._promises.jobs)}"
        spec = {
            "id": job_id, "schedule": "* * * * *", "timezone": "UTC", "flow_id": definition,
            "payload": {"job": job_id}, "node_id": "cron",
        }  # fmt: skip
        about = ExecutionFacts("none", principal.org_id, principal.account_id, definition)
        self._ledger.has_schedules = True
        self._promises.jobs[job_id] = self._tenant
        self._door.schedules.create(about, spec)

    def _some(self, engine: Engine, principal: Principal, *, children: bool = False) -> list[str]:
        """An execution of ours, if there is one, or perhaps a child of one; somebody else's must not be found."""
        mine = [key for key, (tenant, _) in self._promises.started.items() if tenant is self._tenant]
        others = [key for key, (tenant, _) in self._promises.started.items() if tenant is not self._tenant]
        if others and self._random.random() < 0.1:
            stranger = self._random.choice(others)
            for attempt in (engine.get, engine.cancel, engine.pause):
                try:
                    attempt(principal, stranger)
                except NotFound:
                    continue
                self._scheduler.fail("an execution of another tenant was found")
        if not mine:
            return []
        chosen = self._prey(mine) or self._random.choice(mine[-3:])
        below = self._ledger.children(f"{self._tenant.org_id}#{chosen}") if children else []
        return [self._random.choice(below).execution_id if below and self._random.random() < 0.3 else chosen]

    def _prey(self, mine: list[str]) -> str | None:
        """An execution at a moment when acting on it is a race: it is being advanced, or a question has just opened."""
        books = [self._ledger.books[f"{self._tenant.org_id}#{key}"] for key in mine]
        exciting = self._random.choice((Book.is_leased, Book.is_asking, Book.is_divided, None))
        if exciting is None:
            return None
        self._scheduler.wait(lambda: any(self._is(exciting, book) for book in books), 20_000)
        return next((book.execution_id for book in books if self._is(exciting, book)), None)

    def _is(self, exciting: Callable[[Book], bool], book: Book) -> bool:
        return any(exciting(member) for member in self._ledger.family(book.pk))

    def _demand(self, holds: bool, message: str) -> None:
        if not holds:
            self._scheduler.fail(message)
