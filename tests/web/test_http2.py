"""HTTP/2 over TLS: the same answers, and floods that cost their connection and nobody else's."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import httpx
import pytest
from starlette.applications import Starlette

from responder import metrics
from responder.config.model import Limits
from responder.host.sockets import open_socket
from responder.pki import CRL, Issuer
from responder.signing.signers import Signer
from responder.tls_files import TLSFiles
from responder.web.crl import CRLEndpoint
from responder.web.entrance import Entrance
from responder.web.manners import DEFAULT_MANNERS
from responder.web.routing import PublicRoute
from responder.web.server import serve_http
from tests.doubles import FakeClock
from tests.web.test_lane import IN_TABLE, NOBODY, Served, one, post, served
from tests.web.test_tls import Files

MANNERS = replace(DEFAULT_MANNERS, idle_seconds=1.0, request_seconds=0.5)


class Site:
    """The public site over TLS, beside the plain one."""

    def __init__(self, plain: Served, port: int) -> None:
        self.plain, self.port = plain, port


@pytest.fixture
async def site(issuer: Issuer, signer: Signer, tmp_path: Path) -> AsyncIterator[Site]:
    files = Files(tmp_path)
    tls = TLSFiles(files.certificate, files.key, protocols=("h2", "http/1.1"))
    async with served(FakeClock(datetime.now(UTC)), issuer, signer, Limits(per_minute=0)) as plain:
        crls = CRLEndpoint(plain.published, issuers=plain.both.chain.issuers, clock=plain.clock)
        route = PublicRoute(plain.both.exchange, plain.both.python, crls, body_seconds=MANNERS.request_seconds)
        listener, stop = open_socket("127.0.0.1", 0, reuse_port=True), asyncio.Event()
        port = listener.getsockname()[1]
        serving = asyncio.create_task(
            serve_http(Starlette(routes=[route]), [Entrance(listener, tls)], stop, manners=MANNERS)
        )
        try:
            yield Site(plain, port)
        finally:
            stop.set()
            await asyncio.wait_for(serving, 20)


class Client:
    """One connection; what it does is h2's doing, or octets of ours."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.flush()

    @classmethod
    @contextlib.asynccontextmanager
    async def connected(cls, port: int) -> AsyncIterator[Client]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
        try:
            yield cls(reader, writer)
        finally:
            writer.transport.abort()

    def flush(self) -> None:
        self.writer.write(self.h2.data_to_send())

    def begin(self, body: bytes | None, path: str = "/ocsp", **headers: str) -> int:
        """A request whose body follows; None: it has none."""
        stream: int = self.h2.get_next_available_stream_id()
        named = {":method": "GET" if body is None else "POST", ":path": path, ":scheme": "https", ":authority": "x"}
        self.h2.send_headers(stream, [*named.items(), *headers.items()], end_stream=body is None)
        if body:
            self.h2.send_data(stream, body, end_stream=True)
        self.flush()
        return stream

    async def events(self, seconds: float = 10) -> AsyncIterator[h2.events.Event]:
        """What comes, until the connection ends."""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(seconds):
                while data := await self.reader.read(65536):
                    for event in self.h2.receive_data(data):
                        if isinstance(event, h2.events.DataReceived):
                            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                        yield event
                    self.flush()

    async def answers(self, *streams: int) -> list[tuple[str, bytes]]:
        """The status and the body of each."""
        statuses, bodies, left = dict[int, str](), dict.fromkeys(streams, b""), set(streams)
        async for event in self.events():
            if isinstance(event, h2.events.ResponseReceived):
                statuses[event.stream_id] = str(dict(event.headers)[":status"])  # type: ignore[index]
            elif isinstance(event, h2.events.DataReceived):
                bodies[event.stream_id] += event.data
            elif isinstance(event, h2.events.StreamEnded):
                left.discard(event.stream_id)
                if not left:
                    break
        return [(statuses[stream], bodies[stream]) for stream in streams]

    async def error_code(self) -> int | None:
        """What the server says when it ends the connection; it does within seconds."""
        code = None
        async for event in self.events():
            if isinstance(event, h2.events.ConnectionTerminated):
                code = int(event.error_code or 0)
        return code


async def test_requests_are_answered_one_after_another_and_together(site: Site) -> None:
    answer = (await one(site.plain.plain_port, post(site.plain.der(IN_TABLE))))[2]
    crl = (await one(site.plain.plain_port, b"GET /crl/test-ec.crl HTTP/1.1\r\nHost: x\r\n\r\n"))[2]
    async with Client.connected(site.port) as client:
        for _ in range(300):
            assert await client.answers(client.begin(site.plain.der(IN_TABLE))) == [("200", answer)]
        together = [client.begin(site.plain.der(serial)) for serial in (IN_TABLE, NOBODY) * 10]
        refused = bytes.fromhex("30030a0106")
        assert await client.answers(*together) == [("200", answer), ("200", refused)] * 10
        assert await client.answers(client.begin(None, "/crl/test-ec.crl")) == [("200", crl)]
        assert (await client.answers(client.begin(None, "/nowhere")))[0][0] == "404"


