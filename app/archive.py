"""`ledgers export` and the import of what it wrote: a directory with a file for each table.

    manifest.json        what it is of, what is in it, and the SHA-256 of every other file
    entries.jsonl, …     JSON Lines, a row each; or
    entries.parquet, …   Parquet, for programs that analyse

The manifest is written last: a directory without one is not a whole export. Files are read as a
stream, by names that are known beforehand and never taken from the manifest. JSON Lines are not
compressed. Of Parquet files nothing is read before it is known how much it says that it unpacks to.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

import orjson
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Integer,
    LargeBinary,
    Numeric,
    SmallInteger,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

from app.api.ids import LEDGER, decode_as, encode
from app.store.audit import portable
from app.store.audit.portable import TABLES, NotRestored, Portable
from app.store.audit.verify import reading
from app.store.audit.verify_proofs import Checkpoint

VERSION = 1
MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 1 << 20
MAX_LINE_BYTES = 16 << 20
BATCH_ROWS, BATCH_BYTES = 1000, 4 << 20
GROUP_ROWS = 10_000
MAX_GROUP_BYTES = 1 << 28

Show = Callable[[int, int], None]
Json = dict[str, Any]


class Encoding(StrEnum):
    """How the files of an export are written; it is their ending."""

    JSONL = "jsonl"
    PARQUET = "parquet"


class NotExported(Exception):
    """A ledger cannot be exported; the message says why."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What an export has in it."""

    ledger_id: UUID
    name: str
    rows: int
    transactions: int
    checkpoint: str | None


def is_export(path: Path) -> bool:
    """Whether a path is that of a whole export."""
    return (path / MANIFEST).is_file()


# ---- out -----------------------------------------------------------------------------------------


