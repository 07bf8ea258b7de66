"""How each fact changes the state of an execution."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from shared.engine.program import Program
from shared.engine.tokens import Fact, Group, Token

if TYPE_CHECKING:
    from shared.engine.state import State


def _started(state: State, fact: Fact, program: Program) -> None:
    if "frame" in fact:
        _part_started(state, fact)
        return
    state.shared = dict(fact.get("shared") or fact["input"]) if isinstance(fact["input"], dict) else {}
    state.tokens[1] = Token(1, fact["node"], fact["input"])
    state.next_token = 2


def _part_started(state: State, fact: Fact) -> None:
    """A child begins where its parent was when the batch opened."""
    part, frame = fact["part"], fact["frame"]
    state.part = {**part, "changed": [], "removed": []}
    state.shared, state.outputs = dict(frame["shared"]), dict(frame["outputs"])
    state.secrets_read, state.visits = frame["secrets_read"], part["visit"]
    state.tokens[1] = Token(
        1, fact["node"], frame["input"], frame["previous_input"], status="owner", visit=part["visit"],
        error=frame["error"],
    )  # fmt: skip
    size = part["count"]
    state.groups[1] = Group(1, 1, size, batch=True, first_token=2, offset=part["first"], most=part["most"])
    state.next_token, state.next_group = size + 2, 2


def _node_started(state: State, fact: Fact, program: Program) -> None:
    if fact["token"] not in state.tokens:
        group = state.groups[fact["group"]]
        state.tokens[fact["token"]] = state.next_item(group)
        group.begun += 1
        group.live += 1
    token = state.tokens[fact["token"]]
    state.held.pop(str(token.id), None)
    token.status, token.visit, token.attempt = "running", fact["visit"], fact["attempt"]
    token.due_ms = None
    state.visits = max(state.visits, fact["visit"])


def _node_resumed(state: State, fact: Fact, program: Program) -> None:
    token = state.tokens[fact["token"]]
    state.held.pop(str(token.id), None)
    token.status, token.attempt = "running", fact["attempt"]


def _node_held(state: State, fact: Fact, program: Program) -> None:
    state.held[str(fact["token"])] = fact["why"]


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
    written, removed = fact.get("shared") or {}, fact.get("removed") or ()
    state.shared.update(written)
    for key in removed:
        state.shared.pop(key, None)
    if state.part is not None:
        changed, gone = dict.fromkeys(state.part["changed"]), dict.fromkeys(state.part["removed"])
        for key in written:
            changed[key] = gone.pop(key, None)
        for key in removed:
            gone[key] = changed.pop(key, None)
        state.part |= {"changed": list(changed), "removed": list(gone)}


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
        branch=source.branch, error=error, came=fact.get("visit", 0),
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
    how = {name: fact[name] for name in ("part", "most", "each", "frame") if name in fact}
    group = Group(fact["group"], owner.id, fact["size"], batch=True, first_token=fact["first_token"], **how)
    state.groups[group.id] = group
    state.next_group = max(state.next_group, group.id + 1)
    state.next_token = max(state.next_token, fact["first_token"] + fact["size"])


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


def _child_opened(state: State, fact: Fact, program: Program) -> None:
    group = state.groups[fact["group"]]
    token = state.next_item(group)
    token.status, token.wait, token.part = "waiting", fact["slot"], fact["count"]
    state.tokens[token.id] = token
    group.begun += token.part
    group.live += 1


def _child_ended(state: State, fact: Fact, program: Program) -> None:
    token = next((token for token in state.children() if token.wait == fact["slot"]), None)
    if token is not None:
        token.status, token.wait, token.answer = "ready", None, fact


def _part_finished(state: State, fact: Fact, program: Program) -> None:
    """What the child brought was kept with its token when its end was noted."""
    token = state.tokens.pop(fact["token"])
    group, brought = state.groups[fact["group"]], token.answer or {}
    group.outputs |= {str(token.branch + index): output for index, output in enumerate(brought["outputs"])}
    group.live -= 1
    _patch_shared(state, brought)


def _children_told(state: State, fact: Fact, program: Program) -> None:
    state.children_paused = fact["paused"]


def _children_dropped(state: State, fact: Fact, program: Program) -> None:
    state.orphans = [slot for slot in state.orphans if slot not in fact["slots"]]


def _secrets_read(state: State, fact: Fact, program: Program) -> None:
    state.secrets_read = True


def _command(state: State, fact: Fact, program: Program) -> None:
    state.paused = fact["command"] == "pause"


def _ended(state: State, fact: Fact, program: Program) -> None:
    state.ended = fact


REDUCERS: dict[str, Callable[[State, Fact, Program], None]] = {
    "started": _started,
    "node_started": _node_started,
    "node_resumed": _node_resumed,
    "node_held": _node_held,
    "node_finished": _node_finished,
    "node_failed": _node_failed,
    "edge_taken": _edge_taken,
    "branch_ended": _branch_ended,
    "forked": _forked,
    "batch_opened": _batch_opened,
    "wait_opened": _wait_opened,
    "wait_ended": _wait_ended,
    "child_opened": _child_opened,
    "child_ended": _child_ended,
    "part_finished": _part_finished,
    "children_told": _children_told,
    "children_dropped": _children_dropped,
    "secrets_read": _secrets_read,
    "command": _command,
    "ended": _ended,
}