async def test_another_programs_client_gets_the_same(site: Site) -> None:
    answer = (await one(site.plain.plain_port, post(site.plain.der(IN_TABLE))))[2]
    async with httpx.AsyncClient(http2=True, verify=False, trust_env=False) as client:
        for _ in range(20):
            response = await client.post(
                f"https://127.0.0.1:{site.port}/ocsp",
                content=site.plain.der(IN_TABLE),
                headers={"Content-Type": "application/ocsp-request"},
            )
            assert (response.http_version, response.content) == ("HTTP/2", answer)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """RFC 9113 §4.1."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def rapid_resets(client: Client) -> bytes:
    for _ in range(1000):
        stream = client.h2.get_next_available_stream_id()
        client.h2.send_headers(
            stream, [(":method", "GET"), (":path", "/"), (":scheme", "https"), (":authority", "x")], end_stream=True
        )
        client.h2.reset_stream(stream)
    data: bytes = client.h2.data_to_send()
    return data


def empty_data(client: Client) -> bytes:
    stream = client.begin(b"")
    return frame(0, 0, stream) * 20_000


FLOODS: dict[str, Callable[[Client], bytes]] = {
    "resets": rapid_resets,
    "settings": lambda client: frame(4, 0, 0) * 20_000,
    "settings that change": lambda client: frame(4, 0, 0, struct.pack(">HI", 4, 65_535) * 5) * 10_000,
    "pings": lambda client: frame(6, 0, 0, b"x" * 8) * 20_000,
    "priorities": lambda client: frame(2, 0, 1, struct.pack(">IB", 3, 9)) * 20_000,
    "windows": lambda client: frame(8, 0, 0, struct.pack(">I", 1)) * 20_000,
    "empty data": empty_data,
    "unknown frames": lambda client: frame(0x77, 0, 0, b"x") * 20_000,
    "continuations": lambda client: (
        frame(1, 0, 1, b"\x82") + frame(9, 0, 1, b"\0\1a\1b" * 3000) * 500 + frame(9, 4, 1, b"\x84")
    ),
    "a header list that grows": lambda client: frame(1, 5, 1, b"\x40\1a\x7f\x80\x1f" + b"b" * 4000 + b"\xbe" * 10_000),
    "streams": lambda client: b"".join(frame(1, 4, stream, b"\x83\x87\x84\x41\1x") for stream in range(1, 2001, 2)),
    "no frames": lambda client: b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2000,
}


REFUSED_BY_H2 = {"continuations", "a header list that grows", "streams", "no frames"}
"""These break a rule of HTTP/2; the others are only too much."""


@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_ends_its_connection_and_the_others_are_answered(site: Site, name: str) -> None:
    spent = metrics.CONNECTIONS_CLOSED.value("flood")
    async with Client.connected(site.port) as polite, Client.connected(site.port) as flooding:
        await polite.answers(polite.begin(site.plain.der(IN_TABLE)))
        async for event in flooding.events():
            if isinstance(event, h2.events.SettingsAcknowledged):
                break
        flooding.writer.write(FLOODS[name](flooding))
        flood = asyncio.ensure_future(flooding.error_code())
        while not flood.done():
            assert (await polite.answers(polite.begin(site.plain.der(IN_TABLE))))[0][0] == "200"
        with contextlib.suppress(h2.exceptions.ProtocolError):
            assert await flood != 0
        assert metrics.CONNECTIONS_CLOSED.value("flood") - spent == (name not in REFUSED_BY_H2)
        assert (await polite.answers(polite.begin(site.plain.der(IN_TABLE))))[0][0] == "200"


async def test_a_body_that_does_not_come_is_not_waited_for(site: Site) -> None:
    async with Client.connected(site.port) as client:
        stream = client.begin(b"")
        client.h2.send_data(stream, site.plain.der(IN_TABLE)[:10])
        client.flush()
        assert (await client.answers(stream))[0][0] == "408"
        other = client.begin(site.plain.der(IN_TABLE))
        assert (await client.answers(other))[0][0] == "200"


async def test_whoever_shuts_its_windows_is_left(site: Site) -> None:
    now = site.plain.clock.now()
    crl = CRL(site.plain.both.chain.issuer.id, "full", 2, bytes(3_000_000), now, now + timedelta(days=1), b"y" * 32)
    site.plain.publish(crl)
    slow = metrics.CONNECTIONS_CLOSED.value("slow")
    async with Client.connected(site.port) as client:
        client.begin(None, "/crl/test-ec.crl")
        began = time.monotonic()
        while await asyncio.wait_for(client.reader.read(65536), 10):
            pass  # its window isn't opened again
        assert time.monotonic() - began < 8
    assert metrics.CONNECTIONS_CLOSED.value("slow") == slow + 1


async def test_one_that_asks_nothing_is_closed(site: Site) -> None:
    async with Client.connected(site.port) as client:
        began = time.monotonic()
        await client.error_code()
        assert time.monotonic() - began < 8
