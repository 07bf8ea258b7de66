"""Runs a program under one lease: decides, starts attempts, notes what came of them, until it must park or is done.

    ready ──▶ running ──▶ finished ──▶ next node (ready)          one token, one arrow at a time
      ▲          │ ├────▶ waiting  ──▶ ready (resumed)
      │          │ └────▶ retrying ──▶ ready
      └──────────┴─ owner of a fork or batch until its group has ended
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from shared.engine.attempt import Attempts, Failure, Job, Result
from shared.engine.journal import Journal, expire_wait
from shared.engine.kinds.base import GENERIC_ACTIONS, Answer, Done, ExecutionFacts, Wait
from shared.engine.ports import Governance, Workers
from shared.engine.program import END, Node, Program
from shared.engine.routing import candidate_edges, default_of_fork, ends_branch, error_edge, fork_branches
from shared.engine.scope import ScopeFactory
from shared.engine.state import Fact, Group, State, Token, batch_items
from shared.kit import clock
from shared.store.models.executions import WaitRecord
from shared.store.transaction import Transaction

Word = Literal["advance", "park", "busy", "handover", "end"]

FLUSH_SECONDS = 0.1
"""Facts become durable, and visible to watchers, at the latest after this time between two nodes."""

FLUSH_FACTS = 500
"""So many facts are appended at once at most."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the machine is to do next. ``until_ms`` is the moment of a park or busy; ``wake`` the counter a park saw."""

    word: Word
    until_ms: int | None = None
    status: str = ""
    wake: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one advance. Delays up to ``inline_wait_ms`` are waited for in the process instead of parking."""

    slice_s: float = 60.0
    max_visits: int = 10_000
    max_inflight: int = 64
    inline_wait_ms: int = 1_000


class Interpreter:
    """One advance of one execution."""

    def __init__(
        self, program: Program, state: State, journal: Journal, execution: ExecutionFacts, attempts: Attempts,
        workers: Workers, governance: Governance, scopes: ScopeFactory, limits: Limits, deadline_ms: int | None = None,
    ) -> None:  # fmt: skip
        self._program = program
        self._state = state
        self._journal = journal
        self._execution = execution
        self._attempts = attempts
        self._workers = workers
        self._governance = governance
        self._scopes = scopes
        self._limits = limits
        self._deadline_ms = deadline_ms
        self._max_visits = min(limits.max_visits, program.max_visits or limits.max_visits)
        self._inflight: dict[int, tuple[int, int]] = {}
        self._held = False

    def run(self) -> Verdict:
        """Go on until the execution ends, must wait, or the slice is spent."""
        slice_end = clock.monotonic() + self._limits.slice_s
        while self._state.ended is None:
            if self._journal.command == "cancel":
                self._journal.finish("canceled", error="canceled")
            elif self._deadline_ms is not None and clock.now_ms() >= self._deadline_ms:
                self._journal.finish("expired", error="the execution exceeded its time limit")
            elif clock.monotonic() >= slice_end and not self._inflight:
                if self._journal.release():
                    return Verdict("advance")
            else:
                verdict = self._step(slice_end)
                if verdict is not None:
                    return verdict
        return Verdict("end", status=self._state.ended["status"])

    def _step(self, slice_end: float) -> Verdict | None:
        """Begin what can begin, then take one result, rest, or end."""
        self._fire_due()
        if not self._state.paused and clock.monotonic() < slice_end and self._begin():
            self._flush_if_due()
            return None
        if self._inflight:
            return self._await_result(slice_end)
        if not self._state.tokens:
            self._journal.finish("completed", result=self._state.last_output, node=self._state.last_node, kind=self._kind(self._state.last_node))
            return None
        return self._rest()

    # Beginning nodes

    def _begin(self) -> bool:
        """Start every token that is ready; False when nothing could start."""
        ready = [token for token in self._state.tokens.values() if token.status == "ready" and self._may_run(token)]
        begun, effects = False, []
        for token in ready:
            if self._state.tokens.get(token.id) is not token or token.status != "ready" or self._state.ended is not None:
                continue
            node = self._program.nodes[token.node]
            if token.visit == 0 and self._state.visits >= self._max_visits:
                self._end_failed(f"more than {self._max_visits} node visits; is there an endless loop?", token)
                return True
            if self._opens_group(token, node):
                begun = True
            elif token.answer is None and self._attempts.effectful(node):
                effects.append(token)
            else:
                self._begin_pure(token, node, alone=len(ready) == 1 and not self._inflight)
                begun = True
        return self._begin_effects(effects) or begun

    def _may_run(self, token: Token) -> bool:
        if len(self._inflight) >= self._limits.max_inflight:
            return False
        batch = self._program.nodes[token.node].batch
        if not token.is_item or batch is None:
            return True
        earlier = sum(1 for other in self._state.members(token.group or 0) if other.branch < token.branch)
        return earlier < batch.max_parallel

    def _opens_group(self, token: Token, node: Node) -> bool:
        """A fork or a batch over a list: its branches or items run instead of the node itself."""
        if token.is_item or token.answer is not None or not (node.batch or node.routing == "fork"):
            return False
        items = batch_items(token.input) if node.batch else None
        if node.batch and items is None:
            return False
        self._journal.note("node_started", **self._subject(token, node), attempt=token.attempt + 1)
        if items is not None:
            self._journal.note("batch_opened", token=token.id, group=self._state.next_group, size=len(items), first_token=self._state.next_token)
        else:
            first = self._state.next_token
            branches = [{"token": first + n, "action": action, "target": target} for n, (action, target) in enumerate(fork_branches(self._program, node))]
            self._journal.note("forked", token=token.id, group=self._state.next_group, branches=branches)
        self._close_group_if_done(self._state.next_group - 1)
        return True

    def _begin_pure(self, token: Token, node: Node, *, alone: bool) -> None:
        if token.answer is None:
            self._journal.note("node_started", **self._subject(token, node), attempt=token.attempt + 1)
        self._launch(token, node, inline=alone)

    def _begin_effects(self, tokens: list[Token]) -> bool:
        """Journal the start of effects, then start them; nothing starts when a command or signal came between."""
        room = max(self._limits.max_inflight - len(self._inflight), 0)
        self._held = False
        allowed = [token for token in tokens[:room] if self._governed(token)]
        if not allowed:
            return len(tokens) > 0 and not self._held
        facts: list[Fact] = []
        visits = self._state.visits
        for token in allowed:
            visit = token.visit or (visits := visits + 1)
            subject = self._subject(token, self._program.nodes[token.node]) | {"visit": visit}
            facts.append({"type": "node_started", "at": clock.now_ms(), **subject, "attempt": token.attempt + 1})
        if self._journal.commit(facts):
            alone = len(allowed) == 1 and not self._inflight
            for token in allowed:
                self._launch(token, self._program.nodes[token.node], inline=alone)
        return True

    def _governed(self, token: Token) -> bool:
        node = self._program.nodes[token.node]
        decision = self._governance.before(self._execution, node)
        self._held = self._held or decision.verdict == "hold"
        if decision.verdict == "refuse":
            self._failed(token, node, Failure(decision.reason, retryable=False))
        return decision.verdict == "allow"

    def _launch(self, token: Token, node: Node, *, inline: bool) -> None:
        job = self._job(token, node)
        if inline:
            self._settle(token, node, self._attempts.run(job))
            return
        token.status = "running"
        self._inflight[token.id] = (token.visit, token.attempt)
        self._workers.submit(token.id, lambda: self._attempts.run(job))

    def _job(self, token: Token, node: Node) -> Job:
        item = f":{token.branch}" if token.is_item else ""
        answer = Answer(**token.answer, state=token.wait_state) if token.answer is not None else None
        scope, redact = self._scopes.scope(self._state, token)
        return Job(
            node=node, input=self._state.item(token) if token.is_item else token.input, scope=scope, execution=self._execution,
            attempt=token.attempt, idempotency_key=f"{self._execution.id}:{node.name}:{token.visit}{item}", answer=answer,
            is_item=token.is_item, redact=redact,
        )  # fmt: skip

    # Taking results

    def _await_result(self, slice_end: float) -> Verdict | None:
        self._journal.commit()
        due = min((token.due_ms for token in self._state.tokens.values() if token.due_ms is not None), default=None)
        timeout = 1.0 if due is None else max(min((due - clock.now_ms()) / 1000, 1.0), 0.001)
        finished = self._workers.next(timeout)
        if finished is None:
            self._journal.look()
            return None
        token_id, result = finished
        started = self._inflight.pop(token_id)
        token = self._state.tokens.get(token_id)
        if token is not None and token.status == "running" and (token.visit, token.attempt) == started:
            self._settle(token, self._program.nodes[token.node], result)
        return None

    def _settle(self, token: Token, node: Node, result: Result) -> None:
        """Note what an attempt brought."""
        for log in result.logs:
            self._journal.take(log)
        match result.outcome:
            case Done() as done:
                self._finished(token, node, done, result)
            case Wait() as wait:
                self._waits(token, node, wait)
            case Failure() as failure:
                self._failed(token, node, failure)

    def _finished(self, token: Token, node: Node, done: Done, result: Result) -> None:
        fact = self._subject(token, node) | {"output": done.output, "actions": list(done.actions)}
        optional = {"shared": result.shared, "removed": result.removed, "usage": done.usage}
        group = token.group
        self._journal.note("node_finished", **fact, **{name: value for name, value in optional.items() if value})
        if token.is_item and group is not None:
            self._close_group_if_done(group)
        else:
            self._route(token, node, done.actions)

    def _route(self, token: Token, node: Node, actions: tuple[str, ...]) -> None:
        targets = candidate_edges(self._program, node, actions)
        if not targets:
            self._end_branch(token, None)
        for position, (action, target) in enumerate(targets):
            self._move(token, node, action, target, new=self._state.next_token if position < len(targets) - 1 else token.id)

    def _move(self, token: Token, node: Node, action: str, target: str, *, new: int | None = None, error: dict[str, Any] | None = None) -> None:
        ends, join = ends_branch(self._program, self._state, token, target)
        if ends:
            self._end_branch(token, join)
            return
        fact = {"token": token.id, "node": node.name, "visit": token.visit, "action": action, "target": target}
        extra = ({"new": new} if new not in (None, token.id) else {}) | ({"error": error} if error else {})
        self._journal.note("edge_taken", **fact, **extra)

    def _end_branch(self, token: Token, join: str | None, error: dict[str, Any] | None = None) -> None:
        fact: dict[str, Any] = {"token": token.id, "node": token.node}
        self._journal.note("branch_ended", **fact, **({"join": join} if join else {}), **({"error": error} if error else {}))
        if token.group is not None:
            self._close_group_if_done(token.group)

    def _close_group_if_done(self, group_id: int) -> None:
        """When every branch or item has ended, the owner goes on."""
        group = self._state.groups.get(group_id)
        if group is None or len(group.outputs) < group.size:
            return
        owner = self._state.tokens[group.owner]
        node = self._program.nodes[owner.node]
        if group.batch:
            self._close_batch(group, owner, node)
            return
        target = default_of_fork(self._program, self._state, group) or group.join
        self._journal.note("node_finished", **self._subject(owner, node), output=owner.input, actions=["default"], shared={"mapper_results": group.ordered()})
        if target is None:
            self._end_branch(owner, None)
        else:
            self._journal.note("edge_taken", token=owner.id, node=node.name, visit=owner.visit, action="default", target=target)

    def _close_batch(self, group: Group, owner: Token, node: Node) -> None:
        result = self._attempts.post(self._job(owner, node), group.ordered())
        for log in result.logs:
            self._journal.take(log)
        if isinstance(result.outcome, Failure):
            self._failed(owner, node, result.outcome)
        elif isinstance(result.outcome, Done):
            self._finished(owner, node, Done(result.outcome.output, GENERIC_ACTIONS), result)

    def _failed(self, token: Token, node: Node, failure: Failure) -> None:
        """Retry, take an error edge, fail the group's owner, or fail the execution."""
        subject = self._subject(token, node) | {"attempt": token.attempt, "message": failure.message}
        if failure.retryable and node.retry is not None and token.failures < node.retry.max_retries:
            retry_at = clock.now_ms() + node.retry.wait_before(token.failures + 2)
            self._journal.note("node_failed", **subject, retry_at=retry_at, handled=True)
            return
        edge = None if token.is_item else error_edge(self._program, node, failure.actions)
        output = {"output": failure.output} if failure.output is not None else {}
        self._journal.note("node_failed", **subject, retry_at=None, handled=edge is not None, **output)
        error = {"message": failure.message, "node_id": node.name, "node_type": node.kind}
        if edge is not None and edge[1] != END:
            self._move(token, node, edge[0], edge[1], error=error)
        elif edge is not None:
            self._end_branch(token, None, error)
        elif token.group is not None:
            owner = self._state.tokens[self._state.groups[token.group].owner]
            self._failed(owner, self._program.nodes[owner.node], Failure(failure.message, retryable=False))
        else:
            self._end_failed(failure.message, token)

    def _end_failed(self, message: str, token: Token) -> None:
        self._journal.finish("failed", error=message, node=token.node, kind=self._kind(token.node))

    # Waiting

    def _waits(self, token: Token, node: Node, wait: Wait) -> None:
        item = f"#{token.branch}" if token.is_item else ""
        wait_id = f"{wait.key or 'timer'}#{token.visit}{item}"
        fact = self._subject(token, node) | {"wait": wait_id, "key": wait.key, "until": wait.until_ms, "state": wait.state}
        if wait.key is not None:
            record = WaitRecord(
                self._scopes.pk, f"wait#{wait_id}", wait=wait_id, key=wait.key, node=node.name, visit=token.visit,
                token=token.id, status="open", until_ms=wait.until_ms,
            )  # fmt: skip
            self._journal.with_next(lambda tx: _put_wait(tx, record))
        self._journal.note("wait_opened", **fact)

    def _fire_due(self) -> None:
        """Timers and retries whose moment has come; a wait that could be signalled closes by compare-and-set."""
        now = clock.now_ms()
        for token in [token for token in self._state.tokens.values() if token.due_ms is not None and token.due_ms <= now]:
            if token.status == "retrying":
                token.status, token.due_ms = "ready", None
            elif token.status == "waiting" and not self._state.paused:
                fact: Fact = {"type": "wait_ended", "at": now, "wait": token.wait, "token": token.id, "node": token.node, "visit": token.visit}
                fact |= {"timed_out": True}
                if token.wait_key is None:
                    self._journal.take(fact)
                elif self._journal.commit() and not self._journal.commit([fact], [expire_wait(self._scopes.pk, str(token.wait))]):
                    return

    def _rest(self) -> Verdict | None:
        """Nothing can run now: wait a moment here, or park until the next deadline or signal."""
        paused = self._state.paused
        due = None if paused else min((token.due_ms for token in self._state.tokens.values() if token.due_ms is not None), default=None)
        if due is not None and due - clock.now_ms() <= self._limits.inline_wait_ms:
            if self._journal.commit():
                clock.sleep(max(due - clock.now_ms(), 0) / 1000)
            return None
        if self._deadline_ms is not None:
            due = min(due or self._deadline_ms, self._deadline_ms)
        status = "paused" if paused or self._held else "waiting"
        wake = self._journal.wake
        return Verdict("park", until_ms=due, status=status, wake=wake) if self._journal.park(due, status) else None

    def _flush_if_due(self) -> None:
        pending = self._journal.pending
        if pending and (len(pending) >= FLUSH_FACTS or clock.monotonic() - self._journal.noted_at >= FLUSH_SECONDS):
            self._journal.commit()

    def _subject(self, token: Token, node: Node) -> dict[str, Any]:
        """The fields that say which node of which visit a fact is about."""
        subject = {"token": token.id, "node": node.name, "kind": node.kind, "visit": token.visit or self._state.visits + 1}
        return subject | {"item": token.branch} if token.is_item else subject

    def _kind(self, node: str | None) -> str | None:
        return self._program.nodes[node].kind if node is not None else None


def _put_wait(tx: Transaction, record: WaitRecord) -> None:
    tx.put(record, label="wait")
