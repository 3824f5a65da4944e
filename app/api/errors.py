"""Errors as clients see them: every one has a code, and none tells of what went on inside.

Three kinds leave the API at the top level of a response. `RequestRefused` is HTTP's business
(credentials, methods, media types): it has its own status and headers. `RequestErrors` are
GraphQL's before execution (syntax, limits, variables): the response has no `data`. Anything else
was raised by a resolver: a `GraphQLError` with a code was meant for the client and passes; so do
GraphQL's own complaints about argument values; all other exceptions are faults of ours, shown as
"Internal server error" with the request's id, under which the log tells where it happened.

The log gets types, places, SQLSTATEs and names of constraints, never messages: those of drivers
quote rows, and those of `KeyError` and its like quote keys.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import islice
from traceback import StackSummary, walk_tb
from types import MappingProxyType
from typing import Any

import structlog
from graphql import GraphQLError, ValueNode
from strawberry.exceptions import StrawberryInputCoercionError

from app.store.database import Unavailable

MAX_MESSAGE_CHARACTERS = 1000
MAX_LOGGED_FAULTS = 5
MAX_LOGGED_CAUSES = 5
MAX_LOGGED_FRAMES = 20

log = structlog.get_logger(__name__)


class Code(StrEnum):
    """The codes this package gives; resolvers may raise a `CodedError` with others."""

    GRAPHQL_PARSE_FAILED = "GRAPHQL_PARSE_FAILED"
    GRAPHQL_VALIDATION_FAILED = "GRAPHQL_VALIDATION_FAILED"
    QUERY_TOO_LARGE = "QUERY_TOO_LARGE"
    QUERY_TOO_COMPLEX = "QUERY_TOO_COMPLEX"
    OPERATION_RESOLUTION_FAILURE = "OPERATION_RESOLUTION_FAILURE"
    OPERATION_NOT_SUPPORTED = "OPERATION_NOT_SUPPORTED"
    BAD_USER_INPUT = "BAD_USER_INPUT"
    INVALID_CURSOR = "INVALID_CURSOR"
    EXECUTION_TIMEOUT = "EXECUTION_TIMEOUT"
    UNAVAILABLE = "UNAVAILABLE"
    INTERNAL_SERVER_ERROR = "INTERNAL_SERVER_ERROR"
    BAD_REQUEST = "BAD_REQUEST"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    NOT_FOUND = "NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    NOT_ACCEPTABLE = "NOT_ACCEPTABLE"
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
    STATEMENT_TOO_LONG = "STATEMENT_TOO_LONG"


class CodedError(GraphQLError):
    """An error meant for the client: its message, code and extensions are shown as they are."""

    def __init__(self, code: str, message: str, **extensions: object) -> None:
        super().__init__(message, extensions={"code": str(code), **extensions})


class RequestErrors(Exception):
    """The request fails before execution; its response has `errors` and no `data`."""

    def __init__(self, *errors: GraphQLError) -> None:
        super().__init__(*errors)
        self.errors: Sequence[GraphQLError] = errors


class RequestRefused(Exception):
    """HTTP refuses the request, whatever GraphQL it carries."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = str(code)
        self.message = message
        self.headers = headers


def settled(error: GraphQLError, code: str) -> CodedError:
    """The error under a code (unless it has one), without its hold on document and traceback."""
    own_code = error.extensions.get("code") if error.extensions else None
    coded = CodedError(own_code if isinstance(own_code, str) else code, _clipped(error.message))
    coded.locations = error.locations
    return coded


def render(error: GraphQLError, request_id: str) -> dict[str, object]:
    """The error as JSON; what has no code is masked."""
    code = code_of(error)
    shown: dict[str, Any] = {}
    if code is None:
        shown["message"] = "Internal server error"
    else:
        shown["message"] = _clipped(error.message)
    if error.locations:
        shown["locations"] = [location.formatted for location in error.locations]
    if error.path:
        shown["path"] = error.path
    if code is None:
        shown["extensions"] = {"code": Code.INTERNAL_SERVER_ERROR, "requestId": request_id}
    else:
        shown["extensions"] = {**(error.extensions or {}), "code": code}
        if code == Code.UNAVAILABLE:
            shown["extensions"]["retryable"] = True
    return shown


def code_of(error: GraphQLError) -> str | None:
    """The code to show, or None where the error is a fault of ours.

    graphql-core wraps what resolvers raise, copying extensions and nodes from any exception that
    has such attributes: only those of a `GraphQLError` are taken for meant. Without a code only
    one thing is the client's doing: a value in an argument, known by the node it points at.
    """
    raised = error.original_error or error
    if isinstance(raised, Unavailable):
        return Code.UNAVAILABLE
    if not isinstance(raised, GraphQLError):
        return None
    code = error.extensions.get("code") if error.extensions else None
    if isinstance(code, str):
        return code
    if isinstance(raised, StrawberryInputCoercionError):
        return Code.BAD_USER_INPUT
    if any(isinstance(node, ValueNode) for node in error.nodes or ()):
        return Code.BAD_USER_INPUT
    return None


def report(errors: Iterable[GraphQLError], request_id: str) -> None:
    """Log the faults among the errors of one response, a few at most."""
    faults = (error for error in errors if code_of(error) is None)
    for error in islice(faults, MAX_LOGGED_FAULTS):
        path = ".".join(map(str, error.path or ()))
        report_fault(error.original_error or error, request_id, path=_clipped(path))


def report_fault(fault: BaseException, request_id: str, **context: object) -> None:
    """Log where an exception came from, and nothing of what it says."""
    causes = [_place(cause) for cause in islice(_chain(fault), MAX_LOGGED_CAUSES)]
    log.error("internal_error", request_id=request_id, causes=causes, **context)


def _chain(fault: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting = [fault]
    while waiting:
        exception = waiting.pop()
        if id(exception) in seen:
            continue
        seen.add(id(exception))
        yield exception
        earlier = exception.__cause__
        if earlier is None and not exception.__suppress_context__:
            earlier = exception.__context__
        if earlier is not None:
            waiting.append(earlier)
        if isinstance(exception, BaseExceptionGroup):
            waiting.extend(reversed(exception.exceptions))


def _place(exception: BaseException) -> dict[str, object]:
    place: dict[str, object] = {
        "type": f"{type(exception).__module__}.{type(exception).__qualname__}"
    }
    if isinstance(sqlstate := getattr(exception, "sqlstate", None), str):
        place["sqlstate"] = sqlstate
        constraint = getattr(getattr(exception, "diag", None), "constraint_name", None)
        if isinstance(constraint, str):
            place["constraint"] = constraint
    frames = StackSummary.extract(
        walk_tb(exception.__traceback__), limit=-MAX_LOGGED_FRAMES, lookup_lines=False
    )
    place["frames"] = [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
    return place


def _clipped(text: str) -> str:
    if len(text) <= MAX_MESSAGE_CHARACTERS:
        return text
    return text[:MAX_MESSAGE_CHARACTERS] + "…"
