"""Two ways to read rows: by key (`Lookup`) and by page (`Listing`), each one statement for many.

Statements are built from the tables once for each shape (order, direction, which conditions) and
kept as text. Keyset paging: a page starts behind the key of the row before it, so rows inserted
meanwhile neither repeat nor hide others, and the hundredth page costs what the first one does.

What a look-up costs does not hang on statistics. A young table has none, and then the planner takes
all of an account for as few rows as one key of it, and may begin a join at the wrong end (seen: a
page of a hundred entries in eleven seconds). So each key is looked up by itself, in a LATERAL with
OFFSET 0, which stays as it is written; a ledger is looked at where its row is found, no sooner; and
what leads from one key to another (`Link`) is a step of its own.
"""

import operator
from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, Generic, Literal, TypeVar, cast
from uuid import UUID

from sqlalchemy import (
    BigInteger,
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
    func,
    literal_column,
    or_,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import TypeEngine

from app.store.database import Snapshot, sql
from app.store.tables import ledgers

R = TypeVar("R", bound=tuple[Any, ...])

Operator = Literal["any", "gte", "gt", "lte", "lt", "contains", "present", "absent"]

Names = frozenset[str] | None
"""Names of the columns that are to be read; None is all. What is not read, rows do not have."""


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


AS_WRITTEN: ColumnElement[int] = literal_column("0", BigInteger)
"""The offset of a subquery that the planner shall not join with what is around it."""

parents = (
    func.unnest(bindparam("parents", type_=ARRAY(Uuid)))
    .table_valued(Column("id", Uuid), with_ordinality="place")
    .render_derived(name="parents")
)
"""Whose pages are read, for what a listing says of its parent."""


def of_organization(table: FromClause) -> ColumnElement[bool]:
    """The condition that stands in every statement."""
    return table.c.organization_id == bindparam("organization", type_=Uuid)


def visible(table: FromClause) -> ColumnElement[bool]:
    """Of the organization, in a ledger of the key's mode, and one of the key's if it is limited."""
    if table is ledgers:
        return and_(of_organization(table), _seen(table))
    home = ledgers.alias("home")
    seen = select(home.c.ledger_id).where(
        of_organization(home), home.c.ledger_id == table.c.ledger_id, _seen(home)
    )
    return and_(of_organization(table), seen.offset(AS_WRITTEN).correlate(table).exists())


def _seen(book: FromClause) -> ColumnElement[bool]:
    return and_(
        book.c.mode == bindparam("mode", type_=Text),
        or_(
            bindparam("restricted", type_=Boolean).is_(False),
            book.c.ledger_id == any_(bindparam("ledgers", type_=ARRAY(Uuid))),
        ),
    )


@dataclass(frozen=True, eq=False)
class Link:
    """A table that leads to the keys of a look-up: from its columns `by`, to its columns `to`."""

    by: tuple[ColumnElement[Any], ...]
    to: tuple[ColumnElement[Any], ...]
    condition: ColumnElement[bool] = field(default_factory=true)


@dataclass(frozen=True, eq=False)
class Lookup(Generic[R]):
    """Rows by key: of each key in turn, in the order of `order`, which is of their columns.

    `source` is the table whose organization and ledger decide on visibility. `compared` names a
    column of the key that rows are compared by but not looked up by (see `tables`). With a
    `link` it is given that one's key instead.
    """

    row: type[R]
    select: Select[Any]
    source: FromClause
    key: tuple[ColumnElement[Any], ...]
    order: tuple[ColumnElement[Any], ...] = ()
    compared: str | None = None
    link: Link | None = None

    @property
    def given(self) -> tuple[ColumnElement[Any], ...]:
        """The columns of the key that one looks up by."""
        return self.key if self.link is None else self.link.by

    async def fetch(
        self, snapshot: Snapshot, keys: Sequence[tuple[Any, ...]], names: Names = None
    ) -> Sequence[Sequence[R]]:
        """All rows of each key."""
        rows = await snapshot.rows(
            key_statement(self, names),
            {
                f"key{place}": _parameter(column.type, [key[place] for key in keys])
                for place, column in enumerate(self.given)
            },
        )
        return _by_place(len(keys), rows, _maker(self.row, names))


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
        self, snapshot: Snapshot, parents: Sequence[UUID], page: Page, names: Names = None
    ) -> Sequence[Sequence[R]]:
        """One page of each parent.

        Rows have the columns of the order, whether they are named or not.
        """
        if names is not None:
            names = names.union(self.orders[page.order])
        shape = tuple((c.field, c.operator) for c in page.conditions)
        statement = page_statement(
            self, page.order, page.descending, page.after is not None, shape, names
        )
        parameters: dict[str, Any] = {
            "parents": _array(identity.hex for identity in parents),
            "rows": page.limit,
        }
        parameters |= {f"after{n}": value for n, value in enumerate(page.after or ())}
        parameters |= {
            f"value{n}": list(c.value) if c.operator == "any" else c.value
            for n, c in enumerate(page.conditions)
        }
        rows = await snapshot.rows(statement, parameters)
        return _by_place(len(parents), rows, _maker(self.row, names))


