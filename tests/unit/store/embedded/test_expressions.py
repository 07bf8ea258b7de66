"""Expressions against a plain model of what they mean."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.store.embedded.codec import decode, encode
from shared.store.embedded.expressions.parser import parse_condition, parse_update
from shared.store.embedded.expressions.scope import Scope
from shared.store.embedded.values import canonical, canonical_item, item_size
from tests.conformance.plain import av

NAMES = ("a", "c", "d")
scalars = st.one_of(
    st.integers(-3, 3), st.sampled_from(["", "x", "xy", "y"]), st.booleans(), st.none(), st.binary(max_size=2)
)
documents = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("xyz"), inner, max_size=3)),
)
items = st.dictionaries(st.sampled_from(NAMES), documents, max_size=3)
Tree = tuple[Any, ...]


def _leaf() -> st.SearchStrategy[Tree]:
    name = st.sampled_from(NAMES)
    return st.one_of(
        st.tuples(st.sampled_from(["=", "<>"]), name, documents),
        st.tuples(
            st.sampled_from(["<", "<=", ">", ">="]), name, st.one_of(st.integers(-3, 3), st.text("xy", max_size=2))
        ),
        st.tuples(st.sampled_from(["attribute_exists", "attribute_not_exists"]), name),
    )


trees = st.recursive(
    _leaf(),
    lambda inner: st.one_of(st.tuples(st.just("NOT"), inner), st.tuples(st.sampled_from(["AND", "OR"]), inner, inner)),
    max_leaves=6,
)


def _same(left: Any, right: Any) -> bool:
    return bool(canonical(av(left)) == canonical(av(right)))


def _model(tree: Tree, item: dict[str, Any]) -> bool:
    """What the condition means, said in Python."""
    operator = tree[0]
    if operator == "NOT":
        return not _model(tree[1], item)
    if operator in ("AND", "OR"):
        left, right = _model(tree[1], item), _model(tree[2], item)
        return (left and right) if operator == "AND" else (left or right)
    present = tree[1] in item
    if operator.startswith("attribute"):
        return present is (operator == "attribute_exists")
    if operator == "<>":
        return not present or not _same(item[tree[1]], tree[2])
    if not present:
        return False
    value, other = item[tree[1]], tree[2]
    if operator == "=":
        return _same(value, other)
    if type(value) is not type(other):
        return False
    return bool({"<": value < other, "<=": value <= other, ">": value > other, ">=": value >= other}[operator])


def _text(tree: Tree, values: dict[str, Any]) -> str:
    operator = tree[0]
    if operator == "NOT":
        return f"(NOT {_text(tree[1], values)})"
    if operator in ("AND", "OR"):
        return f"({_text(tree[1], values)} {operator} {_text(tree[2], values)})"
    if operator.startswith("attribute"):
        return f"{operator}({tree[1]})"
    name = f":v{len(values)}"
    values[name] = av(tree[2])
    return f"{tree[1]} {operator} {name}"


@given(trees, items)
def test_conditions_mean_what_the_model_says(tree: Tree, item: dict[str, Any]) -> None:
    """A condition's truth is that of its plain reading, for any tree and any item."""
    values: dict[str, Any] = {}
    text = _text(tree, values)
    scope = Scope({}, {name: canonical(value) for name, value in values.items()})
    condition = parse_condition("ConditionExpression", text).bound(scope)
    stored = canonical_item({name: av(value) for name, value in item.items()})
    assert condition.holds(stored, scope) is _model(tree, item)


@given(items, st.dictionaries(st.sampled_from(NAMES), st.one_of(st.none(), documents), min_size=1, max_size=3))
def test_updates_leave_the_rest_alone(item: dict[str, Any], changes: dict[str, Any]) -> None:
    """SET and REMOVE change what they name, nothing else, and never the item they are given."""
    sets = {name: value for name, value in changes.items() if value is not None}
    removals = [name for name, value in changes.items() if value is None]
    parts = ["SET " + ", ".join(f"{name} = :{name}" for name in sets)] if sets else []
    parts += ["REMOVE " + ", ".join(removals)] if removals else []
    scope = Scope({}, {f":{name}": canonical(av(value)) for name, value in sets.items()})
    update = parse_update(" ".join(parts)).bound(scope)
    before = canonical_item({name: av(value) for name, value in item.items()})
    kept = canonical_item({name: av(value) for name, value in item.items()})
    after = update.apply(before, scope)
    expected = {name: value for name, value in (item | sets).items() if name not in removals}
    assert after == canonical_item({name: av(value) for name, value in expected.items()})
    assert before == kept


@given(items)
def test_items_survive_the_file(item: dict[str, Any]) -> None:
    """What is encoded is decoded, and sizes are positive."""
    stored = canonical_item({name: av(value) for name, value in item.items()})
    assert decode(*encode(stored)) == stored
    assert item_size(stored) >= len(stored)
