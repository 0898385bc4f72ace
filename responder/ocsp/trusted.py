"""What a host may answer: its lease before anything is read, its floors after everything was (design §4.3, §4.5).

In that order: a host that joins in the middle of an answer would else let an old one out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from responder import log, metrics
from responder.errors import StatusUnavailable
from responder.interfaces import AnswerSource, RecordStore
from responder.pki import Answer, Certificate, Floors, Kept, Question, Records, StatusVersion

_log = log.get("ocsp.trusted")

_ATTEMPTS = 3


class Lease(Protocol):
    """See `responder.host.deadline.Deadline`."""

    @property
    def has_passed(self) -> bool:
        """Whether this host may answer nothing now."""


class TrustedSource:
    """Answers while the host's lease lasts, and nothing that is below a floor: that is made again."""

    def __init__(self, inner: AnswerSource, *, lease: Lease, floors: Floors) -> None:
        self._inner = inner
        self._lease = lease
        self._floors = floors
        self._may_log = log.OncePerSecond()

    async def answer(self, question: Question) -> Answer:
        """See `AnswerSource.answer`.

        Raises:
            StatusUnavailable: the lease is over, or the authority itself says less than was announced.
        """
        if self._lease.has_passed:
            raise StatusUnavailable("this host hasn't heard from the database for too long to be sure of any status")
        for _ in range(_ATTEMPTS):
            answer = await self._inner.answer(question)
            if not any(is_below(self._floors, *answered) for answered in answer.versions):
                return answer
            metrics.BELOW_FLOOR.inc()
        if self._may_log("below"):
            _log.error(
                "status_below_floor",
                issuer=question.issuer.id,
                serials=[hex(certificate.serial_number) for certificate in question.certificates],
                remedy="certstatus db recover, if the database has lost commits",
            )
        raise StatusUnavailable("the status is older than one that was announced")


class FlooredRecords:
    """A `RecordStore` that doesn't find what is below its floor: it may have lost or brought back anything."""

    def __init__(self, inner: RecordStore, floors: Floors) -> None:
        self._inner = inner
        self._floors = floors

    async def get(self, certificate: Certificate) -> Records | None:
        """See `RecordStore.get`."""
        records = await self._inner.get(certificate)
        if records is not None and is_below(self._floors, certificate, StatusVersion.of(records)):
            metrics.BELOW_FLOOR.inc()
            return None
        return records

    async def put(self, certificate: Certificate, records: Records) -> Kept:
        """See `RecordStore.put`."""
        return await self._inner.put(certificate, records)

    async def put_many(self, batch: Sequence[tuple[Certificate, Records]]) -> list[Kept | None]:
        """See `RecordStore.put_many`."""
        return await self._inner.put_many(batch)


def is_below(floors: Floors, certificate: Certificate, version: StatusVersion) -> bool:
    """Whether a status was read before a change that was announced."""
    return floors.is_below(
        certificate.issuer.tag, certificate.serial, version.epoch, version.number, version.as_of_microseconds
    )
