"""The `ledgers` command."""

import asyncio
import io
import re
import socket
import sys
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Annotated, BinaryIO, Never, TypeVar
from urllib.parse import SplitResult, urlsplit
from uuid import UUID

import orjson
import structlog
import typer
from psycopg import OperationalError
from psycopg.errors import InsufficientPrivilege
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from sqlalchemy.exc import DBAPIError

from app import __version__, archive
from app.api.ids import LEDGER, decode_as, encode
from app.api.schema import schema_text
from app.archive import Encoding, NotExported
from app.bulk_import import Import, ImportStopped, Refused
from app.ledger.accounts.state import Mode
from app.ledger.refusals import ValidationFailed
from app.ledger.transactions.commands import MAX_NAME_LENGTH, check_text
from app.logs import configure_logs
from app.place import NotMigrated, WrongAddress, database_place, require_migrated
from app.seed import is_empty, seed
from app.server import Server
from app.settings import Settings
from app.store import identity
from app.store.audit.portable import NotRestored
from app.store.audit.sealing import newest_checkpoints
from app.store.audit.verify import Violation
from app.store.audit.verify import verify as verify_database
from app.store.audit.verify_proofs import Checkpoint, verify_proofs
from app.store.database import Connection, Unavailable, UnsafeDatabase
from app.store.embedded.server import EmbeddedPostgresError
from app.store.identity import Permission
from app.store.migrate import migrate as migrate_database
from app.workers import WorkerFailed, serve_alone, serve_by_workers, when_told_to_stop

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
out = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
notes = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
log = structlog.get_logger(__name__)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise typer.BadParameter("This is no id; the list command shows them.") from None


OrganizationId = Annotated[
    UUID,
    typer.Option(
        "--organization",
        parser=_uuid,
        metavar="UUID",
        help="The organization's id; see `organizations list`.",
    ),
]
STDIN = Path("-")
CHECKPOINT_LINE = re.compile(r"(\S+) ([1-9][0-9]{0,17}) ([0-9a-f]{64})", re.ASCII)
EXPECTED = (
    EmbeddedPostgresError,
    ImportStopped,
    NotExported,
    NotMigrated,
    NotRestored,
    OSError,
    Unavailable,
    UnsafeDatabase,
    WorkerFailed,
    WrongAddress,
)
RULES = {
    "bool_parsing": "must be true or false",
    "float_parsing": "must be a number",
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be {ge:g} or more",
    "int_parsing": "must be a whole number",
    "less_than_equal": "must be {le:g} or less",
    "literal_error": "must be {expected}",
    "too_short": "must have {min_length} characters or more",
}
"""What a setting must be, by pydantic's type of error."""
UNUSABLE = (OperationalError, InsufficientPrivilege)


def main() -> None:
    """Run the command, and end with a sentence where something expected is in the way."""
    try:
        app()
    except EXPECTED as fault:
        _stop(str(fault))
    except ValidationError as fault:
        _stop(_wrong_settings(fault))
    except (identity.NoSuchKey, identity.NoSuchLedger, identity.NoSuchOrganization) as fault:
        _stop(f"{(type(fault).__doc__ or '').strip()} ({fault})")
    except (*UNUSABLE, DBAPIError) as fault:
        # The migrations' driver wraps what went wrong, with statements that nobody asked for.
        cause = fault.orig if isinstance(fault, DBAPIError) else fault
        if not isinstance(cause, UNUSABLE):
            raise
        _stop(f"the database cannot be used: {str(cause).strip()}")


def _name(text: str) -> str:
    try:
        check_text("name", text, MAX_NAME_LENGTH)
    except ValidationFailed as refusal:
        raise typer.BadParameter(refusal.message) from None
    return text


