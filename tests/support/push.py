"""A recording sender and a scripted channel, for tests of what is pushed."""

from __future__ import annotations

from collections.abc import Iterator

from shared.kit import clock
from shared.kit.errors import NotFound
from shared.push import Connection, Connections, Gone, Listener, Memo, Step
from shared.store.models.channels import connection_pk
from shared.store.models.executions import JournalEntry, execution_pk, journal_sk

ORG, EXECUTION = "org-1", "exec-1"
CHANNEL = f"execution#{EXECUTION}"


class RecordingSender:
    """Keeps what was sent; may be full, gone or broken."""

    in_use = True
    lanes = 1

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.closed: list[str] = []
        self.codes: list[int] = []
        self.gone: set[str] = set()
        self.full: set[str] = set()
        self.broken = 0

    def accepts(self, connection_id: str) -> bool:
        return connection_id not in self.full

    def send(self, connection_id: str, text: str) -> None:
        if connection_id in self.gone:
            raise Gone("gone")
        if self.broken:
            self.broken -= 1
            raise OSError("broken")
        self.sent.append((connection_id, text))

    def close(self, connection_id: str, code: int = 1000) -> None:
        self.closed.append(connection_id)
        self.codes.append(code)

    def to(self, connection_id: str) -> list[str]:
        return [text for name, text in self.sent if name == connection_id]


class ScriptedReader:
    """A channel whose facts are the texts of a list; ``end`` is final."""

    def __init__(self, *, closes: bool = True) -> None:
        self.closes = closes
        self.facts: list[str] = []
        self.missing = False

    def steps(self, listener: Listener, memo: Memo) -> Iterator[Step]:
        if self.missing:
            raise NotFound("no such execution")
        for index in range(max(int(listener.cursor), 0), len(self.facts)):
            yield Step((self.facts[index],), index + 1, self.facts[index] == "end")


def connect(connections: Connections, connection_id: str, org_id: str = ORG) -> Connection:
    """An open connection."""
    row = Connection(
        connection_pk(connection_id), "connection", connection_id=connection_id, org_id=org_id, account_id="account-1",
        protocol="page", connected_ms=clock.now_ms(),
    )  # fmt: skip
    connections.open(row)
    return row


def journal_grows(first: int) -> None:
    """A change record of the execution's journal."""
    JournalEntry(execution_pk(ORG, EXECUTION), journal_sk(first), first=first, length=1, facts="[]").save()