def export(
    url: str,
    ledger_id: UUID,
    directory: Path,
    encoding: Encoding,
    *,
    organization_id: UUID | None = None,
    show: Show = lambda _done, _total: None,
) -> Summary:
    """Write all of a ledger, as it is at one moment, into a directory that is new or empty.

    Raises NotExported, OSError.
    """
    if encoding is Encoding.PARQUET:
        _parquet()
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise NotExported(f"{directory} is not empty")
    with reading(url, {}) as connection:
        homes = portable.homes_of(connection, ledger_id)
        if organization_id is not None:
            homes = [home for home in homes if home == organization_id]
        if not homes:
            raise NotExported("there is no such ledger")
        if len(homes) > 1:
            raise NotExported("several organizations have it: say --organization")
        this = {"organization": homes[0], "ledger": ledger_id}
        counts = {table.name: portable.count(connection, table, this) for table in TABLES}
        progress = _Progress(show, sum(counts.values()))
        files: Json = {}
        for table in TABLES:
            path = directory / _file_name(table, encoding)
            if encoding is Encoding.JSONL:
                rows = _write_lines(path, progress.of(portable.lines(connection, table, this)))
            else:
                records = progress.of(portable.records(connection, table, this))
                rows = _write_parquet(path, table, records)
            assert rows == counts[table.name]
            files[table.name] = {"rows": rows, **_measure(path)}
        newest = portable.newest_checkpoint(connection, this)
        manifest = {
            "format": "ledgers-export",
            "version": VERSION,
            "schema": portable.schema_version(connection),
            "encoding": encoding,
            "ledger": encode(LEDGER, ledger_id),
            "name": portable.name_of(connection, this),
            "exported_at": datetime.now(UTC).isoformat(),
            "checkpoint": None
            if newest is None
            else f"{encode(LEDGER, ledger_id)} {newest[0]} {newest[1].hex()}",
            "api_keys": portable.api_key_names(connection, this),
            "files": files,
        }
    with (directory / MANIFEST).open("xb") as file:
        file.write(orjson.dumps(manifest, option=orjson.OPT_INDENT_2) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return _summary(manifest, ledger_id)


@dataclass(slots=True)
class _Progress:
    show: Show
    total: int
    done: int = 0

    def of(self, items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            yield item
            self.done += 1
            if self.done % portable.FETCH_ROWS == 0:
                self.show(self.done, self.total)


def _write_lines(path: Path, lines: Iterable[str]) -> int:
    rows = 0
    with path.open("xb") as file:
        for line in lines:
            file.write(line.encode() + b"\n")
            rows += 1
        file.flush()
        os.fsync(file.fileno())
    return rows


def _write_parquet(path: Path, table: Portable, records: Iterable[tuple[Any, ...]]) -> int:
    arrow, parquet = _parquet()
    schema = arrow.schema([(c.name, _arrow_type(arrow, c)) for c in table.columns])
    rows = 0
    with (
        path.open("xb") as file,
        parquet.ParquetWriter(file, schema, compression="zstd", use_dictionary=False) as writer,
    ):
        for group in _cut(records, GROUP_ROWS):
            columns = [
                arrow.array(values, type=field.type)
                for values, field in zip(zip(*group, strict=True), schema, strict=True)
            ]
            writer.write_table(arrow.Table.from_arrays(columns, schema=schema))
            rows += len(group)
    return rows


def _cut(records: Iterable[tuple[Any, ...]], size: int) -> Iterator[list[tuple[Any, ...]]]:
    group: list[tuple[Any, ...]] = []
    for record in records:
        group.append(record)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _arrow_type(arrow: Any, column: Column[Any]) -> Any:
    kinds: Sequence[tuple[type, Any]] = (
        (TIMESTAMP, arrow.timestamp("us", tz="UTC")),
        (Numeric, arrow.string() if portable.is_total(column) else arrow.decimal128(37, 0)),
        (SmallInteger, arrow.int16()),
        (BigInteger, arrow.int64()),
        (Integer, arrow.int32()),
        (Boolean, arrow.bool_()),
        (Date, arrow.date32()),
        (LargeBinary, arrow.binary()),
    )
    return next((to for kind, to in kinds if isinstance(column.type, kind)), arrow.string())


# ---- in ------------------------------------------------------------------------------------------


def restore(
    url: str,
    directory: Path,
    organization_id: UUID,
    checkpoints: Sequence[Checkpoint] = (),
    *,
    show: Show = lambda _done, _total: None,
) -> Summary:
    """Import an exported ledger into an organization that does not have it: all of it, or nothing.

    Only what every check of `ledgers verify --proofs` finds whole is committed. Raises NotRestored,
    OSError.
    """
    manifest = _manifest(directory)
    ledger_id = decode_as(LEDGER, manifest["ledger"])
    if ledger_id is None:
        raise NotRestored("its manifest names no ledger")
    own = [checkpoint for checkpoint in checkpoints if checkpoint.ledger_id == ledger_id]
    if checkpoints and not own:
        raise NotRestored("none of the checkpoints is of this ledger")
    progress = _Progress(show, sum(file["rows"] for file in manifest["files"].values()))
    with portable.restoring(url, organization_id, ledger_id) as restoration:
        if manifest["schema"] != portable.schema_version(restoration.connection):
            raise NotRestored(
                f"it was written at schema {manifest['schema']}, another one than this database's;"
                " export it with this version of Ledgers"
            )
        restoration.add_api_keys(manifest["api_keys"])
        for table in TABLES:
            rows = 0
            for batch in _batches(table, progress.of(_lines(directory, table, manifest))):
                restoration.insert(table, batch)
                rows += len(batch)
            if rows != manifest["files"][table.name]["rows"]:
                raise NotRestored(f"{table.name} has {rows} rows, other than its manifest says")
        newest = portable.newest_checkpoint(restoration.connection, restoration.this)
        line = None if newest is None else f"{manifest['ledger']} {newest[0]} {newest[1].hex()}"
        if line != manifest["checkpoint"]:
            raise NotRestored("its newest block is not its manifest's checkpoint")
        restoration.check(own)
    return _summary(manifest, ledger_id)


def _manifest(directory: Path) -> Json:
    """The manifest, with everything in it of the kind that it should be."""
    with (directory / MANIFEST).open("rb") as file:
        text = file.read(MAX_MANIFEST_BYTES + 1)
    try:
        manifest = orjson.loads(text)
        is_ours = len(text) <= MAX_MANIFEST_BYTES and manifest["format"] == "ledgers-export"
    except (ValueError, LookupError, TypeError):
        is_ours = False
    if not is_ours:
        raise NotRestored(f"{directory / MANIFEST} is not the manifest of an export")
    if manifest.get("version") != VERSION:
        raise NotRestored(f"its format is of version {manifest.get('version')}, not {VERSION}")
    match manifest:
        case {
            "schema": str(),
            "encoding": "jsonl" | "parquet",
            "ledger": str(),
            "name": str(),
            "checkpoint": str() | None,
            "api_keys": list(keys),
            "files": dict(files),
        } if all(map(_is_key, keys)) and all(map(_is_file, files.values())):
            names = {table.name for table in TABLES}
            if files.keys() != names:
                odd = ", ".join(sorted(files.keys() ^ names))
                raise NotRestored(f"it has other tables than this version of Ledgers: {odd}")
            return manifest  # type: ignore[no-any-return]
    raise NotRestored("its manifest is not as it should be")


def _is_key(key: object) -> bool:
    match key:
        case {"id": str(key_id), "name": str(), "mode": "live" | "test", "created_at": str(moment)}:
            with suppress(ValueError):
                UUID(key_id)
                return datetime.fromisoformat(moment).tzinfo is not None
    return False


def _is_file(file: object) -> bool:
    match file:
        case {"rows": int(), "bytes": int(), "sha256": str()}:
            return True
    return False


def _lines(directory: Path, table: Portable, manifest: Json) -> Iterator[str]:
    """The lines of a table's file, which must be the one that the manifest means."""
    told = manifest["files"][table.name]
    encoding = Encoding(manifest["encoding"])
    path = directory / _file_name(table, encoding)
    with os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb") as file:
        if os.fstat(file.fileno()).st_size != told["bytes"]:
            raise NotRestored(f"{path.name} is not {told['bytes']} bytes long")
        if encoding is Encoding.PARQUET:
            _require_hash(path, hashlib.file_digest(file, "sha256").hexdigest(), told)
            file.seek(0)
            yield from _read_parquet(file, table, told["rows"])
        else:
            digest = hashlib.sha256()
            while line := file.readline(MAX_LINE_BYTES):
                digest.update(line)
                try:
                    text = line.decode()
                except UnicodeDecodeError:
                    text = ""
                if not text.endswith("\n"):
                    raise NotRestored(f"{path.name} is not JSON Lines")
                yield text
            _require_hash(path, digest.hexdigest(), told)


def _require_hash(path: Path, digest: str, told: Json) -> None:
    if digest != told["sha256"]:
        raise NotRestored(f"{path.name} was changed: its SHA-256 is not that of the manifest")


def _batches(table: Portable, lines: Iterable[str]) -> Iterator[list[str]]:
    """Lines to be inserted together; entries of one transaction are never apart."""
    batch: list[str] = []
    size, transaction = 0, None
    for line in lines:
        if table.name == "entries":
            before, transaction = transaction, _transaction_of(line)
            is_cut = before != transaction
        else:
            is_cut = True
        if is_cut and (len(batch) >= BATCH_ROWS or size >= BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line)
    if batch:
        yield batch


def _transaction_of(line: str) -> Any:
    try:
        return orjson.loads(line)["transaction_sequence"]
    except (ValueError, LookupError, TypeError):
        raise NotRestored("a line of entries is not one") from None


def _read_parquet(file: BinaryIO, table: Portable, rows: int) -> Iterator[str]:
    arrow, parquet = _parquet()
    try:
        source = parquet.ParquetFile(file)
        expected = [(c.name, _arrow_type(arrow, c)) for c in table.columns]
        if [(field.name, field.type) for field in source.schema_arrow] != expected:
            raise NotRestored(f"{table.name}.parquet has other columns than the table")
        groups = [source.metadata.row_group(n) for n in range(source.metadata.num_row_groups)]
        if source.metadata.num_rows != rows or any(map(_is_too_large, groups)):
            raise NotRestored(f"{table.name}.parquet is not as an export writes it")
        as_json = {column.name for column in table.columns if isinstance(column.type, JSONB)}
        for batch in source.iter_batches(batch_size=BATCH_ROWS):
            for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                yield _line(dict(zip(source.schema_arrow.names, values, strict=True)), as_json)
    except (arrow.ArrowException, OSError) as fault:
        raise NotRestored(f"{table.name}.parquet cannot be read: {type(fault).__name__}") from None


def _is_too_large(group: Any) -> bool:
    columns = [group.column(n) for n in range(group.num_columns)]
    return group.num_rows > GROUP_ROWS or any(
        column.has_dictionary_page or column.total_uncompressed_size > MAX_GROUP_BYTES
        for column in columns
    )


def _line(record: Mapping[str, Any], as_json: Iterable[str]) -> str:
    plain: Json = {name: _plain(value) for name, value in record.items()}
    for name in as_json:
        if plain[name] is not None:
            plain[name] = orjson.Fragment(plain[name])
    return orjson.dumps(plain).decode() + "\n"


def _plain(value: Any) -> Any:
    match value:
        case Decimal():
            return str(value)
        case bytes():
            return f"\\x{value.hex()}"
        case datetime() | date():
            return value.isoformat()
    return value


# ---- both ----------------------------------------------------------------------------------------


def _summary(manifest: Json, ledger_id: UUID) -> Summary:
    files = manifest["files"]
    return Summary(
        ledger_id,
        manifest["name"],
        sum(file["rows"] for file in files.values()),
        files["transactions"]["rows"],
        manifest["checkpoint"],
    )


def _file_name(table: Portable, encoding: Encoding) -> str:
    return f"{table.name}.{encoding}"


def _measure(path: Path) -> Json:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"bytes": os.fstat(file.fileno()).st_size, "sha256": digest}


def _parquet() -> tuple[Any, Any]:
    """The modules pyarrow and pyarrow.parquet, which are large and an extra. Raises NotExported."""
    try:
        pyarrow = import_module("pyarrow")
        parquet = import_module("pyarrow.parquet")
    except ImportError:
        raise NotExported("Parquet needs the extra: pip install 'ledgers[parquet]'") from None
    return pyarrow, parquet
