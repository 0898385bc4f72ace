"""The parts of Hypercorn that it doesn't document but web/server.py uses, tried on their own.

pyproject.toml pins the minor version. A version that changes one of them fails here, not somewhere in a running worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from responder.errors import StatusUnavailable
from responder.supervisor import open_socket
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
    serving = asyncio.create_task(serve_http(Starlette(lifespan=lifespan), listener, stop))
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
        await asyncio.wait_for(serve_http(Starlette(lifespan=lifespan), listener, asyncio.Event()), 10)
    # A dependency that is away is one sentence for whoever reads the log; a bug has its traceback.
    assert (failure.value is error) == isinstance(error, StatusUnavailable)
    listener.close()
