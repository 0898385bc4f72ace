"""Certificates for tests, made with pyca/cryptography."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from responder._native import PrivateKey, load_private_key
from responder.pki import Issuer, IssuerPolicy, make_issuer
from responder.signing import Signer, make_signer

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class CA:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Key

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)


_cas: dict[bytes, CA] = {}


def new_key(kind: str) -> Key:
    if kind == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1())


def pkcs8(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def pem(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def spki(key: Key) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def native(key: Key) -> PrivateKey:
    return load_private_key(pkcs8(key))


def name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def make_ca(kind: str, common_name: str = "Test CA", *, key: Key | None = None) -> CA:
    key = key or new_key(kind)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name(common_name))
        .issuer_name(name(common_name))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=365))
        .not_valid_after(NOW + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(True, False, False, False, False, True, True, False, False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return CA(certificate, key)


def make_responder(
    ca: CA,
    key: Key,
    *,
    usages: list[x509.ObjectIdentifier] | None = None,
    is_ca: bool = False,
    nocheck: bool = True,
    lifetime: timedelta = timedelta(days=365),
) -> bytes:
    builder = (
        x509.CertificateBuilder()
        .subject_name(name("Responder"))
        .issuer_name(ca.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + lifetime)
    )
    wanted = [ExtendedKeyUsageOID.OCSP_SIGNING] if usages is None else usages
    if wanted:
        builder = builder.add_extension(x509.ExtendedKeyUsage(wanted), critical=False)
    if is_ca:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    if nocheck:
        builder = builder.add_extension(x509.OCSPNoCheck(), critical=False)
    return builder.sign(ca.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def make_leaf(ca: CA, serial_number: int) -> x509.Certificate:
    return (
        x509.CertificateBuilder()
        .subject_name(name("leaf"))
        .issuer_name(ca.certificate.subject)
        .public_key(ca.key.public_key())
        .serial_number(serial_number)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=365))
        .sign(ca.key, hashes.SHA256())
    )


def make_test_issuer(issuer_id: str, ca: CA, **policy: Any) -> Issuer:
    """An issuer whose CA `ca_of` finds again."""
    issuer = make_issuer(issuer_id, ca.der, IssuerPolicy(**policy))
    _cas[issuer.tag] = ca
    return issuer


def ca_of(issuer: Issuer) -> CA:
    return _cas[issuer.tag]


def make_test_signer(issuer: Issuer, kind: str) -> Signer:
    key = new_key(kind)
    return make_signer(issuer, make_responder(ca_of(issuer), key), native(key))
