"""A ledger goes out and comes back in another organization as it was, or does not come at all."""

import asyncio
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlmodel import SQLModel

from app import archive
from app.api.ids import LEDGER, encode
from app.archive import Encoding, NotExported
from app.store import identity
from app.store.audit import sealing
from app.store.audit.portable import STAYING, TABLES, NotRestored, restoring
from app.store.audit.verify import verify
from app.store.audit.verify_proofs import Checkpoint, verify_proofs

from .books import Book, Books, writing

ROWS = """
    SELECT coalesce(jsonb_agg(row ORDER BY row::text), '[]')
    FROM (SELECT to_jsonb(r) - 'organization_id' AS row FROM {table} r
        WHERE r.organization_id = %(organization)s AND {belongs}) found
"""


@pytest.fixture
def database_url(books_url: str, books: Books, make_database: Callable[[str | None], str]) -> str:
    """The owner's address of a copy of the books, sealed."""
    assert books
    url = make_database(books_url)
    asyncio.run(seal_all(url))
    return url


async def seal_all(url: str) -> None:
    async with writing(url) as (database, _), await database.connect() as connection:
        for organization_id, ledger_id in await sealing.unsealed(connection):
            await sealing.seal(connection, organization_id, ledger_id)


async def new_organization(url: str) -> UUID:
    async with writing(url) as (database, _), database.writing() as connection:
        return (await identity.create_organization(connection, "Third")).organization_id


def contents(url: str, organization_id: UUID, ledger_id: UUID) -> Mapping[str, Any]:
    """Every row of a ledger, by table, without the organization."""
    this = {"organization": organization_id, "ledger": ledger_id}
    with psycopg.connect(url, options="-c timezone=UTC") as connection:
        return {
            table.name: connection.execute(
                ROWS.format(table=table.name, belongs=table.belongs), this
            ).fetchall()
            for table in TABLES
        }


def everything(url: str) -> list[Any]:
    with psycopg.connect(url) as connection:
        return [
            connection.execute(f"SELECT count(*) FROM {name}").fetchall()
            for name in SQLModel.metadata.tables
        ]


def export(url: str, book: Book, directory: Path, encoding: Encoding = Encoding.JSONL) -> Any:
    return archive.export(url, book.ledger_id, directory, encoding)


def resign(directory: Path, name: str) -> None:
    """Let the manifest agree with a file that was changed."""
    manifest = json.loads((directory / "manifest.json").read_bytes())
    text = (directory / f"{name}.jsonl").read_bytes()
    manifest["files"][name] = {
        "rows": text.count(b"\n"),
        "bytes": len(text),
        "sha256": hashlib.sha256(text).hexdigest(),
    }
    (directory / "manifest.json").write_text(json.dumps(manifest))


def change(directory: Path, name: str, edit: Callable[[list[dict[str, Any]]], object]) -> None:
    """Edit the rows of a file, and let the manifest agree."""
    path = directory / f"{name}.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    edit(rows)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    resign(directory, name)


def test_every_table_travels_or_has_a_reason_not_to() -> None:
    """A table that is added must be declared."""
    assert {table.name for table in TABLES} | STAYING.keys() == SQLModel.metadata.tables.keys()
    assert not {table.name for table in TABLES} & STAYING.keys()


@pytest.mark.parametrize("encoding", list(Encoding))
@pytest.mark.parametrize("name", ["main", "life", "credit", "other"])
def test_a_ledger_comes_back_as_it_was(
    encoding: Encoding, name: str, database_url: str, books: Books, tmp_path: Path
) -> None:
    """Every row of every table, every proof, every checkpoint; and it goes on from there."""
    book = getattr(books, name)
    before = contents(database_url, book.scope.organization_id, book.ledger_id)
    summary = export(database_url, book, tmp_path / "out", encoding)
    third = asyncio.run(new_organization(database_url))
    assert archive.restore(database_url, tmp_path / "out", third) == summary
    assert contents(database_url, third, book.ledger_id) == before
    assert sum(len(rows[0][0]) for rows in before.values()) == summary.rows
    report = verify(database_url)
    assert report.violations == ()
    assert verify_proofs(database_url).violations == []
    asyncio.run(seal_all(database_url))
    assert verify_proofs(database_url).violations == []


