"""The life of one process of a role: its event loop, its signals, its heartbeat and what it does again and again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import uvloop

from responder import log
from responder.errors import CertstatusError

_log = log.get("process")


def process_identity() -> str:
    """What this process is called where it holds a lease."""
    return f"{host_identity()}:{os.getpid()}"


@cache
def host_identity() -> str:
    """The name of this host, and which boot and which space of process ids of it."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    space = Path("/proc/self/ns/pid").readlink().name.strip("pid:[]")
    return f"{socket.gethostname()}/{boot}-{space}"


def has_ended(identity: str) -> bool:
    """Whether a `process_identity` is of a process of this host, this boot and this space of ids that is no more."""
    host, _, pid = identity.rpartition(":")
    if host != host_identity() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # there is one, of another user
    return False


class Process(Protocol):
    """What a role's process tells whoever started it."""

    def ready(self) -> None:
        """It answers from now on."""

    def beat(self) -> None:
        """It is alive; called about once a second."""


def run_process(process: Process, main: Callable[[asyncio.Event], Awaitable[None]]) -> int:
    """Run one role until SIGTERM; the exit code: 0 after an orderly end, 1 when it can't go on."""

    async def supervised() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_TellOfUnhandled())
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        async with background(_beat(process)):
            await main(stop)

    try:
        uvloop.run(supervised())
    except CertstatusError as error:
        _log.error("process_failed", error=str(error))
        return 1
    return 0


class _TellOfUnhandled:
    """One line a second for what nobody handles in the loop: it may be brought about from outside, again and again."""

    def __init__(self) -> None:
        self._may_log = log.OncePerSecond()

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if self._may_log("unhandled"):
            error = context.get("exception")
            _log.error("unhandled", message=context.get("message"), error=None if error is None else repr(error))


async def _beat(process: Process) -> None:
    while True:
        process.beat()
        await asyncio.sleep(1)


@asynccontextmanager
async def background(*coroutines: Awaitable[object]) -> AsyncIterator[None]:
    """Run these beside the block. One that fails takes the process down: half a process is worse than a restart."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]

    def end_process(task: asyncio.Future[object]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("background_task_failed", error=repr(error))
            os.kill(os.getpid(), signal.SIGTERM)

    for task in tasks:
        task.add_done_callback(end_process)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def repeatedly(
    once: Callable[[], Awaitable[bool]],
    *,
    idle_seconds: float,
    wake: asyncio.Event | None = None,
    longest_pause: float = 10,
) -> None:
    """Call `once` for ever: at once again while it returns True, else after `idle_seconds` or when woken.

    A failing dependency is logged, when that is news, and tried again, later each time, up to `longest_pause` seconds.
    """
    pause = 0.0
    failures = log.News()
    while True:
        try:
            busy = await once()
            pause = 0.0 if busy else idle_seconds
            if failures.is_over():
                _log.info("works_again", task=once.__name__)
        except (CertstatusError, OSError) as error:  # OSError: out of descriptors or disk, which passes
            if failures.is_news(str(error)):
                _log.warning("will_try_again", task=once.__name__, error=str(error))
            pause = min(max(2 * pause, 0.5), longest_pause)
        if wake is None:
            await asyncio.sleep(pause)
            continue
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(wake.wait(), pause)
        wake.clear()
