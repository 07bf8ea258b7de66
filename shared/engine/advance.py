"""One turn of the machine: take the lease, load, interpret, answer with the word the driver acts on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shared.engine.attempt import Attempts
from shared.engine.commands import Commands
from shared.engine.interpreter import Interpreter, Limits, Verdict
from shared.engine.journal import Journal, LeaseLost
from shared.engine.kinds.base import ExecutionFacts
from shared.engine.ports import DefinitionRef, Driver, Governance, Heart, Programs, Secrets, Workers
from shared.engine.program import Program
from shared.engine.repository import LEASE_MS, ExecutionRepository, Refused
from shared.engine.scope import LazySecrets, ScopeFactory
from shared.engine.state import State
from shared.engine.turn import Turn
from shared.kit import clock
from shared.kit.errors import InvalidRequest, NotFound, Unprocessable
from shared.kit.logging import logger
from shared.store.models.executions import Control, execution_pk
from shared.store.transaction import update_if

log = logger("engine")

MAX_SEGMENTS = 1_000
"""Advances per generation; a state machine's history holds 25,000 events."""


DEFAULT_LIMITS = Limits()

_LIVE = Control.live == True  # noqa: E712 - a condition on the item, not a comparison here


@dataclass(frozen=True, slots=True)
class Advancer:
    """Everything an advance needs. ``workers`` makes the pool of one advance, given its org and execution."""

    repository: ExecutionRepository
    programs: Programs
    secrets: Secrets
    attempts: Attempts
    governance: Governance
    driver: Driver
    heart: Heart
    workers: Callable[[str, str], Workers]
    limits: Limits = DEFAULT_LIMITS

    def advance(self, org_id: str, execution_id: str, generation: int) -> Verdict:
        """Run until the execution ends, parks or the slice is spent. Safe to call twice, late, or from two places."""
        acquired = self.repository.acquire(org_id, execution_id, generation)
        if isinstance(acquired, Refused):
            verdict, control = _refused(acquired), acquired.control
        else:
            verdict, control = self._advance(acquired), acquired
        if verdict.word == "end" and control is not None and control.parent_id is not None:
            # The end of a child is an answer its parent waits for.
            Commands(self.repository, self.driver).wake(org_id, control.parent_id)
        return verdict

    def _advance(self, control: Control) -> Verdict:
        if control.segment > MAX_SEGMENTS:
            return self._hand_over(control)
        program = self._program(control)
        if isinstance(program, str):
            return self._fail(control, program)
        stop = self.heart.beat(lambda: self.repository.renew(control))
        workers = self.workers(control.org_id, control.execution_id)
        try:
            return Interpreter(self._turn(control, program, workers)).run()
        except LeaseLost:
            return Verdict("busy", until_ms=clock.now_ms() + 1_000)
        finally:
            stop()
            workers.close()

    def _program(self, control: Control) -> Program | str:
        """The program, or why there is none and never will be."""
        ref = DefinitionRef(control.org_id, control.definition_id, int(control.definition_version))
        try:
            return self.programs.program(ref)
        except (NotFound, InvalidRequest, Unprocessable, LookupError, TypeError, ValueError) as error:
            about = {"execution_id": control.execution_id, "reason": type(error).__name__}
            log.warning("the program of an execution cannot be loaded", extra=about)
            return "the definition this execution runs was deleted or can no longer be loaded"

    def _fail(self, control: Control, reason: str) -> Verdict:
        if control.has_children:
            Commands(self.repository, self.driver).pass_on(control.org_id, control.execution_id, "cancel")
        nothing = Program("", "", "", "", "", {})
        state = State()
        journal = Journal(self.repository, control, nothing, state)
        try:
            while state.ended is None:
                if journal.command == "cancel":
                    journal.finish("canceled", error="canceled")
                else:
                    journal.finish("failed", error=reason)
        except LeaseLost:
            return Verdict("busy", until_ms=clock.now_ms() + 1_000)
        return Verdict("end", status=state.ended["status"])

    def _turn(self, control: Control, program: Program, workers: Workers) -> Turn:
        state, facts = self.repository.load_state(control)
        for fact in facts:
            state.apply(fact, program)
        state.forget_deliveries()
        journal = Journal(self.repository, control, program, state)
        journal.absorb_if_woken()
        execution = ExecutionFacts(
            control.parent_id or control.execution_id, control.org_id, control.account_id, control.definition_id,
            int(control.started_ms),
        )  # fmt: skip
        secrets = LazySecrets(lambda: self.secrets.values(control.org_id, control.account_id))
        if state.secrets_read:
            secrets.read()
        return Turn(
            program=program,
            state=state,
            journal=journal,
            execution=execution,
            attempts=self.attempts,
            workers=workers,
            governance=self.governance,
            scopes=ScopeFactory(execution, secrets),
            limits=self.limits,
            control=control,
            repository=self.repository,
            driver=self.driver,
            deadline_ms=int(control.deadline_ms) if control.deadline_ms is not None else None,
        )

    def _hand_over(self, control: Control) -> Verdict:
        """Begin the next generation, so that no machine's history grows without end."""
        ours = (Control.lease == control.lease) & (Control.generation == control.generation)
        if update_if(Control(control.pk, "control"), _next_generation(control), ours):
            self.driver.start(control.org_id, control.execution_id, int(control.generation) + 1)
        return Verdict("handover")

    def restart(self, control: Control) -> bool:
        """Move to a new generation: whatever still runs for the old one becomes void. False when someone else did."""
        unchanged = (Control.generation == control.generation) & (Control.due_ms == control.due_ms)
        return update_if(Control(control.pk, "control"), _next_generation(control), unchanged & _LIVE)

    def register_park(self, org_id: str, execution_id: str, generation: int, wake: int, task_token: str) -> bool:
        """Keep the token that ends this park. False: something came since the park was committed, go on at once."""
        parked = (Control.generation == generation) & (Control.wake == wake) & Control.lease.does_not_exist()
        key = Control(execution_pk(org_id, execution_id), "control")
        return update_if(key, [Control.task_token.set(task_token)], parked & _LIVE)


def _next_generation(control: Control) -> list[Any]:
    return [
        Control.generation.set(int(control.generation) + 1),
        Control.segment.set(0),
        Control.lease.remove(),
        Control.lease_until.remove(),
        Control.lease_boot.remove(),
        Control.task_token.remove(),
        Control.due_ms.set(clock.now_ms() + LEASE_MS),
    ]


def _refused(refused: Refused) -> Verdict:
    if refused.reason == "leased" and refused.control is not None:
        return Verdict("busy", until_ms=int(refused.control.lease_until or clock.now_ms()) + 1_000)
    return Verdict("end", status=str(refused.control.status) if refused.control is not None else "")
