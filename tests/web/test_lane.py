"""The lane on real sockets: the answers that Hypercorn gives, in order and whole, however a client sends and reads."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import re
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from cryptography.x509 import ocsp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette

from responder import metrics
from responder.config import Config
from responder.config.model import Limits, Serve, Signing
from responder.errors import Overloaded, ResponderError
from responder.pki import CRL, Certificate, Fetched, Issuer, Pages, Records, encode_serial
from responder.roles.memory import HostMemory, create_memory
from responder.signing.signers import Signer
from responder.web.caching import Headers, Response
from responder.web.cors import lines
from responder.web.crl import CRLEndpoint, PublishedCRLs, ShownCRLs
from responder.web.entrance import Entrance
from responder.web.lane import serve_lane
from responder.web.limits import ClientLimits
from responder.web.manners import DEFAULT_MANNERS, Manners
from responder.web.routing import PublicRoute
from responder.web.server import HTTPSide, serve_http
from tests import der as encode
from tests.doubles import FakeClock
from tests.ocsp.chain import SERIAL, make_chain
from tests.web.test_fast_answer import Both, nonce, request_for
from tests.web.test_framing import AMBIGUOUS

UNLIMITED = Limits(per_minute=0)

IN_TABLE, NOT_YET, NOBODY = SERIAL, SERIAL + 1, SERIAL + 2


@dataclass
class Served:
    """One site behind both."""

    both: Both
    lane_port: int
    plain_port: int
    clock: FakeClock
    published: PublishedCRLs
    shown: ShownCRLs
    words: memoryview
    room: int
    asked_in_python: list[tuple[str, bytes]] = field(default_factory=list)
    held: asyncio.Event | None = None
    work: Callable[[], None] = lambda: None
    in_redis: dict[bytes, Records] = field(default_factory=dict)
    fetched: list[list[bytes]] = field(default_factory=list)
    outcome: Fetched = field(default_factory=Fetched)

    def publish(self, crl: CRL) -> None:
        self.published.replace([crl])
        self.shown.give(self.published.all, {each.id: each for each in self.both.chain.issuers})

    def der(self, serial: int, variant: int = 1) -> bytes:
        return request_for(self.both.chain.issuer, encode_serial(serial), variant)


def listening() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    return listener


@asynccontextmanager
async def served(
    clock: FakeClock,
    issuer: Issuer,
    signer: Signer,
    limits: Limits = UNLIMITED,
    manners: Manners = DEFAULT_MANNERS,
    waiting: int = 24,
    signing_seconds: float = 30.0,
    **serve: Any,
) -> AsyncIterator[Served]:
    chain = make_chain(clock, issuer, signer)
    for serial in (IN_TABLE, NOT_YET):
        chain.statuses.add(Certificate.numbered(issuer, serial))
    await chain.ask(IN_TABLE)
    cors = bool(serve.get("cors"))
    both = Both(chain, headers=lines() if cors else b"")
    both.fill()
    now = clock.now()
    published = PublishedCRLs([CRL(issuer.id, "full", 1, b"a CRL", now, now + timedelta(days=1), b"x" * 32)])
    pages = Pages()
    shown = ShownCRLs(pages)
    shown.give(published.all, {each.id: each for each in chain.issuers})
    config = Config(limits=limits, serve=Serve(**serve), signing=Signing(max_in_flight=8, max_waiting=waiting))
    room = 8 + waiting
    memory = HostMemory.of(create_memory(config, 1), 0)
    crls = CRLEndpoint(published, issuers=chain.issuers, clock=clock)
    route = PublicRoute(both.exchange, both.python, crls, cors=cors)
    client_limits = ClientLimits(memory.gate(config), config.limits.refusal)
    limited = PublicRoute(both.exchange, both.python, crls, limits=client_limits, cors=cors)
    app, stop = Starlette(routes=[route]), asyncio.Event()
    fast, plain = listening(), listening()
    site = Served(both, fast.getsockname()[1], plain.getsockname()[1], clock, published, shown, memory.lane, room)

    async def respond(
        method: str, path: bytes, headers: Headers, body: bytes, refusal: ResponderError | None
    ) -> Response:
        site.asked_in_python.append((method, path))
        site.work()
        if site.held is not None:
            await site.held.wait()
        return await route.respond(method, path, headers, body, refusal)

    async def fetch(names: Sequence[bytes]) -> Fetched:
        site.fetched.append(list(names))
        if site.held is not None:
            await site.held.wait()
        for name in names:
            records = site.in_redis.get(name)
            if records is not None:
                both.table.put(name[:8], name[8:], records, 0)
        return site.outcome

    # The native way looks at the real clock; the records are of the fake one's time.
    http = HTTPSide(app, manners=manners, requests_a_connection=1)
    gate = memory.gate(config)
    servers = [
        asyncio.create_task(
            serve_lane(
                fast,
                both.native,
                pages,
                gate,
                respond=respond,
                fetch=fetch,
                http=http,
                clock=clock,
                stop=stop,
                manners=manners,
                signing_seconds=signing_seconds,
            )
        ),
        asyncio.create_task(serve_http(Starlette(routes=[limited]), [Entrance(plain)], stop, manners=manners)),
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
            # What comes first may take long on a machine that does other things.
            while chunk := await asyncio.wait_for(reader.read(1 << 20), 0.5 if came else 5.0):
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


STRANGER = encode.request(
    encode.sequence(
        encode.sequence(bytes.fromhex("06052b0e03021a"), encode.NULL),
        encode.octet_string(b"n" * 20),
        encode.octet_string(b"k" * 20),
        encode.tlv(2, b"\1"),
    )
)
"""Of an issuer that isn't ours."""

