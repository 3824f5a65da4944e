"""Importing statement files: a file in, its import out.

    POST /statements/import?externalAccountId=xacc_…&format=CSV&profile=NAME&name=FILENAME

The body is the file itself, compressed by gzip if it says so. Piece by piece it is read on a
thread, by the reader of its format, and the lines are staged (see `store.intake`); memory is
constant, as neither the file nor its lines are ever held. While that goes on the import can be
looked at by others. At the end all is stored by one transaction, or nothing is: a file that is not
as its format wants, a client that hangs up or falls silent, and a server that ends leave a failed
import behind that says why, and where in the file.

Time limits are on each step, never on the whole: a piece to arrive, a statement of the database.
The key is looked up again with every piece, as an import may outlive it.

Once all of a file has come, nobody need wait for what becomes of it: a client that hangs up then
finds it by `statementImport`, or sends it again and is told. And a refusal in the middle of a file
is for a client that may not listen before it has sent the rest. The connection closed under it, it
would lose the answer as well; so the answer goes first, and then the rest is taken and dropped, as
long as some comes, for a bounded time.
"""

import asyncio
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl

import orjson
import structlog
from graphql import GraphQLError
from starlette.types import Receive, Scope, Send

from app.api.engine.context import Context, require
from app.api.enums import ImportFailureCode, ImportStatus, by_word
from app.api.enums import StatementFormat as FormatName
from app.api.errors import Code, CodedError, RequestRefused, render, report_fault
from app.api.http.graphql import (
    MAX_LOGGED_CODES,
    MAX_QUERY_PARAMETERS,
    STATUS,
    Headers,
    headers_of,
    request_id_of,
)
from app.api.http.metrics import RequestCounts
from app.api.ids import EXTERNAL_ACCOUNT, EXTERNAL_STATEMENT, IMPORT, decode_as, encode
from app.api.reconciliation.formats.camt import CamtReader
from app.api.reconciliation.formats.cells import CsvReader, Profile
from app.api.reconciliation.formats.ofx import OfxReader
from app.api.reconciliation.formats.reading import Books, Reader
from app.api.reconciliation.formats.swift import SwiftReader
from app.api.reconciliation.outside import books_of
from app.ledger.reconciliation.outside import (
    FailureCode,
    ImportFailed,
    Line,
    StatementFormat,
    difference,
)
from app.ledger.refusals import ExternalAccountNotFound, Overloaded, Refusal, ValidationFailed
from app.ledger.transactions.commands import MAX_NAME_LENGTH, check_text
from app.store import rows
from app.store.database import Unavailable
from app.store.identity import Permission, Principal
from app.store.reading import Page
from app.store.reconciliation.intake import Intake, NewImport, copied

PATH = "/statements/import"
MAX_IMPORTS = 4
"""Imports of one process at a time: each has a session of the database, and a thread at times."""

MAX_RATIO, UNSUSPICIOUS_BYTES = 100, 4 * 1024 * 1024
TOO_DENSE = f"The body unpacks to more than {MAX_RATIO} times its size."
"""Beyond the first bytes; a statement shrinks to a tenth or so, a bomb to a thousandth."""

PIECE_BYTES = 65_536
LINES_AT_ONCE = 5000
PROGRESS_SECONDS = 0.5
STATEMENTS_SHOWN = 100
FAILED_STATUS = 422

LINGER_SECONDS, SILENCE_SECONDS = 30.0, 5.0
"""How long the rest of a refused file is taken, in all and from piece to piece."""

log = structlog.get_logger(__name__)

Json = dict[str, Any]

_FAILURE = by_word(ImportFailureCode)
_STATUS = by_word(ImportStatus)


