"""The `ledgers` command, but for `serve`: what it prints, and how it ends."""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy.engine import make_url

from app import cli
from tests.conftest import MakeDatabase

TOKEN = re.compile(r"ldg_(?:test|live)_[0-9A-Za-z]{61}")
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")
UNKNOWN = "00000000-0000-7000-8000-000000000000"
ADDRESS_IS_WRONG = "is not like postgresql://user:password@host:5432/database."


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it had printed."""

    status: int
    out: str
    err: str


Ledgers = Callable[..., Ended]


@pytest.fixture
def ledgers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ledgers:
    """Runs a command in this process, as if for a terminal of 80 columns that nobody looks at."""
    # The logs of the process are not this command's alone.
    monkeypatch.setattr(cli, "configure_logs", lambda _form, _level: None)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("OWNER_DATABASE_URL", raising=False)

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["ledgers", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        printed = capsys.readouterr()
        assert "Traceback" not in printed.out + printed.err
        status = end.value.code
        assert isinstance(status, int | None)
        return Ended(status or 0, printed.out, printed.err)

    return run


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch, make_database: MakeDatabase) -> str:
    """A migrated, empty database that the commands use."""
    url = make_database(None)
    monkeypatch.setenv("DATABASE_URL", url)
    return url


@pytest.mark.parametrize(
    ("arguments", "commands"),
    [
        (
            [],
            [
                "serve",
                "worker",
                "migrate",
                "seed",
                "import",
                "export",
                "schema",
                "verify",
                "checkpoints",
                "verifier",
                "keys",
                "organizations",
            ],
        ),
        (["keys"], ["create", "list", "revoke"]),
        (["organizations"], ["create", "list"]),
    ],
)
def test_help(ledgers: Ledgers, arguments: list[str], commands: list[str]) -> None:
    """Help lists every command with a sentence, and each has a help of its own."""
    ended = ledgers(*arguments, "--help")
    assert (ended.status, ended.err) == (0, "")
    listed = re.findall(r"^│ ([a-z]+) +[A-Z]", ended.out, re.MULTILINE)
    assert listed == commands
    for command in commands:
        assert ledgers(*arguments, command, "--help").status == 0


@pytest.mark.parametrize("arguments", [[], ["--organization", str(uuid4())], ["--ledger", "x"]])
def test_nothing_to_import(ledgers: Ledgers, arguments: list[str]) -> None:
    """A source that is not there is told before anything is asked of the rest."""
    ended = ledgers("import", "/no/such/dir", *arguments)
    assert (ended.status, ended.out) == (2, "")
    assert "Invalid value for source: There is no /no/such/dir." in ended.err
    assert "Traceback" not in ended.err


def test_schema(ledgers: Ledgers, tmp_path: Path) -> None:
    """The schema is printed or written as schema.graphql has it."""
    kept = (Path(__file__).parent.parent / "schema.graphql").read_text(encoding="utf-8")
    assert ledgers("schema") == Ended(0, kept, "")
    file = tmp_path / "schema.graphql"
    assert ledgers("schema", "--output", str(file)) == Ended(0, "", "")
    assert file.read_text(encoding="utf-8") == kept


@pytest.mark.usefixtures("database")
def test_organizations(ledgers: Ledgers) -> None:
    """Organizations are listed as they were named, a line each with fields between tabs."""
    first = ledgers("organizations", "create", "Acme")
    second = ledgers("organizations", "create", "[/red] :smile:")
    assert ID.fullmatch(first.out.strip())
    listed = ledgers("organizations", "list")
    assert listed.status == 0
    assert [line.split("\t")[:2] for line in listed.out.splitlines()] == [
        ["id", "name"],
        [first.out.strip(), "Acme"],
        [second.out.strip(), "[/red] :smile:"],
    ]


@pytest.mark.usefixtures("database")
def test_keys(ledgers: Ledgers) -> None:
    """A key is printed when it is made and never again; revoking it is listed."""
    owner = ["--organization", ledgers("organizations", "create", "Acme").out.strip()]
    scopes = ["--scope", "read", "--scope", "write"]
    made = ledgers("keys", "create", *owner, "--name", "till", "--mode", "live", *scopes)
    token = made.out.strip()
    assert (made.status, made.err) == (0, "")
    assert TOKEN.fullmatch(token)

    def listed() -> list[str]:
        printed = ledgers("keys", "list", *owner).out
        assert token not in printed
        heads, (*row,) = (line.split("\t") for line in printed.splitlines())
        assert heads == ["id", "name", "key", "mode", "scopes", "created", "expires", "revoked"]
        return row

    key, name, hint, mode, held, _, expires, revoked = listed()
    assert (name, mode, held, expires, revoked) == ("till", "live", "read, write", "", "")
    assert hint == f"{token[:12]}…{token[-4:]}"
    ended = ledgers("keys", "revoke", key, *owner)
    assert (ended.status, ended.err) == (0, "")
    assert ended.out == f"{hint} is revoked since {listed()[7]}.\n"


@pytest.mark.usefixtures("database")
def test_refused_arguments(ledgers: Ledgers) -> None:
    """What is unknown ends with 1, what is malformed with 2; both say what it was."""
    organization = ledgers("organizations", "create", "Acme").out.strip()
    owner = ["--organization", organization]
    key = ["keys", "create", "--name", "till", "--mode", "test", "--scope", "read"]
    ledger = "ldgr_" + "0" * 32
    unknown = {
        ("keys", "revoke", UNKNOWN, *owner): "The organization has no API key of that id.",
        (*key, "--organization", UNKNOWN): "There is no organization of that id.",
        (*key, *owner, "--ledger", ledger): "The organization has no ledger of that id and mode.",
    }
    for arguments, sentence in unknown.items():
        ended = ledgers(*arguments)
        assert (ended.status, ended.out) == (1, "")
        assert ended.err.startswith(f"ledgers: {sentence} (")
    malformed = {
        ("organizations", "create", " "): "name must not be blank.",
        ("organizations", "create", "a\tb"): "name must not hold control characters.",
        (*key, *owner, "--ledger", "acct_1"): "A ledger's id looks like ldgr_….",
        (*key, *owner, "--expires", "2020-01-01T00:00:00"): "It is over already.",
        (*key, "--organization", "Acme"): "This is no id; the list",
        ("serve", "--port", "65536"): "Input should be less than or equal to 65535",
    }
    for arguments, sentence in malformed.items():
        ended = ledgers(*arguments)
        assert (ended.status, ended.out) == (2, "")
        assert sentence in ended.err


def test_seed_and_verify(ledgers: Ledgers, database: str) -> None:
    """Seeding prints the key alone; verifying ends with 0, and with 1 once a balance is wrong."""
    seeded = ledgers("seed")
    assert (seeded.status, seeded.err) == (0, "")
    assert TOKEN.fullmatch(seeded.out.strip())
    sound = ledgers("verify")
    assert (sound.status, sound.err) == (0, "")
    assert sound.out.splitlines() == [
        "1 organizations, 1 ledgers, 12 accounts, 120 transactions, 356 entries.",
        "Every invariant holds.",
    ]
    with psycopg.connect(database) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(
            "UPDATE accounts SET posted_debits = posted_debits + 1"
            " WHERE external_id = 'platform:fees'"
        )
    broken = ledgers("verify")
    assert (broken.status, broken.err) == (1, "")
    _, heads, *rows, last = broken.out.splitlines()
    assert heads.split("\t")[:2] == ["invariant", "violation"]
    assert {row.split("\t")[0] for row in rows} == {"1", "2"}
    assert last == f"{len(rows)} violations."


@pytest.mark.parametrize("command", ["verify", "migrate", "seed", "serve", "organizations list"])
def test_unusable_database(ledgers: Ledgers, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """A database that cannot be used is said in a sentence, without its password."""
    arguments = command.split()
    if command == "serve":
        monkeypatch.setattr(cli, "when_told_to_stop", lambda _act: None)
        arguments += ["--port", "0"]
    for address, sentence in {
        "postgresql://me:secret@127.0.0.1:1/books": "the database cannot be used: connection fail",
        "postgresql://me:secret@host:port/books": f"DATABASE_URL {ADDRESS_IS_WRONG}",
        "mysql://me:secret@host/books": f"DATABASE_URL {ADDRESS_IS_WRONG}",
        "books of secret": f"DATABASE_URL {ADDRESS_IS_WRONG}",
        "": f"DATABASE_URL {ADDRESS_IS_WRONG}",
    }.items():
        monkeypatch.setenv("DATABASE_URL", address)
        ended = ledgers(*arguments)
        assert (ended.status, ended.out) == (1, "")
        assert ended.err.startswith(f"ledgers: {sentence}")
        assert "secret" not in ended.err


def test_wrong_settings(ledgers: Ledgers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that cannot be read are named, without their values."""
    for name, value in {
        "PORT": "secret",
        "WORKERS": "0",
        "POOL_SIZE": "201",
        "ALLOW_UNSAFE_DURABILITY": "perhaps",
        "LOG_FORMAT": "xml",
        "METRICS_TOKEN": "secret",
        "DRAIN_SECONDS": "soon",
        "EXECUTION_SECONDS": "0",
    }.items():
        monkeypatch.setenv(f"LEDGERS_{name}", value)
    assert ledgers("organizations", "list") == Ended(
        1,
        "",
        "ledgers: LEDGERS_PORT must be a whole number; LEDGERS_WORKERS must be 1 or more;"
        " LEDGERS_POOL_SIZE must be 200 or less;"
        " LEDGERS_ALLOW_UNSAFE_DURABILITY must be true or false;"
        " LEDGERS_LOG_FORMAT must be 'console' or 'json';"
        " LEDGERS_METRICS_TOKEN must have 16 characters or more;"
        " LEDGERS_DRAIN_SECONDS must be a number; LEDGERS_EXECUTION_SECONDS must be more than 0\n",
    )


def test_migrating_needs_the_right(
    ledgers: Ledgers, monkeypatch: pytest.MonkeyPatch, server_url: str
) -> None:
    """Migrating with a login that may not is refused in one sentence, without statements."""
    name = f"ledgers_test_{uuid4().hex[:12]}"
    url = make_url(server_url).set(username=name, password="weak")
    monkeypatch.setenv("DATABASE_URL", url.render_as_string(hide_password=False))
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'weak'".encode())
        try:
            ended = ledgers("migrate")
        finally:
            connection.execute(f"DROP ROLE {name}".encode())
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("ledgers: the database cannot be used: permission denied")
