"""The names an author's expressions see, and the secrets they must not leave behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from shared.engine.attempt import Redact
from shared.engine.expressions.base import Scope
from shared.engine.kinds.base import ExecutionFacts
from shared.engine.state import State, Token
from shared.vault import Redactor


class LazySecrets(Mapping[str, str]):
    """Secrets of an account, read from the vault when an expression first asks."""

    def __init__(self, load: Callable[[], Mapping[str, str]]) -> None:
        self._load = load
        self._values: Mapping[str, str] | None = None

    @property
    def loaded(self) -> Mapping[str, str]:
        """What has been read so far; empty when nobody asked."""
        return self._values or {}

    def read(self) -> Mapping[str, str]:
        """All of them."""
        if self._values is None:
            self._values = self._load()
        return self._values

    def __getitem__(self, key: str) -> str:
        return self.read()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.read())

    def __len__(self) -> int:
        return len(self.read())


class ScopeFactory:
    """Makes scopes for one execution."""

    def __init__(self, execution: ExecutionFacts, secrets: LazySecrets) -> None:
        self._secrets = secrets
        self._redactor: Redactor | None = None
        self._execution = {"id": execution.id, "flow_id": execution.definition_id, "account_id": execution.account_id}

    @property
    def secrets_read(self) -> bool:
        """Whether any expression has asked for a secret."""
        return bool(self._secrets.loaded)

    def read_secrets(self) -> None:
        """Read them now, because something that was made with them has come."""
        self._secrets.read()

    def scope(self, state: State, token: Token) -> tuple[Scope, Redact]:
        """What the token's node sees now. The dictionaries are copies, so that attempts may run beside the fold."""
        place = state.place(token)
        scope = Scope(
            input=place.input,
            previous_input=place.previous_input,
            shared=dict(state.shared),
            results=dict(state.outputs),
            secrets=self._secrets,
            execution=self._execution,
            item=state.item(token) if token.is_item else None,
            index=token.branch if token.is_item else None,
            error=place.error,
            has_item=token.is_item,
        )
        return scope, self.redact

    def redact(self, value: Any) -> Any:
        """``value`` with every secret value that was read replaced."""
        known = self._secrets.loaded
        if not known:
            return value
        if self._redactor is None:
            self._redactor = Redactor(known.values())
        return self._redactor.value(value)
