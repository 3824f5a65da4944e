"""Bulk loading: postings as JSON Lines in, what became of each as JSON Lines out.

    POST /bulk/postings?ledgerId=ldgr_…

Each line is a `PostTransactionInput`, read as GraphQL reads one in a variable, and posted by itself
through the same writer. Each line that is not blank has one line of the answer, in order, and the
last line of the answer is the summary; an answer without it is cut short. What ends a load early (a
fault, a time limit, a key out of use) is told by a line with an `error` and without `line`; all
that was answered before stands. A load is resumed by sending the same again: keys make that safe.

Memory is constant, for lines in flight, which are those read and not yet answered to the client,
are bounded in number and in bytes; at the bound the body is not read. Reading and answering are two
tasks: the client may wait for an answer before it sends more, or send much before it reads.

Only, it may not send without end and read nothing: answers would fill the sockets, the window
would stay full, and both sides would wait for ever. When nothing can be sent for the time limit,
the rest of the body is taken and dropped, so that such a client comes to read, and is told. Whoever
sends at most a window before reading is safe: a window is always taken.

Time limits are on each step, never on the whole: a chunk to arrive, the oldest line to be answered,
an answer to be taken. The key is looked up again with every chunk, as a load may outlive it.
"""

import asyncio
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

import orjson
import strawberry
import structlog
from graphql import GraphQLError, OperationDefinitionNode, parse
from graphql.execution import get_variable_values
from starlette.types import Receive, Scope, Send
from strawberry.types.arguments import convert_argument

from app.api.engine.context import Context, require
from app.api.engine.plans import Planner, Plans
from app.api.enums import TransactionStatus
from app.api.errors import (
    Code,
    CodedError,
    RequestErrors,
    RequestRefused,
    render,
    report_fault,
    settled,
)
from app.api.http.graphql import (
    MAX_LOGGED_CODES,
    MAX_QUERY_PARAMETERS,
    STATUS,
    Headers,
    check_content,
    decode,
    headers_of,
    request_id_of,
)
from app.api.http.json_lines import Lines
from app.api.http.metrics import RequestCounts
from app.api.ids import LEDGER, TRANSACTION, decode_as, encode
from app.api.refusals import render as render_refusal
from app.api.transactions.mutations import PostTransactionInput, posting
from app.ledger.refusals import LedgerNotFound, Overloaded, Refusal, ValidationFailed
from app.ledger.transactions.commands import PostTransaction
from app.ledger.transactions.posting import Recorded
from app.store import rows
from app.store.database import Unavailable
from app.store.identity import Permission, Principal
from app.store.transactions.posting import Answer

PATH = "/bulk/postings"
MEDIA = "application/jsonl"
MEDIA_TYPES = (MEDIA, "application/x-ndjson")
WINDOW_LINES = 1000
WINDOW_BYTES = 4 * 1024 * 1024
"""Lines in flight of one load; the last one may go past the bytes."""

PLACE = re.compile(r"Variable '\$input' has invalid value at ([.\w\[\]]+): ")
"""graphql-core tells where the mistake is in its message alone."""

BUSY_SECONDS = 0.05
RETRYABLE = (Code.UNAVAILABLE, Code.EXECUTION_TIMEOUT)

log = structlog.get_logger(__name__)

Json = dict[str, Any]


class PostingInputs:
    """Reads `PostTransactionInput` from JSON, as GraphQL does when it is in the variable $input."""

    def __init__(self, schema: strawberry.Schema, planner: Planner) -> None:
        (operation,) = parse(
            f"mutation ($input: {PostTransactionInput.__name__}!) {{ __typename }}"
        ).definitions
        assert isinstance(operation, OperationDefinitionNode)
        self._schema = schema
        self._variables = operation.variable_definitions or ()
        self._plans = Plans(planner, operation, {})

    def read(self, value: object) -> PostTransactionInput:
        """Raises RequestErrors."""
        raw = {"input": value}
        values = self._plans.coerce(raw)
        read = self._read_slowly(raw) if values is None else values["input"]
        assert isinstance(read, PostTransactionInput)
        return read

    def _read_slowly(self, raw: Json) -> object:
        values = get_variable_values(self._schema._schema, self._variables, raw, max_errors=1)  # noqa: SLF001
        if isinstance(values, list):
            error = settled(values[0], Code.BAD_USER_INPUT)
            place = PLACE.match(error.message)
            error.path = ["input", *(re.findall(r"\w+", place[1]) if place else ())]
            raise RequestErrors(error)
        return convert_argument(
            values.coerced["input"],
            PostTransactionInput,
            self._schema.schema_converter.scalar_registry,
            self._schema.config,
        )


