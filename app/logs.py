"""Structured logs: one event a line, with names instead of sentences.

Nothing here may carry a secret or a client's literal; who logs gives types, codes, counts and ids.
Of an exception only its type and place are logged, for its message may quote values.

Every request logs a line, so a line must be cheap: few processors, one write. And it is never worth
more than the request: a line that cannot be written (nobody reads any more, the disk is full) is
dropped, and whoever logs hears nothing of it.
"""

import io
import json
import logging
import re
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Literal, TextIO, cast

import orjson
import structlog

INNERMOST = 5
BARE = re.compile(r"[!#-<>-\[\]-~]+")
"""Printable ASCII but for quotes, backslashes and equal signs, which would need quotes."""


class _Dropping(io.TextIOBase):
    """A stream that takes every line, and drops those that the stream behind it does not."""

    def __init__(self, behind: TextIO) -> None:
        self._behind = behind

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):  # ValueError: it is closed
            self._behind.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._behind.flush()


class _Lines:
    """What structlog writes to: a stream that is told each line at once, and flushes it itself."""

    def __init__(self, stream: TextIO) -> None:
        self._write = stream.write

    def line(self, text: str) -> None:
        self._write(f"{text}\n")

    debug = info = warning = error = critical = line


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
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
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
        level=max(logging.WARNING, logging.getLevelNamesMapping()[level.upper()]),
        force=True,
    )


def _stamp(always: Mapping[str, object]) -> structlog.typing.Processor:
    """Put time, level and event before the rest."""

    def stamp(
        _logger: object, method: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        now = datetime.now(UTC).isoformat(timespec="microseconds").removesuffix("+00:00")
        level = "error" if method == "exception" else method
        name = event.pop("event")
        return {"timestamp": f"{now}Z", "level": level, "event": name, **always, **event}

    return stamp


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