@app.command()
def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; LEDGERS_HOST, else 127.0.0.1.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port, 0 for any free one; LEDGERS_PORT, else 8000."),
    ] = None,
    demo: Annotated[
        bool,
        typer.Option(
            help="Fill an empty embedded database with a demo organization, key and marketplace."
        ),
    ] = True,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, max=64, help="Processes that serve, on one port; LEDGERS_WORKERS, else 1."
        ),
    ] = None,
) -> None:
    """Serve the API, GraphiQL and health checks until told to stop.

    The embedded database is migrated first; any other must be (see `ledgers migrate`). On SIGTERM
    or Ctrl-C the server stops accepting, finishes what it has accepted, and ends. With several
    workers a parent process keeps them up and replaces one that ends.
    """
    settings = _settings()
    number = settings.workers if workers is None else workers
    when_told_to_stop(sys.exit)
    with (
        _listener(host or settings.host, settings.port if port is None else port) as listener,
        database_place(settings) as place,
    ):
        require_migrated(place)
        address = _address(listener)

        async def prepare(server: Server) -> None:
            if demo and place.embedded and await is_empty(server.database):
                await _seed(server, partial(_show_first_key, address))

        def announce() -> None:
            if settings.log_format == "json":
                log.info("serving", address=address)
            else:
                notes.print(f"Serving {address}/graphql; explore it at {address}/graphiql")

        if number > 1:
            asyncio.run(_in_running(Server(settings, place.url), prepare))
            serve_by_workers(number, settings, place.url, listener, announce)
        else:
            serve_alone(settings, place.url, listener, announce, prepare=prepare)


@app.command()
def worker() -> None:
    """Do what falls due and seal what was recorded, apart from the servers, until told to stop.

    Servers do it too unless LEDGERS_DUE_WORK is false. However many run, one of them works at a
    time, and another takes over when it dies.
    """
    settings = _settings().model_copy(update={"due_work": True})
    when_told_to_stop(sys.exit)
    with database_place(settings) as place:
        require_migrated(place)

        async def run() -> None:
            stopped = asyncio.Event()
            loop = asyncio.get_running_loop()
            when_told_to_stop(partial(loop.call_soon_threadsafe, stopped.set))
            async with Server(settings, place.url).running():
                if settings.log_format == "json":
                    log.info("working")
                else:
                    notes.print("Working on what falls due.")
                await stopped.wait()

        asyncio.run(run())


@app.command()
def migrate() -> None:
    """Bring the database to this version's schema.

    Runs as OWNER_DATABASE_URL, or DATABASE_URL where that is not set. Safe to run again, and by
    several at once.
    """
    with database_place(_settings()) as place:
        migrate_database(place.owner_url)
    out.print("The database is at this version's schema.")


@app.command("seed")
def seed_command() -> None:
    """Add the demo organization with a test key and a small marketplace, and print the key."""

    async def run(server: Server) -> None:
        await _seed(server, out.print)

    _in_server(run)


@app.command("import")
def import_command(
    source: Annotated[
        Path,
        typer.Argument(
            help="JSON Lines, a PostTransactionInput each; - for standard input. Or the directory"
            " of an export.",
        ),
    ],
    ledger: Annotated[
        str | None, typer.Option(help="Postings: the ledger's id, as the API shows it.")
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            help="Postings: the server, such as https://ledgers.example; LEDGERS_HOST and _PORT."
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(help="Postings: an API key with the scope write; LEDGERS_API_KEY."),
    ] = None,
    refused: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help="Postings: write refused lines, with the reasons, to this file as JSON Lines.",
        ),
    ] = None,
    organization: Annotated[
        UUID | None,
        typer.Option(
            parser=_uuid,
            metavar="UUID",
            help="Export: the organization that is to have the ledger.",
        ),
    ] = None,
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(help="Export: what was published of it, a line or a file; may be repeated."),
    ] = None,
) -> None:
    """Post a file of transactions, or bring a whole exported ledger back.

    Postings go through a server, however many, each line by itself. Run it again after an
    interruption: what was posted is replayed, nothing is doubled. Ends with 1 if a line was
    refused.

    An exported ledger (see `ledgers export`) goes into the database directly, into an organization
    that does not have it: all of it, once every invariant and every proof of it holds, or nothing.
    """
    if source != STDIN and not source.exists():
        raise typer.BadParameter(f"There is no {source}.", param_hint="source")
    if source.is_dir():
        if ledger or url or key or refused or organization is None:
            raise typer.BadParameter(
                "An export is imported with --organization, and perhaps --checkpoint.",
                param_hint="source",
            )
        _restore(source, organization, _checkpoints(checkpoint or ()))
        return
    if ledger is None or organization or checkpoint:
        raise typer.BadParameter(
            "Postings are imported with --ledger; --organization and --checkpoint are for the"
            " directory of an export.",
            param_hint="source",
        )
    _import_postings(source, ledger, url, key, refused)


