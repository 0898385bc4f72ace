"""What a client may cost, on real sockets: by the lane, and by Hypercorn."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

import pytest

from responder import metrics
from responder.config.model import Limits
from responder.host.segment import DATABASE_CLOCK
from responder.pki import Issuer, encode_serial
from responder.signing.signers import Signer
from tests.doubles import FakeClock
from tests.web.test_fast_answer import nonce, request_for
from tests.web.test_lane import IN_TABLE, NOBODY, STRANGER, Served, get, one, post, read_response, served

TRY_LATER, UNAUTHORIZED = b"\x30\x03\x0a\x01\x03", b"\x30\x03\x0a\x01\x06"
PROXIES = (ip_network("127.0.0.0/8"),)


def from_client(address: str) -> str:
    return f"X-Forwarded-For: {address}"


@pytest.fixture
def opened(issuer: Issuer, signer: Signer) -> Any:
    def opening(**limits: Any) -> AbstractAsyncContextManager[Served]:
        clock = FakeClock(datetime.now(UTC))
        return served(clock, issuer, signer, Limits(**limits), trusted_proxies=PROXIES)

    return opening


@pytest.fixture
async def limited(opened: Any) -> AsyncIterator[Served]:
    async with opened(per_minute=4) as site:
        yield site


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not done():  # noqa: ASYNC110 - it happens in the server
            await asyncio.sleep(0.01)


def counted(site: Served, name: str) -> int:
    words = metrics.gate_words()[name]
    return sum(site.words[word] for word in (words if isinstance(words, list) else [words]))


async def test_what_the_table_has_and_what_is_nobodys_is_free(limited: Served) -> None:
    for _ in range(20):
        assert len((await one(limited.lane_port, post(limited.der(IN_TABLE))))[2]) > 400
        assert (await one(limited.lane_port, get(STRANGER)))[2] == UNAUTHORIZED
        assert (await one(limited.lane_port, b"GET /crl/test-ec.crl HTTP/1.1\r\nHost: x\r\n\r\n"))[2] == b"a CRL"
    assert limited.asked_in_python == []
    assert counted(limited, "rate_limited") == 0


async def test_beyond_its_limit_a_client_is_told_to_try_later(limited: Served) -> None:
    asked = post(limited.der(NOBODY))
    for _ in range(4):
        assert (await one(limited.lane_port, asked))[2] == UNAUTHORIZED
    for request in (asked, get(limited.der(NOBODY)), post(b"junk")):
        status, headers, body = await one(limited.lane_port, request)
        assert (status, body) == (b"200", TRY_LATER)
        assert 1 <= int(headers.pop("retry-after")) <= 15
        assert headers == {
            "content-type": "application/ocsp-response",
            "cache-control": "no-store",
            "content-length": "5",
        }
    status, headers, body = await one(limited.lane_port, get(limited.der(NOBODY), method="HEAD"))
    assert (status, headers["content-length"], body) == (b"200", "5", b"")
    for request in (b"GET /favicon.ico", b"PUT /", b"GET /crl/none.crl"):
        status, headers, body = await one(limited.lane_port, request + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (status, headers["content-length"], body) == (b"429", "0", b"")
        assert "retry-after" in headers
    assert len(limited.asked_in_python) == 4
    assert counted(limited, "rate_limited") == 4
    assert counted(limited, "limited") == 3
    # What is free stays free, and others aren't concerned.
    assert len((await one(limited.lane_port, post(limited.der(IN_TABLE))))[2]) > 400
    assert (await one(limited.lane_port, post(limited.der(NOBODY), from_client("192.0.2.1"))))[2] == UNAUTHORIZED


async def test_on_one_connection_what_follows_a_refusal_is_answered(limited: Served) -> None:
    dear, free = post(limited.der(NOBODY)), post(limited.der(IN_TABLE))
    reader, writer = await asyncio.open_connection("127.0.0.1", limited.lane_port)
    writer.write((dear + free) * 8)
    bodies = [(await asyncio.wait_for(read_response(reader), 10))[2] for _ in range(16)]
    writer.close()
    assert bodies[::2] == [UNAUTHORIZED] * 4 + [TRY_LATER] * 4
    assert all(len(body) > 400 for body in bodies[1::2])


async def test_a_connection_that_is_handed_over_costs_two(limited: Served) -> None:
    der = limited.der(IN_TABLE)
    chunked = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(der), der)
    assert [len((await one(limited.lane_port, chunked))[2]) for _ in range(2)] == [len(await good(limited))] * 2
    reader, writer = await asyncio.open_connection("127.0.0.1", limited.lane_port)
    writer.write(chunked + post(der))
    came = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert came.endswith(b"Connection: close\r\n\r\n" + TRY_LATER), "its body isn't read, so nothing can follow"


async def good(site: Served) -> bytes:
    return (await one(site.lane_port, post(site.der(IN_TABLE))))[2]


async def test_several_certificates_and_nonces_cost_more(opened: Any) -> None:
    async with opened(per_minute=3) as site:
        asked = post(request_for(site.both.chain.issuer, b"\x2a", 1, nonce(b"n" * 16)), from_client("192.0.2.1"))
        assert (await one(site.lane_port, asked))[2] != TRY_LATER
        assert (await one(site.lane_port, asked))[2] == TRY_LATER


async def test_a_nonce_costs_a_signature_and_beyond_the_limit_there_is_the_answer_without(limited: Served) -> None:
    plain = (await one(limited.lane_port, post(limited.der(IN_TABLE))))[2]
    asked = request_for(limited.both.chain.issuer, encode_serial(IN_TABLE), 1, nonce(b"n" * 16))
    for _ in range(4):
        status, headers, body = await one(limited.lane_port, post(asked))
        assert (status, headers["cache-control"]) == (b"200", "no-store")
        assert b"n" * 16 in body
    for request in (post(asked), get(asked)):
        status, headers, body = await one(limited.lane_port, request)
        assert body == plain
        assert headers["cache-control"].startswith("max-age")
    assert limited.asked_in_python == []
    words = metrics.fast_words()
    assert [limited.both.lane[words[name]] for name in ("live", "unmet", "nonces")] == [4, 2, 6]
    assert counted(limited, "rate_limited") == 0


def connected(port: int, count: int) -> list[socket.socket]:
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    for each in sockets:
        each.setblocking(False)
    return sockets


def received(sockets: list[socket.socket]) -> list[bytes]:
    """What has come on each, b"" where nothing has yet."""
    came = []
    for each in sockets:
        try:
            came.append(each.recv(65536))
        except BlockingIOError:
            came.append(b"")
    return came


async def test_so_many_signatures_wait_and_the_others_get_the_answer_without(opened: Any) -> None:
    async with opened(per_minute=0) as site:
        asked = post(request_for(site.both.chain.issuer, encode_serial(IN_TABLE), 1, nonce(b"n" * 16)))
        sockets = connected(site.lane_port, 40)
        await asyncio.sleep(0.05)
        for each in sockets:
            each.sendall(asked)
        await asyncio.sleep(0.2)
        came = received(sockets)
        assert all(b"HTTP/1.1 200" in answer and len(answer) > 400 for answer in came)
        assert [b"n" * 16 in answer for answer in came] == [True] * 24 + [False] * 16, "24 are in the configuration"
        for each in sockets[24:]:
            each.sendall(asked)
        await asyncio.sleep(0.2)
        assert all(b"n" * 16 in answer for answer in received(sockets[24:]))
        for each in sockets:
            each.close()
        assert site.asked_in_python == []


async def test_what_the_table_has_overtakes_signatures_but_not_on_one_connection(opened: Any) -> None:
    async with opened(per_minute=0) as site:
        plain = post(site.der(IN_TABLE))
        asked = post(request_for(site.both.chain.issuer, encode_serial(IN_TABLE), 1, nonce(b"n" * 16)))
        sockets = connected(site.lane_port, 25)
        await asyncio.sleep(0.05)
        for each in sockets[:-1]:
            each.sendall(asked + plain)
        sockets[-1].sendall(plain)
        answers = [b""] * 25
        for _ in range(1000):
            await asyncio.sleep(0)
            answers = [before + new for before, new in zip(answers, received(sockets), strict=True)]
            if answers[-1]:
                break
        assert answers[-1].startswith(b"HTTP/1.1 200")
        assert answers[-2] == b"", "it asked first, and waits"
        await asyncio.sleep(0.2)
        for before, more in zip(answers[:-1], received(sockets[:-1]), strict=True):
            first, second = [b"HTTP" + part for part in (before + more).split(b"HTTP")[1:]]
            assert b"n" * 16 in first
            assert b"n" * 16 not in second
        for each in sockets:
            each.close()


async def test_nonces_beyond_the_room_in_python_get_the_answer_without(opened: Any) -> None:
    """While it isn't known whether this host's clock is right, the chain signs."""
    async with opened(per_minute=0) as site:
        site.both.host[DATABASE_CLOCK] = 0
        asked = post(request_for(site.both.chain.issuer, encode_serial(IN_TABLE), 1, nonce(b"n" * 16)))
        nobody = post(request_for(site.both.chain.issuer, encode_serial(NOBODY), 1, nonce(b"n" * 16)))
        gone_on = asyncio.Event()
        site.held = gone_on
        asking = [asyncio.create_task(one(site.lane_port, asked)) for _ in range(site.room)]
        await until(lambda: len(site.asked_in_python) == site.room)
        body = (await one(site.lane_port, asked))[2]
        assert len(body) > 400
        assert b"n" * 16 not in body
        assert (await one(site.lane_port, nobody))[2] == TRY_LATER
        gone_on.set()
        assert all(b"n" * 16 in answer[2] for answer in await asyncio.gather(*asking))


async def test_whoever_goes_through_hypercorn_has_the_same_limit(limited: Served) -> None:
    """There all costs what a connection costs that the lane hands over."""
    asked = post(limited.der(IN_TABLE), from_client("192.0.2.1"))
    for _ in range(2):
        assert len((await one(limited.plain_port, asked))[2]) > 400
    status, headers, body = await one(limited.plain_port, asked)
    assert (status, body, headers["cache-control"]) == (b"200", TRY_LATER, "no-store")
    assert 1 <= int(headers["retry-after"]) <= 30
    crl = b"GET /crl/test-ec.crl HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"
    assert (await one(limited.plain_port, crl))[0] == b"429"
    # One limit, whichever way.
    assert (await one(limited.lane_port, post(limited.der(NOBODY), from_client("192.0.2.1"))))[2] == TRY_LATER
    assert len((await one(limited.plain_port, post(limited.der(IN_TABLE), from_client("192.0.2.2"))))[2]) > 400


@pytest.mark.parametrize(
    ("refusal", "status", "body"),
    [("try_later", b"200", TRY_LATER), ("unauthorized", b"200", UNAUTHORIZED), ("http_429", b"429", b"")],
)
async def test_the_refusal_is_chosen(opened: Any, refusal: str, status: bytes, body: bytes) -> None:
    async with opened(per_minute=2, refusal=refusal) as site:
        lane, plain = post(site.der(NOBODY)), post(site.der(IN_TABLE), from_client("192.0.2.1"))
        for port, asked, answered in ((site.lane_port, lane, 2), (site.plain_port, plain, 1)):
            came = [await one(port, asked) for _ in range(answered + 1)]
            assert not any("retry-after" in headers for _, headers, _ in came[:answered])
            assert (came[answered][0], came[answered][2]) == (status, body)
            assert "retry-after" in came[answered][1]


async def test_hits_count_where_that_is_wanted_and_the_exempt_never_pay(opened: Any) -> None:
    async with opened(per_minute=3, count_hits=True, exempt=(ip_network("192.0.2.0/24"),)) as site:
        asked, exempt = post(site.der(IN_TABLE)), post(site.der(IN_TABLE), from_client("192.0.2.5"))
        came = [(await one(site.lane_port, asked))[2] for _ in range(5)]
        assert [body == TRY_LATER for body in came] == [False] * 3 + [True] * 2
        for _ in range(10):
            assert len((await one(site.lane_port, exempt))[2]) > 400


async def test_what_is_under_way_in_python_is_bounded(opened: Any) -> None:
    """One more is refused in the lane, whoever asks; what the table has is answered all the time."""
    async with opened(per_minute=1000, count_hits=True) as site:
        gone_on = asyncio.Event()
        site.held = gone_on
        asking = [asyncio.create_task(one(site.lane_port, post(site.der(NOBODY)))) for _ in range(site.room)]
        await until(lambda: sum(map(len, site.fetched)) == site.room)
        status, headers, body = await one(site.lane_port, post(site.der(NOBODY)))
        assert (status, headers["retry-after"], body) == (b"200", "1", TRY_LATER)
        assert (await one(site.lane_port, get(site.der(NOBODY))))[2] == TRY_LATER
        assert (await one(site.lane_port, b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"))[0] == b"429"
        assert len((await one(site.lane_port, post(site.der(IN_TABLE))))[2]) > 400
        assert counted(site, "overloaded") == 2
        gone_on.set()
        assert {(await each)[2] for each in asking} == {UNAUTHORIZED}
        site.held = None
        assert (await one(site.lane_port, post(site.der(NOBODY))))[2] == UNAUTHORIZED


async def test_a_nonce_of_a_wrong_length_is_counted_by_name(limited: Served) -> None:
    before = metrics.REQUESTS.value("post", "nonce_malformed")
    asked = request_for(limited.both.chain.issuer, b"\x2a", 1, nonce(b"n" * 129))
    assert (await one(limited.lane_port, post(asked)))[2] == b"\x30\x03\x0a\x01\x01"
    assert metrics.REQUESTS.value("post", "nonce_malformed") == before + 1


async def test_refused_framings_are_counted(limited: Served) -> None:
    await one(limited.lane_port, b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n")
    await one(limited.lane_port, b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 4000)
    assert (counted(limited, "malformed"), counted(limited, "too_long")) == (1, 1)
