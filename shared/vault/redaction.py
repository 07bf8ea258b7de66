"""Keeping known secret values out of logs and results."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote, quote_plus

REDACTED = "[redacted]"

SHORTEST = 4
"""Shorter values are left alone: they would blot out half of every text and protect nothing."""


SHORTEST_INNER = 6
"""As many characters of Base64 a secret inside a longer text must come to, alone, before they count as it."""


class Redactor:
    """Replaces secret values, plain or in the forms they travel in: JSON text, URLs, Base64 and inside it."""

    def __init__(self, values: Iterable[str]) -> None:
        self._values = frozenset(value for value in values if len(value) >= SHORTEST)
        forms = {form for value in self._values for form in _forms(value) if len(form) >= SHORTEST}
        self._longest_first = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, self._longest_first))) if forms else None

    def text(self, text: str) -> str:
        """The text without the secrets."""
        # Most texts hold none, which a plain search sees several times sooner.
        if self._pattern is None or not any(form in text for form in self._longest_first):
            return text
        return self._pattern.sub(REDACTED, text)

    def value(self, value: Any) -> Any:
        """A JSON value without the secrets, keys included; a new one, the given one is not changed."""
        if self._pattern is None:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(key)): self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        if isinstance(value, int | float) and not isinstance(value, bool) and str(value) in self._values:
            return REDACTED
        return value


def _forms(value: str) -> Iterable[str]:
    yield value
    # Keys are pasted with line ends, and used without.
    for written in {value, value.strip()}:
        raw = written.encode("utf-8", "surrogatepass")
        yield written
        yield json.dumps(written, ensure_ascii=False)[1:-1]
        yield json.dumps(written)[1:-1]
        yield quote(raw, safe="")
        # As encodeURIComponent writes it.
        yield quote(raw, safe="!'()*")
        yield quote_plus(raw)
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(raw).decode().rstrip("=")
            yield from (form for form in _inside(raw, encode) if len(form) >= SHORTEST_INNER)


def _inside(raw: bytes, encode: Callable[[bytes], bytes]) -> Iterable[str]:
    """The characters of Base64 that ``raw`` alone decides inside a longer text, such as Basic authentication's."""
    for before in range(3):
        text = encode(b"\0" * before + raw).decode()
        whole = (before + len(raw)) * 8 // 6
        yield text[-(-before * 8 // 6) : whole]
