"""The control plane: an org's changes on their way to the WebSockets of its agents and dashboards.

A new listener is sent the state of every workflow by the relay, which reads the states after the listener was stored;
every later change is sent to whoever is stored after the change. So each change reaches a listener in one of the two
ways, or in both, in any order: clients drop a version that is not higher.
Source: NullRun docs, Control plane; docs/rulings.md#control-plane.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

from shared.governance.aliases import aliases_of
from shared.governance.frames import SHOWN_OUT, STATE_CHANGE, Frame, copies, initial_states, signed, state_entry
from shared.kit import clock, crypto, json
from shared.kit.errors import SignalboxError, Unavailable
from shared.kit.logging import logger
from shared.push import POLICY_VIOLATION, Connections, Gone, Listener, Memo, Sender, Step
from shared.push.connections import BEATS
from shared.store.models.channels import channel_pk
from shared.store.models.governance import Event, Purse, Workflow, purse_pk, workflows_pk
from shared.store.transaction import read, read_each

log = logger("control")

CONTROL = "control"
"""The channel of an org's control plane, and the projection and protocol of whoever listens to it."""

PONG = json.dumps({"type": "pong"})

_BATCH = 100
"""Purses read in one request."""

Credentials = tuple[str, str]
"""An API key and the secret its socket was opened with."""

Order = tuple[str, Sequence[str], bool]
"""A connection, the texts to send to it, and whether to close it then."""

Outcome = tuple[str, SignalboxError | None]
"""A connection, and what went wrong."""


