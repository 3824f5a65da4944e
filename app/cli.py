"""The `ledgers` command."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar
from uuid import UUID

import typer
import uvicorn
from psycopg import OperationalError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from app import __version__
from app.api.ids import LEDGER, decode_as
from app.api.schema import schema_text
from app.ledger.accounts import Mode
from app.logs import configure_logs
from app.place import NotMigrated, Place, database_place, require_migrated
from app.seed import is_empty, seed
from app.server import Server
from app.settings import Settings
from app.store import identity
from app.store.database import Connection, UnsafeDatabase
from app.store.embedded import EmbeddedPostgresError
from app.store.identity import Permission
from app.store.migrate import migrate as migrate_database
from app.store.verify import verify as verify_database

T = TypeVar("T")

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="A multi-tenant double-entry ledger served over GraphQL.\n\n"
    "Without DATABASE_URL every command uses an embedded PostgreSQL, kept under .data, which runs"
    " as long as something uses it. All settings are environment variables; see the README.",
)
keys = typer.Typer(no_args_is_help=True, help="API keys of an organization.")
organizations = typer.Typer(no_args_is_help=True, help="The tenants.")
app.add_typer(keys, name="keys")
app.add_typer(organizations, name="organizations")
out = Console(highlight=False, soft_wrap=True)
notes = Console(stderr=True, highlight=False, soft_wrap=True)

OrganizationId = Annotated[
    UUID, typer.Option("--organization", help="The organization's id; see `organizations list`.")
]


def main() -> None:
    """Run the command, and end with a sentence where something expected is in the way."""
    try:
        app()
    except (EmbeddedPostgresError, NotMigrated, UnsafeDatabase) as fault:
        _stop(str(fault))
    except OperationalError as fault:
        _stop(f"the database cannot be used: {str(fault).strip()}")
    except LookupError as fault:
        _stop(f"{(type(fault).__doc__ or '').strip()} ({fault})")


@app.command()
def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; LEDGERS_HOST, else 127.0.0.1.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port; LEDGERS_PORT, else 8000.")] = None,
    demo: Annotated[
        bool,
        typer.Option(
            help="Fill an empty embedded database with a demo organization, key and marketplace."
        ),
    ] = True,
) -> None:
    """Serve the API, GraphiQL and health checks until told to stop.

    The embedded database is migrated first; any other must be (see `ledgers migrate`). On SIGTERM
    or Ctrl-C the server stops accepting, finishes what it has accepted, and ends.
    """
    settings = Settings()
    configure_logs(settings.log_format, settings.log_level)
    with database_place(settings) as place:
        require_migrated(place)
        address = f"http://{host or settings.host}:{port or settings.port}"
        if demo and place.embedded:
            _first_start(settings, place, address)
        server = Server(settings, place.url)
        notes.print(f"Serving {address}/graphql; explore it at {address}/graphiql")
        # uvicorn raises the signal again once it has drained; being told to stop is no failure.
        for told_to_stop in (signal.SIGINT, signal.SIGTERM):
            signal.signal(told_to_stop, lambda _signal, _frame: None)
        uvicorn.run(
            server.application(),
            host=host or settings.host,
            port=settings.port if port is None else port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=int(settings.drain_seconds),
            server_header=False,
        )


@app.command()
def migrate() -> None:
    """Bring the database to this version's schema.

    Runs as OWNER_DATABASE_URL, or DATABASE_URL where that is not set. Safe to run again, and by
    several at once.
    """
    with database_place(Settings()) as place:
        migrate_database(place.owner_url)
    out.print("The database is at this version's schema.")


@app.command("seed")
def seed_command() -> None:
    """Add the demo organization with a test key and a small marketplace, and print the key."""
    settings = Settings()
    with database_place(settings) as place:
        require_migrated(place)
        token = _seed(settings, place)
    out.print(token)


@app.command()
def schema(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file instead.")
    ] = None,
) -> None:
    """Print the GraphQL schema."""
    if output is None:
        typer.echo(schema_text(), nl=False)
    else:
        output.write_text(schema_text(), encoding="utf-8")


@app.command()
def verify() -> None:
    """Check every invariant over the whole database, beside a running server if there is one.

    Debits equal credits; balances are the sum of their entries; sequences have no gaps; keys were
    used once; holds and floors were kept. Ends with 0 if all hold, with 1 if any is broken.
    """
    with database_place(Settings()) as place:
        require_migrated(place)
        with _progress() as progress:
            task = progress.add_task("Checking", total=None)

            def show(name: str, done: int, total: int) -> None:
                progress.update(task, description=name, completed=done, total=total)

            report = verify_database(place.owner_url, progress=show)
    out.print(
        f"{report.organizations} organizations, {report.ledgers} ledgers, {report.accounts}"
        f" accounts, {report.transactions} transactions, {report.entries} entries."
    )
    if not report.violations:
        out.print("Every invariant holds.")
        return
    table = Table("invariant", "violation", "organization", "ledger", "subject", "detail")
    for violation in report.violations:
        table.add_row(
            str(violation.invariant),
            violation.name,
            str(violation.organization_id),
            str(violation.ledger_id or ""),
            violation.subject,
            violation.detail,
        )
    out.print(table)
    more = "" if report.complete else "; there are more"
    out.print(f"{len(report.violations)} violations{more}.")
    raise typer.Exit(1)


@organizations.command("create")
def create_organization(
    name: Annotated[str, typer.Argument(help="For people.")],
) -> None:
    """Add a tenant and print its id."""

    async def create(connection: Connection) -> identity.OrganizationRow:
        return await identity.create_organization(connection, name)

    out.print(str(_in_store(create).organization_id))


@organizations.command("list")
def list_organizations() -> None:
    """List the tenants, oldest first."""
    table = Table("id", "name", "created")
    for row in _in_store(identity.list_organizations):
        table.add_row(str(row.organization_id), row.name, _time(row.created_at))
    out.print(table)


@keys.command("create")
def create_key(
    organization: OrganizationId,
    name: Annotated[str, typer.Option(help="What the key is for.")],
    mode: Annotated[Mode, typer.Option(help="Whether it sees live or test ledgers.")],
    scope: Annotated[
        list[Permission],
        typer.Option(help="read, write or admin; each includes those before it."),
    ],
    ledger: Annotated[
        list[str] | None,
        typer.Option(help="Only this ledger (its id, as the API shows it); may be repeated."),
    ] = None,
    expires: Annotated[
        datetime | None, typer.Option(help="When it ends, in UTC.", formats=["%Y-%m-%dT%H:%M:%S"])
    ] = None,
) -> None:
    """Make an API key and print it. It is shown this once and stored only as a hash."""

    async def create(connection: Connection) -> str:
        _, token = await identity.create_key(
            connection,
            organization,
            name=name,
            mode=mode,
            permissions=scope,
            ledger_ids=[_ledger_id(text) for text in ledger or ()],
            expires_at=None if expires is None else expires.replace(tzinfo=UTC),
        )
        return token

    out.print(_in_store(create))


@keys.command("list")
def list_keys(organization: OrganizationId) -> None:
    """List an organization's keys, oldest first, without their secrets."""

    async def read(connection: Connection) -> list[identity.ApiKeyRow]:
        return list(await identity.list_keys(connection, organization))

    table = Table("id", "name", "key", "mode", "scopes", "created", "expires", "revoked")
    for row in _in_store(read):
        table.add_row(
            str(row.api_key_id),
            row.name,
            row.hint,
            row.mode,
            ", ".join(row.scopes),
            _time(row.created_at),
            _time(row.expires_at),
            _time(row.revoked_at),
        )
    out.print(table)