def test_an_export_can_be_exported_again(database_url: str, books: Books, tmp_path: Path) -> None:
    """By way of Parquet and back it is the same to the byte."""
    third = asyncio.run(new_organization(database_url))
    export(database_url, books.other, tmp_path / "one")
    export(database_url, books.other, tmp_path / "two", Encoding.PARQUET)
    archive.restore(database_url, tmp_path / "two", third)
    ledger_id = books.other.ledger_id
    with pytest.raises(NotExported, match="several organizations"):
        archive.export(database_url, ledger_id, tmp_path / "three", Encoding.JSONL)
    archive.export(
        database_url, ledger_id, tmp_path / "three", Encoding.JSONL, organization_id=third
    )
    for table in TABLES:
        name = f"{table.name}.jsonl"
        assert (tmp_path / "three" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


def test_names_of_keys_travel_and_secrets_do_not(
    database_url: str, books: Books, tmp_path: Path
) -> None:
    """Who closed a period is still known by name, by a key that nobody can use."""
    export(database_url, books.other, tmp_path / "out")
    third = asyncio.run(new_organization(database_url))
    archive.restore(database_url, tmp_path / "out", third)
    with psycopg.connect(database_url) as connection:
        keys = connection.execute(
            "SELECT name, mode, scopes, revoked_at IS NULL FROM api_keys"
            " WHERE organization_id = %s",
            (third,),
        ).fetchall()
    assert keys == [("Controller", "live", [], False)]
    assert b"secret" not in (tmp_path / "out" / "manifest.json").read_bytes()


def test_parquet_has_exact_numbers(database_url: str, books: Books, tmp_path: Path) -> None:
    """Amounts are decimals, totals texts, times in UTC to the microsecond."""
    export(database_url, books.main, tmp_path, Encoding.PARQUET)
    schema = pq.read_schema(tmp_path / "entries.parquet")
    assert schema.field("amount").type == pa.decimal128(37, 0)
    assert schema.field("posted_debits").type == pa.string()
    assert schema.field("recorded_at").type == pa.timestamp("us", tz="UTC")
    assert pq.read_metadata(tmp_path / "entries.parquet").num_rows > 0


def _swap(directory: Path) -> None:
    shutil.copy(directory / "accounts.jsonl", directory / "entries.jsonl")


def _link(directory: Path) -> None:
    target = (directory / "entries.jsonl").rename(directory / "elsewhere")
    (directory / "entries.jsonl").symlink_to(target)


def _set(table: str, column: str, value: Any) -> Callable[[Path], None]:
    return lambda directory: change(
        directory, table, lambda rows: rows[-1].__setitem__(column, value)
    )


def _manifest(**changes: Any) -> Callable[[Path], None]:
    def edit(directory: Path) -> None:
        path = directory / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}))

    return edit


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "another file": (_swap, "bytes long|SHA-256"),
    "a link": (_link, "symbolic|Too many levels"),
    "a description": (_set("transactions", "description", "x"), "EVENT_NOT_AS_SEALED"),
    "a name": (_set("accounts", "name", "x"), "ROW_NOT_AS_REVISED"),
    "a fingerprint": (
        _set("transaction_events", "fingerprint", "\\x" + "00" * 32),
        "EVENT_NOT_AS_SEALED",
    ),
    "an amount": (_set("entries", "amount", "7"), "must not be"),
    "no number": (_set("entries", "amount", "seven"), "not a row"),
    "another ledger": (_set("transaction_events", "ledger_id", str(UUID(int=7))), "not of this"),
    "a hash": (_set("blocks", "hash", "\\x" + "00" * 32), "checkpoint"),
    "a block less": (lambda d: change(d, "blocks", lambda rows: rows.pop()), "checkpoint"),
    "a revision less": (lambda d: change(d, "revisions", lambda rows: rows.pop(0)), "REVIS"),
    "an entry less": (lambda d: change(d, "entries", lambda rows: rows.pop()), "must not be"),
    "not JSON": (lambda d: _spoil(d, b"{\n"), "not a row|not one"),
    "not a text": (lambda d: _spoil(d, b"\xff\n"), "not JSON Lines"),
    "not a row": (lambda d: _spoil(d, b"[]\n"), "not a row|not one"),
    "no line feed": (lambda d: _spoil(d, b"{}"), "not JSON Lines"),
    "a table less": (_manifest(files={}), "other tables"),
    "a path": (
        _manifest(files={"../../etc/passwd": {"rows": 0, "bytes": 0, "sha256": ""}}),
        "other tables",
    ),
    "another format": (_manifest(format="tar"), "not the manifest"),
    "another version": (_manifest(version=2), "version 2"),
    "another schema": (_manifest(schema="0001"), "schema 0001"),
    "no ledger": (_manifest(ledger="acct_1"), "names no ledger"),
    "a key that is none": (_manifest(api_keys=[{"id": "x"}]), "not as it should be"),
    "another checkpoint": (_manifest(checkpoint=None), "checkpoint"),
}


def _spoil(directory: Path, line: bytes) -> None:
    with (directory / "entries.jsonl").open("ab") as file:
        file.write(line)
    resign(directory, "entries")


@pytest.mark.parametrize(("damage", "told"), DAMAGES.values(), ids=DAMAGES)
def test_a_tampered_export_is_refused_as_a_whole(
    damage: Callable[[Path], None], told: str, database_url: str, books: Books, tmp_path: Path
) -> None:
    """Whatever was done to it, nothing of it is there afterwards."""
    directory = tmp_path / "out"
    export(database_url, books.main, directory)
    damage(directory)
    third = asyncio.run(new_organization(database_url))
    before = everything(database_url)
    with pytest.raises((NotRestored, OSError), match=told):
        archive.restore(database_url, directory, third)
    assert everything(database_url) == before


