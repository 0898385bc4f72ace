"""DER by hand, for inputs that no library would make. Independent of the core it judges."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

OCSP_ARC = "2b06010505073001"
NONCE = bytes.fromhex("0609" + OCSP_ARC + "02")
ACCEPTABLE_RESPONSES = bytes.fromhex("0609" + OCSP_ARC + "04")
SERVICE_LOCATOR = bytes.fromhex("0609" + OCSP_ARC + "07")
PREFERRED_ALGORITHMS = bytes.fromhex("0609" + OCSP_ARC + "08")
FOREIGN = bytes.fromhex("06032a0304")  # 1.2.3.4
TRUE = b"\x01\x01\xff"
FALSE = b"\x01\x01\x00"
NULL = b"\x05\x00"

SEQUENCE = 0x30
OCTET_STRING = 0x04
INTEGER = 0x02
BIT_STRING = 0x03

HASHES = {
    "sha1": (bytes.fromhex("06052b0e03021a"), 20),
    "sha256": (bytes.fromhex("0609608648016503040201"), 32),
    "sha384": (bytes.fromhex("0609608648016503040202"), 48),
    "sha512": (bytes.fromhex("0609608648016503040203"), 64),
}


def tlv(tag: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def sequence(*contents: bytes) -> bytes:
    return tlv(SEQUENCE, *contents)


def octet_string(content: bytes) -> bytes:
    return tlv(OCTET_STRING, content)


def extension(oid: bytes, value: bytes, critical: bytes = b"") -> bytes:
    return sequence(oid, critical, octet_string(value))


def cert_id(
    hash_name: str = "sha256",
    parameters: bytes = NULL,
    name_hash: bytes | None = None,
    key_hash: bytes | None = None,
    serial: bytes = b"\x01",
) -> bytes:
    oid, size = HASHES[hash_name]
    return sequence(
        sequence(oid, parameters),
        octet_string(bytes([0xAA]) * size if name_hash is None else name_hash),
        octet_string(bytes([0xBB]) * size if key_hash is None else key_hash),
        tlv(INTEGER, serial),
    )


def request(
    *cert_ids: bytes,
    version: bytes = b"",
    requestor: bytes = b"",
    single: bytes = b"",
    extensions: bytes = b"",
    signature: bytes = b"",
) -> bytes:
    """An OCSPRequest; `single` and `extensions` are the contents of Extensions, the others stand as they are."""
    wrapped_single = tlv(0xA0, sequence(single)) if single else b""
    requests = sequence(*(sequence(each, wrapped_single) for each in cert_ids or (cert_id(),)))
    wrapped = tlv(0xA2, sequence(extensions)) if extensions else b""
    return sequence(sequence(version, requestor, requests, wrapped), signature)


CRL_NUMBER = bytes.fromhex("0603551d14")
DELTA_CRL_INDICATOR = bytes.fromhex("0603551d1b")
REASON_CODE = bytes.fromhex("0603551d15")
INVALIDITY_DATE = bytes.fromhex("0603551d18")
CERTIFICATE_ISSUER = bytes.fromhex("0603551d1d")


def integer_content(value: int) -> bytes:
    magnitude = value if value >= 0 else ~value
    return value.to_bytes(magnitude.bit_length() // 8 + 1, "big", signed=True)


def integer(value: int) -> bytes:
    return tlv(INTEGER, integer_content(value))


def generalized_time(moment: datetime) -> bytes:
    return tlv(0x18, f"{moment.year:04}{moment:%m%d%H%M%SZ}".encode())


def time(moment: datetime) -> bytes:
    """UTCTime from 1950 to 2049, GeneralizedTime else (RFC 5280 §5.1.2.6)."""
    if 1950 <= moment.year < 2050:
        return tlv(0x17, f"{moment:%y%m%d%H%M%SZ}".encode())
    return generalized_time(moment)


def crl_entry(serial_number: int, revoked_at: datetime, *extensions: bytes) -> bytes:
    wrapped = sequence(*extensions) if extensions else b""
    return sequence(integer(serial_number), time(revoked_at), wrapped)


def crl(
    name: bytes,
    this_update: datetime,
    *entries: bytes,
    algorithm: bytes,
    sign: Callable[[bytes], bytes],
    extensions: bytes = b"",
) -> bytes:
    """A CertificateList; `extensions` are the contents of Extensions."""
    revoked = sequence(*entries) if entries else b""
    wrapped = tlv(0xA0, sequence(extensions)) if extensions else b""
    text = sequence(integer(1), algorithm, name, time(this_update), revoked, wrapped)
    return sequence(text, algorithm, tlv(BIT_STRING, b"\0", sign(text)))
