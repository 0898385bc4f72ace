"""What connections may do that Hypercorn has: those without the lane, and those that the lane hands over."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from responder import metrics
from responder.config.model import Limits
from responder.pki import CRL, Issuer, Networks
from responder.signing.signers import Signer
from responder.web.manners import Manners
from tests.doubles import FakeClock
from tests.web.test_lane import IN_TABLE, Served, one, post, read_response, served

QUICK = Manners(other_connections=16, connections_a_client=8, idle_seconds=1.0, request_seconds=0.4)


@pytest.fixture
async def site(issuer: Issuer, signer: Signer) -> AsyncIterator[Served]:
    async with served(FakeClock(datetime.now(UTC)), issuer, signer, Limits(per_minute=0), QUICK) as opened:
        yield opened


@pytest.fixture
async def patient(issuer: Issuer, signer: Signer) -> AsyncIterator[Served]:
    """Nothing is closed by the clock: what is, is for want of room."""
    manners = replace(QUICK, idle_seconds=60.0, request_seconds=60.0)
    async with served(FakeClock(datetime.now(UTC)), issuer, signer, Limits(per_minute=0), manners) as opened:
        yield opened


def closed(reason: str) -> float:
    return metrics.CONNECTIONS_CLOSED.value(reason)


async def ends_after(reader: asyncio.StreamReader) -> float:
    """How long until the server has closed."""
    began = time.monotonic()
    with contextlib.suppress(ConnectionError):
        await asyncio.wait_for(reader.read(), 20)
    return time.monotonic() - began


CHUNKED = b"POST /ocsp HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("way", ["plain_port", "lane_port"])
async def test_a_body_that_comes_octet_by_octet_is_not_waited_for(site: Served, way: str) -> None:
    """However often an octet comes."""
    slow = closed("slow")
    reader, writer = await asyncio.open_connection("127.0.0.1", getattr(site, way))
    writer.write(CHUNKED)
    octets, ended = 0, asyncio.ensure_future(reader.read())
    while not ended.done() and octets < 200:
        writer.write(b"1\r\nx\r\n")
        octets += 1
        await asyncio.sleep(0.05)
    assert ended.done()
    assert await ended == b""
    assert octets < 40
    assert closed("slow") == slow + 1
    writer.close()


async def test_a_head_that_comes_octet_by_octet_is_not_waited_for(site: Served) -> None:
    slow = closed("slow")
    reader, writer = await asyncio.open_connection("127.0.0.1", site.plain_port)
    ended = asyncio.ensure_future(reader.read())
    for octet in b"GET /" + b"a" * 200:
        writer.write(bytes([octet]))
        await asyncio.sleep(0.05)
        if ended.done():
            break
    assert await asyncio.wait_for(ended, 10) == b""
    assert closed("slow") == slow + 1
    writer.close()


async def test_each_request_has_its_own_time(site: Served) -> None:
    """One after another on a connection, each of them slow, but not too slow."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.plain_port)
    request = post(site.der(IN_TABLE))
    for _ in range(4):
        writer.write(request[:20])
        await asyncio.sleep(0.15)
        writer.write(request[20:])
        assert (await asyncio.wait_for(read_response(reader), 10))[0] == b"200"
    writer.close()


@pytest.mark.parametrize(
    ("way", "method"), [("plain_port", "PUT"), ("plain_port", "OPTIONS"), ("plain_port", "GET"), ("lane_port", "GET")]
)
async def test_an_answer_that_was_known_early_waits_for_the_body(site: Served, way: str, method: str) -> None:
    """Or the connection would end with it, and the next request be lost."""
    reader, writer = await asyncio.open_connection("127.0.0.1", getattr(site, way))
    for _ in range(2):
        writer.write(f"{method} /crl/test-ec.crl HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n".encode())
        await asyncio.sleep(0.1)
        writer.write(b"body")
        await asyncio.wait_for(read_response(reader), 10)
    writer.write(post(site.der(IN_TABLE)))
    assert (await asyncio.wait_for(read_response(reader), 10))[0] == b"200"
    writer.close()


async def test_an_answer_before_the_end_of_a_body_says_that_it_is_the_last(site: Served) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.plain_port)
    writer.write(CHUNKED + b"4001\r\n" + bytes(0x4001) + b"\r\n")
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    assert b"\r\nconnection: close\r\n" in head
    assert (await reader.readexactly(5)).hex() == "30030a0101"
    assert await ends_after(reader) < 0.3
    writer.close()


