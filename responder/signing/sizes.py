"""How long the answers of a signer are, and which clients have no room for so much."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from responder._native import SingleRow
from responder.der import OCTET_STRING, der_value
from responder.pki import (
    CertIDVariant,
    Certificate,
    CertificateStatus,
    CertStatus,
    CRLReason,
    RevokedInfo,
    StatusVersion,
    epoch_seconds,
)
from responder.signing.signers import Signer
from responder.signing.single_response import revocation_fields, single_status

_LONGEST_SERIAL = (1 << 159) - 1  # RFC 5280 §4.1.2.2: 20 octets
_NONCE_OCTETS = 32  # RFC 9654 §2.1: what clients should send


@dataclass(frozen=True, slots=True)
class Room:
    """What a client has room for, in octets of an OCSPResponse, and for whom it matters."""

    client: str
    octets: int


ROOMS = (
    Room("charging stations (OCPP 2.0.1: 5,500 characters of base64)", 4_125),
    Room("Apache httpd servers that staple", 10_240),
    Room("nginx servers that staple", 16_384),
)


def longest_answer(signer: Signer, now: datetime) -> bytes:
    """The longest answer to a request with one CertID: revoked with everything that the issuer's policy
    says, a serial number of 20 octets, SHA-512, and a nonce of 32. It is signed for this."""
    info = RevokedInfo(now, CRLReason.keyCompromise, now)
    certificate = Certificate.numbered(signer.issuer, _LONGEST_SERIAL)
    status = CertificateStatus(
        certificate, CertStatus.REVOKED, StatusVersion(1, 1, now), info, certificate_sha256=bytes(32)
    )
    single = single_status(signer.issuer, status, now)
    revocation_time, reason = revocation_fields(single.revoked_info)
    row = SingleRow(
        CertIDVariant.SHA512,
        certificate.serial,
        single.cert_status,
        revocation_time,
        reason,
        epoch_seconds(now),
        epoch_seconds(now + timedelta(days=1)),
        single.extensions,
    )
    nonce = der_value(OCTET_STRING, bytes(_NONCE_OCTETS))
    return signer.profile.sign_response(signer.key, [row], epoch_seconds(now), nonce)


def too_long_for(octets: int) -> list[Room]:
    """Who has no room for an answer of that length."""
    return [room for room in ROOMS if octets > room.octets]


def warnings(octets: int) -> list[str]:
    """A sentence for each client that has no room for it, with what makes answers shorter."""
    return [
        f"of answers of {octets:,} octets, {room.client} have room for {room.octets:,}: a P-256 key and a short "
        "delegate certificate make them shorter, and so does signing with the CA's own key, without a delegate"
        for room in too_long_for(octets)
    ]