@dataclass(slots=True)
class ImportEndpoint:
    """The ASGI application for one path."""

    authenticate: Callable[[Headers], Awaitable[Principal]]
    open_context: Callable[[Principal, str], AbstractAsyncContextManager[Context]]
    max_bytes: int
    step_seconds: float
    counts: RequestCounts
    under_way: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        upload = _Upload(self, scope, receive)
        answer = await upload.run()
        body = orjson.dumps(answer)
        headers = [
            (b"content-type", b"application/json; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            (b"x-request-id", upload.request_id.encode()),
            *upload.more_headers,
        ]
        seconds = time.perf_counter() - started
        self.counts.add("import", None, upload.status, seconds)
        log.info(
            "request",
            request_id=upload.request_id,
            operation="import",
            status=upload.status,
            errors=upload.codes[:MAX_LOGGED_CODES],
            duration_ms=round(seconds * 1000, 2),
            bytes=upload.bytes_read,
            lines=upload.lines_read,
        )
        await send({"type": "http.response.start", "status": upload.status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await upload.linger()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the address asks for."""

    new: NewImport
    reader: Reader
    digest: Any


@dataclass(slots=True)
class _Upload:
    """One request."""

    endpoint: ImportEndpoint
    scope: Scope
    receive: Receive
    headers: Headers = field(init=False)
    request_id: str = field(init=False)
    status: int = 200
    codes: list[str] = field(default_factory=list)
    more_headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    bytes_read: int = 0
    lines_read: int = 0
    _is_whole: bool = False
    _context: Context = field(init=False)

    def __post_init__(self) -> None:
        self.headers = headers_of(self.scope)
        self.request_id = request_id_of(self.headers)

    async def run(self) -> Json:  # noqa: PLR0911  one a kind of ending
        """What became of it, as JSON."""
        try:
            return await self._perform()
        except RequestRefused as refusal:
            self.more_headers = [
                (name.lower().encode("latin-1"), value.encode("latin-1"))
                for name, value in refusal.headers.items()
            ]
            return self._error(refusal.status, CodedError(refusal.code, refusal.message))
        except CodedError as error:
            return self._error(403, error)
        except ImportFailed as failure:  # and that could not be kept
            name = _FAILURE[failure.code.value].name
            return self._error(FAILED_STATUS, CodedError(name, failure.message))
        except Refusal as refusal:
            status = 404 if isinstance(refusal, ExternalAccountNotFound) else FAILED_STATUS
            status = 503 if isinstance(refusal, Overloaded) else status
            return self._error(status, CodedError(refusal.code, refusal.message))
        except Unavailable as fault:
            return self._error(503, CodedError(Code.UNAVAILABLE, str(fault)))
        except Exception as fault:  # noqa: BLE001 (whatever it is, the client gets an answer)
            report_fault(fault, self.request_id)
            return self._error(500, GraphQLError("", original_error=fault))

    async def linger(self) -> None:
        """Take what is left of the body, up to what a file may have, and drop it."""
        if b"expect" in self.headers and not self.bytes_read:
            return  # then the body is not sent before somebody asks for it
        left = self.endpoint.max_bytes
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while not self._is_whole and left > 0:
                    async with asyncio.timeout(SILENCE_SECONDS):
                        message = await self.receive()
                    left -= len(message.get("body", b""))
                    self._is_whole = not message.get("more_body", False)

    async def _perform(self) -> Json:
        if self.scope["method"] != "POST":
            raise RequestRefused(
                405, Code.METHOD_NOT_ALLOWED, "Statements are sent by POST.", {"Allow": "POST"}
            )
        principal = await self._admit()
        self._check_headers()
        async with self.endpoint.open_context(principal, self.request_id) as context:
            self._context = context
            asked = await self._asked()
            await context.renew()
            if self.endpoint.under_way >= MAX_IMPORTS:
                raise Overloaded(message="Enough files are being imported; try again later.")
            self.endpoint.under_way += 1
            try:
                return await self._import(asked)
            finally:
                self.endpoint.under_way -= 1

    async def _admit(self) -> Principal:
        try:
            async with asyncio.timeout(self.endpoint.step_seconds):
                principal = await self.endpoint.authenticate(self.headers)
        except TimeoutError:
            raise _refused(Code.EXECUTION_TIMEOUT, "The request took too long.") from None
        require(principal, Permission.WRITE)
        return principal

    def _check_headers(self) -> None:
        if self.headers.get(b"content-type", b"").lower().startswith(b"multipart/"):
            raise _refused(
                Code.UNSUPPORTED_MEDIA_TYPE, "The body is the file itself, not a form with it."
            )
        encoding = self.headers.get(b"content-encoding", b"identity").lower()
        if encoding not in (b"identity", b"gzip"):
            raise _refused(Code.UNSUPPORTED_MEDIA_TYPE, "The only Content-Encoding taken is gzip.")
        if (self._announced() or 0) > self.endpoint.max_bytes:
            raise _refused(Code.PAYLOAD_TOO_LARGE, self._too_large())

    def _announced(self) -> int | None:
        length = self.headers.get(b"content-length", b"")
        return int(length[:19]) if length.isdigit() else None

    def _too_large(self) -> str:
        return f"A file may have {self.endpoint.max_bytes} bytes at most, unpacked."

    # ---- what is asked for -----------------------------------------------------------------------

    async def _asked(self) -> _Asked:
        told = self._parameters()
        external_account_id = decode_as(EXTERNAL_ACCOUNT, told["externalAccountId"])
        if external_account_id is None:
            raise _refused(
                Code.BAD_REQUEST,
                f"externalAccountId is not an id of the kind {EXTERNAL_ACCOUNT}_….",
            )
        names = {name.name: StatementFormat(name.value) for name in FormatName}
        kind = names.get(told["format"])
        if kind is None or kind is StatementFormat.ROWS:
            raise _refused(Code.BAD_REQUEST, "format is CSV, CAMT_053, CAMT_054, MT940 or OFX.")
        source_name = told.get("name")
        try:
            check_text("name", source_name, MAX_NAME_LENGTH)
        except ValidationFailed as refusal:
            raise _refused(Code.BAD_REQUEST, refusal.message) from None
        books = await books_of(self._context, external_account_id)
        definition = await self._definition(kind, books, told.get("profile"))
        new = NewImport(
            self._context.scope,
            self._context.principal.api_key_id,
            external_account_id,
            kind.value,
            source_name,
            definition,
            self._announced(),
        )
        digest = sha256(orjson.dumps([kind.value, definition], None, orjson.OPT_SORT_KEYS))
        return _Asked(new, _reader(kind, definition, books), digest)

    def _parameters(self) -> dict[str, str]:
        text = self.scope["query_string"].decode("latin-1")
        short = text.count("&") < MAX_QUERY_PARAMETERS
        pairs = parse_qsl(text, keep_blank_values=True) if short else []
        told = dict(pairs)
        if (
            len(told) != len(pairs)
            or not told.keys() >= {"externalAccountId", "format"}
            or not told.keys() <= {"externalAccountId", "format", "profile", "name"}
        ):
            raise _refused(
                Code.BAD_REQUEST,
                "The address has externalAccountId and format, and may have profile and name, each"
                " once.",
            )
        return told

    async def _definition(
        self, kind: StatementFormat, books: Books, profile: str | None
    ) -> Json | None:
        if (kind is StatementFormat.CSV) != (profile is not None):
            raise _refused(Code.BAD_REQUEST, "CSV needs a profile, and nothing else has one.")
        if profile is None:
            return None
        found = None
        if "\0" not in profile:
            found = await self._context.load.one(
                rows.import_profiles_by_name, books.ledger_id, profile, build=lambda row: row
            )
        if found is None:
            raise _refused(Code.BAD_REQUEST, "The ledger has no import profile of this name.")
        definition: Json = found.definition
        return definition

    # ---- the import ------------------------------------------------------------------------------

    async def _import(self, asked: _Asked) -> Json:
        intake = await Intake.begin(self._context.database, asked.new)
        try:
            try:
                await self._read(intake, asked)
                row = await intake.store(asked.reader.statements, asked.digest.digest())
            except BaseException as fault:
                failure = _failure(fault)
                with suppress(Unavailable):
                    failed = await asyncio.shield(intake.fail(failure))
                    if failed is not None and isinstance(fault, ImportFailed):
                        return await self._shown(failed)
                raise
            return await self._shown(row)
        finally:
            await intake.close()

    async def _read(self, intake: Intake, asked: _Asked) -> None:
        reading = _Reading(asked.reader)
        shown_at = time.monotonic()
        async for piece in self._pieces(intake):
            asked.digest.update(piece)
            for lines in await asyncio.to_thread(reading.take, piece):
                await intake.stage(lines)
            intake.read.lines = self.lines_read = reading.lines
            if time.monotonic() - shown_at >= PROGRESS_SECONDS:
                with suppress(Unavailable):
                    await intake.show_progress()
                shown_at = time.monotonic()
        for lines in await asyncio.to_thread(reading.end):
            await intake.stage(lines)
        intake.read.lines = self.lines_read = reading.lines
        intake.read.skipped = asked.reader.skipped

    async def _pieces(self, intake: Intake) -> AsyncIterator[bytes]:
        """The file, unpacked, in pieces of a bounded size. Raises ImportFailed."""
        packed = self.headers.get(b"content-encoding", b"identity").lower() == b"gzip"
        gunzip, total = Gunzip() if packed else None, 0
        async for chunk in self._body():
            self.bytes_read += len(chunk)
            intake.read.bytes = self.bytes_read
            for piece in gunzip.feed(chunk) if gunzip else _cut(chunk):
                total += len(piece)
                if max(total, self.bytes_read) > self.endpoint.max_bytes:
                    raise ImportFailed(FailureCode.TOO_LARGE, self._too_large())
                if total > UNSUSPICIOUS_BYTES + MAX_RATIO * self.bytes_read:
                    raise ImportFailed(FailureCode.TOO_LARGE, TOO_DENSE)
                yield piece
        if gunzip:
            gunzip.end()

    async def _body(self) -> AsyncIterator[bytes]:
        while not self._is_whole:
            try:
                async with asyncio.timeout(self.endpoint.step_seconds):
                    message = await self.receive()
            except TimeoutError:
                raise ImportFailed(
                    FailureCode.INTERRUPTED, "The rest of the file took too long to come."
                ) from None
            self._is_whole = not message.get("more_body", False)
            if message["type"] != "http.request":
                raise ImportFailed(FailureCode.INTERRUPTED, "The client hung up.")
            self._context.principal = await self._admit()
            yield message.get("body", b"")

    # ---- out -------------------------------------------------------------------------------------

    async def _shown(self, row: rows.ImportRow) -> Json:
        shown: Json = {
            "id": encode(IMPORT, row.import_id),
            "status": _STATUS[row.status].name,
            "linesRead": row.lines_read,
            "linesNew": row.lines_new,
            "linesKnown": row.lines_known,
            "linesSkipped": row.lines_skipped,
        }
        answer: Json = {"import": shown, "recognised": row.original_import_id is not None}
        if row.failure_code is not None:
            code = _FAILURE[row.failure_code]
            failure = {
                "code": code.name,
                "message": row.failure_message,
                "line": row.failure_line,
                "column": row.failure_column,
            }
            shown["failure"] = failure
            too_large = code is ImportFailureCode.TOO_LARGE
            self.status = STATUS[Code.PAYLOAD_TOO_LARGE] if too_large else FAILED_STATUS
            self.codes.append(code.name)
            return answer
        if row.original_import_id is not None:
            shown["original"] = encode(IMPORT, row.original_import_id)
        shown["statements"] = await self._statements(row)
        return answer

    async def _statements(self, row: rows.ImportRow) -> list[Json]:
        """The first statements of the import, or of the one that stored the same before."""
        page = Page("number", descending=False, limit=STATEMENTS_SHOWN)
        (found,) = await rows.statements_of_import.fetch(
            self._context.load.snapshot, [row.original_import_id or row.import_id], page
        )
        await self._context.renew()
        return [_statement(statement) for statement in found]

    def _error(self, status: int, error: GraphQLError) -> Json:
        self.status = status
        shown = render(error, self.request_id)
        extensions: Any = shown["extensions"]
        self.codes.append(str(extensions["code"]))
        return {"error": {"message": shown["message"], **extensions}}


@dataclass(slots=True)
class _Reading:
    """What runs on a thread: pieces of the file in, lines for COPY out."""

    reader: Reader
    lines: int = 0
    _statement: int = 0
    _position: int = 0
    _waiting: list[tuple[int, int, Line]] = field(default_factory=list)

    def take(self, piece: bytes) -> list[bytes]:
        """Read a piece; what is to be staged. Raises ImportFailed."""
        return self._gathered(self.reader.feed(piece), least=LINES_AT_ONCE)

    def end(self) -> list[bytes]:
        """Read what is left."""
        return self._gathered(self.reader.end(), least=1)

    def _gathered(self, lines: Iterator[tuple[int, Line]], least: int) -> list[bytes]:
        for statement, line in lines:
            if statement != self._statement:
                self._statement, self._position = statement, 0
            self._position += 1
            self.lines += 1
            self._waiting.append((statement, self._position, line))
        if len(self._waiting) < least:
            return []
        waiting, self._waiting = self._waiting, []
        return [copied(waiting)]


class Gunzip:
    """Unpacks gzip, of one member or several, in pieces of a bounded size."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)

    def feed(self, packed: bytes) -> Iterator[bytes]:
        """What these bytes hold. Raises ImportFailed."""
        is_full = False
        while packed or is_full:
            if self._member.eof:
                self._member = zlib.decompressobj(wbits=31)
            try:
                piece = self._member.decompress(packed, PIECE_BYTES)
            except zlib.error:
                raise ImportFailed(FailureCode.MALFORMED, "The body is not gzip.") from None
            packed = self._member.unconsumed_tail or self._member.unused_data
            is_full = len(piece) == PIECE_BYTES and not self._member.eof
            if piece:
                yield piece

    def end(self) -> None:
        """Refuse what was cut short. Raises ImportFailed."""
        if not self._member.eof:
            raise ImportFailed(FailureCode.MALFORMED, "The body is gzip that is cut short.")


def _cut(chunk: bytes) -> Iterator[bytes]:
    for start in range(0, len(chunk), PIECE_BYTES):
        yield chunk[start : start + PIECE_BYTES]


def _reader(kind: StatementFormat, definition: Json | None, books: Books) -> Reader:
    match kind:
        case StatementFormat.CSV:
            assert definition is not None
            return CsvReader(Profile(definition), books)
        case StatementFormat.MT940:
            return SwiftReader(books)
        case StatementFormat.OFX:
            return OfxReader(books)
        case _:
            return CamtReader(kind, books)


def _failure(fault: BaseException) -> ImportFailed:
    """What is told of a failed import to whoever looks at it later."""
    match fault:
        case ImportFailed():
            return fault
        case Refusal() | CodedError() | RequestRefused():
            return ImportFailed(FailureCode.REFUSED, fault.message)
        case asyncio.CancelledError():
            return ImportFailed(FailureCode.INTERRUPTED, "The server ended; send it again.")
        case Unavailable():
            message = "The database did not answer; send it again later."
            return ImportFailed(FailureCode.INTERRUPTED, message)
        case _:
            return ImportFailed(FailureCode.FAULT, "A fault of the server's; send it again later.")


def _statement(row: rows.ExternalStatementRow) -> Json:
    missing = difference(row.opening_balance, row.line_total, row.closing_balance)
    return {
        "id": encode(EXTERNAL_STATEMENT, row.external_statement_id),
        "number": row.number,
        "reference": row.reference,
        "currency": row.currency,
        "from": row.from_date,
        "through": row.through_date,
        "openingBalance": _amount(row.opening_balance),
        "closingBalance": _amount(row.closing_balance),
        "lineCount": row.line_count,
        "knownCount": row.known_count,
        "lineTotal": _amount(row.line_total),
        "difference": _amount(missing),
        "balanced": None if missing is None else missing == 0,
    }


def _amount(amount: int | None) -> str | None:
    return None if amount is None else str(amount)


def _refused(code: Code, message: str) -> RequestRefused:
    return RequestRefused(STATUS[code], code, message)
