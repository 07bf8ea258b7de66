"""Parsing of all five expression forms. Results are cached by text and hold no request data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar

from shared.store.embedded.expressions import conditions as c
from shared.store.embedded.expressions import updates as u
from shared.store.embedded.expressions.operands import Operand, PathOperand, SizeOperand, ValueOperand
from shared.store.embedded.expressions.scope import Part, Path, Scope
from shared.store.embedded.expressions.tokens import Tokens
from shared.store.embedded.rejection import invalid

T = TypeVar("T")

_LIMIT = 4096
_FUNCTIONS = {"attribute_exists": 1, "attribute_not_exists": 1, "attribute_type": 2, "begins_with": 2, "contains": 2}
_COMPARISONS = ("=", "<>", "<", "<=", ">", ">=")


@dataclass(frozen=True, slots=True)
class Parsed(Generic[T]):
    """A parsed expression and every name and placeholder it mentions."""

    label: str
    root: T
    mentioned: frozenset[str]

    def bound(self, scope: Scope) -> T:
        """The root, once the scope has been checked to define what it mentions."""
        scope.bind(self.label, sorted(self.mentioned))
        return self.root


@lru_cache(maxsize=2048)
def parse_condition(label: str, text: str) -> Parsed[c.Condition]:
    """A condition, filter or key condition expression; ``label`` is its parameter name, used in errors."""
    tokens = _tokens(label, text)
    root = _disjunction(tokens)
    _end(tokens)
    return Parsed(label, root, frozenset(tokens.mentioned))


@lru_cache(maxsize=2048)
def parse_update(text: str) -> Parsed[u.Update]:
    """An update expression."""
    tokens = _tokens("UpdateExpression", text)
    sections: dict[str, tuple[u.Action, ...]] = {}
    while tokens.peek().kind != "end":
        if not tokens.is_word("SET", "REMOVE", "ADD", "DELETE"):
            tokens.unexpected()
        section = tokens.take().text.upper()
        if section in sections:
            invalid(f'Invalid UpdateExpression: The "{section}" section can only be used once in an update expression;')
        sections[section] = _actions(tokens, section)
    return Parsed("UpdateExpression", u.Update(tuple(sections.values())), frozenset(tokens.mentioned))


@lru_cache(maxsize=512)
def parse_projection(text: str) -> Parsed[tuple[Path, ...]]:
    """A projection expression: document paths."""
    tokens = _tokens("ProjectionExpression", text)
    paths = [_path(tokens).parts]
    while tokens.skip_mark(","):
        paths.append(_path(tokens).parts)
    _end(tokens)
    return Parsed("ProjectionExpression", tuple(paths), frozenset(tokens.mentioned))


def _tokens(label: str, text: str) -> Tokens:
    if not text.strip():
        invalid(f"Invalid {label}: The expression can not be empty;")
    if len(text.encode()) > _LIMIT:
        invalid(f"Invalid {label}: Expression size has exceeded the maximum allowed size;")
    return Tokens(label, text)


def _end(tokens: Tokens) -> None:
    if tokens.peek().kind != "end":
        tokens.unexpected()


def _disjunction(tokens: Tokens) -> c.Condition:
    left = _conjunction(tokens)
    while tokens.skip_word("OR"):
        left = c.Or(left, _conjunction(tokens))
    return left


def _conjunction(tokens: Tokens) -> c.Condition:
    left = _negation(tokens)
    while tokens.skip_word("AND"):
        left = c.And(left, _negation(tokens))
    return left


def _negation(tokens: Tokens) -> c.Condition:
    if tokens.skip_word("NOT"):
        return c.Not(_negation(tokens))
    if tokens.skip_mark("("):
        if tokens.is_wrapped():
            invalid(f"Invalid {tokens.label}: The expression has redundant parentheses;")
        inner = _disjunction(tokens)
        tokens.expect_mark(")")
        return inner
    token, after = tokens.peek(), tokens.peek(1)
    if token.kind == "name" and after.text == "(" and token.text != "size":
        return _function(tokens)
    return _comparison(tokens)


def _comparison(tokens: Tokens) -> c.Condition:
    left = _operand(tokens)
    if tokens.skip_word("BETWEEN"):
        low = _operand(tokens)
        if not tokens.skip_word("AND"):
            tokens.unexpected()
        return c.Between(left, low, _operand(tokens))
    if tokens.skip_word("IN"):
        tokens.expect_mark("(")
        candidates = [_operand(tokens)]
        while tokens.skip_mark(","):
            candidates.append(_operand(tokens))
        tokens.expect_mark(")")
        return c.In(left, tuple(candidates))
    if not tokens.is_mark(*_COMPARISONS):
        tokens.unexpected()
    return c.Comparison(tokens.take().text, left, _operand(tokens))


def _function(tokens: Tokens) -> c.Condition:
    name = tokens.take().text
    if name not in _FUNCTIONS:
        invalid(f"Invalid {tokens.label}: Invalid function name; function: {name}")
    tokens.expect_mark("(")
    arguments = [_operand(tokens)]
    while tokens.skip_mark(","):
        arguments.append(_operand(tokens))
    tokens.expect_mark(")")
    if len(arguments) != _FUNCTIONS[name]:
        invalid(
            f"Invalid {tokens.label}: Incorrect number of operands for operator or function; "
            f"operator or function: {name}, number of operands: {len(arguments)}"
        )
    if name == "begins_with":
        return c.BeginsWith(*arguments)
    if name == "contains":
        return c.Contains(*arguments)
    path = arguments[0]
    if not isinstance(path, PathOperand):
        invalid(f"Invalid {tokens.label}: Operator or function requires a document path; operator or function: {name}")
    if name == "attribute_type":
        return c.HasType(path, arguments[1])
    return c.Exists(path, wanted=name == "attribute_exists")


def _operand(tokens: Tokens) -> Operand:
    token = tokens.peek()
    if token.kind == "value":
        return _value(tokens)
    if token.text == "size" and tokens.peek(1).text == "(":
        tokens.take()
        tokens.expect_mark("(")
        if tokens.peek().kind == "value":
            invalid(
                f"Invalid {tokens.label}: Operator or function requires a document path; operator or function: size"
            )
        path = _path(tokens)
        tokens.expect_mark(")")
        return SizeOperand(path)
    if token.kind == "name" and tokens.peek(1).text == "(":
        invalid(
            f"Invalid {tokens.label}: The function is not allowed to be used this way in an expression; "
            f"function: {token.text}"
        )
    return _path(tokens)


def _value(tokens: Tokens) -> ValueOperand:
    token = tokens.take()
    tokens.mentioned.append(token.text)
    return ValueOperand(token.text)


def _path(tokens: Tokens) -> PathOperand:
    parts: list[Part] = [_name(tokens)]
    while True:
        if tokens.skip_mark("."):
            parts.append(_name(tokens))
        elif tokens.skip_mark("["):
            token = tokens.peek()
            if token.kind != "index":
                tokens.unexpected()
            parts.append(int(tokens.take().text))
            tokens.expect_mark("]")
        else:
            return PathOperand(tuple(parts))


def _name(tokens: Tokens) -> str:
    token = tokens.peek()
    if token.kind not in ("name", "alias"):
        tokens.unexpected()
    tokens.take()
    tokens.mentioned.append(token.text)
    return token.text


def _actions(tokens: Tokens, section: str) -> tuple[u.Action, ...]:
    actions = [_action(tokens, section)]
    while tokens.skip_mark(","):
        actions.append(_action(tokens, section))
    return tuple(actions)


def _action(tokens: Tokens, section: str) -> u.Action:
    path = _path(tokens).parts
    if section == "SET":
        tokens.expect_mark("=")
        return u.Set(path, _sum(tokens))
    if section == "REMOVE":
        return u.Remove(path)
    if tokens.peek().kind != "value":
        tokens.unexpected()
    value = _value(tokens)
    return u.Add(path, value) if section == "ADD" else u.Delete(path, value)


def _sum(tokens: Tokens) -> Operand:
    left = _term(tokens)
    if tokens.is_mark("+", "-"):
        operator = tokens.take().text
        return u.Arithmetic(operator, left, _term(tokens))
    return left


def _term(tokens: Tokens) -> Operand:
    token = tokens.peek()
    if token.kind == "name" and tokens.peek(1).text == "(":
        return _update_function(tokens)
    return _value(tokens) if token.kind == "value" else _path(tokens)


def _update_function(tokens: Tokens) -> Operand:
    name = tokens.take().text
    if name not in ("if_not_exists", "list_append"):
        invalid(f"Invalid UpdateExpression: Invalid function name; function: {name}")
    tokens.expect_mark("(")
    first = _term(tokens)
    arguments = [first]
    while tokens.skip_mark(","):
        arguments.append(_term(tokens))
    tokens.expect_mark(")")
    if len(arguments) != 2:
        invalid(
            "Invalid UpdateExpression: Incorrect number of operands for operator or function; "
            f"operator or function: {name}, number of operands: {len(arguments)}"
        )
    if name == "list_append":
        return u.ListAppend(first, arguments[1])
    if not isinstance(first, PathOperand):
        invalid(
            "Invalid UpdateExpression: Operator or function requires a document path; "
            "operator or function: if_not_exists"
        )
    return u.IfNotExists(first, arguments[1])
