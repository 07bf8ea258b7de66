"""Runs a program under one lease: decides, starts attempts, notes what came of them, until it must park or is done.

ready ──▶ running ──▶ finished ──▶ next node (ready)          one token, one arrow at a time
  ▲          │ ├────▶ waiting  ──▶ ready (resumed)
  │          │ └────▶ retrying ──▶ ready
  └──────────┴─ owner of a fork or batch until its group has ended
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from shared.engine.attempt import Failure, Result
from shared.engine.beginning import Beginning
from shared.engine.children import Children
from shared.engine.journal import expire_wait
from shared.engine.reports import result
from shared.engine.settling import Settling
from shared.engine.state import Fact
from shared.engine.turn import Limits, Turn
from shared.kit import clock

Word = Literal["advance", "park", "busy", "handover", "end"]

FLUSH_SECONDS = 0.1
"""Facts become durable, and visible to watchers, at the latest after this time between two nodes."""

FLUSH_FACTS = 500
"""So many facts are noted before they are appended."""

LOOK_SECONDS = 1.0
"""How often a holder whose effects keep it from appending looks for commands."""

STOPPING_SECONDS = 3.0
"""How long a process that is told to stop waits for its effects."""

DAY_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the machine is to do next. ``until_ms`` is the moment of a park or busy; ``wake`` the counter a park saw."""

    word: Word
    until_ms: int | None = None
    status: str = ""
    wake: int = 0


