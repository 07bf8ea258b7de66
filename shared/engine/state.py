"""What an execution is at a journal index: a pure fold over its facts.

The interpreter decides and notes facts; only :meth:`State.apply` changes what is kept. Live running and replay after a
crash are therefore the same code. Tokens walk the program; a *group* holds the branches of a fork or the elements of a
batch, whose owner token waits until all have ended. An element has a token only while it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from shared.engine.program import Program

Fact = dict[str, Any]
TokenStatus = Literal["ready", "running", "waiting", "retrying", "finished", "failed", "owner"]


@dataclass(slots=True)
class Token:
    """A place in the program. ``visit`` 0 means its node has not begun.

    ``attempt`` counts deliveries, ``failures`` those the author's retries count. ``wait_params`` are the parameters a
    prep hook made before the node began to wait.
    """

    id: int
    node: str
    input: Any
    previous_input: Any = None
    status: TokenStatus = "ready"
    visit: int = 0
    attempt: int = 0
    failures: int = 0
    due_ms: int | None = None
    wait: str | None = None
    wait_key: str | None = None
    wait_state: Any = None
    wait_params: dict[str, Any] | None = None
    answer: dict[str, Any] | None = None
    output: Any = None
    group: int | None = None
    branch: int = 0
    is_item: bool = False
    error: dict[str, Any] | None = None


@dataclass(slots=True)
class Group:
    """Branches of a fork or elements of a batch. ``join`` is the join node the branches met.

    Of a batch, element ``n`` gets the token ``first_token + n``; ``begun`` elements have had theirs, ``live`` have one.
    """

    id: int
    owner: int
    size: int
    batch: bool
    outputs: dict[str, Any] = field(default_factory=dict)
    join: str | None = None
    first_token: int = 0
    begun: int = 0
    live: int = 0

    def ordered(self) -> list[Any]:
        """Outputs in the order of the branches."""
        return [self.outputs[str(index)] for index in range(self.size)]


@dataclass(slots=True)
class State:
    """Everything the interpreter knows. JSON-serialisable through :meth:`to_json`.

    ``failure`` is the failed node that nothing handled: the execution has yet to end with it. Once ``secrets_read``,
    what nodes bring is searched for secrets, also when they come back later and by another way.
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

    def apply(self, fact: Fact, program: Program) -> None:
        """Fold one fact in. Facts that only inform (logs) change nothing."""
        reducer = _REDUCERS.get(fact["type"])
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
        owner, index = self.tokens[group.owner], group.begun + ahead
        return Token(
            group.first_token + index, owner.node, None, visit=owner.visit, group=group.id, branch=index,
            is_item=True,
        )  # fmt: skip

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


def _started(state: State, fact: Fact, program: Program) -> None:
    state.shared = dict(fact.get("shared") or fact["input"]) if isinstance(fact["input"], dict) else {}
    state.tokens[1] = Token(1, fact["node"], fact["input"])
    state.next_token = 2


def _node_started(state: State, fact: Fact, program: Program) -> None:
    if fact["token"] not in state.tokens:
        group = state.groups[fact["group"]]
        state.tokens[fact["token"]] = state.next_item(group)
        group.begun += 1
        group.live += 1
    token = state.tokens[fact["token"]]
    token.status, token.visit, token.attempt = "running", fact["visit"], fact["attempt"]
    token.due_ms = None
    state.visits = max(state.visits, fact["visit"])


def _node_resumed(state: State, fact: Fact, program: Program) -> None:
    token = state.tokens[fact["token"]]
    token.status, token.attempt = "running", fact["attempt"]


def _node_finished(state: State, fact: Fact, program: Program) -> None:
    token = state.tokens[fact["token"]]
    _patch_shared(state, fact)
    if token.is_item and token.group is not None:
        group = state.groups[token.group]
        group.outputs[str(token.branch)] = fact["output"]
        group.live -= 1
        del state.tokens[token.id]
        return
    state.drop_below(token)
    token.status, token.output = "finished", fact["output"]
    token.answer, token.wait_state, token.wait_params = None, None, None
    state.outputs[token.node] = state.last_output = fact["output"]
    state.last_node = token.node
    for key in program.nodes[token.node].result_keys:
        state.shared[key] = fact["output"]


def _patch_shared(state: State, fact: Fact) -> None:
    state.shared.update(fact.get("shared") or {})
    for key in fact.get("removed") or ():
        state.shared.pop(key, None)