def _import_postings(
    file: Path, ledger: str, url: str | None, key: str | None, refused: Path | None
) -> None:
    settings = _settings()
    server = _server_url(url or f"http://{settings.host}:{settings.port}")
    ledger_id, token = encode(LEDGER, _ledger_id(ledger)), _token(key, settings)
    if refused is not None and refused.exists() and file != STDIN and refused.samefile(file):
        raise typer.BadParameter("This is the file to import.", param_hint="--refused")
    with ExitStack() as stack:
        source = stack.enter_context(_opened(file))
        total = None if file == STDIN else _count_lines(file)
        keep = None if refused is None else stack.enter_context(refused.open("wb"))
        show = stack.enter_context(_progress())
        tally = Import(
            server,
            ledger_id,
            token,
            refuse=partial(_show_refused, keep),
            show=lambda tally: show("Posting", tally.lines, total),
        ).run(source)
    out.print(
        f"{tally.lines} lines: {tally.posted} posted, {tally.replayed} replayed,"
        f" {tally.refused} refused."
    )
    if tally.refused:
        raise typer.Exit(1)


def _restore(directory: Path, organization: UUID, published: Sequence[Checkpoint]) -> None:
    with database_place(_settings()) as place:
        require_migrated(place)
        with _progress() as show:
            summary = archive.restore(
                place.url, directory, organization, published, show=partial(show, "Importing")
            )
    out.print(f"Imported: {_told(summary)}")


@app.command()
def export(
    ledger: Annotated[str, typer.Argument(help="The ledger's id, as the API shows it.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", file_okay=False, help="A directory, new or empty.")
    ],
    encoding: Annotated[
        Encoding, typer.Option("--format", help="JSON Lines, or Parquet to analyse.")
    ] = Encoding.JSONL,
    organization: Annotated[
        UUID | None,
        typer.Option(
            parser=_uuid, metavar="UUID", help="Where several organizations have it: whose."
        ),
    ] = None,
) -> None:
    """Write all of a ledger, as it is at one moment, beside a running server if there is one.

    `ledgers import` brings it back, with the same balances, sequences and proofs.
    """
    ledger_id = _ledger_id(ledger)
    with database_place(_settings()) as place:
        require_migrated(place)
        with _progress() as show:
            summary = archive.export(
                place.owner_url,
                ledger_id,
                output,
                encoding,
                organization_id=organization,
                show=partial(show, "Exporting"),
            )
    out.print(f"Exported: {_told(summary)}")


def _told(summary: archive.Summary) -> str:
    checkpoint = summary.checkpoint or "nothing is sealed yet"
    return (
        f"{summary.name}, {summary.transactions} transactions, {summary.rows} rows.\n{checkpoint}"
    )


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
def verify(
    proofs: Annotated[
        bool, typer.Option("--proofs", help="Also make every sealed leaf anew and compare hashes.")
    ] = False,
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(
            help="A checkpoint's line, or a file of such lines; may be repeated. Implies --proofs.",
        ),
    ] = None,
) -> None:
    """Check every invariant over the whole database, beside a running server if there is one.

    Debits equal credits; balances are the sum of their entries; sequences have no gaps; keys were
    used once; holds and floors were kept. With --proofs also that everything is as it was sealed,
    and with a checkpoint that the blocks are those that were published. Ends with 0 if all hold,
    with 1 if any is broken.
    """
    published = _checkpoints(checkpoint or ())
    sealed = None
    with database_place(_settings()) as place:
        require_migrated(place)
        with _progress() as show:
            report = verify_database(place.owner_url, progress=show)
            if proofs or published:
                sealed = verify_proofs(place.owner_url, published, progress=partial(show, "proofs"))
    out.print(
        f"{report.organizations} organizations, {report.ledgers} ledgers, {report.accounts}"
        f" accounts, {report.transactions} transactions, {report.entries} entries."
    )
    violations, complete = list(report.violations), report.complete
    if sealed is not None:
        out.print(f"{sealed.blocks} blocks, {sealed.leaves} leaves, {len(published)} checkpoints.")
        violations, complete = violations + sealed.violations, complete and sealed.complete
    if not violations:
        out.print(
            "Every invariant holds."
            if sealed is None
            else "Every invariant holds, and everything is as it was sealed."
        )
        return
    _print_violations(violations, complete)
    raise typer.Exit(1)


