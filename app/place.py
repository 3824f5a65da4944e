"""Where the database is: the address in the settings, or an embedded server started for us."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from app.settings import Settings
from app.store.embedded import EmbeddedPostgres
from app.store.migrate import migrate, pending_migrations


@dataclass(frozen=True, slots=True)
class Place:
    """Addresses of one database: the owner migrates it, the server works in it."""

    owner_url: str
    url: str
    embedded: bool


class NotMigrated(Exception):
    """The database lacks migrations that this version needs; the message says what to do."""


@contextmanager
def database_place(settings: Settings) -> Iterator[Place]:
    """Yield the database's addresses; an embedded server runs at least as long as the block.

    The embedded database is migrated on the way, for it is ours alone. Any other is refused with
    NotMigrated until somebody runs `ledgers migrate`.
    """
    if settings.database_url is not None:
        url = settings.database_url.get_secret_value()
        owner = settings.owner_database_url
        yield Place(url if owner is None else owner.get_secret_value(), url, embedded=False)
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
