"""What rows are read with: their columns, and how one table is joined with another."""

from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, and_, literal_column, select

from app.store.tables import api_keys


def columns(row: Any, table: FromClause) -> Select[Any]:
    """The columns of a row, which are all of one table."""
    return select(*(table.c[name] for name in row._fields))


def with_api_key(row: Any, table: FromClause, *, optional: bool = False) -> Select[Any]:
    """The columns of a row, with the name of the API key that was used."""
    return select(
        *(
            api_keys.c.name.label(name) if name == "api_key_name" else table.c[name]
            for name in row._fields
        )
    ).join_from(table, api_keys, alike(api_keys, table, "api_key_id"), isouter=optional)


def alike(one: FromClause, other: FromClause, *names: str, **others: str) -> ColumnElement[bool]:
    """Whether two rows are of one organization and agree in these columns.

    In those that have the same name in both, and then in others, each with its name in the other.
    """
    pairs = {"organization_id": "organization_id", **{name: name for name in names}, **others}
    return and_(*(one.c[here] == other.c[there] for here, there in pairs.items()))


def above_zero(column: ColumnElement[Any]) -> ColumnElement[bool]:
    """Holds for all rows, and lets an index serve that has it as its condition."""
    return column > literal_column("0")
