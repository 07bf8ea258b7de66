"""Lexical analysis of expressions."""

from __future__ import annotations

import re
from typing import NamedTuple, NoReturn

from shared.store.embedded.rejection import invalid

_PATTERN = re.compile(
    r"\s*(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<alias>#[A-Za-z0-9_]+)|(?P<value>:[A-Za-z0-9_]+)"
    r"|(?P<index>[0-9]+)|(?P<mark><>|<=|>=|[=<>()\[\],.+\-]))"
)

_OPERATORS = frozenset(("AND", "OR", "NOT", "BETWEEN", "IN", "=", "<>", "<", "<=", ">", ">=", "(", "+", "-"))
_MOST_OPERATORS = 300


class Token(NamedTuple):
    """``kind`` is name, alias, value, index, mark or end."""

    kind: str
    text: str


class Tokens:
    """A cursor over the tokens of one expression; ``label`` names the expression in errors."""

    def __init__(self, label: str, text: str) -> None:
        self.label = label
        self.mentioned: list[str] = []
        self._tokens = self._split(text)
        self._at = 0

    def _split(self, text: str) -> list[Token]:
        tokens, at, end = [], 0, len(text.rstrip())
        while at < end:
            match = _PATTERN.match(text, at)
            if match is None:
                self._refuse(text[at:].strip()[:1], text[max(0, at - 5) : at + 6].strip())
            tokens.append(Token(match.lastgroup or "", match.group(match.lastgroup or 0)))
            at = match.end()
        operators = sum(1 for token in tokens if token.text.upper() in _OPERATORS)
        if operators > _MOST_OPERATORS:
            invalid(
                f"Invalid {self.label}: The expression contains too many operators; "
                f"the max count is {_MOST_OPERATORS}; operator count: {operators}"
            )
        return tokens

    def peek(self, ahead: int = 0) -> Token:
        """A token to come, not consumed."""
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else Token("end", "<EOF>")

    def take(self) -> Token:
        """Consume the next token."""
        token = self.peek()
        self._at += 1
        return token

    def is_word(self, *words: str) -> bool:
        """Whether the next token is one of these keywords, in any case."""
        token = self.peek()
        return token.kind == "name" and token.text.upper() in words

    def is_mark(self, *marks: str) -> bool:
        """Whether the next token is one of these marks."""
        token = self.peek()
        return token.kind == "mark" and token.text in marks

    def skip_word(self, *words: str) -> bool:
        """Consume the keyword if it is next."""
        found = self.is_word(*words)
        self._at += found
        return found

    def skip_mark(self, *marks: str) -> bool:
        """Consume the mark if it is next."""
        found = self.is_mark(*marks)
        self._at += found
        return found

    def is_wrapped(self) -> bool:
        """Whether a parenthesis opens here and another closes right after its end, as in ``((a = :b))``."""
        depth, ahead = 0, 0
        while self.is_mark("("):
            token = self.peek(ahead)
            depth += (token.text == "(") - (token.text == ")")
            ahead += 1
            if depth == 0:
                return self.peek(ahead).text == ")"
            if token.kind == "end":
                break
        return False

    def expect_mark(self, mark: str) -> None:
        """Consume the mark or refuse."""
        if not self.skip_mark(mark):
            self.unexpected()

    def unexpected(self) -> NoReturn:
        """Refuse the next token."""
        near = " ".join(token.text for token in self._tokens[max(0, self._at - 1) : self._at + 2])
        self._refuse(self.peek().text, near)

    def _refuse(self, token: str, near: str) -> NoReturn:
        invalid(f'Invalid {self.label}: Syntax error; token: "{token}", near: "{near}"')
