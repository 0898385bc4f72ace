"""The lane on real sockets: the answers that Hypercorn gives, in order and whole, however a client sends and reads."""

from __future__ import annotations

import asyncio
import base64
import itertools
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette

from responder.pki import Certificate, Issuer, encode_serial
from responder.signing.signers import Signer
from responder.web.caching import Headers, Response
from responder.web.crl import CRLEndpoint, PublishedCRLs
from responder.web.lane import serve_lane
from responder.web.routing import PublicRoute
from responder.web.server import HTTPSide, serve_http
from tests.doubles import FakeClock
from tests.ocsp.chain import SERIAL, make_chain
from tests.web.test_fast_answer import Both, request_for

IN_TABLE, NOT_YET, NOBODY = SERIAL, SERIAL + 1, SERIAL + 2


@dataclass
class Served:
    """One site behind both."""

    both: Both
    lane_port: int
    plain_port: int
    asked_in_python: list[tuple[str, bytes]] = field(default_factory=list)

    def der(self, serial: int, variant: int = 1) -> bytes:
        return request_for(self.both.chain.issuer, encode_serial(serial), variant)


def listening() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    return listener


@asynccontextmanager
async def served(clock: FakeClock, issuer: Issuer, signer: Signer) -> AsyncIterator[Served]:
    chain = make_chain(clock, issuer, signer)
    for serial in (IN_TABLE, NOT_YET):
        chain.statuses.add(Certificate.numbered(issuer, serial))
    await chain.ask(IN_TABLE)
    both = Both(chain)
    both.fill()
    route = PublicRoute(both.exchange, both.python, CRLEndpoint(PublishedCRLs(), issuers=chain.issuers, clock=clock))
    app, stop = Starlette(routes=[route]), asyncio.Event()
    fast, plain = listening(), listening()
    site = Served(both, fast.getsockname()[1], plain.getsockname()[1])

    async def respond(method: str, path: bytes, headers: Headers, body: bytes) -> Response:
        site.asked_in_python.append((method, path))
        return await route.respond(method, path, headers, body)

    # The native way looks at the real clock; the records are of the fake one's time.
    servers = [
        asyncio.create_task(serve_lane(fast, both.native, respond=respond, http=HTTPSide(app), clock=clock, stop=stop)),
        asyncio.create_task(serve_http(app, plain, stop)),
    ]
    await asyncio.sleep(0.01)
    try:
        yield site
    finally:
        stop.set()
        await asyncio.wait_for(asyncio.gather(*servers), 30)
        fast.close()
        plain.close()


@pytest.fixture
async def site(issuer: Issuer, signer: Signer) -> AsyncIterator[Served]:
    async with served(FakeClock(datetime.now(UTC)), issuer, signer) as opened:
        yield opened


@pytest.fixture
async def rsa_site(rsa_issuer: Issuer, rsa_signer: Signer) -> AsyncIterator[Served]:
    """Whose signatures are the same each time."""
    async with served(FakeClock(datetime.now(UTC)), rsa_issuer, rsa_signer) as opened:
        yield opened


def post(body: bytes, *fields: str, path: str = "/ocsp") -> bytes:
    head = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(head).encode() + body


def get(der: bytes, *fields: str, prefix: str = "/ocsp/", method: str = "GET", version: str = "1.1") -> bytes:
    path = prefix + quote(base64.b64encode(der).decode(), safe="")
    return "\r\n".join([f"{method} {path} HTTP/{version}", "Host: x", *fields, "", ""]).encode()


async def send(port: int, *parts: bytes, pause: float = 0) -> bytes:
    """Everything that comes back until the server closes, or nothing more does for a while."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)
        came = b""
        try:
            while chunk := await asyncio.wait_for(reader.read(1 << 20), 0.5):
                came += chunk
        except TimeoutError:
            pass
        except ConnectionError:
            came += b"<reset>"
        return came
    finally:
        writer.close()


async def one(port: int, request: bytes) -> tuple[bytes, dict[str, str], bytes]:
    """One response, taken apart; without what may differ between two servers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return await asyncio.wait_for(read_response(reader, is_head=request.startswith(b"HEAD")), 10)
    finally:
        writer.close()


