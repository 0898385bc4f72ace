"""One connection of Hypercorn's, with our manners: gone when its client has gone, and closed when its requests take too
long to come.

HTTP/2 is spoken over TLS alone, where both have agreed on it: nobody asks OCSP or fetches CRLs by cleartext HTTP/2.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import h11
from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.tcp_server import MAX_RECV, TCPServer
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.events import Response
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr

from responder import metrics
from responder.pki import Framing
from responder.web.doors import Doors
from responder.web.http2 import HTTP2
from responder.web.manners import Manners

_RESTING_SECONDS = 1.0
"""Since its last answer: as in the lane (`_native/connections.pyx`)."""


class Connection(TCPServer):
    """One connection, gone as soon as its client has closed it: Hypercorn keeps it until it would have been idle for
    too long, and 150 such connections a second used up the descriptors of a process."""

    def __init__(self, *arguments: Any, doors: Doors, manners: Manners, client: tuple[str, int] | None = None) -> None:
        """See Hypercorn's `TCPServer`.

        Args:
            client: whose it is, where a load balancer has said so.
        """
        super().__init__(*arguments)
        self._doors = doors
        self._manners = manners
        self._client = client
        self._has_ended = False
        self._task: asyncio.Task[Any] | None = None
        self.is_idle = True

    def leave(self) -> None:
        """See `Guest`."""
        if self._task is not None:
            self._task.cancel()

    async def run(self) -> None:
        """See Hypercorn's `TCPServer`."""
        self._task = asyncio.current_task()
        peer = self.writer.get_extra_info("socket")
        try:
            client = self._client or parse_socket_addr(peer.family, peer.getpeername())
            server = parse_socket_addr(peer.family, peer.getsockname())
            with self._doors.enter(self, client[0] if client else "") as is_let_in:
                if is_let_in:
                    await self._serve(client, server)
        except OSError:
            pass  # the client's network, or a socket that is gone already
        except asyncio.CancelledError:
            self.writer.transport.abort()
        finally:
            await self._close()

    async def _idle_timeout(self) -> None:
        """See Hypercorn's `TCPServer`. When everything ends, a client that asks again and again has time for that."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.config.keep_alive_timeout):  # wait_for can miss that it is cancelled
                await self.context.terminated.wait()
            await asyncio.sleep(_RESTING_SECONDS)
        await asyncio.shield(self._initiate_server_close())

    async def _serve(self, client: tuple[str, int] | None, server: tuple[str, int] | None) -> None:
        tls = self.writer.get_extra_info("ssl_object")
        async with TaskGroup(self.loop) as tasks:
            self._task_group = tasks
            arguments = (
                self.app,
                self.config,
                self.context,
                tasks,
                ConnectionState(self.state),
                tls is not None,
                client,
                server,
                self.protocol_send,
            )
            protocol: HTTP1 | HTTP2
            if tls is not None and tls.selected_alpn_protocol() == "h2":
                protocol = HTTP2(*arguments, idle_seconds=self._manners.idle_seconds)
            else:
                protocol = HTTP1(*arguments)
            self.protocol = protocol  # type: ignore[assignment]  # what a ProtocolWrapper would wrap
            await protocol.initiate()
            await self.idle_task.restart(tasks, self._idle_timeout)
            await self._read_from(protocol)
            self._has_ended = True
            await self.idle_task.stop()

    async def _read_from(self, protocol: HTTP1 | HTTP2) -> None:
        """What comes, and no longer than it may take: a head, and then a body. An idle connection is Hypercorn's to
        close, and one that is being answered has time."""
        outstanding, until = 0, 0.0
        while not self.reader.at_eof():
            try:
                async with asyncio.timeout(until - self.loop.time() if outstanding else None):
                    data = await self.reader.read(MAX_RECV)
            except TimeoutError:
                metrics.CONNECTIONS_CLOSED.inc("slow")
                break
            except OSError:  # TLS's own errors too
                break
            await protocol.handle(RawData(data))
            if protocol.outstanding != outstanding:
                outstanding, until = protocol.outstanding, self.loop.time() + self._manners.request_seconds
        await protocol.handle(Closed())

    async def protocol_send(self, event: Event) -> None:
        """See Hypercorn's `TCPServer`. A client that doesn't take what it is sent is left."""
        if isinstance(event, Updated):
            self.is_idle = event.idle
            if self._has_ended:
                return  # nothing more will come: not to be waited for
        if not isinstance(event, RawData):
            await super().protocol_send(event)
            return
        try:
            async with asyncio.timeout(self._manners.idle_seconds):
                await super().protocol_send(event)
        except TimeoutError:
            metrics.CONNECTIONS_CLOSED.inc("slow")
            self.writer.transport.abort()


_NO_REQUEST = b"\0\r\n\r\n"
"""What h11 refuses wherever a head or a chunk may begin."""


class HTTP1(H11Protocol):
    """HTTP/1.x whose framing was judged by the native core before h11 sees it; without a way to HTTP/2: an offer to
    upgrade is passed over, its preface is a bad request."""

    def __init__(self, *arguments: Any) -> None:
        """See Hypercorn's `H11Protocol`."""
        super().__init__(*arguments)
        self._framing = Framing()

    @property
    def outstanding(self) -> int:
        """See `Framing`."""
        return self._framing.outstanding

    async def stream_send(self, event: StreamEvent) -> None:
        """See Hypercorn's `H11Protocol`. An answer says that it is the last when everything ends, and when the rest of
        its request is still to come."""
        if isinstance(event, Response) and (
            self.context.terminated.is_set() or self.connection.their_state is h11.SEND_BODY
        ):
            self.keep_alive_requests = self.config.keep_alive_max_requests
        await super().stream_send(event)

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
