"""What connections may do on the lane: slow, idle and many ones are closed, and the others notice nothing."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import pytest

from responder import metrics
from responder.config.model import Limits
from responder.pki import CRL, Issuer
from responder.signing.signers import Signer
from responder.web.manners import Manners
from tests.doubles import FakeClock
from tests.web.test_lane import IN_TABLE, NOT_YET, Served, one, post, read_response, served


@pytest.fixture
def opened(issuer: Issuer, signer: Signer) -> Any:
    def opening(exempt: tuple[Any, ...] = (), **manners: Any) -> AbstractAsyncContextManager[Served]:
        limits = Limits(per_minute=0, exempt=exempt)
        return served(FakeClock(datetime.now(UTC)), issuer, signer, limits, Manners(**manners))

    return opening


def closed(site: Served, reason: str) -> int:
    return int(site.words[metrics.gate_words()[reason]])


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[..., Awaitable[Streams]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Connections from an address of the loopback network, closed in the end."""
    writers: list[asyncio.StreamWriter] = []

    async def connecting(site: Served, host: str = "127.0.0.1") -> Streams:
        streams = await asyncio.open_connection("127.0.0.1", site.lane_port, local_addr=(host, 0))
        writers.append(streams[1])
        return streams

    yield connecting
    for writer in writers:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def is_answered(site: Served, streams: Streams) -> bool:
    reader, writer = streams
    try:
        writer.write(post(site.der(IN_TABLE)))
        return (await asyncio.wait_for(read_response(reader), 10))[0] == b"200"
    except (ConnectionError, asyncio.IncompleteReadError):
        return False


async def octet_by_octet(streams: Streams, request: bytes, pause: float) -> bytes:
    """What comes back while a request is sent slowly."""
    reader, writer = streams
    try:
        for octet in request:
            writer.write(bytes([octet]))
            await asyncio.sleep(pause)
            if reader.at_eof():
                break
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionError:
        return b""


async def test_a_slow_head_and_a_slow_body_are_not_waited_for(opened: Any, connect: Connect) -> None:
    """However often an octet comes. `expire` runs once a second."""
    async with opened(request_seconds=0.5) as site:
        request = post(site.der(IN_TABLE))
        head = request.index(b"\r\n\r\n") + 4
        slow_head = octet_by_octet(await connect(site), request, 0.05)
        reader, writer = await connect(site)
        writer.write(request[:head])
        slow_body = asyncio.create_task(reader.read())
        assert await slow_head == b""
        assert await asyncio.wait_for(slow_body, 10) == b""
        assert closed(site, "slow") == 2
        # In time is in time: the body has its own.
        reader, writer = await connect(site)
        for part in (request[:10], request[10:head], request[head:]):
            writer.write(part)
            await asyncio.sleep(0.2)
        assert (await asyncio.wait_for(read_response(reader), 10))[0] == b"200"


async def test_who_waits_for_the_chain_is_not_slow(opened: Any) -> None:
    async with opened(request_seconds=0.2) as site:
        site.held = asyncio.Event()
        asking = asyncio.create_task(one(site.lane_port, post(site.der(NOT_YET))))
        await asyncio.sleep(1.5)
        assert not asking.done()
        site.held.set()
        assert (await asyncio.wait_for(asking, 10))[0] == b"200"
        assert closed(site, "slow") == 0


async def test_an_idle_connection_is_closed_in_the_end(opened: Any, connect: Connect) -> None:
    async with opened(idle_seconds=0.5, request_seconds=0.1) as site:
        streams = await connect(site)
        await asyncio.sleep(0.2)
        assert await is_answered(site, streams)
        assert await asyncio.wait_for(streams[0].read(), 10) == b""
        assert closed(site, "slow") == 0


