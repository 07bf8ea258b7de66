"""Query and Scan: pages over a table or an index."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from shared.store.embedded import keyconditions
from shared.store.embedded.expressions.conditions import Condition
from shared.store.embedded.expressions.parser import parse_condition
from shared.store.embedded.expressions.projection import project
from shared.store.embedded.expressions.scope import Path, Scope
from shared.store.embedded.reads import PAGE_LIMIT, Answer, Request, projection_of
from shared.store.embedded.rejection import invalid
from shared.store.embedded.session import Session
from shared.store.embedded.tables import Index, Table
from shared.store.embedded.values import Item, canonical_item, item_size, kind_of, sortable

_SELECTS = ("ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES", "COUNT", "SPECIFIC_ATTRIBUTES")


@dataclass(slots=True)
class Page:
    """What Query and Scan share: filter, projection, limit, where to start."""

    request: Request
    scope: Scope
    filter: Condition | None
    paths: list[Path] | None
    limit: int | None
    start: Item | None
    count_only: bool

    @classmethod
    def of(cls, request: Request) -> Page:
        """Parse and validate the shared parameters."""
        scope = Scope.of(request, "FilterExpression", "ProjectionExpression", "KeyConditionExpression")
        filtering = None
        if request.get("FilterExpression") is not None:
            filtering = parse_condition("FilterExpression", request["FilterExpression"]).bound(scope)
            filtering.check("FilterExpression", scope)
        paths = projection_of(request, scope)
        limit = request.get("Limit")
        if limit is not None and limit < 1:
            invalid(
                f"1 validation error detected: Value '{limit}' at 'limit' failed to satisfy constraint: "
                "Member must have value greater than or equal to 1"
            )
        select = request.get("Select")
        if select is not None and select not in _SELECTS:
            invalid(f"1 validation error detected: Value '{select}' at 'select' failed to satisfy constraint")
        if (paths is not None and select not in (None, "SPECIFIC_ATTRIBUTES")) or (
            paths is None and select == "SPECIFIC_ATTRIBUTES"
        ):
            invalid(f"Cannot specify the ProjectionExpression when choosing to get {select}")
        start = request.get("ExclusiveStartKey")
        return cls(request, scope, filtering, paths, limit, canonical_item(start) if start else None, select == "COUNT")

    def open(self, session: Session) -> tuple[Table, Index | None]:
        """The table and index, once it is sure that the request may read them so."""
        table = session.table(self.request["TableName"])
        name = self.request.get("IndexName")
        index = table.index(name) if name is not None else None
        if index is not None and not index.local:
            if self.request.get("ConsistentRead"):
                invalid("Consistent reads are not supported on global secondary indexes")
            if self.request.get("Select") == "ALL_ATTRIBUTES" and index.projected is not None:
                invalid(
                    "One or more parameter values were invalid: Select type ALL_ATTRIBUTES is not supported for "
                    f"global secondary index {index.name} because its projection type is not ALL"
                )
        return table, index

    def answer(self, session: Session, table: Table, index: Index | None, rows: Iterator[Item]) -> Answer:
        """Collect one page."""
        items: list[Item] = []
        scanned = matched = size = 0
        last: Item | None = None
        previous: Item | None = None
        for item in rows:
            seen = item_size(item)
            if scanned and size + seen > PAGE_LIMIT:
                last = previous
                break
            size, scanned, previous = size + seen, scanned + 1, item
            if self.filter is None or self.filter.holds(item, self.scope):
                matched += 1
                if not self.count_only:
                    items.append(item if self.paths is None else project(item, self.paths))
            if scanned == self.limit:
                last = item
                break
        session.usage.read_bytes(size, consistent=bool(self.request.get("ConsistentRead")), items=scanned)
        answer: Answer = {"Count": matched, "ScannedCount": scanned}
        if not self.count_only:
            answer["Items"] = items
        if last is not None:
            answer["LastEvaluatedKey"] = _position(table, index, last)
        return answer


def query(request: Request) -> Callable[[Session], Answer]:
    """One partition of a table or index, in range key order."""
    page = Page.of(request)
    forward = request.get("ScanIndexForward")
    direction, beyond = ("ASC", ">") if forward is None or forward else ("DESC", "<")

    def work(session: Session) -> Answer:
        table, index = page.open(session)
        first, second = (index.hash, index.range) if index else (table.hash, table.range)
        wanted = keyconditions.parse(request.get("KeyConditionExpression"), page.scope, first, second)
        page.scope.finish()
        _check_filter(page, first.name, second.name if second else None)
        conditions = [f"{'e.' if index else ''}sk {operator} ?" for operator, _ in wanted.bounds]
        arguments: list[Any] = [wanted.partition, *(bound for _, bound in wanted.bounds)]
        if page.start is not None:
            place = _start(table, index, page.start)
            if place[0] != wanted.partition:
                invalid("The provided starting key is outside query boundaries based on provided conditions")
            conditions.append(f"(e.sk, e.base_pk, e.base_sk) {beyond} (?, ?, ?)" if index else f"sk {beyond} ?")
            arguments += place[1:]
        where = "".join(f" AND {condition}" for condition in conditions)
        if index is None:
            rows = session.table_rows(table, f"pk = ?{where} ORDER BY sk {direction}", arguments)
        else:
            order = ", ".join(f"e.{column} {direction}" for column in ("sk", "base_pk", "base_sk"))
            rows = session.index_rows(index, f"e.pk = ?{where} ORDER BY {order}", arguments)
        return page.answer(session, table, index, rows)

    return work


def scan(request: Request) -> Callable[[Session], Answer]:
    """Every item of a table or index, or of one segment of it."""
    page = Page.of(request)
    page.scope.finish()
    segment, total = request.get("Segment"), request.get("TotalSegments")
    if (segment is None) != (total is None):
        invalid("The Segment and TotalSegments parameters must be given together")
    if segment is not None and total is not None and not 0 <= segment < total:
        invalid(
            "The Segment parameter is zero-based and must be less than parameter TotalSegments: "
            f"Segment: {segment} is not less than TotalSegments: {total}"
        )

    def work(session: Session) -> Answer:
        table, index = page.open(session)
        start = _start(table, index, page.start) if page.start is not None else None
        if index is None:
            where = "(pk, sk) > (?, ?)" if start else "1"
            rows = session.table_rows(table, f"{where} ORDER BY pk, sk", list(start or ()))
        else:
            where = "(e.pk, e.sk, e.base_pk, e.base_sk) > (?, ?, ?, ?)" if start else "1"
            order = "e.pk, e.sk, e.base_pk, e.base_sk"
            rows = session.index_rows(index, f"{where} ORDER BY {order}", list(start or ()))
        if total is not None and total > 1:
            attribute = (index.hash if index else table.hash).name
            rows = (item for item in rows if zlib.crc32(sortable(item[attribute])) % total == segment)
        return page.answer(session, table, index, rows)

    return work


def _check_filter(page: Page, first: str, second: str | None) -> None:
    text = page.request.get("FilterExpression")
    if text is None:
        return
    names = {page.scope.names.get(word, word) for word in parse_condition("FilterExpression", text).mentioned}
    for key in (first, second):
        if key in names:
            invalid(f"Filter Expression can only contain non-primary key attributes: Primary key attribute: {key}")


def _position(table: Table, index: Index | None, item: Item) -> Item:
    names = list(table.key_names)
    if index is not None:
        names += [key.name for key in (index.hash, index.range) if key is not None and key.name not in names]
    return {name: item[name] for name in names}


def _start(table: Table, index: Index | None, given: Item) -> tuple[bytes, ...]:
    """The row after which a page starts: its key bytes, index keys first."""
    keys = [table.hash, table.range]
    if index is not None:
        keys = [index.hash, index.range, *keys]
    names = {key.name for key in keys if key is not None}
    if set(given) != names or any(key is not None and kind_of(given[key.name]) != key.kind for key in keys):
        invalid("The provided starting key is invalid")
    return tuple(b"" if key is None else sortable(given[key.name]) for key in keys)
