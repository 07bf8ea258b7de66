"""GetItem, BatchGetItem and TransactGetItems."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shared.store.embedded.expressions.parser import parse_projection
from shared.store.embedded.expressions.projection import project
from shared.store.embedded.expressions.scope import Path, Scope
from shared.store.embedded.rejection import invalid
from shared.store.embedded.session import Session
from shared.store.embedded.values import Item, canonical_item

Request = dict[str, Any]
Answer = dict[str, Any]

PAGE_LIMIT = 1024 * 1024
BATCH_LIMIT = 16 * 1024 * 1024


def projection_of(request: Request, scope: Scope) -> list[Path] | None:
    """The document paths a request asks for, or None for everything."""
    text = request.get("ProjectionExpression")
    if text is None:
        return None
    paths = [scope.path(path) for path in parse_projection(text).bound(scope)]
    for at, one in enumerate(paths):
        for two in paths[at + 1 :]:
            depth = min(len(one), len(two))
            if one[:depth] == two[:depth]:
                invalid(
                    "Invalid ProjectionExpression: Two document paths overlap with each other; must remove or rewrite "
                    "one of these paths"
                )
    return paths


def single(request: Request) -> Callable[[Session], Answer]:
    """GetItem."""
    scope = Scope.of(request, "ProjectionExpression")
    paths = projection_of(request, scope)
    scope.finish()
    given = canonical_item(request["Key"])
    consistent = bool(request.get("ConsistentRead"))

    def work(session: Session) -> Answer:
        table = session.table(request["TableName"])
        found = session.get(table, table.key_of(given))
        session.usage.read_bytes(found.size if found else 0, consistent=consistent)
        if found is None:
            return {}
        return {"Item": found.item if paths is None else project(found.item, paths)}

    return work


def batch(request: Request) -> Callable[[Session], Answer]:
    """BatchGetItem: up to 100 keys and 16 MB; what does not fit comes back unprocessed."""
    wanted: list[tuple[str, list[Item], list[Path] | None, Request]] = []
    for name, entry in request["RequestItems"].items():
        scope = Scope.of(entry, "ProjectionExpression")
        paths = projection_of(entry, scope)
        scope.finish()
        wanted.append((name, [canonical_item(key) for key in entry["Keys"]], paths, entry))
    if sum(len(keys) for _, keys, _, _ in wanted) > 100:
        invalid("Too many items requested for the BatchGetItem call")
    if not all(keys for _, keys, _, _ in wanted) or not wanted:
        invalid("The batch get request list for a table cannot be null or empty")

    def work(session: Session) -> Answer:
        answers: dict[str, list[Item]] = {}
        unprocessed: dict[str, Any] = {}
        room = BATCH_LIMIT
        for name, keys, paths, entry in wanted:
            table = session.table(name)
            places = [table.key_of(key) for key in keys]
            if len(set(places)) != len(places):
                invalid("Provided list of item keys contains duplicates")
            found_here = answers.setdefault(name, [])
            for key, place in zip(keys, places, strict=True):
                found = session.get(table, place)
                size = found.size if found else 0
                if size > room:
                    unprocessed.setdefault(name, {**entry, "Keys": []})["Keys"].append(key)
                    continue
                room -= size
                session.usage.read_bytes(size, consistent=bool(entry.get("ConsistentRead")))
                if found is not None:
                    found_here.append(found.item if paths is None else project(found.item, paths))
        return {"Responses": answers, "UnprocessedKeys": unprocessed}

    return work


def transaction(request: Request) -> Callable[[Session], Answer]:
    """TransactGetItems: up to 100 items as they are at one moment."""
    actions = request["TransactItems"]
    if not 1 <= len(actions) <= 100:
        invalid(
            "1 validation error detected: Value at 'transactItems' failed to satisfy constraint: "
            f"Member must have length {'less' if actions else 'greater'} than or equal to {100 if actions else 1}"
        )
    steps: list[tuple[str, Item, list[Path] | None]] = []
    for action in actions:
        get = action["Get"]
        scope = Scope.of(get, "ProjectionExpression")
        paths = projection_of(get, scope)
        scope.finish()
        steps.append((get["TableName"], canonical_item(get["Key"]), paths))

    def work(session: Session) -> Answer:
        session.usage.doubled = True
        places = [(session.table(name), given, paths) for name, given, paths in steps]
        keys = [(table, table.key_of(given)) for table, given, _ in places]
        if len({(table.number, key) for table, key in keys}) != len(keys):
            invalid("Transaction request cannot include multiple operations on one item")
        responses: list[dict[str, Item]] = []
        for (table, key), (_, _, paths) in zip(keys, places, strict=True):
            found = session.get(table, key)
            session.usage.read_bytes(found.size if found else 0, consistent=True)
            if found is None:
                responses.append({})
            else:
                responses.append({"Item": found.item if paths is None else project(found.item, paths)})
        return {"Responses": responses}

    return work
