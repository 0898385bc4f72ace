"""Signing before anyone asks: what changed at once, everything once a refresh period."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

from responder import log, metrics
from responder.errors import StatusUnavailable
from responder.interfaces import (
    Clock,
    Pending,
    RecordSigner,
    RecordStore,
    RevocationStore,
)
from responder.pki import (
    Certificate,
    CertificateStatus,
    CertStatus,
    Issuer,
    IssuerPolicy,
    Issuers,
    Records,
    refresh_due,
    tombstone_for,
)

_log = log.get("ocsp.presign")

PARTITIONS = 1024
"""Slices of each issuer's serials, fixed by the schema."""

_LEASE_SECONDS = 300


class PartitionStore(Protocol):
    """When each slice is due, who is at it, and what is in it."""

    async def claim(self, owner: str, *, limit: int, lease_seconds: int) -> tuple[str, list[int]] | None:
        """Some due slices of one issuer, for `owner` alone until the lease ends; None when nothing is due."""

    def statuses(
        self, issuer: Issuer, partitions: Sequence[int], *, chunk: int
    ) -> AsyncIterator[list[CertificateStatus]]:
        """The certificates of these slices that are valid now, in chunks, each read in one statement."""

    async def finished(self, issuer_id: str, due_at: dict[int, datetime], *, owner: str) -> None:
        """These slices are signed; each is due again at its moment."""


class Relay:
    """Brings changed statuses from the outbox to the record store."""

    def __init__(
        self,
        store: RevocationStore,
        *,
        signer: RecordSigner,
        records: RecordStore,
        clock: Clock,
        batch: int = 500,
    ) -> None:
        self._store = store
        self._signer = signer
        self._records = records
        self._clock = clock
        self._batch = batch

    async def once(self) -> int:
        """Sign and put the oldest open changes; how many rows were taken up.

        A crash anywhere leaves rows open, and doing them again is harmless.

        Raises:
            StatusUnavailable, StoreUnavailable: the rest stays open for the next call.
        """
        pending = await self._store.pending(self._batch)
        if not pending:
            return 0
        statuses = await self._store.status_of([change.certificate for change in pending])
        await self._put(pending, statuses)
        await self._store.done(pending, statuses)
        metrics.OUTBOX_CLOSED.inc(amount=len(pending))
        return len(pending)

    async def _put(self, pending: Sequence[Pending], statuses: Sequence[CertificateStatus | None]) -> None:
        by_issuer: dict[Issuer, list[CertificateStatus]] = defaultdict(list)
        batch: list[tuple[Certificate, Records]] = []
        for change, status in zip(pending, statuses, strict=True):
            if status is None:
                # The row is gone: what it said may not be answered any more.
                gone = CertificateStatus(change.certificate, CertStatus.UNKNOWN, change.version)
                batch.append((change.certificate, tombstone_for(gone)))
            elif status.may_be_answered(self._clock.now()):
                by_issuer[status.certificate.issuer].append(status)
            else:
                batch.append((status.certificate, tombstone_for(status)))
        for issuer, changed in by_issuer.items():
            try:
                signed = await self._signer.sign(changed)
            except StatusUnavailable as error:
                # No signer here: the old answers go at once, new ones come with the signer (its slices are then due).
                _log.warning("changes_left_unsigned", issuer=issuer.id, count=len(changed), error=str(error))
                signed = [tombstone_for(status) for status in changed]
            batch += [(status.certificate, records) for status, records in zip(changed, signed, strict=True)]
        await self._records.put_many(batch)


class Presigner:
    """Signs every certificate again before its answer is due, slice by slice."""

    def __init__(
        self,
        partitions: PartitionStore,
        *,
        issuers: Issuers,
        signer: RecordSigner,
        records: RecordStore,
        clock: Clock,
        owner: str,
        chunk: int = 1000,
        slices: int = 64,
    ) -> None:
        """`chunk` certificates are signed within seconds of being read; `slices` are claimed at a time."""
        self._partitions = partitions
        self._issuers = issuers
        self._signer = signer
        self._records = records
        self._clock = clock
        self._owner = owner
        self._chunk = chunk
        self._slices = slices

    async def once(self, progress: Callable[[int, int], None] | None = None) -> bool:
        """Sign the slices that are due, as many as are claimed at once; False when nothing was due.

        Args:
            progress: called with (slices done, certificates signed) after each claim.

        Raises:
            StatusUnavailable, StoreUnavailable, SigningFailed: the slices become due again when their lease ends.
        """
        claim = await self._partitions.claim(self._owner, limit=self._slices, lease_seconds=_LEASE_SECONDS)
        if claim is None:
            return False
        issuer_id, slices = claim
        issuer = self._issuers.get(issuer_id)
        signed = 0
        if issuer is not None:
            async for statuses in self._partitions.statuses(issuer, slices, chunk=self._chunk):
                records = await self._signer.sign(statuses)
                await self._records.put_many(
                    [(status.certificate, made) for status, made in zip(statuses, records, strict=True)]
                )
                signed += len(statuses)
        now = self._clock.now()
        period = timedelta(days=1) if issuer is None else turn_period(issuer.policy)
        await self._partitions.finished(issuer_id, {p: next_turn(p, now, period) for p in slices}, owner=self._owner)
        metrics.PRESIGNED.inc(amount=signed)
        if progress is not None:
            progress(len(slices), signed)
        return True

    async def run(self, *, idle_seconds: float) -> None:
        """Sign what is due, for ever."""
        while True:
            if not await self.once():
                await asyncio.sleep(idle_seconds)


def turn_period(policy: IssuerPolicy) -> timedelta:
    """How often each slice is signed: a tenth sooner than answers are due, so that they never become due unsigned."""
    start = datetime(2000, 1, 1, tzinfo=UTC)
    return 0.9 * (refresh_due(start, start + policy.validity, policy.refresh) - start)


def next_turn(partition: int, now: datetime, period: timedelta) -> datetime:
    """The next moment of this slice's phase, partition / PARTITIONS of the period, after `now`.

    Never more than one period away.
    """
    seconds = period.total_seconds()
    phase = seconds * partition / PARTITIONS
    turns = (now.timestamp() - phase) // seconds + 1
    return datetime.fromtimestamp(turns * seconds + phase, tz=UTC)
