"""Structured logs on standard error: stable dotted events with fields; it knows no event.

Prompts, answers and keys are never passed to a logger; `_mask` is the second line, for what slips through. A log line is part of
every job's cost, so masking looks at the rendered line once, and only when it holds something like a secret.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import Any, Literal, TextIO, cast

from common import codec
from common.sparing import left_out

# For tracebacks with local variables, which are never written here: 3 MB and 0.1 s of each process. And for threads of a kind that
# there are none of.
with left_out("rich", "greenlet"):
    import structlog
    from structlog.typing import EventDict, WrappedLogger

_loggers: list[Any] = []
"""All that were given out: they are put together at their first line, and anew when the level or the format has changed."""

_SUSPECT = ("://", "sk-", "dr_", "drs_", "earer ", "assword", "ecret", "api_key", "apikey", "uthorization", "creds")
_SECRET = re.compile(
    r"\b(?:sk|drs?)[-_][A-Za-z0-9_-]{16,}"
    r"|(?<=://)[^/@\s\"]+:[^/@\s\"]+(?=@)"
    r"|(?i:(?<=bearer )\S+)"
    r"|(?i:(?:authorization|api_?key|password|secret|creds)\"?[=:] ?)\"?[^\s\",}]+"
)


class _Lossy:
    """A stream whose reader may go, as a terminal does: what can't be written is dropped. Nobody dies of a log line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            return 0

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            pass  # as above


def configure(process: str, *, level: str = "INFO", fmt: Literal["auto", "console", "json"] = "auto") -> None:
    """Send all logs of this process to standard error; `process` stands in every line."""
    console = fmt == "console" or (fmt == "auto" and sys.stderr.isatty())
    numeric = logging.getLevelNamesMapping()[level]
    # The default tracebacks show local variables, and with them prompts.
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        if console
        else structlog.processors.JSONRenderer(serializer=_json)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if console else [structlog.processors.format_exc_info]),
            renderer,
            _mask,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(numeric),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", _Lossy(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
    logging.getLogger().setLevel(max(numeric, logging.WARNING))
    for logger in _loggers:
        vars(logger).pop("bind", None)  # where structlog keeps what it has put together


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """Give a logger; `name` stands in each of its lines as `area`."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(area=name)
    _loggers.append(logger)
    return logger


def _json(event: EventDict, **_: Any) -> str:
    return codec.encode(event).decode()


def _mask(_logger: WrappedLogger, _method: str, line: Any) -> Any:
    """Hide what looks like a secret in the rendered line."""
    if isinstance(line, str) and any(word in line for word in _SUSPECT):
        return _SECRET.sub("(hidden)", line)
    return line


if not structlog.is_configured():
    # In a producer's own process, which never calls `configure`, a library speaks up only when something is wrong.
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
    )
