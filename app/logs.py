"""Structured logs: one event a line, with names instead of sentences.

Nothing here may carry a secret or a client's literal; who logs gives types, codes, counts and ids.
Of an exception only its type and place are logged, for its message may quote values.

Every request logs a line, so a line must be cheap: few processors, and one write for all lines of a
turn of the event loop. And it is never worth more than the request: a line that cannot be written
(nobody reads any more, the disk is full) is dropped, and whoever logs hears nothing of it.
"""

import asyncio
import atexit
import io
import json
import logging
import re
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal, TextIO, cast

import orjson
import structlog

INNERMOST = 5
BARE = re.compile(r"[!#-<>-\[\]-~]+")
"""Printable ASCII but for quotes, backslashes and equal signs, which would need quotes."""


class _Dropping(io.TextIOBase):
    """A stream that takes every line, and drops those that the stream behind it does not.

    Lines of an event loop are written together when its turn ends; without one, at once.
    """

    def __init__(self, behind: TextIO) -> None:
        self._behind = behind
        self._waiting: deque[str] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        atexit.register(self._go_on)

    def write(self, text: str) -> int:
        self._waiting.append(text)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._go_on()
        else:
            if loop is not self._loop:
                self._loop = loop
                loop.call_soon(self._go_on)
        return len(text)

    def flush(self) -> None:
        self._go_on()
        with suppress(OSError, ValueError):  # ValueError: it is closed
            self._behind.flush()

    def _go_on(self) -> None:
        self._loop = None
        pieces: list[str] = []
        with suppress(IndexError):  # another thread may take some, too
            while True:
                pieces.append(self._waiting.popleft())
        with suppress(OSError, ValueError):
            self._behind.write("".join(pieces))


class _Lines:
    """What structlog writes to: a stream that is told each line at once, and flushes it itself."""

    def __init__(self, stream: TextIO) -> None:
        self._write = stream.write

    def line(self, text: str) -> None:
        self._write(f"{text}\n")

    debug = info = warning = error = critical = line


@dataclass(frozen=True, slots=True, eq=False)
class _Form:
    """How logs are written here; `processors` are structlog's, which a test may exchange."""

    processors: list[structlog.typing.Processor]
    stamp: structlog.typing.Processor
    renderer: structlog.typing.Processor
    write: Callable[[str], object]
    tells_requests: bool


_form: _Form | None = None
log = structlog.get_logger(__name__)


def log_request(
    request_id: str,
    operation: str | None,
    name: str | None,
    status: int,
    road: str | None,
    errors: tuple[str, ...],
    duration_ms: float,
) -> None:
    """Log one request: the line that `log.info` makes of the same, at a third of its price.

    All but its id, which is of ASCII letters and the like, and its time recur from one to the next.
    """
    form = _form
    if form is None or form.processors[-1] is not form.renderer:
        log.info(
            "request",
            request_id=request_id,
            operation=operation,
            name=name,
            status=status,
            road=road,
            errors=list(errors),
            duration_ms=duration_ms,
        )
    elif form.tells_requests:
        start, after_time, after_id, end = _pieces(form, operation, name, status, road, errors)
        form.write(f"{start}{_now()}{after_time}{request_id}{after_id}{duration_ms}{end}\n")


@lru_cache(1024)
def _pieces(
    form: _Form,
    operation: str | None,
    name: str | None,
    status: int,
    road: str | None,
    errors: tuple[str, ...],
) -> tuple[str, ...]:
    """What is around a request's time, id and duration."""
    event = form.stamp(
        None,
        "info",
        {
            "event": "request",
            "request_id": "THE-ID",
            "operation": operation,
            "name": name,
            "status": status,
            "road": road,
            "errors": list(errors),
            "duration_ms": 0.0123456789,
        },
    )
    assert isinstance(event, dict)
    event["timestamp"] = "THE-TIME"
    line = form.renderer(None, "info", event)
    assert isinstance(line, str)
    return tuple(re.split("THE-TIME|THE-ID|0.0123456789", line))


def configure_logs(form: Literal["console", "json"], level: str, **always: object) -> None:
    """Send all logs, those of libraries too, to standard error in one form.

    Every line says what is `always` the same in this process.
    """
    shared: list[structlog.typing.Processor] = [_stamp(always), _place_exception]
    lines = cast(TextIO, _Dropping(sys.stderr))
    renderer: structlog.typing.Processor
    if form == "json":
        renderer = _render_json
    elif sys.stderr.isatty():
        renderer = structlog.dev.ConsoleRenderer()
    else:
        renderer = _render_logfmt
    processors = [*shared, renderer]
    lowest = logging.getLevelNamesMapping()[level.upper()]
    global _form  # noqa: PLW0603  as structlog's own configuration
    _form = _Form(processors, shared[0], renderer, lines.write, lowest <= logging.INFO)
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(lowest),
        logger_factory=lambda *_: _Lines(lines),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(lines)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(
        handlers=[handler],
        level=max(logging.WARNING, lowest),
        force=True,
    )


def _stamp(always: Mapping[str, object]) -> structlog.typing.Processor:
    """Put time, level and event before the rest."""

    def stamp(
        _logger: object, method: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        level = "error" if method == "exception" else method
        name = event.pop("event")
        return {"timestamp": _now(), "level": level, "event": name, **always, **event}

    return stamp


def _now() -> str:
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return f"{_second(seconds)}.{nanoseconds // 1000:06d}Z"


@lru_cache(1)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _render_json(_logger: object, _method: str, event: structlog.typing.EventDict) -> str:
    try:
        return orjson.dumps(event, default=repr).decode()
    except TypeError:  # lone surrogates, integers past 64 bits
        return json.dumps(event, default=repr)


def _render_logfmt(_logger: object, _method: str, event: structlog.typing.EventDict) -> str:
    return " ".join([f"{name}={_logfmt(value)}" for name, value in event.items()])


def _logfmt(value: object) -> str:
    """The value as it is, or in JSON's quotes where spaces and the like would mislead."""
    if value is None:
        return ""
    if value is True or value is False:
        return "true" if value else "false"
    text = str(value)
    return text if BARE.fullmatch(text) else json.dumps(text)


def _place_exception(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Put the exception's type and the innermost places of its traceback for the exception."""
    exc_info = event.pop("exc_info", None)
    exception = sys.exc_info()[1] if exc_info is True else exc_info
    if isinstance(exception, tuple):
        exception = exception[1]
    if isinstance(exception, BaseException):
        frames = traceback.extract_tb(exception.__traceback__)[-INNERMOST:]
        event["exception"] = f"{type(exception).__module__}.{type(exception).__qualname__}"
        event["at"] = [f"{frame.filename}:{frame.lineno}" for frame in frames]
    return event
