"""Connecting to the authority, hearing from it, and saying in our words when it can't be reached."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from responder import log
from responder.errors import ConfigError, StatusUnavailable

_log = log.get("storage.postgres")

Pool = asyncpg.Pool
Connection = asyncpg.Connection | PoolConnectionProxy

MIN_SERVER_VERSION = 15
COMMAND_SECONDS = 30.0
LONG_SECONDS = 600.0
"""For a statement that goes through all certificates, or all changes, of an issuer or of all."""

CONNECT_SECONDS = 5.0
_MAX_PAUSE_SECONDS = 5.0


@contextmanager
def translating() -> Iterator[None]:
    """Turn what asyncpg and the network raise into `StatusUnavailable`; faults in our SQL rise as they are."""
    try:
        yield
    except (
        OSError,
        TimeoutError,
        asyncpg.PostgresConnectionError,
        asyncpg.InterfaceError,
        asyncpg.OperatorInterventionError,
        asyncpg.InsufficientResourcesError,
        asyncpg.TransactionRollbackError,
        asyncpg.ReadOnlySQLTransactionError,
        asyncpg.InvalidAuthorizationSpecificationError,
        asyncpg.InvalidCatalogNameError,
    ) as error:
        raise StatusUnavailable(f"the database can't be used now: {error or type(error).__name__}") from error
    except asyncpg.UndefinedTableError as error:
        raise ConfigError("the database has no schema yet; run: certstatus db migrate") from error


async def _prepare(connection: asyncpg.Connection) -> None:
    version = connection.get_server_version()
    if version.major < MIN_SERVER_VERSION:
        raise ConfigError(f"PostgreSQL {version.major} is too old; {MIN_SERVER_VERSION} or later is needed")
    # Status is read from the primary only: a replica may lag behind a revocation (design §4.1).
    if await connection.fetchval("SELECT pg_is_in_recovery()"):
        raise StatusUnavailable("postgres.url leads to a standby; it must lead to the primary")
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")


async def connect(url: str, *, pool_size: int, application_name: str, password: str | None = None) -> asyncpg.Pool:
    """A pool of connections to the primary.

    Raises:
        StatusUnavailable: it can't be reached, or refuses us.
        ConfigError: it is too old.
    """
    try:
        with translating():
            return await asyncpg.create_pool(
                url,
                password=password,
                min_size=1,
                max_size=pool_size,
                timeout=CONNECT_SECONDS,
                command_timeout=COMMAND_SECONDS,
                init=_prepare,
                server_settings={"application_name": application_name, "timezone": "UTC"},
            )
    except StatusUnavailable as error:
        raise StatusUnavailable(
            f"{error}; see whether the server that postgres.url names runs and lets us in"
        ) from error


@asynccontextmanager
async def acquired(pool: asyncpg.Pool, *, seconds: float = CONNECT_SECONDS) -> AsyncIterator[PoolConnectionProxy]:
    """A connection from the pool, its failures in our words.

    Args:
        seconds: how long to wait for one, and for its being given back.

    Raises:
        StatusUnavailable: none can be had, or it was lost.
    """
    with translating():
        async with pool.acquire(timeout=seconds) as connection:
            yield connection


class Listener:
    """One connection that hears NOTIFY; comes back by itself when it is lost.

    The callback runs for each notification, and once for each channel whenever the connection was made anew, since
    what was said in between was missed.
    """

    def __init__(
        self,
        url: str,
        channels: Sequence[str],
        callback: Callable[[str], None],
        *,
        password: str | None = None,
    ) -> None:
        self._url = url
        self._channels = tuple(channels)
        self._callback = callback
        self._password = password
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Listener:
        self._task = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _listen(self) -> None:
        pause = 0.1
        failures = log.News()
        while True:
            try:
                with translating():
                    await self._listen_once()
                pause = 0.1
                failures.is_over()
            except (StatusUnavailable, ConfigError) as error:
                if failures.is_news(str(error)):
                    _log.warning("listener_lost", error=str(error))
            await asyncio.sleep(pause)
            pause = min(2 * pause, _MAX_PAUSE_SECONDS)

    async def _listen_once(self) -> None:
        ended = asyncio.Event()
        connection: asyncpg.Connection = await asyncpg.connect(
            self._url,
            password=self._password,
            timeout=CONNECT_SECONDS,
            command_timeout=COMMAND_SECONDS,
            server_settings={"application_name": "certstatus listener"},
        )
        try:
            connection.add_termination_listener(lambda _: ended.set())
            for channel in self._channels:
                await connection.add_listener(channel, self._heard)
            for channel in self._channels:
                self._callback(channel)
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(ended.wait(), COMMAND_SECONDS)
                if not ended.is_set():
                    # A dead peer says nothing: ask.
                    await connection.execute("SELECT 1")
        finally:
            await asyncio.shield(_close(connection))

    def _heard(self, connection: object, pid: int, channel: str, payload: object) -> None:
        self._callback(channel)


async def _close(connection: asyncpg.Connection) -> None:
    try:
        await connection.close(timeout=1)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection.terminate()


def quoted(text: str) -> str:
    """A literal of SQL, for statements that take no arguments."""
    return "'" + text.replace("'", "''") + "'"


def row_count(command_tag: str) -> int:
    """How many rows a command touched, from its tag, such as `UPDATE 3`."""
    return int(command_tag.rsplit(" ", 1)[-1])


Row = Any
