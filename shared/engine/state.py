"""What an execution is at a journal index: a pure fold over its facts.

The interpreter decides and notes facts; only :meth:`State.apply` changes what is kept. Live running and replay after a
crash are therefore the same code. Tokens walk the program; a *group* holds the branches of a fork or the elements of a
batch, whose owner token waits until all have ended. An element has a token only while it runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from shared.engine.program import Program
from shared.engine.reducers import REDUCERS
from shared.engine.tokens import Fact, Group, Token, batch_items


@dataclass(slots=True)
class State:
    """Everything the interpreter knows. JSON-serialisable through :meth:`to_json`.

    ``failure`` is the failed node that nothing handled: the execution has yet to end with it. Once ``secrets_read``,
    what nodes bring is searched for secrets, also when they come back later and by another way.

    ``part`` says what a child does for its parent, and which keys of the shared scope it changed and removed. Of the
    children below, ``orphans`` are slots of those nobody needs any more but that have not been stopped, and
    ``children_paused`` is the pause they were last told of. ``held`` is why governance kept the effects of tokens from
    starting, as far as it was logged, by token id.
    """

    shared: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    tokens: dict[int, Token] = field(default_factory=dict)
    groups: dict[int, Group] = field(default_factory=dict)
    visits: int = 0
    next_token: int = 1
    next_group: int = 1
    paused: bool = False
    last_node: str | None = None
    last_output: Any = None
    failure: Fact | None = None
    secrets_read: bool = False
    ended: Fact | None = None
    part: dict[str, Any] | None = None
    orphans: list[str] = field(default_factory=list)
    children_paused: bool = False
    held: dict[str, str] = field(default_factory=dict)

    def apply(self, fact: Fact, program: Program) -> None:
        """Fold one fact in. Facts that only inform (logs) change nothing."""
        reducer = REDUCERS.get(fact["type"])
        if reducer is not None:
            reducer(self, fact, program)

    def members(self, group_id: int) -> list[Token]:
        """The tokens still alive in a group."""
        return [token for token in self.tokens.values() if token.group == group_id]

    def owned_by(self, token: Token) -> Group | None:
        """The group this token waits for."""
        return next((group for group in self.groups.values() if group.owner == token.id), None)

    def owner(self, group_id: int) -> Token:
        """The token that waits for a group."""
        return self.tokens[self.groups[group_id].owner]

    def enclosing(self, token: Token) -> Iterator[Group]:
        """The groups this token is in, the innermost first."""
        group_id = token.group
        while group_id is not None:
            yield self.groups[group_id]
            group_id = self.owner(group_id).group

    def place(self, token: Token) -> Token:
        """The token that carries the input: an element looks at its owner's instead of copying the list."""
        return self.owner(token.group) if token.is_item and token.group is not None else token

    def item(self, token: Token) -> Any:
        """The element a token stands for."""
        return (batch_items(self.place(token).input) or [])[token.branch]

    def next_item(self, group: Group, ahead: int = 0) -> Token:
        """The token that the next element of a batch, or the one so many ``ahead``, will have once it starts."""
        owner, ahead = self.tokens[group.owner], group.begun + ahead
        index = group.offset + ahead
        return Token(
            group.first_token + ahead, owner.node, None, visit=owner.visit, group=group.id, branch=index,
            is_item=True,
        )  # fmt: skip

    def children(self) -> list[Token]:
        """The tokens that wait for a child execution."""
        return [token for token in self.tokens.values() if token.part and token.wait is not None]

    def below(self, token: Token) -> list[Token]:
        """Every token in the group this one owns, and in theirs."""
        found, owners = [], [token]
        while owners:
            group = self.owned_by(owners.pop())
            members = self.members(group.id) if group is not None else []
            found += members
            owners += members
        return found

    def drop_below(self, token: Token) -> None:
        """Forget the group a token owns, with everything in it."""
        if self.owned_by(token) is None:
            return
        gone = self.below(token)
        owners = {token.id, *(member.id for member in gone)}
        for member in gone:
            if member.part and member.wait is not None:
                self.orphans.append(member.wait)
            del self.tokens[member.id]
        self.groups = {group.id: group for group in self.groups.values() if group.owner not in owners}

    def forget_deliveries(self) -> None:
        """After a take-over: what had started and not finished is to be delivered again, in the same visit."""
        for token in self.tokens.values():
            if token.status == "running":
                token.status = "ready"

    def to_json(self) -> dict[str, Any]:
        """A JSON object that :meth:`from_json` reads back."""
        plain = {item.name: getattr(self, item.name) for item in fields(self)}
        tokens = [_plain(token) for token in self.tokens.values()]
        return plain | {"tokens": tokens, "groups": [_plain(group) for group in self.groups.values()]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> State:
        """The reverse of :meth:`to_json`."""
        tokens = {row["id"]: Token(**row) for row in value["tokens"]}
        groups = {row["id"]: Group(**row) for row in value["groups"]}
        return cls(**{**value, "tokens": tokens, "groups": groups})


def _plain(row: Token | Group) -> dict[str, Any]:
    return {item.name: getattr(row, item.name) for item in fields(row)}


__all__ = ["Fact", "Group", "State", "Token", "batch_items"]
