"""Bringing a database to the newest schema, and asking whether it is there.

Migrations run as the owner of the tables; the server then works as the role `ledgers_app`, which
can neither change nor delete what was recorded.
"""

from contextlib import AbstractContextManager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

MIGRATION_LOCK = 5_138_008_554_137_001
"""Advisory lock that lets one process migrate at a time; held by the migrating transaction."""


def migrate(owner_url: str) -> None:
    """Apply all migrations that the database at this PostgreSQL URL lacks."""
    with _connect(owner_url) as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
        command.upgrade(_config(connection), "head")


def pending_migrations(url: str) -> bool:
    """Say whether the database lacks a migration that this version of the server has."""
    with _connect(url) as connection:
        present = MigrationContext.configure(connection).get_current_revision()
    return present != ScriptDirectory.from_config(_config(None)).get_current_head()


def _connect(url: str) -> AbstractContextManager[Connection]:
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    return engine.begin()


def _config(connection: Connection | None) -> Config:
    config = Config()
    # ConfigParser would read a % of the path as interpolation.
    config.set_main_option(
        "script_location", str(Path(__file__).parent / "migrations").replace("%", "%%")
    )
    config.attributes["connection"] = connection
    return config
