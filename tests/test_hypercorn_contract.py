"""The parts of Hypercorn that it doesn't document but web/server.py uses, tried on their own.

pyproject.toml pins the minor version. A version that changes one of them fails here, not somewhere in a running worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from responder.errors import StatusUnavailable
from responder.host.sockets import open_socket
from responder.web.entrance import Entrance
from responder.web.server import serve_http


async def exchange(port: int, octets: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(octets)
    await writer.drain()
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer


async def test_a_socket_of_ours_is_served_until_the_stop_and_what_is_under_way_is_answered() -> None:
    lifespan_events: list[str] = []
    asked, finish = asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> Response:
        asked.set()
        await finish.wait()
        return Response(b"slow")

    async def echo(request: Request) -> Response:
        # The path as it was sent, before any decoding, and the peer: what routing and limits are made of.
        assert request.client is not None
        return Response(request.scope["raw_path"] + b" from " + request.client.host.encode())

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        # Routes added here are found: public_app relies on it.
        app.router.routes[:] = [Route("/slow", slow), Route("/{rest:path}", echo)]
        lifespan_events.append("started")
        yield
        lifespan_events.append("ended")

    listener = open_socket("127.0.0.1", 0, reuse_port=True)
    port = listener.getsockname()[1]
    stop = asyncio.Event()
    serving = asyncio.create_task(serve_http(Starlette(lifespan=lifespan), [Entrance(listener)], stop))
    answer = await exchange(port, b"GET //a%2Fb%2b/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"\r\nserver:" not in answer.lower()
    assert answer.endswith(b"//a%2Fb%2b/ from 127.0.0.1")
    waiting = asyncio.create_task(exchange(port, b"GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
    await asked.wait()
    stop.set()
    finish.set()
    assert (await waiting).endswith(b"slow")
    await asyncio.wait_for(serving, 10)
    assert lifespan_events == ["started", "ended"]


@pytest.mark.parametrize("error", [StatusUnavailable("the database can't be reached"), RuntimeError("a bug")])
async def test_what_keeps_the_lifespan_from_starting_is_raised(error: Exception | None) -> None:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        if error is not None:
            raise error
        yield

    listener = open_socket("127.0.0.1", 0, reuse_port=True)
    with pytest.raises(Exception, match=str(error)) as failure:
        await asyncio.wait_for(serve_http(Starlette(lifespan=lifespan), [Entrance(listener)], asyncio.Event()), 10)
    # A dependency that is away is one sentence for whoever reads the log; a bug has its traceback.
    assert (failure.value is error) == isinstance(error, StatusUnavailable)
    listener.close()


@contextlib.asynccontextmanager
async def served() -> AsyncIterator[int]:
    """A site that says hello, on the port."""

    async def hello(request: Request) -> Response:
        return Response(b"hello " + await request.body())

    listener = open_socket("127.0.0.1", 0, reuse_port=True)
    stop = asyncio.Event()
    app = Starlette(routes=[Route("/{rest:path}", hello, methods=["GET", "POST"])])
    serving = asyncio.create_task(serve_http(app, [Entrance(listener)], stop))
    try:
        yield listener.getsockname()[1]
    finally:
        stop.set()
        await asyncio.wait_for(serving, 20)


def connections_to(port: int) -> int:
    """Sockets of this process whose own port this is, the listener left out: what the server holds."""
    held = 0
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            link = os.readlink(f"/proc/self/fd/{fd}")
            if link.startswith("socket:"):
                with socket.socket(fileno=os.dup(int(fd))) as duplicate:
                    held += duplicate.family == socket.AF_INET and duplicate.getsockname()[1] == port
    return held - 1


async def test_a_connection_that_its_client_has_closed_is_gone() -> None:
    """Each was held for 15 seconds: with 150 new ones a second a process ran out of descriptors."""
    async with served() as port:
        for _ in range(50):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST /ocsp HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n.")
            answer = await asyncio.wait_for(reader.readuntil(b"hello ."), 10)
            assert answer.startswith(b"HTTP/1.1 200")
            writer.close()
            await writer.wait_closed()
        for _ in range(100):
            if connections_to(port) == 0:
                break
            await asyncio.sleep(0.02)  # far below the time that an idle connection is kept
        assert connections_to(port) == 0
        # One that its client keeps stays.
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(3):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await asyncio.wait_for(reader.readuntil(b"hello "), 10)
            await asyncio.sleep(0.05)
        assert connections_to(port) == 1
        writer.close()


async def test_a_client_that_closes_its_side_early_gets_its_answer_or_a_closed_connection() -> None:
    async with served() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        writer.write_eof()
        await asyncio.wait_for(reader.read(), 10)
        writer.close()
        for _ in range(100):
            if connections_to(port) == 0:
                break
            await asyncio.sleep(0.02)
        assert connections_to(port) == 0


async def test_cleartext_http_2_is_not_spoken() -> None:
    """Four connections of rapid reset had a worker killed."""
    async with served() as port:
        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")
        answer = await exchange(port, preface)
        assert answer.startswith(b"HTTP/1.1 400")
        assert b"\x00\x00\x00\x04" not in answer
        upgrade = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\n"
        answer = await exchange(port, upgrade + b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200"), answer
        assert answer.endswith(b"hello ")
        assert (await exchange(port, b"GET / HTTP/3.7\r\nHost: x\r\n\r\n")).startswith(b"HTTP/1.1 400")
