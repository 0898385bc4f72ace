"""An OCSP request as the client sent it."""

from __future__ import annotations

from dataclasses import dataclass

from responder._native import parse_ocsp_request as _parse_ocsp_request
from responder.pki.terms import CertIDVariant


@dataclass(frozen=True, slots=True)
class CertID:
    """One asked certificate, as the request names it. `serial` is the contents of any INTEGER, also a negative one.

    Source: RFC 6960 §4.1.1.
    """

    variant: CertIDVariant
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    serial: bytes


@dataclass(frozen=True, slots=True)
class RequestSignature:
    """The optionalSignature of a request, unverified: the DER it is of, its AlgorithmIdentifier (DER), its octets, and
    DER certificates. Source: RFC 6960 §4.1.1."""

    tbs_request: bytes
    signature_algorithm: bytes
    signature: bytes
    certificates: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class OCSPRequest:
    """A request read strictly.

    Attributes:
        nonce: the extnValue's content, 1 to 130 bytes, to be returned unchanged.
        preferred: signature algorithms the client would like, DER AlgorithmIdentifiers, the most preferred first.
    """

    cert_ids: tuple[CertID, ...]
    nonce: bytes | None = None
    preferred: tuple[bytes, ...] = ()
    signature: RequestSignature | None = None


def parse_ocsp_request(der: bytes) -> OCSPRequest:
    """Read a DER OCSPRequest of at most 16 KiB, for whoever answers it.

    Raises:
        MalformedRequest: with the reason and its offset.
    """
    row = _parse_ocsp_request(der)
    return OCSPRequest(
        tuple(
            CertID(CertIDVariant(variant), name_hash, key_hash, serial)
            for variant, name_hash, key_hash, serial in row.cert_ids
        ),
        row.nonce,
        row.preferred,
        None if row.signature is None else RequestSignature(*row.signature),
    )