@app.command()
def checkpoints() -> None:
    """Print the newest checkpoint of every ledger, a line each, to be kept where nobody changes it.

    The lines are what `ledgers verify --checkpoint` takes.
    """

    async def read(connection: Connection) -> Sequence[tuple[UUID, int, bytes]]:
        return await newest_checkpoints(connection)

    for ledger_id, block, kept_hash in _in_store(read):
        typer.echo(f"{encode(LEDGER, ledger_id)} {block} {kept_hash.hex()}")


@app.command()
def verifier() -> None:
    """Print a program that checks proofs by itself: ledgers verifier > verify.py."""
    typer.echo(files("app").joinpath("verifier.py").read_text("utf-8"), nl=False)


@organizations.command("create")
def create_organization(
    name: Annotated[str, typer.Argument(help="For people.", callback=_name)],
) -> None:
    """Add a tenant and print its id."""

    async def create(connection: Connection) -> identity.OrganizationRow:
        return await identity.create_organization(connection, name)

    out.print(str(_in_store(create).organization_id))


@organizations.command("list")
def list_organizations() -> None:
    """List the tenants, oldest first."""
    _print_table(
        ("id", "name", "created"),
        (
            (str(row.organization_id), row.name, _time(row.created_at))
            for row in _in_store(identity.list_organizations)
        ),
    )


