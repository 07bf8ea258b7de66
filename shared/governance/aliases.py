"""Texts that clients use for a workflow besides its id: a change of its state is told under each of them.

Source: NullRun docs, Control plane; docs/rulings.md#workflow-aliases.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

from shared.kit import json
from shared.kit.errors import SignalboxError
from shared.kit.logging import logger
from shared.store.models.governance import Workflow, workflows_pk
from shared.store.transaction import read, update_if

log = logger("aliases")

MAX_ALIASES = 50
MAX_ALIAS = 200
_REMEMBERED = 4096
_ATTEMPTS = 8


def aliases_of(record: Workflow) -> list[str]:
    """Every text but the id that means the workflow, each once: name, external id, and what clients have used."""
    texts = [record.name, record.external_id, *json.loads(record.aliases)]
    return list(dict.fromkeys(text for text in texts if text and text != record.workflow_id))


def with_aliases(record: Workflow, texts: Sequence[str | None]) -> str:
    """The stored form of a workflow's aliases with further ones, as far as there is room."""
    known = [*json.loads(record.aliases), *filter(None, texts)]
    return json.dumps(list(dict.fromkeys(known))[:MAX_ALIASES])


class Aliases:
    """Collects aliases. What this process has seen already costs nothing."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, org_id: str, workflow_id: str, text: str) -> None:
        """Remember a text for a workflow: up to 200 characters, and up to 50 texts. Never fails."""
        place = (org_id, workflow_id, text)
        if not text or text == workflow_id or len(text) > MAX_ALIAS or not json.is_unicode(text) or self._knows(place):
            return
        try:
            done = any(_store(*place) for _ in range(_ATTEMPTS))
        except SignalboxError as error:
            log.warning("alias not stored", extra={"workflow_id": workflow_id, "reason": error.message})
            return
        if done:
            self._remember(place)

    def _knows(self, place: tuple[str, str, str]) -> bool:
        with self._lock:
            return place in self._seen

    def _remember(self, place: tuple[str, str, str]) -> None:
        with self._lock:
            self._seen[place] = None
            while len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)


def _store(org_id: str, workflow_id: str, text: str) -> bool:
    """Whether nothing is left to do for the text."""
    record = read(Workflow, workflows_pk(org_id), workflow_id)
    if record is None or record.deleted or text in aliases_of(record):
        return True
    stored = with_aliases(record, [text])
    if stored == record.aliases:
        return True
    actions = [Workflow.aliases.set(stored), Workflow.revision.set(record.revision + 1)]
    return update_if(record, actions, Workflow.revision == record.revision)
