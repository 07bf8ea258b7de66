"""Governance of a history: refuses some effects, has others wait for a person, and holds executions for a while."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from shared.engine.ports import Decision, Effect
from shared.engine.service import Engine
from shared.identity.principal import Principal, system_principal
from shared.kit.errors import Conflict, NotFound, Unavailable
from tests.simulation.callers import Door
from tests.simulation.scheduler import Actor, Died, Scheduler

DELAYS_S = (0.0, 0.5, 4.0, 40.0)
"""How long people take to decide."""

FAR_MS = 20 * 3600 * 1000
"""When a held effect is asked about by itself: too late for a history, so that only a wake-up helps it."""


class Warden:
    """Decides by the seed and the effect. Whoever has decided tells the execution until it has heard of it."""

    def __init__(self, scheduler: Scheduler, door: Door, seed: int) -> None:
        self._scheduler = scheduler
        self._door = door
        self._seed = seed
        self._asked: set[str] = set()
        self._decided: set[str] = set()
        self._told: set[str] = set()
        self._allowed: set[str] = set()
        self._done: set[str] = set()
        self._held: set[str] = set()

    def holds(self, execution_id: str) -> bool:
        """Whether an effect of the execution waits for a decision that is still to be made, or told."""
        return any(key.startswith(execution_id) for key in self._asked - self._told)

    def before(self, effect: Effect) -> Decision:
        """Some effects are refused, some wait for a person who may refuse, too, the others are allowed."""
        fate = Random(f"{self._seed} {effect.key}").random()
        if effect.key in self._done:
            self._scheduler.fail(f"{effect.key} was asked about after it had been done")
        execution_id = effect.key.partition(":")[0]
        if fate < 0.2 and execution_id not in self._held:
            self._held.add(execution_id)
            self._later(lambda: self._hold(effect, execution_id), fate)
        if fate < 0.4 and effect.key not in self._decided:
            if effect.key not in self._asked:
                self._asked.add(effect.key)
                self._later(lambda: self._decide(effect), fate)
            until = self._scheduler.now_ms() + FAR_MS if fate < 0.3 else None
            return Decision("hold", f"{effect.key}: asks a person", until_ms=until, alone=fate * 1000 % 1 < 0.5)
        if fate < 0.05 or fate > 0.95:
            return Decision("refuse", "not here")
        self._allowed.add(effect.key)
        return Decision()

    def after(self, effect: Effect, usage: Sequence[Mapping[str, Any]], *, failed: bool) -> None:
        """Nothing may be done that was not allowed, or be done twice."""
        if effect.key not in self._allowed:
            self._scheduler.fail(f"{effect.key} was done although it was not allowed")
        if effect.key in self._done:
            self._scheduler.fail(f"{effect.key} was done twice")
        self._done.add(effect.key)

    def _later(self, act: Callable[[], None], fate: float) -> None:
        delay_s = DELAYS_S[int(fate * 10_000) % len(DELAYS_S)]
        self._scheduler.spawn("person", act, delay_ms=int(delay_s * 1000))

    def _decide(self, effect: Effect) -> None:
        self._decided.add(effect.key)
        self._tell(effect, effect.execution.id, Engine.nudge)
        self._told.add(effect.key)

    def _hold(self, effect: Effect, execution_id: str) -> None:
        """Hold an execution, and release it after a while."""
        self._tell(effect, execution_id, Engine.hold)
        self._scheduler.sleep(DELAYS_S[self._seed % len(DELAYS_S)])
        self._tell(effect, execution_id, Engine.release)

    def _tell(self, effect: Effect, execution_id: str, tell: Callable[..., None]) -> None:
        principal, actor = system_principal(effect.execution.org_id, ""), self._scheduler.current
        while (engine := self._door.engine) is None or not self._told_by(engine, actor, principal, execution_id, tell):
            self._scheduler.sleep(1)

    def _told_by(
        self, engine: Engine, actor: Actor, principal: Principal, execution_id: str, tell: Callable[..., None]
    ) -> bool:
        """Whether the execution has heard of it, or can hear no more. Events are told until that is known."""
        self._door.inside.add(actor)
        try:
            tell(engine, principal, execution_id)
        except (Conflict, NotFound):
            return True
        except Unavailable as error:
            self._scheduler.note(f"unavailable: {error}")
            return False
        except Died:
            if actor.doomed or self._scheduler.over:
                raise
            actor.dying = False
            return False
        finally:
            self._door.inside.discard(actor)
        return True
