"""Signing before anyone asks: what changed at once, everything once a refresh period."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

from responder import log, metrics
from responder.errors import IssuerUnavailable, StoreUnavailable
from responder.interfaces import Clock, PartitionStore, RecordSigner, RecordStore, RevocationStore
from responder.pki import (
    Certificate,
    CertificateStatus,
    CertStatus,
    Issuer,
    IssuerPolicy,
    Issuers,
    Kept,
    Pending,
    ReadStatuses,
    Records,
    SignedSlice,
    StatusVersion,
    refresh_due,
    tombstone_for,
)
from responder.troubles import Troubles

_log = log.get("ocsp.presign")

PARTITIONS = 1024
"""Slices of each issuer's serials, fixed by the schema."""

TURN_SHARE = 0.9
"""A slice is signed after so much of its issuer's refresh."""

_LEASE_SECONDS = 300
_PROLONG_AFTER = timedelta(seconds=60)


class Relay:
    """Brings changed statuses from the outbox to the record store. A change is closed when the store keeps it, or
    something later; what fails for one issuer, or for one change, keeps no other waiting."""

    def __init__(
        self,
        store: RevocationStore,
        *,
        signer: RecordSigner,
        records: RecordStore,
        clock: Clock,
        batch: int = 500,
        troubles: Troubles | None = None,
    ) -> None:
        self._store = store
        self._signer = signer
        self._records = records
        self._clock = clock
        self._batch = batch
        self._troubles = troubles or Troubles("relay")

    async def once(self) -> int:
        """Sign and put the oldest open changes; how many were closed, or will come again above what the store keeps.

        A crash anywhere leaves rows open, and doing them again is harmless.

        Raises:
            StatusUnavailable, StoreUnavailable: the rest stays open for the next call.
        """
        pending = await self._store.pending(self._batch)
        if not pending:
            return 0
        statuses = await self._store.status_of([change.certificate for change in pending])
        made = await self._make(pending, statuses)
        kept = await self._records.put_many(
            [(change.certificate, records) for change, records in zip(pending, made, strict=True)]
        )
        closed: list[tuple[Pending, CertificateStatus | None]] = []
        refused: list[tuple[Pending, Kept | None]] = []
        for change, status, records, held in zip(pending, statuses, made, kept, strict=True):
            if (
                held is not None
                and held.version.change == StatusVersion.of(records).change
                and held.cert_status == records.cert_status
            ):
                closed.append((change, status))
            else:
                refused.append((change, held))
        runs = {held.run for held in kept if held is not None}
        if len(runs) > 1:
            raise StoreUnavailable("the record store was started again in between; these changes stay open")
        run = "".join(runs)
        await self._store.done([change for change, _ in closed], [status for _, status in closed], run=run)
        metrics.OUTBOX_CLOSED.inc(amount=len(closed))
        return len(closed) + (await self._settle(refused, run) if refused else 0)

    async def _make(self, pending: Sequence[Pending], statuses: Sequence[CertificateStatus | None]) -> list[Records]:
        """What to put for each: signed records; a tombstone where there is nothing to sign, or nobody who can."""
        now = self._clock.now()
        made: dict[Certificate, Records] = {}
        by_issuer: dict[Issuer, list[CertificateStatus]] = defaultdict(list)
        for change, status in zip(pending, statuses, strict=True):
            if status is None:
                # The row is gone: what it said may not be answered any more.
                gone = CertificateStatus(change.certificate, CertStatus.UNKNOWN, change.version)
                made[change.certificate] = tombstone_for(gone)
            elif status.may_be_answered(now):
                by_issuer[status.certificate.issuer].append(status)
            else:
                made[status.certificate] = tombstone_for(status)
        for issuer, changed in by_issuer.items():
            signed = await self._sign(issuer, changed)
            made.update(zip((status.certificate for status in changed), signed, strict=True))
        return [made[change.certificate] for change in pending]

    async def _sign(self, issuer: Issuer, changed: Sequence[CertificateStatus]) -> list[Records]:
        try:
            signed = await self._signer.sign(changed)
        except Exception as error:  # no signer, a key that fails, a bug that one issuer's data brings out
            # The old answers go at once; new ones are made when they are asked for, once they can be.
            self._troubles.failed(issuer.id, error)
            return [tombstone_for(status) for status in changed]
        self._troubles.mended(issuer.id)
        return signed

    async def _settle(self, refused: Sequence[tuple[Pending, Kept | None]], run: str) -> int:
        """What the store didn't keep: it may hold a later change of ours, or one that the database doesn't know."""
        statuses = await self._store.status_of([change.certificate for change, _ in refused])
        renumbered = 0
        overtaken: list[tuple[Pending, CertificateStatus]] = []
        left: list[Pending] = []
        for (change, held), status in zip(refused, statuses, strict=True):
            if held is not None and status is not None:
                if status.version.change >= held.version.change and status.cert_status == held.cert_status:
                    overtaken.append((change, status))  # it has changed again meanwhile
                    continue
                if await self._store.renumber(change.certificate, held.version):
                    renumbered += 1  # the change comes again, with a number above the one that is kept
                    continue
            metrics.CHANGES_REFUSED.inc()
            if held is not None:
                _log.error(
                    "store_keeps_another_status",
                    issuer=change.certificate.issuer.id,
                    serial=hex(change.certificate.serial_number),
                    kept=held.cert_status.name,
                    kept_version=held.version.change,
                    ours=None if status is None else status.version.change,
                    remedy="certstatus db recover, if the database has lost commits",
                )
            left.append(change)
        if overtaken:
            changes, kept = zip(*overtaken, strict=True)
            await self._store.done(changes, kept, run=run)
        if left:
            await self._store.retry_later(left)
        return len(overtaken) + renumbered


