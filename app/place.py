"""Where the database is: the address in the settings, or an embedded server started for us."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from app.settings import Settings
from app.store.embedded.server import EmbeddedPostgres
from app.store.migrate import migrate, pending_migrations


@dataclass(frozen=True, slots=True)
class Place:
    """Addresses of one database: the owner migrates it, the server works in it."""

    owner_url: str
    url: str
    embedded: bool


class NotMigrated(Exception):
    """The database lacks migrations that this version needs; the message says what to do."""


class WrongAddress(Exception):
    """What should be a database's address is none; the message never repeats it."""


@contextmanager
def database_place(settings: Settings) -> Iterator[Place]:
    """Yield the database's addresses; an embedded server runs at least as long as the block.

    The embedded database is migrated on the way, for it is ours alone. Any other is refused with
    NotMigrated until somebody runs `ledgers migrate`. Raises WrongAddress.
    """
    if settings.database_url is not None:
        url = _address("DATABASE_URL", settings.database_url)
        owner = settings.owner_database_url
        owner_url = url if owner is None else _address("OWNER_DATABASE_URL", owner)
        yield Place(owner_url, url, embedded=False)
        return
    server = EmbeddedPostgres(
        settings.data_directory, binaries=settings.postgres_bin, run_as=settings.postgres_user
    )
    with server:
        migrate(server.owner_url)
        yield Place(server.owner_url, server.owner_url, embedded=True)


def require_migrated(place: Place) -> None:
    """Raise NotMigrated where the database is behind this version of the server."""
    if pending_migrations(place.url):
        raise NotMigrated("The database is not at this version's schema: run `ledgers migrate`.")


def _address(name: str, secret: SecretStr) -> str:
    url = secret.get_secret_value()
    try:
        conninfo_to_dict(url)  # as sessions read it
        make_url(url)  # as migrations do
    except (ProgrammingError, ArgumentError, ValueError):
        is_address = False
    else:
        is_address = url.startswith(("postgresql://", "postgres://"))
    if not is_address:
        # Raised out here, so that not even a traceback has the words of the parsers.
        raise WrongAddress(f"{name} is not like postgresql://user:password@host:5432/database.")
    return url
