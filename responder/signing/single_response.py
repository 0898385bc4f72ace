"""What a SingleResponse says of a status, under its issuer's policy. Source: RFC 6960 §4.2.1, §4.4."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from responder.der import IA5_STRING, OCTET_STRING, SEQUENCE, der_value, extension, generalized_time
from responder.pki import (
    EPOCH,
    CertificateStatus,
    CertStatus,
    CRLReason,
    Issuer,
    IssuerPolicy,
    RevokedInfo,
    UnknownSerial,
    epoch_seconds,
)

_OCSP_ARC = bytes.fromhex("06092b06010505073001")
_CRL_REFERENCE = _OCSP_ARC + b"\x03"
_ARCHIVE_CUTOFF = _OCSP_ARC + b"\x06"
_EXTENDED_REVOKE = _OCSP_ARC + b"\x09"
_INVALIDITY_DATE = bytes.fromhex("0603551d18")
_CERT_HASH = bytes.fromhex("06052b2408030d")
_SHA256_IDENTIFIER = bytes.fromhex("300d06096086480165030402010500")

_NEVER_ISSUED = RevokedInfo(EPOCH, CRLReason.certificateHold)
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
    if info is None and policy.says_no_more_than_good:
        return _GOOD
    if policy.compromised_at is not None and (info is None or policy.compromised_at < info.revocation_time):
        info = _compromise(policy.compromised_at)
    return SingleStatus(
        CertStatus.GOOD if info is None else CertStatus.REVOKED,
        info,
        _extensions(issuer, status, info, produced_at),
    )


_GOOD = SingleStatus(CertStatus.GOOD)

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
    return extension(_EXTENDED_REVOKE, b"\x05\x00") if policy.unknown_serial is UnknownSerial.revoked else b""


def _extensions(issuer: Issuer, status: CertificateStatus, info: RevokedInfo | None, produced_at: datetime) -> bytes:
    policy = issuer.policy
    made = b""
    if info is not None and info.invalidity_date is not None:
        made += extension(_INVALIDITY_DATE, generalized_time(info.invalidity_date))
    if info is not None and policy.crl_url is not None:
        # The URL alone: which CRL has the entry isn't ours to say here.
        url = der_value(0xA0, der_value(IA5_STRING, policy.crl_url.encode("ascii")))
        made += extension(_CRL_REFERENCE, der_value(SEQUENCE, url))
    since = issuer.archived_since(produced_at)
    if since is not None:
        made += extension(_ARCHIVE_CUTOFF, generalized_time(since))
    if policy.cert_hash and status.certificate_sha256 is not None:
        digest = der_value(OCTET_STRING, status.certificate_sha256)
        made += extension(_CERT_HASH, der_value(SEQUENCE, _SHA256_IDENTIFIER + digest))
    return made


def revocation_fields(info: RevokedInfo | None) -> tuple[int, int]:
    """revocationTime in seconds and CRLReason as the native core takes them, -1 for none."""
    if info is None:
        return -1, -1
    reason = info.revocation_reason
    return epoch_seconds(info.revocation_time), -1 if reason is None else int(reason)
