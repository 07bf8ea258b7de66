"""Small programs a seed makes up, out of node kinds that cost nothing and leave a trace.

What a node does (fail, take long, which way to go) is drawn from the seed and the attempt, never from the order of
events; every program ends once its waits are answered.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar, cast

from shared.engine.expressions.base import DEFAULT_LIMITS, Evaluated, Limits, Rendered, Scope, ScriptError
from shared.engine.kinds.base import Answer, Call, Done, KindServices, NodeFailed, NodeKind, Outcome, Registry, Wait
from shared.engine.ports import DefinitionRef
from shared.engine.program import Batch, Edge, Node, Program, Retry
from shared.identity.principal import Principal
from shared.kit import clock
from shared.kit.errors import NotFound

SECRET = "s3cr3t-of-"
"""Every secret value begins with this, so that one that leaks is recognised."""

Began = Callable[[Call], None]


class PlainLanguage:
    """An expression language without expressions; its scripts change nothing and fail by ``chance``."""

    def __init__(self, chance: Callable[[float], bool]) -> None:
        self._chance = chance

    def render(self, params: Any, scope: Scope, *, limits: Limits = DEFAULT_LIMITS) -> Rendered:
        return Rendered(params)

    def call(
        self, source: str, scope: Scope, *, extra: Mapping[str, Any] | None = None, expression: bool = False,
        limits: Limits = DEFAULT_LIMITS,
    ) -> Evaluated:  # fmt: skip
        if self._chance(0.3):
            raise ScriptError("fated")
        return Evaluated(None, extra=dict(extra or {}))

    def evaluate(
        self, sources: Sequence[str], scope: Scope, *, limits: Limits = DEFAULT_LIMITS
    ) -> list[Evaluated | ScriptError]:
        return [Evaluated(None) for _ in sources]


@dataclass(frozen=True, slots=True)
class Fates:
    """What happens to attempts: numbers in [0, 1) that depend on the seed, the visit and the attempt alone."""

    seed: int

    def of(self, call: Call, name: str) -> float:
        return zlib.crc32(f"{self.seed}:{call.idempotency_key}:{call.attempt}:{name}".encode()) / 2**32


class Fated(NodeKind):
    """Base: a kind that may fail with the probability its node gives."""

    def __init__(self, fates: Fates, began: Began) -> None:
        self._fates = fates
        self._began = began

    def perhaps_fail(self, call: Call) -> None:
        fate = self._fates.of(call, "fail")
        if fate < float(call.params.get("fail", 0)):
            raise NodeFailed(f"fated, with {call.scope.secrets['token']}", retryable=fate * 1000 % 1 > 0.1)


class Pure(Fated):
    name: ClassVar[str] = "pure"

    def run(self, call: Call) -> Outcome:
        self.perhaps_fail(call)
        return Done({"of": call.node.name, "index": call.scope.index})


class Effect(Fated):
    """Reaches outside: takes time there and is counted."""

    name: ClassVar[str] = "effect"
    effectful: ClassVar[bool] = True

    def run(self, call: Call) -> Outcome:
        self._began(call)
        clock.sleep(float(call.params["seconds"]) * self._fates.of(call, "time"))
        self.perhaps_fail(call)
        return Done({"of": call.node.name, "index": call.scope.index, "key": call.idempotency_key})


class Poll(Effect):
    """Reaches outside, waits, and reaches outside again."""

    name: ClassVar[str] = "poll"

    def run(self, call: Call) -> Outcome:
        super().run(call)
        return self._later(1)

    def resume(self, call: Call, answer: Answer) -> Outcome:
        done = super().run(call)
        return done if answer.state["polls"] == 2 else self._later(2)

    def _later(self, polls: int) -> Outcome:
        return Wait(clock.now_ms() + 1_500, state={"polls": polls})


class Signal(Fated):
    """Waits for its key, for ever or until a time-out."""

    name: ClassVar[str] = "signal"

    def run(self, call: Call) -> Outcome:
        seconds = call.params.get("seconds")
        return Wait(clock.now_ms() + int(seconds * 1000) if seconds else None, key=call.node.name, state={"asked": 1})

    def resume(self, call: Call, answer: Answer) -> Outcome:
        assert answer.state == {"asked": 1}, "the state of a wait is lost"
        self.perhaps_fail(call)
        return Done({"timed_out": answer.timed_out, "value": answer.value, "index": call.scope.index})


class Timer(Fated):
    """Waits for a time."""

    name: ClassVar[str] = "timer"

    def run(self, call: Call) -> Outcome:
        return Wait(clock.now_ms() + int(float(call.params["seconds"]) * 1000), state={"due": clock.now_ms()})

    def resume(self, call: Call, answer: Answer) -> Outcome:
        return Done({"timed_out": answer.timed_out, "index": call.scope.index})


class Choose(Fated):
    """Goes one of two ways."""

    name: ClassVar[str] = "choose"

    def run(self, call: Call) -> Outcome:
        return Done(None, ("left",) if self._fates.of(call, "way") < 0.5 else ("right",))


class Loop(Fated):
    """Goes round a number of times, counted in the shared scope."""

    name: ClassVar[str] = "loop"

    def run(self, call: Call) -> Outcome:
        count = int(call.scope.shared.get(call.node.name, 0)) + 1
        action = "again" if count <= int(call.params["times"]) else "default"
        return Done({"round": count}, (action,), shared={**call.scope.shared, call.node.name: count})


class Items(Fated):
    """Makes a list."""

    name: ClassVar[str] = "items"

    def run(self, call: Call) -> Outcome:
        return Done(list(range(int(call.params["count"]))))


class Leak(Fated):
    """Tries to leave a secret behind everywhere it can."""

    name: ClassVar[str] = "leak"

    def run(self, call: Call) -> Outcome:
        secret = call.scope.secrets["token"]
        call.log("info", f"the secret is {secret}", {"secret": secret})
        return Done({"secret": [secret, {secret: 1}]}, shared={**call.scope.shared, "leak": secret})


def kinds(seed: int, began: Began) -> Registry:
    """Every kind of the simulation; ``began`` hears of effects."""
    registry = Registry()
    for kind in (Pure, Effect, Poll, Signal, Timer, Choose, Loop, Items, Leak):
        registry.register(kind(Fates(seed), began))
    return registry


def services(chance: Callable[[float], bool]) -> KindServices:
    """Ports the kinds of the simulation do without."""
    none = cast(Any, None)
    return KindServices(language=PlainLanguage(chance), http=none, keyvalues=none, schedules=none, operations=none)


@dataclass(frozen=True, slots=True)
class Definition:
    """A definition as schedules see it."""

    id: str
    revision: int = 1


class Library:
    """The programs of a history; each belongs to one org.

    They are ``shared.engine.ports.Programs`` and ``shared.engine.schedules.Definitions``.
    """

    def __init__(self) -> None:
        self.programs: dict[tuple[str, str], Program] = {}

    def program(self, ref: DefinitionRef) -> Program:
        found = self.programs.get((ref.org_id, ref.id))
        if found is None or ref.version != 1:
            raise NotFound("no such definition")
        return found

    def get(self, principal: Principal, kind: str, definition_id: str) -> Definition:
        self.program(DefinitionRef(principal.org_id, definition_id, 1))
        return Definition(definition_id)


class Author:
    """Writes one program, from its end to its beginning, so that every edge has a target."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._nodes: dict[str, Node] = {}

    def write(self, name: str) -> Program:
        """A program of a few steps."""
        start = self._sequence(self._random.randint(1, 3), None, depth=0)
        return Program("simulation", "none", name, "1", start, self._nodes, max_visits=400)

    def _sequence(self, length: int, following: str | None, depth: int) -> str:
        for _ in range(length):
            following = self._step(following, depth)
        assert following is not None
        return following

    def _step(self, following: str | None, depth: int) -> str:
        simple = (self._work, self._work, self._wait, self._batch)
        nested = (self._fork, self._branch, self._loop)
        makers = simple if depth >= 2 else (*simple, *nested)
        return self._random.choice(makers)(following, depth)

    def _node(self, kind: str, edges: Sequence[tuple[str, str | None]], **more: Any) -> str:
        name = f"{kind}{len(self._nodes)}"
        targets = tuple(Edge(action, target) for action, target in edges if target is not None)
        self._nodes[name] = Node(name, kind, more.pop("params", {}), targets, **more)
        return name

    def _hardship(self) -> dict[str, Any]:
        """Perhaps failures, and perhaps patience with them."""
        retry = self._random.choice((None, Retry(3, wait_ms=self._random.choice((0, 300, 5_000)), factor=2.0)))
        return {"retry": retry}

    def _work(self, following: str | None, depth: int) -> str:
        random = self._random
        kind = random.choice(("pure", "effect", "effect", "poll", "leak"))
        params: dict[str, Any] = {"fail": random.choice((0, 0, 0.5)), "seconds": random.choice((0, 0.5, 5, 45))}
        edges = [("default", following)]
        if random.random() < 0.3:
            edges.append(("error", following))
        limit = random.choice((None, None, 2_000))
        return self._node(kind, edges, params=params, result_keys=("last",), timeout_ms=limit, **self._hardship())

    def _wait(self, following: str | None, depth: int) -> str:
        random = self._random
        if random.random() < 0.4:
            return self._node("timer", [("default", following)], params={"seconds": random.choice((0.2, 3, 90))})
        params = {"seconds": random.choice((None, None, 2, 30)), "fail": random.choice((0, 0, 0.3))}
        return self._node("signal", [("default", following)], params=params, **self._hardship())

    def _batch(self, following: str | None, depth: int) -> str:
        random = self._random
        params = {"fail": random.choice((0, 0, 0.2)), "seconds": random.choice((0.5, 4))}
        kind = random.choice(("pure", "effect", "effect", "signal", "timer"))
        edges = [("default", following), ("error", following if random.random() < 0.5 else None)]
        hooks = random.choice(({}, {}, {"post": "perhaps"}))
        more = {"batch": Batch(random.choice((1, 2, 3, 4, 6, 8))), "hooks": hooks, **self._hardship()}
        batch = self._node(kind, edges, params=params, **more)
        return self._node("items", [("default", batch)], params={"count": random.choice((0, 1, 2, 3, 4, 5, 6))})

    def _fork(self, following: str | None, depth: int) -> str:
        joined = self._node("pure", [("default", following)])
        count = self._random.randint(2, 3)
        ends = self._random.choice((None, joined))
        branches = [
            (f"b{number}", self._sequence(self._random.randint(1, 2), ends or self._last(), depth + 1))
            for number in range(count)
        ]
        return self._node("pure", [*branches, ("default", joined)], routing="fork")

    def _last(self) -> str:
        """A node after which nothing comes."""
        return self._node("pure", [])

    def _branch(self, following: str | None, depth: int) -> str:
        ways = [(way, self._sequence(1, following, depth + 1)) for way in ("left", "right")]
        return self._node("choose", ways)

    def _loop(self, following: str | None, depth: int) -> str:
        name = f"loop{len(self._nodes)}"
        self._nodes[name] = Node(name, "loop")
        body = self._sequence(1, name, depth + 1)
        edges = [Edge("again", body)] + ([Edge("default", following)] if following is not None else [])
        self._nodes[name] = Node(name, "loop", {"times": self._random.randint(1, 3)}, tuple(edges))
        return name


def signal_keys(program: Program) -> list[str]:
    """The keys a program may wait for."""
    return [name for name, node in program.nodes.items() if node.kind == "signal"]
