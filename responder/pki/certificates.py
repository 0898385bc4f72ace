"""Certificates as the world makes them: their fields by the native reader, and what an operator asks of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from responder import der, pem
from responder._native import CertificateParts, load_public_key, parse_certificate
from responder.pki import names
from responder.pki.numbers import decode_serial, from_epoch_seconds

BASIC_CONSTRAINTS = bytes.fromhex("0603551d13")
KEY_USAGE = bytes.fromhex("0603551d0f")
EXTENDED_KEY_USAGE = bytes.fromhex("0603551d25")
SUBJECT_KEY_IDENTIFIER = bytes.fromhex("0603551d0e")
NOCHECK = bytes.fromhex("06092b0601050507300105")
OCSP_SIGNING = bytes.fromhex("06082b06010505070309")

DIGITAL_SIGNATURE, KEY_CERT_SIGN, CRL_SIGN = 0x80, 0x04, 0x02
"""Bits of keyUsage, in its first octet (RFC 5280 §4.2.1.3)."""

_NULL = b"\x05\x00"

_ECDSA = bytes.fromhex("06082a8648ce3d0403")
_RSA = bytes.fromhex("06092a864886f70d0101")
# What certificates are signed with beside the algorithms that we sign with, SHA-1 not: the contents of the
# AlgorithmIdentifier.
_HASHES: dict[bytes, hashes.HashAlgorithm] = {
    _ECDSA + b"\x01": hashes.SHA224(),
    _ECDSA + b"\x02": hashes.SHA256(),
    _ECDSA + b"\x03": hashes.SHA384(),
    _ECDSA + b"\x04": hashes.SHA512(),
    _RSA + b"\x0e": hashes.SHA224(),
    _RSA + b"\x0b": hashes.SHA256(),
    _RSA + b"\x0c": hashes.SHA384(),
    _RSA + b"\x0d": hashes.SHA512(),
}


@dataclass(frozen=True, slots=True)
class ParsedCertificate:
    """One certificate. Properties raise `ValueError` for an extension that isn't what its name says."""

    der: bytes
    parts: CertificateParts

    @property
    def serial_number(self) -> int:
        """Of any size and sign."""
        return decode_serial(self.parts.serial)

    @property
    def not_before(self) -> datetime:
        """The first moment of its validity."""
        return _moment("notBefore", self.parts.not_before)

    @property
    def not_after(self) -> datetime:
        """The last second of its validity."""
        return _moment("notAfter", self.parts.not_after)

    @property
    def is_ca(self) -> bool | None:
        """What basicConstraints says; None where there is none."""
        value = self.extension(BASIC_CONSTRAINTS)
        if value is None:
            return None
        content = _inside("basicConstraints", value, der.SEQUENCE)
        found = _values("basicConstraints", content)
        return bool(found) and found[0][0] == der.BOOLEAN and found[0][1] not in {b"\x00", b""}

    @property
    def key_usage(self) -> int | None:
        """The first octet of keyUsage; None where there is none, and everything is allowed."""
        value = self.extension(KEY_USAGE)
        if value is None:
            return None
        content = _inside("keyUsage", value, der.BIT_STRING)
        return content[1] if len(content) > 1 else 0

    @property
    def extended_key_usages(self) -> tuple[bytes, ...] | None:
        """The purposes (DER OBJECT IDENTIFIERs); None where the extension is missing."""
        value = self.extension(EXTENDED_KEY_USAGE)
        if value is None:
            return None
        return tuple(
            whole for _, _, whole in _values("extendedKeyUsage", _inside("extendedKeyUsage", value, der.SEQUENCE))
        )

    @property
    def has_nocheck(self) -> bool:
        """Whether id-pkix-ocsp-nocheck is there (RFC 6960 §4.2.2.2.1)."""
        return self.extension(NOCHECK) is not None

    @property
    def subject_key_identifier(self) -> bytes | None:
        """As the certificate has it; None where it hasn't."""
        value = self.extension(SUBJECT_KEY_IDENTIFIER)
        return None if value is None else _inside("subjectKeyIdentifier", value, der.OCTET_STRING)

    @property
    def subject(self) -> str:
        """The subject for people."""
        return names.describe(self.parts.subject)

    @property
    def issuer(self) -> str:
        """The issuer's name for people."""
        return names.describe(self.parts.issuer)

    def extension(self, oid: bytes) -> bytes | None:
        """The value of an extension (`oid` is DER); None where it is missing."""
        found = [each.value for each in self.parts.extensions if each.oid == oid]
        if len(found) > 1:
            raise ValueError(f"extension {der.dotted(der.contents(oid))} is in it twice")
        return found[0] if found else None

    def was_issued_by(self, name: bytes, public_key: bytes) -> bool:
        """Whether it names this CA as its issuer (RFC 5280 §7.1) and has the signature of its key.

        Args:
            name: DER Name.
            public_key: DER SubjectPublicKeyInfo.
        """
        return names.are_equal(self.parts.issuer, name) and verifies(
            public_key, self.parts.signature_algorithm, self.parts.tbs, self.parts.signature
        )


def read_certificate(octets: bytes) -> ParsedCertificate:
    """Read one DER certificate.

    Raises:
        ValueError: it isn't one; with the field.
    """
    return ParsedCertificate(octets, parse_certificate(octets))


def first_certificate(content: bytes) -> ParsedCertificate:
    """The first certificate in what a file holds, PEM or DER.

    Raises:
        ValueError: there is none.
    """
    return read_certificate(pem.der_of(content, "CERTIFICATE", "X509 CERTIFICATE"))


def verifies(public_key: bytes, signature_algorithm: bytes, message: bytes, signature: bytes) -> bool:
    """Whether a certificate's or a CRL's signature is right, also by algorithms that we don't sign with.

    ECDSA with NULL parameters, which RFC 5758 §3.2 forbids and some CAs write, is taken.

    Args:
        public_key: DER SubjectPublicKeyInfo.
    """
    contents = der.contents(signature_algorithm)
    if contents.startswith(_ECDSA) and contents.endswith(_NULL):
        contents = contents[: -len(_NULL)]
    algorithm = der.der_value(der.SEQUENCE, contents)
    try:
        ours = load_public_key(public_key)
        if algorithm in ours.signature_algorithms:
            ours.verify(algorithm, message, signature)
            return True
        digest = _HASHES.get(contents.removesuffix(_NULL))
        if digest is None:
            return False
        key, is_rsa = load_der_public_key(public_key), contents.startswith(_RSA)
        if is_rsa and isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, message, padding.PKCS1v15(), digest)
            return True
        if not is_rsa and isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, message, ec.ECDSA(digest))
            return True
    except (ValueError, InvalidSignature, UnsupportedAlgorithm):
        pass
    return False


def _moment(field: str, seconds: int) -> datetime:
    try:
        return from_epoch_seconds(seconds)
    except OverflowError as error:
        raise ValueError(f"{field} is in no year that a calendar has") from error


def _values(name: str, content: bytes) -> list[tuple[int, bytes, bytes]]:
    try:
        return der.values(content)
    except ValueError as error:
        raise ValueError(f"{name} is damaged: {error}") from error


def _inside(name: str, value: bytes, tag: int) -> bytes:
    found = _values(name, value)
    if len(found) != 1 or found[0][0] != tag:
        raise ValueError(f"{name} isn't what it should be")
    return found[0][1]
