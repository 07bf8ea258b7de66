"""What comes of attempts: facts about the node, and where its token goes.

finished ─▶ edges ─▶ next node, or the branch ends ─▶ the last branch or element lets the owner of its group go on
failed   ─▶ retry, else an error edge, else the owner of its group fails, else the execution
waits    ─▶ a timer, or a question that a signal answers
"""

from __future__ import annotations

from typing import Any

from shared.engine.attempt import Failure, Result
from shared.engine.journal import Writes, forget_waits, open_wait
from shared.engine.kinds.base import GENERIC_ACTIONS, Done, Wait
from shared.engine.program import END
from shared.engine.routing import candidate_edges, default_of_fork, ends_branch, error_edge, is_default_around
from shared.engine.state import Fact, Group, Token
from shared.engine.turn import Turn
from shared.engine.weight import MOST_BYTES, Weight
from shared.kit import clock
from shared.store.models.executions import WaitRecord

LONGEST_KEY = 256
"""Bytes of a wait's key."""

TOO_HEAVY = (
    f"the results and shared values of the execution would exceed {MOST_BYTES // (1024 * 1024)} MB together; "
    "keep less of each, or use the store node"
)

_WAITS_AT_ONCE = 40


class Settling:
    """Notes results and moves tokens."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._program = turn.program
        self._state = turn.state
        self._journal = turn.journal
        self._weight = Weight(turn.state)

    def settle(self, token: Token, result: Result) -> None:
        """Note what an attempt brought."""
        self.note_secrets()
        for log in result.logs:
            self._journal.take(log)
        match result.outcome:
            case Done() as done:
                self._finished(token, done, result)
            case Wait() as wait:
                self._waits(token, wait, result)
            case Failure() as failure:
                self.failed(token, failure)
        self._journal.mark()

    def note_secrets(self) -> None:
        """Once any secret was read, it is searched for from then on."""
        if self._turn.scopes.secrets_read and not self._state.secrets_read:
            self._journal.note("secrets_read")

    def bears(self, *values: Any) -> bool:
        """Whether the execution may keep these values as well; it does when it may."""
        return self._weight.bears(*values)

    # Finished

    def _finished(self, token: Token, done: Done, result: Result) -> None:
        if not self.bears(done.output, result.shared):
            self.failed(token, Failure(TOO_HEAVY, retryable=False))
            return
        fact = self._turn.subject(token) | {"output": done.output, "actions": list(done.actions)}
        optional = {"shared": result.shared, "removed": result.removed, "usage": done.usage}
        group = token.group
        self._journal.note("node_finished", **fact, **{name: value for name, value in optional.items() if value})
        if token.is_item and group is not None:
            self.close_if_done(group)
        else:
            self._route(token, done.actions)

    def _route(self, token: Token, actions: tuple[str, ...]) -> None:
        targets = candidate_edges(self._program, self._turn.node(token), actions)
        if not targets:
            self.end_branch(token)
        for position, (action, target) in enumerate(targets):
            last = position == len(targets) - 1
            self._move(token, action, target, new=None if last else self._state.next_token)

    def _move(
        self, token: Token, action: str, target: str, *, new: int | None = None, error: dict[str, Any] | None = None
    ) -> None:
        ends, join = ends_branch(self._program, self._state, token, target)
        if ends:
            self.end_branch(token, join)
            return
        fact = {"token": token.id, "node": token.node, "visit": token.visit, "action": action, "target": target}
        extra = {"new": new, "error": error}
        self._journal.note("edge_taken", **fact, **{name: value for name, value in extra.items() if value is not None})

    def end_branch(self, token: Token, join: str | None = None, error: dict[str, Any] | None = None) -> None:
        """The token goes nowhere from here; ``join`` is the join node it met."""
        group = token.group
        extra = {"join": join, "error": error}
        given = {name: value for name, value in extra.items() if value is not None}
        self._journal.note("branch_ended", token=token.id, node=token.node, **given)
        if group is not None:
            self.close_if_done(group)

    # Groups

    def close_if_done(self, group_id: int) -> None:
        """When every branch or element has ended, the owner goes on; of a child, that is the parent's affair."""
        group = self._state.groups.get(group_id)
        if group is None or len(group.outputs) < group.size or self._state.members(group_id):
            return
        if self._state.part is not None:
            return
        owner = self._state.owner(group_id)
        if group.batch:
            self._close_batch(group, owner)
        else:
            self._close_fork(group, owner)

    def _close_fork(self, group: Group, owner: Token) -> None:
        subject = self._turn.subject(owner)
        default = default_of_fork(self._program, self._state, group)
        target, outputs = default or group.join, group.ordered()
        self._journal.note(
            "node_finished", **subject, output=owner.input, actions=["default"], shared={"mapper_results": outputs}
        )
        if target is None or is_default_around(self._program, self._state, owner, target):
            self.end_branch(owner)
        else:
            move = {"node": owner.node, "visit": owner.visit, "action": "default", "target": target}
            self._journal.note("edge_taken", token=owner.id, **move)

    def _close_batch(self, group: Group, owner: Token) -> None:
        result = self._turn.attempts.post(self._turn.job(owner), group.ordered())
        for log in result.logs:
            self._journal.take(log)
        match result.outcome:
            case Failure() as failure:
                # The elements succeeded; running them again would not help the hook.
                self.failed(owner, Failure(failure.message, retryable=False))
            case Done() as done:
                self._finished(owner, Done(done.output, GENERIC_ACTIONS), result)

    # Failed

    def failed(self, token: Token, failure: Failure) -> None:
        """Retry, take an error edge, fail the group's owner, or leave the execution failed.

        Nobody waits any more for what branches or elements below had asked.
        """
        dropped: list[str] = []
        outwards: tuple[Token, Failure] | None = (token, failure)
        while outwards is not None:
            below = self._state.below(outwards[0])
            dropped += [str(member.wait) for member in below if member.wait_key is not None]
            outwards = self._failed(*outwards)
        self._journal.mark()
        for first in range(0, len(dropped), _WAITS_AT_ONCE):
            waits = dropped[first : first + _WAITS_AT_ONCE]
            fact: Fact = {"type": "waits_dropped", "at": clock.now_ms(), "waits": waits}
            self._journal.take(fact, forget_waits(self._journal.pk, waits))
            self._journal.mark()

    def _failed(self, token: Token, failure: Failure) -> tuple[Token, Failure] | None:
        """Note one failure; answers whose failure follows from it."""
        node = self._turn.node(token)
        fact = self._turn.subject(token) | {"attempt": token.attempt, "message": failure.message}
        if failure.retryable and node.retry is not None and token.failures < node.retry.max_retries:
            retry_at = clock.now_ms() + node.retry.wait_before(token.failures + 2)
            self._journal.note("node_failed", **fact, retry_at=retry_at, handled=True)
            return None
        part = self._state.part is not None
        edge = None if token.is_item or part else error_edge(self._program, node, failure.actions)
        output = {"output": failure.output} if failure.output is not None else {}
        if part:
            # The parent offers its own edges.
            output["actions"] = list(failure.actions)
        self._journal.note("node_failed", **fact, retry_at=None, handled=edge is not None, **output)
        error = {"message": failure.message, "node_id": node.name, "node_type": node.kind}
        if edge is not None and edge[1] == END:
            self.end_branch(token, error=error)
        elif edge is not None:
            self._move(token, edge[0], edge[1], error=error)
        elif token.group is not None:
            # An element is an attempt of its owner's node, so its failure offers the same edges.
            actions = failure.actions if token.is_item else ("error",)
            brought = failure.output if part else None
            return self._state.owner(token.group), Failure(failure.message, False, actions, brought)
        return None

    # Waiting

    def _waits(self, token: Token, wait: Wait, result: Result) -> None:
        if wait.key is not None and not _usable(wait.key):
            message = f"the key of a wait must be text of 1 to {LONGEST_KEY} bytes"
            self.failed(token, Failure(message, retryable=False))
            return
        subject = self._turn.subject(token)
        item = f"#{token.branch}" if token.is_item else ""
        wait_id = f"{wait.key or 'timer'}#{token.visit}{item}"
        fact: Fact = {"type": "wait_opened", "at": clock.now_ms(), **subject, "wait": wait_id, "key": wait.key}
        fact |= {"until": wait.until_ms, "state": wait.state}
        optional = {"shared": result.shared, "removed": result.removed, "params": result.params}
        fact |= {name: value for name, value in optional.items() if value}
        writes: Writes = {}
        if wait.key is not None:
            record = WaitRecord(
                self._journal.pk, f"wait#{wait_id}", wait=wait_id, key=wait.key, node=token.node,
                visit=subject["visit"], token=token.id, status="open", until_ms=wait.until_ms,
            )  # fmt: skip
            writes = open_wait(record)
        self._journal.take(fact, writes)


def _usable(key: str) -> bool:
    try:
        return 1 <= len(key.encode()) <= LONGEST_KEY
    except UnicodeEncodeError:
        return False