async def read_response(reader: asyncio.StreamReader, *, is_head: bool = False) -> tuple[bytes, dict[str, str], bytes]:
    line, *fields = (await reader.readuntil(b"\r\n\r\n"))[:-4].split(b"\r\n")
    headers = {
        name.decode().lower(): value.strip().decode() for name, _, value in (each.partition(b":") for each in fields)
    }
    size = 0 if is_head or b" 304" in line else int(headers.get("content-length", 0))
    body = await reader.readexactly(size)
    for differs in ("date", "connection"):
        headers.pop(differs, None)
    return line.split(b" ")[1], headers, body


CORPUS = st.one_of(
    st.builds(
        lambda serial, variant, kind, fields: (serial, variant, kind, tuple(fields)),
        st.sampled_from([IN_TABLE, NOT_YET, NOBODY]),
        st.sampled_from([1, 2, 3, 17]),
        st.sampled_from(
            ["post", "get", "get at root", "get well-known", "get with query", "head", "http/1.0", "absolute"]
        ),
        st.lists(
            st.sampled_from(
                ["If-None-Match: *", "If-None-Match: \"other\"", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT",
                 "Accept: */*", "Content-Type: application/ocsp-request", "Range: bytes=0-1", "TE: trailers",
                 "Connection: keep-alive", "User-Agent: x"]
            ),
            max_size=3, unique=True,
        ),
    ),
    st.sampled_from(
        [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /favicon.ico HTTP/1.1\r\nHost: x\r\n\r\n",
         b"GET /crl/nobody.crl HTTP/1.1\r\nHost: x\r\n\r\n",
         b"PUT /ocsp HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
         b"POST /crl/a.crl HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx", post(b"junk"), post(b""), get(b"junk"),
         post(b"x" * 16384), b"GET /ocsp/%zz HTTP/1.1\r\nHost: x\r\n\r\n", post(b"junk", path="/elsewhere"),
         b"GET /.well-known/pki/ocsp/test-ec/1a2b HTTP/1.1\r\nHost: x\r\n\r\n",
         b"POST /ocsp HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\njunk\r\n0\r\n\r\n"]
    ),
)  # fmt: skip


def spelled(site: Served, case: tuple[int, int, str, tuple[str, ...]] | bytes) -> bytes:
    if isinstance(case, bytes):
        return case
    serial, variant, kind, fields = case
    der = site.der(serial, variant)
    if kind == "post":
        return post(der, *fields)
    if kind == "head":
        return get(der, *fields, method="HEAD")
    if kind == "http/1.0":
        return get(der, *fields, version="1.0")
    prefix = {"get at root": "/", "get well-known": "/.well-known/pki/ocsp/", "absolute": "http://x/ocsp/"}
    request = get(der, *fields, prefix=prefix.get(kind, "/a/b%20c/"))
    return request.replace(b" HTTP", b"?q=1 HTTP") if kind == "get with query" else request


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=CORPUS)
async def test_the_lane_and_hypercorn_say_the_same(
    rsa_site: Served, case: tuple[int, int, str, tuple[str, ...]] | bytes
) -> None:
    request = spelled(rsa_site, case)
    assert await one(rsa_site.lane_port, request) == await one(rsa_site.plain_port, request)


async def test_what_is_in_the_table_needs_no_python(site: Served) -> None:
    for request in (post(site.der(IN_TABLE)), get(site.der(IN_TABLE, 2)), get(site.der(IN_TABLE), prefix="/x/y/")):
        status, headers, body = await one(site.lane_port, request)
        assert status == b"200"
        assert len(body) > 400
        assert headers["cache-control"].startswith("max-age=")
    assert site.asked_in_python == []
    await one(site.lane_port, post(site.der(NOT_YET)))
    assert len(site.asked_in_python) == 1


