"""Two ways to read rows: by key (`Lookup`) and by page (`Listing`), each one statement for many.

Statements are built from the tables once for each shape (order, direction, which conditions) and
kept as text. Keyset paging: a page starts behind the key of the row before it, so rows inserted
meanwhile neither repeat nor hide others, and the hundredth page costs what the first one does.
"""

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    FromClause,
    Select,
    Text,
    Uuid,
    and_,
    any_,
    bindparam,
    exists,
    func,
    literal_column,
    or_,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from app.store.database import Snapshot, sql
from app.store.tables import ledgers

R = TypeVar("R", bound=tuple[Any, ...])

Operator = Literal["any", "gte", "gt", "lte", "lt", "contains", "present", "absent"]


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a filter on a field of a listing.

    `any` takes a tuple; `contains` the text of a JSON object; `present` and `absent` no value.
    """

    field: str
    operator: Operator
    value: Any = None


@dataclass(frozen=True, slots=True)
class Page:
    """Which rows to read: at most `limit`, behind the row whose order key is `after`."""

    order: str
    descending: bool
    limit: int
    after: tuple[Any, ...] | None = None
    conditions: tuple[Condition, ...] = ()


def of_organization(table: FromClause) -> ColumnElement[bool]:
    """The condition that stands in every statement."""
    return table.c.organization_id == bindparam("organization", type_=Uuid)


def visible(table: FromClause) -> ColumnElement[bool]:
    """Of the organization, in a ledger of the key's mode, and one of the key's if it is limited."""
    if table is ledgers:
        return and_(of_organization(table), _seen(table))
    home = ledgers.alias("home")
    return and_(
        of_organization(table),
        exists().where(of_organization(home), home.c.ledger_id == table.c.ledger_id, _seen(home)),
    )


def _seen(book: FromClause) -> ColumnElement[bool]:
    return and_(
        book.c.mode == bindparam("mode", type_=Text),
        or_(
            bindparam("restricted", type_=Boolean).is_(False),
            book.c.ledger_id == any_(bindparam("ledgers", type_=ARRAY(Uuid))),
        ),
    )


@dataclass(frozen=True, eq=False)
class Lookup(Generic[R]):
    """Rows by key: of each key in turn, in the order of `order`.

    `source` is the table whose organization and ledger decide on visibility. `compared` names a
    column of the key that rows are compared by but not looked up by (see `tables.py`).
    """

    row: type[R]
    select: Select[Any]
    source: FromClause
    key: tuple[ColumnElement[Any], ...]
    order: tuple[ColumnElement[Any], ...] = ()
    compared: str | None = None

    @cached_property
    def statement(self) -> str:
        named = [(f"key{number}", column) for number, column in enumerate(self.key)]
        wanted = (
            func.unnest(*(bindparam(name, type_=ARRAY(column.type)) for name, column in named))
            .table_valued(*(Column(name, column.type) for name, column in named))
            .render_derived(name="wanted")
        )
        matches = (
            column.is_not_distinct_from(wanted.c[name])
            if column.key == self.compared
            else column == wanted.c[name]
            for name, column in named
        )
        return sql(
            self.select.add_columns(*wanted.c)
            .join(wanted, and_(*matches))
            .where(visible(self.source))
            .order_by(*self.order)
        )

    async def fetch(
        self, snapshot: Snapshot, keys: Iterable[tuple[Any, ...]]
    ) -> Mapping[tuple[Any, ...], Sequence[R]]:
        """All rows of the keys, by key; a key without rows is absent."""
        distinct = list(dict.fromkeys(keys))
        width = len(self.key)
        found: dict[tuple[Any, ...], list[R]] = {}
        for values in await snapshot.rows(
            self.statement,
            {f"key{number}": [key[number] for key in distinct] for number in range(width)},
        ):
            found.setdefault(values[-width:], []).append(self.row._make(values[:-width]))  # type: ignore[attr-defined]
        return found


@dataclass(frozen=True, eq=False)
class Listing(Generic[R]):
    """Rows by page, of each parent in turn.

    `belongs` says when a row belongs to a parent; `fields` are what conditions may name; `orders`
    are the unique keys by which a page may be ordered.
    """

    row: type[R]
    select: Select[Any]
    belongs: Callable[[ColumnElement[UUID]], ColumnElement[bool]]
    fields: Mapping[str, ColumnElement[Any]]
    orders: Mapping[str, tuple[str, ...]]
    columns: Mapping[str, ColumnElement[Any]] = field(init=False)

    def __post_init__(self) -> None:
        columns = {column.key: column for column in self.select.selected_columns}
        object.__setattr__(self, "columns", columns)

    def key_of(self, order: str, row: R) -> tuple[Any, ...]:
        """The row's place in an order."""
        return tuple(getattr(row, name) for name in self.orders[order])

    def key_types(self, order: str) -> tuple[type, ...]:
        """The Python types of such a place."""
        return tuple(self.columns[name].type.python_type for name in self.orders[order])

    async def fetch(
        self, snapshot: Snapshot, parents: Iterable[UUID], page: Page
    ) -> Mapping[UUID, Sequence[R]]:
        """One page of each parent; a parent without rows is absent."""
        shape = tuple((c.field, c.operator) for c in page.conditions)
        statement = _page_statement(
            self, page.order, page.descending, page.after is not None, shape
        )
        parameters: dict[str, Any] = {"parents": list(dict.fromkeys(parents)), "rows": page.limit}
        parameters |= {f"after{n}": value for n, value in enumerate(page.after or ())}
        parameters |= {
            f"value{n}": list(c.value) if c.operator == "any" else c.value
            for n, c in enumerate(page.conditions)
        }
        found: dict[UUID, list[R]] = {}
        for parent, *values in await snapshot.rows(statement, parameters):
            found.setdefault(parent, []).append(self.row._make(values))  # type: ignore[attr-defined]
        return found


