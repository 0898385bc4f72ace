"""One event per line, as JSON for machines or readable for people."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import Any

import structlog

Logger = structlog.stdlib.BoundLogger


def configure(*, level: str = "info", format: str = "json") -> None:  # noqa: A002 - the configuration's name
    """Send all logging of this process to stderr.

    Args:
        level: debug, info, warning or error.
        format: `json` (one object a line) or `text`.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    # Of its own accord it tells each failed attempt to connect with a traceback; what it means for us we say ourselves.
    logging.getLogger("asyncpg").setLevel(logging.CRITICAL)
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, renderer]
        if format == "json"
        else [*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def get(name: str) -> Any:
    """The logger of one module; `name` becomes the stable key `component`."""
    return structlog.get_logger(component=name)


class OncePerSecond:
    """Whether a line of a kind may be logged: one a second, so that nobody outside can fill the disk."""

    def __init__(self) -> None:
        self._logged_at: dict[str, float] = {}

    def __call__(self, kind: str) -> bool:
        """True once a second for each kind; kinds are few, and ours."""
        now = time.monotonic()
        if now - self._logged_at.get(kind, -1.0) < 1.0:
            return False
        self._logged_at[kind] = now
        return True


class News:
    """Whether what goes wrong again and again is worth a line: when it is something else than before, and once a
    minute while it stays."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._told: str | None = None
        self._told_at = 0.0

    def is_news(self, text: str) -> bool:
        """Called with what went wrong, each time."""
        now = self._monotonic()
        if text == self._told and now - self._told_at < SECONDS_BETWEEN_REMINDERS:
            return False
        self._told, self._told_at = text, now
        return True

    def is_over(self) -> bool:
        """Called each time that it went well; True when it didn't before."""
        was, self._told = self._told, None
        return was is not None


SECONDS_BETWEEN_REMINDERS = 60.0
