"""The engine's face: start, look at, stop and answer executions. Every call acts in the principal's org."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from shared.engine.ports import DefinitionRef, Driver, Programs
from shared.engine.repository import LEASE_MS, ExecutionRepository
from shared.engine.state import Fact
from shared.engine.views import LIVE, ExecutionView, Page
from shared.identity.principal import Principal
from shared.kit import clock, ids, json
from shared.kit.errors import Conflict, NotFound
from shared.store.models.executions import (
    Alias, Control, InboxEntry, JournalEntry, Summary, WaitRecord, alias_pk, definition_listing_pk, due_shard, execution_pk, journal_sk,
)  # fmt: skip
from shared.store.transaction import ConditionFailed, Transaction, read

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NUMBER = re.compile(r"[0-9]{1,19}")


class Engine:
    """Executions of all dialects."""

    def __init__(self, repository: ExecutionRepository, programs: Programs, driver: Driver) -> None:
        self._repository = repository
        self._programs = programs
        self._driver = driver

    def start(
        self, principal: Principal, definition: DefinitionRef, input: dict[str, Any], *, kind: str = "flow", execution_id: str | None = None
    ) -> ExecutionView:  # fmt: skip
        """Begin an execution. Durable when this returns. A given ``execution_id`` that exists already is answered as it is.

        Raises NotFound when the definition version does not exist.
        """
        program = self._programs.program(definition)
        started = clock.now_ms()
        identity = execution_id or ids.uuid7()
        pk = execution_pk(principal.org_id, identity)
        number = ids.snowflake()
        common = {
            "execution_id": identity, "account_id": principal.account_id, "number": number, "kind": kind,
            "definition_id": definition.id, "definition_version": definition.version, "status": "running", "started_ms": started,
        }  # fmt: skip
        fact: Fact = {"type": "started", "at": started, "definition_id": definition.id, "version": program.version, "input": input}
        fact |= {"node": program.start, "kind": program.nodes[program.start].kind}
        summary = Summary(
            pk, "summary", **common, org_listing=principal.org_id, listed_at=identity,
            definition_listing=definition_listing_pk(principal.org_id, definition.id),
        )  # fmt: skip
        tx = Transaction()
        tx.put(self._first_control(pk, principal, common, started), condition=Control.pk.does_not_exist(), label="control")
        tx.put(summary, label="summary")
        tx.put(JournalEntry(pk, journal_sk(0), first=0, length=1, facts=self._repository.entry_text(pk, [fact])), label="entry")
        tx.put(Alias(alias_pk(principal.org_id, number), "alias", execution_id=identity), condition=Alias.pk.does_not_exist(), label="alias")
        try:
            tx.commit()
        except ConditionFailed as failed:
            if execution_id is None or "control" not in failed.failures:
                raise
            return self.get(principal, execution_id)
        self._driver.start(principal.org_id, identity, 0)
        return ExecutionView.of(summary, input=input, current_node=program.start)

    def _first_control(self, pk: str, principal: Principal, common: dict[str, Any], started: int) -> Control:
        return Control(
            pk, "control", **common, org_id=principal.org_id, live=True, generation=0, segment=0, wake=0, absorbed=0, command="",
            next_index=1, due_shard=due_shard(common["execution_id"]), due_ms=started + LEASE_MS,
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
                more["result"] = fact.get("result")
            if fact.get("node") is not None:
                more["current_node"] = fact["node"]
        return ExecutionView.of(row, **more)

    def list(
        self, principal: Principal, *, definition_id: str | None = None, statuses: frozenset[str] | None = None, limit: int, offset: int
    ) -> Page[ExecutionView]:  # fmt: skip
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

    def facts(self, principal: Principal, execution_id: str, *, after: int = -1) -> list[tuple[int, Fact]]:
        """(index, fact) beyond ``after``, in order, large values loaded. Raises NotFound."""
        pk = self._pk(principal, execution_id)
        self._summary(pk)
        return self._repository.numbered_facts(pk, after)

    def follow(self, principal: Principal, execution_id: str, *, after: int = -1) -> Iterator[tuple[int, Fact]]:
        """As :meth:`facts`, read entry by entry as they are asked for; pass a fact to :meth:`loaded` for its large values."""
        pk = self._pk(principal, execution_id)
        self._summary(pk)
        return self._repository.outlined_facts(pk, after)

    def loaded(self, fact: Fact) -> Fact:
        """``fact`` with the values that are kept in the blob store."""
        return self._repository.inlined(fact)

    # Acting

    def cancel(self, principal: Principal, execution_id: str) -> None:
        """Stop for good: once this returns no node starts. Raises NotFound, Conflict when it has ended already."""
        pk = self._pk(principal, execution_id)
        row = self._summary(pk)
        tx = Transaction()
        actions = [Control.command.set("cancel"), Control.wake.set(Control.wake + 1), Control.status.set("canceled")]
        live = (Control.live == True) & (Control.command != "cancel")  # noqa: E712
        tx.update(Control(pk, "control"), actions=actions, condition=live, label="control")
        ended = [Summary.status.set("canceled"), Summary.ended_ms.set(clock.now_ms()), Summary.error.set("canceled")]
        tx.update(Summary(pk, "summary"), actions=ended, label="summary")
        try:
            tx.commit()
        except ConditionFailed as failed:
            raise Conflict("the execution has already ended") from failed
        self._wake(principal.org_id, row.execution_id)

    def pause(self, principal: Principal, execution_id: str) -> None:
        """Let running nodes finish and start no other until :meth:`resume`. Raises NotFound, Conflict."""
        self._command(principal, execution_id, "pause", "paused")

    def resume(self, principal: Principal, execution_id: str) -> None:
        """Go on after :meth:`pause`. Raises NotFound, Conflict."""
        self._command(principal, execution_id, "", "running")

    def _command(self, principal: Principal, execution_id: str, command: str, status: str) -> None:
        pk = self._pk(principal, execution_id)
        row = self._summary(pk)
        tx = Transaction()
        actions = [Control.command.set(command), Control.wake.set(Control.wake + 1), Control.status.set(status)]
        live = (Control.live == True) & (Control.command != "cancel")  # noqa: E712
        tx.update(Control(pk, "control"), actions=actions, condition=live, label="control")
        tx.update(Summary(pk, "summary"), actions=[Summary.status.set(status)], label="summary")
        try:
            tx.commit()
        except ConditionFailed as failed:
            raise Conflict("the execution has already ended") from failed
        self._wake(principal.org_id, row.execution_id)

    def signal(self, principal: Principal, execution_id: str, key: str, value: Any) -> None:
        """Answer the newest open wait of this key. Raises NotFound when none is open, Conflict when another answer came first."""
        pk = self._pk(principal, execution_id)
        row = self._summary(pk)
        if row.status not in LIVE:
            raise Conflict("the execution has already ended")
        waits = self._repository.open_waits(pk, key)
        wait = next((wait for wait in waits if wait.status == "open"), None)
        if wait is None:
            raise Conflict(f"{key} has been answered already") if waits else NotFound(f"the execution does not wait for {key}")
        fact: Fact = {"type": "wait_ended", "at": clock.now_ms(), "wait": wait.wait, "token": int(wait.token), "node": wait.node}
        fact |= {"visit": int(wait.visit), "timed_out": False, "value": value}
        tx = Transaction()
        tx.update(WaitRecord(pk, wait.sk), actions=[WaitRecord.status.set("answered")], condition=WaitRecord.status == "open", label="wait")
        tx.put(InboxEntry(pk, f"inbox#{ids.uuid7()}", fact=json.dumps(self._repository.outline(pk, fact))), label="inbox")
        live = (Control.live == True) & (Control.command != "cancel")  # noqa: E712
        tx.update(Control(pk, "control"), actions=[Control.wake.set(Control.wake + 1)], condition=live, label="control")
        try:
            tx.commit()
        except ConditionFailed as failed:
            raise Conflict(f"{key} has been answered already, or the execution has ended") from failed
        self._wake(principal.org_id, row.execution_id)

    def _wake(self, org_id: str, execution_id: str) -> None:
        """Written first, read after: either we see the parked token, or the parker sees our write."""
        control = self._repository.control(org_id, execution_id)
        if control is not None and control.live:
            self._driver.wake(org_id, execution_id, int(control.generation), control.task_token)

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