def test_another_ledgers_account_is_out_of_reach(
    database_url: str, books: Books, tmp_path: Path
) -> None:
    """A line that names an account of a ledger of the organization is refused."""
    export(database_url, books.foreign, tmp_path)
    line = {
        "account_id": str(books.main.accounts["wallet"]),
        "name": "daily",
        "maximum_amount": "0",
        "window_seconds": 1,
        "counted_from": "2026-01-01T00:00:00Z",
        "counted_after": 0,
        "used_amount": "0",
        "used_count": 0,
    }
    change(tmp_path, "velocity_limits", lambda rows: rows.append(line))
    with pytest.raises(NotRestored, match="not of this ledger"):
        archive.restore(database_url, tmp_path, books.main.scope.organization_id)


def test_a_forged_history_is_refused_by_a_checkpoint(
    database_url: str, books: Books, tmp_path: Path
) -> None:
    """Who rewrites everything, blocks too, is found by what was published before."""
    ledger_id = books.main.ledger_id
    with psycopg.connect(database_url) as connection:
        ((number, kept),) = connection.execute(
            "SELECT number, hash FROM blocks WHERE ledger_id = %s", (ledger_id,)
        )
    export(database_url, books.main, tmp_path)
    third = asyncio.run(new_organization(database_url))
    for published, told in (
        (Checkpoint(ledger_id, number, bytes(32)), "CHECKPOINT_WRONG"),
        (Checkpoint(ledger_id, number + 1, kept), "CHECKPOINT_MISSING"),
        (Checkpoint(UUID(int=1), number, kept), "none of the checkpoints"),
    ):
        with pytest.raises(NotRestored, match=told):
            archive.restore(database_url, tmp_path, third, [published])
    archive.restore(database_url, tmp_path, third, [Checkpoint(ledger_id, number, kept)])


def test_where_it_cannot_go(database_url: str, books: Books, tmp_path: Path) -> None:
    """Not to nobody, not twice, even at once, not over other files; and not out of nothing."""
    export(database_url, books.main, tmp_path / "out")
    with pytest.raises(NotRestored, match="no organization"):
        archive.restore(database_url, tmp_path / "out", UUID(int=1))
    with pytest.raises(NotRestored, match="has this ledger already"):
        archive.restore(database_url, tmp_path / "out", books.main.scope.organization_id)
    third = asyncio.run(new_organization(database_url))
    with (
        restoring(database_url, third, books.main.ledger_id),
        pytest.raises(NotRestored, match="another import of this ledger is under way"),
    ):
        archive.restore(database_url, tmp_path / "out", third)
    with pytest.raises(NotExported, match="not empty"):
        export(database_url, books.main, tmp_path / "out")
    with pytest.raises(NotExported, match="no such ledger"):
        archive.export(database_url, UUID(int=1), tmp_path / "none", Encoding.JSONL)


def test_the_commands(database_url: str, books: Books, tmp_path: Path) -> None:
    """Out and in again by the commands, and refused with 1 and a sentence."""

    def ledgers(*arguments: str) -> tuple[int, str]:
        run = subprocess.run(
            [sys.executable, "-m", "app.cli", *arguments],
            env={"DATABASE_URL": database_url, "PATH": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        return run.returncode, run.stdout + run.stderr

    ledger = encode(LEDGER, books.main.ledger_id)
    third = str(asyncio.run(new_organization(database_url)))
    status, told = ledgers("export", ledger, "--output", str(tmp_path / "out"))
    assert (status, told.splitlines()[0]) == (0, "Exported: main, 9 transactions, 78 rows.")
    line = told.splitlines()[1]
    assert line in ledgers("checkpoints")[1].splitlines()
    imported = ("import", str(tmp_path / "out"), "--organization", third, "--checkpoint")
    wrong = line[:-1] + ("0" if line[-1] != "0" else "1")
    status, told = ledgers(*imported, wrong)
    assert status == 1
    assert told.startswith("ledgers: CHECKPOINT_WRONG: block 1: its hash is ")
    status, told = ledgers(*imported, line)
    assert (status, told) == (0, f"Imported: main, 9 transactions, 78 rows.\n{line}\n")
    status, told = ledgers("verify", "--checkpoint", line)
    assert status == 0, told
    assert told.endswith("Every invariant holds, and everything is as it was sealed.\n")
    assert ledgers("verify", "--checkpoint", wrong)[0] == 1
    assert ledgers("verify", "--checkpoint", "nonsense")[0] == 2
    assert ledgers("import", str(tmp_path / "out"))[0] == 2
    assert ledgers("import", str(tmp_path / "out" / "entries.jsonl"))[0] == 2
    status, program = ledgers("verifier")
    assert (status, program) == (0, Path(archive.__file__).with_name("verifier.py").read_text())


def test_without_pyarrow_it_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, database_url: str, books: Books, tmp_path: Path
) -> None:
    """Parquet is an extra, and named."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(NotExported, match=r"ledgers\[parquet\]"):
        export(database_url, books.main, tmp_path / "out", Encoding.PARQUET)
    assert not (tmp_path / "out").exists()
