"""TLS on the public listener: who it is spoken with, and certificates that change while it is."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from responder import metrics
from responder.errors import ConfigError
from responder.host.sockets import open_socket
from responder.pki import Networks
from responder.tls_files import TLSFiles
from responder.web.entrance import Entrance
from responder.web.manners import DEFAULT_MANNERS, Manners
from responder.web.server import serve_http
from tests.web.test_lane import read_response

GET = b"GET /who HTTP/1.1\r\nHost: localhost\r\n\r\n"
OURS = Networks([(bytes([127, 0, 0, 0]), 8)])


class Files:
    """A certificate and its key, which may change."""

    def __init__(self, folder: Path) -> None:
        self.certificate, self.key = folder / "tls.pem", folder / "tls.key"
        self.serial = 0
        self.renew()

    def make(self, *, is_rsa: bool = False) -> tuple[bytes, bytes]:
        self.serial += 1
        key = rsa.generate_private_key(65537, 2048) if is_rsa else ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        now = datetime.datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), self.serial, now, now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return certificate.public_bytes(pem), private

    def renew(self, *, is_rsa: bool = False) -> None:
        certificate, key = self.make(is_rsa=is_rsa)
        put(self.key, key)
        put(self.certificate, certificate)


def put(path: Path, content: bytes) -> None:
    """As whoever renews certificates does: the new file takes the old one's place."""
    other = path.with_suffix(".new")
    other.touch(mode=0o600)
    other.write_bytes(content)
    other.replace(path)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


async def who(request: Request) -> Response:
    assert request.client is not None
    return Response(f"{request.client.host} by {request.url.scheme} {len(await request.body())}".encode())


@asynccontextmanager
async def served(tls: TLSFiles, manners: Manners = DEFAULT_MANNERS, **entrance: Any) -> AsyncIterator[int]:
    listener, stop = open_socket("127.0.0.1", 0, reuse_port=True), asyncio.Event()
    app = Starlette(routes=[Route("/who", who, methods=["GET", "POST"])])
    serving = asyncio.create_task(serve_http(app, [Entrance(listener, tls, **entrance)], stop, manners=manners))
    try:
        yield listener.getsockname()[1]
    finally:
        stop.set()
        await asyncio.wait_for(serving, 20)
        listener.close()