@keys.command("create")
def create_key(
    organization: OrganizationId,
    name: Annotated[str, typer.Option(help="What the key is for.", callback=_name)],
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
    end = None if expires is None else expires.replace(tzinfo=UTC)
    if end is not None and end <= datetime.now(UTC):
        raise typer.BadParameter("It is over already.", param_hint="--expires")

    async def create(connection: Connection) -> str:
        _, token = await identity.create_key(
            connection,
            organization,
            name=name,
            mode=mode,
            permissions=scope,
            ledger_ids=[_ledger_id(text) for text in ledger or ()],
            expires_at=end,
        )
        return token

    out.print(_in_store(create))


@keys.command("list")
def list_keys(organization: OrganizationId) -> None:
    """List an organization's keys, oldest first, without their secrets."""

    async def read(connection: Connection) -> list[identity.ApiKeyRow]:
        return list(await identity.list_keys(connection, organization))

    _print_table(
        ("id", "name", "key", "mode", "scopes", "created", "expires", "revoked"),
        (
            (
                str(row.api_key_id),
                row.name,
                row.hint,
                row.mode,
                ", ".join(row.scopes),
                _time(row.created_at),
                _time(row.expires_at),
                _time(row.revoked_at),
            )
            for row in _in_store(read)
        ),
    )


@keys.command("revoke")
def revoke_key(
    key: Annotated[UUID, typer.Argument(parser=_uuid, help="The key's id; see `keys list`.")],
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


def _settings() -> Settings:
    """The settings, with the logs set up as they say."""
    settings = Settings()
    configure_logs(settings.log_format, settings.log_level)
    return settings


def _wrong_settings(fault: ValidationError) -> str:
    """Name what is wrong, without the values: one may be a secret that strayed."""
    prefix = Settings.model_config["env_prefix"]
    sentences = []
    for error in fault.errors():
        name = str(error["loc"][0])
        rule = RULES.get(error["type"])
        told = rule.format_map(error.get("ctx", {})) if rule else f"cannot be: {error['msg']}"
        sentences.append(f"{name if name.isupper() else f'{prefix}{name.upper()}'} {told}")
    return "; ".join(sentences)


@contextmanager
def _listener(host: str, port: int) -> Iterator[socket.socket]:
    """A port of our own, had before anything is started for it; nobody can connect yet."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as fault:
            raise OSError(f"cannot listen on port {port} of {host}: {fault.strerror}") from fault
        yield listener


def _address(listener: socket.socket) -> str:
    host, port, *_ = listener.getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _show_first_key(address: str, token: str) -> None:
    out.print(
        "\nThis database was empty: it gets a demo organization with a small marketplace.\n"
        f"Its API key is shown this once:\n\n    {token}\n\n"
        f"Explore: {address}/graphiql#key={token}\n"
    )


async def _seed(server: Server, show_token: Callable[[str], None]) -> None:
    with _progress() as show:
        await seed(
            server.database,
            server.writer,
            show_token=show_token,
            progress=partial(show, "Seeding the demo"),
        )


def _in_server(work: Callable[[Server], Awaitable[T]]) -> T:
    settings = _settings().model_copy(update={"due_work": False})

    with database_place(settings) as place:
        require_migrated(place)
        return asyncio.run(_in_running(Server(settings, place.url), work))


async def _in_running(server: Server, work: Callable[[Server], Awaitable[T]]) -> T:
    async with server.running():
        return await work(server)


def _in_store(work: Callable[[Connection], Awaitable[T]]) -> T:
    async def run(server: Server) -> T:
        async with server.database.writing() as connection:
            return await work(connection)

    return _in_server(run)


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int | None], None]]:
    """What shows people how far something is, from the first time it is called."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    progress = Progress(*columns, console=notes, transient=True, disable=not notes.is_terminal)
    task = progress.add_task("", total=None)

    def show(name: str, done: int, total: int | None) -> None:
        progress.update(task, description=name, completed=done, total=total)
        progress.start()

    try:
        yield show
    finally:
        progress.stop()


def _print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table for people; anything but a terminal gets lines of fields between tabs."""
    if not out.is_terminal:
        for row in (columns, *rows):
            typer.echo("\t".join(row))
        return
    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold", min_width=36 if column == "id" else None)
    for row in rows:
        table.add_row(*row)
    out.print(table)


def _server_url(text: str) -> SplitResult:
    try:
        url = urlsplit(text)
        is_usable = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or url.username or url.query or url.fragment:
        raise typer.BadParameter("An address is like https://ledgers.example.", param_hint="--url")
    return url


def _token(text: str | None, settings: Settings) -> str:
    """The key to send; what cannot be one is neither sent nor shown."""
    if text is None and settings.api_key is not None:
        text = settings.api_key.get_secret_value()
    if text is None or not identity.is_token(text):
        raise typer.BadParameter("An API key looks like ldg_….", param_hint="--key")
    return text


def _opened(path: Path) -> io.BufferedReader:
    if path == STDIN:
        return io.BufferedReader(io.FileIO(0, closefd=False))
    return path.open("rb")


def _count_lines(path: Path) -> int | None:
    """How many lines a file has; None for what can be read only once."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(partial(file.read, 1 << 20), b""))


def _show_refused(file: BinaryIO | None, refused: Refused) -> None:
    if file is None:
        error = refused.error
        notes.print(f"line {refused.line.number}: {error['code']}: {error['message']}")
    else:
        kept = {"line": refused.line.number, "error": refused.error, **_kept(refused.line.text)}
        file.write(orjson.dumps(kept) + b"\n")
        file.flush()


def _kept(text: bytes | None) -> dict[str, str]:
    """A refused line so that it can be sent again; one too long to be sent is not kept."""
    if text is None:
        return {}
    try:
        return {"text": text.decode()}
    except UnicodeDecodeError:
        return {"base64": b64encode(text).decode()}


def _checkpoints(given: Sequence[str]) -> list[Checkpoint]:
    """Lines, or files of lines, each a ledger's id, a block's number and its hash."""
    lines = []
    for text in given:
        is_file = Path(text).is_file()
        lines += Path(text).read_text("utf-8").splitlines() if is_file else [text]
    found = []
    for line in filter(str.strip, lines):
        match = CHECKPOINT_LINE.fullmatch(line.strip())
        ledger_id = None if match is None else decode_as(LEDGER, match[1])
        if match is None or ledger_id is None:
            raise typer.BadParameter(
                "A checkpoint is like ldgr_… 12 5a0c…, or a file of such lines.",
                param_hint="--checkpoint",
            )
        found.append(Checkpoint(ledger_id, int(match[2]), bytes.fromhex(match[3])))
    return found


def _print_violations(violations: Sequence[Violation], complete: bool) -> None:
    _print_table(
        ("invariant", "violation", "organization", "ledger", "subject", "detail"),
        (
            (
                str(violation.invariant),
                violation.name,
                str(violation.organization_id),
                str(violation.ledger_id or ""),
                violation.subject,
                violation.detail,
            )
            for violation in violations
        ),
    )
    more = "" if complete else "; there are more"
    out.print(f"{len(violations)} violations{more}.")


def _ledger_id(text: str) -> UUID:
    uuid = decode_as(LEDGER, text)
    if uuid is None:
        raise typer.BadParameter("A ledger's id looks like ldgr_….", param_hint="--ledger")
    return uuid


def _time(moment: datetime | None) -> str:
    return "" if moment is None else moment.isoformat(" ", "seconds")


def _stop(sentence: str) -> Never:
    notes.print(f"ledgers: {sentence}")
    sys.exit(1)


if __name__ == "__main__":
    main()
