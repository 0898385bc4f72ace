"""Working in-memory stores with a switch to fail before or after the effect, and a source that counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from responder.errors import RevocationRefused, StatusUnavailable, StoreUnavailable
from responder.interfaces import Clock
from responder.pki import (
    AnnouncedChange,
    Certificate,
    CertificateStatus,
    CertStatus,
    Changes,
    Issuer,
    Kept,
    Pending,
    Records,
    StatusChange,
    StatusVersion,
    Unaware,
)


@dataclass
class MemoryRecords:
    """A `RecordStore` in a dict. `fail` is "before", "after" (the effect happens, the caller isn't told), or ""."""

    kept: dict[Certificate, Records] = field(default_factory=dict)
    fail: str = ""
    puts: int = 0
    before_put: Callable[[], None] | None = None
    after_put: Callable[[], None] | None = None

    async def get(self, certificate: Certificate) -> Records | None:
        await asyncio.sleep(0)
        if self.fail:
            raise StoreUnavailable("the store is down")
        return self.kept.get(certificate)

    async def put(self, certificate: Certificate, records: Records) -> Kept:
        await asyncio.sleep(0)
        if self.fail == "before":
            raise StoreUnavailable("the store is down")
        if self.before_put is not None:
            self.before_put()
        self.puts += 1
        held = self.kept.get(certificate)
        if held is None or _rank(held) <= _rank(records):
            self.kept[certificate] = records
        now_kept = self.kept[certificate]
        if self.after_put is not None:
            self.after_put()
        if self.fail == "after":
            raise StoreUnavailable("the answer was lost")
        return Kept(StatusVersion.of(now_kept), CertStatus(now_kept.cert_status))

    async def put_many(self, batch: Sequence[tuple[Certificate, Records]]) -> list[Kept | None]:
        return [await self.put(certificate, records) for certificate, records in batch]


def _rank(records: Records) -> tuple[int, int, bool, int]:
    """What a store compares by."""
    return records.epoch, records.number, not records.is_tombstone, records.as_of_microseconds


@dataclass
class MemoryStatuses:
    """The authority in a dict: `StatusSource` and `RevocationStore`. Versions rise by one a change."""

    clock: Clock
    rows: dict[Certificate, CertificateStatus] = field(default_factory=dict)
    open: list[Pending] = field(default_factory=list)
    number: int = 0
    reads: int = 0
    down: bool = False
    left: set[Certificate] = field(default_factory=set)
    before_read_returns: Callable[[], None] | None = None

    def add(
        self, certificate: Certificate, *, not_before: datetime | None = None, not_after: datetime | None = None
    ) -> CertificateStatus:
        status = CertificateStatus(
            certificate, CertStatus.GOOD, self._next_version(), not_before=not_before, not_after=not_after
        )
        self._store(status)
        return status

    def set(self, certificate: Certificate, change: StatusChange) -> CertificateStatus:
        status = replace(
            self.rows[certificate],
            cert_status=CertStatus.GOOD if change.revoked_info is None else CertStatus.REVOKED,
            revoked_info=change.revoked_info,
            version=self._next_version(),
        )
        self._store(status)
        return status

    async def status_of(self, certificates: Sequence[Certificate]) -> list[CertificateStatus | None]:
        if self.down:
            raise StatusUnavailable("the database is down")
        self.reads += 1
        now = self.clock.now()
        found = [
            # Of the certificate asked: its issuer's policy may have changed since the row was written.
            None if row is None else replace(row, certificate=asked, version=replace(row.version, as_of=now))
            for asked, row in ((each, self.rows.get(each)) for each in certificates)
        ]
        await asyncio.sleep(0)
        if self.before_read_returns is not None:
            self.before_read_returns()
        return found

    async def change(
        self,
        certificate: Certificate,
        decide: Callable[[CertificateStatus], StatusChange | None],
        *,
        actor: str,
    ) -> CertificateStatus:
        if self.down:
            raise StatusUnavailable("the database is down")
        status = self.rows.get(certificate)
        if status is None:
            raise RevocationRefused(404, "no such certificate", "it was never registered")
        change = decide(status)
        if change is not None:
            self.set(certificate, change)
        (now,) = await self.status_of([certificate])
        assert now is not None
        return now

    async def pending(self, limit: int) -> list[Pending]:
        newest = {change.certificate: change for change in self.open if change.certificate not in self.left}
        return list(newest.values())[:limit]

    async def retry_later(self, pending: Sequence[Pending]) -> None:
        self.left.update(change.certificate for change in pending)

    async def renumber(self, certificate: Certificate, kept: StatusVersion) -> bool:
        if kept.epoch != 1 or kept.number > self.number or certificate not in self.rows:
            return False
        self._store(replace(self.rows[certificate], version=self._next_version()))
        return True

    async def done(
        self, pending: Sequence[Pending], kept: Sequence[CertificateStatus | None], *, run: str = ""
    ) -> None:
        covered = {
            change.certificate: max(change.version.change, (status or change).version.change)
            for change, status in zip(pending, kept, strict=True)
        }
        self.open = [
            change
            for change in self.open
            if change.certificate not in covered or change.version.change > covered[change.certificate]
        ]

    def _next_version(self) -> StatusVersion:
        self.number += 1
        return StatusVersion(1, self.number, self.clock.now())

    def _store(self, status: CertificateStatus) -> None:
        self.rows[status.certificate] = status
        self.open.append(Pending(self.number, status.certificate, status.version))


@dataclass
class MemoryLeases:
    """`HostLeases` in memory: what is announced, and which hosts haven't heard."""

    announced: list[AnnouncedChange] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    unaware_hosts: tuple[str, ...] = ()
    certain_at: datetime | None = None
    lease_taken_away: bool = False
    down: bool = False
    asked: int = 0
    as_of: datetime = datetime(2026, 6, 1, 12, tzinfo=UTC)
    issued: list[bytes] = field(default_factory=list)
    told: int = 0
    history: str = "one"

    async def renew(self, host: str, *, owner: str, seconds: float, is_new: bool) -> None:
        if self.down:
            raise StatusUnavailable("the database is down")
        self.log.append(f"renew{' anew' if is_new else ''}")

    @asynccontextmanager
    async def changes(self, since: Changes | None) -> AsyncIterator[Changes]:
        if self.down:
            raise StatusUnavailable("the database is down")
        seen = 0 if since is None else int(since.snapshot)

        async def batches() -> AsyncIterator[list[AnnouncedChange]]:
            yield self.announced[seen:]

        self.log.append("read")

        async def issued() -> AsyncIterator[list[bytes]]:
            yield [] if since is None else self.issued[self.told :]
            self.told = len(self.issued)

        yield Changes(str(len(self.announced)), self.history, self.as_of, batches(), issued())

    async def everything_issued(self) -> AsyncGenerator[list[bytes], None]:
        if self.down:
            raise StatusUnavailable("the database is down")
        yield list(self.issued)

    async def unaware_of(self, issuer: Issuer) -> Unaware:
        return Unaware(self.unaware_hosts, self.certain_at)

    async def acknowledge(self, host: str, changes: Changes) -> bool:
        self.log.append("acknowledge")
        return not self.lease_taken_away

    async def leave(self, host: str) -> None:
        self.log.append("leave")

    async def forget(self, has_ended: Callable[[str], bool]) -> None:
        pass

    async def unaware(self, certificate: Certificate) -> Unaware:
        self.asked += 1
        if self.down:
            raise StatusUnavailable("the database is down")
        return Unaware(self.unaware_hosts, self.certain_at)


class FakeClock:
    """A clock that stands still until told."""

    def __init__(self, now: datetime = datetime(2026, 6, 1, 12, tzinfo=UTC)) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def advance(self, by: timedelta) -> None:
        self._now += by
