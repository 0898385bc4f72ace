"""Certificates as the world makes them: what is read of one, and what is asked of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from responder.pki import names
from responder.pki.certificates import OCSP_SIGNING, ParsedCertificate, read_certificate
from tests import der
from tests.makers import make_ca, make_responder, new_key, spki

COMMON_NAME, ORGANIZATION = bytes.fromhex("0603550403"), bytes.fromhex("060355040a")
UTF8, PRINTABLE, TELETEX, BMP, UNIVERSAL, IA5 = 0x0C, 0x13, 0x14, 0x1E, 0x1C, 0x16
ECDSA_SHA256 = bytes.fromhex("06082a8648ce3d040302")
RSA_SHA512 = bytes.fromhex("06092a864886f70d01010d")


def name(*attributes: tuple[bytes, int, bytes]) -> bytes:
    return der.sequence(*(der.tlv(0x31, der.sequence(kind, der.tlv(tag, value))) for kind, tag, value in attributes))


def certificate(
    subject: bytes,
    key: Any,
    *,
    issuer: bytes | None = None,
    signer: Any = None,
    algorithm: bytes = der.sequence(ECDSA_SHA256),
    sign: Callable[[Any, bytes], bytes] = lambda key, text: key.sign(text, ec.ECDSA(hashes.SHA256())),
    extensions: bytes = b"",
    validity: bytes = der.sequence(der.tlv(0x17, b"250101000000Z"), der.tlv(0x18, b"20500101000000Z")),
) -> bytes:
    """Of whatever parts, in whatever form."""
    wrapped = der.tlv(0xA3, der.sequence(extensions)) if extensions else b""
    text = der.sequence(
        der.tlv(0xA0, der.integer(2)),
        der.integer(1),
        algorithm,
        issuer or subject,
        validity,
        subject,
        spki(key),
        wrapped,
    )
    return der.sequence(text, algorithm, der.tlv(der.BIT_STRING, b"\0", sign(signer or key, text)))


def is_issued(one: ParsedCertificate, ca: ParsedCertificate) -> bool:
    return one.was_issued_by(ca.parts.subject, ca.parts.spki)


KEY = new_key("ec")
CA_NAME = name((ORGANIZATION, UTF8, b"Example"), (COMMON_NAME, UTF8, b"CA One"))


@pytest.mark.parametrize(
    "subject",
    [
        name((COMMON_NAME, PRINTABLE, b"A & B @ C * _")),
        name((COMMON_NAME, TELETEX, "Köln".encode("latin-1"))),
        name((COMMON_NAME, UTF8, "Köln".encode("latin-1"))),
        name((COMMON_NAME, BMP, "Köln".encode("utf-16-be"))),
        name((COMMON_NAME, UNIVERSAL, "Köln".encode("utf-32-be"))),
        name((COMMON_NAME, IA5, b"\xff\xfe")),
        name((COMMON_NAME, 0x04, b"an octet string")),
        name((COMMON_NAME, UTF8, b"a\x00b\nc,+=")),
    ],
)
def test_names_are_whatever_they_are(subject: bytes) -> None:
    read = read_certificate(certificate(subject, KEY))
    assert read.parts.subject == subject
    assert read.subject.startswith("CN=")
    assert read.subject.isprintable()
    assert is_issued(read, read)


def test_a_name_is_told_as_rfc_4514_orders_it() -> None:
    assert names.describe(CA_NAME) == "CN=CA One,O=Example"
    assert names.describe(name((COMMON_NAME, UTF8, b'a,b"c'))) == 'CN=a\\,b\\"c'
    assert names.describe(name((bytes.fromhex("06032a0304"), UTF8, b"x"))) == "1.2.3.4=x"
    assert names.describe(b"\x30\x00") == "(no name)"
    assert names.describe(b"junk").startswith("#")


@pytest.mark.parametrize(
    ("other", "is_equal"),
    [
        (name((ORGANIZATION, PRINTABLE, b"Example"), (COMMON_NAME, PRINTABLE, b"CA One")), True),
        (name((ORGANIZATION, TELETEX, b"EXAMPLE"), (COMMON_NAME, BMP, "ca  one ".encode("utf-16-be"))), True),
        (name((COMMON_NAME, UTF8, b"CA One"), (ORGANIZATION, UTF8, b"Example")), False),
        (name((ORGANIZATION, UTF8, b"Example"), (COMMON_NAME, UTF8, b"CA Two")), False),
        (name((ORGANIZATION, UTF8, b"Example")), False),
        (name((ORGANIZATION, 0x04, b"Example"), (COMMON_NAME, UTF8, b"CA One")), False),
        (b"\x30\x00", False),
        (b"junk", False),
    ],
)
def test_names_are_compared_as_rfc_5280_says(other: bytes, is_equal: bool) -> None:
    assert names.are_equal(CA_NAME, other) is is_equal
    assert names.are_equal(other, CA_NAME) is is_equal
    assert names.are_equal(other, other)
    if other == b"junk":
        return
    ca = read_certificate(certificate(CA_NAME, KEY))
    issued = read_certificate(certificate(name((COMMON_NAME, UTF8, b"leaf")), new_key("ec"), issuer=other, signer=KEY))
    assert is_issued(issued, ca) is is_equal


@given(st.binary(max_size=80))
def test_any_octets_can_be_told_as_a_name(octets: bytes) -> None:
    assert isinstance(names.describe(octets), str)
    assert names.are_equal(octets, octets)


def rsa_signed(key: rsa.RSAPrivateKey, text: bytes) -> bytes:
    return key.sign(text, padding.PKCS1v15(), hashes.SHA512())


def test_signatures_of_other_algorithms_and_with_null_parameters_verify() -> None:
    with_null = certificate(CA_NAME, KEY, algorithm=der.sequence(ECDSA_SHA256, der.NULL))
    assert is_issued(read_certificate(with_null), read_certificate(with_null))
    sha512 = der.sequence(bytes.fromhex("06082a8648ce3d040304"))
    p256_with_sha512 = certificate(
        CA_NAME, KEY, algorithm=sha512, sign=lambda key, text: key.sign(text, ec.ECDSA(hashes.SHA512()))
    )
    assert is_issued(read_certificate(p256_with_sha512), read_certificate(p256_with_sha512))
    key = new_key("rsa")
    for parameters in (der.NULL, b""):
        signed = certificate(CA_NAME, key, algorithm=der.sequence(RSA_SHA512, parameters), sign=rsa_signed)
        assert is_issued(read_certificate(signed), read_certificate(signed))
    other = certificate(CA_NAME, new_key("ec"))
    for one in (with_null, p256_with_sha512, signed):
        assert not is_issued(read_certificate(one), read_certificate(other))
    unknown = certificate(CA_NAME, KEY, algorithm=der.sequence(der.FOREIGN))
    assert not is_issued(read_certificate(unknown), read_certificate(unknown))


def test_an_encoded_critical_false_and_ca_false_are_read() -> None:
    constraints = der.sequence(bytes.fromhex("0603551d13"), der.FALSE, der.octet_string(der.sequence(der.FALSE)))
    read = read_certificate(certificate(CA_NAME, KEY, extensions=constraints))
    assert read.parts.extensions[0].critical is False
    assert read.is_ca is False


@pytest.mark.parametrize(
    ("field", "extensions"),
    [
        ("is_ca", der.extension(bytes.fromhex("0603551d13"), b"junk")),
        ("is_ca", der.extension(bytes.fromhex("0603551d13"), der.sequence()) * 2),
        ("key_usage", der.extension(bytes.fromhex("0603551d0f"), b"\x04\x00")),
        ("extended_key_usages", der.extension(bytes.fromhex("0603551d25"), b"\x30\x05\x00")),
        ("subject_key_identifier", der.extension(bytes.fromhex("0603551d0e"), b"")),
    ],
)
def test_an_extension_that_is_not_what_it_should_be_is_a_value_error(field: str, extensions: bytes) -> None:
    read = read_certificate(certificate(CA_NAME, KEY, extensions=extensions))
    with pytest.raises(ValueError, match=r"isn't what it should be|damaged|twice"):
        getattr(read, field)


def test_what_pyca_makes_is_read_the_same() -> None:
    ca = make_ca("ec")
    read = read_certificate(ca.der)
    assert (read.is_ca, read.key_usage, read.extended_key_usages) == (True, 0x86, None)
    ski = ca.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert read.subject_key_identifier == ski
    assert (read.not_before, read.not_after) == (
        ca.certificate.not_valid_before_utc,
        ca.certificate.not_valid_after_utc,
    )
    delegate = read_certificate(make_responder(ca, new_key("rsa")))
    assert (delegate.extended_key_usages, delegate.has_nocheck) == ((OCSP_SIGNING,), True)
    assert is_issued(delegate, read)
    assert not is_issued(read, delegate)


@pytest.mark.parametrize(
    ("text", "year"),
    [(b"\x17\x0d500101000000Z", 1950), (b"\x18\x0f99991231235959Z", 9999), (b"\x18\x0f00010101000000Z", 1)],
)
def test_validity_of_any_year(text: bytes, year: int) -> None:
    read = read_certificate(certificate(CA_NAME, KEY, validity=der.sequence(text, text)))
    assert read.not_before.year == read.not_after.year == year


@pytest.mark.parametrize(
    "text", [b"\x17\x0b5001010000Z", b"\x0c\x0d500101000000Z", b"\x17\x0d509901000000Z", b"\x18\x0f00000101000000Z"]
)
def test_what_is_no_time_is_refused_by_its_field(text: bytes) -> None:
    good = der.tlv(0x17, b"250101000000Z")
    with pytest.raises(ValueError, match="notBefore"):
        _ = read_certificate(certificate(CA_NAME, KEY, validity=der.sequence(text, good))).not_before
    with pytest.raises(ValueError, match="notAfter"):
        _ = read_certificate(certificate(CA_NAME, KEY, validity=der.sequence(good, text))).not_after
