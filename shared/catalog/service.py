"""The catalog: definitions of an org, versioned, each compiled once when it is registered.

           create            update (text)             delete
(nothing) ────────▶ listed ─────────────────▶ listed ────────▶ deleted: not listed, its programs still load
                 revision 1              revision + 1
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.catalog.cache import ProgramCache
from shared.catalog.contents import PROGRAM, TEXT, Contents, Held
from shared.catalog.ports import Dialect, Metadata
from shared.catalog.repository import Definitions
from shared.catalog.search import Query
from shared.catalog.views import Definition, Page, Version, page_of
from shared.engine.ports import DefinitionRef
from shared.engine.program import Program
from shared.identity import Departure, Principal
from shared.kit import clock, ids, json
from shared.kit.errors import InvalidRequest, NotFound, Unavailable
from shared.store.blobs import Blobs
from shared.store.models.catalog import DefinitionRecord, definitions_pk
from shared.store.transaction import ConditionFailed

MAX_CUSTOM_BYTES = 32 * 1024
"""Largest custom metadata of one definition, as JSON. Lists read them all."""

_ATTEMPTS = 64


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A text ready to become a version."""

    metadata: Metadata
    text: Held
    program: Held


class Catalog:
    """Definitions of all dialects. ``dialects`` compile them, by kind. Every call acts in the principal's org."""

    def __init__(self, blobs: Blobs, dialects: Mapping[str, Dialect]) -> None:
        self._dialects = dialects
        self._contents = Contents(blobs)
        self._definitions = Definitions(self._contents)
        self._cache = ProgramCache()

    # Looking

    def get(self, principal: Principal, kind: str, definition_id: str) -> Definition:
        """One definition. Raises NotFound."""
        return self._view(principal.org_id, self._read(principal.org_id, kind, definition_id))

    def list(
        self, principal: Principal, kind: str, *, tag: str | None = None, limit: int, offset: int
    ) -> Page[Definition]:
        """Definitions, oldest first; only those with exactly this ``tag``."""
        found = self._all(principal.org_id, kind)
        return page_of([one for one in found if tag is None or tag in one.tags], limit, offset)

    def search(self, principal: Principal, kind: str, *, limit: int, offset: int, **wanted: Any) -> Page[Definition]:
        """Definitions of which everything ``wanted`` holds (the fields of :class:`Query`), oldest first."""
        query = Query(**wanted)
        return page_of([one for one in self._all(principal.org_id, kind) if query.matches(one)], limit, offset)

    def versions(
        self, principal: Principal, kind: str, definition_id: str, *, limit: int, offset: int
    ) -> Page[Version]:
        """Versions of a definition, oldest first. Raises NotFound."""
        self._read(principal.org_id, kind, definition_id)
        found = [
            Version(int(row.revision), row.version, int(row.created_ms), row.account_id)
            for row in self._definitions.versions(principal.org_id, definition_id)
        ]
        return page_of(found, limit, offset)

    def program(self, ref: DefinitionRef) -> Program:
        """The program of exactly this version, of a deleted definition too. Raises NotFound."""
        found = self._cache.get(ref)
        if found is None:
            text = self._contents.load(ref.org_id, ref.id, PROGRAM, ref.version)
            found = Program.from_json(json.loads(text))
            self._cache.put(ref, found, len(text))
        return found

    # Changing

    def create(
        self,
        principal: Principal,
        kind: str,
        name: str,
        text: str,
        *,
        description: str | None = None,
        tags: Sequence[str] = (),
        definition_id: str | None = None,
    ) -> Definition:
        """Register a definition. One that has the given ``definition_id`` already is answered as it is.

        Without ``description`` it is the one in the text. Raises Unprocessable for a text that does not compile.
        """
        identity = definition_id or ids.uuid7()
        compiled = self._compile(principal.org_id, kind, identity, text)
        now = clock.now_ms()
        record = DefinitionRecord(
            definitions_pk(principal.org_id, kind),
            identity,
            account_id=principal.account_id,
            name=name,
            description=compiled.metadata.description if description is None else description,
            version=compiled.metadata.version,
            revision=1,
            change=1,
            tags=json.dumps(list(tags)),
            created_ms=now,
            updated_ms=now,
        )
        tx = self._definitions.put_new(record, principal.org_id, kind)
        self._definitions.add_version(tx, principal, record, compiled.text, compiled.program)
        try:
            tx.commit()
        except ConditionFailed:
            self._drop(compiled)
            if definition_id is None:
                return self.create(principal, kind, name, text, description=description, tags=tags)
            return self.get(principal, kind, definition_id)
        return self._view(principal.org_id, record)

    def update(
        self,
        principal: Principal,
        kind: str,
        definition_id: str,
        *,
        name: str | None = None,
        text: str | None = None,
        description: str | None = None,
        tags: Sequence[str] | None = None,
    ) -> Definition:
        """Change a definition; what is None stays. A text that differs from the newest version's is a new version.

        Raises NotFound, and Unprocessable for a text that does not compile.
        """
        record = self._read(principal.org_id, kind, definition_id)
        changed = text is not None and text != self._view(principal.org_id, record).text
        compiled = self._compile(principal.org_id, kind, definition_id, text) if changed and text is not None else None
        given = {"name": name, "description": description, "tags": None if tags is None else json.dumps(list(tags))}
        return self._change(principal, kind, record, given, compiled)

    def metadata(
        self,
        principal: Principal,
        kind: str,
        definition_id: str,
        *,
        tags: Sequence[str] | None = None,
        category: str | None = None,
        status: str | None = None,
        custom: Mapping[str, Any] | None = None,
    ) -> Definition:
        """Change what is known besides the text; ``custom`` is merged key by key. Raises NotFound, InvalidRequest."""
        given = {"category": category, "status": status, "tags": None if tags is None else json.dumps(list(tags))}
        record = self._read(principal.org_id, kind, definition_id)
        return self._change(principal, kind, record, given, custom=custom)

    def delete(self, principal: Principal, kind: str, definition_id: str) -> None:
        """Remove a definition from every list. Executions of its versions go on. Raises NotFound."""
        if not self._definitions.delete(principal.org_id, kind, definition_id):
            raise _unknown(kind)

    def forget(self, departure: Departure) -> None:
        """Remove everything in orgs that go. Their executions must have been removed before. Harmless when repeated."""
        for org_id in departure.org_ids:
            for kind in self._dialects:
                self._definitions.erase(org_id, kind)
            self._cache.forget(org_id)

    def _change(
        self,
        principal: Principal,
        kind: str,
        record: DefinitionRecord,
        given: Mapping[str, str | None],
        compiled: _Compiled | None = None,
        custom: Mapping[str, Any] | None = None,
    ) -> Definition:
        """Write on condition that nobody wrote since the record was read; else read it again and try anew."""
        current: DefinitionRecord | None = record
        for _ in range(_ATTEMPTS):
            if current is None:
                break
            record, seen = current, int(current.change)
            for field, value in given.items():
                if value is not None:
                    setattr(record, field, value)
            if custom is not None:
                record.custom = _merged(record.custom, custom)
            if compiled is not None:
                record.version, record.revision = compiled.metadata.version, int(record.revision) + 1
            record.change, record.updated_ms = seen + 1, max(clock.now_ms(), int(record.updated_ms) + 1)
            tx = self._definitions.put_changed(record, seen)
            if compiled is not None:
                self._definitions.add_version(tx, principal, record, compiled.text, compiled.program)
            try:
                tx.commit()
            except ConditionFailed:
                current = self._definitions.read(principal.org_id, kind, record.sk)
            else:
                return self._view(principal.org_id, record)
        # Every attempt was refused, so no version names these contents; an unclear one would have left by exception.
        if compiled is not None:
            self._drop(compiled)
        if current is None:
            raise _unknown(kind)
        raise Unavailable(f"The {kind} is being changed by others; try again")

    def _compile(self, org_id: str, kind: str, definition_id: str, text: str) -> _Compiled:
        metadata, program = self._dialects[kind].compile(text)
        return _Compiled(
            metadata,
            self._contents.store(org_id, definition_id, text),
            self._contents.store(org_id, definition_id, json.dumps(program.to_json())),
        )

    def _drop(self, compiled: _Compiled) -> None:
        self._contents.drop(compiled.text)
        self._contents.drop(compiled.program)

    def _read(self, org_id: str, kind: str, definition_id: str) -> DefinitionRecord:
        record = self._definitions.read(org_id, kind, definition_id)
        if record is None:
            raise _unknown(kind)
        return record

    def _all(self, org_id: str, kind: str) -> Sequence[Definition]:
        return [self._view(org_id, record) for record in self._definitions.all(org_id, kind)]

    def _view(self, org_id: str, record: DefinitionRecord) -> Definition:
        identity, revision = record.sk, int(record.revision)
        return Definition(
            id=identity,
            name=record.name,
            description=record.description,
            version=record.version,
            revision=revision,
            created_ms=int(record.created_ms),
            updated_ms=int(record.updated_ms),
            account_id=record.account_id,
            tags=json.loads(record.tags),
            category=record.category,
            status=record.status,
            custom=json.loads(record.custom),
            load=lambda: self._contents.load(org_id, identity, TEXT, revision),
        )


def _unknown(kind: str) -> NotFound:
    return NotFound(f"There is no such {kind}")


def _merged(held: str, more: Mapping[str, Any]) -> str:
    text = json.dumps(json.loads(held) | dict(more))
    if len(text.encode()) > MAX_CUSTOM_BYTES:
        raise InvalidRequest.field("custom", f"Custom metadata must have {MAX_CUSTOM_BYTES} bytes at most in all")
    return text