async def test_requests_on_one_connection_are_answered_in_their_order(site: Served) -> None:
    """What is in the table must not overtake what isn't, nor what is handed over."""
    kinds = [post(site.der(IN_TABLE)), post(site.der(NOT_YET)), get(site.der(NOBODY)), get(site.der(IN_TABLE, 2))]
    sizes = [len((await one(site.lane_port, kind))[2]) for kind in kinds]
    for order in itertools.permutations(range(4)):
        reader, writer = await asyncio.open_connection("127.0.0.1", site.lane_port)
        writer.write(b"".join(kinds[index] for index in order))
        came = [len((await asyncio.wait_for(read_response(reader), 10))[2]) for _ in order]
        assert came == [sizes[index] for index in order]
        writer.close()
    # The last one is another's: HEAD goes to Hypercorn, after the answers before it.
    reader, writer = await asyncio.open_connection("127.0.0.1", site.lane_port)
    writer.write(kinds[0] * 20 + kinds[1] + get(site.der(IN_TABLE), method="HEAD"))
    for _ in range(21):
        assert (await asyncio.wait_for(read_response(reader), 10))[0] == b"200"
    status, headers, _ = await asyncio.wait_for(read_response(reader, is_head=True), 10)
    assert status == b"200"
    assert int(headers["content-length"]) == sizes[0]
    writer.close()


async def test_a_request_that_comes_octet_by_octet_is_answered(site: Served) -> None:
    for request in (post(site.der(IN_TABLE)), get(site.der(NOT_YET))):
        octets = [request[index : index + 1] for index in range(len(request))]
        came = await send(site.lane_port, *octets)
        assert came.startswith(b"HTTP/1.1 200 OK\r\n")
        assert came.count(b"HTTP/1.1") == 1


async def test_a_client_that_wants_to_close_is_told_and_gets_its_answer(site: Served) -> None:
    for der in (site.der(IN_TABLE), site.der(NOT_YET)):
        came = await send(site.lane_port, post(der, "Connection: close") + post(der))
        assert came.count(b"HTTP/1.1 200 OK") == 1
        assert b"\r\nConnection: close\r\n" in came


async def test_a_client_that_reads_slowly_gets_everything(site: Served) -> None:
    """Ten megabytes of answers to requests sent at once: more than any socket's room."""
    count = 10_000
    one_request = post(site.der(IN_TABLE))
    reader, writer = await asyncio.open_connection("127.0.0.1", site.lane_port, limit=1 << 16)

    async def ask() -> None:
        for _ in range(count // 100):
            writer.write(one_request * 100)
            await writer.drain()

    asking = asyncio.create_task(ask())
    await asyncio.sleep(0.3)
    for _ in range(count):
        status, *_ = await asyncio.wait_for(read_response(reader), 30)
        assert status == b"200"
    await asking
    writer.close()


@pytest.mark.parametrize(
    "junk",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET /ocsp HTTP/1.1\r\n\r\n",
        b"POST /ocsp HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
    ],
)
async def test_what_is_no_plain_request_is_judged_by_the_full_parser(site: Served, junk: bytes) -> None:
    came = await send(site.lane_port, junk)
    assert came.startswith((b"HTTP/1.1 4", b"<reset>"))
    assert (await one(site.lane_port, post(site.der(IN_TABLE))))[0] == b"200"


async def test_connections_that_go_away_leave_nothing(site: Served) -> None:
    for _ in range(100):
        _, writer = await asyncio.open_connection("127.0.0.1", site.lane_port)
        writer.write(post(site.der(NOT_YET))[:-3])
        writer.transport.abort()
    _, writer = await asyncio.open_connection("127.0.0.1", site.lane_port)
    writer.write(post(site.der(NOBODY)))
    writer.transport.abort()  # before the chain has answered
    assert (await one(site.lane_port, get(site.der(IN_TABLE))))[0] == b"200"