def _node_failed(state: State, fact: Fact, program: Program) -> None:
    token = state.tokens[fact["token"]]
    state.drop_below(token)
    token.answer, token.wait_state, token.wait_params = None, None, None
    token.failures += 1
    if fact.get("retry_at") is not None:
        token.status, token.due_ms = "retrying", fact["retry_at"]
        return
    token.status = "failed"
    if token.group is None and not fact["handled"]:
        state.failure = fact
    if fact.get("output") is not None:
        state.outputs[token.node] = fact["output"]


def _edge_taken(state: State, fact: Fact, program: Program) -> None:
    source = state.tokens[fact["token"]]
    error = fact.get("error")
    new_input = {"error": error, **error} if error else source.output
    moved = Token(
        fact.get("new", source.id), fact["target"], new_input, previous_input=source.input, group=source.group,
        branch=source.branch, error=error,
    )  # fmt: skip
    state.tokens[moved.id] = moved
    state.next_token = max(state.next_token, moved.id + 1)


def _branch_ended(state: State, fact: Fact, program: Program) -> None:
    token = state.tokens.pop(fact["token"])
    error = fact.get("error")
    if error:
        token.output = state.last_output = {"error": error, **error}
        state.last_node = token.node
    if token.group is not None:
        group = state.groups[token.group]
        group.outputs[str(token.branch)] = token.output if token.visit or error else token.input
        group.join = fact.get("join") or group.join


def _forked(state: State, fact: Fact, program: Program) -> None:
    owner = state.tokens[fact["token"]]
    owner.status = "owner"
    group = Group(fact["group"], owner.id, len(fact["branches"]), batch=False)
    state.groups[group.id] = group
    state.next_group = max(state.next_group, group.id + 1)
    for branch, row in enumerate(fact["branches"]):
        token = Token(row["token"], row["target"], owner.input, owner.previous_input, group=group.id, branch=branch)
        state.tokens[token.id] = token
        state.next_token = max(state.next_token, token.id + 1)


def _batch_opened(state: State, fact: Fact, program: Program) -> None:
    owner = state.tokens[fact["token"]]
    owner.status = "owner"
    group = Group(fact["group"], owner.id, fact["size"], batch=True, first_token=fact["first_token"])
    state.groups[group.id] = group
    state.next_group = max(state.next_group, group.id + 1)
    state.next_token = max(state.next_token, fact["first_token"] + fact["size"])


def batch_items(value: Any) -> list[Any] | None:
    """What a batch runs over: a list, or the list under ``items``; None when there is neither."""
    if isinstance(value, list):
        return value
    items = value.get("items") if isinstance(value, dict) else None
    return items if isinstance(items, list) else None


def _wait_opened(state: State, fact: Fact, program: Program) -> None:
    token = state.tokens[fact["token"]]
    token.status, token.wait, token.wait_key = "waiting", fact["wait"], fact["key"]
    token.due_ms, token.wait_state, token.answer = fact["until"], fact.get("state"), None
    token.wait_params = fact.get("params")
    _patch_shared(state, fact)


def _wait_ended(state: State, fact: Fact, program: Program) -> None:
    token = state.tokens.get(fact["token"])
    if token is None or token.wait != fact["wait"]:
        return
    token.status, token.wait, token.wait_key, token.due_ms = "ready", None, None, None
    token.answer = {"timed_out": fact["timed_out"], "value": fact.get("value")}


def _secrets_read(state: State, fact: Fact, program: Program) -> None:
    state.secrets_read = True


def _command(state: State, fact: Fact, program: Program) -> None:
    state.paused = fact["command"] == "pause"


def _ended(state: State, fact: Fact, program: Program) -> None:
    state.ended = fact


_REDUCERS: dict[str, Callable[[State, Fact, Program], None]] = {
    "started": _started,
    "node_started": _node_started,
    "node_resumed": _node_resumed,
    "node_finished": _node_finished,
    "node_failed": _node_failed,
    "edge_taken": _edge_taken,
    "branch_ended": _branch_ended,
    "forked": _forked,
    "batch_opened": _batch_opened,
    "wait_opened": _wait_opened,
    "wait_ended": _wait_ended,
    "secrets_read": _secrets_read,
    "command": _command,
    "ended": _ended,
}
