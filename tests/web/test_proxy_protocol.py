"""Load balancers that say whose each connection is: version 1 and 2, whole and in pieces, and those that don't."""

from __future__ import annotations

import asyncio
import ipaddress
import random
import struct
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from responder.config.model import Limits
from responder.pki import Issuer, Networks
from responder.signing.signers import Signer
from responder.web.manners import DEFAULT_MANNERS
from tests.doubles import FakeClock
from tests.web.test_lane import IN_TABLE, NOBODY, Served, get, post, read_response, served
from tests.web.test_limits import TRY_LATER, UNAUTHORIZED, counted

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
OURS = Networks([(bytes([127, 0, 0, 0]), 8)])


def line(client: str) -> bytes:
    """Version 1."""
    family = "TCP6" if ":" in client else "TCP4"
    return f"PROXY {family} {client} {'::1' if ':' in client else '127.0.0.1'} 5000 80\r\n".encode()


def block(client: str, more: bytes = b"", *, command: int = 0x21) -> bytes:
    """Version 2, with what may follow the addresses."""
    address = ipaddress.ip_address(client)
    addresses = address.packed + bytes(len(address.packed)) + struct.pack(">HH", 5000, 80) + more
    family = 0x11 if address.version == 4 else 0x21
    return SIGNATURE + struct.pack(">BBH", command, family, len(addresses)) + addresses


NAMING = {
    "line": line,
    "block": block,
    "block with more": lambda client: block(client, b"\x03\x00\x04abcd" + bytes(300)),
}


@pytest.fixture
async def site(issuer: Issuer, signer: Signer) -> AsyncIterator[Served]:
    manners = replace(DEFAULT_MANNERS, announced=OURS, connections_a_client=3)
    async with served(FakeClock(datetime.now(UTC)), issuer, signer, Limits(per_minute=2), manners) as opened:
        yield opened


async def said(site: Served, octets: bytes, *, piece: int = 0, count: int = 1) -> list[bytes]:
    """The bodies of the answers to this; fewer where the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.lane_port)
    bodies = []
    try:
        for start in range(0, len(octets), piece or len(octets)):
            writer.write(octets[start : start + (piece or len(octets))])
            await writer.drain()
            if piece:
                await asyncio.sleep(0.001)
        async with asyncio.timeout(10):
            bodies += [(await read_response(reader))[2] for _ in range(count)]
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()
    return bodies


@pytest.mark.parametrize("naming", NAMING.values(), ids=list(NAMING))
@pytest.mark.parametrize("piece", [0, 1, 7])
async def test_requests_follow_what_was_said(site: Served, naming: object, piece: int) -> None:
    asked = post(site.der(IN_TABLE)) + get(site.der(IN_TABLE))
    bodies = await said(site, naming("192.0.2.1") + asked, piece=piece, count=2)  # type: ignore[operator]
    assert [len(body) > 400 for body in bodies] == [True, True]


@pytest.mark.parametrize("naming", NAMING.values(), ids=list(NAMING))
@pytest.mark.parametrize("clients", [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8:1::1")])
async def test_limits_are_those_of_the_client_that_is_named(
    site: Served, naming: object, clients: tuple[str, str]
) -> None:
    asked = post(site.der(NOBODY))
    for client in clients:
        told = [(await said(site, naming(client) + asked))[0] for _ in range(3)]  # type: ignore[operator]
        assert told == [UNAUTHORIZED, UNAUTHORIZED, TRY_LATER]


async def test_a_client_has_so_many_connections_whatever_balancer_it_comes_by(site: Served) -> None:
    held = [await asyncio.open_connection("127.0.0.1", site.lane_port) for _ in range(5)]
    asked = get(site.der(IN_TABLE))
    answered = 0
    for reader, writer in held:
        writer.write(block("192.0.2.1") + asked)
        try:
            answered += len((await read_response(reader))[2]) > 400
        except (asyncio.IncompleteReadError, ConnectionError):
            continue
    assert (answered, counted(site, "too_many")) == (3, 2)
    assert len(await said(site, line("192.0.2.2") + asked)) == 1
    for _, writer in held:
        writer.close()
    await asyncio.sleep(0.05)
    assert len(await said(site, line("192.0.2.1") + asked)) == 1, "those that have gone don't count"


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN ffff::1 ::1 1 2\r\n",
        block("192.0.2.1", command=0x20),
        SIGNATURE + b"\x20\0\0\0",
    ],
)
async def test_a_balancer_may_speak_for_itself(site: Served, header: bytes) -> None:
    """To see whether we are alive."""
    assert len((await said(site, header + get(site.der(IN_TABLE))))[0]) > 400


WRONG = {
    "nothing": b"",
    "a lower case": b"proxy TCP4 192.0.2.1 127.0.0.1 1 2\r\n",
    "no address": b"PROXY TCP4 nobody 127.0.0.1 1 2\r\n",
    "another family": b"PROXY TCP4 2001:db8::1 ::1 1 2\r\n",
    "and the other way round": b"PROXY TCP6 192.0.2.1 127.0.0.1 1 2\r\n",
    "brackets": b"PROXY TCP6 [2001:db8::1] ::1 1 2\r\n",
    "a bare LF": b"PROXY TCP4 192.0.2.1 127.0.0.1 1 2\n",
    "too long": b"PROXY UNKNOWN " + b"x" * 107 + b"\r\n",
    "another version": SIGNATURE + b"\x11\x11\0\x0c" + bytes(12),
    "another command": SIGNATURE + b"\x22\x11\0\x0c" + bytes(12),
    "too short": SIGNATURE + b"\x21\x11\0\x08" + bytes(8),
    "too much of it": SIGNATURE + b"\x21\x11\xff\xff" + bytes(20),
}


@pytest.mark.parametrize("header", WRONG.values(), ids=list(WRONG))
async def test_who_says_nothing_or_something_else_is_not_heard(site: Served, header: bytes) -> None:
    assert await said(site, header + get(site.der(IN_TABLE))) == []
    assert counted(site, "unannounced") == 1


async def test_any_octets_at_all_leave_the_others_alone(site: Served) -> None:
    chosen = random.Random(7)
    for _ in range(200):
        octets = bytearray(chosen.choice([line("192.0.2.1"), block("192.0.2.1"), block("2001:db8::1", bytes(9))]))
        for _ in range(chosen.randrange(1, 4)):
            octets[chosen.randrange(len(octets))] = chosen.randrange(256)
        await said(site, bytes(octets[: chosen.randrange(1, len(octets) + 1)]), count=0)
    assert len((await said(site, line("192.0.2.9") + get(site.der(IN_TABLE))))[0]) > 400


async def test_others_are_not_asked_to_say_anything(issuer: Issuer, signer: Signer) -> None:
    """Nor believed if they do."""
    manners = replace(DEFAULT_MANNERS, announced=Networks([(bytes([10, 0, 0, 0]), 8)]))
    async with served(FakeClock(datetime.now(UTC)), issuer, signer, manners=manners) as site:
        assert len((await said(site, get(site.der(IN_TABLE))))[0]) > 400
        assert await said(site, line("192.0.2.1") + get(site.der(IN_TABLE)), count=2) in ([b""], [])
