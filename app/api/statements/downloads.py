"""Statements as files: GET /statements/stmt_….json, .csv or .pdf, with the API key of GraphQL.

JSON and CSV are streamed a page at a time, each page from a snapshot of its own, so a client that
reads slowly holds neither memory nor a connection to the database; one that stops reading is cut
off after the time limit. What fails midway ends the connection, so that a part never looks whole.

A PDF is laid out in memory and by a thread, one at a time a process; a statement with more lines
than `MAX_PDF_LINES` is refused with STATEMENT_TOO_LONG.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import orjson
import structlog
from graphql import GraphQLError
from starlette.types import Receive, Scope, Send

from app.api.errors import Code, CodedError, RequestRefused, render, report_fault
from app.api.http.graphql import JSON, Headers, headers_of, request_id_of
from app.api.http.metrics import RequestCounts
from app.api.ids import STATEMENT, decode_as
from app.api.statements.files import as_csv, as_json, file_name
from app.ledger.statements.statements import Line, Statement
from app.store import rows
from app.store.database import Database, Unavailable
from app.store.identity import Principal
from app.store.statements.statements import Read, adjustments, lines, reading

PATH = "/statements/{name}"
MAX_PDF_LINES = 5000
MEDIA = {"json": JSON, "csv": "text/csv; charset=utf-8; header=present", "pdf": "application/pdf"}

_NAME = re.compile(r"(stmt_[0-9a-f]{32})\.(json|csv|pdf)", re.ASCII)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DownloadEndpoint:
    """The ASGI application for the path."""

    database: Database
    authenticate: Callable[[Headers], Awaitable[Principal]]
    step_seconds: float
    counts: RequestCounts
    _drawing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        headers = headers_of(scope)
        answer = _Answer(send, request_id_of(headers), self.step_seconds)
        hanging_up = asyncio.create_task(_hang_up(receive))
        try:
            await self._answer(scope, headers, answer, hanging_up)
        except Exception as fault:  # noqa: BLE001 (whatever it is, the client gets an answer)
            await answer.fail(fault)
        finally:
            hanging_up.cancel()
            seconds = time.perf_counter() - started
            self.counts.add("download", None, answer.status, seconds)
            log.info(
                "request",
                request_id=answer.request_id,
                operation="download",
                status=answer.status,
                errors=[answer.code] if answer.code else [],
                duration_ms=round(seconds * 1000, 2),
            )

    async def _answer(
        self,
        scope: Scope,
        headers: Headers,
        answer: "_Answer",
        hanging_up: asyncio.Future[None],
    ) -> None:
        method = scope["method"]
        if method not in ("GET", "HEAD"):
            raise RequestRefused(
                405, Code.METHOD_NOT_ALLOWED, "Statements take GET.", {"Allow": "GET, HEAD"}
            )
        principal = await self.authenticate(headers)
        statement, kind = await self._find(principal, scope["path_params"]["name"])
        tag = f'"{statement.content_hash.hex()}"'
        answer.headers |= {
            "etag": f"W/{tag}" if kind == "pdf" else tag,  # another release may draw it otherwise
            "cache-control": "private, no-cache",
            "content-disposition": f'attachment; filename="{file_name(statement, kind)}"',
        }
        if _matches(headers.get(b"if-none-match", b""), tag):
            await answer.begin(304)
            return
        answer.headers["content-type"] = MEDIA[kind]
        if method == "HEAD":
            await answer.begin(200)
            return
        async for part in self._parts(statement, kind, reading(self.database, principal.scope)):
            if hanging_up.done():
                return
            await answer.body(part)
        await answer.end()

    async def _find(self, principal: Principal, name: str) -> tuple[Statement, str]:
        match = _NAME.fullmatch(name)
        statement_id = None if match is None else decode_as(STATEMENT, match[1])
        if match is not None and statement_id is not None:
            snapshot = self.database.snapshot(principal.scope)
            try:
                ((*found,),) = await rows.statements_by_id.fetch(snapshot, [(statement_id,)])
            finally:
                await snapshot.close()
            if found:
                return found[0], match[2]
        raise RequestRefused(
            404, Code.NOT_FOUND, "No such file of a statement is visible to the API key."
        )

    async def _parts(self, statement: Statement, kind: str, read: Read) -> AsyncIterator[bytes]:
        if kind == "pdf":
            yield await self._pdf(statement, read)
            return
        write = as_json if kind == "json" else as_csv
        async for part in write(statement, adjustments(read, statement), lines(read, statement)):
            yield part

    async def _pdf(self, statement: Statement, read: Read) -> bytes:
        if statement.line_count > MAX_PDF_LINES:
            raise _too_long()
        async with self._drawing:
            earlier: list[Line] = []
            async for page in adjustments(read, statement):
                earlier += page
                if len(earlier) > MAX_PDF_LINES:
                    raise _too_long()
            of_period = [line async for page in lines(read, statement) for line in page]
            return await asyncio.to_thread(_drawn, statement, earlier, of_period)


def _drawn(statement: Statement, adjustments: Sequence[Line], lines: Sequence[Line]) -> bytes:
    from app.api.statements.pdf import as_pdf  # its library takes a tenth of a server's start

    return as_pdf(statement, adjustments, lines)


@dataclass(slots=True)
class _Answer:
    """The response as far as it has come."""

    send: Send
    request_id: str
    step_seconds: float
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200
    started: bool = False
    code: str | None = None

    async def begin(self, status: int, body: bytes = b"") -> None:
        """Send a whole response."""
        self.headers["content-length"] = str(len(body))
        if status == 304 or not body:
            del self.headers["content-length"]
        await self._start(status)
        await self._send(body, more=False)

    async def body(self, part: bytes) -> None:
        if not self.started:
            await self._start(200)
        if part:
            await self._send(part, more=True)

    async def end(self) -> None:
        await self._send(b"", more=False)

    async def fail(self, fault: Exception) -> None:
        """Answer with an error as GraphQL writes one.

        A file that has begun is left unfinished, for which the server ends the connection.
        """
        if self.started:
            self.code = Code.EXECUTION_TIMEOUT
            if not isinstance(fault, TimeoutError):
                self.code = Code.INTERNAL_SERVER_ERROR
                report_fault(fault, self.request_id)
            return
        headers: dict[str, str] = {}
        match fault:
            case RequestRefused():
                status, headers = fault.status, dict(fault.headers)
                error: GraphQLError = CodedError(fault.code, fault.message)
            case Unavailable():
                status, error = 503, CodedError(Code.UNAVAILABLE, str(fault))
            case _:
                report_fault(fault, self.request_id)
                status, error = 500, GraphQLError("", original_error=fault)
        shown = render(error, self.request_id)
        self.code = str(shown["extensions"]["code"])  # type: ignore[index]
        self.headers = {
            "content-type": f"{JSON}; charset=utf-8",
            "cache-control": "no-store",
            **{name.lower(): value for name, value in headers.items()},
        }
        await self.begin(status, orjson.dumps({"errors": [shown]}))

    async def _start(self, status: int) -> None:
        self.started, self.status = True, status
        named = {**self.headers, "x-request-id": self.request_id}
        encoded = [(name.encode(), value.encode("latin-1")) for name, value in named.items()]
        await self.send({"type": "http.response.start", "status": status, "headers": encoded})

    async def _send(self, body: bytes, *, more: bool) -> None:
        async with asyncio.timeout(self.step_seconds):
            await self.send({"type": "http.response.body", "body": body, "more_body": more})


async def _hang_up(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _matches(given: bytes, tag: str) -> bool:
    """Say whether If-None-Match names the tag; weakly, as it compares."""
    tags = [part.strip().removeprefix("W/") for part in given.decode("latin-1").split(",")]
    return tag in tags or tags == ["*"]


def _too_long() -> RequestRefused:
    return RequestRefused(
        422,
        Code.STATEMENT_TOO_LONG,
        f"A PDF has up to {MAX_PDF_LINES} lines; take the statement as JSON or CSV.",
    )
