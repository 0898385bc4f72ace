"""Certificates for tests, made with pyca/cryptography."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from responder._native import PrivateKey, read_key
from responder.pki import Certificate, Issuer, IssuerPolicy, Records, make_issuer
from responder.signing.crls import NativeCASigner
from responder.signing.signers import Signer, make_signer

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey

RSA_PSS = bytes.fromhex(
    "304106092a864886f70d01010a3034a00f300d06096086480165030402010500"
    "a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120"
)
"""AlgorithmIdentifier of RSASSA-PSS with SHA-256, byte for byte as BR 7.1.3.2.1 has it."""


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
    """`ec` (P-256), `p384`, `p521`, `bp256`, `bp384`, `bp512` (brainpool), `rsa`, `rsa4096`, `ed25519` or `ed448`."""
    makers: dict[str, Callable[[], Key]] = {
        "ec": lambda: ec.generate_private_key(ec.SECP256R1()),
        "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "p521": lambda: ec.generate_private_key(ec.SECP521R1()),
        "bp256": lambda: ec.generate_private_key(ec.BrainpoolP256R1()),
        "bp384": lambda: ec.generate_private_key(ec.BrainpoolP384R1()),
        "bp512": lambda: ec.generate_private_key(ec.BrainpoolP512R1()),
        "rsa": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "rsa4096": lambda: rsa.generate_private_key(public_exponent=65537, key_size=4096),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
        "ed448": ed448.Ed448PrivateKey.generate,
    }
    return makers[kind]()


def digest_of(key: Any) -> Any:
    """The hash that a key of this kind signs with; None where the algorithm hashes for itself."""
    if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey):
        return None
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return {256: hashes.SHA256(), 384: hashes.SHA384(), 512: hashes.SHA512(), 521: hashes.SHA512()}[
            key.curve.key_size
        ]
    return hashes.SHA256()


def check_signature(public_key: Any, signature: bytes, text: bytes, *, pss: bool = False, digest: Any = None) -> None:
    """Have pyca verify what a key of ours signed; raises InvalidSignature."""
    if isinstance(public_key, rsa.RSAPublicKey):
        scheme = padding.PSS(padding.MGF1(hashes.SHA256()), 32) if pss else padding.PKCS1v15()
        public_key.verify(signature, text, scheme, digest or hashes.SHA256())
    elif isinstance(public_key, ec.EllipticCurvePublicKey):
        size = public_key.curve.key_size
        public_key.verify(
            signature,
            text,
            ec.ECDSA({256: hashes.SHA256(), 384: hashes.SHA384(), 512: hashes.SHA512(), 521: hashes.SHA512()}[size]),
        )
    else:
        public_key.verify(signature, text)


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


def load_private_key(octets: bytes) -> PrivateKey:
    """The key in a file with this content."""
    descriptor = os.memfd_create("key")
    try:
        os.write(descriptor, octets)
        os.lseek(descriptor, 0, os.SEEK_SET)
        return read_key(descriptor)
    finally:
        os.close(descriptor)


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
        .sign(key, digest_of(key))
    )
    return CA(certificate, key)


def make_responder(
    ca: CA,
    key: Key,
    *,
    usages: list[x509.ObjectIdentifier] | None = None,
    is_ca: bool = False,
    nocheck: bool = True,
    lifetime: timedelta = timedelta(days=3600),
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
    return builder.sign(ca.key, digest_of(ca.key)).public_bytes(serialization.Encoding.DER)


def make_leaf(ca: CA, serial_number: int) -> x509.Certificate:
    return (
        x509.CertificateBuilder()
        .subject_name(name("leaf"))
        .issuer_name(ca.certificate.subject)
        .public_key(ca.key.public_key())
        .serial_number(serial_number)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=365))
        .sign(ca.key, digest_of(ca.key))
    )


def make_test_issuer(issuer_id: str, ca: CA, **policy: Any) -> Issuer:
    """An issuer whose CA `ca_of` finds again."""
    issuer = make_issuer(issuer_id, ca.der, IssuerPolicy(**policy))
    _cas[issuer.tag] = ca
    return issuer


def ca_of(issuer: Issuer) -> CA:
    return _cas[issuer.tag]


def ca_signer(key: Key) -> NativeCASigner:
    return NativeCASigner(native(key))


def make_test_signer(issuer: Issuer, kind: str) -> Signer:
    key = new_key(kind)
    return make_signer(issuer, make_responder(ca_of(issuer), key), native(key))


def made_elsewhere(
    signer: Signer, certificate: Certificate, records: Records, *, produced_at: int, age: int = 0
) -> Records:
    """The answers of these records, as if another had made them so many seconds earlier."""
    revocation_time, reason = records.revocation_time, records.revocation_reason
    status = (
        certificate.serial,
        records.cert_status,
        -1 if revocation_time is None else revocation_time,
        -1 if reason is None else reason,
        records.this_update - age,
        records.next_update,
        records.epoch,
        records.number,
        records.as_of_microseconds,
        b"",
    )
    answers = [(each, signer.profile.render(records, each, certificate.serial)) for each in records.variants]
    return signer.profile.take_over(status, produced_at, answers)
