"""Following the list that another CA keeps: whenever it has changed it is taken over."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from responder.errors import CertstatusError, StatusUnavailable
from responder.interfaces import Clock
from responder.operations.importing import StatusList

_SETTLED_SECONDS = 2.0
"""A file that was written since then may be written again at the very same time, as its file system counts."""

_MAX_PAUSE_SECONDS = 30.0

Mark = tuple[int, int, int]
"""Which file it is, when it was written, and its size."""


async def follow(
    path: Path,
    *,
    read: Callable[[Path], StatusList],
    take: Callable[[StatusList], Awaitable[None]],
    tell: Callable[[CertstatusError], None],
    stop: asyncio.Event,
    clock: Clock,
    seconds: float = 1.0,
) -> None:
    """Take over a list now, and again whenever its octets have changed, until `stop` is set.

    What is wrong with the file, or refused, is told once and then left until the file changes; while the database can't
    be reached it is tried again and again.

    Args:
        read: gives what is in the file; raises ConfigError or ImportRejected.
        take: takes it over as a whole; raises what its store raises.
        tell: hears what keeps the list from being taken over.
        seconds: between two looks.
    """
    looked_at: Mark | None = None
    taken: bytes | None = None
    told: str | None = None
    pause = seconds
    while not stop.is_set():
        mark = await asyncio.to_thread(_mark_of, path)
        if mark is None or mark != looked_at:
            try:
                statuses = await asyncio.to_thread(read, path)
                if statuses.sha256 != taken:
                    await take(statuses)
                    taken = statuses.sha256
                told, pause = None, seconds
            except CertstatusError as error:
                if str(error) != told:
                    tell(error)
                told = str(error)
                if isinstance(error, StatusUnavailable):
                    mark, pause = None, min(2 * pause, _MAX_PAUSE_SECONDS)
                else:
                    pause = seconds
            looked_at = mark if mark is not None and _is_settled(mark, clock) else None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await stop.wait()


def _mark_of(path: Path) -> Mark | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _is_settled(mark: Mark, clock: Clock) -> bool:
    return clock.now().timestamp() - mark[1] / 1e9 > _SETTLED_SECONDS
