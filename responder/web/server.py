"""Hypercorn's connections on a socket of ours, in the loop of the process that calls it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import ssl
from collections.abc import Sequence
from typing import Any

from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.lifespan import Lifespan
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.typing import LifespanState
from hypercorn.utils import LifespanFailureError
from starlette.applications import Starlette

from responder.errors import CertstatusError
from responder.web.connection import Connection
from responder.web.doors import Doors
from responder.web.entrance import Entrance, accept_all
from responder.web.manners import DEFAULT_MANNERS, Manners

GRACE_SECONDS = 8.0
"""How long requests under way may take once a stop was asked for; less than the supervisor's own limit."""

_GOODBYE_SECONDS = 2.0
"""How long a client's part of the end of TLS is waited for."""


class HTTPSide:
    """Hypercorn's connections, each made of a pair of streams: `connected` is for `asyncio.start_server`."""

    def __init__(
        self, app: Starlette, *, manners: Manners = DEFAULT_MANNERS, requests_a_connection: int | None = None
    ) -> None:
        """`requests_a_connection`: after so many a client has to come again."""
        self.settings = _settings(manners)
        self._manners = manners
        self._doors = Doors(manners)
        if requests_a_connection is not None:
            self.settings.keep_alive_max_requests = requests_a_connection
        self.wrapped = ASGIWrapper(app)  # type: ignore[arg-type]  # Starlette's Scope is looser than Hypercorn's
        self.state: LifespanState = {}
        self._context = WorkerContext(None)
        self._connections: set[asyncio.Task[None]] = set()

    async def connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: tuple[str, int] | None = None
    ) -> None:
        """Serve one connection to its end; `client` is whose it is, where somebody has said so."""
        task: asyncio.Task[Any] | None = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        loop = asyncio.get_running_loop()
        await Connection(
            self.wrapped,
            loop,
            self.settings,
            self._context,
            self.state,
            reader,
            writer,
            doors=self._doors,
            manners=self._manners,
            client=client,
        )

    async def take_over(self, fd: int, octets: bytes) -> None:
        """Serve a connection of which somebody else has read the beginning."""
        connection = socket.socket(fileno=fd)
        try:
            await self.take(connection, begun=octets)
        except OSError:
            connection.close()  # the client has gone

    async def take(
        self,
        connection: socket.socket,
        *,
        begun: bytes = b"",
        client: tuple[str, int] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Serve a connection, once a handshake is done where one is expected.

        Raises:
            OSError: there is none, or the client has gone.
        """
        reader = asyncio.StreamReader()
        if begun:
            reader.feed_data(begun)
        protocol = asyncio.StreamReaderProtocol(reader, functools.partial(self.connected, client=client))
        ending: dict[str, Any] = {} if tls is None else {"ssl_shutdown_timeout": _GOODBYE_SECONDS}
        await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, connection, ssl=tls, **ending)

    async def drain(self) -> None:
        """From now on an answer is its connection's last, and a client that doesn't ask soon has had it."""
        await self._context.terminated.set()

    async def close(self) -> None:
        """Let what is under way end, within GRACE_SECONDS."""
        await self.drain()
        if self._connections:
            _, late = await asyncio.wait(self._connections, timeout=GRACE_SECONDS)
            for task in late:
                task.cancel()


async def serve_http(
    app: Starlette, entrances: Sequence[Entrance], stop: asyncio.Event, *, manners: Manners = DEFAULT_MANNERS
) -> None:
    """Serve `app` at these entrances until `stop` is set and what was under way is answered.

    Raises:
        CertstatusError: what kept the application's lifespan from starting.
    """
    side = HTTPSide(app, manners=manners)
    lifespan = Lifespan(side.wrapped, side.settings, asyncio.get_running_loop(), side.state)
    living = asyncio.create_task(lifespan.handle_lifespan())
    await _started(lifespan, living)
    try:
        await serve_entrances(side, entrances, stop, manners=manners)
    finally:
        await lifespan.wait_for_shutdown()
        living.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await living


async def serve_entrances(
    side: HTTPSide, entrances: Sequence[Entrance], stop: asyncio.Event, *, manners: Manners = DEFAULT_MANNERS
) -> None:
    """Have `side` serve what comes in, until `stop` is set and what was under way is answered."""
    accepting = [asyncio.create_task(accept_all(each, side.take, stop, manners=manners)) for each in entrances]
    following = [asyncio.create_task(each.tls.follow()) for each in entrances if each.tls is not None]
    try:
        await stop.wait()
        await side.drain()
        await asyncio.gather(*accepting)
    finally:
        for task in [*accepting, *following]:
            task.cancel()
        await asyncio.gather(*accepting, *following, return_exceptions=True)
        await asyncio.sleep(0)  # those that have just been taken are connections by then
        await side.close()


def _settings(manners: Manners) -> Config:
    settings = Config()
    settings.accesslog = None
    settings.errorlog = None
    settings.include_server_header = False
    settings.h2_max_concurrent_streams = 32
    settings.h2_max_header_list_size = 16 * 1024
    settings.graceful_timeout = GRACE_SECONDS
    settings.keep_alive_timeout = manners.idle_seconds
    settings.h11_max_incomplete_size = 16 * 1024
    return settings


async def _started(lifespan: Lifespan, living: asyncio.Task[None]) -> None:
    try:
        await lifespan.wait_for_startup()
        if living.done() and (error := living.exception()) is not None:
            raise error
    except LifespanFailureError as failure:
        # The failure's text is a traceback; the error itself is its context.
        if isinstance(failure.__context__, CertstatusError):
            raise failure.__context__ from None
        raise
