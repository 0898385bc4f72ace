"""The records of a host in shared memory, as a store in front of Redis."""

from __future__ import annotations

from collections.abc import Sequence

from responder.interfaces import Clock
from responder.pki import Certificate, CertStatus, Kept, Records, StatusVersion, Table, epoch_microseconds


class TableRecords:
    """Implements `RecordStore`. It is full of what this host was asked for, and gives up what hasn't been for long."""

    def __init__(self, table: Table, *, clock: Clock) -> None:
        self._table = table
        self._clock = clock

    async def get(self, certificate: Certificate) -> Records | None:
        """See `RecordStore.get`."""
        return self._table.get(certificate.issuer.tag, certificate.serial)

    async def put(self, certificate: Certificate, records: Records) -> Kept:
        """See `RecordStore.put`. What isn't taken (below its floor, too long, no turn in time) is a loss, as it may
        happen to any entry."""
        now = epoch_microseconds(self._clock.now())
        kept = self._table.put(certificate.issuer.tag, certificate.serial, records, now) or records
        return Kept(StatusVersion.of(kept), CertStatus(kept.cert_status))

    async def put_many(self, batch: Sequence[tuple[Certificate, Records]]) -> list[Kept | None]:
        """See `RecordStore.put_many`."""
        return [await self.put(certificate, records) for certificate, records in batch]
