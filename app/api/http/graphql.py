"""GraphQL over HTTP: one ASGI endpoint from bytes to bytes.

A request passes, in this order: Accept (406), method (405), credentials (401), media type and
encoding (415), size (413), JSON and its shape (400), the document and its limits, the choice of
an operation, the variables and the cost they make, execution. The first to refuse answers.
Credentials come before the body, so that strangers can make us neither read nor parse anything.
The endpoint knows nothing of organizations or databases: `authenticate` and `open_context` are
given to it.

Every answer is a GraphQL response in JSON with a request id, those of HTTP's own errors too, and
one line of the log tells of it. Bad input never earns a 500: that is for faults of ours before
execution; during execution they are masked errors in the response. The statuses:

| outcome                                          | graphql-response+json | json     |
|--------------------------------------------------|-----------------------|----------|
| executed, with or without errors                 | 200                   | 200      |
| syntax, limits, validation, operation, variables | 400                   | 200      |
| the request is not what HTTP or JSON want        | 400 405 406 413 415   | the same |
| credentials (`authenticate` says which)          | 401 403               | the same |
| not executing when the time is up                | 503                   | the same |
| fault of ours before execution                   | 500                   | the same |

The second row is what the audits of npm graphql-http want; the draft of August 2026 would have 422
in both columns, which is a change of `REQUEST_ERROR_STATUS`. When the time is up during execution
the answer is an error at 200 with `data: null`: the operation may have had its effect.
"""

import asyncio
import json
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qsl

import orjson
from graphql import ExecutionResult, GraphQLError, OperationType
from starlette.types import Receive, Scope, Send

from app.api.engine.documents import Documents, Operation, Prepared
from app.api.errors import (
    Code,
    CodedError,
    RequestErrors,
    RequestRefused,
    render,
    report,
    report_fault,
)
from app.api.http.metrics import RequestCounts
from app.api.scalars import serialize_date_time

GRAPHQL_RESPONSE = "application/graphql-response+json"
JSON = "application/json"
REQUEST_ERROR_STATUS = {GRAPHQL_RESPONSE: 400, JSON: 200}
CONTENT_TYPE = {media: f"{media}; charset=utf-8".encode() for media in (GRAPHQL_RESPONSE, JSON)}
STATUS = {
    Code.BAD_REQUEST: 400,
    Code.METHOD_NOT_ALLOWED: 405,
    Code.NOT_ACCEPTABLE: 406,
    Code.PAYLOAD_TOO_LARGE: 413,
    Code.UNSUPPORTED_MEDIA_TYPE: 415,
    Code.INTERNAL_SERVER_ERROR: 500,
    Code.EXECUTION_TIMEOUT: 503,
}

WATCHED_AFTER_SECONDS = 0.25
HUNG_UP_STATUS = 499  # only in the log: nobody is there to read it
MAX_JSON_DEPTH = 64
MAX_QUERY_PARAMETERS = 20
MAX_LOGGED_NAME = 64
MAX_LOGGED_CODES = 5
RANDOM_IDS_AT_ONCE = 64
REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
QUALITY = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")
CLOSE = MappingProxyType({"Connection": "close"})

# With every digit a zero, one search finds the integers of 19 digits and more: among them are all
# that do not fit into 64 bits, which orjson reads as floats and so would change without a word.
DIGITS_AS_ZEROS = bytes(ord("0") if chr(code).isdigit() else code for code in range(128)) + bytes(
    range(128, 256)
)
LONG_INTEGER = b"0" * 19
MAX_DIGITS = 20
LONG_INTEGERS = "Integers must fit into 64 bits; send longer ones as strings."

Headers = Mapping[bytes, bytes]


class Authenticate(Protocol):
    """Who asks: any object, passed on to `OpenContext`; or `RequestRefused`.

    The names of the headers are lower case; several of a name are joined by a comma.
    """

    def __call__(self, headers: Headers, /) -> Awaitable[object]: ...


class OpenContext(Protocol):
    """GraphQL's `context_value` for one operation, closed after it whatever happens."""

    def __call__(
        self,
        principal: Any,
        request_id: str,
        /,
    ) -> AbstractAsyncContextManager[object]: ...