async def test_what_is_idle_is_closed_and_makes_room(site: Served) -> None:
    crowded, too_many = closed("crowded"), closed("too_many")
    streams = []
    for index in range(QUICK.other_connections):
        local = (f"127.0.0.{2 + index // 4}", 0)
        streams.append(await asyncio.open_connection("127.0.0.1", site.plain_port, local_addr=local))
    await asyncio.sleep(0.05)
    assert (await one(site.plain_port, post(site.der(IN_TABLE))))[0] == b"200"
    assert closed("crowded") == crowded + 1
    assert await ends_after(streams[0][0]) < 0.5, "the one that was here for longest"
    assert closed("too_many") == too_many
    await asyncio.sleep(1.2)
    assert [reader.at_eof() or await ends_after(reader) < 0.5 for reader, _ in streams] == [True] * len(streams)
    for _, writer in streams:
        writer.close()


async def test_those_that_are_being_answered_are_not_closed_for_others(patient: Served) -> None:
    patient.held = asyncio.Event()
    asked = CHUNKED + b"4\r\njunk\r\n0\r\n\r\n"
    streams = []
    for index in range(QUICK.other_connections):
        local = (f"127.0.0.{2 + index // 4}", 0)
        streams.append(await asyncio.open_connection("127.0.0.1", patient.plain_port, local_addr=local))
        streams[-1][1].write(asked[:-5])
    await asyncio.sleep(0.1)
    crowded = closed("crowded")
    reader, writer = await asyncio.open_connection("127.0.0.1", patient.plain_port)
    assert await ends_after(reader) < 20
    assert closed("crowded") == crowded + 1
    writer.close()
    for reader, writer in streams:
        writer.write(asked[-5:])
        assert (await asyncio.wait_for(read_response(reader), 10))[2].hex() == "30030a0101"
        writer.close()


@pytest.mark.parametrize("way", ["plain_port", "lane_port"])
async def test_a_client_has_so_many(patient: Served, way: str) -> None:
    too_many = closed("too_many")
    streams = [await asyncio.open_connection("127.0.0.1", getattr(patient, way)) for _ in range(8)]
    for _, writer in streams:
        writer.write(CHUNKED)
    await asyncio.sleep(0.1)
    more = await asyncio.open_connection("127.0.0.1", getattr(patient, way))
    more[1].write(CHUNKED)
    assert await ends_after(more[0]) < 20
    assert closed("too_many") >= too_many + 1
    others = await asyncio.open_connection("127.0.0.1", getattr(patient, way), local_addr=("127.0.0.9", 0))
    others[1].write(CHUNKED + b"4\r\njunk\r\n0\r\n\r\n")
    assert (await asyncio.wait_for(read_response(others[0]), 10))[0] == b"200"
    for _, writer in [*streams, more, others]:
        writer.close()


async def test_networks_that_are_spared_have_more(issuer: Issuer, signer: Signer) -> None:
    manners = replace(QUICK, spared=Networks([(bytes([127, 0, 0, 0]), 8)]))
    async with served(FakeClock(datetime.now(UTC)), issuer, signer, Limits(per_minute=0), manners) as site:
        streams = [await asyncio.open_connection("127.0.0.1", site.plain_port) for _ in range(12)]
        assert (await one(site.plain_port, post(site.der(IN_TABLE))))[0] == b"200"
        for _, writer in streams:
            writer.close()


async def test_who_does_not_read_is_left_and_costs_little(site: Served) -> None:
    now = site.clock.now()
    large = bytes(30_000_000)
    site.publish(CRL(site.both.chain.issuer.id, "full", 2, large, now, now + timedelta(days=1), b"y" * 32))
    slow = closed("slow")
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", site.plain_port))
        client.sendall(b"GET /crl/test-ec.crl HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(10):
            while closed("slow") == slow:  # noqa: ASYNC110 - it happens in the server
                await asyncio.sleep(0.05)
    _, headers, body = await one(site.plain_port, b"GET /crl/test-ec.crl HTTP/1.1\r\nHost: x\r\n\r\n")
    assert headers["content-length"] == "30000000"
    assert body == large
    assert (await one(site.lane_port, b"GET /crl/test-ec.crl HTTP/1.1\r\nHost: x\r\n\r\n"))[2] == body
