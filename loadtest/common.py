"""What several measurements need: a CA and its responder to measure with, and the longest silence of an event loop."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID

from responder.der import contents, sequence
from responder.pki import make_issuer
from responder.signing.crls import ca_signer_of
from responder.signing.delegates import issue_responder_certificate
from responder.signing.key_files import make_key_file
from responder.signing.keys import KeyRing
from responder.signing.signers import Signer, make_signer
from responder.storage.issuers import PostgresIssuers


def new_ca_key(folder: Path) -> ec.EllipticCurvePrivateKey:
    """A P-256 key, in `folder`/ca.pem."""
    key = ec.generate_private_key(ec.SECP256R1())
    path = folder / "ca.pem"
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return key


def ca_certificate(common_name: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    """A self-signed certificate (DER), valid since yesterday for ten years."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.DER)


def tls_files(folder: Path) -> tuple[Path, Path]:
    """A server's certificate for localhost (self-signed, for a day) and its key, in files in this folder."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(hours=1), now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "tls.pem", folder / "tls.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].touch(mode=0o600)
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


def request_for(ca: x509.Certificate, serial: int, *, nonce: bool = False) -> bytes:
    """An OCSPRequest (DER) for one certificate, by SHA-1."""
    name = hashes.Hash(hashes.SHA1())
    name.update(ca.subject.public_bytes())
    name_hash, key_hash = name.finalize(), x509.SubjectKeyIdentifier.from_public_key(ca.public_key()).digest
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(name_hash, key_hash, serial, hashes.SHA1())
    if nonce:
        builder = builder.add_extension(x509.OCSPNonce(os.urandom(32)), critical=False)
    return builder.build().public_bytes(serialization.Encoding.DER)


async def add_issuer(pool: asyncpg.Pool, folder: Path, kind: str) -> Signer:
    """Answer for a new CA, `bench`, by a delegate whose key is of this kind; both keys are in `folder`/`kind`."""
    keys = folder / kind
    keys.mkdir(mode=0o700)
    issuer = make_issuer("bench", ca_certificate("Bench CA", new_ca_key(keys)))
    _, spki = make_key_file(keys, "responder.pem", kind)
    ring = KeyRing(keys)
    ca_signer, key = ca_signer_of(ring, issuer.public_key), ring.get(spki)
    assert ca_signer is not None
    assert key is not None
    delegate = issue_responder_certificate(issuer, ca_signer, spki, now=datetime.now(UTC))
    signer = make_signer(issuer, delegate, key)
    await PostgresIssuers(pool).add(issuer, responder_certificate=delegate, profile=signer.profile)
    return signer


async def register(pool: asyncpg.Pool, count: int) -> None:
    """Give the issuer of `add_issuer` certificates of random serials, which nobody has to sign for yet."""
    await pool.execute(_REGISTER, count, timeout=600)
    await pool.execute("DELETE FROM outbox", timeout=600)


_REGISTER = """
INSERT INTO certificates (issuer_id, serial, not_after)
SELECT 'bench', '\\x40'::bytea || substr(sha256(int4send(g)), 1, 15), now() + interval '90 days'
FROM generate_series(1, $1) AS g
"""


@dataclass
class Silence:
    """The longest time that the loop didn't run, in seconds."""

    longest: float = 0.0


@asynccontextmanager
async def silence(*, every: float) -> AsyncIterator[Silence]:
    """While the block lasts: how long a loop that should run each `every` seconds didn't."""
    found = Silence()

    async def watch() -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(every)
            now = time.perf_counter()
            found.longest = max(found.longest, now - last - every)
            last = now

    watcher = asyncio.create_task(watch())
    try:
        await asyncio.sleep(every)  # it has begun
        yield found
        await asyncio.sleep(every)  # what kept the loop last is seen
    finally:
        watcher.cancel()


def request_for_many(ca: x509.Certificate, serials: Sequence[int]) -> bytes:
    """The same for several, without a nonce."""
    # OCSPRequest, TBSRequest and requestList are three SEQUENCEs, one in the other; what is in the third is a Request.
    singles = [contents(contents(contents(request_for(ca, serial)))) for serial in serials]
    return sequence(sequence(sequence(b"".join(singles))))