class LogRequest(Protocol):
    """Writes the line of one request: what answered it (see `Exchange`), how, in how long."""

    def __call__(
        self,
        request_id: str,
        operation: str | None,
        name: str | None,
        status: int,
        road: str | None,
        errors: tuple[str, ...],
        duration_ms: float,
        /,
    ) -> None: ...


class Parameters(NamedTuple):
    """What the client asks for."""

    query: str
    operation_name: str | None
    variables: dict[str, Any]


@dataclass(slots=True, eq=False)
class Exchange:
    """What is known of a request so far: how to answer it, and what to log.

    `road` says what executed it: a plan, graphql-core after the plan "declined", or graphql-core.
    The task was cancelled because its time is up (`late`), or the client has gone (`hung_up`).
    """

    request_id: str
    media: str = JSON
    operation: Operation | None = None
    executing: bool = False
    late: bool = False
    hung_up: bool = False
    road: str | None = None


class Answer(NamedTuple):
    """A response before it is JSON."""

    status: int
    errors: list[dict[str, Any]]
    data: dict[str, Any] | None = None
    has_data: bool = False
    headers: Mapping[str, str] = MappingProxyType({})


class Deadline:
    """Cancels the tasks of exchanges that take too long, with one timer for all of them.

    All have as long, so the one that began first is the next to be late. (`asyncio.timeout` has a
    timer for each, which costs more than anything else that every request needs.)
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._running: dict[Exchange, tuple[float, asyncio.Task[Any]]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, exchange: Exchange, task: asyncio.Task[Any]) -> None:
        loop = task.get_loop()
        end = loop.time() + self._seconds
        self._running[exchange] = end, task
        if self._timer is None:
            self._timer = loop.call_at(end, self._look, loop)

    def end(self, exchange: Exchange) -> None:
        self._running.pop(exchange, None)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        while self._running:
            exchange, (end, task) = next(iter(self._running.items()))
            if end > now:
                self._timer = loop.call_at(end, self._look, loop)
                return
            del self._running[exchange]
            exchange.late = True
            task.cancel()


class GraphQLEndpoint:
    """The ASGI application for one path."""

    def __init__(
        self,
        documents: Documents,
        *,
        authenticate: Authenticate,
        open_context: OpenContext,
        log_request: LogRequest,
        max_body_bytes: int,
        execution_seconds: float,
    ) -> None:
        self._documents = documents
        self._authenticate = authenticate
        self._open_context = open_context
        self._log_request = log_request
        self._max_body_bytes = max_body_bytes
        self._deadline = Deadline(execution_seconds)
        self.counts = RequestCounts()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        headers = headers_of(scope)
        exchange = Exchange(request_id_of(headers))
        try:
            answer = await self._answer(scope, receive, headers, exchange)
        except asyncio.CancelledError:
            if not exchange.hung_up:
                raise
            self._tell(Answer(HUNG_UP_STATUS, []), exchange, time.perf_counter() - started)
            return
        try:
            body = _encoded(answer)
        except Exception as fault:  # noqa: BLE001 (a scalar's output that JSON cannot hold)
            answer = _fault(fault, exchange)
            body = _encoded(answer)
        self._tell(answer, exchange, time.perf_counter() - started)
        response_headers = [
            (b"content-type", CONTENT_TYPE[exchange.media]),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            (b"x-request-id", exchange.request_id.encode()),
        ]
        for name, value in answer.headers.items():
            response_headers.append((name.lower().encode("latin-1"), value.encode("latin-1")))
        await send(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": response_headers,
            }
        )
        await send({"type": "http.response.body", "body": body})

    def _tell(self, answer: Answer, exchange: Exchange, seconds: float) -> None:
        operation = name = None
        if exchange.operation is not None:
            operation, name = exchange.operation.type.value, exchange.operation.name
        self.counts.add(operation, exchange.road, answer.status, seconds)
        codes: tuple[str, ...] = ()
        if answer.errors:
            found = dict.fromkeys(error["extensions"]["code"] for error in answer.errors)
            codes = tuple(map(str, found))[:MAX_LOGGED_CODES]
        self._log_request(
            exchange.request_id,
            operation,
            name[:MAX_LOGGED_NAME] if name else None,
            answer.status,
            exchange.road,
            codes,
            round(seconds * 1000, 2),
        )

    async def _answer(
        self, scope: Scope, receive: Receive, headers: Headers, exchange: Exchange
    ) -> Answer:
        task = asyncio.current_task()
        assert task is not None
        self._deadline.begin(exchange, task)
        try:
            return await self._perform(scope, receive, headers, exchange)
        except asyncio.CancelledError:
            if not exchange.late or task.uncancel():  # somebody else wants it to end, too
                raise
            return _late(exchange)
        except RequestRefused as refusal:
            error = CodedError(refusal.code, refusal.message)
            return Answer(
                refusal.status, [render(error, exchange.request_id)], headers=refusal.headers
            )
        except RequestErrors as failure:
            errors = [render(error, exchange.request_id) for error in failure.errors]
            return Answer(REQUEST_ERROR_STATUS[exchange.media], errors)
        except Exception as fault:  # noqa: BLE001 (whatever it is, the client gets an answer)
            return _fault(fault, exchange)
        finally:
            self._deadline.end(exchange)

    async def _perform(
        self, scope: Scope, receive: Receive, headers: Headers, exchange: Exchange
    ) -> Answer:
        media = negotiate(headers.get(b"accept", b""))
        if media is None:
            raise _refused(
                Code.NOT_ACCEPTABLE, f"Only {GRAPHQL_RESPONSE} and {JSON} can be served."
            )
        exchange.media = media
        method = scope["method"]
        if method not in ("GET", "POST"):
            raise _refused(
                Code.METHOD_NOT_ALLOWED, "GraphQL takes GET and POST.", {"Allow": "GET, POST"}
            )
        principal = await self._authenticate(headers)
        if method == "POST":
            check_content(headers, JSON)
            parameters = _parameters(decode(await self._body(receive, headers)))
        else:
            parameters = _query_parameters(scope["query_string"])

        document = self._documents.load(parameters.query)
        operation = exchange.operation = document.select(parameters.operation_name)
        if operation.type is OperationType.SUBSCRIPTION:
            raise RequestErrors(
                CodedError(Code.OPERATION_NOT_SUPPORTED, "Subscriptions are not served here.")
            )
        if operation.type is OperationType.MUTATION and method == "GET":
            raise _refused(Code.METHOD_NOT_ALLOWED, "Mutations take POST.", {"Allow": "POST"})
        prepared = operation.prepare(parameters.variables)

        if operation.type is OperationType.QUERY:
            with _while_listened_to(receive, exchange):
                result = await self._execute(prepared, principal, exchange)
        else:
            result = await self._execute(prepared, principal, exchange)
        errors = result.errors or []
        if errors:
            report(errors, exchange.request_id)
        rendered = [render(error, exchange.request_id) for error in errors]
        return Answer(200, rendered, result.data, has_data=True)

    async def _body(self, receive: Receive, headers: Headers) -> bytes:
        limit = self._max_body_bytes
        announced = headers.get(b"content-length", b"")
        if announced.isdigit() and int(announced[:19]) > limit:
            raise self._too_large()
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise _refused(Code.BAD_REQUEST, "The body is incomplete.")
            chunk: bytes = message.get("body", b"")
            if len(body) + len(chunk) > limit:
                raise self._too_large()
            if not message.get("more_body", False):
                return bytes(body) + chunk if body else chunk
            body += chunk

    def _too_large(self) -> RequestRefused:
        message = f"The body may have {self._max_body_bytes} bytes at most."
        return _refused(Code.PAYLOAD_TOO_LARGE, message, CLOSE)

    async def _execute(
        self, prepared: Prepared, principal: object, exchange: Exchange
    ) -> ExecutionResult:
        if prepared.planned:
            result = await self._in_context(prepared.run_plan, principal, exchange)
            if result is not None:
                exchange.road = "declined" if result.errors else "plan"
                return result
        exchange.road = "declined" if prepared.planned else "graphql-core"
        result = await self._in_context(prepared.run, principal, exchange)
        if result is None:
            raise RuntimeError("open_context took an exception for itself")
        return result

    async def _in_context(
        self,
        run: Callable[[object], Awaitable[ExecutionResult | None]],
        principal: object,
        exchange: Exchange,
    ) -> ExecutionResult | None:
        result, has_run = None, False
        try:
            async with self._open_context(principal, exchange.request_id) as context:
                exchange.executing = True
                result = await run(context)
                has_run = True
        except Exception as fault:
            # What was executed stands, and its answer too, when only the closing failed.
            if not has_run:
                raise
            report_fault(fault, exchange.request_id)
        return result


@contextmanager
def _while_listened_to(receive: Receive, exchange: Exchange) -> Iterator[None]:
    """Cancel the task if the client hangs up during the block; noticed only if that takes long."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    watching: asyncio.Task[None] | None = None

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        exchange.hung_up = True
        assert task is not None
        task.cancel()

    def begin() -> None:
        nonlocal watching
        watching = loop.create_task(watch())

    timer = loop.call_later(WATCHED_AFTER_SECONDS, begin)
    try:
        yield
    finally:
        timer.cancel()
        if watching is not None:
            watching.cancel()