async def test_who_takes_nothing_of_a_large_crl_is_closed_and_who_takes_some_is_not(opened: Any) -> None:
    size = 24_000_000
    async with opened(idle_seconds=1) as site:
        now = site.clock.now()
        site.publish(CRL("test-ec", "full", 9, bytes(size), now, now + timedelta(days=1), b"y" * 32))
        asked = b"GET /crl/test-ec.crl HTTP/1.1\r\nHost: x\r\n\r\n"
        loop = asyncio.get_running_loop()
        clients = [socket.create_connection(("127.0.0.1", site.lane_port)) for _ in range(2)]
        for client in clients:
            client.setblocking(False)
            await loop.sock_sendall(client, asked)
        silent, steady = clients
        taken = 0
        for _ in range(12):  # three times idle_seconds
            await asyncio.sleep(0.25)
            taken += len(await loop.sock_recv(steady, 1 << 20))
        while taken < size and (part := await asyncio.wait_for(loop.sock_recv(steady, 1 << 20), 10)):
            taken += len(part)
        assert taken > size
        came = 0
        try:
            while part := await asyncio.wait_for(loop.sock_recv(silent, 1 << 20), 10):
                came += len(part)
        except ConnectionError:
            pass
        assert came < size
        for client in clients:
            client.close()


async def test_a_client_has_so_many_connections_and_others_have_theirs(opened: Any, connect: Connect) -> None:
    async with opened(connections_a_client=3) as site:
        held = [await connect(site) for _ in range(3)]
        assert [await is_answered(site, streams) for streams in held] == [True] * 3
        for _ in range(2):
            assert not await is_answered(site, await connect(site))
        assert closed(site, "too_many") == 2
        assert await is_answered(site, await connect(site, "127.0.0.2"))
        held[0][1].close()
        await asyncio.sleep(0.1)
        assert await is_answered(site, await connect(site))
        assert not await is_answered(site, await connect(site))


async def test_the_exempt_have_as_many_connections_as_they_want(opened: Any, connect: Connect) -> None:
    async with opened(connections_a_client=1, exempt=(ip_network("127.0.0.2"),)) as site:
        held = [await connect(site, "127.0.0.2") for _ in range(5)]
        assert [await is_answered(site, streams) for streams in held] == [True] * 5


async def test_where_there_is_no_room_the_one_that_is_idle_for_longest_makes_it(opened: Any, connect: Connect) -> None:
    async with opened(connections=4) as site:
        busy, oldest, other = [await connect(site) for _ in range(3)]
        busy[1].write(b"POST / HTT")
        assert await is_answered(site, oldest)
        assert await is_answered(site, other)
        for _ in range(3):  # one place was free
            assert await is_answered(site, await connect(site))
        assert not await is_answered(site, oldest)
        assert closed(site, "crowded") == 2
        busy[1].write(b"P/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        assert (await asyncio.wait_for(read_response(busy[0]), 10))[0] == b"200"


async def test_no_request_is_lost_when_the_lane_ends(opened: Any, connect: Connect) -> None:
    """Of clients that never pause: each has one more answer, which says that it is the last."""
    lost = answered = 0
    last: list[bool] = []

    async def client(site: Served, *requests: bytes) -> None:
        nonlocal lost, answered
        reader, writer = await connect(site)
        for request in itertools.cycle(requests):
            writer.write(request)
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
                await reader.readexactly(size)
            except (ConnectionError, asyncio.IncompleteReadError):
                lost += 1
                return
            answered += 1
            if b"Connection: close" in head:
                last.append(not await reader.read())
                return

    async with opened() as site:
        plain, chain = post(site.der(IN_TABLE)), post(site.der(IN_TABLE, 3))
        crl = b"GET /crl/test-ec.crl HTTP/1.1\r\nHost: x\r\n\r\n"
        clients = [asyncio.create_task(client(site, plain, crl, chain)) for _ in range(40)]
        idle = await connect(site)
        await asyncio.sleep(0.5)
    await asyncio.wait_for(asyncio.gather(*clients), 10)
    assert (lost, last) == (0, [True] * 40)
    assert answered > 100
    assert await idle[0].read() == b""
