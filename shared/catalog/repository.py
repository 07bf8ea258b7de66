"""Every read and write of definitions' items. Keys start with the org."""

from __future__ import annotations

from collections.abc import Iterator

from shared.catalog.contents import PROGRAM, TEXT, Contents, Held
from shared.identity import Principal
from shared.kit import clock
from shared.store.models.catalog import (
    ContentRecord,
    DefinitionRecord,
    DeletedRecord,
    VersionRecord,
    definitions_pk,
    deleted_pk,
    version_sk,
    versions_pk,
)
from shared.store.transaction import ConditionFailed, Transaction, read

_VERSIONS = "version#"


class Definitions:
    """The items of definitions; their contents are :class:`Contents`' business."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents

    def read(self, org_id: str, kind: str, definition_id: str) -> DefinitionRecord | None:
        """One definition, read consistently."""
        # DynamoDB refuses such keys instead of not finding them.
        if not definition_id or len(definition_id) > 200:
            return None
        return read(DefinitionRecord, definitions_pk(org_id, kind), definition_id)

    def all(self, org_id: str, kind: str) -> Iterator[DefinitionRecord]:
        """Every definition, by id and so by time, read consistently: one made a moment ago is there."""
        return iter(DefinitionRecord.query(definitions_pk(org_id, kind), consistent_read=True))

    def versions(self, org_id: str, definition_id: str) -> Iterator[VersionRecord]:
        """Every version, oldest first."""
        named = VersionRecord.sk.startswith(_VERSIONS)
        return iter(VersionRecord.query(versions_pk(org_id, definition_id), named, consistent_read=True))

    def put_new(self, record: DefinitionRecord, org_id: str, kind: str) -> Transaction:
        """The write of a definition nobody has made or deleted."""
        tx = Transaction().put(record, DefinitionRecord.pk.does_not_exist())
        return tx.check(DeletedRecord, deleted_pk(org_id, kind), record.sk, DeletedRecord.pk.does_not_exist())

    def put_changed(self, record: DefinitionRecord, seen: int) -> Transaction:
        """The write of a definition that nobody changed or deleted since its change ``seen``."""
        return Transaction().put(record, DefinitionRecord.change == seen)

    def add_version(
        self, tx: Transaction, principal: Principal, record: DefinitionRecord, text: Held, program: Held
    ) -> None:
        """Let the same write add the version the record names."""
        org_id, revision = principal.org_id, int(record.revision)
        version = VersionRecord(
            versions_pk(org_id, record.sk),
            version_sk(revision),
            revision=revision,
            version=record.version,
            account_id=principal.account_id,
            created_ms=int(record.updated_ms),
        )
        tx.put(version, VersionRecord.pk.does_not_exist())
        tx.put(self._contents.record(org_id, record.sk, TEXT, revision, text))
        tx.put(self._contents.record(org_id, record.sk, PROGRAM, revision, program))

    def delete(self, org_id: str, kind: str, definition_id: str) -> bool:
        """Take a definition out of the lists and remember that its versions are there; whether it was in them."""
        record = self.read(org_id, kind, definition_id)
        if record is None:
            return False
        tx = Transaction().delete(record, DefinitionRecord.pk.exists())
        tx.put(DeletedRecord(deleted_pk(org_id, kind), definition_id, deleted_ms=clock.now_ms()))
        try:
            tx.commit()
        except ConditionFailed:
            return False
        return True

    def erase(self, org_id: str, kind: str) -> None:
        """Remove every definition of the kind, deleted ones too, with all versions."""
        # What names the versions goes last, so that an erasure cut short can be taken up again.
        for record in self.all(org_id, kind):
            self._erase_versions(org_id, record.sk)
            Transaction().delete(record).commit()
        for gone in DeletedRecord.query(deleted_pk(org_id, kind), consistent_read=True):
            self._erase_versions(org_id, gone.sk)
            Transaction().delete(gone).commit()

    def _erase_versions(self, org_id: str, definition_id: str) -> None:
        pk = versions_pk(org_id, definition_id)
        for part in (TEXT, PROGRAM):
            for content in ContentRecord.query(pk, ContentRecord.sk.startswith(f"{part}#"), consistent_read=True):
                self._contents.drop((None, content.blob))
                Transaction().delete(content).commit()
        for version in self.versions(org_id, definition_id):
            Transaction().delete(version).commit()