@lru_cache(maxsize=256)
def negotiate(accept: bytes) -> str | None:
    """The media type to answer in: by quality, then explicit before wildcard, then as listed."""
    if not accept.strip():
        return JSON
    ranks: dict[str, tuple[int, float, int]] = {}
    for position, part in enumerate(accept.decode("latin-1").lower().split(",")):
        media_range, *parameters = (item.strip() for item in part.split(";"))
        quality = _quality(parameters)
        for media in (JSON, GRAPHQL_RESPONSE):
            specificity = {media: 2, "application/*": 1, "*/*": 0}.get(media_range)
            if specificity is not None:
                rank = (specificity, quality, -position)
                ranks[media] = max(rank, ranks.get(media, rank))

    def preference(media: str) -> tuple[float, int, int]:
        specificity, quality, position = ranks[media]
        return quality, specificity, position

    acceptable = [media for media, (_, quality, _) in ranks.items() if quality > 0]
    return max(acceptable, key=preference, default=None)


def _quality(parameters: list[str]) -> float:
    quality = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "q":
            quality = float(value) if QUALITY.fullmatch(value) else 0.0
        elif name == "charset" and not _is_utf8(value):
            return 0.0
    return quality


def check_content(headers: Headers, *media: str) -> None:
    """Refuse a body unless it is of one of these media types, in UTF-8 and not encoded."""
    if not _is_content_of(headers.get(b"content-type", b""), media):
        raise _refused(
            Code.UNSUPPORTED_MEDIA_TYPE, f"Content-Type must be {' or '.join(media)} in UTF-8."
        )
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise _refused(
            Code.UNSUPPORTED_MEDIA_TYPE,
            "The body must not have a Content-Encoding.",
            {"Accept-Encoding": "identity"},
        )


