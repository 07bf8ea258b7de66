"""Which workflow governs the executions of a definition: its budget, its policies, its pause and kill.

Source: docs/rulings.md#bindings.
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.governance.events import Actor, Fact, add_event
from shared.governance.states import KILLED
from shared.governance.workflow_views import is_id, workflow_record
from shared.identity.principal import Principal
from shared.kit import clock
from shared.kit.errors import Conflict, NotFound
from shared.store.models.governance import Purse, purse_pk
from shared.store.models.policies import Binding, bindings_pk
from shared.store.transaction import ConditionFailed, Transaction, read


class Bindings:
    """Bindings of an org. Every call acts in the principal's org; changes need the role operator."""

    def list(self, principal: Principal, workflow_id: str) -> Sequence[Binding]:
        """The definitions a workflow governs, by id. Raises NotFound."""
        workflow_record(principal.org_id, workflow_id)
        return self._of(principal.org_id, workflow_id)

    def get(self, principal: Principal, workflow_id: str, definition_id: str) -> Binding:
        """One binding. Raises NotFound."""
        workflow_record(principal.org_id, workflow_id)
        found = self._read(principal.org_id, definition_id)
        if found is None or found.workflow_id != workflow_id:
            raise NotFound("The workflow does not govern this definition")
        return found

    def put(self, principal: Principal, workflow_id: str, definition_id: str) -> Binding:
        """Have the workflow govern a definition, which the caller knows to exist; one it governs already stays.

        Raises Forbidden, NotFound, Conflict where another workflow governs it or this one was killed.
        """
        principal.require_role("operator")
        org_id = principal.org_id
        workflow_record(org_id, workflow_id)
        record = Binding(
            bindings_pk(org_id), definition_id, org_id=org_id, definition_id=definition_id, workflow_id=workflow_id,
            created_ms=clock.now_ms(),
        )  # fmt: skip
        tx = Transaction().put(record, Binding.pk.does_not_exist(), "binding")
        tx.check(Purse, purse_pk(org_id, workflow_id), "purse", Purse.state != KILLED, "purse")
        add_event(tx, org_id, Actor.of(principal), _fact("workflow.bound", workflow_id, definition_id))
        try:
            tx.commit()
        except ConditionFailed as failed:
            known = failed.failures.get("binding")
            if not isinstance(known, Binding):
                raise Conflict("The workflow has been killed; bind the definition to another one") from None
            if known.workflow_id != workflow_id:
                raise Conflict(f"The workflow {known.workflow_id} governs this definition; unbind it there") from None
            return known
        return record

    def remove(self, principal: Principal, workflow_id: str, definition_id: str) -> None:
        """Have the workflow govern the definition no more. Raises Forbidden, NotFound."""
        principal.require_role("operator")
        self._remove(principal, self.get(principal, workflow_id, definition_id))

    def remove_all_of_workflow(self, principal: Principal, workflow_id: str) -> None:
        """Have a workflow that is being deleted govern nothing: what it governed ends."""
        for binding in self._of(principal.org_id, workflow_id):
            self._remove(principal, binding, workflow_deleted=True)

    def forget_definition(self, principal: Principal, definition_id: str) -> None:
        """Have no workflow govern a definition that was deleted."""
        binding = self._read(principal.org_id, definition_id)
        if binding is not None:
            self._remove(principal, binding, definition_deleted=True)

    def _remove(self, principal: Principal, binding: Binding, **why: bool) -> None:
        tx = Transaction().delete(binding, Binding.workflow_id == binding.workflow_id, "binding")
        fact = _fact("workflow.unbound", binding.workflow_id, binding.definition_id, **why)
        add_event(tx, principal.org_id, Actor.of(principal), fact)
        try:
            tx.commit()
        except ConditionFailed:
            # Somebody else was first: what was asked for is so.
            return

    def _of(self, org_id: str, workflow_id: str) -> Sequence[Binding]:
        found = Binding.query(bindings_pk(org_id), consistent_read=True)
        return [binding for binding in found if binding.workflow_id == workflow_id]

    def _read(self, org_id: str, definition_id: str) -> Binding | None:
        return read(Binding, bindings_pk(org_id), definition_id) if is_id(definition_id) else None


def _fact(action: str, workflow_id: str, definition_id: str, **why: bool) -> Fact:
    details = {"definition_id": definition_id, **why}
    return Fact(action, ("workflow", workflow_id), workflow_id=workflow_id, details=details)
