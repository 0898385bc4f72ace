"""When a CRL is built again: on its interval, after a change, well before nextUpdate; by one host at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from responder import log, metrics
from responder.crl.issuer import FULL, CRLIssuer
from responder.errors import CertstatusError
from responder.interfaces import Clock, CRLStore
from responder.pki import CRLHead, Issuer, Issuers
from responder.troubles import Troubles

_log = log.get("crl.schedule")

_LEASE_SECONDS = 60
_PROLONG_SECONDS = 15

_AT_ONCE = 2
"""CRLs that are built beside each other: a large one keeps no small one waiting, and memory counts."""


class CRLSchedule:
    """Publishes the CRLs that are due. What fails for one issuer is tried again later, and delays no other."""

    def __init__(
        self,
        builder: CRLIssuer,
        *,
        store: CRLStore,
        issuers: Issuers,
        clock: Clock,
        owner: str,
        troubles: Troubles | None = None,
    ) -> None:
        self._builder = builder
        self._store = store
        self._issuers = issuers
        self._clock = clock
        self._owner = owner
        self._troubles = troubles or Troubles("crl")
        self._building: dict[str, asyncio.Task[bool]] = {}
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def once(self, can_sign: frozenset[str]) -> int:
        """Publish what is due of the issuers named, and return how many were; a failure is logged and tried again."""
        return sum(await asyncio.gather(*await self.begin(can_sign)))

    async def begin(self, can_sign: frozenset[str]) -> list[asyncio.Task[bool]]:
        """Begin to build what is due and isn't being built; each task tells whether its CRL was published.

        Raises:
            StatusUnavailable: the database can't be read.
        """
        heads = {head.issuer_id: head for head in await self._store.heads() if head.scope == FULL}
        waiting = await self._store.not_started() if can_sign - heads.keys() else set()
        now = self._clock.now()
        tasks = []
        for issuer in self._issuers:
            if (
                issuer.id in can_sign
                and issuer.id not in self._building
                and issuer.id not in waiting
                and self._troubles.may_try(issuer.id)
                and is_due(heads.get(issuer.id), issuer, now)
            ):
                task = asyncio.create_task(self._publish(issuer), name=f"crl of {issuer.id}")
                self._building[issuer.id] = task
                task.add_done_callback(lambda _, issuer_id=issuer.id: self._building.pop(issuer_id))  # type: ignore[misc]
                tasks.append(task)
        return tasks

    async def close(self) -> None:
        """End what is being built, and give the leases back."""
        tasks = list(self._building.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _publish(self, issuer: Issuer) -> bool:
        try:
            async with self._places:
                published = await self._publish_if_due(issuer)
        except Exception as error:
            # Whatever it is, it is this issuer's: a failing dependency comes back for each in its turn.
            metrics.CRL_FAILURES.inc()
            self._troubles.failed(issuer.id, error)
            return False
        self._troubles.mended(issuer.id)
        return published

    async def _publish_if_due(self, issuer: Issuer) -> bool:
        if not await self._store.lease(issuer, FULL, owner=self._owner, seconds=_LEASE_SECONDS):
            return False
        try:
            # Another host may have built it between the look and the lease.
            head = next((head for head in await self._store.heads(issuer) if head.scope == FULL), None)
            if not is_due(head, issuer, self._clock.now()):
                return False
            async with self._prolonged(issuer):
                await self._builder.publish(issuer)
            return True
        finally:
            with contextlib.suppress(CertstatusError):  # it ends by itself
                await asyncio.shield(self._store.release(issuer, FULL, owner=self._owner))

    @asynccontextmanager
    async def _prolonged(self, issuer: Issuer) -> AsyncIterator[None]:
        """Keep the lease for as long as the block takes."""

        async def prolong() -> None:
            while True:
                await asyncio.sleep(_PROLONG_SECONDS)
                with contextlib.suppress(CertstatusError):
                    await self._store.lease(issuer, FULL, owner=self._owner, seconds=_LEASE_SECONDS)

        task = asyncio.create_task(prolong())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def is_due(latest: CRLHead | None, issuer: Issuer, now: datetime) -> bool:
    """Whether a new CRL must be built at `now`."""
    if latest is None:
        return True
    policy = issuer.policy
    if latest.changed_at is not None and now >= latest.changed_at + policy.crl_delay:
        return True
    # The interval leaves slack before nextUpdate (incident I-12); an issuer near its end is the exception.
    due = min(latest.this_update + policy.crl_interval, latest.next_update - timedelta(minutes=10))
    return now >= due and latest.next_update < issuer.not_after
