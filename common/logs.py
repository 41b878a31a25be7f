"""Structured logs on standard error: stable dotted events with fields; it knows no event.

Prompts, answers and keys are never passed to a logger; `_mask` is the second line, for what slips through.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import TYPE_CHECKING, Literal

import structlog
from structlog.typing import EventDict, WrappedLogger

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger as Logger  # noqa: F401  # re-exported name for annotations

_SECRET_NAME = re.compile(r"(?i)authorization|api_?key|password|secret|creds")
_SECRET_VALUE = re.compile(r"\b(?:sk|fd)[-_][A-Za-z0-9_-]{16,}|(?<=://)[^/@\s]+:[^/@\s]+(?=@)|(?i:bearer )\S+")


def configure(process: str, *, level: str = "INFO", fmt: Literal["auto", "console", "json"] = "auto") -> None:
    """Send all logs of this process to standard error; `process` stands in every line."""
    console = fmt == "console" or (fmt == "auto" and sys.stderr.isatty())
    numeric = logging.getLevelNamesMapping()[level]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _mask,
            *([] if console else [structlog.processors.format_exc_info]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(numeric),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    logging.basicConfig(
        level=max(numeric, logging.WARNING), stream=sys.stderr, format="%(levelname)s %(name)s %(message)s"
    )


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """Give a logger; `name` stands in each of its lines as `logger`."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(logger=name)
    return logger


def _mask(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        if _SECRET_NAME.search(key):
            event[key] = "(hidden)"
        elif isinstance(value, str):
            event[key] = _SECRET_VALUE.sub("(hidden)", value)
    return event
