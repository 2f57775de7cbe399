"""Logs as JSON lines on standard error: sizes, times and ids, nothing of the user's."""

import logging
import sys
import traceback
from types import TracebackType

import structlog

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

_MAX_CAUSES = 8
_OF_USERS = ("http", "pictures")
"""Processes that see what users send: an exception's message may hold some of it."""

_SILENT = ("PIL", "python_multipart")
"""Libraries that log what they read."""


def configure_logs(level: str, process: str) -> None:
    """Send every log of this process, libraries' included, to standard error as JSON lines.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        process: what this process is (`supervisor`, `http`, `pictures`, `engine`), told in every
            line.
    """
    exceptions = structlog.processors.format_exc_info
    if process in _OF_USERS:
        exceptions = structlog.processors.ExceptionRenderer(_describe)
    for library in _SILENT:
        logging.getLogger(library).setLevel(logging.CRITICAL + 1)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        exceptions,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(process=process)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=_LEVELS[level], force=True)


def log_unforeseen(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """For `sys.excepthook`: what ends a process is a line of the log like any other."""
    get_logger().critical("process failed", exc_info=(kind, error, trace))


def _describe(
    exc_info: tuple[type[BaseException], BaseException, TracebackType | None],
) -> str:
    """An exception by its kind and its place, and those that led to it; without their messages."""
    parts: list[str] = []
    error: BaseException | None = exc_info[1]
    while error is not None and len(parts) < _MAX_CAUSES:
        parts.append("".join(traceback.format_tb(error.__traceback__)) + type(error).__qualname__)
        error = error.__cause__ or error.__context__
    return "\n\n".join(parts)


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """The logger of the project: `get_logger().info("ready", port=8000)`."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger("kosmos2")
    return logger