def _by_place(
    places: int, rows: Sequence[tuple[Any, ...]], make: Callable[[tuple[Any, ...]], R]
) -> Sequence[Sequence[R]]:
    """The rows of each key; the last column is the place of the row's key, from 1."""
    found: list[list[R]] = [[] for _ in range(places)]
    for values in rows:
        found[values[-1] - 1].append(make(values[:-1]))
    return found


@lru_cache(maxsize=1024)
def _maker(row: type[R], names: Names) -> Callable[[tuple[Any, ...]], R]:
    """What makes a row of the columns named. `_make` would count them again for each row."""
    if names is None:
        return partial(tuple.__new__, row)
    narrow: Any = namedtuple(row.__name__, _in_order(row, names))  # type: ignore[misc]  # noqa: PYI024
    return cast("Callable[[tuple[Any, ...]], R]", partial(tuple.__new__, narrow))


def _in_order(row: Any, names: frozenset[str]) -> list[str]:
    return [name for name in row._fields if name in names]


def _narrowed(whole: Select[Any], row: Any, names: Names) -> Select[Any]:
    if names is None:
        return whole
    columns = {column.key: column for column in whole.selected_columns}
    chosen = [columns[name] for name in _in_order(row, names)]
    return whole.with_only_columns(*chosen, maintain_column_froms=True)


def _parameter(kind: TypeEngine[Any], values: Sequence[Any]) -> Any:
    """Values of one column as an array; psycopg looks at each element several times."""
    if isinstance(kind, Uuid):
        return _array(value.hex for value in values)
    return _array(map(str, values)) if isinstance(kind, BigInteger) else values


def _array(elements: Iterable[str]) -> str:
    return "{" + ",".join(elements) + "}"


@lru_cache(maxsize=1024)
def key_statement(lookup: Lookup[Any], names: Names = None) -> str:
    given = {f"key{place}": column.type for place, column in enumerate(lookup.given)}
    wanted = (
        func.unnest(*(bindparam(name, type_=ARRAY(kind)) for name, kind in given.items()))
        .table_valued(
            *(Column(name, kind) for name, kind in given.items()), with_ordinality="place"
        )
        .render_derived(name="wanted")
    )
    rows: FromClause = wanted
    key: list[ColumnElement[Any]] = [wanted.c[name] for name in given]
    if lookup.link is not None:
        link = _linked(lookup.link, key)
        rows = wanted.join(link, true())
        key = [link.c[str(column.key)] for column in lookup.link.to]
    matches = (
        column.is_not_distinct_from(value) if column.key == lookup.compared else column == value
        for column, value in zip(lookup.key, key, strict=True)
    )
    order = [str(column.key) for column in lookup.order]
    found = (
        _narrowed(lookup.select, lookup.row, None if names is None else names.union(order))
        .where(*matches, visible(lookup.source))
        .offset(AS_WRITTEN)
        .lateral("found")
    )
    columns = [column for column in found.c if names is None or column.key in names]
    return sql(
        select(*columns, wanted.c.place)
        .select_from(rows.join(found, true()))
        .order_by(*(found.c[name] for name in order))
    )


def _linked(link: Link, key: Sequence[ColumnElement[Any]]) -> Any:
    """Where a link leads from one key."""
    table = link.to[0].table
    same = (column == value for column, value in zip(link.by, key, strict=True))
    return (
        select(*link.to)
        .where(of_organization(table), *same, link.condition)
        .offset(AS_WRITTEN)
        .lateral("link")
    )


@lru_cache(maxsize=1024)
def page_statement(
    listing: Listing[Any],
    order: str,
    descending: bool,
    after: bool,
    shape: tuple[tuple[str, Operator], ...],
    names: Names = None,
) -> str:
    key = [listing.columns[name] for name in listing.orders[order]]
    statement = _narrowed(listing.select, listing.row, names).where(
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
        select(*page.c, parents.c.place)
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
