"""A stop of Hypercorn's connections: whoever has come is answered, and hears that it is the last answer."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h2.events
import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from responder.host.sockets import open_socket
from responder.tls_files import TLSFiles
from responder.web.entrance import Entrance
from responder.web.server import serve_http
from tests.web.test_http2 import Client
from tests.web.test_tls import Files, client_context, connect

ASKED = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Running:
    """A site whose lifespan has begun."""

    def __init__(self, tls: TLSFiles | None, listener: socket.socket | None = None) -> None:
        self.listener, self.stop = listener or open_socket("127.0.0.1", 0, reuse_port=True), asyncio.Event()
        self.port: int = self.listener.getsockname()[1]
        app = Starlette(routes=[Route("/", lambda request: Response(b"hello"))])
        self.serving = asyncio.create_task(serve_http(app, [Entrance(self.listener, tls)], self.stop))

    async def ended(self) -> None:
        await asyncio.wait_for(self.serving, 20)


@pytest.fixture(params=["http", "https"])
async def running(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Running]:
    files = Files(tmp_path)
    running = Running(None if request.param == "http" else TLSFiles(files.certificate, files.key))
    try:
        yield running
    finally:
        running.stop.set()
        await running.ended()


def ask_on(connection: socket.socket, context: ssl.SSLContext | None) -> bytes:
    """All that comes, to the end."""
    connection.settimeout(10)
    with contextlib.closing(context.wrap_socket(connection) if context else connection) as stream:
        stream.sendall(ASKED)
        return b"".join(iter(lambda: stream.recv(4096), b""))


async def test_those_that_have_come_when_it_stops_are_answered(
    running: Running, request: pytest.FixtureRequest
) -> None:
    context = client_context() if "https" in request.node.name else None
    clients = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(10)]
    running.stop.set()  # in the same turn of the loop: nobody has been accepted
    loop, threads = asyncio.get_running_loop(), ThreadPoolExecutor(len(clients))
    answers = await asyncio.gather(*(loop.run_in_executor(threads, ask_on, client, context) for client in clients))
    for answer in answers:
        head, _, body = answer.partition(b"\r\n\r\n")
        assert (head[:12], body) == (b"HTTP/1.1 200", b"hello")
        assert head.lower().count(b"\r\nconnection: close") == 1
    await running.ended()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", running.port))


class FirstHasGone(socket.socket):
    """Says of the first connection that it was aborted, as some kernels do."""

    has_said_so = False

    def accept(self) -> tuple[socket.socket, Any]:
        connection, address = super().accept()
        if self.has_said_so:
            return connection, address
        self.has_said_so = True
        connection.close()
        raise ConnectionAbortedError(errno.ECONNABORTED, "Software caused connection abort")


async def test_those_behind_one_that_has_gone_are_answered() -> None:
    running = Running(None, FirstHasGone(fileno=open_socket("127.0.0.1", 0, reuse_port=True).detach()))
    clients = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(3)]
    running.stop.set()
    loop, threads = asyncio.get_running_loop(), ThreadPoolExecutor(len(clients))
    answers = await asyncio.gather(*(loop.run_in_executor(threads, ask_on, client, None) for client in clients[1:]))
    assert [answer[:12] for answer in answers] == [b"HTTP/1.1 200"] * 2
    await running.ended()
    clients[0].close()


@pytest.mark.parametrize("running", ["https"], indirect=True)
async def test_a_client_that_asks_again_hears_that_it_is_the_last_answer(running: Running) -> None:
    reader, writer = await connect(running.port)
    idle, idle_writer = await connect(running.port)
    for is_last in (False, False, True):
        if is_last:
            running.stop.set()
            await asyncio.sleep(0.1)
        writer.write(ASKED)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert (b"connection: close" in head.lower()) == is_last
        assert await reader.readexactly(5) == b"hello"
    assert await asyncio.wait_for(reader.read(), 10) == b""
    # Who asks nothing keeps nobody waiting.
    assert await asyncio.wait_for(idle.read(), 10) == b""
    await running.ended()
    writer.close()
    idle_writer.close()


async def test_over_http_2_too(tmp_path: Path) -> None:
    files = Files(tmp_path)
    running = Running(TLSFiles(files.certificate, files.key, protocols=("h2", "http/1.1")))
    async with Client.connected(running.port) as client, Client.connected(running.port) as idle:
        assert await client.answers(client.begin(None, "/")) == [("200", b"hello")]
        running.stop.set()
        await asyncio.sleep(0.1)
        streams = [client.begin(None, "/"), client.begin(None, "/")]
        events = [event async for event in client.events()]
        answers = [event.data for event in events if isinstance(event, h2.events.DataReceived) and event.data]
        ended = [event for event in events if isinstance(event, h2.events.ConnectionTerminated)]
        assert answers == [b"hello"] * 2
        assert [(event.error_code, event.last_stream_id) for event in ended] == [(0, streams[-1])]
        assert [event async for event in idle.events() if isinstance(event, h2.events.ResponseReceived)] == []
    await running.ended()
