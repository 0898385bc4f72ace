"""What a process keeps in memory is read again when somebody announces a change, and now and then."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from responder import log
from responder.config import Config
from responder.errors import CertstatusError
from responder.host.process import background
from responder.storage.postgres import Listener

_log = log.get("roles.current")

CONFIGURATION_SECONDS = 30.0
"""How often issuers, signers and CRLs are read again although nobody announced a change."""


def listening_for_changes(config: Config, changed: asyncio.Event) -> Listener:
    """Sets the event whenever a status has changed, and once at its beginning."""
    return Listener(
        config.postgres.url,
        ["certstatus_status"],
        lambda channel: changed.set(),
        password=config.postgres.password(),
    )


@asynccontextmanager
async def kept_current(config: Config, reloads: Mapping[str, Callable[[], Awaitable[None]]]) -> AsyncIterator[None]:
    """Run each reload now, and again after an announcement on its channel and every CONFIGURATION_SECONDS.

    Raises:
        StatusUnavailable: the first reading failed.
    """
    changed = {channel: asyncio.Event() for channel in reloads}

    async def follow(channel: str, reload: Callable[[], Awaitable[None]]) -> None:
        pause = 1.0
        failures = log.News()
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed[channel].wait(), CONFIGURATION_SECONDS)
            changed[channel].clear()
            try:
                await reload()
                pause = 1.0
                if failures.is_over():
                    _log.info("works_again", channel=channel)
            except (CertstatusError, OSError) as error:  # OSError: key files, when descriptors have run out
                if failures.is_news(str(error)):
                    _log.warning("reload_failed", channel=channel, error=str(error))
                await asyncio.sleep(pause)
                pause = min(2 * pause, CONFIGURATION_SECONDS)
                changed[channel].set()

    for reload in reloads.values():
        await reload()
    listener = Listener(
        config.postgres.url,
        list(reloads),
        lambda channel: changed[channel].set(),
        password=config.postgres.password(),
    )
    async with listener, background(*(follow(channel, reload) for channel, reload in reloads.items())):
        yield