class RecordSink(Protocol):
    """Where many records are put at once, and nothing is to be known of each."""

    async def put_all(self, names: Sequence[bytes], records: Sequence[Records]) -> None:
        """`RecordStore.put` for each; names (issuer's tag and serial).

        Raises:
            StoreUnavailable: no confirmation in time, or some took too long or have ended; the others may be kept.
        """


class Presigner:
    """Signs every certificate again before its answer is due, slice by slice."""

    def __init__(
        self,
        partitions: PartitionStore,
        *,
        issuers: Issuers,
        signer: RecordSigner,
        records: RecordSink,
        clock: Clock,
        owner: str,
        chunk: int = 1000,
        slices: int = 64,
        only: Sequence[str] | None = None,
        troubles: Troubles | None = None,
    ) -> None:
        """`chunk` certificates are signed within seconds of being read; `slices` are claimed at a time; `only` of these
        issuers, where it is given. Several may sign at once, in one process or in many."""
        self._partitions = partitions
        self._issuers = issuers
        self._signer = signer
        self._records = records
        self._clock = clock
        self._owner = owner
        self._chunk = chunk
        self._slices = slices
        self._only = only
        self._troubles = troubles or Troubles("presign")

    async def once(self, progress: Callable[[int, int], None] | None = None) -> bool:
        """Sign the slices that are due, as many as are claimed at once; False when nothing was due. An issuer for
        which that fails is left alone for a while.

        Args:
            progress: called with (slices done, certificates signed) after each claim.

        Raises:
            StatusUnavailable, StoreUnavailable: what isn't finished is due again.
        """
        claim = await self._partitions.claim(
            self._owner,
            limit=self._slices,
            lease_seconds=_LEASE_SECONDS,
            except_issuers=self._troubles.waiting(),
            only_issuers=self._only,
        )
        if claim is None:
            return False
        issuer_id, slices = claim
        left = sorted(slices)
        leased_at, started = self._clock.now(), time.perf_counter()
        signed = Counter[int]()
        try:
            with self._troubles.guarding(issuer_id):
                issuer = self._issuers.get(issuer_id)
                if issuer is None:
                    raise IssuerUnavailable(f"issuer {issuer_id} isn't known here yet")
                async for statuses, sizes in self._partitions.statuses(issuer, left, chunk=self._chunk):
                    await self._sign(statuses)
                    signed.update(sizes)
                    left = await self._finish(issuer, left, signed, started, before=max(sizes))
                    if self._clock.now() - leased_at > _PROLONG_AFTER:
                        await self._partitions.prolong(issuer_id, left, owner=self._owner, lease_seconds=_LEASE_SECONDS)
                        leased_at = self._clock.now()
                left = await self._finish(issuer, left, signed, started, before=PARTITIONS)
        finally:
            if left:
                await self._partitions.release(issuer_id, left, owner=self._owner)
        if progress is not None:
            progress(len(slices) - len(left), signed.total())
        return True

    async def _sign(self, statuses: ReadStatuses) -> None:
        records = await self._signer.sign(statuses)
        await self._records.put_all(statuses.names(), records)
        metrics.PRESIGNED.inc(amount=len(statuses))

    async def _finish(
        self, issuer: Issuer, slices: list[int], signed: Counter[int], started: float, *, before: int
    ) -> list[int]:
        """Slices below `before` are whole; returns the others. Each took its share of the time since `started`."""
        now, period = self._clock.now(), turn_period(issuer.policy)
        seconds = (time.perf_counter() - started) / max(1, signed.total())
        whole = [
            SignedSlice(p, next_turn(p, now, period), signed[p], seconds * signed[p]) for p in slices if p < before
        ]
        left = [p for p in slices if p >= before]
        if whole:
            await self._partitions.finished(issuer.id, whole, owner=self._owner)
        return left


def turn_period(policy: IssuerPolicy) -> timedelta:
    """How often each slice is signed: a tenth sooner than answers are due, so that they never become due unsigned."""
    start = datetime(2000, 1, 1, tzinfo=UTC)
    return TURN_SHARE * (refresh_due(start, start + policy.validity, policy.refresh) - start)


def next_turn(partition: int, now: datetime, period: timedelta) -> datetime:
    """The next moment of this slice's phase, partition / PARTITIONS of the period, after `now`.

    Never more than one period away.
    """
    seconds = period.total_seconds()
    phase = seconds * partition / PARTITIONS
    turns = (now.timestamp() - phase) // seconds + 1
    return datetime.fromtimestamp(turns * seconds + phase, tz=UTC)
