"""The engine's face: start, look at, stop and answer executions. Every call acts in the principal's org."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from shared.engine.commands import TAKES_COMMANDS, Commands
from shared.engine.ports import DefinitionRef, Driver, Programs
from shared.engine.repository import ExecutionRepository, first_control, raise_wake
from shared.engine.state import Fact
from shared.engine.views import LIVE, ExecutionView, Page
from shared.identity.principal import Principal
from shared.kit import clock, ids
from shared.kit.errors import Conflict, NotFound
from shared.store.models.executions import (
    Alias,
    Control,
    InboxEntry,
    JournalEntry,
    Summary,
    WaitRecord,
    alias_pk,
    definition_listing_pk,
    execution_pk,
    journal_sk,
)
from shared.store.transaction import ConditionFailed, Transaction, read

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NUMBER = re.compile(r"[0-9]{1,19}")

_ENDED = "the execution has already ended"

_PAGE = 100
"""Rows read in one request by who may stop at any."""

_NUMBERS = 5
"""How many numbers are tried for a new execution; two of the same millisecond may be alike."""


class Engine:
    """Executions of all dialects. ``time_limit_ms`` after its start an execution expires."""

    def __init__(
        self, repository: ExecutionRepository, programs: Programs, driver: Driver, time_limit_ms: int | None = None
    ) -> None:
        self._repository = repository
        self._programs = programs
        self._driver = driver
        self._commands = Commands(repository, driver)
        self._time_limit_ms = time_limit_ms

    def start(
        self,
        principal: Principal,
        definition: DefinitionRef,
        input: dict[str, Any],
        *,
        kind: str = "flow",
        execution_id: str | None = None,
    ) -> ExecutionView:
        """Begin an execution. Durable when this returns. A given ``execution_id`` that exists is answered as it is.

        Raises NotFound when the definition version does not exist.
        """
        program = self._programs.program(definition)
        started = clock.now_ms()
        identity = execution_id or ids.uuid7()
        pk = execution_pk(principal.org_id, identity)
        fact: Fact = {"type": "started", "at": started, "definition_id": definition.id, "version": program.version}
        fact |= {"input": input, "node": program.start, "kind": program.nodes[program.start].kind}
        first = JournalEntry(pk, journal_sk(0), first=0, length=1, facts=f"[{self._repository.encoded(pk, fact)}]")
        common: dict[str, Any] = {
            "execution_id": identity, "account_id": principal.account_id, "kind": kind, "definition_id": definition.id,
            "definition_version": definition.version, "status": "running", "started_ms": started,
        }  # fmt: skip
        for attempt in range(_NUMBERS):
            common["number"] = ids.snowflake()
            summary = self._first_summary(pk, principal, common)
            try:
                self._create(pk, principal, common, summary, first)
            except ConditionFailed as failed:
                if execution_id is not None and "control" in failed.failures:
                    return self.get(principal, execution_id)
                if attempt == _NUMBERS - 1 or failed.failures.keys() != {"alias"}:
                    raise
            else:
                break
        self._driver.start(principal.org_id, identity, 0)
        return ExecutionView.of(summary, input=input, current_node=program.start)

    def _create(
        self, pk: str, principal: Principal, common: dict[str, Any], summary: Summary, first: JournalEntry
    ) -> None:
        alias = Alias(alias_pk(principal.org_id, common["number"]), "alias", execution_id=common["execution_id"])
        tx = Transaction()
        tx.put(self._first_control(pk, principal, common), condition=Control.pk.does_not_exist(), label="control")
        tx.put(summary, label="summary")
        tx.put(first, label="entry")
        tx.put(alias, condition=Alias.pk.does_not_exist(), label="alias")
        tx.commit()

    def _first_control(self, pk: str, principal: Principal, common: dict[str, Any]) -> Control:
        started, limit = common["started_ms"], self._time_limit_ms
        deadline = started + limit if limit is not None else None
        return first_control(pk, principal.org_id, common, deadline_ms=deadline)

    @staticmethod
    def _first_summary(pk: str, principal: Principal, common: dict[str, Any]) -> Summary:
        return Summary(
            pk, "summary", **common, org_listing=principal.org_id, listed_at=common["execution_id"],
            definition_listing=definition_listing_pk(principal.org_id, common["definition_id"]),
        )  # fmt: skip

    # Looking

    def get(self, principal: Principal, execution_id: str) -> ExecutionView:
        """One execution with input, and its result when completed. Raises NotFound."""
        pk = self._pk(principal, execution_id)
        row = self._summary(pk)
        first = self._repository.first_fact(pk) or {}
        more: dict[str, Any] = {"input": first.get("input"), "current_node": first.get("node")}
        for fact in self._repository.newest_facts(pk):
            if fact["type"] == "ended":
                more["result"] = self._repository.inlined(fact).get("result")
            if fact.get("node") is not None:
                more["current_node"] = fact["node"]
        return ExecutionView.of(row, **more)

    def list(
        self,
        principal: Principal,
        *,
        definition_id: str | None = None,
        statuses: frozenset[str] | None = None,
        limit: int,
        offset: int,
    ) -> Page[ExecutionView]:
        """Executions of the org, oldest first, without input and result."""
        keep = Summary.status.is_in(*sorted(statuses)) if statuses else None
        if definition_id is not None:
            hash_key = definition_listing_pk(principal.org_id, definition_id)
            total = Summary.by_definition.count(hash_key, filter_condition=keep)
            found: Iterator[Summary] = iter(Summary.by_definition.query(hash_key, filter_condition=keep))
        else:
            total = Summary.by_org.count(principal.org_id, filter_condition=keep)
            found = iter(Summary.by_org.query(principal.org_id, filter_condition=keep))
        rows = [row for position, row in zip(range(offset + limit), found, strict=False) if position >= offset]
        return Page([ExecutionView.of(row) for row in rows], total, limit, offset)

    def newest(self, principal: Principal, *, before: str | None = None) -> Iterator[ExecutionView]:
        """Executions of the org whose ids lie before one, newest first, without input and result; read as asked for."""
        older = None if before is None else Summary.listed_at < before
        for row in Summary.by_org.query(principal.org_id, older, scan_index_forward=False, page_size=_PAGE):
            yield ExecutionView.of(row)

    def facts(self, principal: Principal, execution_id: str, *, after: int = -1) -> Sequence[tuple[int, Fact]]:
        """(index, fact) beyond ``after``, in order, large values loaded. Raises NotFound."""
        pk = self._pk(principal, execution_id)
        self._summary(pk)
        return self._repository.numbered_facts(pk, after)

    def follow(self, principal: Principal, execution_id: str, *, after: int = -1) -> Iterator[tuple[int, Fact]]:
        """As :meth:`facts`, read entry by entry as they are asked for; :meth:`loaded` adds a fact's large values."""
        pk = self._pk(principal, execution_id)
        self._summary(pk)
        return self._repository.outlined_facts(pk, after)

    def loaded(self, fact: Fact) -> Fact:
        """``fact`` with the values that are kept in the blob store."""
        return self._repository.inlined(fact)

    # Acting

    def cancel(self, principal: Principal, execution_id: str) -> None:
        """Stop for good: once this returns no node starts. Raises NotFound, Conflict when it has ended already."""
        self._command(principal, execution_id, "cancel")

    def pause(self, principal: Principal, execution_id: str) -> None:
        """Let running nodes finish and start no other until :meth:`resume`. Raises NotFound, Conflict."""
        self._command(principal, execution_id, "pause")

    def resume(self, principal: Principal, execution_id: str) -> None:
        """Go on after :meth:`pause`. Raises NotFound, Conflict."""
        self._command(principal, execution_id, "")

    def hold(self, principal: Principal, execution_id: str) -> None:
        """As :meth:`pause`, on behalf of what governs the execution: only :meth:`release` or its people end it.

        One that is paused stays just that. Raises NotFound, Conflict.
        """
        self._tell(principal, execution_id, self._commands.hold)

    def release(self, principal: Principal, execution_id: str) -> None:
        """End a :meth:`hold`, and have what governance holds asked about again; a pause stays. Raises NotFound,
        Conflict.
        """
        self._tell(principal, execution_id, self._commands.release)

    def nudge(self, principal: Principal, execution_id: str) -> None:
        """Have an execution that governance holds, and its children, ask again. Raises NotFound, Conflict."""
        self._tell(principal, execution_id, self._commands.nudge)

    def live(self, principal: Principal, definition_id: str) -> Sequence[str]:
        """Ids of the live executions of a definition, oldest first."""
        hash_key = definition_listing_pk(principal.org_id, definition_id)
        rows = Summary.by_definition.query(hash_key, filter_condition=Summary.status.is_in(*sorted(LIVE)))
        return [row.execution_id for row in rows]

    def _command(self, principal: Principal, execution_id: str, command: str) -> None:
        self._tell(principal, execution_id, lambda org_id, found: self._commands.give(org_id, found, command))

    def _tell(self, principal: Principal, execution_id: str, tell: Callable[[str, str], None]) -> None:
        row = self._summary(self._pk(principal, execution_id))
        try:
            tell(principal.org_id, row.execution_id)
        except ConditionFailed as failed:
            raise Conflict(_ENDED) from failed

    def signal(self, principal: Principal, execution_id: str, key: str, value: Any) -> None:
        """Answer the newest open wait of this key, the execution's own before those of its children.

        Raises NotFound when none is open, Conflict when another answer came first or the execution has ended.
        """
        pk = self._pk(principal, execution_id)
        row = self._summary(pk)
        if row.status not in LIVE:
            raise Conflict(_ENDED)
        asked, wait = self._asked(principal.org_id, row.execution_id, key)
        pk = execution_pk(principal.org_id, asked)
        fact: Fact = {"type": "wait_ended", "at": clock.now_ms(), "wait": wait.wait, "token": int(wait.token)}
        fact |= {"node": wait.node, "visit": int(wait.visit), "timed_out": False, "value": value}
        answered = [WaitRecord.status.set("answered")]
        tx = Transaction()
        tx.update(WaitRecord(pk, wait.sk), answered, condition=WaitRecord.status == "open", label="wait")
        tx.put(InboxEntry(pk, f"inbox#{ids.uuid7()}", fact=self._repository.encoded(pk, fact)), label="inbox")
        tx.update(Control(pk, "control"), actions=raise_wake(), condition=TAKES_COMMANDS, label="control")
        try:
            tx.commit()
        except ConditionFailed as failed:
            raise Conflict(_ENDED if "control" in failed.failures else f"{key} has been answered already") from failed
        self._commands.wake(principal.org_id, asked)

    def _asked(self, org_id: str, execution_id: str, key: str) -> tuple[str, WaitRecord]:
        """The open wait that a signal answers, and whose it is; raises NotFound, Conflict when all were answered."""
        pk = execution_pk(org_id, execution_id)
        waits = self._repository.waits(pk, key)
        wait = next((wait for wait in waits if wait.status == "open"), None)
        if wait is not None:
            return execution_id, wait
        control = self._repository.control(org_id, execution_id)
        answered = bool(waits)
        for child_id in self._repository.open_children(pk) if control is not None and control.has_children else ():
            try:
                return self._asked(org_id, child_id, key)
            except Conflict:
                answered = True
            except NotFound:
                continue
        if answered:
            raise Conflict(f"{key} has been answered already")
        raise NotFound(f"the execution does not wait for {key}")

    def _pk(self, principal: Principal, execution_id: str) -> str:
        if _UUID.fullmatch(execution_id):
            return execution_pk(principal.org_id, execution_id)
        if _NUMBER.fullmatch(execution_id):
            alias = read(Alias, alias_pk(principal.org_id, int(execution_id)), "alias")
            if alias is not None:
                return execution_pk(principal.org_id, alias.execution_id)
        raise NotFound("no such execution")

    def _summary(self, pk: str) -> Summary:
        row = read(Summary, pk, "summary")
        if row is None:
            raise NotFound("no such execution")
        return row
