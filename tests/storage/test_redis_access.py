"""How a Redis or Valkey lets us in: users with passwords, and TLS."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from responder.embedded import EmbeddedValkey
from responder.errors import StoreUnavailable, StoreUnreachable
from responder.signing.signers import Signer
from responder.storage.redis import RedisRecords
from responder.storage.redis_connections import Access
from tests.storage.test_redis import make


@pytest.fixture
async def users(valkey: EmbeddedValkey) -> AsyncIterator[EmbeddedValkey]:
    admin = RedisRecords(valkey.url, timeout_seconds=2)
    await admin._redis.execute_command(  # type: ignore[no-untyped-call]
        "ACL", "SETUSER", "answers", "on", ">p@ss:/word", "~cs*", "+@all", "-@dangerous", "+info"
    )
    await admin._redis.execute_command("ACL", "SETUSER", "default", "off")  # type: ignore[no-untyped-call]
    yield valkey
    await admin.close()


def with_user(url: str, user: str) -> str:
    return url.replace("://", f"://{user}@", 1)


async def test_a_user_of_the_url_and_the_password_of_a_file(users: EmbeddedValkey, signer: Signer) -> None:
    store = RedisRecords(with_user(users.url, "answers"), access=Access("p@ss:/word"), timeout_seconds=2)
    certificate, records = make(signer, 5)
    await store.put(certificate, records)
    assert await store.get(certificate) == records
    assert len(await store.ping()) > 40
    await store.require_writable()
    assert await store.newest((1, 5)) == (1, 5)
    assert [names async for names, _ in store.everything() if names] == [[certificate.issuer.tag + certificate.serial]]
    await store.close()


@pytest.mark.parametrize(
    ("user", "password", "words"),
    [
        ("answers", "another", r"refused a command: .*; the user in redis\.url or the password"),
        ("nobody", "p@ss:/word", r"refused a command: .*; the user in redis\.url or the password"),
        ("", None, "refused a command: .*; name the file of its password in redis.password_file"),
    ],
)
async def test_who_is_not_let_in_is_told_what_is_wrong(
    users: EmbeddedValkey, user: str, password: str | None, words: str
) -> None:
    url = with_user(users.url, user) if user else users.url
    store = RedisRecords(url, access=Access(password), timeout_seconds=2)
    with pytest.raises(StoreUnavailable, match=words) as refused:
        await store.ping()
    assert not isinstance(refused.value, StoreUnreachable)
    assert "p@ss" not in str(refused.value)
    await store.close()


class TLSFront:
    """TLS in front of a socket."""

    def __init__(self, folder: Path, behind: str) -> None:
        self._behind = behind
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "store")])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.ca_file = folder / "ca.pem"
        self.ca_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        both = folder / "both.pem"
        both.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + self.ca_file.read_bytes()
        )
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(both)

    async def __aenter__(self) -> TLSFront:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, out = await asyncio.open_unix_connection(self._behind)
        pipes = [asyncio.ensure_future(_pipe(*ends)) for ends in ((reader, out), (inner, writer))]
        await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
        for end in (writer, out):
            end.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)


async def test_over_tls_the_server_is_known_by_its_certificate(
    valkey: EmbeddedValkey, signer: Signer, tmp_path: Path
) -> None:
    certificate, records = make(signer, 5)
    async with TLSFront(tmp_path, valkey.url.removeprefix("unix://")) as front:
        store = RedisRecords(
            f"rediss://localhost:{front.port}/0", access=Access(ca_file=front.ca_file), timeout_seconds=2
        )
        await store.put(certificate, records)
        assert await store.get(certificate) == records
        await store.close()
        for url, ca_file in (
            (f"rediss://localhost:{front.port}/0", None),  # nobody's that the system knows
            (f"rediss://127.0.0.1:{front.port}/0", front.ca_file),  # another's name
        ):
            stranger = RedisRecords(url, access=Access(ca_file=ca_file), timeout_seconds=2)
            with pytest.raises(StoreUnreachable, match=r"(?i)certificate"):
                await stranger.get(certificate)
            await stranger.close()
