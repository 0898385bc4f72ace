"""Keeps a host's floors and its lease: whoever answers here knows every change that was announced (design §4.3 to 4.6).

The order is the rule, and is model-checked (docs/model): the lease is renewed, then the changes are read, floors are
raised and older records dropped, then the deadline moves, then it is acknowledged.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Protocol

from responder import log, metrics
from responder.interfaces import HostLeases
from responder.ocsp.issued import IssuedSerials, MovableDeadline
from responder.pki import ISSUED_KEPT, AnnouncedChange, Changes, Floors, Table, epoch_microseconds, epoch_seconds

_log = log.get("ocsp.keeper")

FLOOR_SECONDS = int(timedelta(days=8).total_seconds())
"""How long a floor is kept: no answer lives longer than 7 days."""

RENEW_SECONDS = 5.0
_DRIFT = 0.001
"""So much slower than the database's may this host's clock run: the host forgets its lease before the database does."""

_YIELD_AFTER = 500


class ReadableDeadline(MovableDeadline, Protocol):
    """See `responder.host.deadline.Deadline`."""

    @property
    def has_passed(self) -> bool:
        """Whether it is over."""

    def now(self) -> int:
        """Its clock, in nanoseconds."""


class DatabaseClock(Protocol):
    """See `responder.host.deadline.DatabaseClock`."""

    def tell(self, nanoseconds: int) -> None:
        """It has just said this."""


class Keeper:
    """The one writer of a host's floors."""

    def __init__(
        self,
        leases: HostLeases,
        *,
        floors: Floors,
        table: Table,
        deadline: ReadableDeadline,
        database_clock: DatabaseClock,
        host: str,
        owner: str,
        lease_seconds: float,
        issued: IssuedSerials | None = None,
    ) -> None:
        """`host` names the shared memory: it is another after each start of the host's processes."""
        self._leases = leases
        self._floors = floors
        self._table = table
        self._deadline = deadline
        self._database_clock = database_clock
        self._host = host
        self._owner = owner
        self._lease_seconds = lease_seconds
        self._issued = issued
        self._seen: Changes | None = None
        self._renew_at = 0

    async def once(self) -> bool:
        """Learn what was announced, and renew the lease when it is time; False: it can rest until it is woken.

        Raises:
            StatusUnavailable: the authority can't be reached; the deadline stays.
        """
        started = self._deadline.now()
        is_first = self._seen is None
        renews = is_first or started >= self._renew_at
        if renews:
            await self._leases.renew(self._host, owner=self._owner, seconds=self._lease_seconds, is_new=is_first)
        async with self._leases.changes(self._seen) as changes:
            self._database_clock.tell(epoch_microseconds(changes.as_of) * 1000)
            count = await self._apply(changes) + await self._learn_issued(changes)
        if is_first:
            self._floors.settle()
        if renews:
            if self._deadline.has_passed:
                _log.info("host_joined", host=self._host, changes=count)
            # Counted from before the renewal was sent.
            self._deadline.move_to(started + int(self._lease_seconds * (1 - _DRIFT) * 1e9))
            self._renew_at = started + int(min(RENEW_SECONDS, self._lease_seconds / 10) * 1e9)
        self._seen = changes
        if self._issued is not None:
            self._issued.is_current(started)
        if (renews or count) and not await self._leases.acknowledge(self._host, changes):
            self._renew_at = 0  # somebody took the lease away
            return True
        return False

    async def leave(self) -> None:
        """Answer nothing any more, and say so. To be called when nobody answers from this memory."""
        self._deadline.move_to(0)
        await self._leases.leave(self._host)

    async def _learn_issued(self, changes: Changes) -> int:
        """How many certificates were issued since; where that can't be told, all have to be read again."""
        if self._issued is None:
            return 0
        seen, count = self._seen, 0
        if seen is None or seen.history != changes.history or changes.as_of - seen.as_of > ISSUED_KEPT / 2:
            self._issued.doubt()
            return 0
        async for names in changes.issued:
            self._issued.learn(names)
            count += len(names)
        return count

    async def _apply(self, changes: Changes) -> int:
        """Raise the floors, and drop what is below them."""
        count = 0
        async for batch in changes.batches:
            for change in batch:
                await self._apply_one(change, changes.as_of)
                count += 1
                if count % _YIELD_AFTER == 0:
                    await asyncio.sleep(0)
        metrics.CHANGES_APPLIED.inc(amount=count)
        return count

    async def _apply_one(self, change: AnnouncedChange, as_of: datetime) -> None:
        now = epoch_seconds(as_of)
        until = max(now, change.created_at) + FLOOR_SECONDS
        tag, serial = change.issuer_tag, change.serial
        if self._issued is not None:
            self._issued.learn([tag + serial])  # one may be revoked from the beginning
        if not self._floors.raise_to(tag, serial, change.epoch, change.number, until, now, epoch_microseconds(as_of)):
            metrics.FLOORS_OVERFLOWN.inc()
        while not self._table.drop(tag, serial):  # noqa: ASYNC110
            await asyncio.sleep(0.001)  # somebody who was killed owns the place, until the supervisor has swept
