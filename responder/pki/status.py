"""The status of a certificate, and its version."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from responder._native import Records, tombstone
from responder.pki.issuer import Issuer
from responder.pki.numbers import EPOCH, decode_serial, encode_serial, epoch_microseconds, epoch_seconds
from responder.pki.terms import CertStatus, CRLReason


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate as status is kept for it: whose, and which serial."""

    issuer: Issuer
    serial: bytes
    """The content octets of the INTEGER, minimal: as requests, records and the database have it."""

    @classmethod
    def numbered(cls, issuer: Issuer, serial_number: int) -> Certificate:
        """The one with this serial number."""
        return cls(issuer, encode_serial(serial_number))

    @property
    def serial_number(self) -> int:
        """The serial as people and other programs know it."""
        return decode_serial(self.serial)


@dataclass(frozen=True, slots=True, order=True)
class StatusVersion:
    """When a status was true: the database's epoch, the change's number, the moment it was read.

    Compared part by part, in this order. Source: design §4.1.
    """

    epoch: int
    number: int
    as_of: datetime

    @property
    def change(self) -> tuple[int, int]:
        """Epoch and number: which change made the status, whenever it was read."""
        return self.epoch, self.number

    @property
    def as_of_microseconds(self) -> int:
        """`as_of` in microseconds since 1970."""
        return epoch_microseconds(self.as_of)

    @classmethod
    def of(cls, records: Records) -> StatusVersion:
        """The version that records were made from."""
        as_of = EPOCH + timedelta(microseconds=records.as_of_microseconds)
        return cls(records.epoch, records.number, as_of)


@dataclass(frozen=True, slots=True)
class RevokedInfo:
    """Since when and why. Source: RFC 6960 §4.2.1; invalidity_date RFC 5280 §5.3.2."""

    revocation_time: datetime
    revocation_reason: CRLReason | None = None
    invalidity_date: datetime | None = None


@dataclass(frozen=True, slots=True)
class CertificateStatus:
    """What the authority says of one certificate. `not_before`, `not_after` and the SHA-256 of the whole certificate
    are None where never told."""

    certificate: Certificate
    cert_status: CertStatus
    version: StatusVersion
    revoked_info: RevokedInfo | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None
    certificate_sha256: bytes | None = None

    @property
    def fault(self) -> str | None:
        """What no answer can say of it, as a sentence; None where all can be said. The database refuses such rows since
        schema version 4, but may hold older ones."""
        info = self.revoked_info
        if info is None:
            return None
        for name, moment in (("revoked_at", info.revocation_time), ("invalidity_date", info.invalidity_date)):
            if moment is not None and moment < EPOCH:
                return f"{name} is {moment.isoformat()}, before 1970"
        return None

    def may_be_answered(self, now: datetime) -> bool:
        """Whether producedAt = `now` lies in the certificate's validity as far as that is known, or in the time for
        which the issuer keeps an archive (standards §1.8; RFC 6960 §4.4.4). The second of notAfter counts in (RFC 5280
        §4.1.2.5)."""
        if self.not_before is not None and now < self.not_before:
            return False
        if self.not_after is None or now <= self.not_after or now.replace(microsecond=0) <= self.not_after:
            return True
        policy = self.certificate.issuer.policy
        now = now.replace(microsecond=0)
        return policy.archive and (policy.archive_retention is None or now <= self.not_after + policy.archive_retention)


def tombstone_for(status: CertificateStatus) -> Records:
    """Records that only say: nothing older than this status may be answered from a store any more."""
    version = status.version
    policy = status.certificate.issuer.policy
    return tombstone(
        status.certificate.issuer.tag,
        status.certificate.serial,
        int(status.cert_status),
        version.epoch,
        version.number,
        version.as_of_microseconds,
        epoch_seconds(version.as_of + policy.validity),
    )
