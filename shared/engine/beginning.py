"""Beginning nodes: which tokens may run now, and how their start is recorded before anything happens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from shared.engine.attempt import Failure
from shared.engine.children import Children
from shared.engine.ports import Decision
from shared.engine.program import Node
from shared.engine.routing import ends_branch, fork_branches
from shared.engine.settling import Settling
from shared.engine.state import Fact, Token, batch_items
from shared.engine.turn import Turn
from shared.kit import clock

DEEPEST = 64
"""Forks and batches may be nested so deep; a branch that leads back to its own fork would nest without end."""


@dataclass(frozen=True, slots=True)
class _Hold:
    """Governance held the effect of this key when the wake counter was this."""

    key: str
    wake: int
    decision: Decision

    def lasts(self, key: str, wake: int) -> bool:
        """Whether nobody has woken the execution, and the time has yet to come at which it is asked about again."""
        until = self.decision.until_ms
        return (self.key, self.wake) == (key, wake) and (until is None or until > clock.now_ms())


class Beginning:
    """Starts what can start. ``held`` is why governance keeps effects from starting, if it does."""

    def __init__(self, turn: Turn, settling: Settling, children: Children) -> None:
        self._turn = turn
        self._settling = settling
        self._children = children
        self._state = turn.state
        self._journal = turn.journal
        self._held: dict[int, _Hold] = {}

    @property
    def held(self) -> Decision | None:
        """All that was held at the last look, in one: paused if anything is, until the first moment."""
        held = [hold.decision for hold in self._held.values()]
        if not held:
            return None
        moments = [decision.until_ms for decision in held if decision.until_ms is not None]
        paused = any(decision.status == "paused" for decision in held)
        return Decision("hold", until_ms=min(moments, default=None), status="paused" if paused else "waiting")

    def begin(self) -> bool:
        """Start every token that is ready; False when nothing could start."""
        room = self._turn.room
        tokens = self._state.tokens.values()
        ready = list(self._within(room, (token for token in tokens if token.status == "ready" and not token.part)))
        ready += self._elements(room - self._taken(ready))
        begun, effects, visits = False, [], self._state.visits
        for token in ready:
            if not token.visit:
                visits += 1
            if visits > self._turn.max_visits:
                self._endless(token)
                return True
            if self._is_gone(token):
                continue
            if self._opens_group(token):
                begun = True
            elif self._turn.attempts.effectful(self._turn.node(token)):
                effects.append(token)
            else:
                self._begin_pure(token, alone=len(ready) == 1 and not self._turn.flights)
                begun = True
        begun = self._begin_effects(effects) or begun
        return self._children.open() or begun

    def _within(self, room: int, tokens: Iterable[Token]) -> Iterator[Token]:
        """As many tokens as there is room for; those that are held take none."""
        for token in tokens:
            lasts = self._is_held(token)
            if lasts or room > 0:
                yield token
            room -= not lasts

    def _taken(self, tokens: Sequence[Token]) -> int:
        """How much room tokens take."""
        return sum(not self._is_held(token) for token in tokens)

    def _is_held(self, token: Token) -> bool:
        """Whether what governance said of the token is not to be asked about again yet."""
        hold = self._held.get(token.id)
        return hold is not None and hold.lasts(self._turn.effect(token).key, self._journal.wake)

    def _is_gone(self, token: Token) -> bool:
        """Whether the failure of another one took the token, or the batch of a coming element, with it."""
        if token.attempt == 0 and token.is_item:
            return token.group not in self._state.groups
        return self._state.tokens.get(token.id) is not token or token.status != "ready"

    def _elements(self, room: int) -> Iterator[Token]:
        """Elements of batches whose turn it is."""
        batches = [group for group in self._state.groups.values() if group.batch and not group.part]
        for group in [group for group in batches if group.begun < group.size]:
            batch = self._turn.node(self._state.tokens[group.owner]).batch
            most = group.most or (batch.max_parallel if batch is not None else 1)
            coming = max(min(most - group.live, group.size - group.begun), 0)
            elements = list(self._within(room, (self._state.next_item(group, ahead) for ahead in range(coming))))
            yield from elements
            room -= self._taken(elements)

    def _endless(self, token: Token) -> None:
        message = f"more than {self._turn.max_visits} node visits; is there an endless loop?"
        if self._children.leave():
            self._journal.finish("failed", error=message, node=token.node, kind=self._turn.kind(token.node))

    # Forks and batches

    def _opens_group(self, token: Token) -> bool:
        """A fork or a batch over a list: its branches or elements run instead of the node itself."""
        node = self._turn.node(token)
        if token.is_item or token.answer is not None or not (node.batch or node.routing == "fork"):
            return False
        items = batch_items(token.input) if node.batch else None
        if node.batch and items is None:
            return False
        if sum(1 for _ in self._state.enclosing(token)) >= DEEPEST:
            message = f"forks and batches are nested more than {DEEPEST} deep; does a branch lead back to its fork?"
            self._settling.failed(token, Failure(message, retryable=False))
            self._journal.mark()
            return True
        self._start(token)
        group = self._state.next_group
        if items is not None:
            size = len(items)
            how = {"size": size, "first_token": self._state.next_token, **self._children.division(node, token, size)}
            self._journal.note("batch_opened", token=token.id, group=group, **how)
        else:
            self._fork(token, node, group)
        self._settling.close_if_done(group)
        self._journal.mark()
        return True

    def _fork(self, token: Token, node: Node, group: int) -> None:
        first = self._state.next_token
        found = enumerate(fork_branches(self._turn.program, node))
        branches = [{"token": first + n, "action": action, "target": target} for n, (action, target) in found]
        self._journal.note("forked", token=token.id, group=group, branches=branches)
        for branch in self._state.members(group):
            ends, join = ends_branch(self._turn.program, self._state, branch, branch.node)
            if ends:
                self._settling.end_branch(branch, join)

    # Nodes

    def _start(self, token: Token) -> None:
        self._journal.note("node_started", **self._turn.subject(token), attempt=token.attempt + 1)

    def _begin_pure(self, token: Token, *, alone: bool) -> None:
        """A node without effects starts at once; its record becomes durable with whatever follows."""
        if token.answer is None:
            self._start(token)
            self._journal.mark()
        self._launch(self._state.tokens[token.id], inline=alone)

    def _begin_effects(self, tokens: list[Token]) -> bool:
        """Journal the start of effects, then start them; nothing starts when a command or signal came between."""
        asked = [token for token in tokens if not self._is_held(token)]
        allowed, refused = self._judge(tokens)
        # What is held now leaves its room to others.
        left = any(self._is_held(token) for token in asked)
        if allowed:
            if not self._journal.commit(self._starts(allowed)):
                return True
            for token in allowed:
                self._launch_effect(self._state.tokens[token.id])
        for token, reason in refused:
            # The failure of another one may have taken it along.
            if not self._is_gone(token):
                self._refuse(token, reason)
        return bool(allowed or refused or left)

    def _judge(self, tokens: list[Token]) -> tuple[list[Token], list[tuple[Token, str]]]:
        """What governance allows, and what it refuses and why.

        Elements of a batch start in order, so one that comes after a held or refused one waits for it.
        """
        allowed: list[Token] = []
        refused: list[tuple[Token, str]] = []
        behind: dict[int | None, Decision] = {}
        before, self._held = self._held, {}
        for token in tokens:
            first = behind.get(token.group) if token.is_item else None
            if self._is_gone(token) or (first is not None and not first.alone):
                continue
            decision = self._decision(token, before.get(token.id))
            if decision.verdict == "hold":
                self._hold(token, decision)
            elif first is None and decision.verdict == "allow":
                allowed.append(token)
            elif first is None:
                refused.append((token, decision.reason))
            if decision.verdict != "allow":
                behind.setdefault(token.group, decision)
        return allowed, refused

    def _decision(self, token: Token, known: _Hold | None) -> Decision:
        """What governance says. About what it held it is asked again after a wake-up, and when the time has come."""
        effect = self._turn.effect(token)
        if known is not None and known.lasts(effect.key, self._journal.wake):
            return known.decision
        return self._turn.governance.before(effect)

    def _hold(self, token: Token, decision: Decision) -> None:
        self._held[token.id] = _Hold(self._turn.effect(token).key, self._journal.wake, decision)
        why = decision.reason.partition(":")[0]
        if why and self._state.held.get(str(token.id)) != why:
            about = {"node": token.node, "kind": self._turn.kind(token.node)}
            self._journal.note("log", level="info", message=decision.reason, **about)
            self._journal.note("node_held", token=token.id, **about, why=why)
            self._journal.mark()

    def _refuse(self, token: Token, reason: str) -> None:
        if token.id not in self._state.tokens:
            self._start(token)
        self._settling.failed(self._state.tokens[token.id], Failure(reason, retryable=False))
        self._journal.mark()

    def _starts(self, tokens: list[Token]) -> list[Fact]:
        facts: list[Fact] = []
        visits = self._state.visits
        for token in tokens:
            if token.answer is not None:
                name, subject = "node_resumed", self._turn.subject(token)
            else:
                name, visit = "node_started", token.visit or (visits := visits + 1)
                subject = self._turn.subject(token) | {"visit": visit}
            facts.append({"type": name, "at": clock.now_ms(), **subject, "attempt": token.attempt + 1})
        return facts

    def _launch_effect(self, token: Token) -> None:
        job = self._turn.job(token)
        # The start of the attempt that was asked about has been counted since.
        asked = replace(token, attempt=token.attempt - 1)
        self._turn.launch(token, lambda: self._turn.governed(asked, job))

    def _launch(self, token: Token, *, inline: bool) -> None:
        job, attempts = self._turn.job(token), self._turn.attempts
        if inline and self._turn.node(token).timeout_ms is None:
            self._settling.settle(token, attempts.run(job))
        else:
            self._turn.launch(token, lambda: attempts.run(job))
