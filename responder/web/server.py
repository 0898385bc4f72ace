"""Hypercorn's connections on a socket of ours, in the loop of the process that calls it.

HTTP/1.x alone is spoken: nobody asks OCSP or fetches CRLs by cleartext HTTP/2, and a few connections of rapid reset or
of floods of settings kept a worker from answering anyone until it was killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

import h11
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.lifespan import Lifespan
from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.events import Event, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.typing import ConnectionState, LifespanState
from hypercorn.utils import LifespanFailureError, parse_socket_addr
from starlette.applications import Starlette

from responder.errors import CertstatusError
from responder.pki import Framing

GRACE_SECONDS = 8.0
"""How long requests under way may take once a stop was asked for; less than the supervisor's own limit."""


class HTTPSide:
    """Hypercorn's connections, each made of a pair of streams: `connected` is for `asyncio.start_server`."""

    def __init__(self, app: Starlette, *, requests_a_connection: int | None = None) -> None:
        """`requests_a_connection`: after so many a client has to come again."""
        self.settings = _settings()
        if requests_a_connection is not None:
            self.settings.keep_alive_max_requests = requests_a_connection
        self.wrapped = ASGIWrapper(app)  # type: ignore[arg-type]  # Starlette's Scope is looser than Hypercorn's
        self.state: LifespanState = {}
        self._context = WorkerContext(None)
        self._connections: set[asyncio.Task[None]] = set()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end."""
        task: asyncio.Task[Any] | None = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        loop = asyncio.get_running_loop()
        await _Connection(self.wrapped, loop, self.settings, self._context, self.state, reader, writer)

    async def take_over(self, fd: int, octets: bytes) -> None:
        """Serve a connection of which somebody else has read the beginning."""
        reader = asyncio.StreamReader()
        reader.feed_data(octets)
        protocol = asyncio.StreamReaderProtocol(reader, self.connected)
        connection = socket.socket(fileno=fd)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, connection)
        except OSError:
            connection.close()  # the client has gone

    async def close(self) -> None:
        """Let what is under way end, within GRACE_SECONDS; nothing new begins."""
        await self._context.terminated.set()
        if self._connections:
            _, late = await asyncio.wait(self._connections, timeout=GRACE_SECONDS)
            for task in late:
                task.cancel()


async def serve_http(app: Starlette, listener: socket.socket, stop: asyncio.Event) -> None:
    """Serve `app` on `listener` until `stop` is set and what was under way is answered.

    Raises:
        CertstatusError: what kept the application's lifespan from starting.
    """
    side = HTTPSide(app)
    lifespan = Lifespan(side.wrapped, side.settings, asyncio.get_running_loop(), side.state)
    living = asyncio.create_task(lifespan.handle_lifespan())
    await _started(lifespan, living)
    server = await asyncio.start_server(side.connected, sock=listener, backlog=side.settings.backlog)
    try:
        await stop.wait()
    finally:
        server.close()
        await side.close()
        await lifespan.wait_for_shutdown()
        living.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await living


def _settings() -> Config:
    settings = Config()
    settings.accesslog = None
    settings.errorlog = None
    settings.include_server_header = False
    settings.graceful_timeout = GRACE_SECONDS
    # Idle, or slower than this with the next octet: closed.
    settings.keep_alive_timeout = 15
    settings.read_timeout = 15
    settings.h11_max_incomplete_size = 16 * 1024
    settings.backlog = 1024
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


class _Connection(TCPServer):
    """One connection, gone as soon as its client has closed it: Hypercorn keeps it until it would have been idle for
    too long, and 150 such connections a second used up the descriptors of a process."""

    _has_ended = False

    async def run(self) -> None:
        """See Hypercorn's `TCPServer`."""
        peer = self.writer.get_extra_info("socket")
        try:
            client = parse_socket_addr(peer.family, peer.getpeername())
            server = parse_socket_addr(peer.family, peer.getsockname())
            async with TaskGroup(self.loop) as tasks:
                self._task_group = tasks
                self.protocol = _HTTP1(  # type: ignore[assignment]  # what a ProtocolWrapper would wrap
                    self.app,
                    self.config,
                    self.context,
                    tasks,
                    ConnectionState(self.state),
                    False,
                    client,
                    server,
                    self.protocol_send,
                )
                await self.idle_task.restart(tasks, self._idle_timeout)
                await self._read_data()
                self._has_ended = True
                await self.idle_task.stop()
        except OSError:
            pass  # the client's network, or a socket that is gone already
        finally:
            await self._close()

    async def protocol_send(self, event: Event) -> None:
        """See Hypercorn's `TCPServer`."""
        if self._has_ended and isinstance(event, Updated):
            return  # nothing more will come: not to be waited for
        await super().protocol_send(event)


_NO_REQUEST = b"\0\r\n\r\n"
"""What h11 refuses wherever a head or a chunk may begin."""


class _HTTP1(H11Protocol):
    """HTTP/1.x whose framing was judged by the native core before h11 sees it; without a way to HTTP/2: an offer to
    upgrade is passed over, its preface is a bad request."""

    def __init__(self, *arguments: Any) -> None:
        """See Hypercorn's `H11Protocol`."""
        super().__init__(*arguments)
        self._framing = Framing()

    async def handle(self, event: Event) -> None:
        """See Hypercorn's `H11Protocol`."""
        if isinstance(event, RawData) and event.data:
            judged = self._framing.feed(event.data)
            if self._framing.refused:
                judged += _NO_REQUEST  # so that requests before it are answered before
            if not judged:
                return
            event = RawData(judged)
        await super().handle(event)

    async def _send_error_response(self, status_code: int) -> None:
        await super()._send_error_response(self._framing.refused or status_code)

    async def _check_protocol(self, event: h11.Request) -> None:
        """Nothing leads to HTTP/2."""

    async def _create_stream(self, request: h11.Request) -> None:
        headers = [(name, value) for name, value in request.headers if name != b"upgrade"]
        if len(headers) < len(request.headers):
            request = h11.Request(
                method=request.method, target=request.target, headers=headers, http_version=request.http_version
            )
        await super()._create_stream(request)
