"""Texts and programs of versions: small ones beside the version, large ones in the blob store. Never changed."""

from __future__ import annotations

from shared.kit import ids
from shared.kit.errors import NotFound
from shared.store.blobs import Blobs
from shared.store.models.catalog import ContentRecord, content_sk, versions_pk
from shared.store.transaction import read

LARGE_CONTENT = 100 * 1024
"""Contents above this many bytes are blobs."""

TEXT, PROGRAM = "text", "program"

Held = tuple[str | None, str | None]
"""A stored content: itself, or the key of its blob."""


class Contents:
    """Reads and prepares contents."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    def store(self, org_id: str, definition_id: str, content: str) -> Held:
        """The content, ready for :meth:`record`; a large one is stored by this."""
        data = content.encode()
        if len(data) <= LARGE_CONTENT:
            return content, None
        key = f"{org_id}/definitions/{definition_id}/{ids.uuid7()}"
        self._blobs.put(key, data)
        return None, key

    def record(self, org_id: str, definition_id: str, part: str, revision: int, held: Held) -> ContentRecord:
        """The record of a stored content."""
        content, blob = held
        pk = versions_pk(org_id, definition_id)
        return ContentRecord(pk, content_sk(part, revision), content=content, blob=blob)

    def drop(self, held: Held) -> None:
        """Forget a stored content that no record came to name."""
        if held[1] is not None:
            self._blobs.delete(held[1])

    def load(self, org_id: str, definition_id: str, part: str, revision: int) -> str:
        """A content. Raises NotFound."""
        record = read(ContentRecord, versions_pk(org_id, definition_id), content_sk(part, revision))
        if record is None:
            raise NotFound("There is no such version")
        if record.blob is not None:
            return self._blobs.get(record.blob).decode()
        return str(record.content)
