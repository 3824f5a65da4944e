"""Alembic's entry: runs on the connection that app.store.migrate hands in."""

from alembic import context
from sqlmodel import SQLModel

from app.store import tables  # noqa: F401  fills the metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