class ControlPlane:
    """Sends frames to the control channel of an org, each socket's signed with the secret it was opened with.

    ``young_ms`` is how long a connection that cannot be found may still be in its handshake.
    """

    def __init__(self, root: bytes, connections: Connections, sender: Sender, *, young_ms: int = 0) -> None:
        self._root = root
        self._connections = connections
        self._sender = sender
        self._young_ms = young_ms

    @cached_property
    def _key(self) -> bytes:
        return crypto.derive(self._root, "control sockets")

    def seal(self, connection_id: str, api_key: str, secret: str) -> bytes:
        """What a socket's frames are signed with, to be kept with its connection."""
        return crypto.seal(self._key, json.dumpb([api_key, secret]), connection_id.encode())

    def broadcast(self, org_id: str, event: Event) -> None:
        """Send an event's frames to everyone who listens; see :meth:`push`."""
        self.push(org_id, json.loads(event.control or "[]"), event.event_id)

    def push(self, org_id: str, frames: Sequence[Frame], message_id: str) -> None:
        """Send frames to everyone who listens, and close the sockets of revoked keys and former members. Repeatable.

        Raises Unavailable when somebody could not be reached; everyone else was.
        """
        if not frames or not self._sender.in_use:
            return
        texts = _Texts([frame for frame in frames if frame["type"] not in SHOWN_OUT], org_id, message_id, self._opened)
        out = {frame[SHOWN_OUT[frame["type"]]] for frame in frames if frame["type"] in SHOWN_OUT}
        missed = 0
        for listener, error in self._each(self._connections.listeners(channel_pk(org_id, CONTROL)), texts, out):
            if isinstance(error, Gone):
                self._gone(listener)
            elif error is not None:
                missed += 1
                log.warning("frame not sent", extra={"connection_id": listener.connection_id, "reason": str(error)})
            elif _is_of(listener, out):
                self._connections.close(listener.connection_id)
        if missed:
            raise Unavailable(f"{missed} connections could not be reached; they are tried again")

    def keep_alive(self, now_ms: int) -> int:
        """Send a pong to the connections whose turn this minute is; how many are there."""
        if not self._sender.in_use:
            return 0
        due = self._connections.beating(now_ms // 60_000 % BEATS)
        for connection_id, error in self._all((name, (PONG,), False) for name in due):
            if isinstance(error, Gone):
                self._connections.close(connection_id)
            elif error is not None:
                log.warning("pong not sent", extra={"connection_id": connection_id, "reason": str(error)})
            else:
                self._connections.prolong(connection_id)
        return len(due)

    def _each(
        self, listeners: Sequence[Listener], texts: _Texts, out: set[str]
    ) -> Iterator[tuple[Listener, SignalboxError | None]]:
        orders = ((row.connection_id, texts.of(row), _is_of(row, out)) for row in listeners)
        for listener, (_, error) in zip(listeners, self._all(orders), strict=True):
            yield listener, error

    def _all(self, orders: Iterable[Order]) -> Iterator[Outcome]:
        """Carry out orders; the outcomes in the same order."""
        if self._sender.lanes == 1:
            yield from map(self._send, orders)
            return
        with ThreadPoolExecutor(self._sender.lanes) as pool:
            yield from pool.map(self._send, orders)

    def _send(self, order: Order) -> Outcome:
        connection_id, texts, closing = order
        try:
            for text in texts:
                self._sender.send(connection_id, text)
            if closing:
                self._sender.close(connection_id, POLICY_VIOLATION)
        except SignalboxError as error:
            return connection_id, error
        except Exception:
            # One that cannot be reached holds up nobody else.
            log.exception("frame not sent", extra={"connection_id": connection_id})
            return connection_id, Unavailable("The frame could not be sent")
        return connection_id, None

    def _gone(self, listener: Listener) -> None:
        # One whose handshake is under way is sent every state as soon as that is over.
        if clock.now_ms() - int(listener.connected_ms) >= self._young_ms:
            self._connections.close(listener.connection_id)

    def _opened(self, listener: Listener) -> Credentials | None:
        if listener.sealed is None:
            return None
        try:
            api_key, secret = json.loads(crypto.unseal(self._key, listener.sealed, listener.connection_id.encode()))
        except crypto.Unsealable:
            return None
        return api_key, secret


class _Texts:
    """The texts of some frames for each listener; made once for all sockets of a key."""

    def __init__(
        self, frames: Sequence[Frame], org_id: str, message_id: str, opened: Callable[[Listener], Credentials | None]
    ) -> None:
        self._frames = [{**frame, "message_id": message_id} for frame in frames]
        self._org_id = org_id
        self._opened = opened
        self._aliases: dict[str, list[str]] = {}
        self._made: dict[tuple[str | None, Credentials | None], list[str]] = {}

    def of(self, listener: Listener) -> list[str]:
        """The texts, signed for a socket that was opened with a key."""
        place = listener.workflow_id, self._opened(listener)
        if place not in self._made:
            self._made[place] = [json.dumps(frame) for frame in self._frames_for(*place)]
        return self._made[place]

    def _frames_for(self, workflow_id: str | None, credentials: Credentials | None) -> Iterator[Frame]:
        now = clock.now_ms() // 1000
        for frame in self._frames:
            own = frame["type"] == STATE_CHANGE and frame["workflow_id"] == workflow_id
            for copy in copies(frame, self._aliases_of(frame["workflow_id"]) if own else ()):
                yield copy if credentials is None else signed(copy, *credentials, now)

    def _aliases_of(self, workflow_id: str) -> list[str]:
        if workflow_id not in self._aliases:
            workflow = read(Workflow, workflows_pk(self._org_id), workflow_id)
            self._aliases[workflow_id] = [] if workflow is None else aliases_of(workflow)
        return self._aliases[workflow_id]


def _is_of(listener: Listener, ids: set[str]) -> bool:
    """Whether a listener was opened with one of these keys, or by one of these accounts."""
    return listener.key_id in ids or listener.account_id in ids


class ControlReader:
    """What a new listener is sent: the state of every workflow. All later frames are broadcast."""

    closes = False

    def steps(self, listener: Listener, memo: Memo) -> Iterator[Step]:
        """One step at the beginning, none afterwards; agents that connect together are read for once."""
        if int(listener.cursor) >= 0:
            return
        org_id, workflow_id = listener.org_id, listener.workflow_id
        if (CONTROL, org_id) not in memo:
            memo[CONTROL, org_id] = list(_states(org_id))
        if (CONTROL, org_id, workflow_id) not in memo:
            entries = _named(memo[CONTROL, org_id], workflow_id)
            memo[CONTROL, org_id, workflow_id] = tuple(initial_states(entries))
        yield Step(memo[CONTROL, org_id, workflow_id], 0)


def _states(org_id: str) -> Iterator[tuple[Workflow, Frame]]:
    """Every workflow of an org, with its state."""
    pk = workflows_pk(org_id)
    workflows = [workflow for workflow in Workflow.query(pk, consistent_read=True) if not workflow.deleted]
    for start in range(0, len(workflows), _BATCH):
        batch = workflows[start : start + _BATCH]
        purses = read_each(*((Purse, purse_pk(org_id, row.workflow_id), "purse") for row in batch))
        for workflow, purse in zip(batch, purses, strict=True):
            if isinstance(purse, Purse):
                version, changed_ms = int(purse.state_version), int(purse.state_ms)
                entry = state_entry(workflow.workflow_id, purse.state, version, purse.state_reason, changed_ms)
                yield workflow, entry


def _named(states: Iterable[tuple[Workflow, Frame]], own: str | None) -> Iterator[Frame]:
    """States; of the listener's own workflow also under every text that means it to its processes."""
    for workflow, entry in states:
        yield from copies(entry, aliases_of(workflow) if workflow.workflow_id == own else ())
