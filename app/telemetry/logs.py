"""Logs on standard error: sizes, times and ids, never content that a user sent."""

import logging
import sys
import traceback
from functools import partial
from types import TracebackType
from typing import Literal

import structlog

LogFormat = Literal["auto", "json", "text"]

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

# Causes can refer to each other in a circle.
_MAX_CAUSES = 8
_PROCESSES_WITH_USER_DATA = ("http", "pictures")
"""In these processes an exception's message may quote a request, so it is not logged."""

_SILENT = ("PIL", "python_multipart")
"""Libraries whose log lines quote the data that they parse."""


def configure_logs(level: str, process: str, log_format: LogFormat = "auto") -> None:
    """Send every log line of this process to standard error, those of libraries included.

    This includes Python's warnings and the exception that ends the process.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        process: name of this process in every line: `supervisor`, `http`, `pictures`, `engine`.
        log_format: `json` writes one JSON object per line, `text` writes lines for people; `auto`
            writes text to a terminal and JSON to a file or a pipe.
    """
    exceptions = structlog.processors.format_exc_info
    if process in _PROCESSES_WITH_USER_DATA:
        exceptions = structlog.processors.ExceptionRenderer(_describe)
    for library in _SILENT:
        logging.getLogger(library).setLevel(logging.CRITICAL + 1)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        partial(_add_process, process),
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        exceptions,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        # A cached logger would keep the configuration of the time of its first use.
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            # Lines of libraries do not pass through structlog; this chain adds the same fields.
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _renderer(log_format),
            ],
        )
    )
    # `force` replaces the handlers that a library has installed.
    logging.basicConfig(handlers=[handler], level=_LEVELS[level], force=True)
    logging.captureWarnings(True)
    sys.excepthook = _log_unforeseen


def _add_process(
    process: str, _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    # Not a context variable, which the threads of libraries do not have.
    event["process"] = process
    return event


def _renderer(log_format: LogFormat) -> structlog.typing.Processor:
    is_terminal = sys.stderr.isatty()
    if log_format == "json" or (log_format == "auto" and not is_terminal):
        return structlog.processors.JSONRenderer()
    return structlog.dev.ConsoleRenderer(
        colors=is_terminal,
        # The chain has already formatted the exception, and in some processes removed its message.
        exception_formatter=structlog.dev.plain_traceback,
    )


def _log_unforeseen(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    get_logger().critical("process failed", exc_info=(kind, error, trace))


def _describe(
    exc_info: tuple[type[BaseException], BaseException, TracebackType | None],
) -> str:
    """Return the class and the traceback of an exception and of its causes, without messages."""
    parts: list[str] = []
    error: BaseException | None = exc_info[1]
    while error is not None and len(parts) < _MAX_CAUSES:
        parts.append("".join(traceback.format_tb(error.__traceback__)) + type(error).__qualname__)
        error = error.__cause__ or error.__context__
    return "\n\n".join(parts)


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """Return the project's logger; use it as `get_logger().info("ready", port=8000)`."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger("kosmos2")
    return logger