@dataclass(frozen=True, slots=True)
class BulkEndpoint:
    """The ASGI application for one path."""

    inputs: PostingInputs
    authenticate: Callable[[Headers], Awaitable[Principal]]
    open_context: Callable[[Principal, str], AbstractAsyncContextManager[Context]]
    max_line_bytes: int
    step_seconds: float
    counts: RequestCounts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        load = _Load(self, scope, receive, send)
        await load.run()
        seconds = time.perf_counter() - started
        self.counts.add("bulk", None, load.status, seconds)
        log.info(
            "request",
            request_id=load.request_id,
            operation="bulk",
            status=load.status,
            errors=list(load.codes)[:MAX_LOGGED_CODES],
            duration_ms=round(seconds * 1000, 2),
            **load.counts,
        )


@dataclass(slots=True)
class _Line:
    """A line in flight: waiting for the writer, or refused before it came there."""

    number: int
    size: int
    outcome: asyncio.Future[Answer] | Json

    def is_answered(self) -> bool:
        """Say whether it was decided, for or against, and not failed by a fault."""
        outcome = self.outcome
        if not isinstance(outcome, asyncio.Future):
            return True
        return outcome.done() and outcome.exception() is None


@dataclass(slots=True)
class _Load:
    """One request."""

    endpoint: BulkEndpoint
    scope: Scope
    receive: Receive
    send: Send
    headers: Headers = field(init=False)
    request_id: str = field(init=False)
    status: int = 200
    codes: dict[str, None] = field(default_factory=dict)
    counts: dict[str, int] = field(
        default_factory=lambda: {"lines": 0, "posted": 0, "replayed": 0, "refused": 0}
    )
    _started: bool = False
    _context: Context = field(init=False)
    _ledger_id: UUID = field(init=False)
    _flight: deque[_Line] = field(default_factory=deque)
    _bytes_in_flight: int = 0
    _landed: asyncio.Event = field(default_factory=asyncio.Event)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _reading: asyncio.Task[None] | None = None
    _read_to_end: bool = False
    _fault: Exception | None = None

    def __post_init__(self) -> None:
        self.headers = headers_of(self.scope)
        self.request_id = request_id_of(self.headers)

    async def run(self) -> None:
        try:
            last: Json = await self._perform()
        except asyncio.CancelledError:
            # The server ends and has no more time for us; that much is said.
            last = self._ending(Unavailable("The server is shutting down; send the same again."))
        except Exception as fault:  # noqa: BLE001 (whatever it is, the client gets an answer)
            last = self._ending(fault)
        await self._stop()
        try:
            await self._tell(_json_line(last), is_last=True)
        except RequestRefused as late:
            self.codes[late.code] = None

    async def _perform(self) -> Json:
        if self.scope["method"] != "POST":
            raise RequestRefused(
                405, Code.METHOD_NOT_ALLOWED, "Bulk loading takes POST.", {"Allow": "POST"}
            )
        async with _within(self.endpoint.step_seconds, "The request took too long."):
            principal = await self._admit()
        check_content(self.headers, *MEDIA_TYPES)
        async with self.endpoint.open_context(principal, self.request_id) as context:
            self._context = context
            self._ledger_id = await self._find_ledger()
            self._reading = asyncio.create_task(self._read())
            await self._answer()
        return dict(self.counts)

    async def _admit(self) -> Principal:
        principal = await self.endpoint.authenticate(self.headers)
        require(principal, Permission.WRITE)
        return principal

    async def _find_ledger(self) -> UUID:
        """The ledger of the address. Refuses at once what would be refused for every line."""
        text = self.scope["query_string"].decode("latin-1")
        parameters = parse_qsl(text) if text.count("&") < MAX_QUERY_PARAMETERS else []
        if [name for name, _ in parameters] != ["ledgerId"]:
            raise RequestRefused(
                400, Code.BAD_REQUEST, "ledgerId, once, is the only parameter of the address."
            )
        ((_, given),) = parameters
        ledger_id = decode_as(LEDGER, given)
        if ledger_id is None:
            raise RequestRefused(
                400, Code.BAD_REQUEST, f"ledgerId is not an id of the kind {LEDGER}_…."
            )
        snapshot = self._context.load.snapshot
        (found,) = await rows.ledgers_by_id.fetch(snapshot, [(ledger_id,)])
        await self._context.renew()
        if not found:
            missing = LedgerNotFound()
            raise RequestRefused(404, missing.code, missing.message)
        return ledger_id

    # ---- in --------------------------------------------------------------------------------------

    async def _read(self) -> None:
        """Submit line after line; what ends them early is kept until those before are answered."""
        try:
            async for raw in self._lines():
                self.counts["lines"] += 1
                if raw is not None and not raw.strip():
                    continue
                size = 0 if raw is None else len(raw)
                await self._wait_for_room()
                checked = self._check(raw)
                outcome: asyncio.Future[Answer] | Json = (
                    checked if isinstance(checked, dict) else await self._submit(checked)
                )
                line = _Line(self.counts["lines"], size, outcome)
                self._bytes_in_flight += size
                self._flight.append(line)
                self._arrived.set()
        except Exception as fault:  # noqa: BLE001 (raised again by `_answer`)
            self._fault = fault
        self._read_to_end = True
        self._arrived.set()

    async def _lines(self) -> AsyncIterator[bytes | None]:
        lines = Lines(self.endpoint.max_line_bytes)
        more = True
        while more:
            async with _within(self.endpoint.step_seconds, "The next line took too long to come."):
                message = await self.receive()
            if message["type"] != "http.request":
                raise RequestRefused(400, Code.BAD_REQUEST, "The body is incomplete.")
            self._context.principal = await self._admit()
            more = message.get("more_body", False)
            for line in lines.feed(message.get("body", b"")):
                yield line
        for line in lines.end():
            yield line

    async def _wait_for_room(self) -> None:
        while len(self._flight) >= WINDOW_LINES or self._bytes_in_flight >= WINDOW_BYTES:
            self._landed.clear()
            await self._landed.wait()

    async def _submit(self, command: PostTransaction) -> asyncio.Future[Answer]:
        """Hand over to the writer; while it is overloaded, wait, and so read no more."""
        clock = asyncio.get_running_loop().time
        end = clock() + self.endpoint.step_seconds
        while True:
            try:
                return self._context.writer.submit((command,))
            except Overloaded:
                if clock() >= end:
                    raise
            await asyncio.sleep(BUSY_SECONDS)

    def _check(self, raw: bytes | None) -> PostTransaction | Json:
        try:
            return self._posting(raw)
        except Refusal as refusal:
            return _refused(refusal)
        except RequestErrors as failure:
            return self._error(failure.errors[0])
        except RequestRefused as refusal:
            return self._error(CodedError(refusal.code, refusal.message), "input")

    def _posting(self, raw: bytes | None) -> PostTransaction:
        if raw is None:
            message = f"A line may have {self.endpoint.max_line_bytes} bytes at most."
            raise RequestRefused(413, Code.PAYLOAD_TOO_LARGE, message)
        value = decode(raw)
        if isinstance(value, dict):
            value.setdefault("ledgerId", encode(LEDGER, self._ledger_id))
        command = posting(self._context.scope, self.endpoint.inputs.read(value))
        if command.ledger_id != self._ledger_id:
            raise ValidationFailed(
                message="All lines are for the ledger in the address.", path=("input", "ledgerId")
            )
        if command.dry_run:
            raise ValidationFailed(
                message="What is loaded in bulk is recorded.", path=("input", "dryRun")
            )
        return command

    # ---- out -------------------------------------------------------------------------------------

    async def _answer(self) -> None:
        """Tell what became of each line, in order. Raises what ends the load early."""
        while await self._has_line():
            await self._decided(self._flight[0])
            answered = []
            for line in self._flight:
                if not line.is_answered():
                    break
                answered.append(line)
            await self._tell(b"".join(await self._show(answered)))
            for line in answered:
                self._flight.popleft()
                self._bytes_in_flight -= line.size
            self._landed.set()
        if self._fault is not None:
            raise self._fault

    async def _has_line(self) -> bool:
        while not self._flight and not self._read_to_end:
            self._arrived.clear()
            await self._arrived.wait()
        return bool(self._flight)

    async def _decided(self, line: _Line) -> None:
        if not isinstance(line.outcome, asyncio.Future):
            return
        await asyncio.wait({line.outcome}, timeout=self.endpoint.step_seconds)
        if not line.outcome.done():
            raise _late("A line took too long; it may have been posted.")
        line.outcome.result()

    async def _show(self, lines: Sequence[_Line]) -> list[bytes]:
        outcomes = [
            line.outcome.result() if isinstance(line.outcome, asyncio.Future) else line.outcome
            for line in lines
        ]
        past = [
            decision.transaction_id
            for outcome in outcomes
            if isinstance(outcome, list)
            for decision in outcome
            if not isinstance(decision, Recorded)
        ]
        known: Mapping[UUID, Sequence[rows.TransactionRow]] = {}
        if past:
            found = await rows.transactions_by_id.fetch(
                self._context.load.snapshot, [(transaction_id,) for transaction_id in past]
            )
            known = dict(zip(past, found, strict=True))
            await self._context.renew()
        return [
            _json_line({"line": line.number, **self._shown(outcome, known)})
            for line, outcome in zip(lines, outcomes, strict=True)
        ]

    def _shown(
        self,
        outcome: Answer | Json,
        known: Mapping[UUID, Sequence[rows.TransactionRow]],
    ) -> Json:
        if isinstance(outcome, Refusal):
            outcome = _refused(outcome)
        if isinstance(outcome, dict):
            self.counts["refused"] += 1
            self.codes[outcome["code"]] = None
            return {"error": outcome}
        (decision,) = outcome
        if isinstance(decision, Recorded):
            self.counts["posted"] += 1
            recorded = decision.transaction
            return _transaction(
                recorded.transaction_id, recorded.sequence, recorded.status.value, replayed=False
            )
        self.counts["replayed"] += 1
        (row,) = known[decision.transaction_id]
        return _transaction(row.transaction_id, row.sequence, row.status, replayed=True)

    async def _tell(self, body: bytes, *, is_last: bool = False) -> None:
        """Send a part of the answer. Raises RequestRefused where the client does not take it."""
        sending = asyncio.ensure_future(self._send(body, is_last=is_last))
        try:
            await asyncio.wait({sending}, timeout=self.endpoint.step_seconds)
            if not sending.done():
                await self._drop_body_until(sending)
                raise _late("Answers were not read in time; read them while sending.")
            sending.result()
        finally:
            sending.cancel()

    async def _send(self, body: bytes, *, is_last: bool) -> None:
        if not self._started:
            self._started = True
            headers = [
                (b"content-type", MEDIA.encode()),
                (b"cache-control", b"no-store"),
                (b"x-request-id", self.request_id.encode()),
                *self._more_headers(),
            ]
            await self.send(
                {"type": "http.response.start", "status": self.status, "headers": headers}
            )
        await self.send({"type": "http.response.body", "body": body, "more_body": not is_last})

    def _more_headers(self) -> list[tuple[bytes, bytes]]:
        if not isinstance(self._fault, RequestRefused):
            return []
        return [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in self._fault.headers.items()
        ]

    async def _drop_body_until(self, sending: asyncio.Future[None]) -> None:
        """Take the body and drop it, as long as some comes, until the client reads again."""
        await self._stop_reading()
        more = True
        while not sending.done():
            waited_for: set[asyncio.Future[Any]] = {sending}
            if more:
                waited_for.add(asyncio.ensure_future(self.receive()))
            done, undone = await asyncio.wait(
                waited_for, timeout=self.endpoint.step_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            for receiving in undone - {sending}:
                receiving.cancel()
            for received in done - {sending}:
                more = received.result().get("more_body", False)
            if not done:
                return

    async def _stop_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})

    async def _stop(self) -> None:
        """Read no more; what nobody will hear of need not be written any more."""
        await self._stop_reading()
        for line in self._flight:
            outcome = line.outcome
            if isinstance(outcome, asyncio.Future) and not outcome.cancel():
                outcome.exception()  # or else asyncio logs that nobody has asked

    def _ending(self, fault: Exception) -> Json:
        """The line that says why the load ends early, or the answer if there was none yet."""
        self._fault = fault
        status = STATUS[Code.INTERNAL_SERVER_ERROR]
        match fault:
            case RequestRefused():
                status, error = fault.status, self._error(CodedError(fault.code, fault.message))
            case CodedError():
                status, error = 403, self._error(fault)
            case Unavailable():
                status, error = 503, self._error(CodedError(Code.UNAVAILABLE, str(fault)))
            case Overloaded():
                status, error = 503, _refused(fault)
            case _:
                report_fault(fault, self.request_id)
                error = self._error(GraphQLError("", original_error=fault))
        if not self._started:
            self.status = status
        self.codes[error["code"]] = None
        return {"error": error}

    def _error(self, error: GraphQLError, *path: str) -> Json:
        shown = render(error, self.request_id)
        extensions: Any = shown["extensions"]
        code = extensions.pop("code")
        return {
            "code": code,
            "message": shown["message"],
            "path": shown.get("path", path),
            "retryable": code in RETRYABLE,
            **extensions,
        }


@asynccontextmanager
async def _within(seconds: float, message: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds) as deadline:
            yield
    except TimeoutError:
        if not deadline.expired():
            raise
        raise _late(message) from None


def _late(message: str) -> RequestRefused:
    return RequestRefused(STATUS[Code.EXECUTION_TIMEOUT], Code.EXECUTION_TIMEOUT, message)


def _refused(refusal: Refusal) -> Json:
    shown = render_refusal(refusal)
    return {
        "code": shown.code.name,
        "message": shown.message,
        "path": shown.path,
        "retryable": shown.retryable,
    }


def _transaction(transaction_id: UUID, sequence: int, status: str, *, replayed: bool) -> Json:
    return {
        "transaction": {
            "id": encode(TRANSACTION, transaction_id),
            "sequence": str(sequence),
            "status": TransactionStatus(status).name,
        },
        "replayed": replayed,
    }


def _json_line(value: Json) -> bytes:
    return orjson.dumps(value) + b"\n"
