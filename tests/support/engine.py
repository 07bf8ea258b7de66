"""An engine in memory with held time, made-up node kinds and a driver a test steps through."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

from shared.engine.advance import Advancer
from shared.engine.attempt import Attempts
from shared.engine.expressions.base import Evaluated, Rendered, Scope, ScriptError
from shared.engine.interpreter import Limits, Verdict
from shared.engine.kinds.base import Answer, Call, Done, KindServices, NodeKind, Outcome, Registry
from shared.engine.ports import AllowEverything, DefinitionRef, Governance
from shared.engine.program import Edge, Node, Program
from shared.engine.repository import ExecutionRepository
from shared.engine.service import Engine
from shared.engine.state import Fact
from shared.engine.sweep import Sweep
from shared.engine.views import ExecutionView
from shared.identity.principal import Principal, system_principal
from shared.kit import clock
from shared.kit.errors import NotFound
from shared.store.embedded import EmbeddedEngine, Fault
from shared.store.models.executions import EXECUTION_MODELS, Control, WaitRecord
from tests.support.store import memory_store
from tests.support.time import HeldClock

ORG = "org-1"
RUNNER = system_principal(ORG, "account-1")
STRANGER = system_principal("org-2", "account-2")
FLOW = DefinitionRef(ORG, "flow-1", 1)

Run = Callable[[Call], Outcome]
Resume = Callable[[Call, Answer], Outcome]


class PythonLanguage:
    """Scripts are Python statements that set ``value``; templates are texts that begin with ``=``."""

    def render(self, params: Any, scope: Scope, *, limits: Any = None) -> Rendered:
        if isinstance(params, dict):
            return Rendered({name: self.render(value, scope).value for name, value in params.items()})
        if isinstance(params, str) and params.startswith("="):
            return Rendered(eval(params[1:], _names(scope)))
        return Rendered(copy.deepcopy(params))

    def call(
        self, source: str, scope: Scope, *, extra: Mapping[str, Any] | None = None, expression: bool = False,
        limits: Any = None,
    ) -> Evaluated:  # fmt: skip
        names = _names(scope) | copy.deepcopy(dict(extra or {}))
        logs: list[tuple[str, str]] = []
        names["log"] = lambda text: logs.append(("info", text))
        try:
            exec(source, names)
        except Exception as error:
            raise ScriptError(str(error), logs=logs) from error
        changed = names["shared"] if names["shared"] != scope.shared else None
        return Evaluated(names.get("value"), changed, logs, {name: names[name] for name in extra or {}})

    def evaluate(self, sources: Sequence[str], scope: Scope, *, limits: Any = None) -> list[Any]:
        return [self.call(source, scope) for source in sources]


def _names(scope: Scope) -> dict[str, Any]:
    names = {name: getattr(scope, name) for name in ("input", "results", "secrets", "item", "index", "error")}
    return names | {"shared": copy.deepcopy(scope.shared)}


class Blobs(dict[str, bytes]):
    """Large values in a dictionary."""

    def put(self, key: str, data: bytes) -> None:
        self[key] = data

    def get(self, key: str, default: Any = None) -> Any:
        if key not in self:
            raise NotFound("The stored value is gone")
        return self[key]

    def delete(self, key: str) -> None:
        self.pop(key, None)


class SteppedWorkers:
    """Runs an attempt when its result is asked for, or at once if ``eager``; ``before`` each its number is told."""

    def __init__(self, before: Callable[[int], bool] = lambda number: True, *, eager: bool = False) -> None:
        self._waiting: deque[tuple[int, Callable[[], Any]]] = deque()
        self._before = before
        self._eager = eager

    def submit(self, token: int, work: Callable[[], Any]) -> None:
        if self._eager:
            made = work()
            self._waiting.append((token, lambda: made))
        else:
            self._waiting.append((token, work))

    def next(self, timeout_s: float) -> tuple[int, Any] | None:
        if not self._waiting or not self._before(self._waiting[0][0]):
            clock.sleep(timeout_s)
            return None
        token, work = self._waiting.popleft()
        return token, work()

    def close(self) -> None:
        self._waiting.clear()


class NoHeart:
    """Leases are not renewed."""

    def beat(self, renew: Callable[[], bool]) -> Callable[[], None]:
        return lambda: None


class SteppedDriver:
    """Keeps what it was told; :meth:`World.settle` acts on it."""

    def __init__(self) -> None:
        self.queue: deque[tuple[str, str, int]] = deque()
        self.started: list[tuple[str, str, int]] = []
        self.woken: list[tuple[str, str, int, str | None]] = []

    def start(self, org_id: str, execution_id: str, generation: int) -> None:
        self.started.append((org_id, execution_id, generation))
        self.queue.append((org_id, execution_id, generation))

    def wake(self, org_id: str, execution_id: str, generation: int, task_token: str | None) -> None:
        self.woken.append((org_id, execution_id, generation, task_token))
        self.queue.append((org_id, execution_id, generation))


class StepFaults:
    """Calls ``hook`` before every store request; it may answer a fault."""

    def __init__(self) -> None:
        self.hook: Callable[[str, dict[str, Any]], Fault | None] | None = None
        self.operations: list[str] = []

    def before(self, operation: str, request: dict[str, Any]) -> Fault | None:
        self.operations.append(operation)
        return self.hook(operation, request) if self.hook is not None else None


class MadeUpKind(NodeKind):
    """A kind out of functions."""

    def __init__(self, name: str, run: Run, resume: Resume | None, effectful: bool) -> None:
        self.name = name  # type: ignore[misc]
        self.effectful = effectful  # type: ignore[misc]
        self._run, self._resume = run, resume

    def run(self, call: Call) -> Outcome:
        return self._run(call)

    def resume(self, call: Call, answer: Answer) -> Outcome:
        return self._resume(call, answer) if self._resume is not None else super().resume(call, answer)


def node(name: str, kind: str = "pass", next: Mapping[str, str] | None = None, **more: Any) -> Node:
    """A node whose edges are given as ``next``: action to target."""
    edges = tuple(Edge(action, target) for action, target in (next or {}).items())
    return Node(name, kind, edges=edges, **more)


def program(*nodes: Node, max_visits: int | None = None) -> Program:
    """A program that starts at the first node."""
    named = {found.name: found for found in nodes}
    return Program("test", "python", "flow", "1.0", nodes[0].name, named, max_visits)


class World:
    """Everything an execution needs, in memory."""

    def __init__(self, store: EmbeddedEngine, faults: StepFaults, held: HeldClock) -> None:
        self.store, self.faults, self.clock = store, faults, held
        self.blobs = Blobs()
        self.repository = ExecutionRepository(self.blobs, "boot-1")
        self.programs: dict[DefinitionRef, Program] = {}
        self.secret_values: dict[str, str] = {}
        self.registry = Registry()
        self.driver = SteppedDriver()
        self.timers: list[tuple[int, tuple[str, str, int]]] = []
        self.ran: list[str] = []
        self.before_attempt: Callable[[int], bool] = lambda number: True
        self.eager = False
        self.stopping: Callable[[], bool] = lambda: False
        self.governance: Governance = AllowEverything()
        self.limits = Limits()
        self.engine = Engine(self.repository, self, self.driver, 300 * 24 * 3600 * 1000)
        self.kind("pass", lambda call: Done(call.input))
        self.kind("script", self._script)
        self.kind("effect", self._effect, effectful=True)

    def kind(self, name: str, run: Run, resume: Resume | None = None, *, effectful: bool = False) -> None:
        """Add a node kind."""
        self.registry.register(MadeUpKind(name, run, resume, effectful))

    def _script(self, call: Call) -> Outcome:
        self.ran.append(call.node.name)
        evaluated = call.services.language.call(call.params["script"], call.scope)
        return Done(evaluated.value, shared=evaluated.shared)

    def _effect(self, call: Call) -> Outcome:
        self.ran.append(call.idempotency_key)
        return Done(call.params.get("output", call.input))

    def program(self, ref: DefinitionRef) -> Program:
        if ref not in self.programs:
            raise NotFound("no such definition")
        return self.programs[ref]

    def values(self, org_id: str, account_id: str) -> Mapping[str, str]:
        return self.secret_values

    @property
    def advancer(self) -> Advancer:
        services = cast(KindServices, SimpleNamespace(language=PythonLanguage(), wall_clock_limit_s=600.0))
        return Advancer(
            repository=self.repository, programs=self, secrets=self,
            attempts=Attempts(self.registry, services, lambda: self.stopping()),
            governance=self.governance, driver=self.driver, heart=NoHeart(),
            workers=lambda org_id, execution_id: SteppedWorkers(
                lambda number: self.before_attempt(number), eager=self.eager
            ),
            limits=self.limits,
        )  # fmt: skip

    @property
    def sweep(self) -> Sweep:
        return Sweep(self.advancer, lambda pk, sk: True)

    def start(self, *nodes: Node, input: dict[str, Any] | None = None, max_visits: int | None = None) -> str:
        """Begin an execution of a flow made of these nodes; answers its id."""
        self.programs[FLOW] = program(*nodes, max_visits=max_visits)
        return self.engine.start(RUNNER, FLOW, input or {}).id

    def advance(self, execution_id: str, generation: int | None = None) -> Verdict:
        """One advance, of the generation that is current unless told otherwise."""
        current = int(self.control(execution_id).generation) if generation is None else generation
        return self.advancer.advance(ORG, execution_id, current)

    def settle(self, seconds: float = 0.0) -> None:
        """Do what the driver was told, letting up to ``seconds`` pass for timers."""
        end = self.clock.now_ms() + seconds * 1000
        timers = self.timers
        while True:
            while self.driver.queue:
                ref = self.driver.queue.popleft()
                verdict = self.advancer.advance(*ref)
                if verdict.word == "advance":
                    self.driver.queue.append(ref)
                elif verdict.until_ms is not None and verdict.word in ("park", "busy"):
                    timers.append((verdict.until_ms, ref))
            timers.sort()
            if not timers or timers[0][0] > end:
                self.clock.sleep(max(end - self.clock.now_ms(), 0) / 1000)
                return
            moment, ref = timers.pop(0)
            self.clock.sleep(max(moment - self.clock.now_ms(), 0) / 1000)
            self.driver.queue.append(ref)

    def run(self, *nodes: Node, input: dict[str, Any] | None = None, **more: Any) -> ExecutionView:
        """Begin an execution and follow it until it ends or waits."""
        execution_id = self.start(*nodes, input=input, **more)
        self.settle()
        return self.view(execution_id)

    def view(self, execution_id: str) -> ExecutionView:
        return self.engine.get(RUNNER, execution_id)

    def facts(self, execution_id: str, name: str | None = None) -> list[Fact]:
        found = [fact for _, fact in self.engine.facts(RUNNER, execution_id)]
        return [fact for fact in found if name in (None, fact["type"])]

    def nodes(self, execution_id: str, name: str = "node_started") -> list[str]:
        return [fact["node"] for fact in self.facts(execution_id, name)]

    def control(self, execution_id: str) -> Control:
        found = self.repository.control(ORG, execution_id)
        assert found is not None
        return found

    def waits(self, execution_id: str) -> dict[str, str]:
        """Status of every wait record by wait id."""
        found = WaitRecord.query(f"{ORG}#{execution_id}", WaitRecord.sk.startswith("wait#"))
        return {wait.wait: wait.status for wait in found}

    @contextmanager
    def hooked(self, hook: Callable[[str, dict[str, Any]], Fault | None]) -> Iterator[None]:
        """Store requests inside the block go through ``hook`` first."""
        before, self.faults.hook = self.faults.hook, hook
        try:
            yield
        finally:
            self.faults.hook = before


@contextmanager
def world() -> Iterator[World]:
    """An empty world, its clock held."""
    faults, held = StepFaults(), HeldClock()
    with clock.use(held), memory_store(*EXECUTION_MODELS, faults=faults) as store:
        yield World(store, faults, held)


__all__ = ["FLOW", "ORG", "RUNNER", "STRANGER", "Principal", "World", "node", "program", "world"]
