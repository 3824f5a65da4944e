"""What all tables are declared with: types of columns, and constraints."""

from typing import Any

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Numeric, Table
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlmodel import SQLModel

Moment = TIMESTAMP(timezone=True)
Amount = Numeric(37, 0)
Total = Numeric(60, 0)
"""Room for 10^24 entries of the largest amount."""

SQLModel.metadata.naming_convention = {
    "pk": "%(table_name)s_pkey",
    "ck": "%(table_name)s_%(constraint_name)s",
}


def one_of(column: str, members: Any) -> CheckConstraint:
    """A column that holds one of an enumeration's values."""
    values = ", ".join(f"'{member.value}'" for member in members)
    return CheckConstraint(f"{column} IN ({values})", name=column)


def foreign_key(
    name: str, table: str, *alike: str, use_alter: bool = False, **others: str
) -> ForeignKeyConstraint:
    """A reference to a row of the same organization.

    By columns that have the same name there, and then by others, each with its name there.
    """
    columns = {"organization_id": "organization_id", **{name: name for name in alike}, **others}
    return ForeignKeyConstraint(
        list(columns),
        [f"{table}.{column}" for column in columns.values()],
        name=name,
        use_alter=use_alter,
    )


def table_of(model: type[SQLModel]) -> Table:
    """The SQLAlchemy table behind a model, to build statements from."""
    return SQLModel.metadata.tables[str(model.__tablename__)]
