"""What an execution is told from outside its lease: cancel, pause, hold, resume; and the wake-up after each write.

A hold is a pause of whoever governs the execution. It never takes the place of a pause, so that whoever ends it ends
nothing that its own people asked for; their commands take its place.

A command of a parent is passed on to its open children. The parent's own transaction comes first: no append of its
holder, and so no further child, gets past it. A child takes a pause or resume only while its parent's command is still
that one, so that of two commands at once the last holds for all.
"""

from __future__ import annotations

import contextlib
from typing import Any

from shared.engine.ports import Driver
from shared.engine.repository import ExecutionRepository, raise_wake
from shared.kit import clock
from shared.store.models.executions import Control, Summary, execution_pk
from shared.store.transaction import ConditionFailed, Transaction

TAKES_COMMANDS = (Control.live == True) & (Control.command != "cancel")  # noqa: E712 - a condition on the item

_STATUS = {"cancel": "canceled", "pause": "paused", "hold": "paused", "": "running"}


class Commands:
    """Writes commands. One is ``cancel``, ``pause``, ``hold`` or the empty text, which resumes."""

    def __init__(self, repository: ExecutionRepository, driver: Driver) -> None:
        self._repository = repository
        self._driver = driver

    def give(self, org_id: str, execution_id: str, command: str) -> None:
        """Tell an execution and its children; raises ConditionFailed when it has ended or been cancelled.

        The lease holder's next append, its end included, fails on the command it has not seen.
        """
        pk = execution_pk(org_id, execution_id)
        tx = Transaction()
        _add(tx, pk, command, TAKES_COMMANDS)
        try:
            tx.commit()
        except ConditionFailed as failed:
            # An earlier call may have died before it told the children.
            control = failed.failures.get("control")
            if command == "cancel" and isinstance(control, Control) and control.live and control.has_children:
                self.pass_on(org_id, execution_id, command)
            raise
        told = self.wake(org_id, execution_id)
        if told is not None and told.has_children:
            self.pass_on(org_id, execution_id, command)

    def hold(self, org_id: str, execution_id: str) -> None:
        """Hold an execution and its children unless they are paused; raises ConditionFailed when it has ended."""
        self._replace(org_id, execution_id, "", "hold")

    def release(self, org_id: str, execution_id: str) -> None:
        """End a hold, and have what else is held looked at again; raises ConditionFailed when it has ended."""
        if not self._replace(org_id, execution_id, "hold", ""):
            self.nudge(org_id, execution_id)

    def _replace(self, org_id: str, execution_id: str, before: str, command: str) -> bool:
        """Put one command in the place of another; False where another one counts. Raises ConditionFailed."""
        tx = Transaction()
        _add(tx, execution_pk(org_id, execution_id), command, TAKES_COMMANDS & (Control.command == before))
        try:
            tx.commit()
        except ConditionFailed as failed:
            control = failed.failures.get("control")
            if isinstance(control, Control) and control.live and control.command != "cancel":
                return False
            raise
        told = self.wake(org_id, execution_id)
        if told is not None and told.has_children:
            self.pass_on(org_id, execution_id, command)
        return True

    def nudge(self, org_id: str, execution_id: str) -> None:
        """Have an execution and its children look again at what is held; raises ConditionFailed when it has ended."""
        pk = execution_pk(org_id, execution_id)
        Transaction().update(Control(pk, "control"), raise_wake(), TAKES_COMMANDS, label="control").commit()
        told = self.wake(org_id, execution_id)
        for child_id in self._repository.open_children(pk) if told is not None and told.has_children else ():
            with contextlib.suppress(ConditionFailed):
                self.nudge(org_id, child_id)

    def pass_on(self, org_id: str, parent_id: str, command: str) -> None:
        """Tell every open child of an execution."""
        for child_id in self._repository.open_children(execution_pk(org_id, parent_id)):
            self.tell(org_id, parent_id, child_id, command)

    def tell(self, org_id: str, parent_id: str, child_id: str, command: str) -> None:
        """Tell one child, unless it has ended, knows, or its parent has been told something else since."""
        tx = Transaction()
        if command != "cancel":
            tx.check(Control, execution_pk(org_id, parent_id), "control", Control.command == command, label="parent")
        _add(tx, execution_pk(org_id, child_id), command, TAKES_COMMANDS & (Control.command != command))
        try:
            tx.commit()
        except ConditionFailed:
            return
        self.wake(org_id, child_id)

    def wake(self, org_id: str, execution_id: str) -> Control | None:
        """Written first, read after: either we see the parked token, or the parker sees our write."""
        control = self._repository.control(org_id, execution_id)
        if control is not None and control.live:
            self._driver.wake(org_id, execution_id, int(control.generation), control.task_token)
        return control


def _add(tx: Transaction, pk: str, command: str, condition: Any) -> None:
    status = _STATUS[command]
    actions = [Control.command.set(command), Control.status.set(status), *raise_wake()]
    tx.update(Control(pk, "control"), actions=actions, condition=condition, label="control")
    shown = [Summary.status.set(status)]
    if command == "cancel":
        shown += [Summary.ended_ms.set(clock.now_ms()), Summary.error.set("canceled")]
    tx.update(Summary(pk, "summary"), actions=shown, label="summary")