class Interpreter:
    """One advance of one execution."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._state = turn.state
        self._journal = turn.journal
        self._settling = Settling(turn)
        self._children = Children(turn, self._settling)
        self._beginning = Beginning(turn, self._settling, self._children)
        self._stopping_since: float | None = None

    def run(self) -> Verdict:
        """Go on until the execution ends, must wait, or the slice is spent."""
        slice_end = clock.monotonic() + self._turn.limits.slice_s
        while self._state.ended is None:
            if self._children.tend() or self._must_end():
                continue
            if self._is_spent(slice_end) and not self._turn.flights:
                if self._journal.release():
                    return Verdict("advance")
            elif self._is_cut_off():
                self._journal.commit()
                return Verdict("busy", until_ms=clock.now_ms())
            elif (verdict := self._step(slice_end)) is not None:
                return verdict
        return Verdict("end", status=self._state.ended["status"])

    def _is_spent(self, slice_end: float) -> bool:
        return clock.monotonic() >= slice_end or self._turn.attempts.stopping()

    def _is_cut_off(self) -> bool:
        """Whether the process ends before the effects under way do; the next one delivers them again."""
        if not self._turn.attempts.stopping():
            return False
        if self._stopping_since is None:
            self._stopping_since = clock.monotonic()
        return clock.monotonic() - self._stopping_since >= STOPPING_SECONDS

    def _must_end(self) -> bool:
        """End the execution if it must; True then, and also when something that came between has to be looked at."""
        end = self._end()
        if end is None:
            return False
        status, fields = end
        if self._children.leave():
            self._journal.finish(status, **fields)
        return True

    def _end(self) -> tuple[str, dict[str, Any]] | None:
        """How it ends, if it does now: the status, and further fields of the fact."""
        state, deadline, failure = self._state, self._turn.deadline_ms, self._state.failure
        if self._journal.command == "cancel":
            return "canceled", {"error": "canceled"}
        if deadline is not None and clock.now_ms() >= deadline:
            days = (deadline - self._turn.execution.started_ms) / DAY_MS
            return "expired", {"error": f"the execution exceeded its time limit of {days:g} days"}
        if failure is not None:
            return "failed", {"error": failure["message"], "node": failure["node"], "kind": failure["kind"]}
        done, node = state.last_output, state.last_node
        if state.part is not None:
            done, node = result(state), state.tokens[1].node
            if done is None:
                return None
        elif state.tokens:
            return None
        return "completed", {"result": done, "node": node, "kind": self._turn.kind(node)}

    def _step(self, slice_end: float) -> Verdict | None:
        """Begin what can begin, then take one result or rest."""
        self._fire_due()
        if self._children.settle():
            self._flush_if_due()
            return None
        spent = self._is_spent(slice_end)
        if not self._state.paused and not spent and self._beginning.begin():
            self._flush_if_due()
            return None
        if self._turn.flights:
            self._await_result()
            return None
        # What became ready in the last moment of a slice is for the next one to begin.
        return None if spent else self._rest()

    # Results

    def _await_result(self) -> None:
        """Take the next result; while there is none, make facts durable, watch the clock and look for commands."""
        landed: tuple[int, Result] | None = self._turn.workers.next(self._patience())
        if landed is None:
            if not self._end_overlong() and not (self._journal.pending and self._journal.commit()):
                self._journal.look()
            return
        while landed is not None:
            token = self._turn.landed(landed[0])
            if token is not None:
                self._settling.settle(token, landed[1])
            # What else has landed meanwhile shares the next append.
            landed = self._turn.workers.next(0) if self._turn.flights else None
        self._flush_if_due()

    def _patience(self) -> float:
        """Seconds until something else than a result wants attention."""
        limits = [LOOK_SECONDS]
        if self._journal.pending:
            limits.append(FLUSH_SECONDS - self._journal.pending_s)
        # A pause leaves timers that are over as they are; they want no attention before the resume.
        due = self._turn.due_ms() if not self._state.paused else None
        if due is not None:
            limits.append((due - clock.now_ms()) / 1000)
        ends = [flight.over_at() for flight in self._turn.flights.values()]
        limits += [end - clock.monotonic() for end in ends if end is not None]
        return max(min(limits), 0.001)

    def _end_overlong(self) -> bool:
        """Fail the attempts that took too long; what they still bring is dropped."""
        now = clock.monotonic()
        over = [number for number, flight in self._turn.flights.items() if (flight.over_at() or now + 1) <= now]
        for number in over:
            limit_s = self._turn.flights[number].limit_s
            token = self._turn.landed(number)
            if token is not None:
                self._settling.failed(token, Failure(f"the node ran longer than its limit of {limit_s:g} seconds"))
                self._journal.mark()
        return bool(over)

    # Waiting

    def _fire_due(self) -> None:
        """Timers and retries whose moment has come; a wait that could be signalled closes by compare-and-set."""
        now = clock.now_ms()
        due = [token for token in self._state.tokens.values() if token.due_ms is not None and token.due_ms <= now]
        for token in due:
            if token.status == "retrying":
                token.status, token.due_ms = "ready", None
            elif token.status == "waiting" and not self._state.paused:
                about = {"wait": token.wait, "token": token.id, "node": token.node, "visit": token.visit}
                fact: Fact = {"type": "wait_ended", "at": now, **about, "timed_out": True}
                if token.wait_key is None:
                    self._journal.take(fact)
                    self._journal.mark()
                    continue
                expiry = expire_wait(self._journal.pk, str(token.wait))
                if not self._journal.commit() or not self._journal.commit([fact], expiry):
                    return

    def _rest(self) -> Verdict | None:
        """Nothing can run now: wait a moment here, or park until the next deadline or signal."""
        paused = self._state.paused
        due = None if paused else self._due_ms()
        if due is not None and due - clock.now_ms() <= self._turn.limits.inline_wait_ms:
            if self._journal.commit():
                clock.sleep(max(due - clock.now_ms(), 0) / 1000)
            return None
        deadline = self._turn.deadline_ms
        if deadline is not None:
            due = min(due if due is not None else deadline, deadline)
        held = self._beginning.held
        status = "paused" if paused or (held is not None and held.status == "paused") else "waiting"
        wake = self._journal.wake
        return Verdict("park", until_ms=due, status=status, wake=wake) if self._journal.park(due, status) else None

    def _due_ms(self) -> int | None:
        """When the next timer comes, or governance wants to be asked again."""
        held = self._beginning.held
        found = (self._turn.due_ms(), None if held is None else held.until_ms)
        return min((due for due in found if due is not None), default=None)

    def _flush_if_due(self) -> None:
        if self._journal.pending >= FLUSH_FACTS or self._journal.pending_s >= FLUSH_SECONDS:
            self._journal.commit()


__all__ = ["Interpreter", "Limits", "Verdict", "Word"]
