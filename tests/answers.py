"""OCSP responses as anybody's responder may give them, right and wrong; made by pyca."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

NOW = datetime.now(UTC).replace(microsecond=0)
"""pyca signs with the time of the machine (producedAt), so these can't be of another day."""
HOUR = timedelta(hours=1)
SERIAL = 0x1234
NAMED = ocsp.OCSPResponderEncoding.NAME
OCSP_SIGNING = ExtendedKeyUsageOID.OCSP_SIGNING


@dataclass(frozen=True)
class Party:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Any


def party(name: str, issuer: Party | None = None, *, key: Any = None, uses: list[x509.ObjectIdentifier] | None = None,
          since: datetime = NOW - 24 * HOUR, until: datetime = NOW + 24 * HOUR, serial: int | None = None,
          responder: str | None = None) -> Party:  # fmt: skip
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    by = issuer.certificate.subject if issuer else subject
    builder = x509.CertificateBuilder(
        by, subject, key.public_key(), serial or x509.random_serial_number(), since, until
    )
    if uses is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    if responder is not None:
        access = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(responder))
        builder = builder.add_extension(x509.AuthorityInformationAccess([access]), critical=False)
    signer = issuer.key if issuer else key
    algorithm = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return Party(builder.sign(signer, algorithm), key)


CA = party("CA")
OTHER = party("Other CA")
DELEGATE = party("Delegate", CA, uses=[OCSP_SIGNING])


def ids(ca: Party, algorithm: Any) -> tuple[bytes, bytes]:
    certificate = ca.certificate
    name = hashes.Hash(algorithm)
    name.update(certificate.subject.public_bytes())
    key = hashes.Hash(algorithm)
    spki = certificate.public_key()
    if isinstance(spki, ec.EllipticCurvePublicKey):
        key.update(spki.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint))
    elif isinstance(spki, rsa.RSAPublicKey):
        key.update(spki.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1))
    else:
        assert isinstance(spki, ed25519.Ed25519PublicKey)
        key.update(spki.public_bytes_raw())
    return name.finalize(), key.finalize()


def response(
    signer: Party = DELEGATE,
    *,
    ca: Party = CA,
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
    serial: int = SERIAL,
    algorithm: Any = None,
    nonce: bytes | None = None,
    this_update: datetime = NOW - HOUR,
    next_update: datetime = NOW + HOUR,
    by: Any = ocsp.OCSPResponderEncoding.HASH,
) -> bytes:
    algorithm = algorithm or hashes.SHA1()
    revoked = status is ocsp.OCSPCertStatus.REVOKED
    builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
        *ids(ca, algorithm), serial, algorithm, status, this_update, next_update, NOW - HOUR if revoked else None, None
    )
    builder = builder.responder_id(by, signer.certificate)
    if signer.certificate != ca.certificate:
        builder = builder.certificates([signer.certificate])
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    is_eddsa = isinstance(signer.key, ed25519.Ed25519PrivateKey)
    return builder.sign(signer.key, None if is_eddsa else hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def http(body: bytes, *, status: str = "200 OK", kind: str = "application/ocsp-response", fields: str = "") -> bytes:
    """The octets of a whole HTTP response."""
    length = "" if "Transfer-Encoding" in fields else f"Content-Length: {len(body)}\r\n"
    return f"HTTP/1.1 {status}\r\ncontent-TYPE: {kind}\r\n{length}{fields}\r\n".encode() + body
