"""Many statuses that one statement has read, most of which are merely signed again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import overload

from responder.pki.issuer import Issuer
from responder.pki.numbers import EPOCH, epoch_microseconds
from responder.pki.status import Certificate, CertificateStatus, RevokedInfo, StatusVersion
from responder.pki.terms import CertStatus, CRLReason

StatusColumns = tuple[bytes, int, int | None, int | None, int | None, int | None, int | None, bytes | None]
"""serial, number, revoked_at, reason, invalidity_date, not_before, not_after, certificate_sha256; times in microseconds
since 1970; revoked_at is None where it isn't revoked."""

_SECOND = 1_000_000


class ReadStatuses(Sequence[CertificateStatus]):
    """Statuses of one issuer from one statement. Each is made when it is looked at: to sign what is good again its row
    is enough, and a million of them cost what their signatures do."""

    def __init__(self, issuer: Issuer, rows: Sequence[StatusColumns], *, epoch: int, as_of_microseconds: int) -> None:
        self.issuer = issuer
        self.epoch = epoch
        self.as_of_microseconds = as_of_microseconds
        self._rows = rows

    @property
    def as_of(self) -> datetime:
        """Of all of them."""
        return _moment(self.as_of_microseconds)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> CertificateStatus: ...
    @overload
    def __getitem__(self, index: slice) -> ReadStatuses: ...

    def __getitem__(self, index: int | slice) -> CertificateStatus | ReadStatuses:
        if isinstance(index, slice):
            return ReadStatuses(
                self.issuer, self._rows[index], epoch=self.epoch, as_of_microseconds=self.as_of_microseconds
            )
        serial, number, revoked_at, reason, invalidity_date, not_before, not_after, digest = self._rows[index]
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
            StatusVersion(self.epoch, number, self.as_of),
            info,
            None if not_before is None else _moment(not_before),
            None if not_after is None else _moment(not_after),
            digest,
        )

    def names(self) -> list[bytes]:
        """Of whose statuses these are, in order: issuer's tag and serial."""
        tag = self.issuer.tag
        return [tag + row[0] for row in self._rows]

    def goods(self, produced_at: datetime) -> Iterator[tuple[bytes, int] | None]:
        """For each, in order: serial and number where it is good, and within its validity then; else None.

        As `CertificateStatus.may_be_answered` says it of an issuer that keeps no archive.
        """
        now = epoch_microseconds(produced_at)
        second = now - now % _SECOND
        for serial, number, revoked_at, _, _, not_before, not_after, _ in self._rows:
            if (
                revoked_at is None
                and (not_before is None or not_before <= now)
                and (not_after is None or second <= not_after)
            ):
                yield serial, number
            else:
                yield None


def _moment(microseconds: int) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds)