SIGNED_FOR_IT = (3, 17)
"""Variants that no record has."""

CORPUS = st.one_of(
    st.builds(
        lambda serial, variant, kind, fields: (serial, variant, kind, tuple(fields)),
        st.sampled_from([IN_TABLE, NOT_YET, NOBODY]),
        st.sampled_from([1, 2, *SIGNED_FOR_IT]),
        st.sampled_from(
            ["post", "get", "get at root", "get well-known", "get with query", "head", "http/1.0", "absolute"]
        ),
        st.lists(
            st.sampled_from(
                ["If-None-Match: *", "If-None-Match: \"other\"", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT",
                 "If-None-Match: W/*, x", "If-None-Match: \"a\" , {tag}", "If-None-Match: W/{tag}", "If-None-Match:",
                 "If-None-Match: x{tag}", "Accept: */*", "Content-Type: application/ocsp-request", "Range: bytes=0-1",
                 "TE: trailers", "Connection: keep-alive, TE", "Connection: close", "User-Agent: x",
                 "Upgrade: websocket", "Connection: Upgrade", "Host: y", "X : y", "Content-Length: 0"]
            ),
            max_size=3, unique=True,
        ),
    ),
    st.sampled_from(
        [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /favicon.ico HTTP/1.1\r\nHost: x\r\n\r\n",
         b"GET /crl/nobody.crl HTTP/1.1\r\nHost: x\r\n\r\n",
         b"PUT /ocsp HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
         b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n", b"get / HTTP/1.1\r\nHost: x\r\n\r\n",
         b"GET /crl/test-rsa.crl HTTP/1.1\r\nHost: x\r\n\r\n", b"HEAD /crl/test-rsa.crl HTTP/1.1\r\nHost: x\r\n\r\n",
         b"GET /crl/test-rsa.crl HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n\r\n",
         b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
         b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody",
         b"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 4000,
         b"POST /crl/a.crl HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx", post(b"junk"), post(b""), get(b"junk"),
         post(STRANGER), get(STRANGER), get(STRANGER, "If-None-Match: *"),
         get(STRANGER, method="HEAD"), get(STRANGER, version="1.0"),
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
    tag = known_tag(site, der)
    fields = tuple(field.replace("{tag}", tag) for field in fields)
    if kind == "post":
        return post(der, *fields)
    if kind == "head":
        return get(der, *fields, method="HEAD")
    if kind == "http/1.0":
        return get(der, *fields, version="1.0")
    prefix = {"get at root": "/", "get well-known": "/.well-known/pki/ocsp/", "absolute": "http://x/ocsp/"}
    request = get(der, *fields, prefix=prefix.get(kind, "/a/b%20c/"))
    return request.replace(b" HTTP", b"?q=1 HTTP") if kind == "get with query" else request


def known_tag(site: Served, der: bytes) -> str:
    """What a client that was here before has kept of an answer from the table."""
    response = site.both.native.respond(der, False, time.time_ns())
    head = response.partition(b"\r\n\r\n")[0].decode() if response is not None else 'ETag: "none"'
    return next(line[6:] for line in head.split("\r\n") if line.startswith("ETag: "))


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=CORPUS)
async def test_the_lane_and_hypercorn_say_the_same(
    rsa_site: Served, case: tuple[int, int, str, tuple[str, ...]] | bytes
) -> None:
    request = spelled(rsa_site, case)
    ours, theirs = await one(rsa_site.lane_port, request), await one(rsa_site.plain_port, request)
    if not isinstance(case, bytes) and case[0] == IN_TABLE and case[1] in SIGNED_FOR_IT:
        # The lane has the times of the record, and the clock of this machine.
        ours, theirs = without_times(ours), without_times(theirs)
    assert ours == theirs


def without_times(answer: tuple[bytes, dict[str, str], bytes]) -> tuple[bytes, dict[str, str], bytes]:
    """What it says apart from its times, and its signature."""
    status, headers, body = answer
    if len(body) > 5:
        body = re.sub(rb"\x18\x0f\d{14}Z", b"", ocsp.load_der_ocsp_response(body).tbs_response_bytes)
    return status, headers, body


async def test_what_is_in_the_table_needs_no_python(site: Served) -> None:
    der = site.der(IN_TABLE)
    for request in (
        post(der),
        post(der, "If-None-Match: *"),
        get(site.der(IN_TABLE, 2)),
        get(der, prefix="/x/y/"),
        get(der, version="1.0"),
        b"POST / HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(der) + der,
        get(der, "Upgrade: h2c", "TE: trailers", "Range: bytes=0-1"),
    ):
        status, headers, body = await one(site.lane_port, request)
        assert status == b"200"
        assert len(body) > 400
        assert headers["cache-control"].startswith("max-age=")
    tag = headers["etag"]
    for value in (tag, f"W/{tag}", f'"x",{tag}', "*"):
        status, headers, body = await one(
            site.lane_port,
            get(der, f"If-None-Match: {value}", "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT"),
        )
        assert (status, body, headers["etag"]) == (b"304", b"", tag)
    assert site.asked_in_python == []
    await one(site.lane_port, post(site.der(NOT_YET)))
    assert len(site.asked_in_python) == 1


async def test_crls_and_the_root_need_no_python(site: Served) -> None:
    now = site.clock.now()
    site.publish(CRL("test-ec", "full", 9, os.urandom(100_000), now, now + timedelta(days=1), b"y" * 32))
    path = "/crl/test-ec.crl"
    for method, version in itertools.product(("GET", "HEAD"), ("1.0", "1.1")):
        request = f"{method} {path} HTTP/{version}\r\nHost: x\r\n\r\n".encode()
        status, headers, body = await one(site.lane_port, request)
        assert (status, headers["content-length"], headers["etag"]) == (b"200", "100000", f'"{(b"y" * 32).hex()}"')
        assert len(body) == (100_000 if method == "GET" else 0)
        request = request.replace(b"Host: x", b'Host: x\r\nIf-None-Match: W/"%b"' % (b"y" * 32).hex().encode())
        assert (await one(site.lane_port, request))[0] == b"304"
    assert (await one(site.lane_port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"))[2].startswith(b"certstatus")
    # What is large goes out whole before the end, and before what was asked after it.
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\n".encode()
    came = await send(site.lane_port, (request + b"\r\n") * 3 + request + b"Connection: close\r\n\r\n")
    assert came.count(b"HTTP/1.1 200 OK") == 4
    assert len(came) > 400_000
    assert b"\r\nConnection: close\r\n" in came[300_000:]
    assert site.asked_in_python == []
    ok, not_modified = metrics.fast_words()["crls"]
    assert (site.both.lane[ok], site.both.lane[not_modified]) == (8, 4)
    # One that has ended isn't there; only the rules in Python know what is said then.
    site.publish(CRL("test-ec", "full", 10, b"old", now - timedelta(days=2), now - timedelta(days=1), b"z" * 32))
    assert (await one(site.lane_port, request + b"\r\n"))[0] == b"404"
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
    # The last ones are another's: what is chunked goes to Hypercorn, after the answers before it, and ends there.
    reader, writer = await asyncio.open_connection("127.0.0.1", site.lane_port)
    der = site.der(IN_TABLE)
    chunked = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(der), der)
    writer.write(kinds[0] * 20 + kinds[1] + get(der, method="HEAD") + chunked + kinds[0])
    for _ in range(21):
        assert (await asyncio.wait_for(read_response(reader), 10))[0] == b"200"
    status, headers, _ = await asyncio.wait_for(read_response(reader, is_head=True), 10)
    assert status == b"200"
    assert int(headers["content-length"]) == sizes[0]
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    assert head.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in head.lower()
    assert len(await asyncio.wait_for(reader.read(), 10)) == sizes[0]
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


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_what_may_be_read_in_two_ways_is_refused_by_both(site: Served, name: str) -> None:
    """After the answers to what came before it on the connection, which ends with that."""
    good = post(site.der(IN_TABLE))
    for port in (site.lane_port, site.plain_port):
        for pause, parts in ((0.0, [good + AMBIGUOUS[name]]), (0.02, [good, AMBIGUOUS[name]])):
            came = await send(port, *parts, good, pause=pause)
            assert came.count(b"HTTP/1.1 200") == 1
            assert came.startswith(b"HTTP/1.1 200")
            assert came.count(b"HTTP/1.1 400") == 1


async def test_a_client_that_waits_is_told_to_go_on(site: Served) -> None:
    der = site.der(IN_TABLE)
    head, _, body = post(der, "Expect: 100-continue").partition(b"\r\n\r\n")
    for port in (site.lane_port, site.plain_port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(head + b"\r\n\r\n")
            assert (await asyncio.wait_for(read_response(reader), 10))[0] == b"100"
            writer.write(body[:7])
            await asyncio.sleep(0.02)
            writer.write(body[7:])
            assert (await asyncio.wait_for(read_response(reader), 10))[0] == b"200"
            # Nobody waits whose body has come; but Hypercorn doesn't look.
            if port == site.lane_port:
                writer.write(head + b"\r\n\r\n" + body)
                assert (await asyncio.wait_for(read_response(reader), 10))[0] == b"200"
        writer.close()


async def test_a_large_crl_is_not_copied_for_each_who_reads_it_slowly(site: Served) -> None:
    size, readers = 24 << 20, 20
    now = site.clock.now()
    large = CRL("test-ec", "full", 7, os.urandom(size), now, now + timedelta(days=1), b"x" * 32)
    site.publish(large)
    before = resident_octets()
    connections = [await asyncio.open_connection("127.0.0.1", site.lane_port, limit=1 << 16) for _ in range(readers)]
    for _, writer in connections:
        writer.write(b"GET /crl/test-ec.crl HTTP/1.1\r\nHost: x\r\n\r\n" + post(site.der(IN_TABLE)))
    await asyncio.sleep(0.3)
    assert (await one(site.lane_port, post(site.der(IN_TABLE))))[0] == b"200"
    assert resident_octets() - before < readers * size / 4
    # It is published no more, and yet sent to its end to those who wait; then comes what else they asked.
    site.publish(replace(large, crl_number=8, der=b"small"))
    for index, (reader, writer) in enumerate(connections):
        if index % 2:
            writer.transport.abort()
            continue
        status, _, body = await asyncio.wait_for(read_response(reader), 30)
        assert (status, body == large.der) == (b"200", True)
        assert (await asyncio.wait_for(read_response(reader), 10))[0] == b"200"
        writer.close()
    await asyncio.sleep(0.05)
    holders = sys.getrefcount(large.der)
    assert holders == 2, "the CRL of this test, and the call"


def resident_octets() -> int:
    with open("/proc/self/statm") as pages:
        return int(pages.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


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


@pytest.mark.parametrize(
    ("request_line", "statuses"),
    [(b"TRACE /ocsp", {b"405"}), (b"TRACE *", {b"405"}), (b"CONNECT x:80", {b"400", b"405"}), (b"OPTIONS *", {b"204"})],
)
async def test_methods_that_lead_elsewhere_are_refused(site: Served, request_line: bytes, statuses: set[bytes]) -> None:
    """RFC 9110 §9.3.6 to 9.3.8: nothing of the request comes back, and no tunnel is opened."""
    request = request_line + b" HTTP/1.1\r\nHost: x:80\r\nCookie: secret\r\n\r\n"
    for port in (site.lane_port, site.plain_port):
        status, headers, body = await one(port, request)
        assert status in statuses
        assert b"secret" not in body + str(headers).encode()


async def test_connections_that_go_away_leave_nothing(site: Served) -> None:
    for _ in range(100):
        _, writer = await asyncio.open_connection("127.0.0.1", site.lane_port)
        writer.write(post(site.der(NOT_YET))[:-3])
        writer.transport.abort()
    _, writer = await asyncio.open_connection("127.0.0.1", site.lane_port)
    writer.write(post(site.der(NOBODY)))
    writer.transport.abort()  # before the chain has answered
    assert (await one(site.lane_port, get(site.der(IN_TABLE))))[0] == b"200"


async def test_what_the_table_lacks_is_looked_for_together_and_answered_without_the_chain(site: Served) -> None:
    chain = site.both.chain
    serials = range(0x100, 0x120)
    for serial in serials:
        chain.statuses.add(Certificate.numbered(chain.issuer, serial))
        await chain.ask(serial)
    site.in_redis = {
        certificate.issuer.tag + certificate.serial: records
        for certificate, records in chain.records.kept.items()
        if certificate.serial_number in serials
    }
    # On one connection in their order, with what the table has, what is nowhere, and a nonce between them.
    asked = [post(site.der(serial)) + get(site.der(IN_TABLE)) for serial in serials]
    with_nonce = post(request_for(chain.issuer, encode_serial(0x100), 1, nonce(b"n" * 16)))
    reader, writer = await asyncio.open_connection("127.0.0.1", site.lane_port)
    writer.write(b"".join(asked) + post(site.der(NOBODY)) + with_nonce)
    bodies = [(await asyncio.wait_for(read_response(reader), 10))[2] for _ in range(2 * len(serials) + 2)]
    writer.close()
    for serial, body in zip(serials, bodies[::2], strict=False):
        assert body == (await one(site.plain_port, post(site.der(serial))))[2]
    assert bodies[-2].hex() == "30030a0106"
    assert b"n" * 16 in bodies[-1]
    assert len(site.asked_in_python) == 1, "what is nowhere"
    words = metrics.fast_words()
    assert [site.both.lane[words[name]] for name in ("fetched", "answers", "live")] == [32, 32, 1]


async def test_what_cannot_be_answered_is_refused_without_the_authority_being_asked_again(site: Served) -> None:
    """And that says nothing of what follows on the same connection."""
    chain = site.both.chain
    await chain.ask(NOT_YET)
    names = [chain.issuer.tag + encode_serial(serial) for serial in (NOBODY, NOT_YET)]
    site.in_redis = {
        certificate.issuer.tag + certificate.serial: records for certificate, records in chain.records.kept.items()
    }
    site.outcome = Fetched(frozenset(names[1:]), dict.fromkeys(names, Overloaded("full")))
    reads, for_the_chain = (
        chain.statuses.reads,
        get(site.der(IN_TABLE), "If-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT"),
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", site.lane_port)
    writer.write(post(site.der(NOBODY)) + for_the_chain + post(site.der(NOT_YET)) + for_the_chain)
    bodies = [(await asyncio.wait_for(read_response(reader), 10))[2] for _ in range(4)]
    writer.close()
    in_table, made = [(await one(site.plain_port, post(site.der(serial))))[2] for serial in (IN_TABLE, NOT_YET)]
    assert bodies == [bytes.fromhex("30030a0103"), in_table, made, in_table]
    assert chain.statuses.reads == reads
    words = metrics.fast_words()
    assert [site.both.lane[words[name]] for name in ("fetched", "answers", "live")] == [0, 0, 1]


async def test_of_many_connections_all_that_is_missing_in_a_turn_is_one_look_up(site: Served) -> None:
    chain = site.both.chain
    names = [chain.issuer.tag + encode_serial(0x200 + number) for number in range(20)]
    streams = [await asyncio.open_connection("127.0.0.1", site.lane_port) for _ in names]
    await asyncio.sleep(0.05)
    for (_, writer), name in zip(streams, names, strict=True):
        writer.write(post(request_for(chain.issuer, name[8:], 1)))
    for reader, writer in streams:
        assert (await asyncio.wait_for(read_response(reader), 10))[2].hex() == "30030a0106"
        writer.close()
    assert sorted(itertools.chain.from_iterable(site.fetched)) == sorted(names)
    assert len(site.fetched) < 10
    assert len(site.asked_in_python) == 20


async def test_whoever_leaves_while_something_is_looked_for_is_no_trouble(site: Served) -> None:
    site.held = asyncio.Event()
    _, writer = await asyncio.open_connection("127.0.0.1", site.lane_port)
    writer.write(post(site.der(NOBODY)))
    while not site.fetched:  # noqa: ASYNC110 - it happens in the server
        await asyncio.sleep(0.01)
    writer.transport.abort()
    await asyncio.sleep(0.05)
    site.held.set()
    site.held = None
    assert (await one(site.lane_port, post(site.der(IN_TABLE))))[0] == b"200"
    assert (await one(site.lane_port, post(site.der(NOBODY))))[2].hex() == "30030a0106"


async def test_what_the_table_has_does_not_wait_for_what_goes_on_in_python(site: Served) -> None:
    """However many questions have begun together, and however long each of them keeps the loop."""
    calls, answered_at = 0, 0
    hit = socket.create_connection(("127.0.0.1", site.lane_port))

    def work() -> None:
        nonlocal calls, answered_at
        calls += 1
        if calls == 5:
            hit.sendall(post(site.der(IN_TABLE)))
        if calls > 5 and not answered_at:
            with suppress(BlockingIOError):
                answered_at = calls if hit.recv(4096, socket.MSG_DONTWAIT) else 0
        until = time.perf_counter() + 0.001
        while time.perf_counter() < until:
            pass

    site.work = work
    streams = [await asyncio.open_connection("127.0.0.1", site.lane_port) for _ in range(30)]
    for _, writer in streams:
        writer.write(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
    for reader, writer in streams:
        for _ in range(2):
            assert (await asyncio.wait_for(read_response(reader), 10))[0] == b"404"
        writer.close()
    hit.close()
    assert calls == 60
    assert 5 < answered_at < 20
