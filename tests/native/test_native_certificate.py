"""The reader of certificates: every part byte for byte, and no octets that it can't refuse."""

from __future__ import annotations

import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from responder._native import CertificateParts, ExtensionParts, parse_certificate
from tests.makers import make_ca, make_leaf

CERTIFICATE = make_ca("ec").der


@pytest.mark.parametrize("kind", ["ec", "rsa", "ed25519"])
def test_every_part_stands_byte_for_byte_as_pyca_has_it(kind: str) -> None:
    """6960-11: the key hash is over the BIT STRING's contents."""
    ca = make_ca(kind)
    for certificate in (make_leaf(ca, 2**159 - 1), ca.certificate):
        parts = parse_certificate(certificate.public_bytes(serialization.Encoding.DER))
        assert int.from_bytes(parts.serial, "big") == certificate.serial_number
        assert parts.issuer == certificate.issuer.public_bytes()
        assert parts.subject == certificate.subject.public_bytes()
        assert parts.not_before == certificate.not_valid_before_utc.timestamp()
        assert parts.not_after == certificate.not_valid_after_utc.timestamp()
        assert (parts.tbs, parts.signature) == (certificate.tbs_certificate_bytes, certificate.signature)
        digest = hashlib.sha1(parts.public_key_bits, usedforsecurity=False).digest()
        assert x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest == digest
        assert parts.spki == certificate.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        found = [(each.critical, each.value) for each in parts.extensions]
        assert found == [(each.critical, each.value.public_bytes()) for each in certificate.extensions]


def test_a_certificate_with_something_after_it_or_cut_short_is_refused() -> None:
    with pytest.raises(ValueError, match="one DER Certificate"):
        parse_certificate(CERTIFICATE + b"\x00")
    for size in range(len(CERTIFICATE)):
        with pytest.raises(ValueError, match=r"."):
            parse_certificate(CERTIFICATE[:size])


def octets_of(parts: CertificateParts) -> list[bytes]:
    extensions = [octets for each in parts.extensions for octets in (each.oid, each.value)]
    return extensions + [part for part in parts if isinstance(part, bytes)]


@given(st.data())
def test_any_change_of_a_certificate_is_read_or_refused(data: st.DataObject) -> None:
    octets = bytearray(CERTIFICATE)
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    try:
        parts = parse_certificate(bytes(octets))
    except ValueError:
        return
    assert all(part in bytes(octets) for part in octets_of(parts))
    assert all(isinstance(each, ExtensionParts) for each in parts.extensions)


@given(st.binary(max_size=200))
def test_any_octets_are_read_or_refused(octets: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_certificate(octets)