def client_context(change: Callable[[ssl.SSLContext], object] = lambda context: None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    change(context)
    return context


async def connect(port: int, context: ssl.SSLContext | None = None, before: bytes = b"") -> Any:
    """Streams over TLS, after what a load balancer says."""
    loop = asyncio.get_running_loop()
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(before)
    connection.setblocking(False)
    reader = asyncio.StreamReader()
    transport, protocol = await asyncio.wait_for(
        loop.create_connection(
            lambda: asyncio.StreamReaderProtocol(reader),
            sock=connection,
            ssl=context or client_context(),
            server_hostname="localhost",
        ),
        10,
    )
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


def serial_of(writer: asyncio.StreamWriter) -> int:
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return x509.load_der_x509_certificate(der).serial_number


async def ask(streams: Any, request: bytes = GET) -> bytes:
    reader, writer = streams
    writer.write(request)
    return (await asyncio.wait_for(read_response(reader), 10))[2]


async def test_requests_are_answered_over_tls(files: Files) -> None:
    async with served(TLSFiles(files.certificate, files.key)) as port:
        streams = await connect(port)
        assert await ask(streams) == b"127.0.0.1 by https 0"
        body = b"x" * 10_000
        request = b"POST /who HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        assert await ask(streams, request) == b"127.0.0.1 by https 10000"
        assert streams[1].get_extra_info("ssl_object").version() == "TLSv1.3"
        streams[1].close()


@pytest.mark.parametrize(
    "change",
    [
        lambda context: setattr(context, "maximum_version", ssl.TLSVersion.TLSv1_2),
        lambda context: context.set_alpn_protocols(["http/1.1"]),
        lambda context: context.set_alpn_protocols(["acme-tls/1"]),
        lambda context: context.set_ciphers("ECDHE+CHACHA20"),
    ],
)
async def test_clients_that_it_gets_on_with(files: Files, change: Any) -> None:
    async with served(TLSFiles(files.certificate, files.key)) as port:
        streams = await connect(port, client_context(change))
        assert await ask(streams) == b"127.0.0.1 by https 0"
        assert streams[1].get_extra_info("ssl_object").selected_alpn_protocol() in (None, "http/1.1")
        streams[1].close()


def old_version(context: ssl.SSLContext) -> None:
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1


def without_secrecy(context: ssl.SSLContext) -> None:
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-GCM-SHA256:AES256-SHA")


def without_authentication(context: ssl.SSLContext) -> None:
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AES:!AESGCM:!AESCCM")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize("change", [old_version, without_secrecy, without_authentication])
@pytest.mark.parametrize("is_rsa", [True, False])
async def test_weak_versions_and_suites_are_refused(files: Files, change: Any, is_rsa: bool) -> None:
    files.renew(is_rsa=is_rsa)
    async with served(TLSFiles(files.certificate, files.key)) as port:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await connect(port, client_context(change))
        streams = await connect(port)
        assert await ask(streams) == b"127.0.0.1 by https 0"
        streams[1].close()


async def test_a_renewed_certificate_is_taken_and_nobody_notices(files: Files) -> None:
    """A thousand handshakes while it changes ten times; each gets one that it was, and after the last change that."""
    tls = TLSFiles(files.certificate, files.key)
    async with served(tls) as port:
        old = await connect(port)
        assert serial_of(old[1]) == 1
        met, context = [], client_context()

        async def some() -> None:
            for _ in range(100):
                streams = await connect(port, context)
                met.append((serial_of(streams[1]), files.serial))
                assert await ask(streams) == b"127.0.0.1 by https 0"
                streams[1].close()

        async def renewing() -> None:
            for number in range(10):
                await asyncio.sleep(0.05)
                files.renew(is_rsa=number % 2 == 0)
                tls.look()

        await asyncio.gather(renewing(), *(some() for _ in range(10)))
        assert len(met) == 1000
        assert all(serial <= latest for serial, latest in met)
        assert len({serial for serial, _ in met}) > 5
        new = await connect(port)
        assert serial_of(new[1]) == files.serial == 11
        assert await ask(old) == b"127.0.0.1 by https 0", "the connection from before goes on"
        for _, writer in (old, new):
            writer.close()


async def test_the_files_are_followed(files: Files) -> None:
    async with served(TLSFiles(files.certificate, files.key)) as port:
        files.renew()
        async with asyncio.timeout(10):
            while True:
                _, writer = await connect(port)
                writer.close()
                if serial_of(writer) == 2:
                    break
                await asyncio.sleep(0.1)


async def test_a_key_of_another_certificate_is_refused_and_the_one_before_stays(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    tls = TLSFiles(files.certificate, files.key)
    async with served(tls) as port:
        certificate, key = files.make()
        put(files.certificate, certificate)
        for _ in range(3):
            tls.look()
        assert sum("isn't the key of the certificate" in record.getMessage() for record in caplog.records) <= 1
        _, writer = await connect(port)
        assert serial_of(writer) == 1
        writer.close()
        put(files.key, key)  # the other half of a renewal
        tls.look()
        _, writer = await connect(port)
        assert serial_of(writer) == 2
        writer.close()
        files.key.unlink()
        tls.look()
        streams = await connect(port)
        assert await ask(streams) == b"127.0.0.1 by https 0"
        streams[1].close()


def test_files_that_cannot_be_used_are_named(files: Files, tmp_path: Path) -> None:
    other = tmp_path / "other.key"
    certificate, key = files.make()
    put(other, key)
    with pytest.raises(ConfigError, match=r"other\.key isn't the key of the certificate in .*tls\.pem"):
        TLSFiles(files.certificate, other)
    with pytest.raises(ConfigError, match=r"none\.pem can't be opened: no such file"):
        TLSFiles(tmp_path / "none.pem", files.key)
    put(other, b"junk")
    with pytest.raises(ConfigError, match=r"tls\.pem or .*other\.key can't be read"):
        TLSFiles(files.certificate, other)
    locked = serialization.load_pem_private_key(key, None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"passphrase"),
    )
    put(other, locked)
    with pytest.raises(ConfigError, match="its key is encrypted"):
        TLSFiles(files.certificate, other)
    put(other, key)
    other.chmod(0o640)
    put(files.certificate, certificate)
    TLSFiles(files.certificate, other)  # its group may read it
    other.chmod(0o644)
    with pytest.raises(ConfigError, match=r"other\.key has mode 0644, so others may read or change the key; chmod 600"):
        TLSFiles(files.certificate, other)


async def ends_after(reader: asyncio.StreamReader) -> float:
    began = time.monotonic()
    with contextlib.suppress(ConnectionError):
        await asyncio.wait_for(reader.read(), 20)
    return time.monotonic() - began


async def test_who_begins_no_handshake_is_not_waited_for_and_makes_room(files: Files) -> None:
    manners = Manners(other_connections=16, connections_a_client=8, request_seconds=0.5)
    slow, crowded = (metrics.CONNECTIONS_CLOSED.value(reason) for reason in ("slow", "crowded"))
    async with served(TLSFiles(files.certificate, files.key), manners) as port:
        idle = [
            await asyncio.open_connection("127.0.0.1", port, local_addr=(f"127.0.0.{2 + index // 4}", 0))
            for index in range(16)
        ]
        await asyncio.sleep(0.05)
        streams = await connect(port)
        assert await ask(streams) == b"127.0.0.1 by https 0"
        assert metrics.CONNECTIONS_CLOSED.value("crowded") == crowded + 1
        for reader, writer in idle:
            assert await ends_after(reader) < 5
            writer.close()
        streams[1].close()
    assert metrics.CONNECTIONS_CLOSED.value("slow") > slow


async def test_a_client_beyond_its_limit_has_no_handshake(files: Files) -> None:
    refused: list[str] = []

    def may_enter(client: str) -> bool:
        refused.append(client)
        return len(refused) <= 2

    async with served(TLSFiles(files.certificate, files.key), may_enter=may_enter) as port:
        for _ in range(2):
            _, writer = await connect(port)
            writer.close()
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await connect(port)
    assert refused == ["127.0.0.1"] * 3


@pytest.mark.parametrize(
    ("header", "client"),
    [
        (b"PROXY TCP4 192.0.2.7 127.0.0.1 1 2\r\n", b"192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n", b"2001:db8::7"),
        (b"PROXY UNKNOWN\r\n", b"127.0.0.1"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f\xc0\0\2\7\x7f\0\0\1\0\1\0\2\4\0\0", b"192.0.2.7"),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", b"127.0.0.1"),
    ],
)
async def test_a_load_balancer_says_first_whose_it_is(files: Files, header: bytes, client: bytes) -> None:
    manners = replace(DEFAULT_MANNERS, announced=OURS)
    async with served(TLSFiles(files.certificate, files.key), manners) as port:
        streams = await connect(port, before=header)
        assert await ask(streams) == client + b" by https 0"
        streams[1].close()


@pytest.mark.parametrize("header", [b"", b"PROXY TCP4 nobody 127.0.0.1 1 2\r\n", b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0"])
async def test_one_that_says_nothing_is_not_heard(files: Files, header: bytes) -> None:
    unannounced = metrics.CONNECTIONS_CLOSED.value("unannounced")
    async with served(TLSFiles(files.certificate, files.key), replace(DEFAULT_MANNERS, announced=OURS)) as port:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await connect(port, before=header)
    assert metrics.CONNECTIONS_CLOSED.value("unannounced") == unannounced + 1


async def test_octets_that_are_no_handshake_leave_the_others_alone(files: Files) -> None:
    async with served(TLSFiles(files.certificate, files.key)) as port:
        for _ in range(100):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"\x16\x03\x01\x02\x00" + os.urandom(512))
            await ends_after(reader)
            writer.close()
        streams = await connect(port)
        assert await ask(streams) == b"127.0.0.1 by https 0"
        streams[1].close()