@lru_cache(maxsize=1024)
def _page_statement(
    listing: Listing[Any],
    order: str,
    descending: bool,
    after: bool,
    shape: tuple[tuple[str, Operator], ...],
) -> str:
    parents = (
        func.unnest(bindparam("parents", type_=ARRAY(Uuid)))
        .table_valued(Column("id", Uuid))
        .render_derived(name="parents")
    )
    key = [listing.columns[name] for name in listing.orders[order]]
    statement = listing.select.where(
        listing.belongs(parents.c.id),
        *(_condition(listing, n, name, operation) for n, (name, operation) in enumerate(shape)),
    )
    if after:
        place = tuple_(*(bindparam(f"after{n}", type_=c.type) for n, c in enumerate(key)))
        statement = statement.where(tuple_(*key) < place if descending else tuple_(*key) > place)
    page = (
        statement.order_by(*(column.desc() if descending else column for column in key))
        .limit(bindparam("rows"))
        .lateral("page")
    )
    outer = [page.c[name] for name in listing.orders[order]]
    return sql(
        select(parents.c.id, *page.c)
        .select_from(parents.join(page, true()))
        .order_by(*(column.desc() if descending else column for column in outer))
    )


_COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "gte": operator.ge,
    "gt": operator.gt,
    "lte": operator.le,
    "lt": operator.lt,
}


def _condition(
    listing: Listing[Any], number: int, name: str, operation: Operator
) -> ColumnElement[bool]:
    column = listing.fields[name]
    value = f"value{number}"
    if operation == "present":
        return column.is_not(None)
    if operation == "absent":
        return column.is_(None)
    if operation == "any":
        return column == any_(bindparam(value, type_=ARRAY(column.type)))
    if operation == "contains":
        # The second half lets the partial index on metadata serve the first.
        holds = column.op("@>")(bindparam(value, type_=JSONB))
        return and_(holds, column.op("<>")(literal_column("'{}'::jsonb")))
    compared: ColumnElement[bool] = _COMPARISONS[operation](
        column, bindparam(value, type_=column.type)
    )
    return compared
