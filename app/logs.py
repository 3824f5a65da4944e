"""Structured logs: one event a line, with names instead of sentences.

Nothing here may carry a secret or a client's literal; who logs gives types, codes, counts and ids.
Of an exception only its type and place are logged, for its message may quote values.
"""

import logging
import sys
import traceback
from typing import Literal

import structlog

INNERMOST = 5


def configure_logs(form: Literal["console", "json"], level: str) -> None:
    """Send all logs, those of libraries too, to standard error in one form."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _place_exception,
    ]
    renderer: structlog.typing.Processor
    if form == "json":
        renderer = structlog.processors.JSONRenderer()
    elif sys.stderr.isatty():
        renderer = structlog.dev.ConsoleRenderer()
    else:
        renderer = structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"])
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
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
