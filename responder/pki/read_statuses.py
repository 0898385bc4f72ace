"""Many statuses that one statement has read, most of which are merely signed again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import overload

from responder._native import CopiedStatuses
from responder.pki.issuer import Issuer
from responder.pki.numbers import EPOCH
from responder.pki.status import Certificate, CertificateStatus, RevokedInfo, StatusVersion
from responder.pki.terms import CertStatus, CRLReason


class ReadStatuses(Sequence[CertificateStatus]):
    """Statuses of one issuer from one statement. Each is made when it is looked at: what is good again is signed from
    what the database wrote, and a million of them cost what their signatures do."""

    def __init__(self, issuer: Issuer, copied: CopiedStatuses) -> None:
        self.issuer = issuer
        self.copied = copied

    @property
    def as_of(self) -> datetime:
        """Of all of them."""
        return _moment(self.copied.as_of_microseconds)

    def __len__(self) -> int:
        return len(self.copied)

    @overload
    def __getitem__(self, index: int) -> CertificateStatus: ...
    @overload
    def __getitem__(self, index: slice) -> list[CertificateStatus]: ...

    def __getitem__(self, index: int | slice) -> CertificateStatus | list[CertificateStatus]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        serial, number, revoked_at, reason, invalidity_date, not_before, not_after, digest = self.copied[index]
        info = None
        if revoked_at is not None:
            info = RevokedInfo(
                _moment(revoked_at),
                None if reason is None else CRLReason(reason),
                None if invalidity_date is None else _moment(invalidity_date),
            )
        return CertificateStatus(
            Certificate(self.issuer, serial),
            CertStatus.GOOD if info is None else CertStatus.REVOKED,
            StatusVersion(self.copied.epoch, number, self.as_of),
            info,
            None if not_before is None else _moment(not_before),
            None if not_after is None else _moment(not_after),
            digest,
        )

    def names(self) -> list[bytes]:
        """Of whose statuses these are, in order: issuer's tag and serial."""
        return self.copied.names(self.issuer.tag)


def _moment(microseconds: int) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds)