@lru_cache(maxsize=256)
def _is_content_of(content_type: bytes, accepted: tuple[str, ...]) -> bool:
    media, *parameters = content_type.decode("latin-1").lower().split(";")
    if media.strip() not in accepted:
        return False
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and not _is_utf8(value.strip()):
            return False
    return True


def _is_utf8(charset: str) -> bool:
    return charset.strip('"') in ("utf-8", "utf8")


def decode(raw: bytes) -> object:
    """The JSON value, if it can be kept and answered as it was sent."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        if _holds_long_integer(raw):
            raise _refused(Code.BAD_REQUEST, LONG_INTEGERS) from None
        raise _refused(Code.BAD_REQUEST, "This is not JSON.") from None
    if raw.count(b"{") + raw.count(b"[") > MAX_JSON_DEPTH and _is_deep(value):
        message = f"JSON may be nested {MAX_JSON_DEPTH} levels deep at most."
        raise _refused(Code.BAD_REQUEST, message)
    if b"\\u0000" in raw and _holds_nul(value):
        raise _refused(Code.BAD_REQUEST, "Text must not hold the character U+0000.")
    if _holds_long_integer(raw):
        raise _refused(Code.BAD_REQUEST, LONG_INTEGERS)
    return value


def _holds_long_integer(raw: bytes) -> bool:
    """Say whether what is JSON otherwise has an integer that does not fit into 64 bits."""
    if LONG_INTEGER not in raw.translate(DIGITS_AS_ZEROS):
        return False
    try:
        json.loads(raw, parse_int=_integer)
    except _LongIntegerError:
        return True
    except (ValueError, RecursionError):
        return False
    return False


def _is_deep(value: object) -> bool:
    level = [value]
    for _ in range(MAX_JSON_DEPTH):
        level = [item for container in level for item in _items(container)]
        if not level:
            return False
    return True


def _holds_nul(value: object) -> bool:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            if "\0" in item:
                return True
        elif isinstance(item, dict):
            waiting.extend(item)
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
    return False


def _items(value: object) -> list[object]:
    if isinstance(value, dict):
        return [item for item in value.values() if isinstance(item, dict | list)]
    if isinstance(value, list):
        return [item for item in value if isinstance(item, dict | list)]
    return []


class _LongIntegerError(Exception):
    """An integer has more than 64 bits."""


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS or not -(2**63) <= int(text) < 2**64:
        raise _LongIntegerError
    return int(text)


def _query_parameters(query_string: bytes) -> Parameters:
    try:
        pairs = parse_qsl(
            query_string.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_QUERY_PARAMETERS,
        )
    except ValueError:
        message = "The query string is not form-encoded UTF-8."
        raise _refused(Code.BAD_REQUEST, message) from None
    payload: dict[str, object] = dict(pairs)
    for name in ("variables", "extensions"):
        text = payload.get(name)
        if isinstance(text, str):
            payload[name] = decode(text.encode()) if text else None
    return _parameters(payload)


def _parameters(payload: object) -> Parameters:
    if not isinstance(payload, dict):
        raise _refused(Code.BAD_REQUEST, "A request is one JSON object; batches are not served.")
    query = payload.get("query")
    if not isinstance(query, str):
        raise _refused(Code.BAD_REQUEST, "query must be a string.")
    operation_name = payload.get("operationName")
    if not isinstance(operation_name, str | None):
        raise _refused(Code.BAD_REQUEST, "operationName must be a string or null.")
    for name in ("variables", "extensions"):
        if not isinstance(payload.get(name), dict | None):
            raise _refused(Code.BAD_REQUEST, f"{name} must be an object or null.")
    return Parameters(query, operation_name or None, payload.get("variables") or {})


def _refused(
    code: Code, message: str, headers: Mapping[str, str] = MappingProxyType({})
) -> RequestRefused:
    return RequestRefused(STATUS[code], code, message, headers)


def _late(exchange: Exchange) -> Answer:
    if exchange.executing:
        message = "The operation took too long; it may have had its effect."
    else:
        message = "The request took too long."
    errors = [render(CodedError(Code.EXECUTION_TIMEOUT, message), exchange.request_id)]
    if exchange.executing:
        return Answer(200, errors, has_data=True)
    return Answer(STATUS[Code.EXECUTION_TIMEOUT], errors, headers=CLOSE)


def _fault(fault: Exception, exchange: Exchange) -> Answer:
    report_fault(fault, exchange.request_id)
    masked = render(GraphQLError("", original_error=fault), exchange.request_id)
    return Answer(STATUS[Code.INTERNAL_SERVER_ERROR], [masked])


def headers_of(scope: Scope) -> Headers:
    """The headers by lower-case name; several of a name are joined by a comma."""
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        headers[name] = headers[name] + b", " + value if name in headers else value
    return headers


def request_id_of(headers: Headers) -> str:
    """The client's name for its request if it is a good one, or else a new one."""
    given = headers.get(b"x-request-id")
    if given is not None and REQUEST_ID.fullmatch(given):
        return given.decode()
    return next(_request_ids)


def _random_ids() -> Iterator[str]:
    """Ids of 128 random bits; the system is asked for many at once."""
    while True:
        digits = secrets.token_hex(16 * RANDOM_IDS_AT_ONCE)
        for start in range(0, len(digits), 32):
            yield digits[start : start + 32]


_request_ids = _random_ids()


def _encoded(answer: Answer) -> bytes:
    body: dict[str, object] = {}
    if answer.errors:
        body["errors"] = answer.errors
    if answer.has_data:
        body["data"] = answer.data
    try:
        return orjson.dumps(body, None, orjson.OPT_UTC_Z)
    except TypeError:
        # Integers past 64 bits, and depths past 254 levels, are JSON nonetheless.
        return json.dumps(body, allow_nan=False, default=serialize_date_time).encode()