@keys.command("revoke")
def revoke_key(
    key: Annotated[UUID, typer.Argument(help="The key's id; see `keys list`.")],
    organization: OrganizationId,
) -> None:
    """Take a key out of use, everywhere within seconds and for good."""

    async def revoke(connection: Connection) -> identity.ApiKeyRow:
        return await identity.revoke_key(connection, organization, key)

    row = _in_store(revoke)
    out.print(f"{row.hint} is revoked since {_time(row.revoked_at)}.")


def _show_version(show: bool) -> None:
    if show:
        out.print(__version__)
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


def _first_start(settings: Settings, place: Place, address: str) -> None:
    async def empty() -> bool:
        server = Server(settings, place.url)
        async with server.running():
            return await is_empty(server.database)

    if not asyncio.run(empty()):
        return
    token = _seed(settings, place)
    notes.print(
        "\nThis database was empty, so it now has a demo organization with a small marketplace.\n"
        f"Its API key is shown this once:\n\n    {token}\n\n"
        f"Explore: {address}/graphiql#key={token}\n"
    )


def _seed(settings: Settings, place: Place) -> str:
    async def run() -> str:
        server = Server(settings, place.url)
        async with server.running():
            with _progress() as progress:
                task = progress.add_task("Seeding the demo", total=None)
                made = await seed(
                    server.database,
                    server.writer,
                    progress=lambda done, of: progress.update(task, completed=done, total=of),
                )
        return made.token

    return asyncio.run(run())


def _in_store(work: Callable[[Connection], Awaitable[T]]) -> T:
    settings = Settings()

    async def run(place: Place) -> T:
        server = Server(settings, place.url)
        async with server.running(), server.database.writing() as connection:
            return await work(connection)

    with database_place(settings) as place:
        require_migrated(place)
        return asyncio.run(run(place))


@contextmanager
def _progress() -> Iterator[Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=notes, transient=True) as progress:
        yield progress


def _ledger_id(text: str) -> UUID:
    uuid = decode_as(LEDGER, text)
    if uuid is None:
        raise typer.BadParameter("A ledger's id looks like ldgr_….", param_hint="--ledger")
    return uuid


def _time(moment: datetime | None) -> str:
    return "" if moment is None else moment.isoformat(" ", "seconds")


def _stop(sentence: str) -> None:
    notes.print(f"ledgers: {sentence}")
    sys.exit(1)


if __name__ == "__main__":
    main()
