"""What a SingleResponse says of a status, under its issuer's policy. Source: RFC 6960 §4.2.1, §4.4."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from responder.pki import (
    CertificateStatus,
    CertStatus,
    CRLReason,
    Issuer,
    IssuerPolicy,
    RevokedInfo,
    UnknownSerial,
    epoch_seconds,
)

_GENERALIZED_TIME = 0x18
_IA5_STRING = 0x16
_OCTET_STRING = 0x04
_SEQUENCE = 0x30

_OCSP_ARC = bytes.fromhex("06092b06010505073001")
_CRL_REFERENCE = _OCSP_ARC + b"\x03"
_ARCHIVE_CUTOFF = _OCSP_ARC + b"\x06"
_EXTENDED_REVOKE = _OCSP_ARC + b"\x09"
_INVALIDITY_DATE = bytes.fromhex("0603551d18")
_CERT_HASH = bytes.fromhex("06052b2408030d")
_SHA256_IDENTIFIER = bytes.fromhex("300d06096086480165030402010500")

_NEVER_ISSUED = RevokedInfo(datetime(1970, 1, 1, tzinfo=UTC), CRLReason.certificateHold)
"""RFC 6960 §2.2: what `revoked` says of a certificate that was never issued."""


@dataclass(frozen=True, slots=True)
class SingleStatus:
    """The status to sign, and DER singleExtensions one after the other."""

    cert_status: CertStatus
    revoked_info: RevokedInfo | None = None
    extensions: bytes = b""


def single_status(issuer: Issuer, status: CertificateStatus | None, produced_at: datetime) -> SingleStatus:
    """What is signed for a certificate, `None` standing for a serial that was never seen.

    A certificate outside its time (see `CertificateStatus.may_be_answered`) is unknown here; a request for it alone
    never comes so far.
    """
    policy = issuer.policy
    if status is None:
        if policy.compromised_at is not None:
            return SingleStatus(CertStatus.REVOKED, _compromise(policy.compromised_at))
        return _NEVER_SEEN[policy.unknown_serial]
    if not status.may_be_answered(produced_at):
        return SingleStatus(CertStatus.UNKNOWN)
    info = status.revoked_info
    if policy.compromised_at is not None and (info is None or policy.compromised_at < info.revocation_time):
        info = _compromise(policy.compromised_at)
    return SingleStatus(
        CertStatus.GOOD if info is None else CertStatus.REVOKED,
        info,
        _extensions(issuer, status, info, produced_at),
    )


_NEVER_SEEN = {
    UnknownSerial.unauthorized: SingleStatus(CertStatus.UNKNOWN),  # one among others that are known
    UnknownSerial.unknown: SingleStatus(CertStatus.UNKNOWN),
    UnknownSerial.revoked: SingleStatus(CertStatus.REVOKED, _NEVER_ISSUED),
    UnknownSerial.good: SingleStatus(CertStatus.GOOD),
}


def _compromise(since: datetime) -> RevokedInfo:
    return RevokedInfo(since, CRLReason.cACompromise)


def response_extensions(policy: IssuerPolicy) -> bytes:
    """DER Extensions that every answer of an issuer has: extended-revoke, where never issued means revoked.

    Source: RFC 6960 §4.4.8 (6960-04): NULL, not critical, among the response's own extensions.
    """
    return _extension(_EXTENDED_REVOKE, b"\x05\x00") if policy.unknown_serial is UnknownSerial.revoked else b""


def _extensions(issuer: Issuer, status: CertificateStatus, info: RevokedInfo | None, produced_at: datetime) -> bytes:
    policy = issuer.policy
    made = b""
    if info is not None and info.invalidity_date is not None:
        made += _extension(_INVALIDITY_DATE, _generalized_time(info.invalidity_date))
    if info is not None and policy.crl_url is not None:
        # The URL alone: which CRL has the entry isn't ours to say here.
        url = der_value(0xA0, der_value(_IA5_STRING, policy.crl_url.encode("ascii")))
        made += _extension(_CRL_REFERENCE, der_value(_SEQUENCE, url))
    if policy.archive:
        since = issuer.not_before if policy.archive_retention is None else produced_at - policy.archive_retention
        made += _extension(_ARCHIVE_CUTOFF, _generalized_time(since))
    if policy.cert_hash and status.certificate_sha256 is not None:
        digest = der_value(_OCTET_STRING, status.certificate_sha256)
        made += _extension(_CERT_HASH, der_value(_SEQUENCE, _SHA256_IDENTIFIER + digest))
    return made


def _extension(oid: bytes, value: bytes) -> bytes:
    """A non-critical Extension."""
    return der_value(_SEQUENCE, oid + der_value(_OCTET_STRING, value))


def _generalized_time(moment: datetime) -> bytes:
    return der_value(_GENERALIZED_TIME, moment.strftime("%Y%m%d%H%M%SZ").rjust(15, "0").encode())


def der_value(tag: int, content: bytes) -> bytes:
    """One DER value (X.690 §8.1)."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def revocation_fields(info: RevokedInfo | None) -> tuple[int, int]:
    """revocationTime in seconds and CRLReason as the native core takes them, -1 for none."""
    if info is None:
        return -1, -1
    reason = info.revocation_reason
    return epoch_seconds(info.revocation_time), -1 if reason is None else int(reason)
